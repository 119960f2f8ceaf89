/* SPDX-License-Identifier: BSD-3-Clause */
/* rig.h - one router with many VMs, without a driver: for benches and for tests of many packets.
 *
 *   world 192.0.2.0/24 -- next hop 198.51.100.1 -- wan (port 0) -- router -- dc (port 1) -- VMs 0..n-1
 *
 * VM i: 10.0.0.2 + i in 10.0.0.0/8, gateway 10.0.0.1, access nat; global address 100.64.0.0 + i of the pool
 * 100.64.0.0/10. A VM that moved away is owned by the peer, and its global address here drains.
 */
#pragma once

#include <dataplane/pipeline.h>

#define RIG_WAN	 0
#define RIG_DC	 1
#define RIG_PEER 1 /* router index */

#define RIG_DATA 32 /* bytes behind the UDP header */
#define RIG_LEN	 (14 + 20 + 8 + RIG_DATA)

extern uint16_t rig_segments; /* of the routers to be made; 1 */
extern uint32_t rig_sessions; /* that they can note; 65,536 */

struct rig {
	struct topology *topo;
	struct tables tables;
	struct worker *w;
	struct rte_mempool *pool;
	uint32_t vms;
};

/* Hugepages when `*huge` and there are enough, else none; then `*huge` tells which. Exits when EAL does not start. */
void rig_eal(const char *name, uint32_t megabytes, bool *huge);
/* A router with the VMs registered, and mbufs; `id` tells several in one process apart. NULL: no memory. */
struct rig *rig_new(uint16_t id, uint32_t vms, uint32_t mbufs);
void rig_free(struct rig *r);

/* What becomes of the VMs, all in one transaction; 0, or why not. */
enum rig_set {
	RIG_HERE,     /* at first: all are owned here */
	RIG_PAIRS,    /* even numbers here, odd ones at the peer */
	RIG_AWAY,     /* all are owned by the peer, and their addresses here drain */
	RIG_DRAINING, /* all are here; the even ones came from the peer, where an address of each drains */
};
int rig_become(struct rig *r, enum rig_set set);
/* So many sessions of the VMs that came, evenly; every other one goes by the address that drains. Returns how many a VM has. */
uint32_t rig_note_sessions(struct rig *r, uint32_t n);

/* The record of VM i: owned here, or by the peer while its address here drains. */
struct vm_rec rig_vm(uint32_t vm, bool here);
rte_be32_t rig_private(uint32_t vm);
rte_be32_t rig_global(uint32_t vm);
struct rte_ether_addr rig_mac(uint32_t vm);

/* Writes a frame, with its checksums, and all that a driver sets. All but the last three carry UDP whose first 8 bytes of data
 * are `seq`. */
enum rig_way {
	RIG_UPLINK,   /* of the VM to the world */
	RIG_DOWNLINK, /* of the world to the VM's global address */
	RIG_SESSION,  /* of the VM to the world, in its session number `seq` */
	RIG_BRIDGED,  /* of the VM to the next one, by layer 2 */
	RIG_TUNNEL,   /* of the next VM to this one, from the peer's tunnel */
	RIG_ECHO,     /* of the VM: it pings its gateway */
	RIG_ARP,      /* of the VM: who is the gateway? */
	RIG_JUNK,     /* cut off in its IPv4 header */
};
void rig_fill(const struct rig *r, struct rte_mbuf *m, enum rig_way way, uint32_t vm, uint64_t seq);
uint64_t rig_seq(struct rte_mbuf *m);

static inline void
rig_received(struct rte_mbuf *m, uint16_t port)
{
	struct meta *md = meta(m);

	md->in_port = (uint8_t)port;
	md->enter = ENTER_RX;
	md->vlan = 0;
}
