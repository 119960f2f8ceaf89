/* SPDX-License-Identifier: BSD-3-Clause */
#include <dataplane/ip4.h>
#include <dataplane/pipeline.h>

#define PREFETCH 4

/* A packet that was made or held: its metadata says where it goes on. */
static void
injected(struct rte_mbuf *m, struct meta *md, struct paths *p)
{
	switch (md->enter) {
	case ENTER_ROUTE:
		vec_add(&p->route, m);
		break;
	case ENTER_TO_VM:
		md->vm = NULL;
		vec_add(&p->to_vm, m);
		break;
	case ENTER_ENCAP:
		vec_add(&p->encap, m);
		break;
	case ENTER_NEIGH:
		vec_add(&p->neighbour, m);
		break;
	case ENTER_GATEWAY:
		vec_add(&p->gateway, m);
		break;
	case ENTER_BRIDGE:
		vec_add(&p->bridge, m);
		break;
	default:
		vec_add(&p->port, m);
	}
}

/* A tag behind the one that was taken off, or in front of none that we know. */
static bool
is_tagged(struct rte_mbuf *m)
{
	rte_be16_t type = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *)->ether_type;

	return type == RTE_BE16(RTE_ETHER_TYPE_VLAN) || type == RTE_BE16(RTE_ETHER_TYPE_QINQ);
}

/* A second tag would be the first at an attachment without one: the frame would get into any VLAN of that port. */
static void
from_dc(struct worker *w, struct rte_mbuf *m, struct paths *p)
{
	struct meta *md = meta(m);
	uint16_t att = w->topo->ports[md->in_port].attachment[md->vlan & 0xfff];

	if (att == TOPO_NONE || is_tagged(m)) {
		worker_drop(w, m, att == TOPO_NONE ? DROP_VLAN_UNKNOWN : DROP_INNER_VLAN);
		return;
	}
	md->origin = FROM_DC;
	md->in_att = att;
	md->seg = md->in_seg = w->topo->attachments[att].seg;
	vec_add(&p->frame, m);
}

static bool
to_own_vtep(const struct worker *w, struct rte_mbuf *m)
{
	const struct meta *md = meta(m);

	return md->proto == IPPROTO_UDP && md->dport == RTE_BE16(VXLAN_PORT) && md->fragment == 0 &&
	       w->topo->vtep != 0 && ip4_hdr(m)->dst_addr == w->topo->vtep;
}

static void
from_wan(struct worker *w, struct rte_mbuf *m, struct paths *p)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	struct meta *md = meta(m);
	bool ours = rte_is_same_ether_addr(&eth->dst_addr, &w->topo->ports[md->in_port].mac);
	bool is_arp = eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP);
	enum drop why;

	md->origin = FROM_WAN;
	if (md->vlan != 0) {
		worker_drop(w, m, DROP_VLAN_UNKNOWN);
	} else if (!ours && !(is_arp && rte_is_broadcast_ether_addr(&eth->dst_addr))) {
		worker_drop(w, m, DROP_NOT_FOR_US);
	} else if (is_arp) {
		vec_add(&p->arp_wan, m);
	} else if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
		worker_drop(w, m, DROP_ETHERTYPE);
	} else if ((why = ip4_parse(m)) != DROPS) {
		worker_drop(w, m, why);
	} else {
		vec_add(to_own_vtep(w, m) ? &p->tunnel : &p->wan, m);
	}
}

static void
received(struct worker *w, struct rte_mbuf *m, struct paths *p)
{
	struct meta *md = meta(m);

	*md = (struct meta){.in_port = md->in_port,
		.vlan = md->vlan,
		.seg = TOPO_NONE,
		.in_att = TOPO_NONE,
		.probe = w->probe != NULL ? md->probe : 0};
	if (rte_pktmbuf_data_len(m) < sizeof(struct rte_ether_hdr))
		worker_drop(w, m, DROP_TOO_SHORT);
	else if (w->topo->ports[md->in_port].role == TOPO_DC)
		from_dc(w, m, p);
	else
		from_wan(w, m, p);
}

void
classify(struct worker *w, struct vec *in, struct paths *p)
{
	struct rte_mbuf *m;
	uint16_t i;

	for (i = 0; i < RTE_MIN(PREFETCH, in->n); i++)
		rte_prefetch0(rte_pktmbuf_mtod(in->m[i], void *));
	vec_foreach (in, m, i) {
		if (i + PREFETCH < in->n)
			rte_prefetch0(rte_pktmbuf_mtod(in->m[i + PREFETCH], void *));
		if (meta(m)->enter == ENTER_RX)
			received(w, m, p);
		else
			injected(m, meta(m), p);
	}
}
