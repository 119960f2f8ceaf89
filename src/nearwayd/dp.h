/* SPDX-License-Identifier: BSD-3-Clause */
/* dp.h - the data plane of one router as the control thread holds it: topology, tables, ports, workers, and what keeps
 * the tables fed (neighbours, MACs, pins, events). All of it belongs to the control thread but `struct loop`'s inside.
 */
#pragma once

#include "plan.h"
#include "ports.h"

#include <dataplane/worker.h>
#include <env/env.h>

struct loop;
struct pools;
struct neighs;
struct macs;
struct pins;
struct events;
struct punt;
struct announces;
struct census;
struct counters;
struct fwd;
struct watch;

struct dp {
	const struct config *config;
	const struct plan *plan;
	struct env *env;
	struct topology *topo;	/* the control thread's; stays where it is when peers come and go */
	struct topology *shown; /* a copy of it: what workers have, or take up next */
	struct tables tables;
	struct pools *pools;
	struct rte_mempool *pool; /* the control thread's */
	struct ports *ports;
	struct loop *loops[PLAN_WORKERS];
	struct neighs *neighs;
	struct macs *macs;
	struct pins *pins;
	struct events *events;
	struct punt *punt;
	struct announces *announces;
	struct census *census;
	struct fwd *fwd;
	struct counters *counters;
	struct watch *watch;	 /* a trace or a capture; NULL = none is on */
	struct env_timer *grace; /* runs while readers may hold what was unlinked */
	bool sessions_fresh;	 /* nothing was taken up from before the start */
	uint64_t frames_lost;	 /* of our own: no buffer, or worker 0 had too many orders */
};

/* Makes everything; ports are configured, but neither started nor polled. `base` is the event loop's. */
struct event_base;
struct dp *dp_new(const struct config *c, const struct plan *p, struct env *env, struct event_base *base,
	struct err *e);
/* Starts ports, workers and timers: from now on packets flow. */
int dp_run(struct dp *dp, struct err *e);
void dp_free(struct dp *dp); /* stops first */

/* The topology of a configuration that differs in peers alone; NULL with the reason. */
struct topology *dp_topology(const struct dp *dp, const struct config *next, struct err *e);
/* Takes `t`: from their next round on workers use it. */
void dp_follow(struct dp *dp, struct topology *t);
/* A peer has been away for long, or is back. */
void dp_router_away(struct dp *dp, uint8_t router, bool away);

/* After any change of a table: sees to it that what was unlinked gets freed. */
void dp_unlinked(struct dp *dp);
/* A frame of ours for (port, vlan); worker 0 sends it. Takes `m`, which may be NULL; false (counted, freed) when it could
 * not be made or worker 0's queue is full. */
bool dp_send(struct dp *dp, struct rte_mbuf *m, uint16_t port, uint16_t vlan);
/* The same to an attachment. */
bool dp_send_attachment(struct dp *dp, struct rte_mbuf *m, uint16_t att);
/* A frame of the kernel's for a port, as it is. Takes `m`; false (freed) when half of worker 0's queue is full: the other half
 * is for our own. */
bool dp_send_punt(struct dp *dp, struct rte_mbuf *m, uint16_t port);
/* Orders that worker 0 has not taken yet; at most ORDER_RING. */
uint32_t dp_orders_waiting(const struct dp *dp);
/* Tells every worker that the neighbour (port, ip) has changed. */
void dp_release_held(struct dp *dp, uint16_t port, rte_be32_t ip);
/* A loop was heard in the segment: no worker floods there between the tunnel and the attachments for a while. */
void dp_hold_floods(struct dp *dp, uint16_t segment);
