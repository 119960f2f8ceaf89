/* SPDX-License-Identifier: BSD-3-Clause */
#include "mactab.h"

#include <errno.h>
#include <rte_errno.h>
#include <stdlib.h>
#include <string.h>

struct mactab {
	struct lfhash *hash;
	uint32_t entries;
	uint32_t n_free;
	uint32_t free[]; /* entry numbers that no key uses */
};

_Static_assert(sizeof(struct mac_entry) == 8 && sizeof(struct vm_key_mac) == 8, "fit the hash");

struct mactab *
mactab_new(uint32_t entries, struct rcu *rcu)
{
	struct mactab *t = calloc(1, sizeof(*t) + entries * sizeof(t->free[0]));

	if (t == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	t->hash = lfhash_new(entries, rcu);
	if (t->hash == NULL) {
		free(t);
		return NULL;
	}
	t->entries = t->n_free = entries;
	for (uint32_t i = 0; i < entries; i++)
		t->free[i] = entries - 1 - i;
	return t;
}

void
mactab_free(struct mactab *t)
{
	if (t == NULL)
		return;
	lfhash_free(t->hash);
	free(t);
}

uint64_t
mactab_find(const struct mactab *t, const struct vm_key_mac *keys, uint32_t n, struct mac_entry *out)
{
	uint64_t values[LFHASH_BULK_MAX] = {0}, hits = lfhash_find_bulk(t->hash, keys, n, values);

	memcpy(out, values, n * sizeof(*out));
	return hits;
}

/* The entry number of a key that is there already stays. */
static bool
find_entry(const struct mactab *t, const struct vm_key_mac *key, uint32_t *entry)
{
	struct mac_entry e;
	uint64_t value;

	if (!lfhash_find(t->hash, lfhash_key(key), &value))
		return false;
	memcpy(&e, &value, sizeof(e));
	*entry = e.entry;
	return true;
}

int
mactab_put(struct mactab *t, const struct vm_key_mac *key, const struct mac_entry *e)
{
	struct mac_entry put = *e;
	bool known = find_entry(t, key, &put.entry);
	uint64_t value;
	int rc;

	if (!known && t->n_free == 0)
		return -ENOSPC;
	if (!known)
		put.entry = t->free[t->n_free - 1];
	memcpy(&value, &put, sizeof(value));
	rc = lfhash_put(t->hash, lfhash_key(key), value);
	if (rc == 0 && !known)
		t->n_free--;
	return rc;
}

int
mactab_del(struct mactab *t, const struct vm_key_mac *key)
{
	uint32_t entry;

	if (!find_entry(t, key, &entry))
		return -ENOENT;
	t->free[t->n_free++] = entry;
	return lfhash_del(t->hash, lfhash_key(key));
}

uint32_t
mactab_count(const struct mactab *t)
{
	return lfhash_count(t->hash);
}

uint32_t
mactab_entries(const struct mactab *t)
{
	return t->entries;
}

bool
mactab_next(const struct mactab *t, uint32_t *next, struct vm_key_mac *key, struct mac_entry *e)
{
	uint64_t k, value;

	if (!lfhash_next(t->hash, next, &k, &value))
		return false;
	memcpy(key, &k, sizeof(*key));
	memcpy(e, &value, sizeof(*e));
	return true;
}
