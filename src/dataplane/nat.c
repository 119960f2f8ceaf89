/* SPDX-License-Identifier: BSD-3-Clause */
#include "nat.h"

/* The quoted packet went the other way: its other address is rewritten, with its own checksums as far as they are
 * there; then the ICMP checksum that covers it all. */
static void
quoted_fix(struct rte_icmp_hdr *icmp, const struct ip4_quoted *q, enum nat_side side, rte_be32_t to)
{
	uint16_t off = nat_csum_offset(q->ip->next_proto_id), csum = q->ip->hdr_checksum;
	uint64_t l4 = nat_header(q->ip, side, to);
	uint64_t delta = l4 + csum_delta16(csum, q->ip->hdr_checksum);

	if (off != 0 && q->l4_len >= off + sizeof(uint16_t))
		delta += nat_l4(q->ip->next_proto_id, q->l4 + off, l4);
	icmp->icmp_cksum = csum_apply(icmp->icmp_cksum, delta);
}

static enum drop
rewrite(struct rte_mbuf *m, enum nat_side side, rte_be32_t to)
{
	const struct meta *md = meta(m);
	struct rte_ipv4_hdr *ip = ip4_hdr(m);
	enum nat_side other = side == NAT_SRC ? NAT_DST : NAT_SRC;
	uint8_t *l4 = rte_pktmbuf_mtod_offset(m, uint8_t *, md->l4_off);
	uint16_t off = md->fragment == 2 ? 0 : nat_csum_offset(md->proto);
	bool quotes = md->flags & META_ICMP_ERROR;
	struct ip4_quoted q;
	uint64_t delta;

	if (off != 0 && ip4_room(m, md, md->l4_off) < off + sizeof(uint16_t))
		return DROP_NAT_TRUNCATED;
	if (quotes && !ip4_quoted(m, &q))
		return DROP_NAT_TRUNCATED;
	if (quotes && nat_address(q.ip, other) != nat_address(ip, side)) /* RFC 5508, REQ-4 and REQ-5 */
		return DROP_NAT_QUOTE;
	delta = nat_header(ip, side, to);
	if (off != 0)
		nat_l4(md->proto, l4 + off, delta);
	if (quotes)
		quoted_fix((struct rte_icmp_hdr *)l4, &q, other, to);
	return DROPS;
}

enum drop
nat_rewrite(struct rte_mbuf *m, enum nat_side side, rte_be32_t to)
{
	rte_be32_t from = nat_address(ip4_hdr(m), side);
	enum drop why = rewrite(m, side, to);

	if (why == DROPS && side == NAT_SRC)
		meta(m)->orig_src = from;
	else if (why == DROPS)
		meta(m)->orig_dst = from;
	return why;
}

void
nat_undo(struct rte_mbuf *m)
{
	struct meta *md = meta(m);

	if (md->orig_src != 0)
		rewrite(m, NAT_SRC, md->orig_src);
	if (md->orig_dst != 0)
		rewrite(m, NAT_DST, md->orig_dst);
	md->orig_src = md->orig_dst = 0;
}
