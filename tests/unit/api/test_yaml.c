/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <api/yaml.h>
#include <cmocka.h>

static void
expect_refused(const char *text, size_t len, int line, int column, const char *part)
{
	struct source *src;
	struct faults f;

	faults_init(&f);
	assert_null(yaml_parse(text, len, &src, &f));
	assert_null(src);
	assert_true(f.n >= 1);
	if (f.items[0].line != line || f.items[0].column != column || strstr(f.items[0].text, part) == NULL)
		fail_msg("expected %d:%d ...%s..., got %d:%d %s", line, column, part, f.items[0].line,
			f.items[0].column, f.items[0].text);
	faults_fini(&f);
}

#define REFUSED(text, line, column, part) expect_refused(text, sizeof(text) - 1, line, column, part)

static json_t *
parse(const char *text, struct source **src)
{
	struct faults f;
	json_t *tree;

	faults_init(&f);
	tree = yaml_parse(text, strlen(text), src, &f);
	if (tree == NULL) {
		faults_print(&f, "text", stderr);
		fail();
	}
	return tree;
}

static void
what_yaml_allows_and_we_do_not_is_refused_with_its_place(void **state)
{
	(void)state;
	REFUSED("a: &x 1\nb: 2\n", 1, 4, "anchors are not allowed");
	REFUSED("a: 1\nb: *x\n", 2, 4, "aliases are not allowed");
	REFUSED("a: &x [1]\nb: *x\n", 1, 4, "anchors are not allowed");
	REFUSED("a: !!int 1\n", 1, 4, "tags are not allowed");
	REFUSED("a: 1\n\tb: 2\n", 2, 1, "a tab; indent with spaces");
	REFUSED("a:\n  \tb: 2\n", 2, 3, "a tab; indent with spaces");
	REFUSED("a: 1\nb:\n  c: 1\n  c: 2\n", 4, 3, "duplicate key \"c\"");
	REFUSED("a: 1\n---\nb: 2\n", 2, 1, "a second document");
	REFUSED("a: 1\nb\0: 2\n", 2, 2, "a NUL byte");
	REFUSED("a: \"x\\0y\"\n", 1, 4, "a value has a NUL character");
	REFUSED("\"x\\0y\": 1\n", 1, 1, "a key has a NUL character");
	REFUSED("[a, b]: 1\n", 1, 1, "a key must be a plain word");
	REFUSED("a: 1\n*x: 2\n", 2, 1, "aliases are not allowed");
	REFUSED("a: [1, 2\nb: 3\n", 2, 2, "is not YAML");
	REFUSED("a: 1\nb: \xff\n", 2, 4, "is not YAML");
	REFUSED("", 1, 1, "is empty");
	REFUSED("# nothing\n", 1, 1, "is empty");
}

static void
every_tab_and_every_duplicate_is_told(void **state)
{
	static const char tabs[] = "a:\n\tb: 1\n\tc: 2\n";
	static const char twins[] = "a: 1\na: 2\na: {a: 3, a: 4}\n";
	struct source *src;
	struct faults f;

	(void)state;
	faults_init(&f);
	assert_null(yaml_parse(tabs, strlen(tabs), &src, &f));
	assert_int_equal(f.n, 2);
	faults_fini(&f);
	assert_null(yaml_parse(twins, strlen(twins), &src, &f));
	assert_int_equal(f.n, 3);
	assert_int_equal(f.items[2].line, 3);
	assert_int_equal(f.items[2].column, 11);
	faults_fini(&f);
}

static void
sixteen_levels_are_allowed_and_seventeen_are_not(void **state)
{
	static const char deep16[] = "[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]";
	static const char deep17[] = "[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]";
	char *deeper = malloc(100000);
	struct source *src;

	(void)state;
	json_decref(parse(deep16, &src));
	source_free(src);
	expect_refused(deep17, strlen(deep17), 1, 17, "nested too deep; at most 16");
	memset(deeper, '[', 100000);
	expect_refused(deeper, 100000, 1, 17, "nested too deep; at most 16");
	free(deeper);
}

static void
one_mebibyte_is_allowed_and_a_byte_more_is_not(void **state)
{
	size_t size = (1u << 20) + 1;
	char *text = malloc(size);
	struct source *src;
	struct faults f;
	json_t *tree;

	(void)state;
	memset(text, '#', size);
	memcpy(text, "a: 1\n", 5);
	faults_init(&f);
	tree = yaml_parse(text, size - 1, &src, &f);
	assert_non_null(tree);
	json_decref(tree);
	source_free(src);
	expect_refused(text, size, 1, 1, "at most 1048576 (1 MiB) are allowed");
	free(text);
}

static void
every_scalar_is_text_and_knows_its_place(void **state)
{
	struct source *src;
	json_t *tree = parse("a: 0x10\nb:\n  - on\n  - \"q\"\nc: ~\nd: \"\"\ne:\n", &src);
	int line, column;

	(void)state;
	assert_string_equal(json_string_value(json_object_get(tree, "a")), "0x10");
	assert_string_equal(json_string_value(tree_at(tree, "b[0]")), "on");
	assert_string_equal(json_string_value(json_object_get(tree, "d")), "");
	assert_true(json_is_null(json_object_get(tree, "c")));
	assert_true(json_is_null(json_object_get(tree, "e")));
	source_find(src, tree_at(tree, "b[1]"), &line, &column);
	assert_int_equal(line, 4);
	assert_int_equal(column, 5);
	source_find_key(src, tree, "e", &line, &column);
	assert_int_equal(line, 7);
	assert_int_equal(column, 1);
	source_find_path(src, tree, "b[7].x", &line, &column); /* the nearest thing that is there */
	assert_int_equal(line, 3);
	assert_int_equal(column, 3);
	assert_null(tree_at(tree, "b[7].x"));
	json_decref(tree);
	source_free(src);
}

static void
written_text_keeps_its_type_for_other_readers(void **state)
{
	json_t *tree = json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:[], s:{}, s:n, s:s}", "a", "12", "b", "on",
		"c", "", "d", "02:00:00:00:00:01", "e", 12, "f", 1, "g", "h", "i", "j", "10.0.0.1");
	char *text = yaml_format(tree);

	(void)state;
	assert_string_equal(text, "a: \"12\"\nb: \"on\"\nc: \"\"\nd: \"02:00:00:00:00:01\"\ne: 12\nf: on\ng: "
				  "[]\nh: {}\ni: null\n"
				  "j: 10.0.0.1\n");
	free(text);
	json_decref(tree);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_yaml_allows_and_we_do_not_is_refused_with_its_place),
		cmocka_unit_test(every_tab_and_every_duplicate_is_told),
		cmocka_unit_test(sixteen_levels_are_allowed_and_seventeen_are_not),
		cmocka_unit_test(one_mebibyte_is_allowed_and_a_byte_more_is_not),
		cmocka_unit_test(every_scalar_is_text_and_knows_its_place),
		cmocka_unit_test(written_text_keeps_its_type_for_other_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
