/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMs of packets whose lines have come; asks for what is read next: counters, sessions. */
#include "express.h"

const struct plain_vm express_nobody = {.at = PLAIN_NOWHERE};

_Static_assert(TOPO_ATTACHMENTS <= PLAIN_NOWHERE && ((TOPO_PEERS - 1) << 8 | (TOPO_SEGMENTS - 1)) < PLAIN_OLD,
	"nobody is there, and peers leave room for PLAIN_OLD");

static inline void
ask_tally(const struct tally *tallies, uint32_t at)
{
	rte_prefetch0((const char *)tallies + at);
}

/* By one address; `tallies` are those of its way. */
static __rte_always_inline void
found(struct burst *b, uint32_t i, const struct plain_vm *vm, const struct tally *tallies)
{
	if (unlikely(vm == NULL))
		vm = NOBODY;
	b->vm[i] = vm;
	b->other[i] = vm->other;
	b->tally[i] = tally_at(vm->slot);
	b->at[i] = vm->at & PLAIN_PLACE;
	b->homes_of |= (uint64_t)(vm->at / PLAIN_HOMES) << i;
	ask_tally(tallies, b->tally[i]);
}

/* As found(), of four, in lanes: what is read of them is noted, too. */
static __rte_always_inline void
found_four(struct burst *b, uint32_t i, const struct plain_vm *const vm[4], const struct tally *tallies)
{
	u32x4 v[4], tally;

	EACH_OF_FOUR (k)
		v[k] = four_load(vm[k]);
	four_turn(v);
	tally = v[1] * tally_at(1);
	four_store(&b->other[i], v[0]);
	four_store(&b->tally[i], tally);
	four_store(&b->at[i], v[3] >> 16 & PLAIN_PLACE);
	b->homes_of |= (uint64_t)four_signs(v[3]) << i;
	EACH_OF_FOUR (k)
		ask_tally(tallies, tally[k]);
}

/* ---- sessions of VMs that have homes ---- */

_Static_assert(offsetof(struct session_key, remote) == 4 && offsetof(struct session_key, vm_port) == 8 &&
		       offsetof(struct session_key, remote_port) == 10 &&
		       offsetof(struct session_key, vni_proto) == 12 && RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN,
	"the words of a session's key");

static __rte_noinline void
tell_vni(const struct worker *w, struct burst *b, uint32_t place)
{
	b->vni.place = place;
	b->vni.key = w->topo->segments[segment_of(w->topo, (uint16_t)place)].vni << 8;
}

/* Names the session and asks for its memory; `ports`: the VM's and behind it the remote's, as they stand in memory. Words are put together in
 * registers: read from a structure that was just written in parts they cost a dozen cycles each. */
static __rte_always_inline void
locate(struct worker *w, struct burst *b, uint32_t i, rte_be32_t vm, rte_be32_t remote, uint32_t ports)
{
	uint8_t proto = ip_of(b->eth[i])->next_proto_id;
	uint64_t key[2];

	if (unlikely(b->vni.place != b->at[i]))
		tell_vni(w, b, b->at[i]);
	key[0] = vm | (uint64_t)remote << 32;
	key[1] = ports | (uint64_t)(b->vni.key | proto) << 32;

	b->timed |= (uint64_t)(proto == IPPROTO_TCP) << i;
	sessions_locate(w->tables->sessions, key, &b->where[i]);
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
	EACH (i, set & b->homes_of) {
		const struct rte_ipv4_hdr *ip = ip_of(b->eth[i]);
		uint32_t ports = ports_of(ip);

		locate(w, b, i, b->other[i], ip->src_addr, ports << 16 | ports >> 16);
	}
}

/* Are all four where they came from, with the MACs that they came from? */
static __rte_always_inline bool
are_from(const struct burst *b, uint32_t i)
{
	uint64_t others = 0;

	EACH_OF_FOUR (k)
		others |= other_src(b->vm[i + k], b->eth[i + k]);
	return others == 0 && !four_any(four_load(&b->at[i]) ^ b->place[i]);
}

static inline const struct plain_vm *
from_vm(const struct burst *b, uint32_t i)
{
	const struct plain_vm *vm = plain_by_ip(b->vms, b->line[i], b->src[i], b->place[i]);

	return vm != NULL && other_src(vm, b->eth[i]) ? NULL : vm;
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
		found(b, i, from_vm(b, i), from);
	EACH (i, set & b->homes_of) {
		locate(w, b, i, b->src[i], b->dst[i], ports_of(ip_of(b->eth[i])));
		rte_prefetch0(homes_at(b, i));
	}
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
