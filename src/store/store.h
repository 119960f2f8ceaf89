/* SPDX-License-Identifier: BSD-3-Clause */
/* store.h - the last accepted desired state in SQLite (WAL, synchronous=FULL): what was acknowledged survives
 * kill -9 and power loss. Rows of (kind, key) -> JSON text. Blocking; one thread at a time.
 *
 * Rows of kind "log" stand in a table of their own, by number: their keys are decimal, 20 digits with leading zeros. They
 * are read in pieces and not loaded.
 */
#pragma once

#include <common/err.h>
#include <env/host.h>

struct store;

/* Opens or makes `file` (mode 0600) and takes its lock; `identity` names whose state it is (another's is refused). An older
 * schema is brought up to date in one transaction, a newer one refused and left alone. A file that is corrupt or no store
 * of ours is moved aside as FILE.corrupt-<UTC time>, logged, and an empty one is made; *set_aside tells. NULL on error. */
struct store *store_open(const char *file, const char *identity, bool *set_aside, struct err *e);
void store_close(struct store *s);
/* All or nothing, durable on return; 0, or -ENOSPC, -EIO, -EROFS, and -ENOENT once the file was deleted or replaced. What
 * was refused is not there later either. The next commit tries anew, and the log says once why and once that it works again. */
int store_commit(struct store *s, const struct env_row *rows, size_t n);
/* Every row of `kind` (NULL: of all but "log"), ordered by kind and key, until row() returns non-zero. */
int store_load(struct store *s, const char *kind, int (*row)(void *arg, const struct env_row *r), void *arg);
/* The rows of a range, ordered by key, until row() returns non-zero. */
int store_read(struct store *s, const struct env_range *range, int (*row)(void *arg, const struct env_row *r),
	void *arg);

/* The row of kind meta that tells the ends of the log, and then its entries by number, until row() returns non-zero. Takes no
 * lock, changes nothing. */
int store_look_log(
	const char *file, int (*row)(void *arg, const struct env_row *r), void *arg, struct err *e);

extern const struct host_store_ops store_host_ops; /* a store for host_store_new() */
