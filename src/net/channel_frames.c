/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel_priv.h"

#include <errno.h>
#include <sodium.h>

/* ---- out ---- */

int
write_frame(struct channel *c, uint8_t *framed, size_t body)
{
	framed[0] = (uint8_t)(body >> 8);
	framed[1] = (uint8_t)body;
	return channel_write(c, framed, body + 2);
}

/* False: the keys have served for too long, and the channel is over. */
static bool
count(struct channel *c, uint64_t *bytes, size_t body)
{
	*bytes += body + 2;
	if (*bytes < RENEW_OVERDUE * RENEW_BYTES)
		return true;
	channel_fail(c, "keys not renewed in time");
	return false;
}

int
write_sealed(struct channel *c, struct noise *n, const void *p, size_t len)
{
	uint8_t out[2 + NOISE_MESSAGE_MAX];
	size_t body;

	if (noise_write(n, p, len, out + 2, &body) != 0) {
		channel_fail(c, "the session's nonces are used up");
		return -ENOTCONN;
	}
	return count(c, &c->tx_bytes, body) ? write_frame(c, out, body) : -ENOTCONN;
}

/* By the keys that are in force for what we write. */
static int
write_plain(struct channel *c, const void *p, size_t len)
{
	bool renewed = !c->initiator && c->next != NULL;
	int rc = write_sealed(c, renewed ? c->next : c->noise, p, len);

	if (rc == 0 && c->tx_bytes >= RENEW_BYTES)
		renewal_start(c);
	return rc;
}

/* Each part's flag goes in front of the part: over the last byte of the part before, which has left already. */
int
secure_send(struct channel *c, char *text, size_t len)
{
	int rc = 0;

	while (rc == 0 && len > 0) {
		size_t part = len < PART_MAX ? len : PART_MAX;

		text[-1] = len > part ? PLAIN_MORE : PLAIN_LAST;
		rc = write_plain(c, text - 1, part + 1);
		text += part;
		len -= part;
	}
	return rc;
}

void
secure_beat(struct channel *c)
{
	c->beat_at = env_call(c->env, now_ms) + BEAT_MS;
	if (channel_is_stuck(c))
		channel_fail(c, "nothing sent for %d s: the other side does not read", STUCK_MS / 1000);
	else if (write_plain(c, NULL, 0) == -ENOSPC)
		channel_fail(c, "send queue full: the other side does not read");
}

/* ---- in ---- */

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
	bool more = p[0] == PLAIN_MORE;

	if (p[0] > PLAIN_MORE || len == 1) {
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
take_plain(struct channel *c, const uint8_t *p, size_t len)
{
	c->heard_at = env_call(c->env, now_ms);
	c->heard_by = c->heard_at + SILENCE_MS;
	if (len > 0 && p[0] == PLAIN_RENEWAL)
		renewal_frame(c, p + 1, len - 1);
	else if (len > 0)
		take_part(c, p, len);
}

static void
transport(struct channel *c, uint8_t *p, size_t len)
{
	if (!count(c, &c->rx_bytes, len))
		return;
	if (noise_read(c->noise, p, len, p, &len) != 0)
		channel_fail(c, "frame damaged, replayed or lost");
	else if (c->state == CH_HELLO)
		handshake_hello(c, p, len);
	else
		take_plain(c, p, len);
	if (c->state == CH_UP && c->rx_bytes >= RENEW_BYTES)
		renewal_start(c);
}

void
secure_frame(struct channel *c, uint8_t *p, size_t len)
{
	if (c->state == CH_SHAKING)
		handshake_frame(c, p, len);
	else
		transport(c, p, len);
}
