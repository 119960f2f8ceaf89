/* SPDX-License-Identifier: BSD-3-Clause */
#include "storm.h"

#include <arpa/inet.h>
#include <rte_arp.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_udp.h>
#include <stdio.h>

#define BURST	    32
#define BYTES	    60 /* a least Ethernet frame, without FCS */
#define ASKS_PPS    10
#define STRANGER_IP RTE_IPV4(10, 1, 128, 0) /* senders' addresses begin here */
#define NOBODY_IP   RTE_IPV4(10, 1, 100, 1)

enum { BROADCASTS, ARP, ASKS, KINDS };

struct storm { /* one source, at a steady rate */
	const char *name;
	uint64_t pps, sent, refused;
	uint64_t start_us; /* 0: not blowing */
	uint64_t base;	   /* of `sent`, at the start */
	uint32_t macs;
	bool arp; /* the sender's MAC stands in the ARP, too */
	uint8_t frame[BYTES];
};

static struct storm storms[KINDS];
static const struct rte_ether_addr stranger = {{0x52, 0x54, 0xfe, 0, 0, 0}};

static void
ether(struct storm *s, const struct rte_ether_addr *src, uint16_t type)
{
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)s->frame;

	memset(&eth->dst_addr, 0xff, sizeof(eth->dst_addr));
	eth->src_addr = *src;
	eth->ether_type = htons(type);
}

static void
question(struct storm *s, const struct rte_ether_addr *src, rte_be32_t sender, rte_be32_t target)
{
	struct rte_arp_hdr *a = (struct rte_arp_hdr *)(s->frame + RTE_ETHER_HDR_LEN);

	ether(s, src, RTE_ETHER_TYPE_ARP);
	*a = (struct rte_arp_hdr){.arp_hardware = htons(RTE_ARP_HRD_ETHER),
		.arp_protocol = htons(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = RTE_ETHER_ADDR_LEN,
		.arp_plen = sizeof(rte_be32_t),
		.arp_opcode = htons(RTE_ARP_OP_REQUEST),
		.arp_data = {.arp_sha = *src, .arp_sip = sender, .arp_tip = target}};
	s->arp = true;
}

static void
broadcast(struct storm *s)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(s->frame + RTE_ETHER_HDR_LEN);

	ether(s, &stranger, RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = htons(BYTES - RTE_ETHER_HDR_LEN),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = htonl(STRANGER_IP),
		.dst_addr = 0xffffffff};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*(struct rte_udp_hdr *)(ip + 1) =
		(struct rte_udp_hdr){htons(9), htons(9), htons(BYTES - RTE_ETHER_HDR_LEN - sizeof(*ip)), 0};
}

void
storm_floods(uint64_t broadcast_pps, uint64_t arp_pps, uint32_t macs)
{
	storms[BROADCASTS] = (struct storm){.name = "broadcasts", .pps = broadcast_pps, .macs = macs};
	broadcast(&storms[BROADCASTS]);
	storms[ARP] = (struct storm){.name = "arp", .pps = arp_pps, .macs = macs};
	question(&storms[ARP], &stranger, htonl(STRANGER_IP), htonl(NOBODY_IP));
}

void
storm_asks(const struct rte_ether_addr *vm, rte_be32_t ip, rte_be32_t gateway)
{
	storms[ASKS] = (struct storm){.name = "asks", .pps = ASKS_PPS, .macs = 1};
	question(&storms[ASKS], vm, ip, gateway);
}

/* The n-th frame: source MACs count up in their last three bytes, and senders' addresses with them. */
static struct rte_mbuf *
frame(const struct storm *s, struct rte_mempool *pool, uint64_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint32_t i = (uint32_t)(n % s->macs);
	struct rte_ether_hdr *eth;
	struct rte_arp_hdr *a;

	if (m == NULL)
		return NULL;
	eth = (struct rte_ether_hdr *)rte_pktmbuf_append(m, BYTES);
	memcpy(eth, s->frame, BYTES);
	eth->src_addr.addr_bytes[3] ^= (uint8_t)(i >> 16);
	eth->src_addr.addr_bytes[4] ^= (uint8_t)(i >> 8);
	eth->src_addr.addr_bytes[5] ^= (uint8_t)i;
	if (s->arp) {
		a = (struct rte_arp_hdr *)(eth + 1);
		a->arp_data.arp_sha = eth->src_addr;
		a->arp_data.arp_sip = htonl(ntohl(a->arp_data.arp_sip) + (i & 0x3fff));
	}
	return m;
}

static void
blow(struct storm *s, uint16_t port, struct rte_mempool *pool, uint64_t due)
{
	struct rte_mbuf *m[BURST];

	while (s->sent < due) {
		uint16_t n = 0, took;

		while (n < BURST && s->sent + n < due && (m[n] = frame(s, pool, s->sent + n)) != NULL)
			n++;
		if (n == 0)
			return;
		took = rte_eth_tx_burst(port, 0, m, n);
		s->refused += n - took;
		rte_pktmbuf_free_bulk(m + took, n - took);
		s->sent += n;
	}
}

void
storm_blow(bool on, uint16_t port, struct rte_mempool *pool, uint64_t now_us)
{
	for (int i = 0; i < KINDS; i++) {
		struct storm *s = &storms[i];

		if (on && s->start_us == 0) {
			s->start_us = now_us;
			s->base = s->sent;
		}
		if (on)
			blow(s, port, pool, s->base + (now_us - s->start_us) * s->pps / 1000000);
		else
			s->start_us = 0;
	}
}

void
storm_report(void)
{
	for (int i = 0; i < KINDS && storms[i].pps != 0; i++)
		printf(", \"%s\": {\"sent\": %lu, \"refused\": %lu}", storms[i].name, storms[i].sent,
			storms[i].refused);
}
