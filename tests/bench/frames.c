/* SPDX-License-Identifier: BSD-3-Clause */
#include "frames.h"

#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_udp.h>
#include <string.h>

#define TUNNEL	      sizeof(struct tunnel_hdr)
#define ARP_LEN	      60
#define JUNK_LEN      20
#define WORLD	      250   /* hosts of it */
#define SESSION_PORTS 10000 /* from it on; below is VXLAN's, by which a tunnel is known */

const struct rte_ether_addr rig_wan_mac = {{2, 0xaa, 0, 0, 0, 0}}, rig_dc_mac = {{2, 0xaa, 0, 0, 0, 1}},
			    rig_router_mac = {{2, 0xbb, 0, 0, 0, 1}}, rig_gw_mac = {{2, 0x5e, 0, 0, 0, 1}},
			    rig_hop_mac = {{2, 0xcc, 0, 0, 0, 1}}, rig_peer_mac = {{2, 0xbb, 0, 0, 0, 2}};

rte_be32_t
rig_private(uint32_t vm)
{
	return rte_cpu_to_be_32(0x0a000002 + vm);
}

rte_be32_t
rig_global(uint32_t vm)
{
	return rte_cpu_to_be_32(RIG_POOL + vm);
}

rte_be32_t
rig_left_behind(uint32_t vm)
{
	return rte_cpu_to_be_32(0xcb000000 + vm);
}

struct rte_ether_addr
rig_mac(uint32_t vm)
{
	return (struct rte_ether_addr){
		{2, 1, (uint8_t)(vm >> 24), (uint8_t)(vm >> 16), (uint8_t)(vm >> 8), (uint8_t)vm}};
}

rte_be32_t
rig_world(uint64_t seq)
{
	return rte_cpu_to_be_32(0xc0000200 + (uint32_t)(seq * 37 % WORLD) + 1);
}

rte_be16_t
rig_session_port(uint64_t session)
{
	return rte_cpu_to_be_16((uint16_t)(SESSION_PORTS + session / WORLD));
}

/* ---- headers ---- */

struct ends { /* of a packet */
	struct rte_ether_addr from_mac, to_mac;
	rte_be32_t from, to;
	rte_be16_t from_port, to_port;
	uint8_t ttl;
	bool whole; /* not to be cut in fragments */
};

struct udp_frame { /* without its data */
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
} __rte_packed __rte_aligned(2);

_Static_assert(sizeof(struct udp_frame) == RIG_HEADERS, "as frames.h says");

static void
write_ip(struct rte_ipv4_hdr *ip, const struct ends *e, uint8_t proto, uint16_t len)
{
	*ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + len)),
		.fragment_offset = e->whole ? RTE_BE16(RTE_IPV4_HDR_DF_FLAG) : 0,
		.time_to_live = e->ttl,
		.next_proto_id = proto,
		.src_addr = e->from,
		.dst_addr = e->to};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static uint16_t
write_udp(uint8_t *at, const struct ends *e, const struct rig_frame *f)
{
	struct udp_frame *u = (struct udp_frame *)at;
	uint16_t len = (uint16_t)(sizeof(u->udp) + f->data);

	u->eth = (struct rte_ether_hdr){e->to_mac, e->from_mac, RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	write_ip(&u->ip, e, IPPROTO_UDP, len);
	u->udp = (struct rte_udp_hdr){e->from_port, e->to_port, rte_cpu_to_be_16(len), 0};
	memset(u + 1, 0, f->data);
	memcpy(u + 1, &f->mark, RIG_MARK);
	u->udp.dgram_cksum = rte_ipv4_udptcp_cksum(&u->ip, &u->udp);
	return (uint16_t)(sizeof(*u) + f->data);
}

/* Around the frame of `inner` bytes that stands behind it. */
static uint16_t
write_tunnel(uint8_t *at, const struct ends *e, uint16_t inner)
{
	struct tunnel_hdr *h = (struct tunnel_hdr *)at;
	uint16_t len = (uint16_t)(sizeof(h->udp) + sizeof(h->vxlan) + inner);

	h->eth = (struct rte_ether_hdr){e->to_mac, e->from_mac, RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	write_ip(&h->ip, e, IPPROTO_UDP, len);
	h->udp = (struct rte_udp_hdr){e->from_port, e->to_port, rte_cpu_to_be_16(len), 0};
	h->vxlan = (struct rte_vxlan_hdr){
		.vx_flags = RTE_BE32(0x08000000), .vx_vni = rte_cpu_to_be_32(RIG_VNI << 8)};
	return (uint16_t)(sizeof(*h) + inner);
}

static uint16_t
write_echo(uint8_t *at, const struct ends *e, uint8_t type, uint16_t data)
{
	struct udp_frame *u = (struct udp_frame *)at;
	struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)&u->udp;
	uint16_t len = (uint16_t)(sizeof(*icmp) + data);

	u->eth = (struct rte_ether_hdr){e->to_mac, e->from_mac, RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	write_ip(&u->ip, e, IPPROTO_ICMP, len);
	memset(icmp, 0, len);
	icmp->icmp_type = type;
	icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, len);
	return (uint16_t)(sizeof(*u) + data);
}

static uint16_t
write_arp(uint8_t *at, const struct ends *e, uint16_t opcode)
{
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)at;
	struct rte_arp_hdr *arp = (struct rte_arp_hdr *)(eth + 1);

	memset(at, 0, ARP_LEN);
	*eth = (struct rte_ether_hdr){e->to_mac, e->from_mac, RTE_BE16(RTE_ETHER_TYPE_ARP)};
	*arp = (struct rte_arp_hdr){.arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER),
		.arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = sizeof(e->from_mac),
		.arp_plen = sizeof(e->from),
		.arp_opcode = rte_cpu_to_be_16(opcode)};
	arp->arp_data = (struct rte_arp_ipv4){.arp_sha = e->from_mac, .arp_sip = e->from, .arp_tip = e->to};
	if (opcode == RTE_ARP_OP_REPLY)
		arp->arp_data.arp_tha = e->to_mac;
	return ARP_LEN;
}

/* ---- what arrives ---- */

/* Of a VM that drains, every other session goes by the address that it has at the peer. */
static bool
home_is_peer(const struct rig_frame *f)
{
	return f->vm % 2 == 0 && f->seq % 2 == 1;
}

static bool
in_tunnel(const struct rig_frame *f)
{
	return f->way == RIG_TUNNEL || (f->way == RIG_TEACH && home_is_peer(f));
}

uint16_t
rig_frame_port(const struct rig_frame *f)
{
	return f->way == RIG_DOWNLINK || f->way == RIG_TUNNEL || f->way == RIG_TEACH ? RIG_WAN : RIG_DC;
}

static struct ends
uplink(const struct rig_frame *f)
{
	return (struct ends){rig_mac(f->vm), rig_gw_mac, rig_private(f->vm), rig_world(f->seq),
		f->way == RIG_SESSION ? rig_session_port(f->seq) : RIG_VM_PORT, RIG_WORLD_PORT, 64, false};
}

static struct ends
downlink(const struct rig_frame *f)
{
	return (struct ends){rig_hop_mac, rig_wan_mac, rig_world(f->seq), rig_global(f->vm), RIG_WORLD_PORT,
		f->way == RIG_TEACH ? rig_session_port(f->seq) : RIG_VM_PORT, 64, false};
}

/* From one VM to another. */
static struct ends
between(uint32_t from, uint32_t to)
{
	return (struct ends){rig_mac(from), rig_mac(to), rig_private(from), rig_private(to), RIG_VM_PORT,
		RIG_WORLD_PORT, 64, false};
}

static struct ends
arriving(const struct rig_frame *f)
{
	uint32_t next = (f->vm + 1) % f->vms;
	struct ends e = uplink(f);

	if (f->way == RIG_DOWNLINK || f->way == RIG_TEACH)
		e = downlink(f);
	if (f->way == RIG_BRIDGED)
		return between(f->vm, next);
	if (f->way == RIG_TUNNEL)
		return between(next, f->vm);
	if (f->way == RIG_TEACH && home_is_peer(f)) { /* the peer has routed it */
		e.from_mac = rig_peer_mac;
		e.to_mac = rig_mac(f->vm);
		e.to = rig_private(f->vm);
		e.ttl--;
	}
	if (f->way == RIG_ECHO || f->way == RIG_ARP)
		e.to = RIG_GW_IP;
	if (f->way == RIG_ARP)
		memset(&e.to_mac, 0xff, sizeof(e.to_mac));
	return e;
}

uint16_t
rig_frame_write(uint8_t *at, const struct rig_frame *f)
{
	const struct ends e = arriving(f),
			  peer = {rig_hop_mac, rig_wan_mac, RIG_PEER_IP, RIG_WAN_IP, RTE_BE16(50000),
				  RTE_BE16(RTE_VXLAN_DEFAULT_PORT), 64, true};

	if (f->way == RIG_ARP)
		return write_arp(at, &e, RTE_ARP_OP_REQUEST);
	if (f->way == RIG_ECHO)
		return write_echo(at, &e, RTE_IP_ICMP_ECHO_REQUEST, f->data);
	if (in_tunnel(f))
		return write_tunnel(at, &peer, write_udp(at + sizeof(struct tunnel_hdr), &e, f));
	return f->way == RIG_JUNK ? (write_udp(at, &e, f), JUNK_LEN) : write_udp(at, &e, f);
}

/* ---- what comes out ---- */

/* The packet `e`, routed: by another MAC, and one hop further. */
static struct ends
routed(struct ends e, struct rte_ether_addr from, struct rte_ether_addr to)
{
	e.from_mac = from;
	e.to_mac = to;
	e.ttl--;
	return e;
}

/* Do all VMs stand there? */
static bool
at_peer(enum rig_set set)
{
	return set == RIG_TROMBONE || set == RIG_AWAY;
}

static struct ends
delivered(const struct rig_frame *f, enum rig_set set)
{
	struct ends e = routed(arriving(f), at_peer(set) ? rig_router_mac : rig_gw_mac, rig_mac(f->vm));

	e.to = rig_private(f->vm);
	e.ttl = 63; /* whoever routed it */
	return e;
}

static struct ends
to_world(const struct rig_frame *f)
{
	struct ends e = routed(arriving(f), rig_wan_mac, rig_hop_mac);

	e.from = rig_global(f->vm);
	return e;
}

static struct ends
to_asker(const struct rig_frame *f)
{
	return (struct ends){rig_gw_mac, rig_mac(f->vm), RIG_GW_IP, rig_private(f->vm), 0, 0, 64, false};
}

static uint16_t
write_to_peer(uint8_t *at, const struct ends *e, const struct rig_frame *f)
{
	const struct ends peer = {rig_wan_mac, rig_hop_mac, RIG_WAN_IP, RIG_PEER_IP, 0,
		RTE_BE16(RTE_VXLAN_DEFAULT_PORT), 64, true};

	return write_tunnel(at, &peer, write_udp(at + sizeof(struct tunnel_hdr), e, f));
}

uint16_t
rig_answer_write(uint8_t *at, const struct rig_frame *f, enum rig_set set)
{
	struct ends e = arriving(f);

	switch (f->way) {
	case RIG_ARP:
		e = to_asker(f);
		return write_arp(at, &e, RTE_ARP_OP_REPLY);
	case RIG_ECHO:
		e = to_asker(f);
		return write_echo(at, &e, RTE_IP_ICMP_ECHO_REPLY, f->data);
	case RIG_BRIDGED:
		return write_to_peer(at, &e, f);
	case RIG_TUNNEL:
		return write_udp(at, &e, f);
	case RIG_DOWNLINK:
	case RIG_TEACH:
		e = delivered(f, set);
		return at_peer(set) ? write_to_peer(at, &e, f) : write_udp(at, &e, f);
	case RIG_SESSION:
		if (home_is_peer(f))
			return write_to_peer(at, &e, f);
		/* fall through */
	case RIG_UPLINK:
		e = to_world(f);
		return write_udp(at, &e, f);
	default:
		return 0;
	}
}
