/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMs of packets whose lines have come; asks for what is read next: counters, or the record. */
#include "express.h"

/* More routers are not in a group than that there is such a peer. */
const struct plain_vm express_nobody = {.at = PLAIN_PLACE};

_Static_assert((PLAIN_PEER | (TOPO_PEERS - 1) << 8 | (TOPO_SEGMENTS - 1)) < PLAIN_PLACE, "nobody is there");

/* By one address; `tallies` are those of its way. Which VMs have homes nobody can foretell: no branch. */
static __rte_always_inline void
found(struct burst *b, uint32_t i, const struct plain_vm *vm, const struct tally *tallies)
{
	uint64_t homes;

	if (unlikely(vm == NULL))
		vm = NOBODY;
	b->vm[i] = vm;
	homes = vm->at / PLAIN_HOMES;
	b->homes_of |= homes << i;
	rte_prefetch0(homes != 0 ? (const void *)vm->rec : &tallies[vm->slot]);
}

static inline void
find_to_vm(struct worker *w, struct burst *b, uint64_t set)
{
	const struct plaintab *vms = b->vms;
	const struct tally *to = w->to_vm;

	EACH (i, set)
		found(b, i, plain_by_global(vms, b->line[i], ip_of(b->eth[i])->dst_addr), to);
}

static inline void
find_from_vm(struct worker *w, struct burst *b, uint64_t set)
{
	const struct plaintab *vms = b->vms;
	const struct tally *from = w->from_vm;

	EACH (i, set)
		found(b, i, plain_by_ip(vms, b->line[i], ip_of(b->eth[i])->src_addr, b->place[i]), from);
}

static inline void
find_bridged(struct worker *w, struct burst *b, uint64_t set)
{
	EACH (i, set) {
		const struct rte_ether_hdr *eth = b->eth[i];
		uint64_t seg = (uint64_t)segment_of(w->topo, b->place[i]) << 48;

		b->vm[i] = plain_by_mac(b->vms, b->line[i], mac_word(&eth->src_addr) | seg);
		b->to[i] = plain_by_mac(b->vms, b->to_line[i], mac_word(&eth->dst_addr) | seg);
		if (likely(b->vm[i] != NULL))
			traffic_expect_from(w, b->vm[i]->slot);
		if (likely(b->to[i] != NULL))
			traffic_expect_to(w, b->to[i]->slot);
	}
}

void
express_find(struct worker *w, struct burst *b, uint64_t set)
{
	find_to_vm(w, b, set & b->to_vm);
	find_from_vm(w, b, set & b->from_vm);
	find_bridged(w, b, set & b->bridged);
}
