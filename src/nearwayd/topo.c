/* SPDX-License-Identifier: BSD-3-Clause */
#include "topo.h"

#include <errno.h>
#include <string.h>

static struct topo_prefix
prefix(const struct prefix4 *p)
{
	ip4 mask = ip4_mask(p->len);

	return (struct topo_prefix){.addr = rte_cpu_to_be_32(p->addr & mask), .mask = rte_cpu_to_be_32(mask)};
}

static int
port_index(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->ports.n; i++)
		if (strcmp(list_at(c->ports, struct conf_port, i)->name, name) == 0)
			return (int)i;
	return -1;
}

static void
build_port(const struct conf_port *from, struct topo_port *p)
{
	snprintf(p->name, sizeof(p->name), "%s", from->name);
	p->role = from->role == PORT_WAN ? TOPO_WAN : TOPO_DC;
	p->mtu = from->mtu;
	p->punt_pps = from->punt ? (uint32_t)from->punt_rate : 0;
	if (from->role == PORT_WAN && from->address.len != 0) {
		p->ip = rte_cpu_to_be_32(from->address.addr);
		p->connected = prefix(&from->address);
	}
	for (int vlan = 0; vlan < 4096; vlan++)
		p->attachment[vlan] = TOPO_NONE;
}

/* The index of a local VTEP, which several segments may list; -1: too many. */
static int
vtep_index(struct topology *t, rte_be32_t ip)
{
	for (int i = 0; i < t->n_vteps; i++)
		if (t->vteps[i].ip == ip)
			return i;
	if (t->n_vteps == TOPO_VTEPS)
		return -1;
	t->vteps[t->n_vteps].ip = ip;
	for (int seg = 0; seg < TOPO_SEGMENTS; seg++)
		t->vteps[t->n_vteps].attachment[seg] = TOPO_NONE;
	return t->n_vteps++;
}

static int
attach_vtep(const struct conf_attachment *from, struct topology *t, uint16_t index, struct err *e)
{
	const struct topo_segment *s = &t->segments[t->n_segments];
	int vtep = vtep_index(t, rte_cpu_to_be_32(from->vtep));

	if (vtep < 0)
		return err_set(e, ENOSPC, "segment %s: more than %d local VTEPs", s->name, TOPO_VTEPS);
	if (t->vteps[vtep].attachment[t->n_segments] != TOPO_NONE)
		return err_set(e, EINVAL, "segment %s: a local VTEP is attached twice", s->name);
	t->vteps[vtep].attachment[t->n_segments] = index;
	t->attachments[index] =
		(struct topo_attachment){.seg = t->n_segments, .tunnel = TOPO_VTEP_TUNNEL + vtep};
	return 0;
}

static int
attach_port(const struct config *c, const struct conf_attachment *from, struct topology *t, uint16_t index,
	struct err *e)
{
	const struct topo_segment *s = &t->segments[t->n_segments];
	int port = port_index(c, from->port);

	if (port < 0 || t->ports[port].role != TOPO_DC || from->vlan >= 4096)
		return err_set(
			e, EINVAL, "segment %s: attachment to port %s: no such dc port", s->name, from->port);
	if (t->ports[port].attachment[from->vlan] != TOPO_NONE)
		return err_set(e, EINVAL, "segment %s: port %s VLAN %u is attached already", s->name,
			from->port, (unsigned int)from->vlan);
	t->attachments[index] =
		(struct topo_attachment){.port = port, .vlan = from->vlan, .seg = t->n_segments};
	t->ports[port].attachment[from->vlan] = index;
	return 0;
}

static int
build_attachment(
	const struct config *c, const struct conf_attachment *from, struct topology *t, struct err *e)
{
	struct topo_segment *s = &t->segments[t->n_segments];
	uint16_t index = t->n_attachments;
	int rc;

	if (index == TOPO_ATTACHMENTS || s->n_attachments == RTE_DIM(s->attachments))
		return err_set(e, ENOSPC, "segment %s: too many attachments", s->name);
	rc = from->vtep != 0 ? attach_vtep(from, t, index, e) : attach_port(c, from, t, index, e);
	if (rc != 0)
		return rc;
	s->attachments[s->n_attachments++] = index;
	t->n_attachments++;
	return 0;
}

static bool
has_local_vteps(const struct conf_segment *s)
{
	for (size_t i = 0; i < s->attachments.n; i++)
		if (list_at(s->attachments, struct conf_attachment, i)->vtep != 0)
			return true;
	return false;
}

static bool
has_peers(const struct config *c)
{
	for (size_t i = 0; i < c->peers.n; i++)
		if (!list_at(c->peers, struct conf_peer, i)->removed)
			return true;
	return false;
}

/* What fits the tunnel, the attachments, and so TCP. */
static void
build_mtu(const struct config *c, const struct conf_segment *from, const struct topology *t,
	struct topo_segment *s)
{
	bool vteps = has_local_vteps(from);

	s->mtu = s->tunnel_mtu = s->att_mtu = from->mtu;
	if (t->vtep == 0 || (!has_peers(c) && !vteps))
		return;
	/* Every tunnel of the group carries it: a session may outlive moves to every peer. */
	s->tunnel_mtu = (uint16_t)RTE_MIN((uint64_t)s->mtu, config_group_mtu(c) - TOPO_TUNNEL_OVERHEAD);
	s->mss = s->tunnel_mtu - 40; /* IPv4 and TCP headers without options */
	if (vteps)
		s->att_mtu = s->tunnel_mtu;
}

static void
build_gateway(const struct config *c, const struct conf_gateway *from, struct topo_segment *s)
{
	s->gw_ip = rte_cpu_to_be_32(from->address);
	s->gw_mac = topo_mac(&from->mac);
	s->per_site = from->mode == GATEWAY_PER_SITE;
	for (size_t i = 0; i < from->peers.n; i++) {
		const struct conf_gateway_peer *g = list_at(from->peers, struct conf_gateway_peer, i);

		for (size_t p = 0; p < c->peers.n; p++)
			if (strcmp(list_at(c->peers, struct conf_peer, p)->name, g->peer) == 0)
				s->peer_mac[p + 1] = topo_mac(&g->mac);
	}
}

/* Tenants are numbered as they appear. */
static uint16_t
vrf_index(const struct config *c, size_t segment)
{
	uint16_t n = 0;

	for (size_t i = 0; i < segment; i++) {
		if (strcmp(list_at(c->segments, struct conf_segment, i)->vrf,
			    list_at(c->segments, struct conf_segment, segment)->vrf) == 0)
			return vrf_index(c, i);
		n++;
	}
	return n;
}

static int
build_segment(const struct config *c, const struct conf_segment *from, struct topology *t, struct err *e)
{
	struct topo_segment *s = &t->segments[t->n_segments];

	snprintf(s->name, sizeof(s->name), "%s", from->name);
	s->vni = from->vni;
	s->prefix = prefix(&from->prefix);
	s->vrf = vrf_index(c, t->n_segments);
	build_gateway(c, &from->gateway, s);
	build_mtu(c, from, t, s);
	s->external = from->extension == EXTENSION_EXTERNAL;
	s->storm_pps[STORM_BROADCAST] = from->storm.broadcast;
	s->storm_pps[STORM_MULTICAST] = from->storm.multicast;
	s->storm_pps[STORM_UNICAST] = from->storm.unicast;
	s->nat = from->access == ACCESS_NAT;
	s->suppress_arp = from->suppress_arp;
	for (size_t i = 0; i < from->attachments.n; i++) {
		int rc = build_attachment(c, list_at(from->attachments, struct conf_attachment, i), t, e);

		if (rc != 0)
			return rc;
	}
	for (size_t i = 0; i < from->exits.n; i++) {
		const char *name = list_at(from->exits, struct conf_exit, i)->port;
		int port = port_index(c, name);

		if (port < 0)
			return err_set(e, EINVAL, "segment %s: exit %s: no such port", s->name, name);
		s->exits |= UINT32_C(1) << port;
	}
	t->n_segments++;
	return 0;
}

static struct topo_hold
hold(const struct config *c)
{
	const struct conf_hold *h = &c->hold;

	return (struct topo_hold){.packets = (uint32_t)h->packets,
		.vm_packets = (uint32_t)h->vm_packets,
		.bytes = h->bytes,
		.vm_bytes = h->vm_bytes,
		.most_ms = (uint32_t)(c->moves.paused_max_ms +
				      h->max_ms)}; /* by then a pause has ended, or control is gone */
}

int
topo_build(const struct config *c, struct topology *t, struct err *e)
{
	memset(t, 0, sizeof(*t));
	if (c->ports.n > TOPO_PORTS || c->segments.n > TOPO_SEGMENTS || c->peers.n > TOPO_PEERS ||
		c->pools.n > TOPO_POOLS)
		return err_set(e, ENOSPC, "at most %d ports, %d segments, %d peers, %d pools", TOPO_PORTS,
			TOPO_SEGMENTS, TOPO_PEERS, TOPO_POOLS);
	t->router_mac = topo_mac(&c->router.mac);
	t->vtep = rte_cpu_to_be_32(c->router.vtep);
	t->transit = c->router.transit;
	t->arp_pps = c->limits.arp_rate;
	t->hold = hold(c);
	for (; t->n_ports < c->ports.n; t->n_ports++)
		build_port(list_at(c->ports, struct conf_port, t->n_ports), &t->ports[t->n_ports]);
	for (; t->n_peers < c->peers.n; t->n_peers++) {
		const struct conf_peer *from = list_at(c->peers, struct conf_peer, t->n_peers);
		struct topo_peer *p = &t->peers[t->n_peers];

		snprintf(p->name, sizeof(p->name), "%s", from->name);
		if (from->removed)
			continue;
		p->vtep = rte_cpu_to_be_32(from->vtep);
		p->mac = topo_mac(&from->mac);
	}
	for (; t->n_pools < c->pools.n; t->n_pools++) {
		const struct conf_pool *from = list_at(c->pools, struct conf_pool, t->n_pools);

		t->pools[t->n_pools].prefix = prefix(&from->prefix);
		t->pools[t->n_pools].on_link = from->mode == POOL_ON_LINK;
	}
	for (size_t i = 0; i < c->segments.n; i++) {
		int rc = build_segment(c, list_at(c->segments, struct conf_segment, i), t, e);

		if (rc != 0)
			return rc;
	}
	topo_index(t);
	return 0;
}
