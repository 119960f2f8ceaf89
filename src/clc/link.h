/* SPDX-License-Identifier: BSD-3-Clause */
/* link.h - encrypted channels to routers, for a program that does one thing after another. */
#pragma once

#include "inventory.h"

#include <net/channel.h>

struct link; /* to one router; made when first needed */

struct links {
	struct env *env;
	void (*turn)(void *arg); /* runs the event loop once, waiting for something to happen */
	void *turn_arg;
	const struct inventory *inv;
	uint8_t *private_key;
	/* What a router tells of its own accord, or NULL. */
	void (*told)(void *arg, const struct inv_router *from, const char *method, const json_t *params);
	void *told_arg;
	json_t *plans; /* not NULL: changes are dry runs, and what they would make of VMs comes here */
	struct link *first;
};

void links_init(struct links *l, struct env *env, const struct inventory *inv, const uint8_t private_key[32]);
void links_fini(struct links *l);
/* Starts to dial, so that several routers are dialled at once; link_call() waits. */
void link_dial(struct links *l, const char *router);
/* How long to wait before the next dial: a random time of up to 1 s, then 2, 4, ... up to 60 s, so that all who lost a router do
 * not come back at once. *most_ms: 0 at first. */
uint64_t link_pause_ms(struct links *l, uint64_t *most_ms);
/* It can be asked now. */
bool link_is_up(const struct links *l, const struct inv_router *router);
/* Why it is down; "" while it is being dialled or up. */
const char *link_why(const struct links *l, const struct inv_router *router);
/* One call and its reply. A router that closes us without an answer has perhaps too many newcomers: it is dialled again for
 * about 10 s. 0 and *result (new reference); the JSON-RPC error's code (> 0 for ours, < -32000
 * for the specification's) with *result = the error's data, or NULL; or LINK_DOWN when the router could not
 * be reached or was lost on the way. `e` says it for a person. `result` may be NULL. */
int link_call(struct links *l, const char *router, const char *method, json_t *params_stolen, json_t **result,
	struct err *e);
/* link_call() of a change: only tried while there are `plans`. */
int link_change(struct links *l, const char *router, const char *method, json_t *params_stolen,
	json_t **result, struct err *e);

#define LINK_DOWN (-1)
