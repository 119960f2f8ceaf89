/* SPDX-License-Identifier: BSD-3-Clause */
#include "floor.h"

static void
ask(struct rte_mbuf **m, const struct vm_rec **recs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		rte_prefetch0(rte_pktmbuf_mtod(m[i], void *));
		rte_prefetch0(recs[i]);
	}
}

static inline void
translate(struct rte_mbuf *m, const struct vm_rec *rec)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);

	eth->dst_addr = rec->mac;
	ip->dst_addr = rec->addresses[0].ip;
	ip->time_to_live--;
}

static inline void
encapsulate(const struct worker *w, struct rte_mbuf *m, const struct vm_rec *rec)
{
	struct tunnel_hdr *h = (struct tunnel_hdr *)rte_pktmbuf_prepend(m, sizeof(*h));
	uint32_t len = rte_pktmbuf_pkt_len(m);

	*h = w->tunnel[rec->location];
	h->ip.total_length = rte_cpu_to_be_16((uint16_t)(len - offsetof(struct tunnel_hdr, ip)));
	h->udp.dgram_len = rte_cpu_to_be_16((uint16_t)(len - offsetof(struct tunnel_hdr, udp)));
}

/* The header is read: what is not of the segment keeps it. */
static inline void
decapsulate(struct rte_mbuf *m, const struct vm_rec *rec)
{
	const struct tunnel_hdr *h = rte_pktmbuf_mtod(m, const struct tunnel_hdr *);

	if (h->vxlan.vx_vni == RTE_BE32(RIG_VNI << 8))
		rte_pktmbuf_adj(m, sizeof(*h));
	m->port = rec->att;
}

static void
floor_nat(const struct worker *w, struct rte_mbuf **m, const struct vm_rec **recs, uint32_t n)
{
	(void)w;
	ask(m, recs, n);
	for (uint32_t i = 0; i < n; i++)
		translate(m[i], recs[i]);
}

static void
floor_encap(const struct worker *w, struct rte_mbuf **m, const struct vm_rec **recs, uint32_t n)
{
	ask(m, recs, n);
	for (uint32_t i = 0; i < n; i++)
		encapsulate(w, m[i], recs[i]);
}

/* In two loops, because the second one's stores would fill the CPU's buffers in front of records that have not come yet: with 100,000 VMs 45
 * cycles a packet instead of 55. */
static void
floor_nat_encap(const struct worker *w, struct rte_mbuf **m, const struct vm_rec **recs, uint32_t n)
{
	floor_nat(w, m, recs, n);
	for (uint32_t i = 0; i < n; i++)
		encapsulate(w, m[i], recs[i]);
}

static void
floor_decap(const struct worker *w, struct rte_mbuf **m, const struct vm_rec **recs, uint32_t n)
{
	(void)w;
	ask(m, recs, n);
	for (uint32_t i = 0; i < n; i++)
		decapsulate(m[i], recs[i]);
}

floor_burst
floor_of(const struct workload *kind)
{
	if (kind->way[0] == RIG_BRIDGED)
		return floor_encap;
	if (kind->way[0] == RIG_TUNNEL)
		return floor_decap;
	return kind->set == RIG_TROMBONE || kind->set == RIG_AWAY ? floor_nat_encap : floor_nat;
}

uint32_t
floor_vm(const struct workload *kind, uint32_t vm, uint32_t vms)
{
	return kind->way[0] == RIG_BRIDGED ? (vm + 1) % vms : vm;
}
