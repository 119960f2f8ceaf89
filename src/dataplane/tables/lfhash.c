/* SPDX-License-Identifier: BSD-3-Clause */
#include "lfhash.h"

#include "fold.h"

#include <errno.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_jhash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define WAIT_STEP_US 20
#define WAIT_MAX_US  1000000

/* A deleted key's position: a reader that is in the middle of a look-up may still compare the key there. */
struct retired {
	uint64_t token;
	uint32_t position;
};

struct lfhash {
	struct rte_hash *hash;
	struct rcu *rcu;
	uint32_t entries, count;
	uint32_t positions;	 /* entries and the margin */
	struct retired *retired; /* a ring of `positions` */
	uint32_t head, n_retired;
};

_Static_assert(sizeof(void *) == sizeof(uint64_t), "rte_hash keeps a pointer, we keep 64 bits in it");

/* ---- hash and compare ---- */

static inline uint32_t
hash64(uint64_t key, uint32_t seed)
{
	uint64_t s = seed * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)fold(
		fold(key ^ s, s | 1) ^ UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db));
}

static uint32_t
hash_4(const void *key, uint32_t len, uint32_t seed)
{
	uint32_t k;

	(void)len;
	memcpy(&k, key, sizeof(k));
	return hash64(k, seed);
}

static uint32_t
hash_8(const void *key, uint32_t len, uint32_t seed)
{
	uint64_t k;

	(void)len;
	memcpy(&k, key, sizeof(k));
	return hash64(k, seed);
}

static int
compare_4(const void *a, const void *b, size_t len)
{
	uint32_t x, y;

	(void)len;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x != y;
}

static int
compare_8(const void *a, const void *b, size_t len)
{
	uint64_t x, y;

	(void)len;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x != y;
}

static struct rte_hash *
create(const struct lfhash *h, const char *name, uint32_t key_len)
{
	char unique[RTE_HASH_NAMESIZE];
	uint32_t seed;
	struct rte_hash_parameters p = {
		.name = unique,
		.entries = h->positions,
		.key_len = key_len,
		.hash_func = key_len == 4   ? hash_4
			     : key_len == 8 ? hash_8
					    : rte_jhash,
		.socket_id = SOCKET_ID_ANY,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	struct rte_hash *hash;

	/* rte_hash and its rings have names in one space per process; prefixes and the ring's limit leave 24. */
	snprintf(unique, sizeof(unique), "%.8s_%zx", name, (size_t)h / 16);
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return NULL;
	p.hash_func_init_val = seed;
	hash = rte_hash_create(&p);
	if (hash != NULL && key_len == 4)
		rte_hash_set_cmp_func(hash, compare_4);
	if (hash != NULL && key_len == 8)
		rte_hash_set_cmp_func(hash, compare_8);
	return hash;
}

struct lfhash *
lfhash_new(const char *name, uint32_t key_len, uint32_t entries, struct rcu *rcu)
{
	struct lfhash *h = calloc(1, sizeof(*h));

	if (h == NULL)
		goto nomem;
	h->rcu = rcu;
	h->entries = entries;
	h->positions = entries + entries / 4 + 64;
	h->retired = calloc(h->positions, sizeof(*h->retired));
	if (h->retired == NULL)
		goto nomem;
	h->hash = create(h, name, key_len);
	if (h->hash == NULL) {
		lfhash_free(h);
		return NULL;
	}
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
	rte_hash_free(h->hash);
	free(h->retired);
	free(h);
}

/* ---- readers ---- */

uint64_t
lfhash_find_bulk(const struct lfhash *h, const void **keys, uint32_t n, uint64_t *values)
{
	uint64_t hits = 0;

	if (n != 0)
		rte_hash_lookup_bulk_data(h->hash, keys, n, &hits, (void **)values);
	return hits;
}

bool
lfhash_find(const struct lfhash *h, const void *key, uint64_t *value)
{
	return rte_hash_lookup_data(h->hash, key, (void **)value) >= 0;
}

/* ---- writer ---- */

/* Gives back positions whose grace period is over. Own queue, not rcu_defer(): a put may run it at any time, and
 * must not run other people's callbacks then. */
static void
reclaim(struct lfhash *h)
{
	while (h->n_retired != 0 && rcu_passed(h->rcu, h->retired[h->head].token)) {
		rte_hash_free_key_with_position(h->hash, (int32_t)h->retired[h->head].position);
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

int
lfhash_put(struct lfhash *h, const void *key, uint64_t value)
{
	bool known = rte_hash_lookup(h->hash, key) >= 0;

	if (!known && lfhash_reserve(h, 1) != 0)
		return -ENOSPC;
	if (rte_hash_add_key_data(h->hash, key, (void *)(uintptr_t)value) < 0)
		return -ENOSPC;
	h->count += !known;
	return 0;
}

int
lfhash_del(struct lfhash *h, const void *key)
{
	int32_t position = rte_hash_del_key(h->hash, key);

	if (position < 0)
		return -ENOENT;
	h->count--;
	h->retired[(h->head + h->n_retired++) % h->positions] =
		(struct retired){rcu_start(h->rcu), (uint32_t)position};
	reclaim(h);
	return 0;
}

uint32_t
lfhash_count(const struct lfhash *h)
{
	return h->count;
}

bool
lfhash_next(const struct lfhash *h, uint32_t *next, const void **key, uint64_t *value)
{
	return rte_hash_iterate(h->hash, key, (void **)value, next) >= 0;
}
