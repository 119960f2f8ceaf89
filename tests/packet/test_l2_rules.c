/* SPDX-License-Identifier: BSD-3-Clause */
/* test_l2_rules.c - ARP, RARP and VXLAN to the letter, beyond test_arp.c and test_vxlan.c. */
#include "ways.h"

#include <rte_tcp.h>

#define VNI_MAX 0xffffffu

static struct frame
padded(struct frame f)
{
	memset(f.b + f.len, 0, 60u - f.len);
	f.len = 60;
	return f;
}

/* ---- ARP and RARP ---- */

static void
padded_arp_is_answered(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, padded(arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = GW)));
	expect_frame(DC0, padded(arp_frame(.dmac = MAC_VM(5), .op = RTE_ARP_OP_REPLY, .sha = MAC_GW,
				  .spa = GW, .tha = MAC_VM(5), .tpa = PRIVATE(5))));
}

static void
answer_is_unicast_and_turns_the_question_round(void **state)
{
	(void)state;
	burst(WAN0, arp_frame(.dmac = MAC_ALL, .sha = MAC_ISP, .spa = ISP, .tha = MAC(9, 9, 9, 9, 9, 9),
			    .tpa = WAN0_IP)); /* the target's MAC in a question means nothing */
	expect_event(EVENT_NEIGH_SEEN);
	expect_frame(WAN0, arp_frame(.smac = MAC_WAN0, .dmac = MAC_ISP, .op = RTE_ARP_OP_REPLY,
				   .sha = MAC_WAN0, .spa = WAN0_IP, .tha = MAC_ISP, .tpa = ISP));
}

static void
unicast_question_on_a_wan_port_is_answered(void **state)
{
	(void)state;
	burst(WAN0, arp_frame(.dmac = MAC_WAN0, .sha = MAC_ISP, .spa = ISP, .tpa = WAN0_IP));
	expect_event(EVENT_NEIGH_SEEN);
	expect_frame(WAN0, arp_frame(.smac = MAC_WAN0, .dmac = MAC_ISP, .op = RTE_ARP_OP_REPLY,
				   .sha = MAC_WAN0, .spa = WAN0_IP, .tha = MAC_ISP, .tpa = ISP));
}

static void
question_for_somebody_else_on_a_wan_port_teaches_nothing(void **state)
{
	(void)state;
	burst(WAN0, arp_frame(.dmac = MAC_ALL, .sha = MAC_ISP, .spa = ISP, .tpa = IP(198, 51, 100, 3)));
	expect_drop(DROP_ARP_CONSUMED, 1);
	expect_no_event(EVENT_NEIGH_SEEN);
}

static void
unknown_operations_are_dropped(void **state)
{
	(void)state;
	vm_here(5);
	for (uint16_t op = 5; op < 30; op++) {
		burst(DC0,
			arp_frame(.dmac = MAC_ALL, .op = op, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = GW));
		burst(WAN0, arp_frame(.dmac = MAC_ALL, .op = op, .sha = MAC_ISP, .spa = ISP, .tpa = WAN0_IP));
	}
	expect_drop(DROP_ARP_MALFORMED, 50);
}

static void
rarp_of_a_vm_is_flooded_for_switches_to_learn(void **state)
{
	struct frame f = arp_frame(.dmac = MAC_ALL, .op = RTE_ARP_OP_REVREQUEST, .sha = MAC_VM(5),
		.tha = MAC_VM(5), .rarp = true);

	(void)state;
	vm_here(5);
	burst(DC0, f);
	expect_frame(DC1, with_vlan(f, VLAN_1B));
	expect_tunnel(R_Y, SEG1, f);
	expect_tunnel(R_Z, SEG1, f);
}

static void
rarp_that_lies_or_asks_with_arp_s_operations_is_dropped(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0,
		arp_frame(.smac = MAC_HOST(1), .dmac = MAC_ALL, .op = RTE_ARP_OP_REVREQUEST, .sha = MAC_VM(5),
			.tha = MAC_VM(5), .rarp = true),
		arp_frame(.dmac = MAC_ALL, .op = RTE_ARP_OP_REQUEST, .sha = MAC_VM(5), .tha = MAC_VM(5),
			.rarp = true));
	expect_drop(DROP_ARP_MALFORMED, 2);
}

static void
rarp_on_a_wan_port_is_not_spoken(void **state)
{
	(void)state;
	burst(WAN0, arp_frame(.dmac = MAC_WAN0, .op = RTE_ARP_OP_REVREQUEST, .sha = MAC_ISP, .tha = MAC_ISP,
			    .rarp = true));
	expect_drop(DROP_ETHERTYPE, 1);
}

/* ---- VXLAN ---- */

static struct frame
bridged(void)
{
	return udp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5), .sport = 1,
		.dport = 2);
}

static void
any_outer_source_port_is_taken(void **state)
{
	(void)state;
	vm_here(5);
	for (uint32_t port = 0; port <= UINT16_MAX; port = port * 4 + 3) {
		struct frame f = from_tunnel(R_Y, SEG1, bridged());

		f.b[34] = (uint8_t)(port >> 8);
		f.b[35] = (uint8_t)port;
		burst(WAN0, f);
		expect_frame(DC0, bridged());
	}
}

static void
other_udp_ports_are_no_tunnel(void **state)
{
	struct frame f = from_tunnel(R_Y, SEG1, bridged());

	(void)state;
	vm_here(5);
	f.b[36] = 0x21; /* 8472, of Linux before the RFC */
	f.b[37] = 0x18;
	burst(WAN0, f);
	expect_drop(DROP_LOCAL_UNANSWERED, 1);
	expect_frame(WAN0, icmp(OWN_ICMP, TO_ISP, .src = WAN0_IP, .dst = VTEP_Y, .icmp_type = 3,
				   .icmp_code = 3, QUOTE(&f)));
}

static void
outer_ip_options_are_stepped_over(void **state)
{
	struct frame inner = bridged();
	struct spec outer = {BY_ISP, .src = VTEP_Y, .dst = WAN0_IP, .sport = 50000, .options = 40};

	(void)state;
	vm_here(5);
	burst(WAN0, vxlan_frame(&outer, VNI(SEG1), &inner));
	expect_frame(DC0, inner);
}

static void
vni_has_24_bits(void **state)
{
	struct frame inner = bridged();
	struct spec outer = {BY_ISP, .src = VTEP_Y, .dst = WAN0_IP, .sport = 50000};

	(void)state;
	net.topo->segments[SEG1].vni = VNI_MAX;
	vm_here(5);
	burst(WAN0, vxlan_frame(&outer, VNI_MAX, &inner));
	expect_frame(DC0, inner);
	burst(WAN0, vxlan_frame(&outer, VNI_MAX & 0xffff, &inner));
	expect_drop(DROP_VNI_UNKNOWN, 1);
}

static void
priority_and_service_tags_inside_are_dropped(void **state)
{
	struct frame q = ether(RTE_ETHER_TYPE_VLAN, .smac = MAC_VM(6), .dmac = MAC_VM(5),
		.data = "\x60\x00\x08\x00", .size = 4);
	struct frame ad = ether(RTE_ETHER_TYPE_QINQ, .smac = MAC_VM(6), .dmac = MAC_VM(5),
		.data = "\x00\x07\x08\x00", .size = 4);

	(void)state;
	vm_here(5);
	burst(WAN0, from_tunnel(R_Y, SEG1, q), from_tunnel(R_Y, SEG1, ad));
	expect_drop(DROP_INNER_VLAN, 2);
}

static void
vlan_tag_of_an_attachment_does_not_enter_the_tunnel(void **state)
{
	struct frame f = udp(.smac = MAC_VM(5), .dmac = MAC_VM(6), .src = PRIVATE(5), .dst = PRIVATE(6));

	(void)state;
	vm(.mac = MAC_VM(5), .att = ATT_1B, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	vm_at(6, R_Y);
	burst(DC1, with_vlan(f, VLAN_1B));
	expect_tunnel(R_Y, SEG1, f);
	burst(WAN0, from_tunnel(R_Y, SEG1, bridged()));
	expect_frame(DC1, with_vlan(bridged(), VLAN_1B));
}

static void
every_ethertype_crosses_the_tunnel_untouched(void **state)
{
	static const uint16_t types[] = {0x86dd, 0x8847, 0x88cc, 0x8863, 0x88f7, 0x0842, 0x05ff, 46};

	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	for (size_t i = 0; i < RTE_DIM(types); i++) {
		struct frame out = ether(types[i], .smac = MAC_VM(5), .dmac = MAC_VM(6), .size = 61);
		struct frame in = ether(types[i], .smac = MAC_VM(6), .dmac = MAC_VM(5), .size = 61);

		burst(DC0, out);
		expect_tunnel(R_Y, SEG1, out);
		burst(WAN0, from_tunnel(R_Y, SEG1, in));
		expect_frame(DC0, in);
	}
}

static void
padding_of_a_bridged_frame_stays(void **state)
{
	struct frame f = padded(ether(RTE_ETHER_TYPE_IPV4, .smac = MAC_VM(5), .dmac = MAC_VM(6), .size = 20));

	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	net.broken = true;
	burst(DC0, f);
	expect_tunnel(R_Y, SEG1, f);
}

/* To the gateway it must be whole; between VMs it is none of a bridge's business, and nobody reads where it points. */
static void
ip_length_that_lies_about_a_tunnelled_frame_misleads_nobody(void **state)
{
	struct frame f = tcp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5),
		.sport = 1, .dport = 2, .flags = RTE_TCP_SYN_FLAG);

	(void)state;
	vm_here(5);
	net.broken = true;
	f.b[16] = 0xff; /* more than there is */
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	expect_frame(DC0, f);
	f.b[16] = 0; /* less than a header */
	f.b[17] = 7;
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	expect_frame(DC0, f);
	f.b[14] = 0x4f; /* options that are not there */
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	expect_frame(DC0, f);
	memcpy(f.b, MAC_GW.addr_bytes, 6);
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	expect_drop(DROP_IP_MALFORMED, 1);
}

static void
outer_length_that_lies_is_dropped(void **state)
{
	struct frame f = from_tunnel(R_Y, SEG1, bridged());

	(void)state;
	vm_here(5);
	f.b[17] += 1; /* IPv4: one byte more than there is */
	frame_checksums(&f);
	burst(WAN0, f);
	expect_drop(DROP_IP_MALFORMED, 1);
	f.b[17] -= 2; /* one byte less: no longer what UDP says */
	frame_checksums(&f);
	burst(WAN0, f);
	expect_drop(DROP_VXLAN_MALFORMED, 1);
}

static void
tunnel_packet_to_another_address_of_the_router_is_no_tunnel(void **state)
{
	struct frame inner = bridged();
	struct spec outer = {
		.smac = MAC_OTHER, .dmac = MAC_WAN1, .src = VTEP_Y, .dst = WAN1_IP, .sport = 50000};
	struct frame f = vxlan_frame(&outer, VNI(SEG1), &inner);

	(void)state;
	vm_here(5);
	burst(WAN1, f);
	expect_drop(DROP_LOCAL_UNANSWERED, 1);
	expect_frame(WAN0, icmp(OWN_ICMP, TO_ISP, .src = WAN1_IP, .dst = VTEP_Y, .icmp_type = 3,
				   .icmp_code = 3, QUOTE(&f)));
}

static void
what_changes_within_a_flow_does_not_change_the_outer_source_port(void **state)
{
	struct frame f = tcp(.smac = MAC_VM(5), .dmac = MAC_VM(6), .src = PRIVATE(5), .dst = PRIVATE(6),
		.sport = 1000, .dport = 80);
	uint16_t first;

	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	burst(DC0, f);
	first = expect_tunnel(R_Y, SEG1, f);
	for (uint32_t i = 0; i < 20; i++) {
		f = tcp(.smac = MAC_VM(5), .dmac = MAC_VM(6), .src = PRIVATE(5), .dst = PRIVATE(6),
			.sport = 1000, .dport = 80, .seq = i, .flags = RTE_TCP_FIN_FLAG, .tos = (uint8_t)i);
		burst(DC0, f);
		assert_int_equal(expect_tunnel(R_Y, SEG1, f), first);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_rule(padded_arp_is_answered, "RFC 826; RFC 894"),
		net_rule(answer_is_unicast_and_turns_the_question_round, "RFC 826"),
		net_rule(unicast_question_on_a_wan_port_is_answered, "RFC 1122 2.3.2.1"),
		net_rule(question_for_somebody_else_on_a_wan_port_teaches_nothing, "RFC 826"),
		net_rule(unknown_operations_are_dropped, "RFC 826"),
		net_rule(rarp_of_a_vm_is_flooded_for_switches_to_learn, "RFC 903"),
		net_rule(rarp_that_lies_or_asks_with_arp_s_operations_is_dropped, "RFC 903"),
		net_rule(rarp_on_a_wan_port_is_not_spoken, "RFC 903"),
		net_rule(any_outer_source_port_is_taken, "RFC 7348 5"),
		net_rule(other_udp_ports_are_no_tunnel, "RFC 7348 5"),
		net_rule(outer_ip_options_are_stepped_over, "RFC 7348 5; RFC 791 3.1"),
		net_rule(vni_has_24_bits, "RFC 7348 5"),
		net_rule(priority_and_service_tags_inside_are_dropped, "RFC 7348 6.1"),
		net_rule(vlan_tag_of_an_attachment_does_not_enter_the_tunnel, "RFC 7348 6.1; IEEE 802.1Q"),
		net_rule(every_ethertype_crosses_the_tunnel_untouched, "RFC 7348 4.1"),
		net_rule(padding_of_a_bridged_frame_stays, "IEEE 802.1D 7.7.2"),
		net_rule(ip_length_that_lies_about_a_tunnelled_frame_misleads_nobody, "RFC 1812 5.2.2"),
		net_rule(outer_length_that_lies_is_dropped, "RFC 1812 5.2.2; RFC 768"),
		net_rule(tunnel_packet_to_another_address_of_the_router_is_no_tunnel, "RFC 7348 4.1"),
		net_rule(what_changes_within_a_flow_does_not_change_the_outer_source_port, "RFC 7348 5"),
	};

	return net_main(tests);
}
