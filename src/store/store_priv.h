/* SPDX-License-Identifier: BSD-3-Clause */
/* store_priv.h - inside of the store: file.c (what lies on the disk), schema.c (versions), store.c (rows). */
#pragma once

#include "store.h"

#include <limits.h>
#include <sqlite3.h>
#include <sys/types.h>

enum fitness { FIT, UNFIT, FAILED }; /* what a look at a file found; UNFIT: to be set aside */

enum query { Q_BEGIN, Q_COMMIT, Q_ROLLBACK, Q_PUT, Q_DEL, Q_LOG_PUT, Q_LOG_DEL, N_QUERIES };

struct store {
	char file[PATH_MAX - 64];
	char identity[256];
	int lock_fd; /* FILE.lock: SQLite's own POSIX locks vanish when any descriptor of the file is closed */
	sqlite3 *db; /* NULL after a failure, until the next use opens it again */
	sqlite3_stmt *q[N_QUERIES];
	ino_t inode;
	int page_size;
	int frames;    /* of the log (WAL) that hold what was accepted; -1: not known, so no commit begins */
	bool spoilt;   /* the log holds more, and could not be cut */
	char why[200]; /* changes are refused; "" = they are not */
};

/* ---- store.c ---- */

int db_errno(int rc);							/* of SQLite's: 0 or -errno */
int store_logged(void *arg, sqlite3 *db, const char *name, int frames); /* for sqlite3_wal_hook() */

#define LOG_FRAMES 1000 /* then the log is moved into the database */

/* ---- schema.c ---- */

int db_exec(sqlite3 *db, const char *sql);
/* The first column of the first row as text, or "" and the failure. */
int db_text(sqlite3 *db, const char *sql, char *out, size_t size);
/* Is this a store of ours, of a version that this program knows? Brings an older one up to date, in one transaction.
 * A newer one is not UNFIT but FAILED: somebody went back to an older program, and nothing is wrong with the file. */
enum fitness schema_settle(sqlite3 *db, const char *file, char *why, size_t size);
/* Makes all tables in an empty database. */
int schema_make(sqlite3 *db);

/* ---- file.c ---- */

/* Opens s->file, checks it and prepares s->q. */
enum fitness db_open(struct store *s, char *why, size_t size);
void db_close(struct store *s);
