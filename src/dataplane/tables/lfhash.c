/* SPDX-License-Identifier: BSD-3-Clause */
#include "lfhash.h"

#include "fold.h"

#include <errno.h>
#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>
#include <stdlib.h>
#include <sys/random.h>
#ifdef __SSE4_1__
#include <smmintrin.h>
#endif

#define WAYS	     4 /* entries of a bucket */
#define WAIT_STEP_US 20
#define WAIT_MAX_US  1000000

/* What stands for a key in the table: its complement, so that a new table is all zero; or */
enum mark {
	EMPTY, /* nothing here, and no key stands farther on because this bucket was full: a reader stops */
	FREE,  /* nothing here, but go on */
	RESTS, /* deleted: a reader may still be about to read its value; go on */
	MARKS
};

_Static_assert(LFHASH_KEY_MAX == ~(uint64_t)MARKS, "no key looks like a mark");

struct bucket {
	uint64_t key[WAYS];
	uint64_t value[WAYS];
} __rte_aligned(64);

_Static_assert(sizeof(struct bucket) == 64, "a bucket is one cache line, or half of one");

/* A deleted key's position: a reader that is in the middle of a look-up may still read the value there. */
struct retired {
	uint64_t token;
	uint32_t position;
};

struct lfhash {
	struct bucket *buckets; /* at most half of their entries are in use or rest */
	uint32_t n_buckets;
	uint64_t seed;
	uint64_t version;
	/* writer only */
	struct rcu *rcu;
	uint32_t *passed; /* by bucket: keys that stand farther on because it was full */
	uint32_t entries, count;
	uint32_t positions;	 /* entries and the margin */
	struct retired *retired; /* a ring of `positions` */
	uint32_t head, n_retired;
};

/* ---- life ---- */

struct lfhash *
lfhash_new(uint32_t entries, struct rcu *rcu)
{
	struct lfhash *h = calloc(1, sizeof(*h));

	if (h == NULL)
		goto nomem;
	h->rcu = rcu;
	h->entries = entries;
	h->positions = entries + entries / 4 + 64;
	h->n_buckets = h->positions / (WAYS / 2) + 1;
	h->buckets = rte_zmalloc("lfhash", h->n_buckets * sizeof(*h->buckets), RTE_CACHE_LINE_SIZE);
	h->passed = calloc(h->n_buckets, sizeof(*h->passed));
	h->retired = calloc(h->positions, sizeof(*h->retired));
	if (h->buckets == NULL || h->passed == NULL || h->retired == NULL ||
		getrandom(&h->seed, sizeof(h->seed), 0) != sizeof(h->seed))
		goto nomem;
	return h;
nomem:
	lfhash_free(h);
	rte_errno = ENOMEM;
	return NULL;
}

void
lfhash_free(struct lfhash *h)
{
	if (h == NULL)
		return;
	rte_free(h->buckets);
	free(h->passed);
	free(h->retired);
	free(h);
}

/* ---- readers ---- */

/* The bucket that a key belongs to, unless it is full. */
static inline uint32_t
home(const struct lfhash *h, uint64_t key)
{
	uint64_t x = fold(fold(key ^ h->seed, h->seed | 1) ^ UINT64_C(0xa0761d6478bd642f),
		UINT64_C(0xe7037ed1a0b428db));

	return (uint32_t)((x >> 32) * h->n_buckets >> 32);
}

static inline uint32_t
after(const struct lfhash *h, uint32_t bucket)
{
	return bucket + 1 < h->n_buckets ? bucket + 1 : 0;
}

/* Bit i: way i of the bucket holds it. Without a branch: which way it is cannot be foretold. What a vector has read is but a hint: take()
 * reads the way again. */
static inline uint32_t
ways_with(const struct bucket *b, uint64_t stored)
{
#ifdef __SSE4_1__ /* 12 instructions for 37 */
	const __m128i *key = (const __m128i *)b->key, want = _mm_set1_epi64x((long long)stored);
	__m128i low = _mm_cmpeq_epi64(_mm_load_si128(key), want);
	__m128i high = _mm_cmpeq_epi64(_mm_load_si128(key + 1), want);

	return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(_mm_packs_epi32(low, high)));
#else
	uint32_t ways = 0;

	for (uint32_t i = 0; i < WAYS; i++)
		ways |= (uint32_t)(__atomic_load_n(&b->key[i], __ATOMIC_RELAXED) == stored) << i;
	return ways;
#endif
}

/* The value of a way where the key was seen; false: it is gone by now. */
static inline bool
take(const struct bucket *b, uint32_t way, uint64_t stored, uint64_t *value)
{
	if (__atomic_load_n(&b->key[way], __ATOMIC_ACQUIRE) != stored || stored < MARKS)
		return false;
	*value = __atomic_load_n(&b->value[way], __ATOMIC_RELAXED);
	return true;
}

/* Not in its own bucket, and that has been full. */
static __rte_noinline bool
find_farther(const struct lfhash *h, uint32_t bucket, uint64_t stored, uint64_t *value)
{
	for (uint32_t n = 1; n < h->n_buckets; n++) {
		const struct bucket *b = &h->buckets[bucket = after(h, bucket)];
		uint32_t ways = ways_with(b, stored);

		if (ways != 0)
			return take(b, (uint32_t)__builtin_ctz(ways), stored, value);
		if (ways_with(b, EMPTY) != 0)
			return false;
	}
	return false;
}

static inline bool
find(const struct lfhash *h, uint32_t bucket, uint64_t key, uint64_t *value)
{
	const struct bucket *b = &h->buckets[bucket];
	uint32_t ways = ways_with(b, ~key);

	if (likely(ways != 0))
		return take(b, (uint32_t)__builtin_ctz(ways), ~key, value);
	return ways_with(b, EMPTY) == 0 && find_farther(h, bucket, ~key, value);
}

uint64_t
lfhash_find_bulk(const struct lfhash *h, const void *keys, uint32_t n, uint64_t *values)
{
	uint32_t buckets[LFHASH_BULK_MAX];
	const char(*key)[sizeof(uint64_t)] = keys;
	uint64_t hits = 0;

	for (uint32_t i = 0; i < n; i++) {
		buckets[i] = home(h, lfhash_key(key[i]));
		rte_prefetch0(&h->buckets[buckets[i]]);
	}
	for (uint32_t i = 0; i < n; i++)
		hits |= (uint64_t)find(h, buckets[i], lfhash_key(key[i]), &values[i]) << i;
	return hits;
}

bool
lfhash_find(const struct lfhash *h, uint64_t key, uint64_t *value)
{
	return find(h, home(h, key), key, value);
}

/* ---- writer ---- */

static void
mark(struct bucket *b, uint32_t way, enum mark m)
{
	__atomic_store_n(&b->key[way], m, __ATOMIC_RELEASE);
}

/* Gives back positions whose grace period is over. Own queue, not rcu_defer(): a put may run it at any time, and
 * must not run other people's callbacks then. */
static void
reclaim(struct lfhash *h)
{
	while (h->n_retired != 0 && rcu_passed(h->rcu, h->retired[h->head].token)) {
		uint32_t position = h->retired[h->head].position, bucket = position / WAYS;

		mark(&h->buckets[bucket], position % WAYS, h->passed[bucket] != 0 ? FREE : EMPTY);
		h->head = (h->head + 1) % h->positions;
		h->n_retired--;
	}
}

static bool
has_room(const struct lfhash *h, uint32_t n)
{
	return n <= h->positions - h->count - h->n_retired;
}

int
lfhash_reserve(struct lfhash *h, uint32_t n)
{
	if (n > h->entries - h->count)
		return -ENOSPC;
	if (has_room(h, n))
		return 0;
	reclaim(h);
	for (uint32_t us = 0; !has_room(h, n); us += WAIT_STEP_US) {
		if (us >= WAIT_MAX_US)
			return -ENOSPC;
		rte_delay_us_sleep(WAIT_STEP_US);
		reclaim(h);
	}
	return 0;
}

/* There is room somewhere: at most half of all entries are taken. */
static void
insert(struct lfhash *h, uint64_t key, uint64_t value)
{
	uint32_t bucket = home(h, key), room;
	struct bucket *b;

	for (;; bucket = after(h, bucket)) {
		b = &h->buckets[bucket];
		room = ways_with(b, EMPTY) | ways_with(b, FREE);
		if (room != 0)
			break;
		h->passed[bucket]++;
	}
	room = (uint32_t)__builtin_ctz(room);
	__atomic_store_n(&b->value[room], value, __ATOMIC_RELAXED);
	__atomic_store_n(&b->key[room], ~key, __ATOMIC_RELEASE);
}

/* Where a key stands that is there. */
static bool
locate(const struct lfhash *h, uint64_t key, uint32_t *bucket, uint32_t *way)
{
	*bucket = home(h, key);
	for (uint32_t n = 0; key <= LFHASH_KEY_MAX && n < h->n_buckets; n++, *bucket = after(h, *bucket)) {
		const struct bucket *b = &h->buckets[*bucket];
		uint32_t ways = ways_with(b, ~key);

		if (ways != 0) {
			*way = (uint32_t)__builtin_ctz(ways);
			return true;
		}
		if (ways_with(b, EMPTY) != 0)
			return false;
	}
	return false;
}

int
lfhash_put(struct lfhash *h, uint64_t key, uint64_t value)
{
	uint32_t bucket, way;

	if (key > LFHASH_KEY_MAX)
		return -EINVAL;
	if (locate(h, key, &bucket, &way)) {
		__atomic_store_n(&h->buckets[bucket].value[way], value, __ATOMIC_RELEASE);
		return 0;
	}
	if (lfhash_reserve(h, 1) != 0)
		return -ENOSPC;
	insert(h, key, value);
	h->count++;
	return 0;
}

/* One key less stands farther on. After the last one readers may stop here. */
static void
unpass(struct lfhash *h, uint32_t bucket)
{
	struct bucket *b = &h->buckets[bucket];

	if (--h->passed[bucket] != 0)
		return;
	for (uint32_t free = ways_with(b, FREE); free != 0; free &= free - 1)
		mark(b, (uint32_t)__builtin_ctz(free), EMPTY);
}

int
lfhash_del(struct lfhash *h, uint64_t key)
{
	uint32_t bucket, way;

	if (!locate(h, key, &bucket, &way))
		return -ENOENT;
	mark(&h->buckets[bucket], way, RESTS);
	for (uint32_t b = home(h, key); b != bucket; b = after(h, b))
		unpass(h, b);
	h->count--;
	h->retired[(h->head + h->n_retired++) % h->positions] =
		(struct retired){rcu_start(h->rcu), bucket * WAYS + way};
	reclaim(h);
	return 0;
}

uint64_t
lfhash_version(const struct lfhash *h)
{
	return __atomic_load_n(&h->version, __ATOMIC_ACQUIRE);
}

void
lfhash_change(struct lfhash *h)
{
	__atomic_store_n(&h->version, h->version + 1, __ATOMIC_RELEASE);
}

uint32_t
lfhash_count(const struct lfhash *h)
{
	return h->count;
}

bool
lfhash_next(const struct lfhash *h, uint32_t *next, uint64_t *key, uint64_t *value)
{
	while (*next / WAYS < h->n_buckets) {
		const struct bucket *b = &h->buckets[*next / WAYS];
		uint32_t way = (*next)++ % WAYS;

		if (b->key[way] < MARKS)
			continue;
		*key = ~b->key[way];
		*value = b->value[way];
		return true;
	}
	return false;
}
