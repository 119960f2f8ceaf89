/* SPDX-License-Identifier: BSD-3-Clause */
/* traffic.h - packets and bytes of each VM and segment through this router, counted by each worker for itself.
 *
 * From a VM: frames with its MAC as source, as the segment stage finds them. To a VM: what is given to an attachment or the
 * tunnel for it alone; flooded frames are not. A slot of the VM table that another VM gets goes on counting where it was: who
 * reads knows where that one began (vmtab_on_free). Bytes are those of Ethernet frames without tag and checksum.
 */
#pragma once

#include "worker.h"

/* The line is not in the cache when many VMs talk: as soon as the record is known. */
static inline void
traffic_expect(const struct worker *w, const struct vm_rec *vm)
{
	if (vm != NULL)
		rte_prefetch0(&w->vm_traffic[vm->slot]);
}

static inline void
traffic_from_vm(struct worker *w, const struct vm_rec *vm, const struct rte_mbuf *m)
{
	struct traffic *t = &w->vm_traffic[vm->slot];

	t->from_packets++;
	t->from_bytes += rte_pktmbuf_pkt_len(m);
}

static inline void
traffic_to_vm(struct worker *w, const struct vm_rec *vm, const struct rte_mbuf *m)
{
	struct traffic *t = &w->vm_traffic[vm->slot];

	t->to_packets++;
	t->to_bytes += rte_pktmbuf_pkt_len(m);
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
