/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cli/output.h>
#include <cmocka.h>

static void
expect_output(void (*print)(const json_t *v, FILE *out), const char *json, const char *want)
{
	json_t *v = json_loads(json, JSON_DECODE_ANY, NULL);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(v);
	print(v, out);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
	json_decref(v);
}

static void
rows_are_a_table_with_aligned_columns(void **state)
{
	(void)state;
	expect_output(output_text,
		"{\"rows\": [{\"segment\": \"seg1\", \"epoch\": 7, \"owner\": \"r-x\"},"
		"{\"segment\": \"a-longer-one\", \"epoch\": 1234567, \"stale\": true, \"owner\": \"r-y\"}]}",
		"segment         epoch  owner  stale\n"
		"seg1                7  r-x    -\n"
		"a-longer-one  1234567  r-y    on\n");
}

static void
nested_values_fit_in_a_cell(void **state)
{
	(void)state;
	expect_output(output_text,
		"{\"rows\": [{\"addresses\": [{\"private\": \"10.0.0.5\", \"global\": \"203.0.113.5\"}, "
		"{\"private\": "
		"\"10.0.0.6\"}], \"drains\": [{\"a\": 1, \"b\": 2, \"c\": \"x\"}, {\"a\": 3, \"b\": 4, "
		"\"c\": \"\"}], "
		"\"ports\": [\"p0\", \"p1\"], \"none\": [], \"nil\": null}]}",
		"addresses                      drains                    ports  none  nil\n"
		"10.0.0.5=203.0.113.5,10.0.0.6  a=1 b=2 c=x; a=3 b=4 c=-  p0,p1  -       -\n");
}

static void
durations_are_text_for_people_and_numbers_for_programs(void **state)
{
	(void)state;
	expect_output(output_text,
		"{\"rows\": [{\"state\": \"draining\", \"left-min\": 0, \"left-max\": 5400000, "
		"\"uptime-ms\": 7}]}",
		"state     left-min  left-max  uptime-ms\n"
		"draining  0ms       90m               7\n");
	expect_output(output_json, "{\"left-max\": 5400000}", "{\n  \"left-max\": 5400000\n}\n");
}

static void
listing_without_rows_says_none(void **state)
{
	(void)state;
	expect_output(output_text, "{\"rows\": []}", "none\n");
}

static void
what_stands_beside_rows_is_not_lost(void **state)
{
	(void)state;
	expect_output(output_text, "{\"revision\": 5, \"rows\": [{\"a\": 1}], \"next\": \"x\"}",
		"revision: 5\n"
		"a\n"
		"1\n");
}

static void
objects_are_lines(void **state)
{
	(void)state;
	expect_output(output_text,
		"{\"name\": \"r-x\", \"uptime\": 1.5, \"packets\": {\"sent\": 5, \"held\": {\"arp\": 1}}, "
		"\"workers\": "
		"[{\"cpu\": 1, \"bursts\": 100}, {\"cpu\": 2, \"bursts\": 7}], \"empty\": {}, \"done\": "
		"false}",
		"name: r-x\n"
		"uptime: 1.5\n"
		"packets:\n"
		"  sent: 5\n"
		"  held:\n"
		"    arp: 1\n"
		"workers:\n"
		"  cpu  bursts\n"
		"    1     100\n"
		"    2       7\n"
		"empty: -\n"
		"done: off\n");
	expect_output(output_text, "true", "on\n");
}

static void
text_from_the_router_cannot_steer_the_terminal(void **state)
{
	(void)state;
	expect_output(output_text, "{\"name\": \"a\\u001b[2J\\nb\"}", "name: a?[2J?b\n");
	expect_output(
		output_text, "{\"rows\": [{\"n\": \"\xc3\xa9\"}, {\"n\": \"ab\"}]}", "n\n\xc3\xa9\nab\n");
}

static void
json_is_given_as_it_came(void **state)
{
	(void)state;
	expect_output(output_json, "{\"rows\": [], \"x\": 1}", "{\n  \"rows\": [],\n  \"x\": 1\n}\n");
}

static void
error_is_its_message_and_data(void **state)
{
	(void)state;
	expect_output(output_error, "{\"code\": 2, \"message\": \"stale epoch\", \"data\": {\"epoch\": 9}}",
		"stale epoch\n  epoch: 9\n");
	expect_output(output_error, "{\"code\": 2}", "the router refused without a reason\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_a_table_with_aligned_columns),
		cmocka_unit_test(nested_values_fit_in_a_cell),
		cmocka_unit_test(durations_are_text_for_people_and_numbers_for_programs),
		cmocka_unit_test(listing_without_rows_says_none),
		cmocka_unit_test(what_stands_beside_rows_is_not_lost),
		cmocka_unit_test(objects_are_lines),
		cmocka_unit_test(text_from_the_router_cannot_steer_the_terminal),
		cmocka_unit_test(json_is_given_as_it_came),
		cmocka_unit_test(error_is_its_message_and_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
