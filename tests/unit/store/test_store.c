/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <common/log.h>
#include <dirent.h>
#include <sqlite3.h>
#include <store/store.h>

static char dir[64], file[128];

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static int
setup(void **state)
{
	(void)state;
	/* Where no disk makes fsync() slow. */
	strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/nw-store-XXXXXX" : "/tmp/nw-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/state.db", dir);
	log_set_sink(quiet, NULL);
	return 0;
}

/* How many files of the directory have `with` in their name; deletes them, too. */
static int
count_files(const char *with, bool delete)
{
	char name[400];
	struct dirent *d;
	DIR *h = opendir(dir);
	int n = 0;

	while ((d = readdir(h)) != NULL) {
		if (d->d_name[0] == '.' || !strstr(d->d_name, with))
			continue;
		n++;
		snprintf(name, sizeof(name), "%s/%s", dir, d->d_name);
		if (delete)
			unlink(name);
	}
	closedir(h);
	return n;
}

static int
teardown(void **state)
{
	(void)state;
	count_files("", true);
	rmdir(dir);
	return 0;
}

static struct store *
open_ok(bool want_aside)
{
	struct err e = {0};
	bool aside;
	struct store *s = store_open(file, "r-x", &aside, &e);

	if (!s)
		fail_msg("%s", e.text);
	assert_int_equal(aside, want_aside);
	return s;
}

static void
put(struct store *s, const char *key, const char *value)
{
	struct env_row r = {"vm", key, value};

	assert_int_equal(store_commit(s, &r, 1), 0);
}

static int
append_row(void *arg, const struct env_row *r)
{
	char *text = arg;

	sprintf(text + strlen(text), "%s/%s=%s;", r->kind, r->key, r->value);
	return 0;
}

static const char *
dump(struct store *s, const char *kind)
{
	static char text[4096];

	text[0] = '\0';
	assert_int_equal(store_load(s, kind, append_row, text), 0);
	return text;
}

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

static const char *
dump_range(struct store *s, const char *kind, const char *after, size_t limit)
{
	static char text[4096];

	text[0] = '\0';
	assert_int_equal(store_read(s, &(struct env_range){kind, after, limit}, append_row, text), 0);
	return text;
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

static void
the_file_is_for_its_owner_alone_and_a_wider_mode_is_repaired(void **state)
{
	struct stat st;

	(void)state;
	store_close(open_ok(false));
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	chmod(file, 0644);
	store_close(open_ok(false));
	stat(file, &st);
	assert_int_equal(st.st_mode & 0777, 0600);
}

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

/* ---- schema versions ---- */

static void
sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* As version 1 made it. */
static void
make_version_1(void)
{
	sql("CREATE TABLE identity(name TEXT NOT NULL);"
	    "CREATE TABLE rows(kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
	    " PRIMARY KEY(kind, key)) WITHOUT ROWID;"
	    "PRAGMA application_id=0x4e574159; PRAGMA user_version=1; PRAGMA journal_mode=WAL;"
	    "INSERT INTO identity VALUES('r-x'); INSERT INTO rows VALUES('vm', 'a', '1')");
}

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

static void
flipped_bits_never_crash_it(void **state)
{
	size_t size = fill();
	uint8_t *image = malloc(size);
	FILE *f = fopen(file, "r");
	int opened = 0;

	(void)state;
	assert_int_equal(fread(image, 1, size, f), size);
	fclose(f);
	srandom(2);
	for (int i = 0; i < 150; i++) {
		size_t at = (size_t)random() % size;
		struct err e = {0};
		struct store *s;
		bool aside;
		int rows = 0;

		image[at] ^= 1 << (i % 8);
		count_files("", true);
		write_file("", image, size);
		s = store_open(file, "r-x", &aside, &e);
		if (s) { /* else: the flip hit the identity, and it reads as another's */
			assert_int_equal(store_load(s, NULL, count_row, &rows), 0);
			opened++;
		}
		store_close(s);
		image[at] ^= 1 << (i % 8);
	}
	assert_true(opened > 100);
	free(image);
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

static void
a_file_deleted_in_use_refuses_changes(void **state)
{
	struct store *s = open_ok(false);
	struct env_row r = {"vm", "b", "2"};

	(void)state;
	put(s, "a", "1");
	unlink(file);
	assert_int_equal(store_commit(s, &r, 1), -EIO);
	assert_int_equal(store_commit(s, &r, 1), -EIO);
	store_close(s);
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
		T(files_of_zero_bytes_garbage_or_another_program_are_set_aside),
		T(a_truncated_file_is_set_aside_at_every_page),
		T(flipped_bits_never_crash_it),
		T(kill_9_loses_nothing_acknowledged_and_leaves_no_half),
		T(a_kill_while_the_file_is_made_leaves_no_litter),
		T(a_refused_write_changes_nothing_and_the_next_one_works_again),
		T(a_file_deleted_in_use_refuses_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
