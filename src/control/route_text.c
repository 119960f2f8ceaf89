/* SPDX-License-Identifier: BSD-3-Clause */
/* route_text.c - run-time routes as others see them: with their revision, and what changed since one. */
#include "state.h"

#define REMOVED_KEPT 10000 /* run-time routes that are gone and still told of */
#define ROWS_DEFAULT 1000

struct settled { /* live and durable */
	bool has_run;
	const struct route *run;
	uint64_t revision;
};

static struct settled
route_settled(const struct core *c, const struct route_obj *o)
{
	const struct undo *u = txn_before(c, &o->touched);

	if (u)
		return (struct settled){u->old.route.has_run, &u->old.route.run, u->old.route.revision};
	return (struct settled){o->has_run, &o->run, o->revision};
}

static json_t *
number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

json_t *
route_json(const struct route_obj *o)
{
	json_t *v;

	if (!o->has_run)
		return json_pack("{s:I}", "revision", (json_int_t)0);
	v = kind_write(&kind_route, &o->run);
	json_object_set_new(v, "revision", number(o->revision));
	return v;
}

void
route_json_revision(struct core *c, json_t *row)
{
	const char *text = json_string_value(json_object_get(row, "prefix"));
	struct route_obj *o;
	struct prefix4 p;

	if (!text || prefix4_parse(text, &p) != 0 || (o = route_find(c, &p)) == NULL)
		return;
	if (route_settled(c, o).has_run)
		json_object_set_new(row, "revision", number(route_settled(c, o).revision));
}

/* ---- what changed ---- */

static int
by_key(const void *pa, const void *pb)
{
	const struct route_obj *a = *(struct route_obj *const *)pa, *b = *(struct route_obj *const *)pb;

	return a->key < b->key ? -1 : a->key > b->key;
}

/* Those that changed, by prefix; the caller frees. */
static struct route_obj **
changed_since(struct core *c, uint64_t since, size_t *n)
{
	struct route_obj **all = zalloc((HASH_COUNT(c->routes) + 1) * sizeof(struct route_obj *)), *o;

	*n = 0;
	for (o = c->routes; o; o = o->hh.next)
		if (route_settled(c, o).revision > since)
			all[(*n)++] = o;
	qsort(all, *n, sizeof(struct route_obj *), by_key);
	return all;
}

static json_t *
changed_json(struct core *c, const struct route_obj *o)
{
	struct settled s = route_settled(c, o);
	struct prefix4 p = route_prefix(o);
	char prefix[PREFIX4_TEXT];
	json_t *v = s.has_run
			    ? kind_write(&kind_route, s.run)
			    : json_pack("{s:s, s:b}", "prefix", prefix4_format(&p, prefix), "deleted", true);

	json_object_set_new(v, "revision", number(s.revision));
	return v;
}

json_t *
routes_since(struct core *c, const struct show_params *p)
{
	size_t n, i = 0, limit = p->limit ? p->limit : ROWS_DEFAULT;
	struct route_obj **all = changed_since(c, p->since, &n);
	json_t *rows = json_array(), *v = json_pack("{s:o}", "rows", rows);
	struct prefix4 cursor = {0};
	char next[PREFIX4_TEXT];

	if (p->since < c->routes_from)
		json_object_set_new(
			v, "resync", json_string("routes that were removed since are not remembered"));
	if (p->cursor[0] && prefix4_parse(p->cursor, &cursor) == 0)
		while (i < n && all[i]->key <= ((uint64_t)cursor.addr << 8 | cursor.len))
			i++;
	for (; i < n && json_array_size(rows) < limit; i++)
		json_array_append_new(rows, changed_json(c, all[i]));
	if (i < n && i > 0) {
		cursor = route_prefix(all[i - 1]);
		json_object_set_new(v, "next", json_string(prefix4_format(&cursor, next)));
	}
	free(all);
	return v;
}

/* ---- forgetting ---- */

static bool
is_empty(const struct route_obj *o)
{
	return !o->has_run && !o->has_conf;
}

void
routes_trim(struct core *c)
{
	struct route_obj *o, *next;
	size_t empty = 0;

	if (HASH_COUNT(c->routes) <= c->routes_swept + REMOVED_KEPT)
		return;
	for (o = c->routes; o; o = o->hh.next)
		empty += is_empty(o);
	if (empty > REMOVED_KEPT) {
		c->routes_from = c->revision;
		HASH_ITER (hh, c->routes, o, next) {
			if (!is_empty(o))
				continue;
			HASH_DEL(c->routes, o);
			free(o);
		}
	}
	c->routes_swept = HASH_COUNT(c->routes);
}
