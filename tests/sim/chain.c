/* SPDX-License-Identifier: BSD-3-Clause */
/* chain.c - the log that a node has stored, verified from one end to the other. */
#include "world.h"

#include <stdio.h>
#include <string.h>

static bool
get_end(const json_t *ends, const char *number, const char *hash, struct chain *out)
{
	const char *text = json_string_value(json_object_get(ends, hash));

	out->number = (uint64_t)json_integer_value(json_object_get(ends, number));
	return text && chain_hash_parse(text, out->hash);
}

/* What is wrong, or "". */
static void
look(struct node *n, const json_t *ends, char why[100])
{
	struct chain at, last;
	const char *text;
	char key[24];

	if (!get_end(ends, "before", "anchor", &at) || !get_end(ends, "last", "hash", &last)) {
		strcpy(why, "its ends are not stored");
		return;
	}
	if (stored_count(n, "log") != last.number - at.number)
		strcpy(why, "there are not as many entries as its ends say");
	while (at.number < last.number && !why[0]) {
		snprintf(key, sizeof(key), "%020" PRIu64, at.number + 1);
		text = stored_row(n, "log", key);
		if (!text)
			strcpy(why, "an entry is missing");
		else
			chain_follow(&at, text, why, 100);
	}
	if (!why[0] && memcmp(&at, &last, sizeof(at)) != 0)
		strcpy(why, "its end is not that which was written");
}

bool
log_is_whole(struct node *n)
{
	const char *text = stored_row(n, "meta", "log");
	json_t *ends = text ? json_loads(text, 0, NULL) : NULL;
	char why[100] = "";

	if (text)
		look(n, ends, why);
	else if (stored_count(n, "log") > 0)
		strcpy(why, "its ends are not stored");
	json_decref(ends);
	if (!why[0])
		return true;
	snprintf(n->w->why, sizeof(n->w->why), "%s: the log: %s", n->name, why);
	return false;
}
