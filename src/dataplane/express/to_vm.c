/* SPDX-License-Identifier: BSD-3-Clause */
/* From the world to VMs by their global addresses: to an attachment, or through the tunnel. */
#include "find.h"

#include <dataplane/nat.h>

static void
locate(struct worker *w, struct burst *b, uint16_t i)
{
	struct lane *v = &b->to_vm;
	const struct rte_ipv4_hdr *ip = ip_of(v->eth[i]);
	uint32_t ports = ports_of(ip);
	const struct vm_rec *rec = v->vm[i]->rec;
	uint32_t vni = w->topo->segments[rec->seg].vni;
	const uint64_t key[] = {home_ends(vm_private_here(rec, ip->dst_addr), ip->src_addr),
		home_ports(ports << 16 | ports >> 16, vni, ip->next_proto_id)};

	home_locate(w, b, v, i, key);
}

/* By the address that the session has noted as its home, and neither begins nor ends: nothing is to be decided. */
static bool
is_at_home(struct worker *w, const struct vm_rec *rec, const struct session_where *where,
	const struct rte_ipv4_hdr *ip)
{
	bool drains = vm_oldest_drain(rec, (rte_be32_t)where->key[0]) != NULL;
	rte_be32_t home;
	uint8_t flags;

	return (drains || (rec->flags & VM_REC_NOTES)) && !ends(ip) && !w->scratch &&
	       sessions_find_at(where, w->tick, &home, &flags) == SESSION_FOUND && home == ip->dst_addr &&
	       !(flags & SESSION_GUESSED);
}

static inline bool
takes(const struct way *y, const struct rte_mbuf *m, const struct rte_ether_hdr *eth, uint16_t total)
{
	return total <= y->mtu && has_room(y, m, eth);
}

struct vm_end {
	const struct rte_ether_addr *mac;
	rte_be32_t ip;
	uint32_t slot;
};

static __rte_always_inline void
give(struct worker *w, struct rte_mbuf *m, struct rte_ether_hdr *eth, const struct vm_end *to, struct way *y)
{
	struct rte_ipv4_hdr *ip = ip_of(eth);

	nat_plain(ip, NAT_DST, to->ip);
	write_ether(eth, to->mac, y);
	traffic_to_vm(w, to->slot, m);
	put(w, m, y);
}

static bool
give_home(struct worker *w, struct burst *b, uint16_t i, struct rte_mbuf *m)
{
	struct lane *v = &b->to_vm;
	struct rte_ether_hdr *eth = v->eth[i];
	const struct rte_ipv4_hdr *ip = ip_of(eth);
	const struct vm_rec *rec = v->vm[i]->rec;
	const struct session_where *where = &b->homes.where[v->home[i]];
	const struct vm_end to = {&rec->mac, (rte_be32_t)where->key[0], rec->slot};
	struct way *y = way_to(w, b, v->vm[i]->at & PLAIN_PLACE);

	if (b->wan_stays || !takes(y, m, eth, rte_be_to_cpu_16(ip->total_length)) ||
		!is_at_home(w, rec, where, ip)) /* of UDP the latest one decides */
		return false;
	if (ip->next_proto_id == IPPROTO_TCP)
		home_time(w, rec, ip, where, RTT_VM, ip->dst_addr);
	give(w, m, eth, &to, y);
	return true;
}

/* Records have come by now. Counters are asked for behind all sessions: one after the other cost 25 cycles a packet of VMs that all have
 * homes. */
static __rte_noinline void
give_homes(struct worker *w, struct burst *b)
{
	struct lane *v = &b->to_vm;

	for (uint64_t set = v->homes; set != 0; set &= set - 1)
		locate(w, b, first_of(set));
	for (uint64_t set = v->homes; set != 0; set &= set - 1)
		traffic_expect_to(w, v->vm[first_of(set)]->rec->slot);
	for (uint64_t set = v->homes; set != 0; set &= set - 1) {
		uint16_t i = first_of(set);
		struct rte_mbuf *m = b->m[v->at[i]];

		if (!must_stay(w, b, m) && give_home(w, b, i, m))
			leaves(b, v->at[i]);
		else
			express_stays(w, b, m);
	}
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint16_t i, struct rte_mbuf *m)
{
	struct lane *v = &b->to_vm;
	const struct plain_vm *vm = v->vm[i];
	struct way *y;

	if (vm == NULL)
		return false;
	y = way_to(w, b, vm->at);
	if (!takes(y, m, v->eth[i], rte_be_to_cpu_16(ip_of(v->eth[i])->total_length)))
		return false;
	give(w, m, v->eth[i], &(const struct vm_end){&vm->mac, vm->other, vm->slot}, y);
	return true;
}

void
express_to_vm(struct worker *w, struct burst *b)
{
	struct lane *v = &b->to_vm;

	while (v->found < v->n)
		find_to_vm(w, b, v->found++);
	for (uint64_t set = RTE_LEN2MASK(v->n, uint64_t) & ~v->homes; set != 0; set &= set - 1) {
		uint16_t i = first_of(set);
		struct rte_mbuf *m = b->m[v->at[i]];

		if (!must_stay(w, b, m) && try(w, b, i, m))
			leaves(b, v->at[i]);
		else
			express_stays(w, b, m);
	}
	if (v->homes != 0)
		give_homes(w, b);
}
