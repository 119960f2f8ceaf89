/* SPDX-License-Identifier: BSD-3-Clause */
/* store.c - rows: commits, loading, reading. */
#include "store_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

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

/* After a failure nothing is known of the file's pages in memory: the connection was dropped, and the next use reads
 * the file anew (a second fsync may succeed without having written anything). */
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
		step_once(s->q[Q_ROLLBACK]);
	db_close(s);
	return db_errno(rc);
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
	if (rc == -EIO) {
		log_error("store: %s: cannot be read: %s", s->file, sqlite3_errmsg(s->db));
		db_close(s);
	}
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
