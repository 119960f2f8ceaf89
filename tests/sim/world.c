/* SPDX-License-Identifier: BSD-3-Clause */
#include "world_priv.h"

#include <net/keys.h>
#include <stdarg.h>
#include <stdio.h>

#define EPOCH_WALL INT64_C(1790000000000) /* the wall clock at world time 0 */

/* ---- random, the heap of events ---- */

static uint64_t
next_random(uint64_t s[2]) /* xoroshiro128+ */
{
	uint64_t a = s[0], b = s[1], sum = a + b;

	b ^= a;
	s[0] = (a << 24 | a >> 40) ^ b ^ (b << 16);
	s[1] = b << 37 | b >> 27;
	return sum;
}

uint64_t
world_random(struct world *w, uint64_t below)
{
	return below ? next_random(w->random) % below : 0;
}

struct heap_event {
	uint64_t at, serial;
	event_fn *fn;
	void *arg;
	uint64_t tag;
};

static bool
before(const struct heap_event *a, const struct heap_event *b)
{
	return a->at != b->at ? a->at < b->at : a->serial < b->serial;
}

static void
push(struct world *w, struct heap_event e)
{
	size_t i = w->n_heap++;

	if (w->n_heap > w->heap_size) {
		w->heap_size = w->heap_size ? 2 * w->heap_size : 256;
		w->heap = realloc(w->heap, w->heap_size * sizeof(*w->heap));
	}
	for (; i > 0 && before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

void
world_at(struct world *w, uint64_t when, event_fn *fn, void *arg, uint64_t tag)
{
	push(w, (struct heap_event){when, ++w->serial, fn, arg, tag});
}

void
world_first(struct world *w, event_fn *fn, void *arg, uint64_t tag)
{
	push(w, (struct heap_event){w->now, 0, fn, arg, tag});
}

static struct heap_event
pop(struct world *w)
{
	struct heap_event top = w->heap[0], last = w->heap[--w->n_heap];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < w->n_heap) {
		if (child + 1 < w->n_heap && before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!before(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return top;
}

bool
world_step(struct world *w, uint64_t until)
{
	struct heap_event e;

	if (w->n_heap == 0 || w->heap[0].at > until)
		return false;
	e = pop(w);
	if (e.at > w->now)
		w->now = e.at;
	w->running = NULL;
	e.fn(e.arg, e.tag);
	return true;
}

void
world_run(struct world *w, uint64_t ms)
{
	uint64_t until = w->now + ms;

	while (world_step(w, until))
		;
	w->now = until;
	w->running = NULL;
}

void
world_broken(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
}

/* ---- clocks and timers; a timer's memory goes with its last event ---- */

struct env_timer {
	struct node *node;
	void (*cb)(void *arg);
	void *arg;
	uint64_t due;
	uint64_t version; /* of the setting that counts */
	unsigned int events;
	bool armed, dead;
	struct env_timer *prev, *next;
};

#define MILLION INT64_C(1000000)

static int64_t
slewed(const struct node *n)
{
	return (int64_t)(n->w->now - n->slew_from) * n->slew_ppm / MILLION;
}

void
node_slew(struct node *n, int ppm)
{
	int64_t was = slewed(n);

	n->boot_base -= (uint64_t)was;
	n->wall_offset += was;
	n->slew_from = n->w->now;
	n->slew_ppm = ppm;
}

uint64_t
op_now(void *ctx)
{
	struct node *n = ctx;

	return n->w->now - n->boot_base + 1000 + (uint64_t)slewed(n);
}

uint64_t
op_now_us(void *ctx)
{
	return op_now(ctx) * 1000;
}

int64_t
op_wall(void *ctx)
{
	struct node *n = ctx;

	return EPOCH_WALL + (int64_t)n->w->now + n->wall_offset + slewed(n);
}

const char *
op_boot_id(void *ctx)
{
	return ((struct node *)ctx)->boot_id;
}

struct env_timer *
op_timer_new(void *ctx, void (*cb)(void *arg), void *arg)
{
	struct env_timer *t = calloc(1, sizeof(*t));
	struct node *n = ctx;

	*t = (struct env_timer){.node = n, .cb = cb, .arg = arg};
	DL_PREPEND(n->w->timers, t);
	return t;
}

static void
timer_release(struct env_timer *t)
{
	if (!t->dead || t->events > 0)
		return;
	DL_DELETE(t->node->w->timers, t);
	free(t);
}

static void
fire(void *arg, uint64_t version)
{
	struct env_timer *t = arg;

	t->events--;
	if (t->dead) {
		timer_release(t);
	} else if (t->armed && t->version == version) {
		t->armed = false;
		t->node->w->running = t->node;
		t->cb(t->arg);
	}
}

static void
timer_at(struct env_timer *t, uint64_t due)
{
	t->due = due;
	t->armed = true;
	t->events++;
	world_at(t->node->w, due, fire, t, ++t->version);
}

void
op_timer_set(struct env_timer *t, uint64_t after_ms)
{
	uint64_t rate = (uint64_t)(MILLION + t->node->slew_ppm);

	timer_at(t, t->node->w->now + (after_ms * MILLION + rate - 1) / rate);
}

void
op_timer_stop(struct env_timer *t)
{
	t->armed = false;
}

void
op_timer_free(struct env_timer *t)
{
	t->dead = true;
	timer_release(t);
}

/* What was due meanwhile fires now, once. */
void
timers_suspend(struct node *n, uint64_t ms)
{
	struct env_timer *t;

	DL_FOREACH(n->w->timers, t)
	{
		if (t->node == n && t->armed && !t->dead)
			timer_at(t, t->due > n->w->now + ms ? t->due - ms : n->w->now);
	}
}

void
timers_free(struct world *w)
{
	struct env_timer *t, *next;

	DL_FOREACH_SAFE(w->timers, t, next)
	free(t);
}

void
op_random(void *ctx, void *buf, size_t n)
{
	uint64_t *state = ((struct node *)ctx)->w->random, r;
	uint8_t *p = buf;

	for (; n > 0; p += n < 8 ? n : 8, n -= n < 8 ? n : 8) {
		r = next_random(state);
		memcpy(p, &r, n < 8 ? n : 8);
	}
}

/* ---- birth and death ---- */

static void
node_init(struct world *w, unsigned int i, const char *name)
{
	struct node *n = &w->nodes[i];

	n->w = w;
	n->index = (uint8_t)i;
	snprintf(n->name, sizeof(n->name), "%s", name);
	snprintf(n->boot_id, sizeof(n->boot_id), "boot-%u-0", i);
	n->env = (struct env){&world_ops, n};
	memset(n->private_key, (int)i + 17, 32);
	key_public(n->private_key, n->public_key);
}

struct world *
world_new(uint64_t seed, unsigned int routers)
{
	struct world *w = calloc(1, sizeof(*w));
	char name[] = "r-a";

	w->seed = seed;
	w->random[0] = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	w->random[1] = seed ^ UINT64_C(0xbf58476d1ce4e5b9);
	for (int i = 0; i < 16; i++)
		next_random(w->random);
	w->delay_min = 1;
	w->delay_max = 3;
	w->n_nodes = routers + 2;
	for (unsigned int i = 0; i < routers; i++, name[2]++)
		node_init(w, i, name);
	node_init(w, routers, "clc");
	node_init(w, routers + 1, "clc-2");
	for (unsigned int i = 0; i < routers; i++)
		node_configure(&w->nodes[i], routers);
	return w;
}

struct node *
world_router(struct world *w, unsigned int i)
{
	return &w->nodes[i];
}

struct node *
world_controller(struct world *w)
{
	return &w->nodes[w->n_nodes - 2];
}

void
world_free(struct world *w)
{
	for (unsigned int i = 0; i < w->n_nodes; i++)
		node_fini(&w->nodes[i]);
	while (w->n_heap > 0) { /* what is on its way may hold memory */
		struct heap_event e = pop(w);

		model_free_late(e.fn, e.arg);
	}
	timers_free(w);
	streams_free(w);
	free(w->heap);
	free(w);
}
