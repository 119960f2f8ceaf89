/* SPDX-License-Identifier: BSD-3-Clause */
/* From the world to VMs by their global addresses: to an attachment, or through the tunnel. */
#include "express.h"

#include <dataplane/nat.h>

static void
locate(struct worker *w, struct burst *b, uint32_t i)
{
	const struct rte_ipv4_hdr *ip = ip_of(b->eth[i]);
	uint32_t ports = ports_of(ip);
	const struct vm_rec *rec = b->vm[i]->rec;
	uint32_t vni = w->topo->segments[rec->seg].vni;
	const uint64_t key[] = {home_ends(vm_private_here(rec, ip->dst_addr), ip->src_addr),
		home_ports(ports << 16 | ports >> 16, vni, ip->next_proto_id)};

	home_locate(w, b, i, key);
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
takes(const struct way *y, const struct rte_mbuf *m, const struct rte_ether_hdr *eth)
{
	return rte_pktmbuf_data_len(m) <= y->routed && has_room(y, m, eth);
}

/* All but the way: its addresses, its VM's counters. */
static __rte_always_inline void
give(struct worker *w, struct rte_mbuf *m, struct rte_ether_hdr *eth, const struct plain_vm *to,
	const struct way *y)
{
	nat_plain(ip_of(eth), NAT_DST, to->other);
	write_ether(eth, &to->mac, y);
	traffic_to_vm(w, to->slot, m);
}

static __rte_always_inline bool
give_home(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	struct way *y = way_to(w, b, b->vm[i]->at & PLAIN_PLACE);
	struct rte_ether_hdr *eth = b->eth[i];
	const struct rte_ipv4_hdr *ip = ip_of(eth);
	const struct vm_rec *rec = b->vm[i]->rec;
	const struct session_where *where = &b->homes.where[b->home[i]];
	const struct plain_vm to = {.mac = rec->mac, .other = (rte_be32_t)where->key[0], .slot = rec->slot};

	(void)with;
	if (b->wan_stays || !takes(y, m, eth) ||
		!is_at_home(w, rec, where, ip)) /* of UDP the latest one decides */
		return false;
	if (ip->next_proto_id == IPPROTO_TCP)
		home_time(w, rec, ip, where, RTT_VM, ip->dst_addr);
	give(w, m, eth, &to, y);
	put(w, m, y);
	return true;
}

/* Records have come by now. Counters are asked for behind all sessions: one after the other cost 25 cycles a packet of VMs that all have
 * homes. */
static __rte_noinline void
give_homes(struct worker *w, struct burst *b, uint64_t set)
{
	EACH (i, set)
		locate(w, b, i);
	EACH (i, set)
		traffic_expect_to(w, b->vm[i]->rec->slot);
	express_each(w, b, set, give_home, NULL);
}

/* To another place than the one before. */
static __rte_noinline bool
give_other(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m)
{
	const struct plain_vm *vm = b->vm[i];
	struct way *y;

	if (vm == NOBODY)
		return false;
	y = way_to(w, b, vm->at);
	if (!takes(y, m, b->eth[i]))
		return false;
	give(w, m, b->eth[i], vm, y);
	put(w, m, y);
	return true;
}

/* Packets to one place, one after the other. What each of them would count up in memory is kept in registers: a packet had waited
 * for the one before it, which cost 6 cycles. */
struct run {
	struct way *y;
	struct rte_mbuf **out; /* where y->out ends */
	uint64_t went;
};

static inline struct run
run_begin(struct way *y)
{
	return (struct run){.y = y, .out = y->out->m + y->out->n};
}

static inline void
run_end(const struct run *r)
{
	r->y->went += r->went;
	r->y->out->n = (uint16_t)(r->out - r->y->out->m);
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	struct run *r = with;
	const struct plain_vm *vm = b->vm[i];
	bool left;

	if (unlikely(vm->at != r->y->place)) {
		run_end(r);
		left = give_other(w, b, i, m);
		*r = run_begin(b->last);
		return left;
	}
	if (unlikely(rte_pktmbuf_data_len(m) > r->y->plain) && !takes(r->y, m, b->eth[i]))
		return false;
	give(w, m, b->eth[i], vm, r->y);
	r->went += one_frame(m);
	if (unlikely(!r->y->bare) && !wrap_or_tag(w, m, r->y))
		return true;
	*r->out++ = m;
	return true;
}

void
express_to_vm(struct worker *w, struct burst *b)
{
	struct run r = run_begin(b->last);

	express_each(w, b, b->to_vm & ~b->homes_of, try, &r);
	run_end(&r);
	if (b->to_vm & b->homes_of)
		give_homes(w, b, b->to_vm & b->homes_of);
}
