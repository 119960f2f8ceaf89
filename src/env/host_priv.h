/* SPDX-License-Identifier: BSD-3-Clause */
/* host_priv.h - inside of the host environment: host_loop.c, host_stream.c, host_store.c. */
#pragma once

#include "host.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct event;

struct share { /* of a turn of the loop: what was used of it */
	uint64_t turn;
	unsigned int used;
};

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

	uint64_t turn;		 /* number of this one, */
	struct event *turn_over; /* behind all that was ready when it began */
	struct share strangers;
};

#define HOST_READ_MAX 65536
/* What strangers may cost one turn of the loop, in which everybody else waits for them: about a millisecond. */
#define TURN_ACCEPTS   8 /* of a listener */
#define TURN_STRANGERS 4 /* reads; what is read is at most the beginning of a handshake, two X25519 */

void host_stream_ops(struct env_ops *ops); /* fills in dial and the rest of streams */
void host_listen_ops(struct env_ops *ops);
int host_stream_start(struct host *h);
/* One more in this turn? Else what is ready stays so, and the next turn finds it. */
bool host_has_turn(struct host *h, struct share *s, unsigned int max);

/* ---- for streams and listeners ---- */

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* unix only */
};

int host_address(const char *text, struct address *a); /* 0 or -EINVAL */
int host_socket(const struct address *a);	       /* a descriptor or -errno */
void host_tune_tcp(int fd);
/* A connection's stream, told to accepted(), who attaches itself or lets it go. Takes the descriptor. */
void host_accepted(struct host *h, int fd, const struct env_peer_id *id,
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id), void *arg);
