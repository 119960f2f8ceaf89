/* SPDX-License-Identifier: BSD-3-Clause */
#include "counters.h"

#include "dp.h"
#include "loop.h"

#include <stdlib.h>

struct counters {
	struct dp *dp;
	struct traffic *base; /* by slot: when it became free, which is where its next VM begins */
};

/* Workers go on counting: each number is one that was true at some moment. */
static void
add(struct traffic *to, const struct traffic *t)
{
	to->from_packets += __atomic_load_n(&t->from_packets, __ATOMIC_RELAXED);
	to->from_bytes += __atomic_load_n(&t->from_bytes, __ATOMIC_RELAXED);
	to->to_packets += __atomic_load_n(&t->to_packets, __ATOMIC_RELAXED);
	to->to_bytes += __atomic_load_n(&t->to_bytes, __ATOMIC_RELAXED);
}

static struct traffic
sum_slot(const struct counters *c, uint32_t slot)
{
	struct traffic t = {0};

	for (uint16_t i = 0; i < c->dp->plan->n_workers; i++)
		add(&t, &loop_worker(c->dp->loops[i])->vm_traffic[slot]);
	return t;
}

static void
slot_freed(void *arg, uint32_t slot)
{
	struct counters *c = arg;

	c->base[slot] = sum_slot(c, slot);
}

struct traffic
counters_vm(const struct counters *c, const struct vm_rec *vm)
{
	const struct traffic *base = &c->base[vm->slot];
	struct traffic t = sum_slot(c, vm->slot);

	return (struct traffic){t.from_packets - base->from_packets, t.from_bytes - base->from_bytes,
		t.to_packets - base->to_packets, t.to_bytes - base->to_bytes};
}

struct traffic
counters_segment(const struct counters *c, uint16_t seg)
{
	struct traffic t = {0};

	for (uint16_t i = 0; i < c->dp->plan->n_workers; i++)
		add(&t, &loop_worker(c->dp->loops[i])->seg_traffic[seg]);
	return t;
}

struct counters *
counters_new(struct dp *dp)
{
	struct counters *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->dp = dp;
	c->base = calloc(vmtab_slots(dp->tables.vms), sizeof(*c->base));
	if (c->base == NULL) {
		free(c);
		return NULL;
	}
	vmtab_on_free(dp->tables.vms, slot_freed, c);
	return c;
}

void
counters_free(struct counters *c)
{
	if (c == NULL)
		return;
	vmtab_on_free(c->dp->tables.vms, NULL, NULL);
	free(c->base);
	free(c);
}
