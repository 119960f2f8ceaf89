/* SPDX-License-Identifier: BSD-3-Clause */
#include "topology.h"

#include <rte_common.h>
#include <string.h>

_Static_assert(
	TOPO_SEGMENTS <= TOPO_HASH / 4 && TOPO_TUNNELS <= TOPO_HASH / 4, "the hashes stay a quarter full");

/* ---- the index ---- */

static inline uint32_t
slot_of(uint32_t key)
{
	return key * UINT32_C(0x9e3779b1) >> 22;
}

static inline uint32_t
slot_of_prefix(rte_be32_t addr, rte_be32_t mask)
{
	return slot_of((addr & mask) ^ rte_bswap32(mask));
}

static inline uint32_t
next_slot(uint32_t slot)
{
	return (slot + 1) % TOPO_HASH;
}

static void
put(uint16_t table[TOPO_HASH], uint32_t slot, uint16_t what)
{
	while (table[slot] != TOPO_NONE)
		slot = next_slot(slot);
	table[slot] = what;
}

static void
add_mask(struct topo_index *x, rte_be32_t mask)
{
	for (uint16_t i = 0; i < x->n_masks; i++)
		if (x->mask[i] == mask)
			return;
	x->mask[x->n_masks++] = mask;
}

/* The first bytes of a prefix' addresses. */
static void
add_bytes(struct topo_index *x, const struct topo_prefix *p, uint8_t flags)
{
	uint8_t from = rte_be_to_cpu_32(p->addr & p->mask) >> 24;
	uint8_t to = rte_be_to_cpu_32(p->addr | ~p->mask) >> 24;

	for (unsigned int b = from; b <= to; b++)
		x->first[b] |= flags;
}

static void
index_bytes(const struct topology *t, struct topo_index *x)
{
	static const struct topo_prefix martian[] = {{RTE_BE32(0), RTE_BE32(0xff000000)},
		{RTE_BE32(0x7f000000), RTE_BE32(0xff000000)}, {RTE_BE32(0xe0000000), RTE_BE32(0xe0000000)}};

	memset(x->first, 0, sizeof(x->first));
	for (uint16_t i = 0; i < t->n_segments; i++)
		add_bytes(x, &t->segments[i].prefix, TOPO_ODD | TOPO_OURS);
	for (size_t i = 0; i < RTE_DIM(martian); i++)
		add_bytes(x, &martian[i], TOPO_ODD | TOPO_OURS | TOPO_MARTIAN);
	for (uint16_t i = 0; i < t->n_pools; i++)
		add_bytes(x, &t->pools[i].prefix, TOPO_OURS);
	for (uint16_t i = 0; i < x->n_wans; i++)
		add_bytes(x, &(struct topo_prefix){x->wan_ip[i], UINT32_MAX}, TOPO_OURS | TOPO_PORT);
}

void
topo_index(struct topology *t)
{
	struct topo_index *x = &t->index;

	memset(x, 0xff, sizeof(*x)); /* TOPO_NONE */
	x->n_masks = x->n_wans = 0;
	for (uint16_t i = 0; i < t->n_ports; i++) {
		if (t->ports[i].role != TOPO_WAN || t->ports[i].ip == 0)
			continue;
		x->wan_ip[x->n_wans] = t->ports[i].ip;
		x->wan_port[x->n_wans++] = i;
	}
	for (uint16_t i = 0; i < t->n_segments; i++) {
		const struct topo_prefix *p = &t->segments[i].prefix;

		add_mask(x, p->mask);
		put(x->prefix, slot_of_prefix(p->addr, p->mask), i);
		put(x->vni, slot_of(t->segments[i].vni), i);
	}
	index_bytes(t, x);
	for (uint16_t i = 1; i < TOPO_TUNNELS; i++)
		if (topo_tunnel_end(t, i) != 0)
			put(x->vtep, slot_of(topo_tunnel_end(t, i)), i);
}

/* ---- looking up ---- */

uint16_t
topo_segment_by_vni(const struct topology *t, uint32_t vni)
{
	uint32_t slot = slot_of(vni);
	uint16_t i;

	while ((i = t->index.vni[slot]) != TOPO_NONE && t->segments[i].vni != vni)
		slot = next_slot(slot);
	return i;
}

uint16_t
topo_tunnel_by_vtep(const struct topology *t, rte_be32_t vtep)
{
	uint32_t slot = slot_of(vtep);
	uint16_t i;

	while ((i = t->index.vtep[slot]) != TOPO_NONE && topo_tunnel_end(t, i) != vtep)
		slot = next_slot(slot);
	return i != TOPO_NONE ? i : 0;
}

rte_be32_t
topo_tunnel_end(const struct topology *t, uint16_t tunnel)
{
	return tunnel < TOPO_VTEP_TUNNEL ? t->peers[tunnel - 1].vtep : t->vteps[tunnel - TOPO_VTEP_TUNNEL].ip;
}

uint8_t
topo_router_by_mac(const struct topology *t, const struct rte_ether_addr *mac)
{
	for (uint16_t i = 0; i < t->n_peers; i++)
		if (t->peers[i].vtep != 0 && rte_is_same_ether_addr(&t->peers[i].mac, mac))
			return (uint8_t)(i + 1);
	return 0;
}

#define ANY_VRF UINT32_MAX

/* The first of the segments whose prefix, of one length, holds the address. */
static inline uint16_t
by_mask(const struct topology *t, rte_be32_t mask, uint32_t vrf, rte_be32_t ip)
{
	uint32_t slot = slot_of_prefix(ip, mask);
	uint16_t i;

	for (; (i = t->index.prefix[slot]) != TOPO_NONE; slot = next_slot(slot)) {
		const struct topo_segment *s = &t->segments[i];

		if (s->prefix.mask == mask && topo_in(&s->prefix, ip) && (vrf == ANY_VRF || s->vrf == vrf))
			break;
	}
	return i;
}

static inline uint16_t
by_ip(const struct topology *t, uint32_t vrf, rte_be32_t ip)
{
	uint16_t first = TOPO_NONE;

	for (uint16_t k = 0; k < t->index.n_masks; k++) {
		uint16_t i = by_mask(t, t->index.mask[k], vrf, ip);

		first = RTE_MIN(first, i);
	}
	return first;
}

uint16_t
topo_segment_by_ip(const struct topology *t, rte_be32_t ip)
{
	return by_ip(t, ANY_VRF, ip);
}

uint16_t
topo_segment_in_vrf(const struct topology *t, uint16_t vrf, rte_be32_t ip)
{
	return by_ip(t, vrf, ip);
}

const struct rte_ether_addr *
topo_gateway_mac(const struct topo_segment *s, uint8_t router)
{
	return s->per_site && router != ROUTER_SELF ? &s->peer_mac[router] : &s->gw_mac;
}

bool
topo_is_peer_gateway(const struct topology *t, const struct topo_segment *s, const struct rte_ether_addr *mac)
{
	if (!s->per_site || rte_is_zero_ether_addr(mac))
		return false;
	for (uint16_t i = 1; i <= t->n_peers; i++)
		if (rte_is_same_ether_addr(&s->peer_mac[i], mac))
			return true;
	return false;
}

bool
topo_is_pool(const struct topology *t, rte_be32_t ip)
{
	for (uint16_t i = 0; i < t->n_pools; i++)
		if (topo_in(&t->pools[i].prefix, ip))
			return true;
	return false;
}
