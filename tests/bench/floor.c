/* SPDX-License-Identifier: BSD-3-Clause */
#include "floor.h"

#include "rig.h"

const struct session_cell floor_no_session = {.state = 0};

static void
ask(struct rte_mbuf **m, const struct vm_rec *const *recs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		rte_prefetch0(rte_pktmbuf_mtod(m[i], void *));
		rte_prefetch0(recs[i]);
	}
}

static inline void
translate(struct rte_mbuf *m, const struct vm_rec *rec, rte_be32_t dst)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);

	eth->dst_addr = rec->mac;
	ip->dst_addr = dst;
	ip->time_to_live--;
}

static inline void
encapsulate(const struct worker *w, struct rte_mbuf *m, uint8_t location)
{
	struct tunnel_hdr *h = (struct tunnel_hdr *)rte_pktmbuf_prepend(m, sizeof(*h));
	uint32_t len = rte_pktmbuf_pkt_len(m);

	*h = w->tunnel[location];
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
floor_nat(const struct worker *w, struct rte_mbuf **m, const struct floor_needs *needs, uint32_t n)
{
	(void)w;
	ask(m, needs->rec, n);
	for (uint32_t i = 0; i < n; i++)
		translate(m[i], needs->rec[i], needs->rec[i]->addresses[0].ip);
}

static void
floor_encap(const struct worker *w, struct rte_mbuf **m, const struct floor_needs *needs, uint32_t n)
{
	ask(m, needs->rec, n);
	for (uint32_t i = 0; i < n; i++)
		encapsulate(w, m[i], needs->rec[i]->location);
}

/* In two loops, because the second one's stores would fill the CPU's buffers in front of records that have not come yet: with 100,000 VMs 45
 * cycles a packet instead of 55. */
static void
floor_nat_encap(const struct worker *w, struct rte_mbuf **m, const struct floor_needs *needs, uint32_t n)
{
	floor_nat(w, m, needs, n);
	for (uint32_t i = 0; i < n; i++)
		encapsulate(w, m[i], needs->rec[i]->location);
}

static void
floor_decap(const struct worker *w, struct rte_mbuf **m, const struct floor_needs *needs, uint32_t n)
{
	(void)w;
	ask(m, needs->rec, n);
	for (uint32_t i = 0; i < n; i++)
		decapsulate(m[i], needs->rec[i]);
}

/* In two loops as above, and because nobody can foretell which packets the tunnel gets. Asked for in another order memory costs as much, or 5
 * cycles more. */
static void
floor_drain(const struct worker *w, struct rte_mbuf **m, const struct floor_needs *needs, uint32_t n)
{
	struct rte_mbuf *by_peer[BURST_MAX];
	uint32_t k = 0;

	for (uint32_t i = 0; i < n; i++) {
		rte_prefetch0(needs->session[i]);
		ask(m + i, needs->rec + i, 1);
	}
	for (uint32_t i = 0; i < n; i++) {
		rte_be32_t global = needs->rec[i]->addresses[0].global;
		rte_be32_t home = SESSION_STATE_HOME(needs->session[i]->state);

		home = home != 0 ? home : global;
		translate(m[i], needs->rec[i], home);
		by_peer[k] = m[i];
		k += home != global;
	}
	for (uint32_t i = 0; i < k; i++)
		encapsulate(w, by_peer[i], RIG_PEER);
}

floor_burst
floor_of(const struct workload *kind)
{
	if (kind->way[0] == RIG_BRIDGED)
		return floor_encap;
	if (kind->way[0] == RIG_TUNNEL)
		return floor_decap;
	if (kind->sessions != 0)
		return floor_drain;
	return kind->set == RIG_TROMBONE || kind->set == RIG_AWAY ? floor_nat_encap : floor_nat;
}

uint32_t
floor_vm(const struct workload *kind, uint32_t vm, uint32_t vms)
{
	return kind->way[0] == RIG_BRIDGED ? (vm + 1) % vms : vm;
}
