/* SPDX-License-Identifier: BSD-3-Clause */
/* config_segments.c - what must be true of segments. */
#include "config_priv.h"

#include <string.h>

#define ATTACHMENTS_MAX 512

static void
check_gateway(struct check *k, size_t i)
{
	const struct conf_segment *s = SEG(k->c, i);
	ip4 a = s->gateway.address;

	if (s->prefix.len == 0 || a == 0)
		return;
	if (!prefix4_has(&s->prefix, a))
		bad(k, PATH("segments[%zu].gateway.address", i), "%s is not inside %s", IP(a),
			PREFIX(&s->prefix));
	else if (is_edge(&s->prefix, a))
		bad(k, PATH("segments[%zu].gateway.address", i),
			"%s is the network or broadcast address of %s", IP(a), PREFIX(&s->prefix));
}

/* What the world reaches by its own address is there once; tenants behind NAT may have the same. */
static bool
may_overlap(const struct conf_segment *a, const struct conf_segment *b)
{
	return strcmp(a->vrf, b->vrf) != 0 && a->access == ACCESS_NAT && b->access == ACCESS_NAT;
}

static void
check_segment_prefix(struct check *k, size_t i)
{
	const struct conf_segment *s = SEG(k->c, i);

	for (size_t j = 0; j < i; j++)
		if (SEG(k->c, j)->prefix.len != 0 && prefix4_overlap(&s->prefix, &SEG(k->c, j)->prefix) &&
			!may_overlap(s, SEG(k->c, j)))
			bad(k, PATH("segments[%zu].prefix", i),
				"%s overlaps %s of segment \"%s\"; only nat segments of different vrfs may",
				PREFIX(&s->prefix), PREFIX(&SEG(k->c, j)->prefix), SEG(k->c, j)->name);
	for (size_t j = 0; j < k->c->ports.n; j++) {
		struct prefix4 p = connected(PORT(k->c, j));

		if (is_wan(PORT(k->c, j)) && prefix4_overlap(&s->prefix, &p))
			bad(k, PATH("segments[%zu].prefix", i), "%s overlaps %s of port \"%s\"",
				PREFIX(&s->prefix), PREFIX(&p), PORT(k->c, j)->name);
	}
}

/* The (port, vlan) of an earlier segment; inside one segment the reader has compared. */
static const struct conf_segment *
attachment_owner(const struct config *c, size_t before, const struct conf_attachment *a)
{
	for (size_t i = 0; i < before; i++) {
		const struct conf_segment *s = SEG(c, i);

		for (size_t j = 0; j < s->attachments.n; j++) {
			const struct conf_attachment *b = list_at(s->attachments, struct conf_attachment, j);

			if (a->port[0] != '\0' && strcmp(a->port, b->port) == 0 && a->vlan == b->vlan &&
				a->vlan != UINT64_MAX)
				return s;
		}
	}
	return NULL;
}

static bool
is_peer_vtep(const struct config *c, ip4 vtep)
{
	for (size_t i = 0; i < c->peers.n; i++)
		if (PEER(c, i)->vtep == vtep)
			return true;
	return false;
}

static void
check_local_vtep(struct check *k, size_t i, size_t j)
{
	const struct conf_segment *s = SEG(k->c, i);
	const struct conf_attachment *a = list_at(s->attachments, struct conf_attachment, j);
	const char *path = PATH("segments[%zu].attachments[%zu].vtep", i, j);

	if (a->port[0] != '\0')
		bad(k, path, "is not allowed with port: an attachment is one of the two");
	if (a->vlan != 0 && a->vlan != UINT64_MAX)
		bad(k, PATH("segments[%zu].attachments[%zu].vlan", i, j),
			"is not allowed with vtep: the VNI tells the segment");
	if (!is_given(k, "router.vtep"))
		bad(k, path, "needs router.vtep, where the hypervisor sends its VXLAN packets");
	if (is_peer_vtep(k->c, a->vtep))
		bad(k, path, "%s is the VTEP of a peer; a peer is no attachment", IP(a->vtep));
	if (port_of_address(k->c, a->vtep) != NULL)
		bad(k, path, "%s is an address of this router", IP(a->vtep));
	for (size_t h = 0; h < j; h++)
		if (list_at(s->attachments, struct conf_attachment, h)->vtep == a->vtep)
			bad(k, path, "%s is attachment %zu already", IP(a->vtep), h);
}

/* Neither of the two is given; a value that could not be read has its own fault. */
static bool
is_empty_attachment(const struct check *k, const char *path)
{
	const json_t *at = tree_at(k->tree, path);

	return at == NULL || (json_is_object(at) && json_object_get(at, "port") == NULL &&
				     json_object_get(at, "vtep") == NULL);
}

static void
check_attachment(struct check *k, size_t i, size_t j)
{
	const struct conf_segment *s = SEG(k->c, i);
	const struct conf_attachment *a = list_at(s->attachments, struct conf_attachment, j);
	const struct conf_segment *owner = attachment_owner(k->c, i, a);
	const struct conf_port *p = port_find(k->c, a->port);

	if (a->vtep != 0)
		check_local_vtep(k, i, j);
	else if (a->port[0] == '\0' && is_empty_attachment(k, PATH("segments[%zu].attachments[%zu]", i, j)))
		bad(k, PATH("segments[%zu].attachments[%zu]", i, j), "needs a port with role: dc, or a vtep");
	check_port_ref(k, PATH("segments[%zu].attachments[%zu].port", i, j), a->port, PORT_DC);
	if (owner != NULL && a->port[0] != '\0')
		bad(k, PATH("segments[%zu].attachments[%zu]", i, j),
			"port \"%s\" with vlan %llu belongs to segment \"%s\" already", a->port,
			(unsigned long long)a->vlan, owner->name);
	if (p != NULL && a->port[0] != '\0' && s->mtu != UINT64_MAX && s->mtu > p->mtu)
		bad(k, PATH("segments[%zu].mtu", i), "%llu is more than the mtu of its port \"%s\" (%llu)",
			(unsigned long long)s->mtu, p->name, (unsigned long long)p->mtu);
}

/* ---- the gateway's MACs ---- */

static const struct conf_peer *
peer_find(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->peers.n; i++)
		if (strcmp(PEER(c, i)->name, name) == 0)
			return PEER(c, i);
	return NULL;
}

/* Is it a router's MAC, or this gateway's at another site? Then frames could not be told apart. */
static void
check_gateway_peer_mac(struct check *k, size_t i, size_t j)
{
	const struct conf_gateway *g = &SEG(k->c, i)->gateway;
	const struct mac *mac = &list_at(g->peers, struct conf_gateway_peer, j)->mac;
	const char *path = PATH("segments[%zu].gateway.peers[%zu].mac", i, j);

	if (!mac_is_set(mac))
		return;
	if (mac_equal(mac, &g->mac))
		bad(k, path, "%s is gateway.mac too; with mode: per-site each site has its own", MAC(mac));
	if (mac_equal(mac, &k->c->router.mac))
		bad(k, path, "%s is router.mac too; a gateway's MAC must differ from every router's",
			MAC(mac));
	for (size_t h = 0; h < k->c->peers.n; h++)
		if (mac_equal(mac, &PEER(k->c, h)->mac))
			bad(k, path,
				"%s is the MAC of peer \"%s\"; a gateway's MAC must differ from every "
				"router's",
				MAC(mac), PEER(k->c, h)->name);
	for (size_t h = 0; h < j; h++)
		if (mac_equal(mac, &list_at(g->peers, struct conf_gateway_peer, h)->mac))
			bad(k, path, "%s is that of gateway.peers[%zu] too; each site has its own", MAC(mac),
				h);
}

static void
check_gateway_mode(struct check *k, size_t i)
{
	const struct conf_segment *s = SEG(k->c, i);

	if (s->extension == EXTENSION_EXTERNAL && s->gateway.mode == GATEWAY_SHARED)
		bad(k, PATH("segments[%zu].extension", i),
			"external needs gateway.mode: per-site: two sites of one layer 2 network cannot "
			"share "
			"a MAC");
	if (s->gateway.peers.n > 0 && s->gateway.mode == GATEWAY_SHARED)
		bad(k, PATH("segments[%zu].gateway.peers", i), "is not allowed with mode: shared");
	if (s->gateway.peers.n == 0 && s->gateway.mode == GATEWAY_PER_SITE && k->c->peers.n > 0 &&
		!is_given(k, PATH("segments[%zu].gateway.peers", i)))
		bad(k, PATH("segments[%zu].gateway", i),
			"mode: per-site needs peers: the MAC of each other site");
	for (size_t j = 0; j < s->gateway.peers.n; j++) {
		const char *name = list_at(s->gateway.peers, struct conf_gateway_peer, j)->peer;

		if (name[0] != '\0' && peer_find(k->c, name) == NULL)
			bad(k, PATH("segments[%zu].gateway.peers[%zu].peer", i, j),
				"there is no peer \"%s\"; name one of peers", name);
		check_gateway_peer_mac(k, i, j);
	}
}

static void
check_exits(struct check *k, size_t i)
{
	const struct conf_segment *s = SEG(k->c, i);

	if (s->exits.n > 0 && s->access == ACCESS_NAT)
		bad(k, PATH("segments[%zu].exits", i),
			"is not allowed with access: nat, only with access: routed");
	for (size_t j = 0; j < s->exits.n; j++)
		check_port_ref(k, PATH("segments[%zu].exits[%zu].port", i, j),
			list_at(s->exits, struct conf_exit, j)->port, PORT_WAN);
}

void
check_segments(struct check *k)
{
	size_t attachments = 0;

	for (size_t i = 0; i < k->c->segments.n; i++) {
		const struct conf_segment *s = SEG(k->c, i);

		for (size_t j = 0; j < i; j++)
			if (s->vni != UINT64_MAX && s->vni == SEG(k->c, j)->vni)
				bad(k, PATH("segments[%zu].vni", i), "%llu is the VNI of segment \"%s\" too",
					(unsigned long long)s->vni, SEG(k->c, j)->name);
		check_gateway(k, i);
		check_gateway_mode(k, i);
		if (s->prefix.len != 0)
			check_segment_prefix(k, i);
		for (size_t j = 0; j < s->attachments.n; j++)
			check_attachment(k, i, j);
		check_exits(k, i);
		attachments += s->attachments.n;
	}
	if (attachments > ATTACHMENTS_MAX)
		bad(k, "segments", "have %zu attachments together; at most %d are allowed", attachments,
			ATTACHMENTS_MAX);
}
