/* SPDX-License-Identifier: BSD-3-Clause */
/* export.c - what this router shall have, in the words of state.replace: its VMs, then its run-time routes. */
#include "state.h"

#define ROWS_DEFAULT 1000
#define PAGE_BYTES   700000
#define ROUTES	     "/" /* begins the cursors of routes; no segment's name does */

static json_t *
address_json(ip4 private_ip, ip4 global_ip)
{
	char a[IP4_TEXT], b[IP4_TEXT];
	json_t *v = json_pack("{s:s}", "private", ip4_format(private_ip, a));

	if (global_ip)
		json_object_set_new(v, "global", json_string(ip4_format(global_ip, b)));
	return v;
}

/* Old addresses at other routers. What drains here itself nobody could be told: it ends with the state. */
static json_t *
old_json(struct core *c, const struct vm_state *s)
{
	json_t *old = json_array();

	for (unsigned int i = 0; i < s->fwd.n_drains; i++) {
		const struct fwd_drain *d = &s->fwd.drains[i];
		json_t *v;

		if (d->home == FWD_SELF)
			continue;
		v = address_json(d->private_ip, d->global_ip);
		json_object_set_new(v, "router", json_string(router_name(c, d->home)));
		json_object_set_new(v, "epoch", json_integer((json_int_t)s->drain[i].epoch));
		json_array_append_new(old, v);
	}
	return old;
}

static json_t *
vm_change(struct core *c, const struct vm_state *s)
{
	char mac[MAC_TEXT];
	json_t *addresses = json_array(), *old = old_json(c, s);
	json_t *p = json_pack("{s:s, s:s, s:I, s:o}", "segment", segment_at(c, s->fwd.segment)->name, "mac",
		mac_format(&s->fwd.mac, mac), "epoch", (json_int_t)s->epoch, "addresses", addresses);
	bool moved = json_array_size(old) > 0, direct = false;

	for (unsigned int i = 0; i < s->fwd.n_addresses; i++)
		json_array_append_new(addresses,
			address_json(s->fwd.addresses[i].private_ip, s->fwd.addresses[i].global_ip));
	for (unsigned int i = 0; i < s->fwd.n_drains; i++)
		direct |= s->fwd.drains[i].direct;
	if (direct)
		json_object_set_new(p, "sessions", json_string("direct"));
	if (moved) {
		json_object_set_new(p, "drain-min", json_integer((json_int_t)s->drain[0].min_ms));
		json_object_set_new(p, "drain-max", json_integer((json_int_t)s->drain[0].max_ms));
		json_object_set(p, "old", old);
	}
	json_decref(old);
	return json_pack("{s:s, s:o}", "method", moved ? "vm.move" : "vm.register", "params", p);
}

/* The cursor of what follows. */
static void
export_vms(struct core *c, const char *cursor, size_t limit, json_t *rows, char next[64])
{
	size_t n = HASH_COUNT(c->vms), i = vm_sorted(c, cursor), bytes = 0;

	for (; i < n && json_array_size(rows) < limit && bytes < PAGE_BYTES; i++) {
		const struct vm_state *s = vm_settled(c, c->sorted[i]);

		if (!s || s->deleted || s->fwd.owner != FWD_SELF)
			continue;
		json_array_append_new(rows, vm_change(c, s));
		bytes += 200 + 100 * s->fwd.n_addresses + 150 * s->fwd.n_drains;
	}
	if (i < n && i > 0)
		vm_key_text(c, c->sorted[i - 1]->key.segment, &c->sorted[i - 1]->key.mac, next);
	else
		snprintf(next, 64, ROUTES);
}

static int
by_key(const void *a, const void *b)
{
	uint64_t x = (*(const struct route_obj *const *)a)->key,
		 y = (*(const struct route_obj *const *)b)->key;

	return x < y ? -1 : x > y;
}

static void
export_routes(struct core *c, const char *cursor, size_t limit, json_t *rows, char next[64])
{
	struct route_obj **all = zalloc((HASH_COUNT(c->routes) + 1) * sizeof(*all)), *o;
	uint64_t after = strtoull(cursor, NULL, 16);
	size_t n = 0, i;

	for (o = c->routes; o; o = o->hh.next)
		if (o->has_run && (cursor[0] == '\0' || o->key > after))
			all[n++] = o;
	qsort(all, n, sizeof(*all), by_key);
	for (i = 0; i < n && json_array_size(rows) < limit; i++)
		json_array_append_new(rows, json_pack("{s:s, s:o}", "method", "route.replace", "params",
						    kind_write(&kind_route, &all[i]->run)));
	if (i < n && i > 0)
		snprintf(next, 64, ROUTES "%" PRIx64, all[i - 1]->key);
	free(all);
}

json_t *
state_export(struct core *c, const struct show_params *p)
{
	size_t limit = p->limit ? p->limit : ROWS_DEFAULT;
	bool routes = strncmp(p->cursor, ROUTES, strlen(ROUTES)) == 0;
	json_t *rows = json_array(), *v;
	char next[64] = "";

	if (routes)
		export_routes(c, p->cursor + strlen(ROUTES), limit, rows, next);
	else
		export_vms(c, p->cursor, limit, rows, next);
	v = json_pack("{s:s, s:I, s:o}", "router", c->conf->router.name, "revision",
		(json_int_t)c->live_revision, "rows", rows);
	if (next[0])
		json_object_set_new(v, "next", json_string(next));
	return v;
}
