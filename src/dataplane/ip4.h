/* SPDX-License-Identifier: BSD-3-Clause */
/* ip4.h - the IPv4 header behind the Ethernet header: checked and parsed once, into meta. */
#pragma once

#include "csum.h"
#include "ip4_options.h"
#include "meta.h"
#include "mss.h"
#include "stages.h"

#include <endian.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <stdbool.h>

#define IP4_OFF	   ((uint16_t)sizeof(struct rte_ether_hdr))
#define TCP_FIN	   0x01
#define TCP_SYN	   0x02
#define TCP_RST	   0x04
#define TCP_ACK	   0x10
#define IP4_TTL	   64 /* of packets the router makes */
#define VXLAN_PORT 4789

enum { /* types the router reads or writes: RFC 792 */
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_QUENCH = 4,
	ICMP_REDIRECT = 5,
	ICMP_ECHO = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER = 12,
};

static inline struct rte_ipv4_hdr *
ip4_hdr(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, IP4_OFF);
}

/* Bytes of the first segment from `off` to the end of the IPv4 packet: what a stage may read there. */
static inline uint16_t
ip4_room(const struct rte_mbuf *m, const struct meta *md, uint16_t off)
{
	uint32_t end = RTE_MIN((uint32_t)IP4_OFF + md->l3_len, (uint32_t)rte_pktmbuf_data_len(m));

	return end > off ? (uint16_t)(end - off) : 0;
}

static inline bool
icmp_is_error(uint8_t type)
{
	return type == ICMP_UNREACHABLE || type == ICMP_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER;
}

/* Addresses that no packet we forward may carry as source or destination: 0/8, 127/8, 224/4 and above. */
static inline bool
ip4_martian(rte_be32_t a)
{
	uint8_t first = rte_be_to_cpu_32(a) >> 24;

	return first == 0 || first == 127 || first >= 224;
}

static inline bool
ip4_later_fragment(const struct rte_ipv4_hdr *ip)
{
	return (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK)) != 0;
}

/* Ports of TCP and UDP; the identifier of an ICMP echo in both; else 0. `l4` has `len` readable bytes. */
static inline void
ip4_ports(uint8_t proto, const uint8_t *l4, uint16_t len, rte_be16_t port[2])
{
	port[0] = port[1] = 0;
	if ((proto == IPPROTO_TCP || proto == IPPROTO_UDP) && len >= 4) {
		memcpy(port, l4, 4);
	} else if (proto == IPPROTO_ICMP && len >= 6 && (l4[0] == ICMP_ECHO || l4[0] == ICMP_ECHO_REPLY)) {
		memcpy(&port[0], l4 + 4, 2);
		port[1] = port[0];
	}
}

/* As rte_be_to_cpu_16() of it, whose exchange of half registers takes three times as long. */
static inline uint16_t
ip4_total(const struct rte_ipv4_hdr *ip)
{
	return be16toh(ip->total_length);
}

/* Takes Ethernet padding off, so that the frame ends where its IPv4 packet does. Segments behind that end are freed:
 * rte_pktmbuf_trim() takes from the last one alone. */
static inline void
ip4_trim(struct rte_mbuf *m, uint32_t l3_len)
{
	uint32_t keep = IP4_OFF + l3_len;
	struct rte_mbuf *last = m;
	uint16_t n = 1;

	if (likely(rte_pktmbuf_pkt_len(m) == keep))
		return;
	m->pkt_len = keep;
	for (; keep > last->data_len; last = last->next, n++)
		keep -= last->data_len;
	last->data_len = (uint16_t)keep;
	rte_pktmbuf_free(last->next);
	last->next = NULL;
	m->nb_segs = n;
}

static inline void
ip4_parse_l4(struct rte_mbuf *m, struct meta *md)
{
	const uint8_t *l4 = rte_pktmbuf_mtod_offset(m, const uint8_t *, md->l4_off);
	uint16_t len = ip4_room(m, md, md->l4_off);
	rte_be16_t port[2];

	ip4_ports(md->proto, l4, len, port);
	md->sport = port[0];
	md->dport = port[1];
	if (md->proto == IPPROTO_TCP && len >= 14)
		md->tcp_flags = l4[13];
	if (md->proto == IPPROTO_ICMP && len >= 1 && icmp_is_error(l4[0]))
		md->flags |= META_ICMP_ERROR;
}

/* Of a header without options, whose version is right. In words of 64 bits, whose carries come round: 2^16 is 1 modulo 65535, and so is 2^64,
 * and right is a sum that 65535 divides. That is told by a multiplication with its inverse modulo 2^64 (Warren, Hacker's Delight, 10-17),
 * at half of what folding costs. */
static inline bool
ip4_sum_is_right(const struct rte_ipv4_hdr *ip)
{
	uint64_t a, b, sum;
	uint32_t c;

	memcpy(&a, ip, sizeof(a));
	memcpy(&b, (const char *)ip + 8, sizeof(b));
	memcpy(&c, (const char *)ip + 16, sizeof(c));
	sum = a + b;
	sum += sum < b;
	sum += c;
	sum += sum < c;
	return sum * UINT64_C(0xfffefffefffeffff) <= UINT64_MAX / 65535;
}

/* Checks the header (RFC 1812, 5.2.2) and notes in meta what later stages ask; trims padding. DROPS when it is good, else
 * why not. A packet whose header changes place (decapsulated) is parsed anew. */
static inline enum drop
ip4_parse(struct rte_mbuf *m)
{
	struct meta *md = meta(m);
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);
	enum drop options = DROPS;
	uint16_t ihl, total;

	if (rte_pktmbuf_data_len(m) < IP4_OFF + sizeof(*ip))
		return DROP_TOO_SHORT;
	ihl = rte_ipv4_hdr_len(ip);
	total = rte_be_to_cpu_16(ip->total_length);
	if (ip->version != 4 || ihl < sizeof(*ip) || total < ihl ||
		(uint32_t)IP4_OFF + total > rte_pktmbuf_pkt_len(m) || IP4_OFF + ihl > rte_pktmbuf_data_len(m))
		return DROP_IP_MALFORMED;
	if (unlikely(ihl != sizeof(*ip) ? rte_raw_cksum(ip, ihl) != 0xffff : !ip4_sum_is_right(ip)))
		return DROP_IP_CHECKSUM;
	if (ip4_martian(ip->src_addr) || ip4_martian(ip->dst_addr))
		return DROP_MARTIAN;
	if (unlikely(ihl != sizeof(*ip)))
		options = ip4_options_check((const uint8_t *)(ip + 1), ihl - sizeof(*ip));
	if (options != DROPS)
		return options;
	md->l3_known = 1;
	md->proto = ip->next_proto_id;
	md->l3_len = total;
	md->l4_off = IP4_OFF + ihl;
	md->tcp_flags = 0;
	md->sport = md->dport = 0;
	md->flags &= ~META_ICMP_ERROR;
	ip4_trim(m, total);
	md->fragment = ip4_later_fragment(ip)					? 2
		       : (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG)) ? 1
										: 0;
	if (md->fragment != 2)
		ip4_parse_l4(m, md);
	return DROPS;
}

/* As ip4_parse, unless an earlier stage did it. */
static inline enum drop
ip4_know(struct rte_mbuf *m)
{
	return meta(m)->l3_known ? DROPS : ip4_parse(m);
}

/* What an ICMP error quotes: the header, and as much behind it as is there. */
struct ip4_quoted {
	struct rte_ipv4_hdr *ip;
	uint8_t *l4;
	uint16_t l4_len; /* 0: a later fragment, or nothing behind the header */
};

/* False when not even the quoted IPv4 header is whole. For META_ICMP_ERROR packets only. */
static inline bool
ip4_quoted(struct rte_mbuf *m, struct ip4_quoted *q)
{
	const struct meta *md = meta(m);
	uint16_t off = md->l4_off + sizeof(struct rte_icmp_hdr), len = ip4_room(m, md, off), ihl;

	if (len < sizeof(*q->ip))
		return false;
	q->ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, off);
	ihl = rte_ipv4_hdr_len(q->ip);
	if (q->ip->version != 4 || ihl < sizeof(*q->ip) || ihl > len)
		return false;
	q->l4 = (uint8_t *)q->ip + ihl;
	q->l4_len = ip4_later_fragment(q->ip) ? 0 : len - ihl;
	return true;
}

/* Of a TTL that is one less, whatever it was: it is the high byte of its word, above the protocol. */
#define IP4_TTL_DELTA csum_delta16(RTE_BE16(1 << 8), 0)

static inline void
ip4_take_ttl(struct rte_ipv4_hdr *ip)
{
	ip->time_to_live--;
	ip->hdr_checksum = csum_apply(ip->hdr_checksum, IP4_TTL_DELTA);
}

static inline bool
ip4_is_tcp_syn(const struct meta *md) /* a pure one: it opens a session */
{
	return md->proto == IPPROTO_TCP && (md->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* Clamps the MSS of a parsed TCP SYN or SYN-ACK; mss 0: of none. */
static inline void
ip4_clamp(struct rte_mbuf *m, uint16_t mss)
{
	const struct meta *md = meta(m);

	if (mss != 0 && md->l3_known && md->proto == IPPROTO_TCP && md->fragment != 2 &&
		(md->tcp_flags & TCP_SYN) != 0)
		mss_clamp(
			rte_pktmbuf_mtod_offset(m, uint8_t *, md->l4_off), ip4_room(m, md, md->l4_off), mss);
}
