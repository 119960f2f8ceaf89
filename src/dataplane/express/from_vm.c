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

/* The router that the packet of a known session goes to; VM_NO_HOME: the stages decide. *home is the address. */
static int
home_of(struct worker *w, const struct vm_rec *rec, const struct session_where *where,
	const struct rte_ipv4_hdr *ip, rte_be32_t *home)
{
	bool drains = vm_oldest_drain(rec, ip->src_addr) != NULL;
	uint8_t flags;
	int router;

	if (!(drains || (rec->flags & VM_REC_NOTES)) || ends(ip) || w->scratch ||
		sessions_find_at(where, w->tick, home, &flags) != SESSION_FOUND)
		return VM_NO_HOME;
	router = vm_home_router(rec, ip->src_addr, *home);
	if (router > ROUTER_SELF && vm_sends_direct(rec, ip->src_addr, *home))
		return ROUTER_SELF;
	if (router > ROUTER_SELF && __atomic_load_n(&w->topo->peers[router - 1].away, __ATOMIC_RELAXED))
		return VM_NO_HOME;
	return router;
}

static bool
give_home(struct worker *w, struct burst *b, uint16_t i, struct rte_mbuf *m, const struct hop *h)
{
	struct lane *v = &b->from_vm;
	struct rte_ether_hdr *eth = v->eth[i];
	const struct rte_ipv4_hdr *ip = ip_of(eth);
	const struct vm_rec *rec = v->vm[i]->rec;
	uint16_t total = rte_be_to_cpu_16(ip->total_length);
	struct way *y = NULL;
	rte_be32_t home;
	int router = home_of(w, rec, &b->homes.where[v->home[i]], ip, &home);

	if (router > ROUTER_SELF)
		y = way_to(w, b, plain_peer((uint8_t)router, rec->seg));
	if (router == VM_NO_HOME || (y != NULL ? total > y->mtu || !has_room(y, m, eth)
					       : total > h->mtu || !is_good_global(w->topo, home)))
		return false;
	unwrap(b, m, eth);
	count_from(w, b, v->place[i], m);
	traffic_from_vm(w, rec->slot, m);
	if (ip->next_proto_id == IPPROTO_TCP)
		home_time(w, rec, ip, &b->homes.where[v->home[i]], RTT_REMOTE, home);
	if (y == NULL)
		return give_world(m, eth, home, h);
	ip4_trim(m, total);
	put(w, m, y);
	return true;
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint16_t i, struct rte_mbuf *m, const struct hop *h)
{
	struct lane *v = &b->from_vm;
	struct rte_ether_hdr *eth = v->eth[i];
	const struct plain_vm *vm = v->vm[i];

	if (vm == NULL || mac_word(&vm->mac) != mac_word(&eth->src_addr))
		return false;
	if (unlikely(vm->at & PLAIN_HOMES))
		return give_home(w, b, i, m, h);
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
	find_hops(w, v, &h);
	home_expect(w, b, v, traffic_expect_from);
	for (uint16_t i = 0; i < v->n; i++) {
		struct rte_mbuf *m = b->m[v->at[i]];

		if (!must_stay(w, b, m) && try(w, b, i, m, &h.hop[h.of[i]]))
			leaves(b, v->at[i]);
		else
			express_stays(w, b, m);
	}
}
