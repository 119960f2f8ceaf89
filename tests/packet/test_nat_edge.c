/* SPDX-License-Identifier: BSD-3-Clause */
/* test_nat_edge.c - NAT of what is rare: other transports, queries, damaged packets, quotes of every length, fragments in
 * every order. */
#include "ways.h"

#define OFF_L4 34

/* A packet of `proto` whose checksum with the pseudo header stands at `at` of its payload. */
static struct frame
summed(struct spec s, uint16_t at)
{
	uint8_t l4[24] = {1, 2, 3, 4, 0, 24, 0, 0, 9};
	uint32_t sum = s.proto + sizeof(l4);
	const uint8_t *a = (const uint8_t *)&s.src;

	for (int i = 0; i < 8; i++)
		sum += (uint32_t)(i < 4 ? a : (const uint8_t *)&s.dst - 4)[i] << (i % 2 ? 0 : 8);
	for (size_t i = 0; i < sizeof(l4); i++)
		sum += (uint32_t)l4[i] << (i % 2 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	l4[at] = (uint8_t)(~sum >> 8);
	l4[at + 1] = (uint8_t)~sum;
	s.data = l4;
	s.size = sizeof(l4);
	return frame_ip(&s);
}

static void
checksums_of_udp_lite_and_dccp_follow_the_address(void **state)
{
	(void)state;
	vm_here(5);
	for (int i = 0; i < 2; i++) {
		uint8_t proto = i ? IPPROTO_DCCP : IPPROTO_UDPLITE;

		burst(DC0, summed((struct spec){BY_VM(5), .dst = USER, .proto = proto}, 6));
		expect_frame(WAN0,
			summed((struct spec){TO_ISP, .src = GLOBAL(5), .dst = USER, .proto = proto, ROUTED},
				6));
		burst(WAN0, summed((struct spec){BY_ISP, .src = USER, .dst = GLOBAL(5), .proto = proto}, 6));
		expect_frame(DC0, summed((struct spec){TO_VM(5), .src = USER, .proto = proto, ROUTED}, 6));
	}
}

static void
icmp_queries_of_every_kind_are_translated_both_ways(void **state)
{
	const uint8_t query[] = {8, 13, 15, 17},
		      answer[] = {0, 14, 16, 18}; /* echo, timestamp, information, mask */

	(void)state;
	vm_here(5);
	for (int i = 0; i < 4; i++) {
		burst(DC0, icmp(BY_VM(5), .dst = USER, .icmp_type = query[i], .icmp_rest = 0x70001));
		expect_frame(WAN0, icmp(TO_ISP, .src = GLOBAL(5), .dst = USER, .icmp_type = query[i],
					   .icmp_rest = 0x70001, ROUTED));
		burst(WAN0, icmp(BY_ISP, .src = USER, .dst = GLOBAL(5), .icmp_type = answer[i],
				    .icmp_rest = 0x70001));
		expect_frame(DC0,
			icmp(TO_VM(5), .src = USER, .icmp_type = answer[i], .icmp_rest = 0x70001, ROUTED));
	}
}

static void
icmp_messages_of_unknown_type_are_translated(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, icmp(BY_ISP, .src = USER, .dst = GLOBAL(5), .icmp_type = 42));
	expect_frame(DC0, icmp(TO_VM(5), .src = USER, .icmp_type = 42, ROUTED));
}

/* Every type of error; what it quotes is what this side sent. */
static void
icmp_errors_of_every_type_and_code_are_translated(void **state)
{
	const uint8_t types[] = {3, 4, 5, 11, 12};
	struct frame sent = udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2);
	struct frame seen = udp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2);

	(void)state;
	vm_here(5);
	for (uint8_t code = 0; code < 16; code++)
		for (size_t i = 0; i < sizeof(types); i++) {
			burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = types[i],
					    .icmp_code = code, .icmp_rest = 1400, QUOTE(&sent)));
			expect_frame(DC0, icmp(TO_VM(5), .src = ISP, .icmp_type = types[i], .icmp_code = code,
						  .icmp_rest = 1400, QUOTE(&seen), ROUTED));
		}
}

/* The inner header decides: 20 bytes are enough, and the ICMP checksum is right for whatever is there. */
static void
quotes_of_every_length_are_translated_or_dropped_by_name(void **state)
{
	struct frame sent = tcp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .size = 20);
	struct frame seen = tcp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2, .size = 20);

	(void)state;
	vm_here(5);
	for (uint16_t n = 1; n <= packet_len(&sent); n++) {
		struct frame a = cut_to(sent, n), b = cut_to(seen, n);

		if (n == 37) { /* half of the inner checksum: nothing there to mend */
			b.b[14 + 36] = a.b[14 + 36];
		}
		burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 3, QUOTE(&a)));
		if (n < 20)
			expect_drop(DROP_NAT_TRUNCATED, 1);
		else
			expect_frame(DC0, icmp(TO_VM(5), .src = ISP, .icmp_type = 3, QUOTE(&b), ROUTED));
	}
}

static void
quoted_ip_options_are_stepped_over(void **state)
{
	struct frame sent = udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .options = 40);
	struct frame seen = udp(.src = PRIVATE(5), .dst = USER, .sport = 1, .dport = 2, .options = 40);

	(void)state;
	vm_here(5);
	burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 3, .options = 8, QUOTE(&sent)));
	expect_frame(DC0, icmp(TO_VM(5), .src = ISP, .icmp_type = 3, .options = 8, QUOTE(&seen), ROUTED));
}

static void
quoted_header_that_lies_is_dropped(void **state)
{
	struct frame sent = udp(.src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2);

	(void)state;
	vm_here(5);
	sent.b[14] = 0x65; /* not IPv4 */
	burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 3, QUOTE(&sent)));
	sent.b[14] = 0x44; /* shorter than a header */
	burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 3, QUOTE(&sent)));
	sent.b[14] = 0x4f; /* longer than what is there */
	burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 3, QUOTE(&sent)));
	expect_drop(DROP_NAT_TRUNCATED, 3);
}

/* A NAT that mended it would hide the damage from the receiver. */
static void
wrong_checksums_stay_as_wrong_as_they_were(void **state)
{
	struct frame out = tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2);
	struct frame want = tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, ROUTED);
	struct frame in = icmp(BY_ISP, .src = USER, .dst = GLOBAL(5), .icmp_type = 8);
	struct frame got = icmp(TO_VM(5), .src = USER, .icmp_type = 8, ROUTED);

	(void)state;
	net.broken = true;
	vm_here(5);
	out.b[out.len - 1] ^= 4;
	want.b[want.len - 1] ^= 4;
	burst(DC0, out);
	expect_frame(WAN0, want);
	in.b[in.len - 1] ^= 4;
	got.b[got.len - 1] ^= 4;
	burst(WAN0, in);
	expect_frame(DC0, got);
}

static void
fragments_are_translated_in_whatever_order_they_come(void **state)
{
	static const uint8_t orders[][3] = {{2, 1, 0}, {1, 0, 2}, {2, 0, 1}, {1, 2, 0}, {0, 2, 1}, {0, 1, 2}};
	struct frame in = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 2, .size = 1400);
	struct frame want = udp(TO_VM(5), .src = USER, .sport = 1, .dport = 2, .size = 1400, ROUTED);

	(void)state;
	vm_here(5);
	for (size_t o = 0; o < RTE_DIM(orders); o++)
		for (int i = 0; i < 3; i++) {
			uint16_t at = orders[o][i] * 480u;
			uint16_t len = at == 960 ? 1408 - 960 : 480;

			burst(WAN0, fragment_of(&in, at, len, at == 960));
			expect_frame(DC0, fragment_of(&want, at, len, at == 960));
		}
}

static void
fragments_of_a_query_are_translated(void **state)
{
	struct frame in = echo_request(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = 1400);
	struct frame want = echo_request(
		TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1, .dport = 2, .size = 1400, ROUTED);

	(void)state;
	vm_here(5);
	burst(DC0, fragment_of(&in, 704, 704, true), fragment_of(&in, 0, 704, false));
	expect_frame(WAN0, fragment_of(&want, 704, 704, true));
	expect_frame(WAN0, fragment_of(&want, 0, 704, false));
}

/* Smaller than RFC 791 lets them be, so that the checksum is not in the first. */
static void
first_fragment_without_the_checksum_is_dropped(void **state)
{
	struct frame whole = tcp(BY_VM(5), .dst = USER, .sport = 1, .dport = 2, .size = 40);

	(void)state;
	vm_here(5);
	burst(DC0, fragment_of(&whole, 0, 16, false));
	expect_drop(DROP_NAT_TRUNCATED, 1);
}

static void
tos_identification_and_df_pass_unchanged(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(BY_VM(5), .dst = USER, .tos = 0xb9, .id = 0xbeef, .frag = RTE_IPV4_HDR_DF_FLAG));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .tos = 0xb9, .id = 0xbeef,
				   .frag = RTE_IPV4_HDR_DF_FLAG, ROUTED));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .tos = 0x2f, .id = 0xcafe));
	expect_frame(DC0, udp(TO_VM(5), .src = USER, .tos = 0x2f, .id = 0xcafe, ROUTED));
}

static void
ports_and_identifiers_pass_unchanged(void **state)
{
	(void)state;
	vm_here(5);
	for (uint32_t port = 1; port <= UINT16_MAX; port = port * 2 + 1) {
		burst(DC0, tcp(BY_VM(5), .dst = USER, .sport = (uint16_t)port, .dport = 80),
			echo_request(BY_VM(5), .dst = USER, .sport = (uint16_t)port, .dport = 1));
		expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = (uint16_t)port,
					   .dport = 80, ROUTED));
		expect_frame(WAN0, echo_request(TO_ISP, .src = GLOBAL(5), .dst = USER,
					   .sport = (uint16_t)port, .dport = 1, ROUTED));
	}
}

static void
anybody_outside_reaches_the_vm_that_spoke_to_somebody_else(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 9, .dport = 53));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, ROUTED));
	burst(WAN0, udp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .sport = 7, .dport = 9));
	expect_frame(DC0, udp(TO_VM(5), .src = ISP, .sport = 7, .dport = 9, ROUTED));
}

static void
hairpin_costs_one_ttl_and_shows_the_global_source(void **state)
{
	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0, tcp(BY_VM(5), .dst = GLOBAL(6), .sport = 1, .dport = 2, .ttl = 2));
	expect_frame(DC0, tcp(TO_VM(6), .src = GLOBAL(5), .sport = 1, .dport = 2, .ttl = 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_rule(checksums_of_udp_lite_and_dccp_follow_the_address, "RFC 3022 4.1; RFC 3828 3.1"),
		net_rule(icmp_queries_of_every_kind_are_translated_both_ways, "RFC 5508 REQ-1; RFC 3022 4.1"),
		net_rule(icmp_messages_of_unknown_type_are_translated, "RFC 5508 REQ-11"),
		net_rule(icmp_errors_of_every_type_and_code_are_translated, "RFC 5508 REQ-10; RFC 3022 4.3"),
		net_rule(quotes_of_every_length_are_translated_or_dropped_by_name,
			"RFC 3022 4.3; RFC 5508 REQ-4"),
		net_rule(quoted_ip_options_are_stepped_over, "RFC 3022 4.3"),
		net_rule(quoted_header_that_lies_is_dropped, "RFC 5508 REQ-3"),
		net_rule(wrong_checksums_stay_as_wrong_as_they_were, "RFC 1624 3"),
		net_rule(fragments_are_translated_in_whatever_order_they_come, "RFC 4787 REQ-14"),
		net_rule(fragments_of_a_query_are_translated, "RFC 4787 REQ-14"),
		net_test(first_fragment_without_the_checksum_is_dropped),
		net_rule(tos_identification_and_df_pass_unchanged, "RFC 3022 4.1; RFC 6864 4.1"),
		net_rule(ports_and_identifiers_pass_unchanged, "RFC 3022 2.1; RFC 5508 REQ-1"),
		net_rule(anybody_outside_reaches_the_vm_that_spoke_to_somebody_else, "RFC 4787 REQ-8"),
		net_rule(hairpin_costs_one_ttl_and_shows_the_global_source, "RFC 4787 REQ-9; RFC 1812 5.3.1"),
	};

	return net_main(tests);
}
