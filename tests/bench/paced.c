/* SPDX-License-Identifier: BSD-3-Clause */
/* paced.c - latency: frames at a rate, or alone. When a frame was handed to its port stands beside its number, so frames carry nothing
 * for it; as both ends are the generator, one clock tells. */
#include "generator.h"

#include <rte_cycles.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define EVERY	   16	      /* of a stream's frames one is timed */
#define TIMES_MAX  (1u << 20) /* noted at most, of a stream */
#define BEHIND_MAX 64	      /* frames: what is due beyond it was missed by the generator itself */
#define LOST_MS	   1000	      /* a frame alone that takes longer */
#define SLICE_NS   (10 * 1000 * 1000)

struct stamps {
	uint32_t every, n;
	uint64_t *sent;	  /* TSC, of each slot's frame; 0: not on its way */
	uint32_t *cycles; /* of those that came back */
};

struct pace {
	double per_cycle; /* frames */
	uint64_t start, offered;
};

static struct stamps *
stamps_new(const struct generator *g, uint32_t every)
{
	struct stamps *s = calloc(1, sizeof(*s));

	if (s != NULL) {
		s->every = every;
		s->sent = calloc(g->n, sizeof(*s->sent));
		s->cycles = calloc(TIMES_MAX, sizeof(*s->cycles));
	}
	if (s == NULL || s->sent == NULL || s->cycles == NULL)
		generator_die("no memory for the times of frames");
	return s;
}

static void
stamps_free(struct stamps *s)
{
	free(s->sent);
	free(s->cycles);
	free(s);
}

void
stamps_take(struct generator *g, struct rte_mbuf *m, uint64_t tsc)
{
	struct stamps *s = g->stamps;
	uint64_t k = generator_number(g, m);

	if (k >= g->n || k % s->every != 0 || s->sent[k] == 0)
		return;
	if (s->n < TIMES_MAX)
		s->cycles[s->n++] = (uint32_t)RTE_MIN(tsc - s->sent[k], (uint64_t)UINT32_MAX);
	s->sent[k] = 0;
}

static void
stamp(struct generator *g, uint32_t first, uint32_t n)
{
	struct stamps *s = g->stamps;
	uint64_t now = rte_rdtsc();

	for (uint32_t k = (first + s->every - 1) / s->every * s->every; k < first + n; k += s->every)
		s->sent[k] = now;
}

static void
send_frames(struct generator *g, uint32_t n)
{
	stamp(g, g->next == 0 ? g->n - n : g->next - n, n);
	if (!generator_send(g))
		generator_forget(g);
}

/* ---- a stream ---- */

static void
paced_turn(struct generator *g, struct pace *p)
{
	uint64_t due = (uint64_t)((double)(rte_rdtsc() - p->start) * p->per_cycle);
	uint64_t behind = due - RTE_MIN(due, p->offered);
	uint32_t n;

	if (behind > BEHIND_MAX) {
		p->start += (uint64_t)((double)(behind - BEHIND_MAX) / p->per_cycle);
		behind = BEHIND_MAX;
	}
	n = behind != 0 ? generator_next(g, RTE_MIN((uint32_t)behind, GENERATOR_BURST)) : 0;
	if (n != 0)
		send_frames(g, n);
	p->offered += n;
	generator_receive(g);
}

/* Seconds that it took, until the last frame was sent; what is on its way then may still come. */
static double
paced_for(struct generator *g, struct pace *p, uint64_t ms)
{
	uint64_t begin = rte_rdtsc(), end = begin + ms * rte_get_tsc_hz() / 1000, now;

	p->start = begin;
	p->offered = g->received = g->unanswered = g->stamps->n = 0;
	do
		paced_turn(g, p);
	while ((now = rte_rdtsc()) < end);
	generator_receive_for(g, GENERATOR_DRAIN_MS);
	return (double)(now - begin) / (double)rte_get_tsc_hz();
}

static int
by_cycles(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double
ns_of(uint32_t cycles)
{
	return (double)cycles * 1e9 / (double)rte_get_tsc_hz();
}

/* Of those that are sorted. */
static double
quantile(const struct stamps *s, double part)
{
	return s->n != 0 ? ns_of(s->cycles[(uint32_t)((s->n - 1) * part)]) : 0;
}

void
paced_run(struct generator *g, double mpps, uint64_t warm_ms, uint64_t ms)
{
	struct pace p = {.per_cycle = mpps * 1e6 / (double)rte_get_tsc_hz()};
	struct stamps *s = g->stamps = stamps_new(g, EVERY);
	double took;

	paced_for(g, &p, warm_ms);
	took = paced_for(g, &p, ms);
	g->stamps = NULL;
	qsort(s->cycles, s->n, sizeof(*s->cycles), by_cycles);
	printf("%.4f %.4f %.0f %.0f %.0f %.0f\n", (double)p.offered / took / 1e6,
		generator_lost(g, p.offered), quantile(s, 0.5), quantile(s, 0.99), quantile(s, 0.999),
		quantile(s, 1));
	stamps_free(s);
}

/* ---- a frame alone ---- */

/* Nobody polls, but the device's questions are answered. */
static void
rest(struct generator *g, uint64_t us)
{
	uint64_t end = rte_rdtsc() + us * rte_get_tsc_hz() / 1000000, now;

	while ((now = rte_rdtsc()) < end) {
		uint64_t ns = (end - now) * 1000000000 / rte_get_tsc_hz();
		struct timespec ts = {0, (long)RTE_MIN(ns, (uint64_t)SLICE_NS)};

		nanosleep(&ts, NULL);
		generator_receive(g);
	}
}

static double
ping(struct generator *g)
{
	uint64_t end = rte_rdtsc() + LOST_MS * rte_get_tsc_hz() / 1000;

	g->stamps->n = 0;
	if (generator_next(g, 1) == 0)
		generator_die("no packet buffer");
	send_frames(g, 1);
	while (g->stamps->n == 0 && rte_rdtsc() < end) {
		generator_receive(g);
		sched_yield(); /* to the router's control thread, which this CPU is for, too: net_tap signals it what comes */
	}
	return g->stamps->n != 0 ? ns_of(g->stamps->cycles[0]) : 0;
}

void
paced_ping(struct generator *g, uint32_t count, uint32_t pause_us)
{
	struct stamps *s = g->stamps = stamps_new(g, 1);

	for (uint32_t i = 0; i < count; i++) {
		rest(g, pause_us);
		printf("%.0f ", ping(g));
	}
	puts("");
	g->stamps = NULL;
	stamps_free(s);
}
