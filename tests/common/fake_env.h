/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_env.h - an environment in memory for tests: a clock that stands until it is pushed, and streams whose
 * bytes arrive when fake_run() is called. No store, no forwarding: a test fills in what it needs.
 */
#pragma once

#include <common/buf.h>
#include <env/env.h>

struct fake_env {
	struct env env;
	struct env_ops ops;
	uint64_t now_ms;
	size_t chunk; /* bytes for each data() callback; 0 = all that is there */
	/* Sees, and may change, what is written before it goes on the wire. */
	void (*wire)(void *arg, bool by_dialler, struct buf *bytes);
	void *wire_arg;
	struct env_timer *timers;
	struct env_stream *streams;
	struct env_listener *listeners;
	uint64_t seq;
};

void fake_init(struct fake_env *f);
/* Asserts that no timer, stream or listener was forgotten. */
void fake_fini(struct fake_env *f);
void fake_read(struct env_stream *s, size_t n);	     /* so many bytes of a paused stream arrive */
void fake_run(struct fake_env *f);		     /* until nothing is under way */
void fake_advance(struct fake_env *f, uint64_t ms);  /* timers fire in order, each at its own time */
unsigned int fake_streams(const struct fake_env *f); /* that are open */
