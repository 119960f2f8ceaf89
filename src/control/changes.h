/* SPDX-License-Identifier: BSD-3-Clause */
/* changes.h - what changes.c and staged.c share: changes that were read, and the transaction that applies them. */
#pragma once

#include "state.h"

struct change_kind {
	const char *name; /* of the method */
	int (*apply)(struct core *c, const void *params, json_t *out, struct fail *f);
	int of;
	bool desired; /* says what shall be: a replace is made of these */
	/* Its answer waits for more than its being live; NULL: it does not. */
	void (*answer)(struct core *c, const void *params, bool changed, json_t *result_stolen,
		struct rpc_request *r);
};

struct change {
	const struct method *method;
	const struct change_kind *kind;
	void *params;
};

struct object { /* one of them, or none */
	struct vm_obj *vm;
	struct route_obj *route;
};

/* ---- change.c ---- */

/* Finds the method and reads its parameters; 0 or an RPC_ code. */
int change_read(struct change *ch, const char *name, const json_t *params, struct fail *f);
/* Reads a list of txn_change into `out`, which is zero; `desired`: of what shall be alone. 0, or an RPC_ code with
 * "changes[i]: " before the reason, and then none is there. */
int changes_read(const struct list *l, bool desired, struct change *out, struct fail *f);
void changes_free(struct change *changes, size_t n);
/* What the change is of, as the model has it now; none: it does not exist. */
struct object change_object(struct core *c, const struct change *ch);
bool change_is_dry(const struct change *ch);
/* Makes it, if its object is at the revision that it asks for; 0 or an RPC_ code. */
int change_make(struct core *c, const struct change *ch, json_t *out, struct fail *f);
/* What a VM shall have; NULL: it says another thing. */
const struct list *change_addresses(const struct change *ch);

/* ---- changes.c ---- */

struct staged;

struct replace {
	uint64_t serial, max_remove;
	enum { REPLACE_NAME, REPLACE_REMOVE_VMS, REPLACE_REMOVE_ROUTES, REPLACE_PUT } step;
	struct vm_obj *vm; /* the next to be looked at */
	struct route_obj *route;
	struct replaced {
		size_t added, changed, unchanged, removed;
	} vms, routes;
};

struct change_txn {
	struct txn txn;
	struct rpc_request *request;
	enum channel_role role;
	uint64_t term;
	char name[112], method[NAME_LEN + 1];
	uint64_t if_revision;  /* of the router; UINT64_MAX: any */
	bool list;	       /* its results and refusals name the change */
	struct staged *staged; /* has the changes; NULL: they are its own */
	struct change *changes;
	size_t n, at;		 /* how many; the next to be applied */
	struct replace *replace; /* they are all that shall be; NULL: changes of what is */
	json_t *results;	 /* of each change; a staged one tells none */
};

struct change_txn *change_txn_new(struct session *s, struct rpc_request *r, const char *method);
void change_submit(struct session *s, struct change_txn *x);
/* Says in x->txn.fail, which has the reason, that it was the i-th; its code. */
int change_refused(struct change_txn *x, size_t i);

/* ---- replace.c: changes as the whole of what this router shall have ---- */

struct replace *replace_new(uint64_t max_remove);
int replace_apply(struct core *c, struct change_txn *x); /* as txn.apply() */
json_t *replace_result(const struct replace *r);

/* ---- staged.c ---- */

/* The commit of a staged transaction is over; it made it live, and so ended it, or not. */
void staged_committed(struct staged *st, bool over);
