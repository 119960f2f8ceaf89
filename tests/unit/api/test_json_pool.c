/* SPDX-License-Identifier: BSD-3-Clause */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <api/json_pool.h>
#include <api/secret.h>
#include <cmocka.h>
#include <jansson.h>

#define BLOCKS 1000

static void
blocks_of_any_size_are_whole_and_nobody_elses(void **state)
{
	static struct {
		uint8_t *p, fill;
		size_t n;
	} b[BLOCKS];

	(void)state;
	srandom(1);
	for (int round = 0; round < 200000; round++) {
		size_t i = (size_t)random() % BLOCKS;

		for (size_t k = 0; b[i].p != NULL && k < b[i].n; k++)
			assert_int_equal(b[i].p[k], b[i].fill);
		json_pool_put(b[i].p);
		b[i].n = (size_t)random() % (random() % 8 == 0 ? 4000 : 220);
		b[i].fill = (uint8_t)random();
		b[i].p = json_pool_get(b[i].n);
		assert_non_null(b[i].p);
		assert_true(malloc_usable_size(b[i].p) >= b[i].n);
		memset(b[i].p, b[i].fill, b[i].n);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		free(b[i].p); /* either will do */
}

static void
json_of_keys_is_wiped_all_the_same(void **state)
{
	static const char text[] = "\"a text of keys that is long enough not to be in the heap's own words\"";
	char *place;
	json_t *v;

	(void)state;
	json_pool_start();
	secret_json_begin();
	v = json_loads(text, JSON_DECODE_ANY, NULL);
	place = (char *)(uintptr_t)json_string_value(v);
	assert_string_equal(place, "a text of keys that is long enough not to be in the heap's own words");
#ifndef __SANITIZE_ADDRESS__
	json_decref(v);
	assert_null(memmem(place + 16, 40, "enough", 6));
#else
	json_decref(v);
#endif
	secret_json_end();
	v = json_loads(text, JSON_DECODE_ANY, NULL);
	json_decref(v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_of_any_size_are_whole_and_nobody_elses),
		cmocka_unit_test(json_of_keys_is_wiped_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
