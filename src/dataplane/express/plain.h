/* SPDX-License-Identifier: BSD-3-Clause */
/* plain.h - headers of which nothing has to be said. */
#pragma once

#include <dataplane/ip4.h>

#define TOTAL_MIN ((uint16_t)(sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr)))
#define FRAME_MIN ((uint16_t)(IP4_OFF + TOTAL_MIN))

static inline struct rte_ipv4_hdr *
ip_of(struct rte_ether_hdr *eth)
{
	return (struct rte_ipv4_hdr *)(eth + 1);
}

/* TCP that neither opens nor answers an opening, whose MSS may have to be clamped. */
static inline bool
is_plain_tcp(const struct rte_ipv4_hdr *ip)
{
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(ip + 1);

	return ip4_total(ip) >= sizeof(*ip) + sizeof(*tcp) && (tcp->tcp_flags & TCP_SYN) == 0;
}

/* Nonzero: not IPv4 without options. */
static inline uint32_t
no_ip4(const struct rte_ether_hdr *eth)
{
	uint32_t type;

	memcpy(&type, &eth->ether_type, sizeof(type)); /* and version, header length, TOS */
	return (type ^ RTE_BE32(RTE_ETHER_TYPE_IPV4 << 16 | RTE_IPV4_VHL_DEF << 8)) & RTE_BE32(0xffffff00);
}

/* Nonzero: of its frame of `len` bytes the packet does not take all. */
static inline uint32_t
is_padded(const struct rte_ipv4_hdr *ip, uint16_t len)
{
	return (uint32_t)(ip4_total(ip) + IP4_OFF) ^ len;
}

/* IPv4 in one piece without options, whose transport header is whole in these `len` bytes of a frame: FRAME_MIN or more. Sets *padded when it
 * takes not all of them.
 *
 * Here and where packets are looked at, what is compared is put together, and branched on once: branches, shifts and carries share two of a CPU's
 * ports, and had them busy for half of the time. */
static inline bool
is_whole(const struct rte_ether_hdr *eth, uint16_t len, bool *padded)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);
	uint32_t what;

	if (unlikely((no_ip4(eth) | is_padded(ip, len)) != 0)) {
		/* TOTAL_MIN <= total <= len - IP4_OFF */
		if (no_ip4(eth) || (uint16_t)(ip4_total(ip) - TOTAL_MIN) > (uint16_t)(len - FRAME_MIN))
			return false;
		*padded = true;
	}
	memcpy(&what, &ip->fragment_offset, sizeof(what)); /* and TTL, protocol */
	what &= RTE_BE32((uint32_t)(uint16_t)~RTE_IPV4_HDR_DF_FLAG << 16 | 0xff);
	return what == RTE_BE32(IPPROTO_UDP) || (what == RTE_BE32(IPPROTO_TCP) && is_plain_tcp(ip));
}

/* That, and it lives another hop, and its checksum is right. */
static inline bool
is_routable(const struct rte_ether_hdr *eth, uint16_t len, bool *padded)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);

	return is_whole(eth, len, padded) && ip->time_to_live > 1 && ip4_sum_is_right(ip);
}

/* TCP that ends. */
static inline bool
ends(const struct rte_ipv4_hdr *ip)
{
	return ip->next_proto_id == IPPROTO_TCP &&
	       (((const struct rte_tcp_hdr *)(ip + 1))->tcp_flags & (TCP_FIN | TCP_RST)) != 0;
}
