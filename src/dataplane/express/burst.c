/* SPDX-License-Identifier: BSD-3-Clause */
#include "express.h"

/* ---- order ---- */

static bool
is_to_own_vtep(const struct topology *t, const struct rte_ipv4_hdr *ip)
{
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(ip + 1);

	return t->vtep != 0 && ip->dst_addr == t->vtep && ip->next_proto_id == IPPROTO_UDP &&
	       ip->version_ihl == RTE_IPV4_VHL_DEF && udp->dst_port == RTE_BE16(VXLAN_PORT);
}

static bool
came_by_wan(const struct worker *w, struct rte_mbuf *m)
{
	return w->topo->ports[meta(m)->in_port].role == TOPO_WAN;
}

/* The addresses of the VM's own packet: in the tunnel's, if that is one. NULL: there are none. */
static const struct rte_ipv4_hdr *
addresses(const struct worker *w, struct rte_mbuf *m)
{
	const uint32_t inner = sizeof(struct tunnel_hdr) + IP4_OFF;
	uint32_t len = rte_pktmbuf_data_len(m);

	if (len < IP4_OFF + sizeof(struct rte_ipv4_hdr))
		return NULL;
	if (came_by_wan(w, m) && len >= inner + sizeof(struct rte_ipv4_hdr) &&
		is_to_own_vtep(w->topo, ip4_hdr(m)))
		return rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, inner);
	return ip4_hdr(m);
}

uint32_t
express_vm(const struct worker *w, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = addresses(w, m);
	rte_be32_t vm = ip == NULL ? 0 : came_by_wan(w, m) ? ip->dst_addr : ip->src_addr;

	return express_hash(vm);
}

void
express_stays(const struct worker *w, struct burst *b, struct rte_mbuf *m)
{
	uint32_t vm;

	b->some_stay = true;
	b->wan_stays |= came_by_wan(w, m);
	if (meta(m)->enter == ENTER_NEIGH)
		memset(b->stay, 0xff, sizeof(b->stay));
	if (addresses(w, m) == NULL)
		return;
	vm = express_vm(w, m);
	b->stay[vm / 64] |= UINT64_C(1) << (vm % 64);
}

/* ---- ways ---- */

/* By a tunnel: by which port, behind which header, how much fits. False: not now. */
static bool
open_tunnel(struct worker *w, uint16_t tunnel, struct way *y)
{
	const struct topology *t = w->topo;
	rte_be32_t end = topo_tunnel_end(t, tunnel);
	struct neigh_key key;
	struct nexthop nh;
	struct neigh n;
	uint16_t mtu;

	if (end == 0)
		return false;
	routetab_find(w->tables->routes, 0, &end, 1, &nh);
	if (nh.kind != NH_VIA && nh.kind != NH_CONNECTED)
		return false;
	key = (struct neigh_key){.ip = nh.kind == NH_VIA ? nh.via : end, .port = nh.port};
	neightab_find(w->tables->neighbours, &key, 1, &n);
	mtu = t->ports[nh.port].mtu;
	if (n.state != NEIGH_REACHABLE || mtu < sizeof(struct tunnel_hdr))
		return false;
	y->hdr = w->tunnel[tunnel];
	y->hdr.eth.dst_addr = n.mac;
	y->hdr.eth.src_addr = t->ports[nh.port].mac;
	y->hdr.vxlan.vx_vni = rte_cpu_to_be_32(t->segments[y->seg].vni << 8);
	y->out = &w->tx[nh.port];
	y->tunnel = true;
	mtu = RTE_MIN((uint16_t)(mtu - sizeof(struct tunnel_hdr)), t->segments[y->seg].tunnel_mtu);
	y->routed = RTE_MIN(y->routed, frame_of(mtu));
	y->bridged = y->routed;
	return true;
}

static void
open_way(struct worker *w, uint16_t place, struct way *y)
{
	const struct topology *t = w->topo;
	uint16_t seg = segment_of(t, place);
	const struct topo_segment *s = &t->segments[seg];
	const struct topo_attachment *a = is_peer(place) ? NULL : &t->attachments[place];
	uint16_t tunnel = a == NULL ? plain_router(place) : a->tunnel;

	y->open = true;
	y->place = place;
	y->seg = seg;
	y->vlan = 0;
	y->tunnel = false;
	y->out = &w->tx[0]; /* somewhere, if none goes this way */
	y->bare = tunnel == 0 && a->vlan == 0;
	y->from = a == NULL ? t->router_mac : s->gw_mac;
	y->type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	y->routed = frame_of(a == NULL ? s->tunnel_mtu : s->att_mtu);
	if (tunnel == 0) {
		y->out = &w->tx[a->port];
		y->vlan = a->vlan;
		y->bridged = frame_of(t->ports[a->port].mtu);
	}
	if (tunnel != 0 && !open_tunnel(w, tunnel, y))
		y->routed = y->bridged = 0;
}

static void
begin_way(const struct burst *b, struct way *y)
{
	if (!takes_burst(y->out)) {
		y->routed = y->bridged = 0;
		y->open = false; /* in the next burst it may be another way */
	}
	y->went = 0;
	y->plain = y->bare ? y->routed : 0;
	y->fours = (y->bare || y->tunnel) && four_fit(b->longest, y->routed);
}

__rte_noinline struct way *
express_way(struct worker *w, struct burst *b, uint16_t place)
{
	uint16_t k = (place ^ place >> 8) % EXPRESS_WAYS;
	struct way *y = &b->ready->way[k];
	bool used = b->ways >> k & 1;

	if (!used || y->place != place) {
		if (used)
			express_count_to(w, y);
		if (!y->open || y->place != place)
			open_way(w, place, y);
		begin_way(b, y);
		b->ways |= 1u << k;
	}
	b->last = y;
	return y;
}

__rte_noinline void
run_turn(struct worker *w, struct burst *b, struct run_to *r, uint16_t place)
{
	run_end(r);
	*r = run_begin(express_way(w, b, place));
}

bool
express_tag(struct worker *w, struct rte_mbuf *m, uint16_t vlan)
{
	m->vlan_tci = vlan;
	if (rte_vlan_insert(&m) == 0)
		return true;
	worker_drop(w, m, DROP_NO_MBUF);
	return false;
}

/* ---- counters ---- */

void
express_count_to(struct worker *w, const struct way *y)
{
	w->seg_traffic[y->seg].to_packets += y->went >> 32;
	w->seg_traffic[y->seg].to_bytes += (uint32_t)y->went;
}

void
express_count_from(struct worker *w, struct burst *b, uint16_t next)
{
	if (b->from.place != NO_PLACE) {
		struct traffic *t = &w->seg_traffic[segment_of(w->topo, b->from.place)];

		t->from_packets += b->from.frames >> 32;
		t->from_bytes += (uint32_t)b->from.frames;
	}
	b->from.place = next;
	b->from.frames = 0;
}

/* ---- round trips ---- */

/* The VM's live global address is its session's home. */
static inline bool
is_by_live(const struct burst *b, uint32_t i, bool to_vm)
{
	return to_vm ? !(b->vm[i]->at & PLAIN_OLD) : b->other[i] == b->vm[i]->other;
}

void
express_time(struct worker *w, const struct burst *b, uint64_t set)
{
	EACH (i, set) {
		bool to_vm = b->to_vm >> i & 1;
		struct session_key k;

		memcpy(&k, b->where[i].key, sizeof(k));
		round_trip_plain(w, b->vm[i]->slot, ip_of(b->eth[i]), &k, to_vm ? RTT_VM : RTT_REMOTE,
			is_by_live(b, i, to_vm) ? RTT_NEAR : RTT_OLD);
	}
}
