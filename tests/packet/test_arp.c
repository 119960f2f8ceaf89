/* SPDX-License-Identifier: BSD-3-Clause */
/* ARP of segments: one gateway address, several routers, one answer. */
#include "harness.h"

#include <rte_arp.h>
#include <stdlib.h>

#define REPLY 2

static struct frame
ask_gateway(uint8_t n)
{
	return arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(n), .spa = PRIVATE(n), .tpa = GW);
}

static struct frame
gateway_answer(uint8_t n, struct rte_ether_addr ethernet_source)
{
	return arp_frame(.smac = ethernet_source, .dmac = MAC_VM(n), .op = REPLY, .sha = MAC_GW, .spa = GW,
		.tha = MAC_VM(n), .tpa = PRIVATE(n));
}

/* ---- who asks for the gateway ---- */

static void
the_owner_answers_its_vm_with_the_gateway_s_mac(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, ask_gateway(5));
	expect_frame(DC0, gateway_answer(5, MAC_GW));
}

static void
the_answer_goes_back_to_the_vlan_it_came_from(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC1, with_vlan(ask_gateway(5), VLAN_1B));
	expect_frame(DC1, with_vlan(gateway_answer(5, MAC_GW), VLAN_1B));
}

static void
a_unicast_question_for_the_gateway_is_answered_as_well(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, arp_frame(.dmac = MAC_GW, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = GW));
	expect_frame(DC0, gateway_answer(5, MAC_GW));
}

static void
a_vm_of_a_peer_is_not_answered_but_its_owner_asked_alone(void **state)
{
	(void)state;
	vm_at(5, R_Z);
	burst(DC0, ask_gateway(5));
	expect_tunnel(R_Z, SEG1, ask_gateway(5));
}

static void
a_host_that_nobody_registered_gets_no_answer_and_no_flooding(void **state)
{
	(void)state;
	burst(DC0, ask_gateway(5));
	burst(WAN0, from_tunnel(R_Y, SEG1, ask_gateway(5)));
	expect_drop(DROP_GW_ARP_UNREGISTERED, 2);
}

static void
the_mac_of_a_vm_with_another_s_ip_gets_no_answer(void **state)
{
	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0, arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = PRIVATE(6), .tpa = GW));
	expect_drop(DROP_GW_ARP_UNREGISTERED, 1);
}

static void
an_owner_answers_through_the_tunnel_with_its_router_mac(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, from_tunnel(R_Y, SEG1, ask_gateway(5)));
	expect_tunnel(R_Y, SEG1, gateway_answer(5, MAC_RX));
}

static void
a_question_from_the_tunnel_for_a_vm_of_another_owner_is_dropped(void **state)
{
	(void)state;
	vm_at(5, R_Z);
	burst(WAN0, from_tunnel(R_Y, SEG1, ask_gateway(5)));
	expect_drop(DROP_GW_ARP_OWNER_ELSE, 1);
}

static void
the_owner_s_answer_is_delivered_with_the_gateway_s_mac(void **state)
{
	(void)state;
	vm_at(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, gateway_answer(5, MAC_RY)));
	expect_frame(DC0, gateway_answer(5, MAC_GW));
	expect_frame(DC1, with_vlan(gateway_answer(5, MAC_GW), VLAN_1B));
}

static void
an_answer_about_the_gateway_of_a_router_that_is_not_the_owner_is_suppressed(void **state)
{
	struct frame another_mac = arp_frame(.smac = MAC_RY, .dmac = MAC_VM(6), .op = REPLY, .sha = MAC_RY,
		.spa = GW, .tha = MAC_VM(6), .tpa = PRIVATE(6));
	struct frame another_target = arp_frame(.smac = MAC_RY, .dmac = MAC_VM(6), .op = REPLY, .sha = MAC_GW,
		.spa = GW, .tha = MAC_VM(5), .tpa = PRIVATE(5));
	struct frame announcement =
		arp_frame(.smac = MAC_RY, .dmac = MAC_ALL, .sha = MAC_GW, .spa = GW, .tpa = GW);

	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, gateway_answer(5, MAC_RY)),
		from_tunnel(R_Z, SEG1, gateway_answer(6, MAC_RZ)), from_tunnel(R_Y, SEG1, another_mac),
		from_tunnel(R_Y, SEG1, announcement), from_tunnel(R_Y, SEG1, another_target));
	expect_drop(DROP_GW_ARP_SUPPRESSED, 5);
}

static void
other_arp_of_a_router_mac_is_for_nobody(void **state)
{
	(void)state;
	burst(WAN0, from_tunnel(R_Y, SEG1,
			    arp_frame(.dmac = MAC_ALL, .sha = MAC_RY, .spa = PRIVATE(9), .tpa = PRIVATE(5))));
	expect_drop(DROP_ARP_CONSUMED, 1);
}

static void
arp_with_the_gateway_s_mac_as_source_is_suppressed_everywhere(void **state)
{
	struct frame f = arp_frame(.dmac = MAC_ALL, .sha = MAC_GW, .spa = GW, .tpa = GW);

	(void)state;
	burst(DC0, f);
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	expect_drop(DROP_GW_ARP_SUPPRESSED, 2);
	expect_no_event(EVENT_CONFLICT);
}

static void
a_vm_s_probe_for_the_gateway_s_address_is_answered(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = 0, .tpa = GW));
	expect_frame(DC0, arp_frame(.smac = MAC_GW, .dmac = MAC_VM(5), .op = REPLY, .sha = MAC_GW, .spa = GW,
				  .tha = MAC_VM(5), .tpa = 0));
}

static void
a_stranger_s_probe_for_the_gateway_s_address_is_answered_on_its_own_port_alone(void **state)
{
	struct frame probe = arp_frame(.dmac = MAC_ALL, .sha = MAC_HOST(9), .spa = 0, .tpa = GW);

	(void)state;
	burst(DC0, probe);
	expect_frame(DC0, arp_frame(.smac = MAC_GW, .dmac = MAC_HOST(9), .op = REPLY, .sha = MAC_GW,
				  .spa = GW, .tha = MAC_HOST(9), .tpa = 0));
	expect_event(EVENT_MAC_LEARN);
	burst(WAN0, from_tunnel(R_Y, SEG1, probe)); /* the other site's router answers there */
	expect_drop(DROP_GW_ARP_UNREGISTERED, 1);
}

static void
a_reply_to_the_gateway_is_consumed(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0,
		arp_frame(.dmac = MAC_GW, .op = REPLY, .sha = MAC_VM(5), .spa = PRIVATE(5), .tha = MAC_GW,
			.tpa = GW),
		arp_frame(.dmac = MAC_RX, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = PRIVATE(6)),
		arp_frame(.dmac = MAC_GW, .op = 3, .rarp = true, .sha = MAC_VM(5), .tha = MAC_VM(5)));
	expect_drop(DROP_ARP_CONSUMED, 3);
}

/* ---- who claims it ---- */

static struct frame
announcement(void)
{
	struct frame f = arp_frame(.dmac = MAC_ALL, .sha = MAC_GW, .spa = GW, .tpa = GW);

	f.len = 60;
	return f;
}

static void
a_stranger_s_claim_is_an_alarm_and_is_answered_on_dc_ports_alone(void **state)
{
	struct dp_event ev;

	(void)state;
	burst(DC1, with_vlan(arp_frame(.dmac = MAC_ALL, .sha = MAC_HOST(7), .spa = GW, .tpa = GW), VLAN_1B));
	expect_drop(DROP_GW_CONFLICT, 1);
	expect_frame(DC0, announcement());
	expect_frame(DC1, with_vlan(announcement(), VLAN_1B));
	ev = expect_event(EVENT_CONFLICT);
	assert_memory_equal(&ev.mac, &MAC_HOST(7), 6);
	assert_int_equal(ev.port, DC1);
	assert_int_equal(ev.att, ATT_1B);
	assert_int_equal(ev.ip, GW);
	assert_int_equal(net.w->c.made[MADE_DEFENCE], 2);
}

static void
a_reply_that_puts_the_gateway_at_a_vm_is_a_claim_too(void **state)
{
	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0,
		arp_frame(.dmac = MAC_VM(6), .op = REPLY, .sha = MAC_VM(5), .spa = GW, .tha = MAC_VM(6),
			.tpa = PRIVATE(6)),
		arp_frame(.smac = MAC_HOST(7), .dmac = MAC_VM(6), .op = REPLY, .sha = MAC_GW, .spa = GW,
			.tpa = PRIVATE(6)));
	expect_drop(DROP_GW_CONFLICT, 2);
	expect_frame(DC0, announcement());
	expect_frame(DC1, with_vlan(announcement(), VLAN_1B));
}

static void
the_address_is_defended_once_in_ten_seconds(void **state)
{
	struct frame claim = arp_frame(.dmac = MAC_ALL, .sha = MAC_HOST(7), .spa = GW, .tpa = GW);

	(void)state;
	burst(DC0, claim, claim, claim);
	expect_drop(DROP_GW_CONFLICT, 3);
	expect_frame(DC0, announcement());
	expect_frame(DC1, with_vlan(announcement(), VLAN_1B));
	expect_nothing();
	net_advance(9999);
	burst(DC0, claim);
	expect_drop(DROP_GW_CONFLICT, 1);
	expect_nothing();
	net_advance(1);
	burst(WAN0, from_tunnel(R_Y, SEG1, claim));
	expect_drop(DROP_GW_CONFLICT, 1);
	expect_frame(DC0, announcement());
	expect_frame(DC1, with_vlan(announcement(), VLAN_1B));
}

static void
a_scratch_worker_defends_nothing(void **state)
{
	(void)state;
	net.w->scratch = true;
	burst(DC0, arp_frame(.dmac = MAC_ALL, .sha = MAC_HOST(7), .spa = GW, .tpa = GW));
	expect_drop(DROP_GW_CONFLICT, 1);
}

/* ---- VMs among themselves ---- */

static void
a_question_for_a_vm_at_a_peer_is_answered_for_it(void **state)
{
	(void)state;
	vm_here(5);
	vm_at(9, R_Y);
	burst(DC0, arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = PRIVATE(9)));
	expect_frame(DC0, arp_frame(.smac = MAC_GW, .dmac = MAC_VM(5), .op = REPLY, .sha = MAC_VM(9),
				  .spa = PRIVATE(9), .tha = MAC_VM(5), .tpa = PRIVATE(5)));
}

static void
expect_flooded(struct frame f)
{
	expect_frame(DC1, with_vlan(f, VLAN_1B));
	expect_tunnel(R_Y, SEG1, f);
	expect_tunnel(R_Z, SEG1, f);
}

static void
without_suppression_the_question_is_flooded(void **state)
{
	struct frame f = arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = PRIVATE(9));

	(void)state;
	net.topo->segments[SEG1].suppress_arp = false;
	vm_here(5);
	vm_at(9, R_Y);
	burst(DC0, f);
	expect_flooded(f);
}

static void
probes_announcements_and_questions_for_local_or_unknown_hosts_are_flooded(void **state)
{
	struct frame f[] = {
		arp_frame(.dmac = MAC_ALL, .sha = MAC_HOST(1), .spa = 0, .tpa = PRIVATE(9)),
		arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(9), .spa = PRIVATE(9), .tpa = PRIVATE(9)),
		arp_frame(.dmac = MAC_ALL, .sha = MAC_HOST(1), .spa = PRIVATE(9), .tpa = PRIVATE(9)),
		arp_frame(.dmac = MAC_ALL, .op = REPLY, .sha = MAC_VM(5), .spa = PRIVATE(5),
			.tpa = PRIVATE(5)),
		arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = PRIVATE(6)),
		arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = PRIVATE(77)),
		arp_frame(.dmac = MAC_ALL, .op = 3, .rarp = true, .sha = MAC_VM(9), .tha = MAC_VM(9)),
	};

	(void)state;
	vm_here(5);
	vm_here(6);
	vm_at(9, R_Y);
	for (size_t i = 0; i < RTE_DIM(f); i++) {
		burst(DC0, f[i]);
		expect_flooded(f[i]);
	}
}

static void
a_vm_that_arrived_unannounced_is_not_told_of_itself(void **state)
{
	struct frame f = arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(9), .spa = PRIVATE(8), .tpa = PRIVATE(9));

	(void)state;
	vm_at(9, R_Y);
	burst(DC0, f);
	expect_flooded(f);
}

static void
a_unicast_question_goes_to_the_vm_itself(void **state)
{
	struct frame f = arp_frame(.dmac = MAC_VM(9), .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = PRIVATE(9));

	(void)state;
	vm_here(5);
	vm_at(9, R_Y);
	burst(DC0, f);
	expect_tunnel(R_Y, SEG1, f);
}

static void
a_question_from_the_tunnel_is_flooded_to_attachments_alone(void **state)
{
	const rte_be32_t target[] = {PRIVATE(5), PRIVATE(8), PRIVATE(77)};

	(void)state;
	vm_here(5);
	vm_at(8, R_Z);
	vm_at(9, R_Y);
	for (size_t i = 0; i < RTE_DIM(target); i++) {
		struct frame f =
			arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(9), .spa = PRIVATE(9), .tpa = target[i]);

		burst(WAN0, from_tunnel(R_Y, SEG1, f));
		expect_frame(DC0, f);
		expect_frame(DC1, with_vlan(f, VLAN_1B));
	}
}

/* ---- malformed ---- */

static struct frame
bent(uint16_t at, uint8_t value)
{
	struct frame f = ask_gateway(5);

	f.b[at] = value;
	return f;
}

static void
malformed_arp_is_dropped(void **state)
{
	struct frame cut = ask_gateway(5),
		     rarp = arp_frame(.dmac = MAC_ALL, .op = 1, .rarp = true, .sha = MAC_VM(5));

	(void)state;
	vm_here(5);
	cut.len = 41;
	burst(DC0, cut, bent(14, 1), bent(16, 0x86), bent(18, 8), bent(19, 16), bent(21, 9), rarp);
	expect_drop(DROP_ARP_MALFORMED, 7);
}

static void
arp_that_lies_about_its_sender_is_dropped(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0,
		arp_frame(.smac = MAC_VM(5), .dmac = MAC_ALL, .sha = MAC_VM(6), .spa = PRIVATE(5), .tpa = GW),
		arp_frame(.smac = MAC_VM(5), .dmac = MAC_ALL, .op = 3, .rarp = true, .sha = MAC_VM(6)),
		arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = IP(127, 0, 0, 1), .tpa = GW),
		arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = IP(224, 0, 0, 1), .tpa = GW));
	expect_drop(DROP_ARP_MALFORMED, 4);
}

static void
mutated_arp_ends_in_frames_or_named_drops(void **state)
{
	struct frame seeds[] = {
		ask_gateway(5),
		ask_gateway(9),
		arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = PRIVATE(9)),
		arp_frame(.dmac = MAC_VM(5), .op = REPLY, .sha = MAC_VM(6), .spa = PRIVATE(6),
			.tpa = PRIVATE(5)),
		arp_frame(.dmac = MAC_ALL, .op = 3, .rarp = true, .sha = MAC_VM(9), .tha = MAC_VM(9)),
		gateway_answer(9, MAC_RY),
	};

	(void)state;
	net.broken = true;
	vm_here(5);
	vm_here(6);
	vm_at(9, R_Y);
	srandom(826);
	for (int i = 0; i < 50000; i++) {
		struct frame f = seeds[random() % (long)RTE_DIM(seeds)];

		for (long k = random() % 3; k >= 0; k--)
			f.b[random() % f.len] = (uint8_t)random();
		if (random() % 4 == 0)
			f.len = (uint16_t)(random() % f.len);
		switch (random() % 3) {
		case 0:
			net_same_either_way(DC0, &f, 1);
			break;
		case 1:
			f = from_tunnel(R_Y, SEG1, f);
			net_same_either_way(WAN0, &f, 1);
			break;
		default:
			net_same_either_way(WAN0, &f, 1);
		}
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		net_rule(the_owner_answers_its_vm_with_the_gateway_s_mac, "RFC 826"),
		net_rule(the_answer_goes_back_to_the_vlan_it_came_from, "IEEE 802.1Q"),
		net_rule(a_unicast_question_for_the_gateway_is_answered_as_well, "RFC 826; RFC 1122 2.3.2.1"),
		net_test(a_vm_of_a_peer_is_not_answered_but_its_owner_asked_alone),
		net_test(a_host_that_nobody_registered_gets_no_answer_and_no_flooding),
		net_test(the_mac_of_a_vm_with_another_s_ip_gets_no_answer),
		net_test(an_owner_answers_through_the_tunnel_with_its_router_mac),
		net_test(a_question_from_the_tunnel_for_a_vm_of_another_owner_is_dropped),
		net_test(the_owner_s_answer_is_delivered_with_the_gateway_s_mac),
		net_test(an_answer_about_the_gateway_of_a_router_that_is_not_the_owner_is_suppressed),
		net_test(other_arp_of_a_router_mac_is_for_nobody),
		net_test(arp_with_the_gateway_s_mac_as_source_is_suppressed_everywhere),
		net_rule(a_vm_s_probe_for_the_gateway_s_address_is_answered, "RFC 5227 2.5"),
		net_rule(a_reply_to_the_gateway_is_consumed, "RFC 826"),
		net_rule(a_stranger_s_claim_is_an_alarm_and_is_answered_on_dc_ports_alone, "RFC 5227 2.4"),
		net_rule(a_reply_that_puts_the_gateway_at_a_vm_is_a_claim_too, "RFC 5227 2.4"),
		net_rule(the_address_is_defended_once_in_ten_seconds, "RFC 5227 2.4"),
		net_test(a_stranger_s_probe_for_the_gateway_s_address_is_answered_on_its_own_port_alone),
		net_test(a_scratch_worker_defends_nothing),
		net_rule(a_question_for_a_vm_at_a_peer_is_answered_for_it, "RFC 826"),
		net_test(without_suppression_the_question_is_flooded),
		net_rule(probes_announcements_and_questions_for_local_or_unknown_hosts_are_flooded,
			"RFC 5227 2.1.1; RFC 5227 2.3"),
		net_rule(a_vm_that_arrived_unannounced_is_not_told_of_itself, "RFC 5227 2.1.1"),
		net_test(a_unicast_question_goes_to_the_vm_itself),
		net_test(a_question_from_the_tunnel_is_flooded_to_attachments_alone),
		net_rule(malformed_arp_is_dropped, "RFC 826"),
		net_rule(arp_that_lies_about_its_sender_is_dropped, "RFC 5227 2.4"),
		net_test(mutated_arp_ends_in_frames_or_named_drops),
	};

	return net_main(tests);
}
