/* SPDX-License-Identifier: BSD-3-Clause */
/* vxlan_encap.c - a frame for a peer or a local VTEP becomes an IPv4 packet of our own, which is then routed like any other. */
#include <dataplane/pipeline.h>
#include <dataplane/traffic.h>
#include <dataplane/tunnel.h>

static bool
has_ports(const struct rte_ipv4_hdr *ip)
{
	return (ip->next_proto_id == IPPROTO_TCP || ip->next_proto_id == IPPROTO_UDP) &&
	       (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) == 0;
}

/* The same for all packets of an inner flow, so that the underlay may spread flows and keeps each in order. Fragments
 * have ports in the first only, so ports count for none of them. */
static uint16_t
entropy(const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);
	uint16_t len = rte_pktmbuf_data_len(m), l4;
	uint64_t macs[2] = {0, 0};
	uint32_t ports = 0;

	if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) || len < sizeof(*eth) + sizeof(*ip)) {
		memcpy(macs, eth, 2 * RTE_ETHER_ADDR_LEN);
		return tunnel_entropy(macs[0], macs[1]);
	}
	l4 = (uint16_t)(sizeof(*eth) + rte_ipv4_hdr_len(ip));
	if (has_ports(ip) && len >= l4 + sizeof(ports))
		memcpy(&ports, (const uint8_t *)eth + l4, sizeof(ports));
	return tunnel_entropy_ip4(ip, ports);
}

static enum drop
encap(struct worker *w, struct rte_mbuf *m)
{
	struct meta *md = meta(m);
	uint16_t sport, inner_len = (uint16_t)rte_pktmbuf_pkt_len(m);
	struct tunnel_hdr *h;

	if (inner_len > w->topo->segments[md->seg].tunnel_mtu + sizeof(struct rte_ether_hdr))
		return DROP_TOO_BIG;
	traffic_to_segment(w, md->seg, m);
	sport = entropy(m);
	h = (struct tunnel_hdr *)rte_pktmbuf_prepend(m, sizeof(*h));
	if (h == NULL)
		return DROP_NO_MBUF;
	tunnel_write(h, &w->tunnel[md->out_tunnel], inner_len, sport);
	h->vxlan.vx_vni = rte_cpu_to_be_32(w->topo->segments[md->seg].vni << 8);
	*md = (struct meta){
		.origin = FROM_SELF,
		.in_port = md->in_port,
		.in_att = TOPO_NONE,
		.seg = TOPO_NONE,
		.l3_known = 1,
		.proto = IPPROTO_UDP,
		.l4_off = offsetof(struct tunnel_hdr, udp),
		.l3_len = rte_be_to_cpu_16(h->ip.total_length),
		.sport = h->udp.src_port,
		.dport = h->udp.dst_port,
		.flags = META_OWN,
		.probe = md->probe,
	};
	return DROPS;
}

void
vxlan_encap(struct worker *w, struct vec *in, struct vec *route)
{
	struct rte_mbuf *m;
	enum drop why;
	uint16_t i;

	vec_foreach (in, m, i) {
		why = encap(w, m);
		if (why == DROPS)
			vec_add(route, m);
		else
			worker_drop(w, m, why);
	}
}
