/* SPDX-License-Identifier: BSD-3-Clause */
/* neightab.h - next-hop neighbours on routed ports: (port, IP) -> MAC and state.
 *
 * Readers: workers, bulk; a copy.   Writer: the control thread.   Size: fixed; -ENOSPC.
 */
#pragma once

#include "lfhash.h"

#include <rte_byteorder.h>
#include <rte_ether.h>

enum neigh_state { NEIGH_NONE, NEIGH_RESOLVING, NEIGH_REACHABLE, NEIGH_FAILED };

struct neigh { /* fits the table's 64-bit value */
	struct rte_ether_addr mac;
	uint8_t state;
	uint8_t pad;
};

struct neigh_key {
	rte_be32_t ip;
	uint16_t port;
	uint16_t zero;
};

struct neightab;

struct neightab *neightab_new(uint32_t entries, struct rcu *rcu);
void neightab_free(struct neightab *t);
void neightab_find(const struct neightab *t, const struct neigh_key *keys, uint32_t n, struct neigh *out);
int neightab_put(struct neightab *t, const struct neigh_key *key, const struct neigh *n);
int neightab_del(struct neightab *t, const struct neigh_key *key);
/* Another one after each put and del (lfhash_version()). */
uint64_t neightab_version(const struct neightab *t);
uint32_t neightab_count(const struct neightab *t);
bool neightab_next(const struct neightab *t, uint32_t *next, struct neigh_key *key, struct neigh *n);
