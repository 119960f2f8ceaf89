/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to global source address. Between two global addresses of ours the packet turns round here (hairpin). */
#include <dataplane/nat.h>
#include <dataplane/pipeline.h>

void
nat_out(struct worker *w, struct vec *in, struct vec *nat_in, struct vec *route)
{
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i) {
		rte_be32_t global = meta(m)->nat_ip;
		enum drop why = global != 0 ? nat_rewrite(m, NAT_SRC, global) : DROP_NAT_NO_GLOBAL;

		if (why != DROPS)
			worker_drop(w, m, why);
		else
			vec_add(topo_is_pool(w->topo, ip4_hdr(m)->dst_addr) ? nat_in : route, m);
	}
}
