/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/lfhash.h>
#include <pthread.h>

#define KEYS 3000

static struct rcu *rcu;

/* Key number i, padded to any length; differs in its last bytes too. */
static void
make_key(uint8_t *key, uint32_t len, uint32_t i)
{
	memset(key, 0x5a, len);
	memcpy(key, &i, 4);
	if (len > 4)
		key[len - 1] ^= (uint8_t)(i * 7);
}

static void
compare_all(const struct lfhash *h, uint32_t len, const uint64_t *model, const bool *in)
{
	uint8_t keys[64][20];
	const void *p[64];
	uint64_t values[64], one;

	for (uint32_t base = 0; base < KEYS; base += 64) {
		uint32_t n = KEYS - base < 64 ? KEYS - base : 64;
		uint64_t hits;

		for (uint32_t i = 0; i < n; i++) {
			make_key(keys[i], len, base + i);
			p[i] = keys[i];
		}
		hits = lfhash_find_bulk(h, p, n, values);
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(hits >> i & 1, in[base + i]);
			assert_int_equal(lfhash_find(h, p[i], &one), in[base + i]);
			if (in[base + i]) {
				assert_int_equal(values[i], model[base + i]);
				assert_int_equal(one, model[base + i]);
			}
		}
	}
}

static void
compare_walk(const struct lfhash *h, uint32_t len, const uint64_t *model, const bool *in)
{
	uint32_t next = 0, seen = 0, i;
	const void *key;
	uint64_t value;
	uint8_t want[20];

	while (lfhash_next(h, &next, &key, &value)) {
		memcpy(&i, key, 4);
		assert_true(i < KEYS && in[i]);
		make_key(want, len, i);
		assert_memory_equal(want, key, len);
		assert_int_equal(value, model[i]);
		seen++;
	}
	assert_int_equal(seen, lfhash_count(h));
}

static void
run_against_model(uint32_t len, uint64_t seed, int ops)
{
	enum { ENTRIES = 1000 };
	struct lfhash *h = lfhash_new("model", len, ENTRIES, rcu);
	struct rng rng = {seed};
	uint64_t *model = calloc(KEYS, sizeof(*model));
	bool *in = calloc(KEYS, sizeof(*in));
	uint32_t count = 0, full = 0;
	uint8_t key[20];

	assert_non_null(h);
	for (int op = 0; op < ops; op++) {
		uint32_t i = rng_below(&rng, KEYS);
		uint64_t value = rng_next(&rng);

		make_key(key, len, i);
		if (rng_below(&rng, 8) < 5) {
			int rc = lfhash_put(h, key, value);

			assert_int_equal(rc, !in[i] && count == ENTRIES ? -ENOSPC : 0);
			full += rc != 0;
			count += rc == 0 && !in[i];
			model[i] = rc == 0 ? value : model[i];
			in[i] |= rc == 0;
		} else {
			assert_int_equal(lfhash_del(h, key), in[i] ? 0 : -ENOENT);
			count -= in[i];
			in[i] = false;
		}
		assert_int_equal(lfhash_count(h), count);
		if (op % 5000 == 0) {
			compare_all(h, len, model, in);
			compare_walk(h, len, model, in);
		}
	}
	compare_all(h, len, model, in);
	compare_walk(h, len, model, in);
	assert_true(full > 0); /* the limit was met */
	lfhash_free(h);
	free(model);
	free(in);
}

static void
random_operations_agree_with_a_plain_array(void **state)
{
	(void)state;
	run_against_model(4, 11, 200000);
	run_against_model(8, 12, 200000);
	run_against_model(16, 13, 100000);
	run_against_model(18, 14, 100000);
}

static void
a_full_table_takes_back_what_was_deleted_however_often(void **state)
{
	enum { ENTRIES = 100 };
	struct lfhash *h = lfhash_new("full", 8, ENTRIES, rcu);
	uint64_t key;

	(void)state;
	for (key = 0; key < ENTRIES; key++)
		assert_int_equal(lfhash_put(h, &key, key), 0);
	for (uint64_t i = 0; i < 50000; i++) {
		key = ENTRIES + i;
		assert_int_equal(lfhash_put(h, &key, i), -ENOSPC);
		key = i;
		assert_int_equal(lfhash_del(h, &key), 0);
		key = ENTRIES + i;
		assert_int_equal(lfhash_put(h, &key, i), 0);
		assert_int_equal(lfhash_count(h), ENTRIES);
	}
	lfhash_free(h);
}

static void
reserve_promises_exactly_what_is_left(void **state)
{
	struct lfhash *h = lfhash_new("reserve", 4, 50, rcu);
	uint32_t key;

	(void)state;
	assert_int_equal(lfhash_reserve(h, 51), -ENOSPC);
	assert_int_equal(lfhash_reserve(h, 50), 0);
	for (key = 0; key < 20; key++)
		assert_int_equal(lfhash_put(h, &key, key), 0);
	assert_int_equal(lfhash_reserve(h, 31), -ENOSPC);
	assert_int_equal(lfhash_reserve(h, 30), 0);
	lfhash_free(h);
}

static void *
report_quiescent_late(void *arg)
{
	struct rcu *r = arg;

	usleep(50000);
	rte_rcu_qsbr_quiescent(rcu_qsbr(r), 0);
	rte_rcu_qsbr_thread_offline(rcu_qsbr(r), 0);
	return NULL;
}

static void
a_put_waits_for_a_slow_worker_rather_than_fail(void **state)
{
	struct rcu *r = rcu_new(1);
	struct lfhash *h;
	pthread_t thread;
	uint32_t key = 0;

	(void)state;
	assert_int_equal(rcu_register(r, 0), 0);
	rte_rcu_qsbr_thread_online(rcu_qsbr(r), 0);
	h = lfhash_new("slow", 4, 8, r);
	assert_int_equal(pthread_create(&thread, NULL, report_quiescent_late, r), 0);
	for (uint32_t i = 0; i < 500; i++, key++) { /* far more deletions than the margin has positions */
		assert_int_equal(lfhash_put(h, &key, i), 0);
		assert_int_equal(lfhash_del(h, &key), 0);
	}
	pthread_join(thread, NULL);
	lfhash_free(h);
	rcu_free(r);
}

static void
two_tables_of_one_name_live_side_by_side(void **state)
{
	struct lfhash *a = lfhash_new("twin", 8, 10, rcu), *b = lfhash_new("twin", 8, 10, rcu);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	lfhash_free(a);
	lfhash_free(b);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_a_plain_array),
		cmocka_unit_test(a_full_table_takes_back_what_was_deleted_however_often),
		cmocka_unit_test(reserve_promises_exactly_what_is_left),
		cmocka_unit_test(a_put_waits_for_a_slow_worker_rather_than_fail),
		cmocka_unit_test(two_tables_of_one_name_live_side_by_side),
	};

	(void)argc;
	start_eal(argv[0], "64");
	rcu = rcu_new(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
