/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <net/gate.h>

static const uint8_t key[GATE_KEY] = {7};
static struct gate g;

static unsigned int
flood(uint64_t from_ms, uint64_t until_ms, unsigned int per_ms, unsigned int addresses)
{
	unsigned int admitted = 0, n = 0;
	char from[32];

	for (uint64_t now = from_ms; now < until_ms; now++) {
		for (unsigned int i = 0; i < per_ms; i++, n++) {
			unsigned int a = n % addresses;

			snprintf(from, sizeof(from), "192.0.%u.%u:%u", a / 250, a % 250, 1024 + n % 60000);
			admitted += gate_admit(&g, now, from);
		}
	}
	return admitted;
}

/* C-21: from one address. */
static void
one_address_is_held_to_its_rate_whatever_its_port(void **state)
{
	unsigned int n;

	(void)state;
	gate_init(&g, key);
	n = flood(1000, 11000, 1, 1); /* 1,000 a second for 10 s */
	assert_in_range(n, GATE_BURST + 10 * GATE_RATE - 2, GATE_BURST + 10 * GATE_RATE + 2);
	assert_int_equal(g.refused, 10000 - n);
}

static void
one_address_does_not_use_up_the_room_of_others(void **state)
{
	(void)state;
	gate_init(&g, key);
	flood(1000, 11000, 10, 1);
	assert_true(gate_admit(&g, 11000, "198.51.100.7:1"));
	assert_true(gate_admit(&g, 11000, "[2001:db8::1]:1"));
}

/* C-21: from 1,000 addresses. */
static void
a_thousand_addresses_are_held_to_the_rate_of_all(void **state)
{
	unsigned int n;

	(void)state;
	gate_init(&g, key);
	n = flood(1000, 11000, 5, 1000);
	assert_in_range(n, GATE_ALL_BURST + 10 * GATE_ALL_RATE - 2, GATE_ALL_BURST + 10 * GATE_ALL_RATE + 2);
}

/* C-21: whoever has an IPv6 address has its /64. */
static void
an_ipv6_prefix_of_64_bits_is_one_address(void **state)
{
	unsigned int admitted = 0;
	char from[64];

	(void)state;
	gate_init(&g, key);
	for (unsigned int i = 0; i < 1000; i++) {
		snprintf(from, sizeof(from), "[2001:db8:0:7:%x:%x::1]:%u", i * 7919 % 65536, i, 1024 + i);
		admitted += gate_admit(&g, 1000, from);
	}
	assert_int_equal(admitted, GATE_BURST);
	assert_true(gate_admit(&g, 1000, "[2001:db8:0:8::1]:1"));
	assert_true(gate_admit(&g, 1000, "[fe80::1%eth0]:1"));
	/* Texts of 1,000 IPv4 addresses are as many. */
	assert_true(gate_admit(&g, 1000, "192.0.2.1:1"));
	assert_true(gate_admit(&g, 1000, "192.0.2.2:1"));
}

/* C-21: strangers use up the room of strangers. */
static void
who_was_here_before_comes_back_through_a_flood(void **state)
{
	(void)state;
	gate_init(&g, key);
	gate_know(&g, 500, "198.51.100.7:7411");
	flood(1000, 11000, 5, 1000);
	assert_false(gate_admit(&g, 10999, "203.0.113.9:1"));
	for (int i = 0; i < GATE_BURST / 2; i++)
		assert_true(gate_admit(&g, 11000, "198.51.100.7:40000"));
	flood(11000, 12000, 1, 1000);
	/* Its own rate holds for it, too, and nobody is known for ever. */
	for (int i = 0; i < 2 * GATE_BURST; i++)
		gate_admit(&g, 12000, "198.51.100.7:40000");
	assert_false(gate_admit(&g, 12000, "198.51.100.7:40000"));
	flood(GATE_KNOWN_MS, GATE_KNOWN_MS + 1000, 5, 1000);
	assert_false(gate_admit(&g, GATE_KNOWN_MS + 999, "198.51.100.7:40000"));
}

/* A program that runs one command after another, each with a connection of its own. */
static void
connections_that_prove_who_they_are_do_not_count(void **state)
{
	(void)state;
	gate_init(&g, key);
	for (int i = 0; i < 200; i++) { /* 50 a second */
		assert_true(gate_admit(&g, (uint64_t)i * 20, "192.0.2.7:1000"));
		gate_know(&g, (uint64_t)i * 20, "192.0.2.7:1000");
	}
	for (int i = 0; i < GATE_BURST; i++)
		assert_true(gate_admit(&g, 4000, "192.0.2.7:1000"));
	assert_false(gate_admit(&g, 4000, "192.0.2.7:1000"));
}

static void
rest_fills_the_buckets_again_and_no_further(void **state)
{
	(void)state;
	gate_init(&g, key);
	flood(1000, 2000, 1, 1);
	assert_int_equal(flood(3600000, 3600001, 100, 1), GATE_BURST);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_address_is_held_to_its_rate_whatever_its_port),
		cmocka_unit_test(one_address_does_not_use_up_the_room_of_others),
		cmocka_unit_test(a_thousand_addresses_are_held_to_the_rate_of_all),
		cmocka_unit_test(an_ipv6_prefix_of_64_bits_is_one_address),
		cmocka_unit_test(who_was_here_before_comes_back_through_a_flood),
		cmocka_unit_test(connections_that_prove_who_they_are_do_not_count),
		cmocka_unit_test(rest_fills_the_buckets_again_and_no_further),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
