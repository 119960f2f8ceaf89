/* SPDX-License-Identifier: BSD-3-Clause */
/* topology.h - ports, segments, attachments, peers, pools: what packets do not change.
 *
 * Readers: a worker reads the one that it took up last (worker.topo_wanted), all of a burst the same.
 * Writer:  the control thread makes another one when peers come or go, and frees the old after a grace period.
 * Indices: those of the configuration; they mean the same in every topology of a process.
 */
#pragma once

#include "tables/vmtab.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <stdbool.h>
#include <string.h>

#define TOPO_PORTS	 32
#define TOPO_SEGMENTS	 256
#define TOPO_ATTACHMENTS 512
#define TOPO_PEERS	 32
#define TOPO_POOLS	 32
#define TOPO_VTEPS	 128 /* local ones */
#define TOPO_TUNNELS	 (TOPO_PEERS + TOPO_VTEPS + 1)
#define TOPO_NONE	 0xffff

enum topo_role { TOPO_WAN, TOPO_DC };
enum topo_storm { STORM_BROADCAST, STORM_MULTICAST, STORM_UNICAST, STORMS }; /* classes of flooded frames */

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
	uint32_t punt_pps;	      /* WAN: to the kernel, per worker and class; 0 = nothing */
	uint16_t attachment[4096];    /* by VLAN; TOPO_NONE */
};

struct topo_segment {
	char name[32];
	uint32_t vni;
	uint16_t vrf; /* segments of another do not see this one's prefix */
	struct topo_prefix prefix;
	rte_be32_t gw_ip;
	struct rte_ether_addr gw_mac;
	bool per_site; /* each site has a gateway MAC of its own, else all have gw_mac */
	struct rte_ether_addr
		peer_mac[TOPO_PEERS + 1]; /* per_site: the gateway MAC by router index; zero = none */
	bool external; /* somebody else stretches the segment: our tunnel has gateway and home frames only */
	uint16_t mtu;
	uint16_t att_mtu; /* bytes of IP that fit each attachment: mtu, or less with local VTEPs */
	uint16_t mss;	  /* TCP MSS clamp: smallest tunnel MTU of the group less 40; 0 = none (no peers) */
	uint16_t tunnel_mtu; /* bytes of inner IP that fit the tunnel */
	bool nat;	     /* access: nat (else routed) */
	bool suppress_arp;
	uint32_t storm_pps[STORMS]; /* flooded frames a second, of all workers together; 0 = no limit */
	uint32_t exits;		    /* routed: bit per WAN port that it may leave by */
	uint16_t n_attachments;
	uint16_t attachments[64];
};

struct topo_attachment { /* a VLAN of a DC port, or a hypervisor that speaks VXLAN */
	uint16_t port, vlan, seg;
	uint16_t tunnel; /* to the local VTEP; 0 = port and vlan count */
};

struct topo_peer {
	char name[32];
	rte_be32_t vtep;	   /* 0: it was removed, and keeps its place */
	struct rte_ether_addr mac; /* its router MAC */
	bool away;		   /* for long; set while workers read it */
};

/* Tunnels are numbered: router indices, and behind the last possible peer the local VTEPs. */
#define TOPO_VTEP_TUNNEL (TOPO_PEERS + 1)

struct topo_vtep {
	rte_be32_t ip;
	uint16_t attachment[TOPO_SEGMENTS]; /* by segment; TOPO_NONE */
};

struct topo_pool {
	struct topo_prefix prefix;
	bool on_link; /* answer ARP for registered and draining addresses on WAN ports */
};

struct topo_hold { /* what may wait for VMs on their way here: of all workers together, in all and for one VM */
	uint32_t packets, vm_packets;
	uint64_t bytes, vm_bytes;
	uint32_t most_ms; /* however long control lets it wait */
};

/* WAN ports by address. Segments by prefix and by VNI, tunnels by VTEP: hashes with open addressing, at most a quarter full, whose entries are looked
 * at in order of index. Prefixes are asked for once for each length that there is. */
#define TOPO_HASH 1024

struct topo_index {
	uint16_t n_masks, n_wans;
	rte_be32_t mask[33];
	uint8_t first[256];	       /* TOPO_ODD and so on, by an address's first byte: topo_may_be() */
	rte_be32_t wan_ip[TOPO_PORTS]; /* side by side: the ports themselves are pages apart */
	uint16_t wan_port[TOPO_PORTS];
	uint16_t prefix[TOPO_HASH], vni[TOPO_HASH], vtep[TOPO_HASH]; /* TOPO_NONE = empty */
};

struct topology {
	struct rte_ether_addr router_mac;
	rte_be32_t vtep; /* 0 = no extension */
	bool transit;
	uint32_t arp_pps;   /* ARP of one host, of each worker; 0 = no limit */
	uint16_t n_workers; /* that share the limits of flooding; 0 = 1 */
	uint16_t n_ports, n_segments, n_attachments, n_peers, n_pools, n_vteps;
	struct topo_port ports[TOPO_PORTS];
	struct topo_segment segments[TOPO_SEGMENTS];
	struct topo_attachment attachments[TOPO_ATTACHMENTS];
	struct topo_peer peers[TOPO_PEERS];
	struct topo_vtep vteps[TOPO_VTEPS];
	struct topo_pool pools[TOPO_POOLS];
	struct topo_hold hold;
	struct topo_index index; /* made by topo_index() */
};

/* After ports, segments, peers and local VTEPs are filled in: nothing finds them before. */
void topo_index(struct topology *t);

/* The segment with this VNI, or TOPO_NONE. */
uint16_t topo_segment_by_vni(const struct topology *t, uint32_t vni);
/* The tunnel to this VTEP: a router index, or from TOPO_VTEP_TUNNEL a local one; 0 = none. */
uint16_t topo_tunnel_by_vtep(const struct topology *t, rte_be32_t vtep);
/* The other end of a tunnel (1..), 0 where there is none. */
rte_be32_t topo_tunnel_end(const struct topology *t, uint16_t tunnel);
/* The peer with this router MAC as router index (1..), or 0. */
uint8_t topo_router_by_mac(const struct topology *t, const struct rte_ether_addr *mac);
/* A segment, of any vrf, whose prefix holds the address, or TOPO_NONE. A routed one is the only one. */
uint16_t topo_segment_by_ip(const struct topology *t, rte_be32_t ip);
/* The segment of this vrf whose prefix holds the address, or TOPO_NONE. */
uint16_t topo_segment_in_vrf(const struct topology *t, uint16_t vrf, rte_be32_t ip);
/* The MAC under which a router of the group is the gateway of its VMs. */
const struct rte_ether_addr *topo_gateway_mac(const struct topo_segment *s, uint8_t router);
/* Is it the gateway's MAC at another site? With one shared MAC: never. */
bool topo_is_peer_gateway(
	const struct topology *t, const struct topo_segment *s, const struct rte_ether_addr *mac);
bool topo_is_pool(const struct topology *t, rte_be32_t ip);
/* The WAN port that owns the address, or TOPO_NONE. */
static inline uint16_t
topo_port_by_ip(const struct topology *t, rte_be32_t ip)
{
	for (uint16_t i = 0; i < t->index.n_wans; i++)
		if (t->index.wan_ip[i] == ip)
			return t->index.wan_port[i];
	return TOPO_NONE;
}

/* What an address may be, by its first byte alone. Most are nothing of it, which takes three instructions to tell. */
enum {
	TOPO_ODD = 1,	  /* of a segment, whatever its vrf, or one that no packet may carry */
	TOPO_OURS = 2,	  /* that, or of a pool or port */
	TOPO_PORT = 4,	  /* of a WAN port */
	TOPO_MARTIAN = 8, /* it is one that no packet may carry */
};

static inline uint8_t
topo_first_byte(rte_be32_t ip)
{
	uint8_t first;

	memcpy(&first, &ip, sizeof(first));
	return first;
}

static inline bool
topo_may_be(const struct topology *t, rte_be32_t ip, uint8_t what)
{
	return t->index.first[topo_first_byte(ip)] & what;
}
