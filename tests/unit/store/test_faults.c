/* SPDX-License-Identifier: BSD-3-Clause */
/* The store under every fault of disk and process, one step after another: see faultfs.h. */
#include "box.h"
#include "faultfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <store/store_priv.h>

static struct said { /* by the child, before it ended */
	bool acked, reached;
	char text[1000]; /* what must be there */
} * said;

struct walk {
	void (*before)(void);		     /* makes the files */
	int (*child)(const struct fault *f); /* 0, or the number of what is wrong */
	void (*after)(bool killed);
	unsigned int times; /* in a row, at the same step */
};

static int
run_child(const struct walk *w, const struct fault *f)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(w->child(f));
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status))
		fail_msg("step %u: died of signal %d", f->at, WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* The steps that there were. */
static unsigned int
walk(unsigned int ops, enum fault_how how, const struct walk *w)
{
	struct fault f = {.ops = ops, .how = how};
	int status = 0;

	do {
		f.at++;
		count_files("", true);
		*said = (struct said){0};
		w->before();
		for (unsigned int i = 0; i < (w->times ? w->times : 1); i++)
			status = run_child(w, &f);
		if (status != 0 && status != KILLED)
			fail_msg("step %u: %d, %s", f.at, status, said->text);
		w->after(status == KILLED);
	} while (status == KILLED || said->reached);
	return f.at - 1;
}

static struct store *
child_open(void)
{
	struct err e;
	bool aside;
	struct store *s = store_open(file, "r-x", &aside, &e);

	if (!s)
		_exit(50);
	return s;
}

static int
commit_pair(struct store *s, const char *key, const char *value)
{
	const struct env_row rows[] = {{"vm", key, value}, {"nat", key, value}};

	return store_commit(s, rows, 2);
}

static void
nothing(void)
{
}

/* ---- one commit, killed at each step ---- */

#define MANY 20

static void
old_pair(void)
{
	struct store *s = open_ok(false);

	assert_int_equal(commit_pair(s, "a", "old"), 0);
	store_close(s);
}

/* A pair, and rows on many pages with it. */
static int
commit_new(struct store *s)
{
	struct env_row rows[2 + MANY] = {{"vm", "a", "new"}, {"nat", "a", "new"}};
	char keys[MANY][8], value[1000] = "";

	memset(value, 'x', sizeof(value) - 1);
	for (int i = 0; i < MANY; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%d", i);
		rows[2 + i] = (struct env_row){"move", keys[i], value};
	}
	return store_commit(s, rows, 2 + MANY);
}

static int
child_commits(const struct fault *f)
{
	struct store *s = child_open();

	commit_pair(s, "b", "1");
	fault_set(f);
	said->acked = commit_new(s) == 0;
	return 0;
}

static int
count_row(void *arg, const struct env_row *r)
{
	(void)r;
	++*(int *)arg;
	return 0;
}

static bool
is_new(void)
{
	struct store *s = open_ok(false);
	bool new = strcmp(dump(s, "vm"), "vm/a=new;vm/b=1;") == 0;
	int many = 0;

	if (!new)
		assert_string_equal(dump(s, "vm"), "vm/a=old;vm/b=1;");
	assert_string_equal(dump(s, "nat"), new ? "nat/a=new;nat/b=1;" : "nat/a=old;nat/b=1;");
	assert_int_equal(store_load(s, "move", count_row, &many), 0);
	assert_int_equal(many, new ? MANY : 0);
	store_close(s);
	return new;
}

static void
old_if_killed(bool killed)
{
	assert_int_equal(is_new(), !killed);
}

static void
old_or_new(bool killed)
{
	assert_true(is_new() || killed);
	assert_true(is_new() || !said->acked);
}

/* C-60, C-61: killed before the first row, between rows, before COMMIT. */
static void
a_kill_before_commit_leaves_the_old_state(void **state)
{
	(void)state;
	assert_int_equal(
		walk(OP_STATEMENT, HOW_KILL, &(struct walk){old_pair, child_commits, old_if_killed, 1}),
		2 + 2 + MANY);
}

/* C-62: each write and fsync, with a kill and with a power cut that takes what was not synced. */
static void
a_kill_or_power_cut_inside_commit_leaves_old_or_new_wholly(void **state)
{
	const struct walk w = {old_pair, child_commits, old_or_new, 1};

	(void)state;
	assert_true(walk(OP_DISK, HOW_KILL, &w) >= MANY / 2);
	assert_true(walk(OP_DISK, HOW_POWER, &w) >= MANY / 2);
}

/* ---- the checkpoint ---- */

#define BEFORE_CHECKPOINT 30

static int
child_checkpoints(const struct fault *f)
{
	struct store *s = child_open();
	char key[8];

	for (int i = 0; i < BEFORE_CHECKPOINT; i++) {
		snprintf(key, sizeof(key), "%04d", i);
		commit_pair(s, key, "1");
	}
	s->frames = LOG_FRAMES;
	fault_set(f);
	said->acked = commit_pair(s, "last", "1") == 0;
	return 0;
}

static void
all_but_perhaps_the_last(bool killed)
{
	struct store *s = open_ok(false);
	int vms = 0, nats = 0;

	(void)killed;
	assert_int_equal(store_load(s, "vm", count_row, &vms), 0);
	assert_int_equal(store_load(s, "nat", count_row, &nats), 0);
	assert_int_equal(vms, nats);
	assert_true(vms == BEFORE_CHECKPOINT + 1 || (vms == BEFORE_CHECKPOINT && !said->acked));
	store_close(s);
}

/* C-67: each operation of the disk. */
static void
a_kill_or_power_cut_during_checkpoint_loses_nothing(void **state)
{
	const struct walk w = {nothing, child_checkpoints, all_but_perhaps_the_last, 1};

	(void)state;
	assert_true(walk(OP_DISK, HOW_KILL, &w) >= 10);
	assert_true(walk(OP_DISK, HOW_POWER, &w) >= 10);
}

/* ---- migration, start ---- */

static int
child_starts(const struct fault *f)
{
	struct err e;
	bool aside;

	fault_set(f);
	store_open(file, "r-x", &aside, &e);
	return 0;
}

static void
row_of_version_1_is_there(bool killed)
{
	const struct env_row log = {"log", "00000000000000000001", "x"};
	struct store *s = open_ok(false);

	(void)killed;
	assert_string_equal(dump(s, NULL), "vm/a=1;");
	assert_int_equal(store_commit(s, &log, 1), 0);
	store_close(s);
}

/* C-68: each statement, each operation of the disk. */
static void
a_kill_or_power_cut_during_migration_leaves_a_schema_that_opens(void **state)
{
	const struct walk w = {make_version_1, child_starts, row_of_version_1_is_there, 1};

	(void)state;
	assert_true(walk(OP_ALL, HOW_KILL, &w) >= 15);
	assert_true(walk(OP_ALL, HOW_POWER, &w) >= 15);
}

static int
child_leaves_a_log(const struct fault *f)
{
	struct store *s = child_open();

	(void)f;
	return commit_pair(s, "a", "1");
}

static void
killed_with_a_log(void)
{
	assert_int_equal(run_child(&(struct walk){.child = child_leaves_a_log}, &(struct fault){0}), 0);
	assert_int_equal(count_files("-wal", false), 1);
}

static void
garbage(void)
{
	for (const char *const *suffix = (const char *const[]){"", "-wal", NULL}; *suffix; suffix++) {
		char name[160];
		FILE *f;

		snprintf(name, sizeof(name), "%s%s", file, *suffix);
		f = fopen(name, "w");
		fputs("no database at all", f);
		fclose(f);
	}
}

static void
nothing_grew(const char *rows)
{
	struct err e = {0};
	bool aside;
	struct store *s = store_open(file, "r-x", &aside, &e);

	if (!s)
		fail_msg("%s", e.text);
	assert_string_equal(dump(s, NULL), rows);
	store_close(s);
	assert_true(count_files("", false) - count_files("corrupt", false) <= 2);
	assert_true(count_files("corrupt", false) <= 2); /* a database and its log */
}

static void
the_pair_is_there(bool killed)
{
	(void)killed;
	nothing_grew("nat/a=1;vm/a=1;");
	assert_int_equal(count_files("corrupt", false), 0);
}

static void
empty(bool killed)
{
	(void)killed;
	nothing_grew("");
	assert_int_equal(count_files("corrupt", false), 0);
}

static void
set_aside_once(bool killed)
{
	(void)killed;
	nothing_grew("");
	assert_int_equal(count_files("corrupt", false) - count_files("-wal", false), 1);
}

/* C-69, C-70: once, and ten times in a row at the same step. */
static void
kills_during_start_lose_nothing_and_let_nothing_grow(void **state)
{
	(void)state;
	for (unsigned int times = 1; times <= 10; times += 9) {
		assert_true(walk(OP_ALL, HOW_KILL,
				    &(struct walk){killed_with_a_log, child_starts, the_pair_is_there,
					    times}) >= 10);
		assert_true(
			walk(OP_ALL, HOW_KILL, &(struct walk){nothing, child_starts, empty, times}) >= 20);
		assert_true(walk(OP_ALL, HOW_KILL,
				    &(struct walk){garbage, child_starts, set_aside_once, times}) >= 20);
	}
}

/* ---- a disk that refuses ---- */

static int
append_row(void *arg, const struct env_row *r)
{
	char *text = arg;

	sprintf(text + strlen(text), "%s/%s=%s;", r->kind, r->key, r->value);
	return 0;
}

static bool
holds(struct store *s, const char *want)
{
	char text[1000] = "";

	return store_load(s, "vm", append_row, text) == 0 && strcmp(text, want) == 0;
}

/* Three commits with a faulty disk, one with a good one. Every second commit moves the log into the database first. The process
 * then ends as by a kill: what was refused must not come back. */
static int
child_meets_a_bad_disk(const struct fault *f)
{
	struct store *s = child_open();
	int accepted[5], n = 0;

	commit_pair(s, "0", "1");
	fault_set(f);
	for (int i = 1; i < 5; i++) {
		char key[2] = {(char)('0' + i)};

		if (i == 4) {
			said->reached = fault_reached();
			fault_clear();
		}
		if (i % 2 == 0 && s->db && s->frames >= 0)
			s->frames = LOG_FRAMES;
		accepted[i] = commit_pair(s, key, "1") == 0;
	}
	strcpy(said->text, "vm/0=1;");
	for (int i = 1; i < 5; i++)
		if (accepted[i])
			sprintf(said->text + strlen(said->text), "vm/%d=1;", i);
	n = accepted[1] + accepted[2] + accepted[3];
	if (!accepted[4])
		return 2; /* it does not recover */
	if (!said->reached && n != 3)
		return 3; /* it refuses without a reason */
	if ((f->ops & OP_WRITE) && f->last > f->at && f->at == 1 && n != 0)
		return 4; /* it accepts what it cannot write */
	return holds(s, said->text) ? 0 : 5;
}

static void
what_was_accepted_is_there(bool killed)
{
	struct store *s = open_ok(false);

	(void)killed;
	assert_string_equal(dump(s, "vm"), said->text);
	store_close(s);
}

static unsigned int
bad_disk(unsigned int ops, enum fault_how how, unsigned int last)
{
	const struct walk w = {nothing, child_meets_a_bad_disk, what_was_accepted_is_there, 1};
	struct fault f = {.ops = ops, .how = how, .last = last};
	int status;

	do {
		f.at++;
		count_files("", true);
		*said = (struct said){0};
		status = run_child(&w, &f);
		if (status != 0)
			fail_msg("step %u: %d, %s", f.at, status, said->text);
		w.after(false);
	} while (said->reached);
	return f.at - 1;
}

/* C-71: once, and from then on. */
static void
a_full_disk_refuses_at_each_write_and_recovers(void **state)
{
	(void)state;
	assert_true(bad_disk(OP_WRITE, HOW_ENOSPC, 0) >= 7);
	assert_true(bad_disk(OP_WRITE, HOW_ENOSPC, UINT32_MAX) >= 7);
}

/* C-72: each write, fsync, read, truncation and deletion, once and from then on. */
static void
a_disk_in_error_refuses_at_each_write_fsync_and_read_and_recovers(void **state)
{
	const unsigned int ops[] = {
		OP_WRITE, OP_SYNC, OP_READ, OP_SYNC | OP_TRUNCATE, OP_TRUNCATE | OP_DELETE, OP_DISK};

	(void)state;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		assert_true(
			bad_disk(ops[i], HOW_EIO, 0) >= (ops[i] == OP_READ || ops[i] >= OP_TRUNCATE ? 0 : 4));
		bad_disk(ops[i], HOW_EIO, UINT32_MAX);
	}
}

static int
child_fails_to_sync(const struct fault *f)
{
	struct store *s = child_open();

	commit_pair(s, "a", "1");
	fault_set(f);
	if (commit_pair(s, "b", "1") != -EIO)
		return 2;
	fault_set(&(struct fault){.ops = OP_OPEN}); /* only counts */
	if (commit_pair(s, "c", "1") != 0)
		return 3;
	return fault_counted() > 0 ? 0 : 4;
}

/* C-72: not the same connection again. */
static void
after_a_failed_fsync_the_connection_is_opened_anew(void **state)
{
	const struct walk w = {.child = child_fails_to_sync};

	(void)state;
	assert_int_equal(run_child(&w, &(struct fault){.ops = OP_SYNC, .how = HOW_EIO, .at = 1}), 0);
}

static int
child_dies_with_a_bad_disk(const struct fault *f)
{
	struct store *s = child_open();

	commit_pair(s, "b", "1");
	fault_set(f);
	said->acked = commit_new(s) == 0;
	if (!said->acked && commit_pair(s, "c", "1") == 0)
		return 2;
	_exit(KILLED);
}

/* C-72: the disk stays bad until the process is killed. The log could not be cut: then, and only then, what was refused may be
 * there, wholly. */
static void
a_refused_commit_is_never_half_there(void **state)
{
	const struct walk w = {old_pair, child_dies_with_a_bad_disk, old_or_new, 1};
	struct fault f = {.ops = OP_DISK, .how = HOW_EIO, .last = UINT32_MAX};

	(void)state;
	for (f.at = 1; f.at < 12; f.at++) {
		count_files("", true);
		*said = (struct said){0};
		w.before();
		run_child(&w, &f);
		w.after(true);
	}
}

/* C-73: a file system that turned read-only. */
static void
a_disk_that_became_read_only_refuses_and_recovers(void **state)
{
	(void)state;
	bad_disk(OP_WRITE | OP_SYNC | OP_TRUNCATE | OP_DELETE | OP_OPEN, HOW_EROFS, UINT32_MAX);
}

/* C-73: the directory is gone. */
static void
a_directory_that_is_gone_refuses_and_recovers_when_it_is_back(void **state)
{
	struct store *s = open_ok(false);
	char away[80];

	(void)state;
	put(s, "a", "1");
	snprintf(away, sizeof(away), "%s.away", dir);
	assert_int_equal(rename(dir, away), 0);
	assert_int_equal(commit_pair(s, "b", "1"), -ENOENT);
	assert_int_equal(commit_pair(s, "b", "1"), -ENOENT);
	assert_int_equal(rename(away, dir), 0);
	put(s, "c", "1");
	assert_string_equal(dump(s, NULL), "vm/a=1;vm/c=1;");
	store_close(s);
	s = open_ok(false);
	assert_string_equal(dump(s, NULL), "vm/a=1;vm/c=1;");
	store_close(s);
}

/* C-73: the file is gone, or another. */
static void
a_file_deleted_or_replaced_in_use_refuses_changes(void **state)
{
	struct store *s = open_ok(false);

	(void)state;
	put(s, "a", "1");
	unlink(file);
	assert_int_equal(commit_pair(s, "b", "2"), -ENOENT);
	garbage();
	assert_int_equal(commit_pair(s, "b", "2"), -ENOENT);
	store_close(s);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_kill_before_commit_leaves_the_old_state),
		T(a_kill_or_power_cut_inside_commit_leaves_old_or_new_wholly),
		T(a_kill_or_power_cut_during_checkpoint_loses_nothing),
		T(a_kill_or_power_cut_during_migration_leaves_a_schema_that_opens),
		T(kills_during_start_lose_nothing_and_let_nothing_grow),
		T(a_full_disk_refuses_at_each_write_and_recovers),
		T(a_disk_in_error_refuses_at_each_write_fsync_and_read_and_recovers),
		T(after_a_failed_fsync_the_connection_is_opened_anew),
		T(a_refused_commit_is_never_half_there),
		T(a_disk_that_became_read_only_refuses_and_recovers),
		T(a_directory_that_is_gone_refuses_and_recovers_when_it_is_back),
		T(a_file_deleted_or_replaced_in_use_refuses_changes),
	};

	faultfs_install();
	said = mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return said == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
