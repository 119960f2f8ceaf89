/* SPDX-License-Identifier: BSD-3-Clause */
/* world_priv.h - inside of a world. One heap of events makes its time; each file is one part of struct env.
 *
 *   world.c    events, clocks, timers, random      disk.c        rows and commits on their way
 *   streams.c  what is between the nodes           forwarding.c  the model of what a router was told
 *   sessions.c that of its sessions
 *   nodes.c    configurations, starts, crashes     ask.c         calls over the local socket
 */
#pragma once

#include "world.h"

#include <uthash.h>
#include <utlist.h>

typedef void event_fn(void *arg, uint64_t tag);

/* Calls fn(arg, tag) at this time of the world: those of one moment in the order in which they were asked for. */
void world_at(struct world *w, uint64_t when, event_fn *fn, void *arg, uint64_t tag);
/* Before all that waits for this moment, too. */
void world_first(struct world *w, event_fn *fn, void *arg, uint64_t tag);
/* Something that a crash may follow is done. True: it does, before any other event. */
bool node_stepped(struct node *n, enum node_step step);

/* Environment of a node. */
uint64_t op_now(void *ctx);
uint64_t op_now_us(void *ctx);
int64_t op_wall(void *ctx);
const char *op_boot_id(void *ctx);
struct env_timer *op_timer_new(void *ctx, void (*cb)(void *arg), void *arg);
void op_timer_set(struct env_timer *t, uint64_t after_ms);
void op_timer_stop(struct env_timer *t);
void op_timer_free(struct env_timer *t);
void op_random(void *ctx, void *buf, size_t n);
void timers_suspend(struct node *n, uint64_t ms);
void timers_free(struct world *w);

struct env_stream *op_dial(void *ctx, const char *address, const struct env_stream_ops *ops, void *arg);
struct env_listener *op_listen(void *ctx, const char *address,
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id), void *arg,
	struct err *e);
void op_listener_close(struct env_listener *l);
void op_stream_attach(struct env_stream *s, const struct env_stream_ops *ops, void *arg);
int op_stream_write(struct env_stream *s, const void *p, size_t n);
size_t op_stream_waiting(const struct env_stream *s);
void op_stream_close(struct env_stream *s);
void op_stream_pause(struct env_stream *s, bool paused);
/* The process is gone. `silent`: with its machine, and nobody is told; part of what it sent may be lost. */
void streams_crash(struct node *n, bool silent);
void streams_sweep(struct node *n); /* its ended ones, which nobody knows any more */
void streams_free(struct world *w);

void op_commit(
	void *ctx, const struct env_row *rows, size_t count, void (*done)(void *arg, int rc), void *arg);
void op_read(void *ctx, const struct env_range *range,
	void (*done)(void *arg, int rc, const struct env_row *rows, size_t n), void *arg);
void disk_crash(struct node *n); /* commits on their way: some of them, in order, are durable */
/* Rows come as from the store: ordered by kind and key. */
void disk_load(struct node *n);
void disk_free(struct node *n);

struct fwd_list *op_list_new(void *ctx, const struct fwd_listed *of, size_t n, size_t limit);
void op_list_next(struct fwd_list *l,
	void (*page)(void *arg, const struct fwd_session *rows, size_t n, bool more), void *arg);
void op_list_free(struct fwd_list *l);
void op_sessions_learn(void *ctx, const struct fwd_session *rows, size_t n, struct fwd_learnt *out);
void model_sessions_free(struct node *n, ip4 home, uint8_t protocol); /* 0: of all */

extern const struct env_ops world_ops;
void model_clear(struct node *n);
void model_free_late(event_fn *fn, void *arg); /* an event that will not come any more */

void node_configure(struct node *n, unsigned int routers);
void node_fini(struct node *n);
