/* SPDX-License-Identifier: BSD-3-Clause */
#include "dp.h"

#include "announce.h"
#include "census.h"
#include "counters.h"
#include "events.h"
#include "fwd.h"
#include "loop.h"
#include "macs.h"
#include "neighs.h"
#include "pins.h"
#include "pools.h"
#include "punt.h"
#include "topo.h"
#include "watch.h"

#include <common/log.h>
#include <dataplane/attach.h>
#include <dataplane/round_trip.h>
#include <errno.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>

/* ---- grace periods ---- */

static void
grace_tick(void *arg)
{
	struct dp *dp = arg;
	uint32_t waiting = rcu_poll(dp->tables.rcu);

	if (fwd_retire(dp->fwd) || waiting > 0)
		dp->env->ops->timer_set(dp->grace, 1);
}

void
dp_unlinked(struct dp *dp)
{
	dp->env->ops->timer_set(dp->grace, 0);
}

/* ---- peers that come and go ---- */

struct topology *
dp_topology(const struct dp *dp, const struct config *next, struct err *e)
{
	struct topology *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	if (topo_build(next, t, e) != 0) {
		free(t);
		return NULL;
	}
	t->n_workers = dp->topo->n_workers;
	for (uint16_t i = 0; i < t->n_ports; i++) { /* what the devices told */
		t->ports[i].mac = dp->topo->ports[i].mac;
		t->ports[i].dpdk_port = dp->topo->ports[i].dpdk_port;
	}
	for (uint16_t i = 0; i < RTE_MIN(t->n_peers, dp->topo->n_peers); i++)
		t->peers[i].away = dp->topo->peers[i].away;
	return t;
}

void
dp_router_away(struct dp *dp, uint8_t router, bool away)
{
	dp->topo->peers[router - 1].away = away;
	__atomic_store_n(&dp->shown->peers[router - 1].away, away, __ATOMIC_RELAXED);
}

void
dp_follow(struct dp *dp, struct topology *t)
{
	struct topology *old = dp->shown;

	memcpy(dp->topo, t, sizeof(*t));
	dp->shown = t;
	for (uint16_t i = 0; i < dp->plan->n_workers; i++)
		__atomic_store_n(&loop_worker(dp->loops[i])->topo_wanted, t, __ATOMIC_RELEASE);
	neighs_follow(dp->neighs, old, t);
	macs_forget_removed(dp->macs);
	if (rcu_defer(dp->tables.rcu, free, old) != 0)
		log_warn("no memory to free the topology that was: %zu bytes are lost", sizeof(*old));
	dp_unlinked(dp);
}

/* ---- orders to workers ---- */

static bool
order(struct dp *dp, uint16_t worker, const struct dp_order *o)
{
	struct loop *l = dp->loops[worker];

	if (rte_ring_sp_enqueue_elem(loop_worker(l)->orders, (void *)(uintptr_t)o, sizeof(*o)) != 0)
		return false;
	loop_wake(l);
	return true;
}

/* Takes `m`, with the metadata it shall have. */
static bool
inject(struct dp *dp, struct rte_mbuf *m, const struct meta *md, enum made why)
{
	struct dp_order o = {.inject = m, .made = why};

	*meta(m) = *md;
	if (order(dp, 0, &o))
		return true;
	rte_pktmbuf_free(m);
	return false;
}

/* Of our own; `m` may be NULL. */
static bool
send_frame(struct dp *dp, struct rte_mbuf *m, const struct meta *md)
{
	bool sent = m != NULL && inject(dp, m, md, MADE_CONTROL);

	dp->frames_lost += !sent;
	return sent;
}

static struct meta
by_port(uint16_t port, uint16_t vlan)
{
	return (struct meta){
		.origin = FROM_SELF,
		.enter = ENTER_PORT,
		.seg = TOPO_NONE,
		.in_att = TOPO_NONE,
		.out_port = port,
		.out_vlan = vlan,
		.flags = META_OWN,
	};
}

bool
dp_send(struct dp *dp, struct rte_mbuf *m, uint16_t port, uint16_t vlan)
{
	struct meta md = by_port(port, vlan);

	return send_frame(dp, m, &md);
}

bool
dp_send_attachment(struct dp *dp, struct rte_mbuf *m, uint16_t att)
{
	struct meta md = {
		.origin = FROM_SELF,
		.seg = dp->topo->attachments[att].seg,
		.in_att = TOPO_NONE,
		.flags = META_OWN,
	};

	attach_enter(dp->topo, &md, att);
	return send_frame(dp, m, &md);
}

uint32_t
dp_orders_waiting(const struct dp *dp)
{
	return rte_ring_count(loop_worker(dp->loops[0])->orders);
}

bool
dp_send_punt(struct dp *dp, struct rte_mbuf *m, uint16_t port)
{
	struct meta md = by_port(port, 0);

	if (dp_orders_waiting(dp) < ORDER_RING / 2)
		return inject(dp, m, &md, MADE_PUNT);
	rte_pktmbuf_free(m);
	return false;
}

void
dp_release_held(struct dp *dp, uint16_t port, rte_be32_t ip)
{
	struct dp_order o = {.kind = ORDER_RELEASE, .port = port, .ip = ip};

	for (uint16_t i = 0; i < dp->plan->n_workers; i++)
		order(dp, i, &o); /* a full ring: the packets wait until they expire */
}

void
dp_hold_floods(struct dp *dp, uint16_t segment)
{
	struct dp_order o = {.kind = ORDER_LOOP, .seg = segment};

	for (uint16_t i = 0; i < dp->plan->n_workers; i++)
		order(dp, i, &o); /* a full ring: the next such frame tells again */
}

/* ---- making ---- */

static int
make_tables(struct dp *dp, struct err *e)
{
	const struct conf_limits *l = &dp->config->limits;
	struct tables *t = &dp->tables;

	if ((t->rcu = rcu_new(dp->plan->n_workers)) == NULL)
		return err_set(e, ENOMEM, "tables: no memory for grace periods");
	if ((t->vms = vmtab_new(l->vms, t->rcu)) == NULL)
		return err_set(e, ENOMEM, "limits.vms: no memory for %llu VMs: %s",
			(unsigned long long)l->vms, rte_strerror(rte_errno));
	if ((t->rtt = rtt_new(vmtab_slots(t->vms))) == NULL)
		return err_set(e, ENOMEM, "tables: no memory for round trips");
	vmtab_on_change(t->vms, round_trip_changed, t->rtt);
	if ((t->routes = routetab_new(l->routes, t->rcu)) == NULL)
		return err_set(
			e, ENOMEM, "limits.routes: no memory for %llu routes", (unsigned long long)l->routes);
	if ((t->neighbours = neightab_new(l->neighbours, t->rcu)) == NULL)
		return err_set(e, ENOMEM, "limits.neighbours: no memory for %llu",
			(unsigned long long)l->neighbours);
	if ((t->macs = mactab_new(l->macs, t->rcu)) == NULL)
		return err_set(e, ENOMEM, "limits.macs: no memory for %llu", (unsigned long long)l->macs);
	return 0;
}

static int
make_sessions(struct dp *dp, struct err *e)
{
	char file[300];

	snprintf(file, sizeof(file), "%s/sessions", dp->config->control.runtime);
	dp->tables.sessions = sessions_new(
		file, dp->config->limits.sessions, env_call(dp->env, boot_id), &dp->sessions_fresh);
	if (dp->tables.sessions == NULL)
		return err_set(e, errno,
			"%s: session table: %s (control.runtime should be a directory on tmpfs)", file,
			strerror(errno));
	return 0;
}

static int
make_workers(struct dp *dp, struct err *e)
{
	for (uint16_t i = 0; i < dp->plan->n_workers; i++) {
		int rc = rcu_register(dp->tables.rcu, i);

		if (rc != 0)
			return err_set(e, -rc, "worker %u: cannot register as a reader", i);
		dp->loops[i] = loop_new(dp, i, e);
		if (dp->loops[i] == NULL)
			return e->code;
	}
	return 0;
}

/* Where a WAN port or a segment is, the way there is known from the start. */
static int
connected_routes(struct dp *dp, struct err *e)
{
	const struct topology *t = dp->topo;
	int rc = 0;

	for (uint16_t i = 0; i < t->n_ports && rc == 0; i++) {
		struct nexthop nh = {.kind = NH_CONNECTED, .port = i};
		const struct topo_prefix *p = &t->ports[i].connected;

		if (t->ports[i].role == TOPO_WAN && p->mask != 0)
			rc = routetab_put(dp->tables.routes, 0, p->addr, __builtin_popcount(p->mask), &nh);
	}
	for (uint16_t i = 0; i < t->n_segments && rc == 0; i++) {
		struct nexthop nh = {.kind = NH_SEGMENT, .seg = i};
		const struct topo_prefix *p = &t->segments[i].prefix;

		if (p->mask != 0)
			rc = routetab_put(dp->tables.routes, 0, p->addr, __builtin_popcount(p->mask), &nh);
	}
	return rc == 0 ? 0 : err_set(e, -rc, "limits.routes: no room for the connected prefixes");
}

static int
make(struct dp *dp, struct event_base *base, struct err *e)
{
	const struct env_ops *ops = dp->env->ops;
	struct ports_start ports = {.config = dp->config, .plan = dp->plan, .env = dp->env, .base = base};
	int rc;

	dp->topo = calloc(1, sizeof(*dp->topo));
	dp->grace = ops->timer_new(dp->env->ctx, grace_tick, dp);
	if (dp->topo == NULL || dp->grace == NULL)
		return err_set(e, ENOMEM, "no memory");
	if ((rc = topo_build(dp->config, dp->topo, e)) != 0)
		return rc;
	dp->topo->n_workers = dp->plan->n_workers;
	dp->shown = malloc(sizeof(*dp->shown));
	if (dp->shown == NULL)
		return err_set(e, ENOMEM, "no memory");
	dp->pools = pools_new(dp->plan, e);
	if (dp->pools == NULL)
		return e->code;
	dp->pool = pools_at(dp->pools, (int)rte_socket_id());
	if ((rc = make_tables(dp, e)) != 0 || (rc = make_sessions(dp, e)) != 0)
		return rc;
	ports.topo = dp->topo;
	ports.pools = dp->pools;
	dp->ports = ports_open(&ports, e);
	if (dp->ports == NULL)
		return e->code;
	memcpy(dp->shown, dp->topo, sizeof(*dp->shown));
	dp->neighs = neighs_new(dp);
	dp->macs = macs_new(dp);
	dp->pins = pins_new(dp);
	dp->events = events_new(dp, base);
	dp->announces = announces_new(dp);
	dp->census = census_new(dp);
	dp->fwd = fwd_new(dp);
	if (dp->neighs == NULL || dp->macs == NULL || dp->pins == NULL || dp->events == NULL ||
		dp->announces == NULL || dp->census == NULL || dp->fwd == NULL)
		return err_set(e, ENOMEM, "no memory");
	if ((dp->punt = punt_new(dp, base, e)) == NULL)
		return e->code;
	if ((rc = make_workers(dp, e)) != 0)
		return rc;
	dp->counters = counters_new(dp);
	return dp->counters != NULL ? connected_routes(dp, e) : err_set(e, ENOMEM, "no memory");
}

struct dp *
dp_new(const struct config *c, const struct plan *p, struct env *env, struct event_base *base, struct err *e)
{
	struct dp *dp = calloc(1, sizeof(*dp));

	if (dp == NULL) {
		err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	dp->config = c;
	dp->plan = p;
	dp->env = env;
	if (make(dp, base, e) != 0) {
		dp_free(dp);
		return NULL;
	}
	return dp;
}

static void
link_changed(void *arg, uint16_t port, bool up)
{
	struct dp *dp = arg;
	bool dc = dp->topo->ports[port].role == TOPO_DC;

	if (dc && up)
		pins_send(dp->pins, port);
	if (dc && !up) { /* what stood behind it may come back at another port */
		macs_forget_port(dp->macs, port);
		fwd_link_down(dp->fwd, port);
	}
	punt_link(dp->punt, port, up);
}

int
dp_run(struct dp *dp, struct err *e)
{
	int rc = ports_start(dp->ports, link_changed, dp, e);

	for (uint16_t i = 0; i < dp->plan->n_workers && rc == 0; i++)
		rc = loop_start(dp->loops[i], e);
	if (rc != 0)
		return rc;
	events_run(dp->events);
	punt_run(dp->punt);
	neighs_run(dp->neighs);
	macs_run(dp->macs);
	pins_run(dp->pins);
	census_run(dp->census);
	return 0;
}

void
dp_free(struct dp *dp)
{
	if (dp == NULL)
		return;
	watch_free(dp->watch);
	counters_free(dp->counters); /* before the workers that it reads */
	for (uint16_t i = 0; i < dp->plan->n_workers; i++)
		loop_stop(dp->loops[i]);
	for (uint16_t i = 0; i < dp->plan->n_workers; i++)
		loop_free(dp->loops[i]);
	if (dp->tables.rcu != NULL)
		rcu_poll(dp->tables.rcu); /* no reader is left */
	fwd_free(dp->fwd);
	announces_free(dp->announces);
	census_free(dp->census);
	events_free(dp->events);
	punt_free(dp->punt);
	pins_free(dp->pins);
	macs_free(dp->macs);
	neighs_free(dp->neighs);
	ports_close(dp->ports);
	sessions_free(dp->tables.sessions);
	mactab_free(dp->tables.macs);
	neightab_free(dp->tables.neighbours);
	routetab_free(dp->tables.routes);
	vmtab_free(dp->tables.vms);
	rtt_free(dp->tables.rtt);
	rcu_free(dp->tables.rcu);
	pools_free(dp->pools);
	if (dp->grace != NULL)
		dp->env->ops->timer_free(dp->grace);
	free(dp->shown);
	free(dp->topo);
	free(dp);
}
