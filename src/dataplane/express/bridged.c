/* SPDX-License-Identifier: BSD-3-Clause */
/* Between VMs of a segment that stand where we know: from an attachment to another or into the tunnel, and out of it. */
#include "find.h"

/* From the tunnel only to our own VMs; and not back: hypervisors behind tunnels speak to each other themselves. */
static inline bool
may_go(const struct topology *t, uint16_t from, uint16_t to)
{
	if (likely((from ^ to) & PLAIN_PEER))
		return true;
	return !is_peer(to) && from != to &&
	       (t->attachments[from].tunnel == 0 || t->attachments[to].tunnel == 0);
}

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint16_t i, struct rte_mbuf *m)
{
	struct lane *v = &b->bridged;
	const struct plain_vm *from = v->vm[i], *to = v->to[i];
	struct rte_ether_hdr *eth = v->eth[i];
	struct way *y;

	if (from == NULL || to == NULL || from->at != v->place[i] || !may_go(w->topo, from->at, to->at))
		return false;
	y = way_to(w, b, to->at);
	if (rte_pktmbuf_data_len(m) - wrapping(b, m, eth) > y->most || !has_room(y, m, eth))
		return false;
	unwrap(b, m, eth);
	count_from(w, b, v->place[i], m);
	traffic_from_vm(w, from->slot, m);
	traffic_to_vm(w, to->slot, m);
	put(w, m, y);
	return true;
}

void
express_bridged(struct worker *w, struct burst *b)
{
	struct lane *v = &b->bridged;

	while (v->found < v->n)
		find_bridged(w, b, v->found++);
	for (uint16_t i = 0; i < v->n; i++) {
		struct rte_mbuf *m = b->m[v->at[i]];

		if (!must_stay(w, b, m) && try(w, b, i, m))
			leaves(b, v->at[i]);
		else
			express_stays(w, b, m);
	}
}
