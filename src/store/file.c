/* SPDX-License-Identifier: BSD-3-Clause */
/* file.c - what lies on the disk: lock, mode, opening, making, setting aside. */
#include "store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <common/log.h>

/* ---- the database ---- */

void
db_close(struct store *s)
{
	for (size_t i = 0; i < N_QUERIES; i++) {
		sqlite3_finalize(s->q[i]);
		s->q[i] = NULL;
	}
	sqlite3_close(s->db);
	s->db = NULL;
}

static int
db_prepare(struct store *s)
{
	static const char *const sql[N_QUERIES] = {
		[Q_BEGIN] = "BEGIN IMMEDIATE",
		[Q_COMMIT] = "COMMIT",
		[Q_ROLLBACK] = "ROLLBACK",
		[Q_PUT] = "INSERT OR REPLACE INTO rows(kind, key, value) VALUES(?1, ?2, ?3)",
		[Q_DEL] = "DELETE FROM rows WHERE kind = ?1 AND key = ?2",
		[Q_LOG_PUT] = "INSERT OR REPLACE INTO log(seq, value) VALUES(CAST(?2 AS INTEGER), ?3)",
		[Q_LOG_DEL] = "DELETE FROM log WHERE seq = CAST(?2 AS INTEGER)",
	};
	int rc = SQLITE_OK;

	for (size_t i = 0; i < N_QUERIES && rc == SQLITE_OK; i++)
		rc = sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->q[i], NULL);
	return rc;
}

static bool
is_corruption(int rc)
{
	return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

/* Is this file a whole store of ours? `why` says what is wrong. */
static enum fitness
db_check(struct store *s, char *why, size_t size)
{
	enum fitness fit;
	char text[200];
	int rc = db_text(s->db, "PRAGMA quick_check(1)", text, sizeof(text));

	if (rc == SQLITE_OK && strcmp(text, "ok") != 0) {
		snprintf(why, size, "%s", text);
		return UNFIT;
	}
	if (rc == SQLITE_OK) {
		fit = schema_settle(s->db, s->file, why, size);
		if (fit != FIT)
			return fit;
		rc = db_text(s->db, "SELECT 1 FROM rows, log LIMIT 1", text, sizeof(text));
	}
	if (rc == SQLITE_OK)
		return FIT;
	snprintf(why, size, "%s", sqlite3_errmsg(s->db));
	return is_corruption(rc) || rc == SQLITE_ERROR ? UNFIT : FAILED;
}

enum fitness
db_open(struct store *s, char *why, size_t size)
{
	enum fitness fit;
	char page_size[24];
	struct stat st;
	int rc;

	rc = sqlite3_open_v2(
		s->file, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
	if (rc != SQLITE_OK)
		goto failed;
	sqlite3_extended_result_codes(s->db, 1);
	rc = db_exec(
		s->db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
	if (rc != SQLITE_OK)
		goto failed;
	fit = db_check(s, why, size);
	if (fit != FIT) {
		db_close(s);
		return fit;
	}
	rc = db_text(s->db, "PRAGMA page_size", page_size, sizeof(page_size));
	if (rc == SQLITE_OK)
		rc = db_prepare(s);
	if (rc != SQLITE_OK)
		goto failed;
	s->page_size = atoi(page_size);
	if (stat(s->file, &st) == 0)
		s->inode = st.st_ino;
	sqlite3_wal_hook(s->db, store_logged, s);
	s->frames = -1;
	return FIT;
failed:
	snprintf(why, size, "%s", s->db ? sqlite3_errmsg(s->db) : "no memory");
	db_close(s);
	return is_corruption(rc) ? UNFIT : FAILED;
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
	char *sql = sqlite3_mprintf("INSERT INTO identity VALUES(%Q)", identity);
	int rc = sql ? db_exec(db, "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL") : SQLITE_NOMEM;

	if (rc == SQLITE_OK)
		rc = schema_make(db);
	if (rc == SQLITE_OK)
		rc = db_exec(db, sql);
	sqlite3_free(sql);
	return rc;
}

/* So that a rename outlives a power cut. */
static int
sync_directory(const char *file, struct err *e)
{
	char name[PATH_MAX], *slash;
	int fd, rc;

	snprintf(name, sizeof(name), "%s", file);
	slash = strrchr(name, '/');
	if (slash)
		slash[1] = '\0';
	fd = open(slash ? name : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno, "store: %s: %s", name, strerror(errno));
	rc = fsync(fd) == 0 ? 0 : err_set(e, errno, "store: %s: fsync: %s", name, strerror(errno));
	close(fd);
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
		err_set(e, -db_errno(rc), "store: %s: %s", name, sqlite3_errmsg(db));
	sqlite3_close(db);
	if (rc != SQLITE_OK)
		return e->code;
	if (rename(name, s->file) != 0)
		return err_set(e, errno, "store: %s: %s", s->file, strerror(errno));
	return sync_directory(s->file, e);
}

/* Neither the database nor its log is for others. */
static int
repair_mode(const char *file, const char *suffix, struct err *e)
{
	char name[PATH_MAX];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", file, suffix);
	if (lstat(name, &st) != 0)
		return errno == ENOENT ? 0 : err_set(e, errno, "store: %s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "store: %s is not a regular file", name);
	if ((st.st_mode & 077) == 0)
		return 0;
	log_warn("store: %s was open to others (mode %03o): set to 600", name, st.st_mode & 0777);
	return chmod(name, 0600) == 0 ? 0 : err_set(e, errno, "store: %s: chmod: %s", name, strerror(errno));
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

	if (db_text(s->db, "SELECT name FROM identity", name, sizeof(name)) != SQLITE_OK)
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
	if (repair_mode(s->file, "", e) != 0 || repair_mode(s->file, "-wal", e) != 0)
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
