/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/mactab.h>

#define KEYS	500
#define ENTRIES 300

static struct rcu *rcu;

struct model {
	bool in;
	struct mac_entry e;
};

static struct vm_key_mac
number(uint32_t i)
{
	return (struct vm_key_mac){
		.mac = {{2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}}, .seg = (uint16_t)(i % 5)};
}

static void
compare(const struct mactab *t, const struct model *model)
{
	bool used[ENTRIES] = {false};
	struct vm_key_mac keys[50];
	struct mac_entry out[50];
	uint32_t next = 0, seen = 0;

	for (uint32_t base = 0; base < KEYS; base += 50) {
		uint64_t hits;

		for (uint32_t i = 0; i < 50; i++)
			keys[i] = number(base + i);
		hits = mactab_find(t, keys, 50, out);
		for (uint32_t i = 0; i < 50; i++) {
			const struct model *m = &model[base + i];

			assert_int_equal(hits >> i & 1, m->in);
			if (!m->in)
				continue;
			assert_memory_equal(&out[i], &m->e, sizeof(m->e));
			assert_true(out[i].entry < mactab_entries(t));
			assert_false(used[out[i].entry]); /* no two keys share an entry number */
			used[out[i].entry] = true;
		}
	}
	while (mactab_next(t, &next, &keys[0], &out[0]))
		seen++;
	assert_int_equal(seen, mactab_count(t));
}

static void
random_operations_agree_with_a_plain_array(void **state)
{
	struct mactab *t = mactab_new(ENTRIES, rcu);
	struct model model[KEYS] = {0};
	struct rng rng = {41};
	uint32_t count = 0, full = 0;

	(void)state;
	for (int op = 0; op < 200000; op++) {
		uint32_t i = rng_below(&rng, KEYS);
		struct vm_key_mac key = number(i);
		struct mac_entry e = {.entry = 12345,
					 .att = (uint16_t)rng_next(&rng),
					 .router = (uint8_t)rng_next(&rng)},
				 found;

		if (rng_below(&rng, 5) < 4) {
			int rc = mactab_put(t, &key, &e);

			assert_int_equal(rc, !model[i].in && count == ENTRIES ? -ENOSPC : 0);
			full += rc != 0;
			if (rc != 0)
				continue;
			count += !model[i].in;
			assert_int_equal(mactab_find(t, &key, 1, &found), 1);
			e.entry = model[i].in ? model[i].e.entry
					      : found.entry; /* a known key keeps its number */
			model[i] = (struct model){true, e};
		} else {
			assert_int_equal(mactab_del(t, &key), model[i].in ? 0 : -ENOENT);
			count -= model[i].in;
			model[i].in = false;
		}
		if (op % 2000 == 0)
			compare(t, model);
	}
	compare(t, model);
	assert_true(full > 0);
	mactab_free(t);
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
