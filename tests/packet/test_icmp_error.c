/* SPDX-License-Identifier: BSD-3-Clause */
/* What the router tells senders of packets it drops, and packets larger than their way's MTU. */
#include "ways.h"

#include "dataplane/icmp_error.h"

#define PUBLIC(n) IP(203, 0, 113, n)
/* From the gateway to VM 5, and from the WAN address to the user. */
#define GW_SAYS	 OWN_ICMP, .smac = MAC_GW, .dmac = MAC_VM(5), .src = GW, .dst = PRIVATE(5)
#define WAN_SAYS OWN_ICMP, TO_ISP, .src = WAN0_IP, .dst = USER
#define DF	 .frag = RTE_IPV4_HDR_DF_FLAG

/* ---- what is quoted: the packet as its sender sent it ---- */

static void
vm_whose_ttl_ends_here_gets_its_own_packet_quoted(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1);
	struct frame g = tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1, .size = 5);

	(void)state;
	vm_here(5);
	burst(DC0, f, g);
	expect_drop(DROP_TTL_EXPIRED, 2);
	expect_frame(DC0, icmp(GW_SAYS, .icmp_type = 11, QUOTE(&f)));
	expect_frame(DC0, icmp(GW_SAYS, .icmp_type = 11, QUOTE(&g)));
}

static void
user_whose_ttl_ends_here_gets_the_global_address_quoted(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, .ttl = 1);
	struct frame g =
		echo_request(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, .ttl = 1);

	(void)state;
	vm_here(5);
	burst(WAN0, f, g);
	expect_drop(DROP_TTL_EXPIRED, 2);
	expect_frame(WAN0, icmp(WAN_SAYS, .icmp_type = 11, QUOTE(&f)));
	expect_frame(WAN0, icmp(WAN_SAYS, .icmp_type = 11, QUOTE(&g)));
}

static void
hairpin_whose_ttl_ends_here_gets_both_addresses_back(void **state)
{
	struct frame f = tcp(BY_VM(5), .dst = GLOBAL(6), .sport = 1, .dport = 2, .ttl = 1);

	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0, f);
	expect_drop(DROP_TTL_EXPIRED, 1);
	expect_frame(DC0, icmp(GW_SAYS, .icmp_type = 11, QUOTE(&f)));
}

static void
transit_packet_whose_ttl_ends_here_is_answered_from_where_it_came_in(void **state)
{
	struct frame f = udp(.smac = MAC_OTHER, .dmac = MAC_WAN1, .src = USER, .dst = IP(8, 8, 8, 8),
		.sport = 1, .dport = 2, .ttl = 1);

	(void)state;
	net.topo->transit = true;
	burst(WAN1, f);
	expect_drop(DROP_TTL_EXPIRED, 1);
	expect_frame(WAN0, icmp(OWN_ICMP, TO_ISP, .src = WAN1_IP, .dst = USER, .icmp_type = 11, QUOTE(&f)));
}

static void
ttl_of_zero_ends_too(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2);

	(void)state;
	vm_here(5);
	f.b[22] = 0;
	frame_checksums(&f);
	burst(WAN0, f);
	expect_drop(DROP_TTL_EXPIRED, 1);
	expect_frame(WAN0, icmp(WAN_SAYS, .icmp_type = 11, QUOTE(&f)));
}

static void
vm_at_a_peer_is_told_through_the_tunnel(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1);

	(void)state;
	vm(.mac = MAC_VM(5), .location = R_Y, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	expect_drop(DROP_TTL_EXPIRED, 1);
	expect_tunnel(R_Y, SEG1,
		icmp(OWN_ICMP, .smac = MAC_RX, .dmac = MAC_VM(5), .src = GW, .dst = PRIVATE(5),
			.icmp_type = 11, QUOTE(&f)));
}

static void
address_that_no_vm_has_earns_host_unreachable(void **state)
{
	struct frame inside = udp(BY_VM(5), .dst = IP(10, 0, 2, 99), .sport = 1, .dport = 2);
	struct frame outside = udp(BY_ISP, .src = USER, .dst = PUBLIC(180), .sport = 1, .dport = 2);

	(void)state;
	vm_here(5);
	burst(DC0, inside);
	expect_frame(DC0, icmp(GW_SAYS, .icmp_type = 3, .icmp_code = 1, QUOTE(&inside)));
	burst(WAN0, outside);
	expect_frame(WAN0, icmp(WAN_SAYS, .icmp_type = 3, .icmp_code = 1, QUOTE(&outside)));
	expect_drop(DROP_VM_UNKNOWN, 2);
}

static void
message_quotes_no_more_than_576_bytes_hold(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1, .size = 1400),
		     cut = cut_to(f, 548);

	(void)state;
	vm_here(5);
	burst(DC0, f);
	expect_drop(DROP_TTL_EXPIRED, 1);
	expect_frame(DC0, icmp(GW_SAYS, .icmp_type = 11, QUOTE(&cut)));
}

static void
first_fragment_is_quoted_as_it_was_sent(void **state)
{
	struct frame whole = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1, .size = 200),
		     f = fragment_of(&whole, 0, 104, false);

	(void)state;
	vm_here(5);
	burst(DC0, f);
	expect_drop(DROP_TTL_EXPIRED, 1);
	expect_frame(DC0, icmp(GW_SAYS, .icmp_type = 11, QUOTE(&f)));
}

/* ---- silence ---- */

static void
nothing_is_said_about_icmp_errors_later_fragments_and_broadcasts(void **state)
{
	struct frame sent = udp(.src = GLOBAL(5), .dst = USER), got = udp(.src = USER, .dst = PRIVATE(5));
	struct frame whole = udp(BY_VM(5), .dst = USER, .ttl = 1, .size = 200);

	(void)state;
	vm_here(5);
	burst(WAN0, icmp(BY_ISP, .src = USER, .dst = GLOBAL(5), .ttl = 1, .icmp_type = 11, QUOTE(&sent)));
	burst(DC0, icmp(BY_VM(5), .dst = USER, .ttl = 1, .icmp_type = 3, QUOTE(&got)),
		fragment_of(&whole, 104, 104, true));
	expect_drop(DROP_TTL_EXPIRED, 3);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = PUBLIC(191)));
	expect_drop(DROP_VM_UNKNOWN, 1);
}

static void
nothing_is_said_where_there_is_no_address_to_say_it_from(void **state)
{
	(void)state;
	vm_here(5);
	net.topo->ports[WAN1].ip = 0;
	burst(WAN1, udp(.smac = MAC_OTHER, .dmac = MAC_WAN1, .src = USER, .dst = GLOBAL(5), .ttl = 1));
	expect_drop(DROP_TTL_EXPIRED, 1);
}

static void
messages_are_rate_limited_and_what_was_not_sent_is_counted(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .ttl = 1, .sport = 1, .dport = 2);

	(void)state;
	vm_here(5);
	for (int i = 0; i < ICMP_ERRORS_BURST + 7; i++)
		burst(WAN0, f);
	expect_drop(DROP_TTL_EXPIRED, ICMP_ERRORS_BURST + 7);
	expect_drop(DROP_ICMP_RATE, 7);
	for (int i = 0; i < ICMP_ERRORS_BURST; i++)
		expect_frame(WAN0, icmp(WAN_SAYS, .icmp_type = 11, QUOTE(&f)));
	net_advance(1);
	burst(WAN0, f);
	expect_frame(WAN0, icmp(WAN_SAYS, .icmp_type = 11, QUOTE(&f)));
	expect_drop(DROP_TTL_EXPIRED, 1);
}

/* ---- larger than the MTU, with DF ---- */

static void
vm_is_told_the_mtu_of_its_way_out(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, DF, .size = 1400), quoted = f;

	(void)state;
	vm_here(5);
	net.topo->ports[WAN0].mtu = 1300;
	burst(DC0, f);
	expect_drop(DROP_TOO_BIG, 1);
	quoted = cut_to(quoted, 548);
	expect_frame(DC0, icmp(GW_SAYS, .icmp_type = 3, .icmp_code = 4, .icmp_rest = 1300, QUOTE(&quoted)));
}

static void
user_is_told_the_mtu_of_the_tunnel(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, DF, .size = 1423),
		     quoted = f;

	(void)state;
	vm_moved_away(5, R_Y);
	burst(WAN0, f);
	expect_drop(DROP_TOO_BIG, 1);
	quoted = cut_to(quoted, 548);
	expect_frame(WAN0, icmp(WAN_SAYS, .icmp_type = 3, .icmp_code = 4, .icmp_rest = 1450, QUOTE(&quoted)));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, DF,
			    .size = 1422)); /* just fits */
	expect_tunnel(R_Y, SEG1,
		udp(.smac = MAC_RX, .dmac = MAC_VM(5), .dst = PRIVATE(5), .src = USER, .sport = 1, .dport = 2,
			DF, .size = 1422, ROUTED));
}

static void
vm_whose_frame_is_carried_is_told_the_mtu_of_the_tunnel(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, DF, .size = 1423),
		     quoted = cut_to(f, 548);

	(void)state;
	vm_at(5, R_Y);
	burst(DC0, f);
	expect_drop(DROP_TOO_BIG, 1);
	expect_frame(DC0, icmp(GW_SAYS, .icmp_type = 3, .icmp_code = 4, .icmp_rest = 1450,
				  QUOTE(&quoted))); /* where it stands */
	(void)expect_event(EVENT_VM_SEEN);
}

static void
user_is_told_the_mtu_of_the_segment(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, DF, .size = 1400),
		     quoted = f;

	(void)state;
	vm_here(5);
	net.topo->segments[SEG1].att_mtu = 1280;
	burst(WAN0, f);
	expect_drop(DROP_TOO_BIG, 1);
	quoted = cut_to(quoted, 548);
	expect_frame(WAN0, icmp(WAN_SAYS, .icmp_type = 3, .icmp_code = 4, .icmp_rest = 1280, QUOTE(&quoted)));
}

/* ---- larger than the MTU, without DF ---- */

static void
packet_without_df_goes_in_fragments(void **state)
{
	struct frame out = udp(
		TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .id = 9, .size = 1400, ROUTED);

	(void)state;
	vm_here(5);
	net.topo->ports[WAN0].mtu = 600; /* 580 of payload, 576 of it a multiple of 8 */
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .id = 9, .size = 1400));
	expect_frame(WAN0, fragment_of(&out, 0, 576, false));
	expect_frame(WAN0, fragment_of(&out, 576, 576, false));
	expect_frame(WAN0, fragment_of(&out, 1152, 256, true));
	assert_int_equal(net.w->c.made[MADE_FRAGMENT], 2);
}

static void
fragment_is_cut_further_and_keeps_its_place(void **state)
{
	struct frame in = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .id = 9, .size = 1392);
	struct frame out = udp(
		TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .id = 9, .size = 1392, ROUTED);

	(void)state;
	vm_here(5);
	net.topo->ports[WAN0].mtu = 420;
	burst(DC0, fragment_of(&in, 0, 800, false), fragment_of(&in, 800, 600, true));
	expect_frame(WAN0, fragment_of(&out, 0, 400, false));
	expect_frame(WAN0, fragment_of(&out, 400, 400, false));
	expect_frame(WAN0, fragment_of(&out, 800, 400, false));
	expect_frame(WAN0, fragment_of(&out, 1200, 200, true));
}

static void
carried_packet_without_df_goes_in_fragments(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .id = 9, .size = 1472);

	(void)state;
	vm_at(5, R_Y);
	burst(DC0, f);
	expect_tunnel(R_Y, SEG1, fragment_of(&f, 0, 1424, false));
	expect_tunnel(R_Y, SEG1, fragment_of(&f, 1424, 56, true));
}

static void
packet_to_a_vm_not_heard_yet_goes_in_fragments_everywhere(void **state)
{
	struct frame to = udp(TO_VM(5), .src = USER, .sport = 1, .dport = 2, .id = 9, .size = 1400, ROUTED);

	(void)state;
	net.topo->segments[SEG1].att_mtu = 1300;
	vm(.mac = MAC_VM(5), .att = ATT_ANY, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	burst(WAN0,
		udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, .id = 9, .size = 1400));
	expect_frame(DC0, fragment_of(&to, 0, 1280, false));
	expect_frame(DC0, fragment_of(&to, 1280, 128, true));
	expect_frame(DC1, with_vlan(fragment_of(&to, 0, 1280, false), VLAN_1B));
	expect_frame(DC1, with_vlan(fragment_of(&to, 1280, 128, true), VLAN_1B));
}

/* 20 attachments, a burst of packets for a VM that was not heard yet, and one for a VM that stands behind a narrow one. */
static void
fragments_of_others_do_not_suffer_from_copies_to_many_attachments(void **state)
{
	struct frame to = udp(TO_VM(6), .src = USER, .sport = 1, .dport = 2, .id = 9, .size = 1400, ROUTED),
		     f[RX_MAX];

	(void)state;
	net.topo->segments[SEG1].att_mtu = 1300;
	while (net.topo->segments[SEG1].n_attachments < 20)
		net.topo->segments[SEG1].attachments[net.topo->segments[SEG1].n_attachments++] = ATT_1B;
	vm_here(6);
	vm(.mac = MAC_VM(5), .att = ATT_ANY, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	for (int i = 0; i < RX_MAX - 1; i++)
		f[i] = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2);
	f[RX_MAX - 1] =
		udp(BY_ISP, .src = USER, .dst = GLOBAL(6), .sport = 1, .dport = 2, .id = 9, .size = 1400);
	net_burst(WAN0, f, RX_MAX);
	for (int i = 0; i < RX_MAX - 1; i++)
		expect_frame(DC0, udp(TO_VM(5), .src = USER, .sport = 1, .dport = 2, ROUTED));
	expect_frame(DC0, fragment_of(&to, 0, 1280, false));
	expect_frame(DC0, fragment_of(&to, 1280, 128, true));
	expect_drop(DROP_INJECT_FULL, (RX_MAX - 1) * 19 - INJECT_COPIES);
	net_forget();
}

static void
packet_that_cannot_be_cut_is_dropped(void **state)
{
	struct frame whole = udp(BY_VM(5), .dst = USER, .size = 1000), end;

	(void)state;
	vm_here(5);
	net.topo->ports[WAN0].mtu = 600;
	burst(DC0, udp(BY_VM(5), .dst = USER, .options = 4, .size = 1000));
	end = fragment_of(&whole, 0, 1000, true);
	end.b[20] = 0x1f; /* at 65,528: beyond what an offset can say */
	end.b[21] = 0xff;
	frame_checksums(&end);
	burst(DC0, end);
	expect_drop(DROP_TOO_BIG, 2);
	net.topo->ports[WAN0].mtu = 27;
	burst(DC0, udp(BY_VM(5), .dst = USER));
	expect_drop(DROP_TOO_BIG, 1);
}

static void
burst_adds_no_more_fragments_than_vectors_hold(void **state)
{
	struct frame f[RX_MAX];

	(void)state;
	vm_here(5);
	net.topo->ports[WAN0].mtu = 68;
	for (int i = 0; i < RX_MAX; i++)
		f[i] = udp(BY_VM(5), .dst = USER, .size = 1400);
	net_burst(DC0, f, RX_MAX);
	assert_int_equal(net.w->c.sent, RX_MAX + VEC_MAX - BURST_MAX);
	assert_int_not_equal(net.w->c.drop[DROP_NO_MBUF], 0);
	net_forget();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_rule(vm_whose_ttl_ends_here_gets_its_own_packet_quoted,
			"RFC 792; RFC 1812 5.3.1; RFC 1812 4.3.3.4"),
		net_rule(user_whose_ttl_ends_here_gets_the_global_address_quoted,
			"RFC 1812 5.3.1; RFC 5508 REQ-9"),
		net_rule(hairpin_whose_ttl_ends_here_gets_both_addresses_back,
			"RFC 1812 5.3.1; RFC 5508 REQ-7"),
		net_rule(transit_packet_whose_ttl_ends_here_is_answered_from_where_it_came_in,
			"RFC 1812 4.3.2.4; RFC 1812 5.3.1"),
		net_rule(ttl_of_zero_ends_too, "RFC 1812 5.3.1"),
		net_test(vm_at_a_peer_is_told_through_the_tunnel),
		net_rule(address_that_no_vm_has_earns_host_unreachable, "RFC 792; RFC 1812 5.2.7.1"),
		net_rule(message_quotes_no_more_than_576_bytes_hold, "RFC 1812 4.3.2.3"),
		net_rule(first_fragment_is_quoted_as_it_was_sent, "RFC 1122 3.2.2; RFC 1812 4.3.2.3"),
		net_rule(nothing_is_said_about_icmp_errors_later_fragments_and_broadcasts,
			"RFC 1812 4.3.2.7; RFC 1122 3.2.2"),
		net_test(nothing_is_said_where_there_is_no_address_to_say_it_from),
		net_rule(messages_are_rate_limited_and_what_was_not_sent_is_counted, "RFC 1812 4.3.2.8"),
		net_rule(vm_is_told_the_mtu_of_its_way_out, "RFC 1191 4; RFC 4787 REQ-13"),
		net_rule(user_is_told_the_mtu_of_the_tunnel, "RFC 1191 4"),
		net_rule(vm_whose_frame_is_carried_is_told_the_mtu_of_the_tunnel, "RFC 1191 4"),
		net_rule(user_is_told_the_mtu_of_the_segment, "RFC 1191 4"),
		net_rule(packet_without_df_goes_in_fragments, "RFC 791 3.2; RFC 1812 5.2.6; RFC 4787 REQ-13"),
		net_rule(fragment_is_cut_further_and_keeps_its_place, "RFC 791 3.2"),
		net_rule(carried_packet_without_df_goes_in_fragments, "RFC 791 3.2"),
		net_rule(packet_to_a_vm_not_heard_yet_goes_in_fragments_everywhere, "RFC 791 3.2"),
		net_test(fragments_of_others_do_not_suffer_from_copies_to_many_attachments),
		net_test(packet_that_cannot_be_cut_is_dropped),
		net_test(burst_adds_no_more_fragments_than_vectors_hold),
	};

	return net_main(tests);
}
