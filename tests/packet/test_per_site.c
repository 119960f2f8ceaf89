/* SPDX-License-Identifier: BSD-3-Clause */
/* Per-site gateway MACs, and a segment that somebody else stretches, which needs them. In SEG1 R_Y's gateway is MAC_GWY. */
#include "harness.h"
#include "ways.h"

static struct frame
from_to(struct rte_ether_addr from, struct rte_ether_addr to)
{
	return ether(0x88b5, .smac = from, .dmac = to);
}

static void
per_site(void)
{
	net.topo->segments[SEG1].per_site = true;
	net.topo->segments[SEG1].peer_mac[R_Y] = MAC_GWY;
}

static void
external(void)
{
	per_site();
	net.topo->segments[SEG1].external = true;
}

static struct frame
asks_gateway(uint8_t n)
{
	return arp_frame(.sha = MAC_VM(n), .dmac = MAC_ALL, .spa = PRIVATE(n), .tpa = GW);
}

/* ---- per-site MACs on our own extension ---- */

static void
a_vm_of_ours_learns_our_mac(void **state)
{
	(void)state;
	per_site();
	vm_here(5);
	burst(DC0, asks_gateway(5));
	expect_frame(DC0, arp_frame(.sha = MAC_GW, .dmac = MAC_VM(5), .op = RTE_ARP_OP_REPLY, .spa = GW,
				  .tha = MAC_VM(5), .tpa = PRIVATE(5)));
}

static void
a_peer_s_vm_learns_its_owner_s_mac_through_us(void **state)
{
	(void)state;
	per_site();
	vm_at(9, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1,
			    arp_frame(.smac = MAC_RY, .dmac = MAC_VM(9), .op = RTE_ARP_OP_REPLY,
				    .sha = MAC_GWY, .spa = GW, .tha = MAC_VM(9), .tpa = PRIVATE(9))));
	for (int port = DC0; port <= DC1; port++)
		expect_frame((uint16_t)port,
			arp_frame(.smac = MAC_GW, .dmac = MAC_VM(9), .vlan = port == DC1 ? VLAN_1B : 0,
				.op = RTE_ARP_OP_REPLY, .sha = MAC_GWY, .spa = GW, .tha = MAC_VM(9),
				.tpa = PRIVATE(9)));
}

static void
an_answer_with_another_site_s_mac_is_not_the_owner_s(void **state)
{
	(void)state;
	per_site();
	vm_at(9, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1,
			    arp_frame(.smac = MAC_RY, .dmac = MAC_VM(9), .op = RTE_ARP_OP_REPLY,
				    .sha = MAC_GW, .spa = GW, .tha = MAC_VM(9), .tpa = PRIVATE(9))));
	expect_drop(DROP_GW_ARP_SUPPRESSED, 1);
}

static void
a_vm_that_moved_here_may_go_on_using_the_old_site_s_mac(void **state)
{
	(void)state;
	per_site();
	vm_here(5);
	burst(DC0, udp(.smac = MAC_VM(5), .dmac = MAC_GWY, .src = PRIVATE(5), .dst = USER, .sport = 9,
			   .dport = 53));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, ROUTED));
}

static void
what_is_carried_to_the_owner_keeps_the_mac_that_the_vm_knows(void **state)
{
	struct frame f = udp(.smac = MAC_VM(9), .dmac = MAC_GW, .src = PRIVATE(9), .dst = USER, .sport = 9,
		.dport = 53);
	struct frame g = udp(.smac = MAC_VM(5), .dmac = MAC_GWY, .src = PRIVATE(5), .dst = USER, .sport = 9,
		.dport = 53);

	(void)state;
	per_site();
	vm_at(9, R_Y);
	vm_here(5);
	burst(DC0, f);
	expect_tunnel(R_Y, SEG1, f);
	burst(WAN0, from_tunnel(R_Y, SEG1, g));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, ROUTED));
}

static void
a_peer_s_gateway_at_our_attachment_is_a_loop(void **state)
{
	(void)state;
	per_site();
	burst(DC0, from_to(MAC_GWY, MAC_VM(5)));
	expect_drop(DROP_LOOP, 1);
	expect_event(EVENT_LOOP);
}

static void
no_gateway_s_mac_comes_out_of_the_tunnel(void **state)
{
	(void)state;
	per_site();
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_GWY, MAC_VM(5))),
		from_tunnel(R_Y, SEG1, from_to(MAC_GW, MAC_VM(5))));
	expect_drop(DROP_SRC_MAC_INVALID, 2);
}

static void
with_one_shared_mac_another_one_is_a_stranger(void **state)
{
	(void)state;
	burst(DC0, arp_frame(.sha = MAC_GWY, .dmac = MAC_ALL, .spa = GW, .tpa = GW));
	expect_drop(DROP_GW_CONFLICT, 1);
	expect_event(EVENT_CONFLICT);
	net_forget();
}

/* ---- a segment that somebody else stretches ---- */

static void
an_external_segment_is_not_flooded_through_our_tunnel(void **state)
{
	(void)state;
	external();
	vm_at(9, R_Y);
	burst(DC0, from_to(MAC_HOST(1), MAC_ALL), from_to(MAC_HOST(1), MAC_HOST(7)),
		from_to(MAC_HOST(1), MAC_VM(9)));
	expect_frame(DC1, with_vlan(from_to(MAC_HOST(1), MAC_ALL), VLAN_1B));
	expect_frame(DC1, with_vlan(from_to(MAC_HOST(1), MAC_HOST(7)), VLAN_1B));
	expect_frame(DC1, with_vlan(from_to(MAC_HOST(1), MAC_VM(9)), VLAN_1B));
}

static void
the_tunnel_of_an_external_segment_carries_gateway_and_home_frames_only(void **state)
{
	struct frame home = udp(.smac = MAC_RY, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5));
	struct frame carried = udp(.smac = MAC_VM(5), .dmac = MAC_GWY, .src = PRIVATE(5), .dst = USER,
		.sport = 9, .dport = 53);

	(void)state;
	external();
	vm_here(5);
	burst(WAN0, from_tunnel(R_Y, SEG1, home));
	expect_frame(DC0, udp(.smac = MAC_GW, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5)));
	burst(WAN0, from_tunnel(R_Y, SEG1, carried));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, ROUTED));
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_HOST(1), MAC_VM(5))),
		from_tunnel(R_Y, SEG1, from_to(MAC_HOST(1), MAC_ALL)),
		from_tunnel(R_Y, SEG1, asks_gateway(5)));
	expect_drop(DROP_EXTERNAL, 3);
	expect_no_event(EVENT_MAC_LEARN);
}

static void
group_members_do_not_contend_on_an_external_segment(void **state)
{
	(void)state;
	external();
	burst(DC0, arp_frame(.sha = MAC_GWY, .dmac = MAC_ALL, .spa = GW, .tpa = GW),
		arp_frame(.sha = MAC_GWY, .dmac = MAC_VM(9), .op = RTE_ARP_OP_REPLY, .spa = GW,
			.tha = MAC_VM(9), .tpa = PRIVATE(9)));
	expect_drop(DROP_GW_ARP_SUPPRESSED, 2);
	expect_no_event(EVENT_CONFLICT);
}

static void
a_stranger_contends_there_as_anywhere(void **state)
{
	(void)state;
	external();
	burst(DC0, arp_frame(.sha = MAC_HOST(1), .dmac = MAC_ALL, .spa = GW, .tpa = GW));
	expect_drop(DROP_GW_CONFLICT, 1);
	expect_event(EVENT_CONFLICT);
	net_forget();
}

static void
a_probe_of_a_peer_s_gateway_passes_an_external_segment(void **state)
{
	struct frame probe = arp_frame(.sha = MAC_GWY, .dmac = MAC_ALL, .spa = 0, .tpa = PRIVATE(9));

	(void)state;
	external();
	burst(DC0, probe);
	expect_frame(DC1, with_vlan(probe, VLAN_1B));
}

static void
a_vm_of_a_peer_at_our_attachment_is_no_news_on_an_external_segment(void **state)
{
	(void)state;
	external();
	vm_at(9, R_Y);
	burst(DC0, arp_frame(.sha = MAC_VM(9), .dmac = MAC_ALL, .spa = PRIVATE(9), .tpa = PRIVATE(200)));
	expect_no_event(EVENT_VM_SEEN);
	net_forget();
}

static void
only_the_owner_answers_for_the_gateway_and_nobody_carries_the_question(void **state)
{
	(void)state;
	external();
	vm_at(9, R_Y);
	burst(DC0, asks_gateway(9));
	expect_drop(DROP_GW_ARP_OWNER_ELSE, 1);
}

static void
a_frame_to_another_site_s_gateway_is_left_to_it_on_an_external_segment(void **state)
{
	struct frame f = udp(.smac = MAC_VM(5), .dmac = MAC_GWY, .src = PRIVATE(5), .dst = USER, .sport = 9,
		.dport = 53);

	(void)state;
	external();
	vm_here(5);
	burst(DC0, f);
	expect_frame(DC1, with_vlan(f, VLAN_1B));
}

static void
a_vm_that_still_knows_our_mac_is_carried_to_its_new_owner(void **state)
{
	struct frame f = udp(.smac = MAC_VM(9), .dmac = MAC_GW, .src = PRIVATE(9), .dst = USER, .sport = 9,
		.dport = 53);

	(void)state;
	external();
	vm_at(9, R_Y);
	burst(DC0, f);
	expect_tunnel(R_Y, SEG1, f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(a_vm_of_ours_learns_our_mac),
		net_test(a_peer_s_vm_learns_its_owner_s_mac_through_us),
		net_test(an_answer_with_another_site_s_mac_is_not_the_owner_s),
		net_test(a_vm_that_moved_here_may_go_on_using_the_old_site_s_mac),
		net_test(what_is_carried_to_the_owner_keeps_the_mac_that_the_vm_knows),
		net_test(a_peer_s_gateway_at_our_attachment_is_a_loop),
		net_test(no_gateway_s_mac_comes_out_of_the_tunnel),
		net_rule(with_one_shared_mac_another_one_is_a_stranger, "RFC 5227 2.4"),
		net_test(an_external_segment_is_not_flooded_through_our_tunnel),
		net_test(the_tunnel_of_an_external_segment_carries_gateway_and_home_frames_only),
		net_test(group_members_do_not_contend_on_an_external_segment),
		net_rule(a_stranger_contends_there_as_anywhere, "RFC 5227 2.4"),
		net_test(a_probe_of_a_peer_s_gateway_passes_an_external_segment),
		net_test(a_vm_of_a_peer_at_our_attachment_is_no_news_on_an_external_segment),
		net_test(only_the_owner_answers_for_the_gateway_and_nobody_carries_the_question),
		net_test(a_frame_to_another_site_s_gateway_is_left_to_it_on_an_external_segment),
		net_test(a_vm_that_still_knows_our_mac_is_carried_to_its_new_owner),
	};

	return net_main(tests);
}
