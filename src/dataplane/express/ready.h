/* SPDX-License-Identifier: BSD-3-Clause */
/* ready.h - what express has found out of places where packets come in and go to, ready to be used: gates, ways, the next hop of the default
 * route. One for a worker.
 *
 * It follows from the topology, the routes, the neighbours and whether VMs are on hold, and is true as long as these are as they were
 * (`stamp`): a burst asks for that once. To find it out anew for each burst of 32 packets cost 4 cycles a packet where one route led to one next hop, and 11 where
 * a tunnel was in between.
 */
#pragma once

#include <dataplane/tunnel.h>

#define EXPRESS_WAYS 8
#define NO_PLACE     UINT16_MAX

struct gate {	      /* where packets come in */
	uint64_t key; /* whose it is */
	uint64_t
		mac; /* to which packets are routed: that of the port, or of the gateway (plain_bits_mac(), of no segment); or GATE_SHUT */
	uint16_t place; /* from a segment: attachment, or peer (plaintab.h) */
	uint16_t seg;
	bool wan, routes, bridges; /* what may go express that comes in here */
};

#define GATE_SHUT 1 /* no MAC */

struct way {	   /* to VMs at one place */
	bool open; /* what follows is true */
	uint16_t place;
	uint16_t seg, vlan;
	bool bare; /* neither tag nor tunnel comes in front of a frame */
	bool tunnel;
	struct vec *out; /* of its port */
	/* Source MAC and ethertype of what is routed, as they stand in the frame: written as one word. */
	struct rte_ether_addr from;
	rte_be16_t type;
	struct tunnel_hdr hdr;	  /* when `tunnel` */
	uint16_t routed, bridged; /* bytes of a frame, at most; 0: none goes this way */
	/* of this burst: */
	uint64_t went;	/* what went there, not counted for the segment yet (one_frame) */
	uint16_t plain; /* as `routed`, when `bare`; else 0 */
	bool fours;	/* go this way, as far as their lengths tell */
};

struct hop { /* where packets leave */
	struct rte_ether_addr dst, src;
	uint16_t most;	 /* bytes of a frame, padding and all; 0: nothing leaves here */
	struct vec *out; /* of its port */
};

struct ready {
	uint64_t stamp;
	struct gate gate, tunnel; /* the last ones used */
	struct way nowhere;
	struct way way[EXPRESS_WAYS];
	struct hop hop; /* of the default route, when `has_hop` */
	bool has_hop;
	/* By an address's first byte: what it may be (topo_may_be()), and READY_LONGER where there are routes beside the default one. */
	uint8_t first[256];
	/* What is written of packets that are not meant: as much as of one, and the tally behind those of all VMs. */
	uint64_t waste[8];
	uint32_t waste_tally;
};

#define READY_NEVER  UINT64_MAX /* as a stamp */
#define READY_LONGER 0x80

_Static_assert((TOPO_ODD | TOPO_OURS | TOPO_PORT | TOPO_MARTIAN) < READY_LONGER, "flags side by side");

/* Nothing of it is true any more: of another topology. */
static inline void
ready_forget(struct ready *r)
{
	r->stamp = READY_NEVER;
}
