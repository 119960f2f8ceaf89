/* SPDX-License-Identifier: BSD-3-Clause */
#include "box.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <common/log.h>
#include <dirent.h>
#include <sqlite3.h>

char dir[64], file[128];

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

int
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

int
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

int
teardown(void **state)
{
	(void)state;
	count_files("", true);
	rmdir(dir);
	return 0;
}

struct store *
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

void
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

const char *
dump(struct store *s, const char *kind)
{
	static char text[4096];

	text[0] = '\0';
	assert_int_equal(store_load(s, kind, append_row, text), 0);
	return text;
}

const char *
dump_range(struct store *s, const char *kind, const char *after, size_t limit)
{
	static char text[4096];

	text[0] = '\0';
	assert_int_equal(store_read(s, &(struct env_range){kind, after, limit}, append_row, text), 0);
	return text;
}

void
sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(
		sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(db));
	sqlite3_close(db);
}

void
make_version_1(void)
{
	sql("CREATE TABLE identity(name TEXT NOT NULL);"
	    "CREATE TABLE rows(kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
	    " PRIMARY KEY(kind, key)) WITHOUT ROWID;"
	    "PRAGMA application_id=0x4e574159; PRAGMA user_version=1; PRAGMA journal_mode=WAL;"
	    "INSERT INTO identity VALUES('r-x'); INSERT INTO rows VALUES('vm', 'a', '1')");
}
