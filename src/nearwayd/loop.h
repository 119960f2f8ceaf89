/* SPDX-License-Identifier: BSD-3-Clause */
/* loop.h - one worker's loop: receive, run the pipeline, send; spin or sleep; report quiescent.
 *
 * `poll: busy` never sleeps and makes no system call. `poll: adaptive` spins for a bounded time once idle, then goes offline
 * for the grace periods and sleeps in epoll on a descriptor per receive queue and on an eventfd of its own. Nothing is lost
 * by sleeping: the worker announces it, arms the interrupts, then looks once more at queues and orders.
 *
 * What the control thread may call while the worker runs: loop_wake(), loop_counts(), loop_state(), loop_worker()->orders
 * and ->events.
 */
#pragma once

#include <dataplane/worker.h>

struct dp;
struct err;
struct loop;

struct loop *loop_new(struct dp *dp, uint16_t id, struct err *e);
int loop_start(struct loop *l, struct err *e);
/* Before any of them is freed: they pass packets to each other. */
void loop_stop(struct loop *l);
void loop_free(struct loop *l);

struct worker *loop_worker(struct loop *l);
/* Wakes the worker if it sleeps: after orders were queued. */
void loop_wake(struct loop *l);

struct loop_counts { /* as they stood between two rounds of the loop */
	struct counts c;
	int64_t imbalance;
	uint32_t n_hold, n_vm_hold; /* packets that wait: in all, and for VMs on their way here */
	uint64_t sleeps;
	bool asleep;
	bool exact; /* false: the worker did not answer in time, and the numbers may be of different moments */
};

void loop_counts(struct loop *l, struct loop_counts *out);
