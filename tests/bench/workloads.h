/* SPDX-License-Identifier: BSD-3-Clause */
/* workloads.h - what the router is measured with, in process and on a transport: frames, each of another VM, in an order that is
 * random and always the same. */
#pragma once

#include "frames.h"

#define WORKLOADS     8
#define WORKLOADS_MIX 20

struct workload {
	const char *id, *name;
	enum rig_set set;
	uint32_t sessions; /* of the VMs that drain */
	uint32_t n;	   /* ways, in turn */
	enum rig_way way[WORKLOADS_MIX];
};

extern const struct workload workloads[WORKLOADS];

struct load { /* a workload at one number of VMs */
	const struct workload *kind;
	uint32_t vms, active; /* those that speak */
	uint32_t *order;      /* VMs that speak, shuffled */
};

/* 0, or -ENOMEM. */
int load_init(struct load *l, const struct workload *kind, uint32_t vms);
void load_fini(struct load *l);
/* Frame number `k`, all but `mark` and `data`. */
void load_frame(const struct load *l, uint64_t k, struct rig_frame *f);

/* The VMs that drain have so many sessions each. */
uint32_t load_sessions(const struct load *l);
/* Frame number `k` of those that note all of them; false: there are no more. */
bool load_teach(const struct load *l, uint64_t k, struct rig_frame *f);
