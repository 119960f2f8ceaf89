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
	if (from->role == PORT_WAN && from->address.len != 0) {
		p->ip = rte_cpu_to_be_32(from->address.addr);
		p->connected = prefix(&from->address);
	}
	for (int vlan = 0; vlan < 4096; vlan++)
		p->attachment[vlan] = TOPO_NONE;
}

static int
build_attachment(
	const struct config *c, const struct conf_attachment *from, struct topology *t, struct err *e)
{
	struct topo_segment *s = &t->segments[t->n_segments];
	uint16_t index = t->n_attachments;
	int port = port_index(c, from->port);

	if (port < 0 || t->ports[port].role != TOPO_DC || from->vlan >= 4096)
		return err_set(
			e, EINVAL, "segment %s: attachment to port %s: no such dc port", s->name, from->port);
	if (t->ports[port].attachment[from->vlan] != TOPO_NONE)
		return err_set(e, EINVAL, "segment %s: port %s VLAN %u is attached already", s->name,
			from->port, (unsigned int)from->vlan);
	if (index == TOPO_ATTACHMENTS || s->n_attachments == RTE_DIM(s->attachments))
		return err_set(e, ENOSPC, "segment %s: too many attachments", s->name);
	t->attachments[index] =
		(struct topo_attachment){.port = port, .vlan = from->vlan, .seg = t->n_segments};
	t->ports[port].attachment[from->vlan] = index;
	s->attachments[s->n_attachments++] = index;
	t->n_attachments++;
	return 0;
}

/* The largest inner IPv4 packet that any of our tunnels carries: VXLAN may leave by every WAN port. */
static uint16_t
tunnel_mtu(const struct topology *t)
{
	uint16_t least = UINT16_MAX;

	for (uint16_t i = 0; i < t->n_ports; i++)
		if (t->ports[i].role == TOPO_WAN && t->ports[i].mtu < least)
			least = t->ports[i].mtu;
	return least - TOPO_TUNNEL_OVERHEAD;
}

static int
build_segment(const struct config *c, const struct conf_segment *from, struct topology *t, struct err *e)
{
	struct topo_segment *s = &t->segments[t->n_segments];

	snprintf(s->name, sizeof(s->name), "%s", from->name);
	s->vni = from->vni;
	s->prefix = prefix(&from->prefix);
	s->gw_ip = rte_cpu_to_be_32(from->gateway.address);
	s->gw_mac = topo_mac(&from->gateway.mac);
	s->mtu = from->mtu;
	s->nat = from->access == ACCESS_NAT;
	s->suppress_arp = from->suppress_arp;
	s->tunnel_mtu = s->mtu;
	if (t->n_peers > 0 && t->vtep != 0) {
		s->tunnel_mtu = RTE_MIN(s->mtu, tunnel_mtu(t));
		s->mss = s->tunnel_mtu - 40; /* IPv4 and TCP headers without options */
	}
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
	for (; t->n_ports < c->ports.n; t->n_ports++)
		build_port(list_at(c->ports, struct conf_port, t->n_ports), &t->ports[t->n_ports]);
	for (; t->n_peers < c->peers.n; t->n_peers++) {
		const struct conf_peer *from = list_at(c->peers, struct conf_peer, t->n_peers);
		struct topo_peer *p = &t->peers[t->n_peers];

		snprintf(p->name, sizeof(p->name), "%s", from->name);
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
	return 0;
}
