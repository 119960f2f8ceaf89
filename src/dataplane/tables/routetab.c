/* SPDX-License-Identifier: BSD-3-Clause */
#include "routetab.h"

#include <errno.h>
#include <rte_branch_prediction.h>
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
	/* By first byte of a destination: prefixes longer than the default route's that begin so. Where there are none for a whole burst, which
	 * is so of most bursts of a router with few routes, no length is asked: 14 instructions a packet and length. As `filter`. */
	uint32_t longer[256];
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

static inline uint8_t
first_byte(rte_be32_t ip)
{
	uint8_t first;

	memcpy(&first, &ip, sizeof(first));
	return first;
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

struct asked { /* of one bulk look-up */
	const struct routetab *t;
	uint16_t vrf;
	uint32_t n;
	const rte_be32_t *dst;
	uint64_t todo;	    /* bit i: dst[i] is not found yet */
	struct nexthop *nh; /* the first `used` */
	uint8_t *of;
	uint32_t used;
};

/* Looks up at one length. A run of one prefix is asked for once. */
static void
find_length(struct asked *a, uint8_t len)
{
	uint64_t keys[LFHASH_BULK_MAX], values[LFHASH_BULK_MAX], asking = 0, hits;
	uint8_t ask[LFHASH_BULK_MAX], at[LFHASH_BULK_MAX]; /* which key; where its next hop stands */
	const struct key k = {.vrf = a->vrf, .len = len};
	rte_be32_t mask = a->t->mask[len], prefix;
	uint64_t key = lfhash_key(&k);
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->n; i++) {
		prefix = a->dst[i] & mask;
		if (likely(!may_match(a->t, len, prefix)) || !(a->todo >> i & 1))
			continue;
		memcpy(&key, &prefix, sizeof(prefix)); /* the key begins with it */
		if (n == 0 || keys[n - 1] != key)
			keys[n++] = key;
		ask[i] = (uint8_t)(n - 1);
		asking |= UINT64_C(1) << i;
	}
	if (n == 0)
		return;
	hits = lfhash_find_bulk(a->t->hash, keys, n, values);
	for (uint64_t h = hits; h != 0; h &= h - 1) {
		uint32_t k = (uint32_t)__builtin_ctzll(h);

		at[k] = (uint8_t)a->used;
		memcpy(&a->nh[a->used++], &values[k], sizeof(*a->nh));
	}
	for (; asking != 0; asking &= asking - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(asking);

		if ((hits >> ask[i] & 1) == 0)
			continue;
		a->of[i] = at[ask[i]];
		a->todo &= ~(UINT64_C(1) << i);
	}
}

/* The default route is one key, and one next hop, for all: the first. */
static void
find_default(struct asked *a)
{
	const struct key k = {.vrf = a->vrf};
	uint64_t value;

	if (lfhash_find(a->t->hash, lfhash_key(&k), &value))
		memcpy(&a->nh[0], &value, sizeof(a->nh[0]));
}

static inline bool
any_longer(const struct routetab *t, const rte_be32_t *dst, uint32_t n)
{
	uint32_t any = 0;

	for (uint32_t i = 0; i < n; i++)
		any |= __atomic_load_n(&t->longer[first_byte(dst[i])], __ATOMIC_RELAXED);
	return any != 0;
}

uint32_t
routetab_find_shared(const struct routetab *t, uint16_t vrf, const rte_be32_t *dst, uint32_t n, bool longer,
	struct nexthop *nh, uint8_t *of)
{
	uint64_t todo = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
	uint64_t lengths = __atomic_load_n(&t->lengths, __ATOMIC_ACQUIRE);
	struct asked a = {t, vrf, n, dst, todo, nh, of, 1};

	nh[0] = (struct nexthop){.kind = NH_NONE};
	memset(of, 0, n);
	if (!longer)
		lengths &= 1;
	while (lengths > 1 && a.todo != 0) {
		uint8_t len = (uint8_t)(63 - __builtin_clzll(lengths));

		find_length(&a, len);
		lengths &= ~(UINT64_C(1) << len);
	}
	if (a.todo != 0 && (lengths & 1))
		find_default(&a);
	return a.used;
}

void
routetab_find(const struct routetab *t, uint16_t vrf, const rte_be32_t *dst, uint32_t n, struct nexthop *nh)
{
	struct nexthop shared[ROUTETAB_SHARED_MAX];
	uint8_t of[LFHASH_BULK_MAX];

	routetab_find_shared(t, vrf, dst, n, any_longer(t, dst, n), shared, of);
	for (uint32_t i = 0; i < n; i++)
		nh[i] = shared[of[i]];
}

static struct key
key(const struct routetab *t, uint16_t vrf, rte_be32_t prefix, uint8_t len)
{
	return (struct key){.prefix = prefix & t->mask[len], .vrf = vrf, .len = len};
}

static void
count_longer(struct routetab *t, const struct key *k, int by)
{
	uint32_t first = first_byte(k->prefix), n = k->len >= 8 ? 1 : 256 >> k->len;

	if (k->len == 0)
		return;
	for (uint32_t i = first; i < first + n; i++)
		__atomic_store_n(&t->longer[i], t->longer[i] + (uint32_t)by, __ATOMIC_RELEASE);
}

static void
filter_add(struct routetab *t, const struct key *k)
{
	uint32_t bit = filter_bit(k->prefix);
	uint64_t *word = &t->filter[k->len][bit / 64];

	count_longer(t, k, 1);
	if (t->filter_count[k->len][bit]++ == 0)
		__atomic_store_n(word, *word | UINT64_C(1) << (bit % 64), __ATOMIC_RELEASE);
}

static void
filter_remove(struct routetab *t, const struct key *k)
{
	uint32_t bit = filter_bit(k->prefix);
	uint64_t *word = &t->filter[k->len][bit / 64];

	count_longer(t, k, -1);
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
	} else {
		t->count[len]++;
		__atomic_store_n(&t->lengths, t->lengths | UINT64_C(1) << len, __ATOMIC_RELEASE);
	}
	lfhash_change(t->hash);
	return rc;
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
	lfhash_change(t->hash);
	return 0;
}

void
routetab_longer(const struct routetab *t, uint8_t flag, uint8_t first[256])
{
	for (uint32_t i = 0; i < RTE_DIM(t->longer); i++)
		first[i] = __atomic_load_n(&t->longer[i], __ATOMIC_RELAXED) != 0 ? flag : 0;
}

uint64_t
routetab_version(const struct routetab *t)
{
	return lfhash_version(t->hash);
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
