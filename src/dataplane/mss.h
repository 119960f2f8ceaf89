/* SPDX-License-Identifier: BSD-3-Clause */
/* mss.h - lowers the MSS option of TCP SYNs, so that a session fits the tunnel wherever its VM goes.
 *
 * Every SYN and SYN-ACK of an extended segment is clamped, tunnelled or not (topo_segment.mss): the session may outlive
 * a move. A SYN without the option stays as it is: 536 bytes fit.
 */
#pragma once

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

enum { MSS_OPT_END = 0, MSS_OPT_NOP = 1, MSS_OPT = 2, MSS_OPT_LEN = 4 };

/* Offset of the option's value in a header of `hlen` bytes, or 0. */
static inline uint16_t
mss_find(const uint8_t *tcp, uint16_t hlen)
{
	uint16_t i = sizeof(struct rte_tcp_hdr);

	while (i + 1 < hlen && tcp[i] != MSS_OPT_END) {
		if (tcp[i] == MSS_OPT_NOP) {
			i++;
			continue;
		}
		if (tcp[i] == MSS_OPT && tcp[i + 1] == MSS_OPT_LEN && i + MSS_OPT_LEN <= hlen)
			return i + 2;
		if (tcp[i + 1] < 2)
			return 0;
		i += tcp[i + 1];
	}
	return 0;
}

/* `len` bytes can be read and written at `tcp`, the header of a packet that may be no SYN. The checksum follows
 * (RFC 1624); a value at an odd offset counts byte-swapped in it. */
static inline void
mss_clamp(uint8_t *tcp, uint16_t len, uint16_t mss)
{
	struct rte_tcp_hdr *h = (struct rte_tcp_hdr *)tcp;
	uint16_t hlen, at, old, was, is;
	uint32_t sum;

	if (len < sizeof(*h) || (h->tcp_flags & RTE_TCP_SYN_FLAG) == 0)
		return;
	hlen = RTE_MIN((uint16_t)((h->data_off >> 4) * 4), len);
	at = mss_find(tcp, hlen);
	if (at == 0)
		return;
	old = (uint16_t)(tcp[at] << 8 | tcp[at + 1]);
	if (old <= mss)
		return;
	tcp[at] = (uint8_t)(mss >> 8);
	tcp[at + 1] = (uint8_t)mss;
	was = at % 2 == 0 ? old : rte_bswap16(old);
	is = at % 2 == 0 ? mss : rte_bswap16(mss);
	sum = (uint16_t)~rte_be_to_cpu_16(h->cksum) + (uint16_t)~was + is;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	h->cksum = rte_cpu_to_be_16((uint16_t)~sum);
}

/* The same for an Ethernet frame that nothing was parsed of yet; anything but a whole IPv4 TCP SYN header is left. */
static inline void
mss_clamp_frame(struct rte_mbuf *m, uint16_t mss)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	uint16_t len = rte_pktmbuf_data_len(m), ihl;

	if (len < sizeof(*eth) + sizeof(*ip) || eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) ||
		ip->version_ihl >> 4 != 4 || ip->next_proto_id != IPPROTO_TCP ||
		(ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK)) != 0)
		return;
	ihl = rte_ipv4_hdr_len(ip);
	if (ihl < sizeof(*ip) || len < sizeof(*eth) + ihl)
		return;
	mss_clamp((uint8_t *)ip + ihl, (uint16_t)(len - sizeof(*eth) - ihl), mss);
}
