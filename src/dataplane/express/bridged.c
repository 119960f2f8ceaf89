/* SPDX-License-Identifier: BSD-3-Clause */
/* Between VMs of a segment that stand where we know: from an attachment to another or into the tunnel, and out of it. */
#include "express.h"

/* From the tunnel only to our own VMs; and not back: hypervisors behind tunnels speak to each other themselves. */
static inline bool
may_go(const struct topology *t, uint16_t from, uint16_t to)
{
	if (likely((from ^ to) & PLAIN_PEER))
		return true;
	return !is_peer(to) && from != to &&
	       (t->attachments[from].tunnel == 0 || t->attachments[to].tunnel == 0);
}

/* Frames from one place to another, one after the other. */
struct run_between {
	struct run_to to;
	uint16_t from;
};

/* What went to a segment came from one, too. */
static inline void
between_end(struct worker *w, struct burst *b, const struct run_between *r)
{
	count_from(w, b, r->from, r->to.went);
	run_end(&r->to);
}

static __rte_noinline void
between_turn(struct worker *w, struct burst *b, struct run_between *r, uint16_t from, uint16_t to)
{
	between_end(w, b, r);
	*r = (struct run_between){.to = run_begin(express_way(w, b, to)), .from = from};
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	struct run_between *r = with;
	const struct plain_vm *from = b->vm[i], *to = b->to[i];
	struct rte_ether_hdr *eth = b->eth[i];
	const struct way *y;

	if (from == NULL || to == NULL || from->at != b->place[i] || !may_go(w->topo, from->at, to->at))
		return false;
	if (unlikely(to->at != r->to.y->place || from->at != r->from))
		between_turn(w, b, r, from->at, to->at);
	y = r->to.y;
	if (rte_pktmbuf_data_len(m) - wrapping(b, m, eth) > y->bridged || !has_room(y, m, eth))
		return false;
	unwrap(b, m, eth);
	traffic_from_vm(w, from->slot, m);
	traffic_to_vm(w, to->slot, m);
	run_put(w, &r->to, m);
	return true;
}

void
express_bridged(struct worker *w, struct burst *b)
{
	struct run_between r = {.to = run_begin(b->last), .from = NO_PLACE};

	express_each(w, b, b->bridged, try, &r);
	between_end(w, b, &r);
}
