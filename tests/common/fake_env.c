/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_env.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct env_timer {
	struct env_timer *next;
	struct fake_env *f;
	void (*cb)(void *arg);
	void *arg;
	uint64_t due_ms, seq;
	bool set;
};

struct env_stream {
	struct env_stream *next, *peer;
	struct fake_env *f;
	const struct env_stream_ops *ops;
	void *arg;
	struct buf inbox; /* written by the peer, not read yet */
	bool dialler, connecting, drained, paused, gone;
	const char *end; /* why it ended, to be told behind the inbox */
};

struct env_listener {
	struct env_listener *next;
	struct fake_env *f;
	char address[128];
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id);
	void *arg;
};

/* ---- clock ---- */

static uint64_t
now_ms(void *ctx)
{
	return ((struct fake_env *)ctx)->now_ms;
}

static uint64_t
now_us(void *ctx)
{
	return now_ms(ctx) * 1000;
}

static int64_t
wall_ms(void *ctx)
{
	return (int64_t)((struct fake_env *)ctx)->now_ms + INT64_C(1700000000000);
}

static const char *
boot_id(void *ctx)
{
	(void)ctx;
	return "fake-boot";
}

static struct env_timer *
timer_new(void *ctx, void (*cb)(void *arg), void *arg)
{
	struct fake_env *f = ctx;
	struct env_timer *t = calloc(1, sizeof(*t));

	assert(t != NULL);
	*t = (struct env_timer){.next = f->timers, .f = f, .cb = cb, .arg = arg};
	f->timers = t;
	return t;
}

static void
timer_set(struct env_timer *t, uint64_t after_ms)
{
	t->due_ms = t->f->now_ms + after_ms;
	t->seq = t->f->seq++;
	t->set = true;
}

static void
timer_stop(struct env_timer *t)
{
	t->set = false;
}

static void
timer_free(struct env_timer *t)
{
	struct env_timer **p = &t->f->timers;

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	free(t);
}

static struct env_timer *
first_timer(const struct fake_env *f, uint64_t until_ms)
{
	struct env_timer *first = NULL;

	for (struct env_timer *t = f->timers; t != NULL; t = t->next)
		if (t->set && t->due_ms <= until_ms &&
			(first == NULL || t->due_ms < first->due_ms ||
				(t->due_ms == first->due_ms && t->seq < first->seq)))
			first = t;
	return first;
}

/* ---- streams ---- */

static struct env_stream *
new_stream(struct fake_env *f)
{
	struct env_stream *s = calloc(1, sizeof(*s));

	assert(s != NULL);
	s->f = f;
	buf_init(&s->inbox, ENV_STREAM_QUEUE_MAX);
	s->next = f->streams;
	f->streams = s;
	return s;
}

static struct env_stream *
dial(void *ctx, const char *address, const struct env_stream_ops *ops, void *arg)
{
	struct fake_env *f = ctx;
	struct env_peer_id id = {.local = strncmp(address, "unix:", 5) == 0};
	struct env_listener *l = f->listeners;
	struct env_stream *s = new_stream(f);

	s->ops = ops;
	s->arg = arg;
	s->dialler = true;
	while (l != NULL && strcmp(l->address, address) != 0)
		l = l->next;
	if (l == NULL) {
		s->end = "connection refused";
		return s;
	}
	s->connecting = true;
	s->peer = new_stream(f);
	s->peer->peer = s;
	snprintf(id.text, sizeof(id.text), "fake:%llu", (unsigned long long)f->seq++);
	l->accepted(l->arg, s->peer, &id);
	return s;
}

static void
stream_attach(struct env_stream *s, const struct env_stream_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
}

static int
stream_write(struct env_stream *s, const void *p, size_t n)
{
	struct buf bytes;
	int rc;

	assert(!s->gone);
	if (s->peer == NULL)
		return 0;
	buf_init(&bytes, 0);
	assert(buf_append(&bytes, p, n) == 0);
	if (s->f->wire != NULL)
		s->f->wire(s->f->wire_arg, s->dialler, &bytes);
	rc = s->peer != NULL ? buf_append(&s->peer->inbox, buf_head(&bytes), buf_len(&bytes)) : 0;
	buf_fini(&bytes);
	return rc;
}

static size_t
stream_waiting(const struct env_stream *s)
{
	return s->peer != NULL ? buf_len(&s->peer->inbox) : 0;
}

static void
stream_close(struct env_stream *s)
{
	assert(!s->gone);
	s->gone = true;
	if (s->peer != NULL) {
		s->peer->end = "closed by peer";
		s->peer->peer = NULL;
	}
	s->peer = NULL;
}

static void
stream_pause(struct env_stream *s, bool paused)
{
	s->paused = paused;
}

static struct env_listener *
listen_at(void *ctx, const char *address,
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id), void *arg,
	struct err *e)
{
	struct fake_env *f = ctx;
	struct env_listener *l = calloc(1, sizeof(*l));

	(void)e;
	assert(l != NULL);
	*l = (struct env_listener){.next = f->listeners, .f = f, .accepted = accepted, .arg = arg};
	snprintf(l->address, sizeof(l->address), "%s", address);
	f->listeners = l;
	return l;
}

static void
listener_close(struct env_listener *l)
{
	struct env_listener **p = &l->f->listeners;

	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	free(l);
}

static void
give_data(struct env_stream *s, size_t n)
{
	uint8_t *copy;

	if (n > buf_len(&s->inbox))
		n = buf_len(&s->inbox);
	/* A copy of its own size, so that a read beyond it is seen by ASan. */
	copy = malloc(n);
	assert(copy != NULL);
	memcpy(copy, buf_head(&s->inbox), n);
	buf_consume(&s->inbox, n);
	if (buf_len(&s->inbox) == 0 && s->peer != NULL)
		s->peer->drained = true;
	s->ops->data(s->arg, copy, n);
	free(copy);
}

/* One thing that is under way for the stream, if any. */
static bool
step(struct env_stream *s)
{
	if (s->gone || s->ops == NULL)
		return false;
	if (s->connecting) {
		s->connecting = false;
		s->ops->connected(s->arg);
	} else if (s->drained) {
		s->drained = false;
		s->ops->drained(s->arg);
	} else if (buf_len(&s->inbox) > 0 && !s->paused) {
		give_data(s, s->f->chunk != 0 ? s->f->chunk : SIZE_MAX);
	} else if (s->end != NULL && !s->paused) {
		s->gone = true;
		s->ops->closed(s->arg, s->end);
	} else {
		return false;
	}
	return true;
}

static void
sweep(struct fake_env *f)
{
	struct env_stream **p = &f->streams, *s;

	while ((s = *p) != NULL) {
		if (!s->gone) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		buf_fini(&s->inbox);
		free(s);
	}
}

static void
run_streams(struct fake_env *f)
{
	bool more = true;

	while (more) {
		more = false;
		for (struct env_stream *s = f->streams; s != NULL; s = s->next)
			more |= step(s);
	}
	sweep(f);
}

static void
fill_random(void *ctx, void *p, size_t n)
{
	(void)ctx;
	assert(getrandom(p, n, 0) == (ssize_t)n);
}

/* ---- public ---- */

void
fake_init(struct fake_env *f)
{
	*f = (struct fake_env){.now_ms = 1000};
	f->ops = (struct env_ops){
		.now_ms = now_ms,
		.now_us = now_us,
		.wall_ms = wall_ms,
		.boot_id = boot_id,
		.timer_new = timer_new,
		.timer_set = timer_set,
		.timer_stop = timer_stop,
		.timer_free = timer_free,
		.random = fill_random,
		.dial = dial,
		.listen = listen_at,
		.listener_close = listener_close,
		.stream_attach = stream_attach,
		.stream_write = stream_write,
		.stream_waiting = stream_waiting,
		.stream_close = stream_close,
		.stream_pause = stream_pause,
	};
	f->env = (struct env){.ops = &f->ops, .ctx = f};
}

void
fake_fini(struct fake_env *f)
{
	sweep(f);
	assert(f->timers == NULL);
	assert(f->streams == NULL);
	assert(f->listeners == NULL);
}

void
fake_read(struct env_stream *s, size_t n)
{
	give_data(s, n);
}

void
fake_run(struct fake_env *f)
{
	fake_advance(f, 0);
}

void
fake_advance(struct fake_env *f, uint64_t ms)
{
	uint64_t until = f->now_ms + ms;
	struct env_timer *t;

	run_streams(f);
	while ((t = first_timer(f, until)) != NULL) {
		if (t->due_ms > f->now_ms)
			f->now_ms = t->due_ms;
		t->set = false;
		t->cb(t->arg);
		run_streams(f);
	}
	f->now_ms = until;
}

unsigned int
fake_streams(const struct fake_env *f)
{
	unsigned int n = 0;

	for (const struct env_stream *s = f->streams; s != NULL; s = s->next)
		n += !s->gone;
	return n;
}
