/* SPDX-License-Identifier: BSD-3-Clause */
#include "icmp_error.h"

#include "attach.h"
#include "ip4.h"
#include "nat.h"

#define ERROR_MAX   576 /* bytes of IP: RFC 1812, 4.3.2.3 */
#define CODE_HOST   1
#define TOS_CONTROL 0xc0 /* precedence 6: RFC 1812, 4.3.2.5 */

struct error_hdr {
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	uint8_t type, code;
	rte_be16_t csum, zero, mtu;
} __rte_packed __rte_aligned(2);

/* The message that a drop earns. */
static void
type_of(enum drop why, uint8_t *type, uint8_t *code)
{
	*type = why == DROP_TTL_EXPIRED ? ICMP_TIME_EXCEEDED : ICMP_UNREACHABLE;
	switch (why) {
	case DROP_VM_UNKNOWN:
	case DROP_NEIGHBOUR_FAILED:
		*code = CODE_HOST;
		break;
	case DROP_LOCAL_UNANSWERED:
		*code = 3; /* port */
		break;
	case DROP_TOO_BIG:
		*code = 4; /* fragmentation needed */
		break;
	default:
		*code = 0; /* in transit; net */
	}
}

/* Back to the attachment or peer that the frame came from, to the VM's MAC. */
static rte_be32_t
back_to_vm(const struct worker *w, struct rte_mbuf *about, struct error_hdr *h, struct meta *md)
{
	const struct meta *from = meta(about);
	const struct topology *t = w->topo;
	uint16_t seg = from->in_seg;

	if (!topo_in(&t->segments[seg].prefix,
		    ip4_hdr(about)->src_addr)) /* an address of the VM outside its segment's prefix */
		return 0;
	h->eth.dst_addr = rte_pktmbuf_mtod(about, const struct rte_ether_hdr *)->src_addr;
	md->seg = seg;
	if (from->origin == FROM_DC) {
		h->eth.src_addr = t->segments[seg].gw_mac;
		attach_enter(t, md, from->in_att);
	} else {
		h->eth.src_addr = t->router_mac;
		md->enter = ENTER_ENCAP;
		md->out_tunnel = from->in_router;
	}
	return t->segments[seg].gw_ip;
}

/* Decides the message's way; returns the address to send it from, 0 = there is none. */
static rte_be32_t
way_back(const struct worker *w, struct rte_mbuf *about, struct error_hdr *h, struct meta *md)
{
	if (meta(about)->origin != FROM_WAN)
		return back_to_vm(w, about, h, md);
	md->enter = ENTER_ROUTE;
	return w->topo->ports[meta(about)->in_port].ip;
}

/* To the broadcast address of a segment: whoever sent it did not ask one host. */
static bool
is_broadcast(const struct topology *t, const struct meta *md, rte_be32_t dst)
{
	uint16_t seg = md->seg != TOPO_NONE ? topo_segment_in_vrf(t, t->segments[md->seg].vrf, dst)
					    : topo_segment_by_ip(t, dst);

	return seg != TOPO_NONE && (dst | t->segments[seg].prefix.mask) == 0xffffffff;
}

static bool
is_due(const struct worker *w, struct rte_mbuf *m)
{
	const struct meta *md = meta(m);

	return md->l3_known && md->fragment != 2 && !(md->flags & (META_OWN | META_ICMP_ERROR)) &&
	       !is_broadcast(w->topo, md, ip4_hdr(m)->dst_addr);
}

static bool
write_error(struct rte_mbuf *e, struct rte_mbuf *about, const struct error_hdr *h)
{
	uint32_t quote = RTE_MIN(rte_pktmbuf_pkt_len(about) - IP4_OFF, ERROR_MAX + IP4_OFF - sizeof(*h));
	char *p = rte_pktmbuf_append(e, (uint16_t)(sizeof(*h) + quote));
	struct error_hdr *out = (struct error_hdr *)p;
	const void *q;

	if (p == NULL)
		return false;
	*out = *h;
	q = rte_pktmbuf_read(about, IP4_OFF, quote, p + sizeof(*h));
	if (q != p + sizeof(*h))
		memcpy(p + sizeof(*h), q, quote);
	out->ip.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*h) + quote - IP4_OFF));
	out->ip.hdr_checksum = rte_ipv4_cksum(&out->ip);
	out->csum =
		(uint16_t)~rte_raw_cksum(&out->type, sizeof(*h) - offsetof(struct error_hdr, type) + quote);
	return true;
}

static void
send_error(struct worker *w, struct rte_mbuf *about, struct error_hdr *h)
{
	struct meta to = {.origin = FROM_SELF, .flags = META_OWN, .seg = TOPO_NONE, .in_att = TOPO_NONE};
	struct rte_mbuf *e;

	h->ip.src_addr = way_back(w, about, h, &to);
	if (h->ip.src_addr == 0)
		return;
	if (!bucket_take(&w->icmp_bucket, w->now_ms, ICMP_ERRORS_PER_S, ICMP_ERRORS_BURST)) {
		w->c.made[MADE_ICMP_ERROR]++; /* an operator shall see how many were not sent */
		w->c.drop[DROP_ICMP_RATE]++;
		return;
	}
	e = worker_make(w, MADE_ICMP_ERROR);
	if (e == NULL)
		return;
	*meta(e) = to;
	h->ip.dst_addr = ip4_hdr(about)->src_addr;
	if (!write_error(e, about, h)) {
		worker_drop(w, e, DROP_NO_MBUF);
		return;
	}
	worker_follow(w, about, e, MADE_ICMP_ERROR);
	worker_inject(w, e);
}

static void
tell(struct worker *w, struct rte_mbuf *m, uint8_t type, uint8_t code, uint16_t mtu)
{
	struct error_hdr h = {
		.eth = {.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4)},
		.ip = {.version_ihl = RTE_IPV4_VHL_DEF,
			.type_of_service = TOS_CONTROL,
			.fragment_offset =
				RTE_BE16(RTE_IPV4_HDR_DF_FLAG), /* atomic: RFC 6864, so needs no identifier */
			.time_to_live = IP4_TTL,
			.next_proto_id = IPPROTO_ICMP},
		.type = type,
		.code = code,
		.mtu = rte_cpu_to_be_16(mtu),
	};

	send_error(w, m, &h);
}

void
icmp_error_drop(struct worker *w, struct rte_mbuf *m, enum drop why, uint16_t mtu)
{
	uint8_t type, code;

	if (is_due(w, m)) {
		nat_undo(m);
		type_of(why, &type, &code);
		tell(w, m, type, code, why == DROP_TOO_BIG ? mtu : 0);
	}
	worker_drop(w, m, why);
}

void
icmp_error_host(struct worker *w, struct rte_mbuf *m)
{
	if (is_due(w, m))
		tell(w, m, ICMP_UNREACHABLE, CODE_HOST, 0);
}
