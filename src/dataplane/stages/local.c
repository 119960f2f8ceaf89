/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets to the router's own addresses: echo is answered by the packet itself, turned round; the kernel gets the rest
 * where the port that they came in by has given it an interface. */
#include <dataplane/icmp_error.h>
#include <dataplane/ip4.h>
#include <dataplane/pipeline.h>

static bool
is_echo(struct rte_mbuf *m)
{
	const struct meta *md = meta(m);

	return md->proto == IPPROTO_ICMP && md->fragment == 0 &&
	       ip4_room(m, md, md->l4_off) >= sizeof(struct rte_icmp_hdr) &&
	       *rte_pktmbuf_mtod_offset(m, uint8_t *, md->l4_off) == ICMP_ECHO;
}

/* The sum of both addresses is that of the request; TTL, type and nothing else change. */
static void
answer(struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = ip4_hdr(m);
	struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod_offset(m, struct rte_icmp_hdr *, meta(m)->l4_off);
	rte_be32_t asked = ip->dst_addr;

	ip->dst_addr = ip->src_addr;
	ip->src_addr = asked;
	ip->time_to_live = IP4_TTL;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	icmp->icmp_type = ICMP_ECHO_REPLY;
	icmp->icmp_cksum = csum_apply(
		icmp->icmp_cksum, csum_delta16(RTE_BE16(ICMP_ECHO << 8), RTE_BE16(ICMP_ECHO_REPLY << 8)));
	if (icmp->icmp_cksum == 0) /* of nothing but zeros it would be wrong, of others both are right */
		icmp->icmp_cksum = UINT16_MAX;
	meta(m)->flags |= META_OWN;
}

/* The tunnel is ours. Its packets do not come here unless they are fragments: without the first no host can make anything
 * of the others. */
static bool
is_tunnel(const struct worker *w, struct rte_mbuf *m)
{
	const struct meta *md = meta(m);

	return md->proto == IPPROTO_UDP && md->dport == RTE_BE16(VXLAN_PORT) &&
	       ip4_hdr(m)->dst_addr == w->topo->vtep;
}

/* From the wire of a WAN port to that port's own address; never from a segment or the tunnel. */
static bool
is_for_kernel(const struct worker *w, struct rte_mbuf *m)
{
	const struct meta *md = meta(m);
	const struct topo_port *port = &w->topo->ports[md->in_port];

	return md->origin == FROM_WAN && port->punt_pps != 0 && ip4_hdr(m)->dst_addr == port->ip &&
	       !is_tunnel(w, m);
}

void
local(struct worker *w, struct vec *in, struct vec *to_vm, struct vec *route)
{
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i) {
		if (is_echo(m)) {
			answer(m);
			vec_add(meta(m)->origin == FROM_WAN ? route : to_vm, m);
		} else if (is_for_kernel(w, m)) {
			worker_punt(w, m, meta(m)->proto == IPPROTO_TCP ? PUNT_TCP : PUNT_OTHER);
		} else if (meta(m)->proto == IPPROTO_UDP) {
			icmp_error_drop(w, m, DROP_LOCAL_UNANSWERED, 0);
		} else {
			worker_drop(w, m, DROP_LOCAL_UNANSWERED);
		}
	}
}
