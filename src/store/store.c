/* SPDX-License-Identifier: BSD-3-Clause */
/* store.c - rows: commits, loading, reading. */
#include "store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <common/log.h>

int
db_errno(int rc)
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

static int
step_once(sqlite3_stmt *q)
{
	int rc = sqlite3_step(q);

	sqlite3_reset(q);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool
is_log(const char *kind)
{
	return strcmp(kind, "log") == 0;
}

static int
write_row(struct store *s, const struct env_row *r)
{
	bool log = is_log(r->kind);
	sqlite3_stmt *q = s->q[r->value ? (log ? Q_LOG_PUT : Q_PUT) : (log ? Q_LOG_DEL : Q_DEL)];

	sqlite3_bind_text(q, 1, r->kind, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 2, r->key, -1, SQLITE_STATIC);
	if (r->value)
		sqlite3_bind_text(q, 3, r->value, -1, SQLITE_STATIC);
	return step_once(q);
}

static int
write_all(struct store *s, const struct env_row *rows, size_t n)
{
	int rc = step_once(s->q[Q_BEGIN]);

	for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
		rc = write_row(s, &rows[i]);
	if (rc == SQLITE_OK)
		rc = step_once(s->q[Q_COMMIT]);
	return rc;
}

/* ---- failures ----
 *
 * After a failure nothing is known of the file's pages in memory: the connection is dropped, and the next use reads the file
 * anew (a second fsync may succeed without having written anything). A commit whose fsync failed may stand in the log as a
 * whole; who opens the file next would take it for accepted, so the log is cut back to what was. */

/* Said once, and again when it is another. */
static int
refuse(struct store *s, int rc, const char *what)
{
	char why[sizeof(s->why)];

	snprintf(why, sizeof(why), "%s", what);
	if (strcmp(why, s->why) != 0)
		log_error("store: %s: %s: changes are refused, forwarding goes on", s->file, why);
	memcpy(s->why, why, sizeof(why));
	return rc;
}

static void
accepted(struct store *s)
{
	if (s->why[0] != '\0')
		log_info("store: %s takes changes again (was: %s)", s->file, s->why);
	s->why[0] = '\0';
}

static off_t
log_size(const struct store *s)
{
	return s->frames == 0 ? 0 : 32 + (off_t)s->frames * (24 + s->page_size);
}

static int
cut_to(int fd, off_t size)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_size <= size)
		return 0;
	return ftruncate(fd, size) == 0 && fsync(fd) == 0 ? 0 : -errno;
}

static int
cut_log(struct store *s)
{
	char name[PATH_MAX];
	int fd, rc;

	snprintf(name, sizeof(name), "%s-wal", s->file);
	fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	rc = cut_to(fd, log_size(s));
	close(fd);
	return rc;
}

static int
give_up(struct store *s, int rc)
{
	refuse(s, rc, sqlite3_errmsg(s->db));
	if (!sqlite3_get_autocommit(s->db))
		step_once(s->q[Q_ROLLBACK]);
	db_close(s);
	if (s->frames >= 0)
		s->spoilt = cut_log(s) != 0;
	return rc;
}

static int
reopen(struct store *s)
{
	char why[200];
	struct stat st;

	if (stat(s->file, &st) != 0 || st.st_ino != s->inode) {
		db_close(s);
		return refuse(s, -ENOENT, "deleted or replaced while in use: restart the router");
	}
	if (s->db)
		return 0;
	if (s->spoilt && cut_log(s) != 0)
		return refuse(s, -EIO, "the log still holds a commit that was refused");
	s->spoilt = false;
	if (db_open(s, why, sizeof(why)) == FIT)
		return 0;
	return refuse(s, -EIO, why);
}

/* ---- commits ---- */

/* Called by SQLite with the frames that the log has now. */
int
store_logged(void *arg, sqlite3 *db, const char *name, int frames)
{
	struct store *s = arg;

	(void)db;
	(void)name;
	s->frames = frames;
	return SQLITE_OK;
}

/* Moves what the log holds into the database; the next commit begins it anew. */
static int
empty_log(struct store *s)
{
	int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);

	if (rc == SQLITE_OK)
		s->frames = 0;
	return rc;
}

int
store_commit(struct store *s, const struct env_row *rows, size_t n)
{
	int rc = reopen(s);

	if (rc != 0)
		return rc;
	if (s->frames < 0 || s->frames >= LOG_FRAMES)
		rc = empty_log(s);
	if (rc == SQLITE_OK)
		rc = write_all(s, rows, n);
	if (rc != SQLITE_OK)
		return give_up(s, db_errno(rc));
	accepted(s);
	return 0;
}

/* ---- reading ---- */

struct reader {
	int (*row)(void *arg, const struct env_row *r);
	void *arg;
};

/* Rows of a query of (kind, key, value). */
static int
read_rows(sqlite3_stmt *q, const struct reader *to)
{
	int rc = SQLITE_OK, stop = 0;

	while (stop == 0 && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		struct env_row r = {
			.kind = (const char *)sqlite3_column_text(q, 0),
			.key = (const char *)sqlite3_column_text(q, 1),
			.value = (const char *)sqlite3_column_text(q, 2),
		};

		stop = to->row(to->arg, &r);
	}
	return stop ? stop : db_errno(rc);
}

/* `texts` for ?1, ?2; `limit` for ?3. */
static int
run_query(struct store *s, const char *sql, const char *const texts[2], size_t limit, const struct reader *to)
{
	sqlite3_stmt *q;
	int rc = reopen(s);

	if (rc != 0)
		return rc;
	rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
	if (rc == SQLITE_OK) {
		for (int i = 0; i < 2; i++)
			sqlite3_bind_text(q, i + 1, texts[i], -1, SQLITE_STATIC);
		sqlite3_bind_int64(q, 3, limit < INT64_MAX ? (int64_t)limit : INT64_MAX);
		rc = read_rows(q, to);
		sqlite3_finalize(q);
	} else {
		rc = db_errno(rc);
	}
	if (rc == -EIO)
		give_up(s, rc);
	return rc;
}

int
store_load(struct store *s, const char *kind, int (*row)(void *arg, const struct env_row *r), void *arg)
{
	return run_query(s,
		"SELECT kind, key, value FROM rows WHERE ?1 IS NULL OR kind = ?1 ORDER BY kind, key",
		(const char *[]){kind, NULL}, 0, &(struct reader){row, arg});
}

int
store_read(struct store *s, const struct env_range *range, int (*row)(void *arg, const struct env_row *r),
	void *arg)
{
	const char *sql = is_log(range->kind) ? "SELECT ?1, printf('%020d', seq), value FROM log"
						" WHERE seq > CAST(?2 AS INTEGER) ORDER BY seq LIMIT ?3"
					      : "SELECT kind, key, value FROM rows WHERE kind = ?1 AND key > "
						"?2 ORDER BY key LIMIT ?3";

	return run_query(s, sql, (const char *[]){range->kind, range->after}, range->limit,
		&(struct reader){row, arg});
}

/* ---- for the thread of the store ---- */

static int
host_commit(void *store, const struct env_row *rows, size_t n)
{
	return store_commit(store, rows, n);
}

static int
host_read(
	void *store, const struct env_range *range, int (*row)(void *arg, const struct env_row *r), void *arg)
{
	return store_read(store, range, row, arg);
}

const struct host_store_ops store_host_ops = {.commit = host_commit, .read = host_read};
