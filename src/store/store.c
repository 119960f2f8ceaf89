/* SPDX-License-Identifier: BSD-3-Clause */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <common/log.h>

#define APPLICATION_ID 0x4e574159 /* "NWAY" */
#define SCHEMA_VERSION 1

enum { FIT, UNFIT, FAILED }; /* what a look at a file found */

struct store {
	char file[PATH_MAX - 64];
	char identity[256];
	int lock_fd; /* FILE.lock: SQLite's own POSIX locks vanish when any descriptor of the file is closed
		      */
	sqlite3 *db; /* NULL after a failed write, until the next commit opens it again */
	sqlite3_stmt *begin, *commit, *rollback, *put, *del;
	ino_t inode;
};

static int
rc_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EROFS;
	default:
		return -EIO;
	}
}

/* ---- opening ---- */

static int
exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* The first column of the first row as text, or "" and rc of the failure. */
static int
query_text(sqlite3 *db, const char *sql, char *out, size_t size)
{
	sqlite3_stmt *q;
	int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL);

	out[0] = '\0';
	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(q);
	if (rc == SQLITE_ROW && sqlite3_column_text(q, 0))
		snprintf(out, size, "%s", (const char *)sqlite3_column_text(q, 0));
	sqlite3_finalize(q);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void
db_close(struct store *s)
{
	sqlite3_stmt **all[] = {&s->begin, &s->commit, &s->rollback, &s->put, &s->del};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		sqlite3_finalize(*all[i]);
		*all[i] = NULL;
	}
	sqlite3_close(s->db);
	s->db = NULL;
}

static int
db_prepare(struct store *s)
{
	const struct {
		sqlite3_stmt **q;
		const char *sql;
	} all[] = {
		{&s->begin, "BEGIN IMMEDIATE"},
		{&s->commit, "COMMIT"},
		{&s->rollback, "ROLLBACK"},
		{&s->put, "INSERT OR REPLACE INTO rows(kind, key, value) VALUES(?1, ?2, ?3)"},
		{&s->del, "DELETE FROM rows WHERE kind = ?1 AND key = ?2"},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int rc = sqlite3_prepare_v3(s->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].q, NULL);

		if (rc != SQLITE_OK)
			return rc;
	}
	return SQLITE_OK;
}

/* Is this file a whole store of ours? `why` says what is wrong. */
static int
db_check(struct store *s, char *why, size_t size)
{
	char text[200];
	int rc;

	rc = query_text(s->db, "PRAGMA quick_check(1)", text, sizeof(text));
	if (rc == SQLITE_OK && strcmp(text, "ok") != 0) {
		snprintf(why, size, "%s", text);
		return UNFIT;
	}
	if (rc == SQLITE_OK)
		rc = query_text(s->db, "PRAGMA application_id", text, sizeof(text));
	if (rc == SQLITE_OK && atoi(text) != APPLICATION_ID) {
		snprintf(why, size, "not a store of Nearway");
		return UNFIT;
	}
	if (rc == SQLITE_OK)
		rc = query_text(s->db, "PRAGMA user_version", text, sizeof(text));
	if (rc == SQLITE_OK && atoi(text) != SCHEMA_VERSION) {
		snprintf(why, size, "schema version %.20s, this program knows %d", text, SCHEMA_VERSION);
		return UNFIT;
	}
	if (rc == SQLITE_OK)
		rc = query_text(s->db, "SELECT count(kind || key || value) FROM rows", text, sizeof(text));
	if (rc == SQLITE_OK)
		return FIT;
	snprintf(why, size, "%s", sqlite3_errmsg(s->db));
	return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_ERROR ? UNFIT : FAILED;
}

static int
db_open(struct store *s, char *why, size_t size)
{
	struct stat st;
	int rc, fit;

	rc = sqlite3_open_v2(
		s->file, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
	if (rc != SQLITE_OK)
		goto failed;
	sqlite3_extended_result_codes(s->db, 1);
	rc = exec(s->db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
	if (rc != SQLITE_OK)
		goto failed;
	fit = db_check(s, why, size);
	if (fit != FIT) {
		db_close(s);
		return fit;
	}
	rc = db_prepare(s);
	if (rc != SQLITE_OK)
		goto failed;
	if (stat(s->file, &st) == 0)
		s->inode = st.st_ino;
	return FIT;
failed:
	snprintf(why, size, "%s", s->db ? sqlite3_errmsg(s->db) : "no memory");
	db_close(s);
	rc &= 0xff;
	return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB ? UNFIT : FAILED;
}

/* ---- the files ---- */

static int
move_file(const char *from, const char *to, const char *suffix)
{
	char a[PATH_MAX], b[PATH_MAX + 64];

	snprintf(a, sizeof(a), "%s%s", from, suffix);
	snprintf(b, sizeof(b), "%s%s", to, suffix);
	return rename(a, b) == 0 || errno == ENOENT ? 0 : -errno;
}

/* The log goes with its database, so that what is moved aside can still be looked into; after it: a database that a
 * kill left without its log would be taken for a whole one. */
static int
set_file_aside(const char *file, const char *why, struct err *e)
{
	char to[PATH_MAX + 32], stamp[32];
	time_t now = time(NULL);
	struct tm tm;
	int rc = 0;

	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	snprintf(to, sizeof(to), "%s.corrupt-%s", file, stamp);
	for (int i = 1; access(to, F_OK) == 0; i++)
		snprintf(to, sizeof(to), "%s.corrupt-%s.%d", file, stamp, i);
	rc = move_file(file, to, "");
	if (rc == 0)
		rc = move_file(file, to, "-wal");
	if (rc == 0)
		rc = move_file(file, to, "-shm");
	if (rc != 0)
		return err_set(e, -rc, "store: %s is unusable (%s) and cannot be moved to %s: %s", file, why,
			to, strerror(-rc));
	log_error("store: %s is unusable (%s): moved aside as %s, starting with an empty one; state comes "
		  "back from "
		  "the peers and the controller",
		file, why, to);
	return 0;
}

static int
take_lock(struct store *s, struct err *e)
{
	char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s.lock", s->file);
	s->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return err_set(e, errno, "store: %s: %s", name, strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(e, EBUSY, "store: %s is in use by another process: stop it first", s->file);
	return 0;
}

static int
fill_new(sqlite3 *db, const char *identity)
{
	char *sql = sqlite3_mprintf(
		"PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL;"
		"BEGIN;"
		"CREATE TABLE identity(name TEXT NOT NULL);"
		"CREATE TABLE rows(kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
		" PRIMARY KEY(kind, key)) WITHOUT ROWID;"
		"PRAGMA application_id=%d; PRAGMA user_version=%d;"
		"INSERT INTO identity VALUES(%Q);"
		"COMMIT",
		APPLICATION_ID, SCHEMA_VERSION, identity);
	int rc = sql ? exec(db, sql) : SQLITE_NOMEM;

	sqlite3_free(sql);
	return rc;
}

/* Makes an empty store beside its place and renames it there, so that a kill leaves all of it or nothing. */
static int
make_file(struct store *s, struct err *e)
{
	char name[PATH_MAX];
	sqlite3 *db = NULL;
	int fd, rc;

	snprintf(name, sizeof(name), "%s.new", s->file);
	unlink(name);
	fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, errno, "store: %s: %s", name, strerror(errno));
	close(fd);
	rc = sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL);
	if (rc == SQLITE_OK)
		rc = fill_new(db, s->identity);
	if (rc != SQLITE_OK)
		err_set(e, EIO, "store: %s: %s", name, sqlite3_errmsg(db));
	sqlite3_close(db);
	if (rc != SQLITE_OK)
		return rc_errno(rc);
	if (rename(name, s->file) != 0)
		return err_set(e, errno, "store: %s: %s", s->file, strerror(errno));
	return 0;
}

static int
repair_mode(struct store *s, struct err *e)
{
	struct stat st;

	if (lstat(s->file, &st) != 0)
		return err_set(e, errno, "store: %s: %s", s->file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "store: %s is not a regular file", s->file);
	if ((st.st_mode & 077) == 0)
		return 0;
	log_warn("store: %s was open to others (mode %03o): set to 600", s->file, st.st_mode & 0777);
	return chmod(s->file, 0600) == 0
		       ? 0
		       : err_set(e, errno, "store: %s: chmod: %s", s->file, strerror(errno));
}

static int
start_empty(struct store *s, struct err *e)
{
	char why[200];
	int rc = make_file(s, e);

	if (rc != 0)
		return rc;
	if (db_open(s, why, sizeof(why)) != FIT)
		return err_set(e, EIO, "store: %s: %s", s->file, why);
	return 0;
}

static int
check_identity(struct store *s, struct err *e)
{
	char name[256];

	if (query_text(s->db, "SELECT name FROM identity", name, sizeof(name)) != SQLITE_OK)
		return err_set(e, EIO, "store: %s: %s", s->file, sqlite3_errmsg(s->db));
	if (strcmp(name, s->identity) != 0)
		return err_set(e, EPERM,
			"store: %s holds the state of '%s', not of '%s': give another file, or move this one "
			"away",
			s->file, name, s->identity);
	return 0;
}

static bool
exists(const char *file, const char *suffix)
{
	char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s%s", file, suffix);
	return access(name, F_OK) == 0;
}

/* Opens what is there: UNFIT and `why`, or FIT, or FAILED with the error set. */
static int
open_present(struct store *s, char *why, size_t size, struct err *e)
{
	struct stat st;
	int fit;

	if (!exists(s->file, "")) {
		snprintf(why, size, "the database is gone, its log is left");
		return UNFIT;
	}
	if (repair_mode(s, e) != 0)
		return FAILED;
	if (stat(s->file, &st) == 0 && st.st_size == 0) { /* SQLite would take it for a new one */
		snprintf(why, size, "zero bytes");
		return UNFIT;
	}
	fit = db_open(s, why, size);
	if (fit == FAILED)
		err_set(e, EIO, "store: %s: %s", s->file, why);
	return fit;
}

static int
open_or_replace(struct store *s, bool *set_aside, struct err *e)
{
	char why[200];
	int fit;

	if (!exists(s->file, "") && !exists(s->file, "-wal"))
		return start_empty(s, e);
	fit = open_present(s, why, sizeof(why), e);
	if (fit == FIT)
		return check_identity(s, e);
	if (fit == FAILED)
		return -EIO;
	*set_aside = true;
	fit = set_file_aside(s->file, why, e);
	return fit ? fit : start_empty(s, e);
}

struct store *
store_open(const char *file, const char *identity, bool *set_aside, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));

	*set_aside = false;
	if (!s) {
		err_set(e, ENOMEM, "store: no memory");
		return NULL;
	}
	s->lock_fd = -1;
	if (strlen(file) >= sizeof(s->file) || strlen(identity) >= sizeof(s->identity)) {
		err_set(e, ENAMETOOLONG, "store: name too long: %s", file);
		goto failed;
	}
	strcpy(s->file, file);
	strcpy(s->identity, identity);
	if (take_lock(s, e) != 0 || open_or_replace(s, set_aside, e) != 0)
		goto failed;
	return s;
failed:
	store_close(s);
	return NULL;
}

void
store_close(struct store *s)
{
	if (!s)
		return;
	db_close(s);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s);
}

/* ---- rows ---- */

static int
step_once(sqlite3_stmt *q)
{
	int rc = sqlite3_step(q);

	sqlite3_reset(q);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int
write_row(struct store *s, const struct env_row *r)
{
	sqlite3_stmt *q = r->value ? s->put : s->del;

	sqlite3_bind_text(q, 1, r->kind, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 2, r->key, -1, SQLITE_STATIC);
	if (r->value)
		sqlite3_bind_text(q, 3, r->value, -1, SQLITE_STATIC);
	return step_once(q);
}

static int
write_all(struct store *s, const struct env_row *rows, size_t n)
{
	int rc = step_once(s->begin);

	for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
		rc = write_row(s, &rows[i]);
	if (rc == SQLITE_OK)
		rc = step_once(s->commit);
	return rc;
}

/* After a failed write nothing is known of the file's pages in memory: the connection is dropped, and the
 * next commit reads the file anew (a second fsync may succeed without having written anything). */
static int
reopen(struct store *s)
{
	char why[200];
	struct stat st;

	if (stat(s->file, &st) != 0 || st.st_ino != s->inode) {
		log_error(
			"store: %s was deleted or replaced while in use: changes are refused until a restart",
			s->file);
		db_close(s);
		return -EIO;
	}
	if (s->db)
		return 0;
	if (db_open(s, why, sizeof(why)) == FIT)
		return 0;
	log_error("store: %s: cannot be opened again: %s", s->file, why);
	return -EIO;
}

int
store_commit(struct store *s, const struct env_row *rows, size_t n)
{
	int rc = reopen(s);

	if (rc != 0)
		return rc;
	rc = write_all(s, rows, n);
	if (rc == SQLITE_OK)
		return 0;
	log_error("store: %s: commit of %zu rows failed: %s", s->file, n, sqlite3_errmsg(s->db));
	if (!sqlite3_get_autocommit(s->db))
		step_once(s->rollback);
	db_close(s);
	return rc_errno(rc);
}

int
store_load(struct store *s, const char *kind, int (*row)(void *arg, const struct env_row *r), void *arg)
{
	sqlite3_stmt *q;
	int rc, stop = 0;

	rc = reopen(s);
	if (rc != 0)
		return rc;
	rc = sqlite3_prepare_v2(s->db,
		"SELECT kind, key, value FROM rows WHERE ?1 IS NULL OR kind = ?1 ORDER BY kind, key", -1, &q,
		NULL);
	if (rc != SQLITE_OK)
		return rc_errno(rc);
	if (kind)
		sqlite3_bind_text(q, 1, kind, -1, SQLITE_STATIC);
	while (stop == 0 && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		struct env_row r = {
			.kind = (const char *)sqlite3_column_text(q, 0),
			.key = (const char *)sqlite3_column_text(q, 1),
			.value = (const char *)sqlite3_column_text(q, 2),
		};

		stop = row(arg, &r);
	}
	sqlite3_finalize(q);
	return stop ? stop : rc_errno(rc);
}
