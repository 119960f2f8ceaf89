/* SPDX-License-Identifier: BSD-3-Clause */
#include "topology.h"

uint16_t
topo_segment_by_vni(const struct topology *t, uint32_t vni)
{
	for (uint16_t i = 0; i < t->n_segments; i++)
		if (t->segments[i].vni == vni)
			return i;
	return TOPO_NONE;
}

uint16_t
topo_tunnel_by_vtep(const struct topology *t, rte_be32_t vtep)
{
	for (uint16_t i = 0; i < t->n_peers; i++)
		if (t->peers[i].vtep == vtep)
			return (uint16_t)(i + 1);
	for (uint16_t i = 0; i < t->n_vteps; i++)
		if (t->vteps[i].ip == vtep)
			return (uint16_t)(t->n_peers + i + 1);
	return 0;
}

rte_be32_t
topo_tunnel_end(const struct topology *t, uint16_t tunnel)
{
	return tunnel <= t->n_peers ? t->peers[tunnel - 1].vtep : t->vteps[tunnel - t->n_peers - 1].ip;
}

uint8_t
topo_router_by_mac(const struct topology *t, const struct rte_ether_addr *mac)
{
	for (uint16_t i = 0; i < t->n_peers; i++)
		if (rte_is_same_ether_addr(&t->peers[i].mac, mac))
			return (uint8_t)(i + 1);
	return 0;
}

uint16_t
topo_segment_by_ip(const struct topology *t, rte_be32_t ip)
{
	for (uint16_t i = 0; i < t->n_segments; i++)
		if (topo_in(&t->segments[i].prefix, ip))
			return i;
	return TOPO_NONE;
}

uint16_t
topo_segment_in_vrf(const struct topology *t, uint16_t vrf, rte_be32_t ip)
{
	for (uint16_t i = 0; i < t->n_segments; i++)
		if (t->segments[i].vrf == vrf && topo_in(&t->segments[i].prefix, ip))
			return i;
	return TOPO_NONE;
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

uint16_t
topo_port_by_ip(const struct topology *t, rte_be32_t ip)
{
	for (uint16_t i = 0; i < t->n_ports; i++)
		if (t->ports[i].role == TOPO_WAN && t->ports[i].ip == ip && ip != 0)
			return i;
	return TOPO_NONE;
}
