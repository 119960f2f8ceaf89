/* SPDX-License-Identifier: BSD-3-Clause */
#include "way.h"

#define FIRST_VM 5 /* of those that fuzz.c registers in SEG1, one after another */
#define VMS	 5

static rte_be32_t
remote_of(uint8_t which)
{
	const rte_be32_t ips[] = {USER, IP(192, 0, 2, 200), GLOBAL(5), GLOBAL(6), PRIVATE(8), ISP,
		IP(203, 0, 113, 139), IP(10, 0, 2, 12)};

	return ips[which % RTE_DIM(ips)];
}

struct way
way_of(struct input *in, struct spec *s, struct arrival *a)
{
	uint8_t how = fuzz_byte(in), who = fuzz_byte(in), n = FIRST_VM + who % VMS;
	struct way y = {.from_vm = how & 1, .tunnel = how & 2, .router = how & 4 ? R_Y : R_Z};
	const struct rte_ether_addr router = y.router == R_Y ? MAC_RY : MAC_RZ;
	rte_be32_t remote = remote_of(how >> 4);

	a->port = y.tunnel || !y.from_vm ? WAN0 : DC0;
	a->vlan = 0;
	if (y.from_vm) {
		s->smac = MAC_VM(n);
		s->dmac = MAC_GW;
		s->src = PRIVATE(n);
		s->dst = remote;
	} else {
		s->smac = y.tunnel ? router : MAC_ISP;
		s->dmac = y.tunnel ? MAC_VM(n) : MAC_WAN0;
		s->src = remote;
		s->dst = y.tunnel ? PRIVATE(n) : GLOBAL(n);
	}
	if (y.from_vm && (how & 8) && !y.tunnel) {
		a->port = DC1;
		a->vlan = VLAN_1B;
	}
	return y;
}

void
way_receive(const struct way *y, const struct arrival *a, struct frame *f)
{
	struct frame outer;

	if (!y->tunnel) {
		fuzz_receive(a, f);
		return;
	}
	outer = from_tunnel(y->router, SEG1, *f);
	fuzz_receive(a, &outer);
}

struct spec
way_back(const struct spec *s)
{
	return (struct spec){.src = s->dst, .dst = s->src, .sport = s->dport, .dport = s->sport};
}
