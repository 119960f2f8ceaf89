/* SPDX-License-Identifier: BSD-3-Clause */
#include "round_trip.h"

#include "ip4.h"
#include "vmrec.h"

/* False: of a packet whose TCP header is not whole, or that tells nothing. */
static bool
segment_of(struct rte_mbuf *m, struct rtt_segment *s)
{
	const struct meta *md = meta(m);
	const struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, md->l4_off);
	uint16_t header, behind = IP4_OFF + md->l3_len - md->l4_off;

	if (md->fragment != 0 || ip4_room(m, md, md->l4_off) < sizeof(*tcp) || (md->tcp_flags & TCP_RST))
		return false;
	header = (tcp->data_off >> 4) * 4;
	if (header < sizeof(*tcp) || header > behind)
		return false;
	*s = (struct rtt_segment){
		.seq = rte_be_to_cpu_32(tcp->sent_seq),
		.len = behind - header + ((md->tcp_flags & TCP_SYN) != 0) + ((md->tcp_flags & TCP_FIN) != 0),
		.ack = rte_be_to_cpu_32(tcp->recv_ack),
		.acks = md->tcp_flags & TCP_ACK,
		.syn = md->tcp_flags & TCP_SYN,
	};
	return true;
}

void
round_trip_note(struct worker *w, struct rte_mbuf *m, const struct flow *f, enum rtt_half to, rte_be32_t home)
{
	const struct vm_rec *vm = meta(m)->vm;
	enum rtt_half other = to == RTT_VM ? RTT_REMOTE : RTT_VM;
	struct rtt_times *times;
	struct rtt_segment s;
	uint32_t took;

	if (!f->tcp || f->quoted || !f->known || home == 0 || w->scratch)
		return;
	times = rtt_of(w->tables->rtt, vm->slot);
	if (times != NULL && segment_of(m, &s) && rtt_pass(w->tables->rtt, &f->key, to, &s, w->now_us, &took))
		rtt_count(times, home == vm_live_global(vm, f->key.vm) ? RTT_NEAR : RTT_OLD, other, took);
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
