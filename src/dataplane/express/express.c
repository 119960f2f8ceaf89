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
#include "express.h"

#define STEP 16 /* packets */

/* ---- gates ---- */

static void
open_segment(const struct worker *w, uint16_t place, struct gate *g)
{
	const struct topology *t = w->topo;
	const struct topo_segment *s = &t->segments[segment_of(t, place)];
	bool plain = !s->external && !s->per_site;

	g->place = place;
	g->seg = segment_of(t, place);
	g->mac = plain_bits_mac(&s->gw_mac, 0);
	g->bridges = plain && w->vm_hold.n_queues == 0;
	g->routes = plain && s->nat && !is_peer(place);
}

/* Shut for what was made or held: its metadata says where it goes on. */
static __rte_noinline void
open_gate(const struct worker *w, const struct meta *md, struct gate *g)
{
	const struct topo_port *p = &w->topo->ports[md->in_port];
	uint16_t att = p->attachment[md->vlan & 0xfff];

	g->key = md->came;
	g->place = NO_PLACE;
	g->wan = p->role == TOPO_WAN;
	g->mac = GATE_SHUT;
	g->routes = g->bridges = false;
	if (md->enter != ENTER_RX)
		return;
	if (g->wan && md->vlan == 0) {
		g->routes = w->vm_hold.n_queues == 0;
		g->mac = plain_bits_mac(&p->mac, 0);
	} else if (!g->wan && att != TOPO_NONE) {
		open_segment(w, att, g);
	}
}

/* Where a tunnelled frame comes from. */
static __rte_noinline void
open_tunnel(const struct worker *w, rte_be32_t vtep, rte_be32_t vni, struct gate *g)
{
	const struct topology *t = w->topo;
	uint16_t tunnel = topo_tunnel_by_vtep(t, vtep),
		 seg = topo_segment_by_vni(t, rte_be_to_cpu_32(vni) >> 8);
	uint16_t place = NO_PLACE;

	g->mac = GATE_SHUT;
	g->wan = g->routes = g->bridges = false;
	if (tunnel == 0 || seg == TOPO_NONE)
		return;
	if (tunnel < TOPO_VTEP_TUNNEL)
		place = plain_peer((uint8_t)tunnel, seg);
	else if (t->vteps[tunnel - TOPO_VTEP_TUNNEL].attachment[seg] != TOPO_NONE)
		place = t->vteps[tunnel - TOPO_VTEP_TUNNEL].attachment[seg];
	if (place != NO_PLACE)
		open_segment(w, place, g);
}

/* ---- addresses ---- */

/* What addresses may be, by their first bytes. */
struct may {
	uint8_t src, dst;
};

static inline void
look_addresses(const struct ready *r, const struct rte_ipv4_hdr *ip, struct may *may)
{
	may->src |= r->first[topo_first_byte(ip->src_addr)];
	may->dst |= r->first[topo_first_byte(ip->dst_addr)];
}

/* Something may have to be said of them; of most there is nothing. */
static inline bool
may_be_odd_from_wan(const struct may *may)
{
	return (may->src & TOPO_OURS) | (may->dst & (TOPO_ODD | TOPO_PORT));
}

static inline bool
may_be_odd_from_vm(struct burst *b, const struct may *may)
{
	b->longer |= may->dst;
	return (may->src & TOPO_MARTIAN) | (may->dst & TOPO_OURS);
}

/* When it may: of the addresses themselves nothing. */
static __rte_noinline bool
are_good_from_wan(const struct topology *t, const struct rte_ipv4_hdr *ip)
{
	return is_outside(t, ip->src_addr) && is_good_global(t, ip->dst_addr) &&
	       topo_port_by_ip(t, ip->dst_addr) == TOPO_NONE;
}

static __rte_noinline bool
are_good_from_vm(const struct topology *t, const struct rte_ipv4_hdr *ip)
{
	return !topo_may_be(t, ip->src_addr, TOPO_MARTIAN) && is_outside(t, ip->dst_addr);
}

/* ---- which way ---- */

/* A frame of a segment: to its gateway and from there to the world, or to another VM. */
static __rte_always_inline bool
look_frame(struct worker *w, struct burst *b, const struct gate *g, uint16_t i, uint64_t bit,
	struct rte_ether_hdr *eth, uint16_t len)
{
	const struct topology *t = w->topo;
	const struct rte_ipv4_hdr *ip = ip_of(eth);
	struct may may = {0};
	bool padded = false;

	if (is_mac(&eth->dst_addr, g->mac)) {
		if (!g->routes || !is_routable(eth, len, &padded))
			return false;
		look_addresses(b->ready, ip, &may);
		if (unlikely(may_be_odd_from_vm(b, &may)) && !are_good_from_vm(t, ip))
			return false;
		b->src[i] = ip->src_addr;
		b->dst[i] = ip->dst_addr;
		b->line[i] = plain_line_by_ip(b->vms, ip->src_addr, g->place);
		b->from_vm |= bit;
		if (unlikely(padded))
			b->odd |= bit;
	} else {
		if (!g->bridges || !is_whole(eth, len, &padded))
			return false;
		b->line[i] = plain_line_by_mac(b->vms, mac_in(&eth->src_addr, g->seg));
		b->to_line[i] = plain_line_by_mac(b->vms, mac_in(&eth->dst_addr, g->seg));
		b->bridged |= bit;
	}
	b->eth[i] = eth;
	b->place[i] = g->place;
	return true;
}

/* To our VTEP: whole, VXLAN, without an outer UDP checksum. */
static __rte_noinline bool
look_tunnel(struct worker *w, struct burst *b, uint16_t i, struct tunnel_hdr *h)
{
	struct gate *g = &b->ready->tunnel;
	struct rte_mbuf *m = b->m[i];
	uint16_t total = ip4_total(&h->ip);
	uint64_t key;

	if (total < sizeof(*h) - IP4_OFF + FRAME_MIN || h->udp.dgram_cksum != 0 ||
		h->udp.dgram_len != rte_cpu_to_be_16(total - sizeof(h->ip)) ||
		(h->vxlan.vx_flags & RTE_BE32(VXLAN_FLAG_I)) == 0)
		return false;
	key = h->ip.src_addr | (uint64_t)h->vxlan.vx_vni << 32;
	if (unlikely(g->key != key)) {
		open_tunnel(w, h->ip.src_addr, h->vxlan.vx_vni, g);
		g->key = key;
	}
	ip4_trim(m, total);
	b->unwraps = true;
	b->odd |= one(i);
	return look_frame(w, b, g, i, one(i), (struct rte_ether_hdr *)(h + 1),
		(uint16_t)(total + IP4_OFF - sizeof(*h)));
}

static __rte_always_inline bool
look_wan(struct worker *w, struct burst *b, const struct gate *g, uint16_t i, uint64_t bit,
	struct rte_ether_hdr *eth, uint16_t len)
{
	const struct topology *t = w->topo;
	const struct rte_ipv4_hdr *ip = ip_of(eth);
	struct may may = {0};
	bool padded = false;

	if (!is_mac(&eth->dst_addr, g->mac) || !is_routable(eth, len, &padded))
		return false;
	look_addresses(b->ready, ip, &may);
	if (unlikely(may_be_odd_from_wan(&may) | !g->routes)) {
		const struct tunnel_hdr *h = (const struct tunnel_hdr *)eth;

		if (ip->dst_addr == t->vtep && ip->next_proto_id == IPPROTO_UDP &&
			h->udp.dst_port == RTE_BE16(VXLAN_PORT))
			return look_tunnel(w, b, i, (struct tunnel_hdr *)eth);
		if (!g->routes || !are_good_from_wan(t, ip))
			return false;
	}
	if (unlikely(padded))
		ip4_trim(b->m[i], ip4_total(ip));
	b->dst[i] = ip->dst_addr;
	b->line[i] = plain_line_by_global(b->vms, ip->dst_addr);
	b->to_vm |= bit;
	return true;
}

/* Packets from i on that came in where this one did, before `end`; returns the next one. Nothing is known of them but where that was. */
static __rte_always_inline uint16_t
look_run(struct worker *w, struct burst *b, uint16_t i, uint16_t end, bool wan)
{
	const struct gate g = b->ready->gate;
	const uint32_t came = (uint32_t)g.key;
	uint64_t bit = one(i);
	bool stays = b->some_stay;

	for (; i < end; i++, bit <<= 1) {
		struct rte_mbuf *m = b->m[i];
		struct rte_ether_hdr *eth = b->eth[i];
		uint16_t len = rte_pktmbuf_data_len(m);
		uint32_t odd = (m->nb_segs ^ 1u) | (uint32_t)(len - FRAME_MIN) >> 31;

		if (unlikely(((meta(m)->came ^ came) | odd | stays) != 0)) {
			if (meta(m)->came != came)
				break;
			if (odd || must_stay(w, b, m)) {
				express_stays(w, b, m);
				stays = true;
				continue;
			}
		}
		if (unlikely(!(wan ? look_wan(w, b, &g, i, bit, eth, len)
				   : look_frame(w, b, &g, i, bit, eth, len)))) {
			express_stays(w, b, m);
			stays = true;
		}
	}
	return i;
}

/* Packets i to i + 3, when all came in by this gate and are to be routed: as look_wan() and look_frame(), of four of which nothing
 * more has to be said. False: they are not, or not all; nothing was done. */
static __rte_always_inline bool
look_four(struct burst *b, const struct topology *t, const struct gate *g, uint16_t i, u32x4 front, bool wan)
{
	struct rte_ether_hdr *const *eth = &b->eth[i];
	struct rte_mbuf *const *m = &b->m[i];
	const u32x4 len = {m[0]->pkt_len, m[1]->pkt_len, m[2]->pkt_len, m[3]->pkt_len};
	uint32_t came = 0, segs = 0;
	struct may may = {0};
	struct four f;

	EACH_OF_FOUR (k) {
		came |= meta(m[k])->came ^ (uint32_t)g->key;
		segs |= m[k]->nb_segs;
	}
	if ((came | four_signs(len - FOUR_LEN_MIN)) != 0 || segs != 1)
		return false;
	f = four_read(eth, len);
	if (four_any(four_other_front(eth, front) | four_not_routable(&f)))
		return false;
	EACH_OF_FOUR (k)
		look_addresses(b->ready, ip_of(eth[k]), &may);
	if (unlikely(wan ? may_be_odd_from_wan(&may) : may_be_odd_from_vm(b, &may)))
		EACH_OF_FOUR (k)
			if (!(wan ? are_good_from_wan : are_good_from_vm)(t, ip_of(eth[k])))
				return false;
	four_store(&b->src[i], f.ip[3]);
	four_store(&b->dst[i], f.ip[4]);
	four_store(&b->ttl[i], f.ip[2]);
	four_store(&b->len[i], f.len);
	b->longest = four_longest(b->longest, f.len);
	EACH_OF_FOUR (k)
		b->line[i + k] = wan ? plain_line_by_global(b->vms, f.ip[4][k])
				     : plain_line_by_ip(b->vms, f.ip[3][k], g->place);
	EACH_OF_FOUR (k)
		b->place[i + k] = g->place;
	b->simple |= FOUR << i;
	*(wan ? &b->to_vm : &b->from_vm) |= FOUR << i;
	return true;
}

/* As many as there are one after the other. Returns where there is none. */
static __rte_always_inline uint16_t
look_fours(struct worker *w, struct burst *b, uint16_t i, uint16_t end, bool wan)
{
	const struct gate g = b->ready->gate;
	u32x4 front = four_front(g.mac >> 16);

	while (i + 4 <= end && look_four(b, w->topo, &g, i, front, wan))
		i += 4;
	return i;
}

/* Is packet i one of those that go by fours, as far as it is worth to know before a look at four? From a segment most frames may be for other
 * VMs, and from the world most may be tunnelled. */
static inline bool
may_be_simple(const struct topology *t, const struct burst *b, uint16_t i)
{
	const struct gate *g = &b->ready->gate;

	return g->routes && rte_pktmbuf_data_len(b->m[i]) >= FOUR_LEN_MIN &&
	       (g->wan ? ip_of(b->eth[i])->dst_addr != t->vtep : is_mac(&b->eth[i]->dst_addr, g->mac));
}

static inline bool
are_four(const struct burst *b, uint16_t i, uint16_t end)
{
	return i % 4 == 0 && i + 4 <= end && meta(b->m[i + 3])->came == (uint32_t)b->ready->gate.key;
}

/* One by one where that is better for all that follow, or until four can be looked at again. */
static inline void
look(struct worker *w, struct burst *b, uint16_t i, uint16_t end)
{
	struct gate *g = &b->ready->gate;

	while (i < end) {
		const struct meta *md = meta(b->m[i]);
		uint16_t first = i, till = end;

		if (unlikely(g->key != md->came))
			open_gate(w, md, g);
		if (may_be_simple(w->topo, b, i)) {
			if (are_four(b, i, end))
				i = g->wan ? look_fours(w, b, i, end, true) : look_fours(w, b, i, end, false);
			if (likely(i != first))
				continue;
			till = RTE_MIN(end, (uint16_t)((i | 3) + 1));
		}
		i = g->wan ? look_run(w, b, i, till, true) : look_run(w, b, i, till, false);
	}
}

static inline void
ask(struct burst *b, uint16_t i, uint16_t end)
{
	for (; i < end; i++) {
		b->eth[i] = rte_pktmbuf_mtod(b->m[i], struct rte_ether_hdr *);
		rte_prefetch0(b->eth[i]);
	}
}

/* A step at a time: while some packets are looked at, headers of the next ones come, and lines of the ones before. */
static inline void
look_all(struct worker *w, struct burst *b, uint16_t n)
{
	uint64_t found = 0;
	uint16_t end;

	ask(b, 0, RTE_MIN(STEP, n));
	for (uint16_t i = 0; i < n; i = end) {
		uint64_t before = lanes(b);

		end = RTE_MIN((uint16_t)(i + STEP), n);
		ask(b, end, RTE_MIN((uint16_t)(end + STEP), n));
		look(w, b, i, end);
		express_find(w, b, before & ~found);
		found = before;
	}
	express_find(w, b, lanes(b) & ~found);
}

static void
count(struct worker *w, struct burst *b)
{
	for (uint32_t ways = b->ways; ways != 0; ways &= ways - 1)
		express_count_to(w, &b->ready->way[__builtin_ctz(ways)]);
	express_count_from(w, b, NO_PLACE);
}

static __rte_noinline void
ready_anew(struct worker *w, uint64_t stamp)
{
	struct ready *r = w->ready;

	r->stamp = stamp;
	/* Nobody's, and shut: the key of a tunnelled frame may be any number. */
	r->gate = r->tunnel = (struct gate){.key = UINT64_MAX, .mac = GATE_SHUT};
	r->nowhere = (struct way){.place = NO_PLACE, .out = &w->tx[0]};
	for (uint32_t k = 0; k < EXPRESS_WAYS; k++)
		r->way[k].open = false;
	r->has_hop = false;
	r->waste_tally = tally_at(vmtab_slots(w->tables->vms));
	routetab_longer(w->tables->routes, READY_LONGER, r->first);
	for (uint32_t k = 0; k < RTE_DIM(r->first); k++)
		r->first[k] |= w->topo->index.first[k];
}

/* Whether VMs are on hold counts, too: it decides on which gates are open. */
static inline struct ready *
ready(struct worker *w)
{
	const struct tables *t = w->tables;
	uint64_t version = routetab_version(t->routes) + neightab_version(t->neighbours);
	uint64_t stamp = version << 1 | (w->vm_hold.n_queues != 0);

	if (unlikely(w->ready->stamp != stamp))
		ready_anew(w, stamp);
	return w->ready;
}

void
express(struct worker *w, struct vec *in, struct vec *rest)
{
	struct burst b;

	b.vms = vmtab_plain(w->tables->vms);
	b.ready = ready(w);
	b.ways = 0;
	b.last = &b.ready->nowhere;
	b.from.place = NO_PLACE;
	b.m = in->m;
	b.left = b.odd = b.simple = b.timed = b.homes_of = b.far = b.peers = b.to_vm = b.from_vm = b.bridged =
		0;
	b.some_stay = b.wan_stays = b.unwraps = false;
	b.longer = 0;
	b.vni.place = NO_PLACE;
	memset(b.stay, 0, sizeof(b.stay));
	b.longest = (u32x4){0};
	look_all(w, &b, in->n);
	if (b.to_vm != 0)
		express_to_vm(w, &b);
	if (b.from_vm != 0)
		express_from_vm(w, &b);
	if (b.bridged != 0)
		express_bridged(w, &b);
	count(w, &b);
	if (unlikely(b.timed & b.left))
		express_time(w, &b, b.timed & b.left);
	if (likely(!b.some_stay))
		return;
	for (uint16_t i = 0; i < in->n; i++)
		if (!(b.left >> i & 1))
			vec_add(rest, in->m[i]);
}
