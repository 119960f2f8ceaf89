/* SPDX-License-Identifier: BSD-3-Clause */
/* Damaged files and messages end in faults or in an object, never in a crash (run it under sanitizers, too).
 * usage: test_api_mutations CONF_DIR [SEED [ROUNDS]]
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <api/kinds.h>
#include <api/methods.h>
#include <api/yaml.h>
#include <cmocka.h>
#include <mutate.h>

static const char *conf_dir;
static unsigned long rounds = 12000; /* of each reader */

static const char *const files[] = {"nearway.yaml", "site-x.yaml", "site-y.yaml", "user-router.yaml"};
#define N_FILES (sizeof(files) / sizeof(files[0]))

static char *texts[N_FILES];

static char *
read_whole(const char *name)
{
	char file[600];
	char *text = calloc(1, 65536);
	FILE *in;

	snprintf(file, sizeof(file), "%s/%s", conf_dir, name);
	in = fopen(file, "r");
	assert_non_null(in);
	assert_true(fread(text, 1, 65535, in) > 0);
	fclose(in);
	return text;
}

/* Comments are most of the annotated file and hide what is mutated. */
static void
strip_comments(char *text)
{
	char *out = text;

	while (*text != '\0') {
		size_t n = strcspn(text, "\n") + 1;

		if (text[strspn(text, " ")] != '#') {
			memmove(out, text, n);
			out += n;
		}
		text += n;
	}
	*out = '\0';
}

static size_t accepted, refused;

/* What was accepted must be an object that can be written and read again. */
static void
expect_sound(const struct kind *k, void *obj)
{
	json_t *tree = kind_write(k, obj);
	_Alignas(16) char again[4096];
	struct faults f;

	faults_init(&f);
	assert_non_null(tree);
	if (kind_read(k, tree, NULL, again, &f) != 0) {
		faults_print(&f, k->name, stderr);
		fail();
	}
	assert_true(kind_equal(k, obj, again));
	kind_fini(k, again);
	kind_fini(k, obj);
	json_decref(tree);
}

static void
read_as_yaml(const char *text, size_t len)
{
	struct config c;
	struct source *src;
	struct faults f;
	json_t *tree;
	int rc = -1;

	faults_init(&f);
	tree = yaml_parse(text, len, &src, &f);
	if (tree != NULL) {
		rc = kind_read_partial(&kind_config, tree, src, &c, &f);
		rc |= config_check(&c, tree, src, &f);
		if (rc == 0)
			expect_sound(&kind_config, &c);
		else
			kind_fini(&kind_config, &c);
	}
	if (rc != 0)
		assert_true(f.n > 0);
	for (size_t i = 0; i < f.n; i++) {
		assert_true(f.items[i].line > 0 && f.items[i].column > 0);
		assert_true(f.items[i].text[0] != '\0');
	}
	*(rc == 0 ? &accepted : &refused) += 1;
	source_free(src);
	json_decref(tree);
	faults_fini(&f);
}

static void
damaged_yaml_never_crashes_the_reader(void **state)
{
	size_t size = 100000;
	char *text = malloc(size);

	(void)state;
	accepted = refused = 0;
	for (unsigned long i = 0; i < rounds; i++) {
		const char *from = texts[mutate_random(N_FILES)];
		size_t len = strlen(from);
		char *exact;

		memcpy(text, from, len);
		len = mutate_text(text, len, size);
		/* Exactly as long as the text, so that a sanitizer sees one byte too far. */
		exact = malloc(len + 1);
		memcpy(exact, text, len);
		read_as_yaml(exact, len);
		free(exact);
	}
	free(text);
	/* Mutations that never, or always, hurt would test nothing. */
	assert_true(accepted > rounds / 100 && refused > rounds / 4);
}

/* ---- JSON ---- */

static const char *const messages[][2] = {
	{"vm.register", "{\"segment\":\"seg1\",\"mac\":\"02:00:00:00:00:05\",\"epoch\":7,"
			"\"addresses\":[{\"private\":\"10.0.0.5\",\"global\":\"203.0.113.5\"},{\"private\":"
			"\"10.0.0.6\"}]}"},
	{"vm.move", "{\"segment\":\"seg1\",\"mac\":\"02:00:00:00:00:05\",\"addresses\":[{\"private\":\"10.0."
		    "0.5\"}],"
		    "\"drain-min\":\"1h\",\"drain-max\":86400000}"},
	{"nat.set", "{\"segment\":\"seg1\",\"private\":\"10.0.0.5\",\"global\":\"203.0.113.5\"}"},
	{"route.replace", "{\"prefix\":\"10.0.0.5/"
			  "32\",\"via\":\"198.51.100.2\",\"port\":\"wan0\",\"blackhole\":false}"},
	{"txn.apply", "{\"dry-run\":true,\"changes\":[{\"method\":\"vm.move\",\"params\":{\"a\":[1]}}]}"},
	{"show.vms", "{\"limit\":5,\"cursor\":\"abc\"}"},
};

static void
read_as_json(const struct kind *k, json_t *tree)
{
	_Alignas(16) char obj[4096];
	struct faults f;
	int rc;

	faults_init(&f);
	rc = kind_read(k, tree, NULL, obj, &f);
	if (rc == 0)
		expect_sound(k, obj);
	else
		assert_true(f.n + f.dropped > 0);
	*(rc == 0 ? &accepted : &refused) += 1;
	faults_fini(&f);
}

static json_t *
config_as_json(const char *text)
{
	struct source *src;
	struct config c;
	struct faults f;
	json_t *yaml, *tree;

	faults_init(&f);
	yaml = yaml_parse(text, strlen(text), &src, &f);
	assert_int_equal(kind_read(&kind_config, yaml, src, &c, &f), 0);
	tree = kind_write(&kind_config, &c);
	kind_fini(&kind_config, &c);
	source_free(src);
	json_decref(yaml);
	return tree;
}

static void
damaged_json_never_crashes_the_reader(void **state)
{
	size_t n = sizeof(messages) / sizeof(messages[0]);
	json_t *configs[N_FILES];

	(void)state;
	accepted = refused = 0;
	for (size_t i = 0; i < N_FILES; i++)
		configs[i] = config_as_json(texts[i]);
	for (unsigned long i = 0; i < rounds; i++) {
		size_t which = mutate_random(n + N_FILES);
		const struct kind *k = which < n ? method_find(messages[which][0])->params : &kind_config;
		json_t *tree = which < n ? json_loads(messages[which][1], 0, NULL)
					 : json_deep_copy(configs[which - n]);

		for (uint64_t edits = 1 + mutate_random(3); edits > 0; edits--)
			mutate_tree(tree);
		read_as_json(k, tree);
		json_decref(tree);
	}
	for (size_t i = 0; i < N_FILES; i++)
		json_decref(configs[i]);
	assert_true(accepted > rounds / 100 && refused > rounds / 4);
}

static void
any_value_of_a_message_may_be_of_another_type(void **state)
{
	(void)state;
	accepted = refused = 0;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		const struct kind *k = method_find(messages[i][0])->params;
		json_t *tree = json_loads(messages[i][1], 0, NULL), *other;

		for (unsigned int with = 0; with < MUTATE_TYPES; with++) {
			for (size_t nth = 0; (other = mutate_nth(tree, nth, with)) != NULL; nth++) {
				read_as_json(k, other);
				json_decref(other);
			}
		}
		json_decref(tree);
	}
	assert_true(accepted > 5 && refused > 100);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_yaml_never_crashes_the_reader),
		cmocka_unit_test(damaged_json_never_crashes_the_reader),
		cmocka_unit_test(any_value_of_a_message_may_be_of_another_type),
	};
	int rc;

	conf_dir = argc > 1 ? argv[1] : "conf";
	if (argc > 2)
		mutate_seed = strtoull(argv[2], NULL, 10) | 1;
	if (argc > 3)
		rounds = strtoul(argv[3], NULL, 10);
	for (size_t i = 0; i < N_FILES; i++) {
		texts[i] = read_whole(files[i]);
		strip_comments(texts[i]);
	}
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < N_FILES; i++)
		free(texts[i]);
	return rc;
}
