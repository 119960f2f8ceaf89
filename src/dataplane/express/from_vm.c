/* SPDX-License-Identifier: BSD-3-Clause */
/* From VMs by their gateway to the world: translated here, or, a session whose home is a peer, through the tunnel to it. */
#include "express.h"

#include <dataplane/nat.h>

#define HOPS	(ROUTETAB_SHARED_MAX + BURST_MAX)
#define HOP_ODD 0x8000

struct hops {
	/* Which is that of packet i; with HOP_ODD when that is odd, so that it is told where hops are compared. */
	uint16_t of[BURST_MAX];
	struct hop hop[HOPS];
};

static inline const struct hop *
hop_of(const struct hops *h, uint32_t i)
{
	return &h->hop[h->of[i] & ~HOP_ODD];
}

static inline void
open_hop(struct worker *w, struct hop *h, const struct nexthop *route, const struct neigh *n)
{
	const struct topo_port *p = &w->topo->ports[route->port];
	bool open = (route->kind == NH_VIA || route->kind == NH_CONNECTED) && n->state == NEIGH_REACHABLE;

	*h = (struct hop){.dst = n->mac,
		.src = p->mac,
		.out = &w->tx[route->port],
		.most = open ? frame_of(p->mtu) : 0};
}

/* Destinations on a link are neighbours themselves, each another. */
static uint32_t
tell_apart(const struct nexthop *on_link, uint32_t n, const rte_be32_t *dst, uint16_t packets, uint8_t *of,
	struct nexthop *route, struct neigh_key *key)
{
	for (uint16_t i = 0; i < packets; i++) {
		if (on_link[of[i]].kind != NH_CONNECTED)
			continue;
		route[n] = on_link[of[i]];
		key[n] = (struct neigh_key){.ip = dst[i], .port = route[n].port};
		of[i] = (uint8_t)n++;
	}
	return n;
}

/* Of the lane, one after the other; `some` has room for them. */
static inline const rte_be32_t *
destinations(const struct burst *b, rte_be32_t *some, uint16_t *n)
{
	uint32_t first = first_of(b->from_vm);
	uint64_t run = b->from_vm >> first;

	*n = 0;
	if ((run & (run + 1)) == 0) {
		*n = (uint16_t)__builtin_popcountll(run);
		return &b->dst[first];
	}
	EACH (i, b->from_vm)
		some[(*n)++] = b->dst[i];
	return some;
}

/* Returns how many there are, of[i] is that of dst[i]. */
static __rte_noinline uint32_t
ask_hops(struct worker *w, struct hop *hop, const rte_be32_t *dst, uint16_t packets, bool longer, uint8_t *of)
{
	struct neigh_key key[HOPS];
	struct nexthop route[HOPS];
	struct neigh neigh[HOPS];
	bool on_link = false;
	uint32_t n = routetab_find_shared(w->tables->routes, 0, dst, packets, longer, route, of);

	for (uint32_t k = 0; k < n; k++) {
		key[k] = (struct neigh_key){.ip = route[k].via, .port = route[k].port};
		on_link |= route[k].kind == NH_CONNECTED;
	}
	if (on_link)
		n = tell_apart(route, n, dst, packets, of, route, key);
	for (uint32_t k = 0; k < n; k += BURST_MAX)
		neightab_find(w->tables->neighbours, key + k, RTE_MIN(n - k, (uint32_t)BURST_MAX), neigh + k);
	for (uint32_t k = 0; k < n; k++)
		open_hop(w, &hop[k], &route[k], &neigh[k]);
	return n;
}

/* Most packets match the default route alone, whose next hop is kept. */
static void
find_hops(struct worker *w, const struct burst *b, struct hops *h)
{
	uint8_t of[BURST_MAX], *next = of; /* as dst[] */
	rte_be32_t some[BURST_MAX];
	struct ready *r = b->ready;
	const rte_be32_t *dst;
	uint32_t n = 1;
	uint16_t packets;
	bool by_default = !(b->longer & READY_LONGER);

	if (likely(by_default && r->has_hop)) {
		h->hop[0] = r->hop;
	} else {
		dst = destinations(b, some, &packets);
		n = ask_hops(w, h->hop, dst, packets, !by_default, of);
		if (by_default && n == 1) {
			r->hop = h->hop[0];
			r->has_hop = true;
		}
	}
	for (uint32_t k = 0; k < n; k++)
		if (!takes_burst(h->hop[k].out))
			h->hop[k].most = 0;
	if (likely(n == 1)) {
		memset(h->of, 0, sizeof(h->of));
	} else {
		EACH (i, b->from_vm)
			h->of[i] = *next++;
	}
	EACH (i, b->from_vm & b->odd)
		h->of[i] |= HOP_ODD;
}

/* ---- sessions of VMs that have homes ---- */

/* Where its four leaves without it, what is written of the packet goes to waste. By a mask of `all` ones, or none: nobody can foretell which. */
static __rte_always_inline void
put_aside(struct burst *b, uint32_t i, uint64_t all)
{
	uintptr_t eth = (uintptr_t)b->eth[i], waste = (uintptr_t)b->ready->waste;

	b->aside[i].eth = b->eth[i];
	b->aside[i].tally = b->tally[i];
	b->eth[i] = (struct rte_ether_hdr *)(eth ^ ((eth ^ waste) & all));
	b->tally[i] ^= (b->tally[i] ^ b->ready->waste_tally) & (uint32_t)all;
}

static inline void
take_back(struct burst *b, uint32_t i)
{
	b->eth[i] = b->aside[i].eth;
	b->tally[i] = b->aside[i].tally;
}

/* The packet goes to where its session's home is translated: here, or by a peer. */
static __rte_always_inline bool
decide(struct burst *b, uint32_t i, uint64_t state)
{
	rte_be32_t home = SESSION_STATE_HOME(state);
	uint16_t by = plain_session(homes_at(b, i), b->other[i], b->src[i], home);
	uint64_t by_peer = is_peer(by);

	if (unlikely(by == PLAIN_NOWHERE || ends(ip_of(b->eth[i]))))
		return false;
	b->other[i] = home;
	b->aside[i].peer = by;
	put_aside(b, i, -by_peer);
	b->peers |= by_peer << i;
	return true;
}

static inline uint16_t
frame_len(const struct burst *b, uint32_t i, const struct rte_mbuf *m)
{
	return rte_pktmbuf_data_len(m) - wrapping(b, m, b->eth[i]);
}

static inline void
count_it(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m)
{
	unwrap(b, m, b->eth[i]);
	count_from(w, b, b->place[i], one_frame(m));
	tally_add(w->from_vm, b->tally[i], rte_pktmbuf_pkt_len(m));
}

static __rte_always_inline bool
give_peer(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	struct run_to *r = with;
	uint16_t place = b->aside[i].peer;

	take_back(b, i);
	if (unlikely(place != r->y->place))
		run_turn(w, b, r, place);
	if (frame_len(b, i, m) > r->y->routed || !has_room(r->y, m, b->eth[i]) ||
		__atomic_load_n(&w->topo->peers[plain_router(place) - 1].away, __ATOMIC_RELAXED))
		return false;
	count_it(w, b, i, m);
	if (unlikely(b->odd >> i & 1))
		ip4_trim(m, ip4_total(ip_of(b->eth[i])));
	run_put(w, r, m);
	return true;
}

static void
give_peers(struct worker *w, struct burst *b)
{
	struct run_to r = run_begin(b->last);

	express_each(w, b, b->peers, give_peer, &r);
	run_end(&r);
}

/* ---- packets leave ---- */

/* By another next hop than the one before, or from another place; or wrapped, or padded. */
static __rte_noinline bool
give_other(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, const struct hop *h)
{
	struct rte_ether_hdr *eth = b->eth[i];

	if (b->vm[i] == NOBODY || frame_len(b, i, m) > h->most || !is_good_global(w->topo, b->other[i]))
		return false;
	count_it(w, b, i, m);
	ip4_trim(m, ip4_total(ip_of(eth)));
	nat_plain(ip_of(eth), NAT_SRC, b->other[i]);
	memcpy(eth, h, 2 * sizeof(h->dst));
	vec_add(h->out, m);
	return true;
}

/* Packets from one place to one next hop, one after the other: as run_to has it. */
struct run_hop {
	const struct hops *hops;
	const struct hop *h;
	struct rte_mbuf **out; /* where h->out ends */
	uint64_t frames;
	u32x4 bytes; /* of fours, not in `frames` */
	bool fours;  /* go there, as far as their lengths tell */
	uint16_t place;
	uint16_t of;
};

static inline void
hop_begin(struct run_hop *r, const struct burst *b, uint32_t i)
{
	r->of = r->hops->of[i] & ~HOP_ODD;
	r->h = hop_of(r->hops, i);
	r->out = r->h->out->m + r->h->out->n;
	r->place = b->place[i];
	r->fours = four_fit(b->longest, r->h->most);
}

static inline void
hop_end(struct worker *w, struct burst *b, struct run_hop *r)
{
	count_from(w, b, r->place, r->frames + four_sum(r->bytes));
	r->frames = 0;
	r->bytes = (u32x4){0};
	r->h->out->n = (uint16_t)(r->out - r->h->out->m);
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	struct run_hop *r = with;
	struct rte_ether_hdr *eth = b->eth[i];
	bool left;

	if (likely(b->at[i] == r->place && r->hops->of[i] == r->of && rte_pktmbuf_data_len(m) <= r->h->most &&
		    is_good_global(w->topo, b->other[i]))) {
		r->frames += one_frame(m);
		tally_add(w->from_vm, b->tally[i], rte_pktmbuf_pkt_len(m));
		nat_plain(ip_of(eth), NAT_SRC, b->other[i]);
		memcpy(eth, r->h, 2 * sizeof(r->h->dst));
		*r->out++ = m;
		return true;
	}
	hop_end(w, b, r);
	left = give_other(w, b, i, m, hop_of(r->hops, i));
	hop_begin(r, b, i);
	return left;
}

/* By another next hop, or from another place: one by one, which begins another run. */
static __rte_always_inline bool
try_four(struct worker *w, struct burst *b, uint32_t i, uint32_t which, void *with)
{
	struct run_hop *r = with;
	u32x4 other = four_load(&b->other[i]);
	struct rte_ether_hdr *eth[4];
	struct rte_ether_addr macs[2];
	struct tally *from_vm = w->from_vm;
	bool odd = false;
	uint64_t of;

	EACH_OF_FOUR (k)
		odd |= !is_good_global(w->topo, other[k]);
	memcpy(&of, &r->hops->of[i], sizeof(of));
	if (unlikely(!r->fours || odd || of != r->of * UINT64_C(0x0001000100010001) ||
		     b->place[i] != r->place))
		return false;
	memcpy(eth, &b->eth[i], sizeof(eth));
	memcpy(macs, r->h, sizeof(macs));
	four_nat(eth, NAT_SRC, four_load(&b->src[i]), other, four_load(&b->ttl[i]));
	EACH_OF_FOUR (k) {
		memcpy(eth[k], macs, sizeof(macs));
		tally_add(from_vm, b->tally[i + k], b->len[i + k]);
	}
	EACH_OF_FOUR (k) { /* behind the last one another may be written */
		*r->out = b->m[i + k];
		r->out += which >> k & 1;
	}
	r->frames += (uint64_t)__builtin_popcount(which) << 32;
	r->bytes += four_load(&b->len[i]) & four_lanes(which);
	return true;
}

static __rte_always_inline void
give(struct worker *w, struct burst *b, uint64_t set, const struct hops *h)
{
	struct run_hop r = {.hops = h};
	const struct leave how = {try, try_four, &r, b->src};

	if (set == 0)
		return;
	hop_begin(&r, b, first_of(set));
	express_fours(w, b, set, b->peers, &how);
	hop_end(w, b, &r);
}

/* As in express_to_vm(). */
void
express_from_vm(struct worker *w, struct burst *b)
{
	uint64_t homes = b->from_vm & b->homes_of, lane = b->from_vm;
	struct hops h;

	find_hops(w, b, &h);
	if (homes != 0)
		lane &= ~express_decide(w, b, homes, decide);
	give(w, b, lane & ~b->peers, &h);
	if (b->peers != 0)
		give_peers(w, b);
}
