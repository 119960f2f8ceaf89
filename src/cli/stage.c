/* SPDX-License-Identifier: BSD-3-Clause */
#include "stage.h"

#include <api/items.h>
#include <errno.h>

struct stage {
	struct session *s;
	const json_t *changes;
	json_int_t txn, part;
	struct items_hash hash;
	struct err *e;
};

/* As session_call(); takes `params`. */
static int
stage_send(struct stage *g, const char *method, json_t *params, json_t **reply)
{
	int rc;

	*reply = NULL;
	if (params == NULL)
		return err_set(g->e, ENOMEM, "out of memory");
	rc = session_call(g->s, method, params, reply, g->e);
	json_decref(params);
	return rc;
}

static int
send_parts(struct stage *g, json_t **reply)
{
	size_t i = 0;

	while (i < json_array_size(g->changes)) {
		json_t *part = items_part(&g->hash, g->changes, &i);
		int rc;

		if (part == NULL)
			return err_set(g->e, EINVAL,
				"change %zu has a character that is not printable ASCII, or a fraction", i);
		json_decref(*reply);
		rc = stage_send(g, "txn.add",
			json_pack("{s:I, s:I, s:o}", "txn", g->txn, "part", ++g->part, "changes", part),
			reply);
		if (rc != 0 || json_object_get(*reply, "error") != NULL)
			return rc;
	}
	return 0;
}

static int
send_commit(struct stage *g, const json_t *commit, json_t **reply)
{
	json_t *params =
		json_pack("{s:I, s:I}", "txn", g->txn, "count", (json_int_t)json_array_size(g->changes));
	char hash[ITEMS_HASH_TEXT];

	items_hash_text(&g->hash, hash);
	json_object_set_new(params, "sha256", json_string(hash));
	if (commit != NULL)
		json_object_update(params, (json_t *)(uintptr_t)commit);
	json_decref(*reply);
	return stage_send(g, "txn.commit", params, reply);
}

int
stage_call(struct session *s, const json_t *changes, const json_t *open, const json_t *commit, json_t **reply,
	struct err *e)
{
	struct stage g = {.s = s, .changes = changes, .e = e};
	int rc = stage_send(&g, "txn.open", open != NULL ? json_deep_copy(open) : json_object(), reply);

	if (rc != 0 || json_object_get(*reply, "error") != NULL)
		return rc;
	items_hash_init(&g.hash);
	g.txn = json_integer_value(json_object_get(json_object_get(*reply, "result"), "txn"));
	rc = send_parts(&g, reply);
	if (rc == 0 && json_object_get(*reply, "error") == NULL)
		rc = send_commit(&g, commit, reply);
	return rc;
}
