/* SPDX-License-Identifier: BSD-3-Clause */
/* routetab.h - IPv4 routes: (vrf, prefix, length) -> next hop; longest first over a bitmap of used lengths.
 *
 * Readers: workers, bulk; the next hop is a copy.
 * Writer:  the control thread. put of an existing prefix is one store: no packet sees neither.
 * Size:    fixed at creation; -ENOSPC.
 * Order:   a length's bit is set after its first route is in, cleared after its last is out; the filter's the other way
 *          round (routetab.c).
 */
#pragma once

#include "lfhash.h"

#include <rte_byteorder.h>

enum nexthop_kind { NH_NONE, NH_CONNECTED, NH_VIA, NH_BLACKHOLE, NH_SEGMENT };

struct nexthop { /* fits the table's 64-bit value */
	uint8_t kind;
	uint8_t port;	/* CONNECTED, VIA */
	uint16_t seg;	/* SEGMENT */
	rte_be32_t via; /* VIA */
};

struct routetab;

struct routetab *routetab_new(uint32_t routes, struct rcu *rcu);
void routetab_free(struct routetab *t);
/* n <= 64; NH_NONE where no route matches. */
void routetab_find(
	const struct routetab *t, uint16_t vrf, const rte_be32_t *dst, uint32_t n, struct nexthop *nh);
/* By first byte of a destination: `flag` where it may match more than the default route, in some vrf, else 0. */
void routetab_longer(const struct routetab *t, uint8_t flag, uint8_t first[256]);
/* The same as routetab_find(), where many have one next hop: that of dst[i] is nh[of[i]]. Returns how many there are: at most one more than
 * destinations, for the first is that of those which match the default route or none. `longer`: some may match more than that (routetab_longer()). */
#define ROUTETAB_SHARED_MAX (LFHASH_BULK_MAX + 1)
uint32_t routetab_find_shared(const struct routetab *t, uint16_t vrf, const rte_be32_t *dst, uint32_t n,
	bool longer, struct nexthop *nh, uint8_t *of);
/* Another one after each put and del (lfhash_version()). */
uint64_t routetab_version(const struct routetab *t);
int routetab_put(struct routetab *t, uint16_t vrf, rte_be32_t prefix, uint8_t len, const struct nexthop *nh);
int routetab_del(struct routetab *t, uint16_t vrf, rte_be32_t prefix, uint8_t len);
bool routetab_has(const struct routetab *t, uint16_t vrf, rte_be32_t prefix, uint8_t len);
uint32_t routetab_count(const struct routetab *t);
/* Makes sure that `n` puts of new prefixes cannot fail. */
int routetab_reserve(struct routetab *t, uint32_t n);
bool routetab_next(const struct routetab *t, uint32_t *next, uint16_t *vrf, rte_be32_t *prefix, uint8_t *len,
	struct nexthop *nh);
