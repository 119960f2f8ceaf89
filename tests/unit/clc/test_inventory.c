/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <clc/inventory.h>
#include <cmocka.h>
#include <mutate.h>

static const char *conf; /* conf/clc.yaml */

/* The example with `from` replaced by `to`, loaded; all faults as text in `out`. */
static int
load_changed(const char *from, const char *to, char *out, size_t size)
{
	static char text[16384], changed[16384];
	char file[] = "/tmp/nearway-inv-XXXXXX";
	struct inventory inv;
	struct faults f;
	FILE *in = fopen(conf, "r");
	size_t n = fread(text, 1, sizeof(text) - 1, in);
	char *at;
	int fd = mkstemp(file), rc;

	fclose(in);
	text[n] = '\0';
	at = strstr(text, from);
	assert_non_null(at);
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	assert_int_equal(write(fd, changed, strlen(changed)), (ssize_t)strlen(changed));
	close(fd);
	faults_init(&f);
	rc = inventory_load(file, &inv, &f);
	out[0] = '\0';
	for (size_t i = 0; i < f.n; i++)
		snprintf(out + strlen(out), size - strlen(out), "%d %s %s\n", f.items[i].line,
			f.items[i].path, f.items[i].text);
	faults_fini(&f);
	if (rc == 0)
		inventory_free(&inv);
	unlink(file);
	return rc;
}

static void
example_loads_and_says_what_stands_in_it(void **state)
{
	struct inventory inv;
	struct faults f;
	ip4 first, last;

	(void)state;
	faults_init(&f);
	assert_int_equal(inventory_load(conf, &inv, &f), 0);
	assert_string_equal(inv.clc.name, "clc");
	assert_int_equal(inv.clc.term, 1);
	assert_string_equal(inventory_site(&inv, "y")->router, "r-y");
	assert_string_equal(inventory_site_of(&inv, "r-x")->name, "x");
	assert_null(inventory_site_of(&inv, "r-u"));
	assert_string_equal(inventory_router(&inv, "r-u")->address, "192.0.2.12:7411");
	assert_int_equal(inventory_site(&inv, "y")->routes.n, 1);
	assert_false(segment_is_routed(inventory_segment(&inv, "seg1")));
	segment_range(inventory_segment(&inv, "seg1"), &first, &last);
	assert_int_equal(first, 0x0a00000a);
	assert_int_equal(last, 0x0a0000fa);
	inventory_free(&inv);
	faults_fini(&f);
}

static void
faults_name_line_path_and_cause(void **state)
{
	static const struct {
		const char *from, *to, *path, *why;
	} cases[] = {
		{"    router: r-x\n", "    router: r-z\n", "sites[0].router", "no router r-z"},
		{"    router: r-y\n", "    router: r-x\n", "sites[1].router", "another site already"},
		{"      - router: r-u ", "      - router: r-9 ", "sites[0].routes", "no router r-9"},
		{"203.0.113.64/26", "203.0.113.0/25", "sites[1].pools", "overlap"},
		{"gateway: 10.0.0.1", "gateway: 10.0.1.1", "segments[0].gateway", "outside"},
		{"first: 10.0.0.10", "first: 10.0.0.251", "segments[0].range", "first to last"},
		{"\"02:56:4d\"", "\"01:56:4d\"", "clc.mac-prefix", "unicast"},
		{"term: 1 ", "trem: 1 ", "clc.trem", ""},
		{"access: nat ", "access: nut ", "segments[0].access", "nat, routed"},
	};
	char out[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(load_changed(cases[i].from, cases[i].to, out, sizeof(out)), -EINVAL);
		if (strstr(out, cases[i].path) == NULL || strstr(out, cases[i].why) == NULL || out[0] == '0')
			fail_msg("%s: %s", cases[i].to, out);
	}
}

static void
range_left_out_is_every_host_of_the_prefix(void **state)
{
	struct inv_segment seg = {.prefix = {0x0a000000, 24}};
	ip4 first, last;

	(void)state;
	segment_range(&seg, &first, &last);
	assert_int_equal(first, 0x0a000001);
	assert_int_equal(last, 0x0a0000fe);
}

static void
damaged_inventories_are_loaded_or_refused_with_a_place(void **state)
{
	static char text[16384], damaged[32768];
	char file[64];
	FILE *in = fopen(conf, "r");
	size_t n = fread(text, 1, sizeof(text), in), loaded = 0, refused = 0;
	int fd = memfd_create("inventory", 0);

	(void)state;
	fclose(in);
	snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
	for (int i = 0; i < 4000; i++) {
		struct inventory inv;
		struct faults f;
		size_t len;

		memcpy(damaged, text, n);
		len = mutate_text(damaged, n, sizeof(damaged));
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, damaged, len, 0), (ssize_t)len);
		faults_init(&f);
		if (inventory_load(file, &inv, &f) == 0) {
			inventory_free(&inv);
			loaded++;
		} else {
			assert_true(f.n > 0 && f.items[0].line > 0);
			refused++;
		}
		faults_fini(&f);
	}
	close(fd);
	assert_true(loaded > 400 && refused > 400); /* else the damage shows nothing */
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(example_loads_and_says_what_stands_in_it),
		cmocka_unit_test(faults_name_line_path_and_cause),
		cmocka_unit_test(range_left_out_is_every_host_of_the_prefix),
		cmocka_unit_test(damaged_inventories_are_loaded_or_refused_with_a_place),
	};

	if (argc != 2)
		return 2;
	conf = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
