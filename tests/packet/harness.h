/* SPDX-License-Identifier: BSD-3-Clause */
/* harness.h - frames in, frames out, through the real pipeline_run().
 *
 *   user 192.0.2.10                      dc0 (port DC0): SEG1 untagged, SEG2 VLAN 200, SEG3 VLAN 300, SEG4 VLAN 400
 *        |                              /
 *   isp 198.51.100.1 ---- wan0 198.51.100.2/30 --- r-x ---- dc1 (port DC1): SEG1 VLAN 100
 *                              (own VTEP)             \
 *   other 198.51.100.9 --- wan1 198.51.100.10/30 ------/
 *
 *   SEG1  vni 5001  10.0.0.0/24  gateway 10.0.0.1  access nat      attachments ATT_1 (dc0), ATT_1B (dc1, VLAN 100)
 *   SEG2  vni 5002  10.0.2.0/24  gateway 10.0.2.1  access nat      attachment ATT_2 (dc0, VLAN 200)
 *   SEG3  vni 5003  203.0.113.128/26  gw .129      access routed   attachment ATT_3 (dc0, VLAN 300), leaves by wan0
 *   SEG4  vni 5004  10.0.4.0/24  gateway 10.0.4.1  access nat      attachments ATT_4 (dc0, VLAN 400) and the local
 *                                                                  VTEPs ATT_4A, ATT_4B, both behind isp
 *   pools 203.0.113.0/26 (routed to us), 203.0.113.64/28 (on link of wan0)
 *   peers R_Y: VTEP 198.51.100.66, R_Z: VTEP 198.51.100.70; both behind isp. Default route via isp.
 *   Neighbour isp is known (MAC_ISP); `other` is not: route to it with net_route() and see packets held.
 *
 * A test is
 *
 *	vm_here(5);                                             // 10.0.0.5 <-> 203.0.113.5, at ATT_1, owned by us
 *	burst(DC0, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = IP(10,0,0,5), .dst = USER, .sport = 99, .dport = 53));
 *	expect_frame(WAN0, udp(.smac = MAC_WAN0, .dmac = MAC_ISP, .src = GLOBAL(5), .dst = USER, .sport = 99,
 *		.dport = 53, .ttl = 63));
 *
 * Frames carry checksums computed from scratch, never by the code under test. After each burst the books must balance;
 * at a test's end every frame sent and every drop counted must have been expected, and no mbuf may be missing.
 */
#pragma once

#include <dataplane/pipeline.h>
#include <dataplane/traffic.h>
#include <rte_arp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- the network ---- */

enum { WAN0, DC0, DC1, WAN1, PORTS };
enum { SEG1, SEG2, SEG3, SEG4, SEGS };
enum { ATT_1, ATT_1B, ATT_2, ATT_3, ATT_4, ATT_4A, ATT_4B, ATTS };
enum {
	R_X,
	R_Y,
	R_Z,
	T_A = TOPO_VTEP_TUNNEL,
	T_B
}; /* router indices: this one and its peers; tunnels to local VTEPs */

#define VLAN_1B	 100
#define VLAN_2	 200
#define VLAN_3	 300
#define VLAN_4	 400
#define VNI(seg) (5001u + (seg))

#define IP(a, b, c, d) RTE_BE32((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define WAN0_IP	       IP(198, 51, 100, 2)
#define ISP	       IP(198, 51, 100, 1)
#define WAN1_IP	       IP(198, 51, 100, 10)
#define OTHER	       IP(198, 51, 100, 9)
#define VTEP_Y	       IP(198, 51, 100, 66)
#define VTEP_Z	       IP(198, 51, 100, 70)
#define VTEP_A	       IP(198, 51, 100, 129)
#define VTEP_B	       IP(198, 51, 100, 133)
#define USER	       IP(192, 0, 2, 10)
#define GW	       IP(10, 0, 0, 1)
#define GW2	       IP(10, 0, 2, 1)
#define GW3	       IP(203, 0, 113, 129)
#define GW4	       IP(10, 0, 4, 1)
#define PRIVATE(n)     IP(10, 0, 0, n)	  /* of VM n in SEG1 */
#define PRIVATE4(n)    IP(10, 0, 4, n)	  /* of VM n in SEG4 */
#define GLOBAL(n)      IP(203, 0, 113, n) /* its global address here */
#define GLOBAL_Y(n)    IP(198, 18, 1, n)  /* at R_Y */
#define GLOBAL_Z(n)    IP(198, 18, 2, n)  /* at R_Z */

#define MAC(a, b, c, d, e, f) ((struct rte_ether_addr){{a, b, c, d, e, f}})
#define MAC_WAN0	      MAC(2, 0xaa, 0, 0, 0, 0)
#define MAC_DC0		      MAC(2, 0xaa, 0, 0, 0, 1)
#define MAC_DC1		      MAC(2, 0xaa, 0, 0, 0, 2)
#define MAC_WAN1	      MAC(2, 0xaa, 0, 0, 0, 3)
#define MAC_RX		      MAC(2, 0xbb, 0, 0, 0, 1) /* router MACs */
#define MAC_RY		      MAC(2, 0xbb, 0, 0, 0, 2)
#define MAC_RZ		      MAC(2, 0xbb, 0, 0, 0, 3)
#define MAC_ISP		      MAC(2, 0xcc, 0, 0, 0, 1)
#define MAC_OTHER	      MAC(2, 0xcc, 0, 0, 0, 9)
#define MAC_GW		      MAC(2, 0x5e, 0, 0, 0, 1) /* gateway of all segments, as most operators set it */
#define MAC_GWY		      MAC(2, 0x5e, 0, 0, 0, 2) /* of R_Y where a test has per-site gateway MACs */
#define MAC_VM(n)	      MAC(2, 0, 0, 0, 1, n)
#define MAC_HOST(n)	      MAC(2, 0, 0, 0, 2, n) /* a host nobody registered */
#define MAC_ALL		      MAC(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
#define MAC_NONE	      MAC(0, 0, 0, 0, 0, 0)

struct net {
	struct topology *topo;
	struct tables tables;
	struct worker *w;
	struct rte_mempool *pool;
	uint64_t now_ms;
	uint8_t behind; /* what stands in an mbuf behind a received frame: no stage may care */
	uint16_t piece; /* a received frame comes in segments of so many bytes; 0 = in as few as it takes */
	uint16_t front; /* bytes of the mbuf in front of a received frame */
	bool express;	/* unremarkable packets need not take all stages; off by NEARWAY_STAGES */
	bool broken; /* the test sends wrong checksums on purpose: nobody else need look at what comes out */
};

extern struct net net; /* new for each test; change net.topo before the first burst if a test needs another */

/* Starts EAL once and runs the tests, each on a network of its own. main() returns its result. */
int net_run(const char *name, const struct CMUnitTest *tests, size_t n);
#define net_main(tests) net_run(__FILE__, tests, sizeof(tests) / sizeof((tests)[0]))
/* The name is a rule. It is the project's own, or that of an RFC's section: "RFC 826; RFC 5227 2.1.1". */
#define net_test(f)                     \
	{                               \
#f, f, NULL, NULL, NULL \
	}
#define net_rule(f, reference)               \
	{                                    \
#f, f, NULL, NULL, reference \
	}

/* Moves the clock; held packets may expire. */
void net_advance(uint64_t ms);

/* What net_run() does, in parts: EAL; a network; its end, which is false when a frame, a drop or an mbuf is unexplained. */
void net_start(void);
void net_begin(void);
bool net_end(void);
uint32_t net_missing(void); /* mbufs that are not in the pool */
/* Used by these. */
void network_build(void);
void network_free(void);

/* ---- tables ---- */

/* Adds or replaces the VM (seg, mac). */
void vm_put(const struct vm_rec *rec);
#define vm(...) vm_put(&(const struct vm_rec){__VA_ARGS__})
void vm_del(uint16_t seg, struct rte_ether_addr mac);
const struct vm_rec *vm_get(uint16_t seg, struct rte_ether_addr mac);
void vm_here(uint8_t n);	       /* SEG1, owner and location here (ATT_1): PRIVATE(n) <-> GLOBAL(n) */
void vm_at(uint8_t n, uint8_t router); /* the same VM owned by and located at a peer: GLOBAL_Y/Z(n) */
/* Moved from a peer to us and draining: ours with GLOBAL(n); the old global of `from` is translated there. */
void vm_moved_here(uint8_t n, uint8_t from);
/* Moved from us to a peer: theirs; our GLOBAL(n) drains here. */
void vm_moved_away(uint8_t n, uint8_t to);
/* Ours with GLOBAL(n); another address of ours drains for it. */
void vm_with_old(uint8_t n, rte_be32_t global);
void net_route(rte_be32_t prefix, uint8_t len, const struct nexthop *nh);
void net_neighbour(uint16_t port, rte_be32_t ip, enum neigh_state state, struct rte_ether_addr mac);
/* A learnt host: at our attachment (router R_X), or at a peer. Returns its entry number. */
uint32_t net_learnt(uint16_t seg, struct rte_ether_addr mac, uint8_t router, uint16_t att);
/* As the control thread does after a neighbour answered: its held packets leave with the next burst. */
void net_release(uint16_t port, rte_be32_t ip);

/* ---- frames ---- */

#define FRAME_MAX 9216

struct frame {
	uint16_t len;  /* as built, no padding to 60 bytes */
	uint16_t vlan; /* the tag, which is not in b[]; 0 = none */
	uint8_t b[FRAME_MAX];
};

struct spec { /* what is 0 has the default in brackets */
	struct rte_ether_addr smac, dmac;
	uint16_t vlan;
	rte_be32_t src, dst;
	uint8_t ttl; /* [64] */
	uint8_t tos;
	uint8_t proto; /* ip() only */
	uint16_t id;
	uint16_t frag;	 /* the field as a number: RTE_IPV4_HDR_DF_FLAG, MF, offset in units of 8 bytes */
	uint8_t options; /* bytes of IP options (NOPs), a multiple of 4 */
	/* transport */
	uint16_t sport, dport; /* echo: dport is the sequence, sport the identifier */
	bool no_checksum;      /* UDP checksum 0 */
	uint8_t flags;	       /* TCP; [ACK] */
	uint32_t seq, ack;
	uint16_t mss;		      /* TCP: adds the option */
	uint8_t icmp_type, icmp_code; /* icmp() only; 4 bytes `rest` follow the checksum */
	uint32_t icmp_rest;
	/* payload: `size` bytes of `data`, or of a pattern if NULL [8] */
	const void *data;
	uint16_t size;
	bool empty; /* no payload */
};

struct frame frame_ether(const struct spec *s, uint16_t ethertype); /* header and payload */
struct frame frame_ip(const struct spec *s);			    /* IPv4 of `proto`, payload as it is */
struct frame frame_udp(const struct spec *s);
struct frame frame_tcp(const struct spec *s);
struct frame frame_echo(const struct spec *s, bool reply);
struct frame frame_icmp(const struct spec *s); /* payload is the inner packet */
#define ether(type, ...)  frame_ether(&(const struct spec){__VA_ARGS__}, type)
#define ip(...)		  frame_ip(&(const struct spec){__VA_ARGS__})
#define udp(...)	  frame_udp(&(const struct spec){__VA_ARGS__})
#define tcp(...)	  frame_tcp(&(const struct spec){__VA_ARGS__})
#define echo_request(...) frame_echo(&(const struct spec){__VA_ARGS__}, false)
#define echo_reply(...)	  frame_echo(&(const struct spec){__VA_ARGS__}, true)
#define icmp(...)	  frame_icmp(&(const struct spec){__VA_ARGS__})

struct arp_spec {
	struct rte_ether_addr smac, dmac; /* Ethernet; smac [sha] */
	uint16_t vlan, op;		  /* op [request] */
	struct rte_ether_addr sha, tha;
	rte_be32_t spa, tpa;
	bool rarp; /* ethertype 0x8035 */
};

struct frame frame_arp(const struct arp_spec *s);
#define arp_frame(...) frame_arp(&(const struct arp_spec){__VA_ARGS__})

/* The IPv4 packet in a frame, for icmp() errors: .data = packet_of(&f), .size = packet_len(&f). */
const void *packet_of(const struct frame *f);
uint16_t packet_len(const struct frame *f);
/* A VXLAN packet with this frame inside, as the peer or local VTEP sends it to us; arrives at WAN0. */
struct frame from_tunnel(uint8_t tunnel, uint16_t seg, struct frame inner);
rte_be32_t vtep_of(uint8_t tunnel);
struct frame vxlan_frame(const struct spec *outer, uint32_t vni, const struct frame *inner);
/* The same bytes with the VLAN tag set. */
struct frame with_vlan(struct frame f, uint16_t vlan);
/* Computes IPv4 and transport checksums of a frame anew, after a test poked into it. */
void frame_checksums(struct frame *f);

/* ---- in and out ---- */

/* Receives the frames on the port and runs the pipeline until nothing is left to inject. */
void net_burst(uint16_t port, const struct frame *f, uint16_t n);
#define burst(port, ...)                                     \
	net_burst(port, (const struct frame[]){__VA_ARGS__}, \
		sizeof((const struct frame[]){__VA_ARGS__}) / sizeof(struct frame))
/* Runs the pipeline without receiving: what waits to be injected moves on. */
void net_idle(void);

/* The next frame that the port sent is exactly this one. Order is kept per port. */
void net_expect_frame(uint16_t port, const struct frame *f, const char *file, int line);
/* The next frame that WAN0 sent is VXLAN by this tunnel and segment with exactly this inside; the outer header is checked
 * in whole, but for the source port, which must be in 49152..65535 and is returned. */
uint16_t net_expect_tunnel(
	uint8_t tunnel, uint16_t seg, const struct frame *inner, const char *file, int line);
/* The next frame for the kernel is exactly this one, of this port. */
void net_expect_punt(uint16_t port, const struct frame *f, const char *file, int line);
void net_expect_drop(enum drop why, uint64_t n, const char *file, int line);
void net_expect_nothing(
	const char *file, int line); /* no frame is left, here or for the kernel, no drop unexplained */
struct dp_event net_expect_event(enum dp_event_kind kind, const char *file, int line);
void net_expect_no_event(enum dp_event_kind kind, const char *file, int line);
#define expect_frame(port, ...)                                  \
	do {                                                     \
		struct frame f_ = (__VA_ARGS__);                 \
		net_expect_frame(port, &f_, __FILE__, __LINE__); \
	} while (0)
#define expect_punt(port, ...)                                  \
	do {                                                    \
		struct frame f_ = (__VA_ARGS__);                \
		net_expect_punt(port, &f_, __FILE__, __LINE__); \
	} while (0)
#define expect_tunnel(router, seg, ...)                                  \
	({                                                               \
		struct frame f_ = (__VA_ARGS__);                         \
		net_expect_tunnel(router, seg, &f_, __FILE__, __LINE__); \
	})
#define expect_drop(why, n)   net_expect_drop(why, n, __FILE__, __LINE__)
#define expect_nothing()      net_expect_nothing(__FILE__, __LINE__)
#define expect_event(kind)    net_expect_event(kind, __FILE__, __LINE__)
#define expect_no_event(kind) net_expect_no_event(kind, __FILE__, __LINE__)
/* For mutation loops: a burst, alone, with other bytes behind its frames in the mbufs, and through all stages with nothing express. It
 * must have the same effect, and leave the same sessions, or somebody read beyond a frame's end, or express decides otherwise than the
 * stages. */
void net_same_either_way(uint16_t port, const struct frame *f, uint16_t n);
/* Frame `i` of those that the port sent and nobody looked at yet, or NULL. */
const struct frame *net_sent(uint16_t port, uint32_t i);
/* A digest of all that came since net_forget(): frames, whose order counts within a flow; drops; what the kernel got; traffic counted;
 * events. The last two kinds are taken. */
uint64_t net_effect(void);
/* A digest of all sessions: their homes, flags, and which had packets in the last 40 s, and when. */
uint64_t net_sessions(void);
/* For mutation loops: forgets frames, drops and events so far; books and mbufs are still checked. */
void net_forget(void);
/* A session of SEG1. */
struct session_key net_session(
	uint8_t proto, rte_be32_t vm_ip, uint16_t vm_port, rte_be32_t remote, uint16_t remote_port);
/* So many of VM n's TCP sessions have GLOBAL(n) noted as their home, as far as there is room. */
void net_note_sessions(uint8_t n, uint32_t sessions);
/* The home that is noted for a session of SEG1, or 0. */
rte_be32_t net_home(
	uint8_t proto, rte_be32_t vm_ip, uint16_t vm_port, rte_be32_t remote, uint16_t remote_port);
