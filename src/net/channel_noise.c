/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel_priv.h"
#include "keys.h"

#include <common/log.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

/* ---- frames out ---- */

static int
write_frame(struct channel *c, uint8_t *framed, size_t body)
{
	framed[0] = (uint8_t)(body >> 8);
	framed[1] = (uint8_t)body;
	return c->env->ops->stream_write(c->stream, framed, body + 2);
}

/* One transport message. */
static int
write_sealed(struct channel *c, const void *p, size_t len)
{
	uint8_t out[2 + NOISE_MESSAGE_MAX];
	size_t n;

	if (noise_write(c->noise, p, len, out + 2, &n) != 0) {
		channel_fail(c, "the session's nonces are used up");
		return -ENOTCONN;
	}
	if (++c->tx_frames == REKEY_FRAMES) {
		noise_rekey_tx(c->noise);
		c->tx_frames = 0;
	}
	return write_frame(c, out, n);
}

static int
write_handshake(struct channel *c)
{
	uint8_t out[2 + NOISE_IK_MSG1];
	size_t n;

	if (noise_write(c->noise, NULL, 0, out + 2, &n) != 0)
		return -EBADMSG;
	return write_frame(c, out, n);
}

/* `text` has one byte of room in front of it. Each part's flag goes in front of the part: over the last byte
 * of the part before, which has left already. */
int
secure_send(struct channel *c, char *text, size_t len)
{
	int rc = 0;

	while (rc == 0 && len > 0) {
		size_t part = len < PART_MAX ? len : PART_MAX;

		text[-1] = len > part;
		rc = write_sealed(c, text - 1, part + 1);
		text += part;
		len -= part;
	}
	return rc;
}

void
secure_beat(struct channel *c)
{
	c->beat_at = env_call(c->env, now_ms) + BEAT_MS;
	if (write_sealed(c, NULL, 0) == -ENOSPC)
		channel_fail(c, "send queue full: the other side does not read");
}

static void
send_hello(struct channel *c)
{
	/* Only routers listen, and a router is a peer, whoever calls. */
	enum channel_role role = c->initiator ? c->role : ROLE_PEER;
	json_t *hello = json_pack("{s:s, s:s, s:i}", "name", c->name, "role", channel_role_name(role),
		"version", HELLO_VERSION);
	char text[1 + PART_MAX]; /* a hello is one part, and stays one with all segments of a router in it */
	size_t n;

	if (c->extra != NULL)
		json_object_update_missing(hello, c->extra);
	n = json_dumpb(hello, text + 1, PART_MAX, JSON_COMPACT);
	json_decref(hello);
	if (n == 0 || n > PART_MAX)
		channel_fail(c, "own hello does not fit");
	else if (secure_send(c, text + 1, n) != 0)
		channel_fail(c, "cannot send hello");
}

/* ---- handshake ---- */

void
secure_start(struct channel *c)
{
	c->state = CH_SHAKING;
	if (write_handshake(c) != 0)
		channel_fail(c, "the pinned key of %s is no key", c->peer.name);
}

/* The responder: nothing happens for a stranger, not even a reply. */
static void
message_one(struct channel *c, const uint8_t *p, size_t len)
{
	const struct channel_identity *id;
	char text[KEY_TEXT];
	uint8_t none[NOISE_IK_MSG1];
	size_t n;

	if (noise_read(c->noise, p, len, none, &n) != 0) {
		channel_fail(
			c, "handshake refused: another router's key or name, another protocol, or damaged");
		return;
	}
	id = c->find(c->arg, noise_remote_static(c->noise));
	if (id == NULL) {
		channel_fail(c, "unknown key %s", key_format(noise_remote_static(c->noise), text));
		return;
	}
	c->peer = *id;
	noise_set_psk(c->noise, c->peer.psk);
	if (write_handshake(c) != 0) {
		channel_fail(c, "handshake refused");
		return;
	}
	c->state = CH_HELLO;
	send_hello(c);
}

static void
message_two(struct channel *c, const uint8_t *p, size_t len)
{
	uint8_t none[NOISE_IK_MSG2];
	size_t n;

	/* Which of the two it was is nobody's business. */
	if (noise_read(c->noise, p, len, none, &n) != 0) {
		channel_fail(c, "handshake refused: %s has another key or psk than configured", c->peer.name);
		return;
	}
	c->state = CH_HELLO;
	send_hello(c);
}

static bool
member_is(const json_t *o, const char *name, const char *want)
{
	const char *got = json_string_value(json_object_get(o, name));

	return got != NULL && strcmp(got, want) == 0;
}

static const char *
hello_fault(const struct channel *c, const json_t *hello)
{
	const json_t *version = json_object_get(hello, "version");

	if (!json_is_object(hello))
		return "not an object";
	if (!json_is_integer(version) || json_integer_value(version) != HELLO_VERSION)
		return "another version";
	if (!member_is(hello, "name", c->peer.name))
		return "the name is not that of the key";
	if (!member_is(hello, "role", channel_role_name(c->initiator ? ROLE_PEER : c->peer.role)))
		return "the role is not that of the key";
	return NULL;
}

static void
take_hello(struct channel *c, const uint8_t *p, size_t len)
{
	char hash_text[17];
	uint8_t hash[32];
	const char *fault;

	c->hello = len > 1 && p[0] == 0 ? channel_parse((const char *)p + 1, len - 1) : NULL;
	fault = hello_fault(c, c->hello);
	if (fault != NULL) {
		channel_fail(c, "hello of %s refused: %s", c->peer.name, fault);
		return;
	}
	noise_hash(c->noise, hash);
	log_info("channel: %s %s up, %s, handshake %s",
		channel_role_name(c->initiator ? ROLE_PEER : c->peer.role), c->peer.name, c->from,
		sodium_bin2hex(hash_text, sizeof(hash_text), hash, 8));
	channel_came_up(c);
}

/* ---- frames in ---- */

int
secure_frame_len(const struct channel *c, size_t len)
{
	if (c->state == CH_SHAKING)
		return len == (c->initiator ? NOISE_IK_MSG2 : NOISE_IK_MSG1) ? 0 : -EMSGSIZE;
	return len >= NOISE_TAG ? 0 : -EMSGSIZE; /* two bytes cannot say more than NOISE_MESSAGE_MAX */
}

static void
take_part(struct channel *c, const uint8_t *p, size_t len)
{
	bool more = p[0] == 1;

	if (p[0] > 1 || len == 1) {
		channel_fail(c, "malformed part");
		return;
	}
	if (!more && buf_len(&c->message) == 0) { /* the usual case: a message of one part */
		channel_deliver(c, p + 1, len - 1);
		return;
	}
	if (buf_append(&c->message, p + 1, len - 1) != 0) {
		channel_fail(c, "message above %u bytes", CHANNEL_MESSAGE_MAX);
		return;
	}
	if (more)
		return;
	channel_deliver(c, buf_head(&c->message), buf_len(&c->message));
	buf_fini(&c->message); /* a big one is rare: its memory goes back */
}

static void
transport(struct channel *c, uint8_t *p, size_t len)
{
	if (noise_read(c->noise, p, len, p, &len) != 0) {
		channel_fail(c, "frame damaged, replayed or lost");
		return;
	}
	if (++c->rx_frames == REKEY_FRAMES) {
		noise_rekey_rx(c->noise);
		c->rx_frames = 0;
	}
	if (c->state == CH_HELLO) {
		take_hello(c, p, len);
		return;
	}
	c->heard_by = env_call(c->env, now_ms) + SILENCE_MS;
	if (len > 0) /* an empty one is a heartbeat */
		take_part(c, p, len);
}

void
secure_frame(struct channel *c, uint8_t *p, size_t len)
{
	if (c->state != CH_SHAKING)
		transport(c, p, len);
	else if (c->initiator)
		message_two(c, p, len);
	else
		message_one(c, p, len);
}
