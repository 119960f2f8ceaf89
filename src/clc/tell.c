/* SPDX-License-Identifier: BSD-3-Clause */
#include "tell.h"

#include <api/methods.h>
#include <errno.h>
#include <stdlib.h>

#define BATCH_BYTES   (900u << 10) /* of a message of 1 MiB */
#define BATCH_CHANGES 5000

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

/* The next changes that fit one transaction: pointers to them in `batch`. */
static size_t
next_batch(struct change *changes, size_t n, struct change **batch)
{
	size_t bytes = 0, got = 0;

	for (size_t i = 0; i < n && got < BATCH_CHANGES; i++) {
		json_t *v;

		if (!open_one(&changes[i]))
			continue;
		v = as_json(&changes[i]);
		bytes += json_dumpb(v, NULL, 0, JSON_COMPACT) + 1;
		json_decref(v);
		if (bytes > BATCH_BYTES && got > 0)
			break;
		batch[got++] = &changes[i];
	}
	return got;
}

static int
send_batch(struct links *l, const char *router, struct change **batch, size_t n, json_t **data, struct err *e)
{
	json_t *list;

	if (n == 1)
		return link_call(l, router, batch[0]->method, json_incref(batch[0]->params), data, e);
	list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, as_json(batch[i]));
	return link_call(l, router, "txn.apply", json_pack("{s:o}", "changes", list), data, e);
}

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
	json_t *data = NULL;
	size_t got;
	int rc = 0;

	if (batch == NULL)
		return err_set(e, ENOMEM, "out of memory");
	while (rc == 0 && (got = next_batch(changes, n, batch)) > 0) {
		rc = send_batch(l, router, batch, got, &data, e);
		if (rc == 0)
			set_all(batch, got, TOLD_DONE);
		else if (rc == RPC_STALE_EPOCH && set_stale(batch, got, data))
			rc = 0;
		else
			set_all(batch, got, rc == LINK_DOWN ? TOLD_LOST : TOLD_REFUSED);
		json_decref(data);
		data = NULL;
	}
	free(batch);
	return rc == 0 ? 0 : e->code;
}
