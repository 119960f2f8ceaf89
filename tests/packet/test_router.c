/* SPDX-License-Identifier: BSD-3-Clause */
/* test_router.c - what RFC 1812 and RFC 1122 ask of any router, beyond test_routing.c. */
#include "ways.h"

#define FAR IP(192, 0, 2, 77)

static void
transit_on(void)
{
	net.topo->transit = true;
	net_route(FAR, 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
}

static void
next_hop_that_failed_is_used_again_once_it_answers(void **state)
{
	struct frame quoted = udp(.src = USER, .dst = FAR, .sport = 1, .dport = 2, ROUTED);

	(void)state;
	transit_on();
	net_neighbour(WAN1, OTHER, NEIGH_FAILED, MAC_NONE);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2));
	expect_drop(DROP_NEIGHBOUR_FAILED, 1);
	expect_frame(WAN0, icmp(OWN_ICMP, TO_ISP, .src = WAN0_IP, .dst = USER, .icmp_type = 3, .icmp_code = 1,
				   QUOTE(&quoted)));
	net_neighbour(WAN1, OTHER, NEIGH_REACHABLE, MAC_OTHER);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2));
	expect_frame(WAN1, udp(.smac = MAC_WAN1, .dmac = MAC_OTHER, .src = USER, .dst = FAR, .sport = 1,
				   .dport = 2, ROUTED));
}

static void
next_hop_that_changes_its_mac_is_followed_at_once(void **state)
{
	(void)state;
	vm_here(5);
	net_neighbour(WAN0, ISP, NEIGH_REACHABLE, MAC(2, 0xcc, 0, 0, 0, 2));
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2));
	expect_frame(WAN0, udp(.smac = MAC_WAN0, .dmac = MAC(2, 0xcc, 0, 0, 0, 2), .src = GLOBAL(5),
				   .dst = USER, .sport = 1, .dport = 2, ROUTED));
}

static void
tunnel_packets_wait_for_the_underlay_s_next_hop(void **state)
{
	struct frame f = udp(.smac = MAC_VM(5), .dmac = MAC_VM(6), .src = PRIVATE(5), .dst = PRIVATE(6));

	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	net_neighbour(WAN0, ISP, NEIGH_RESOLVING, MAC_NONE);
	burst(DC0, f);
	expect_nothing();
	net_neighbour(WAN0, ISP, NEIGH_REACHABLE, MAC_ISP);
	net_release(WAN0, ISP);
	expect_tunnel(R_Y, SEG1, f);
}

static void
no_redirect_is_sent_for_a_packet_that_leaves_where_it_came(void **state)
{
	(void)state;
	net.topo->transit = true;
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2));
	expect_frame(WAN0, udp(TO_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2, ROUTED));
}

static void
no_redirect_is_sent_to_a_vm_that_sends_to_its_neighbour_by_the_gateway(void **state)
{
	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0, udp(BY_VM(5), .dst = PRIVATE(6), .sport = 1, .dport = 2));
	expect_frame(DC0, udp(TO_VM(6), .src = PRIVATE(5), .sport = 1, .dport = 2, ROUTED));
}

static void
redirect_to_the_router_changes_nothing(void **state)
{
	struct frame quoted = udp(.src = WAN0_IP, .dst = USER);

	(void)state;
	vm_here(5);
	burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = WAN0_IP, .icmp_type = 5, .icmp_code = 1,
			    .icmp_rest = 0xc6336409, QUOTE(&quoted)));
	expect_drop(DROP_LOCAL_UNANSWERED, 1);
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, ROUTED));
}

static void
ttl_of_two_leaves_as_one(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(BY_VM(5), .dst = USER, .ttl = 2));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .ttl = 1));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .ttl = 2));
	expect_frame(DC0, udp(TO_VM(5), .src = USER, .ttl = 1));
}

static void
ttl_of_one_is_enough_for_the_router_itself(void **state)
{
	(void)state;
	burst(WAN0, echo_request(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 1, .dport = 1, .ttl = 1));
	expect_frame(WAN0, echo_reply(TO_ISP, .src = WAN0_IP, .dst = USER, .sport = 1, .dport = 1));
}

static void
broadcast_as_a_frame_is_not_routed(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, udp(.smac = MAC_ISP, .dmac = MAC_ALL, .src = USER, .dst = GLOBAL(5)));
	burst(WAN0, udp(.smac = MAC_ISP, .dmac = MAC(1, 0, 0x5e, 0, 0, 1), .src = USER, .dst = GLOBAL(5)));
	expect_drop(DROP_NOT_FOR_US, 2);
}

static void
limited_and_multicast_destinations_are_not_routed(void **state)
{
	(void)state;
	net.topo->transit = true;
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = IP(255, 255, 255, 255)),
		udp(BY_ISP, .src = USER, .dst = IP(224, 0, 0, 5)),
		udp(BY_ISP, .src = USER, .dst = IP(240, 0, 0, 1)));
	expect_drop(DROP_MARTIAN, 3);
}

static void
packet_that_claims_to_come_from_the_router_is_a_martian(void **state)
{
	(void)state;
	net.topo->transit = true;
	burst(WAN0, udp(BY_ISP, .src = WAN0_IP, .dst = FAR), udp(BY_ISP, .src = WAN1_IP, .dst = FAR));
	expect_drop(DROP_MARTIAN, 2);
}

static void
total_length_decides_where_the_packet_ends(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2);
	struct frame longer = f;

	(void)state;
	vm_here(5);
	f.len += 18; /* padding */
	burst(WAN0, f);
	expect_frame(DC0, udp(TO_VM(5), .src = USER, .sport = 1, .dport = 2, ROUTED));
	longer.b[17] += 1; /* one byte more than there is */
	frame_checksums(&longer);
	burst(WAN0, longer);
	expect_drop(DROP_IP_MALFORMED, 1);
}

/* The transport's own lengths are between the ends; a router neither believes nor mends them. */
static void
udp_length_that_lies_passes_unchanged(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = FAR, .sport = 1, .dport = 2), want;

	(void)state;
	transit_on();
	net_neighbour(WAN1, OTHER, NEIGH_REACHABLE, MAC_OTHER);
	want = udp(.smac = MAC_WAN1, .dmac = MAC_OTHER, .src = USER, .dst = FAR, .sport = 1, .dport = 2,
		ROUTED);
	f.b[39] = want.b[39] = 200;
	net.broken = true;
	burst(WAN0, f);
	expect_frame(WAN1, want);
}

static void
identification_of_messages_of_ours_is_that_of_atomic_packets(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = WAN0_IP, .dport = 9, .id = 0x1234);

	(void)state;
	burst(WAN0, f, f); /* DF set, identification 0, for each alike */
	expect_drop(DROP_LOCAL_UNANSWERED, 2);
	for (int i = 0; i < 2; i++)
		expect_frame(WAN0, icmp(OWN_ICMP, TO_ISP, .src = WAN0_IP, .dst = USER, .icmp_type = 3,
					   .icmp_code = 3, QUOTE(&f)));
}

static void
fragments_of_an_echo_to_the_router_are_not_answered(void **state)
{
	struct frame f =
		echo_request(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 1, .dport = 1, .size = 1400);

	(void)state;
	burst(WAN0, fragment_of(&f, 0, 800, false), fragment_of(&f, 800, 608, true));
	expect_drop(DROP_LOCAL_UNANSWERED, 2);
}

static void
echo_carries_any_payload_back(void **state)
{
	(void)state;
	for (uint16_t n = 1; n <= 1472; n = (uint16_t)(n * 3)) {
		burst(WAN0,
			echo_request(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 7, .dport = n, .size = n));
		expect_frame(WAN0,
			echo_reply(TO_ISP, .src = WAN0_IP, .dst = USER, .sport = 7, .dport = n, .size = n));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_rule(next_hop_that_failed_is_used_again_once_it_answers, "RFC 1812 3.3.2"),
		net_rule(next_hop_that_changes_its_mac_is_followed_at_once, "RFC 826; RFC 1122 2.3.2.1"),
		net_rule(tunnel_packets_wait_for_the_underlay_s_next_hop, "RFC 1122 2.3.2.2"),
		net_rule(no_redirect_is_sent_for_a_packet_that_leaves_where_it_came, "RFC 1812 5.2.7.2"),
		net_rule(no_redirect_is_sent_to_a_vm_that_sends_to_its_neighbour_by_the_gateway,
			"RFC 1812 5.2.7.2"),
		net_rule(redirect_to_the_router_changes_nothing, "RFC 1812 4.3.3.2"),
		net_rule(ttl_of_two_leaves_as_one, "RFC 1812 5.3.1; RFC 791 3.2"),
		net_rule(ttl_of_one_is_enough_for_the_router_itself, "RFC 1812 4.2.2.9"),
		net_rule(broadcast_as_a_frame_is_not_routed, "RFC 1812 5.3.4"),
		net_rule(limited_and_multicast_destinations_are_not_routed, "RFC 1812 5.3.5; RFC 1812 5.3.7"),
		net_rule(packet_that_claims_to_come_from_the_router_is_a_martian, "RFC 1812 5.3.8"),
		net_rule(total_length_decides_where_the_packet_ends, "RFC 1812 5.2.2; RFC 894"),
		net_test(udp_length_that_lies_passes_unchanged),
		net_rule(identification_of_messages_of_ours_is_that_of_atomic_packets, "RFC 6864 4.1"),
		net_test(fragments_of_an_echo_to_the_router_are_not_answered),
		net_rule(echo_carries_any_payload_back, "RFC 1812 4.3.3.6; RFC 792"),
	};

	return net_main(tests);
}
