/* SPDX-License-Identifier: BSD-3-Clause */
#include "fwd.h"

#include "announce.h"
#include "dp.h"
#include "neighs.h"
#include "topo.h"

#include <common/log.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define WARM_MS 1000 /* a route waits so long for its next hop to answer, while there is another way */

/* A route with a next hop, to know which neighbour to leave when it changes. */
struct hop {
	struct { /* no padding: hashed as bytes */
		rte_be32_t addr;
		uint32_t len;
	} key;
	uint16_t port;
	rte_be32_t via;
	UT_hash_handle hh;
};

struct route_change {
	rte_be32_t addr;
	uint8_t len;
	bool del;
	struct nexthop nh;
	struct hop *
		hop; /* a new next hop: made and kept by prepare, so that publish needs no memory and no answer */
	bool replaces; /* what it matches has another way until then */
};

struct fwd_txn {
	struct vmtab_txn *vms; /* NULL: none changes */
	struct route_change *routes;
	size_t n_routes;
	bool cold; /* its routes wait until their next hops have answered, or for warm_ms */
	uint64_t warm_ms;
	uint64_t token; /* published: the grace period */
	void (*retired)(void *arg);
	void *arg;
	struct fwd_txn *next;
};

struct fwd {
	struct dp *dp;
	struct fwd_txn *first, **last; /* published, waiting for readers; in order */
	struct hop *hops;
	void (*event)(void *arg, const struct fwd_event *ev);
	void *arg;
};

/* ---- prepare: VMs ---- */

static uint32_t
routers(const struct fwd *f)
{
	return f->dp->topo->n_peers + 1u;
}

static int
vm_valid(const struct fwd *f, const struct fwd_vm *v)
{
	bool ok = v->segment < f->dp->topo->n_segments && v->owner < routers(f) && v->location < routers(f) &&
		  v->n_addresses <= VM_REC_ADDRESSES && v->n_drains <= VM_REC_DRAINS &&
		  (v->attachment < 0 || v->attachment < f->dp->topo->n_attachments);

	for (uint8_t i = 0; ok && i < v->n_drains; i++)
		ok = v->drains[i].home < routers(f);
	return ok ? 0 : -EINVAL;
}

/* Bits of the live addresses that are older than all that drain for the same private one. */
static uint16_t
oldest_live(const struct fwd_vm *v)
{
	uint16_t bits = 0;

	for (uint8_t i = 0; i < v->n_addresses; i++) {
		const struct fwd_address *a = &v->addresses[i];
		bool oldest = a->global_ip != 0;

		for (uint8_t k = 0; k < v->n_drains; k++)
			oldest &= v->drains[k].private_ip != a->private_ip || v->drains[k].since > a->since;
		bits |= oldest ? VM_REC_OLDEST(i) : 0;
	}
	return bits;
}

static void
vm_record(const struct fwd_vm *v, struct vm_rec *r)
{
	memset(r, 0, sizeof(*r));
	r->mac = topo_mac(&v->mac);
	r->seg = v->segment;
	r->owner = v->owner;
	r->location = v->location;
	r->att = v->location == FWD_SELF && v->attachment >= 0 ? (uint16_t)v->attachment : ATT_ANY;
	r->flags = oldest_live(v) | (v->flags & FWD_VM_NOTES ? VM_REC_NOTES : 0) |
		   (v->flags & FWD_VM_OPEN ? VM_REC_OPEN : 0) | (v->flags & FWD_VM_HOLDS ? VM_REC_HOLDS : 0);
	r->n_addresses = v->n_addresses;
	r->n_drains = v->n_drains;
	for (uint8_t i = 0; i < v->n_addresses; i++) {
		r->addresses[i].ip = rte_cpu_to_be_32(v->addresses[i].private_ip);
		r->addresses[i].global = rte_cpu_to_be_32(v->addresses[i].global_ip);
	}
	for (uint8_t i = 0; i < v->n_drains; i++) {
		r->drains[i].ip = rte_cpu_to_be_32(v->drains[i].private_ip);
		r->drains[i].global = rte_cpu_to_be_32(v->drains[i].global_ip);
		r->drains[i].home = v->drains[i].home;
		r->drains[i].direct = v->drains[i].direct;
	}
}

static int
prepare_vm(struct fwd *f, struct fwd_txn *x, const struct fwd_change *c, struct err *e)
{
	struct rte_ether_addr mac = topo_mac(&c->vm.mac);
	char text[MAC_TEXT];
	struct vm_rec rec;
	int rc;

	mac_format(&c->vm.mac, text);
	if (vm_valid(f, &c->vm) != 0)
		return err_set(e, EINVAL,
			"forwarding: VM %s: segment, router or attachment that does not exist", text);
	if (c->op == FWD_VM_DEL) {
		rc = vmtab_prepare_del(x->vms, c->vm.segment, &mac);
		return rc == -ENOENT ? 0
		       : rc == 0     ? 0
				     : err_set(e, -rc, "forwarding: VM %s: %s", text, strerror(-rc));
	}
	vm_record(&c->vm, &rec);
	rc = vmtab_prepare_put(x->vms, &rec);
	if (rc == -ENOSPC)
		return err_set(e, ENOSPC, "forwarding: VM %s: table full (limits.vms is %llu)", text,
			(unsigned long long)f->dp->config->limits.vms);
	if (rc == -EEXIST)
		return err_set(
			e, EEXIST, "forwarding: VM %s: one of its addresses belongs to another VM", text);
	return rc == 0 ? 0 : err_set(e, -rc, "forwarding: VM %s: %s", text, strerror(-rc));
}

/* ---- prepare: routes ---- */

/* The WAN port on whose connected prefix the address lies, or -1. */
static int
port_towards(const struct topology *t, rte_be32_t ip)
{
	for (uint16_t i = 0; i < t->n_ports; i++)
		if (t->ports[i].role == TOPO_WAN && t->ports[i].connected.mask != 0 &&
			topo_in(&t->ports[i].connected, ip))
			return i;
	return -1;
}

static bool
is_connected(const struct topology *t, rte_be32_t addr, rte_be32_t mask)
{
	for (uint16_t i = 0; i < t->n_ports; i++)
		if (t->ports[i].connected.mask == mask && mask != 0 && t->ports[i].connected.addr == addr)
			return true;
	for (uint16_t i = 0; i < t->n_segments; i++)
		if (t->segments[i].prefix.mask == mask && t->segments[i].prefix.addr == addr)
			return true;
	return false;
}

static int
nexthop_of(struct fwd *f, const struct fwd_route *r, struct nexthop *nh, struct err *e)
{
	const struct topology *t = f->dp->topo;
	char prefix[PREFIX4_TEXT], via[IP4_TEXT];
	int port = r->port;

	memset(nh, 0, sizeof(*nh));
	prefix4_format(&r->prefix, prefix);
	if (is_connected(t, rte_cpu_to_be_32(r->prefix.addr), rte_cpu_to_be_32(ip4_mask(r->prefix.len))))
		return err_set(e, EEXIST, "route %s: that is the prefix of a port or segment of this router",
			prefix);
	if (r->blackhole) {
		nh->kind = NH_BLACKHOLE;
		return 0;
	}
	if (r->via != 0 && port < 0)
		port = port_towards(t, rte_cpu_to_be_32(r->via));
	if (port < 0 || port >= t->n_ports || t->ports[port].role != TOPO_WAN)
		return err_set(e, EHOSTUNREACH,
			"route %s: next hop %s is on no wan port's prefix: name the port", prefix,
			ip4_format(r->via, via));
	nh->kind = r->via != 0 ? NH_VIA : NH_CONNECTED;
	nh->port = (uint8_t)port;
	nh->via = rte_cpu_to_be_32(r->via);
	return 0;
}

static bool
has_way(const struct fwd *f, rte_be32_t prefix)
{
	struct nexthop nh;

	routetab_find(f->dp->tables.routes, 0, &prefix, 1, &nh);
	return nh.kind != NH_NONE && nh.kind != NH_BLACKHOLE;
}

static int
prepare_route(struct fwd *f, struct fwd_txn *x, const struct fwd_change *c, struct err *e)
{
	struct route_change *r = &x->routes[x->n_routes];
	char prefix[PREFIX4_TEXT], via[IP4_TEXT];
	int rc;

	r->addr = rte_cpu_to_be_32(c->route.prefix.addr);
	r->len = c->route.prefix.len;
	r->del = c->op == FWD_ROUTE_DEL;
	x->n_routes++;
	if (r->del)
		return 0;
	rc = nexthop_of(f, &c->route, &r->nh, e);
	if (rc != 0 || r->nh.kind != NH_VIA)
		return rc;
	r->hop = calloc(1, sizeof(*r->hop));
	if (r->hop == NULL)
		return err_set(e, ENOMEM, "forwarding: no memory");
	r->hop->key.addr = r->addr;
	r->hop->key.len = r->len;
	r->hop->port = r->nh.port;
	r->hop->via = r->nh.via;
	r->replaces = has_way(f, r->addr);
	if (neighs_keep(f->dp->neighs, r->nh.port, r->nh.via) == 0) /* asked for while the store commits */
		return 0;
	free(r->hop);
	r->hop = NULL;
	return err_set(e, ENOSPC, "route %s: no room for one more next hop, %s (limits.neighbours is %llu)",
		prefix4_format(&c->route.prefix, prefix), ip4_format(c->route.via, via),
		(unsigned long long)f->dp->config->limits.neighbours);
}

/* ---- prepare, abort ---- */

static void
txn_free(struct fwd_txn *x)
{
	for (size_t i = 0; i < x->n_routes; i++)
		free(x->routes[i].hop);
	free(x->routes);
	free(x);
}

void
fwd_abort(struct fwd *f, struct fwd_txn *x)
{
	for (size_t i = 0; i < x->n_routes; i++)
		if (x->routes[i].hop != NULL)
			neighs_leave(f->dp->neighs, x->routes[i].hop->port, x->routes[i].hop->via);
	if (x->vms != NULL)
		vmtab_abort(x->vms);
	txn_free(x);
}

/* A put that replaces a route needs no room. */
static bool
is_new_route(const struct fwd *f, const struct fwd_change *c)
{
	return c->op == FWD_ROUTE_PUT && !routetab_has(f->dp->tables.routes, 0,
						 rte_cpu_to_be_32(c->route.prefix.addr), c->route.prefix.len);
}

static int
begin(struct fwd *f, const struct fwd_change *c, size_t n, struct fwd_txn *x, struct err *e)
{
	size_t vms = 0, routes = 0, puts = 0;

	for (size_t i = 0; i < n; i++) {
		vms += c[i].op == FWD_VM_PUT || c[i].op == FWD_VM_DEL;
		routes += c[i].op == FWD_ROUTE_PUT || c[i].op == FWD_ROUTE_DEL;
		puts += is_new_route(f, &c[i]);
	}
	if (vms > 0 && (x->vms = vmtab_begin(f->dp->tables.vms, (uint32_t)vms)) == NULL)
		return err_set(e, ENOMEM, "forwarding: no memory for %zu changes", vms);
	if (routes > 0 && (x->routes = calloc(routes, sizeof(*x->routes))) == NULL)
		return err_set(e, ENOMEM, "forwarding: no memory for %zu changes", routes);
	if (puts > 0 && routetab_reserve(f->dp->tables.routes, (uint32_t)puts) != 0)
		return err_set(e, ENOSPC, "forwarding: no room for %zu more routes (limits.routes is %llu)",
			puts, (unsigned long long)f->dp->config->limits.routes);
	return 0;
}

/* Addresses may change hands within a batch, in any order: only now is it known who keeps what. */
static int
end_vms(struct fwd_txn *x, struct err *e)
{
	const struct vm_rec *who;
	char text[MAC_TEXT];
	struct mac mac;

	if (x->vms == NULL || vmtab_prepare_end(x->vms, &who) == 0)
		return 0;
	memcpy(mac.b, who->mac.addr_bytes, sizeof(mac.b));
	return err_set(e, EEXIST, "forwarding: VM %s: one of its addresses belongs to another VM",
		mac_format(&mac, text));
}

int
fwd_prepare(struct fwd *f, const struct fwd_change *c, size_t n, struct fwd_txn **txn, struct err *e)
{
	struct fwd_txn *x = calloc(1, sizeof(*x));
	int rc = x != NULL ? begin(f, c, n, x, e) : err_set(e, ENOMEM, "forwarding: no memory");

	for (size_t i = 0; i < n && rc == 0; i++) {
		if (c[i].op == FWD_VM_PUT || c[i].op == FWD_VM_DEL)
			rc = prepare_vm(f, x, &c[i], e);
		else
			rc = prepare_route(f, x, &c[i], e);
	}
	if (rc == 0)
		rc = end_vms(x, e);
	if (rc != 0) {
		if (x != NULL)
			fwd_abort(f, x);
		return rc;
	}
	*txn = x;
	return 0;
}

/* ---- publish, retire ---- */

static void
publish_route(struct fwd *f, struct route_change *r)
{
	struct routetab *t = f->dp->tables.routes;
	struct hop *old, probe = {.key = {.addr = r->addr, .len = r->len}};
	int rc;

	rc = r->del ? routetab_del(t, 0, r->addr, r->len) : routetab_put(t, 0, r->addr, r->len, &r->nh);
	if (rc != 0 && rc != -ENOENT)
		log_error("forwarding: a route that was prepared was refused: %s", strerror(-rc));
	HASH_FIND(hh, f->hops, &probe.key, sizeof(probe.key), old);
	if (old != NULL) {
		neighs_leave(f->dp->neighs, old->port, old->via);
		HASH_DEL(f->hops, old);
		free(old);
	}
	if (r->hop != NULL) {
		HASH_ADD(hh, f->hops, key, sizeof(r->hop->key), r->hop);
		r->hop = NULL;
	}
}

/* Packets that have a way keep it until the new next hop has answered: while it is asked for, only a few could wait. */
static bool
is_cold(const struct fwd *f, const struct fwd_txn *x)
{
	for (size_t i = 0; i < x->n_routes; i++) {
		const struct route_change *r = &x->routes[i];

		if (r->replaces && r->hop != NULL && neighs_asked(f->dp->neighs, r->hop->port, r->hop->via))
			return true;
	}
	return false;
}

static void
publish_routes(struct fwd *f, struct fwd_txn *x)
{
	for (size_t i = 0; i < x->n_routes; i++)
		publish_route(f, &x->routes[i]);
	x->cold = false;
	x->token = rcu_start(f->dp->tables.rcu);
}

void
fwd_publish(struct fwd *f, struct fwd_txn *x, void (*retired)(void *arg), void *arg)
{
	if (x->vms != NULL)
		vmtab_publish(x->vms);
	x->retired = retired;
	x->arg = arg;
	x->cold = is_cold(f, x);
	x->warm_ms = env_call(f->dp->env, now_ms) + WARM_MS;
	if (!x->cold)
		publish_routes(f, x);
	*f->last = x;
	f->last = &x->next;
	dp_unlinked(f->dp);
}

/* The changes of a transaction are all made, and no reader has what was there before. */
static bool
is_over(struct fwd *f, struct fwd_txn *x)
{
	if (x->cold && is_cold(f, x) && env_call(f->dp->env, now_ms) < x->warm_ms)
		return false;
	if (x->cold)
		publish_routes(f, x);
	return rcu_passed(f->dp->tables.rcu, x->token);
}

bool
fwd_retire(struct fwd *f)
{
	while (f->first != NULL && is_over(f, f->first)) {
		struct fwd_txn *x = f->first;
		void (*retired)(void *) = x->retired;
		void *arg = x->arg;

		f->first = x->next;
		if (f->first == NULL)
			f->last = &f->first;
		if (x->vms != NULL)
			vmtab_retire(x->vms);
		txn_free(x);
		if (retired != NULL)
			retired(arg);
	}
	return f->first != NULL;
}

/* ---- announcing ---- */

void
fwd_announce(struct fwd *f, enum fwd_announce what, uint16_t segment, const struct mac *mac, ip4 ip)
{
	struct announcement one = {
		.mac = topo_mac(mac), .segment = segment, .ip = rte_cpu_to_be_32(ip), .what = (uint8_t)what};

	if (segment < f->dp->topo->n_segments)
		announce(f->dp->announces, &one);
}

/* ---- events ---- */

/* Does this VM wait to be heard, or was it heard where the tables do not have it? */
static enum fwd_event_kind
seen_or_heard(const struct fwd *f, const struct dp_event *ev)
{
	struct vm_key_mac key = {.mac = ev->mac, .seg = ev->seg};
	const struct vm_rec *rec;

	vmtab_by_mac(f->dp->tables.vms, &key, 1, &rec);
	return rec != NULL && rec->owner == ROUTER_SELF && rec->location == ROUTER_SELF &&
			       rec->att == ATT_ANY && ev->router == ROUTER_SELF
		       ? FWD_VM_HEARD
		       : FWD_VM_SEEN;
}

static enum fwd_event_kind
kind_of(const struct fwd *f, const struct dp_event *ev)
{
	switch ((enum dp_event_kind)ev->kind) {
	case EVENT_VM_SEEN:
		return seen_or_heard(f, ev);
	case EVENT_CONFLICT:
		return FWD_GW_CONFLICT;
	case EVENT_HOLD_OVER:
		return FWD_HOLD_OVER;
	default:
		return FWD_LOOP;
	}
}

void
fwd_tell(struct fwd *f, const struct dp_event *ev)
{
	struct fwd_event out = {
		.segment = ev->seg,
		.mac = topo_mac_back(&ev->mac),
		.ip = rte_be_to_cpu_32(ev->ip),
		.location = ev->router,
		.attachment = ev->router == ROUTER_SELF && ev->att != TOPO_NONE ? (int16_t)ev->att : -1,
		.held = ev->held,
		.released = ev->released,
		.dropped = ev->dropped,
	};

	if (ev->seg >= f->dp->topo->n_segments || ev->router >= routers(f))
		return;
	out.kind = kind_of(f, ev);
	if (f->event != NULL)
		f->event(f->arg, &out);
}

void
fwd_link_down(struct fwd *f, uint16_t port)
{
	struct fwd_event ev = {.kind = FWD_LINK_DOWN, .attachment = -1, .port = port};

	if (f->event != NULL)
		f->event(f->arg, &ev);
}

void
fwd_subscribe(struct fwd *f, void (*event)(void *arg, const struct fwd_event *ev), void *arg)
{
	f->event = event;
	f->arg = arg;
}

/* ---- life ---- */

struct fwd *
fwd_new(struct dp *dp)
{
	struct fwd *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->dp = dp;
	f->last = &f->first;
	return f;
}

void
fwd_free(struct fwd *f)
{
	struct hop *h, *tmp;

	if (f == NULL)
		return;
	while (f->first != NULL) { /* workers have stopped */
		struct fwd_txn *x = f->first;

		f->first = x->next;
		if (x->vms != NULL)
			vmtab_retire(x->vms);
		txn_free(x);
	}
	HASH_ITER (hh, f->hops, h, tmp) {
		HASH_DEL(f->hops, h);
		free(h);
	}
	free(f);
}
