/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMs of packets whose lines have come; asks for what is read next: counters, or the record. */
#include "express.h"

/* More routers are not in a group than that there is such a peer. */
const struct plain_vm express_nobody = {.at = PLAIN_PLACE};

_Static_assert((PLAIN_PEER | (TOPO_PEERS - 1) << 8 | (TOPO_SEGMENTS - 1)) < PLAIN_PLACE, "nobody is there");

/* Asks for what is read of a VM next: its counters, or its record. By a mask, as nobody can foretell which: branches cost 10 cycles a packet of
 * VMs half of which drain. */
static __rte_always_inline void
ask_next(const struct plain_vm *vm, uint32_t has_homes, const struct tally *tallies, uint32_t tally)
{
	uintptr_t counters = (uintptr_t)tallies + tally, rec = (uintptr_t)vm->rec;

	rte_prefetch0((const void *)(counters ^ ((counters ^ rec) & -(uintptr_t)has_homes)));
}

/* By one address; `tallies` are those of its way. Which VMs have homes nobody can foretell: no branch. What is noted of those that have some
 * their sessions tell (express.h). */
static __rte_always_inline void
found(struct burst *b, uint32_t i, const struct plain_vm *vm, const struct tally *tallies)
{
	uint32_t homes;

	if (unlikely(vm == NULL))
		vm = NOBODY;
	b->vm[i] = vm;
	b->other[i] = vm->other;
	b->tally[i] = tally_at(vm->slot);
	b->at[i] = at_place(vm->at);
	homes = vm->at / PLAIN_HOMES;
	b->homes_of |= (uint64_t)homes << i;
	ask_next(vm, homes, tallies, b->tally[i]);
}

/* As found(), of four, in lanes: what is read of them is noted, too. */
static __rte_always_inline void
found_four(struct burst *b, uint32_t i, const struct plain_vm *const vm[4], const struct tally *tallies)
{
	u32x4 v[4], tally;
	uint32_t homes;

	EACH_OF_FOUR (k)
		v[k] = four_load(vm[k]);
	four_turn(v);
	tally = v[1] * tally_at(1);
	four_store(&b->other[i], v[0]);
	four_store(&b->tally[i], tally);
	four_store(&b->at[i], v[3]);
	homes = four_signs(v[3]);
	b->homes_of |= (uint64_t)homes << i;
	if (likely(homes == 0)) {
		EACH_OF_FOUR (k)
			ask_next(vm[k], 0, tallies, tally[k]);
		return;
	}
	EACH_OF_FOUR (k)
		ask_next(vm[k], homes >> k & 1, tallies, tally[k]);
}

static inline void
find_to_vm(struct worker *w, struct burst *b, uint64_t set)
{
	const struct plaintab *vms = b->vms;
	const struct tally *to = w->to_vm;

	EACH (i, set & b->simple & FIRSTS) {
		const struct plain_line *const *line = &b->line[i];
		const rte_be32_t *dst = &b->dst[i];
		const struct plain_vm **vm = &b->vm[i];

		EACH_OF_FOUR (k)
			vm[k] = plain_by_global(vms, line[k], dst[k]) ?: NOBODY;
		found_four(b, i, vm, to);
	}
	EACH (i, set & ~b->simple)
		found(b, i, plain_by_global(vms, b->line[i], b->dst[i]), to);
}

/* Are all four where they came from, with the MACs that they came from? */
static __rte_always_inline bool
are_from(const struct burst *b, uint32_t i)
{
	uint64_t others = 0;

	EACH_OF_FOUR (k)
		others |= other_src(b->vm[i + k], b->eth[i + k]);
	return others == 0 && !four_any((four_load(&b->at[i]) >> 16 & PLAIN_PLACE) ^ b->place[i]);
}

static inline void
find_from_vm(struct worker *w, struct burst *b, uint64_t set)
{
	const struct plaintab *vms = b->vms;
	const struct tally *from = w->from_vm;
	uint64_t apart = 0; /* fours to be looked at one by one */

	EACH (i, set & b->simple & FIRSTS) {
		const struct plain_line *const *line = &b->line[i];
		const rte_be32_t *src = &b->src[i];
		const struct plain_vm **vm = &b->vm[i];

		EACH_OF_FOUR (k)
			vm[k] = plain_first_by_ip(vms, line[k], src[k], b->place[i]) ?: NOBODY;
		found_four(b, i, vm, from);
		if (unlikely(!are_from(b, i)))
			apart |= one(i);
	}
	b->simple &= ~(apart * FOUR);
	b->homes_of &= ~(apart * FOUR);
	EACH (i, set & ~b->simple)
		found(b, i, plain_by_ip(vms, b->line[i], b->src[i], b->place[i]), from);
}

static inline void
find_bridged(struct worker *w, struct burst *b, uint64_t set)
{
	EACH (i, set) {
		const struct rte_ether_hdr *eth = b->eth[i];
		uint16_t seg = segment_of(w->topo, b->place[i]);

		b->vm[i] = plain_by_mac(b->vms, b->line[i], mac_in(&eth->src_addr, seg));
		b->to[i] = plain_by_mac(b->vms, b->to_line[i], mac_in(&eth->dst_addr, seg));
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
