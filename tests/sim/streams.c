/* SPDX-License-Identifier: BSD-3-Clause */
/* streams.c - connections: chunks in order and late. A cut, a stall or a reader that has paused holds them up; a reset
 * loses what was on its way from some point on. */
#include "world_priv.h"

#include <errno.h>
#include <stdio.h>

#define HELD_MS 50 /* what is held up is looked at again so often */

struct chunk {
	uint64_t at;
	size_t n;	 /* 0: the other end has closed, */
	const char *why; /* for this reason */
	struct chunk *prev, *next;
	uint8_t bytes[];
};

struct env_stream {
	struct node *node;
	struct node *remote;	  /* NULL until connected */
	struct env_stream *other; /* and NULL after either end */
	const struct env_stream_ops *ops;
	void *arg;
	bool open, paused;
	struct chunk *chunks; /* to be delivered here */
	size_t queued;	      /* bytes of them */
	uint64_t last_at, stalled_until;
	unsigned int events;
	char address[112];
	struct env_stream *prev, *next;
};

struct env_listener {
	struct node *node;
	char address[112];
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id);
	void *arg;
	struct env_listener *prev, *next;
};

static bool
is_cut(const struct node *from, const struct node *to)
{
	const struct world *w = from->w;
	unsigned int a = from->index, b = to->index;

	return from != to && (w->cut[a][b] || (w->now >= w->clog_from[a][b] && w->now < w->clog_until[a][b]));
}

static uint64_t
delay(struct world *w)
{
	return w->delay_min + world_random(w, w->delay_max - w->delay_min + 1);
}

/* ---- one end ---- */

static struct env_stream *
stream_new(struct node *n)
{
	struct env_stream *s = calloc(1, sizeof(*s));

	s->node = n;
	s->open = true;
	DL_PREPEND(n->w->streams, s);
	return s;
}

static void
drop_chunks(struct env_stream *s, size_t keep)
{
	struct chunk *c, *next;

	DL_FOREACH_SAFE(s->chunks, c, next)
	{
		if (keep > 0) {
			keep--;
			continue;
		}
		DL_DELETE(s->chunks, c);
		s->queued -= c->n;
		free(c);
	}
}

static void
stream_release(struct env_stream *s)
{
	if (s->open || s->events > 0)
		return;
	drop_chunks(s, 0);
	DL_DELETE(s->node->w->streams, s);
	free(s);
}

static void
unlink_ends(struct env_stream *s)
{
	if (s->other)
		s->other->other = NULL;
	s->other = NULL;
}

static void
end_stream(struct env_stream *s, const char *why)
{
	if (!s->open)
		return;
	s->open = false;
	unlink_ends(s);
	drop_chunks(s, 0);
	if (why && s->ops && s->ops->closed)
		s->ops->closed(s->arg, why);
}

static void
stream_at(struct env_stream *s, uint64_t when, event_fn *fn)
{
	s->events++;
	world_at(s->node->w, when, fn, s, 0);
}

/* ---- chunks ---- */

static bool
is_held(const struct env_stream *s)
{
	return !s->ops || s->paused || s->node->w->now < s->stalled_until ||
	       (s->remote && is_cut(s->remote, s->node));
}

static void
deliver(void *arg, uint64_t tag)
{
	struct env_stream *s = arg;
	struct chunk *c = s->chunks;

	(void)tag;
	if (s->open && c && is_held(s)) {
		world_at(s->node->w, s->node->w->now + HELD_MS, deliver, s, 0);
		return;
	}
	if (s->open && c) {
		DL_DELETE(s->chunks, c);
		s->queued -= c->n;
		s->node->w->running = s->node;
		if (c->n == 0)
			end_stream(s, c->why);
		else
			s->ops->data(s->arg, c->bytes, c->n);
		free(c);
		if (s->open && !s->chunks && s->other && s->other->ops && s->other->ops->drained)
			s->other->ops->drained(s->other->arg);
	}
	s->events--;
	stream_release(s);
}

static void
send_chunk(struct env_stream *to, const void *p, size_t n, const char *why)
{
	struct chunk *c = malloc(sizeof(*c) + n);
	struct world *w = to->node->w;

	w->sent += n;
	c->n = n;
	c->why = why;
	if (n)
		memcpy(c->bytes, p, n);
	c->at = w->now + delay(w);
	if (w->now < to->node->slow_until)
		c->at = (c->at > to->last_at ? c->at : to->last_at) + 20;
	if (c->at < to->last_at)
		c->at = to->last_at;
	to->last_at = c->at;
	to->queued += n;
	DL_APPEND(to->chunks, c);
	stream_at(to, c->at, deliver);
}

/* ---- connecting ---- */

static struct env_listener *
find_listener(struct world *w, const char *address)
{
	struct env_listener *l;

	DL_FOREACH(w->listeners, l)
	if (strcmp(l->address, address) == 0)
		return l;
	return NULL;
}

static void
accept_from(struct env_listener *l, struct env_stream *s)
{
	struct env_stream *t = stream_new(l->node);
	struct env_peer_id id = {.local = strncmp(s->address, "unix:", 5) == 0};

	t->remote = s->node;
	if (s->open) {
		s->other = t;
		s->remote = t->node;
		t->other = s;
	}
	snprintf(id.text, sizeof(id.text), "%s", s->node->name);
	l->node->w->running = l->node;
	l->accepted(l->arg, t, &id);
}

/* Who has dialled and is gone already is accepted like anybody, and says no word. */
static void
connect_now(void *arg, uint64_t tag)
{
	struct env_stream *s = arg;
	struct env_listener *l = find_listener(s->node->w, s->address);

	(void)tag;
	s->node->w->running = s->node;
	if (l && !is_cut(s->node, l->node) && !is_cut(l->node, s->node)) {
		accept_from(l, s);
		s->node->w->running = s->node;
		if (s->open && s->ops->connected)
			s->ops->connected(s->arg);
	} else {
		end_stream(s, "cannot be reached");
	}
	s->events--;
	stream_release(s);
}

struct env_stream *
op_dial(void *ctx, const char *address, const struct env_stream_ops *ops, void *arg)
{
	struct node *n = ctx;
	struct env_stream *s = stream_new(n);
	struct env_listener *l = find_listener(n->w, address);
	bool cut = l && (is_cut(n, l->node) || is_cut(l->node, n));

	s->ops = ops;
	s->arg = arg;
	snprintf(s->address, sizeof(s->address), "%s", address);
	stream_at(s, n->w->now + (cut ? 3000 : 2 * delay(n->w)), connect_now);
	return s;
}

struct env_listener *
op_listen(void *ctx, const char *address,
	void (*accepted)(void *, struct env_stream *, const struct env_peer_id *), void *arg, struct err *e)
{
	struct node *n = ctx;
	struct env_listener *l;

	if (find_listener(n->w, address)) {
		err_set(e, EADDRINUSE, "%s is in use", address);
		return NULL;
	}
	l = calloc(1, sizeof(*l));
	l->node = n;
	l->accepted = accepted;
	l->arg = arg;
	snprintf(l->address, sizeof(l->address), "%s", address);
	DL_PREPEND(n->w->listeners, l);
	return l;
}

void
op_listener_close(struct env_listener *l)
{
	DL_DELETE(l->node->w->listeners, l);
	free(l);
}

/* ---- what the owner of an end does ---- */

void
op_stream_attach(struct env_stream *s, const struct env_stream_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
}

static void reset_ends(struct env_stream *s, bool both);

int
op_stream_write(struct env_stream *s, const void *p, size_t n)
{
	struct world *w = s->node->w;

	if (s->other && s->other->queued + n > ENV_STREAM_QUEUE_MAX)
		return -ENOSPC;
	if (!s->open || !s->other || n == 0)
		return 0;
	send_chunk(s->other, p, n, NULL);
	node_stepped(s->node, STEP_WRITE);
	if (w->reset_permille && world_random(w, 1000) < w->reset_permille)
		reset_ends(s, true);
	return 0;
}

size_t
op_stream_waiting(const struct env_stream *s)
{
	return s->other ? s->other->queued : 0;
}

void
op_stream_close(struct env_stream *s)
{
	struct env_stream *other = s->other;

	if (!s->open)
		return;
	end_stream(s, NULL);
	if (other)
		send_chunk(other, NULL, 0, "closed by the other side");
	stream_release(s);
}

void
op_stream_pause(struct env_stream *s, bool paused)
{
	s->paused = paused;
}

/* ---- what befalls a connection ---- */

static void
reset_end(struct env_stream *s)
{
	unsigned int n = 0;
	struct chunk *c;

	DL_COUNT(s->chunks, c, n);
	drop_chunks(s, world_random(s->node->w, n + 1));
	send_chunk(s, NULL, 0, "connection reset");
}

static void
reset_ends(struct env_stream *s, bool both)
{
	struct env_stream *other = s->other;

	unlink_ends(s);
	reset_end(s);
	if (both && other)
		reset_end(other);
}

/* The open streams of `a` whose other end is `b`'s. */
static bool
joins(const struct env_stream *s, unsigned int a, unsigned int b)
{
	return s->open && s->other && s->node->index == a && s->other->node->index == b;
}

void
world_reset(struct world *w, unsigned int a, unsigned int b)
{
	struct env_stream *s;

	DL_FOREACH(w->streams, s)
	{
		if (joins(s, a, b))
			reset_ends(s, true);
	}
}

void
world_half_open(struct world *w, unsigned int a, unsigned int b)
{
	struct env_stream *s;

	DL_FOREACH(w->streams, s)
	{
		if (joins(s, a, b))
			reset_ends(s, false);
	}
}

bool
world_is_whole(const struct world *w)
{
	const struct env_stream *s;

	DL_FOREACH(w->streams, s)
	if (s->open && s->remote && !s->other)
		return false;
	return true;
}

void
world_stall(struct world *w, unsigned int a, unsigned int b, uint64_t ms)
{
	struct env_stream *s;

	DL_FOREACH(w->streams, s)
	{
		if (joins(s, a, b))
			s->stalled_until = s->other->stalled_until = w->now + ms;
	}
}

void
world_cut_one_way(struct world *w, unsigned int from, unsigned int to, bool cut)
{
	w->cut[from][to] = cut;
}

void
world_cut(struct world *w, unsigned int a, unsigned int b, bool cut)
{
	w->cut[a][b] = w->cut[b][a] = cut;
}

void
world_heal(struct world *w)
{
	struct env_stream *s;

	memset(w->cut, 0, sizeof(w->cut));
	memset(w->clog_until, 0, sizeof(w->clog_until));
	w->reset_permille = 0;
	for (unsigned int i = 0; i < w->n_nodes; i++)
		w->nodes[i].slow_until = 0;
	DL_FOREACH(w->streams, s)
	s->stalled_until = 0;
}

void
streams_crash(struct node *n, bool silent)
{
	struct env_stream *s;

	DL_FOREACH(n->w->streams, s)
	{
		struct env_stream *other = s->other;

		if (s->node != n || !s->open)
			continue;
		end_stream(s, NULL);
		if (other && silent)
			drop_chunks(other, world_random(n->w, 4));
		else if (other)
			send_chunk(other, NULL, 0, "closed by the other side");
	}
}

void
streams_sweep(struct node *n)
{
	struct env_stream *s, *next;

	DL_FOREACH_SAFE(n->w->streams, s, next)
	{
		if (s->node == n)
			stream_release(s);
	}
}

void
streams_free(struct world *w)
{
	struct env_stream *s, *next;

	DL_FOREACH_SAFE(w->streams, s, next)
	{
		drop_chunks(s, 0);
		free(s);
	}
}
