/* SPDX-License-Identifier: BSD-3-Clause */
/* What VMs send to their gateway, of VMs that do not drain: who may, who routes it, and where it goes. */
#include "ways.h"

#include <rte_tcp.h>

/* A VM of SEG2 and one of the routed SEG3. */
#define PRIVATE2(n) IP(10, 0, 2, n)
#define PUBLIC(n)   IP(203, 0, 113, n)
#define BY_VM3(n)   .smac = MAC_VM(n), .dmac = MAC_GW, .vlan = VLAN_3, .src = PUBLIC(n)

static void
vm2_here(uint8_t n)
{
	vm(.mac = MAC_VM(n), .seg = SEG2, .att = ATT_2, .n_addresses = 1, .addresses = {{PRIVATE2(n), 0}});
}

static void
vm3_here(uint8_t n)
{
	vm(.mac = MAC_VM(n), .seg = SEG3, .att = ATT_3, .n_addresses = 1, .addresses = {{PUBLIC(n), 0}});
}

/* ---- who may ---- */

static void
host_that_nobody_registered_does_not_get_out(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(.smac = MAC_HOST(1), .dmac = MAC_GW, .src = PRIVATE(99), .dst = USER, .sport = 1,
			   .dport = 2));
	expect_drop(DROP_GW_UNREGISTERED, 1);
	(void)expect_event(EVENT_MAC_LEARN);
}

static void
vm_with_a_source_address_that_is_not_its_own_is_dropped(void **state)
{
	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0,
		udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(6), .dst = USER, .sport = 1,
			.dport = 2), /* another's */
		udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(99), .dst = USER, .sport = 1,
			.dport = 2), /* nobody's */
		udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = USER, .dst = USER, .sport = 1, .dport = 2));
	expect_drop(DROP_SPOOFED, 3);
}

static void
host_that_uses_a_vms_address_is_dropped(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(.smac = MAC_HOST(1), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER, .sport = 1,
			   .dport = 2));
	expect_drop(DROP_SPOOFED, 1);
}

static void
vm_of_another_segment_is_a_stranger(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .vlan = VLAN_2, .src = PRIVATE(5), .dst = USER,
			   .sport = 1, .dport = 2));
	expect_drop(DROP_GW_UNREGISTERED, 1);
}

static void
broken_packets_of_a_vm_are_dropped_by_name(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2), bad = f;

	(void)state;
	vm_here(5);
	bad.b[14] = 0x65; /* version 6 */
	burst(DC0, bad);
	expect_drop(DROP_IP_MALFORMED, 1);
	bad = f;
	bad.b[25] ^= 1;
	burst(DC0, bad);
	expect_drop(DROP_IP_CHECKSUM, 1);
	burst(DC0, cut_to(f, 19));
	expect_drop(DROP_TOO_SHORT, 1);
	burst(DC0, udp(BY_VM(5), .dst = IP(224, 0, 0, 5), .sport = 1, .dport = 2));
	expect_drop(DROP_MARTIAN, 1);
	burst(DC0, ether(0x86dd, .smac = MAC_VM(5), .dmac = MAC_GW));
	expect_drop(DROP_ETHERTYPE, 1);
}

static void
padding_of_short_frames_is_not_sent_on(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = 1);

	(void)state;
	vm_here(5);
	memset(f.b + f.len, 0xee, (size_t)(60 - f.len));
	f.len = 60;
	burst(DC0, f);
	expect_frame(
		WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .size = 1, ROUTED));
}

/* ---- who routes ---- */

static void
frame_of_a_vm_registered_at_a_peer_is_carried_there_unchanged(void **state)
{
	(void)state;
	vm_at(5, R_Y);
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1));
	expect_tunnel(R_Y, SEG1, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1));
	(void)expect_event(EVENT_VM_SEEN);
}

static void
frame_carried_here_for_a_vm_registered_elsewhere_is_refused(void **state)
{
	(void)state;
	vm_at(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2)),
		from_tunnel(R_Z, SEG1, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2)));
	expect_drop(DROP_NOT_OWNER, 2);
}

static void
owner_translates_what_a_peer_carried_to_it(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .location = R_Y, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2)));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, ROUTED));
}

static void
liar_in_the_tunnel_is_dropped(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, from_tunnel(R_Y, SEG1,
			    udp(.smac = MAC_HOST(1), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER,
				    .sport = 1, .dport = 2)));
	expect_drop(DROP_SPOOFED, 1);
}

/* ---- the router's own addresses ---- */

static void
gateway_answers_its_vms_echo(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, echo_request(BY_VM(5), .dst = GW, .sport = 7, .dport = 1, .size = 33, .ttl = 1));
	expect_frame(DC0, echo_reply(TO_VM(5), .src = GW, .sport = 7, .dport = 1, .size = 33));
}

/* Of nothing but zeros the sum is 0, and the checksum 0xffff: with 0 the VM would drop it. */
static void
echo_reply_of_nothing_but_zeros_has_a_checksum(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, echo_request(BY_VM(5), .dst = GW, .empty = true));
	expect_frame(DC0, echo_reply(TO_VM(5), .src = GW, .empty = true));
}

static void
vm_may_ask_other_gateways_and_wan_addresses(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, echo_request(BY_VM(5), .dst = GW2, .sport = 7, .dport = 1),
		echo_request(BY_VM(5), .dst = WAN1_IP, .sport = 7, .dport = 2));
	expect_frame(DC0, echo_reply(TO_VM(5), .src = GW2, .sport = 7, .dport = 1));
	expect_frame(DC0, echo_reply(TO_VM(5), .src = WAN1_IP, .sport = 7, .dport = 2));
}

static void
echo_of_a_vm_that_stands_at_a_peer_is_answered_through_the_tunnel(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .location = R_Y, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	burst(WAN0, from_tunnel(R_Y, SEG1, echo_request(BY_VM(5), .dst = GW, .sport = 7, .dport = 1)));
	expect_tunnel(R_Y, SEG1,
		echo_reply(.smac = MAC_RX, .dmac = MAC_VM(5), .src = GW, .dst = PRIVATE(5), .sport = 7,
			.dport = 1));
}

static void
echo_of_a_vm_registered_at_a_peer_is_answered_there(void **state)
{
	(void)state;
	vm_at(5, R_Y);
	burst(DC0, echo_request(BY_VM(5), .dst = GW, .sport = 7, .dport = 1));
	expect_tunnel(R_Y, SEG1, echo_request(BY_VM(5), .dst = GW, .sport = 7, .dport = 1));
}

static void
gateway_serves_nothing_else_and_says_so_for_udp(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = GW, .sport = 7, .dport = 53);

	(void)state;
	vm_here(5);
	burst(DC0, f, tcp(BY_VM(5), .dst = GW, .sport = 7, .dport = 22));
	expect_drop(DROP_LOCAL_UNANSWERED, 2);
	expect_frame(DC0, icmp(OWN_ICMP, .smac = MAC_GW, .dmac = MAC_VM(5), .src = GW, .dst = PRIVATE(5),
				  .icmp_type = 3, .icmp_code = 3, QUOTE(&f)));
}

/* ---- inside ---- */

static void
vms_of_two_segments_meet_without_nat(void **state)
{
	(void)state;
	vm_here(5);
	vm2_here(6);
	burst(DC0, tcp(BY_VM(5), .dst = PRIVATE2(6), .sport = 1, .dport = 2));
	expect_frame(DC0, tcp(.smac = MAC_GW, .dmac = MAC_VM(6), .vlan = VLAN_2, .src = PRIVATE(5),
				  .dst = PRIVATE2(6), .sport = 1, .dport = 2, ROUTED));
	burst(DC0, tcp(.smac = MAC_VM(6), .dmac = MAC_GW, .vlan = VLAN_2, .src = PRIVATE2(6),
			   .dst = PRIVATE(5), .sport = 2, .dport = 1));
	expect_frame(DC0, tcp(TO_VM(5), .src = PRIVATE2(6), .sport = 2, .dport = 1, ROUTED));
}

static void
vm_reaches_a_vm_at_a_peer_through_the_tunnel(void **state)
{
	(void)state;
	vm2_here(6);
	vm_at(5, R_Y);
	burst(DC0, udp(.smac = MAC_VM(6), .dmac = MAC_GW, .vlan = VLAN_2, .src = PRIVATE2(6),
			   .dst = PRIVATE(5), .sport = 1, .dport = 2));
	expect_tunnel(R_Y, SEG1,
		udp(.smac = MAC_RX, .dmac = MAC_VM(5), .src = PRIVATE2(6), .dst = PRIVATE(5), .sport = 1,
			.dport = 2, ROUTED));
}

static void
own_vm_that_was_heard_at_a_peer_is_reached_there(void **state)
{
	(void)state;
	vm2_here(6);
	vm(.mac = MAC_VM(5), .location = R_Z, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	burst(DC0, udp(.smac = MAC_VM(6), .dmac = MAC_GW, .vlan = VLAN_2, .src = PRIVATE2(6),
			   .dst = PRIVATE(5), .sport = 1, .dport = 2));
	expect_tunnel(R_Z, SEG1,
		udp(.smac = MAC_RX, .dmac = MAC_VM(5), .src = PRIVATE2(6), .dst = PRIVATE(5), .sport = 1,
			.dport = 2, ROUTED));
}

static void
vm_not_heard_yet_is_looked_for_at_all_attachments(void **state)
{
	(void)state;
	vm2_here(6);
	vm(.mac = MAC_VM(5), .att = ATT_ANY, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	burst(DC0, udp(.smac = MAC_VM(6), .dmac = MAC_GW, .vlan = VLAN_2, .src = PRIVATE2(6),
			   .dst = PRIVATE(5), .sport = 1, .dport = 2));
	expect_frame(DC0, udp(TO_VM(5), .src = PRIVATE2(6), .sport = 1, .dport = 2, ROUTED));
	expect_frame(DC1, udp(TO_VM(5), .vlan = VLAN_1B, .src = PRIVATE2(6), .sport = 1, .dport = 2, ROUTED));
}

static void
vm_of_a_segment_without_attachments_is_nowhere(void **state)
{
	(void)state;
	net.topo->segments[SEG1].n_attachments = 0;
	vm2_here(6);
	vm(.mac = MAC_VM(5), .att = ATT_ANY, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	burst(DC0, udp(.smac = MAC_VM(6), .dmac = MAC_GW, .vlan = VLAN_2, .src = PRIVATE2(6),
			   .dst = PRIVATE(5), .sport = 1, .dport = 2));
	expect_drop(DROP_NO_DESTINATION, 1);
}

/* ---- routed segments ---- */

static void
routed_segment_leaves_untranslated_by_its_exit(void **state)
{
	(void)state;
	vm3_here(150);
	burst(DC0, tcp(BY_VM3(150), .dst = USER, .sport = 1, .dport = 2));
	expect_frame(WAN0, tcp(TO_ISP, .src = PUBLIC(150), .dst = USER, .sport = 1, .dport = 2, ROUTED));
	burst(WAN0, tcp(BY_ISP, .src = USER, .dst = PUBLIC(150), .sport = 2, .dport = 1));
	expect_frame(DC0, tcp(.smac = MAC_GW, .dmac = MAC_VM(150), .vlan = VLAN_3, .src = USER,
				  .dst = PUBLIC(150), .sport = 2, .dport = 1, ROUTED));
}

static void
routed_segment_does_not_leave_by_another_port(void **state)
{
	(void)state;
	vm3_here(150);
	net_route(IP(192, 0, 2, 0), 24, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	burst(DC0, tcp(BY_VM3(150), .dst = USER, .sport = 1, .dport = 2));
	expect_drop(DROP_INSIDE_SOURCE_LEAK, 1);
}

static void
routed_segment_reaches_global_addresses_of_ours_without_leaving(void **state)
{
	(void)state;
	vm3_here(150);
	vm_here(5);
	burst(DC0, udp(BY_VM3(150), .dst = GLOBAL(5), .sport = 1, .dport = 2));
	expect_frame(DC0, udp(TO_VM(5), .src = PUBLIC(150), .sport = 1, .dport = 2, ROUTED));
}

static void
world_may_ping_the_gateway_of_a_routed_segment(void **state)
{
	(void)state;
	burst(WAN0, echo_request(BY_ISP, .src = USER, .dst = GW3, .sport = 1, .dport = 2));
	expect_frame(WAN0, echo_reply(TO_ISP, .src = GW3, .dst = USER, .sport = 1, .dport = 2));
}

static void
routed_segments_vm_at_a_peer_is_reached_through_the_tunnel(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(150), .seg = SEG3, .owner = R_Y, .location = R_Y, .n_addresses = 1,
		.addresses = {{PUBLIC(150), 0}});
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = PUBLIC(150), .sport = 1, .dport = 2));
	expect_tunnel(R_Y, SEG3,
		udp(.smac = MAC_RX, .dmac = MAC_VM(150), .src = USER, .dst = PUBLIC(150), .sport = 1,
			.dport = 2, ROUTED));
}

/* ---- MSS ---- */

static void
syns_of_extended_segments_are_clamped_on_every_way(void **state)
{
	const uint8_t syn = RTE_TCP_SYN_FLAG, syn_ack = RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG;

	(void)state;
	vm_here(5);
	vm2_here(6);
	vm3_here(150);
	burst(DC0, tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .flags = syn, .mss = 1460));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .flags = syn,
				   .mss = 1410, ROUTED));
	burst(WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 2, .dport = 1, .flags = syn_ack,
			    .mss = 1460));
	expect_frame(DC0,
		tcp(TO_VM(5), .src = USER, .sport = 2, .dport = 1, .flags = syn_ack, .mss = 1410, ROUTED));
	burst(DC0, tcp(BY_VM(5), .dst = PRIVATE2(6), .sport = 1, .dport = 2, .flags = syn, .mss = 1460));
	expect_frame(
		DC0, tcp(.smac = MAC_GW, .dmac = MAC_VM(6), .vlan = VLAN_2, .src = PRIVATE(5),
			     .dst = PRIVATE2(6), .sport = 1, .dport = 2, .flags = syn, .mss = 1410, ROUTED));
	burst(DC0, tcp(BY_VM3(150), .dst = USER, .sport = 1, .dport = 2, .flags = syn, .mss = 1460));
	expect_frame(WAN0, tcp(TO_ISP, .src = PUBLIC(150), .dst = USER, .sport = 1, .dport = 2, .flags = syn,
				   .mss = 1410, ROUTED));
	burst(DC0, tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .flags = syn,
			   .mss = 1000)); /* never raised */
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .flags = syn,
				   .mss = 1000, ROUTED));
}

static void
syn_of_a_draining_vm_is_clamped_where_it_leaves(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(DC0,
		tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .flags = RTE_TCP_SYN_FLAG, .mss = 1460));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2,
				   .flags = RTE_TCP_SYN_FLAG, .mss = 1410, ROUTED));
}

static void
smaller_mss_of_the_two_segments_counts(void **state)
{
	(void)state;
	net.topo->segments[SEG1].mss = 1300;
	net.topo->segments[SEG2].mss = 1200;
	vm_here(5);
	vm2_here(6);
	burst(DC0, tcp(BY_VM(5), .dst = PRIVATE2(6), .sport = 1, .dport = 2, .flags = RTE_TCP_SYN_FLAG,
			   .mss = 1460));
	expect_frame(DC0,
		tcp(.smac = MAC_GW, .dmac = MAC_VM(6), .vlan = VLAN_2, .src = PRIVATE(5), .dst = PRIVATE2(6),
			.sport = 1, .dport = 2, .flags = RTE_TCP_SYN_FLAG, .mss = 1200, ROUTED));
	burst(DC0,
		tcp(.smac = MAC_VM(6), .dmac = MAC_GW, .vlan = VLAN_2, .src = PRIVATE2(6), .dst = PRIVATE(5),
			.sport = 2, .dport = 1, .flags = RTE_TCP_SYN_FLAG, .mss = 1460));
	expect_frame(DC0, tcp(TO_VM(5), .src = PRIVATE2(6), .sport = 2, .dport = 1, .flags = RTE_TCP_SYN_FLAG,
				  .mss = 1200, ROUTED));
}

static void
syns_of_segments_without_peers_are_left_alone(void **state)
{
	(void)state;
	net.topo->segments[SEG1].mss = 0;
	vm_here(5);
	burst(DC0,
		tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .flags = RTE_TCP_SYN_FLAG, .mss = 1460));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2,
				   .flags = RTE_TCP_SYN_FLAG, .mss = 1460, ROUTED));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(host_that_nobody_registered_does_not_get_out),
		net_rule(vm_with_a_source_address_that_is_not_its_own_is_dropped, "RFC 1812 5.3.8"),
		net_rule(host_that_uses_a_vms_address_is_dropped, "RFC 1812 5.3.8"),
		net_test(vm_of_another_segment_is_a_stranger),
		net_rule(broken_packets_of_a_vm_are_dropped_by_name, "RFC 1812 5.2.2"),
		net_rule(padding_of_short_frames_is_not_sent_on, "RFC 894"),
		net_test(frame_of_a_vm_registered_at_a_peer_is_carried_there_unchanged),
		net_test(frame_carried_here_for_a_vm_registered_elsewhere_is_refused),
		net_test(owner_translates_what_a_peer_carried_to_it),
		net_test(liar_in_the_tunnel_is_dropped),
		net_rule(gateway_answers_its_vms_echo, "RFC 792; RFC 1812 4.3.3.6"),
		net_rule(echo_reply_of_nothing_but_zeros_has_a_checksum, "RFC 1071"),
		net_rule(vm_may_ask_other_gateways_and_wan_addresses, "RFC 1812 4.3.3.6; RFC 1812 5.2.3"),
		net_test(echo_of_a_vm_that_stands_at_a_peer_is_answered_through_the_tunnel),
		net_test(echo_of_a_vm_registered_at_a_peer_is_answered_there),
		net_rule(gateway_serves_nothing_else_and_says_so_for_udp, "RFC 792; RFC 1812 4.3.3.1"),
		net_rule(vms_of_two_segments_meet_without_nat, "RFC 1812 5.2.4.3"),
		net_test(vm_reaches_a_vm_at_a_peer_through_the_tunnel),
		net_test(own_vm_that_was_heard_at_a_peer_is_reached_there),
		net_test(vm_not_heard_yet_is_looked_for_at_all_attachments),
		net_test(vm_of_a_segment_without_attachments_is_nowhere),
		net_rule(routed_segment_leaves_untranslated_by_its_exit, "RFC 1812 5.2.4.3"),
		net_test(routed_segment_does_not_leave_by_another_port),
		net_test(routed_segment_reaches_global_addresses_of_ours_without_leaving),
		net_rule(world_may_ping_the_gateway_of_a_routed_segment, "RFC 1812 4.3.3.6"),
		net_test(routed_segments_vm_at_a_peer_is_reached_through_the_tunnel),
		net_rule(syns_of_extended_segments_are_clamped_on_every_way, "RFC 6691 2"),
		net_rule(syn_of_a_draining_vm_is_clamped_where_it_leaves, "RFC 6691 2"),
		net_rule(smaller_mss_of_the_two_segments_counts, "RFC 6691 2"),
		net_test(syns_of_segments_without_peers_are_left_alone),
	};

	return net_main(tests);
}
