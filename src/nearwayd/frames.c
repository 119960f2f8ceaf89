/* SPDX-License-Identifier: BSD-3-Clause */
#include "frames.h"

#include <rte_arp.h>
#include <string.h>

#define FRAME_MIN 60 /* without FCS */

static const struct rte_ether_addr broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
static const struct rte_ether_addr nobody = {
	{0x03, 'n', 'w', 'p', 'i', 'n'}}; /* group, locally administered */

static struct rte_mbuf *
make(struct rte_mempool *pool, const struct rte_ether_addr *dst, const struct rte_ether_addr *src,
	uint16_t type)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_ether_hdr *eth;

	if (m == NULL)
		return NULL;
	eth = (struct rte_ether_hdr *)(void *)rte_pktmbuf_append(m, FRAME_MIN);
	memset(eth, 0, FRAME_MIN);
	eth->dst_addr = *dst;
	eth->src_addr = *src;
	eth->ether_type = rte_cpu_to_be_16(type);
	return m;
}

static struct rte_arp_hdr *
arp_header(struct rte_mbuf *m, uint16_t opcode)
{
	struct rte_arp_hdr *a = rte_pktmbuf_mtod_offset(m, struct rte_arp_hdr *, RTE_ETHER_HDR_LEN);

	a->arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER);
	a->arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	a->arp_hlen = RTE_ETHER_ADDR_LEN;
	a->arp_plen = sizeof(rte_be32_t);
	a->arp_opcode = rte_cpu_to_be_16(opcode);
	return a;
}

struct rte_mbuf *
frame_arp_request(struct rte_mempool *pool, const struct rte_ether_addr *dst,
	const struct rte_ether_addr *smac, rte_be32_t sip, rte_be32_t tip)
{
	struct rte_mbuf *m = make(pool, dst != NULL ? dst : &broadcast, smac, RTE_ETHER_TYPE_ARP);
	struct rte_arp_hdr *a;

	if (m == NULL)
		return NULL;
	a = arp_header(m, RTE_ARP_OP_REQUEST);
	a->arp_data.arp_sha = *smac;
	a->arp_data.arp_sip = sip;
	a->arp_data.arp_tip = tip;
	return m;
}

struct rte_mbuf *
frame_rarp(struct rte_mempool *pool, const struct rte_ether_addr *vm)
{
	struct rte_mbuf *m = make(pool, &broadcast, vm, RTE_ETHER_TYPE_RARP);
	struct rte_arp_hdr *a;

	if (m == NULL)
		return NULL;
	a = arp_header(m, RTE_ARP_OP_REVREQUEST);
	a->arp_data.arp_sha = *vm;
	a->arp_data.arp_tha = *vm;
	return m;
}

struct rte_mbuf *
frame_pin(struct rte_mempool *pool, const struct rte_ether_addr *src, const struct rte_ether_addr *router)
{
	struct rte_mbuf *m = make(pool, &nobody, src, PIN_ETHERTYPE);

	if (m != NULL)
		*rte_pktmbuf_mtod(m, struct pin_frame *) =
			(struct pin_frame){*rte_pktmbuf_mtod(m, struct rte_ether_hdr *), PIN_MAGIC, *router};
	return m;
}
