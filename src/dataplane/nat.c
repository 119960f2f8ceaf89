/* SPDX-License-Identifier: BSD-3-Clause */
#include "nat.h"

/* Where the checksum with a pseudo header stands in the transport header; 0 = there is none. */
static uint16_t
csum_offset(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return offsetof(struct rte_tcp_hdr, cksum);
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		return 6;
	default:
		return 0;
	}
}

/* Applies the delta to the checksum at `at`; returns by what that changed the sum over its bytes. RFC 768: a UDP
 * checksum of zero means none, and one that comes out as zero is sent as all ones. */
static uint32_t
l4_fix(uint8_t proto, uint8_t *at, uint32_t delta)
{
	bool zero_is_none = proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE;
	uint16_t from, to;

	memcpy(&from, at, sizeof(from));
	if (from == 0 && zero_is_none)
		return 0;
	to = csum_apply(from, delta);
	if (to == 0 && zero_is_none)
		to = 0xffff;
	memcpy(at, &to, sizeof(to));
	return csum_delta16(from, to);
}

static rte_be32_t
address(const struct rte_ipv4_hdr *ip, enum nat_side side)
{
	return side == NAT_SRC ? ip->src_addr : ip->dst_addr;
}

/* Rewrites the address in a header; returns the delta for the transport checksum. */
static uint32_t
header_fix(struct rte_ipv4_hdr *ip, enum nat_side side, rte_be32_t to)
{
	uint32_t delta = csum_delta32(address(ip, side), to);

	if (side == NAT_SRC)
		ip->src_addr = to;
	else
		ip->dst_addr = to;
	ip->hdr_checksum = csum_apply(ip->hdr_checksum, delta);
	return delta;
}

/* The quoted packet went the other way: its other address is rewritten, with its own checksums as far as they are
 * there; then the ICMP checksum that covers it all. */
static void
quoted_fix(struct rte_icmp_hdr *icmp, const struct ip4_quoted *q, enum nat_side side, rte_be32_t to)
{
	uint16_t off = csum_offset(q->ip->next_proto_id), csum = q->ip->hdr_checksum;
	uint32_t l4 = header_fix(q->ip, side, to);
	uint32_t delta = l4 + csum_delta16(csum, q->ip->hdr_checksum);

	if (off != 0 && q->l4_len >= off + sizeof(uint16_t))
		delta += l4_fix(q->ip->next_proto_id, q->l4 + off, l4);
	icmp->icmp_cksum = csum_apply(icmp->icmp_cksum, delta);
}

static enum drop
rewrite(struct rte_mbuf *m, enum nat_side side, rte_be32_t to)
{
	const struct meta *md = meta(m);
	struct rte_ipv4_hdr *ip = ip4_hdr(m);
	enum nat_side other = side == NAT_SRC ? NAT_DST : NAT_SRC;
	uint8_t *l4 = rte_pktmbuf_mtod_offset(m, uint8_t *, md->l4_off);
	uint16_t off = md->fragment == 2 ? 0 : csum_offset(md->proto);
	bool quotes = md->flags & META_ICMP_ERROR;
	struct ip4_quoted q;
	uint32_t delta;

	if (off != 0 && ip4_room(m, md, md->l4_off) < off + sizeof(uint16_t))
		return DROP_NAT_TRUNCATED;
	if (quotes && !ip4_quoted(m, &q))
		return DROP_NAT_TRUNCATED;
	if (quotes && address(q.ip, other) != address(ip, side)) /* RFC 5508, REQ-4 and REQ-5 */
		return DROP_NAT_QUOTE;
	delta = header_fix(ip, side, to);
	if (off != 0)
		l4_fix(md->proto, l4 + off, delta);
	if (quotes)
		quoted_fix((struct rte_icmp_hdr *)l4, &q, other, to);
	return DROPS;
}

enum drop
nat_rewrite(struct rte_mbuf *m, enum nat_side side, rte_be32_t to)
{
	rte_be32_t from = address(ip4_hdr(m), side);
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
