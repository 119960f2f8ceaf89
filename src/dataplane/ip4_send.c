/* SPDX-License-Identifier: BSD-3-Clause */
#include "ip4_send.h"

#include "icmp_error.h"
#include "ip4.h"

#define FRAGMENT_UNIT 8 /* bytes, of the offset field */

/* Where one fragment's payload lies in the whole packet's. */
struct part {
	uint16_t at, len;
	bool last;
};

/* Writes length, offset and flags of a fragment. A packet that is a fragment itself keeps its place and its MF. */
static void
set_part(struct rte_ipv4_hdr *ip, rte_be16_t was, const struct part *p)
{
	uint16_t frag = rte_be_to_cpu_16(was) + p->at / FRAGMENT_UNIT;

	if (!p->last)
		frag |= RTE_IPV4_HDR_MF_FLAG;
	ip->fragment_offset = rte_cpu_to_be_16(frag);
	ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + p->len));
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

/* A new packet with the headers of `m` and part of its payload; NULL when there is no room for it. */
static struct rte_mbuf *
make_part(struct worker *w, struct rte_mbuf *m, const struct part *p)
{
	uint16_t hlen = IP4_OFF + sizeof(struct rte_ipv4_hdr);
	struct rte_mbuf *f = worker_make_more(w, MADE_FRAGMENT);
	const void *q;
	char *to;

	if (f == NULL)
		return NULL;
	to = rte_pktmbuf_append(f, hlen + p->len);
	if (to == NULL) {
		worker_drop(w, f, DROP_NO_MBUF);
		return NULL;
	}
	*meta(f) = *meta(m);
	memcpy(to, rte_pktmbuf_mtod(m, char *), hlen);
	q = rte_pktmbuf_read(m, hlen + p->at, p->len, to + hlen);
	if (q != to + hlen)
		memcpy(to + hlen, q, p->len);
	set_part(ip4_hdr(f), ip4_hdr(m)->fragment_offset, p);
	meta(f)->fragment = 2;
	meta(f)->l3_len = sizeof(struct rte_ipv4_hdr) + p->len;
	worker_follow(w, m, f, MADE_FRAGMENT);
	return f;
}

/* The packet itself becomes the first fragment. */
static void
cut(struct worker *w, struct rte_mbuf *m, uint16_t room, struct vec *out)
{
	struct rte_ipv4_hdr *ip = ip4_hdr(m);
	uint16_t payload = rte_be_to_cpu_16(ip->total_length) - sizeof(*ip);
	struct part first = {.len = room};
	struct rte_mbuf *f;

	vec_add(out, m);
	for (uint16_t at = room; at < payload; at += room) {
		uint16_t len = RTE_MIN(room, (uint16_t)(payload - at));

		f = make_part(w, m, &(const struct part){at, len, at + len == payload});
		if (f == NULL)
			break; /* counted; the receiver drops the rest for us */
		vec_add(out, f);
	}
	set_part(ip, ip->fragment_offset, &first);
	ip4_trim(m, sizeof(*ip) + room);
	meta(m)->l3_len = sizeof(*ip) + room;
}

static bool
may_cut(const struct rte_ipv4_hdr *ip, uint16_t mtu)
{
	uint32_t at = (rte_be_to_cpu_16(ip->fragment_offset) & RTE_IPV4_HDR_OFFSET_MASK) * FRAGMENT_UNIT;

	return ip->version_ihl == RTE_IPV4_VHL_DEF && mtu >= sizeof(*ip) + FRAGMENT_UNIT &&
	       at + rte_be_to_cpu_16(ip->total_length) <=
		       UINT16_MAX; /* offsets beyond are not to be written */
}

static bool
fits(struct worker *w, struct rte_mbuf *m, uint16_t mtu)
{
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);

	if (likely(rte_be_to_cpu_16(ip->total_length) <= mtu) ||
		(ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_DF_FLAG)) == 0)
		return true;
	icmp_error_drop(w, m, DROP_TOO_BIG, mtu);
	return false;
}

bool
ip4_hop(struct worker *w, struct rte_mbuf *m, uint16_t mtu)
{
	struct meta *md = meta(m);

	if (md->flags & (META_OWN | META_ROUTED))
		return fits(w, m, mtu);
	if (ip4_hdr(m)->time_to_live <= 1) {
		icmp_error_drop(w, m, DROP_TTL_EXPIRED, 0);
		return false;
	}
	if (!fits(w, m, mtu))
		return false;
	ip4_take_ttl(ip4_hdr(m));
	md->flags |= META_ROUTED;
	return true;
}

void
ip4_send(struct worker *w, struct rte_mbuf *m, uint16_t mtu, struct vec *out)
{
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);

	if (likely(rte_be_to_cpu_16(ip->total_length) <= mtu))
		vec_add(out, m);
	else if (!may_cut(ip, mtu))
		worker_drop(w, m, DROP_TOO_BIG);
	else
		cut(w, m, RTE_ALIGN_FLOOR((uint16_t)(mtu - sizeof(*ip)), FRAGMENT_UNIT), out);
}

void
ip4_carry(struct worker *w, struct rte_mbuf *m, uint8_t router, struct vec *encap)
{
	uint16_t mtu = w->topo->segments[meta(m)->seg].tunnel_mtu;

	meta(m)->out_tunnel = router;
	if (fits(w, m, mtu))
		ip4_send(w, m, mtu, encap);
}
