/* SPDX-License-Identifier: BSD-3-Clause */
/* changes.h - what changes.c and staged.c share: changes that were read, and the transaction that applies them. */
#pragma once

#include "state.h"

struct change {
	const struct method *method;
	int (*apply)(struct core *c, const void *params, json_t *out, struct fail *f);
	void *params;
};

/* Reads a list of txn_change into `out`; 0, or an RPC_ code with "changes[i]: " before the reason, and then none is
 * there. */
int changes_read(const struct list *l, struct change *out, struct fail *f);
void changes_free(struct change *changes, size_t n);

struct staged;

struct change_txn {
	struct txn txn;
	struct rpc_request *request;
	enum channel_role role;
	uint64_t term;
	char name[112], method[NAME_LEN + 1];
	bool list;	       /* its results and refusals name the change */
	struct staged *staged; /* has the changes; NULL: they are its own */
	struct change *changes;
	size_t n;
	json_t *results; /* of each change; a staged one tells none */
};

struct change_txn *change_txn_new(struct session *s, struct rpc_request *r, const char *method);

/* ---- staged.c ---- */

/* The commit of a staged transaction is over; it made it live, and so ended it, or not. */
void staged_committed(struct staged *st, bool over);
