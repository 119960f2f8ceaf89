/* SPDX-License-Identifier: BSD-3-Clause */
/* Global to private destination address: of the VM that this router translates it for, live or draining. */
#include <dataplane/nat.h>
#include <dataplane/pipeline.h>
#include <dataplane/traffic.h>
#include <dataplane/vmrec.h>

static void
translate(struct worker *w, struct rte_mbuf *m, const struct vm_rec *rec, struct vec *out)
{
	struct meta *md = meta(m);
	rte_be32_t global = ip4_hdr(m)->dst_addr, ip = rec != NULL ? vm_private_here(rec, global) : 0;
	enum drop why = ip != 0 ? nat_rewrite(m, NAT_DST, ip) : DROP_GLOBAL_UNREGISTERED;

	if (why != DROPS) {
		worker_drop(w, m, why);
		return;
	}
	md->vm = rec;
	md->seg = rec->seg;
	md->nat_ip = global;
	vec_add(out, m);
}

void
nat_in(struct worker *w, struct vec *in, struct vec *home_in, struct vec *to_vm)
{
	const struct vm_rec *rec[BURST_MAX];
	rte_be32_t dst[BURST_MAX];
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i)
		dst[i] = ip4_hdr(m)->dst_addr;
	vmtab_by_global(w->tables->vms, dst, in->n, rec);
	for (i = 0; i < in->n; i++)
		if (rec[i] != NULL)
			traffic_expect_to(w, rec[i]->slot);
	vec_foreach (in, m, i)
		translate(w, m, rec[i], rec[i] != NULL && vm_has_homes(rec[i]) ? home_in : to_vm);
}
