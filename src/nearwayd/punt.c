/* SPDX-License-Identifier: BSD-3-Clause */
#include "punt.h"

#include "dp.h"
#include "loop.h"
#include "tap.h"
#include "topo.h"

#include <common/log.h>
#include <dataplane/kernel_frame.h>
#include <errno.h>
#include <event2/event.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUDGET 64 /* frames of one worker, or of one interface, in one go */

struct side { /* of one port */
	struct punt *punt;
	uint16_t port;
	int fd; /* -1: the port gives the kernel nothing */
	struct event *readable;
	struct punt_info info;
};

struct punt {
	struct dp *dp;
	struct side at[TOPO_PORTS];
};

/* ---- to the kernel ---- */

static void
give(struct side *s, const struct rte_mbuf *m)
{
	uint16_t len = rte_pktmbuf_data_len(m);

	if (write(s->fd, rte_pktmbuf_mtod(m, const void *), len) == len)
		s->info.in++;
	else
		s->info.in_lost++;
}

static bool
drain_ring(struct punt *p, struct rte_ring *r)
{
	void *m[BUDGET];
	unsigned int left, n = rte_ring_sc_dequeue_burst(r, m, BUDGET, &left);

	for (unsigned int i = 0; i < n; i++) {
		give(&p->at[meta(m[i])->in_port], m[i]);
		rte_pktmbuf_free(m[i]);
	}
	return left != 0;
}

bool
punt_drain(struct punt *p)
{
	bool more = false;

	for (uint16_t i = 0; i < p->dp->plan->n_workers; i++)
		more |= drain_ring(p, loop_worker(p->dp->loops[i])->punts);
	return more;
}

/* ---- from the kernel ---- */

static void
take(struct side *s, struct rte_mbuf *m)
{
	struct dp *dp = s->punt->dp;

	if (!kernel_frame_may_leave(&dp->topo->ports[s->port], m)) {
		s->info.out_refused++;
		rte_pktmbuf_free(m);
	} else if (dp_send_punt(dp, m, s->port)) {
		s->info.out++;
	} else {
		s->info.out_lost++;
	}
}

/* False: nothing was there. Without a buffer the frame is taken all the same, so that the kernel's queue moves on. */
static bool
take_one(struct side *s)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->punt->dp->pool);
	char byte;
	ssize_t n;

	if (m == NULL) {
		n = read(s->fd, &byte, sizeof(byte));
		s->info.out_lost += n > 0;
		return n > 0;
	}
	n = read(s->fd, rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m));
	if (n <= 0) {
		rte_pktmbuf_free(m);
		return false;
	}
	*meta(m) = (struct meta){.origin = FROM_SELF};
	rte_pktmbuf_append(m, (uint16_t)n);
	take(s, m);
	return true;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct side *s = arg;

	(void)fd, (void)what;
	for (int i = 0; i < BUDGET && take_one(s); i++)
		;
}

/* ---- life ---- */

/* The kernel's own stack sees what comes by net_af_packet's interface, too, and has the port's address now: it would answer
 * there as well. Such an interface has no address and no route, so strict reverse path filtering lets nothing in. */
static void
deafen(const struct punt *p, uint16_t port)
{
	unsigned int ifindex = ports_at(p->dp->ports, port)->ifindex;
	char name[IF_NAMESIZE];
	int rc;

	if (ifindex == 0 || if_indextoname(ifindex, name) == NULL)
		return;
	rc = tap_sysctl("ipv4", name, "rp_filter", 1);
	rc = rc == 0 ? tap_sysctl("ipv4", name, "arp_ignore", 8) : rc;
	if (rc != 0)
		log_warn("punt: %s: the kernel still listens on %s and will answer twice: rp_filter, "
			 "arp_ignore: %s",
			p->dp->topo->ports[port].name, name, strerror(-rc));
	else if (tap_sysctl_get("ipv4", "all", "rp_filter") == 2) /* the higher one counts */
		log_warn("punt: %s: net.ipv4.conf.all.rp_filter is 2: the kernel still listens on %s and "
			 "will answer "
			 "twice; set it to 0 or 1",
			p->dp->topo->ports[port].name, name);
}

static int
open_side(struct punt *p, uint16_t port, struct event_base *base, struct err *e)
{
	const struct conf_port *c = list_at(p->dp->config->ports, struct conf_port, port);
	const struct topo_port *t = &p->dp->topo->ports[port];
	struct side *s = &p->at[port];
	struct tap tap = {.name = s->info.name, .mac = topo_mac_back(&t->mac), .mtu = t->mtu};
	int rc;

	tap.address = c->address.addr;
	tap.prefix_len = c->address.len;
	conf_punt_name(c, s->info.name);
	deafen(p, port);
	s->fd = tap_open(&tap, e);
	if (s->fd < 0)
		return err_wrap(e, "port %s: punt", t->name);
	rc = tap_sysctl("ipv4", tap.name, "forwarding", 0);
	if (rc != 0 && tap_sysctl_get("ipv4", tap.name, "forwarding") != 0)
		log_warn("punt: %s: the kernel forwards what it gets by %s: net.ipv4.conf.%s.forwarding: %s",
			t->name, tap.name, tap.name, strerror(-rc));
	s->readable = event_new(base, s->fd, EV_READ | EV_PERSIST, on_readable, s);
	if (s->readable == NULL)
		return err_set(e, ENOMEM, "no memory");
	tap_carrier(s->fd, false); /* until the port's link is known */
	log_info("punt: %s: the kernel has %s", t->name, tap.name);
	return 0;
}

struct punt *
punt_new(struct dp *dp, struct event_base *base, struct err *e)
{
	struct punt *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	p->dp = dp;
	for (uint16_t i = 0; i < TOPO_PORTS; i++)
		p->at[i] = (struct side){.punt = p, .port = i, .fd = -1};
	for (uint16_t i = 0; i < dp->topo->n_ports; i++) {
		if (dp->topo->ports[i].punt_pps == 0 || open_side(p, i, base, e) == 0)
			continue;
		punt_free(p);
		return NULL;
	}
	return p;
}

void
punt_run(struct punt *p)
{
	for (uint16_t i = 0; i < TOPO_PORTS; i++)
		if (p->at[i].readable != NULL)
			event_add(p->at[i].readable, NULL);
}

void
punt_link(struct punt *p, uint16_t port, bool up)
{
	if (p->at[port].fd >= 0)
		tap_carrier(p->at[port].fd, up);
}

bool
punt_info(const struct punt *p, uint16_t port, struct punt_info *info)
{
	*info = p->at[port].info;
	return p->at[port].fd >= 0;
}

void
punt_free(struct punt *p)
{
	if (p == NULL)
		return;
	for (uint16_t i = 0; i < TOPO_PORTS; i++) {
		if (p->at[i].readable != NULL)
			event_free(p->at[i].readable);
		if (p->at[i].fd >= 0)
			close(p->at[i].fd);
	}
	free(p);
}
