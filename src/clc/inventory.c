/* SPDX-License-Identifier: BSD-3-Clause */
#include "inventory.h"

#include <api/fields.h>
#include <api/secret.h>
#include <api/yaml.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const words_access[] = {"nat", "routed", NULL};

static const struct field fields_clc[] = {
	{"name", F_NAME, REQ, AT(inv_clc, name),
		.help = "name of this controller, as the routers' control.controllers has it"},
	{"key-file", F_STRING, 0, AT(inv_clc, key_file), 1, 255, "/etc/nearway/clc.key",
		.help = "file with its private key, mode 0600, made by nearway-clc keygen"},
	{"state", F_STRING, 0, AT(inv_clc, state), 1, 255, "/var/lib/nearway/clc.db",
		.help = "database of its own state, on a disk that keeps it"},
	{"term", F_INT, 0, AT(inv_clc, term), 1, INT64_MAX, "1",
		.help = "number of this controller: raise it when another one takes over; routers refuse "
			"lower ones"},
	{"mac-prefix", F_STRING, 0, AT(inv_clc, mac_prefix), 8, 8, "02:56:4d",
		.help = "first three bytes of the MACs that it gives to VMs"},
	END,
};
static const struct kind kind_clc = {"clc", sizeof(struct inv_clc), fields_clc, "this controller"};

static const struct field fields_pool[] = {
	{"prefix", F_PREFIX4, KEYED, AT(inv_pool, prefix), 8, 32,
		.help = "global addresses, as the site's router has them in its pools"},
	END,
};
static const struct kind kind_pool = {
	"pool", sizeof(struct inv_pool), fields_pool, "global addresses of a site"};

static const struct field fields_route[] = {
	{"router", F_NAME, KEYED, AT(inv_route, router), .help = "a router on the user's side"},
	{"via", F_IP4, REQ, AT(inv_route, via), .help = "its next hop towards this site"},
	END,
};
static const struct kind kind_inv_route = {"route", sizeof(struct inv_route), fields_route,
	"where host routes of routed VMs at this site are written"};

static const struct field fields_site[] = {
	{"name", F_NAME, KEYED, AT(inv_site, name), .help = "name of the site"},
	{"router", F_NAME, REQ, AT(inv_site, router), .help = "its router"},
	{"pools", F_LIST, 0, AT(inv_site, pools), 0, 32, .kind = &kind_pool,
		.help = "global addresses of the site"},
	{"routes", F_LIST, 0, AT(inv_site, routes), 0, 16, .kind = &kind_inv_route,
		.help = "routers on the user's side that get a host route to each routed VM here"},
	END,
};
static const struct kind kind_site = {"site", sizeof(struct inv_site), fields_site, "a datacenter"};

static const struct field fields_router[] = {
	{"name", F_NAME, KEYED, AT(inv_router, name),
		.help = "name of the router, as its own configuration has it"},
	{"address", F_HOSTPORT, REQ, AT(inv_router, address), .help = "its control.listen"},
	{"key", F_KEY, REQ, AT(inv_router, key), .help = "its public static key"},
	{"old-key", F_KEY, 0, AT(inv_router, old_key),
		.help = "its public key before that, tried too while it changes over; none when left out"},
	{"psk", F_KEY, FIELD_SECRET, AT(inv_router, psk),
		.help = "pre-shared key with it, in addition; none when left out"},
	END,
};
static const struct kind kind_router = {
	"router", sizeof(struct inv_router), fields_router, "a router to drive"};

static const struct field fields_range[] = {
	{"first", F_IP4, REQ, AT(inv_range, first), .help = "first address to give"},
	{"last", F_IP4, REQ, AT(inv_range, last), .help = "last address to give"},
	END,
};
static const struct kind kind_range = {"range", sizeof(struct inv_range), fields_range, "addresses to give"};

static const struct field fields_segment[] = {
	{"name", F_NAME, KEYED, AT(inv_segment, name), .help = "name of the segment, as the routers have it"},
	{"prefix", F_PREFIX4, REQ, AT(inv_segment, prefix), 8, 30, .help = "addresses of the segment"},
	{"gateway", F_IP4, REQ, AT(inv_segment, gateway), .help = "its gateway, never given to a VM"},
	{"range", F_OBJECT, 0, AT(inv_segment, range), .kind = &kind_range,
		.help = "private addresses to give to VMs; all hosts of the prefix when left out"},
	{"access", F_ENUM, 0, AT(inv_segment, access), .def = "nat", .words = words_access,
		.help = "nat: VMs get global addresses of their site; routed: host routes at the sites' "
			"routes"},
	END,
};
static const struct kind kind_segment = {
	"segment", sizeof(struct inv_segment), fields_segment, "a layer 2 network of VMs"};

static const struct field fields_inventory[] = {
	{"clc", F_OBJECT, REQ, AT(inventory, clc), .kind = &kind_clc, .help = "this controller"},
	{"sites", F_LIST, REQ, AT(inventory, sites), 1, 64, .kind = &kind_site, .help = "datacenters"},
	{"routers", F_LIST, REQ, AT(inventory, routers), 1, 128, .kind = &kind_router,
		.help = "routers of the sites and of the user's side"},
	{"segments", F_LIST, REQ, AT(inventory, segments), 1, 256, .kind = &kind_segment,
		.help = "layer 2 networks of VMs"},
	END,
};
const struct kind kind_inventory = {"inventory", sizeof(struct inventory), fields_inventory, "clc.yaml"};

/* ---- look-ups ---- */

#define FIND(list, type, member, wanted)                                                \
	do {                                                                            \
		for (size_t find_i = 0; find_i < (list).n; find_i++)                    \
			if (strcmp(list_at(list, type, find_i)->member, (wanted)) == 0) \
				return list_at(list, type, find_i);                     \
		return NULL;                                                            \
	} while (0)

const struct inv_site *
inventory_site(const struct inventory *inv, const char *name)
{
	FIND(inv->sites, struct inv_site, name, name);
}

const struct inv_site *
inventory_site_of(const struct inventory *inv, const char *router)
{
	FIND(inv->sites, struct inv_site, router, router);
}

const struct inv_router *
inventory_router(const struct inventory *inv, const char *name)
{
	FIND(inv->routers, struct inv_router, name, name);
}

const struct inv_segment *
inventory_segment(const struct inventory *inv, const char *name)
{
	FIND(inv->segments, struct inv_segment, name, name);
}

bool
segment_is_routed(const struct inv_segment *s)
{
	return s->access == 1;
}

void
segment_range(const struct inv_segment *s, ip4 *first, ip4 *last)
{
	*first = s->range.first != 0 ? s->range.first : s->prefix.addr + 1;
	*last = s->range.last != 0 ? s->range.last : (s->prefix.addr | ~ip4_mask(s->prefix.len)) - 1;
}

/* ---- checks across fields ---- */

struct checker {
	const struct inventory *inv;
	const json_t *tree;
	const struct source *src;
	struct faults *f;
};

/* A fault at `list[i].member`, with its place in the file. */
static void
fault(struct checker *c, const char *list, size_t i, const char *member, const char *text, const char *what)
{
	const json_t *item = json_array_get(json_object_get(c->tree, list), i),
		     *v = json_object_get(item, member);
	char path[160];
	int line = 0, column = 0;

	source_find(c->src, v != NULL ? v : item, &line, &column);
	snprintf(path, sizeof(path), "%s[%zu].%s", list, i, member);
	faults_add(c->f, line, column, path, text, what);
}

static void
check_clc(struct checker *c)
{
	char text[MAC_TEXT];
	struct mac mac;
	int line = 0, column = 0;

	snprintf(text, sizeof(text), "%s:00:00:01", c->inv->clc.mac_prefix);
	if (mac_parse(text, &mac) == 0 && mac_is_unicast(&mac))
		return;
	source_find(c->src, json_object_get(json_object_get(c->tree, "clc"), "mac-prefix"), &line, &column);
	faults_add(c->f, line, column, "clc.mac-prefix",
		"must be three bytes of a unicast MAC such as 02:56:4d");
}

static bool
pools_overlap(const struct inv_site *a, const struct inv_site *b)
{
	for (size_t i = 0; i < a->pools.n; i++)
		for (size_t j = 0; j < b->pools.n; j++)
			if ((a != b || i < j) &&
				prefix4_overlap(&list_at(a->pools, struct inv_pool, i)->prefix,
					&list_at(b->pools, struct inv_pool, j)->prefix))
				return true;
	return false;
}

static void
check_site(struct checker *c, size_t i)
{
	const struct inv_site *s = list_at(c->inv->sites, struct inv_site, i);

	if (inventory_router(c->inv, s->router) == NULL)
		fault(c, "sites", i, "router", "no router %s under routers", s->router);
	else if (inventory_site_of(c->inv, s->router) != s)
		fault(c, "sites", i, "router", "router %s belongs to another site already", s->router);
	for (size_t k = 0; k < s->routes.n; k++) {
		const struct inv_route *r = list_at(s->routes, struct inv_route, k);

		if (inventory_router(c->inv, r->router) == NULL)
			fault(c, "sites", i, "routes", "no router %s under routers", r->router);
	}
	for (size_t k = 0; k <= i; k++)
		if (pools_overlap(list_at(c->inv->sites, struct inv_site, k), s))
			fault(c, "sites", i, "pools", "overlap with each other or with pools of site %s",
				list_at(c->inv->sites, struct inv_site, k)->name);
}

static void
check_segment(struct checker *c, size_t i)
{
	const struct inv_segment *s = list_at(c->inv->segments, struct inv_segment, i);
	ip4 first, last;

	segment_range(s, &first, &last);
	if (!prefix4_has(&s->prefix, s->gateway))
		fault(c, "segments", i, "gateway", "is outside %s", "the segment's prefix");
	if (!prefix4_has(&s->prefix, first) || !prefix4_has(&s->prefix, last) || first > last)
		fault(c, "segments", i, "range", "first to last must lie inside %s", "the segment's prefix");
}

int
inventory_load(const char *file, struct inventory *inv, struct faults *f)
{
	struct source *src = NULL;
	struct checker c = {.inv = inv, .f = f};
	json_t *tree;
	int rc = -EINVAL;

	secret_json_begin();
	tree = yaml_parse_file(file, &src, f);
	c.tree = tree;
	c.src = src;
	kind_init(&kind_inventory, inv);
	if (tree != NULL && kind_read(&kind_inventory, tree, src, inv, f) == 0) {
		check_clc(&c);
		for (size_t i = 0; i < inv->sites.n; i++)
			check_site(&c, i);
		for (size_t i = 0; i < inv->segments.n; i++)
			check_segment(&c, i);
		rc = f->n == 0 ? 0 : -EINVAL;
	}
	if (rc != 0)
		inventory_free(inv);
	source_free(src);
	json_decref(tree);
	secret_json_end();
	return rc;
}

void
inventory_free(struct inventory *inv)
{
	kind_fini(&kind_inventory, inv);
}
