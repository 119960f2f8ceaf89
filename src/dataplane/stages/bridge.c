/* SPDX-License-Identifier: BSD-3-Clause */
/* bridge.c - L2 forwarding in a segment: to a VM, to a learnt host, or to all.
 *
 *                     to own attachments          to peers
 *  from attachment    all others *                all (head-end replication)
 *  from the tunnel    all                         never, but for the owner's relay of unicast for its VM
 *
 *  * never from one local VTEP to another: hypervisors speak to each other themselves
 *
 * What the new router of a VM that leaves had sent here before it held such packets itself goes back to it, and waits there.
 * What waited for a VM goes to where that is, also back to where it came from: as a frame of the gateway to an attachment, so
 * that no switch looks for the sender at our port; through the tunnel as a frame of the router's there, which takes it for
 * its own and learns nothing of it.
 *
 * The source of a routed frame is the sending router's MAC in the tunnel and the gateway's MAC on DC ports, whoever
 * routed it. A frame for several places goes to the first; copies enter with the next burst.
 */
#include <dataplane/attach.h>
#include <dataplane/mss.h>
#include <dataplane/pipeline.h>
#include <dataplane/traffic.h>

#define STORM_BURST  10 /* a tenth of a second's frames at once */
#define DESTINATIONS (RTE_DIM(((struct topo_segment *)0)->attachments) + TOPO_PEERS)

struct way { /* to a peer, or when router is ROUTER_SELF to an attachment */
	uint8_t router;
	uint16_t att;
};

struct ways {
	uint16_t n;
	enum drop none; /* why, when there are none */
	struct way way[DESTINATIONS];
};

struct outs {
	struct vec *encap, *port;
};

static struct rte_ether_hdr *
ether(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
}

static void
add_peer(struct ways *x, uint8_t router)
{
	x->way[x->n++] = (struct way){.router = router};
}

static void
add_attachment(struct ways *x, uint16_t att)
{
	x->way[x->n++] = (struct way){.router = ROUTER_SELF, .att = att};
}

/* Is this attachment, or hypervisor beside it, where the frame came from? */
static bool
is_back(const struct topology *t, const struct meta *md, uint16_t att)
{
	return md->origin == FROM_DC &&
	       (att == md->in_att || (attach_is_vtep(t, att) && attach_is_vtep(t, md->in_att)));
}

/* May what came from where `md` says go to this attachment? */
static bool
may_go_to(const struct topology *t, const struct meta *md, uint16_t att)
{
	return !is_back(t, md, att) || (md->flags & META_RELEASED);
}

static void
add_attachments(const struct topology *t, const struct meta *md, struct ways *x)
{
	const struct topo_segment *s = &t->segments[md->seg];

	for (int i = 0; i < s->n_attachments; i++)
		if (may_go_to(t, md, s->attachments[i]))
			add_attachment(x, s->attachments[i]);
}

static enum topo_storm
storm_class(const struct rte_ether_addr *dst)
{
	if (rte_is_unicast_ether_addr(dst))
		return STORM_UNICAST;
	return rte_is_broadcast_ether_addr(dst) ? STORM_BROADCAST : STORM_MULTICAST;
}

/* Workers share a segment's limit in equal parts: none asks another. */
static bool
storms(struct worker *w, struct rte_mbuf *m, struct ways *x)
{
	static const enum drop why[STORMS] = {
		[STORM_BROADCAST] = DROP_STORM_BROADCAST,
		[STORM_MULTICAST] = DROP_STORM_MULTICAST,
		[STORM_UNICAST] = DROP_STORM_UNICAST,
	};
	uint16_t seg = meta(m)->seg;
	enum topo_storm class = storm_class(&ether(m)->dst_addr);
	uint32_t pps = w->topo->segments[seg].storm_pps[class];

	x->none = why[class];
	pps = pps != 0 ? RTE_MAX(pps / RTE_MAX(w->topo->n_workers, 1), 1u) : 0;
	return pps != 0 && !bucket_take(&w->storm_bucket[seg][class], w->now_ms, pps,
				   RTE_MAX(pps / STORM_BURST, (uint32_t)BURST_MAX));
}

/* After a loop was heard, what would go round it is not flooded: from the tunnel, and to it. */
static void
flood(struct worker *w, struct rte_mbuf *m, struct ways *x)
{
	const struct meta *md = meta(m);
	bool looped = w->now_ms < w->loop_until_ms[md->seg];

	if (looped && md->origin == FROM_TUNNEL) {
		x->none = DROP_LOOP_HOLD;
		return;
	}
	if (storms(w, m, x))
		return;
	x->none = looped ? DROP_LOOP_HOLD : DROP_NO_DESTINATION;
	add_attachments(w->topo, md, x);
	if (looped || md->origin == FROM_TUNNEL || w->topo->segments[md->seg].external)
		return;
	for (uint16_t i = 0; i < w->topo->n_peers; i++)
		if (w->topo->peers[i].vtep != 0)
			add_peer(x, (uint8_t)(i + 1));
}

static void
to_own_attachment(const struct topology *t, const struct meta *md, uint16_t att, struct ways *x)
{
	if (att == ATT_ANY)
		add_attachments(t, md, x);
	else if (may_go_to(t, md, att))
		add_attachment(x, att);
	else
		x->none = att == md->in_att ? DROP_BRIDGE_FILTERED : DROP_SPLIT_HORIZON;
}

/* The owner knows where its VM is and relays. A third router sends to the owner; what comes from the tunnel it gives to
 * its own attachments: the VM may have arrived before the controller said so. What waited here in vain goes to the owner, who
 * looks for the VM at its own attachments. */
static void
to_vm_of(const struct topology *t, const struct meta *md, const struct vm_rec *vm, struct ways *x)
{
	bool tunnel = md->origin == FROM_TUNNEL;

	if (vm->owner != ROUTER_SELF && tunnel && (md->flags & META_RELEASED))
		add_peer(x, vm->owner);
	else if (vm->owner != ROUTER_SELF && (tunnel || t->segments[md->seg].external))
		add_attachments(t, md, x);
	else if (vm->owner != ROUTER_SELF)
		add_peer(x, vm->owner);
	else if (vm->location == ROUTER_SELF)
		to_own_attachment(t, md, vm->att, x);
	else if (tunnel && (md->flags & META_RETURNED))
		add_attachments(t, md, x);
	else if (tunnel && vm->location == md->in_router && !(md->flags & META_RELEASED) &&
		 !(vm->flags & VM_REC_NOTES))
		x->none = DROP_OWNER_BACKWARDS;
	else
		add_peer(x, vm->location);
}

static void
to_host(const struct topology *t, const struct meta *md, const struct mac_entry *e, struct ways *x)
{
	if (e->router == ROUTER_SELF)
		to_own_attachment(t, md, e->att, x);
	else if (md->origin == FROM_TUNNEL)
		x->none = DROP_SPLIT_HORIZON;
	else
		add_peer(x, e->router);
}

/* 01:80:c2:00:00:00 to :0f are for the next bridge and go no further (IEEE 802.1D, 7.12.6). */
static bool
link_local_group(const struct rte_ether_addr *a)
{
	static const uint8_t group[] = {0x01, 0x80, 0xc2, 0, 0};

	return memcmp(a->addr_bytes, group, sizeof(group)) == 0 && a->addr_bytes[5] < 0x10;
}

/* From the tunnel: routed by a peer, or by us before it waited there. */
static bool
is_routed(const struct meta *md)
{
	return md->routed_by != 0 || (md->flags & META_RETURNED);
}

/* A router's MAC is not shown to a DC, nor the gateway's to the tunnel. What a peer has routed keeps the MAC of that peer when it
 * is relayed: it tells the home of a session. */
static void
set_source(const struct worker *w, struct rte_mbuf *m, const struct way *y)
{
	struct rte_ether_addr *src = &ether(m)->src_addr;
	const struct topo_segment *s = &w->topo->segments[meta(m)->seg];
	const struct meta *md = meta(m);

	if (y->router == ROUTER_SELF && (is_routed(md) || is_back(w->topo, md, y->att)))
		*src = s->gw_mac;
	else if (y->router != ROUTER_SELF && md->origin == FROM_TUNNEL &&
		 ((md->flags & META_RELEASED) || y->router == md->in_router))
		*src = w->topo->peers[y->router - 1].mac;
	else if (y->router != ROUTER_SELF && rte_is_same_ether_addr(src, &s->gw_mac))
		*src = w->topo->router_mac;
}

static bool
fits(const struct topology *t, const struct rte_mbuf *m, const struct way *y)
{
	return y->router != ROUTER_SELF || attach_is_vtep(t, y->att) ||
	       rte_pktmbuf_pkt_len(m) <=
		       t->ports[t->attachments[y->att].port].mtu + sizeof(struct rte_ether_hdr);
}

/* What a way is in the metadata: by tunnel, or by a port; or the frame was too big for it and is gone. */
static enum enter
direct(struct worker *w, struct rte_mbuf *m, const struct way *y)
{
	struct meta *md = meta(m);

	if (!fits(w->topo, m, y)) {
		worker_drop(w, m, DROP_TOO_BIG);
		return ENTER_RX;
	}
	set_source(w, m, y);
	if (y->router == ROUTER_SELF)
		return attach_aim(w->topo, md, y->att) ? ENTER_ENCAP : ENTER_PORT;
	md->out_tunnel = y->router;
	return ENTER_ENCAP;
}

static void
send_copy(struct worker *w, const struct rte_mbuf *m, const struct way *y)
{
	struct rte_mbuf *c = worker_copy(w, m);
	enum enter enter = c != NULL ? direct(w, c, y) : ENTER_RX;

	if (enter == ENTER_RX)
		return;
	meta(c)->enter = (uint8_t)enter;
	worker_inject(w, c);
}

static void
send_all(struct worker *w, struct rte_mbuf *m, const struct ways *x, const struct outs *o)
{
	enum enter enter;

	if (x->n == 0) {
		worker_drop(w, m, x->none);
		return;
	}
	for (uint16_t i = 1; i < x->n; i++)
		send_copy(w, m, &x->way[i]);
	enter = direct(w, m, &x->way[0]);
	if (enter != ENTER_RX)
		vec_add(enter == ENTER_PORT ? o->port : o->encap, m);
}

static void
choose(struct worker *w, struct rte_mbuf *m, const struct vm_rec *vm, const struct mac_entry *host,
	struct ways *x)
{
	const struct topology *t = w->topo;
	const struct meta *md = meta(m);

	x->n = 0;
	x->none = DROP_NO_DESTINATION;
	if (vm != NULL)
		to_vm_of(t, md, vm, x);
	else if (link_local_group(&ether(m)->dst_addr))
		x->none = DROP_BRIDGE_FILTERED;
	else if (host != NULL)
		to_host(t, md, host, x);
	else
		flood(w, m, x);
}

/* Where frames go: the records of VMs, and learnt hosts for the others. */
struct found {
	const struct vm_rec *vm[BURST_MAX];
	const struct mac_entry *host[BURST_MAX];
	struct mac_entry entry[BURST_MAX];
};

static void
find_hosts(struct worker *w, const struct vm_key_mac *key, uint16_t n, struct found *f)
{
	struct vm_key_mac ask[BURST_MAX];
	uint16_t index[BURST_MAX], asked = 0;
	uint64_t known;

	for (uint16_t i = 0; i < n; i++) {
		f->host[i] = NULL;
		if (f->vm[i] != NULL)
			continue;
		ask[asked] = key[i];
		index[asked++] = i;
	}
	if (asked == 0)
		return;
	known = mactab_find(w->tables->macs, ask, asked, f->entry);
	for (uint16_t i = 0; i < asked; i++)
		if (known >> i & 1)
			f->host[index[i]] = &f->entry[i];
}

static void
find(struct worker *w, const struct vec *in, struct found *f)
{
	struct vm_key_mac key[BURST_MAX];
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i)
		key[i] = (struct vm_key_mac){.mac = ether(m)->dst_addr, .seg = meta(m)->seg};
	vmtab_by_mac(w->tables->vms, key, in->n, f->vm);
	for (i = 0; i < in->n; i++)
		if (f->vm[i] != NULL)
			traffic_expect_to(w, f->vm[i]->slot);
	find_hosts(w, key, in->n, f);
}

void
bridge(struct worker *w, struct vec *in, struct vec *encap, struct vec *port)
{
	const struct outs o = {encap, port};
	struct rte_mbuf *m;
	struct found f;
	struct ways x;
	uint16_t i;

	find(w, in, &f);
	vec_foreach (in, m, i) {
		uint16_t mss = w->topo->segments[meta(m)->seg].mss;

		if (f.vm[i] != NULL && vm_hold_asks(&w->vm_hold, f.vm[i]) &&
			vm_hold_take(w, m, f.vm[i], ENTER_BRIDGE))
			continue;
		if (mss != 0)
			mss_clamp_frame(m, mss);
		choose(w, m, f.vm[i], f.host[i], &x);
		if (f.vm[i] != NULL && x.n != 0)
			traffic_to_vm(w, f.vm[i]->slot, m);
		send_all(w, m, &x, &o);
	}
}
