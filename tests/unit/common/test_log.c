/* SPDX-License-Identifier: BSD-3-Clause */
#include <common/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void
keep(void *arg, enum log_level level, const char *line)
{
	(void)level;
	snprintf(arg, 200, "%s", line);
}

static void
a_quoted_text_makes_no_line_of_its_own(void **state)
{
	char line[200];

	(void)state;
	log_set_sink(keep, line);
	log_warn("claim of VM %s refused", "a\n2026-01-01 error: all is lost\x1b[2J");
	log_set_sink(NULL, NULL);
	assert_string_equal(line, "claim of VM a?2026-01-01 error: all is lost?[2J refused");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quoted_text_makes_no_line_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
