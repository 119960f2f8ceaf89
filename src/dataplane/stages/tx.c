/* SPDX-License-Identifier: BSD-3-Clause */
/* Puts each packet into its port's transmit vector, with its VLAN tag back in place. */
#include <dataplane/pipeline.h>
#include <dataplane/traffic.h>

void
tx(struct worker *w, struct vec *in)
{
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i) {
		struct vec *out = &w->tx[meta(m)->out_port];

		if (meta(m)->seg != TOPO_NONE && w->topo->ports[meta(m)->out_port].role == TOPO_DC)
			traffic_to_segment(w, meta(m)->seg, m);
		m->vlan_tci = meta(m)->out_vlan;
		if (out->n == VEC_MAX)
			worker_drop(w, m, DROP_TX_FULL);
		else if (m->vlan_tci != 0 && rte_vlan_insert(&m) != 0)
			worker_drop(w, m, DROP_NO_MBUF); /* no room in front of the frame */
		else
			vec_add(out, m);
	}
}
