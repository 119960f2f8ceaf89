/* SPDX-License-Identifier: BSD-3-Clause */
/* Longest prefix match, and what may leave by which port. */
#include <dataplane/icmp_error.h>
#include <dataplane/ip4.h>
#include <dataplane/ip4_send.h>
#include <dataplane/pipeline.h>

/* No packet shows a private source outside; routed segments leave by the ports listed for them. */
static bool
leaks(const struct topology *t, struct rte_mbuf *m, uint8_t port)
{
	uint16_t seg;

	if (meta(m)->flags & META_OWN)
		return false;
	seg = topo_segment_by_ip(t, ip4_hdr(m)->src_addr);
	return seg != TOPO_NONE && (t->segments[seg].nat || !(t->segments[seg].exits & (1u << port)));
}

static void
to_port(struct worker *w, struct rte_mbuf *m, const struct nexthop *nh, struct vec *neighbour)
{
	struct meta *md = meta(m);

	if (leaks(w->topo, m, nh->port)) {
		worker_drop(w, m, DROP_INSIDE_SOURCE_LEAK);
		return;
	}
	if (!ip4_hop(w, m, w->topo->ports[nh->port].mtu))
		return;
	md->out_port = nh->port;
	md->via = nh->kind == NH_VIA ? nh->via : ip4_hdr(m)->dst_addr;
	ip4_send(w, m, w->topo->ports[nh->port].mtu, neighbour);
}

/* Stages before this one know destinations in segments of the sender's vrf. What gets here is of the router itself, which
 * may ask for it (ENTER_ROUTE; the tunnel does not: it would wrap its own packets for ever), or of another vrf, which
 * reaches routed segments as the world does. */
static void
to_segment(struct worker *w, struct rte_mbuf *m, const struct nexthop *nh)
{
	struct meta *md = meta(m);
	bool own = md->flags & META_OWN;

	if (own ? md->enter != ENTER_ROUTE : w->topo->segments[nh->seg].nat) {
		icmp_error_drop(w, m, DROP_NO_ROUTE, 0);
		return;
	}
	md->enter = ENTER_TO_VM;
	md->seg = nh->seg;
	worker_inject(w, m);
}

static void
to_nexthop(struct worker *w, struct rte_mbuf *m, const struct nexthop *nh, struct vec *neighbour)
{
	switch (nh->kind) {
	case NH_CONNECTED:
	case NH_VIA:
		to_port(w, m, nh, neighbour);
		break;
	case NH_SEGMENT:
		to_segment(w, m, nh);
		break;
	case NH_BLACKHOLE:
		worker_drop(w, m, DROP_BLACKHOLE);
		break;
	default:
		icmp_error_drop(w, m, DROP_NO_ROUTE, 0);
	}
}

static void
route_some(struct worker *w, struct rte_mbuf **m, uint16_t n, struct vec *neighbour)
{
	struct nexthop nh[BURST_MAX];
	rte_be32_t dst[BURST_MAX] = {0};

	for (uint16_t i = 0; i < n; i++)
		dst[i] = ip4_hdr(m[i])->dst_addr;
	routetab_find(w->tables->routes, 0, dst, n, nh);
	for (uint16_t i = 0; i < n; i++)
		to_nexthop(w, m[i], &nh[i], neighbour);
}

void
route(struct worker *w, struct vec *in, struct vec *neighbour)
{
	for (uint16_t i = 0; i < in->n; i += BURST_MAX)
		route_some(w, in->m + i, RTE_MIN(BURST_MAX, in->n - i), neighbour);
}
