/* SPDX-License-Identifier: BSD-3-Clause */
/* sync.h - what the two ends of an exchange share. Seen by sync.c, answers.c, news.c, handover.c and listing.c alone. */
#pragma once

#include "state.h"

#define PULL_VMS 200
#define LIST_VMS 8000 /* whose sessions are asked for at once: a question is below 1 MiB */

struct reply_to { /* an answer of the peer's, unless exchange or session is over */
	struct core *core;
	uint8_t peer;
	uint64_t serial;
	struct buf told; /* with the news: news.c */
	json_t *answer;	 /* kept until what came before it is in the model */
};

struct reply_to *reply_new(struct peer *p, uint64_t serial);
/* The i-th member of an array, when it is a text; else "". */
const char *text_at(const json_t *row, size_t i);

/* ---- listing.c: the sessions of VMs that went from here to the peer ---- */

void listing_init(struct peer *p);
void listing_fini(struct peer *p);
void listing_end(struct peer *p); /* nobody waits for the rest */
void listing_ask(struct peer *p, struct rpc_request *r, json_t *vms);
void listing_go_on(struct peer *p, struct rpc_request *r, json_int_t cursor);
