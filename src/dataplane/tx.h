/* SPDX-License-Identifier: BSD-3-Clause */
/* tx.h - a frame enters its port's transmit vector. */
#pragma once

#include "traffic.h"

/* With its VLAN tag back in place (0: none), and counted for its segment where it leaves by a DC port. */
static inline void
tx_put(struct worker *w, struct rte_mbuf *m, uint8_t port, uint16_t vlan, uint16_t seg)
{
	struct vec *out = &w->tx[port];

	if (seg != TOPO_NONE && w->topo->ports[port].role == TOPO_DC)
		traffic_to_segment(w, seg, m);
	if (unlikely(out->n == VEC_MAX)) {
		worker_drop(w, m, DROP_TX_FULL);
		return;
	}
	if (vlan != 0) {
		m->vlan_tci = vlan;
		if (rte_vlan_insert(&m) != 0) {
			worker_drop(w, m, DROP_NO_MBUF); /* no room in front of the frame */
			return;
		}
	}
	vec_add(out, m);
}
