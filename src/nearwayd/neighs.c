/* SPDX-License-Identifier: BSD-3-Clause */
#include "neighs.h"

#include "dp.h"
#include "frames.h"

#include <common/addr.h>
#include <common/log.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define RETRY_MS   1000 /* RFC 1122 2.3.2.1: at most one request per second for one address */
#define TRIES	   3
#define REFRESH_MS 20000
#define FAILED_MS  3000
#define KEPT_SHARE 4   /* one part in so many of the table is for what is kept */
#define GRAIN_MS   100 /* deadlines are rounded up to it, so that many entries cost few wake-ups */

struct entry {
	struct neigh_key key;
	struct rte_ether_addr mac;
	enum neigh_state state; /* as the workers see it */
	uint32_t keeps;		/* routes that name it */
	uint8_t tries;
	bool warned;
	uint64_t next_ms, heard_ms; /* heard_ms 0 = never */
	UT_hash_handle hh;
};

struct neighs {
	struct dp *dp;
	struct entry *all;
	struct env_timer *timer;
	bool running;
	uint64_t refused;
};

static uint64_t
now_ms(const struct neighs *n)
{
	return env_call(n->dp->env, now_ms);
}

static struct neigh_key
key_of(uint16_t port, rte_be32_t ip)
{
	return (struct neigh_key){.ip = ip, .port = port};
}

static struct entry *
find(const struct neighs *n, uint16_t port, rte_be32_t ip)
{
	struct neigh_key key = key_of(port, ip);
	struct entry *e;

	HASH_FIND(hh, n->all, &key, sizeof(key), e);
	return e;
}

static const char *
text(rte_be32_t ip, char buf[IP4_TEXT])
{
	return ip4_format(rte_be_to_cpu_32(ip), buf);
}

/* ---- what workers see ---- */

static int
publish(struct neighs *n, struct entry *e, enum neigh_state state)
{
	struct neigh v = {.mac = e->mac, .state = state};
	int rc = neightab_put(n->dp->tables.neighbours, &e->key, &v);

	if (rc == 0)
		e->state = state;
	dp_release_held(n->dp, e->key.port, e->key.ip);
	return rc;
}

static void
forget(struct neighs *n, struct entry *e)
{
	neightab_del(n->dp->tables.neighbours, &e->key);
	dp_unlinked(n->dp);
	HASH_DEL(n->all, e);
	free(e);
}

static struct entry *
add(struct neighs *n, uint16_t port, rte_be32_t ip, bool kept)
{
	uint64_t limit = n->dp->config->limits.neighbours;
	struct entry *e;

	if (!kept)
		limit -= limit / KEPT_SHARE;
	if (HASH_COUNT(n->all) >= limit || (e = calloc(1, sizeof(*e))) == NULL) {
		n->refused++;
		return NULL;
	}
	e->key = key_of(port, ip);
	HASH_ADD(hh, n->all, key, sizeof(e->key), e);
	if (publish(n, e, NEIGH_RESOLVING) != 0) {
		n->refused++;
		forget(n, e);
		return NULL;
	}
	return e;
}

/* ---- asking ---- */

static void
ask(struct neighs *n, const struct entry *e, bool unicast)
{
	const struct topo_port *p = &n->dp->topo->ports[e->key.port];
	struct rte_mbuf *m =
		frame_arp_request(n->dp->pool, unicast ? &e->mac : NULL, &p->mac, p->ip, e->key.ip);

	dp_send(n->dp, m, e->key.port, 0);
}

static void
fail(struct neighs *n, struct entry *e)
{
	char ip[IP4_TEXT];

	if (e->keeps != 0 && !e->warned)
		log_warn("neighbour: %s, next hop of a route or a VTEP, on port %s, does not answer ARP",
			text(e->key.ip, ip), n->dp->topo->ports[e->key.port].name);
	e->warned = e->keeps != 0;
	if (e->state != NEIGH_FAILED)
		publish(n, e, NEIGH_FAILED);
	e->tries = 0;
}

/* One step of an entry whose time has come. False: it is gone. */
static bool
step(struct neighs *n, struct entry *e, uint64_t now)
{
	bool known = e->state == NEIGH_REACHABLE;

	if (e->state == NEIGH_FAILED) {
		if (e->keeps == 0) {
			forget(n, e);
			return false;
		}
		ask(n, e, false);
		e->next_ms = now + RETRY_MS;
		return true;
	}
	if (e->tries == (known ? 2 * TRIES : TRIES)) {
		fail(n, e);
		e->next_ms = now + (e->keeps != 0 ? RETRY_MS : FAILED_MS);
		return true;
	}
	ask(n, e, known && e->tries < TRIES);
	e->tries++;
	e->next_ms = now + RETRY_MS;
	return true;
}

static void
schedule(struct neighs *n, uint64_t now)
{
	uint64_t first = UINT64_MAX;
	struct entry *e, *tmp;

	HASH_ITER (hh, n->all, e, tmp) {
		if (e->next_ms < first)
			first = e->next_ms;
	}
	if (first == UINT64_MAX)
		n->dp->env->ops->timer_stop(n->timer);
	else
		n->dp->env->ops->timer_set(
			n->timer, first <= now ? 0 : (first - now + GRAIN_MS - 1) / GRAIN_MS * GRAIN_MS);
}

static void
tick(void *arg)
{
	struct neighs *n = arg;
	uint64_t now = now_ms(n);
	struct entry *e, *tmp;

	HASH_ITER (hh, n->all, e, tmp) {
		if (e->next_ms <= now)
			step(n, e, now);
	}
	schedule(n, now);
}

/* A new entry is asked for at once; the timer is brought forward only if it has to be. */
static void
begin(struct neighs *n, struct entry *e)
{
	uint64_t now = now_ms(n);

	if (!n->running)
		return;
	step(n, e, now);
	schedule(n, now);
}

/* ---- the outside ---- */

void
neighs_want(struct neighs *n, uint16_t port, rte_be32_t ip)
{
	struct entry *e;

	if (port >= n->dp->topo->n_ports || n->dp->topo->ports[port].role != TOPO_WAN || ip == 0)
		return;
	if (find(n, port, ip) != NULL)
		return;
	e = add(n, port, ip, false);
	if (e != NULL)
		begin(n, e);
}

void
neighs_seen(struct neighs *n, uint16_t port, rte_be32_t ip, const struct rte_ether_addr *mac)
{
	struct entry *e = find(n, port, ip);
	char buf[IP4_TEXT];
	bool same;

	if (e == NULL || !rte_is_unicast_ether_addr(mac) || rte_is_zero_ether_addr(mac))
		return;
	same = e->state == NEIGH_REACHABLE && rte_is_same_ether_addr(&e->mac, mac);
	e->mac = *mac;
	e->heard_ms = now_ms(n);
	e->tries = 0;
	e->next_ms = e->heard_ms + REFRESH_MS;
	if (same)
		return;
	if (e->warned)
		log_info("neighbour: %s on port %s answers again", text(ip, buf),
			n->dp->topo->ports[port].name);
	e->warned = false;
	publish(n, e, NEIGH_REACHABLE);
}

int
neighs_keep(struct neighs *n, uint16_t port, rte_be32_t ip)
{
	struct entry *e = find(n, port, ip);

	if (e != NULL) {
		e->keeps++;
		return 0;
	}
	e = add(n, port, ip, true);
	if (e == NULL)
		return -ENOSPC;
	e->keeps++;
	begin(n, e);
	return 0;
}

void
neighs_leave(struct neighs *n, uint16_t port, rte_be32_t ip)
{
	struct entry *e = find(n, port, ip);

	if (e != NULL && e->keeps > 0)
		e->keeps--;
}

bool
neighs_asked(const struct neighs *n, uint16_t port, rte_be32_t ip)
{
	const struct entry *e = find(n, port, ip);

	return n->running && e != NULL && e->state == NEIGH_RESOLVING;
}

/* Calls each(port, VTEP) for those on link. Packets to VTEPs behind a next hop find it kept by its route. */
static void
each_vtep(struct neighs *n, const struct topology *t,
	void (*each)(struct neighs *n, uint16_t port, rte_be32_t vtep))
{
	for (uint16_t i = 1; i < TOPO_TUNNELS; i++) {
		rte_be32_t vtep = topo_tunnel_end(t, i);

		for (uint16_t k = 0; k < t->n_ports && vtep != 0; k++)
			if (t->ports[k].role == TOPO_WAN && t->ports[k].connected.mask != 0 &&
				topo_in(&t->ports[k].connected, vtep))
				each(n, k, vtep);
	}
}

static void
keep_vtep(struct neighs *n, uint16_t port, rte_be32_t vtep)
{
	neighs_keep(n, port, vtep); /* no room: it is resolved when a packet goes there, like any other */
}

void
neighs_follow(struct neighs *n, const struct topology *old, const struct topology *now)
{
	each_vtep(n, now, keep_vtep);
	each_vtep(n, old, neighs_leave);
}

void
neighs_run(struct neighs *n)
{
	n->running = true;
	tick(n);
	each_vtep(n, n->dp->topo, keep_vtep);
}

uint64_t
neighs_refused(const struct neighs *n)
{
	return n->refused;
}

bool
neighs_next(const struct neighs *n, uint32_t *next, struct neigh_info *info)
{
	struct entry *e, *tmp;
	uint32_t i = 0;

	HASH_ITER (hh, n->all, e, tmp) {
		if (i++ < *next)
			continue;
		*next = i;
		*info = (struct neigh_info){.port = e->key.port,
			.ip = e->key.ip,
			.mac = e->mac,
			.state = e->state,
			.kept = e->keeps != 0,
			.heard_ms = e->heard_ms == 0 ? UINT64_MAX : now_ms(n) - e->heard_ms};
		return true;
	}
	return false;
}

struct neighs *
neighs_new(struct dp *dp)
{
	struct neighs *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->dp = dp;
	n->timer = dp->env->ops->timer_new(dp->env->ctx, tick, n);
	if (n->timer == NULL) {
		free(n);
		return NULL;
	}
	return n;
}

void
neighs_free(struct neighs *n)
{
	struct entry *e, *tmp;

	if (n == NULL)
		return;
	HASH_ITER (hh, n->all, e, tmp) {
		HASH_DEL(n->all, e);
		free(e);
	}
	n->dp->env->ops->timer_free(n->timer);
	free(n);
}
