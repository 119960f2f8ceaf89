/* SPDX-License-Identifier: BSD-3-Clause */
/* host_priv.h - inside of the host environment: host_loop.c, host_stream.c, host_store.c. */
#pragma once

#include "host.h"

struct event;

struct host {
	struct env env;
	struct env_ops ops;
	struct event_base *base;
	void *user;
	struct host_store *store;
	char boot_id[40];
	int code; /* of host_stop() */

	/* Timers: a binary heap by (due, seq) over one boot-time timerfd. */
	int timer_fd;
	struct event *timer_event;
	struct env_timer **heap;
	size_t n_heap, cap_heap;
	uint64_t timer_seq, armed_ms; /* armed_ms: when the timerfd fires, UINT64_MAX: not */
	uint8_t *read_buffer;	      /* HOST_READ_MAX; one loop, one read at a time */

	/* Of this turn of the loop; `turn_over` runs behind all that was ready when it began. */
	unsigned int accepts, strangers;
	struct event *turn_over;
};

#define HOST_READ_MAX 65536
/* What strangers may cost one turn of the loop, in which everybody else waits for them: about a millisecond. */
#define TURN_ACCEPTS   8
#define TURN_STRANGERS 4 /* reads; what is read is at most the beginning of a handshake, two X25519 */

void host_stream_ops(struct env_ops *ops); /* fills in dial, listen and the rest of streams */
int host_stream_start(struct host *h);
