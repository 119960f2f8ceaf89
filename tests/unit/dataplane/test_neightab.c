/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/neightab.h>

#define KEYS	600
#define ENTRIES 400

static struct rcu *rcu;

static struct neigh_key
number(uint32_t i)
{
	return (struct neigh_key){.ip = rte_cpu_to_be_32(0x0a000000 + i / 3), .port = (uint16_t)(i % 3)};
}

static void
compare(const struct neightab *t, const struct neigh *model)
{
	struct neigh_key keys[64], key;
	struct neigh out[64];
	uint32_t next = 0, seen = 0;

	for (uint32_t base = 0; base < KEYS; base += 60) {
		for (uint32_t i = 0; i < 60; i++)
			keys[i] = number(base + i);
		neightab_find(t, keys, 60, out);
		assert_memory_equal(out, &model[base], 60 * sizeof(out[0]));
	}
	for (uint32_t i = 0; i < 64; i++) /* runs of equal keys */
		keys[i] = number(i / 5 * 40);
	neightab_find(t, keys, 64, out);
	for (uint32_t i = 0; i < 64; i++)
		assert_memory_equal(&out[i], &model[i / 5 * 40], sizeof(out[i]));
	while (neightab_next(t, &next, &key, &out[0])) {
		uint32_t i = (rte_be_to_cpu_32(key.ip) - 0x0a000000) * 3 + key.port;

		assert_memory_equal(&out[0], &model[i], sizeof(out[0]));
		seen++;
	}
	assert_int_equal(seen, neightab_count(t));
}

static void
random_operations_agree_with_a_plain_array(void **state)
{
	struct neightab *t = neightab_new(ENTRIES, rcu);
	struct neigh model[KEYS] = {0};
	struct rng rng = {31};
	uint32_t count = 0, full = 0;

	(void)state;
	for (int op = 0; op < 200000; op++) {
		uint32_t i = rng_below(&rng, KEYS);
		struct neigh_key key = number(i);
		uint64_t mac = rng_next(&rng);
		struct neigh n = {.state = (uint8_t)(1 + rng_below(&rng, 3))};
		bool in = model[i].state != NEIGH_NONE;
		uint64_t version = neightab_version(t);
		int rc;

		memcpy(&n.mac, &mac, sizeof(n.mac));
		if (rng_below(&rng, 5) < 4) {
			rc = neightab_put(t, &key, &n);
			assert_int_equal(rc, !in && count == ENTRIES ? -ENOSPC : 0);
			full += rc != 0;
			count += rc == 0 && !in;
			model[i] = rc == 0 ? n : model[i];
		} else {
			rc = neightab_del(t, &key);
			assert_int_equal(rc, in ? 0 : -ENOENT);
			count -= in;
			memset(&model[i], 0, sizeof(model[i]));
		}
		assert_true(rc != 0 || neightab_version(t) > version);
		if (op % 2000 == 0)
			compare(t, model);
	}
	compare(t, model);
	assert_true(full > 0);
	neightab_free(t);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_a_plain_array),
	};

	(void)argc;
	start_eal(argv[0], "64");
	rcu = rcu_new(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
