/* SPDX-License-Identifier: BSD-3-Clause */
/* lfhash.h - fixed-size key -> 64-bit value; the one place that knows rte_hash.
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
 * rte_hash with RW_CONCURRENCY_LF + EXT_TABLE; DPDK 22.11.
 */
#pragma once

#include "rcu.h"

#define LFHASH_BULK_MAX 64

struct lfhash;

/* key_len: 4 or 8 bytes for the fast hash (keyed, so that nobody can aim at one bucket; no CPU extension needed); others
 * use jhash. NULL with rte_errno. */
struct lfhash *lfhash_new(const char *name, uint32_t key_len, uint32_t entries, struct rcu *rcu);
void lfhash_free(struct lfhash *h);

/* n <= 64 key pointers; bit i of the result: key i was found and values[i] set. */
uint64_t lfhash_find_bulk(const struct lfhash *h, const void **keys, uint32_t n, uint64_t *values);
bool lfhash_find(const struct lfhash *h, const void *key, uint64_t *value);

int lfhash_put(struct lfhash *h, const void *key, uint64_t value); /* 0, -ENOSPC */
int lfhash_del(struct lfhash *h, const void *key);		   /* 0, -ENOENT */
/* Makes sure that `n` puts of new keys cannot fail; 0, -ENOSPC. */
int lfhash_reserve(struct lfhash *h, uint32_t n);
uint32_t lfhash_count(const struct lfhash *h);
/* Writer only. *next starts at 0; false at the end. */
bool lfhash_next(const struct lfhash *h, uint32_t *next, const void **key, uint64_t *value);
