/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_priv.h - inside of a channel, shared by channel.c (life, timers, messages), channel_flow.c (bytes, pauses),
 * channel_frames.c (encrypted frames) and channel_handshake.c (handshake, hello, renewal of keys).
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
#define STUCK_MS     10000 /* looked at with each beat */
#define TURN_MS	     2	   /* about: of messages in one turn of the event loop, for which all others wait */
/* The side that dialled renews the keys at this age, or once so much went one way under them (at most 2^26
 * frames: none is shorter than 18 bytes). The cipher would stand far more; what is bounded is what one session
 * key lays open. At RENEW_OVERDUE times that either side ends a channel that was not renewed. */
#define RENEW_MS       3600000
#define RENEW_BYTES    (UINT64_C(1) << 30)
#define RENEW_OVERDUE  2
#define RENEW_PAUSE_MS 1000 /* no renewal sooner behind the last one: each costs four X25519 */
#define PART_MAX       (NOISE_MESSAGE_MAX - NOISE_TAG - 1)
#define HELLO_VERSION  1

enum pause { PAUSE_USER = 1, PAUSE_QUEUE = 2, PAUSE_TURN = 4 }; /* why nothing is read; bits */

enum channel_state { CH_CONNECTING, CH_SHAKING, CH_HELLO, CH_UP, CH_DEAD };

struct channel {
	struct env *env;
	struct env_stream *stream; /* NULL once gone */
	const struct channel_ops *ops;
	void *arg;
	enum channel_state state;
	bool plain, initiator;
	bool turned_away;
	bool closed; /* by the user, while we are inside one of its callbacks */
	int busy;    /* depth of callbacks into the user */

	/* `next` is what a renewal makes. The responder writes by it from message 2 on, and reads by it once the
	 * initiator says that it does the same. */
	struct noise *noise, *next;
	const uint8_t *private_key; /* the user's */
	const struct channel_identity *(*find)(void *arg, const uint8_t key[32]);
	struct channel_identity peer;
	char name[32]; /* ours */
	enum channel_role role;
	json_t *extra; /* further members of our hello */
	json_t *hello; /* theirs */

	struct buf frame;	     /* the frame that is coming in: header and what is there of its body */
	struct buf message;	     /* the parts of the message that is coming in */
	uint64_t tx_bytes, rx_bytes; /* of frames under the current keys */

	unsigned int pauses;
	bool halted;	  /* the stream is paused; `later` comes first when it goes on */
	struct buf later; /* what had been read by then */
	size_t message_len;
	uint64_t written, left, left_at; /* bytes; what had left, and when it last became more */

	struct env_timer *timer;
	uint64_t armed_at; /* when the timer will fire, 0 = not armed */
	/* Deadlines on the boot-time clock; 0 = none. */
	uint64_t up_by, frame_by, heard_by, beat_at, renew_at, renewed_by;
	uint64_t keyed_at; /* when the current keys were made */
	uint64_t heard_at; /* the last frame came */
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

/* Around every callback into the user, who may close the channel in there: leave() is false when it did, and the channel is
 * gone. */
void channel_enter(struct channel *c);
bool channel_leave(struct channel *c);

/* ---- channel_flow.c ---- */

/* All that leaves passes here: 0 or -ENOSPC. */
int channel_write(struct channel *c, const void *p, size_t n);
/* Does anything leave of what waits? */
bool channel_is_stuck(struct channel *c);
/* What came on the stream: for its ops. */
void channel_data(void *arg, const uint8_t *p, size_t n);
void channel_set_pause(struct channel *c, enum pause why, bool on);
/* The pause is over, and what waited is taken. False: so is the channel. */
bool channel_go_on(struct channel *c);

/* ---- channel_frames.c ---- */

enum plain { PLAIN_LAST, PLAIN_MORE, PLAIN_RENEWAL }; /* first byte of a frame's plaintext; none: heartbeat */

int secure_frame_len(
	const struct channel *c, size_t len); /* 0, or -EMSGSIZE: refused before its body is read */
void secure_frame(struct channel *c, uint8_t *p, size_t len); /* decrypts in place */
int secure_send(struct channel *c, char *text, size_t len);   /* one byte of room in front of `text` */
void secure_beat(struct channel *c);
int write_frame(struct channel *c, uint8_t *framed, size_t body); /* two bytes of room in front of the body */
/* One transport message by the keys of `n`. */
int write_sealed(struct channel *c, struct noise *n, const void *p, size_t len);

/* ---- channel_handshake.c ---- */

int handshake_init(struct channel *c);
void handshake_start(struct channel *c); /* initiator: message 1 */
void handshake_frame(struct channel *c, const uint8_t *p, size_t len);
void handshake_hello(struct channel *c, const uint8_t *p, size_t len);
/* The initiator renews the keys, unless that is under way. */
void renewal_start(struct channel *c);
void renewal_frame(struct channel *c, const uint8_t *p, size_t len); /* behind its first byte */
