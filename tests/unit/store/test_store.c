/* SPDX-License-Identifier: BSD-3-Clause */
#include "box.h"

#include <common/log.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void
rows_are_kept_over_a_restart_replaced_and_deleted(void **state)
{
	struct store *s = open_ok(false);
	const struct env_row rows[] = {{"vm", "b", "2"}, {"vm", "a", "1"}, {"meta", "revision", "7"},
		{"vm", "c", "3"}, {"vm", "c", NULL}};

	(void)state;
	assert_int_equal(store_commit(s, rows, 5), 0);
	put(s, "a", "{\"x\": \"'\"}");
	store_close(s);
	s = open_ok(false);
	assert_string_equal(dump(s, "vm"), "vm/a={\"x\": \"'\"};vm/b=2;");
	assert_string_equal(dump(s, NULL), "meta/revision=7;vm/a={\"x\": \"'\"};vm/b=2;");
	store_close(s);
}

static void
the_log_is_read_in_pieces_trimmed_and_never_loaded(void **state)
{
	struct store *s = open_ok(false);
	const struct env_row rows[] = {{"log", "00000000000000000009", "i"},
		{"log", "00000000000000000010", "j"}, {"log", "09223372036854775807", "z"}, {"vm", "a", "1"}};
	const struct env_row trim = {"log", "00000000000000000009", NULL};

	(void)state;
	assert_int_equal(store_commit(s, rows, 4), 0);
	store_close(s);
	s = open_ok(false);
	assert_string_equal(dump(s, NULL), "vm/a=1;");
	assert_string_equal(
		dump_range(s, "log", "", 2), "log/00000000000000000009=i;log/00000000000000000010=j;");
	assert_string_equal(
		dump_range(s, "log", "00000000000000000010", SIZE_MAX), "log/09223372036854775807=z;");
	assert_int_equal(store_commit(s, &trim, 1), 0);
	assert_string_equal(dump_range(s, "log", "", 1), "log/00000000000000000010=j;");
	store_close(s);
}

static void
rows_of_a_kind_are_read_in_pieces(void **state)
{
	struct store *s = open_ok(false);
	const struct env_row rows[] = {
		{"vm", "c", "3"}, {"vm", "a", "1"}, {"vm", "b", "2"}, {"move", "d", "4"}};

	(void)state;
	assert_int_equal(store_commit(s, rows, 4), 0);
	assert_string_equal(dump_range(s, "vm", "", 2), "vm/a=1;vm/b=2;");
	assert_string_equal(dump_range(s, "vm", "b", 2), "vm/c=3;");
	assert_string_equal(dump_range(s, "vm", "c", 2), "");
	store_close(s);
}

static unsigned int told;

static void
hear(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	told += level == LOG_WARN && strstr(line, "was open to others (mode 644)") != NULL;
}

static unsigned int
mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(name, &st), 0);
	return st.st_mode & 0777;
}

/* C-77: repaired and told, of its log, too. */
static void
the_file_is_for_its_owner_alone_and_a_wider_mode_is_repaired(void **state)
{
	char wal[sizeof(file) + 8];

	(void)state;
	log_set_sink(hear, NULL);
	store_close(open_ok(false));
	assert_int_equal(mode_of(file), 0600);
	assert_int_equal(told, 0);
	snprintf(wal, sizeof(wal), "%s-wal", file);
	close(open(wal, O_CREAT | O_WRONLY, 0600));
	chmod(wal, 0644);
	chmod(file, 0644);
	struct store *s = open_ok(false);
	put(s, "a", "1");
	assert_int_equal(mode_of(file), 0600);
	assert_int_equal(mode_of(wal), 0600);
	assert_int_equal(told, 2);
	store_close(s);
}

/* C-75: the name decides; keys change (see docs/security.md). */
static void
a_store_of_another_router_is_refused_and_left_alone(void **state)
{
	struct err e = {0};
	bool aside;
	struct store *s = open_ok(false);

	(void)state;
	put(s, "a", "1");
	store_close(s);
	assert_null(store_open(file, "r-y", &aside, &e));
	assert_false(aside);
	assert_non_null(strstr(e.text, "r-x"));
	s = open_ok(false);
	assert_string_equal(dump(s, NULL), "vm/a=1;");
	store_close(s);
}

/* C-76: the lock comes before anything else. */
static void
a_second_process_is_refused_while_the_first_lives(void **state)
{
	struct store *s = open_ok(false);
	int status;
	pid_t pid;

	(void)state;
	put(s, "a", "1");
	pid = fork();
	if (pid == 0) {
		struct err e = {0};
		bool aside;

		_exit(!store_open(file, "r-x", &aside, &e) && e.code == -EBUSY ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	put(s, "b", "2"); /* the attempt did not shake our lock */
	pid = fork();
	if (pid == 0) {
		struct err e = {0};
		bool aside;

		_exit(store_open(file, "r-x", &aside, &e) ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	store_close(s);
}

/* ---- schema versions ---- */

/* C-74: an older version. */
static void
an_older_schema_is_brought_up_to_date_with_its_rows(void **state)
{
	const struct env_row log = {"log", "00000000000000000001", "x"};
	struct store *s;

	(void)state;
	make_version_1();
	for (int i = 0; i < 2; i++) {
		s = open_ok(false);
		assert_string_equal(dump(s, NULL), "vm/a=1;");
		assert_int_equal(store_commit(s, &log, 1), 0);
		store_close(s);
	}
}

/* C-74: a newer one. */
static void
a_newer_schema_is_refused_and_left_alone(void **state)
{
	struct err e = {0};
	bool aside;

	(void)state;
	store_close(open_ok(false));
	sql("PRAGMA user_version=99; INSERT INTO rows VALUES('vm', 'a', 'of tomorrow')");
	assert_null(store_open(file, "r-x", &aside, &e));
	assert_false(aside);
	assert_non_null(strstr(e.text, "newer"));
	assert_int_equal(count_files("corrupt", false), 0);
	sql("PRAGMA user_version=2");
	struct store *s = open_ok(false);
	assert_string_equal(dump(s, NULL), "vm/a=of tomorrow;");
	store_close(s);
}

static int
count_row(void *arg, const struct env_row *r)
{
	(void)r;
	++*(int *)arg;
	return 0;
}

/* The child commits pairs (n, n) for ever and tells after each commit; it is killed at any moment. */
static void
child_commits(int out, int from)
{
	struct store *s = open_ok(false);

	for (int n = from;; n++) {
		char key[2][32], value[32];
		struct env_row rows[2] = {{"vm", key[0], value}, {"nat", key[1], value}};

		snprintf(key[0], sizeof(key[0]), "%08d", n);
		snprintf(key[1], sizeof(key[1]), "%08d", n);
		snprintf(value, sizeof(value), "%d", n);
		if (store_commit(s, rows, 2) != 0 || write(out, &n, sizeof(n)) != sizeof(n))
			_exit(1);
	}
}

static void
kill_9_loses_nothing_acknowledged_and_leaves_no_half(void **state)
{
	int acked = -1;

	(void)state;
	srandom(3);
	for (int round = 0; round < 12; round++) {
		int p[2], n, vms = 0, nats = 0;
		struct store *s;
		pid_t pid;

		assert_int_equal(pipe(p), 0);
		pid = fork();
		if (pid == 0)
			child_commits(p[1], acked + 1);
		close(p[1]);
		assert_int_equal(read(p[0], &n, sizeof(n)), sizeof(n));
		acked = n;
		usleep((useconds_t)(random() % 60000));
		kill(pid, SIGKILL);
		while (read(p[0], &n, sizeof(n)) == sizeof(n))
			acked = n;
		close(p[0]);
		waitpid(pid, NULL, 0);
		s = open_ok(false);
		assert_int_equal(store_load(s, "vm", count_row, &vms), 0);
		assert_int_equal(store_load(s, "nat", count_row, &nats), 0);
		assert_int_equal(vms, nats);
		assert_true(vms == acked + 1 || vms == acked + 2);
		acked = vms - 1;
		store_close(s);
	}
}

/* In microseconds of this machine, now. */
static long
time_to_make_a_file(void)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	store_close(open_ok(false));
	clock_gettime(CLOCK_MONOTONIC, &b);
	count_files("", true);
	return (b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000;
}

static void
child_opens(int out)
{
	struct err e;
	bool aside;

	if (write(out, "", 1) == 1)
		store_open(file, "r-x", &aside, &e);
	_exit(0);
}

static void
a_kill_while_the_file_is_made_leaves_no_litter(void **state)
{
	long took = time_to_make_a_file();

	(void)state;
	for (int round = 0; round < 30; round++) {
		int p[2];
		char begun;
		pid_t pid;

		assert_int_equal(pipe(p), 0);
		pid = fork();
		if (pid == 0)
			child_opens(p[1]);
		close(p[1]);
		assert_int_equal(read(p[0], &begun, 1), 1);
		close(p[0]);
		usleep((useconds_t)(random() % (took + 1)));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	store_close(open_ok(false));
	assert_int_equal(count_files("corrupt", false), 0);
	assert_true(count_files("", false) <= 3);
}

/* In a child: the kernel refuses the write, then lets it through again. */
static int
child_full_disk(void)
{
	struct rlimit low = {8192, RLIM_INFINITY}, high = {RLIM_INFINITY, RLIM_INFINITY};
	struct store *s = open_ok(false);
	struct env_row good = {"vm", "good", "1"}, bad = {"vm", "bad", "2"}, late = {"vm", "late", "3"};
	int refused;

	signal(SIGXFSZ, SIG_IGN);
	if (store_commit(s, &good, 1) != 0)
		return 1;
	setrlimit(RLIMIT_FSIZE, &low);
	refused = store_commit(s, &bad, 1);
	if (refused != -EIO && refused != -ENOSPC)
		return 2;
	if (store_commit(s, &bad, 1) == 0)
		return 3;
	setrlimit(RLIMIT_FSIZE, &high);
	if (store_commit(s, &late, 1) != 0)
		return 4;
	if (strcmp(dump(s, NULL), "vm/good=1;vm/late=3;") != 0)
		return 5;
	store_close(s);
	return 0;
}

static void
a_refused_write_changes_nothing_and_the_next_one_works_again(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(child_full_disk());
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(rows_are_kept_over_a_restart_replaced_and_deleted),
		T(the_log_is_read_in_pieces_trimmed_and_never_loaded),
		T(rows_of_a_kind_are_read_in_pieces),
		T(an_older_schema_is_brought_up_to_date_with_its_rows),
		T(a_newer_schema_is_refused_and_left_alone),
		T(the_file_is_for_its_owner_alone_and_a_wider_mode_is_repaired),
		T(a_store_of_another_router_is_refused_and_left_alone),
		T(a_second_process_is_refused_while_the_first_lives),
		T(kill_9_loses_nothing_acknowledged_and_leaves_no_half),
		T(a_kill_while_the_file_is_made_leaves_no_litter),
		T(a_refused_write_changes_nothing_and_the_next_one_works_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
