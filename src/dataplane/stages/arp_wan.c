/* SPDX-License-Identifier: BSD-3-Clause */
/* arp_wan.c - ARP on routed ports (RFC 826, RFC 5227).
 *
 * Answers for the port's own address and, where a pool is on link, for the global addresses that this router
 * translates: live ones of its VMs and draining ones whose home it is. What neighbours say of themselves goes to the
 * control thread, which keeps the neighbour table. Where the kernel has an interface on the port it gets the replies to
 * the port's own address, for it asks by itself; requests it does not get, for they are answered here.
 */
#include <dataplane/pipeline.h>

#include <rte_arp.h>

struct arp_frame {
	struct rte_ether_hdr eth;
	struct rte_arp_hdr arp;
} __rte_packed __rte_aligned(2);

/* Loopback and multicast (224/4 and above) are nobody's address; 0.0.0.0 is a probe's. */
static bool
honest_sender(const struct arp_frame *f)
{
	const struct rte_arp_ipv4 *a = &f->arp.arp_data;
	uint32_t ip = rte_be_to_cpu_32(a->arp_sip);

	return rte_is_valid_assigned_ether_addr(&a->arp_sha) &&
	       rte_is_same_ether_addr(&a->arp_sha, &f->eth.src_addr) && ip >> 24 != 127 && ip >> 28 < 14;
}

static bool
well_formed(const struct rte_mbuf *m, const struct arp_frame *f)
{
	const struct rte_arp_hdr *h = &f->arp;
	uint16_t op;

	if (rte_pktmbuf_data_len(m) < sizeof(*f))
		return false;
	op = rte_be_to_cpu_16(h->arp_opcode);
	return h->arp_hardware == RTE_BE16(RTE_ARP_HRD_ETHER) &&
	       h->arp_protocol == RTE_BE16(RTE_ETHER_TYPE_IPV4) && h->arp_hlen == RTE_ETHER_ADDR_LEN &&
	       h->arp_plen == sizeof(rte_be32_t) && (op == RTE_ARP_OP_REQUEST || op == RTE_ARP_OP_REPLY);
}

/* Does this router translate the address now? */
static bool
translated_here(const struct worker *w, rte_be32_t global)
{
	const struct vm_rec *vm;

	vmtab_by_global(w->tables->vms, &global, 1, &vm);
	if (vm == NULL)
		return false;
	for (int i = 0; vm->owner == ROUTER_SELF && i < vm->n_addresses; i++)
		if (vm->addresses[i].global == global)
			return true;
	for (int i = 0; i < vm->n_drains; i++)
		if (vm->drains[i].home == ROUTER_SELF && vm->drains[i].global == global)
			return true;
	return false;
}

static bool
on_link_pool(const struct topology *t, rte_be32_t ip)
{
	for (int i = 0; i < t->n_pools; i++)
		if (t->pools[i].on_link && topo_in(&t->pools[i].prefix, ip))
			return true;
	return false;
}

static bool
ours(const struct worker *w, const struct topo_port *port, rte_be32_t ip)
{
	return ip != 0 && (ip == port->ip || (on_link_pool(w->topo, ip) && translated_here(w, ip)));
}

/* Also of an address outside the port's prefix: a route may name one. Who is not asked for is not noted (neighs_seen()). */
static void
tell_neighbour(struct worker *w, const struct meta *md, const struct rte_arp_ipv4 *a)
{
	struct dp_event ev = {
		.kind = EVENT_NEIGH_SEEN,
		.seg = TOPO_NONE,
		.att = TOPO_NONE,
		.port = md->in_port,
		.mac = a->arp_sha,
		.ip = a->arp_sip,
	};

	if (a->arp_sip != 0)
		worker_event(w, &ev);
}

static void
reply(struct rte_mbuf *m, struct arp_frame *f, const struct topo_port *port, struct vec *out)
{
	struct rte_arp_ipv4 *a = &f->arp.arp_data;
	rte_be32_t ip = a->arp_tip;

	f->arp.arp_opcode = RTE_BE16(RTE_ARP_OP_REPLY);
	a->arp_tha = a->arp_sha;
	a->arp_tip = a->arp_sip;
	a->arp_sha = port->mac;
	a->arp_sip = ip;
	f->eth.dst_addr = a->arp_tha;
	f->eth.src_addr = port->mac;
	meta(m)->out_port = meta(m)->in_port;
	meta(m)->out_vlan = 0;
	vec_add(out, m);
}

static void
hear(struct worker *w, struct rte_mbuf *m, struct vec *out)
{
	struct arp_frame *f = rte_pktmbuf_mtod(m, struct arp_frame *);
	const struct topo_port *port = &w->topo->ports[meta(m)->in_port];
	const struct rte_arp_ipv4 *a = &f->arp.arp_data;

	if (!well_formed(m, f) || !honest_sender(f) ||
		ours(w, port, a->arp_sip)) { /* or it claims to be us */
		worker_drop(w, m, DROP_ARP_MALFORMED);
		return;
	}
	if (!worker_arp_allowed(w, &f->eth.src_addr, (uint16_t)(TOPO_SEGMENTS + meta(m)->in_port), false)) {
		worker_drop(w, m, DROP_ARP_RATE);
		return;
	}
	if (ours(w, port, a->arp_tip) || a->arp_tip == a->arp_sip) /* to us, or an announcement */
		tell_neighbour(w, meta(m), a);
	if (f->arp.arp_opcode == RTE_BE16(RTE_ARP_OP_REQUEST) && ours(w, port, a->arp_tip))
		reply(m, f, port, out);
	else if (port->punt_pps != 0 && f->arp.arp_opcode == RTE_BE16(RTE_ARP_OP_REPLY) &&
		 a->arp_tip == port->ip)
		worker_punt(w, m, PUNT_ARP);
	else
		worker_drop(w, m, DROP_ARP_CONSUMED);
}

void
arp_wan(struct worker *w, struct vec *in, struct vec *port)
{
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i)
		hear(w, m, port);
}
