/* SPDX-License-Identifier: BSD-3-Clause */
/* nat.h - rewrites one address of a parsed IPv4 packet and all checksums that cover it; no state.
 *
 * TCP, UDP (a zero checksum is kept), UDP-Lite and DCCP have the address in their pseudo header; later fragments have
 * no transport header; ICMP errors quote a packet of the other direction, which is translated inside out.
 */
#pragma once

#include "ip4.h"

enum nat_side { NAT_SRC, NAT_DST };

/* Where the checksum with a pseudo header stands in the transport header; 0 = there is none. */
static inline uint16_t
nat_csum_offset(uint8_t proto)
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
static inline uint64_t
nat_l4(uint8_t proto, uint8_t *at, uint64_t delta)
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

static inline rte_be32_t
nat_address(const struct rte_ipv4_hdr *ip, enum nat_side side)
{
	return side == NAT_SRC ? ip->src_addr : ip->dst_addr;
}

static inline void
nat_put(struct rte_ipv4_hdr *ip, enum nat_side side, rte_be32_t to)
{
	if (side == NAT_SRC)
		ip->src_addr = to;
	else
		ip->dst_addr = to;
}

/* Puts another address in its place; returns the delta for the transport's checksum. */
static inline uint64_t
nat_header(struct rte_ipv4_hdr *ip, enum nat_side side, rte_be32_t to)
{
	uint64_t delta = csum_delta32(nat_address(ip, side), to);

	nat_put(ip, side, to);
	ip->hdr_checksum = csum_apply(ip->hdr_checksum, delta);
	return delta;
}

/* All of a TCP or UDP packet without options, whole as far as the checksum, with the TTL of the hop: checksums in 32 bits. */
static inline void
nat_plain(struct rte_ipv4_hdr *ip, enum nat_side side, rte_be32_t to)
{
	uint32_t delta = csum_change32(nat_address(ip, side), to);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);

	nat_put(ip, side, to);
	ip->time_to_live--;
	ip->hdr_checksum = csum_apply32(ip->hdr_checksum, delta + (uint32_t)IP4_TTL_DELTA);
	if (ip->next_proto_id != IPPROTO_UDP) {
		tcp->cksum = csum_apply32(tcp->cksum, delta);
	} else if (udp->dgram_cksum != 0) {
		udp->dgram_cksum = csum_apply_udp(udp->dgram_cksum, delta);
	}
}

/* Writes `to` and keeps the old address in meta for nat_undo(). DROPS when done; else nothing was changed. */
enum drop nat_rewrite(struct rte_mbuf *m, enum nat_side side, rte_be32_t to);
/* Gives a packet back the addresses it came with: an ICMP error quotes what its receiver had sent. */
void nat_undo(struct rte_mbuf *m);
