/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_world.h - a controller `clc` that dials a router `r-x` in the environment of tests, a wire between them that plays tricks,
 * and strangers that write raw bytes. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <common/log.h>
#include <net/channel.h>
#include <net/keys.h>
#include <net/noise.h>
#include <sodium.h>

#include "fake_env.h"

#define ADDRESS "192.0.2.1:7411"

struct world {
	struct fake_env f;
	struct channel_local clc, router;
	uint8_t clc_key[32], router_key[32];
	struct channel_identity known_clc, known_router; /* as the other side pins them */
	struct env_listener *listener;
	struct end {
		struct channel *c;
		unsigned int up, messages, not_json, down;
		size_t last_len, room; /* room: what its frame had when it went down */
		bool close_in_message;
		char why[200];
	} a, b; /* dialler, responder */
	/* What goes over the wire, by direction, and one thing to do to it. */
	struct buf sent[2];
	long flip_at[2], cut_at[2];		       /* byte of a direction; -1 = none */
	enum trick { NONE, REPLAY, SWAP, LOSE } trick; /* with the dialler's next frames */
	struct buf held;
	uint64_t finds;
};

extern struct world *world_of_find;  /* the one that was made last */
extern const struct channel_ops ops; /* they count what happens into a struct end */

void world_init(struct world *w);
void world_fini(struct world *w);
void connect_world(struct world *w); /* dials, and runs until nothing is under way */
/* {"text": "xxx"} with so many x. */
void send_text(struct channel *c, size_t len, int expected);

struct stranger {
	struct env_stream *s;
	bool closed;
	size_t got;
};

extern const struct env_stream_ops stranger_ops;

void stranger_write(struct world *w, struct stranger *x, const void *p, size_t n);
/* Changes some bytes of p by chance. */
void mutate(uint8_t *p, size_t *n, size_t room);
