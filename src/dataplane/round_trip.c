/* SPDX-License-Identifier: BSD-3-Clause */
#include "round_trip.h"

#include "ip4.h"
#include "vmrec.h"

struct passing { /* a TCP packet of a session that goes on towards `to` */
	uint32_t slot;
	const struct session_key *key;
	const struct rte_tcp_hdr *tcp;
	uint32_t len; /* bytes of its header and what is behind */
	enum rtt_half to;
	enum rtt_way way;
};

/* False: of a packet whose TCP header lies about its length. */
static bool
segment_of(const struct passing *p, struct rtt_segment *s)
{
	uint8_t flags = p->tcp->tcp_flags;
	uint32_t header = (p->tcp->data_off >> 4) * 4u;

	if (header < sizeof(*p->tcp) || header > p->len)
		return false;
	*s = (struct rtt_segment){
		.seq = rte_be_to_cpu_32(p->tcp->sent_seq),
		.len = p->len - header + ((flags & TCP_SYN) != 0) + ((flags & TCP_FIN) != 0),
		.ack = rte_be_to_cpu_32(p->tcp->recv_ack),
		.acks = flags & TCP_ACK,
		.syn = flags & TCP_SYN,
	};
	return true;
}

static void
note(struct worker *w, const struct passing *p)
{
	struct rtt_times *times = rtt_of(w->tables->rtt, p->slot);
	struct rtt_segment s;
	uint32_t took;

	if (times != NULL && segment_of(p, &s) &&
		rtt_pass(w->tables->rtt, p->key, p->to, &s, w->now_us, &took))
		rtt_count(times, p->way, p->to == RTT_VM ? RTT_REMOTE : RTT_VM, took);
}

/* Not of a packet whose TCP header is not whole, or that tells nothing. */
void
round_trip_note(struct worker *w, struct rte_mbuf *m, const struct flow *f, enum rtt_half to, rte_be32_t home)
{
	const struct meta *md = meta(m);
	struct passing p = {.key = &f->key,
		.tcp = rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, md->l4_off),
		.len = IP4_OFF + md->l3_len - md->l4_off,
		.to = to};

	if (!f->tcp || f->quoted || !f->known || home == 0 || w->scratch || md->fragment != 0 ||
		ip4_room(m, md, md->l4_off) < sizeof(*p.tcp) || (md->tcp_flags & TCP_RST))
		return;
	p.slot = md->vm->slot;
	p.way = home == vm_live_global(md->vm, f->key.vm) ? RTT_NEAR : RTT_OLD;
	note(w, &p);
}

void
round_trip_plain(struct worker *w, uint32_t slot, const struct rte_ipv4_hdr *ip, const struct session_key *k,
	enum rtt_half to, enum rtt_way way)
{
	const struct passing p = {slot, k, (const struct rte_tcp_hdr *)(ip + 1),
		rte_be_to_cpu_16(ip->total_length) - sizeof(*ip), to, way};

	note(w, &p);
}

static bool
is_timed(const struct vm_rec *r)
{
	return r != NULL && r->owner == ROUTER_SELF && vm_has_homes(r);
}

void
round_trip_changed(void *rtt, const struct vm_rec *was, const struct vm_rec *is)
{
	bool before = is_timed(was), now = is_timed(is);

	if (now && !before)
		rtt_begin(rtt, is->slot);
	if (before && !now)
		rtt_end(rtt, was->slot);
}
