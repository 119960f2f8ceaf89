/* SPDX-License-Identifier: BSD-3-Clause */
/* vxlan_decap.c - RFC 7348, section 5: packets to our VTEP become frames of their segment.
 *
 * classify made sure of an IPv4 packet of UDP to port 4789 and cut off what stood behind it. Reserved bits are ignored, as the RFC asks. An
 * outer UDP checksum of zero is accepted, any other must be right (section 4.2). The packet must be in one piece: VTEPs
 * do not fragment.
 */
#include <dataplane/pipeline.h>

#define PASS DROPS

/* Over all segments; rte_raw_cksum_mbuf() of DPDK 22.11 loses carries behind a segment of odd length. */
static uint16_t
raw_sum(const struct rte_mbuf *m, uint16_t off, uint16_t len)
{
	uint32_t sum = 0;
	bool odd = false;

	for (; len > 0; m = m->next, off = 0) {
		uint16_t n = RTE_MIN(len, (uint16_t)(rte_pktmbuf_data_len(m) - off));
		uint16_t part = rte_raw_cksum(rte_pktmbuf_mtod_offset(m, const void *, off), n);

		sum += odd ? rte_bswap16(part) : part;
		odd ^= n & 1;
		len -= n;
	}
	return __rte_raw_cksum_reduce(sum);
}

static bool
checksum_ok(const struct rte_mbuf *m, const struct rte_ipv4_hdr *ip, uint16_t l4_off, uint16_t udp_len)
{
	const struct rte_udp_hdr *udp = rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, l4_off);

	if (udp->dgram_cksum == 0)
		return true;
	return __rte_raw_cksum_reduce((uint32_t)raw_sum(m, l4_off, udp_len) + rte_ipv4_phdr_cksum(ip, 0)) ==
	       0xffff;
}

static enum drop
check_outer(const struct rte_mbuf *m, const struct meta *md)
{
	const struct rte_ipv4_hdr *ip =
		rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, sizeof(struct rte_ether_hdr));
	uint16_t ihl = rte_ipv4_hdr_len(ip), udp_len = rte_be_to_cpu_16(ip->total_length) - ihl;
	const struct rte_udp_hdr *udp;
	const struct rte_vxlan_hdr *vx;

	if (rte_pktmbuf_data_len(m) < md->l4_off + sizeof(*udp) + sizeof(*vx) ||
		udp_len < sizeof(*udp) + sizeof(*vx) || md->fragment != 0)
		return DROP_VXLAN_MALFORMED;
	udp = rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, md->l4_off);
	vx = (const struct rte_vxlan_hdr *)(udp + 1);
	if (udp->dgram_len != rte_cpu_to_be_16(udp_len) || !checksum_ok(m, ip, md->l4_off, udp_len))
		return DROP_VXLAN_MALFORMED;
	if ((vx->vx_flags & RTE_BE32(VXLAN_FLAG_I)) == 0)
		return DROP_VXLAN_MALFORMED;
	return PASS;
}

static enum drop
check_inner(const struct rte_mbuf *m, uint16_t off)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod_offset(m, const struct rte_ether_hdr *, off);

	if (rte_pktmbuf_data_len(m) < off + sizeof(*eth))
		return DROP_TOO_SHORT;
	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_VLAN) ||
		eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_QINQ))
		return DROP_INNER_VLAN; /* section 6.1 */
	return PASS;
}

/* A local VTEP is an attachment like any other, of the segments that list it. */
static bool
comes_from(const struct topology *t, uint16_t tunnel, uint16_t seg, struct meta *md)
{
	*md = (struct meta){.origin = FROM_TUNNEL,
		.in_router = (uint8_t)tunnel,
		.in_att = TOPO_NONE,
		.seg = seg,
		.in_seg = seg};
	if (tunnel < TOPO_VTEP_TUNNEL)
		return true;
	*md = (struct meta){.origin = FROM_DC,
		.in_att = t->vteps[tunnel - TOPO_VTEP_TUNNEL].attachment[seg],
		.seg = seg,
		.in_seg = seg};
	return md->in_att != TOPO_NONE;
}

static enum drop
decap(struct worker *w, struct rte_mbuf *m)
{
	struct meta *md = meta(m);
	const struct rte_ipv4_hdr *ip =
		rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, sizeof(struct rte_ether_hdr));
	uint16_t inner = (uint16_t)(md->l4_off + sizeof(struct rte_udp_hdr) + sizeof(struct rte_vxlan_hdr));
	uint16_t tunnel = topo_tunnel_by_vtep(w->topo, ip->src_addr);
	enum drop why = check_outer(m, md);
	const struct rte_vxlan_hdr *vx;
	struct meta from;
	uint16_t seg;

	if (why != PASS)
		return why;
	if (tunnel == 0)
		return DROP_VTEP_UNKNOWN;
	vx = rte_pktmbuf_mtod_offset(m, const struct rte_vxlan_hdr *, inner - sizeof(*vx));
	seg = topo_segment_by_vni(w->topo, rte_be_to_cpu_32(vx->vx_vni) >> 8);
	if (seg == TOPO_NONE)
		return DROP_VNI_UNKNOWN;
	why = check_inner(m, inner);
	if (why != PASS)
		return why;
	if (!comes_from(w->topo, tunnel, seg, &from))
		return DROP_VTEP_UNKNOWN;
	rte_pktmbuf_adj(m, inner);
	from.in_port = md->in_port;
	from.probe = md->probe;
	*md = from;
	return PASS;
}

void
vxlan_decap(struct worker *w, struct vec *in, struct vec *frame)
{
	struct rte_mbuf *m;
	enum drop why;
	uint16_t i;

	vec_foreach (in, m, i) {
		why = decap(w, m);
		if (why == PASS)
			vec_add(frame, m);
		else
			worker_drop(w, m, why);
	}
}
