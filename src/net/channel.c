/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel_priv.h"

#include <api/secret.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *
channel_role_name(enum channel_role r)
{
	static const char *const names[] = {"controller", "peer", "observer", "local"};

	return names[r];
}

/* ---- end of life ---- */

static void
drop_stream(struct channel *c)
{
	if (c->stream != NULL)
		c->env->ops->stream_close(c->stream);
	c->stream = NULL;
	noise_free(c->noise);
	noise_free(c->next);
	c->noise = c->next = NULL;
}

static void
free_channel(struct channel *c)
{
	drop_stream(c);
	if (c->timer != NULL)
		c->env->ops->timer_free(c->timer);
	json_decref(c->extra);
	json_decref(c->hello);
	buf_fini(&c->frame);
	buf_fini(&c->message);
	buf_fini(&c->later);
	secret_free(c);
}

void
channel_close(struct channel *c)
{
	if (c == NULL)
		return;
	c->closed = true;
	c->state = CH_DEAD;
	drop_stream(c);
	if (c->busy == 0)
		free_channel(c);
}

void
channel_fail(struct channel *c, const char *fmt, ...)
{
	va_list ap;

	if (c->state == CH_DEAD)
		return;
	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	c->state = CH_DEAD;
	drop_stream(c);
	c->env->ops->timer_set(c->timer, 0);
}

void
channel_enter(struct channel *c)
{
	c->busy++;
}

bool
channel_leave(struct channel *c)
{
	bool closed = c->closed;

	if (--c->busy == 0 && closed)
		free_channel(c);
	return !closed;
}

/* ---- timers: one, which fires at the first deadline or before and then looks ---- */

void
channel_arm(struct channel *c, uint64_t at)
{
	uint64_t now;

	if (c->armed_at != 0 && c->armed_at <= at)
		return;
	now = env_call(c->env, now_ms);
	c->armed_at = at;
	c->env->ops->timer_set(c->timer, at > now ? at - now : 0);
}

static bool
due(uint64_t at, uint64_t now)
{
	return at != 0 && at <= now;
}

static void
rearm(struct channel *c)
{
	const uint64_t at[] = {c->up_by, c->frame_by, c->heard_by, c->beat_at, c->renew_at, c->renewed_by};

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		if (at[i] != 0)
			channel_arm(c, at[i]);
}

static void
check_deadlines(struct channel *c, uint64_t now)
{
	if (due(c->up_by, now))
		channel_fail(c,
			c->initiator && c->state == CH_CONNECTING ? "no connection within %d s"
								  : "handshake not done within %d s",
			HANDSHAKE_MS / 1000);
	else if (due(c->frame_by, now))
		channel_fail(c, "frame not whole within %d s", FRAME_MS / 1000);
	else if (due(c->heard_by, now))
		channel_fail(c, "silent for %d s", SILENCE_MS / 1000);
	else if (due(c->renewed_by, now))
		channel_fail(c, "keys not renewed in time");
	if (c->state != CH_DEAD && due(c->beat_at, now))
		secure_beat(c);
	if (c->state != CH_DEAD && due(c->renew_at, now))
		renewal_start(c);
}

/* ---- messages ---- */

#define CHANNEL_DEPTH_MAX 16

/* Before the parser sees it: jansson itself would follow 2,048 levels. */
static bool
is_shallow(const char *text, size_t len)
{
	int depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		char ch = text[i];

		if (quoted && ch == '\\')
			i++;
		else if (ch == '"')
			quoted = !quoted;
		else if (!quoted && (ch == '[' || ch == '{') && ++depth > CHANNEL_DEPTH_MAX)
			return false;
		else if (!quoted && (ch == ']' || ch == '}'))
			depth--;
	}
	return true;
}

json_t *
channel_parse(const char *text, size_t len)
{
	if (!is_shallow(text, len))
		return NULL;
	return json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
}

void
channel_came_up(struct channel *c)
{
	uint64_t now = env_call(c->env, now_ms);

	c->state = CH_UP;
	c->up_by = 0;
	if (!c->plain) {
		c->left_at = now;
		c->heard_by = now + SILENCE_MS;
		c->beat_at = now + BEAT_MS;
		channel_arm(c, c->beat_at);
	}
	channel_enter(c);
	c->ops->up(c->arg, c);
	channel_leave(c);
}

void
channel_deliver(struct channel *c, const void *text, size_t len)
{
	json_t *msg = channel_parse(text, len);

	c->message_len = len;
	channel_enter(c);
	c->ops->message(c->arg, c, msg);
	channel_leave(c);
	json_decref(msg);
}

/* ---- the stream ---- */

static void
on_timer(void *arg)
{
	struct channel *c = arg;

	c->armed_at = 0;
	if (c->state == CH_CONNECTING && c->plain && !c->initiator) {
		channel_came_up(c);
		return;
	}
	if (c->state != CH_DEAD)
		check_deadlines(c, env_call(c->env, now_ms));
	if (c->state == CH_UP && c->halted && c->pauses == 0 && !channel_go_on(c))
		return;
	if (c->state != CH_DEAD) {
		rearm(c);
		return;
	}
	channel_enter(c);
	c->ops->down(c->arg, c, c->why);
	if (channel_leave(c))
		free_channel(c);
}

bool
channel_idle(const struct channel *c)
{
	return c->state == CH_UP && c->env->ops->stream_waiting(c->stream) == 0;
}

static void
on_connected(void *arg)
{
	struct channel *c = arg;

	if (c->plain) {
		channel_came_up(c);
		return;
	}
	c->up_by = env_call(c->env, now_ms) + HANDSHAKE_MS;
	handshake_start(c);
}

static void
on_drained(void *arg)
{
	struct channel *c = arg;

	channel_set_pause(c, PAUSE_QUEUE, false);
	if (c->state != CH_UP || !c->ops->drained)
		return;
	channel_enter(c);
	c->ops->drained(c->arg, c);
	channel_leave(c);
}

static void
on_closed(void *arg, const char *why)
{
	struct channel *c = arg;

	c->stream = NULL;
	c->turned_away = c->initiator && c->state == CH_SHAKING;
	channel_fail(c, "%s", why);
}

static const struct env_stream_ops stream_ops = {
	.connected = on_connected,
	.data = channel_data,
	.drained = on_drained,
	.closed = on_closed,
};

/* ---- birth ---- */

static struct channel *
new_channel(struct env *env, const struct channel_ops *ops, void *arg)
{
	struct channel *c = secret_new(sizeof(*c)); /* it has a psk */

	if (c == NULL)
		return NULL;
	c->env = env;
	c->ops = ops;
	c->arg = arg;
	buf_init(&c->frame, 0); /* bounded by check_len() */
	buf_init(&c->message, CHANNEL_MESSAGE_MAX);
	buf_init(&c->later, 0); /* bounded by one read of the stream, which is paused */
	c->timer = env_call(env, timer_new, on_timer, c);
	if (c->timer == NULL) {
		secret_free(c);
		return NULL;
	}
	return c;
}

static int
take_local(struct channel *c, const struct channel_local *l)
{
	snprintf(c->name, sizeof(c->name), "%s", l->name);
	c->role = l->role;
	c->private_key = l->private_key;
	c->extra = json_deep_copy(l->hello);
	c->up_by = env_call(c->env, now_ms) + HANDSHAKE_MS;
	channel_arm(c, c->up_by);
	return handshake_init(c);
}

struct channel *
channel_dial(const struct channel_local *local, const struct channel_identity *to, const char *address,
	const struct channel_ops *ops, void *arg)
{
	struct channel *c = new_channel(local->env, ops, arg);

	if (c == NULL)
		return NULL;
	c->initiator = true;
	c->peer = *to;
	snprintf(c->from, sizeof(c->from), "%s", address);
	if (take_local(c, local) != 0) {
		free_channel(c);
		return NULL;
	}
	c->stream = env_call(c->env, dial, address, &stream_ops, c);
	if (c->stream == NULL)
		channel_fail(c, "cannot dial %s", address);
	return c;
}

struct channel *
channel_accept(const struct channel_local *local, struct env_stream *s, const struct env_peer_id *from,
	const struct channel_identity *(*find)(void *arg, const uint8_t key[32]),
	const struct channel_ops *ops, void *arg)
{
	struct channel *c = new_channel(local->env, ops, arg);

	if (c == NULL) {
		local->env->ops->stream_close(s);
		return NULL;
	}
	c->stream = s;
	c->find = find;
	c->state = CH_SHAKING;
	snprintf(c->from, sizeof(c->from), "%s", from->text);
	if (take_local(c, local) != 0) {
		free_channel(c);
		return NULL;
	}
	c->env->ops->stream_attach(s, &stream_ops, c);
	return c;
}

struct channel *
channel_plain_accept(struct env *env, struct env_stream *s, const struct env_peer_id *from,
	const struct channel_ops *ops, void *arg)
{
	struct channel *c = new_channel(env, ops, arg);

	if (c == NULL) {
		env->ops->stream_close(s);
		return NULL;
	}
	c->stream = s;
	c->plain = true;
	c->initiator = from == NULL;
	c->peer.role = ROLE_LOCAL;
	if (from != NULL) {
		snprintf(c->from, sizeof(c->from), "%s", from->text);
		snprintf(c->peer.name, sizeof(c->peer.name), "uid=%u", from->uid);
		env->ops->timer_set(c->timer, 0);
	}
	env->ops->stream_attach(s, &stream_ops, c);
	return c;
}

/* ---- who it is ---- */

const struct channel_identity *
channel_peer(const struct channel *c)
{
	return &c->peer;
}

const json_t *
channel_hello(const struct channel *c)
{
	return c->hello;
}

const char *
channel_from(const struct channel *c)
{
	return c->from;
}

uint64_t
channel_heard_at(const struct channel *c)
{
	return c->heard_at;
}

bool
channel_turned_away(const struct channel *c)
{
	return c->turned_away;
}

void
channel_set_arg(struct channel *c, const struct channel_ops *ops, void *arg)
{
	c->ops = ops;
	c->arg = arg;
}
