/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_handshake.c - the handshake that begins a channel, the hellos behind it, and the handshakes that
 * renew its keys later.
 *
 *   initiator                                       responder
 *       | message 1, as a plaintext                     |
 *       |---------------------------------------------->|
 *       |                     message 2, as a plaintext |  writes by the new keys from here on
 *       |<----------------------------------------------|
 *       | a renewal frame without a message             |
 *       |---------------------------------------------->|
 *    uses the new keys from here on                  reads by them, too; the old ones are wiped
 */
#include "channel_priv.h"
#include "keys.h"

#include <common/log.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* The responder's name is bound by the prologue, and in a renewal the session, too, whose keys it renews. */
static struct noise *
new_handshake(const struct channel *c, const struct noise *renews)
{
	uint8_t prologue[sizeof(CHANNEL_PROLOGUE) + sizeof(c->name) + NOISE_HASH];
	int len = snprintf((char *)prologue, sizeof(prologue), "%s%s", CHANNEL_PROLOGUE,
		c->initiator ? c->peer.name : c->name);

	if (renews != NULL) {
		noise_hash(renews, prologue + len);
		len += NOISE_HASH;
	}
	return noise_new(&(struct noise_config){
		.initiator = c->initiator,
		.prologue = prologue,
		.prologue_len = (size_t)len,
		.static_private = c->private_key,
		.remote_static = c->initiator ? c->peer.key : NULL,
		.psk = c->initiator ? c->peer.psk : NULL,
	});
}

int
handshake_init(struct channel *c)
{
	c->noise = new_handshake(c, NULL);
	return c->noise != NULL ? 0 : -ENOMEM;
}

static void
set_keyed(struct channel *c)
{
	uint64_t now = env_call(c->env, now_ms);

	c->tx_bytes = c->rx_bytes = 0;
	c->keyed_at = now;
	c->renew_at = c->initiator ? now + RENEW_MS : 0;
	c->renewed_by = now + RENEW_OVERDUE * RENEW_MS;
}

static void
log_keys(const struct channel *c, const char *what)
{
	char text[17];
	uint8_t hash[NOISE_HASH];

	noise_hash(c->noise, hash);
	log_info("channel: %s %s %s, %s, handshake %s",
		channel_role_name(c->initiator ? ROLE_PEER : c->peer.role), c->peer.name, what, c->from,
		sodium_bin2hex(text, sizeof(text), hash, 8));
}

/* ---- hello ---- */

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

void
handshake_hello(struct channel *c, const uint8_t *p, size_t len)
{
	const char *fault;

	c->hello = len > 1 && p[0] == PLAIN_LAST ? channel_parse((const char *)p + 1, len - 1) : NULL;
	fault = hello_fault(c, c->hello);
	if (fault != NULL) {
		channel_fail(c, "hello of %s refused: %s", c->peer.name, fault);
		return;
	}
	log_keys(c, "up");
	channel_came_up(c);
}

/* ---- the two messages ---- */

void
handshake_start(struct channel *c)
{
	uint8_t out[2 + NOISE_IK_MSG1];
	size_t n;

	c->state = CH_SHAKING;
	if (noise_write(c->noise, NULL, 0, out + 2, &n) != 0 || write_frame(c, out, n) != 0)
		channel_fail(c, "the pinned key of %s is no key", c->peer.name);
}

/* Reads message 1 and writes message 2 to `out`; who it was, or NULL: the channel is over. Nothing happens for
 * a stranger, not even a reply. */
static const struct channel_identity *
answer(struct channel *c, struct noise *n, const uint8_t *p, size_t len, uint8_t out[NOISE_IK_MSG2])
{
	const struct channel_identity *id;
	char text[KEY_TEXT];
	uint8_t none[NOISE_IK_MSG1];
	size_t got;

	if (noise_read(n, p, len, none, &got) != 0) {
		channel_fail(
			c, "handshake refused: another router's key or name, another protocol, or damaged");
		return NULL;
	}
	id = c->find(c->arg, noise_remote_static(n));
	if (id == NULL) {
		channel_fail(c, "unknown key %s", key_format(noise_remote_static(n), text));
		return NULL;
	}
	noise_set_psk(n, id->psk);
	if (noise_write(n, NULL, 0, out, &got) == 0)
		return id;
	channel_fail(c, "handshake refused");
	return NULL;
}

static void
message_one(struct channel *c, const uint8_t *p, size_t len)
{
	uint8_t out[2 + NOISE_IK_MSG2];
	const struct channel_identity *id = answer(c, c->noise, p, len, out + 2);

	if (id == NULL)
		return;
	c->peer = *id;
	if (write_frame(c, out, NOISE_IK_MSG2) != 0) {
		channel_fail(c, "cannot answer the handshake");
		return;
	}
	set_keyed(c);
	c->state = CH_HELLO;
	send_hello(c);
}

static bool
read_message_two(struct channel *c, struct noise *n, const uint8_t *p, size_t len)
{
	uint8_t none[NOISE_IK_MSG2];
	size_t got;

	/* Which of the two it was is nobody's business. */
	if (noise_read(n, p, len, none, &got) == 0)
		return true;
	channel_fail(c, "handshake refused: %s has another key or psk than configured", c->peer.name);
	return false;
}

void
handshake_frame(struct channel *c, const uint8_t *p, size_t len)
{
	if (!c->initiator) {
		message_one(c, p, len);
	} else if (read_message_two(c, c->noise, p, len)) {
		set_keyed(c);
		c->state = CH_HELLO;
		send_hello(c);
	}
}

/* ---- renewal ---- */

static void
send_renewal(struct channel *c, const uint8_t *message, size_t len)
{
	uint8_t plain[1 + NOISE_IK_MSG1] = {PLAIN_RENEWAL};

	memcpy(plain + 1, message, len);
	if (write_sealed(c, c->noise, plain, 1 + len) != 0)
		channel_fail(c, "send queue full: the other side does not read");
}

static void
adopt(struct channel *c)
{
	noise_free(c->noise); /* wipes */
	c->noise = c->next;
	c->next = NULL;
	set_keyed(c);
	log_keys(c, "has new keys");
}

void
renewal_start(struct channel *c)
{
	uint8_t message[NOISE_IK_MSG1];
	size_t n;

	if (!c->initiator || c->next != NULL || c->state != CH_UP)
		return;
	c->renew_at = 0;
	c->next = new_handshake(c, c->noise);
	if (c->next == NULL || noise_write(c->next, NULL, 0, message, &n) != 0)
		channel_fail(c, "cannot renew the keys");
	else
		send_renewal(c, message, n);
}

/* The keys that are configured now: the caller may have another one by now, or none any more. */
static void
renewal_answer(struct channel *c, const uint8_t *p, size_t len)
{
	struct noise *n = new_handshake(c, c->noise);
	uint8_t message[NOISE_IK_MSG2];
	const struct channel_identity *id = n != NULL ? answer(c, n, p, len, message) : NULL;

	if (id == NULL || strcmp(id->name, c->peer.name) != 0 || id->role != c->peer.role) {
		channel_fail(c, "keys not renewed: the key is not one of %s", c->peer.name);
		noise_free(n);
		return;
	}
	c->peer = *id;
	send_renewal(c, message, sizeof(message));
	if (c->state == CH_UP)
		c->next = n;
	else
		noise_free(n);
}

static bool
expected(const struct channel *c, size_t len)
{
	if (c->initiator)
		return c->next != NULL && len == NOISE_IK_MSG2;
	if (c->next != NULL)
		return len == 0;
	return len == NOISE_IK_MSG1 && env_call(c->env, now_ms) >= c->keyed_at + RENEW_PAUSE_MS;
}

void
renewal_frame(struct channel *c, const uint8_t *p, size_t len)
{
	if (!expected(c, len))
		channel_fail(c, "renewal frame of %zu bytes out of turn", len);
	else if (!c->initiator && c->next == NULL)
		renewal_answer(c, p, len);
	else if (!c->initiator)
		adopt(c);
	else if (read_message_two(c, c->next, p, len)) {
		send_renewal(c, p, 0); /* empty: by the new keys from here on */
		if (c->state == CH_UP)
			adopt(c);
	}
}
