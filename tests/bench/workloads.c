/* SPDX-License-Identifier: BSD-3-Clause */
#include "workloads.h"

#include <errno.h>
#include <stdlib.h>

/* In the order in which they run: W8 is W5 of VMs that drain, and W7 leaves its sessions behind. W6: 70 % NAT, both ways, 25 % tunnel, both ways, and one of an echo, an ARP request and junk. */
const struct workload workloads[WORKLOADS] = {
	{"W1", "NAT downlink", RIG_HERE, 0, 1, {RIG_DOWNLINK}},
	{"W2", "NAT uplink", RIG_HERE, 0, 1, {RIG_UPLINK}},
	{"W3", "VXLAN encap", RIG_PAIRS, 0, 1, {RIG_BRIDGED}},
	{"W4", "VXLAN decap", RIG_PAIRS, 0, 1, {RIG_TUNNEL}},
	{"W5", "NAT + encap", RIG_TROMBONE, 0, 1, {RIG_DOWNLINK}},
	{"W8", "NAT + encap, drained", RIG_AWAY, 0, 1, {RIG_DOWNLINK}},
	{"W6", "mixed", RIG_PAIRS, 0, WORKLOADS_MIX,
		{RIG_DOWNLINK, RIG_UPLINK, RIG_BRIDGED, RIG_UPLINK, RIG_DOWNLINK, RIG_TUNNEL, RIG_DOWNLINK,
			RIG_UPLINK, RIG_UPLINK, RIG_BRIDGED, RIG_DOWNLINK, RIG_DOWNLINK, RIG_UPLINK,
			RIG_TUNNEL, RIG_UPLINK, RIG_DOWNLINK, RIG_BRIDGED, RIG_UPLINK, RIG_DOWNLINK,
			RIG_ECHO}},
	{"W7", "drain", RIG_DRAINING, 1000000, 1, {RIG_SESSION}},
};

static void
shuffle(uint32_t *v, uint32_t n)
{
	uint64_t s = 88172645463325252u;

	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t j, t;

		s ^= s << 13;
		s ^= s >> 7;
		s ^= s << 17;
		j = (uint32_t)(s % (i + 1));
		t = v[i];
		v[i] = v[j];
		v[j] = t;
	}
}

/* Of pairs the even ones speak: the others stand at the peer. */
int
load_init(struct load *l, const struct workload *kind, uint32_t vms)
{
	uint32_t step = kind->set == RIG_PAIRS ? 2 : 1;

	l->kind = kind;
	l->vms = vms;
	l->active = RTE_MAX(vms / step, 1u);
	l->order = malloc(l->active * sizeof(*l->order));
	if (l->order == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < l->active; i++)
		l->order[i] = i * step;
	shuffle(l->order, l->active);
	return 0;
}

void
load_fini(struct load *l)
{
	free(l->order);
}

/* Way number k of the workload; the last one of the mix is each kind in turn. */
static enum rig_way
way_of(const struct workload *load, uint64_t k)
{
	static const enum rig_way rare[] = {RIG_ECHO, RIG_ARP, RIG_JUNK};
	enum rig_way way = load->way[k % load->n];

	return way == RIG_ECHO ? rare[k / load->n % RTE_DIM(rare)] : way;
}

/* Pairs take a second one, also where one alone speaks. */
static uint32_t
vms_of(const struct load *l)
{
	return RTE_MAX(l->vms, 2u);
}

void
load_frame(const struct load *l, uint64_t k, struct rig_frame *f)
{
	f->way = way_of(l->kind, k);
	f->vm = l->order[k % l->active];
	f->vms = vms_of(l);
	f->seq = f->way == RIG_SESSION ? k * 2654435761u % UINT32_MAX % load_sessions(l) : k % 32;
}

uint32_t
load_sessions(const struct load *l)
{
	return RTE_MAX(l->kind->sessions / ((l->vms + 1) / 2), 1u);
}

bool
load_teach(const struct load *l, uint64_t k, struct rig_frame *f)
{
	uint32_t each = load_sessions(l);

	*f = (struct rig_frame){
		.way = RIG_TEACH, .vm = (uint32_t)(k / each * 2), .vms = vms_of(l), .seq = k % each};
	return l->kind->sessions != 0 && f->vm < l->vms;
}
