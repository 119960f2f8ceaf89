/* SPDX-License-Identifier: BSD-3-Clause */
/* clc.h - what the controller does: create, move, delete, route, sync. Each is idempotent: giving a command
 * again finishes what was cut off.
 *
 * Order: ask the router what it knows -> allocate -> store the intent -> tell the router -> store the
 * outcome.
 */
#pragma once

#include "link.h"
#include "state.h"

struct clc {
	const struct inventory *inv;
	struct state state;
	struct links links;
};

/* From now on nothing is changed: routers check what they are told, and the state is not written, so that what a command takes is
 * free again after it. What a router would make of a VM that moves, alone or prepared, is a plan of links.plans, as
 * docs/controller-protocol.md tells it; of a batch of an evacuation it has none. */
void clc_dry_run(struct clc *c);

struct create_params {
	const char *name, *site, *segment;
	struct mac mac; /* zero: allocated */
	ip4 private_ip; /* 0: allocated */
};

int clc_create(struct clc *c, const struct create_params *p, struct err *e);

struct move_params {
	const char *to;
	uint64_t drain_min_ms, drain_max_ms; /* UINT64_MAX = as the router has it */
	int sessions;			     /* enum session_policy; below 0: not said */
};

/* All of them, told to the new router in as few transactions as fit. */
int clc_move(struct clc *c, struct clc_vm **vms, size_t n, const struct move_params *p, struct err *e);
/* A move that is prepared before the VM goes, told step by step; each is stored before the router is told, and may be
 * given again. The new router decides: an answer that says the opposite is taken over, and is an error here. */
int clc_prepare(struct clc *c, struct clc_vm *vm, const struct move_params *p, struct err *e);
/* *old_router (new reference): "ready" once the old router sends what comes for the VM to the new one, which holds it; "away"
 * when it cannot be told. */
int clc_pause(struct clc *c, struct clc_vm *vm, json_t **old_router, struct err *e);
int clc_commit(struct clc *c, struct clc_vm *vm, struct err *e);
int clc_abort(struct clc *c, struct clc_vm *vm, struct err *e);

int clc_delete(struct clc *c, const char *name, struct err *e);

struct route_write {
	const char *router; /* one on the user's side */
	struct prefix4 prefix;
	ip4 via;
	uint64_t
		if_revision; /* only while the route is at this one there, 0 = there is none; UINT64_MAX = in any case */
};

int clc_route(struct clc *c, const struct route_write *r, struct err *e);
/* Asks the site's router what it has: takes over higher epochs and unknown VMs, ends holds. Counts what it
 * did. */
struct seen_count {
	size_t vms, adopted, released, registered, finished;
};
int clc_look(struct clc *c, const struct inv_site *site, struct seen_count *n, struct err *e);
/* clc_look(), then finishes what was cut off at the site and registers VMs again that its router has lost. */
int clc_sync(struct clc *c, const struct inv_site *site, struct seen_count *n, struct err *e);
