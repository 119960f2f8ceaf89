/* SPDX-License-Identifier: BSD-3-Clause */
/* traffic.h - packets and bytes of each VM and segment through this router, counted by each worker for itself.
 *
 * From a VM: frames with its MAC as source, as the segment stage finds them. To a VM: what is given to an attachment or the
 * tunnel for it alone; flooded frames are not. A slot of the VM table that another VM gets goes on counting where it was: who
 * reads knows where that one began (vmtab_on_free). Bytes are those of Ethernet frames without tag and checksum.
 */
#pragma once

#include "worker.h"

/* The line is not in the cache when many VMs talk: as soon as the slot is known. */
static inline void
traffic_expect_from(const struct worker *w, uint32_t slot)
{
	rte_prefetch0(&w->from_vm[slot]);
}

static inline void
traffic_expect_to(const struct worker *w, uint32_t slot)
{
	rte_prefetch0(&w->to_vm[slot]);
}

/* Where a slot's stands, in bytes from the first one on. */
static inline uint32_t
tally_at(uint32_t slot)
{
	return slot * (uint32_t)sizeof(struct tally);
}

/* A packet, to what stands there. */
static inline void
tally_add(struct tally *tallies, uint32_t at, uint32_t bytes)
{
	struct tally *t = (struct tally *)((char *)tallies + at);

	t->packets++;
	t->bytes += bytes;
}

static inline void
traffic_from_vm(struct worker *w, uint32_t slot, const struct rte_mbuf *m)
{
	tally_add(w->from_vm, tally_at(slot), rte_pktmbuf_pkt_len(m));
}

static inline void
traffic_to_vm(struct worker *w, uint32_t slot, const struct rte_mbuf *m)
{
	tally_add(w->to_vm, tally_at(slot), rte_pktmbuf_pkt_len(m));
}

/* Any thread. The worker goes on counting: each number is one that was true at some moment. */
static inline struct traffic
traffic_of_vm(const struct worker *w, uint32_t slot)
{
	const struct tally *from = &w->from_vm[slot], *to = &w->to_vm[slot];

	return (struct traffic){
		.from_packets = __atomic_load_n(&from->packets, __ATOMIC_RELAXED),
		.from_bytes = __atomic_load_n(&from->bytes, __ATOMIC_RELAXED),
		.to_packets = __atomic_load_n(&to->packets, __ATOMIC_RELAXED),
		.to_bytes = __atomic_load_n(&to->bytes, __ATOMIC_RELAXED),
	};
}

static inline void
traffic_from_segment(struct worker *w, uint16_t seg, const struct rte_mbuf *m)
{
	w->seg_traffic[seg].from_packets++;
	w->seg_traffic[seg].from_bytes += rte_pktmbuf_pkt_len(m);
}

static inline void
traffic_to_segment(struct worker *w, uint16_t seg, const struct rte_mbuf *m)
{
	w->seg_traffic[seg].to_packets++;
	w->seg_traffic[seg].to_bytes += rte_pktmbuf_pkt_len(m);
}

static inline struct traffic
traffic_of_segment(const struct worker *w, uint16_t seg)
{
	const struct traffic *t = &w->seg_traffic[seg];

	return (struct traffic){
		.from_packets = __atomic_load_n(&t->from_packets, __ATOMIC_RELAXED),
		.from_bytes = __atomic_load_n(&t->from_bytes, __ATOMIC_RELAXED),
		.to_packets = __atomic_load_n(&t->to_packets, __ATOMIC_RELAXED),
		.to_bytes = __atomic_load_n(&t->to_bytes, __ATOMIC_RELAXED),
	};
}
