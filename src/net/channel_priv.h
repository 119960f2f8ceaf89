/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_priv.h - inside of a channel, shared by channel.c (life, timers, messages) and channel_noise.c
 * (handshake, encrypted frames).
 *
 *   encrypted:  CONNECTING -> SHAKING -> HELLO -> UP      plain:  CONNECTING -> UP
 *   any state -> DEAD: the stream is closed, `down` is still to be called, from a timer
 */
#pragma once

#include "channel.h"
#include "noise.h"

#include <common/buf.h>

#define HANDSHAKE_MS 5000  /* from accept, or from the dial, until both hellos are confirmed */
#define FRAME_MS     10000 /* from the first byte of a frame to its last */
#define BEAT_MS	     5000
#define SILENCE_MS   15000
/* Frames of one direction under one key: at most 1 GiB. */
#define REKEY_FRAMES  (1u << 14)
#define PART_MAX      (NOISE_MESSAGE_MAX - NOISE_TAG - 1)
#define HELLO_VERSION 1

enum channel_state { CH_CONNECTING, CH_SHAKING, CH_HELLO, CH_UP, CH_DEAD };

struct channel {
	struct env *env;
	struct env_stream *stream; /* NULL once gone */
	const struct channel_ops *ops;
	void *arg;
	enum channel_state state;
	bool plain, initiator;
	bool closed; /* by the user, while we are inside one of its callbacks */
	int busy;    /* depth of callbacks into the user */

	struct noise *noise;
	const struct channel_identity *(*find)(void *arg, const uint8_t key[32]);
	struct channel_identity peer;
	char name[32]; /* ours */
	enum channel_role role;
	json_t *extra; /* further members of our hello */
	json_t *hello; /* theirs */

	struct buf frame;	       /* the frame that is coming in: header and what is there of its body */
	struct buf message;	       /* the parts of the message that is coming in */
	uint64_t tx_frames, rx_frames; /* since the last rekey */

	struct env_timer *timer;
	uint64_t armed_at; /* when the timer will fire, 0 = not armed */
	/* Deadlines on the boot-time clock; 0 = none. */
	uint64_t up_by, frame_by, heard_by, beat_at;
	char from[96];
	char why[200];
};

/* Closes the stream now; the user hears of it from the event loop. */
void channel_fail(struct channel *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Makes sure that the timer fires at `at` or before. */
void channel_arm(struct channel *c, uint64_t at);
void channel_came_up(struct channel *c);
void channel_deliver(struct channel *c, const void *text, size_t len);
/* JSON text -> value: UTF-8, no NUL, no duplicate keys, depth at most CHANNEL_DEPTH_MAX, nothing behind it.
 */
json_t *channel_parse(const char *text, size_t len);

/* channel_noise.c */
void secure_start(struct channel *c); /* initiator: message 1 */
int secure_frame_len(
	const struct channel *c, size_t len); /* 0, or -EMSGSIZE: refused before its body is read */
void secure_frame(struct channel *c, uint8_t *p, size_t len); /* decrypts in place */
int secure_send(struct channel *c, char *text, size_t len);
void secure_beat(struct channel *c);
