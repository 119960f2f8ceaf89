/* SPDX-License-Identifier: BSD-3-Clause */
/* frames.c - frames with checksums computed from scratch. Nothing here calls the code under test. */
#include "harness.h"

#include <rte_icmp.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#define PATTERN_SIZE 8
#define ETH_LEN	     14

static uint32_t
sum_bytes(uint32_t sum, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
	return sum;
}

static rte_be16_t
sum_end(uint32_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return rte_cpu_to_be_16((uint16_t)~sum);
}

static void *
append(struct frame *f, const void *p, size_t n)
{
	void *at = f->b + f->len;

	assert_true(f->len + n <= FRAME_MAX);
	if (p != NULL)
		memcpy(at, p, n);
	else
		memset(at, 0, n);
	f->len += (uint16_t)n;
	return at;
}

static void
append_payload(struct frame *f, const struct spec *s)
{
	uint16_t n = s->size != 0 ? s->size : PATTERN_SIZE;
	uint8_t *at;

	if (s->empty)
		return;
	at = append(f, s->data, n);
	for (uint16_t i = 0; s->data == NULL && i < n; i++)
		at[i] = (uint8_t)(i * 7 + 1);
}

static struct frame
start(const struct spec *s, uint16_t ethertype)
{
	struct frame f = {.vlan = s->vlan};
	struct rte_ether_hdr eth = {s->dmac, s->smac, rte_cpu_to_be_16(ethertype)};

	append(&f, &eth, sizeof(eth));
	return f;
}

struct frame
frame_ether(const struct spec *s, uint16_t ethertype)
{
	struct frame f = start(s, ethertype);

	append_payload(&f, s);
	return f;
}

static struct frame
start_ip(const struct spec *s, uint8_t proto)
{
	struct frame f = start(s, RTE_ETHER_TYPE_IPV4);
	struct rte_ipv4_hdr h = {
		.version_ihl = (uint8_t)(0x45 + s->options / 4),
		.type_of_service = s->tos,
		.packet_id = rte_cpu_to_be_16(s->id),
		.fragment_offset = rte_cpu_to_be_16(s->frag),
		.time_to_live = s->ttl != 0 ? s->ttl : 64,
		.next_proto_id = proto,
		.src_addr = s->src,
		.dst_addr = s->dst,
	};

	append(&f, &h, sizeof(h));
	for (int i = 0; i < s->options; i++)
		append(&f, "\1", 1);
	return f;
}

static void
finish(struct frame *f)
{
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)(f->b + ETH_LEN);

	h->total_length = rte_cpu_to_be_16(f->len - ETH_LEN);
	frame_checksums(f);
}

/* Where the checksum of this transport stands, or -1. */
static int
checksum_offset(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_ICMP:
		return 2;
	default:
		return -1;
	}
}

static void
transport_checksum(struct rte_ipv4_hdr *h, uint8_t *l4, uint16_t n)
{
	int at = checksum_offset(h->next_proto_id);
	uint32_t sum = 0;
	rte_be16_t ck;

	if (at < 0 || at + 2 > n)
		return;
	if (h->next_proto_id == IPPROTO_UDP && l4[at] == 0 && l4[at + 1] == 0)
		return; /* the builder puts 1 where one is wanted */
	l4[at] = l4[at + 1] = 0;
	if (h->next_proto_id != IPPROTO_ICMP) {
		sum = sum_bytes(0, (const uint8_t *)&h->src_addr, 8);
		sum += h->next_proto_id + n;
	}
	ck = sum_end(sum_bytes(sum, l4, n));
	if (h->next_proto_id == IPPROTO_UDP && ck == 0)
		ck = 0xffff;
	memcpy(l4 + at, &ck, 2);
}

void
frame_checksums(struct frame *f)
{
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)(f->b + ETH_LEN);
	uint16_t ihl = (uint16_t)((h->version_ihl & 15) * 4), total = rte_be_to_cpu_16(h->total_length);

	h->hdr_checksum = 0;
	h->hdr_checksum = sum_end(sum_bytes(0, (const uint8_t *)h, ihl));
	if ((h->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG)) == 0)
		transport_checksum(h, (uint8_t *)h + ihl, (uint16_t)(total - ihl));
}

struct frame
frame_ip(const struct spec *s)
{
	struct frame f = start_ip(s, s->proto);

	append_payload(&f, s);
	finish(&f);
	return f;
}

/* A first fragment's transport checksum covers bytes that are not in it: any value, but none that is zero. */
struct frame
frame_udp(const struct spec *s)
{
	struct frame f = start_ip(s, IPPROTO_UDP);
	uint16_t at = f.len;
	struct rte_udp_hdr h = {.src_port = rte_cpu_to_be_16(s->sport),
		.dst_port = rte_cpu_to_be_16(s->dport),
		.dgram_cksum = s->no_checksum ? 0 : RTE_BE16(0x1234)};

	append(&f, &h, sizeof(h));
	append_payload(&f, s);
	h.dgram_len = rte_cpu_to_be_16(f.len - at);
	memcpy(f.b + at, &h, sizeof(h));
	finish(&f);
	return f;
}

struct frame
frame_tcp(const struct spec *s)
{
	struct frame f = start_ip(s, IPPROTO_TCP);
	struct rte_tcp_hdr h = {
		.src_port = rte_cpu_to_be_16(s->sport),
		.dst_port = rte_cpu_to_be_16(s->dport),
		.sent_seq = rte_cpu_to_be_32(s->seq),
		.recv_ack = rte_cpu_to_be_32(s->ack),
		.data_off = s->mss != 0 ? 6 << 4 : 5 << 4,
		.tcp_flags = s->flags != 0 ? s->flags : RTE_TCP_ACK_FLAG,
		.rx_win = RTE_BE16(0x2000),
		.cksum = RTE_BE16(0x1234),
	};

	append(&f, &h, sizeof(h));
	if (s->mss != 0)
		append(&f, (uint8_t[]){2, 4, (uint8_t)(s->mss >> 8), (uint8_t)s->mss}, 4);
	append_payload(&f, s);
	finish(&f);
	return f;
}

struct frame
frame_icmp(const struct spec *s)
{
	struct frame f = start_ip(s, IPPROTO_ICMP);
	rte_be32_t rest = rte_cpu_to_be_32(s->icmp_rest);

	append(&f, (uint8_t[]){s->icmp_type, s->icmp_code, 0, 0}, 4);
	append(&f, &rest, 4);
	append_payload(&f, s);
	finish(&f);
	return f;
}

struct frame
frame_echo(const struct spec *s, bool reply)
{
	struct spec e = *s;

	e.icmp_type = reply ? 0 : 8;
	e.icmp_rest = (uint32_t)s->sport << 16 | s->dport;
	return frame_icmp(&e);
}

struct frame
frame_arp(const struct arp_spec *s)
{
	bool same = rte_is_zero_ether_addr(&s->smac);
	struct spec e = {.smac = same ? s->sha : s->smac, .dmac = s->dmac, .vlan = s->vlan};
	struct frame f = start(&e, s->rarp ? RTE_ETHER_TYPE_RARP : RTE_ETHER_TYPE_ARP);
	struct rte_arp_hdr h = {
		.arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER),
		.arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = 6,
		.arp_plen = 4,
		.arp_opcode = rte_cpu_to_be_16(s->op != 0 ? s->op : RTE_ARP_OP_REQUEST),
		.arp_data = {s->sha, s->spa, s->tha, s->tpa},
	};

	append(&f, &h, sizeof(h));
	return f;
}

const void *
packet_of(const struct frame *f)
{
	return f->b + ETH_LEN;
}

uint16_t
packet_len(const struct frame *f)
{
	return (uint16_t)(f->len - ETH_LEN);
}

struct frame
vxlan_frame(const struct spec *outer, uint32_t vni, const struct frame *inner)
{
	uint8_t data[FRAME_MAX];
	struct rte_vxlan_hdr h = {RTE_BE32(0x08000000), rte_cpu_to_be_32(vni << 8)};
	struct spec s = *outer;

	assert_true(inner->len + sizeof(h) <= sizeof(data));
	memcpy(data, &h, sizeof(h));
	memcpy(data + sizeof(h), inner->b, inner->len);
	s.data = data;
	s.size = (uint16_t)(inner->len + sizeof(h));
	s.dport = RTE_VXLAN_DEFAULT_PORT;
	s.no_checksum = true;
	return frame_udp(&s);
}

rte_be32_t
vtep_of(uint8_t tunnel)
{
	const rte_be32_t vtep[] = {[R_Y] = VTEP_Y, [R_Z] = VTEP_Z, [T_A] = VTEP_A, [T_B] = VTEP_B};

	return vtep[tunnel];
}

struct frame
from_tunnel(uint8_t tunnel, uint16_t seg, struct frame inner)
{
	struct spec outer = {.smac = MAC_ISP,
		.dmac = MAC_WAN0,
		.src = vtep_of(tunnel),
		.dst = WAN0_IP,
		.frag = RTE_IPV4_HDR_DF_FLAG,
		.sport = 50000};

	return vxlan_frame(&outer, VNI(seg), &inner);
}

struct frame
with_vlan(struct frame f, uint16_t vlan)
{
	f.vlan = vlan;
	return f;
}
