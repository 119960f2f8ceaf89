/* SPDX-License-Identifier: BSD-3-Clause */
#include "pipeline.h"

#include <rte_cycles.h>
#include <string.h>

/* Which calls of a stage are timed: the first ones, and then one in sixteen. To read the clock twice for each burst of 32 cost 1.5 cycles a packet. */
static inline bool
is_timed(const struct worker *w, uint64_t call)
{
	return call < w->untimed || (call & w->untimed) == 0;
}

/* Skips an empty vector; counts packets and calls of the stage, and of calls that are timed packets and cycles. */
#define RUN(w, id, in, call)                                                \
	do {                                                                \
		struct vec *in_ = (in);                                     \
		if (in_->n != 0) {                                          \
			struct stage_count *c_ = &(w)->c.stage[STAGE_##id]; \
			bool timed_ = is_timed(w, c_->calls++);             \
			uint64_t t_ = unlikely(timed_) ? rte_rdtsc() : 0;   \
			if (unlikely((w)->probe != NULL))                   \
				probe_stage(w, STAGE_##id, in_);            \
			c_->packets += in_->n;                              \
			if (unlikely(timed_))                               \
				c_->timed += in_->n;                        \
			call;                                               \
			in_->n = 0;                                         \
			if (unlikely(timed_))                               \
				c_->cycles += rte_rdtsc() - t_;             \
		}                                                           \
	} while (0)

/* Moves what fits of the inject vector into the burst, in order. */
static void
take_injected(struct worker *w, struct vec *rx)
{
	uint16_t n = RTE_MIN((uint16_t)(BURST_MAX - rx->n), w->inject.n);

	for (uint16_t i = 0; i < n; i++)
		vec_add(rx, w->inject.m[i]);
	w->inject.n -= n;
	memmove(w->inject.m, w->inject.m + n, w->inject.n * sizeof(w->inject.m[0]));
}

/* What of the received packets fits the probe's filter gets a number. */
static void
follow(struct worker *w, struct vec *rx)
{
	for (uint16_t i = 0; i < rx->n; i++)
		probe_received(w, rx->m[i]);
}

/* The path of every packet. No packet logic here. */
void
pipeline_run(struct worker *w, struct vec *rx)
{
	struct paths *p = w->paths;

	w->c.received += rx->n;
	if (unlikely(w->probe != NULL))
		follow(w, rx);
	w->more = VEC_MAX - BURST_MAX;
	if (unlikely(w->vm_hold.n_queues != 0))
		vm_hold_round(w, rx);
	take_injected(w, rx);
	if (likely(w->express && w->probe == NULL)) /* who looks on sees every stage */
		RUN(w, EXPRESS, rx, express(w, rx, &p->rest));
	RUN(w, CLASSIFY, rx, classify(w, rx, p));
	RUN(w, CLASSIFY, &p->rest, classify(w, &p->rest, p));
	RUN(w, DECAP, &p->tunnel, vxlan_decap(w, &p->tunnel, &p->frame));
	RUN(w, SEGMENT, &p->frame, segment(w, &p->frame, &p->arp, &p->gateway, &p->bridge, &p->home_in));
	RUN(w, ARP, &p->arp, arp(w, &p->arp, &p->bridge, &p->encap, &p->port));
	RUN(w, ARP_WAN, &p->arp_wan, arp_wan(w, &p->arp_wan, &p->port));
	RUN(w, GATEWAY, &p->gateway, gateway(w, &p->gateway, p));
	RUN(w, HOME_OUT, &p->home_out, home_out(w, &p->home_out, &p->nat_out, &p->encap));
	RUN(w, NAT_OUT, &p->nat_out, nat_out(w, &p->nat_out, &p->nat_in, &p->route));
	RUN(w, WAN, &p->wan, wan(w, &p->wan, p));
	RUN(w, NAT_IN, &p->nat_in, nat_in(w, &p->nat_in, &p->home_in, &p->to_vm));
	RUN(w, HOME_IN, &p->home_in, home_in(w, &p->home_in, &p->to_vm, &p->bridge));
	RUN(w, LOCAL, &p->local, local(w, &p->local, &p->to_vm, &p->route));
	RUN(w, TO_VM, &p->to_vm, to_vm(w, &p->to_vm, &p->port, &p->encap));
	RUN(w, BRIDGE, &p->bridge, bridge(w, &p->bridge, &p->encap, &p->port));
	RUN(w, ENCAP, &p->encap, vxlan_encap(w, &p->encap, &p->route));
	RUN(w, ROUTE, &p->route, route(w, &p->route, &p->neighbour));
	RUN(w, NEIGHBOUR, &p->neighbour, neighbour(w, &p->neighbour, &p->port));
	RUN(w, TX, &p->port, tx(w, &p->port));
}
