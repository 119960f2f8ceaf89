/* SPDX-License-Identifier: BSD-3-Clause */
#include "describe.h"

#include "dp.h"
#include "topo.h"
#include "words.h"

#include <ctype.h>
#include <dataplane/meta.h>
#include <errno.h>
#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <string.h>

/* Of a neighbour on a wan port, whose MAC nobody asks for. */
static const struct rte_ether_addr somebody = {{0x02, 0, 0, 0, 0, 0x01}};

struct packet { /* under construction */
	const struct dp *dp;
	const struct explain_params *p;
	struct err *e;
	struct rte_mbuf *m;
	uint16_t port, seg; /* seg: TOPO_NONE on a wan port, or a VLAN that no segment has */
	int ethertype, proto;
};

/* ---- hexadecimal ---- */

static int
digit(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
					    : -1;
}

static int
from_hex(struct packet *k)
{
	const char *hex = k->p->hex;
	size_t n = strlen(hex);
	uint8_t *to;

	if (n % 2 != 0)
		return err_set(k->e, EINVAL, "hex: an odd number of digits");
	to = (uint8_t *)rte_pktmbuf_append(k->m, (uint16_t)(n / 2));
	if (to == NULL)
		return err_set(k->e, EMSGSIZE,
			"hex: %zu bytes are more than a frame of this router's ports has", n / 2);
	for (size_t i = 0; i < n / 2; i++) {
		int hi = digit(hex[2 * i]), lo = digit(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return err_set(k->e, EINVAL, "hex: byte %zu is not two hexadecimal digits", i);
		to[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

/* ---- by words ---- */

static bool
is_set(const struct mac *m)
{
	static const struct mac none;

	return !mac_equal(m, &none);
}

static const struct vm_rec *
vm_with(const struct packet *k, ip4 ip)
{
	struct vm_key_ip key = {.ip = rte_cpu_to_be_32(ip), .seg = k->seg};
	const struct vm_rec *vm = NULL;

	if (k->seg != TOPO_NONE && ip != 0)
		vmtab_by_ip(k->dp->tables.vms, &key, 1, &vm);
	return vm;
}

static int
source_mac(const struct packet *k, struct rte_ether_addr *mac)
{
	const struct vm_rec *vm = vm_with(k, k->p->src);

	if (is_set(&k->p->smac))
		*mac = topo_mac(&k->p->smac);
	else if (k->dp->topo->ports[k->port].role == TOPO_WAN)
		*mac = somebody;
	else if (vm != NULL)
		*mac = vm->mac;
	else
		return err_set(k->e, EINVAL,
			"smac: no VM with this source address is known; say which MAC sends it");
	return 0;
}

/* A VM sends to another of its segment directly, and else to its gateway. */
static struct rte_ether_addr
destination_mac(const struct packet *k)
{
	static const struct rte_ether_addr all = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	const struct topology *t = k->dp->topo;
	const struct vm_rec *vm = vm_with(k, k->p->dst);

	if (is_set(&k->p->dmac))
		return topo_mac(&k->p->dmac);
	if (k->ethertype == RTE_ETHER_TYPE_ARP || k->ethertype == RTE_ETHER_TYPE_RARP)
		return all;
	if (t->ports[k->port].role == TOPO_WAN)
		return t->ports[k->port].mac;
	if (vm != NULL)
		return vm->mac;
	return k->seg != TOPO_NONE ? t->segments[k->seg].gw_mac : all;
}

static void *
append(struct packet *k, size_t n)
{
	void *p = rte_pktmbuf_append(k->m, (uint16_t)n);

	if (p != NULL)
		memset(p, 0, n);
	return p;
}

static uint8_t
flags_of(const char *word)
{
	static const char letters[] = "FSRPAU";
	uint8_t flags = 0;

	for (; *word != '\0'; word++) {
		const char *at = strchr(letters, toupper((unsigned char)*word));

		if (at == NULL)
			return UINT8_MAX;
		flags |= (uint8_t)(1u << (at - letters));
	}
	return flags;
}

static size_t
l4_header_len(int proto)
{
	return proto == IPPROTO_TCP			       ? sizeof(struct rte_tcp_hdr)
	       : proto == IPPROTO_UDP || proto == IPPROTO_ICMP ? sizeof(struct rte_udp_hdr)
							       : 0;
}

static void
write_l4(struct packet *k, struct rte_ipv4_hdr *ip, void *l4, size_t len)
{
	rte_be16_t sport = rte_cpu_to_be_16((uint16_t)k->p->sport),
		   dport = rte_cpu_to_be_16((uint16_t)k->p->dport);
	struct rte_icmp_hdr *icmp = l4;
	struct rte_tcp_hdr *tcp = l4;
	struct rte_udp_hdr *udp = l4;

	if (k->proto == IPPROTO_TCP) {
		*tcp = (struct rte_tcp_hdr){.src_port = sport,
			.dst_port = dport,
			.data_off = 5 << 4,
			.tcp_flags = flags_of(k->p->flags),
			.rx_win = RTE_BE16(65535)};
		tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	} else if (k->proto == IPPROTO_UDP) {
		*udp = (struct rte_udp_hdr){
			.src_port = sport, .dst_port = dport, .dgram_len = rte_cpu_to_be_16((uint16_t)len)};
		udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
	} else if (k->proto == IPPROTO_ICMP) {
		*icmp = (struct rte_icmp_hdr){
			.icmp_type = RTE_IP_ICMP_ECHO_REQUEST, .icmp_ident = sport, .icmp_seq_nb = dport};
		icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, len);
	}
}

static int
write_ip(struct packet *k)
{
	size_t l4_len = l4_header_len(k->proto) + k->p->size;
	struct rte_ipv4_hdr *ip;

	if (k->p->src == 0 || k->p->dst == 0)
		return err_set(k->e, EINVAL, "an IPv4 packet needs src and dst; or say hex");
	if (k->proto == IPPROTO_TCP && flags_of(k->p->flags) == UINT8_MAX)
		return err_set(k->e, EINVAL, "flags: \"%s\"; of the letters F S R P A U", k->p->flags);
	ip = append(k, sizeof(*ip) + l4_len);
	if (ip == NULL)
		return err_set(k->e, EMSGSIZE, "size: that is more than a frame of this router's ports has");
	*ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + l4_len)),
		.fragment_offset = k->p->df ? RTE_BE16(RTE_IPV4_HDR_DF_FLAG) : 0,
		.time_to_live = (uint8_t)k->p->ttl,
		.next_proto_id = (uint8_t)k->proto,
		.src_addr = rte_cpu_to_be_32(k->p->src),
		.dst_addr = rte_cpu_to_be_32(k->p->dst)};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	write_l4(k, ip, ip + 1, l4_len);
	return 0;
}

static int
write_arp(struct packet *k, const struct rte_ether_addr *smac)
{
	struct rte_arp_hdr *a = append(k, sizeof(*a));
	bool rarp = k->ethertype == RTE_ETHER_TYPE_RARP;

	if (a == NULL)
		return err_set(k->e, EMSGSIZE, "no room");
	*a = (struct rte_arp_hdr){.arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER),
		.arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = RTE_ETHER_ADDR_LEN,
		.arp_plen = sizeof(rte_be32_t),
		.arp_opcode = rarp ? RTE_BE16(RTE_ARP_OP_REVREQUEST) : RTE_BE16(RTE_ARP_OP_REQUEST)};
	a->arp_data.arp_sha = *smac;
	a->arp_data.arp_sip = rte_cpu_to_be_32(k->p->src);
	a->arp_data.arp_tip = rte_cpu_to_be_32(k->p->dst);
	if (rarp)
		a->arp_data.arp_tha = *smac;
	return 0;
}

static int
from_words(struct packet *k)
{
	struct rte_ether_hdr *eth = append(k, sizeof(*eth));

	if (eth == NULL || source_mac(k, &eth->src_addr) != 0)
		return k->e->code;
	eth->dst_addr = destination_mac(k);
	eth->ether_type = rte_cpu_to_be_16((uint16_t)k->ethertype);
	if (k->ethertype == RTE_ETHER_TYPE_IPV4)
		return write_ip(k);
	if (k->ethertype == RTE_ETHER_TYPE_ARP || k->ethertype == RTE_ETHER_TYPE_RARP)
		return write_arp(k, &eth->src_addr);
	return append(k, k->p->size) != NULL ? 0 : err_set(k->e, EMSGSIZE, "size: too large");
}

/* ---- the whole ---- */

static int
words(struct packet *k)
{
	const struct explain_params *p = k->p;
	bool ports = p->sport != 0 || p->dport != 0;

	k->ethertype = p->ethertype[0] != '\0' ? word_ethertype(p->ethertype, k->e) : RTE_ETHER_TYPE_IPV4;
	if (k->ethertype < 0)
		return k->ethertype;
	k->proto = p->proto[0] != '\0' ? word_proto(p->proto, k->e) : ports ? IPPROTO_UDP : IPPROTO_ICMP;
	return k->proto < 0 ? k->proto : 0;
}

static int
place(struct packet *k)
{
	const struct topology *t = k->dp->topo;
	int port = word_port(k->dp, k->p->port, k->e);
	uint16_t att;

	if (port < 0)
		return port;
	k->port = (uint16_t)port;
	att = t->ports[port].role == TOPO_DC ? t->ports[port].attachment[k->p->vlan] : TOPO_NONE;
	k->seg = att != TOPO_NONE ? t->attachments[att].seg : TOPO_NONE;
	k->m = rte_pktmbuf_alloc(k->dp->pool);
	if (k->m == NULL)
		return err_set(k->e, ENOMEM, "no packet buffer is free");
	*meta(k->m) = (struct meta){.origin = t->ports[port].role == TOPO_WAN ? FROM_WAN : FROM_DC,
		.enter = ENTER_RX,
		.in_port = (uint8_t)port,
		.vlan = (uint16_t)k->p->vlan};
	return 0;
}

struct rte_mbuf *
describe_packet(const struct dp *dp, const struct explain_params *p, struct err *e)
{
	struct packet k = {.dp = dp, .p = p, .e = e};
	int rc = place(&k);

	if (rc == 0)
		rc = words(&k);
	if (rc == 0)
		rc = p->hex[0] != '\0' ? from_hex(&k) : from_words(&k);
	if (rc == 0)
		return k.m;
	rte_pktmbuf_free(k.m);
	return NULL;
}
