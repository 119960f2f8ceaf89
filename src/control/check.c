/* SPDX-License-Identifier: BSD-3-Clause */
/* check.c - what a VM may have: its MAC, its addresses, and nobody else's. */
#include "state.h"

#include <stdarg.h>
#include <stdio.h>

int
fail(struct fail *f, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	f->code = code;
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return code;
}

void
fail_clear(struct fail *f)
{
	json_decref(f->data);
	memset(f, 0, sizeof(*f));
}

int
check_mac(struct core *c, const struct mac *mac, struct fail *f)
{
	char m[MAC_TEXT];

	mac_format(mac, m);
	if (!mac_is_unicast(mac))
		return fail(f, RPC_INVALID_PARAMS, "mac %s: a VM's MAC is unicast and not zero", m);
	if (mac_equal(mac, &c->conf->router.mac))
		return fail(f, RPC_INVALID_PARAMS, "mac %s is this router's own", m);
	for (size_t i = 0; i < c->conf->peers.n; i++) {
		const struct conf_peer *p = list_at(c->conf->peers, const struct conf_peer, i);

		if (mac_equal(mac, &p->mac))
			return fail(f, RPC_INVALID_PARAMS, "mac %s is router %s's", m, p->name);
	}
	for (size_t i = 0; i < c->conf->segments.n; i++) {
		const struct conf_segment *s = segment_at(c, (uint16_t)i);

		if (mac_equal(mac, &s->gateway.mac))
			return fail(
				f, RPC_INVALID_PARAMS, "mac %s is the gateway's of segment %s", m, s->name);
	}
	return 0;
}

int
check_private(struct core *c, uint16_t segment, ip4 a, struct fail *f)
{
	const struct conf_segment *s = segment_at(c, segment);
	char ip[IP4_TEXT], prefix[PREFIX4_TEXT];
	ip4 host = ~ip4_mask(s->prefix.len);

	ip4_format(a, ip);
	if (!prefix4_has(&s->prefix, a) || ip4_is_martian(a))
		return fail(f, RPC_INVALID_PARAMS,
			"private address %s is outside %s, the prefix of segment %s", ip,
			prefix4_format(&s->prefix, prefix), s->name);
	if (a == s->gateway.address)
		return fail(f, RPC_INVALID_PARAMS, "private address %s is the gateway of segment %s", ip,
			s->name);
	if (s->prefix.len < 31 && ((a & host) == 0 || (a & host) == host))
		return fail(f, RPC_INVALID_PARAMS,
			"private address %s is the network or broadcast address of segment %s", ip, s->name);
	return 0;
}

static const struct conf_pool *
pool_of(struct core *c, ip4 a)
{
	for (size_t i = 0; i < c->conf->pools.n; i++) {
		const struct conf_pool *p = list_at(c->conf->pools, const struct conf_pool, i);

		if (prefix4_has(&p->prefix, a))
			return p;
	}
	return NULL;
}

bool
in_own_pool(struct core *c, ip4 a)
{
	return pool_of(c, a) != NULL;
}

/* On a connected prefix, its network and broadcast addresses and the port's own are not free. */
static int
check_port_addresses(struct core *c, ip4 a, const char *ip, struct fail *f)
{
	for (size_t i = 0; i < c->conf->ports.n; i++) {
		const struct conf_port *p = list_at(c->conf->ports, const struct conf_port, i);
		ip4 host = ~ip4_mask(p->address.len);
		struct prefix4 net = {p->address.addr & ip4_mask(p->address.len), p->address.len};

		if (p->address.len == 0 || !prefix4_has(&net, a))
			continue;
		if (a == p->address.addr)
			return fail(f, RPC_INVALID_PARAMS, "global address %s is port %s's own", ip, p->name);
		if (p->address.len < 31 && ((a & host) == 0 || (a & host) == host))
			return fail(f, RPC_INVALID_PARAMS,
				"global address %s is the network or broadcast address of port %s", ip,
				p->name);
	}
	return 0;
}

int
check_own_global(struct core *c, uint16_t segment, ip4 a, struct fail *f)
{
	const struct conf_segment *s = segment_at(c, segment);
	char ip[IP4_TEXT];

	ip4_format(a, ip);
	if (s->access != ACCESS_NAT)
		return fail(f, RPC_INVALID_PARAMS, "global address %s: segment %s is routed and has no NAT",
			ip, s->name);
	if (ip4_is_martian(a) || !in_own_pool(c, a))
		return fail(f, RPC_INVALID_PARAMS, "global address %s is in none of this router's pools", ip);
	return check_port_addresses(c, a, ip, f);
}

struct vm_obj *
vm_clash(struct core *c, const struct vm_state *s, ip4 *which)
{
	const struct fwd_vm *f = &s->fwd;
	struct vm_obj *self = vm_find(c, f->segment, &f->mac), *o;

	for (unsigned int i = 0; i < f->n_addresses; i++) {
		*which = f->addresses[i].private_ip;
		o = vm_by_private(c, f->segment, *which);
		if (o && o != self)
			return o;
		*which = f->addresses[i].global_ip;
		o = *which ? vm_by_global(c, *which) : NULL;
		if (o && o != self)
			return o;
	}
	for (unsigned int i = 0; i < f->n_drains; i++) {
		*which = f->drains[i].global_ip;
		o = vm_by_global(c, *which);
		if (o && o != self)
			return o;
	}
	return NULL;
}

static int
check_reserved(struct core *c, const struct vm_state *s, struct fail *f)
{
	struct vm_key key = {s->fwd.segment, s->fwd.mac};
	char ip[IP4_TEXT];

	for (unsigned int i = 0; i < s->fwd.n_addresses; i++) {
		ip4 global = s->fwd.addresses[i].global_ip;
		struct move *m = global ? move_reserving(c, &key, global) : NULL;

		if (!m)
			continue;
		f->data = move_shown(c, m, false);
		return fail(f, RPC_CONFLICT, "address %s is kept for move %s", ip4_format(global, ip), m->id);
	}
	return 0;
}

int
check_clash(struct core *c, const struct vm_state *s, struct fail *f)
{
	char key[VM_KEY_TEXT], ip[IP4_TEXT];
	struct vm_obj *o;
	ip4 which;

	o = vm_clash(c, s, &which);
	if (!o)
		return check_reserved(c, s, f);
	vm_key_text(c, o->key.segment, &o->key.mac, key);
	f->data = vm_shown(c, &o->now);
	return fail(f, RPC_CONFLICT, "address %s belongs to VM %s of router %s", ip4_format(which, ip), key,
		router_name(c, o->now.fwd.owner));
}
