/* SPDX-License-Identifier: BSD-3-Clause */
/* vmtab.h - VMs: (segment, IP), (segment, MAC) and global address -> slot -> immutable record.
 *
 *   key (segment, ip) ----\
 *   key (segment, mac) ----> slot number -> slot[] : one pointer -> struct vm_rec (immutable)
 *   key global address ---/
 *
 * Readers: workers, bulk. A record is valid until the worker reports quiescent. The look-up checks that the record
 *          still holds the key, so a key that leads to a slot whose record dropped it is a miss. A key that moves from
 *          one VM to another in one transaction is never missed: readers find the old record or the new one.
 * Writer:  the control thread, by transactions. prepare adds keys and builds records (may fail, changes nothing that a
 *          reader can tell); publish swaps one pointer per VM (cannot fail); retire removes keys that no record holds
 *          any more and frees old records after the grace period.
 * Size:    `vms` VMs, fixed at creation; on average two addresses and two global addresses each, counting those of the last
 *          transactions that are not retired yet.
 * Order:   the pointer swap is a release store, read with consume (load-acquire): a worker sees all of the old
 *          record or all of the new.
 */
#pragma once

#include "lfhash.h"

#include <rte_byteorder.h>
#include <rte_ether.h>

#define VM_REC_ADDRESSES 4
#define VM_REC_DRAINS	 4
#define ROUTER_SELF	 0	/* router index: 0 is this router, i + 1 is topo->peers[i] */
#define ATT_ANY		 0xffff /* at our attachments, not yet heard: replicate to each of the segment */

struct vm_rec_address {
	rte_be32_t ip; /* private */
	rte_be32_t
		global; /* 0 = none. Of the *owner's* site: this router translates it only if owner is self */
};

struct vm_rec_drain {
	rte_be32_t ip, global;
	uint8_t home;	/* router index that translates it */
	uint8_t direct; /* but what the VM sends by it, its owner translates and sends itself */
	uint8_t pad[2];
};

/* addresses[i].global is older than all that drain for the same private address: the VM returned to it. */
#define VM_REC_OLDEST(i) (1u << (i))
/* A move is on its way: */
#define VM_REC_NOTES (1u << 8) /* about to leave: its sessions are noted though nothing drains */
#define VM_REC_OPEN \
	(1u << 9) /* it came; until the old router's list of sessions has ended, unknown ones are old */
#define VM_REC_HOLDS (1u << 10) /* on its way here: what goes to it at our attachments waits */

/* Two cache lines. The first has all that a VM with one old address is asked for; the second is read for those of further moves. */
struct vm_rec {
	struct rte_ether_addr mac;
	uint16_t seg;
	uint8_t owner;	  /* router index */
	uint8_t location; /* router index: self = own attachment `att`, else that peer */
	uint16_t att;	  /* attachment index or ATT_ANY */
	uint8_t n_addresses, n_drains;
	uint16_t flags; /* VM_REC_* */
	uint32_t slot;	/* filled in by vmtab */
	struct vm_rec_address addresses[VM_REC_ADDRESSES];
	struct vm_rec_drain drains[VM_REC_DRAINS]; /* oldest first */
	uint8_t pad[20];
	const struct vm_rec
		*prev; /* vmtab's own: the record before, while an address of it moves to another VM */
} __rte_cache_aligned;

_Static_assert(sizeof(struct vm_rec) == 128, "a VM record is two cache lines");
_Static_assert(offsetof(struct vm_rec, drains[1]) == 64, "the oldest drain ends the first line");

struct vm_key_ip {
	rte_be32_t ip;
	uint16_t seg;
	uint16_t zero;
};

struct vm_key_mac {
	struct rte_ether_addr mac;
	uint16_t seg;
};

struct plaintab;
struct vmtab;
struct vmtab_txn;

struct vmtab *vmtab_new(uint32_t vms, struct rcu *rcu);
void vmtab_free(struct vmtab *t);

/* n <= 64; recs[i] is the record or NULL. Keys, slots and records are prefetched in turn. */
void vmtab_by_ip(const struct vmtab *t, const struct vm_key_ip *keys, uint32_t n, const struct vm_rec **recs);
void vmtab_by_mac(
	const struct vmtab *t, const struct vm_key_mac *keys, uint32_t n, const struct vm_rec **recs);
/* Live (any owner) or draining here or elsewhere: the caller looks at the record. */
void vmtab_by_global(const struct vmtab *t, const rte_be32_t *keys, uint32_t n, const struct vm_rec **recs);

/* Those of its VMs that are plain: plaintab.h. */
const struct plaintab *vmtab_plain(const struct vmtab *t);

/* Writer. A transaction of any number of VMs; a VM appears in it at most once. Transactions may overlap in time, as long
 * as they change different VMs and addresses (-EBUSY). `changes` is a hint. NULL: no memory. */
struct vmtab_txn *vmtab_begin(struct vmtab *t, uint32_t changes);
/* 0, -ENOSPC, -ENOMEM, -EBUSY, -EINVAL (counts out of range, the VM is in this transaction already), -EEXIST: an IP or a
 * global address belongs to another VM that this transaction leaves in possession of it. */
int vmtab_prepare_put(struct vmtab_txn *x, const struct vm_rec *rec);
int vmtab_prepare_del(
	struct vmtab_txn *x, uint16_t seg, const struct rte_ether_addr *mac); /* 0, -ENOENT, -EBUSY... */
/* After the last put and del: 0, or -EEXIST as above where it depended on changes still to come (VMs may swap addresses,
 * in any order); then *who, unless NULL, is the prepared record that wants what another keeps. On any error: abort. */
int vmtab_prepare_end(struct vmtab_txn *x, const struct vm_rec **who);
void vmtab_publish(struct vmtab_txn *x); /* after a prepare_end() that returned 0 */
/* After publish and the grace period, in the order of publication; frees x. */
void vmtab_retire(struct vmtab_txn *x);
void vmtab_abort(struct vmtab_txn *x); /* instead of publish; frees x */

/* Calls fn(arg, slot) whenever a slot is free again: no reader knows it any more, and another VM may get it. */
void vmtab_on_free(struct vmtab *t, void (*fn)(void *arg, uint32_t slot), void *arg);
/* Calls it with a VM's record of before and the one that is published just now; NULL: there was, or is, none. */
void vmtab_on_change(
	struct vmtab *t, void (*fn)(void *arg, const struct vm_rec *was, const struct vm_rec *is), void *arg);
uint32_t vmtab_count(const struct vmtab *t);
uint32_t vmtab_slots(const struct vmtab *t);			     /* slot numbers are below this */
const struct vm_rec *vmtab_at(const struct vmtab *t, uint32_t slot); /* NULL when empty */
