/* SPDX-License-Identifier: BSD-3-Clause */
/* frames.h - the network that benches route for, and its frames: what goes into the router, and what must come out.
 *
 *   world 192.0.2.0/24 -- next hop 198.51.100.1 -- wan -- router 198.51.100.2 -- dc -- VMs 0..n-1
 *                         peer 198.51.100.66 --+
 *
 * VM i: 10.0.0.2 + i in 10.0.0.0/8, VNI 5001, gateway 10.0.0.1, access nat; global address 100.64.0.0 + i of the pool
 * 100.64.0.0/10, and at the peer 203.0.0.0 + i.
 */
#pragma once

#include <dataplane/pipeline.h>

#define RIG_WAN	  0
#define RIG_DC	  1
#define RIG_PORTS 2

#define RIG_VNI	     5001
#define RIG_WAN_IP   RTE_BE32(0xc6336402)
#define RIG_NEXT_HOP RTE_BE32(0xc6336401)
#define RIG_PEER_IP  RTE_BE32(0xc6336442) /* on the wan port's link */
#define RIG_GW_IP    RTE_BE32(0x0a000001)
#define RIG_POOL     0x64400000u

/* MACs: of the router's ports and its own in the tunnel, the gateway's, the next hop's (and the way to the peer's), the peer's. */
extern const struct rte_ether_addr rig_wan_mac, rig_dc_mac, rig_router_mac, rig_gw_mac, rig_hop_mac,
	rig_peer_mac;

rte_be32_t rig_private(uint32_t vm);
rte_be32_t rig_global(uint32_t vm);
rte_be32_t rig_left_behind(uint32_t vm); /* its address at the peer */
struct rte_ether_addr rig_mac(uint32_t vm);

/* The other end of a VM's session, and the VM's port in it: with both, each session of a VM is another one. */
rte_be32_t rig_world(uint64_t seq);
rte_be16_t rig_session_port(uint64_t session);
#define RIG_WORLD_PORT RTE_BE16(5000)
#define RIG_VM_PORT    RTE_BE16(4000) /* of what is no session of RIG_SESSION */

/* What becomes of the VMs. */
enum rig_set {
	RIG_HERE,     /* all are owned here */
	RIG_PAIRS,    /* even numbers here, odd ones at the peer */
	RIG_TROMBONE, /* all are owned here, and stand at the peer */
	RIG_AWAY,     /* all are owned by the peer, and their addresses here drain */
	RIG_DRAINING, /* all are here; the even ones came from the peer, where an address of each drains */
};

/* All but the last three carry UDP. */
enum rig_way {
	RIG_UPLINK,   /* of the VM to the world */
	RIG_DOWNLINK, /* of the world to the VM's global address */
	RIG_SESSION,  /* of the VM to the world, in its session number `seq` */
	RIG_TEACH, /* of the world in that session, by the address that it is by: at the peer for every other one of a VM that drains */
	RIG_BRIDGED, /* of the VM to the next one, by layer 2 */
	RIG_TUNNEL,  /* of the next VM to this one, from the peer's tunnel */
	RIG_ECHO,    /* of the VM: it pings its gateway */
	RIG_ARP,     /* of the VM: who is the gateway? */
	RIG_JUNK,    /* cut off in its IPv4 header */
};

struct rig_frame {
	enum rig_way way;
	uint32_t vm, vms; /* of so many */
	uint64_t seq;	  /* of the VM's sessions, or of packets: who the other end is */
	uint64_t mark;	  /* the first 8 bytes of UDP data */
	uint16_t data;	  /* bytes of UDP data, at least those; the inner ones, of a frame in the tunnel */
};

#define RIG_HEADERS (14 + 20 + 8) /* in front of UDP data */
#define RIG_MARK    8

/* Writes the frame that arrives, with its checksums; returns its length. */
uint16_t rig_frame_write(uint8_t *at, const struct rig_frame *f);
/* The port where it arrives. */
uint16_t rig_frame_port(const struct rig_frame *f);
/* Writes the frame that must come out for it; of a tunnel's header the source port, which is free, is 0. Returns its length; 0: none. */
uint16_t rig_answer_write(uint8_t *at, const struct rig_frame *f, enum rig_set set);
