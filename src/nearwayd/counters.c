/* SPDX-License-Identifier: BSD-3-Clause */
#include "counters.h"

#include "dp.h"
#include "loop.h"

#include <dataplane/traffic.h>

#include <stdlib.h>

struct counters {
	struct dp *dp;
	struct traffic *base; /* by slot: when it became free, which is where its next VM begins */
};

static void
add(struct traffic *to, struct traffic t)
{
	to->from_packets += t.from_packets;
	to->from_bytes += t.from_bytes;
	to->to_packets += t.to_packets;
	to->to_bytes += t.to_bytes;
}

static struct traffic
sum_slot(const struct counters *c, uint32_t slot)
{
	struct traffic t = {0};

	for (uint16_t i = 0; i < c->dp->plan->n_workers; i++)
		add(&t, traffic_of_vm(loop_worker(c->dp->loops[i]), slot));
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

static struct fwd_round_trip
round_trip(const struct rtt_times *v, enum rtt_way way)
{
	uint64_t to_remote, to_vm;
	struct fwd_round_trip t = {.to_remote_us = rtt_median(v, way, RTT_REMOTE, &to_remote),
		.to_vm_us = rtt_median(v, way, RTT_VM, &to_vm)};

	t.samples = RTE_MIN(to_remote, to_vm);
	return t;
}

struct fwd_round_trips
counters_round_trips(const struct counters *c, const struct vm_rec *vm)
{
	const struct rtt_times *v = rtt_of(c->dp->tables.rtt, vm->slot);

	if (v == NULL)
		return (struct fwd_round_trips){0};
	return (struct fwd_round_trips){.near = round_trip(v, RTT_NEAR), .old = round_trip(v, RTT_OLD)};
}

struct traffic
counters_segment(const struct counters *c, uint16_t seg)
{
	struct traffic t = {0};

	for (uint16_t i = 0; i < c->dp->plan->n_workers; i++)
		add(&t, traffic_of_segment(loop_worker(c->dp->loops[i]), seg));
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
