/* SPDX-License-Identifier: BSD-3-Clause */
/* RFC 7348 both ways. */
#include "harness.h"

#include <stdlib.h>

#define OUTER_IP  14
#define OUTER_UDP 34
#define OUTER_VX  42

static struct frame
inner(void)
{
	return udp(.smac = MAC_VM(9), .dmac = MAC_VM(5), .src = PRIVATE(9), .dst = PRIVATE(5), .sport = 7,
		.dport = 8);
}

/* A VXLAN packet of R_Y whose byte `at` was changed; the IPv4 header checksum is right. */
static struct frame
poked(uint16_t at, uint8_t value)
{
	struct frame f = from_tunnel(R_Y, SEG1, inner());

	f.b[at] = value;
	frame_checksums(&f);
	return f;
}

static void
a_frame_from_a_peer_reaches_the_vm(void **state)
{
	(void)state;
	vm_here(5);
	vm_at(9, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, inner()));
	expect_frame(DC0, inner());
}

static void
reserved_bits_of_the_vxlan_header_are_ignored(void **state)
{
	struct frame f;

	(void)state;
	vm_here(5);
	f = poked(OUTER_VX, 0xff);
	memset(f.b + OUTER_VX + 1, 0xff, 3);
	f.b[OUTER_VX + 7] = 0xff;
	burst(WAN0, f);
	expect_frame(DC0, inner());
}

static void
a_vxlan_header_without_the_i_flag_is_dropped(void **state)
{
	(void)state;
	burst(WAN0, poked(OUTER_VX, 0xf7));
	expect_drop(DROP_VXLAN_MALFORMED, 1);
}

static void
a_packet_too_short_for_a_vxlan_header_is_dropped(void **state)
{
	(void)state;
	for (uint16_t n = 1; n < 8; n++)
		burst(WAN0, udp(.smac = MAC_ISP, .dmac = MAC_WAN0, .src = VTEP_Y, .dst = WAN0_IP,
				    .dport = 4789, .size = n));
	expect_drop(DROP_VXLAN_MALFORMED, 7);
}

static void
an_outer_udp_length_other_than_the_packet_s_is_dropped(void **state)
{
	(void)state;
	burst(WAN0, poked(OUTER_UDP + 5, 15), poked(OUTER_UDP + 4, 0xff));
	expect_drop(DROP_VXLAN_MALFORMED, 2);
}

static void
a_right_outer_udp_checksum_is_accepted_and_a_wrong_one_dropped(void **state)
{
	struct frame f = poked(OUTER_UDP + 6, 1), bad = f;

	(void)state;
	vm_here(5);
	bad.b[OUTER_UDP + 7] ^= 1;
	burst(WAN0, f, bad);
	expect_frame(DC0, inner());
	expect_drop(DROP_VXLAN_MALFORMED, 1);
}

static void
padding_behind_the_outer_packet_is_cut_off(void **state)
{
	struct frame f = from_tunnel(R_Y, SEG1, inner());

	(void)state;
	vm_here(5);
	f.len += 12;
	burst(WAN0, f);
	expect_frame(DC0, inner());
}

static void
a_stranger_s_tunnel_packet_is_dropped(void **state)
{
	struct frame in = inner();

	(void)state;
	burst(WAN0,
		vxlan_frame(&(struct spec){.smac = MAC_ISP, .dmac = MAC_WAN0, .src = USER, .dst = WAN0_IP},
			VNI(SEG1), &in));
	expect_drop(DROP_VTEP_UNKNOWN, 1);
}

static void
a_vni_that_no_segment_has_is_dropped(void **state)
{
	(void)state;
	burst(WAN0, poked(OUTER_VX + 4, 1));
	expect_drop(DROP_VNI_UNKNOWN, 1);
}

static void
an_inner_vlan_tag_is_dropped(void **state)
{
	struct frame q = inner(), s = inner();

	(void)state;
	q.b[12] = 0x81, q.b[13] = 0;
	s.b[12] = 0x88, s.b[13] = 0xa8;
	burst(WAN0, from_tunnel(R_Y, SEG1, q), from_tunnel(R_Y, SEG1, s));
	expect_drop(DROP_INNER_VLAN, 2);
}

static void
an_inner_frame_shorter_than_ethernet_is_dropped(void **state)
{
	struct frame in = inner();

	(void)state;
	in.len = 13;
	burst(WAN0, from_tunnel(R_Y, SEG1, in));
	expect_drop(DROP_TOO_SHORT, 1);
}

static void
a_frame_to_a_vm_of_a_peer_is_tunnelled_to_its_owner(void **state)
{
	(void)state;
	vm_here(5);
	vm_at(9, R_Z);
	burst(DC0, udp(.smac = MAC_VM(5), .dmac = MAC_VM(9), .src = PRIVATE(5), .dst = PRIVATE(9), .sport = 8,
			   .dport = 7));
	expect_tunnel(R_Z, SEG1,
		udp(.smac = MAC_VM(5), .dmac = MAC_VM(9), .src = PRIVATE(5), .dst = PRIVATE(9), .sport = 8,
			.dport = 7));
}

static void
packets_of_one_flow_share_the_outer_source_port_and_flows_differ(void **state)
{
	uint16_t port[20];
	int different = 0;

	(void)state;
	vm_here(5);
	vm_at(9, R_Y);
	for (uint16_t i = 0; i < RTE_DIM(port); i++) {
		struct frame a = udp(.smac = MAC_VM(5), .dmac = MAC_VM(9), .src = PRIVATE(5),
			.dst = PRIVATE(9), .sport = i, .dport = 7);
		struct frame b = udp(.smac = MAC_VM(5), .dmac = MAC_VM(9), .src = PRIVATE(5),
			.dst = PRIVATE(9), .sport = i, .dport = 7, .size = 100);

		burst(DC0, a, b);
		port[i] = expect_tunnel(R_Y, SEG1, a);
		assert_int_equal(port[i], expect_tunnel(R_Y, SEG1, b));
		different += i > 0 && port[i] != port[i - 1];
	}
	assert_true(different > 15);
}

static void
all_fragments_of_a_packet_share_the_outer_source_port(void **state)
{
	struct frame first = udp(.smac = MAC_VM(5), .dmac = MAC_VM(9), .src = PRIVATE(5), .dst = PRIVATE(9),
		.sport = 1, .dport = 2, .frag = RTE_IPV4_HDR_MF_FLAG);
	struct frame later = ip(.smac = MAC_VM(5), .dmac = MAC_VM(9), .src = PRIVATE(5), .dst = PRIVATE(9),
		.proto = IPPROTO_UDP, .frag = 2);
	uint16_t port;

	(void)state;
	vm_here(5);
	vm_at(9, R_Y);
	burst(DC0, first, later);
	port = expect_tunnel(R_Y, SEG1, first);
	assert_int_equal(port, expect_tunnel(R_Y, SEG1, later));
}

static void
a_frame_larger_than_the_tunnel_s_mtu_is_dropped(void **state)
{
	struct frame fits = ip(.smac = MAC_VM(5), .dmac = MAC_VM(9), .src = PRIVATE(5), .dst = PRIVATE(9),
		.proto = 99, .size = 1430);
	struct frame big = ip(.smac = MAC_VM(5), .dmac = MAC_VM(9), .src = PRIVATE(5), .dst = PRIVATE(9),
		.proto = 99, .size = 1431);

	(void)state;
	vm_here(5);
	vm_at(9, R_Y);
	burst(DC0, fits, big);
	expect_tunnel(R_Y, SEG1, fits);
	expect_drop(DROP_TOO_BIG, 1);
}

static void
mutated_tunnel_packets_end_in_frames_or_named_drops(void **state)
{
	struct frame seeds[4];

	(void)state;
	net.broken = true;
	vm_here(5);
	vm_at(9, R_Y);
	vm_moved_here(6, R_Y);
	seeds[0] = from_tunnel(R_Y, SEG1, inner());
	seeds[1] = from_tunnel(
		R_Y, SEG1, arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(9), .spa = PRIVATE(9), .tpa = GW));
	seeds[2] = from_tunnel(R_Y, SEG1,
		tcp(.smac = MAC_RY, .dmac = MAC_VM(6), .src = USER, .dst = PRIVATE(6), .flags = 2,
			.mss = 1460));
	seeds[3] = from_tunnel(
		R_Y, SEG1, udp(.smac = MAC_VM(9), .dmac = MAC_GW, .src = PRIVATE(9), .dst = USER));
	srandom(7348);
	for (int i = 0; i < 50000; i++) {
		struct frame f = seeds[random() % 4];

		for (long k = random() % 4; k >= 0; k--)
			f.b[OUTER_IP + random() % (f.len - OUTER_IP)] = (uint8_t)random();
		if (random() % 4 == 0)
			f.len = (uint16_t)(random() % f.len);
		if (random() % 2 == 0 && f.len >= OUTER_UDP &&
			f.b[OUTER_IP] == 0x45) { /* past classify's checks */
			uint16_t total = (uint16_t)(f.len - OUTER_IP);

			f.b[16] = (uint8_t)(total >> 8), f.b[17] = (uint8_t)total;
			frame_checksums(&f);
		}
		net_same_either_way(WAN0, &f, 1);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		net_rule(a_frame_from_a_peer_reaches_the_vm, "RFC 7348 4.1; RFC 7348 5"),
		net_rule(reserved_bits_of_the_vxlan_header_are_ignored, "RFC 7348 5"),
		net_rule(a_vxlan_header_without_the_i_flag_is_dropped, "RFC 7348 5"),
		net_rule(a_packet_too_short_for_a_vxlan_header_is_dropped, "RFC 7348 5"),
		net_rule(an_outer_udp_length_other_than_the_packet_s_is_dropped, "RFC 768"),
		net_rule(a_right_outer_udp_checksum_is_accepted_and_a_wrong_one_dropped, "RFC 7348 5"),
		net_rule(padding_behind_the_outer_packet_is_cut_off, "RFC 894"),
		net_rule(a_stranger_s_tunnel_packet_is_dropped, "RFC 7348 7"),
		net_rule(a_vni_that_no_segment_has_is_dropped, "RFC 7348 4.1"),
		net_rule(an_inner_vlan_tag_is_dropped, "RFC 7348 6.1"),
		net_rule(an_inner_frame_shorter_than_ethernet_is_dropped, "RFC 7348 5"),
		net_rule(a_frame_to_a_vm_of_a_peer_is_tunnelled_to_its_owner, "RFC 7348 5; RFC 6864 4.1"),
		net_rule(packets_of_one_flow_share_the_outer_source_port_and_flows_differ, "RFC 7348 5"),
		net_rule(all_fragments_of_a_packet_share_the_outer_source_port, "RFC 7348 5"),
		net_rule(a_frame_larger_than_the_tunnel_s_mtu_is_dropped, "RFC 7348 4.3"),
		net_test(mutated_tunnel_packets_end_in_frames_or_named_drops),
	};

	return net_main(tests);
}
