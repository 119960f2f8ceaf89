/* SPDX-License-Identifier: BSD-3-Clause */
/* From VMs by their gateway to the world: translated here, or, a session whose home is a peer, through the tunnel to it. */
#include "find.h"

#include <dataplane/nat.h>

struct hop { /* where packets leave, ready to be used */
	struct rte_ether_addr dst, src;
	uint16_t mtu;	 /* bytes of IP; 0: nothing leaves here now */
	struct vec *out; /* of its port, with room for a burst */
};

#define HOPS (ROUTETAB_SHARED_MAX + BURST_MAX)

struct hops {
	uint8_t of[BURST_MAX]; /* which is whose */
	struct hop hop[HOPS];
};

static inline void
open_hop(struct worker *w, struct hop *h, const struct nexthop *route, const struct neigh *n)
{
	const struct topo_port *p = &w->topo->ports[route->port];
	struct vec *out = &w->tx[route->port];
	bool open = (route->kind == NH_VIA || route->kind == NH_CONNECTED) && n->state == NEIGH_REACHABLE &&
		    out->n <= VEC_MAX - BURST_MAX;

	*h = (struct hop){.dst = n->mac, .src = p->mac, .out = out, .mtu = open ? p->mtu : 0};
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
find_hops(struct worker *w, const struct lane *v, struct hops *h)
{
	struct neigh_key key[HOPS];
	struct nexthop route[HOPS];
	struct neigh neigh[HOPS];
	rte_be32_t dst[BURST_MAX];
	bool on_link = false;
	uint32_t n;

	for (uint16_t i = 0; i < v->n; i++)
		dst[i] = ip_of(v->eth[i])->dst_addr;
	n = routetab_find_shared(w->tables->routes, 0, dst, v->n, route, h->of);
	for (uint32_t k = 0; k < n; k++) {
		key[k] = (struct neigh_key){.ip = route[k].via, .port = route[k].port};
		on_link |= route[k].kind == NH_CONNECTED;
	}
	if (on_link)
		n = tell_apart(route, n, dst, v->n, h->of, route, key);
	for (uint32_t k = 0; k < n; k += BURST_MAX)
		neightab_find(w->tables->neighbours, key + k, RTE_MIN(n - k, (uint32_t)BURST_MAX), neigh + k);
	for (uint32_t k = 0; k < n; k++)
		open_hop(w, &h->hop[k], &route[k], &neigh[k]);
}

static __rte_always_inline bool
give_world(struct rte_mbuf *m, struct rte_ether_hdr *eth, rte_be32_t global, const struct hop *h)
{
	struct rte_ipv4_hdr *ip = ip_of(eth);

	ip4_trim(m, rte_be_to_cpu_16(ip->total_length));
	nat_plain(ip, NAT_SRC, global);
	memcpy(eth, h, 2 * sizeof(h->dst));
	vec_add(h->out, m);
	return true;
}

/* The router that the packet of a known session goes to; VM_NO_HOME: the stages decide. Asks for the VM's counters. */
static __rte_always_inline int
find_home(struct worker *w, struct burst *b, uint16_t i)
{
	const struct rte_ether_hdr *eth = b->from_vm.eth[i];
	const struct rte_ipv4_hdr *ip = ip_of(b->from_vm.eth[i]);
	const struct plain_vm *vm = b->from_vm.vm[i];
	uint8_t k = b->from_vm.home[i], flags;
	rte_be32_t home;
	int router;

	if (mac_word(&vm->mac) != mac_word(&eth->src_addr) || ends(ip) ||
		sessions_find_at(&b->homes.where[k], w->tick, &home, &flags) != SESSION_FOUND)
		return VM_NO_HOME;
	traffic_expect_from(w, vm->rec->slot);
	router = vm_session_router(vm->rec, ip->src_addr, home);
	b->homes.home[k] = home;
	b->homes.router[k] = (uint8_t)router;
	return router;
}

static inline void
count_home(struct worker *w, struct burst *b, uint16_t i, struct rte_mbuf *m)
{
	struct lane *v = &b->from_vm;
	const struct rte_ipv4_hdr *ip = ip_of(v->eth[i]);
	const struct vm_rec *rec = v->vm[i]->rec;
	uint8_t k = v->home[i];

	unwrap(b, m, v->eth[i]);
	count_from(w, b, v->place[i], m);
	traffic_from_vm(w, rec->slot, m);
	if (ip->next_proto_id == IPPROTO_TCP)
		home_time(w, rec, ip, &b->homes.where[k], RTT_REMOTE, b->homes.home[k]);
}

/* By an address that is translated here. */
static __rte_always_inline bool
give_here(struct worker *w, struct burst *b, uint16_t i, struct rte_mbuf *m, const struct hop *h)
{
	struct rte_ether_hdr *eth = b->from_vm.eth[i];
	rte_be32_t home = b->homes.home[b->from_vm.home[i]];

	if (rte_be_to_cpu_16(ip_of(eth)->total_length) > h->mtu || !is_good_global(w->topo, home))
		return false;
	count_home(w, b, i, m);
	return give_world(m, eth, home, h);
}

/* By one of a peer's. */
static __rte_always_inline bool
give_peer(struct worker *w, struct burst *b, uint16_t i, struct rte_mbuf *m)
{
	struct lane *v = &b->from_vm;
	struct rte_ether_hdr *eth = v->eth[i];
	uint16_t total = rte_be_to_cpu_16(ip_of(eth)->total_length);
	uint8_t router = b->homes.router[v->home[i]];
	struct way *y = way_to(w, b, plain_peer(router, v->vm[i]->rec->seg));

	if (total > y->mtu || !has_room(y, m, eth) ||
		__atomic_load_n(&w->topo->peers[router - 1].away, __ATOMIC_RELAXED))
		return false;
	count_home(w, b, i, m);
	ip4_trim(m, total);
	put(w, m, y);
	return true;
}

/* Which of its VM's homes a session has nobody can foretell: first all are found, then what is translated here goes, then the rest. */
static __rte_noinline void
give_homes(struct worker *w, struct burst *b, const struct hops *h)
{
	struct lane *v = &b->from_vm;
	uint64_t peers = 0, here = v->homes;

	for (uint64_t set = v->homes; set != 0; set &= set - 1) {
		uint16_t i = first_of(set);
		struct rte_mbuf *m = b->m[v->at[i]];
		int router = must_stay(w, b, m) || w->scratch ? VM_NO_HOME : find_home(w, b, i);

		peers |= (uint64_t)(router > ROUTER_SELF) << i;
		if (unlikely(router == VM_NO_HOME)) {
			here &= ~one(i);
			express_stays(w, b, m);
		}
	}
	for (here &= ~peers; here != 0; here &= here - 1) {
		uint16_t i = first_of(here);
		struct rte_mbuf *m = b->m[v->at[i]];

		if (!must_stay(w, b, m) && give_here(w, b, i, m, &h->hop[h->of[i]]))
			leaves(b, v->at[i]);
		else
			express_stays(w, b, m);
	}
	for (; peers != 0; peers &= peers - 1) {
		uint16_t i = first_of(peers);
		struct rte_mbuf *m = b->m[v->at[i]];

		if (!must_stay(w, b, m) && give_peer(w, b, i, m))
			leaves(b, v->at[i]);
		else
			express_stays(w, b, m);
	}
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint16_t i, struct rte_mbuf *m, const struct hop *h)
{
	struct lane *v = &b->from_vm;
	struct rte_ether_hdr *eth = v->eth[i];
	const struct plain_vm *vm = v->vm[i];

	if (vm == NULL || mac_word(&vm->mac) != mac_word(&eth->src_addr))
		return false;
	if (rte_be_to_cpu_16(ip_of(eth)->total_length) > h->mtu || !is_good_global(w->topo, vm->other))
		return false;
	unwrap(b, m, eth);
	count_from(w, b, v->place[i], m);
	traffic_from_vm(w, vm->slot, m);
	return give_world(m, eth, vm->other, h);
}

void
express_from_vm(struct worker *w, struct burst *b)
{
	struct lane *v = &b->from_vm;
	struct hops h;

	while (v->found < v->n)
		find_from_vm(w, b, v->found++);
	for (uint64_t set = v->homes; set != 0; set &= set - 1)
		locate_from_vm(w, b, first_of(set));
	find_hops(w, v, &h);
	for (uint64_t set = RTE_LEN2MASK(v->n, uint64_t) & ~v->homes; set != 0; set &= set - 1) {
		uint16_t i = first_of(set);
		struct rte_mbuf *m = b->m[v->at[i]];

		if (!must_stay(w, b, m) && try(w, b, i, m, &h.hop[h.of[i]]))
			leaves(b, v->at[i]);
		else
			express_stays(w, b, m);
	}
	if (v->homes != 0)
		give_homes(w, b, &h);
}
