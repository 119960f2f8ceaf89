/* SPDX-License-Identifier: BSD-3-Clause */
/* core.h - the control core of one router: desired state, transactions, moves, group sync, RPC.
 *
 * Everything it does to the world goes through `struct env`; it has no thread, no socket, no DPDK.
 */
#pragma once

#include <api/kinds.h>
#include <env/env.h>

struct core;

struct core_start {
	struct env *env;
	const struct config *config; /* outlives the core; its content changes in config_publish() alone */
	uint8_t private_key[32];
	bool set_aside; /* the store was: state comes back from peers and controllers */
};

struct core *core_new(const struct core_start *s, struct err *e);
/* One stored row, before core_start(); a row that breaks an invariant is refused, logged and skipped. */
int core_load_row(struct core *c, const struct env_row *row);
/* Applies configuration routes and stored state to forwarding, listens, dials peers. `ready(arg)` once the
 * tables hold the stored state and peers have been asked (at most 2 s): then ports may start. */
int core_run(struct core *c, void (*ready)(void *arg), void *arg, struct err *e);
/* Reads the configuration again, as SIGHUP asks for; what became of it is logged. */
void core_reload(struct core *c);
/* All figures in the text format of Prometheus, of *n bytes; to be freed. NULL: no memory. */
char *core_metrics(struct core *c, size_t *n);
void core_free(struct core *c);
