/* SPDX-License-Identifier: BSD-3-Clause */
/* meta.h - what is known of a packet, parsed once: one cache line in the mbuf's private area.
 *
 * The mbuf's data always starts at a 14-byte Ethernet header, first segment contiguous as far as a stage reads; a
 * VLAN tag is taken off at receive and lives here, and is put back at transmit.
 */
#pragma once

#include "tables/vmtab.h"
#include "topology.h"

#include <rte_ip.h>
#include <rte_mbuf.h>

enum origin { FROM_WAN, FROM_DC, FROM_TUNNEL, FROM_SELF };

/* Where an injected packet enters. */
enum enter {
	ENTER_RX,      /* received: not injected */
	ENTER_ROUTE,   /* whole IPv4 packet with an Ethernet header to be written: route it */
	ENTER_TO_VM,   /* IPv4 packet to a VM: meta.seg set, destination address in the header */
	ENTER_ENCAP,   /* L2 frame by tunnel meta.out_tunnel in meta.seg */
	ENTER_PORT,    /* L2 frame to meta.out_port with meta.out_vlan */
	ENTER_NEIGH,   /* held for its next hop: meta.out_port and meta.via set */
	ENTER_GATEWAY, /* a draining VM's fragment, held for its first one: as it came */
	ENTER_BRIDGE,  /* L2 frame of meta.seg, held for its VM: as it came */
};

struct meta {
	union {
		struct {
			uint8_t enter;	 /* enum enter */
			uint8_t in_port; /* ingress port */
			union {
				uint16_t vlan; /* ingress VLAN, 0 = untagged; until classify */
				/* FROM_DC, FROM_TUNNEL: the segment it came in by, whatever seg becomes */
				uint16_t in_seg;
			};
		};
		uint32_t came; /* these in one word */
	};
	uint8_t origin;	   /* enum origin */
	uint8_t in_router; /* FROM_TUNNEL: router index of the peer (1..) */
	uint16_t in_att;   /* FROM_DC: attachment index */
	uint16_t seg;	   /* segment index, TOPO_NONE on routed ports */
	uint16_t out_vlan;
	uint8_t out_port;
	uint8_t out_tunnel; /* ENCAP: to a peer (its router index) or a local VTEP */
	/* IPv4, when `l3_known` (ip4.h); whoever moves the packet's start clears that */
	uint8_t l3_known;
	uint8_t proto;
	uint16_t l4_off;  /* from data start; valid for the first fragment or whole packets */
	uint16_t l3_len;  /* IPv4 total length */
	uint8_t fragment; /* 1: first fragment, 2: later fragment */
	uint8_t tcp_flags;
	rte_be16_t sport, dport; /* TCP, UDP; ICMP echo: identifier in both; else 0 */
	uint8_t flags;		 /* META_* */
	uint8_t routed_by; /* FROM_TUNNEL: the peer that has routed the frame, if any; in_router may relay it */
	uint32_t probe;	   /* the number by which a probe follows it; 0 = none does */
	union {
		const struct vm_rec *vm; /* the VM that it comes from (out) or goes to (in) */
		struct rte_mbuf *behind; /* while it waits for its VM: the next in its queue */
	};
	rte_be32_t nat_ip; /* nat-out: the global address to use; home-in: the global address it came by */
	rte_be32_t via;	   /* next hop */
	rte_be32_t orig_src, orig_dst; /* the addresses before NAT; 0 = not translated */
	uint64_t held_ms;	       /* when it was put on hold */
};

enum {
	META_ROUTED = 1,      /* TTL was taken once already */
	META_OWN = 2,	      /* made by this router: no inside-source check, no TTL */
	META_CARRIED = 4,     /* came through the tunnel with the gateway's MAC as destination */
	META_ICMP_ERROR = 8,  /* an ICMP message that quotes a packet; set by ip4_parse() */
	META_FRAG_ALONE = 16, /* a fragment that waited in vain for its first one */
	META_RELEASED = 32,   /* waited for its VM */
	META_RETURNED = 64, /* from the tunnel: our own, which waited at a peer for a VM that did not come */
};

_Static_assert(TOPO_TUNNELS <= UINT8_MAX, "a tunnel's number is one byte");
_Static_assert(sizeof(struct meta) <= 64, "packet metadata is one cache line");

static inline struct meta *
meta(struct rte_mbuf *m)
{
	return (struct meta *)rte_mbuf_to_priv(m);
}
