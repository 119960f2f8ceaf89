/* SPDX-License-Identifier: BSD-3-Clause */
/* config.c - what must be true between the fields of nearway.yaml.
 *
 * A field that could not be read is unset (kind_read_partial): such a one is skipped, its own fault has been
 * told. So one look at a file names all of its faults.
 */
#include "config_priv.h"
#include "yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *
path_text(char buf[96], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, 96, fmt, ap);
	va_end(ap);
	return buf;
}

void
bad(struct check *k, const char *path, const char *fmt, ...)
{
	char text[320];
	int line, column;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	source_find_path(k->src, k->tree, path, &line, &column);
	faults_add(k->f, line, column, path, "%s", text);
	k->n++;
}

bool
is_given(const struct check *k, const char *path)
{
	return tree_at(k->tree, path) != NULL;
}

bool
mac_is_set(const struct mac *m)
{
	static const struct mac none;

	return !mac_equal(m, &none);
}

struct prefix4
connected(const struct conf_port *p)
{
	return (struct prefix4){p->address.addr & ip4_mask(p->address.len), p->address.len};
}

bool
is_wan(const struct conf_port *p)
{
	return p->role == PORT_WAN && p->address.len != 0;
}

const struct conf_port *
port_find(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->ports.n; i++)
		if (strcmp(PORT(c, i)->name, name) == 0)
			return PORT(c, i);
	return NULL;
}

bool
ports_known(const struct config *c)
{
	for (size_t i = 0; i < c->ports.n; i++) {
		const struct conf_port *p = PORT(c, i);

		if (p->name[0] == '\0' || p->role < 0 || (p->role == PORT_WAN && p->address.len == 0))
			return false;
	}
	return c->ports.n > 0;
}

const struct conf_port *
port_of_address(const struct config *c, ip4 a)
{
	for (size_t i = 0; i < c->ports.n; i++)
		if (is_wan(PORT(c, i)) && PORT(c, i)->address.addr == a)
			return PORT(c, i);
	return NULL;
}

static const struct conf_port *
port_connected_to(const struct config *c, ip4 a)
{
	for (size_t i = 0; i < c->ports.n; i++) {
		struct prefix4 p = connected(PORT(c, i));

		if (is_wan(PORT(c, i)) && prefix4_has(&p, a))
			return PORT(c, i);
	}
	return NULL;
}

void
check_port_ref(struct check *k, const char *path, const char *name, enum port_role role)
{
	const struct conf_port *p = port_find(k->c, name);
	const char *want = role == PORT_WAN ? "wan" : "dc";

	if (name[0] == '\0')
		return;
	if (p == NULL && ports_known(k->c))
		bad(k, path, "there is no port \"%s\"; name one of ports with role: %s", name, want);
	else if (p != NULL && p->role >= 0 && p->role != (int)role)
		bad(k, path, "port \"%s\" has role: %s; name one with role: %s", name,
			role == PORT_WAN ? "dc" : "wan", want);
}

bool
is_edge(const struct prefix4 *p, ip4 a)
{
	return p->len <= 30 && (a == (p->addr & ip4_mask(p->len)) || a == (p->addr | ~ip4_mask(p->len)));
}

/* ---- router, dataplane, control, drain ---- */

static void
check_router(struct check *k)
{
	const struct conf_router *r = &k->c->router;

	if (r->name[0] == '\0')
		return;
	if (r->vtep != 0 && ports_known(k->c) && port_of_address(k->c, r->vtep) == NULL)
		bad(k, "router.vtep", "%s is not the address of a port with role: wan", IP(r->vtep));
	if (!is_given(k, "router.vtep") && k->c->peers.n > 0 && k->c->segments.n > 0)
		bad(k, "router.vtep", "missing; with peers it must be the address of a port with role: wan");
	for (size_t i = 0; i < k->c->segments.n; i++)
		if (mac_is_set(&r->mac) && mac_equal(&r->mac, &SEG(k->c, i)->gateway.mac))
			bad(k, PATH("segments[%zu].gateway.mac", i),
				"%s is router.mac too; a gateway's MAC must differ from every router's",
				MAC(&r->mac));
}

int
cpus_parse(const char *text, uint16_t *cpus, size_t max)
{
	size_t n = 0;

	for (const char *p = text;; p++) {
		unsigned long first, last;
		char *end;

		if (*p < '0' || *p > '9')
			return -EINVAL;
		first = last = strtoul(p, &end, 10);
		if (*end == '-') {
			if (end[1] < '0' || end[1] > '9')
				return -EINVAL;
			last = strtoul(end + 1, &end, 10);
		}
		if (last > CPU_MAX || first > last)
			return -EINVAL;
		for (; first <= last; first++) {
			for (size_t i = 0; i < n; i++)
				if (cpus[i] == first)
					return -EINVAL;
			if (n == max)
				return -ENOSPC;
			cpus[n++] = (uint16_t)first;
		}
		if (*end == '\0')
			return (int)n;
		if (*end != ',')
			return -EINVAL;
		p = end;
	}
}

static void
check_cpus(struct check *k)
{
	const struct conf_dataplane *d = &k->c->dataplane;
	uint16_t cpus[CPU_MAX + 1];
	int n = cpus_parse(d->cpus, cpus, sizeof(cpus) / sizeof(cpus[0]));

	if (n < 0)
		bad(k, "dataplane.cpus",
			"\"%s\" is not a list of CPUs; allowed: numbers from 0 to 1023 and ranges, each "
			"once, such as "
			"1 or 2-5,8",
			d->cpus);
	for (int i = 0; i < n; i++)
		if (cpus[i] == d->control_cpu &&
			d->poll == POLL_BUSY) /* a worker that spins leaves it no time */
			bad(k, "dataplane.control-cpu",
				"%u is one of cpus; take another one, or poll: adaptive", cpus[i]);
}

uint64_t
config_group_mtu(const struct config *c)
{
	uint64_t least = config_wan_mtu(c);

	for (size_t i = 0; i < c->peers.n; i++) {
		const struct conf_peer *p = PEER(c, i);

		if (!p->removed && p->mtu != 0 && p->mtu < least)
			least = p->mtu;
	}
	return least;
}

uint64_t
config_wan_mtu(const struct config *c)
{
	uint64_t least = UINT16_MAX;

	for (size_t i = 0; i < c->ports.n; i++)
		if (PORT(c, i)->role == PORT_WAN && PORT(c, i)->mtu < least)
			least = PORT(c, i)->mtu;
	return least;
}

/* An address where strangers may call: the kernel's, and nobody's of the data plane. */
static void
check_management(struct check *k, const char *path, const char *address)
{
	char host[HOSTPORT_LEN + 1];
	const struct conf_port *p;
	ip4 a;

	snprintf(host, sizeof(host), "%.*s", (int)strcspn(address, ":"), address);
	if (ip4_parse(host, &a) < 0)
		return;
	p = port_of_address(k->c, a);
	if (p != NULL)
		bad(k, path, "%s is the address of data port \"%s\"; take a management address of the kernel",
			host, p->name);
	else if (ip4_is_martian(a) && a >> 24 != 127)
		bad(k, path,
			"%s is not the address of one interface; take a management address of the kernel",
			host);
	for (size_t i = 0; i < k->c->segments.n; i++) {
		const struct conf_segment *s = SEG(k->c, i);

		if (s->prefix.len != 0 && prefix4_has(&s->prefix, a))
			bad(k, path,
				"%s is inside segment \"%s\"; take a management address that VMs cannot have",
				host, s->name);
	}
}

static void
check_listen(struct check *k)
{
	const struct conf_control *control = &k->c->control;
	const char *path = "control.listen";

	if (control->listen[0] == '\0' && !is_given(k, path) && config_callers(k->c) > 0)
		bad(k, path,
			"missing; controllers and peers need a management address and port, such as "
			"192.0.2.1:7411");
	check_management(k, path, control->listen);
	check_management(k, "control.metrics", control->metrics);
	if (control->metrics[0] != '\0' && strcmp(control->metrics, control->listen) == 0)
		bad(k, "control.metrics", "%s is control.listen already; take another port",
			control->metrics);
}

static void
check_drain(struct check *k)
{
	const struct conf_drain *d = &k->c->drain;
	char min[32], max[32];

	if (d->min_ms != UINT64_MAX && d->min_ms > d->max_ms)
		bad(k, "drain.min", "%s is more than drain.max (%s)", duration_to_text(d->min_ms, min),
			duration_to_text(d->max_ms, max));
}

/* ---- ports ---- */

static void
check_port(struct check *k, size_t i)
{
	const struct conf_port *p = PORT(k->c, i);

	for (size_t j = 0; j < i; j++)
		if (p->device[0] != '\0' && strcmp(p->device, PORT(k->c, j)->device) == 0)
			bad(k, PATH("ports[%zu].device", i),
				"is the device of port \"%s\" too; each has its own", PORT(k->c, j)->name);
	if (p->role == PORT_DC && p->address.len != 0)
		bad(k, PATH("ports[%zu].address", i),
			"is not allowed with role: dc; VMs reach the gateways of the segments");
	if (p->role == PORT_WAN && p->address.len != 0 && is_edge(&p->address, p->address.addr))
		bad(k, PATH("ports[%zu].address", i), "%s is the network or broadcast address of its prefix",
			IP(p->address.addr));
}

static void
check_port_prefix(struct check *k, size_t i)
{
	struct prefix4 mine = connected(PORT(k->c, i));

	for (size_t j = 0; is_wan(PORT(k->c, i)) && j < i; j++) {
		struct prefix4 other = connected(PORT(k->c, j));

		if (is_wan(PORT(k->c, j)) && prefix4_overlap(&mine, &other))
			bad(k, PATH("ports[%zu].address", i), "%s overlaps %s of port \"%s\"", PREFIX(&mine),
				PREFIX(&other), PORT(k->c, j)->name);
	}
}

static void
check_ports(struct check *k)
{
	for (size_t i = 0; i < k->c->ports.n; i++) {
		const char *path = PATH("ports[%zu].address", i);

		check_port(k, i);
		check_port_prefix(k, i);
		check_punt(k, i);
		if (PORT(k->c, i)->role == PORT_WAN && PORT(k->c, i)->address.len == 0 && !is_given(k, path))
			bad(k, path, "missing; a port with role: wan needs an address such as 192.0.2.1/30");
	}
}

/* ---- pools ---- */

static void
check_pool_overlap(struct check *k, size_t i)
{
	const struct conf_pool *p = POOL(k->c, i);

	for (size_t j = 0; j < i; j++)
		if (POOL(k->c, j)->prefix.len != 0 && prefix4_overlap(&p->prefix, &POOL(k->c, j)->prefix))
			bad(k, PATH("pools[%zu].prefix", i), "%s overlaps %s of pool \"%s\"",
				PREFIX(&p->prefix), PREFIX(&POOL(k->c, j)->prefix), POOL(k->c, j)->name);
	for (size_t j = 0; j < k->c->segments.n; j++)
		if (SEG(k->c, j)->prefix.len != 0 && prefix4_overlap(&p->prefix, &SEG(k->c, j)->prefix))
			bad(k, PATH("pools[%zu].prefix", i), "%s overlaps %s of segment \"%s\"",
				PREFIX(&p->prefix), PREFIX(&SEG(k->c, j)->prefix), SEG(k->c, j)->name);
}

static bool
inside(const struct prefix4 *p, const struct prefix4 *outer)
{
	return p->len >= outer->len && prefix4_has(outer, p->addr);
}

static void
check_pool_on_link(struct check *k, size_t i)
{
	const struct conf_pool *p = POOL(k->c, i);

	for (size_t j = 0; j < k->c->ports.n; j++) {
		struct prefix4 outer = connected(PORT(k->c, j));

		if (!is_wan(PORT(k->c, j)) || !inside(&p->prefix, &outer))
			continue;
		if (prefix4_has(&p->prefix, PORT(k->c, j)->address.addr))
			bad(k, PATH("pools[%zu].prefix", i), "%s holds the own address %s of port \"%s\"",
				PREFIX(&p->prefix), IP(PORT(k->c, j)->address.addr), PORT(k->c, j)->name);
		return;
	}
	if (ports_known(k->c))
		bad(k, PATH("pools[%zu].prefix", i),
			"%s is not part of the connected prefix of a wan port, as mode: on-link needs",
			PREFIX(&p->prefix));
}

static void
check_pool_routed(struct check *k, size_t i)
{
	const struct conf_pool *p = POOL(k->c, i);

	for (size_t j = 0; j < k->c->ports.n; j++) {
		struct prefix4 c = connected(PORT(k->c, j));

		if (is_wan(PORT(k->c, j)) && prefix4_overlap(&p->prefix, &c))
			bad(k, PATH("pools[%zu].prefix", i),
				"%s overlaps %s of port \"%s\"; use mode: on-link", PREFIX(&p->prefix),
				PREFIX(&c), PORT(k->c, j)->name);
	}
}

static void
check_pools(struct check *k)
{
	for (size_t i = 0; i < k->c->pools.n; i++) {
		const struct conf_pool *p = POOL(k->c, i);

		if (p->prefix.len == 0)
			continue;
		check_pool_overlap(k, i);
		if (p->mode == POOL_ON_LINK)
			check_pool_on_link(k, i);
		else if (p->mode == POOL_ROUTED)
			check_pool_routed(k, i);
	}
}

/* ---- peers ---- */

static void
check_peer_macs(struct check *k, size_t i)
{
	const struct conf_peer *p = PEER(k->c, i);
	const char *path = PATH("peers[%zu].mac", i);

	if (!mac_is_set(&p->mac))
		return;
	if (mac_equal(&p->mac, &k->c->router.mac))
		bad(k, path, "%s is router.mac too; each router has its own", MAC(&p->mac));
	for (size_t j = 0; j < i; j++)
		if (mac_equal(&p->mac, &PEER(k->c, j)->mac))
			bad(k, path, "%s is the MAC of peer \"%s\" too; each router has its own",
				MAC(&p->mac), PEER(k->c, j)->name);
	for (size_t j = 0; j < k->c->segments.n; j++)
		if (mac_equal(&p->mac, &SEG(k->c, j)->gateway.mac))
			bad(k, path, "%s is the gateway MAC of segment \"%s\" too; a router's must differ",
				MAC(&p->mac), SEG(k->c, j)->name);
}

static void
check_peer_vtep(struct check *k, size_t i)
{
	const struct conf_peer *p = PEER(k->c, i);
	const char *path = PATH("peers[%zu].vtep", i);

	if (p->vtep == 0)
		return;
	if (p->vtep == k->c->router.vtep || port_of_address(k->c, p->vtep) != NULL)
		bad(k, path, "%s is an address of this router", IP(p->vtep));
	for (size_t j = 0; j < i; j++)
		if (p->vtep == PEER(k->c, j)->vtep)
			bad(k, path, "%s is the VTEP of peer \"%s\" too; each has its own", IP(p->vtep),
				PEER(k->c, j)->name);
}

static void
check_peers(struct check *k)
{
	for (size_t i = 0; i < k->c->peers.n; i++) {
		check_peer_macs(k, i);
		check_peer_vtep(k, i);
	}
}

/* ---- routes ---- */

static int
check_route_port(const struct config *c, const struct route *r, struct err *e)
{
	const struct conf_port *p = port_find(c, r->port);

	if (p == NULL && ports_known(c))
		return err_set(
			e, EINVAL, "there is no port \"%s\"; name one of ports with role: wan", r->port);
	if (p != NULL && p->role == PORT_DC)
		return err_set(e, EINVAL, "port \"%s\" has role: dc; name one with role: wan", r->port);
	return 0;
}

static bool
same_prefix(const struct prefix4 *a, const struct prefix4 *b)
{
	return a->len == b->len && a->addr == b->addr;
}

/* What the router itself put into the table is no route of anybody's. */
static int
check_route_prefix(const struct config *c, const struct route *r, struct err *e)
{
	for (size_t i = 0; i < c->ports.n; i++) {
		struct prefix4 p = connected(PORT(c, i));

		if (is_wan(PORT(c, i)) && same_prefix(&p, &r->prefix))
			return err_set(e, EINVAL, "%s is the connected prefix of port \"%s\"", PREFIX(&p),
				PORT(c, i)->name);
	}
	for (size_t i = 0; i < c->segments.n; i++) {
		const struct prefix4 *p = &SEG(c, i)->prefix;

		if (p->len != 0 && same_prefix(p, &r->prefix))
			return err_set(
				e, EINVAL, "%s is the prefix of segment \"%s\"", PREFIX(p), SEG(c, i)->name);
	}
	return 0;
}

/* *field: where the fault is, or NULL. */
static int
check_route(const struct config *c, const struct route *r, const char **field, struct err *e)
{
	*field = "prefix";
	if (check_route_prefix(c, r, e) < 0)
		return -EINVAL;
	*field = "port";
	if (r->port[0] != '\0' && check_route_port(c, r, e) < 0)
		return -EINVAL;
	*field = "blackhole";
	if (r->blackhole && (r->via != 0 || r->port[0] != '\0'))
		return err_set(e, EINVAL, "a blackhole has neither via nor port");
	*field = "via";
	if (r->via != 0 && port_of_address(c, r->via) != NULL)
		return err_set(e, EINVAL, "%s is an address of this router", IP(r->via));
	if (r->via != 0 && r->port[0] == '\0' && ports_known(c) && port_connected_to(c, r->via) == NULL)
		return err_set(e, EINVAL, "%s is not on the connected prefix of a wan port; give port too",
			IP(r->via));
	*field = NULL;
	if (!r->blackhole && r->via == 0 && r->port[0] == '\0')
		return err_set(e, EINVAL, "a route needs via, port or blackhole: on");
	return 0;
}

int
config_check_route(const struct config *c, const struct route *r, struct err *e)
{
	const char *field;

	return check_route(c, r, &field, e);
}

static void
check_routes(struct check *k)
{
	for (size_t i = 0; i < k->c->routes.n; i++) {
		const char *field;
		struct err e;

		if (check_route(k->c, ROUTE(k->c, i), &field, &e) == 0)
			continue;
		if (field != NULL)
			bad(k, PATH("routes[%zu].%s", i, field), "%s", e.text);
		else if (!is_given(k, PATH("routes[%zu].via", i)) &&
			 !is_given(k, PATH("routes[%zu].port", i)))
			bad(k, PATH("routes[%zu]", i), "%s", e.text);
	}
}

int
config_check(const struct config *c, const json_t *tree, const struct source *src, struct faults *f)
{
	struct check k = {.c = c, .tree = tree, .src = src, .f = f};

	check_router(&k);
	check_cpus(&k);
	check_listen(&k);
	check_callers(&k);
	check_drain(&k);
	check_ports(&k);
	check_segments(&k);
	check_pools(&k);
	check_peers(&k);
	check_routes(&k);
	return k.n == 0 ? 0 : -EINVAL;
}

static void
check_config(const void *obj, const json_t *tree, const struct source *src, struct faults *f)
{
	config_check(obj, tree, src, f);
}

int
config_load(const char *file, struct config *c, struct faults *f)
{
	return yaml_load(&kind_config, file, c, check_config, f);
}
