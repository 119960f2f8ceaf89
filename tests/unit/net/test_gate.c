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

static void
a_thousand_addresses_are_held_to_the_rate_of_all(void **state)
{
	unsigned int n;

	(void)state;
	gate_init(&g, key);
	n = flood(1000, 11000, 5, 1000);
	assert_in_range(n, GATE_ALL_BURST + 10 * GATE_ALL_RATE - 2, GATE_ALL_BURST + 10 * GATE_ALL_RATE + 2);
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
		cmocka_unit_test(rest_fills_the_buckets_again_and_no_further),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
