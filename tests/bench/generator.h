/* SPDX-License-Identifier: BSD-3-Clause */
/* generator.h - what generator.c is, and what paced.c measures with it: latency. */
#pragma once

#include "workloads.h"

#include <rte_ethdev.h>

#define GENERATOR_BURST	   32
#define GENERATOR_DRAIN_MS 20 /* until what is on its way is back */

struct out { /* of a port */
	uint16_t n, done;
	struct rte_mbuf *m[GENERATOR_BURST];
};

struct stamps;

struct generator {
	struct rte_mempool *pool;
	bool swapped;	 /* macswap comes back, not what a router makes of it */
	uint16_t queues; /* of a port, to receive from */
	uint32_t vms;
	struct load load;
	uint16_t bytes;	 /* of the frames that stand in the slots */
	uint32_t filled; /* how often frames were put there: the upper half of their marks */
	uint8_t *slots;
	uint32_t n, next, stride;
	struct out out[RIG_PORTS];
	uint64_t sent, received, until_check;
	uint64_t unanswered;   /* junk that stood in the vectors: a router gives none of it back */
	struct stamps *stamps; /* NULL: nobody wants to know when frames come back */
};

_Noreturn void __attribute__((format(printf, 1, 2))) generator_die(const char *fmt, ...);
/* The next `n` frames, at most GENERATOR_BURST and from number `g->next` on, into the vectors of their ports, which are empty. How many
 * stand there: fewer at the end of the slots; 0 when all buffers are on their way. */
uint32_t generator_next(struct generator *g, uint32_t n);
/* Sends what stands there; false: some of it was not taken. */
bool generator_send(struct generator *g);
/* What was not taken is dropped. */
void generator_forget(struct generator *g);
void generator_receive(struct generator *g);
void generator_receive_for(struct generator *g, uint64_t ms);
/* Of 100 of so many that were sent, less junk, how many did not come back, since both were counted from 0. */
double generator_lost(const struct generator *g, uint64_t sent);
/* The number of a frame that came back; UINT64_MAX: it is none of those that stand in the slots. */
uint64_t generator_number(const struct generator *g, struct rte_mbuf *m);

/* ---- paced.c ---- */

/* A frame that came back, in generator_receive(), while `g->stamps` is set. */
void stamps_take(struct generator *g, struct rte_mbuf *m, uint64_t tsc);
/* So many frames a second, evenly spaced; what the device's ring does not take at once is lost. Prints frames that were sent (a second, in
 * millions), that were lost of 100, and the latency of those that came back: median, 99 %, 99.9 %, most, in ns. */
void paced_run(struct generator *g, double mpps, uint64_t warm_ms, uint64_t ms);
/* One frame alone, `count` times, each after a pause in which nothing is sent and nobody polls; prints the ns of each, 0: it was lost. */
void paced_ping(struct generator *g, uint32_t count, uint32_t pause_us);
