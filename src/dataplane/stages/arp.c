/* SPDX-License-Identifier: BSD-3-Clause */
/* arp.c - ARP and RARP of a segment.
 *
 * Who asks for the gateway is answered by one router: the owner of the VM that asks. At another router of the group
 * the request goes through the tunnel to the owner alone, and the answer comes back with the owner's router MAC as
 * Ethernet source; the bridge stage delivers it with the gateway's. Group members (who share the address) do not
 * contend with each other; against anybody else the address is defended (RFC 5227, section 2.4 (c)).
 */
#include <dataplane/attach.h>
#include <dataplane/pipeline.h>
#include <dataplane/vmrec.h>

#include <rte_arp.h>

#define DEFEND_MS   10000 /* RFC 5227: DEFEND_INTERVAL */
#define FRAME_LEN   (sizeof(struct rte_ether_hdr) + sizeof(struct rte_arp_hdr))
#define ETHER_LEAST 60 /* without FCS */

struct ask { /* one ARP frame, and where it may go */
	struct worker *w;
	struct rte_mbuf *m;
	struct meta *md;
	const struct topo_segment *seg;
	struct rte_ether_hdr *eth;
	struct rte_arp_hdr *hdr;
	struct rte_arp_ipv4 *a;
	struct vec *bridge, *encap, *port;
};

static bool
operation_fits(const struct ask *q)
{
	uint16_t op = rte_be_to_cpu_16(q->hdr->arp_opcode);

	if (q->eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_RARP))
		return op == RTE_ARP_OP_REVREQUEST || op == RTE_ARP_OP_REVREPLY;
	return op == RTE_ARP_OP_REQUEST || op == RTE_ARP_OP_REPLY;
}

static bool
well_formed(const struct ask *q)
{
	const struct rte_arp_hdr *h = q->hdr;

	return rte_pktmbuf_data_len(q->m) >= FRAME_LEN && h->arp_hardware == RTE_BE16(RTE_ARP_HRD_ETHER) &&
	       h->arp_protocol == RTE_BE16(RTE_ETHER_TYPE_IPV4) && h->arp_hlen == RTE_ETHER_ADDR_LEN &&
	       h->arp_plen == sizeof(rte_be32_t) && operation_fits(q);
}

/* Loopback and multicast (224/4 and above) are nobody's address; 0.0.0.0 is a probe's. */
static bool
honest_sender(const struct ask *q)
{
	uint32_t ip = rte_be_to_cpu_32(q->a->arp_sip);

	return rte_is_same_ether_addr(&q->a->arp_sha, &q->eth->src_addr) && ip >> 24 != 127 && ip >> 28 < 14;
}

static const struct vm_rec *
vm_by_mac(const struct ask *q, const struct rte_ether_addr *mac)
{
	struct vm_key_mac key = {.mac = *mac, .seg = q->md->seg};
	const struct vm_rec *vm;

	vmtab_by_mac(q->w->tables->vms, &key, 1, &vm);
	return vm;
}

static const struct vm_rec *
vm_by_ip(const struct ask *q, rte_be32_t ip)
{
	struct vm_key_ip key = {.ip = ip, .seg = q->md->seg};
	const struct vm_rec *vm;

	vmtab_by_ip(q->w->tables->vms, &key, 1, &vm);
	return vm;
}

static void
give_encap(const struct ask *q, uint8_t router)
{
	q->md->out_tunnel = router;
	vec_add(q->encap, q->m);
}

/* The request becomes the reply "ip is at mac", from the Ethernet address `src`. */
static void
turn_into_reply(const struct ask *q, rte_be32_t ip, const struct rte_ether_addr *mac,
	const struct rte_ether_addr *src)
{
	q->hdr->arp_opcode = RTE_BE16(RTE_ARP_OP_REPLY);
	q->a->arp_tha = q->a->arp_sha;
	q->a->arp_tip = q->a->arp_sip;
	q->a->arp_sha = *mac;
	q->a->arp_sip = ip;
	q->eth->dst_addr = q->a->arp_tha;
	q->eth->src_addr = *src;
}

static void
send_back(const struct ask *q)
{
	bool tunnel = attach_aim(q->w->topo, q->md, q->md->in_att);

	vec_add(tunnel ? q->encap : q->port, q->m);
}

/* ---- the gateway's address ---- */

struct announcement {
	struct rte_ether_hdr eth;
	struct rte_arp_hdr arp;
	uint8_t padding[ETHER_LEAST - FRAME_LEN];
} __rte_packed __rte_aligned(2);

static void
announce(const struct ask *q, uint16_t att)
{
	const struct topo_segment *s = q->seg;
	const struct announcement frame = {
		.eth = {.src_addr = s->gw_mac, .ether_type = RTE_BE16(RTE_ETHER_TYPE_ARP)},
		.arp = {.arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER),
			.arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4),
			.arp_hlen = RTE_ETHER_ADDR_LEN,
			.arp_plen = sizeof(rte_be32_t),
			.arp_opcode = RTE_BE16(RTE_ARP_OP_REQUEST),
			.arp_data = {.arp_sha = s->gw_mac, .arp_sip = s->gw_ip, .arp_tip = s->gw_ip}},
	};
	struct rte_mbuf *m = worker_make(q->w, MADE_DEFENCE);
	struct announcement *to;

	if (m == NULL)
		return;
	to = (struct announcement *)rte_pktmbuf_append(m, sizeof(frame));
	if (to == NULL) {
		worker_drop(q->w, m, DROP_NO_MBUF);
		return;
	}
	*to = frame;
	memset(&to->eth.dst_addr, 0xff, sizeof(to->eth.dst_addr));
	meta(m)->seg = q->md->seg;
	attach_enter(q->w->topo, meta(m), att);
	worker_follow(q->w, q->m, m, MADE_DEFENCE);
	worker_inject(q->w, m);
}

/* Never over the extension: there it would teach the other site's switches the wrong way. */
static void
defend(const struct ask *q)
{
	struct worker *w = q->w;
	uint64_t *last = &w->defended_ms[q->md->seg];

	if (w->scratch || (*last != 0 && w->now_ms - *last < DEFEND_MS))
		return;
	*last = w->now_ms;
	for (int i = 0; i < q->seg->n_attachments; i++)
		announce(q, q->seg->attachments[i]);
}

static void
stranger_claims_gateway(const struct ask *q)
{
	struct dp_event ev = {
		.kind = EVENT_CONFLICT,
		.router = q->md->origin == FROM_TUNNEL ? q->md->in_router : ROUTER_SELF,
		.seg = q->md->seg,
		.att = q->md->in_att,
		.port = q->md->in_port,
		.mac = q->eth->src_addr,
		.ip = q->seg->gw_ip,
	};

	worker_event(q->w, &ev);
	defend(q);
	worker_drop(q->w, q->m, DROP_GW_CONFLICT);
}

/* From a peer's router MAC there is one thing to expect: its answer to a VM of its own that asked here. */
static void
from_group(const struct ask *q)
{
	const struct vm_rec *vm = vm_by_mac(q, &q->eth->dst_addr);

	if (q->a->arp_sip != q->seg->gw_ip) {
		worker_drop(q->w, q->m, DROP_ARP_CONSUMED);
		return;
	}
	if (vm != NULL && vm->owner == q->md->in_router && q->hdr->arp_opcode == RTE_BE16(RTE_ARP_OP_REPLY) &&
		rte_is_same_ether_addr(&q->a->arp_sha, topo_gateway_mac(q->seg, vm->owner)) &&
		rte_is_same_ether_addr(&q->a->arp_tha, &vm->mac))
		vec_add(q->bridge, q->m);
	else
		worker_drop(q->w, q->m, DROP_GW_ARP_SUPPRESSED);
}

static void
answer_for_gateway(const struct ask *q, bool tunnel)
{
	turn_into_reply(
		q, q->seg->gw_ip, &q->seg->gw_mac, tunnel ? &q->w->topo->router_mac : &q->seg->gw_mac);
	if (tunnel)
		give_encap(q, q->md->in_router);
	else
		send_back(q);
}

/* A probe for the gateway's address (sender 0.0.0.0) asks whether it is in use, and is told so whoever asks (RFC 5227,
 * section 2.1.1): a VM by its owner like any request, a stranger by the router at whose port it stands. */
static void
wants_gateway(const struct ask *q)
{
	const struct vm_rec *vm = q->md->vm;
	bool tunnel = q->md->origin == FROM_TUNNEL, probe = q->a->arp_sip == 0;

	if (vm == NULL && probe && !tunnel)
		answer_for_gateway(q, false);
	else if (vm == NULL || (!probe && !vm_has_ip(vm, q->a->arp_sip)))
		worker_drop(q->w, q->m, DROP_GW_ARP_UNREGISTERED);
	else if (vm->owner == ROUTER_SELF)
		answer_for_gateway(q, tunnel);
	else if (tunnel || q->seg->external) /* there its owner hears the question itself */
		worker_drop(q->w, q->m, DROP_GW_ARP_OWNER_ELSE);
	else
		give_encap(q, vm->owner);
}

/* ---- other addresses ---- */

/* A broadcast question of an attachment for a VM at a peer need not cross the tunnel. Probes and announcements do:
 * they are meant for all. Nor is a VM told of itself. */
static bool
answer_for_vm(const struct ask *q)
{
	const struct vm_rec *vm;

	if (!q->seg->suppress_arp || q->seg->external || q->md->origin != FROM_DC ||
		q->hdr->arp_opcode != RTE_BE16(RTE_ARP_OP_REQUEST) ||
		!rte_is_broadcast_ether_addr(&q->eth->dst_addr) || q->a->arp_sip == 0 ||
		q->a->arp_sip == q->a->arp_tip)
		return false;
	vm = vm_by_ip(q, q->a->arp_tip);
	if (vm == NULL || vm->location == ROUTER_SELF || rte_is_same_ether_addr(&vm->mac, &q->eth->src_addr))
		return false;
	turn_into_reply(q, q->a->arp_tip, &vm->mac, &q->seg->gw_mac);
	send_back(q);
	return true;
}

/* Of a member of the group that is heard on a DC port: the gateway of another site, where somebody else stretches the
 * segment. It contends with nobody; what else it asks is between it and the host it asks. */
static void
from_peer_gateway(const struct ask *q)
{
	if (q->a->arp_sip == q->seg->gw_ip)
		worker_drop(q->w, q->m, DROP_GW_ARP_SUPPRESSED);
	else
		vec_add(q->bridge, q->m);
}

static bool
to_router(const struct ask *q)
{
	return rte_is_same_ether_addr(&q->eth->dst_addr, &q->seg->gw_mac) ||
	       rte_is_same_ether_addr(&q->eth->dst_addr, &q->w->topo->router_mac);
}

static void
ask_arp(const struct ask *q)
{
	if (q->a->arp_sip == q->seg->gw_ip)
		stranger_claims_gateway(q);
	else if (!honest_sender(q))
		worker_drop(q->w, q->m, DROP_ARP_MALFORMED);
	else if (q->a->arp_tip == q->seg->gw_ip && q->hdr->arp_opcode == RTE_BE16(RTE_ARP_OP_REQUEST))
		wants_gateway(q);
	else if (to_router(q))
		worker_drop(q->w, q->m, DROP_ARP_CONSUMED);
	else if (!answer_for_vm(q))
		vec_add(q->bridge, q->m);
}

/* The segment stage took note of a VM's RARP; switches want to see it, too. */
static void
ask_rarp(const struct ask *q)
{
	if (!rte_is_same_ether_addr(&q->a->arp_sha, &q->eth->src_addr))
		worker_drop(q->w, q->m, DROP_ARP_MALFORMED);
	else if (to_router(q))
		worker_drop(q->w, q->m, DROP_ARP_CONSUMED);
	else
		vec_add(q->bridge, q->m);
}

static void
ask(const struct ask *q)
{
	if (!well_formed(q))
		worker_drop(q->w, q->m, DROP_ARP_MALFORMED);
	else if (rte_is_same_ether_addr(&q->eth->src_addr, &q->seg->gw_mac))
		worker_drop(q->w, q->m, DROP_GW_ARP_SUPPRESSED);
	else if (topo_is_peer_gateway(q->w->topo, q->seg, &q->eth->src_addr))
		from_peer_gateway(q);
	else if (q->md->origin == FROM_TUNNEL &&
		 rte_is_same_ether_addr(&q->eth->src_addr, &q->w->topo->peers[q->md->in_router - 1].mac))
		from_group(q);
	else if (!worker_arp_allowed(q->w, &q->eth->src_addr, q->md->seg, q->md->vm != NULL))
		worker_drop(q->w, q->m, DROP_ARP_RATE);
	else if (q->eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_RARP))
		ask_rarp(q);
	else
		ask_arp(q);
}

void
arp(struct worker *w, struct vec *in, struct vec *bridge, struct vec *encap, struct vec *port)
{
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i) {
		struct ask q = {
			.w = w, .m = m, .md = meta(m), .bridge = bridge, .encap = encap, .port = port};

		q.seg = &w->topo->segments[q.md->seg];
		q.eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
		q.hdr = (struct rte_arp_hdr *)(q.eth + 1);
		q.a = &q.hdr->arp_data;
		ask(&q);
	}
}
