/* SPDX-License-Identifier: BSD-3-Clause */
/* Routed IPv4 from a WAN port: to the router, to a VM by its global address or its own, or through. */
#include <dataplane/ip4.h>
#include <dataplane/pipeline.h>
#include <dataplane/vmrec.h>

/* To a private prefix: of a routed segment, a VM or the gateway; of a nat segment, nobody outside may. */
static void
inside(struct worker *w, struct rte_mbuf *m, uint16_t seg, struct paths *p)
{
	const struct topo_segment *s = &w->topo->segments[seg];

	if (s->nat) {
		worker_drop(w, m, DROP_INSIDE_DESTINATION);
	} else if (s->gw_ip == ip4_hdr(m)->dst_addr) {
		vec_add(&p->local, m);
	} else {
		meta(m)->seg = seg;
		vec_add(&p->to_vm, m);
	}
}

/* Global addresses need not be of a pool: what is left is asked of the table in one go. */
static void
outside(struct worker *w, struct rte_mbuf **m, uint16_t n, struct paths *p)
{
	const struct vm_rec *rec[BURST_MAX];
	rte_be32_t dst[BURST_MAX];

	for (uint16_t i = 0; i < n; i++)
		dst[i] = ip4_hdr(m[i])->dst_addr;
	vmtab_by_global(w->tables->vms, dst, n, rec);
	for (uint16_t i = 0; i < n; i++) {
		if (rec[i] != NULL && vm_private_here(rec[i], dst[i]) != 0)
			vec_add(&p->nat_in, m[i]);
		else if (w->topo->transit)
			vec_add(&p->route, m[i]);
		else
			worker_drop(w, m[i], DROP_TRANSIT);
	}
}

/* True: the packet went where it belongs, or was dropped. */
static bool
sort(struct worker *w, struct rte_mbuf *m, struct paths *p)
{
	const struct topology *t = w->topo;
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);
	uint16_t seg;

	if (topo_segment_by_ip(t, ip->src_addr) != TOPO_NONE)
		worker_drop(w, m, DROP_INSIDE_SOURCE);
	else if (topo_port_by_ip(t, ip->src_addr) != TOPO_NONE)
		worker_drop(w, m, DROP_MARTIAN);
	else if (topo_port_by_ip(t, ip->dst_addr) != TOPO_NONE)
		vec_add(&p->local, m);
	else if (topo_is_pool(t, ip->dst_addr))
		vec_add(&p->nat_in, m);
	else if ((seg = topo_segment_by_ip(t, ip->dst_addr)) != TOPO_NONE)
		inside(w, m, seg, p);
	else
		return false;
	return true;
}

void
wan(struct worker *w, struct vec *in, struct paths *p)
{
	struct rte_mbuf *rest[BURST_MAX], *m;
	uint16_t n = 0, i;

	vec_foreach (in, m, i) {
		if (!sort(w, m, p))
			rest[n++] = m;
	}
	if (n != 0)
		outside(w, rest, n, p);
}
