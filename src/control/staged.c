/* SPDX-License-Identifier: BSD-3-Clause */
/* staged.c - staged transactions: a connection opens one, adds numbered parts, and commits all of them or nothing. */
#include "changes.h"

#include <api/items.h>
#include <common/log.h>

#define STAGED_SESSION_MAX 4			 /* open ones of a connection, */
#define STAGED_MAX	   16			 /* and in all */
#define STAGED_BYTES_MAX   (512u << 20)		 /* canonical text of the changes of all of them */
#define STAGED_IDLE_MS	   (60 * UINT64_C(1000)) /* without a call for it, it is forgotten */

struct part {
	struct items_hash hash; /* behind it, and so of all before it too */
	size_t end;		/* how many changes there are then */
};

struct staged {
	struct core *core;
	struct session *session; /* NULL: it is gone, and this with its commit */
	uint64_t id, used_at;
	bool replace, committing;
	struct change *changes;
	size_t n, size;
	uint64_t bytes;
	struct part *parts; /* parts[0] is the empty beginning */
	size_t n_parts;	    /* it included */
	struct staged *prev, *next;
};

static void
staged_free(struct staged *st)
{
	struct core *c = st->core;

	DL_DELETE(c->staged, st);
	c->staged_bytes -= st->bytes;
	changes_free(st->changes, st->n);
	free(st->changes);
	free(st->parts);
	free(st);
}

/* The open one with this id, or an answer. */
static struct staged *
staged_find(struct session *s, struct rpc_request *r, uint64_t id)
{
	struct staged *st;

	DL_FOREACH(s->core->staged, st)
	{
		if (st->session != s || st->id != id)
			continue;
		if (st->committing) {
			rpc_fail(r, RPC_CONFLICT, NULL, "transaction %" PRIu64 " is being committed", id);
			return NULL;
		}
		st->used_at = now_ms(s->core);
		return st;
	}
	rpc_fail(r, RPC_NOT_FOUND, NULL,
		"no transaction %" PRIu64 " is open on this connection: it was committed, aborted, idle for "
		"%u s, or another connection's",
		id, (unsigned int)(STAGED_IDLE_MS / 1000));
	return NULL;
}

/* ---- opening ---- */

static bool
check_room(struct session *s, struct rpc_request *r)
{
	unsigned int own = 0, all = 0;
	struct staged *st;

	DL_FOREACH(s->core->staged, st)
	{
		own += st->session == s;
		all++;
	}
	if (own < STAGED_SESSION_MAX && all < STAGED_MAX)
		return true;
	rpc_fail(r, RPC_LIMIT, NULL,
		"%u transactions are open on this connection, %u in all: at most %d and %d; commit or abort "
		"one",
		own, all, STAGED_SESSION_MAX, STAGED_MAX);
	return false;
}

void
txn_open_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct txn_open_params *p = params;
	struct core *c = s->core;
	struct staged *st;

	if (!check_room(s, r))
		return;
	st = zalloc(sizeof(*st));
	st->core = c;
	st->session = s;
	st->id = ++c->staged_ids;
	st->replace = p->replace;
	st->used_at = now_ms(c);
	st->parts = zalloc(sizeof(*st->parts));
	st->n_parts = 1;
	items_hash_init(&st->parts[0].hash);
	if (!c->staged)
		timer_set(c, c->staged_timer, STAGED_IDLE_MS);
	DL_APPEND(c->staged, st);
	rpc_reply(r, json_pack("{s:I}", "txn", (json_int_t)st->id));
}

/* ---- adding ---- */

/* The hash after these changes behind `from`; the bytes of their text, or an RPC_ code below zero. */
static int
part_hash(const struct list *changes, struct items_hash *hash, uint64_t *bytes, struct fail *f)
{
	*bytes = 0;
	for (size_t i = 0; i < changes->n; i++) {
		const struct txn_change *ch = list_at(*changes, const struct txn_change, i);
		json_t *item = json_pack("{s:s, s:O}", "method", ch->method, "params", ch->params);
		ssize_t n = items_hash_add(hash, item);

		json_decref(item);
		if (n < 0)
			return fail(f, RPC_INVALID_PARAMS,
				"changes[%zu]: a character that is not printable ASCII, or a fraction", i);
		*bytes += (uint64_t)n;
	}
	return 0;
}

static int
check_bounds(const struct staged *st, size_t n, uint64_t bytes, struct fail *f)
{
	if (st->n + n > TXN_CHANGES_MAX)
		return fail(f, RPC_LIMIT, "more than %d changes in a transaction", TXN_CHANGES_MAX);
	if (st->core->staged_bytes + bytes > STAGED_BYTES_MAX)
		return fail(f, RPC_LIMIT, "open transactions hold more than %u MiB: commit or abort one",
			STAGED_BYTES_MAX >> 20);
	return 0;
}

static void *
grown(void *array, size_t n, size_t size)
{
	array = realloc(array, n * size);
	if (!array)
		abort(); /* as zalloc() */
	return array;
}

static int
part_append(struct staged *st, const struct txn_add_params *p, struct fail *f)
{
	struct part part = {.hash = st->parts[st->n_parts - 1].hash};
	uint64_t bytes;
	int rc = part_hash(&p->changes, &part.hash, &bytes, f);

	if (rc == 0)
		rc = check_bounds(st, p->changes.n, bytes, f);
	if (rc != 0)
		return rc;
	if (st->n + p->changes.n > st->size) {
		st->size = 2 * st->size + p->changes.n;
		st->changes = grown(st->changes, st->size, sizeof(*st->changes));
	}
	memset(&st->changes[st->n], 0, p->changes.n * sizeof(*st->changes));
	rc = changes_read(&p->changes, st->replace, &st->changes[st->n], f);
	if (rc != 0)
		return rc;
	st->n += p->changes.n;
	st->bytes += bytes;
	st->core->staged_bytes += bytes;
	part.end = st->n;
	st->parts = grown(st->parts, st->n_parts + 1, sizeof(part));
	st->parts[st->n_parts++] = part;
	return 0;
}

/* A part that came before, its answer lost: the same, or an error. */
static int
part_repeated(const struct staged *st, const struct txn_add_params *p, struct fail *f)
{
	const struct part *part = &st->parts[p->part], *before = part - 1;
	struct items_hash hash = before->hash;
	char is[ITEMS_HASH_TEXT], was[ITEMS_HASH_TEXT];
	uint64_t bytes;
	int rc = part_hash(&p->changes, &hash, &bytes, f);

	items_hash_text(&hash, is);
	items_hash_text(&part->hash, was);
	if (rc == 0 && strcmp(is, was) != 0)
		return fail(f, RPC_CONFLICT, "part %" PRIu64 " came before, with other changes", p->part);
	return rc;
}

void
txn_add_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct txn_add_params *p = params;
	struct staged *st = staged_find(s, r, p->txn);
	struct fail f = {0};

	if (!st)
		return;
	if (p->part > st->n_parts)
		fail(&f, RPC_CONFLICT, "part %" PRIu64 " is missing: parts come in order",
			(uint64_t)st->n_parts);
	else if (p->part == st->n_parts)
		part_append(st, p, &f);
	else
		part_repeated(st, p, &f);
	if (f.code != 0)
		rpc_fail(r, f.code, NULL, "%s", f.text);
	else
		rpc_reply(r, json_pack("{s:I, s:I}", "parts", (json_int_t)st->n_parts - 1, "count",
				     (json_int_t)st->n));
}

/* ---- the end ---- */

static bool
is_whole(const struct staged *st, const struct txn_commit_params *p, struct rpc_request *r)
{
	char hash[ITEMS_HASH_TEXT];

	items_hash_text(&st->parts[st->n_parts - 1].hash, hash);
	if (p->count != st->n)
		rpc_fail(r, RPC_CONFLICT, NULL,
			"%zu changes came, not %" PRIu64 ": nothing was changed; add the rest, or abort",
			st->n, p->count);
	else if (strcmp(p->sha256, hash) != 0)
		rpc_fail(r, RPC_CONFLICT, NULL,
			"the changes that came have the SHA-256 %s, not %s: nothing was changed", hash,
			p->sha256);
	else
		return true;
	return false;
}

void
txn_commit_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct txn_commit_params *p = params;
	struct staged *st = staged_find(s, r, p->txn);
	struct change_txn *x;

	if (!st || !is_whole(st, p, r))
		return;
	if (!st->replace && p->max_remove > 0) {
		rpc_fail(r, RPC_INVALID_PARAMS, NULL,
			"max-remove: this transaction was not opened with replace");
		return;
	}
	x = change_txn_new(s, r, "txn.commit");
	x->list = true;
	x->txn.dry_run = p->dry_run;
	x->if_revision = p->if_revision;
	x->staged = st;
	x->changes = st->changes;
	x->n = st->n;
	if (st->replace)
		x->replace = replace_new(p->max_remove);
	st->committing = true;
	change_submit(s, x);
}

void
staged_committed(struct staged *st, bool over)
{
	st->committing = false;
	st->used_at = now_ms(st->core);
	if (over || !st->session)
		staged_free(st);
}

void
txn_abort_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct txn_key_params *p = params;
	struct staged *st = staged_find(s, r, p->txn);

	if (!st)
		return;
	staged_free(st);
	rpc_reply(r, json_object());
}

static void
staged_drop(struct staged *st)
{
	if (st->committing)
		st->session = NULL;
	else
		staged_free(st);
}

void
staged_gone(struct session *s)
{
	struct staged *st, *next;

	DL_FOREACH_SAFE(s->core->staged, st, next)
	{
		if (st->session == s)
			staged_drop(st);
	}
}

static void
drop_idle(void *arg)
{
	struct core *c = arg;
	uint64_t now = now_ms(c);
	struct staged *st, *next;

	DL_FOREACH_SAFE(c->staged, st, next)
	{
		if (st->committing || now - st->used_at < STAGED_IDLE_MS)
			continue;
		log_info("control: transaction %" PRIu64 " of %s was idle for %u s: forgotten", st->id,
			st->session->name, (unsigned int)(STAGED_IDLE_MS / 1000));
		staged_free(st);
	}
	if (c->staged)
		timer_set(c, c->staged_timer, STAGED_IDLE_MS / 4);
}

void
staged_init(struct core *c)
{
	c->staged_timer = timer_new(c, drop_idle, c);
}

void
staged_fini(struct core *c)
{
	c->env->ops->timer_free(c->staged_timer);
}
