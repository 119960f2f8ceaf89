/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_arp.c - ARP and RARP of everybody about everybody, on DC ports, WAN ports and through the tunnel. */
#include "fuzz.h"

static struct rte_ether_addr
mac(struct input *in)
{
	const struct rte_ether_addr macs[] = {MAC_VM(5), MAC_VM(6), MAC_VM(7), MAC_VM(8), MAC_VM(9),
		MAC_VM(11), MAC_VM(12), MAC_HOST(1), MAC_HOST(2), MAC_HOST(3), MAC_GW, MAC_RX, MAC_RY,
		MAC_ISP, MAC_ALL, MAC_NONE};

	return macs[fuzz_byte(in) % RTE_DIM(macs)];
}

static rte_be32_t
ip_of(struct input *in)
{
	const rte_be32_t ips[] = {PRIVATE(5), PRIVATE(6), PRIVATE(7), PRIVATE(8), PRIVATE(9), PRIVATE(10),
		PRIVATE(20), IP(10, 0, 2, 12), IP(203, 0, 113, 139), GW, GW2, GW3, WAN0_IP, ISP, GLOBAL(70),
		0};

	return ips[fuzz_byte(in) % RTE_DIM(ips)];
}

void
fuzz_frames(struct input *in)
{
	struct arrival a = fuzz_arrival(in);
	uint8_t kind = fuzz_byte(in), reach = fuzz_byte(in);
	struct arp_spec s = {.op = kind & 7, .rarp = kind & 8};
	struct frame f;

	s.dmac = mac(in);
	s.sha = mac(in);
	s.tha = mac(in);
	s.spa = ip_of(in);
	s.tpa = ip_of(in);
	f = frame_arp(&s);
	fuzz_xor(in, &f, 0);
	f.len = (uint16_t)(f.len - RTE_MIN(reach, f.len));
	if (kind & 16) {
		f = from_tunnel(kind & 32 ? R_Y : R_Z, SEG1, f);
		a.port = WAN0;
		a.vlan = 0;
	}
	fuzz_receive(&a, &f);
}
