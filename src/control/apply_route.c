/* SPDX-License-Identifier: BSD-3-Clause */
/* apply_route.c - route.replace and route.delete over the routes of the configuration. */
#include "state.h"

#include <errno.h>

static uint64_t
route_key(const struct prefix4 *p)
{
	return (uint64_t)p->addr << 8 | p->len;
}

struct route_obj *
route_find(struct core *c, const struct prefix4 *p)
{
	uint64_t key = route_key(p);
	struct route_obj *o;

	HASH_FIND(hh, c->routes, &key, sizeof(key), o);
	return o;
}

static struct route_obj *
route_get(struct core *c, const struct prefix4 *p)
{
	struct route_obj *o = route_find(c, p);

	if (o)
		return o;
	o = zalloc(sizeof(*o));
	o->key = route_key(p);
	HASH_ADD(hh, c->routes, key, sizeof(o->key), o);
	return o;
}

struct prefix4
route_prefix(const struct route_obj *o)
{
	return (struct prefix4){(ip4)(o->key >> 8), (uint8_t)o->key};
}

const struct route *
route_live(const struct route_obj *o)
{
	return o->has_run ? &o->run : o->has_conf ? &o->conf : NULL;
}

static int
port_index(struct core *c, const char *name)
{
	for (size_t i = 0; i < c->conf->ports.n; i++)
		if (strcmp(list_at(c->conf->ports, const struct conf_port, i)->name, name) == 0)
			return (int)i;
	return -1;
}

void
route_fwd(struct core *c, const struct route *r, struct fwd_route *out)
{
	*out = (struct fwd_route){.prefix = r->prefix, .via = r->via, .blackhole = r->blackhole};
	out->port = r->port[0] ? (int16_t)port_index(c, r->port) : -1;
	if (!r->via && !r->port[0])
		out->blackhole = true;
}

static int
route_check(struct core *c, const struct route *r, struct fail *f)
{
	struct err e;

	return config_check_route(c->conf, r, &e) < 0 ? fail(f, RPC_INVALID_PARAMS, "%s", e.text) : 0;
}

static bool
same_route(const struct route *a, const struct route *b)
{
	return a->via == b->via && a->blackhole == b->blackhole && strcmp(a->port, b->port) == 0;
}

static void
route_log(struct core *c, struct route_obj *o)
{
	struct undo *u = txn_log(c);

	u->kind = UNDO_ROUTE;
	u->route = o;
	u->old.route.has_conf = o->has_conf;
	u->old.route.conf = o->conf;
	u->old.route.has_run = o->has_run;
	u->old.route.run = o->run;
	u->old.route.revision = o->revision;
	txn_touch(c, &o->touched);
}

static void
route_set(struct core *c, struct route_obj *o, bool has_run, const struct route *run)
{
	route_log(c, o);
	o->has_run = has_run;
	o->revision = c->revision + 1;
	if (run)
		o->run = *run;
	txn_count(c);
}

/* The object stays when it has become empty: another log entry may name it, and it tells who asks that it is gone.
 * routes_trim() and the next start drop it. */
void
route_undo(const struct undo *u)
{
	u->route->has_conf = u->old.route.has_conf;
	u->route->conf = u->old.route.conf;
	u->route->has_run = u->old.route.has_run;
	u->route->run = u->old.route.run;
	u->route->revision = u->old.route.revision;
}

int
apply_route_replace(struct core *c, const struct route *p, json_t *out, struct fail *f)
{
	struct route_obj *o;
	int rc = route_check(c, p, f);

	(void)out;
	if (rc != 0)
		return rc;
	o = route_get(c, &p->prefix);
	if (!route_live(o) || !same_route(route_live(o), p))
		route_set(c, o, true, p);
	return 0;
}

int
apply_route_delete(struct core *c, const struct route_key_params *p, json_t *out, struct fail *f)
{
	struct route_obj *o = route_find(c, &p->prefix);
	char prefix[PREFIX4_TEXT];

	(void)out;
	if (o && o->has_run) {
		route_set(c, o, false, NULL);
		return 0;
	}
	if (o && o->has_conf)
		return fail(f, RPC_CONFLICT, "route %s is in the configuration file: remove it there",
			prefix4_format(&p->prefix, prefix));
	return 0; /* as asked already */
}

void
route_row(const struct route_obj *o, struct env_row *row)
{
	struct prefix4 p = route_prefix(o);
	char prefix[PREFIX4_TEXT];

	row_set(row, "route", prefix4_format(&p, prefix), o->has_run ? route_json(o) : NULL);
}

int
routes_configure(struct core *c, struct err *e)
{
	for (size_t i = 0; i < c->conf->routes.n; i++) {
		const struct route *r = list_at(c->conf->routes, const struct route, i);
		struct fail f = {0};
		struct route_obj *o;

		if (route_check(c, r, &f) != 0)
			return err_set(e, EINVAL, "routes[%zu]: %s", i, f.text);
		o = route_get(c, &r->prefix);
		o->has_conf = true;
		o->conf = *r;
	}
	return 0;
}

static const struct route *
route_in(const struct list *routes, const struct route_obj *o)
{
	for (size_t i = 0; i < routes->n; i++)
		if (route_key(&list_at(*routes, const struct route, i)->prefix) == o->key)
			return list_at(*routes, const struct route, i);
	return NULL;
}

void
routes_follow(struct core *c, const struct list *routes)
{
	for (struct route_obj *o = c->routes; o; o = o->hh.next) {
		if (!o->has_conf || route_in(routes, o))
			continue;
		route_log(c, o);
		o->has_conf = false;
	}
	for (size_t i = 0; i < routes->n; i++) {
		const struct route *r = list_at(*routes, const struct route, i);
		struct route_obj *o = route_get(c, &r->prefix);

		if (o->has_conf && same_route(&o->conf, r))
			continue;
		route_log(c, o);
		o->has_conf = true;
		o->conf = *r;
	}
}

int
route_load(struct core *c, const struct env_row *row, struct fail *f)
{
	json_t *v = row_json(row, f);
	struct faults faults;
	char prefix[PREFIX4_TEXT];
	struct err e = {0};
	uint64_t revision;
	struct route r;
	int rc;

	if (!v)
		return f->code;
	revision = row_revision(v);
	faults_init(&faults);
	rc = kind_read(&kind_route, v, NULL, &r, &faults);
	if (rc != 0) {
		faults_err(&faults, &e);
		fail(f, RPC_INVALID_PARAMS, "%s", e.text);
	} else {
		rc = row_check_key(row, prefix4_format(&r.prefix, prefix), f);
		rc = rc ? rc : apply_route_replace(c, &r, NULL, f);
	}
	if (rc == 0)
		route_find(c, &r.prefix)->revision = revision;
	faults_fini(&faults);
	json_decref(v);
	return rc;
}

void
routes_free(struct core *c)
{
	struct route_obj *o, *next;

	HASH_ITER (hh, c->routes, o, next) {
		HASH_DEL(c->routes, o);
		free(o);
	}
}
