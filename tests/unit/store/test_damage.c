/* SPDX-License-Identifier: BSD-3-Clause */
/* Damaged files: what opens is whole, all else is set aside and nothing crashes. */
#include "box.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static int
count_row(void *arg, const struct env_row *r)
{
	(void)r;
	++*(int *)arg;
	return 0;
}

static void
expect_set_aside(void)
{
	struct store *s;

	count_files("corrupt", true);
	s = open_ok(true);
	assert_string_equal(dump(s, NULL), "");
	assert_true(count_files("corrupt", false) >= 1);
	put(s, "fresh", "1");
	store_close(s);
	s = open_ok(false);
	assert_string_equal(dump(s, NULL), "vm/fresh=1;");
	store_close(s);
}

static void
write_file(const char *suffix, const void *p, size_t n)
{
	char name[160];
	FILE *f;

	snprintf(name, sizeof(name), "%s%s", file, suffix);
	f = fopen(name, "w");
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

/* C-74: no database at all. */
static void
files_of_zero_bytes_garbage_or_another_program_are_set_aside(void **state)
{
	uint8_t junk[9000];

	(void)state;
	write_file("", "", 0);
	expect_set_aside();
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (uint8_t)random();
	write_file("", junk, sizeof(junk));
	expect_set_aside();
	memcpy(junk, "SQLite format 3", 16);
	write_file("", junk, sizeof(junk));
	expect_set_aside();
	unlink(file);
	write_file("-wal", junk, sizeof(junk));
	expect_set_aside();
}

/* 200 rows; the size of the file. */
static size_t
fill(void)
{
	struct store *s = open_ok(false);
	char keys[200][32], value[200];
	struct env_row rows[200];
	struct stat st;

	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < 200; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%d", i);
		rows[i] = (struct env_row){"vm", keys[i], value};
	}
	assert_int_equal(store_commit(s, rows, 200), 0);
	store_close(s);
	stat(file, &st);
	return (size_t)st.st_size;
}

/* C-74: cut at each page. */
static void
a_truncated_file_is_set_aside_at_every_page(void **state)
{
	size_t size = fill(), cut;

	(void)state;
	for (cut = 4096; cut < size; cut += 4096) {
		count_files("", true);
		fill();
		assert_int_equal(truncate(file, (off_t)cut), 0);
		expect_set_aside();
	}
}

static uint8_t *
read_file(const char *suffix, size_t *n)
{
	char name[160];
	struct stat st;
	uint8_t *p;
	FILE *f;

	snprintf(name, sizeof(name), "%s%s", file, suffix);
	f = fopen(name, "r");
	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	*n = (size_t)st.st_size;
	p = malloc(*n);
	assert_int_equal(fread(p, 1, *n, f), *n);
	fclose(f);
	return p;
}

/* The rows of the file, all readable; -1: refused as another router's or as of a newer version. */
static int
rows_that_open(const uint8_t *image, size_t size, bool *aside)
{
	struct err e = {0};
	struct store *s;
	int rows = 0;

	count_files("", true);
	write_file("", image, size);
	s = store_open(file, "r-x", aside, &e);
	if (!s) {
		assert_true(strstr(e.text, "holds the state of") || strstr(e.text, "newer"));
		return -1;
	}
	assert_int_equal(store_load(s, NULL, count_row, &rows), 0);
	assert_true(!*aside || rows == 0);
	store_close(s);
	return rows;
}

/* C-74: one bit, anywhere. */
static void
a_thousand_flipped_bits_open_or_are_set_aside(void **state)
{
	size_t size = fill();
	uint8_t *image = read_file("", &size);
	unsigned int whole = 0, asides = 0;

	(void)state;
	srandom(2);
	for (int i = 0; i < 1000; i++) {
		size_t at = (size_t)random() % size;
		uint8_t bit = (uint8_t)(1 << (i % 8));
		bool aside;
		int rows;

		image[at] ^= bit;
		rows = rows_that_open(image, size, &aside);
		whole += rows == 200;
		asides += aside;
		assert_true(rows <= 200);
		image[at] ^= bit;
	}
	assert_true(whole > 500 && asides > 10);
	free(image);
}

/* C-74: one page, any. */
static void
a_page_of_garbage_is_set_aside_wherever_it_stands(void **state)
{
	size_t size = fill(), n;
	uint8_t *image = read_file("", &n), good[PAGE];

	(void)state;
	for (size_t at = 0; at < size; at += PAGE) {
		bool aside;

		memcpy(good, image + at, PAGE);
		for (size_t i = 0; i < PAGE; i++)
			image[at + i] = (uint8_t)random();
		assert_true(rows_that_open(image, size, &aside) == 0 && aside);
		memcpy(image + at, good, PAGE);
	}
	free(image);
}

/* ---- the log ---- */

#define COMMITS 5

/* Leaves a log of so many commits, as a kill does. */
static void
leave_log(int commits)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct err e;
		bool aside;
		struct store *s = store_open(file, "r-x", &aside, &e);

		for (int i = 0; s && i < commits; i++)
			store_commit(s, &(struct env_row){"vm", (char[]){(char)('0' + i), '\0'}, "1"}, 1);
		_exit(s ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

/* C-74: its log, cut anywhere. */
static void
a_log_cut_anywhere_gives_the_commits_before_the_cut(void **state)
{
	size_t db_size, size;
	uint8_t *db, *log;
	int last = 0;

	(void)state;
	leave_log(COMMITS);
	db = read_file("", &db_size);
	log = read_file("-wal", &size);
	for (size_t cut = 0;; cut = cut + 256 < size ? cut + 256 : size) {
		struct store *s;
		int rows = 0;

		count_files("", true);
		write_file("", db, db_size);
		write_file("-wal", log, cut);
		s = open_ok(false);
		assert_int_equal(store_load(s, "vm", count_row, &rows), 0);
		assert_true(rows == last || rows == last + 1);
		last = rows;
		store_close(s);
		if (cut == size)
			break;
	}
	assert_int_equal(last, COMMITS);
	free(db);
	free(log);
}

/* C-74: another's log. */
static void
a_log_of_another_database_is_set_aside(void **state)
{
	size_t size, db_size;
	uint8_t *log, *db;

	(void)state;
	leave_log(COMMITS);
	log = read_file("-wal", &size);
	count_files("", true);
	fill();
	db = read_file("", &db_size);
	count_files("", true);
	write_file("", db, db_size);
	write_file("-wal", log, size);
	expect_set_aside();
	free(log);
	free(db);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(files_of_zero_bytes_garbage_or_another_program_are_set_aside),
		T(a_truncated_file_is_set_aside_at_every_page),
		T(a_thousand_flipped_bits_open_or_are_set_aside),
		T(a_page_of_garbage_is_set_aside_wherever_it_stands),
		T(a_log_cut_anywhere_gives_the_commits_before_the_cut),
		T(a_log_of_another_database_is_set_aside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
