/* SPDX-License-Identifier: BSD-3-Clause */
/* ARP on routed ports. */
#include "harness.h"

#define REPLY 2

static struct frame
ask(rte_be32_t ip)
{
	return arp_frame(.dmac = MAC_ALL, .sha = MAC_ISP, .spa = ISP, .tpa = ip);
}

static struct frame
answer(rte_be32_t ip)
{
	return arp_frame(.smac = MAC_WAN0, .dmac = MAC_ISP, .op = REPLY, .sha = MAC_WAN0, .spa = ip,
		.tha = MAC_ISP, .tpa = ISP);
}

static void
a_port_answers_for_its_own_address_and_tells_of_the_asker(void **state)
{
	struct dp_event ev;

	(void)state;
	burst(WAN0, ask(WAN0_IP));
	expect_frame(WAN0, answer(WAN0_IP));
	ev = expect_event(EVENT_NEIGH_SEEN);
	assert_int_equal(ev.ip, ISP);
	assert_int_equal(ev.port, WAN0);
	assert_memory_equal(&ev.mac, &MAC_ISP, 6);
}

static void
a_port_does_not_answer_for_another_port_or_for_anybody_else(void **state)
{
	(void)state;
	burst(WAN0, ask(WAN1_IP), ask(USER), ask(GW), ask(0));
	expect_drop(DROP_ARP_CONSUMED, 4);
	net.topo->ports[WAN0].ip = 0;
	burst(WAN0, ask(0));
	expect_drop(DROP_ARP_CONSUMED, 1);
	expect_no_event(EVENT_NEIGH_SEEN);
}

static void
an_on_link_global_address_is_answered_for_while_it_is_registered_here(void **state)
{
	(void)state;
	burst(WAN0, ask(GLOBAL(65)));
	expect_drop(DROP_ARP_CONSUMED, 1);
	vm_here(65);
	burst(WAN0, ask(GLOBAL(65)));
	expect_frame(WAN0, answer(GLOBAL(65)));
	vm_moved_away(65, R_Y);
	burst(WAN0, ask(GLOBAL(65)));
	expect_frame(WAN0, answer(GLOBAL(65)));
	vm_at(65, R_Y);
	burst(WAN0, ask(GLOBAL(65)));
	expect_drop(DROP_ARP_CONSUMED, 1);
}

static void
an_address_that_a_peer_translates_is_not_answered_for(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(66), .seg = SEG1, .owner = R_Y, .location = R_Y, .att = ATT_ANY, .n_addresses = 1,
		.addresses = {{PRIVATE(66), GLOBAL(66)}}, .n_drains = 1,
		.drains = {{.ip = PRIVATE(66), .global = GLOBAL(67), .home = R_Z}});
	burst(WAN0, ask(GLOBAL(66)), ask(GLOBAL(67)));
	expect_drop(DROP_ARP_CONSUMED, 2);
}

static void
an_address_of_a_pool_that_is_routed_to_us_is_not_answered_for(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, ask(GLOBAL(5)));
	expect_drop(DROP_ARP_CONSUMED, 1);
}

static void
a_probe_is_answered_and_teaches_nothing(void **state)
{
	(void)state;
	burst(WAN0, arp_frame(.dmac = MAC_ALL, .sha = MAC_OTHER, .spa = 0, .tpa = WAN0_IP));
	expect_frame(WAN0, arp_frame(.smac = MAC_WAN0, .dmac = MAC_OTHER, .op = REPLY, .sha = MAC_WAN0,
				   .spa = WAN0_IP, .tha = MAC_OTHER, .tpa = 0));
	expect_no_event(EVENT_NEIGH_SEEN);
}

static void
replies_and_announcements_of_neighbours_are_told_and_consumed(void **state)
{
	struct frame reply = arp_frame(.dmac = MAC_WAN1, .op = REPLY, .sha = MAC_OTHER, .spa = OTHER,
		.tha = MAC_WAN1, .tpa = WAN1_IP);

	(void)state;
	burst(WAN1, reply, arp_frame(.dmac = MAC_ALL, .sha = MAC_OTHER, .spa = OTHER, .tpa = OTHER));
	expect_drop(DROP_ARP_CONSUMED, 2);
	assert_int_equal(expect_event(EVENT_NEIGH_SEEN).ip, OTHER);
	assert_int_equal(expect_event(EVENT_NEIGH_SEEN).port, WAN1);
}

/* The next hop of a route that names the port may be anywhere, and so may a destination on it. */
static void
a_neighbour_outside_the_connected_prefix_is_told_too(void **state)
{
	struct dp_event ev;

	(void)state;
	burst(WAN1, arp_frame(.dmac = MAC_WAN1, .op = REPLY, .sha = MAC_OTHER, .spa = ISP, .tha = MAC_WAN1,
			    .tpa = WAN1_IP));
	expect_drop(DROP_ARP_CONSUMED, 1);
	ev = expect_event(EVENT_NEIGH_SEEN);
	assert_int_equal(ev.ip, ISP);
	assert_int_equal(ev.port, WAN1);
}

static void
who_claims_our_address_is_not_believed(void **state)
{
	(void)state;
	vm_here(65);
	burst(WAN0, arp_frame(.dmac = MAC_ALL, .sha = MAC_OTHER, .spa = WAN0_IP, .tpa = WAN0_IP),
		arp_frame(.dmac = MAC_ALL, .sha = MAC_OTHER, .spa = GLOBAL(65), .tpa = ISP));
	expect_drop(DROP_ARP_MALFORMED, 2);
	expect_no_event(EVENT_NEIGH_SEEN);
}

static struct frame
bent(uint16_t at, uint8_t value)
{
	struct frame f = ask(WAN0_IP);

	f.b[at] = value;
	return f;
}

static void
malformed_arp_is_dropped(void **state)
{
	struct frame cut = ask(WAN0_IP);

	(void)state;
	cut.len = 41;
	burst(WAN0, cut, bent(14, 1), bent(16, 0x86), bent(18, 8), bent(19, 16), bent(21, 9), bent(27, 0x99),
		bent(28, 127), bent(28, 240));
	expect_drop(DROP_ARP_MALFORMED, 9);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		net_rule(a_port_answers_for_its_own_address_and_tells_of_the_asker, "RFC 826"),
		net_rule(a_port_does_not_answer_for_another_port_or_for_anybody_else,
			"RFC 826; RFC 1812 3.3.2"),
		net_rule(an_on_link_global_address_is_answered_for_while_it_is_registered_here,
			"RFC 3022 5.3"),
		net_test(an_address_that_a_peer_translates_is_not_answered_for),
		net_test(an_address_of_a_pool_that_is_routed_to_us_is_not_answered_for),
		net_rule(a_probe_is_answered_and_teaches_nothing, "RFC 5227 2.5; RFC 5227 2.1.1"),
		net_rule(replies_and_announcements_of_neighbours_are_told_and_consumed,
			"RFC 826; RFC 5227 2.3"),
		net_rule(who_claims_our_address_is_not_believed, "RFC 5227 2.4"),
		net_rule(malformed_arp_is_dropped, "RFC 826"),
		net_test(a_neighbour_outside_the_connected_prefix_is_told_too),
	};

	return net_main(tests);
}
