/* SPDX-License-Identifier: BSD-3-Clause */
/* From the world to VMs by their global addresses: to an attachment, or through the tunnel. */
#include "express.h"

#include <dataplane/nat.h>

/* ---- sessions of VMs that have homes ---- */

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

	return (drains || (rec->flags & VM_REC_NOTES)) && !ends(ip) &&
	       sessions_find_at(where, w->tick, &home, &flags) == SESSION_FOUND && home == ip->dst_addr &&
	       !(flags & SESSION_GUESSED);
}

static __rte_always_inline bool
decide(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	const struct session_where *where = home_where(b, i);

	(void)m;
	(void)with;
	if (!is_at_home(w, b->vm[i]->rec, where, ip_of(b->eth[i])))
		return false;
	b->other[i] = (rte_be32_t)where->key[0];
	b->at[i] = at_place(b->vm[i]->at & PLAIN_PLACE);
	return true;
}

/* ---- packets leave ---- */

static inline bool
takes(const struct way *y, const struct rte_mbuf *m, const struct rte_ether_hdr *eth)
{
	return rte_pktmbuf_data_len(m) <= y->routed && has_room(y, m, eth);
}

static inline bool
have_room(const struct way *y, struct rte_mbuf *const m[4], struct rte_ether_hdr *const eth[4])
{
	EACH_OF_FOUR (k)
		if (!has_room(y, m[k], eth[k]))
			return false;
	return true;
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	struct run_to *r = with;
	struct rte_ether_hdr *eth = b->eth[i];
	uint16_t place = (uint16_t)(b->at[i] >> 16);

	if (unlikely(b->vm[i] == NOBODY) || (unlikely(b->wan_stays) && (b->homes_of >> i & 1)))
		return false; /* of UDP the latest one decides */
	if (unlikely(place != r->y->place))
		run_turn(w, b, r, place);
	if (unlikely(rte_pktmbuf_data_len(m) > r->y->plain) && !takes(r->y, m, eth))
		return false;
	nat_plain(ip_of(eth), NAT_DST, b->other[i]);
	write_ether(eth, &b->vm[i]->mac, r->y);
	tally_add(w->to_vm, b->tally[i], rte_pktmbuf_pkt_len(m));
	if (!run_put(w, r, m))
		b->timed &= ~one(i);
	return true;
}

/* All but the way of four: their addresses, their VMs' counters. */
static __rte_always_inline void
give_four(struct worker *w, struct burst *b, uint32_t i, struct rte_ether_hdr *const eth[4],
	const struct way *y)
{
	struct tally *to_vm = w->to_vm;
	uint64_t from = mac_bits(&y->from); /* and ethertype: as write_ether(), but read once */

	four_nat(eth, NAT_DST, four_load(&b->dst[i]), four_load(&b->other[i]), four_load(&b->ttl[i]));
	EACH_OF_FOUR (k) {
		uint64_t to = mac_bits(&b->vm[i + k]->mac);

		memcpy(eth[k], &to, sizeof(to));
		memcpy(&eth[k]->src_addr, &from, sizeof(from));
		tally_add(to_vm, b->tally[i + k], b->len[i + k]);
	}
}

static __rte_always_inline bool
try_four(struct worker *w, struct burst *b, uint32_t i, void *with)
{
	struct run_to *r = with;
	struct rte_mbuf *const *m = &b->m[i];
	u32x4 at = four_load(&b->at[i]) >> 16;
	struct rte_ether_hdr *eth[4];

	if (unlikely(at[0] != r->y->place) && b->vm[i] != NOBODY)
		run_turn(w, b, r, (uint16_t)at[0]);
	if (unlikely(!r->y->fours || four_any(at ^ r->y->place) ||
		     (b->wan_stays && (b->homes_of >> i & FOUR))))
		return false;
	memcpy(eth, &b->eth[i], sizeof(eth));
	if (r->y->bare) {
		give_four(w, b, i, eth, r->y);
	} else {
		if (unlikely(!have_room(r->y, m, eth)))
			return false;
		give_four(w, b, i, eth, r->y);
		EACH_OF_FOUR (k)
			wrap(m[k], r->y);
	}
	r->went += UINT64_C(4) << 32;
	r->bytes += four_load(&b->len[i]);
	memcpy(r->out, m, 4 * sizeof(*r->out));
	r->out += 4;
	return true;
}

/* While those that have no homes leave, sessions come, and counters behind all of them: one after the other cost 25 cycles a packet of VMs
 * that all have homes. */
void
express_to_vm(struct worker *w, struct burst *b)
{
	uint64_t homes = b->to_vm & b->homes_of;
	struct run_to r = run_begin(b->last);

	EACH (i, homes)
		locate(w, b, i);
	EACH (i, homes)
		home_tally(b, i, w->to_vm);
	express_fours(w, b, b->to_vm & ~homes, b->dst, try, try_four, &r);
	if (homes != 0) {
		homes &= ~express_some(w, b, homes, decide, NULL);
		express_fours(w, b, homes, b->dst, try, try_four, &r);
	}
	run_end(&r);
}
