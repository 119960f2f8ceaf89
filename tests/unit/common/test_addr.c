/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <common/addr.h>

static void
mac_is_read_and_written_back(void **state)
{
	struct mac m;
	char text[MAC_TEXT];

	(void)state;
	assert_int_equal(mac_parse("02:00:5E:00:a1:ff", &m), 0);
	assert_string_equal(mac_format(&m, text), "02:00:5e:00:a1:ff");
}

static void
mac_that_is_not_six_pairs_is_refused(void **state)
{
	static const char *const bad[] = {"", "02", "02:00:5e:00:a1", "02:00:5e:00:a1:ff:00",
		"02:00:5e:00:a1:f", "02-00-5e-00-a1-ff", "0g:00:5e:00:a1:ff", "02:00:5e:00:a1:ff "};
	struct mac m;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mac_parse(bad[i], &m), -EINVAL);
}

static void
prefix_with_host_bits_is_told_apart_from_garbage(void **state)
{
	struct prefix4 p;
	char text[PREFIX4_TEXT];

	(void)state;
	assert_int_equal(prefix4_parse("10.0.0.0/8", &p), 0);
	assert_string_equal(prefix4_format(&p, text), "10.0.0.0/8");
	assert_int_equal(prefix4_parse("10.0.0.1/8", &p), -EDOM);
	assert_int_equal(prefix4_parse("10.0.0.0/33", &p), -EINVAL);
	assert_int_equal(prefix4_parse("10.0.0.0/", &p), -EINVAL);
	assert_int_equal(prefix4_parse("10.0.0.0/08", &p), -EINVAL);
	assert_int_equal(prefix4_parse("0.0.0.0/0", &p), 0);
	assert_true(prefix4_has(&p, 0xffffffff));
	assert_int_equal(prefix4_parse("10.0.0.1", &p), 0);
	assert_int_equal(p.len, 32);
}

static void
overlap_is_seen_from_either_side(void **state)
{
	struct prefix4 wide, narrow, other;

	(void)state;
	prefix4_parse("10.0.0.0/8", &wide);
	prefix4_parse("10.1.2.0/24", &narrow);
	prefix4_parse("11.0.0.0/8", &other);
	assert_true(prefix4_overlap(&wide, &narrow));
	assert_true(prefix4_overlap(&narrow, &wide));
	assert_false(prefix4_overlap(&wide, &other));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mac_is_read_and_written_back),
		cmocka_unit_test(mac_that_is_not_six_pairs_is_refused),
		cmocka_unit_test(prefix_with_host_bits_is_told_apart_from_garbage),
		cmocka_unit_test(overlap_is_seen_from_either_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
