/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_flow.c - bytes in and out of a channel, and when nothing more is read. */
#include "channel_priv.h"

#include <errno.h>

/* ---- bytes out ---- */

int
channel_write(struct channel *c, const void *p, size_t n)
{
	c->written += n;
	return c->env->ops->stream_write(c->stream, p, n);
}

bool
channel_is_stuck(struct channel *c)
{
	size_t waiting = c->env->ops->stream_waiting(c->stream);
	uint64_t now = env_call(c->env, now_ms), left = c->written - waiting;

	if (waiting == 0 || left != c->left) {
		c->left = left;
		c->left_at = now;
	}
	return now >= c->left_at + STUCK_MS;
}

/* ---- pauses ---- */

/* What had been read already waits in `later`; it goes on from the event loop. */
void
channel_set_pause(struct channel *c, enum pause why, bool on)
{
	c->pauses = on ? c->pauses | why : c->pauses & ~(unsigned int)why;
	if (c->state != CH_UP)
		return;
	if (c->pauses == 0 && c->halted) {
		channel_arm(c, env_call(c->env, now_ms));
	} else if (c->pauses != 0 && !c->halted) {
		c->halted = true;
		c->env->ops->stream_pause(c->stream, true);
		c->heard_by = c->frame_by = 0; /* we do not listen */
	}
}

void
channel_pause(struct channel *c, bool paused)
{
	channel_set_pause(c, PAUSE_USER, paused);
}

size_t
channel_message_len(const struct channel *c)
{
	return c->message_len;
}

static int
append_text(const char *p, size_t n, void *b)
{
	return buf_append(b, p, n) == 0 ? 0 : -1;
}

static int
plain_send(struct channel *c, uint8_t *framed, size_t len)
{
	size_t text = len - 4;

	for (int i = 0; i < 4; i++)
		framed[i] = (uint8_t)(text >> (24 - 8 * i));
	return channel_write(c, framed, len);
}

/* Who only asks: its requests wait while it does not read the replies. Two that both ask would wait for each
 * other. */
static bool
is_served(const struct channel *c)
{
	return !c->initiator && c->peer.role != ROLE_PEER;
}

/* Four bytes of room in front: for the plain header, or for the first part's flag. */
static int
message_begin(struct channel *c, struct buf *b)
{
	buf_init(b, CHANNEL_MESSAGE_MAX + 4);
	return c->state == CH_UP ? buf_append(b, "\0\0\0", 4) : -ENOTCONN;
}

static int
message_end(struct channel *c, struct buf *b, int rc)
{
	if (rc == 0)
		rc = c->plain ? plain_send(c, buf_head(b), buf_len(b))
			      : secure_send(c, (char *)buf_head(b) + 4, buf_len(b) - 4);
	buf_fini(b);
	if (rc == -ENOSPC)
		channel_fail(c, "send queue full: the other side does not read");
	else if (rc == 0 && is_served(c) && c->env->ops->stream_waiting(c->stream) > CHANNEL_WAITING_MAX)
		channel_set_pause(c, PAUSE_QUEUE, true);
	return rc;
}

int
channel_send(struct channel *c, const json_t *msg)
{
	struct buf b;
	int rc = message_begin(c, &b);

	if (rc == 0 && json_dump_callback(msg, append_text, &b, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
		rc = -EMSGSIZE;
	return message_end(c, &b, rc);
}

int
channel_send_text(struct channel *c, const char *text, size_t len)
{
	struct buf b;
	int rc = message_begin(c, &b);

	if (rc == 0 && buf_append(&b, text, len) != 0)
		rc = -EMSGSIZE;
	return message_end(c, &b, rc);
}

/* ---- bytes in ---- */

static size_t
header_len(const struct channel *c)
{
	return c->plain ? 4 : 2;
}

static size_t
body_len(const struct channel *c)
{
	const uint8_t *h = buf_head(&c->frame);
	size_t len = 0;

	for (size_t i = 0; i < header_len(c); i++)
		len = len << 8 | h[i];
	return len;
}

static void
check_len(struct channel *c)
{
	size_t len = body_len(c);
	bool good = c->plain ? len > 0 && len <= CHANNEL_MESSAGE_MAX : secure_frame_len(c, len) == 0;

	if (!good)
		channel_fail(c, "frame of %zu bytes refused", len);
}

static void
whole_frame(struct channel *c, uint8_t *body, size_t len)
{
	c->frame_by = 0;
	if (c->plain)
		channel_deliver(c, body, len);
	else
		secure_frame(c, body, len);
}

/* Takes what belongs to the frame that is coming in, never a byte of the next: returns how much. */
static size_t
take(struct channel *c, const uint8_t *p, size_t n)
{
	size_t have = buf_len(&c->frame), header = header_len(c);
	size_t want = have < header ? header : header + body_len(c);

	if (n > want - have)
		n = want - have;
	if (buf_append(&c->frame, p, n) != 0) {
		channel_fail(c, "out of memory");
		return n;
	}
	have += n;
	if (have == header)
		check_len(c);
	else if (have == want) {
		whole_frame(c, buf_head(&c->frame) + header, want - header);
		buf_consume(&c->frame, want);
	}
	return n;
}

/* The others have their turn; then it goes on, if nobody else made a pause. */
static void
give_way(struct channel *c)
{
	channel_set_pause(c, PAUSE_TURN, true);
	channel_set_pause(c, PAUSE_TURN, false);
}

/* Frame by frame, until all is taken, somebody makes a pause, or the turn is over: returns how much. */
static size_t
take_frames(struct channel *c, const uint8_t *p, size_t n)
{
	uint64_t end = env_call(c->env, now_ms) + TURN_MS;
	size_t taken = 0;

	while (taken < n && c->state != CH_DEAD && !c->halted) {
		taken += take(c, p + taken, n - taken);
		if (taken < n && env_call(c->env, now_ms) >= end)
			give_way(c);
	}
	return taken;
}

void
channel_data(void *arg, const uint8_t *p, size_t n)
{
	struct channel *c = arg;
	size_t taken;

	channel_enter(c);
	if (c->plain && c->state == CH_CONNECTING)
		channel_came_up(c); /* the first bytes may be faster than the timer that says so */
	taken = take_frames(c, p, n);
	if (c->halted && buf_append(&c->later, p + taken, n - taken) != 0)
		channel_fail(c, "out of memory");
	if (c->state != CH_DEAD && !c->halted && buf_len(&c->frame) > 0 && c->frame_by == 0) {
		c->frame_by = env_call(c->env, now_ms) + FRAME_MS;
		channel_arm(c, c->frame_by);
	}
	channel_leave(c);
}

bool
channel_go_on(struct channel *c)
{
	channel_enter(c);
	c->halted = false;
	buf_consume(&c->later, take_frames(c, buf_head(&c->later), buf_len(&c->later)));
	if (c->state != CH_DEAD && !c->halted) {
		buf_fini(&c->later);
		c->env->ops->stream_pause(c->stream, false);
		c->heard_by = c->plain ? 0 : env_call(c->env, now_ms) + SILENCE_MS;
	}
	return channel_leave(c);
}
