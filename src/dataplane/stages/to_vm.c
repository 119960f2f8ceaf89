/* SPDX-License-Identifier: BSD-3-Clause */
/* A routed packet reaches its VM: on an own attachment, from the gateway's MAC; at a peer, through the tunnel, from
 * the router's MAC, which tells the peer where it comes from.
 */
#include <dataplane/attach.h>
#include <dataplane/icmp_error.h>
#include <dataplane/ip4.h>
#include <dataplane/ip4_send.h>
#include <dataplane/pipeline.h>
#include <dataplane/traffic.h>

/* Looks up the destinations that no stage before knew. */
static void
find(struct worker *w, struct rte_mbuf **m, uint16_t n)
{
	struct vm_key_ip key[BURST_MAX];
	const struct vm_rec *rec[BURST_MAX];
	struct rte_mbuf *ask[BURST_MAX];
	uint16_t asked = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (meta(m[i])->vm != NULL)
			continue;
		key[asked] = (struct vm_key_ip){.ip = ip4_hdr(m[i])->dst_addr, .seg = meta(m[i])->seg};
		ask[asked++] = m[i];
	}
	if (asked == 0)
		return;
	vmtab_by_ip(w->tables->vms, key, asked, rec);
	for (uint16_t i = 0; i < asked; i++) {
		meta(ask[i])->vm = rec[i];
		if (rec[i] != NULL)
			traffic_expect_to(w, rec[i]->slot);
	}
}

static void
write_ether(struct rte_mbuf *m, const struct rte_ether_addr *from, const struct rte_ether_addr *to)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);

	eth->src_addr = *from;
	eth->dst_addr = *to;
	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
}

struct outs {
	struct vec *port, *encap;
};

static void
to_attachment(struct worker *w, struct rte_mbuf *m, uint16_t att, const struct outs *o)
{
	bool tunnel = attach_aim(w->topo, meta(m), att);

	ip4_send(w, m, w->topo->segments[meta(m)->seg].att_mtu, tunnel ? o->encap : o->port);
}

static void
copy_to_others(struct worker *w, const struct rte_mbuf *m, const struct topo_segment *seg)
{
	for (uint16_t i = 1; i < seg->n_attachments; i++) {
		struct rte_mbuf *c = worker_copy(w, m);

		if (c == NULL)
			continue;
		attach_enter(w->topo, meta(c), seg->attachments[i]);
		worker_inject(w, c);
	}
}

/* Not heard yet: to each attachment of its segment. Copies, of each fragment, enter with the next burst: what one VM needs of
 * them takes nothing from the fragments of others. */
static void
to_all_attachments(struct worker *w, struct rte_mbuf *m, const struct outs *o)
{
	const struct topo_segment *seg = &w->topo->segments[meta(m)->seg];
	struct vec *out;
	uint16_t first;

	if (seg->n_attachments == 0) {
		worker_drop(w, m, DROP_NO_DESTINATION);
		return;
	}
	out = attach_is_vtep(w->topo, seg->attachments[0]) ? o->encap : o->port;
	first = out->n;
	to_attachment(w, m, seg->attachments[0], o);
	for (uint16_t i = first; i < out->n; i++)
		copy_to_others(w, out->m[i], seg);
}

static void
deliver(struct worker *w, struct rte_mbuf *m, const struct outs *o)
{
	const struct vm_rec *rec = meta(m)->vm;
	const struct topo_segment *seg = &w->topo->segments[meta(m)->seg];
	/* Only the owner knows better than that the VM is where its owner is. */
	uint8_t at = rec->owner != ROUTER_SELF ? rec->owner : rec->location;

	if (!ip4_hop(w, m, at == ROUTER_SELF ? seg->att_mtu : seg->tunnel_mtu))
		return;
	ip4_clamp(m, seg->mss);
	traffic_to_vm(w, rec->slot, m);
	if (at != ROUTER_SELF) {
		write_ether(m, &w->topo->router_mac, &rec->mac);
		ip4_carry(w, m, at, o->encap);
		return;
	}
	write_ether(m, &seg->gw_mac, &rec->mac);
	if (rec->att == ATT_ANY)
		to_all_attachments(w, m, o);
	else
		to_attachment(w, m, rec->att, o);
}

static bool
waits(struct worker *w, struct rte_mbuf *m)
{
	const struct vm_rec *vm = meta(m)->vm;

	return vm_hold_asks(&w->vm_hold, vm) && vm_hold_take(w, m, vm, ENTER_TO_VM);
}

void
to_vm(struct worker *w, struct vec *in, struct vec *port, struct vec *encap)
{
	const struct outs o = {port, encap};
	struct rte_mbuf *m;
	uint16_t i;

	find(w, in->m, in->n);
	vec_foreach (in, m, i) {
		if (meta(m)->vm == NULL)
			icmp_error_drop(w, m, DROP_VM_UNKNOWN, 0);
		else if (!waits(w, m))
			deliver(w, m, &o);
	}
}
