/* SPDX-License-Identifier: BSD-3-Clause */
/* Puts each packet into its port's transmit vector. */
#include <dataplane/pipeline.h>
#include <dataplane/tx.h>

void
tx(struct worker *w, struct vec *in)
{
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i) {
		const struct meta *md = meta(m);

		tx_put(w, m, md->out_port, md->out_vlan, md->seg);
	}
}
