/* SPDX-License-Identifier: BSD-3-Clause */
/* router.h - a router in the simulated world for the control targets, and what must be true of it.
 *
 * Router r-a runs, with VMs of all kinds in its store; r-b, r-c and the controllers are whoever the target makes them.
 */
#pragma once

#include "lines.h"
#include "oracle.h"
#include "target.h"

#include <sim/world.h>

struct state {	      /* what r-a knows, to be compared */
	uint64_t sum; /* of all that counts */
	size_t n;
	struct known {
		struct vm_key key;
		uint64_t epoch, hash;
		uint8_t owner;
		bool live;
	} * vms;
};

struct world *router_world(bool empty); /* r-a is ready; `empty`: from a store without rows */
struct node *router_node(struct world *w);
extern const uint8_t observer_key[32]; /* private; its name is "watch" */
/* The rows that every world starts from, made by LLVMFuzzerInitialize(): row(arg, kind, key, value). */
void router_rows(void (*row)(void *arg, const char *kind, const char *key, const char *value), void *arg);
/* Until no change is on its way. */
void router_settle(struct world *w);

struct state state_of(struct world *w);
void state_free(struct state *s);
const struct known *state_find(const struct state *s, const struct vm_key *key);
/* Will time change it within so many ms: a drain that ends, say? */
bool state_ripens(struct world *w, uint64_t ms);

/* Forwarding is what the core wants, no address leads to two VMs, no epoch went back, nothing was forgotten. */
void router_check(struct world *w, const struct state *before);
/* Ended at any moment, it comes back with what it had. The router runs again afterwards. */
void router_check_restart(struct world *w);
