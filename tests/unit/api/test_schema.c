/* SPDX-License-Identifier: BSD-3-Clause */
/* Properties of every kind: what is written reads back the same, by JSON and by YAML. */
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

#define OBJECT_MAX 32768 /* explain takes a whole frame as text */

static uint64_t seed = 1;

static uint64_t
rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return n == 0 ? 0 : (seed >> 11) % n;
}

static const struct kind *const state_kinds[] = {
	&kind_config, &kind_route, &kind_vm, &kind_vm_address, &kind_vm_drain};
#define N_STATE_KINDS (sizeof(state_kinds) / sizeof(state_kinds[0]))

static const struct kind *
nth_kind(size_t i)
{
	return i < N_STATE_KINDS ? state_kinds[i] : methods[i - N_STATE_KINDS].params;
}

static size_t
count_kinds(void)
{
	size_t n = 0;

	while (methods[n].name != NULL)
		n++;
	return N_STATE_KINDS + n;
}

/* ---- random objects ---- */

static void
random_text(char *out, size_t min, size_t max)
{
	static const char letters[] = "abcXYZ019 :#-'\"{}[]&*!|>%@`,~?\\/=.";
	size_t n = min + rnd((max - min < 40 ? max - min : 40) + 1);

	for (size_t i = 0; i < n; i++)
		out[i] = letters[rnd(sizeof(letters) - 1)];
	out[n] = '\0';
}

static void
random_name(char *out)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
	size_t n = 6 + rnd(NAME_LEN - 5);

	for (size_t i = 0; i < n; i++)
		out[i] = letters[rnd(i == 0 ? 36 : sizeof(letters) - 1)];
	out[n] = '\0';
}

static ip4
random_ip(void)
{
	return (ip4)((1 + rnd(126)) << 24 | rnd(1 << 24));
}

static void
random_prefix(const struct field *f, struct prefix4 *p)
{
	/* Long ones, so that two of a list are hardly ever the same. */
	p->len = (uint8_t)(20 + rnd(f->max - 19));
	p->addr = random_ip();
	if (f->type == F_PREFIX4)
		p->addr &= ip4_mask(p->len);
}

static void random_object(const struct kind *k, void *obj);

static void
random_list(const struct field *f, struct list *l)
{
	size_t n = f->min + rnd(4);

	for (size_t i = 0; i < n && i < f->max; i++)
		random_object(f->kind, list_add(l, f->kind));
}

static void
random_field(const struct field *f, void *obj)
{
	void *at = (char *)obj + f->offset;
	bool needed = (f->flags & FIELD_REQUIRED) != 0 || f->def != NULL;

	if (f->type == F_LIST) {
		random_list(f, at);
		return;
	}
	if (f->type == F_OBJECT) {
		random_object(f->kind, at);
		return;
	}
	if (!needed && rnd(3) == 0)
		return;
	switch (f->type) {
	case F_STRING:
		random_text(at, f->min, f->max);
		break;
	case F_NAME:
		random_name(at);
		break;
	case F_BOOL:
		*(bool *)at = rnd(2);
		break;
	case F_INT:
	case F_DURATION:
		*(uint64_t *)at = rnd(4) == 0 ? (rnd(2) ? f->min : f->max) : f->min + rnd(f->max - f->min);
		break;
	case F_ENUM:
		*(int *)at = (int)rnd(2);
		break;
	case F_MAC:
		for (size_t i = 0; i < 6; i++)
			((uint8_t *)at)[i] = (uint8_t)(rnd(256) & (i == 0 ? 0xfc : 0xff)) | (i == 0 ? 2 : 0);
		break;
	case F_IP4:
		*(ip4 *)at = random_ip();
		break;
	case F_IFADDR4:
	case F_PREFIX4:
		random_prefix(f, at);
		break;
	case F_HOSTPORT:
		sprintf(at, "192.0.2.%d:%d", (int)rnd(256), 1 + (int)rnd(65535));
		break;
	case F_KEY:
		for (size_t i = 0; i < KEY_LEN; i++)
			((uint8_t *)at)[i] = (uint8_t)(1 + rnd(255));
		break;
	case F_JSON:
		*(json_t **)at = json_pack("{s:s, s:[s]}", "a", "text", "b", "more");
		break;
	default:
		fail();
	}
}

static void
random_object(const struct kind *k, void *obj)
{
	kind_init(k, obj);
	for (const struct field *f = k->fields; f->name != NULL; f++)
		random_field(f, obj);
}

/* ---- tests ---- */

static json_t *
through_json_text(json_t *tree)
{
	char *text = json_dumps(tree, 0);
	json_t *again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(again);
	free(text);
	json_decref(tree);
	return again;
}

static void
expect_same(const struct kind *k, const void *want, const json_t *tree, const struct source *src)
{
	_Alignas(16) char got[OBJECT_MAX];
	struct faults f;

	faults_init(&f);
	if (kind_read(k, tree, src, got, &f) != 0) {
		faults_print(&f, k->name, stderr);
		fail();
	}
	if (!kind_equal(k, want, got))
		fail_msg("kind %s differs after reading it back", k->name);
	kind_fini(k, got);
}

static void
every_kind_survives_json(void **state)
{
	_Alignas(16) char obj[OBJECT_MAX];

	(void)state;
	for (size_t round = 0; round < 200; round++) {
		for (size_t i = 0; i < count_kinds(); i++) {
			const struct kind *k = nth_kind(i);
			json_t *tree;

			assert_true(k->size <= sizeof(obj));
			random_object(k, obj);
			tree = through_json_text(kind_write(k, obj));
			expect_same(k, obj, tree, NULL);
			json_decref(tree);
			kind_fini(k, obj);
		}
	}
}

static void
every_kind_is_printed_as_it_is_written(void **state)
{
	_Alignas(16) char obj[OBJECT_MAX];

	(void)state;
	for (size_t round = 0; round < 200; round++) {
		for (size_t i = 0; i < count_kinds(); i++) {
			const struct kind *k = nth_kind(i);
			json_t *tree;
			struct buf b;
			char *want;

			random_object(k, obj);
			tree = kind_write(k, obj);
			want = json_dumps(tree, JSON_COMPACT | JSON_ENSURE_ASCII);
			buf_init(&b, 0);
			assert_int_equal(kind_print(k, obj, &b), 0);
			assert_int_equal(buf_append(&b, "", 1), 0);
			assert_string_equal((const char *)buf_head(&b), want);
			buf_fini(&b);
			free(want);
			json_decref(tree);
			kind_fini(k, obj);
		}
	}
}

static void
texts_of_any_kind_are_printed_as_ascii(void **state)
{
	static const char *const texts[] = {"gr\xc3\xbc\xc3\x9f dich", "\x7f", "a\tb\nc", "\"\\/"};
	const struct kind *k = kind_field(method_find("txn.apply")->params, "changes")->kind;
	struct txn_change ch = {0};
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *again;

		ch.params = json_pack("{s:s}", "text", texts[i]);
		buf_init(&b, 0);
		assert_int_equal(kind_print(k, &ch, &b), 0);
		for (size_t n = 0; n < buf_len(&b); n++)
			assert_true(buf_head(&b)[n] >= 0x20 && buf_head(&b)[n] < 0x80);
		again = json_loadb((const char *)buf_head(&b), buf_len(&b), 0, NULL);
		assert_string_equal(
			json_string_value(json_object_get(json_object_get(again, "params"), "text")),
			texts[i]);
		json_decref(again);
		json_decref(ch.params);
		buf_fini(&b);
	}
}

static void
every_kind_survives_yaml(void **state)
{
	_Alignas(16) char obj[OBJECT_MAX];
	struct faults f;

	(void)state;
	faults_init(&f);
	for (size_t round = 0; round < 200; round++) {
		for (size_t i = 0; i < count_kinds(); i++) {
			const struct kind *k = nth_kind(i);
			struct source *src;
			json_t *tree;
			char *text;

			random_object(k, obj);
			tree = kind_write_text(k, obj);
			text = yaml_format(tree);
			json_decref(tree);
			assert_non_null(text);
			tree = yaml_parse(text, strlen(text), &src, &f);
			if (tree == NULL) {
				faults_print(&f, k->name, stderr);
				fail_msg("%s", text);
			}
			expect_same(k, obj, tree, src);
			json_decref(tree);
			source_free(src);
			free(text);
			kind_fini(k, obj);
		}
	}
}

static void
copy_is_equal_and_of_its_own(void **state)
{
	_Alignas(16) char a[OBJECT_MAX], b[OBJECT_MAX];

	(void)state;
	for (size_t i = 0; i < count_kinds(); i++) {
		const struct kind *k = nth_kind(i);

		random_object(k, a);
		assert_int_equal(kind_copy(k, b, a), 0);
		assert_true(kind_equal(k, a, b));
		kind_fini(k, a); /* what b borrowed would now be gone: the sanitizer would tell */
		json_decref(kind_write(k, b));
		kind_fini(k, b);
	}
}

static void
objects_that_differ_in_one_field_are_not_equal(void **state)
{
	_Alignas(16) char a[OBJECT_MAX], b[OBJECT_MAX];

	(void)state;
	for (size_t i = 0; i < count_kinds(); i++) {
		const struct kind *k = nth_kind(i);

		for (const struct field *f = k->fields; f->name != NULL; f++) {
			if (f->type == F_OBJECT)
				continue;
			random_object(k, a);
			kind_copy(k, b, a);
			if (f->type == F_LIST)
				list_add((struct list *)(b + f->offset), f->kind);
			else if (f->type == F_JSON)
				json_object_set_new(*(json_t **)(b + f->offset), "c", json_null());
			else
				*(b + f->offset) ^= 1;
			if (kind_equal(k, a, b))
				fail_msg("%s.%s is not compared", k->name, f->name);
			kind_fini(k, a);
			kind_fini(k, b);
		}
	}
}

static void
check_defaults(const struct kind *k, void *scratch)
{
	char why[320], text[480];

	for (const struct field *f = k->fields; f->name != NULL; f++) {
		assert_non_null(f->help);
		assert_true(strlen(f->help) > 0 && f->help[strlen(f->help) - 1] != '.');
		assert_true(strlen(field_describe(f, text, sizeof(text))) < sizeof(text) - 1);
		if (f->def != NULL && field_parse(f, f->def, scratch, why, sizeof(why)) != 0)
			fail_msg("default of %s.%s: %s", k->name, f->name, why);
		if (f->type == F_ENUM)
			assert_non_null(f->words);
		if (f->kind != NULL)
			check_defaults(f->kind, scratch);
	}
}

static void
every_default_is_a_value_that_may_be_given(void **state)
{
	_Alignas(16) char scratch[OBJECT_MAX] = {0};

	(void)state;
	for (size_t i = 0; i < count_kinds(); i++)
		check_defaults(nth_kind(i), scratch);
}

static void
expect_json_fault(const struct kind *k, const char *text, const char *path, const char *part)
{
	_Alignas(16) char obj[OBJECT_MAX];
	json_t *tree = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	struct faults f;
	struct err e;

	faults_init(&f);
	assert_non_null(tree);
	if (kind_read(k, tree, NULL, obj, &f) != -EINVAL)
		fail_msg("%s was accepted", text);
	assert_int_equal(f.n, 1);
	assert_int_equal(f.items[0].line, 0);
	assert_string_equal(f.items[0].path, path);
	if (strstr(f.items[0].text, part) == NULL)
		fail_msg("%s: %s", text, f.items[0].text);
	for (size_t i = 0; i < k->size; i++)
		assert_int_equal(obj[i], 0);
	assert_int_equal(faults_err(&f, &e), -EINVAL);
	assert_non_null(strstr(e.text, part));
	faults_fini(&f);
	json_decref(tree);
}

static void
json_from_the_wire_must_have_json_types(void **state)
{
	(void)state;
	expect_json_fault(&kind_show_params, "{\"limit\": \"5\"}", "limit", "is text; allowed: a number");
	expect_json_fault(&kind_show_params, "{\"limit\": 1.0}", "limit", "is a number with a fraction");
	expect_json_fault(&kind_show_params, "{\"limit\": -1}", "limit", "-1 is out of range");
	expect_json_fault(&kind_txn_params, "{\"changes\": [{\"method\": \"nat.set\", \"params\": null}]}",
		"changes[0].params", "is empty; allowed: any JSON value but null");
	expect_json_fault(&kind_show_params, "{\"limit\": null}", "limit", "is empty; allowed: a number");
	expect_json_fault(&kind_show_params, "{\"cursor\": 5}", "cursor", "is a number; allowed: text");
	expect_json_fault(&kind_show_params, "{\"cursor\": \"a\\u0000b\"}", "cursor", "has a NUL byte");
	expect_json_fault(
		&kind_show_params, "{\"cursor\": \"a\\u001bb\"}", "cursor", "has a control character");
	expect_json_fault(&kind_route, "{\"prefix\": \"0.0.0.0/0\", \"blackhole\": \"on\"}", "blackhole",
		"is text; allowed: on or off");
	expect_json_fault(&kind_no_params, "{\"limit\": 1}", "limit", "unknown key; none is allowed here");
	expect_json_fault(&kind_no_params, "[]", "", "is a list");
	expect_json_fault(&kind_nat_set_params, "{\"segment\": \"s\"}", "private", "missing; must be");
	expect_json_fault(&kind_vm_register_params,
		"{\"segment\": \"s\", \"mac\": \"02:00:00:00:00:01\", \"addresses\": []}", "addresses",
		"has 0 items; allowed: a list of 1 to 4 items");
	expect_json_fault(&kind_vm_register_params,
		"{\"segment\": \"s\", \"mac\": \"02:00:00:00:00:01\", \"addresses\": [{\"private\": "
		"\"10.0.0.5\"}, "
		"{\"private\": \"10.0.0.5\", \"global\": \"192.0.2.1\"}]}",
		"addresses[1]", "private 10.0.0.5 is there already, as item 0");
	expect_json_fault(&kind_vm_key_params,
		"{\"segment\": \"s\", \"mac\": \"02:00:00:00:00:01\", \"epoch\": 9223372036854775807, "
		"\"term\": 1}",
		"term", "unknown key");
}

static void
list_beyond_its_limit_is_refused_without_being_read(void **state)
{
	struct vm_register_params p;
	json_t *tree = json_pack("{s:s, s:s, s:[]}", "segment", "s", "mac", "02:00:00:00:00:01", "addresses");
	json_t *list = json_object_get(tree, "addresses");
	struct faults f;

	(void)state;
	for (int i = 0; i < 100000; i++)
		json_array_append_new(list, json_integer(i));
	faults_init(&f);
	assert_int_equal(kind_read(&kind_vm_register_params, tree, NULL, &p, &f), -EINVAL);
	assert_int_equal(f.n, 1 + VM_ADDRESSES_MAX);
	faults_fini(&f);
	json_decref(tree);
}

static void
duration_is_text_or_milliseconds_in_json(void **state)
{
	json_t *tree =
		json_pack("{s:s, s:s, s:[{s:s}], s:s, s:i}", "segment", "s", "mac", "02:00:00:00:00:01",
			"addresses", "private", "10.0.0.5", "drain-min", "90m", "drain-max", 6000000);
	struct vm_move_params p;
	json_t *again;
	struct faults f;

	(void)state;
	faults_init(&f);
	assert_int_equal(kind_read(&kind_vm_move_params, tree, NULL, &p, &f), 0);
	assert_int_equal(p.drain_min_ms, 5400000);
	assert_int_equal(p.drain_max_ms, 6000000);
	again = kind_write(&kind_vm_move_params, &p); /* the wire */
	assert_int_equal(json_integer_value(json_object_get(again, "drain-min")), 5400000);
	assert_int_equal(json_integer_value(json_object_get(again, "drain-max")), 6000000);
	json_decref(again);
	again = kind_write_text(&kind_vm_move_params, &p);
	assert_string_equal(json_string_value(json_object_get(again, "drain-min")), "90m");
	assert_string_equal(json_string_value(json_object_get(again, "drain-max")), "100m");
	json_decref(again);
	json_decref(tree);
	kind_fini(&kind_vm_move_params, &p);
}

static void
drain_that_is_not_given_is_told_apart_from_zero(void **state)
{
	struct vm_move_params p;
	json_t *tree;

	(void)state;
	kind_init(&kind_vm_move_params, &p);
	assert_true(p.drain_min_ms == UINT64_MAX);
	p.drain_min_ms = 0;
	tree = kind_write(&kind_vm_move_params, &p);
	assert_true(json_is_integer(json_object_get(tree, "drain-min")));
	assert_null(json_object_get(tree, "drain-max"));
	json_decref(tree);
	kind_fini(&kind_vm_move_params, &p);
}

static void
words_of_a_command_line_read_like_yaml(void **state)
{
	json_t *tree = json_pack("{s:s, s:s}", "prefix", "10.0.0.5/32", "blackhole", "on");
	struct source *src = source_new();
	struct faults f;
	struct route r;

	(void)state;
	faults_init(&f);
	assert_int_equal(kind_read(&kind_route, tree, src, &r, &f), 0);
	assert_true(r.blackhole);
	kind_fini(&kind_route, &r);
	source_free(src);
	json_decref(tree);
}

static void
faults_above_the_limit_are_counted(void **state)
{
	json_t *tree = json_object();
	struct show_params p;
	struct faults f;
	char key[16];

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "unknown-%d", i);
		json_object_set_new(tree, key, json_null());
	}
	faults_init(&f);
	assert_int_equal(kind_read(&kind_show_params, tree, NULL, &p, &f), -EINVAL);
	assert_int_equal(f.n, FAULTS_MAX);
	assert_int_equal(f.dropped, 100);
	faults_fini(&f);
	json_decref(tree);
}

static void
fault_text_is_one_printable_line(void **state)
{
	struct faults f;
	json_t *check;

	(void)state;
	faults_init(&f);
	/* 319 bytes of text end in the middle of a two-byte character. */
	faults_add(&f, 1, 1, "a\nb", "%s%0316d\xc3\xa9\xc3\xa9", "\x1b[2J\n", 0);
	assert_string_equal(f.items[0].path, "a?b");
	assert_memory_equal(f.items[0].text, "?[2J?", 5);
	check = json_string(f.items[0].text);
	assert_non_null(check);
	json_decref(check);
	faults_fini(&f);
}

static void
every_method_is_found_by_name(void **state)
{
	(void)state;
	for (const struct method *m = methods; m->name != NULL; m++)
		assert_ptr_equal(method_find(m->name), m);
	assert_null(method_find("vm.mov"));
	assert_int_equal(method_find("vm.move")->perm, PERM_CHANGE);
	assert_int_equal(method_find("show.vms")->perm, PERM_OBSERVE);
	assert_ptr_equal(method_find("route.replace")->params, &kind_route_params);
}

static void
cpu_lists_are_read_as_written(void **state)
{
	static const char *const bad[] = {"", "a", "1,", ",1", "1-", "-1", "5-2", "1 2", "1,,2", "1024",
		"1-2-3", "0x1", "1-3,2", "99999999999999999999"};
	uint16_t cpus[4];

	(void)state;
	assert_int_equal(cpus_parse("2-4,1", cpus, 4), 4);
	assert_int_equal(cpus[0], 2);
	assert_int_equal(cpus[2], 4);
	assert_int_equal(cpus[3], 1);
	assert_int_equal(cpus_parse("2-5,8", cpus, 4), -ENOSPC);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cpus_parse(bad[i], cpus, 4), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_survives_json),
		cmocka_unit_test(every_kind_is_printed_as_it_is_written),
		cmocka_unit_test(texts_of_any_kind_are_printed_as_ascii),
		cmocka_unit_test(every_kind_survives_yaml),
		cmocka_unit_test(copy_is_equal_and_of_its_own),
		cmocka_unit_test(objects_that_differ_in_one_field_are_not_equal),
		cmocka_unit_test(every_default_is_a_value_that_may_be_given),
		cmocka_unit_test(json_from_the_wire_must_have_json_types),
		cmocka_unit_test(list_beyond_its_limit_is_refused_without_being_read),
		cmocka_unit_test(duration_is_text_or_milliseconds_in_json),
		cmocka_unit_test(drain_that_is_not_given_is_told_apart_from_zero),
		cmocka_unit_test(words_of_a_command_line_read_like_yaml),
		cmocka_unit_test(faults_above_the_limit_are_counted),
		cmocka_unit_test(fault_text_is_one_printable_line),
		cmocka_unit_test(every_method_is_found_by_name),
		cmocka_unit_test(cpu_lists_are_read_as_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
