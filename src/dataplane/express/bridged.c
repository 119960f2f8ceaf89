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

static __rte_always_inline bool
try(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	const struct plain_vm *from = b->vm[i], *to = b->to[i];
	struct rte_ether_hdr *eth = b->eth[i];
	struct way *y;

	(void)with;
	if (from == NULL || to == NULL || from->at != b->place[i] || !may_go(w->topo, from->at, to->at))
		return false;
	y = way_to(w, b, to->at);
	if (rte_pktmbuf_data_len(m) - wrapping(b, m, eth) > y->bridged || !has_room(y, m, eth))
		return false;
	unwrap(b, m, eth);
	count_from(w, b, b->place[i], one_frame(m));
	traffic_from_vm(w, from->slot, m);
	traffic_to_vm(w, to->slot, m);
	put(w, m, y);
	return true;
}

void
express_bridged(struct worker *w, struct burst *b)
{
	express_each(w, b, b->bridged, try, NULL);
}
