/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_hold.h - packets for a VM that is on its way here wait, in order, until its record says that this is over.
 *
 *   to-vm, bridge: the record has VM_REC_HOLDS -----> the VM's queue, in the worker that the packet came to
 *   begin of a burst: a record without it -----------> what waits enters again, where it was, ahead of the burst
 *
 * The record is the truth, and may change at any moment: a packet that was released and finds the flag again goes back to where it
 * stood. While anything of a VM waits, what is newer waits behind it. Released without the VM having come (its owner is a peer):
 * what came through the tunnel goes back through it.
 *
 * Owner: one worker. Nothing is allocated after vm_hold_init(); a packet's place in its queue is in its metadata.
 * Size:  topology's hold limits, of which each worker has an equal part.
 */
#pragma once

#include "tables/vmtab.h"

#include <rte_mbuf.h>
#include <sys/queue.h>

struct worker;
struct vec;
struct vm_queue;

TAILQ_HEAD(vm_queues, vm_queue);

struct vm_hold {
	uint32_t n_queues; /* 0: nothing is held, and that is all that a packet pays */
	uint32_t packets;  /* that wait, and their bytes */
	uint64_t bytes;
	bool behind;		  /* more is released than fits a burst: receive less meanwhile */
	struct vm_queues queues;  /* those in use; the first is looked at next */
	struct vm_queue **bucket; /* by hash of segment and MAC */
	struct vm_queue *all, *free;
	uint32_t size, fresh; /* of all: how many, and how many were never used */
};

/* Room for so many VMs at once; 0 or -ENOMEM. */
int vm_hold_init(struct vm_hold *h, uint32_t vms);
void vm_hold_fini(struct vm_hold *h); /* frees what waits */

/* Does a packet for this VM wait? Not when we, its owner, know that it stands at a peer. */
static inline bool
vm_hold_due(const struct vm_rec *vm)
{
	return (vm->flags & VM_REC_HOLDS) && (vm->owner != ROUTER_SELF || vm->location == ROUTER_SELF);
}

/* Must vm_hold_take() be asked? */
static inline bool
vm_hold_asks(const struct vm_hold *h, const struct vm_rec *vm)
{
	return unlikely((vm->flags & VM_REC_HOLDS) | h->n_queues);
}

/* A packet for the VM is about to be forwarded, and would go on at `enter`. True: it waits, or was dropped for want of room. */
bool vm_hold_take(struct worker *w, struct rte_mbuf *m, const struct vm_rec *vm, uint8_t enter);
/* Begin of a burst: looks at some of the records, adds what they release to `rx`, which keeps some room. Only while n_queues is not 0. */
void vm_hold_round(struct worker *w, struct vec *rx);
