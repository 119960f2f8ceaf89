/* SPDX-License-Identifier: BSD-3-Clause */
#include "routetab.h"

#include <errno.h>
#include <rte_common.h>
#include <rte_errno.h>
#include <stdlib.h>
#include <string.h>

struct key {
	rte_be32_t prefix;
	uint16_t vrf;
	uint8_t len, zero;
};

/* Most destinations match at one length, but each longer one has to be asked. A bit per hash of prefix answers most of
 * that without the table: clear means that there is no such route. It is set before the route is in, cleared after
 * the last route with this hash is out. */
#define FILTER_BITS 512

struct routetab {
	struct lfhash *hash;
	uint64_t lengths; /* bit l: there are routes of length l */
	rte_be32_t mask[33];
	uint64_t filter[33][FILTER_BITS / 64];
	/* writer only */
	uint32_t count[33]; /* by length */
	uint32_t filter_count[33][FILTER_BITS];
};

_Static_assert(sizeof(struct key) == 8 && sizeof(struct nexthop) == 8, "fit the hash");

struct routetab *
routetab_new(uint32_t routes, struct rcu *rcu)
{
	struct routetab *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	t->hash = lfhash_new(routes, rcu);
	if (t->hash == NULL) {
		free(t);
		return NULL;
	}
	for (uint32_t l = 1; l <= 32; l++)
		t->mask[l] = rte_cpu_to_be_32(UINT32_MAX << (32 - l));
	return t;
}

void
routetab_free(struct routetab *t)
{
	if (t == NULL)
		return;
	lfhash_free(t->hash);
	free(t);
}

static inline uint32_t
filter_bit(rte_be32_t prefix)
{
	return prefix * UINT32_C(2654435769) / (UINT32_MAX / FILTER_BITS + 1);
}

static inline bool
may_match(const struct routetab *t, uint8_t len, rte_be32_t prefix)
{
	uint32_t bit = filter_bit(prefix);

	return __atomic_load_n(&t->filter[len][bit / 64], __ATOMIC_RELAXED) >> (bit % 64) & 1;
}

/* The default route is one key for all. */
static uint64_t
find_default(const struct routetab *t, uint16_t vrf, uint64_t todo, struct nexthop *nh)
{
	const struct key k = {.vrf = vrf};
	uint64_t value;

	if (!lfhash_find(t->hash, lfhash_key(&k), &value))
		return todo;
	for (; todo != 0; todo &= todo - 1)
		memcpy(&nh[__builtin_ctzll(todo)], &value, sizeof(*nh));
	return 0;
}

/* Looks up those of `todo` at one length; returns those that found nothing. A run of one prefix is asked for once. */
static uint64_t
find_length(const struct routetab *t, uint16_t vrf, uint8_t len, const rte_be32_t *dst, uint64_t todo,
	struct nexthop *nh)
{
	uint64_t keys[LFHASH_BULK_MAX], values[LFHASH_BULK_MAX], asking = 0, hits, found = 0;
	uint8_t ask[LFHASH_BULK_MAX];
	const struct key k = {.vrf = vrf, .len = len};
	rte_be32_t mask = t->mask[len], prefix;
	uint64_t key = lfhash_key(&k);
	uint32_t n = 0;

	for (uint64_t rest = todo; rest != 0; rest &= rest - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(rest);

		prefix = dst[i] & mask;
		if (!may_match(t, len, prefix))
			continue;
		memcpy(&key, &prefix, sizeof(prefix)); /* the key begins with it */
		if (n == 0 || keys[n - 1] != key)
			keys[n++] = key;
		ask[i] = (uint8_t)(n - 1);
		asking |= UINT64_C(1) << i;
	}
	if (n == 0)
		return todo;
	hits = lfhash_find_bulk(t->hash, keys, n, values);
	for (; asking != 0; asking &= asking - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(asking);

		if ((hits >> ask[i] & 1) == 0)
			continue;
		memcpy(&nh[i], &values[ask[i]], sizeof(*nh));
		found |= UINT64_C(1) << i;
	}
	return todo & ~found;
}

void
routetab_find(const struct routetab *t, uint16_t vrf, const rte_be32_t *dst, uint32_t n, struct nexthop *nh)
{
	uint64_t todo = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
	uint64_t lengths = __atomic_load_n(&t->lengths, __ATOMIC_ACQUIRE);

	memset(nh, 0, n * sizeof(*nh)); /* NH_NONE */
	while (lengths != 0 && todo != 0) {
		uint8_t len = (uint8_t)(63 - __builtin_clzll(lengths));

		todo = len != 0 ? find_length(t, vrf, len, dst, todo, nh) : find_default(t, vrf, todo, nh);
		lengths &= ~(UINT64_C(1) << len);
	}
}

static struct key
key(const struct routetab *t, uint16_t vrf, rte_be32_t prefix, uint8_t len)
{
	return (struct key){.prefix = prefix & t->mask[len], .vrf = vrf, .len = len};
}

static void
filter_add(struct routetab *t, const struct key *k)
{
	uint32_t bit = filter_bit(k->prefix);
	uint64_t *word = &t->filter[k->len][bit / 64];

	if (t->filter_count[k->len][bit]++ == 0)
		__atomic_store_n(word, *word | UINT64_C(1) << (bit % 64), __ATOMIC_RELEASE);
}

static void
filter_remove(struct routetab *t, const struct key *k)
{
	uint32_t bit = filter_bit(k->prefix);
	uint64_t *word = &t->filter[k->len][bit / 64];

	if (--t->filter_count[k->len][bit] == 0)
		__atomic_store_n(word, *word & ~(UINT64_C(1) << (bit % 64)), __ATOMIC_RELEASE);
}

int
routetab_put(struct routetab *t, uint16_t vrf, rte_be32_t prefix, uint8_t len, const struct nexthop *nh)
{
	struct key k = key(t, vrf, prefix, len);
	uint32_t before = lfhash_count(t->hash);
	uint64_t value;
	int rc;

	memcpy(&value, nh, sizeof(value));
	filter_add(t, &k);
	rc = lfhash_put(t->hash, lfhash_key(&k), value);
	if (rc != 0 || lfhash_count(t->hash) == before) { /* refused, or it was there and has its count */
		filter_remove(t, &k);
		return rc;
	}
	t->count[len]++;
	__atomic_store_n(&t->lengths, t->lengths | UINT64_C(1) << len, __ATOMIC_RELEASE);
	return 0;
}

int
routetab_del(struct routetab *t, uint16_t vrf, rte_be32_t prefix, uint8_t len)
{
	struct key k = key(t, vrf, prefix, len);
	int rc = lfhash_del(t->hash, lfhash_key(&k));

	if (rc != 0)
		return rc;
	filter_remove(t, &k);
	if (--t->count[len] == 0)
		__atomic_store_n(&t->lengths, t->lengths & ~(UINT64_C(1) << len), __ATOMIC_RELEASE);
	return 0;
}

bool
routetab_has(const struct routetab *t, uint16_t vrf, rte_be32_t prefix, uint8_t len)
{
	struct key k = key(t, vrf, prefix, len);
	uint64_t value;

	return lfhash_find(t->hash, lfhash_key(&k), &value);
}

uint32_t
routetab_count(const struct routetab *t)
{
	return lfhash_count(t->hash);
}

int
routetab_reserve(struct routetab *t, uint32_t n)
{
	return lfhash_reserve(t->hash, n);
}

bool
routetab_next(const struct routetab *t, uint32_t *next, uint16_t *vrf, rte_be32_t *prefix, uint8_t *len,
	struct nexthop *nh)
{
	uint64_t bits, value;
	struct key k;

	if (!lfhash_next(t->hash, next, &bits, &value))
		return false;
	memcpy(&k, &bits, sizeof(k));
	*vrf = k.vrf;
	*prefix = k.prefix;
	*len = k.len;
	memcpy(nh, &value, sizeof(*nh));
	return true;
}
