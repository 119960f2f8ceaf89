/* SPDX-License-Identifier: BSD-3-Clause */
/* Static NAT both ways. Expected frames have checksums computed from scratch. */
#include "ways.h"

#include <stdlib.h>

#define GRE 47

static void
nat_out_gives_udp_the_global_address(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 999, .dport = 53));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 999, .dport = 53, ROUTED));
}

static void
nat_in_gives_udp_the_private_address(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 53, .dport = 999));
	expect_frame(DC0, udp(TO_VM(5), .src = USER, .sport = 53, .dport = 999, ROUTED));
}

static void
nat_translates_tcp_both_ways(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, tcp(BY_VM(5), .dst = USER, .sport = 999, .dport = 80, .seq = 7, .ack = 9));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 999, .dport = 80, .seq = 7,
				   .ack = 9, ROUTED));
	burst(WAN0,
		tcp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 80, .dport = 999, .seq = 9, .ack = 7));
	expect_frame(DC0, tcp(TO_VM(5), .src = USER, .sport = 80, .dport = 999, .seq = 9, .ack = 7, ROUTED));
}

static void
nat_translates_echo_both_ways(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, echo_request(BY_VM(5), .dst = USER, .sport = 77, .dport = 1));
	expect_frame(
		WAN0, echo_request(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 77, .dport = 1, ROUTED));
	burst(WAN0, echo_reply(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 77, .dport = 1));
	expect_frame(DC0, echo_reply(TO_VM(5), .src = USER, .sport = 77, .dport = 1, ROUTED));
}

static void
nat_translates_any_other_protocol_both_ways(void **state)
{
	(void)state;
	vm_here(5);
	for (int proto = 0; proto < 256; proto++) {
		bool has_header = proto == IPPROTO_ICMP || proto == IPPROTO_TCP || proto == IPPROTO_UDP ||
				  proto == IPPROTO_UDPLITE || proto == IPPROTO_DCCP;

		if (has_header)
			continue;
		burst(DC0, ip(BY_VM(5), .dst = USER, .proto = (uint8_t)proto, .size = 21));
		expect_frame(WAN0, ip(TO_ISP, .src = GLOBAL(5), .dst = USER, .proto = (uint8_t)proto,
					   .size = 21, ROUTED));
		burst(WAN0, ip(BY_ISP, .src = USER, .dst = GLOBAL(5), .proto = (uint8_t)proto, .size = 21));
		expect_frame(DC0, ip(TO_VM(5), .src = USER, .proto = (uint8_t)proto, .size = 21, ROUTED));
	}
}

static void
nat_passes_a_packet_without_payload(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, ip(BY_VM(5), .dst = USER, .proto = GRE, .empty = true));
	expect_frame(WAN0, ip(TO_ISP, .src = GLOBAL(5), .dst = USER, .proto = GRE, .empty = true, ROUTED));
}

static void
nat_keeps_a_zero_udp_checksum(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .no_checksum = true));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2,
				   .no_checksum = true, ROUTED));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 2, .dport = 1, .no_checksum = true));
	expect_frame(DC0, udp(TO_VM(5), .src = USER, .sport = 2, .dport = 1, .no_checksum = true, ROUTED));
}

static void
nat_sends_a_udp_checksum_that_comes_out_zero_as_all_ones(void **state)
{
	struct frame want = {0};
	uint16_t v = 0;

	(void)state;
	vm_here(5);
	do /* some payload sums up to zero */
		want = udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .data = &v,
			.size = 2, ROUTED);
	while ((want.b[40] != 0xff || want.b[41] != 0xff) && ++v != 0);
	assert_true(want.b[40] == 0xff && want.b[41] == 0xff);
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .data = &v, .size = 2));
	expect_frame(WAN0, want);
}

static void
nat_keeps_ip_options(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .options = 12));
	expect_frame(WAN0,
		tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .options = 12, ROUTED));
	burst(WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, .options = 40));
	expect_frame(DC0, tcp(TO_VM(5), .src = USER, .sport = 1, .dport = 2, .options = 40, ROUTED));
}

/* Random packets of all lengths, odd ones too. */
static void
nat_checksums_are_those_computed_from_scratch(void **state)
{
	uint8_t data[1400];

	(void)state;
	srand(1);
	vm_here(5);
	for (int i = 0; i < 3000; i++) {
		uint16_t size = (uint16_t)(1 + rand() % (i % 2 != 0 ? 33 : 1400)), a = (uint16_t)rand(),
			 b = (uint16_t)rand();
		rte_be32_t far = IP(8, (uint8_t)rand(), (uint8_t)rand(), (uint8_t)rand());

		for (uint16_t k = 0; k < size; k++)
			data[k] = (uint8_t)(i % 3 == 0 ? 0xff : rand());
		burst(DC0, udp(BY_VM(5), .dst = far, .sport = a, .dport = b, .data = data, .size = size),
			tcp(BY_VM(5), .dst = far, .sport = a, .dport = b, .data = data, .size = size));
		expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = far, .sport = a, .dport = b,
					   .data = data, .size = size, ROUTED));
		expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = far, .sport = a, .dport = b,
					   .data = data, .size = size, ROUTED));
		burst(WAN0,
			tcp(BY_ISP, .src = far, .dst = GLOBAL(5), .sport = a, .dport = b, .data = data,
				.size = size),
			udp(BY_ISP, .src = far, .dst = GLOBAL(5), .sport = a, .dport = b, .data = data,
				.size = size));
		expect_frame(DC0, tcp(TO_VM(5), .src = far, .sport = a, .dport = b, .data = data,
					  .size = size, ROUTED));
		expect_frame(DC0, udp(TO_VM(5), .src = far, .sport = a, .dport = b, .data = data,
					  .size = size, ROUTED));
		expect_nothing();
		net_forget();
	}
}

/* ---- fragments ---- */

static void
nat_translates_fragments_so_that_the_whole_is_right(void **state)
{
	struct frame out[] = {udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = 1400),
		tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = 1400)};
	struct frame want[] = {
		udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .size = 1400, ROUTED),
		tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .size = 1400, ROUTED)};

	(void)state;
	vm_here(5);
	for (int i = 0; i < 2; i++) {
		uint16_t rest = (uint16_t)(out[i].len - 34 - 1200);

		burst(DC0, fragment_of(&out[i], 0, 800, false), fragment_of(&out[i], 800, 400, false),
			fragment_of(&out[i], 1200, rest, true));
		expect_frame(WAN0, fragment_of(&want[i], 0, 800, false));
		expect_frame(WAN0, fragment_of(&want[i], 800, 400, false));
		expect_frame(WAN0, fragment_of(&want[i], 1200, rest, true));
	}
}

static void
nat_in_translates_fragments_so_that_the_whole_is_right(void **state)
{
	struct frame in = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, .size = 1000);
	struct frame want = udp(TO_VM(5), .src = USER, .sport = 1, .dport = 2, .size = 1000, ROUTED);

	(void)state;
	vm_here(5);
	burst(WAN0, fragment_of(&in, 800, 208, true), fragment_of(&in, 0, 800, false)); /* out of order */
	expect_frame(DC0, fragment_of(&want, 800, 208, true));
	expect_frame(DC0, fragment_of(&want, 0, 800, false));
}

/* ---- ICMP errors ---- */

/* The world tells the VM about a packet that the VM sent. */
static void
world_complains(struct frame sent_outside, struct frame sent_inside)
{
	burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 11, QUOTE(&sent_outside)));
	expect_frame(DC0, icmp(TO_VM(5), .src = ISP, .icmp_type = 11, QUOTE(&sent_inside), ROUTED));
}

/* The VM tells the world about a packet that it got. */
static void
vm_complains(struct frame got_inside, struct frame got_outside)
{
	burst(DC0, icmp(BY_VM(5), .dst = USER, .icmp_type = 3, .icmp_code = 3, QUOTE(&got_inside)));
	expect_frame(WAN0, icmp(TO_ISP, .src = GLOBAL(5), .dst = USER, .icmp_type = 3, .icmp_code = 3,
				   QUOTE(&got_outside), ROUTED));
}

static void
nat_in_translates_icmp_errors_inside_out(void **state)
{
	(void)state;
	vm_here(5);
	world_complains(udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1),
		udp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1));
	world_complains(tcp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1),
		tcp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1));
	world_complains(echo_request(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1),
		echo_request(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2, .ttl = 1));
	world_complains(ip(.src = GLOBAL(5), .dst = USER, .proto = GRE, .ttl = 1, .size = 33),
		ip(.src = PRIVATE(5), .dst = USER, .proto = GRE, .ttl = 1, .size = 33));
	world_complains(udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .options = 8),
		udp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2, .options = 8));
}

static void
nat_out_translates_icmp_errors_inside_out(void **state)
{
	(void)state;
	vm_here(5);
	vm_complains(udp(.src = USER, .dst = PRIVATE(5), .sport = 1, .dport = 2),
		udp(.src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2));
	vm_complains(tcp(.src = USER, .dst = PRIVATE(5), .sport = 1, .dport = 2, .size = 3),
		tcp(.src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, .size = 3));
	vm_complains(echo_request(.src = USER, .dst = PRIVATE(5), .sport = 1, .dport = 2),
		echo_request(.src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2));
}

static void
icmp_error_that_quotes_eight_bytes_is_translated_as_far_as_they_go(void **state)
{
	(void)state;
	vm_here(5);
	/* TCP's checksum is not among them; UDP's is. */
	world_complains(cut_to(tcp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2), 28),
		cut_to(tcp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2), 28));
	world_complains(cut_to(udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2), 28),
		cut_to(udp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2), 28));
	world_complains(cut_to(udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2), 27), ({
		struct frame f = cut_to(udp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2), 27);
		struct frame outside = udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2);

		f.b[40] = outside.b[40]; /* half a checksum is left alone */
		f;
	}));
	world_complains(cut_to(ip(.src = GLOBAL(5), .dst = USER, .proto = GRE), 20),
		cut_to(ip(.src = PRIVATE(5), .dst = USER, .proto = GRE), 20));
}

static void
icmp_error_about_udp_without_checksum_keeps_it_zero(void **state)
{
	(void)state;
	vm_here(5);
	world_complains(udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .no_checksum = true),
		udp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2, .no_checksum = true));
}

static void
icmp_error_about_a_later_fragment_is_translated(void **state)
{
	struct frame outside = udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .size = 200);
	struct frame inside = udp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2, .size = 200);

	(void)state;
	vm_here(5);
	world_complains(fragment_of(&outside, 80, 64, true), fragment_of(&inside, 80, 64, true));
}

static void
icmp_error_about_another_address_is_dropped(void **state)
{
	struct frame theirs = udp(.src = GLOBAL(6), .dst = USER, .sport = 1, .dport = 2);
	struct frame inside = udp(.src = USER, .dst = PRIVATE(6), .sport = 1, .dport = 2);

	(void)state;
	vm_here(5);
	vm_here(6);
	burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 11, QUOTE(&theirs)));
	expect_drop(DROP_NAT_QUOTE, 1);
	burst(DC0, icmp(BY_VM(5), .dst = USER, .icmp_type = 3, .icmp_code = 3, QUOTE(&inside)));
	expect_drop(DROP_NAT_QUOTE, 1);
}

static void
icmp_error_with_less_than_a_header_inside_is_dropped(void **state)
{
	struct frame whole = udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .options = 8);
	struct frame f;

	(void)state;
	vm_here(5);
	for (uint16_t n = 1; n < 28; n++) {
		f = cut_to(whole, n);
		burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 3, QUOTE(&f)));
		expect_drop(DROP_NAT_TRUNCATED, 1);
	}
	burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 3, .empty = true));
	expect_drop(DROP_NAT_TRUNCATED, 1);
}

static void
transport_header_that_ends_before_its_checksum_is_dropped(void **state)
{
	uint8_t part[17] = {0};

	(void)state;
	vm_here(5);
	for (uint16_t n = 1; n <= sizeof(part); n++) {
		burst(WAN0, ip(BY_ISP, .src = USER, .dst = GLOBAL(5), .proto = IPPROTO_TCP, .data = part,
				    .size = n));
		expect_drop(DROP_NAT_TRUNCATED, 1);
	}
	for (uint16_t n = 1; n <= 7; n++) {
		burst(DC0, ip(BY_VM(5), .dst = USER, .proto = IPPROTO_UDP, .data = part, .size = n));
		expect_drop(DROP_NAT_TRUNCATED, 1);
	}
}

/* ---- addresses ---- */

static void
packet_to_a_global_address_that_no_vm_has_is_dropped(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(6), .sport = 1, .dport = 2),
		udp(BY_ISP, .src = USER, .dst = GLOBAL(66), .sport = 1, .dport = 2));
	expect_drop(DROP_GLOBAL_UNREGISTERED, 2);
}

static void
packet_to_a_peers_global_address_is_not_translated_here(void **state)
{
	(void)state;
	vm_at(5, R_Y);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL_Y(5), .sport = 1, .dport = 2));
	expect_drop(DROP_TRANSIT, 1);
}

static void
vm_without_global_address_does_not_get_out(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .att = ATT_1, .n_addresses = 1, .addresses = {{PRIVATE(5), 0}});
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2));
	expect_drop(DROP_NAT_NO_GLOBAL, 1);
}

static void
each_private_address_has_its_own_global_one(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .att = ATT_1, .n_addresses = 2,
		.addresses = {{PRIVATE(5), GLOBAL(5)}, {PRIVATE(50), GLOBAL(50)}});
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2),
		udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(50), .dst = USER, .sport = 1,
			.dport = 2));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, ROUTED));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(50), .dst = USER, .sport = 1, .dport = 2, ROUTED));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(50), .sport = 1, .dport = 2));
	expect_frame(DC0, udp(.smac = MAC_GW, .dmac = MAC_VM(5), .dst = PRIVATE(50), .src = USER, .sport = 1,
				  .dport = 2, ROUTED));
}

static void
global_address_outside_the_pools_is_translated(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .att = ATT_1, .n_addresses = 1, .addresses = {{PRIVATE(5), IP(198, 18, 99, 5)}});
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = IP(198, 18, 99, 5), .sport = 1, .dport = 2));
	expect_frame(DC0, udp(TO_VM(5), .src = USER, .sport = 1, .dport = 2, ROUTED));
}

/* ---- hairpin ---- */

static void
two_vms_meet_by_their_global_addresses(void **state)
{
	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0, tcp(BY_VM(5), .dst = GLOBAL(6), .sport = 1, .dport = 2));
	expect_frame(DC0, tcp(TO_VM(6), .src = GLOBAL(5), .sport = 1, .dport = 2, ROUTED));
	burst(DC0, tcp(BY_VM(6), .dst = GLOBAL(5), .sport = 2, .dport = 1));
	expect_frame(DC0, tcp(TO_VM(5), .src = GLOBAL(6), .sport = 2, .dport = 1, ROUTED));
}

static void
vm_reaches_itself_by_its_global_address(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, echo_request(BY_VM(5), .dst = GLOBAL(5), .sport = 1, .dport = 2));
	expect_frame(DC0, echo_request(TO_VM(5), .src = GLOBAL(5), .sport = 1, .dport = 2, ROUTED));
}

static void
icmp_error_between_global_addresses_is_translated_twice(void **state)
{
	/* VM 5 sent to GLOBAL(6); VM 6 got it from GLOBAL(5) and complains. */
	struct frame got = udp(.src = GLOBAL(5), .dst = PRIVATE(6), .sport = 1, .dport = 2);
	struct frame sent = udp(.src = PRIVATE(5), .dst = GLOBAL(6), .sport = 1, .dport = 2);

	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0, icmp(BY_VM(6), .dst = GLOBAL(5), .icmp_type = 3, .icmp_code = 3, QUOTE(&got)));
	expect_frame(
		DC0, icmp(TO_VM(5), .src = GLOBAL(6), .icmp_type = 3, .icmp_code = 3, QUOTE(&sent), ROUTED));
}

static void
hairpin_to_a_global_address_that_no_vm_has_is_dropped(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(BY_VM(5), .dst = GLOBAL(7), .sport = 1, .dport = 2));
	expect_drop(DROP_GLOBAL_UNREGISTERED, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_rule(nat_out_gives_udp_the_global_address, "RFC 3022 4.1; RFC 4787 REQ-1"),
		net_rule(nat_in_gives_udp_the_private_address, "RFC 3022 4.1; RFC 4787 REQ-8"),
		net_rule(nat_translates_tcp_both_ways, "RFC 3022 4.1; RFC 5382 REQ-1"),
		net_rule(nat_translates_echo_both_ways, "RFC 3022 4.1; RFC 5508 REQ-1"),
		net_rule(nat_translates_any_other_protocol_both_ways, "RFC 3022 2.1"),
		net_test(nat_passes_a_packet_without_payload),
		net_rule(nat_keeps_a_zero_udp_checksum, "RFC 768; RFC 3022 4.1"),
		net_rule(nat_sends_a_udp_checksum_that_comes_out_zero_as_all_ones, "RFC 768"),
		net_rule(nat_keeps_ip_options, "RFC 3022 4.6"),
		net_rule(nat_checksums_are_those_computed_from_scratch, "RFC 1624 3; RFC 3022 4.2"),
		net_rule(nat_translates_fragments_so_that_the_whole_is_right, "RFC 4787 REQ-14"),
		net_rule(nat_in_translates_fragments_so_that_the_whole_is_right, "RFC 4787 REQ-14"),
		net_rule(nat_in_translates_icmp_errors_inside_out,
			"RFC 3022 4.3; RFC 5508 REQ-4; RFC 5382 REQ-9"),
		net_rule(nat_out_translates_icmp_errors_inside_out, "RFC 3022 4.3; RFC 5508 REQ-5"),
		net_rule(icmp_error_that_quotes_eight_bytes_is_translated_as_far_as_they_go,
			"RFC 3022 4.3; RFC 792"),
		net_rule(icmp_error_about_udp_without_checksum_keeps_it_zero, "RFC 768; RFC 3022 4.3"),
		net_test(icmp_error_about_a_later_fragment_is_translated),
		net_rule(icmp_error_about_another_address_is_dropped, "RFC 5508 REQ-4; RFC 5508 REQ-5"),
		net_test(icmp_error_with_less_than_a_header_inside_is_dropped),
		net_test(transport_header_that_ends_before_its_checksum_is_dropped),
		net_test(packet_to_a_global_address_that_no_vm_has_is_dropped),
		net_test(packet_to_a_peers_global_address_is_not_translated_here),
		net_rule(vm_without_global_address_does_not_get_out, "RFC 3022 5.3"),
		net_rule(each_private_address_has_its_own_global_one, "RFC 3022 2.1"),
		net_test(global_address_outside_the_pools_is_translated),
		net_rule(two_vms_meet_by_their_global_addresses, "RFC 4787 REQ-9; RFC 5382 REQ-8"),
		net_rule(vm_reaches_itself_by_its_global_address, "RFC 4787 REQ-9"),
		net_rule(icmp_error_between_global_addresses_is_translated_twice, "RFC 5508 REQ-7"),
		net_test(hairpin_to_a_global_address_that_no_vm_has_is_dropped),
	};

	return net_main(tests);
}
