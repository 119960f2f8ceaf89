/* SPDX-License-Identifier: BSD-3-Clause */
#include "view.h"

#include "ip4.h"

#include <rte_arp.h>
#include <rte_vxlan.h>
#include <string.h>

struct rest { /* bytes that are left to look at */
	const uint8_t *p;
	uint32_t len, at;
};

static bool
take(struct rest *r, void *to, uint32_t n)
{
	if (r->len < n)
		return false;
	memcpy(to, r->p, n);
	r->p += n;
	r->len -= n;
	r->at += n;
	return true;
}

static void
look_vxlan(struct rest *r, struct frame_view *v)
{
	struct rte_udp_hdr udp;
	struct rte_vxlan_hdr vx;

	if (v->proto != IPPROTO_UDP || v->dport != VXLAN_PORT || !take(r, &udp, sizeof(udp)) ||
		!take(r, &vx, sizeof(vx)))
		return;
	v->vni = rte_be_to_cpu_32(vx.vx_vni) >> 8;
	v->inner = (uint16_t)r->at;
}

static void
look_l4(struct rest *r, struct frame_view *v)
{
	rte_be16_t w[4] = {0};

	if (r->len < 4)
		return;
	memcpy(w, r->p, RTE_MIN(r->len, sizeof(w)));
	if (v->proto == IPPROTO_ICMP) {
		v->icmp_type = r->p[0];
		v->icmp_code = r->p[1];
		v->ports =
			r->len >= sizeof(w) && (v->icmp_type == ICMP_ECHO || v->icmp_type == ICMP_ECHO_REPLY);
		v->sport = rte_be_to_cpu_16(w[2]);
		v->dport = rte_be_to_cpu_16(w[3]);
	} else if (v->proto == IPPROTO_TCP || v->proto == IPPROTO_UDP) {
		v->ports = true;
		v->sport = rte_be_to_cpu_16(w[0]);
		v->dport = rte_be_to_cpu_16(w[1]);
		if (v->proto == IPPROTO_TCP && r->len >= 14)
			v->tcp_flags = r->p[13];
		look_vxlan(r, v);
	}
}

static void
look_ip(struct rest *r, struct frame_view *v)
{
	struct rte_ipv4_hdr ip;
	uint32_t options;

	if (!take(r, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < RTE_IPV4_MIN_IHL)
		return;
	v->ip = true;
	v->sip = ip.src_addr;
	v->dip = ip.dst_addr;
	v->proto = ip.next_proto_id;
	v->ttl = ip.time_to_live;
	v->l3_len = rte_be_to_cpu_16(ip.total_length);
	v->later_fragment = ip4_later_fragment(&ip);
	options = rte_ipv4_hdr_len(&ip) - (uint32_t)sizeof(ip);
	if (v->later_fragment || r->len < options)
		return;
	r->p += options;
	r->len -= options;
	r->at += options;
	v->l4_off = (uint16_t)r->at;
	look_l4(r, v);
}

static void
look_arp(struct rest *r, struct frame_view *v)
{
	struct rte_arp_hdr a;

	if (!take(r, &a, sizeof(a)) || a.arp_plen != sizeof(rte_be32_t) || a.arp_hlen != RTE_ETHER_ADDR_LEN)
		return;
	v->arp = true;
	v->arp_op = rte_be_to_cpu_16(a.arp_opcode);
	v->sip = a.arp_data.arp_sip;
	v->dip = a.arp_data.arp_tip;
}

void
frame_look(const uint8_t *p, uint32_t len, struct frame_view *v)
{
	struct rest r = {.p = p, .len = len};
	struct rte_ether_hdr eth;
	struct rte_vlan_hdr tag;

	memset(v, 0, sizeof(*v));
	if (!take(&r, &eth, sizeof(eth)))
		return;
	v->ether = true;
	v->dst = eth.dst_addr;
	v->src = eth.src_addr;
	v->ethertype = rte_be_to_cpu_16(eth.ether_type);
	if (v->ethertype == RTE_ETHER_TYPE_VLAN && take(&r, &tag, sizeof(tag))) {
		v->vlan = rte_be_to_cpu_16(tag.vlan_tci) & 0xfff;
		v->ethertype = rte_be_to_cpu_16(tag.eth_proto);
	}
	if (v->ethertype == RTE_ETHER_TYPE_IPV4)
		look_ip(&r, v);
	else if (v->ethertype == RTE_ETHER_TYPE_ARP || v->ethertype == RTE_ETHER_TYPE_RARP)
		look_arp(&r, v);
}
