/* SPDX-License-Identifier: BSD-3-Clause */
#include "kernel_frame.h"

#include "ip4.h"

#include <rte_arp.h>

struct arp_frame {
	struct rte_ether_hdr eth;
	struct rte_arp_hdr arp;
} __rte_packed __rte_aligned(2);

static bool
is_own_request(const struct topo_port *port, const struct rte_mbuf *m)
{
	const struct arp_frame *f = rte_pktmbuf_mtod(m, const struct arp_frame *);
	const struct rte_arp_hdr *h = &f->arp;

	return rte_pktmbuf_data_len(m) >= sizeof(*f) && h->arp_opcode == RTE_BE16(RTE_ARP_OP_REQUEST) &&
	       h->arp_hardware == RTE_BE16(RTE_ARP_HRD_ETHER) &&
	       h->arp_protocol == RTE_BE16(RTE_ETHER_TYPE_IPV4) && h->arp_hlen == RTE_ETHER_ADDR_LEN &&
	       h->arp_plen == sizeof(rte_be32_t) &&
	       rte_is_same_ether_addr(&h->arp_data.arp_sha, &port->mac) && h->arp_data.arp_sip == port->ip;
}

bool
kernel_frame_may_leave(const struct topo_port *port, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	if (rte_pktmbuf_data_len(m) < sizeof(*eth) || !rte_is_same_ether_addr(&eth->src_addr, &port->mac))
		return false;
	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP))
		return is_own_request(port, m);
	return eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) && ip4_parse(m) == DROPS &&
	       ip4_hdr(m)->src_addr == port->ip;
}
