/* SPDX-License-Identifier: BSD-3-Clause */
/* host.h - the environment on a real machine: libevent loop with a boot-time timerfd clock, sockets,
 * getrandom.
 *
 * Store and forwarding are given by the program (nearwayd: the SQLite thread and DPDK; nearway-clc: SQLite),
 * and left NULL where a program has none.
 */
#pragma once

#include "env.h"

struct event_base;
struct host;

struct host *host_new(struct err *e);
void host_free(struct host *h);
struct env *host_env(struct host *h); /* its ops table is the host's own copy: a program fills in the rest */
struct env_ops *host_ops(struct host *h); /* writable until host_run() */
struct event_base *host_base(struct host *h);
/* The program's own, for the operations that it fills in: their `ctx` is the host. */
void host_set_user(struct host *h, void *user);
void *host_user(const struct host *h);
/* Runs until host_stop(); returns its code. */
int host_run(struct host *h);
void host_stop(struct host *h, int code);

/* What blocks, in a store; 0 or -errno. read() gives row() the range's rows until that returns non-zero. */
struct host_store_ops {
	int (*commit)(void *store, const struct env_row *rows, size_t n);
	int (*read)(void *store, const struct env_range *range,
		int (*row)(void *arg, const struct env_row *r), void *arg);
};

/* Runs them on a thread of its own so that an fsync stalls nobody: in order, one call each. Becomes the host's `commit` and
 * `read`. */
struct host_store;
struct host_store *host_store_new(
	struct host *h, const struct host_store_ops *ops, void *store, struct err *e);
/* Waits until everything accepted is written, and tells everybody who has not been told yet: from here, not from the loop. */
void host_store_free(struct host_store *s);
