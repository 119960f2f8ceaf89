/* SPDX-License-Identifier: BSD-3-Clause */
/* plaintab.h - where VMs stand, and what express packets need of them, in one cache line:
 *
 *   global address                     to the VM from the world
 *   private address and attachment     from the VM to the world
 *   MAC and segment                    between VMs
 *
 * Of most VMs the entry says all. Of one that has homes (it drains, or is about to leave) the packet's session decides; which router
 * translates its old address is told by slot. What is found is true; what is not found may be there none the less (its record is
 * not a grace period old, it is not known where the VM stands, packets wait for it, or the table had no room): vmtab knows.
 *
 * Readers: workers, lock-free. An entry, and what is told by its slot, is valid until the worker reports quiescent.
 * Writer:  vmtab alone. An entry goes before the VM's next record is published, and comes a grace period after: nobody finds
 *          here what is no longer so, and nobody reads an entry that is written.
 * Size:    fixed at creation. What would stand too far from its place is left out: nobody when each VM has one address, 1 in 30 when each
 *          has two.
 * Order:   an entry counts from the release store of its bit in `state` until that of the bit's end. A line's keys are read after
 *          `state` (acquire).
 *
 * Open addressing by lines, as in lfhash.h. The hash is keyed.
 */
#pragma once

#include "fold.h"
#include "vmtab.h"

#include <rte_prefetch.h>
#include <rte_vect.h>
#include <stdbool.h>
#include <string.h>

#define PLAIN_WAYS  3
#define PLAIN_REACH 8 /* lines, from its own on, in which an entry may stand */

/* Where a VM stands: the number of one of our attachments, or a peer and the segment. */
#define PLAIN_PEER    0x4000 /* | (router index - 1) << 8 | segment */
#define PLAIN_HOMES   0x8000 /* with either: it has homes, struct plain_homes counts */
#define PLAIN_OLD     0x2000 /* with PLAIN_HOMES: the global address, by which it was found, drains */
#define PLAIN_PLACE   (UINT16_MAX & ~(PLAIN_HOMES | PLAIN_OLD))
#define PLAIN_NOWHERE 0x1fff /* as a place: no attachment has this number (TOPO_ATTACHMENTS) */

#define PLAIN_NO_GLOBAL UINT32_MAX /* as a global address: none, and no session's home */

static inline uint16_t
plain_peer(uint8_t router, uint16_t seg)
{
	return (uint16_t)(PLAIN_PEER | (router - 1u) << 8 | seg);
}

/* The peer's router index. */
static inline uint8_t
plain_router(uint16_t peer)
{
	return (uint8_t)((peer & ~PLAIN_PEER) >> 8) + 1;
}

struct plain_vm {
	/* Address: private when found by the global one; when by the private one its live global one, PLAIN_NO_GLOBAL if it has none. By MAC:
	 * what its bits have beside the key. */
	uint32_t other;
	uint32_t slot;		   /* in the VM table */
	struct rte_ether_addr mac; /* and what follows: one word */
	uint16_t at;		   /* place, PLAIN_HOMES, PLAIN_OLD */
};

/* Of a VM that has homes what most of its packets need of its record, which is two lines. */
struct plain_homes {
	/* When it has one private address: the oldest global address that drains for it, else PLAIN_NO_GLOBAL; and where what it
	 * sends by that goes, PLAIN_HERE or a peer. */
	rte_be32_t old;
	uint16_t by;
	const struct vm_rec *rec;
};

#define PLAIN_HERE 0 /* where packets of a session are translated */

struct plain_line {
	uint32_t key[PLAIN_WAYS]; /* the address, or the last four bytes of the MAC */
	uint32_t
		state; /* bit i: vm[i] counts; bit PLAIN_MORE: go on to the next line; above, the writer's own */
	struct plain_vm vm[PLAIN_WAYS];
} __rte_aligned(64);

#define PLAIN_MORE 3

_Static_assert(sizeof(struct plain_vm) == 16 && sizeof(struct plain_line) == 64,
	"a line is a cache line, or half of one");

struct plain_index { /* by one kind of key */
	struct plain_line *lines;
	uint64_t n_lines;
	uint64_t seed;
	uint16_t *passed; /* writer: by line, entries that stand farther on because it was full */
};

struct plaintab {
	struct plain_index by_global, by_ip, by_mac;
	struct plain_homes *homes; /* by slot */
};

/* For so many VMs, whose slots are below `slots`. NULL with rte_errno. */
struct plaintab *plaintab_new(uint32_t vms, uint32_t slots);
void plaintab_free(struct plaintab *t);

/* Writer: before r is no longer the VM's record. */
void plaintab_remove(struct plaintab *t, const struct vm_rec *r);
/* Writer: a grace period after that. */
void plaintab_forget(struct plaintab *t, const struct vm_rec *r);
/* Writer: r is the VM's record since a grace period. */
void plaintab_add(struct plaintab *t, const struct vm_rec *r);

/* ---- readers: first the line, which is prefetched, then what is in it ---- */

/* `bits`: all of the key. */
static inline const struct plain_line *
plain_line(const struct plain_index *x, uint64_t bits)
{
	uint64_t h = fold(bits ^ x->seed, UINT64_C(0xe7037ed1a0b428db));
	const struct plain_line *l = &x->lines[(uint64_t)((fold_u128)h * x->n_lines >> 64)];

	rte_prefetch0(l);
	return l;
}

static inline uint64_t
plain_bits_ip(rte_be32_t ip, uint16_t att)
{
	return ip | (uint64_t)att << 32;
}

/* The segment in the lower two bytes, the MAC, as in memory, above. */
static inline uint64_t
plain_bits_mac(const struct rte_ether_addr *mac, uint16_t seg)
{
	uint64_t bits = 0;

	memcpy(&bits, mac, sizeof(*mac));
	return bits << 16 | seg;
}

/* The last four bytes of the MAC. */
static inline uint32_t
plain_mac_tail(uint64_t bits)
{
	return (uint32_t)(bits >> 32);
}

static inline const struct plain_line *
plain_line_by_global(const struct plaintab *t, rte_be32_t global)
{
	return plain_line(&t->by_global, global);
}

static inline const struct plain_line *
plain_line_by_ip(const struct plaintab *t, rte_be32_t ip, uint16_t att)
{
	return plain_line(&t->by_ip, plain_bits_ip(ip, att));
}

/* Folded twice: MACs in sequence differ in the middle of the word alone, and after one fold a fifth of them stood far from their places. */
static inline uint64_t
plain_mix_mac(const struct plaintab *t, uint64_t bits)
{
	return fold(bits ^ t->by_mac.seed, UINT64_C(0xa0761d6478bd642f));
}

static inline const struct plain_line *
plain_line_by_mac(const struct plaintab *t, uint64_t bits)
{
	return plain_line(&t->by_mac, plain_mix_mac(t, bits));
}

/* Bit i: the line has this key in way i, and it counts. What counted when `state` was read stays as it was. */
static inline uint32_t
plain_ways(const struct plain_line *l, uint32_t state, uint32_t key)
{
#ifdef __SSE2__
	__m128i eq = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)l->key), _mm_set1_epi32((int)key));

	return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(eq)) & state & RTE_LEN2MASK(PLAIN_WAYS, uint32_t);
#else
	uint32_t ways = 0;

	for (uint32_t i = 0; i < PLAIN_WAYS; i++)
		ways |= (uint32_t)(__atomic_load_n(&l->key[i], __ATOMIC_RELAXED) == key) << i;
	return ways & state;
#endif
}

/* Is it that of the key, of which the line has but a part? */
typedef bool plain_is(const struct plain_vm *vm, const void *key);

static inline bool
plain_is_any(const struct plain_vm *vm, const void *key)
{
	(void)vm;
	(void)key;
	return true;
}

static inline bool
plain_is_at(const struct plain_vm *vm, const void *att)
{
	return (vm->at & PLAIN_PLACE) == *(const uint16_t *)att;
}

static inline bool
plain_is_mac(const struct plain_vm *vm, const void *bits)
{
	return vm->other == (uint32_t) * (const uint64_t *)bits;
}

/* `state` is the line's. */
static __rte_always_inline const struct plain_vm *
plain_in(const struct plain_line *l, uint32_t state, uint32_t key, plain_is *is, const void *what)
{
	for (uint32_t ways = plain_ways(l, state, key); ways != 0; ways &= ways - 1) {
		const struct plain_vm *vm = &l->vm[__builtin_ctz(ways)];

		if (likely(is(vm, what)))
			return vm;
	}
	return NULL;
}

/* Not in its own line, which is or was full. */
const struct plain_vm *plain_find_farther(const struct plain_index *x, const struct plain_line *l,
	uint32_t key, plain_is *is, const void *what);

static __rte_always_inline const struct plain_vm *
plain_find(
	const struct plain_index *x, const struct plain_line *l, uint32_t key, plain_is *is, const void *what)
{
	uint32_t state = __atomic_load_n(&l->state, __ATOMIC_ACQUIRE);
	const struct plain_vm *vm = plain_in(l, state, key, is, what);

	return vm == NULL && unlikely(state >> PLAIN_MORE & 1) ? plain_find_farther(x, l, key, is, what) : vm;
}

/* The first one of this address, wherever it stands: whether that is there is for the caller to see. */
static __rte_always_inline const struct plain_vm *
plain_first_by_ip(const struct plaintab *t, const struct plain_line *l, rte_be32_t ip, uint16_t att)
{
	uint32_t state = __atomic_load_n(&l->state, __ATOMIC_ACQUIRE);
	uint32_t ways = plain_ways(l, state, ip);

	if (likely(ways != 0))
		return &l->vm[(uint32_t)__builtin_ctz(ways)];
	return state >> PLAIN_MORE & 1 ? plain_find_farther(&t->by_ip, l, ip, plain_is_at, &att) : NULL;
}

static inline const struct plain_vm *
plain_by_global(const struct plaintab *t, const struct plain_line *l, rte_be32_t global)
{
	return plain_find(&t->by_global, l, global, plain_is_any, NULL);
}

static inline const struct plain_vm *
plain_by_ip(const struct plaintab *t, const struct plain_line *l, rte_be32_t ip, uint16_t att)
{
	return plain_find(&t->by_ip, l, ip, plain_is_at, &att);
}

/* As vm_session_router() of an address of ours, by the record. */
uint16_t plain_session_by_record(const struct plain_homes *h, rte_be32_t ip, rte_be32_t home);

/* To where packets of a session with this home go, which the VM sends from `ip`, where it stands: PLAIN_HERE, or a peer; PLAIN_NOWHERE: it is not
 * known. `live`: the VM's live address. Most have one, and an old one: which of both is the home nobody can foretell, so a mask tells
 * it instead of a branch, which cost 8 cycles a packet. */
static __rte_always_inline uint16_t
plain_session(const struct plain_homes *h, rte_be32_t live, rte_be32_t ip, rte_be32_t home)
{
	uint32_t is_live = -(uint32_t)(home == live);

	if (likely(is_live | (uint32_t)(home == h->old)))
		return (uint16_t)(h->by & ~is_live);
	return plain_session_by_record(h, ip, home);
}

static inline const struct plain_vm *
plain_by_mac(const struct plaintab *t, const struct plain_line *l, uint64_t bits)
{
	return plain_find(&t->by_mac, l, plain_mac_tail(bits), plain_is_mac, &bits);
}
