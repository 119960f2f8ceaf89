/* SPDX-License-Identifier: BSD-3-Clause */
/* rcu.h - when may the writer free what a worker could still read?
 *
 * Readers: workers; each reports quiescent once a loop, between bursts, when it holds no pointer into a table, and
 *          goes offline before it sleeps. A pointer read from a table is valid until then.
 * Writer:  the control thread. Unlink, take a token, free once the token has passed.
 * Order:   rte_rcu_qsbr_start() is a release: what was unlinked before it is seen by every reader that
 *          reports quiescent after it (DPDK programmer's guide, RCU library).
 */
#pragma once

#include <rte_rcu_qsbr.h>
#include <stdbool.h>
#include <stdint.h>

struct rcu;

struct rcu *rcu_new(uint32_t max_workers);
void rcu_free(struct rcu *r);
struct rte_rcu_qsbr *rcu_qsbr(struct rcu *r); /* for readers' rte_rcu_qsbr_quiescent() and online/offline */
int rcu_register(struct rcu *r, uint32_t worker); /* the worker starts offline */
uint64_t rcu_start(struct rcu *r);
bool rcu_passed(struct rcu *r, uint64_t token); /* never blocks */
void rcu_wait(struct rcu *r);			/* blocks: tests and teardown */
/* Calls fn(arg) after a grace period that begins now; run by rcu_poll() in the order given. 0 or -ENOMEM. */
int rcu_defer(struct rcu *r, void (*fn)(void *arg), void *arg);
/* Runs what has become safe; returns how many still wait. */
uint32_t rcu_poll(struct rcu *r);
