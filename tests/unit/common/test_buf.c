/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <common/buf.h>

static void
random_appends_and_consumes_keep_every_byte_in_order(void **state)
{
	struct buf b;
	uint8_t in = 0, out = 0, chunk[300];

	(void)state;
	srandom(1);
	buf_init(&b, 0);
	for (int i = 0; i < 20000; i++) {
		size_t n = (size_t)random() % sizeof(chunk);

		if (random() % 2 == 0) {
			for (size_t j = 0; j < n; j++)
				chunk[j] = in++;
			assert_int_equal(buf_append(&b, chunk, n), 0);
		} else {
			if (n > buf_len(&b))
				n = buf_len(&b);
			for (size_t j = 0; j < n; j++)
				assert_int_equal(buf_head(&b)[j], out++);
			buf_consume(&b, n);
		}
	}
	buf_fini(&b);
}

/* No offset is added to no pointer: UBSan looks. */
static void
a_buffer_that_never_held_anything_has_no_head(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_null(buf_head(&b));
	buf_consume(&b, 0);
	assert_int_equal(buf_len(&b), 0);
	buf_fini(&b);
}

static void
append_above_the_limit_changes_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 8);
	assert_int_equal(buf_append(&b, "12345", 5), 0);
	assert_int_equal(buf_append(&b, "6789", 4), -ENOSPC);
	assert_int_equal(buf_len(&b), 5);
	assert_int_equal(buf_append(&b, "678", 3), 0);
	assert_memory_equal(buf_head(&b), "12345678", 8);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_appends_and_consumes_keep_every_byte_in_order),
		cmocka_unit_test(a_buffer_that_never_held_anything_has_no_head),
		cmocka_unit_test(append_above_the_limit_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
