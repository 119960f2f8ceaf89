/* SPDX-License-Identifier: BSD-3-Clause */
/* store.h - the last accepted desired state in SQLite (WAL, synchronous=FULL): what was acknowledged survives
 * kill -9 and power loss. Rows of (kind, key) -> JSON text. Blocking; one thread at a time.
 */
#pragma once

#include <common/err.h>
#include <env/env.h>

struct store;

/* Opens or makes `file` (mode 0600) and takes its lock; `identity` names whose state it is (another's is refused).
 * A file that is corrupt or no store of ours is moved aside as FILE.corrupt-<UTC time>, logged, and an empty one
 * is made; *set_aside tells. NULL on error. */
struct store *store_open(const char *file, const char *identity, bool *set_aside, struct err *e);
void store_close(struct store *s);
/* All or nothing, durable on return; 0 or -ENOSPC, -EIO, -EROFS. */
int store_commit(struct store *s, const struct env_row *rows, size_t n);
/* Every row of `kind` (NULL: of all), ordered by key, until row() returns non-zero. */
int store_load(struct store *s, const char *kind, int (*row)(void *arg, const struct env_row *r), void *arg);
