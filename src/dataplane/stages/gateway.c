/* SPDX-License-Identifier: BSD-3-Clause */
/* A VM's frame to its gateway: may the VM send it, and who routes it?
 *
 *   owner here, nothing drains, or the destination is inside  -> routed here
 *   owner elsewhere                                           -> carried to the owner, from a DC port only
 *   carried here by the owner itself, and the segment is
 *     routed or the destination inside                        -> routed here: it left before the VM changed hands
 *   the VM drains or is about to leave, and the destination
 *     is outside                                              -> home_out decides by session
 */
#include <dataplane/ip4.h>
#include <dataplane/ip4_send.h>
#include <dataplane/pipeline.h>
#include <dataplane/vmrec.h>

/* Keeps what is IPv4 and whole. */
static uint16_t
keep_ip4(struct worker *w, struct vec *in)
{
	uint16_t n = 0, i;
	struct rte_mbuf *m;

	vec_foreach (in, m, i) {
		const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
		enum drop why =
			eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) ? ip4_know(m) : DROP_ETHERTYPE;

		if (why == DROPS)
			in->m[n++] = m;
		else
			worker_drop(w, m, why);
	}
	return n;
}

/* A source address that no VM of the segment has: a registered VM that lies, or a stranger. */
static void
drop_strangers(struct worker *w, struct rte_mbuf **m, uint16_t n)
{
	struct vm_key_mac key[BURST_MAX];
	const struct vm_rec *rec[BURST_MAX];

	for (uint16_t i = 0; i < n; i++) {
		key[i].mac = rte_pktmbuf_mtod(m[i], struct rte_ether_hdr *)->src_addr;
		key[i].seg = meta(m[i])->seg;
	}
	vmtab_by_mac(w->tables->vms, key, n, rec);
	for (uint16_t i = 0; i < n; i++)
		worker_drop(w, m[i], rec[i] != NULL ? DROP_SPOOFED : DROP_GW_UNREGISTERED);
}

/* The router's own addresses that a VM may ask: gateways of all segments, WAN addresses. */
static bool
is_own(const struct topology *t, rte_be32_t dst, uint16_t dst_seg)
{
	return dst_seg != TOPO_NONE ? t->segments[dst_seg].gw_ip == dst
				    : topo_port_by_ip(t, dst) != TOPO_NONE;
}

static void
route_here(struct worker *w, struct rte_mbuf *m, uint16_t dst_seg, bool own, struct paths *p)
{
	struct meta *md = meta(m);
	const struct topo_segment *seg = &w->topo->segments[md->seg];
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);

	ip4_clamp(m, seg->mss);
	if (own) {
		vec_add(&p->local, m);
	} else if (dst_seg != TOPO_NONE) {
		md->seg = dst_seg;
		md->vm = NULL;
		vec_add(&p->to_vm, m);
	} else if (seg->nat) {
		md->nat_ip = vm_live_global(md->vm, ip->src_addr);
		vec_add(&p->nat_out, m);
	} else {
		vec_add(topo_is_pool(w->topo, ip->dst_addr) ? &p->nat_in : &p->route, m);
	}
}

/* An owner routes what its VM sends. So what it carried here was on its way while the VM was still ours, and is routed
 * here as well as there; but for NAT to the outside, where the session's home decides. */
static bool
left_before_the_move(const struct worker *w, const struct meta *md, bool outside)
{
	return md->in_router == md->vm->owner && !(outside && w->topo->segments[md->seg].nat);
}

static void
decide(struct worker *w, struct rte_mbuf *m, struct paths *p)
{
	struct meta *md = meta(m);
	rte_be32_t dst = ip4_hdr(m)->dst_addr;
	uint16_t dst_seg = topo_segment_in_vrf(w->topo, w->topo->segments[md->seg].vrf, dst);
	bool own = is_own(w->topo, dst, dst_seg), outside = dst_seg == TOPO_NONE && !own;

	if (outside && vm_has_homes(md->vm) && w->topo->segments[md->seg].nat)
		vec_add(&p->home_out, m);
	else if (md->vm->owner == ROUTER_SELF)
		route_here(w, m, dst_seg, own, p);
	else if (md->origin == FROM_DC)
		ip4_carry(w, m, md->vm->owner, &p->encap);
	else if (left_before_the_move(w, md, outside))
		route_here(w, m, dst_seg, own, p);
	else
		worker_drop(w, m, DROP_NOT_OWNER);
}

/* The VM that has the source address. Mostly that is the one whose MAC the frame has: the segment stage found it. */
static void
find_sources(struct worker *w, struct rte_mbuf **m, uint16_t n)
{
	struct vm_key_ip key[BURST_MAX];
	const struct vm_rec *rec[BURST_MAX];
	struct rte_mbuf *ask[BURST_MAX];
	uint16_t asked = 0;

	for (uint16_t i = 0; i < n; i++) {
		rte_be32_t src = ip4_hdr(m[i])->src_addr;

		if (meta(m[i])->vm != NULL && vm_has_ip(meta(m[i])->vm, src))
			continue;
		key[asked] = (struct vm_key_ip){.ip = src, .seg = meta(m[i])->seg};
		ask[asked++] = m[i];
	}
	if (asked == 0)
		return;
	vmtab_by_ip(w->tables->vms, key, asked, rec);
	for (uint16_t i = 0; i < asked; i++)
		meta(ask[i])->vm = rec[i];
}

void
gateway(struct worker *w, struct vec *in, struct paths *p)
{
	struct rte_mbuf *stranger[BURST_MAX];
	uint16_t n = keep_ip4(w, in), strangers = 0;

	find_sources(w, in->m, n);
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = in->m[i];
		const struct vm_rec *rec = meta(m)->vm;

		if (rec == NULL)
			stranger[strangers++] = m;
		else if (!rte_is_same_ether_addr(
				 &rec->mac, &rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->src_addr))
			worker_drop(w, m, DROP_SPOOFED);
		else
			decide(w, m, p);
	}
	if (strangers != 0)
		drop_strangers(w, stranger, strangers);
}
