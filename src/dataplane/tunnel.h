/* SPDX-License-Identifier: BSD-3-Clause */
/* tunnel.h - the VXLAN header in front of a frame: RFC 7348, section 5. */
#pragma once

#include "tables/fold.h"
#include "worker.h"

#include <endian.h>
#include <netinet/in.h>
#include <string.h>

#define TUNNEL_ENTROPY_FIRST 49152 /* the dynamic range */
#define TUNNEL_ENTROPY_MASK  0x3fff

/* The UDP source port of an inner flow, of two words that name it. */
static inline uint16_t
tunnel_entropy(uint64_t a, uint64_t b)
{
	uint64_t h = fold(a ^ UINT64_C(0xa0761d6478bd642f), b ^ UINT64_C(0xe7037ed1a0b428db));

	return (uint16_t)(TUNNEL_ENTROPY_FIRST + (h & TUNNEL_ENTROPY_MASK));
}

/* Of an IPv4 packet; `ports`: as they stand in the packet, 0 when it has none. */
static inline uint16_t
tunnel_entropy_ip4(const struct rte_ipv4_hdr *ip, uint32_t ports)
{
	uint64_t ends;

	memcpy(&ends, &ip->src_addr, sizeof(ends));
	return tunnel_entropy(ends, (uint64_t)ip->next_proto_id << 32 | ports);
}

/* The template's checksum was computed for a length of 0. */
static inline rte_be16_t
tunnel_checksum(rte_be16_t checksum, rte_be16_t length)
{
	uint32_t sum = (uint16_t)~checksum + (uint32_t)length;

	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* All in front of a frame of `len` bytes; the template has all but lengths and source port. (DPDK's byte swaps exchange half registers, which takes
 * three times as long.) */
static inline void
tunnel_write(struct tunnel_hdr *h, const struct tunnel_hdr *template, uint16_t len, uint16_t sport)
{
	uint16_t udp_len = (uint16_t)(sizeof(h->udp) + sizeof(h->vxlan) + len);

	*h = *template;
	h->ip.total_length = htobe16((uint16_t)(sizeof(h->ip) + udp_len));
	h->ip.hdr_checksum = tunnel_checksum(template->ip.hdr_checksum, h->ip.total_length);
	h->udp.src_port = htobe16(sport);
	h->udp.dgram_len = htobe16(udp_len);
}
