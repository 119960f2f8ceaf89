/* SPDX-License-Identifier: BSD-3-Clause */
/* test_segments.c - frames that come in several mbuf segments, and larger ones than an mbuf holds: treated as others are. */
#include "ways.h"

#define JUMBO 9000

/* Headers stand in the first segment, whatever the device makes of the rest. */
static const uint16_t pieces[] = {128, 200, 777, 1500};

#define in_pieces(i) for (size_t i = 0; i < RTE_DIM(pieces) && (net.piece = pieces[i], true); i++)

static void
jumbo_network(void)
{
	for (int i = 0; i < PORTS; i++)
		net.topo->ports[i].mtu = JUMBO + 50;
	for (int i = 0; i < SEGS; i++) {
		net.topo->segments[i].att_mtu = JUMBO;
		net.topo->segments[i].tunnel_mtu = JUMBO;
	}
}

static void
packet_in_segments_is_translated_both_ways(void **state)
{
	(void)state;
	vm_here(5);
	in_pieces(i)
	{
		burst(DC0, tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = 1400));
		expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2,
					   .size = 1400, ROUTED));
		burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 2, .dport = 1, .size = 1399));
		expect_frame(DC0, udp(TO_VM(5), .src = USER, .sport = 2, .dport = 1, .size = 1399, ROUTED));
	}
}

static void
frame_in_segments_crosses_the_tunnel_both_ways(void **state)
{
	struct frame f =
		udp(.smac = MAC_VM(5), .dmac = MAC_VM(6), .src = PRIVATE(5), .dst = PRIVATE(6), .size = 1300);
	struct frame back =
		udp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5), .size = 1300);

	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	in_pieces(i)
	{
		burst(DC0, f);
		expect_tunnel(R_Y, SEG1, f);
		burst(WAN0, from_tunnel(R_Y, SEG1, back));
		expect_frame(DC0, back);
	}
}

static void
outer_checksum_over_segments_is_verified(void **state)
{
	struct frame inner =
		udp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5), .size = 1301);
	struct frame f = from_tunnel(R_Y, SEG1, inner);

	(void)state;
	vm_here(5);
	f.b[40] = 1; /* no longer zero: the builder fills in the right one */
	frame_checksums(&f);
	in_pieces(i)
	{
		burst(WAN0, f);
		expect_frame(DC0, inner);
	}
	f.b[f.len - 1] ^= 1;
	burst(WAN0, f);
	expect_drop(DROP_VXLAN_MALFORMED, 1);
}

static void
flooded_frame_in_segments_is_copied_whole(void **state)
{
	struct frame f = ether(0x88b5, .smac = MAC_HOST(1), .dmac = MAC_ALL, .size = 1400);

	(void)state;
	in_pieces(i)
	{
		burst(DC0, f);
		expect_frame(DC1, with_vlan(f, VLAN_1B));
		expect_tunnel(R_Y, SEG1, f);
		expect_tunnel(R_Z, SEG1, f);
	}
}

static void
echo_in_segments_is_answered(void **state)
{
	(void)state;
	in_pieces(i)
	{
		burst(WAN0, echo_request(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 1, .dport = 1,
				    .size = 1400));
		expect_frame(WAN0, echo_reply(TO_ISP, .src = WAN0_IP, .dst = USER, .sport = 1, .dport = 1,
					   .size = 1400));
	}
}

static void
packet_in_segments_is_quoted_as_far_as_576_bytes_go(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .ttl = 1, .size = 1400);

	(void)state;
	vm_here(5);
	in_pieces(i)
	{
		burst(DC0, f);
		expect_drop(DROP_TTL_EXPIRED, 1);
		expect_frame(DC0, icmp(OWN_ICMP, TO_VM(5), .src = GW, .icmp_type = 11, .data = packet_of(&f),
					  .size = 576 - 28));
	}
}

static void
packet_in_segments_goes_in_fragments(void **state)
{
	struct frame want =
		udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .size = 1400, ROUTED);

	(void)state;
	vm_here(5);
	net.topo->ports[WAN0].mtu = 620;
	in_pieces(i)
	{
		burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = 1400));
		expect_frame(WAN0, fragment_of(&want, 0, 600, false));
		expect_frame(WAN0, fragment_of(&want, 600, 600, false));
		expect_frame(WAN0, fragment_of(&want, 1200, 208, true));
	}
}

static void
padding_in_a_segment_of_its_own_is_taken_off(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = 86); /* 128 bytes */

	(void)state;
	vm_here(5);
	net.piece = 128;
	memset(f.b + f.len, 0xee, 300);
	f.len += 300;
	burst(DC0, f);
	expect_frame(
		WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .size = 86, ROUTED));
}

/* A device that splits there is not for routing; what it gives is dropped by name all the same. */
static void
header_that_is_split_between_segments_is_dropped(void **state)
{
	(void)state;
	vm_here(5);
	net.piece = 30;
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5)));
	expect_drop(DROP_TOO_SHORT, 1);
	net.piece = 36;
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5)));
	expect_drop(DROP_NAT_TRUNCATED, 1);
}

static void
jumbo_packet_is_translated_both_ways(void **state)
{
	(void)state;
	vm_here(5);
	jumbo_network();
	burst(DC0, tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = JUMBO - 40));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2,
				   .size = JUMBO - 40, ROUTED));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 2, .dport = 1, .size = JUMBO - 28));
	expect_frame(DC0, udp(TO_VM(5), .src = USER, .sport = 2, .dport = 1, .size = JUMBO - 28, ROUTED));
}

static void
jumbo_frame_crosses_the_tunnel_both_ways(void **state)
{
	struct frame f = udp(.smac = MAC_VM(5), .dmac = MAC_VM(6), .src = PRIVATE(5), .dst = PRIVATE(6),
		.size = JUMBO - 28);
	struct frame back = udp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5),
		.size = JUMBO - 28);

	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	jumbo_network();
	burst(DC0, f);
	expect_tunnel(R_Y, SEG1, f);
	burst(WAN0, from_tunnel(R_Y, SEG1, back));
	expect_frame(DC0, back);
}

static void
jumbo_packet_goes_in_fragments_where_the_way_is_narrow(void **state)
{
	struct frame want =
		udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .size = 4000, ROUTED);

	(void)state;
	vm_here(5);
	jumbo_network();
	net.topo->ports[WAN0].mtu = 1500;
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = 4000));
	expect_frame(WAN0, fragment_of(&want, 0, 1480, false));
	expect_frame(WAN0, fragment_of(&want, 1480, 1480, false));
	expect_frame(WAN0, fragment_of(&want, 2960, 1048, true));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(packet_in_segments_is_translated_both_ways),
		net_test(frame_in_segments_crosses_the_tunnel_both_ways),
		net_rule(outer_checksum_over_segments_is_verified, "RFC 7348 5; RFC 1071"),
		net_test(flooded_frame_in_segments_is_copied_whole),
		net_rule(echo_in_segments_is_answered, "RFC 1812 4.3.3.6"),
		net_rule(packet_in_segments_is_quoted_as_far_as_576_bytes_go, "RFC 1812 4.3.2.3"),
		net_rule(packet_in_segments_goes_in_fragments, "RFC 791 3.2"),
		net_rule(padding_in_a_segment_of_its_own_is_taken_off, "RFC 894"),
		net_test(header_that_is_split_between_segments_is_dropped),
		net_test(jumbo_packet_is_translated_both_ways),
		net_test(jumbo_frame_crosses_the_tunnel_both_ways),
		net_rule(jumbo_packet_goes_in_fragments_where_the_way_is_narrow, "RFC 791 3.2"),
	};

	return net_main(tests);
}
