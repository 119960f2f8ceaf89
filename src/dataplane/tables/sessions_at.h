/* SPDX-License-Identifier: BSD-3-Clause */
/* sessions_at.h - a look-up of sessions in steps, for bursts: locate all keys, which asks for their memory, then look.
 *
 * A session stands in the cell that its key leads to, or in the one beside it, in the same cache line, if one of them was free when it was
 * noted. A cell tells by itself whether it is a live session, so of these the bucket's head is not read: one line. That is 97 of 100
 * sessions in a table half as full as it may be (sessions.h), and 88 in a full one.
 */
#pragma once

#include "fold.h"
#include "sessions.h"

#include <rte_branch_prediction.h>
#include <rte_prefetch.h>
#include <stddef.h>

/* state, 64 bits: | generation 24 | flags 8 | home 32 |. The generation changes whenever a cell is written anew. 0: never written. */
#define SESSION_STATE(home, flags, gen) \
	((uint64_t)(home) | (uint64_t)(uint8_t)(flags) << 32 | (uint64_t)(gen) << 40)
#define SESSION_STATE_HOME(s)  ((rte_be32_t)(s))
#define SESSION_STATE_FLAGS(s) ((uint8_t)((s) >> 32))
#define SESSION_STATE_GEN(s)   ((uint32_t)((s) >> 40))
#define SESSION_FLAG_BUSY      0x80 /* no session: being written, or freed */
#define SESSION_FLAG_CLAIMED   0x40 /* written; whether it is published the bucket's head tells */
#define SESSION_FLAGS_TCP      (SESSION_FIN_FROM_VM | SESSION_FIN_TO_VM | SESSION_RST)
#define SESSION_FLAGS_NOTED    (SESSION_FLAGS_TCP | SESSION_GUESSED)

struct session_cell {
	uint64_t key[2];
	uint64_t state;
	uint32_t tick; /* last packet */
	uint32_t zero;
};

#define SESSION_TAG_WORDS ((SESSIONS_A_BUCKET + 3) / 4)

struct session_bucket {
	uint64_t head;
	union {
		uint16_t tag[SESSIONS_A_BUCKET]; /* bits of the hash, so that most cells need not be read */
		uint64_t tags[SESSION_TAG_WORDS];
	};
	uint8_t pad[24];
	struct session_cell cell[SESSIONS_A_BUCKET];
};

_Static_assert(sizeof(struct session_cell) == 32 && sizeof(struct session_bucket) == 512 &&
		       offsetof(struct session_bucket, cell) == 64,
	"two cells are a cache line");

struct sessions {
	struct session_bucket *buckets;
	uint32_t mask;
	uint64_t seed[2];
	struct file_head *file; /* start of the mapping */
	size_t size;
	int fd; /* keeps the lock; -1: anonymous */
};

struct session_where {		   /* a key, hashed */
	struct session_cell *cell; /* where it stands if that was free */
	uint64_t key[2];	   /* as it stands in memory */
	uint64_t hash;
};

/* `key`: a struct session_key's two words. */
static inline void
sessions_hash(const struct sessions *s, const uint64_t key[2], struct session_where *w)
{
	uint64_t h = fold(key[0] ^ s->seed[0], key[1] ^ s->seed[1]);

	h = fold(h ^ UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db));
	w->cell = &s->buckets[h & s->mask].cell[(h >> 32) * SESSIONS_A_BUCKET >> 32];
	w->hash = h;
	w->key[0] = key[0];
	w->key[1] = key[1];
}

static inline void
sessions_locate(const struct sessions *s, const uint64_t key[2], struct session_where *w)
{
	sessions_hash(s, key, w);
	rte_prefetch0(w->cell);
}

/* Buckets lie at multiples of their size. */
static inline struct session_bucket *
session_bucket(const struct session_where *w)
{
	return (struct session_bucket *)((uintptr_t)w->cell & ~(sizeof(struct session_bucket) - 1));
}

/* Of one that is likely not to be known, or not near: what tells so, and is written when it is noted, is asked for, too. */
static inline void
sessions_expect_far(const struct session_where *w)
{
	rte_prefetch0(session_bucket(w));
}

/* The other one of its cache line. */
static inline struct session_cell *
session_beside(const struct session_cell *c)
{
	return (struct session_cell *)((uintptr_t)c ^ sizeof(*c));
}

/* The state of the cell when it is a live session of this key and tells so by itself, else 0. One branch, for most have it. */
static inline uint64_t
session_alone(const struct session_cell *c, const uint64_t key[2])
{
	const uint64_t not_alone = SESSION_STATE(0, SESSION_FLAG_BUSY | SESSION_FLAG_CLAIMED, 0);
	uint64_t state = __atomic_load_n(&c->state, __ATOMIC_ACQUIRE);
	uint64_t other = (__atomic_load_n(&c->key[0], __ATOMIC_RELAXED) ^ key[0]) |
			 (__atomic_load_n(&c->key[1], __ATOMIC_RELAXED) ^ key[1]);

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	other |= (__atomic_load_n(&c->state, __ATOMIC_RELAXED) ^ state) | (state & not_alone);
	return other == 0 ? state : 0;
}

/* In the line that it is looked for first; NULL: if at all it is told by the head. */
static inline struct session_cell *
session_near(const struct session_where *w, uint64_t *state)
{
	struct session_cell *c = w->cell;

	*state = session_alone(c, w->key);
	if (likely(*state != 0))
		return c;
	c = session_beside(c);
	*state = session_alone(c, w->key);
	return *state != 0 ? c : NULL;
}

/* Wherever in the bucket it stands; NULL: it is not noted. */
struct session_cell *session_far(const struct session_where *w, uint64_t *state);

static inline void
session_touch(struct session_cell *c, uint32_t tick)
{
	if (__atomic_load_n(&c->tick, __ATOMIC_RELAXED) != tick)
		__atomic_store_n(&c->tick, tick, __ATOMIC_RELAXED);
}
