/* SPDX-License-Identifier: BSD-3-Clause */
/* disk.c - a node's store: rows, and commits on their way. A commit is durable first and told then; a crash may come
 * between, and a fault may keep the two apart for long. */
#include "world_priv.h"

#include <errno.h>
#include <stdio.h>

struct stored {
	char key[160]; /* "KIND KEY" */
	char *value;
	UT_hash_handle hh;
};

struct pending { /* a commit, or a read in its turn */
	struct node *node;
	struct env_row *rows;
	size_t n;
	void (*done)(void *arg, int rc);
	char kind[16], after[32]; /* of what is read, */
	size_t limit;
	void (*got)(void *arg, int rc, const struct env_row *rows, size_t n); /* NULL: a commit */
	void *arg;
	bool decided; /* durable or refused */
	int rc;
	struct pending *prev, *next;
};

/* ---- rows ---- */

void
stored_set(struct node *n, const char *kind, const char *key, const char *value)
{
	struct stored *s;
	char name[160];

	snprintf(name, sizeof(name), "%s %s", kind, key);
	HASH_FIND_STR(n->rows, name, s);
	if (s) {
		HASH_DEL(n->rows, s);
		free(s->value);
		free(s);
	}
	if (!value)
		return;
	s = calloc(1, sizeof(*s));
	strcpy(s->key, name);
	s->value = strdup(value);
	HASH_ADD_STR(n->rows, key, s);
}

const char *
stored_row(struct node *n, const char *kind, const char *key)
{
	struct stored *s;
	char name[160];

	snprintf(name, sizeof(name), "%s %s", kind, key);
	HASH_FIND_STR(n->rows, name, s);
	return s ? s->value : NULL;
}

static bool
is_of(const struct stored *s, const char *kind)
{
	size_t len = strlen(kind);

	return strncmp(s->key, kind, len) == 0 && s->key[len] == ' ';
}

unsigned int
stored_count(struct node *n, const char *kind)
{
	unsigned int count = 0;
	struct stored *s;

	for (s = n->rows; s; s = s->hh.next)
		count += is_of(s, kind);
	return count;
}

const char *
stored_at(struct node *n, unsigned int i, const char **value)
{
	struct stored *s = n->rows;

	while (s && i-- > 0)
		s = s->hh.next;
	*value = s ? s->value : NULL;
	return s ? s->key : NULL;
}

void
stored_clear(struct node *n)
{
	struct stored *s, *next;

	HASH_ITER (hh, n->rows, s, next) {
		HASH_DEL(n->rows, s);
		free(s->value);
		free(s);
	}
}

struct stored *
stored_copy(struct node *n)
{
	struct stored *copy = NULL, *s, *t;

	for (s = n->rows; s; s = s->hh.next) {
		t = calloc(1, sizeof(*t));
		memcpy(t->key, s->key, sizeof(t->key));
		t->value = strdup(s->value);
		HASH_ADD_STR(copy, key, t);
	}
	return copy;
}

void
stored_restore(struct node *n, struct stored *copy_stolen)
{
	stored_clear(n);
	n->rows = copy_stolen;
}

static int
compare_rows(const void *a, const void *b)
{
	return strcmp((*(struct stored *const *)a)->key, (*(struct stored *const *)b)->key);
}

/* Rows as from the store, ordered by kind and key: those of the log, or all others. */
static struct stored **
rows_in_order(struct node *n, bool log)
{
	struct stored **all = calloc(HASH_COUNT(n->rows) + 1, sizeof(*all)), *s;
	size_t i = 0;

	for (s = n->rows; s; s = s->hh.next)
		if (is_of(s, "log") == log)
			all[i++] = s;
	qsort(all, i, sizeof(*all), compare_rows);
	return all;
}

void
disk_load(struct node *n)
{
	struct stored **all = rows_in_order(n, false);

	for (size_t i = 0; all[i]; i++) {
		char kind[32], *space = strchr(all[i]->key, ' ');
		struct env_row row = {kind, space + 1, all[i]->value};

		snprintf(kind, sizeof(kind), "%.*s", (int)(space - all[i]->key), all[i]->key);
		core_load_row(n->core, &row);
	}
	free(all);
}

/* ---- commits and reads ---- */

static void
read_end(struct pending *p)
{
	struct stored **all = rows_in_order(p->node, strcmp(p->kind, "log") == 0);
	size_t len = strlen(p->kind), n = 0;
	struct env_row *rows = calloc(HASH_COUNT(p->node->rows) + 1, sizeof(*rows));

	for (size_t i = 0; all[i] && n < p->limit; i++)
		if (is_of(all[i], p->kind) && strcmp(all[i]->key + len + 1, p->after) > 0)
			rows[n++] = (struct env_row){p->kind, all[i]->key + len + 1, all[i]->value};
	p->got(p->arg, p->rc, rows, p->rc ? 0 : n);
	free(rows);
	free(all);
}

static void
commit_end(struct pending *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free((char *)(uintptr_t)p->rows[i].kind);
		row_free(&p->rows[i]);
	}
	free(p->rows);
	p->done(p->arg, p->rc);
}

static void
write_rows(struct pending *p)
{
	for (size_t i = 0; i < p->n; i++)
		stored_set(p->node, p->rows[i].kind, p->rows[i].key, p->rows[i].value);
}

static size_t
state_rows(const struct pending *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += strcmp(p->rows[i].kind, "log") != 0 && strcmp(p->rows[i].key, "log") != 0;
	return n;
}

/* Takes it off the list and tells its owner. */
static void
tell(struct pending *p)
{
	DL_DELETE(p->node->pending, p);
	if (p->got)
		read_end(p);
	else
		commit_end(p);
	free(p);
}

static void
decide(struct pending *p)
{
	struct node *n = p->node;

	p->decided = true;
	if (p->got)
		return;
	if (n->commits_to_fail > 0) {
		n->commits_to_fail--;
		n->failed_at = n->w->now;
		p->rc = n->commit_error ? n->commit_error : -ENOSPC;
	}
	if (p->rc == 0)
		write_rows(p);
	n->n_commits++;
	n->n_rows += state_rows(p);
}

/* The events of a node's commits come in their order, whichever process asked for them. */
static void
commit_told(void *arg, uint64_t generation)
{
	struct node *n = arg;

	if (generation != n->generation || !n->pending || !n->pending->decided)
		return;
	n->w->running = n;
	tell(n->pending);
}

void
node_disk_tells(struct node *n)
{
	struct pending *p;

	n->told_after = 0;
	DL_FOREACH(n->pending, p)
	{
		if (p->decided)
			world_at(n->w, n->w->now, commit_told, n, n->generation);
	}
}

static void
commit_now(void *arg, uint64_t generation)
{
	struct node *n = arg;
	struct pending *p = n->pending;

	if (generation != n->generation)
		return;
	while (p && p->decided)
		p = p->next;
	if (!p)
		return;
	decide(p);
	if (node_stepped(n, STEP_DURABLE))
		return;
	if (p == n->pending && n->w->now >= n->told_after)
		commit_told(n, generation);
	else
		world_at(n->w, n->told_after > n->w->now ? n->told_after : n->w->now, commit_told, n,
			generation);
}

static void
pend(struct node *n, struct pending *p)
{
	p->node = n;
	DL_APPEND(n->pending, p);
	world_at(n->w, n->w->now + 1 + world_random(n->w, 5), commit_now, n, n->generation);
}

void
op_read(void *ctx, const struct env_range *range,
	void (*done)(void *arg, int rc, const struct env_row *rows, size_t n), void *arg)
{
	struct pending *p = calloc(1, sizeof(*p));

	*p = (struct pending){.limit = range->limit, .got = done, .arg = arg};
	snprintf(p->kind, sizeof(p->kind), "%s", range->kind);
	snprintf(p->after, sizeof(p->after), "%s", range->after);
	pend(ctx, p);
}

void
op_commit(void *ctx, const struct env_row *rows, size_t count, void (*done)(void *arg, int rc), void *arg)
{
	struct pending *p = calloc(1, sizeof(*p));

	*p = (struct pending){.rows = calloc(count, sizeof(*rows)), .n = count, .done = done, .arg = arg};
	for (size_t i = 0; i < count; i++) {
		p->rows[i].kind = strdup(rows[i].kind);
		p->rows[i].key = strdup(rows[i].key);
		p->rows[i].value = rows[i].value ? strdup(rows[i].value) : NULL;
	}
	pend(ctx, p);
	node_stepped(ctx, STEP_COMMIT);
}

void
disk_crash(struct node *n)
{
	uint64_t durable = world_random(n->w, 3);

	while (n->pending) {
		struct pending *p = n->pending;

		if (!p->decided && durable > 0) {
			durable--;
			write_rows(p);
		} else if (!p->decided) {
			durable = 0;
			p->rc = -EIO; /* and so all behind it */
		}
		tell(p);
	}
}
