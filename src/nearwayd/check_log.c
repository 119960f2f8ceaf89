/* SPDX-License-Identifier: BSD-3-Clause */
#include "check_log.h"

#include <api/chain.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <store/store.h>
#include <string.h>

struct look {
	struct chain before, last, at;
	bool has_ends, wrong;
	char why[160];
};

static bool
read_end(const json_t *ends, const char *number, const char *hash, struct chain *out)
{
	const char *text = json_string_value(json_object_get(ends, hash));

	out->number = (uint64_t)json_integer_value(json_object_get(ends, number));
	return text != NULL && chain_hash_parse(text, out->hash);
}

static bool
read_ends(struct look *l, const char *text)
{
	json_t *ends = json_loads(text, 0, NULL);

	l->has_ends =
		read_end(ends, "before", "anchor", &l->before) && read_end(ends, "last", "hash", &l->last);
	l->at = l->before;
	json_decref(ends);
	return l->has_ends;
}

static int
wrong(struct look *l, uint64_t number, const char *why)
{
	l->wrong = true;
	snprintf(l->why, sizeof(l->why), "entry %" PRIu64 ": %s", number, why);
	return -EINVAL;
}

static int
take(void *arg, const struct env_row *r)
{
	struct look *l = arg;
	uint64_t number = strtoull(r->key, NULL, 10);
	char why[100];

	if (strcmp(r->kind, "meta") == 0)
		return read_ends(l, r->value) ? 0 : wrong(l, 0, "the ends of the log are damaged");
	if (!l->has_ends)
		return wrong(l, number, "there is nothing that says where the log begins and ends");
	if (number > l->last.number)
		return wrong(l, number, "it stands behind the end that was written");
	return chain_follow(&l->at, r->value, why, sizeof(why)) ? 0 : wrong(l, number, why);
}

int
check_log(const char *file, struct err *e)
{
	struct look l = {0};
	char hash[CHAIN_HASH_TEXT];
	int rc = store_look_log(file, take, &l, e);

	if (rc != 0)
		return rc;
	if (!l.wrong && memcmp(&l.at, &l.last, sizeof(l.at)) != 0)
		wrong(&l, l.last.number, "the log ends before it, or with another one");
	if (l.wrong)
		return err_set(e, EINVAL, "%s: the log was altered: %s", file, l.why);
	printf("%s: the log is whole: entries %" PRIu64 " to %" PRIu64 ", the last one's hash is %s\n", file,
		l.before.number + 1, l.last.number, chain_hash_text(l.last.hash, hash));
	return 0;
}
