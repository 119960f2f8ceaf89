/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtt.h"

#include <rte_hash_crc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define WAITS	  UINT64_C(1)
#define TIME_MASK 0x7fffffffu

struct way {
	uint64_t sent;	/* session 32 | end of the newest segment 32 */
	uint64_t timed; /* its end 32 | when 31 | WAITS */
};

struct waiter { /* a VM that would be timed if there were a place */
	TAILQ_ENTRY(waiter) in;
	bool waits;
};

struct rtt {
	struct {
		struct way way[RTT_HALVES];
	} sessions[RTT_SESSIONS];
	struct rtt_times *vms;
	uint16_t *place; /* by slot: 1 + of `vms`; 0 = none */
	/* control thread only */
	uint16_t free[RTT_VMS], n_free;
	struct waiter *waiters; /* by slot */
	TAILQ_HEAD(, waiter) queue;
	uint32_t n_waiting;
};

_Static_assert(sizeof(struct way) == 16, "two sessions share a cache line");
_Static_assert(RTT_VMS < UINT16_MAX, "a place fits");

static uint64_t
load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void
store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static uint64_t
timing(uint32_t end, uint32_t now_us, uint64_t waits)
{
	return (uint64_t)end << 32 | (uint64_t)(now_us & TIME_MASK) << 1 | waits;
}

static uint32_t
age(uint64_t timed, uint32_t now_us)
{
	return (now_us - (uint32_t)(timed >> 1)) & TIME_MASK;
}

/* Is a before b, where numbers wrap? */
static bool
before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* False: somebody else ended it. */
static bool
end_wait(struct way *w, uint64_t timed)
{
	uint64_t done = timed & ~WAITS;

	return (timed & WAITS) && __atomic_compare_exchange_n(
					  &w->timed, &timed, done, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Whether the first segment of a session was sent before, too, is known of a SYN alone, as far as it matters: its answer
 * takes as long from here. */
static void
begin(struct way *w, uint32_t session, const struct rtt_segment *s, uint32_t now_us)
{
	uint32_t end = s->seq + s->len;

	store(&w->timed, timing(end, now_us, s->syn ? WAITS : 0));
	store(&w->sent, (uint64_t)session << 32 | end);
}

static void
segment(struct way *w, uint32_t session, const struct rtt_segment *s, uint32_t now_us)
{
	uint64_t sent = load(&w->sent), timed = load(&w->timed);
	uint32_t newest = (uint32_t)sent, end = s->seq + s->len;
	bool mine = sent >> 32 == session;

	if (!mine && timed != 0 && age(timed, now_us) < RTT_IDLE_US)
		return;
	if (!mine || (s->syn && end != newest)) {
		begin(w, session, s, now_us);
		return;
	}
	if (before(newest, end))
		store(&w->sent, (uint64_t)session << 32 | end);
	if (before(s->seq, newest))
		end_wait(w, timed);
	else if (!(timed & WAITS) || age(timed, now_us) > RTT_MAX_US)
		store(&w->timed, timing(end, now_us, WAITS));
}

static bool
acknowledgement(struct way *w, uint32_t session, uint32_t ack, uint32_t now_us, uint32_t *took_us)
{
	uint64_t sent = load(&w->sent), timed = load(&w->timed);
	uint32_t end = timed >> 32;

	if (sent >> 32 != session || !(timed & WAITS) || before(ack, end) || before((uint32_t)sent, ack))
		return false;
	*took_us = age(timed, now_us);
	return end_wait(w, timed) && ack == end && *took_us <= RTT_MAX_US;
}

bool
rtt_pass(struct rtt *t, const struct session_key *k, enum rtt_half to, const struct rtt_segment *s,
	uint32_t now_us, uint32_t *took_us)
{
	uint64_t word[2];
	uint32_t session;
	struct way *way;

	_Static_assert(sizeof(word) == sizeof(*k), "a session's key is two words");
	memcpy(word, k, sizeof(word));
	session = rte_hash_crc_8byte(word[1], rte_hash_crc_8byte(word[0], 1));
	way = t->sessions[session % RTT_SESSIONS].way;
	if (s->len != 0)
		segment(&way[to], session, s, now_us);
	return s->acks && acknowledgement(&way[1 - to], session, s->ack, now_us, took_us);
}

/* ---- which VMs ---- */

static void
forget(struct rtt_times *v)
{
	uint32_t *n = &v->n[0][0][0];

	for (size_t i = 0; i < sizeof(*v) / sizeof(*n); i++)
		__atomic_store_n(&n[i], 0, __ATOMIC_RELAXED);
}

static void
enqueue(struct rtt *t, struct waiter *w)
{
	w->waits = true;
	TAILQ_INSERT_TAIL(&t->queue, w, in);
	t->n_waiting++;
}

static void
dequeue(struct rtt *t, struct waiter *w)
{
	w->waits = false;
	TAILQ_REMOVE(&t->queue, w, in);
	t->n_waiting--;
}

static void
give(struct rtt *t, uint32_t slot)
{
	uint16_t place = t->free[--t->n_free];

	forget(&t->vms[place]);
	__atomic_store_n(&t->place[slot], place + 1, __ATOMIC_RELEASE);
}

static void
take_back(struct rtt *t, uint32_t slot)
{
	uint16_t place = t->place[slot];

	if (place == 0)
		return;
	__atomic_store_n(&t->place[slot], 0, __ATOMIC_RELAXED);
	t->free[t->n_free++] = place - 1;
}

void
rtt_begin(struct rtt *t, uint32_t slot)
{
	take_back(t, slot);
	if (t->n_free > 0)
		give(t, slot);
	else if (!t->waiters[slot].waits)
		enqueue(t, &t->waiters[slot]);
}

void
rtt_end(struct rtt *t, uint32_t slot)
{
	struct waiter *next;

	if (t->waiters[slot].waits)
		dequeue(t, &t->waiters[slot]);
	take_back(t, slot);
	next = TAILQ_FIRST(&t->queue);
	if (next == NULL || t->n_free == 0)
		return;
	dequeue(t, next);
	give(t, (uint32_t)(next - t->waiters));
}

uint32_t
rtt_vms(const struct rtt *t)
{
	return RTT_VMS - t->n_free;
}

uint32_t
rtt_waiting(const struct rtt *t)
{
	return t->n_waiting;
}

struct rtt_times *
rtt_of(struct rtt *t, uint32_t slot)
{
	uint16_t place = __atomic_load_n(&t->place[slot], __ATOMIC_ACQUIRE);

	return place != 0 ? &t->vms[place - 1] : NULL;
}

/* ---- how often which time ---- */

static unsigned int
bucket(uint32_t us)
{
	uint32_t v = us / 16;
	unsigned int power, b;

	if (v < 4)
		return v;
	power = 31u - (unsigned int)__builtin_clz(v);
	b = 4 * (power - 1) + (v >> (power - 2) & 3);
	return b < RTT_BUCKETS ? b : RTT_BUCKETS - 1;
}

/* The middle of it. */
static uint32_t
middle(unsigned int b)
{
	return b < 4 ? 16 * b + 8 : (9 + 2 * (b % 4)) << (b / 4 + 2);
}

void
rtt_count(struct rtt_times *v, enum rtt_way way, enum rtt_half half, uint32_t us)
{
	__atomic_fetch_add(&v->n[way][half][bucket(us)], 1, __ATOMIC_RELAXED);
}

uint32_t
rtt_median(const struct rtt_times *v, enum rtt_way way, enum rtt_half half, uint64_t *n)
{
	const uint32_t *of = v->n[way][half];
	uint64_t seen = 0;

	*n = 0;
	for (unsigned int i = 0; i < RTT_BUCKETS; i++)
		*n += __atomic_load_n(&of[i], __ATOMIC_RELAXED);
	if (*n == 0)
		return 0;
	for (unsigned int i = 0;; i++) { /* workers go on counting: it gets there */
		seen += __atomic_load_n(&of[i], __ATOMIC_RELAXED);
		if (2 * seen >= *n)
			return middle(i);
	}
}

/* ---- its life ---- */

struct rtt *
rtt_new(uint32_t slots)
{
	struct rtt *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->vms = calloc(RTT_VMS, sizeof(*t->vms));
	t->place = calloc(slots, sizeof(*t->place));
	t->waiters = calloc(slots, sizeof(*t->waiters));
	TAILQ_INIT(&t->queue);
	if (t->vms == NULL || t->place == NULL || t->waiters == NULL) {
		rtt_free(t);
		return NULL;
	}
	while (t->n_free < RTT_VMS) { /* the first is taken first */
		t->n_free++;
		t->free[t->n_free - 1] = RTT_VMS - t->n_free;
	}
	return t;
}

void
rtt_free(struct rtt *t)
{
	if (t == NULL)
		return;
	free(t->waiters);
	free(t->place);
	free(t->vms);
	free(t);
}
