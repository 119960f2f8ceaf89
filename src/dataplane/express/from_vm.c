/* SPDX-License-Identifier: BSD-3-Clause */
/* From VMs by their gateway to the world: translated here, or, a session whose home is a peer, through the tunnel to it. */
#include "express.h"

#include <dataplane/nat.h>

struct hop { /* where packets leave, ready to be used */
	struct rte_ether_addr dst, src;
	uint16_t most;	 /* bytes of a frame, padding and all; 0: nothing leaves here now */
	struct vec *out; /* of its port, with room for a burst */
};

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
	struct vec *out = &w->tx[route->port];
	bool open = (route->kind == NH_VIA || route->kind == NH_CONNECTED) && n->state == NEIGH_REACHABLE &&
		    out->n <= VEC_MAX - BURST_MAX;

	*h = (struct hop){.dst = n->mac, .src = p->mac, .out = out, .most = open ? frame_of(p->mtu) : 0};
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

/* Most packets of a burst leave by the same next hop, which is asked for once. */
static void
find_hops(struct worker *w, const struct burst *b, struct hops *h)
{
	struct neigh_key key[HOPS];
	struct nexthop route[HOPS];
	struct neigh neigh[HOPS];
	uint8_t of[BURST_MAX], *next = of; /* as dst[] */
	rte_be32_t dst[BURST_MAX];
	bool on_link = false;
	uint16_t packets = 0;
	uint32_t n;

	EACH (i, b->from_vm)
		dst[packets++] = ip_of(b->eth[i])->dst_addr;
	n = routetab_find_shared(w->tables->routes, 0, dst, packets, route, of);
	for (uint32_t k = 0; k < n; k++) {
		key[k] = (struct neigh_key){.ip = route[k].via, .port = route[k].port};
		on_link |= route[k].kind == NH_CONNECTED;
	}
	if (on_link)
		n = tell_apart(route, n, dst, packets, of, route, key);
	for (uint32_t k = 0; k < n; k += BURST_MAX)
		neightab_find(w->tables->neighbours, key + k, RTE_MIN(n - k, (uint32_t)BURST_MAX), neigh + k);
	for (uint32_t k = 0; k < n; k++)
		open_hop(w, &h->hop[k], &route[k], &neigh[k]);
	if (n == 1) {
		memset(h->of, 0, sizeof(h->of));
	} else {
		EACH (i, b->from_vm)
			h->of[i] = *next++;
	}
	EACH (i, b->from_vm & b->odd)
		h->of[i] |= HOP_ODD;
}

static inline bool
is_from(const struct plain_vm *vm, const struct rte_ether_hdr *eth)
{
	return mac_word(&vm->mac) == mac_word(&eth->src_addr);
}

static __rte_always_inline void
translate(struct rte_ether_hdr *eth, rte_be32_t global, const struct hop *h)
{
	nat_plain(ip_of(eth), NAT_SRC, global);
	memcpy(eth, h, 2 * sizeof(h->dst));
}

static void
give_world(struct rte_mbuf *m, struct rte_ether_hdr *eth, rte_be32_t global, const struct hop *h)
{
	ip4_trim(m, ip4_total(ip_of(eth)));
	translate(eth, global, h);
	vec_add(h->out, m);
}

/* The session of a VM that has homes is named by the packet alone. */
static inline void
locate(struct worker *w, struct burst *b, uint32_t i)
{
	const struct rte_ipv4_hdr *ip = ip_of(b->eth[i]);
	uint32_t vni = w->topo->segments[segment_of(w->topo, b->place[i])].vni;
	const uint64_t key[] = {
		home_ends(ip->src_addr, ip->dst_addr), home_ports(ports_of(ip), vni, ip->next_proto_id)};

	home_locate(w, b, i, key);
}

/* The router that the packet of a known session goes to; VM_NO_HOME: the stages decide. Asks for the VM's counters. */
static __rte_always_inline int
find_home(struct worker *w, struct burst *b, uint32_t i)
{
	const struct rte_ether_hdr *eth = b->eth[i];
	const struct rte_ipv4_hdr *ip = ip_of(b->eth[i]);
	const struct plain_vm *vm = b->vm[i];
	uint8_t k = b->home[i], flags;
	rte_be32_t home;
	int router;

	if (!is_from(vm, eth) || ends(ip) ||
		sessions_find_at(&b->homes.where[k], w->tick, &home, &flags) != SESSION_FOUND)
		return VM_NO_HOME;
	traffic_expect_from(w, vm->rec->slot);
	router = vm_session_router(vm->rec, ip->src_addr, home);
	b->homes.home[k] = home;
	b->homes.router[k] = (uint8_t)router;
	return router;
}

static inline void
count_home(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ip_of(b->eth[i]);
	const struct vm_rec *rec = b->vm[i]->rec;
	uint8_t k = b->home[i];

	unwrap(b, m, b->eth[i]);
	count_from(w, b, b->place[i], one_frame(m));
	traffic_from_vm(w, rec->slot, m);
	if (ip->next_proto_id == IPPROTO_TCP)
		home_time(w, rec, ip, &b->homes.where[k], RTT_REMOTE, b->homes.home[k]);
}

static inline uint16_t
frame_len(const struct burst *b, uint32_t i, const struct rte_mbuf *m)
{
	return rte_pktmbuf_data_len(m) - wrapping(b, m, b->eth[i]);
}

/* By an address that is translated here. */
static __rte_always_inline bool
give_here(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	const struct hops *hops = with;
	const struct hop *h = hop_of(hops, i);
	rte_be32_t home = b->homes.home[b->home[i]];

	if (frame_len(b, i, m) > h->most || !is_good_global(w->topo, home))
		return false;
	count_home(w, b, i, m);
	give_world(m, b->eth[i], home, h);
	return true;
}

/* By one of a peer's. */
static __rte_always_inline bool
give_peer(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	uint8_t router = b->homes.router[b->home[i]];
	struct way *y = way_to(w, b, plain_peer(router, b->vm[i]->rec->seg));

	(void)with;
	if (frame_len(b, i, m) > y->routed || !has_room(y, m, b->eth[i]) ||
		__atomic_load_n(&w->topo->peers[router - 1].away, __ATOMIC_RELAXED))
		return false;
	count_home(w, b, i, m);
	ip4_trim(m, ip4_total(ip_of(b->eth[i])));
	put(w, m, y);
	return true;
}

/* Which of its VM's homes a session has nobody can foretell: first all are found, then what is translated here goes, then the rest. */
static __rte_noinline void
give_homes(struct worker *w, struct burst *b, uint64_t set, struct hops *h)
{
	uint64_t peers = 0, none = 0;

	EACH (i, set) {
		struct rte_mbuf *m = b->m[i];
		int router = must_stay(w, b, m) || w->scratch ? VM_NO_HOME : find_home(w, b, i);

		peers |= (uint64_t)(router > ROUTER_SELF) << i;
		if (unlikely(router == VM_NO_HOME)) {
			none |= one(i);
			express_stays(w, b, m);
		}
	}
	express_each(w, b, set & ~peers & ~none, give_here, h);
	express_each(w, b, peers, give_peer, NULL);
}

/* By another next hop than the one before, or from another place; or wrapped, or padded. */
static __rte_noinline bool
give_other(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, const struct hop *h)
{
	const struct plain_vm *vm = b->vm[i];

	if (vm == NOBODY || !is_from(vm, b->eth[i]) || frame_len(b, i, m) > h->most ||
		!is_good_global(w->topo, vm->other))
		return false;
	unwrap(b, m, b->eth[i]);
	count_from(w, b, b->place[i], one_frame(m));
	traffic_from_vm(w, vm->slot, m);
	give_world(m, b->eth[i], vm->other, h);
	return true;
}

/* Packets from one place to one next hop, one after the other: as in to_vm.c. */
struct run {
	const struct hops *hops;
	const struct hop *h;
	struct rte_mbuf **out; /* where h->out ends */
	uint64_t frames;
	/* A VM's MAC and place, together with source and ethertype of its frames, as they stand in memory: the difference of both. */
	uint64_t differs;
	uint16_t place;
	uint16_t of;
};

static inline void
run_begin(struct run *r, const struct burst *b, uint32_t i)
{
	const struct plain_vm vm = {.at = b->place[i]};
	const struct rte_ether_hdr eth = {.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	uint64_t is, has;

	memcpy(&is, &vm.mac, sizeof(is));
	memcpy(&has, &eth.src_addr, sizeof(has));
	r->differs = is ^ has;
	r->of = r->hops->of[i] & ~HOP_ODD;
	r->h = hop_of(r->hops, i);
	r->out = r->h->out->m + r->h->out->n;
	r->place = b->place[i];
}

static inline void
run_end(struct worker *w, struct burst *b, struct run *r)
{
	count_from(w, b, r->place, r->frames);
	r->frames = 0;
	r->h->out->n = (uint16_t)(r->out - r->h->out->m);
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	struct run *r = with;
	struct rte_ether_hdr *eth = b->eth[i];
	const struct plain_vm *vm = b->vm[i];
	uint64_t is, has;
	bool left;

	memcpy(&is, &vm->mac, sizeof(is));
	memcpy(&has, &eth->src_addr, sizeof(has));
	if (likely((is ^ has) == r->differs && r->hops->of[i] == r->of &&
		    rte_pktmbuf_data_len(m) <= r->h->most && is_good_global(w->topo, vm->other))) {
		r->frames += one_frame(m);
		traffic_from_vm(w, vm->slot, m);
		translate(eth, vm->other, r->h);
		*r->out++ = m;
		return true;
	}
	run_end(w, b, r);
	left = give_other(w, b, i, m, hop_of(r->hops, i));
	run_begin(r, b, i);
	return left;
}

static void
give_all(struct worker *w, struct burst *b, uint64_t set, const struct hops *h)
{
	struct run r = {.hops = h};

	run_begin(&r, b, first_of(set));
	express_each(w, b, set, try, &r);
	run_end(w, b, &r);
}

void
express_from_vm(struct worker *w, struct burst *b)
{
	uint64_t homes = b->from_vm & b->homes_of;
	struct hops h;

	EACH (i, homes)
		locate(w, b, i);
	find_hops(w, b, &h);
	if (b->from_vm != homes)
		give_all(w, b, b->from_vm & ~homes, &h);
	if (homes != 0)
		give_homes(w, b, homes, &h);
}
