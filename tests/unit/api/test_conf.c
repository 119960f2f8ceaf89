/* SPDX-License-Identifier: BSD-3-Clause */
/* The files in conf/ load, and nearway.yaml explains every key with the words of the field tables. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <api/kinds.h>
#include <api/yaml.h>
#include <cmocka.h>

static const char *conf_dir;

static void
every_example_loads_without_fault(void **state)
{
	DIR *dir = opendir(conf_dir);
	struct dirent *d;
	int n = 0;

	(void)state;
	assert_non_null(dir);
	while ((d = readdir(dir)) != NULL) {
		char file[600];
		struct config c;
		struct faults f;

		if (strstr(d->d_name, ".yaml") == NULL || strncmp(d->d_name, "clc", 3) == 0)
			continue;
		snprintf(file, sizeof(file), "%s/%s", conf_dir, d->d_name);
		faults_init(&f);
		if (config_load(file, &c, &f) != 0) {
			faults_print(&f, file, stderr);
			fail();
		}
		kind_fini(&kind_config, &c);
		n++;
	}
	closedir(dir);
	assert_true(n >= 4);
}

#define LINES_MAX 1000

struct page {
	char *line[LINES_MAX]; /* from 1 */
	int n;
	json_t *tree;
	struct source *src;
};

static void
page_open(struct page *p)
{
	char file[600], buf[512];
	struct faults f;
	FILE *in;

	snprintf(file, sizeof(file), "%s/nearway.yaml", conf_dir);
	faults_init(&f);
	p->tree = yaml_parse_file(file, &p->src, &f);
	assert_non_null(p->tree);
	in = fopen(file, "r");
	p->n = 0;
	while (fgets(buf, sizeof(buf), in) != NULL && p->n + 1 < LINES_MAX) {
		buf[strcspn(buf, "\n")] = '\0';
		p->line[++p->n] = strdup(buf);
	}
	fclose(in);
}

static void
page_close(struct page *p)
{
	for (int i = 1; i <= p->n; i++)
		free(p->line[i]);
	source_free(p->src);
	json_decref(p->tree);
}

/* The comment lines that end right above a line, as one text. */
static void
comment_above(const struct page *p, int line, char *out, size_t size)
{
	int first = line;
	size_t n = 0;

	out[0] = '\0';
	while (first > 1 && p->line[first - 1][strspn(p->line[first - 1], " ")] == '#')
		first--;
	for (; first < line && n < size; first++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? " " : "",
			p->line[first] + strspn(p->line[first], " #"));
}

static void
expect_explained(const struct page *p, const struct kind *k, const struct field *f, const json_t *object)
{
	char want[600], got[2000];
	int line, column;

	source_find_key(p->src, object, f->name, &line, &column);
	comment_above(p, line, got, sizeof(got));
	field_describe(f, want, sizeof(want));
	if (strstr(got, want) == NULL)
		fail_msg("conf/nearway.yaml:%d: %s.%s needs the comment \"%s\", has \"%s\"", line, k->name,
			f->name, want, got);
}

static void check_kind(const struct page *p, const struct kind *k, json_t *const *objects, size_t n);

/* All objects that the field has in all of `objects`. */
static void
check_inside(const struct page *p, const struct field *f, json_t *const *objects, size_t n)
{
	json_t *inner[64];
	size_t n_inner = 0;

	for (size_t i = 0; i < n; i++) {
		json_t *v = json_object_get(objects[i], f->name);

		if (json_is_object(v))
			inner[n_inner++] = v;
		for (size_t j = 0; j < json_array_size(v); j++)
			inner[n_inner++] = json_array_get(v, j);
	}
	check_kind(p, f->kind, inner, n_inner);
}

static void
check_kind(const struct page *p, const struct kind *k, json_t *const *objects, size_t n)
{
	for (const struct field *f = k->fields; f->name != NULL; f++) {
		size_t i = 0;

		while (i < n && json_object_get(objects[i], f->name) == NULL)
			i++;
		if (i == n)
			fail_msg("conf/nearway.yaml lacks %s.%s", k->name, f->name);
		expect_explained(p, k, f, objects[i]);
		if (f->kind != NULL)
			check_inside(p, f, objects, n);
	}
}

static void
annotated_file_explains_every_key(void **state)
{
	struct page p;

	(void)state;
	page_open(&p);
	check_kind(&p, &kind_config, &p.tree, 1);
	page_close(&p);
}

static void
example_sites_fit_together(void **state)
{
	struct config x, y;
	char file[600];
	struct faults f;
	const struct conf_peer *y_in_x;

	(void)state;
	faults_init(&f);
	snprintf(file, sizeof(file), "%s/site-x.yaml", conf_dir);
	assert_int_equal(config_load(file, &x, &f), 0);
	snprintf(file, sizeof(file), "%s/site-y.yaml", conf_dir);
	assert_int_equal(config_load(file, &y, &f), 0);
	y_in_x = list_at(x.peers, struct conf_peer, 0);
	assert_string_equal(y_in_x->name, y.router.name);
	assert_string_equal(y_in_x->address, y.control.listen);
	assert_int_equal(y_in_x->vtep, y.router.vtep);
	assert_true(mac_equal(&y_in_x->mac, &y.router.mac));
	assert_true(
		kind_equal(kind_field(&kind_config, "segments")->kind, x.segments.items, y.segments.items));
	assert_false(prefix4_overlap(&list_at(x.pools, struct conf_pool, 0)->prefix,
		&list_at(y.pools, struct conf_pool, 0)->prefix));
	kind_fini(&kind_config, &x);
	kind_fini(&kind_config, &y);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_example_loads_without_fault),
		cmocka_unit_test(annotated_file_explains_every_key),
		cmocka_unit_test(example_sites_fit_together),
	};

	conf_dir = argc > 1 ? argv[1] : "conf";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
