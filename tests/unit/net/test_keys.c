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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <net/keys.h>

static char dir[] = "/tmp/nearway-keys-XXXXXX";
static char file[64];

static int
make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/key", dir);
	return 0;
}

static int
remove_dir(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(dir);
}

static void
put(const char *text, size_t len, mode_t mode)
{
	int fd;

	unlink(file);
	fd = open(file, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
saved_key_loads_again_and_has_mode_0600(void **state)
{
	uint8_t a[32], b[32];
	struct stat st;

	(void)state;
	unlink(file);
	assert_int_equal(key_generate(a), 0);
	assert_int_equal(key_save(file, a, NULL), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 45);
	assert_int_equal(key_load(file, b, NULL), 0);
	assert_memory_equal(a, b, 32);
	assert_int_equal(key_save(file, a, NULL), -EEXIST);
}

static void
text_round_trips_and_padding_is_optional(void **state)
{
	uint8_t a[32], b[32];
	char text[KEY_TEXT];

	(void)state;
	assert_int_equal(key_generate(a), 0);
	key_format(a, text);
	assert_int_equal(strlen(text), 44);
	assert_int_equal(key_parse(text, b), 0);
	assert_memory_equal(a, b, 32);
	text[43] = '\0';
	memset(b, 0, 32);
	assert_int_equal(key_parse(text, b), 0);
	assert_memory_equal(a, b, 32);
	text[42] = '\0';
	assert_int_equal(key_parse(text, b), -EINVAL);
	assert_int_equal(key_parse("", b), -EINVAL);
	assert_int_equal(key_parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", b), -EDOM);
	assert_int_equal(key_parse("!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", b), -EINVAL);
	assert_int_equal(key_parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", b), -EINVAL);
}

static void
public_key_is_rfc_7748_section_6_1(void **state)
{
	static const uint8_t alice[32] = {0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1,
		0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77,
		0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a};
	static const uint8_t alice_public[32] = {0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b,
		0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a, 0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb,
		0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a};
	uint8_t key[32];

	(void)state;
	key_public(alice, key);
	assert_memory_equal(key, alice_public, 32);
}

/* C-28: missing, 0644, 31 bytes, zero; equal to a peer's: see test_conf.c and program.py. */
static void
bad_key_files_are_refused_with_the_reason_and_no_key_bytes(void **state)
{
	static const char good[] = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n";
	static const char zero[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
	static const struct {
		const char *text;
		size_t len;
		mode_t mode;
		const char *why;
	} bad[] = {
		{good, 45, 0644, "chmod 600"},
		{good, 45, 0640, "chmod 600"},
		{good, 45, 0700, "chmod 600"},
		{"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LA==\n", 45, 0600, "not one line"}, /* 31 bytes */
		{good, 20, 0600, "not one line"},
		{"", 0, 0600, "not one line"},
		{zero, 45, 0600, "zero"},
		{"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\nx", 46, 0600, "not one line"},
		{"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\0\n", 46, 0600, "not one line"},
	};
	uint8_t key[32];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(bad[i].text, bad[i].len, bad[i].mode);
		e.text[0] = '\0';
		assert_true(key_load(file, key, &e) < 0);
		assert_non_null(strstr(e.text, bad[i].why));
		assert_non_null(strstr(e.text, file));
		assert_null(strstr(e.text, "dwdt"));
	}
	put(good, 45, 0400);
	assert_int_equal(key_load(file, key, &e), 0);
	unlink(file);
	assert_int_equal(key_load(file, key, &e), -ENOENT);
	assert_int_equal(key_load(dir, key, &e), -EINVAL);
	assert_int_equal(mkfifo(file, 0600), 0);
	assert_int_equal(key_load(file, key, &e), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(saved_key_loads_again_and_has_mode_0600),
		cmocka_unit_test(text_round_trips_and_padding_is_optional),
		cmocka_unit_test(public_key_is_rfc_7748_section_6_1),
		cmocka_unit_test(bad_key_files_are_refused_with_the_reason_and_no_key_bytes),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
