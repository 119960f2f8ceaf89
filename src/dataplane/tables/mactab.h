/* SPDX-License-Identifier: BSD-3-Clause */
/* mactab.h - learnt MACs of hosts nobody registered: (segment, MAC) -> attachment or peer.
 *
 * Readers: workers, bulk; a copy. They note use by worker->mac_seen[entry] = tick (their own array).
 * Writer:  the control thread: learns from workers' events, ages by the newest of all workers' ticks.
 * Size:    fixed; when full, new MACs are not learnt (their frames flood) and counted.
 */
#pragma once

#include "lfhash.h"
#include "vmtab.h" /* struct vm_key_mac */

struct mac_entry {	/* fits the table's 64-bit value */
	uint32_t entry; /* index for mac_seen; set by mactab_put */
	uint16_t att;	/* attachment when router is self */
	uint8_t router; /* router index */
	uint8_t pad;
};

struct mactab;

struct mactab *mactab_new(uint32_t entries, struct rcu *rcu);
void mactab_free(struct mactab *t);
/* Bit i of the result: found. */
uint64_t mactab_find(
	const struct mactab *t, const struct vm_key_mac *keys, uint32_t n, struct mac_entry *out);
int mactab_put(struct mactab *t, const struct vm_key_mac *key, const struct mac_entry *e); /* 0, -ENOSPC */
int mactab_del(struct mactab *t, const struct vm_key_mac *key);
uint32_t mactab_count(const struct mactab *t);
uint32_t mactab_entries(const struct mactab *t); /* entry numbers are below this */
bool mactab_next(const struct mactab *t, uint32_t *next, struct vm_key_mac *key, struct mac_entry *e);
