/* SPDX-License-Identifier: BSD-3-Clause */
/* methods.h - the method table, from methods.def. */
#pragma once

#include "schema.h"

enum permission { PERM_OBSERVE, PERM_CHANGE, PERM_LOCAL };

struct method {
	const char *name;
	const struct kind *params;
	enum permission perm;
	const char *help;
};

extern const struct method methods[];  /* ended by .name == NULL */
extern const struct method commands[]; /* the same and what nearway alone makes of them */
const struct method *method_find(const char *name);

#define TXN_CHANGES_MAX 1000000 /* of one transaction */
#define TXN_ID_MAX	INT64_MAX

struct txn_change { /* one of txn.apply's list */
	char method[NAME_LEN + 1];
	json_t *params; /* owned */
};

struct txn_params {
	bool dry_run;
	uint64_t if_revision; /* of the router; UINT64_MAX: any */
	struct list changes;  /* txn_change */
};

struct replace_params {
	bool dry_run;
	uint64_t max_remove, if_revision;
	struct list changes; /* txn_change */
};

struct import_params { /* state.replace of a file */
	bool dry_run;
	uint64_t max_remove;
};

struct state_file {
	char router[NAME_LEN + 1];
	uint64_t revision;
	uint64_t n_vms, n_routes; /* UINT64_MAX: not said */
	struct list vms;	  /* vm_move_params; without `old` and times a registration */
	struct list routes;	  /* route */
};

struct txn_open_params {
	bool replace;
};

#define SHA256_TEXT 64 /* hexadecimal digits */

struct txn_add_params {
	uint64_t txn, part;
	struct list changes; /* txn_change */
};

struct txn_commit_params {
	uint64_t txn, count;
	char sha256[SHA256_TEXT + 1];
	bool dry_run;
	uint64_t max_remove, if_revision;
};

struct txn_key_params {
	uint64_t txn;
};

extern const struct kind kind_state, kind_import_params, kind_txn_params, kind_replace_params,
	kind_txn_open_params, kind_txn_add_params, kind_txn_commit_params, kind_txn_key_params;

/* JSON-RPC error codes of ours, beside the specification's -32700..-32600. */
enum {
	RPC_PARSE = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_NO_METHOD = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL = -32603,
	RPC_DENIED = 1,	     /* role may not call this method */
	RPC_STALE_EPOCH = 2, /* data: the current VM */
	RPC_CONFLICT = 3,    /* same epoch, other content; address in use */
	RPC_NOT_FOUND = 4,
	RPC_LIMIT = 5,	    /* a named limit is reached */
	RPC_STORE = 6,	    /* storage refused; nothing was changed */
	RPC_EPOCH_STEP = 7, /* more than 2^32 over the known epoch */
	RPC_SUPERSEDED = 8, /* a controller with a higher term has spoken */
	RPC_REVISION = 9,   /* not at the revision that the caller knows; data: the object as it is */
	RPC_COMMITTED = 10, /* the move is committed already; data: the move */
	RPC_ABORTED = 11,   /* the move was aborted; data: the move */
};
