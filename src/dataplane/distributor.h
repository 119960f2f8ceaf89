/* SPDX-License-Identifier: BSD-3-Clause */
/* distributor.h - packets of a port that has fewer receive queues than there are workers.
 *
 * Who polls a queue of it says by each packet's flow whose it is, and passes it on by a ring: one producer, one consumer, in bulk. In
 * each direction a VM's packets are one worker's, in order: from it by its MAC, to it by its address, in a tunnel by the two MACs inside.
 * A packet counts as received where it is forwarded, or where it was dropped because that worker is behind (distributor_full).
 */
#pragma once

#include "worker.h"

#define OUTLET_RING 512

struct outlet { /* to another worker */
	struct rte_ring *ring;
	uint16_t n;
	struct rte_mbuf *m[RX_MAX]; /* of this round */
};

/* The worker, of so many, that forwards a received packet, whose metadata is set: 0 .. workers - 1. */
uint16_t distributor_worker(struct rte_mbuf *m, uint16_t workers);
/* Passes on what is in the outlet; false: nothing was. Drops what the ring does not take. */
bool distributor_pass(struct worker *w, struct outlet *o);
