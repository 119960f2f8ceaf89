/* SPDX-License-Identifier: BSD-3-Clause */
/* topology.h - what does not change while the router runs: ports, segments, attachments, peers, pools.
 *
 * Built once before workers start, read-only after. Indices are those of the configuration.
 */
#pragma once

#include "tables/vmtab.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <stdbool.h>

#define TOPO_PORTS	 32
#define TOPO_SEGMENTS	 256
#define TOPO_ATTACHMENTS 512
#define TOPO_PEERS	 32
#define TOPO_POOLS	 32
#define TOPO_NONE	 0xffff

enum topo_role { TOPO_WAN, TOPO_DC };

struct topo_prefix {
	rte_be32_t addr, mask;
};

static inline bool
topo_in(const struct topo_prefix *p, rte_be32_t a)
{
	return ((a ^ p->addr) & p->mask) == 0;
}

struct topo_port {
	char name[32];
	enum topo_role role;
	uint16_t dpdk_port;
	struct rte_ether_addr mac;
	rte_be32_t ip;		      /* WAN: own address; 0 = none */
	struct topo_prefix connected; /* WAN; mask 0 = none */
	uint16_t mtu;		      /* bytes of IP */
	uint16_t attachment[4096];    /* by VLAN; TOPO_NONE */
};

struct topo_segment {
	char name[32];
	uint32_t vni;
	uint16_t vrf;
	struct topo_prefix prefix;
	rte_be32_t gw_ip;
	struct rte_ether_addr gw_mac;
	uint16_t mtu;
	uint16_t mss; /* TCP MSS clamp: smallest tunnel MTU of the group less 40; 0 = none (no peers) */
	uint16_t tunnel_mtu; /* bytes of inner IP that fit the tunnel */
	bool nat;	     /* access: nat (else routed) */
	bool suppress_arp;
	uint32_t exits; /* routed: bit per WAN port that it may leave by */
	uint16_t n_attachments;
	uint16_t attachments[64];
};

struct topo_attachment {
	uint16_t port, vlan, seg;
};

struct topo_peer {
	char name[32];
	rte_be32_t vtep;
	struct rte_ether_addr mac; /* its router MAC */
};

struct topo_pool {
	struct topo_prefix prefix;
	bool on_link; /* answer ARP for registered and draining addresses on WAN ports */
};

struct topology {
	struct rte_ether_addr router_mac;
	rte_be32_t vtep; /* 0 = no extension */
	bool transit;
	uint16_t n_ports, n_segments, n_attachments, n_peers, n_pools;
	struct topo_port ports[TOPO_PORTS];
	struct topo_segment segments[TOPO_SEGMENTS];
	struct topo_attachment attachments[TOPO_ATTACHMENTS];
	struct topo_peer peers[TOPO_PEERS];
	struct topo_pool pools[TOPO_POOLS];
};

/* The segment with this VNI, or TOPO_NONE. */
uint16_t topo_segment_by_vni(const struct topology *t, uint32_t vni);
/* The peer with this VTEP as router index (1..), or 0. */
uint8_t topo_router_by_vtep(const struct topology *t, rte_be32_t vtep);
/* The peer with this router MAC as router index (1..), or 0. */
uint8_t topo_router_by_mac(const struct topology *t, const struct rte_ether_addr *mac);
/* The nat or routed segment whose prefix holds the address, or TOPO_NONE. */
uint16_t topo_segment_by_ip(const struct topology *t, rte_be32_t ip);
bool topo_is_pool(const struct topology *t, rte_be32_t ip);
/* The WAN port that owns the address, or TOPO_NONE. */
uint16_t topo_port_by_ip(const struct topology *t, rte_be32_t ip);
