/* SPDX-License-Identifier: BSD-3-Clause */
/* segment.c - frames of a segment, from an attachment or a peer: may the source be there, what does it teach us,
 * and which stage is next.
 *
 * The gateway's MAC is a source on DC ports only, and there only of routers; a router MAC only in the tunnel, and only
 * from that router's VTEP; or our own, from a peer: a frame for a VM, which waited there in vain and comes back. ARP with the gateway's MAC as source goes on, for the arp stage to count it by name.
 *
 * In a segment that somebody else stretches (external) all sites hear each other at their attachments: VMs of peers there
 * are no news, nor is the gateway of another site; and the tunnel carries only what is to or from a router.
 */
#include <dataplane/pin.h>
#include <dataplane/pipeline.h>
#include <dataplane/traffic.h>
#include <dataplane/vmrec.h>

#include <rte_arp.h>

enum source { SOURCE_HOST, SOURCE_GATEWAY, SOURCE_ROUTER, SOURCE_SELF, SOURCE_DROPPED };

struct work { /* one burst; after find_sources() the packets whose source may be there */
	uint16_t n;
	struct rte_mbuf *m[BURST_MAX];
	enum source source[BURST_MAX];
	struct vm_key_mac key[BURST_MAX]; /* of the source */
	const struct vm_rec *vm[BURST_MAX];
};

static struct rte_ether_hdr *
ether(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
}

static bool
is_arp(const struct rte_ether_hdr *eth)
{
	return eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP) ||
	       eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_RARP);
}

static struct dp_event
event(enum dp_event_kind kind, struct rte_mbuf *m)
{
	const struct meta *md = meta(m);

	return (struct dp_event){
		.kind = (uint8_t)kind,
		.router = md->origin == FROM_TUNNEL ? md->in_router : ROUTER_SELF,
		.seg = md->seg,
		.att = md->in_att,
		.port = md->in_port,
		.mac = ether(m)->src_addr,
	};
}

static enum source
drop(struct worker *w, struct rte_mbuf *m, enum drop why)
{
	worker_drop(w, m, why);
	return SOURCE_DROPPED;
}

static enum source
drop_loop(struct worker *w, struct rte_mbuf *m)
{
	struct dp_event ev = event(EVENT_LOOP, m);

	worker_event(w, &ev);
	worker_hear_loop(w, meta(m)->seg);
	return drop(w, m, DROP_LOOP);
}

/* The VM that the frame is to, by its MAC; NULL if it is none. */
static const struct vm_rec *
destination(struct worker *w, struct rte_mbuf *m)
{
	struct vm_key_mac key = {.mac = ether(m)->dst_addr, .seg = meta(m)->seg};
	const struct vm_rec *vm;

	vmtab_by_mac(w->tables->vms, &key, 1, &vm);
	return vm;
}

/* What another than its sender has routed was relayed by the owner of the VM that it is to: who may have lost the VM to us
 * without having heard so. */
static enum source
router_source(struct worker *w, struct rte_mbuf *m, uint8_t router)
{
	struct meta *md = meta(m);
	const struct vm_rec *to;

	if (md->origin == FROM_DC)
		return drop_loop(w, m);
	if (router == ROUTER_SELF)
		return SOURCE_SELF;
	if (router != md->in_router) {
		to = destination(w, m);
		if (to == NULL || (to->owner != md->in_router && to->owner != ROUTER_SELF))
			return drop(w, m, DROP_SPOOFED);
	}
	md->routed_by = router;
	return SOURCE_ROUTER;
}

/* A pin of another router, heard at our attachment: there is a way between the sites beside the tunnel. */
static bool
is_peer_pin(const struct worker *w, struct rte_mbuf *m)
{
	const struct pin_frame *p = rte_pktmbuf_mtod(m, const struct pin_frame *);

	return meta(m)->origin == FROM_DC && p->eth.ether_type == RTE_BE16(PIN_ETHERTYPE) &&
	       rte_pktmbuf_data_len(m) >= sizeof(*p) && p->magic == PIN_MAGIC &&
	       topo_router_by_mac(w->topo, &p->router) != 0 && !w->topo->segments[meta(m)->seg].external;
}

/* Another site's gateway is behind its own router, unless the sites are one layer 2 network without us. */
static enum source
peer_gateway_source(struct worker *w, struct rte_mbuf *m)
{
	if (meta(m)->origin == FROM_TUNNEL)
		return drop(w, m, DROP_SRC_MAC_INVALID);
	return w->topo->segments[meta(m)->seg].external ? SOURCE_GATEWAY : drop_loop(w, m);
}

static enum source
check_source(struct worker *w, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = ether(m);
	const struct topo_segment *s = &w->topo->segments[meta(m)->seg];
	uint8_t router;

	if (!rte_is_valid_assigned_ether_addr(&eth->src_addr))
		return drop(w, m, DROP_SRC_MAC_INVALID);
	if (is_peer_pin(w, m))
		return drop_loop(w, m);
	if (rte_is_same_ether_addr(&eth->src_addr, &s->gw_mac))
		return is_arp(eth) ? SOURCE_GATEWAY : drop(w, m, DROP_SRC_MAC_INVALID);
	if (topo_is_peer_gateway(w->topo, s, &eth->src_addr))
		return peer_gateway_source(w, m);
	if (rte_is_same_ether_addr(&eth->src_addr, &w->topo->router_mac))
		return router_source(w, m, ROUTER_SELF);
	router = topo_router_by_mac(w->topo, &eth->src_addr);
	return router != 0 ? router_source(w, m, router) : SOURCE_HOST;
}

/* Registration refuses the MACs of routers and of this site's gateways: a VM's frame is a host's. */
static enum source
source_of(struct worker *w, struct rte_mbuf *m, const struct vm_rec *vm)
{
	if (likely(vm != NULL) && !w->topo->segments[meta(m)->seg].per_site)
		return SOURCE_HOST;
	return check_source(w, m);
}

/* Looks for the VMs first: whose source is one needs no other question. */
static void
find_sources(struct worker *w, struct vec *in, struct work *k)
{
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i)
		k->key[i] = (struct vm_key_mac){.mac = ether(m)->src_addr, .seg = meta(m)->seg};
	vmtab_by_mac(w->tables->vms, k->key, in->n, k->vm);
	k->n = 0;
	vec_foreach (in, m, i) {
		enum source source = source_of(w, m, k->vm[i]);

		if (source == SOURCE_DROPPED)
			continue;
		if (k->vm[i] != NULL)
			traffic_expect_from(w, k->vm[i]->slot);
		k->source[k->n] = source;
		k->key[k->n] = k->key[i];
		k->vm[k->n] = k->vm[i];
		k->m[k->n++] = m;
	}
}

/* The VM's IP that this frame of its MAC names as its own: source of IPv4, sender of ARP, or what a probe (RFC 5227)
 * of the VM asks for; RARP names the MAC alone, which is as good. 0 if there is none. */
static rte_be32_t
evidence(struct rte_mbuf *m, const struct vm_rec *vm)
{
	const struct rte_ether_hdr *eth = ether(m);
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);
	const struct rte_arp_hdr *arp = (const struct rte_arp_hdr *)(eth + 1);
	uint16_t len = rte_pktmbuf_data_len(m);
	rte_be32_t says;

	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) && len >= sizeof(*eth) + sizeof(*ip))
		return vm_has_ip(vm, ip->src_addr) ? ip->src_addr : 0;
	if (!is_arp(eth) || len < sizeof(*eth) + sizeof(*arp) ||
		!rte_is_same_ether_addr(&arp->arp_data.arp_sha, &vm->mac))
		return 0;
	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_RARP))
		return vm->addresses[0].ip;
	says = arp->arp_data.arp_sip != 0 ? arp->arp_data.arp_sip : arp->arp_data.arp_tip;
	return vm_has_ip(vm, says) ? says : 0;
}

/* The owner moves the location. Others only tell of VMs at their own attachments: an arrival is news. */
static bool
elsewhere(const struct worker *w, const struct meta *md, const struct vm_rec *vm)
{
	if (w->topo->segments[md->seg].external)
		return md->origin == FROM_DC && vm->owner == ROUTER_SELF && vm->att != md->in_att;
	if (md->origin == FROM_DC)
		return vm->owner != ROUTER_SELF || vm->location != ROUTER_SELF || vm->att != md->in_att;
	return vm->owner == ROUTER_SELF && vm->location != md->in_router;
}

/* To a peer's VM that stands here: its owner may have relayed the frame, so who sent it stands there, or anywhere. */
static bool
may_be_relayed(struct worker *w, struct rte_mbuf *m)
{
	const struct vm_rec *to;

	if (meta(m)->origin != FROM_TUNNEL)
		return false;
	to = destination(w, m);
	return to != NULL && to->owner == meta(m)->in_router;
}

static void
see_vm(struct worker *w, struct rte_mbuf *m, const struct vm_rec *vm)
{
	struct dp_event ev;
	rte_be32_t ip;

	if (!elsewhere(w, meta(m), vm))
		return;
	ip = evidence(m, vm);
	if (ip == 0 || may_be_relayed(w, m))
		return;
	ev = event(EVENT_VM_SEEN, m);
	ev.ip = ip;
	worker_heard(w, &ev, vm);
}

/* What is known of a host that spoke: nothing, or that it is elsewhere, is news. */
static void
learn_one(struct worker *w, struct rte_mbuf *m, const struct mac_entry *e)
{
	struct dp_event ev = event(EVENT_MAC_LEARN, m);

	if (e != NULL && e->router == ev.router && (ev.router != ROUTER_SELF || e->att == ev.att)) {
		if (!w->scratch)
			w->mac_seen[e->entry] = w->tick;
	} else if (!may_be_relayed(w, m)) {
		worker_heard(w, &ev, NULL);
	}
}

/* A routed packet from a peer to a VM of ours that drains tells the home of a session. */
static bool
tells_home(struct worker *w, struct rte_mbuf *m, enum source source)
{
	const struct vm_rec *vm;

	if (source != SOURCE_ROUTER || ether(m)->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4))
		return false;
	vm = destination(w, m);
	if (vm == NULL || vm->owner != ROUTER_SELF || vm->n_drains == 0)
		return false;
	meta(m)->vm = vm;
	return true;
}

/* A VM that moved may have the MAC of the gateway where it was. We are that gateway to it, where no other router hears
 * the frame. */
static bool
to_router(const struct worker *w, struct rte_mbuf *m)
{
	const struct rte_ether_addr *dst = &ether(m)->dst_addr;
	const struct topo_segment *s = &w->topo->segments[meta(m)->seg];

	if (rte_is_same_ether_addr(dst, &s->gw_mac) || rte_is_same_ether_addr(dst, &w->topo->router_mac))
		return true;
	return topo_is_peer_gateway(w->topo, s, dst) && (!s->external || meta(m)->origin == FROM_TUNNEL);
}

/* What the tunnel has no business to carry in an external segment. */
static bool
not_ours_to_carry(const struct worker *w, struct rte_mbuf *m, enum source source)
{
	return meta(m)->origin == FROM_TUNNEL && w->topo->segments[meta(m)->seg].external &&
	       (is_arp(ether(m)) || (source != SOURCE_ROUTER && !to_router(w, m)));
}

/* Hosts nobody registered. A registered VM is never learnt: control says where it is. */
static void
learn(struct worker *w, struct work *k)
{
	struct vm_key_mac key[BURST_MAX];
	struct mac_entry e[BURST_MAX];
	struct rte_mbuf *m[BURST_MAX];
	uint64_t known;
	uint16_t n = 0;

	for (uint16_t i = 0; i < k->n; i++) {
		if (k->source[i] != SOURCE_HOST || k->vm[i] != NULL ||
			not_ours_to_carry(w, k->m[i], SOURCE_HOST))
			continue;
		key[n] = k->key[i];
		m[n++] = k->m[i];
	}
	if (n == 0)
		return;
	known = mactab_find(w->tables->macs, key, n, e);
	for (uint16_t i = 0; i < n; i++)
		learn_one(w, m[i], known >> i & 1 ? &e[i] : NULL);
}

static void
give_gateway(struct worker *w, struct rte_mbuf *m, struct vec *gateway)
{
	if (ether(m)->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
		worker_drop(w, m, DROP_ETHERTYPE);
		return;
	}
	if (meta(m)->origin == FROM_TUNNEL)
		meta(m)->flags |= META_CARRIED;
	vec_add(gateway, m);
}

/* It tells nothing of where its sender is, nor of a session's home. */
static void
give_returned(struct worker *w, struct rte_mbuf *m, struct vec *bridge)
{
	const struct vm_rec *vm = destination(w, m);

	if (vm == NULL || (vm->owner != ROUTER_SELF && !(vm->flags & VM_REC_HOLDS))) {
		worker_drop(w, m, DROP_SPOOFED);
		return;
	}
	meta(m)->flags |= META_RETURNED;
	vec_add(bridge, m);
}

static void
count(struct worker *w, struct rte_mbuf *m, const struct vm_rec *source)
{
	traffic_from_segment(w, meta(m)->seg, m);
	if (source != NULL)
		traffic_from_vm(w, source->slot, m);
}

void
segment(struct worker *w, struct vec *in, struct vec *arp, struct vec *gateway, struct vec *bridge,
	struct vec *home_in)
{
	struct work k;

	find_sources(w, in, &k);
	learn(w, &k);
	for (uint16_t i = 0; i < k.n; i++) {
		struct rte_mbuf *m = k.m[i];

		count(w, m, k.vm[i]);
		if (k.source[i] == SOURCE_SELF) {
			give_returned(w, m, bridge);
			continue;
		}
		if (not_ours_to_carry(w, m, k.source[i])) {
			worker_drop(w, m, DROP_EXTERNAL);
			continue;
		}
		if (k.vm[i] != NULL)
			see_vm(w, m, k.vm[i]);
		meta(m)->vm = k.vm[i];
		if (is_arp(ether(m)))
			vec_add(arp, m);
		else if (to_router(w, m))
			give_gateway(w, m, gateway);
		else if (tells_home(w, m, k.source[i]))
			vec_add(home_in, m);
		else
			vec_add(bridge, m);
	}
}
