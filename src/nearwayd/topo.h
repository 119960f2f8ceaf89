/* SPDX-License-Identifier: BSD-3-Clause */
/* topo.h - the data plane's topology from the configuration. Pure; ports.c adds each port's DPDK number and MAC. */
#pragma once

#include <api/kinds.h>
#include <dataplane/topology.h>

#define TOPO_TUNNEL_OVERHEAD 50 /* outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 */

/* 0, or -EINVAL where a reference or a limit does not hold (config_check() reports those with their lines). */
int topo_build(const struct config *c, struct topology *t, struct err *e);

static inline struct rte_ether_addr
topo_mac(const struct mac *m)
{
	struct rte_ether_addr a;

	__builtin_memcpy(a.addr_bytes, m->b, sizeof(a.addr_bytes));
	return a;
}

static inline struct mac
topo_mac_back(const struct rte_ether_addr *a)
{
	struct mac m;

	__builtin_memcpy(m.b, a->addr_bytes, sizeof(m.b));
	return m;
}
