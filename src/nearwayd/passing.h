/* SPDX-License-Identifier: BSD-3-Clause */
/* passing.h - packets that go from one worker to another, because a port has fewer queues than there are workers.
 *
 *   receive queue --> its worker --- outlet, a ring for each other worker ---> worker: pipeline --- ring of the port ---> the queue's worker --> port
 *
 * Queue q of a port is worker (port + q) modulo workers', to receive and to send, so that ports with one queue are spread over workers. What a
 * worker sends by a port where it has no queue counts as sent when the ring took it, as with a driver's: the queue's worker keeps what the
 * driver does not take, so a queue that is full is a ring that is full, and packets are dropped there (tx_full). What waits when the port
 * goes down is freed, and counts as the port's tx_drops.
 */
#pragma once

#include "ports.h"

#include <dataplane/distributor.h>

struct relay { /* of packets that another worker sends */
	struct rte_ring *ring;
	uint16_t port, n;
	struct rte_mbuf *m[RX_MAX]; /* that the driver did not take yet */
	struct relay *next;
};

struct passing {
	uint16_t id, workers;
	bool distributes;		 /* any outlet is there */
	struct outlet out[PLAN_WORKERS]; /* received packets, to who forwards them */
	struct exit {
		struct rte_ring *ring; /* NULL: by a queue of its own */
		uint16_t queue, to;    /* the queue, or else whose it is */
	} exits[PLAN_PORTS];
	struct relay *relays;
};

/* The worker that a queue of the port belongs to. */
uint16_t passing_owner(const struct port *p, uint16_t queue, uint16_t workers);
/* All that leads from this worker to others; ports are open. 0 or -errno with the reason. */
int passing_open(struct passing *x, const struct ports *ps, const struct plan *plan, uint16_t id, int node,
	struct err *e);
void passing_close(struct passing *x);
/* What the other worker sends by this one; then, 0 or -ENOMEM. Before either runs. */
int passing_join(struct passing *x, const struct passing *from, int node);
