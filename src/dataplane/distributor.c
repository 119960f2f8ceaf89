/* SPDX-License-Identifier: BSD-3-Clause */
#include "distributor.h"

#include "ip4.h"
#include "tables/fold.h"

/* Any odd numbers with as many ones as zeros. */
#define MIX_A UINT64_C(0x9e3779b97f4a7c15)
#define MIX_B UINT64_C(0xd1b54a32d192ed03)

struct tunnelled {
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
	struct rte_vxlan_hdr vxlan;
	struct rte_ether_addr dst,
		src; /* of the inner frame: all of it lies in the packet's first cache line */
} __rte_packed __rte_aligned(2);

static uint64_t
mac_key(const struct rte_ether_addr *mac)
{
	uint64_t key = 0;

	memcpy(&key, mac, sizeof(*mac));
	return key;
}

static bool
is_ip4(const struct rte_mbuf *m, const struct tunnelled *t)
{
	return rte_pktmbuf_data_len(m) >= IP4_OFF + sizeof(t->ip) &&
	       t->eth.ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
}

static bool
is_tunnelled(const struct rte_mbuf *m, const struct tunnelled *t)
{
	return rte_pktmbuf_data_len(m) >= sizeof(*t) && t->ip.version_ihl == RTE_IPV4_VHL_DEF &&
	       t->ip.next_proto_id == IPPROTO_UDP &&
	       (t->ip.fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG)) == 0 &&
	       t->udp.dst_port == RTE_BE16(VXLAN_PORT);
}

static uint64_t
flow_hash(struct rte_mbuf *m)
{
	const struct tunnelled *t = rte_pktmbuf_mtod(m, const struct tunnelled *);

	if (rte_pktmbuf_data_len(m) < sizeof(t->eth))
		return 0;
	if (!is_ip4(m, t))
		return fold(mac_key(&t->eth.src_addr) ^ MIX_A, MIX_B);
	if (is_tunnelled(m, t))
		return fold(mac_key(&t->dst) ^ MIX_A, mac_key(&t->src) ^ MIX_B);
	if (meta(m)->origin == FROM_WAN)
		return fold(t->ip.dst_addr ^ MIX_A, MIX_B);
	return fold(mac_key(&t->eth.src_addr) ^ MIX_A, MIX_B);
}

uint16_t
distributor_worker(struct rte_mbuf *m, uint16_t workers)
{
	return (uint16_t)((flow_hash(m) >> 32) * workers >> 32);
}

static void
drop(struct worker *w, struct rte_mbuf *m)
{
	w->c.received++;
	if (unlikely(w->probe != NULL))
		probe_received(w, m);
	worker_drop(w, m, DROP_DISTRIBUTOR_FULL);
}

bool
distributor_pass(struct worker *w, struct outlet *o)
{
	uint16_t n = o->n, sent;

	if (n == 0)
		return false;
	sent = (uint16_t)rte_ring_sp_enqueue_burst(o->ring, (void **)o->m, n, NULL);
	for (uint16_t i = sent; i < n; i++)
		drop(w, o->m[i]);
	w->c.passed += sent;
	o->n = 0;
	return true;
}
