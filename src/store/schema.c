/* SPDX-License-Identifier: BSD-3-Clause */
/* schema.c - the tables, version by version. A new version is one more step at the end. */
#include "store_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <common/log.h>

#define APPLICATION_ID 1314341209 /* "NWAY" */
#define TEXT(x)	       #x
#define TEXT_OF(x)     TEXT(x)

/* steps[v] makes version v + 1 of version v; 0 is an empty database. */
static const char *const steps[] = {
	"CREATE TABLE identity(name TEXT NOT NULL);"
	"CREATE TABLE rows(kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
	" PRIMARY KEY(kind, key)) WITHOUT ROWID;"
	"PRAGMA application_id=" TEXT_OF(APPLICATION_ID),

	/* Appended to, trimmed from the front, never read at start. */
	"CREATE TABLE log(seq INTEGER PRIMARY KEY, value TEXT NOT NULL)",
};

#define VERSION ((int)(sizeof(steps) / sizeof(steps[0])))

int
db_exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

int
db_text(sqlite3 *db, const char *sql, char *out, size_t size)
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

/* All steps or none: what fails is undone when the connection closes, what is killed when the file is opened next. */
static int
step_up(sqlite3 *db, int from)
{
	char done[64];
	int rc = db_exec(db, "BEGIN IMMEDIATE");

	for (int v = from; v < VERSION && rc == SQLITE_OK; v++)
		rc = db_exec(db, steps[v]);
	snprintf(done, sizeof(done), "PRAGMA user_version=%d; COMMIT", VERSION);
	return rc == SQLITE_OK ? db_exec(db, done) : rc;
}

int
schema_make(sqlite3 *db)
{
	return step_up(db, 0);
}

static enum fitness
settle_version(sqlite3 *db, int version, const char *file, char *why, size_t size)
{
	if (version == VERSION)
		return FIT;
	if (version < 1) {
		snprintf(why, size, "schema version %d was never made by Nearway", version);
		return UNFIT;
	}
	if (version > VERSION) {
		snprintf(why, size,
			"schema version %d is of a newer Nearway, this one knows %d: run that one, or move "
			"the file "
			"away to start with an empty store",
			version, VERSION);
		return FAILED;
	}
	if (step_up(db, version) != SQLITE_OK) {
		snprintf(why, size, "schema version %d cannot be brought to %d: %s", version, VERSION,
			sqlite3_errmsg(db));
		return FAILED;
	}
	log_info("store: %s: schema version %d brought to %d", file, version, VERSION);
	return FIT;
}

enum fitness
schema_settle(sqlite3 *db, const char *file, char *why, size_t size)
{
	char id[24], version[24];
	int rc = db_text(db, "PRAGMA application_id", id, sizeof(id));

	if (rc == SQLITE_OK)
		rc = db_text(db, "PRAGMA user_version", version, sizeof(version));
	if (rc != SQLITE_OK) {
		snprintf(why, size, "%s", sqlite3_errmsg(db));
		return FAILED;
	}
	if (atoi(id) != APPLICATION_ID) {
		snprintf(why, size, "not a store of Nearway");
		return UNFIT;
	}
	return settle_version(db, atoi(version), file, why, size);
}
