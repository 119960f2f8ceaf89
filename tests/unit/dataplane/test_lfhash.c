/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/lfhash.h>
#include <pthread.h>

#define KEYS 3000

static struct rcu *rcu;

/* Key number i; the first of them are the greatest there can be. */
static uint64_t
make_key(uint32_t i)
{
	return i < 4 ? LFHASH_KEY_MAX - i : (uint64_t)i << 40 | i;
}

static uint32_t
number_of(uint64_t key)
{
	return LFHASH_KEY_MAX - key < 4 ? (uint32_t)(LFHASH_KEY_MAX - key) : (uint32_t)key;
}

static void
compare_all(const struct lfhash *h, const uint64_t *model, const bool *in)
{
	uint64_t keys[64], values[64], one;

	for (uint32_t base = 0; base < KEYS; base += 64) {
		uint32_t n = KEYS - base < 64 ? KEYS - base : 64;
		uint64_t hits;

		for (uint32_t i = 0; i < n; i++)
			keys[i] = make_key(base + i);
		hits = lfhash_find_bulk(h, keys, n, values);
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(hits >> i & 1, in[base + i]);
			assert_int_equal(lfhash_find(h, keys[i], &one), in[base + i]);
			if (in[base + i]) {
				assert_int_equal(values[i], model[base + i]);
				assert_int_equal(one, model[base + i]);
			}
		}
	}
}

static void
compare_walk(const struct lfhash *h, const uint64_t *model, const bool *in)
{
	uint32_t next = 0, seen = 0;
	uint64_t key, value;

	while (lfhash_next(h, &next, &key, &value)) {
		uint32_t i = number_of(key);

		assert_true(i < KEYS && in[i]);
		assert_int_equal(make_key(i), key);
		assert_int_equal(value, model[i]);
		seen++;
	}
	assert_int_equal(seen, lfhash_count(h));
}

/* With few entries the buckets are few, so that many keys stand far from home, over the end of the table, too. */
static void
run_against_model(uint32_t entries, uint64_t seed, int ops)
{
	struct lfhash *h = lfhash_new(entries, rcu);
	struct rng rng = {seed};
	uint64_t *model = calloc(KEYS, sizeof(*model));
	bool *in = calloc(KEYS, sizeof(*in));
	uint32_t count = 0, full = 0;

	assert_non_null(h);
	for (int op = 0; op < ops; op++) {
		uint32_t i = rng_below(&rng, KEYS);
		uint64_t value = rng_next(&rng);

		if (rng_below(&rng, 8) < 5) {
			int rc = lfhash_put(h, make_key(i), value);

			assert_int_equal(rc, !in[i] && count == entries ? -ENOSPC : 0);
			full += rc != 0;
			count += rc == 0 && !in[i];
			model[i] = rc == 0 ? value : model[i];
			in[i] |= rc == 0;
		} else {
			assert_int_equal(lfhash_del(h, make_key(i)), in[i] ? 0 : -ENOENT);
			count -= in[i];
			in[i] = false;
		}
		assert_int_equal(lfhash_count(h), count);
		if (op % 5000 == 0) {
			compare_all(h, model, in);
			compare_walk(h, model, in);
		}
	}
	compare_all(h, model, in);
	compare_walk(h, model, in);
	assert_true(full > 0); /* the limit was met */
	lfhash_free(h);
	free(model);
	free(in);
}

static void
random_operations_agree_with_a_plain_array(void **state)
{
	(void)state;
	run_against_model(1000, 11, 200000);
	run_against_model(100, 12, 100000);
	run_against_model(3, 13, 100000);
}

/* Below an empty entry no key stands farther on: who deletes keeps it so, or a reader would stop too early, or never. */
static void
a_table_that_was_full_again_and_again_finds_and_misses_as_ever(void **state)
{
	struct lfhash *h = lfhash_new(2000, rcu);
	uint64_t value;

	(void)state;
	for (uint64_t round = 0; round < 200; round++) {
		uint64_t first = round * 2000;

		for (uint64_t i = 0; i < 2000; i++)
			assert_int_equal(lfhash_put(h, first + i, round), 0);
		for (uint64_t i = 0; i < 2000; i++) {
			assert_true(lfhash_find(h, first + i, &value));
			assert_int_equal(value, round);
			assert_false(lfhash_find(h, first + 2000 + i, &value));
			assert_false(lfhash_find(h, first - 2000 + i, &value));
		}
		for (uint64_t i = 0; i < 2000; i++)
			assert_int_equal(lfhash_del(h, first + (i * 7 + round) % 2000), 0);
	}
	assert_int_equal(lfhash_count(h), 0);
	lfhash_free(h);
}

static void
what_looks_like_a_mark_is_no_key(void **state)
{
	struct lfhash *h = lfhash_new(10, rcu);
	uint64_t value;

	(void)state;
	assert_int_equal(lfhash_put(h, 1, 1), 0);
	for (uint64_t key = UINT64_MAX; key > LFHASH_KEY_MAX; key--) {
		assert_int_equal(lfhash_put(h, key, 1), -EINVAL);
		assert_false(lfhash_find(h, key, &value));
		assert_int_equal(lfhash_del(h, key), -ENOENT);
	}
	assert_int_equal(lfhash_count(h), 1);
	lfhash_free(h);
}

static void
a_full_table_takes_back_what_was_deleted_however_often(void **state)
{
	enum { ENTRIES = 100 };
	struct lfhash *h = lfhash_new(ENTRIES, rcu);

	(void)state;
	for (uint64_t key = 0; key < ENTRIES; key++)
		assert_int_equal(lfhash_put(h, key, key), 0);
	for (uint64_t i = 0; i < 50000; i++) {
		assert_int_equal(lfhash_put(h, ENTRIES + i, i), -ENOSPC);
		assert_int_equal(lfhash_del(h, i), 0);
		assert_int_equal(lfhash_put(h, ENTRIES + i, i), 0);
		assert_int_equal(lfhash_count(h), ENTRIES);
	}
	lfhash_free(h);
}

static void
reserve_promises_exactly_what_is_left(void **state)
{
	struct lfhash *h = lfhash_new(50, rcu);

	(void)state;
	assert_int_equal(lfhash_reserve(h, 51), -ENOSPC);
	assert_int_equal(lfhash_reserve(h, 50), 0);
	for (uint64_t key = 0; key < 20; key++)
		assert_int_equal(lfhash_put(h, key, key), 0);
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

	(void)state;
	assert_int_equal(rcu_register(r, 0), 0);
	rte_rcu_qsbr_thread_online(rcu_qsbr(r), 0);
	h = lfhash_new(8, r);
	assert_int_equal(pthread_create(&thread, NULL, report_quiescent_late, r), 0);
	for (uint64_t i = 0; i < 500; i++) { /* far more deletions than the margin has positions */
		assert_int_equal(lfhash_put(h, i, i), 0);
		assert_int_equal(lfhash_del(h, i), 0);
	}
	pthread_join(thread, NULL);
	lfhash_free(h);
	rcu_free(r);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_a_plain_array),
		cmocka_unit_test(a_table_that_was_full_again_and_again_finds_and_misses_as_ever),
		cmocka_unit_test(what_looks_like_a_mark_is_no_key),
		cmocka_unit_test(a_full_table_takes_back_what_was_deleted_however_often),
		cmocka_unit_test(reserve_promises_exactly_what_is_left),
		cmocka_unit_test(a_put_waits_for_a_slow_worker_rather_than_fail),
	};

	(void)argc;
	start_eal(argv[0], "64");
	rcu = rcu_new(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
