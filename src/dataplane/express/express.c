/* SPDX-License-Identifier: BSD-3-Clause */
/* The unremarkable packet, from header to header in one pass:
 *
 *   WAN port -> NAT -> attachment or tunnel           from the world to a VM's global address
 *   attachment or tunnel -> NAT -> WAN port           from a VM by its gateway to the world
 *   attachment -> tunnel, tunnel -> attachment        between VMs of a segment
 *
 * of VMs that stand where we know; of those that drain, in sessions whose home is known. Most packets are such, and a stage is 15 to 20
 * cycles a packet of which most are spent on passing it on. Nothing is decided here that the stages would decide otherwise: a packet
 * that is not plain in every respect stays in the burst for them, and so do those behind it of the same VM, which therefore keep
 * their order. The packet tests run with this stage and without.
 */
#include "find.h"

#define AHEAD 8 /* packets whose headers are asked for before they are read */

/* ---- gates ---- */

static void
open_segment(const struct topology *t, uint16_t place, struct gate *g)
{
	const struct topo_segment *s = &t->segments[segment_of(t, place)];
	bool plain = !s->external && !s->per_site;

	g->place = place;
	g->seg = segment_of(t, place);
	g->mac = plain_bits_mac(&s->gw_mac, 0);
	g->bridges = plain;
	g->routes = plain && s->nat && !is_peer(place);
}

/* Shut for what was made or held: its metadata says where it goes on. */
static __rte_noinline void
open_gate(const struct worker *w, const struct meta *md, struct gate *g)
{
	const struct topo_port *p = &w->topo->ports[md->in_port];
	uint16_t att = p->attachment[md->vlan & 0xfff];

	g->wan = p->role == TOPO_WAN;
	g->mac = 0;
	g->routes = g->bridges = false;
	if (md->enter != ENTER_RX)
		return;
	if (g->wan) {
		g->routes = md->vlan == 0;
		g->mac = plain_bits_mac(&p->mac, 0);
	} else if (att != TOPO_NONE) {
		open_segment(w->topo, att, g);
	}
}

/* Where a tunnelled frame comes from. */
static __rte_noinline void
open_tunnel(const struct topology *t, rte_be32_t vtep, rte_be32_t vni, struct gate *g)
{
	uint16_t tunnel = topo_tunnel_by_vtep(t, vtep),
		 seg = topo_segment_by_vni(t, rte_be_to_cpu_32(vni) >> 8);
	uint16_t place = NO_PLACE;

	g->wan = g->routes = g->bridges = false;
	if (tunnel == 0 || seg == TOPO_NONE)
		return;
	if (tunnel < TOPO_VTEP_TUNNEL)
		place = plain_peer((uint8_t)tunnel, seg);
	else if (t->vteps[tunnel - TOPO_VTEP_TUNNEL].attachment[seg] != TOPO_NONE)
		place = t->vteps[tunnel - TOPO_VTEP_TUNNEL].attachment[seg];
	if (place != NO_PLACE)
		open_segment(t, place, g);
}

/* ---- which way ---- */

static inline void
lane_begin(struct lane *v)
{
	v->n = v->found = 0;
	v->homes = 0;
}

/* True: so many have entered that the next one's VM is to be found. */
static inline bool
enter(struct lane *v, uint16_t i, struct rte_ether_hdr *eth)
{
	v->eth[v->n] = eth;
	v->at[v->n++] = (uint8_t)i;
	return v->n > v->found + EXPRESS_BEHIND;
}

/* A frame of a segment: to its gateway and from there to the world, or to another VM. */
static __rte_always_inline bool
look_frame(struct worker *w, struct burst *b, const struct gate *g, uint16_t i, struct rte_ether_hdr *eth,
	uint16_t len)
{
	const struct rte_ipv4_hdr *ip = ip_of(eth);
	struct lane *v;

	if (mac_word(&eth->dst_addr) == g->mac) {
		v = &b->from_vm;
		if (!g->routes || !is_routable(eth, len) ||
			topo_may_be(w->topo, ip->src_addr, TOPO_MARTIAN) ||
			!is_outside(w->topo, ip->dst_addr))
			return false;
		v->line[v->n] = plain_line_by_ip(b->vms, ip->src_addr, g->place);
		v->place[v->n] = g->place;
		if (enter(v, i, eth))
			find_from_vm(w, b, v->found++);
	} else {
		uint64_t seg = (uint64_t)g->seg << 48;

		v = &b->bridged;
		if (!g->bridges || !is_whole(eth, len) || w->vm_hold.n_queues != 0)
			return false;
		v->line[v->n] = plain_line_by_mac(b->vms, mac_word(&eth->src_addr) | seg);
		v->to_line[v->n] = plain_line_by_mac(b->vms, mac_word(&eth->dst_addr) | seg);
		v->place[v->n] = g->place;
		if (enter(v, i, eth))
			find_bridged(w, b, v->found++);
	}
	return true;
}

/* To our VTEP: whole, VXLAN, without an outer UDP checksum. */
static inline bool
look_tunnel(struct worker *w, struct burst *b, uint16_t i, struct tunnel_hdr *h)
{
	struct rte_mbuf *m = b->m[i];
	uint16_t total = rte_be_to_cpu_16(h->ip.total_length);
	uint64_t key;

	if (total < sizeof(*h) - IP4_OFF + FRAME_MIN || h->udp.dgram_cksum != 0 ||
		h->udp.dgram_len != rte_cpu_to_be_16(total - sizeof(h->ip)) ||
		(h->vxlan.vx_flags & RTE_BE32(VXLAN_FLAG_I)) == 0)
		return false;
	key = h->ip.src_addr | (uint64_t)h->vxlan.vx_vni << 32;
	if (unlikely(b->tunnel.key != key)) {
		open_tunnel(w->topo, h->ip.src_addr, h->vxlan.vx_vni, &b->tunnel);
		b->tunnel.key = key;
	}
	ip4_trim(m, total);
	b->unwraps = true;
	return look_frame(w, b, &b->tunnel, i, (struct rte_ether_hdr *)(h + 1),
		(uint16_t)(total + IP4_OFF - sizeof(*h)));
}

/* Addresses of which something may have to be said, by their first bytes; most have none. */
static inline bool
may_be_odd(const struct topology *t, const struct rte_ipv4_hdr *ip)
{
	return topo_may_be(t, ip->src_addr, TOPO_OURS) || topo_may_be(t, ip->dst_addr, TOPO_ODD | TOPO_PORT);
}

static inline bool
is_port(const struct topology *t, rte_be32_t a)
{
	return topo_may_be(t, a, TOPO_PORT) && topo_port_by_ip(t, a) != TOPO_NONE;
}

static inline bool
look_wan(struct worker *w, struct burst *b, const struct gate *g, uint16_t i, struct rte_ether_hdr *eth,
	uint16_t len)
{
	struct rte_mbuf *m = b->m[i];
	const struct topology *t = w->topo;
	const struct rte_ipv4_hdr *ip = ip_of(eth);
	struct lane *v = &b->to_vm;

	if (!g->routes || mac_word(&eth->dst_addr) != g->mac || !is_routable(eth, len))
		return false;
	if (unlikely(may_be_odd(t, ip))) {
		const struct tunnel_hdr *h = (const struct tunnel_hdr *)eth;

		if (ip->dst_addr == t->vtep && ip->next_proto_id == IPPROTO_UDP &&
			h->udp.dst_port == RTE_BE16(VXLAN_PORT))
			return look_tunnel(w, b, i, (struct tunnel_hdr *)eth);
		if (!is_outside(t, ip->src_addr) || !is_good_global(t, ip->dst_addr) ||
			is_port(t, ip->dst_addr))
			return false;
	}
	if (w->vm_hold.n_queues != 0)
		return false;
	ip4_trim(m, rte_be_to_cpu_16(ip->total_length));
	v->line[v->n] = plain_line_by_global(b->vms, ip->dst_addr);
	if (enter(v, i, eth))
		find_to_vm(w, b, v->found++);
	return true;
}

/* Nothing is known of a packet but where it came in. */
static inline void
look(struct worker *w, struct burst *b, uint16_t i)
{
	struct rte_mbuf *m = b->m[i];
	const struct meta *md = meta(m);
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	uint16_t len = rte_pktmbuf_data_len(m);
	struct gate *g = &b->gate;

	if (unlikely(g->key != md->came)) {
		open_gate(w, md, g);
		g->key = md->came;
	}
	if (m->nb_segs != 1 || len < FRAME_MIN || must_stay(w, b, m) ||
		!(g->wan ? look_wan(w, b, g, i, eth, len) : look_frame(w, b, g, i, eth, len)))
		express_stays(w, b, m);
}

static inline void
look_all(struct worker *w, struct burst *b, const struct vec *in)
{
	uint16_t i;

	for (i = 0; i < RTE_MIN(AHEAD, in->n); i++)
		rte_prefetch0(rte_pktmbuf_mtod(in->m[i], void *));
	for (i = 0; i < in->n; i++) {
		if (i + AHEAD < in->n)
			rte_prefetch0(rte_pktmbuf_mtod(in->m[i + AHEAD], void *));
		look(w, b, i);
	}
}

static void
count(struct worker *w, struct burst *b)
{
	for (uint32_t ways = b->ways; ways != 0; ways &= ways - 1)
		express_count_to(w, &b->way[__builtin_ctz(ways)]);
	express_count_from(w, b, NO_PLACE);
}

void
express(struct worker *w, struct vec *in, struct vec *rest)
{
	struct burst b;

	b.vms = vmtab_plain(w->tables->vms);
	b.gate.key = UINT64_MAX; /* nobody's */
	b.tunnel = (struct gate){.key = UINT64_MAX};
	b.ways = 0;
	b.way[0].place = NO_PLACE;
	b.last = &b.way[0];
	b.from.place = NO_PLACE;
	b.m = in->m;
	b.some_stay = b.wan_stays = b.unwraps = false;
	memset(b.stay, 0, sizeof(b.stay));
	b.homes.n = 0;
	lane_begin(&b.to_vm);
	lane_begin(&b.from_vm);
	lane_begin(&b.bridged);
	look_all(w, &b, in);
	if (b.to_vm.n != 0)
		express_to_vm(w, &b);
	if (b.from_vm.n != 0)
		express_from_vm(w, &b);
	if (b.bridged.n != 0)
		express_bridged(w, &b);
	count(w, &b);
	if (likely(!b.some_stay))
		return;
	for (uint16_t i = 0; i < in->n; i++)
		if (in->m[i] != NULL)
			vec_add(rest, in->m[i]);
}
