/* SPDX-License-Identifier: BSD-3-Clause */
/* neighs.h - next hops on WAN ports: who wants one, who was heard, when to ask again.
 *
 *            want                 heard                       20 s unheard
 *   (none) --------> RESOLVING ----------> REACHABLE ------------------------> asked by unicast, still REACHABLE
 *                        | 3 broadcasts, 1 s apart   ^ heard                          | 3 unicasts, then 3 broadcasts
 *                        v                           |                                v
 *                      FAILED ------------------------------------------------------ FAILED
 *                        | 3 s: forgotten, so that the next packet asks again; a next hop of a route
 *                          (neighs_keep) is asked on every second instead
 *
 * Broadcast requests come from the port's own address and MAC. RFC 826: an ARP that we did not ask for updates an entry
 * that exists and makes none.
 */
#pragma once

#include <dataplane/worker.h>

struct dp;
struct neighs;

struct neighs *neighs_new(struct dp *dp);
/* Peers came or went: their VTEPs on link are kept no more, or from now on. */
void neighs_follow(struct neighs *n, const struct topology *old, const struct topology *now);
void neighs_run(struct neighs *n); /* ports are up: ask for what is kept, and for VTEPs on link */
void neighs_want(struct neighs *n, uint16_t port, rte_be32_t ip);
void neighs_seen(struct neighs *n, uint16_t port, rte_be32_t ip, const struct rte_ether_addr *mac);
/* A next hop of a route, or a VTEP: resolved before the first packet, and for as long as it is kept. A share of the
 * table is for these alone: the many addresses that packets may ask for cannot keep a route from resolving. 0 or -ENOSPC; only what
 * was kept is left. */
int neighs_keep(struct neighs *n, uint16_t port, rte_be32_t ip);
void neighs_leave(struct neighs *n, uint16_t port, rte_be32_t ip);
bool neighs_asked(const struct neighs *n, uint16_t port, rte_be32_t ip); /* and has not answered so far */
uint64_t neighs_refused(const struct neighs *n); /* not asked for: the table was full */
void neighs_free(struct neighs *n);

struct neigh_info {
	uint16_t port;
	rte_be32_t ip;
	struct rte_ether_addr mac;
	enum neigh_state state;
	bool kept;
	uint64_t heard_ms; /* ago; UINT64_MAX = never */
};

/* *next starts at 0; false at the end. */
bool neighs_next(const struct neighs *n, uint32_t *next, struct neigh_info *info);
