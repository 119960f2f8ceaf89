/* SPDX-License-Identifier: BSD-3-Clause */
/* look.c - a look into a store without becoming its owner. */
#include "store_priv.h"

#include <errno.h>
#include <string.h>

static int
look_rows(sqlite3 *db, int (*row)(void *arg, const struct env_row *r), void *arg)
{
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(db,
		"SELECT 'meta', key, value, 0 AS seq FROM rows WHERE kind = 'meta' AND key = 'log'"
		" UNION ALL SELECT 'log', printf('%020d', seq), value, seq FROM log ORDER BY seq",
		-1, &q, NULL);

	while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		struct env_row r = {(const char *)sqlite3_column_text(q, 0),
			(const char *)sqlite3_column_text(q, 1), (const char *)sqlite3_column_text(q, 2)};

		rc = r.value && row(arg, &r) == 0 ? SQLITE_OK : SQLITE_ABORT;
	}
	sqlite3_finalize(q);
	return rc == SQLITE_DONE || rc == SQLITE_ABORT ? SQLITE_OK : rc;
}

int
store_look_log(const char *file, int (*row)(void *arg, const struct env_row *r), void *arg, struct err *e)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL);

	if (rc == SQLITE_OK)
		rc = db_exec(db, "PRAGMA query_only=1");
	if (rc == SQLITE_OK)
		rc = look_rows(db, row, arg);
	if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
		err_set(e, EBUSY, "%s is in use by a running router: stop it, or look at nearway show log",
			file);
	else if (rc != SQLITE_OK)
		err_set(e, EIO, "%s: %s", file, db ? sqlite3_errmsg(db) : "no memory");
	sqlite3_close(db);
	return rc == SQLITE_OK ? 0 : e->code;
}
