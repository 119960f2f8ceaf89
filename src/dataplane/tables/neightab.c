/* SPDX-License-Identifier: BSD-3-Clause */
#include "neightab.h"

#include <string.h>

_Static_assert(sizeof(struct neigh) == 8 && sizeof(struct neigh_key) == 8, "fit the hash");

/* struct neightab is the hash itself: there is nothing to add. */
static inline struct lfhash *
hash(const struct neightab *t)
{
	return (struct lfhash *)(uintptr_t)t;
}

struct neightab *
neightab_new(uint32_t entries, struct rcu *rcu)
{
	return (struct neightab *)lfhash_new(entries, rcu);
}

void
neightab_free(struct neightab *t)
{
	lfhash_free(hash(t));
}

/* Most packets of a burst have the same next hop: a run of equal keys is asked for once. */
void
neightab_find(const struct neightab *t, const struct neigh_key *keys, uint32_t n, struct neigh *out)
{
	uint64_t bits[LFHASH_BULK_MAX], values[LFHASH_BULK_MAX], hits;
	uint8_t ask[LFHASH_BULK_MAX];
	uint32_t asked = 0;

	if (n == 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t key = lfhash_key(&keys[i]);

		if (asked == 0 || key != bits[asked - 1])
			bits[asked++] = key;
		ask[i] = (uint8_t)(asked - 1);
	}
	hits = lfhash_find_bulk(hash(t), bits, asked, values);
	for (uint32_t i = 0; i < asked; i++)
		if ((hits >> i & 1) == 0)
			values[i] = 0; /* NEIGH_NONE */
	for (uint32_t i = 0; i < n; i++)
		memcpy(&out[i], &values[ask[i]], sizeof(out[i]));
}

int
neightab_put(struct neightab *t, const struct neigh_key *key, const struct neigh *n)
{
	uint64_t value;
	int rc;

	memcpy(&value, n, sizeof(value));
	rc = lfhash_put(hash(t), lfhash_key(key), value);
	lfhash_change(hash(t));
	return rc;
}

int
neightab_del(struct neightab *t, const struct neigh_key *key)
{
	int rc = lfhash_del(hash(t), lfhash_key(key));

	lfhash_change(hash(t));
	return rc;
}

uint64_t
neightab_version(const struct neightab *t)
{
	return lfhash_version(hash(t));
}

uint32_t
neightab_count(const struct neightab *t)
{
	return lfhash_count(hash(t));
}

bool
neightab_next(const struct neightab *t, uint32_t *next, struct neigh_key *key, struct neigh *n)
{
	uint64_t k, value;

	if (!lfhash_next(hash(t), next, &k, &value))
		return false;
	memcpy(key, &k, sizeof(*key));
	memcpy(n, &value, sizeof(*n));
	return true;
}
