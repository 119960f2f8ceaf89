/* SPDX-License-Identifier: BSD-3-Clause */
/* lfhash.h - fixed-size table of 64-bit keys and 64-bit values.
 *
 * Readers: workers, bulk, lock-free. A value is a copy: nothing to keep valid.
 * Writer:  the control thread only.
 * Size:    fixed at creation; lfhash_put() of a new key fails with -ENOSPC when `entries` are used. Deleted keys'
 *          positions return after a grace period, so the table is made larger than `entries` by a margin. When even
 *          that is used up by deletions younger than a grace period, put waits for it (as long as one burst of the
 *          slowest worker; -ENOSPC after a second, when a worker is stuck).
 * Order:   put of an existing key is one atomic 64-bit store (release); a reader sees the old value or the new,
 *          never a miss. Never delete-then-add to replace.
 *
 * Buckets of one cache line, open addressing (Knuth, TAOCP 3, 6.4, algorithm L, by buckets). A key never changes its place, so
 * a reader needs neither a lock nor a version. The hash is keyed, so that nobody can aim at one bucket.
 */
#pragma once

#include "rcu.h"

#include <string.h>

#define LFHASH_BULK_MAX 64
#define LFHASH_KEY_MAX	(UINT64_MAX - 3)

struct lfhash;

/* NULL with rte_errno. */
struct lfhash *lfhash_new(uint32_t entries, struct rcu *rcu);
void lfhash_free(struct lfhash *h);

/* An object of 8 bytes as a key. */
static inline uint64_t
lfhash_key(const void *object)
{
	uint64_t key;

	memcpy(&key, object, sizeof(key));
	return key;
}

/* n <= 64 keys, objects of 8 bytes one after the other; bit i of the result: key i was found and values[i] set. */
uint64_t lfhash_find_bulk(const struct lfhash *h, const void *keys, uint32_t n, uint64_t *values);
bool lfhash_find(const struct lfhash *h, uint64_t key, uint64_t *value);

int lfhash_put(
	struct lfhash *h, uint64_t key, uint64_t value); /* 0, -ENOSPC, -EINVAL: above LFHASH_KEY_MAX */
int lfhash_del(struct lfhash *h, uint64_t key);		 /* 0, -ENOENT */
/* Makes sure that `n` puts of new keys cannot fail; 0, -ENOSPC. */
int lfhash_reserve(struct lfhash *h, uint32_t n);
/* Another one after each lfhash_change(): what was found before may be so no more. What is found later is no older than it tells. */
uint64_t lfhash_version(const struct lfhash *h);
/* Writer: after what makes a change is in. */
void lfhash_change(struct lfhash *h);
uint32_t lfhash_count(const struct lfhash *h);
/* Writer only. *next starts at 0; false at the end. */
bool lfhash_next(const struct lfhash *h, uint32_t *next, uint64_t *key, uint64_t *value);
