/* SPDX-License-Identifier: BSD-3-Clause */
/* Local VTEPs: hypervisors that speak VXLAN themselves are attachments like any other. SEG4 has two and a DC port. */
#include "harness.h"
#include "ways.h"

static struct frame
from_to(struct rte_ether_addr from, struct rte_ether_addr to)
{
	return ether(0x88b5, .smac = from, .dmac = to);
}

static struct frame
vlan4(struct frame f)
{
	return with_vlan(f, VLAN_4);
}

/* A VM of ours in SEG4. */
static void
vm4(uint8_t n, uint16_t att)
{
	vm(.mac = MAC_VM(n), .seg = SEG4, .owner = R_X, .location = R_X, .att = att, .n_addresses = 1,
		.addresses = {{PRIVATE4(n), GLOBAL(n)}});
}

#define BY_VM4(n) .smac = MAC_VM(n), .dmac = MAC_GW, .src = PRIVATE4(n)
#define TO_VM4(n) .smac = MAC_GW, .dmac = MAC_VM(n), .dst = PRIVATE4(n)

/* ---- gateway ---- */

static void
a_vm_behind_a_local_vtep_asks_for_the_gateway_and_gets_its_mac(void **state)
{
	(void)state;
	vm4(5, ATT_4A);
	burst(WAN0, from_tunnel(T_A, SEG4,
			    arp_frame(.sha = MAC_VM(5), .dmac = MAC_ALL, .spa = PRIVATE4(5), .tpa = GW4)));
	expect_tunnel(T_A, SEG4,
		arp_frame(.sha = MAC_GW, .dmac = MAC_VM(5), .op = RTE_ARP_OP_REPLY, .spa = GW4,
			.tha = MAC_VM(5), .tpa = PRIVATE4(5)));
}

static void
a_vm_behind_a_local_vtep_talks_to_the_world_and_back(void **state)
{
	(void)state;
	vm4(5, ATT_4A);
	burst(WAN0, from_tunnel(T_A, SEG4, udp(BY_VM4(5), .dst = USER, .sport = 9, .dport = 53)));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, ROUTED));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 53, .dport = 9));
	expect_tunnel(T_A, SEG4, udp(TO_VM4(5), .src = USER, .sport = 53, .dport = 9, ROUTED));
}

static void
a_packet_larger_than_the_tunnel_to_a_local_vtep_earns_fragmentation_needed(void **state)
{
	struct frame big = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 53, .dport = 9, .size = 1424,
		.frag = RTE_IPV4_HDR_DF_FLAG);

	(void)state;
	vm4(5, ATT_4A);
	burst(WAN0, big);
	expect_drop(DROP_TOO_BIG, 1);
	expect_frame(WAN0, icmp(TO_ISP, OWN_ICMP, .src = WAN0_IP, .dst = USER, .icmp_type = 3, .icmp_code = 4,
				   .icmp_rest = 1450, .data = packet_of(&big), .size = 548));
}

static void
an_error_about_a_vm_s_packet_goes_back_to_its_local_vtep(void **state)
{
	struct frame f = udp(BY_VM4(5), .dst = USER, .sport = 9, .dport = 53, .ttl = 1);

	(void)state;
	vm4(5, ATT_4A);
	burst(WAN0, from_tunnel(T_A, SEG4, f));
	expect_drop(DROP_TTL_EXPIRED, 1);
	expect_tunnel(T_A, SEG4, icmp(TO_VM4(5), OWN_ICMP, .src = GW4, .icmp_type = 11, QUOTE(&f)));
}

/* ---- bridging ---- */

static void
what_a_local_vtep_floods_goes_to_ports_and_peers_and_not_to_other_local_vteps(void **state)
{
	(void)state;
	burst(WAN0, from_tunnel(T_A, SEG4, from_to(MAC_HOST(1), MAC_ALL)));
	expect_frame(DC0, vlan4(from_to(MAC_HOST(1), MAC_ALL)));
	expect_tunnel(R_Y, SEG4, from_to(MAC_HOST(1), MAC_ALL));
	expect_tunnel(R_Z, SEG4, from_to(MAC_HOST(1), MAC_ALL));
}

static void
what_floods_from_a_port_or_a_peer_reaches_every_local_vtep(void **state)
{
	(void)state;
	burst(DC0, vlan4(from_to(MAC_HOST(1), MAC_ALL)));
	expect_tunnel(T_A, SEG4, from_to(MAC_HOST(1), MAC_ALL));
	expect_tunnel(T_B, SEG4, from_to(MAC_HOST(1), MAC_ALL));
	expect_tunnel(R_Y, SEG4, from_to(MAC_HOST(1), MAC_ALL));
	expect_tunnel(R_Z, SEG4, from_to(MAC_HOST(1), MAC_ALL));
	burst(WAN0, from_tunnel(R_Y, SEG4, from_to(MAC_HOST(2), MAC_ALL)));
	expect_frame(DC0, vlan4(from_to(MAC_HOST(2), MAC_ALL)));
	expect_tunnel(T_A, SEG4, from_to(MAC_HOST(2), MAC_ALL));
	expect_tunnel(T_B, SEG4, from_to(MAC_HOST(2), MAC_ALL));
}

static void
unicast_between_local_vteps_is_split_horizon(void **state)
{
	(void)state;
	vm4(5, ATT_4B);
	net_learnt(SEG4, MAC_HOST(2), R_X, ATT_4B);
	burst(WAN0, from_tunnel(T_A, SEG4, from_to(MAC_HOST(1), MAC_VM(5))),
		from_tunnel(T_A, SEG4, from_to(MAC_HOST(1), MAC_HOST(2))));
	expect_drop(DROP_SPLIT_HORIZON, 2);
}

static void
a_frame_is_not_sent_back_to_the_local_vtep_it_came_from(void **state)
{
	(void)state;
	vm4(5, ATT_4A);
	burst(WAN0, from_tunnel(T_A, SEG4, from_to(MAC_HOST(1), MAC_VM(5))));
	expect_drop(DROP_BRIDGE_FILTERED, 1);
}

static void
a_port_s_frame_to_a_vm_behind_a_local_vtep_goes_there_alone(void **state)
{
	(void)state;
	vm4(5, ATT_4B);
	burst(DC0, vlan4(from_to(MAC_HOST(1), MAC_VM(5))));
	expect_tunnel(T_B, SEG4, from_to(MAC_HOST(1), MAC_VM(5)));
}

static void
a_peer_s_routed_frame_reaches_the_local_vtep_from_the_gateway_s_mac(void **state)
{
	(void)state;
	vm4(5, ATT_4B);
	burst(WAN0, from_tunnel(R_Y, SEG4,
			    udp(.smac = MAC_RY, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE4(5))));
	expect_tunnel(T_B, SEG4, udp(.smac = MAC_GW, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE4(5)));
}

/* ---- who may speak ---- */

static void
a_host_behind_a_local_vtep_is_learnt_there(void **state)
{
	struct dp_event ev;

	(void)state;
	burst(WAN0, from_tunnel(T_B, SEG4, from_to(MAC_HOST(1), MAC_VM(99))));
	ev = expect_event(EVENT_MAC_LEARN);
	assert_int_equal(ev.router, ROUTER_SELF);
	assert_int_equal(ev.att, ATT_4B);
	net_forget();
}

static void
a_vm_that_moved_between_local_vteps_is_seen_at_the_new_one(void **state)
{
	struct dp_event ev;

	(void)state;
	vm4(5, ATT_4A);
	burst(WAN0, from_tunnel(T_B, SEG4,
			    arp_frame(.sha = MAC_VM(5), .dmac = MAC_ALL, .tha = MAC_NONE, .rarp = true,
				    .op = 3)));
	ev = expect_event(EVENT_VM_SEEN);
	assert_int_equal(ev.att, ATT_4B);
	net_forget();
}

static void
a_local_vtep_of_another_segment_is_unknown(void **state)
{
	(void)state;
	burst(WAN0, from_tunnel(T_A, SEG1, from_to(MAC_HOST(1), MAC_ALL)));
	expect_drop(DROP_VTEP_UNKNOWN, 1);
}

static void
a_router_s_mac_from_a_local_vtep_is_a_loop(void **state)
{
	(void)state;
	burst(WAN0, from_tunnel(T_A, SEG4, from_to(MAC_RY, MAC_ALL)));
	expect_drop(DROP_LOOP, 1);
	expect_event(EVENT_LOOP);
}

static void
the_gateway_is_defended_at_local_vteps_too(void **state)
{
	struct frame claim = arp_frame(.sha = MAC_HOST(1), .dmac = MAC_ALL, .spa = GW4, .tpa = GW4);
	struct frame defence = arp_frame(.sha = MAC_GW, .dmac = MAC_ALL, .spa = GW4, .tpa = GW4);

	(void)state;
	burst(WAN0, from_tunnel(T_A, SEG4, claim));
	expect_drop(DROP_GW_CONFLICT, 1);
	expect_event(EVENT_CONFLICT);
	memset(defence.b + defence.len, 0, 60u - defence.len);
	defence.len = 60;
	expect_frame(DC0, vlan4(defence));
	expect_tunnel(T_A, SEG4, defence);
	expect_tunnel(T_B, SEG4, defence);
}

static void
tcp_of_a_segment_with_local_vteps_fits_the_tunnel(void **state)
{
	(void)state;
	vm4(5, ATT_4);
	burst(DC0, vlan4(tcp(BY_VM4(5), .dst = USER, .sport = 9, .dport = 80, .flags = 2, .mss = 1460,
			   .empty = true)));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 80, .flags = 2,
				   .mss = 1410, .empty = true, ROUTED));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(a_vm_behind_a_local_vtep_asks_for_the_gateway_and_gets_its_mac),
		net_rule(a_vm_behind_a_local_vtep_talks_to_the_world_and_back, "RFC 7348 6.2"),
		net_rule(a_packet_larger_than_the_tunnel_to_a_local_vtep_earns_fragmentation_needed,
			"RFC 1191 4"),
		net_rule(an_error_about_a_vm_s_packet_goes_back_to_its_local_vtep, "RFC 1812 4.3.2.1"),
		net_test(what_a_local_vtep_floods_goes_to_ports_and_peers_and_not_to_other_local_vteps),
		net_test(what_floods_from_a_port_or_a_peer_reaches_every_local_vtep),
		net_test(unicast_between_local_vteps_is_split_horizon),
		net_test(a_frame_is_not_sent_back_to_the_local_vtep_it_came_from),
		net_test(a_port_s_frame_to_a_vm_behind_a_local_vtep_goes_there_alone),
		net_test(a_peer_s_routed_frame_reaches_the_local_vtep_from_the_gateway_s_mac),
		net_rule(a_host_behind_a_local_vtep_is_learnt_there, "RFC 7348 4.1"),
		net_test(a_vm_that_moved_between_local_vteps_is_seen_at_the_new_one),
		net_rule(a_local_vtep_of_another_segment_is_unknown, "RFC 7348 7"),
		net_test(a_router_s_mac_from_a_local_vtep_is_a_loop),
		net_rule(the_gateway_is_defended_at_local_vteps_too, "RFC 5227 2.4"),
		net_rule(tcp_of_a_segment_with_local_vteps_fits_the_tunnel, "RFC 6691 2"),
	};

	return net_main(tests);
}
