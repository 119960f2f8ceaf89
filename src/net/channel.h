/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.h - messages over one stream: JSON texts up to CHANNEL_MESSAGE_MAX, encrypted or plain.
 *
 *   encrypted (controllers, peers):  2-byte big-endian length + Noise message; a JSON text is cut into parts,
 *                                    each plaintext: 1 byte (0 = last part, 1 = more follows) + bytes of JSON
 *   plain (the unix socket):         4-byte big-endian length + JSON text
 *
 * Encrypted channels hold what docs/controller-protocol.md says: exact handshake lengths, a
 * deadline of 5 s for the handshake and 10 s for a frame once begun, hello (name, role, version) in the first
 * transport message of each side, heartbeat every 5 s and death after 15 s of silence, new keys every hour or
 * GiB.
 *
 * A side that does not read: while more than CHANNEL_WAITING_MAX bytes wait to be sent to a controller, observer or
 * local user, nothing is read from it. An encrypted channel of which nothing has left for 10 s although
 * something waits is closed.
 *
 * A side that says much: its messages have about 2 ms of a turn of the event loop, in which all others wait; then they
 * have theirs.
 */
#pragma once

#include <env/env.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CHANNEL_MESSAGE_MAX (1u << 20)
#define CHANNEL_WAITING_MAX (1u << 20)
#define CHANNEL_PROLOGUE    "nearway/1 " /* + the responder's name */

enum channel_role { ROLE_CONTROLLER, ROLE_PEER, ROLE_OBSERVER, ROLE_LOCAL };

const char *channel_role_name(enum channel_role r);

struct channel;

struct channel_identity { /* what a pinned key stands for */
	char name[32];
	enum channel_role role;
	uint8_t key[32]; /* public */
	uint8_t psk[32]; /* zero = none */
};

struct channel_ops {
	/* Both hellos are confirmed: messages may flow. */
	void (*up)(void *arg, struct channel *c);
	/* One whole message; the callee borrows `msg`. NULL: what came is not JSON as we take it (UTF-8, no
	 * NUL, no duplicate members, at most 16 levels); rpc_message() answers that, too. */
	void (*message)(void *arg, struct channel *c, json_t *msg);
	/* The channel is gone when this returns. Not called after channel_close(). */
	void (*down)(void *arg, struct channel *c, const char *why);
	/* Everything sent has left, so that more may be sent without its piling up. NULL: of no interest. */
	void (*drained)(void *arg, struct channel *c);
};

struct channel_local { /* this end */
	struct env *env;
	char name[32];
	enum channel_role role; /* announced when dialling; who is dialled is a router and says "peer" */
	/* 32 bytes, read again at each renewal: it lives as long as the channel, and may become another key. */
	const uint8_t *private_key;
	json_t *hello; /* further members of the hello, e.g. {"term": 7}; borrowed for the call */
};

/* Dials `address` and becomes the initiator towards `to` (name, key, psk pinned). */
struct channel *channel_dial(const struct channel_local *local, const struct channel_identity *to,
	const char *address, const struct channel_ops *ops, void *arg);
/* The responder's side of an accepted stream. `find` maps the initiator's static key to its identity, or
 * NULL: then the stream is closed without a reply. It is asked again at each renewal. */
struct channel *channel_accept(const struct channel_local *local, struct env_stream *s,
	const struct env_peer_id *from,
	const struct channel_identity *(*find)(void *arg, const uint8_t key[32]),
	const struct channel_ops *ops, void *arg);
/* A plain channel over a unix stream, accepted (from != NULL) or dialled; up at once (from the event loop).
 */
struct channel *channel_plain_accept(struct env *env, struct env_stream *s, const struct env_peer_id *from,
	const struct channel_ops *ops, void *arg);

int channel_send(struct channel *c, const json_t *msg); /* 0, -EMSGSIZE, -ENOTCONN, -ENOSPC (closed) */
int channel_send_text(struct channel *c, const char *text, size_t len); /* the same, of JSON text */
/* No message is delivered and nothing is read, so that the transport pushes back, until it is called with
 * false. */
void channel_pause(struct channel *c, bool paused);
size_t channel_message_len(const struct channel *c); /* of the message that is being delivered, as text */
bool channel_idle(const struct channel *c);	     /* everything sent has left */
void channel_close(struct channel *c);
const struct channel_identity *channel_peer(const struct channel *c); /* valid once up */
const json_t *channel_hello(const struct channel *c);		      /* the other side's hello, once up */
const char *channel_from(const struct channel *c);		      /* address text, for logs */
uint64_t channel_heard_at(const struct channel *c); /* boot clock: its last frame came; of an encrypted one */
/* In down(): we dialled, and were closed without an answer. So a router does with whom it does not know, with whom knows
 * another key or name of it, and with newcomers while there are too many. */
bool channel_turned_away(const struct channel *c);
void channel_set_arg(struct channel *c, const struct channel_ops *ops, void *arg);
