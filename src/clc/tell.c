/* SPDX-License-Identifier: BSD-3-Clause */
#include "tell.h"

#include <api/items.h>
#include <api/methods.h>
#include <errno.h>
#include <stdlib.h>

#define MESSAGE_BYTES	(900u << 10) /* of 1 MiB */
#define MESSAGE_CHANGES 5000

void
changes_free(struct change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		json_decref(changes[i].params);
		json_decref(changes[i].current);
	}
	free(changes);
}

static json_t *
as_json(const struct change *ch)
{
	return json_pack("{s:s, s:O}", "method", ch->method, "params", ch->params);
}

static bool
open_one(const struct change *ch)
{
	return ch->outcome == TOLD_NOT;
}

/* The next changes of one transaction: pointers to them in `batch`. `whole`: all there are; else those that a message holds. */
static size_t
next_batch(struct change *changes, size_t n, bool whole, struct change **batch)
{
	size_t bytes = 0, got = 0;

	for (size_t i = 0; i < n && got < (whole ? TXN_CHANGES_MAX : MESSAGE_CHANGES); i++) {
		json_t *v;

		if (!open_one(&changes[i]))
			continue;
		v = whole ? NULL : as_json(&changes[i]);
		bytes += whole ? 0 : json_dumpb(v, NULL, 0, JSON_COMPACT) + 1;
		json_decref(v);
		if (bytes > MESSAGE_BYTES && got > 0)
			break;
		batch[got++] = &changes[i];
	}
	return got;
}

static json_t *
as_list(struct change **batch, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, as_json(batch[i]));
	return list;
}

static int
send_batch(struct links *l, const char *router, struct change **batch, size_t n, json_t **data, struct err *e)
{
	if (n == 1)
		return link_change(l, router, batch[0]->method, json_incref(batch[0]->params), data, e);
	return link_change(l, router, "txn.apply", json_pack("{s:o}", "changes", as_list(batch, n)), data, e);
}

/* ---- more than a message holds ---- */

struct staging {
	struct links *l;
	const char *router;
	json_int_t txn;
	struct items_hash hash;
	struct err *e;
};

static int
add_parts(struct staging *g, const json_t *list)
{
	json_int_t number = 0;
	size_t at = 0;
	int rc = 0;

	items_hash_init(&g->hash);
	while (rc == 0 && at < json_array_size(list)) {
		json_t *part = items_part(&g->hash, list, &at);

		if (part == NULL)
			return err_set(g->e, EINVAL, "change %zu has no canonical text", at);
		rc = link_call(g->l, g->router, "txn.add",
			json_pack("{s:I, s:I, s:o}", "txn", g->txn, "part", ++number, "changes", part), NULL,
			g->e);
	}
	return rc;
}

static int
commit_all(struct staging *g, const json_t *list, json_t **data)
{
	char hash[ITEMS_HASH_TEXT];

	items_hash_text(&g->hash, hash);
	return link_change(g->l, g->router, "txn.commit",
		json_pack("{s:I, s:I, s:s}", "txn", g->txn, "count", (json_int_t)json_array_size(list),
			"sha256", hash),
		data, g->e);
}

/* As send_batch(). */
static int
send_staged(
	struct links *l, const char *router, struct change **batch, size_t n, json_t **data, struct err *e)
{
	struct staging g = {.l = l, .router = router, .e = e};
	json_t *opened = NULL, *list;
	int rc = link_call(l, router, "txn.open", json_object(), &opened, e);
	struct err unheard;

	g.txn = json_integer_value(json_object_get(opened, "txn"));
	json_decref(opened);
	if (rc != 0)
		return rc;
	list = as_list(batch, n);
	rc = add_parts(&g, list);
	if (rc == 0)
		rc = commit_all(&g, list, data);
	json_decref(list);
	if (rc != LINK_DOWN && (rc != 0 || l->plans != NULL)) /* it is still open there */
		link_call(l, router, "txn.abort", json_pack("{s:I}", "txn", g.txn), NULL, &unheard);
	return rc;
}

/* ---- what came of it ---- */

static void
set_all(struct change **batch, size_t n, enum outcome outcome)
{
	for (size_t i = 0; i < n; i++)
		batch[i]->outcome = outcome;
}

/* Marks the one change that is stale, so that the others can be told without it. */
static bool
set_stale(struct change **batch, size_t n, json_t *data)
{
	json_t *at = json_object_get(data, "change");
	size_t i = n == 1 ? 0 : (size_t)json_integer_value(at);

	if (i >= n || (n > 1 && !json_is_integer(at)))
		return false;
	batch[i]->outcome = TOLD_STALE;
	batch[i]->current = json_incref(n == 1 ? data : json_object_get(data, "vm"));
	return true;
}

int
tell(struct links *l, const char *router, struct change *changes, size_t n, struct err *e)
{
	struct change **batch = calloc(n + 1, sizeof(*batch));
	bool by_messages = false;
	json_t *data = NULL;
	size_t got;
	int rc = 0;

	if (batch == NULL)
		return err_set(e, ENOMEM, "out of memory");
	while (rc == 0 && (got = next_batch(changes, n, false, batch)) > 0) {
		size_t all = by_messages ? got : next_batch(changes, n, true, batch);

		rc = all > got ? send_staged(l, router, batch, all, &data, e)
			       : send_batch(l, router, batch, all, &data, e);
		if (rc == 0) {
			set_all(batch, all, TOLD_DONE);
		} else if (rc == RPC_STALE_EPOCH && set_stale(batch, all, data)) {
			by_messages = true;
			rc = 0;
		} else {
			set_all(batch, all, rc == LINK_DOWN ? TOLD_LOST : TOLD_REFUSED);
		}
		json_decref(data);
		data = NULL;
	}
	free(batch);
	return rc == 0 ? 0 : e->code;
}
