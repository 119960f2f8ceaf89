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

static void
check_segment_prefix(struct check *k, size_t i)
{
	const struct conf_segment *s = SEG(k->c, i);

	for (size_t j = 0; j < i; j++)
		if (SEG(k->c, j)->prefix.len != 0 && prefix4_overlap(&s->prefix, &SEG(k->c, j)->prefix))
			bad(k, PATH("segments[%zu].prefix", i), "%s overlaps %s of segment \"%s\"",
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

			if (strcmp(a->port, b->port) == 0 && a->vlan == b->vlan && a->vlan != UINT64_MAX)
				return s;
		}
	}
	return NULL;
}

static void
check_attachment(struct check *k, size_t i, size_t j)
{
	const struct conf_segment *s = SEG(k->c, i);
	const struct conf_attachment *a = list_at(s->attachments, struct conf_attachment, j);
	const struct conf_segment *owner = attachment_owner(k->c, i, a);
	const struct conf_port *p = port_find(k->c, a->port);

	check_port_ref(k, PATH("segments[%zu].attachments[%zu].port", i, j), a->port, PORT_DC);
	if (owner != NULL && a->port[0] != '\0')
		bad(k, PATH("segments[%zu].attachments[%zu]", i, j),
			"port \"%s\" with vlan %llu belongs to segment \"%s\" already", a->port,
			(unsigned long long)a->vlan, owner->name);
	if (p != NULL && a->port[0] != '\0' && s->mtu != UINT64_MAX && s->mtu > p->mtu)
		bad(k, PATH("segments[%zu].mtu", i), "%llu is more than the mtu of its port \"%s\" (%llu)",
			(unsigned long long)s->mtu, p->name, (unsigned long long)p->mtu);
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
