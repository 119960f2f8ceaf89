/* SPDX-License-Identifier: BSD-3-Clause */
/* state.h - what the controller knows of VMs, kept in SQLite: a row per VM, a row per MAC that was deleted.
 *
 * An intent (creating, moving, deleting) is stored before a router is told, so that a command that was cut
 * off is finished by giving it again. Which addresses are taken follows from the rows alone: nothing to keep
 * in step.
 */
#pragma once

#include "inventory.h"

#include <api/kinds.h>
#include <store/store.h>
#include <uthash.h>

#define HELD_MAX 1024 /* old addresses of a VM: far more than routers let drain */

enum vm_step {
	VM_ACTIVE,
	VM_CREATING,
	VM_MOVING,
	VM_DELETING,
	VM_PREPARED,   /* its move is prepared or paused, or about to be */
	VM_COMMITTING, /* the router shall commit it, or has done so by itself: the VM has arrived */
	VM_ABORTING,
};

enum vm_ended { ENDED_NONE, ENDED_COMMITTED, ENDED_ABORTED };

struct held { /* an old global address that may still be translated, and must not be given to another VM */
	ip4 private_ip, global_ip;
	char site[NAME_LEN + 1];
	uint64_t epoch; /* since which it is not live any more */
};

struct clc_vm {
	char name[NAME_LEN + 1];
	char segment[NAME_LEN + 1];
	struct mac mac;
	char site[NAME_LEN + 1];
	uint64_t epoch;
	int step;	       /* enum vm_step */
	struct list addresses; /* vm_address */
	struct list held;      /* held */
	/* VM_MOVING, VM_PREPARED, VM_COMMITTING, VM_ABORTING: what it will be */
	char to[NAME_LEN + 1];
	uint64_t to_epoch;
	struct list to_addresses;
	uint64_t drain_min_ms, drain_max_ms; /* UINT64_MAX = as the router has it */
	int sessions;			     /* enum session_policy, as asked; below 0: not said */
	/* How the last prepared move ended, so that commit and abort may be given again. */
	int ended; /* enum vm_ended */
	uint64_t ended_epoch;

	bool dirty, gone;		  /* to be written, to be removed with the next state_commit() */
	char id[NAME_LEN + 1 + MAC_TEXT]; /* SEGMENT/MAC */
	UT_hash_handle by_name, by_id;
};

extern const struct kind kind_clc_vm, kind_held;

struct tombstone {
	char id[NAME_LEN + 1 + MAC_TEXT];
	uint64_t epoch;
	UT_hash_handle hh;
};

struct taken { /* a global address */
	ip4 global_ip;
	UT_hash_handle hh;
};

struct state {
	const struct inventory *inv;
	struct store *db;
	struct clc_vm *vms; /* by name */
	struct clc_vm *ids;
	struct tombstone *tombstones;
	struct taken *taken; /* made by pool_take_stock() */
	struct {	     /* all before it in the site's pools are taken */
		const struct inv_site *site;
		size_t pool;
		uint64_t address;
	} searched;
	json_t *evacuation; /* the one that is not at its end (evacuation.h); NULL: none is */
	json_t *skipped;    /* keys of rows that could not be read: an object */
	bool dry;	    /* nothing is written: what is committed lives as long as this does */
};

/* A row that cannot be read is told, left alone and skipped: one must not cost the others. */
int state_open(struct state *s, const struct inventory *inv, struct err *e);
void state_close(struct state *s);

struct clc_vm *state_find(const struct state *s, const char *name);
struct clc_vm *state_find_id(const struct state *s, const char *segment, const struct mac *mac);
/* A new VM in memory, to be committed; NULL when name or MAC are known, a row of the name was skipped, or
 * there is no memory. */
struct clc_vm *state_add(struct state *s, const char *name, const char *segment, const struct mac *mac);
uint64_t state_last_epoch(
	const struct state *s, const char *segment, const struct mac *mac); /* of a deleted VM */
/* Writes dirty rows, removes those that are gone (and remembers their epochs): all or nothing. */
int state_commit(struct state *s, struct err *e);
/* The epoch after this one; 0 and `e` when that was the last, which only a router can have told. */
uint64_t epoch_after(uint64_t epoch, struct err *e);
/* Drops a VM that was never committed. */
void state_forget(struct state *s, struct clc_vm *vm);
json_t *vm_row(const struct clc_vm *vm);
/* One is under way, or with NULL none any more. */
int state_set_evacuation(struct state *s, json_t *evacuation_stolen, struct err *e);

/* ---- allocation (pool.c) ---- */

void pool_take_stock(struct state *s); /* counts what the rows hold; then pool_global() may be called */
void pool_free(struct state *s);
/* The lowest free global address of the site; 0 and `e` when there is none. */
ip4 pool_global(struct state *s, const struct inv_site *site, struct err *e);
ip4 pool_private(const struct state *s, const struct inv_segment *seg, struct err *e);
/* 0, or why this one cannot be given. */
int pool_check_private(const struct state *s, const struct inv_segment *seg, ip4 a, struct err *e);
int pool_mac(const struct state *s, const char *segment, struct mac *mac, struct err *e);
/* Does the address lie in the site's pools? */
bool pool_has(const struct inv_site *site, ip4 a);

/* ---- transitions of one VM: pure, in memory ---- */

/* Begins a move, or turns one that is under way; new global addresses are allocated. */
int vm_begin_move(struct state *s, struct clc_vm *vm, const struct inv_site *to, struct err *e);
void vm_undo_move(struct clc_vm *vm);
void vm_end_move(struct clc_vm *vm);  /* the router has acknowledged it */
void vm_end_abort(struct clc_vm *vm); /* the router has: its epoch is used up */
/* A router shows that a prepared move has been committed, as it is when the VM arrives: to be finished like a commit. True when
 * that is news. */
bool vm_arrived(const struct inventory *inv, struct clc_vm *vm, const struct vm *seen);
/* Its router is, or is about to be, that of `to`. */
bool vm_is_leaving(const struct clc_vm *vm);
void vm_hold(struct clc_vm *vm, ip4 private_ip, ip4 global_ip, const char *site, uint64_t epoch);
/* What a router says of a VM: taken over when its epoch is higher than ours. True when something changed. */
bool vm_adopt(const struct inventory *inv, struct clc_vm *vm, const struct vm *seen);
/* Ends holds at `site` that its router does not show any more (`seen` NULL: it shows no such VM). Returns how
 * many. */
size_t vm_release(struct clc_vm *vm, const char *site, const struct vm *seen);
