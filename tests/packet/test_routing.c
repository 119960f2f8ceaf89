/* SPDX-License-Identifier: BSD-3-Clause */
/* The routed side: what a WAN port takes, where it goes, next hops. */
#include "ways.h"

#include <stdlib.h>

#define FAR IP(198, 18, 50, 1)

static void
transit_on(void)
{
	net.topo->transit = true;
}

/* ---- what a port takes ---- */

static void
frame_to_another_mac_is_not_ours(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, udp(.smac = MAC_ISP, .dmac = MAC_OTHER, .src = USER, .dst = GLOBAL(5)),
		udp(.smac = MAC_ISP, .dmac = MAC_ALL, .src = USER, .dst = GLOBAL(5)),
		udp(.smac = MAC_ISP, .dmac = MAC_WAN1, .src = USER, .dst = GLOBAL(5)),
		arp_frame(.dmac = MAC_OTHER, .sha = MAC_ISP, .spa = ISP, .tpa = WAN0_IP));
	expect_drop(DROP_NOT_FOR_US, 4);
}

static void
routed_port_speaks_ipv4_and_arp_only(void **state)
{
	(void)state;
	burst(WAN0, ether(0x86dd, BY_ISP), ether(0x8100, BY_ISP));
	expect_drop(DROP_ETHERTYPE, 2);
}

static void
vlan_that_no_segment_has_is_dropped(void **state)
{
	(void)state;
	burst(WAN0, udp(BY_ISP, .vlan = 7, .src = USER, .dst = WAN0_IP));
	burst(DC0, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .vlan = 7, .src = PRIVATE(5), .dst = USER));
	burst(DC1, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER));
	expect_drop(DROP_VLAN_UNKNOWN, 3);
}

static void
frames_that_end_inside_a_header_are_dropped(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 1, .dport = 2);

	(void)state;
	for (uint16_t n = 0; n < 34; n++) {
		struct frame cut = f;

		cut.len = n;
		burst(WAN0, cut);
	}
	expect_drop(DROP_TOO_SHORT, 34);
	f.len = 13;
	burst(DC0, f);
	expect_drop(DROP_TOO_SHORT, 1);
}

static void
ipv4_headers_that_lie_are_dropped(void **state)
{
	const struct frame f = udp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 1, .dport = 2);
	const struct {
		uint8_t at, value;
	} lie[] = {{14, 0x55}, {14, 0x44}, {14, 0x40}, {14, 0x4f}, {17, 19}, {17, 200}, {16, 0xff}};

	(void)state;
	for (size_t i = 0; i < sizeof(lie) / sizeof(lie[0]); i++) {
		struct frame bad = f;

		bad.b[lie[i].at] = lie[i].value;
		burst(WAN0, bad);
		expect_drop(DROP_IP_MALFORMED, 1);
	}
	for (int i = 14; i < 34; i++) {
		struct frame bad = f;

		bad.b[i] ^= 0x20;
		if (i == 14 || i == 16 || i == 17)
			continue; /* lengths, above */
		burst(WAN0, bad);
		expect_drop(DROP_IP_CHECKSUM, 1);
	}
}

/* The frame, which has room for eight bytes of options, with these. */
static struct frame
with_options(struct frame f, const uint8_t options[8])
{
	memcpy(f.b + 34, options, 8);
	frame_checksums(&f);
	return f;
}

static void
ip_options_are_neither_read_nor_written(void **state)
{
	const uint8_t kept[][8] = {{7, 7, 4}, {68, 8, 5, 0}, {148, 4, 0, 0, 7, 4, 4, 0},
		{1, 130, 7, 1, 2, 3, 4, 5}, {0, 131, 7, 4, 1, 2, 3, 4}};

	(void)state;
	vm_here(5);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		burst(DC0, with_options(udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .options = 8),
				   kept[i]));
		expect_frame(WAN0, with_options(udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1,
							.dport = 2, .options = 8, ROUTED),
					   kept[i]));
		burst(WAN0, with_options(udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 2, .dport = 1,
						 .options = 8),
				    kept[i]));
		expect_frame(DC0,
			with_options(udp(TO_VM(5), .src = USER, .sport = 2, .dport = 1, .options = 8, ROUTED),
				kept[i]));
	}
}

static void
source_routes_are_dropped(void **state)
{
	const uint8_t routes[][8] = {{131, 7, 4, 10, 0, 0, 6}, {137, 7, 4, 10, 0, 0, 6},
		{1, 131, 7, 4, 10, 0, 0, 6}, {7, 3, 4, 137, 3, 4}};

	(void)state;
	vm_here(5);
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		burst(WAN0, with_options(udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 2, .dport = 1,
						 .options = 8),
				    routes[i]));
		burst(DC0, with_options(udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .options = 8),
				   routes[i]));
		expect_drop(DROP_SOURCE_ROUTE, 2);
	}
}

static void
ip_options_that_are_not_whole_are_dropped(void **state)
{
	const uint8_t bad[][8] = {
		{7, 9, 4}, {7, 0, 4}, {7, 1, 4}, {1, 1, 1, 1, 1, 1, 1, 7}, {68, 7, 5, 0, 0, 0, 0, 68}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		burst(WAN0, with_options(udp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 2, .dport = 1,
						 .options = 8),
				    bad[i]));
		expect_drop(DROP_IP_MALFORMED, 1);
	}
}

static void
addresses_that_no_packet_may_carry_are_dropped(void **state)
{
	const rte_be32_t bad[] = {IP(0, 1, 2, 3), IP(127, 0, 0, 1), IP(224, 0, 0, 1), IP(239, 1, 1, 1),
		IP(240, 0, 0, 1), IP(255, 255, 255, 255)};

	(void)state;
	vm_here(5);
	transit_on();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		burst(WAN0, udp(BY_ISP, .src = bad[i], .dst = GLOBAL(5)),
			udp(BY_ISP, .src = USER, .dst = bad[i]));
	expect_drop(DROP_MARTIAN, 12);
	burst(WAN0, udp(BY_ISP, .src = WAN0_IP, .dst = GLOBAL(5)),
		udp(BY_ISP, .src = WAN1_IP, .dst = WAN0_IP)); /* our own */
	expect_drop(DROP_MARTIAN, 2);
}

static void
world_may_not_use_a_source_inside(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, udp(BY_ISP, .src = PRIVATE(6), .dst = GLOBAL(5)),
		udp(BY_ISP, .src = IP(203, 0, 113, 150), .dst = GLOBAL(5)),
		echo_request(BY_ISP, .src = GW, .dst = WAN0_IP));
	expect_drop(DROP_INSIDE_SOURCE, 3);
}

static void
world_does_not_reach_private_addresses(void **state)
{
	(void)state;
	vm_here(5);
	transit_on();
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = PRIVATE(5)), udp(BY_ISP, .src = USER, .dst = GW));
	expect_drop(DROP_INSIDE_DESTINATION, 2);
}

/* ---- own addresses ---- */

static void
router_answers_echo_to_its_own_addresses(void **state)
{
	(void)state;
	for (uint16_t size = 1; size < 60; size += 7) {
		burst(WAN0, echo_request(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 9, .dport = size,
				    .size = size, .ttl = 1));
		expect_frame(WAN0, echo_reply(TO_ISP, .src = WAN0_IP, .dst = USER, .sport = 9, .dport = size,
					   .size = size));
	}
	burst(WAN0, echo_request(BY_ISP, .src = USER, .dst = WAN1_IP, .sport = 9, .dport = 1, .options = 8,
			    .id = 77));
	expect_frame(WAN0, echo_reply(TO_ISP, .src = WAN1_IP, .dst = USER, .sport = 9, .dport = 1,
				   .options = 8, .id = 77));
}

static void
router_does_not_reassemble_or_answer_anything_else(void **state)
{
	struct frame f = echo_request(BY_ISP, .src = USER, .dst = WAN0_IP, .size = 200);

	(void)state;
	burst(WAN0, fragment_of(&f, 0, 104, false), fragment_of(&f, 104, 104, true),
		tcp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 1, .dport = 22),
		echo_reply(BY_ISP, .src = USER, .dst = WAN0_IP),
		ip(BY_ISP, .src = USER, .dst = WAN0_IP, .proto = IPPROTO_ICMP, .data = "\10", .size = 1));
	expect_drop(DROP_LOCAL_UNANSWERED, 5);
}

static void
udp_to_the_router_earns_port_unreachable(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 1, .dport = 33434, .ttl = 1);

	(void)state;
	burst(WAN0, f);
	expect_drop(DROP_LOCAL_UNANSWERED, 1);
	expect_frame(WAN0, icmp(OWN_ICMP, TO_ISP, .src = WAN0_IP, .dst = USER, .icmp_type = 3, .icmp_code = 3,
				   QUOTE(&f)));
}

/* ---- routes ---- */

static void
wan_to_wan_is_refused_unless_transit_is_on(void **state)
{
	(void)state;
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2));
	expect_drop(DROP_TRANSIT, 1);
	transit_on();
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2));
	expect_frame(WAN0, udp(TO_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2, ROUTED));
}

static void
longest_prefix_decides_and_a_replaced_route_counts_at_once(void **state)
{
	(void)state;
	transit_on();
	net_neighbour(WAN1, OTHER, NEIGH_REACHABLE, MAC_OTHER);
	net_route(IP(198, 18, 0, 0), 16, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	net_route(FAR, 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN0, .via = ISP});
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2),
		udp(BY_ISP, .src = USER, .dst = IP(198, 18, 50, 2), .sport = 1, .dport = 2));
	expect_frame(WAN0, udp(TO_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2, ROUTED));
	expect_frame(WAN1, udp(.smac = MAC_WAN1, .dmac = MAC_OTHER, .src = USER, .dst = IP(198, 18, 50, 2),
				   .sport = 1, .dport = 2, ROUTED));
	net_route(FAR, 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2));
	expect_frame(WAN1, udp(.smac = MAC_WAN1, .dmac = MAC_OTHER, .src = USER, .dst = FAR, .sport = 1,
				   .dport = 2, ROUTED));
}

static void
connected_destination_is_its_own_next_hop(void **state)
{
	(void)state;
	transit_on();
	net_neighbour(WAN1, OTHER, NEIGH_REACHABLE, MAC_OTHER);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = OTHER, .sport = 1, .dport = 2));
	expect_frame(WAN1, udp(.smac = MAC_WAN1, .dmac = MAC_OTHER, .src = USER, .dst = OTHER, .sport = 1,
				   .dport = 2, ROUTED));
}

static void
blackhole_swallows_in_silence(void **state)
{
	(void)state;
	transit_on();
	net_route(FAR, 32, &(const struct nexthop){.kind = NH_BLACKHOLE});
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR));
	expect_drop(DROP_BLACKHOLE, 1);
}

static void
destination_without_route_earns_net_unreachable(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2);

	(void)state;
	transit_on();
	assert_int_equal(routetab_del(net.tables.routes, 0, 0, 0), 0);
	net_route(USER, 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN0, .via = ISP});
	burst(WAN0, f);
	expect_drop(DROP_NO_ROUTE, 1);
	expect_frame(WAN0, icmp(OWN_ICMP, TO_ISP, .src = WAN0_IP, .dst = USER, .icmp_type = 3, QUOTE(&f)));
}

static struct rte_mbuf *
made(const struct frame *f, enum enter enter)
{
	struct rte_mbuf *m = worker_make(net.w, MADE_CONTROL);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, f->len), f->b, f->len);
	meta(m)->enter = (uint8_t)enter;
	return m;
}

static void
packet_of_the_control_thread_is_routed_to_a_vm(void **state)
{
	struct frame f = udp(.src = WAN0_IP, .dst = PRIVATE(5), .sport = 1, .dport = 2);
	struct rte_mbuf *m;

	(void)state;
	vm_here(5);
	m = made(&f, ENTER_ROUTE);
	meta(m)->flags = META_OWN;
	worker_inject(net.w, m);
	net_idle();
	expect_frame(DC0, udp(TO_VM(5), .src = WAN0_IP, .sport = 1, .dport = 2));
}

static void
private_source_never_leaves_by_a_wan_port(void **state)
{
	struct frame f = udp(.src = PRIVATE(5), .dst = USER);

	(void)state;
	worker_inject(net.w, made(&f, ENTER_ROUTE));
	net_idle();
	expect_drop(DROP_INSIDE_SOURCE_LEAK, 1);
}

/* A VTEP inside a segment is a fault of configuration; the tunnel must not wrap its own packets for ever. */
static void
tunnel_never_runs_through_a_segment(void **state)
{
	(void)state;
	net.topo->peers[0].vtep = PRIVATE(200);
	worker_free(net.w);
	net.w = worker_new(0, net.topo, &net.tables, net.pool);
	worker_tick(net.w, net.now_ms * 1000);
	vm_at(5, R_Y);
	vm(.mac = MAC_VM(200), .owner = R_Y, .location = R_Y, .n_addresses = 1,
		.addresses = {{PRIVATE(200), 0}});
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2));
	expect_drop(DROP_NO_ROUTE, 1);
}

static void
tunnel_packet_may_arrive_at_any_wan_port(void **state)
{
	struct frame f = from_tunnel(R_Y, SEG1, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2));
	struct rte_ether_addr to = MAC_WAN1;

	(void)state;
	vm_here(5);
	memcpy(f.b, &to, 6);
	burst(WAN1, f);
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, ROUTED));
}

static void
fragments_of_a_tunnel_packet_are_not_taken(void **state)
{
	struct frame f = from_tunnel(R_Y, SEG1, udp(BY_VM(5), .dst = USER, .size = 200));

	(void)state;
	vm_here(5);
	burst(WAN0, fragment_of(&f, 104, 104, true));
	expect_drop(DROP_LOCAL_UNANSWERED, 1);
}

/* ---- next hops ---- */

static void
packets_wait_for_their_next_hop_and_leave_in_order(void **state)
{
	struct dp_event ev;

	(void)state;
	transit_on();
	net_route(FAR, 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1),
		udp(BY_ISP, .src = USER, .dst = FAR, .sport = 2));
	expect_nothing();
	ev = expect_event(EVENT_NEIGH_WANT);
	assert_int_equal(ev.port, WAN1);
	assert_int_equal(ev.ip, OTHER);
	net_neighbour(WAN1, OTHER, NEIGH_RESOLVING, MAC_NONE);
	(void)expect_event(EVENT_NEIGH_WANT);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = 3));
	expect_no_event(EVENT_NEIGH_WANT); /* it is being asked */
	net_neighbour(WAN1, OTHER, NEIGH_REACHABLE, MAC_OTHER);
	net_release(WAN1, OTHER);
	for (uint16_t i = 1; i <= 3; i++)
		expect_frame(WAN1, udp(.smac = MAC_WAN1, .dmac = MAC_OTHER, .src = USER, .dst = FAR,
					   .sport = i, ROUTED));
}

static void
few_packets_wait_for_one_next_hop(void **state)
{
	(void)state;
	transit_on();
	net_route(FAR, 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	for (int i = 0; i < HOLD_PER_NEIGHBOUR + 3; i++)
		burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = (uint16_t)i));
	expect_drop(DROP_HOLD_FULL, 3);
	net_neighbour(WAN1, OTHER, NEIGH_REACHABLE, MAC_OTHER);
	net_release(WAN1, OTHER);
	for (int i = 0; i < HOLD_PER_NEIGHBOUR; i++)
		expect_frame(WAN1, udp(.smac = MAC_WAN1, .dmac = MAC_OTHER, .src = USER, .dst = FAR,
					   .sport = (uint16_t)i, ROUTED));
}

static void
there_is_a_bound_to_all_that_wait(void **state)
{
	(void)state;
	transit_on();
	net_route(IP(198, 18, 0, 0), 16, &(const struct nexthop){.kind = NH_CONNECTED, .port = WAN1});
	for (int i = 0; i < HOLD_MAX + 5; i++)
		burst(WAN0, udp(BY_ISP, .src = USER, .dst = IP(198, 18, i >> 8, i & 255)));
	expect_drop(DROP_HOLD_FULL, 5);
	net_advance(HOLD_MS);
	expect_drop(DROP_HOLD_EXPIRED, HOLD_MAX);
	net_forget();
}

static void
a_next_hop_is_asked_for_though_no_more_may_wait(void **state)
{
	rte_be32_t asked = 0;

	(void)state;
	transit_on();
	net_route(IP(198, 18, 0, 0), 16, &(const struct nexthop){.kind = NH_CONNECTED, .port = WAN1});
	for (int i = 0; i < HOLD_MAX; i++)
		burst(WAN0, udp(BY_ISP, .src = USER, .dst = IP(198, 18, i >> 8, i & 255)));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = IP(198, 18, 9, 9)));
	expect_drop(DROP_HOLD_FULL, 1);
	for (int i = 0; i <= HOLD_MAX; i++)
		asked = expect_event(EVENT_NEIGH_WANT).ip;
	assert_int_equal(asked, IP(198, 18, 9, 9));
	net_advance(HOLD_MS);
	net_forget();
}

static void
next_hop_that_does_not_answer_earns_host_unreachable(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2);
	struct frame quoted = udp(.src = USER, .dst = FAR, .sport = 1, .dport = 2, ROUTED);

	(void)state;
	transit_on();
	net_route(FAR, 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	burst(WAN0, f);
	net_neighbour(WAN1, OTHER, NEIGH_FAILED, MAC_NONE);
	net_release(WAN1, OTHER); /* who waited is told, and who comes later */
	burst(WAN0, f);
	expect_drop(DROP_NEIGHBOUR_FAILED, 2);
	for (int i = 0; i < 2; i++)
		expect_frame(WAN0, icmp(OWN_ICMP, TO_ISP, .src = WAN0_IP, .dst = USER, .icmp_type = 3,
					   .icmp_code = 1, QUOTE(&quoted)));
}

static void
scratch_worker_holds_for_itself_and_asks_for_no_next_hop(void **state)
{
	(void)state;
	transit_on();
	net.w->scratch = true;
	net_route(FAR, 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR));
	assert_int_equal(net.w->n_hold, 1);
	expect_no_event(EVENT_NEIGH_WANT);
	net.w->scratch = false;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_rule(frame_to_another_mac_is_not_ours, "RFC 1812 5.3.4"),
		net_test(routed_port_speaks_ipv4_and_arp_only),
		net_rule(vlan_that_no_segment_has_is_dropped, "IEEE 802.1Q"),
		net_test(frames_that_end_inside_a_header_are_dropped),
		net_rule(ipv4_headers_that_lie_are_dropped, "RFC 1812 5.2.2; RFC 791 3.1"),
		net_rule(addresses_that_no_packet_may_carry_are_dropped, "RFC 1812 5.3.7"),
		net_rule(world_may_not_use_a_source_inside, "RFC 1812 5.3.8"),
		net_rule(world_does_not_reach_private_addresses, "RFC 3022 5.3"),
		net_rule(router_answers_echo_to_its_own_addresses, "RFC 792; RFC 1812 4.3.3.6"),
		net_test(ip_options_are_neither_read_nor_written),
		net_test(source_routes_are_dropped),
		net_test(ip_options_that_are_not_whole_are_dropped),
		net_test(router_does_not_reassemble_or_answer_anything_else),
		net_rule(udp_to_the_router_earns_port_unreachable, "RFC 792; RFC 1812 4.3.3.1"),
		net_test(wan_to_wan_is_refused_unless_transit_is_on),
		net_rule(longest_prefix_decides_and_a_replaced_route_counts_at_once, "RFC 1812 5.2.4.3"),
		net_rule(connected_destination_is_its_own_next_hop, "RFC 1812 5.2.4.3"),
		net_rule(blackhole_swallows_in_silence, "RFC 1812 5.3.9"),
		net_rule(destination_without_route_earns_net_unreachable, "RFC 792; RFC 1812 5.2.7.1"),
		net_test(packet_of_the_control_thread_is_routed_to_a_vm),
		net_rule(private_source_never_leaves_by_a_wan_port, "RFC 3022 5.3"),
		net_test(tunnel_never_runs_through_a_segment),
		net_test(tunnel_packet_may_arrive_at_any_wan_port),
		net_rule(fragments_of_a_tunnel_packet_are_not_taken, "RFC 7348 4.3"),
		net_rule(packets_wait_for_their_next_hop_and_leave_in_order,
			"RFC 1122 2.3.2.2; RFC 1812 3.3.2"),
		net_test(few_packets_wait_for_one_next_hop),
		net_test(there_is_a_bound_to_all_that_wait),
		net_test(a_next_hop_is_asked_for_though_no_more_may_wait),
		net_rule(next_hop_that_does_not_answer_earns_host_unreachable,
			"RFC 1812 5.2.7.1; RFC 1812 3.3.2"),
		net_test(scratch_worker_holds_for_itself_and_asks_for_no_next_hop),
	};

	return net_main(tests);
}
