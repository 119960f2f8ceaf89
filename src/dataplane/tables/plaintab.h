/* SPDX-License-Identifier: BSD-3-Clause */
/* plaintab.h - plain VMs: global address, or private address and attachment -> all that a plain packet needs, in one cache line.
 *
 * A VM is plain that is here and neither moves nor drains: nearly all are, nearly always. What is found is true; what is not found may be
 * there none the less (its record is not a grace period old, or the table had no room): vmtab knows.
 *
 * Readers: workers, lock-free. An entry is valid until the worker reports quiescent.
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

#define PLAIN_WAYS  3
#define PLAIN_REACH 8 /* lines, from its own on, in which an entry may stand */

struct plain_vm {
	rte_be32_t other; /* address: private when found by the global one, else global */
	uint32_t slot;	  /* in the VM table */
	struct rte_ether_addr mac;
	uint16_t att;
};

struct plain_line {
	rte_be32_t key[PLAIN_WAYS];
	uint32_t
		state; /* bit i: vm[i] counts; bit PLAIN_MORE: go on to the next line; above, the writer's own */
	struct plain_vm vm[PLAIN_WAYS];
} __rte_cache_aligned;

#define PLAIN_MORE 3

_Static_assert(sizeof(struct plain_vm) == 16 && sizeof(struct plain_line) == 64, "a line is a cache line");

struct plain_index { /* by one kind of key */
	struct plain_line *lines;
	uint32_t n_lines;
	uint64_t seed;
	uint16_t *passed; /* writer: by line, entries that stand farther on because it was full */
};

struct plaintab {
	struct plain_index by_global, by_ip;
};

struct plaintab *plaintab_new(uint32_t vms); /* NULL with rte_errno */
void plaintab_free(struct plaintab *t);

/* Writer: before r is no longer the VM's record. */
void plaintab_remove(struct plaintab *t, const struct vm_rec *r);
/* Writer: a grace period after that. */
void plaintab_forget(struct plaintab *t, const struct vm_rec *r);
/* Writer: r is the VM's record since a grace period. One that is not plain is passed over. */
void plaintab_add(struct plaintab *t, const struct vm_rec *r);

/* ---- readers: first the line, which is prefetched, then what is in it ---- */

static inline const struct plain_line *
plain_line(const struct plain_index *x, rte_be32_t ip, uint16_t att)
{
	uint64_t h = fold((ip | (uint64_t)att << 32) ^ x->seed, UINT64_C(0xe7037ed1a0b428db));
	const struct plain_line *l = &x->lines[(h >> 32) * x->n_lines >> 32];

	rte_prefetch0(l);
	return l;
}

static inline const struct plain_line *
plain_line_by_global(const struct plaintab *t, rte_be32_t global)
{
	return plain_line(&t->by_global, global, 0);
}

static inline const struct plain_line *
plain_line_by_ip(const struct plaintab *t, rte_be32_t ip, uint16_t att)
{
	return plain_line(&t->by_ip, ip, att);
}

/* Bit i: the line has this key in way i, and it counts. What counted when `state` was read stays as it was. */
static inline uint32_t
plain_ways(const struct plain_line *l, uint32_t state, rte_be32_t key)
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

/* att < 0: any. `state` is the line's. */
static inline const struct plain_vm *
plain_in(const struct plain_line *l, uint32_t state, rte_be32_t key, int32_t att)
{
	for (uint32_t ways = plain_ways(l, state, key); ways != 0; ways &= ways - 1) {
		const struct plain_vm *vm = &l->vm[__builtin_ctz(ways)];

		if (att < 0 || likely(vm->att == att))
			return vm;
	}
	return NULL;
}

/* Not in its own line, which is or was full. */
const struct plain_vm *plain_find_farther(
	const struct plain_index *x, const struct plain_line *l, rte_be32_t key, int32_t att);

static inline const struct plain_vm *
plain_find(const struct plain_index *x, const struct plain_line *l, rte_be32_t key, int32_t att)
{
	uint32_t state = __atomic_load_n(&l->state, __ATOMIC_ACQUIRE);
	const struct plain_vm *vm = plain_in(l, state, key, att);

	return vm == NULL && unlikely(state >> PLAIN_MORE & 1) ? plain_find_farther(x, l, key, att) : vm;
}

static inline const struct plain_vm *
plain_by_global(const struct plaintab *t, const struct plain_line *l, rte_be32_t global)
{
	return plain_find(&t->by_global, l, global, -1);
}

static inline const struct plain_vm *
plain_by_ip(const struct plaintab *t, const struct plain_line *l, rte_be32_t ip, uint16_t att)
{
	return plain_find(&t->by_ip, l, ip, att);
}
