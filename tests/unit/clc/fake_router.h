/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_router.h - routers as the controller sees them: a channel each, and VMs that the whole group shares.
 */
#pragma once

#include "fake_env.h"

#include <jansson.h>
#include <net/channel.h>

#define FAKE_ROUTERS 3

enum fake_fault {
	FAULT_NONE,
	FAULT_REFUSE,	   /* the next change is refused */
	FAULT_LOSE_REPLY,  /* the next change is done, and the channel lost before its reply */
	FAULT_LOSE_BEFORE, /* the channel is lost before the next change is done */
};

enum fake_hostility {
	HONEST,
	HOSTILE_WRONG,	 /* every answer is damaged by chance */
	HOSTILE_SILENT,	 /* keeps the channel up and never answers */
	HOSTILE_ENDLESS, /* its list of VMs has no end */
};

struct fake_group;

struct fake_router {
	struct fake_group *group;
	char name[32], address[32];
	struct channel_local local;
	uint8_t private_key[32];
	struct env_listener *listener; /* NULL: down */
	struct channel *channel;
	struct rpc *rpc;
	json_t *routes; /* prefix -> via */
	json_t *last;	/* parameters of the last change */
	json_t *staged; /* changes of the open transaction, NULL: none */
	enum fake_fault fault;
	enum fake_hostility hostility;
	unsigned int turn_away;		/* so many of the next connections are closed without an answer */
	struct rpc_request *unanswered; /* the last one, of a silent router */
	unsigned int calls, txns, changes, commits, parts, dry_runs;
	char after[64]; /* of the last subscription to events */
};

struct fake_group {
	struct fake_env f;
	struct channel_identity controller;
	struct fake_router r[FAKE_ROUTERS]; /* r-x, r-y, r-u */
	json_t *vms;			    /* "segment/mac" -> kind_vm */
	json_t *moves;	   /* "segment/mac@epoch" -> {"state", "plan", "router"} of prepared moves */
	unsigned int page; /* rows of show.vms, 0 = as asked */
};

/* Keys are made; `controller_key` is the public one that the routers pin. */
void fake_group_init(struct fake_group *g);
void fake_group_fini(struct fake_group *g);
void fake_router_down(struct fake_router *r);
void fake_router_up(struct fake_router *r);
/* An event to who subscribed. */
void fake_tell(struct fake_router *r, const char *cursor, json_int_t number);
/* The drains of a VM end. */
void fake_end_drains(struct fake_group *g, const char *id);
/* What a router does with a prepared move by itself: the VM has arrived, or its time is over; or it has lost it. */
void fake_arrive(struct fake_group *g, const char *id, json_int_t epoch);
void fake_time_out(struct fake_group *g, const char *id, json_int_t epoch);
void fake_forget_moves(struct fake_group *g);
/* Its state, or NULL. */
const char *fake_move_state(const struct fake_group *g, const char *id, json_int_t epoch);
json_t *fake_vm(const struct fake_group *g, const char *id);
