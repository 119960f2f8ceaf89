/* SPDX-License-Identifier: BSD-3-Clause */
/* From the world to VMs by their global addresses: to an attachment, or through the tunnel. */
#include "express.h"

#include <dataplane/nat.h>

/* By the address that the session has noted as its home, and neither begins nor ends: nothing is to be decided. */
static __rte_always_inline bool
is_at_home(struct burst *b, uint32_t i, uint64_t state)
{
	return !ends(ip_of(b->eth[i])) && SESSION_STATE_HOME(state) == b->dst[i] &&
	       !(SESSION_STATE_FLAGS(state) & SESSION_GUESSED);
}

/* ---- packets leave ---- */

static inline bool
takes(const struct way *y, const struct rte_mbuf *m, const struct rte_ether_hdr *eth)
{
	return rte_pktmbuf_data_len(m) <= y->routed && has_room(y, m, eth);
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	struct run_to *r = with;
	struct rte_ether_hdr *eth = b->eth[i];
	uint16_t place = (uint16_t)b->at[i];

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

/* All but the way: their addresses, their VMs' counters. */
static __rte_always_inline void
give_four(struct worker *w, struct burst *b, uint32_t i, const struct way *y)
{
	struct tally *to_vm = w->to_vm;
	uint64_t from = mac_bits(&y->from); /* and ethertype: as write_ether(), but read once */
	struct rte_ether_hdr *eth[4];

	memcpy(eth, &b->eth[i], sizeof(eth));
	four_nat(eth, NAT_DST, four_load(&b->dst[i]), four_load(&b->other[i]), four_load(&b->ttl[i]));
	EACH_OF_FOUR (k) {
		uint64_t to = mac_bits(&b->vm[i + k]->mac);

		memcpy(eth[k], &to, sizeof(to));
		memcpy(&eth[k]->src_addr, &from, sizeof(from));
		tally_add(to_vm, b->tally[i + k], b->len[i + k]);
	}
}

static inline bool
have_room(const struct burst *b, const struct way *y, uint32_t i)
{
	EACH_OF_FOUR (k)
		if (!has_room(y, b->m[i + k], b->eth[i + k]))
			return false;
	return true;
}

static __rte_always_inline bool
try_four(struct worker *w, struct burst *b, uint32_t i, uint32_t which, void *with)
{
	struct run_to *r = with;
	struct rte_mbuf *const *m = &b->m[i];

	(void)which; /* all: nothing is put aside */
	if (unlikely(b->at[i] != r->y->place) && b->vm[i] != NOBODY)
		run_turn(w, b, r, (uint16_t)b->at[i]);
	if (unlikely(!r->y->fours || four_any(four_load(&b->at[i]) ^ r->y->place) ||
		     (b->wan_stays && (b->homes_of >> i & FOUR))))
		return false;
	if (unlikely(!r->y->bare) && !have_room(b, r->y, i))
		return false;
	give_four(w, b, i, r->y);
	if (!r->y->bare)
		EACH_OF_FOUR (k)
			wrap(m[k], r->y);
	r->went += UINT64_C(4) << 32;
	r->bytes += four_load(&b->len[i]);
	memcpy(r->out, m, 4 * sizeof(*r->out));
	r->out += 4;
	return true;
}

/* Sessions are asked for as soon as their VMs are found, so all that have homes are decided before anything leaves. */
void
express_to_vm(struct worker *w, struct burst *b)
{
	uint64_t homes = b->to_vm & b->homes_of, lane = b->to_vm;
	struct run_to r = run_begin(b->last);
	const struct leave how = {try, try_four, &r, b->dst};

	if (homes != 0)
		lane &= ~express_decide(w, b, homes, is_at_home);
	express_fours(w, b, lane, 0, &how);
	run_end(&r);
}
