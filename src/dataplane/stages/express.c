/* SPDX-License-Identifier: BSD-3-Clause */
/* The unremarkable packet of a VM that is here and neither moves nor drains, from header to header in one pass:
 *
 *   WAN port -> NAT -> attachment     from the world to a VM's global address
 *   attachment -> NAT -> WAN port     from a VM by its gateway to the world
 *
 * Most packets are such, and a stage is 15 to 20 cycles a packet of which most are spent on passing it on. Nothing is decided here that
 * the stages would decide otherwise: a packet that is not plain in every respect stays in the burst for them, and so do those
 * behind it of the same VM, which therefore keep their order. The packet tests run with this stage and without.
 */
#include <dataplane/ip4.h>
#include <dataplane/nat.h>
#include <dataplane/pipeline.h>
#include <dataplane/tables/plaintab.h>
#include <dataplane/traffic.h>
#include <dataplane/tx.h>

#define VMS	  256 /* that are told apart where order counts */
#define AHEAD	  8   /* packets whose headers are asked for before they are read */
#define TOTAL_MIN ((uint16_t)(sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr)))

struct plain { /* packets of a burst that go one way, side by side */
	uint16_t n;
	uint8_t at[BURST_MAX]; /* in the burst */
	struct rte_ether_hdr *eth[BURST_MAX];
	uint16_t att[BURST_MAX]; /* from a VM: the attachment */
	const struct plain_line *line[BURST_MAX];
	const struct plain_vm *vm[BURST_MAX];
};

struct way_in { /* to VMs at one attachment, ready to be used */
	struct rte_ether_addr gw;
	uint16_t att, vlan, seg, port;
	uint16_t mtu; /* bytes of IP; 0: none goes this way */
};

struct burst {
	const struct plaintab *vms;
	struct rte_mbuf **m;	 /* NULL: it has left */
	uint16_t left;		 /* how many have */
	uint64_t stay[VMS / 64]; /* VMs of packets that stay: what is behind these stays, too */
	bool some_stay;
	struct plain to_vm, from_vm;
	struct way_in in; /* the last one used */
};

static inline struct rte_ipv4_hdr *
ip_of(struct rte_ether_hdr *eth)
{
	return (struct rte_ipv4_hdr *)(eth + 1);
}

/* ---- plain headers ---- */

/* TCP that neither opens nor answers an opening, whose MSS may have to be clamped; or UDP. */
static inline bool
is_plain_l4(const struct rte_ipv4_hdr *ip, uint16_t total)
{
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(ip + 1);

	if (ip->next_proto_id == IPPROTO_UDP)
		return true;
	return ip->next_proto_id == IPPROTO_TCP && total >= sizeof(*ip) + sizeof(*tcp) &&
	       (tcp->tcp_flags & TCP_SYN) == 0;
}

/* IPv4 in one piece and one segment, without options, of which nothing is to be said and that lives another hop. */
static inline bool
is_plain(const struct rte_mbuf *m, const struct rte_ether_hdr *eth)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);
	uint16_t total;

	if (m->nb_segs != 1 || eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) ||
		ip->version_ihl != RTE_IPV4_VHL_DEF)
		return false;
	total = rte_be_to_cpu_16(ip->total_length);
	return (ip->fragment_offset & RTE_BE16(~RTE_IPV4_HDR_DF_FLAG)) == 0 && ip->time_to_live > 1 &&
	       total >= TOTAL_MIN && IP4_OFF + total <= rte_pktmbuf_data_len(m) && is_plain_l4(ip, total) &&
	       ip4_sum_is_right(ip);
}

/* An address of the world: of no segment, pool or port, and that a packet may carry. */
static inline bool
is_outside(const struct topology *t, rte_be32_t a)
{
	if (likely(!topo_may_be(t, a, TOPO_OURS)))
		return true;
	return !ip4_martian(a) && topo_segment_by_ip(t, a) == TOPO_NONE &&
	       topo_port_by_ip(t, a) == TOPO_NONE && !topo_is_pool(t, a);
}

/* One that a VM has outside. */
static inline bool
is_good_global(const struct topology *t, rte_be32_t a)
{
	return likely(!topo_may_be(t, a, TOPO_ODD)) ||
	       (!ip4_martian(a) && topo_segment_by_ip(t, a) == TOPO_NONE);
}

static inline bool
is_port(const struct topology *t, rte_be32_t a)
{
	return topo_may_be(t, a, TOPO_PORT) && topo_port_by_ip(t, a) != TOPO_NONE;
}

/* Both addresses, of six bytes, by eight that can be read. */
static inline bool
is_to(const struct rte_ether_hdr *eth, const struct rte_ether_addr *mac)
{
	uint64_t a;
	uint32_t b;
	uint16_t c;

	memcpy(&a, eth, sizeof(a));
	memcpy(&b, mac, sizeof(b));
	memcpy(&c, &mac->addr_bytes[4], sizeof(c));
	return ((a ^ ((uint64_t)c << 32 | b)) & RTE_LEN2MASK(48, uint64_t)) == 0;
}

/* ---- order ---- */

/* A number below VMS for the VM that it is to, or from. */
static inline uint32_t
vm_of(struct rte_mbuf *m, bool to_vm)
{
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);
	rte_be32_t vm = to_vm ? ip->dst_addr : ip->src_addr;

	return vm * UINT32_C(0x9e3779b1) / (UINT32_MAX / VMS + 1);
}

/* What is too short to have addresses keeps nobody. */
static inline bool
has_addresses(const struct rte_mbuf *m)
{
	return rte_pktmbuf_data_len(m) >= IP4_OFF + sizeof(struct rte_ipv4_hdr);
}

static inline void
stays(struct burst *b, struct rte_mbuf *m, bool to_vm)
{
	uint32_t vm;

	if (!has_addresses(m))
		return;
	vm = vm_of(m, to_vm);
	b->some_stay = true;
	b->stay[vm / 64] |= UINT64_C(1) << (vm % 64);
}

static inline bool
must_stay(const struct burst *b, struct rte_mbuf *m, bool to_vm)
{
	uint32_t vm;

	if (likely(!b->some_stay))
		return false;
	vm = vm_of(m, to_vm);
	return b->stay[vm / 64] >> (vm % 64) & 1;
}

static inline void
leaves(struct burst *b, uint8_t at)
{
	b->m[at] = NULL;
	b->left++;
}

/* ---- which way ---- */

static inline bool
look_to_vm(struct worker *w, const struct plaintab *vms, const struct topo_port *p, struct rte_mbuf *m,
	struct rte_ether_hdr *eth, struct plain *v)
{
	const struct topology *t = w->topo;
	const struct rte_ipv4_hdr *ip = ip_of(eth);

	if (w->vm_hold.n_queues != 0 || meta(m)->vlan != 0 || !is_to(eth, &p->mac) || !is_plain(m, eth) ||
		!is_outside(t, ip->src_addr) || !is_good_global(t, ip->dst_addr) || is_port(t, ip->dst_addr))
		return false;
	v->line[v->n] = plain_line_by_global(vms, ip->dst_addr);
	return true;
}

static inline bool
look_from_vm(struct worker *w, const struct plaintab *vms, const struct topo_port *p, struct rte_mbuf *m,
	struct rte_ether_hdr *eth, struct plain *v)
{
	const struct topology *t = w->topo;
	uint16_t att = p->attachment[meta(m)->vlan & 0xfff];
	const struct rte_ipv4_hdr *ip = ip_of(eth);
	const struct topo_segment *s;

	if (att == TOPO_NONE)
		return false;
	s = &t->segments[t->attachments[att].seg];
	if (!s->nat || s->external || s->per_site || !is_to(eth, &s->gw_mac) || !is_plain(m, eth) ||
		ip4_martian(ip->src_addr) || !is_outside(t, ip->dst_addr))
		return false;
	v->att[v->n] = att;
	v->line[v->n] = plain_line_by_ip(vms, ip->src_addr, att);
	return true;
}

static inline void
look(struct worker *w, struct burst *b, uint16_t i)
{
	struct rte_mbuf *m = b->m[i];
	const struct topo_port *p = &w->topo->ports[meta(m)->in_port];
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	bool to_vm = p->role == TOPO_WAN;
	struct plain *v = to_vm ? &b->to_vm : &b->from_vm;

	if (meta(m)->enter != ENTER_RX || rte_pktmbuf_data_len(m) < IP4_OFF + TOTAL_MIN ||
		must_stay(b, m, to_vm) ||
		!(to_vm ? look_to_vm(w, b->vms, p, m, eth, v) : look_from_vm(w, b->vms, p, m, eth, v))) {
		stays(b, m, to_vm);
		return;
	}
	v->eth[v->n] = eth;
	v->at[v->n++] = (uint8_t)i;
}

/* ---- to the VM ---- */

static void
find_to_vm(struct worker *w, struct burst *b)
{
	struct plain *v = &b->to_vm;

	for (uint16_t i = 0; i < v->n; i++) {
		v->vm[i] = plain_by_global(b->vms, v->line[i], ip_of(v->eth[i])->dst_addr);
		if (likely(v->vm[i] != NULL))
			traffic_expect_to(w, v->vm[i]->slot);
	}
}

static __rte_noinline void
open_way_in(const struct topology *t, uint16_t att, struct way_in *in)
{
	const struct topo_attachment *a = &t->attachments[att];
	const struct topo_segment *s = &t->segments[a->seg];

	*in = (struct way_in){.gw = s->gw_mac,
		.att = att,
		.vlan = a->vlan,
		.seg = a->seg,
		.port = a->port,
		.mtu = a->tunnel == 0 ? s->att_mtu : 0};
}

static inline bool
give_vm(struct worker *w, struct rte_mbuf *m, struct rte_ether_hdr *eth, const struct plain_vm *vm,
	struct way_in *in)
{
	struct rte_ipv4_hdr *ip = ip_of(eth);
	uint16_t total = rte_be_to_cpu_16(ip->total_length);

	if (vm == NULL)
		return false;
	if (unlikely(vm->att != in->att))
		open_way_in(w->topo, vm->att, in);
	if (total > in->mtu)
		return false;
	ip4_trim(m, total);
	nat_plain(ip, NAT_DST, vm->other);
	eth->src_addr = in->gw;
	eth->dst_addr = vm->mac;
	traffic_to_vm(w, vm->slot, m);
	traffic_to_segment(w, in->seg, m);
	tx_put(w, m, (uint8_t)in->port, in->vlan, TOPO_NONE);
	return true;
}

static void
all_to_vm(struct worker *w, struct burst *b)
{
	struct plain *v = &b->to_vm;

	find_to_vm(w, b);
	for (uint16_t i = 0; i < v->n; i++) {
		struct rte_mbuf *m = b->m[v->at[i]];

		if (!must_stay(b, m, true) && give_vm(w, m, v->eth[i], v->vm[i], &b->in))
			leaves(b, v->at[i]);
		else
			stays(b, m, true);
	}
}

/* ---- from the VM ---- */

struct hop { /* where packets leave, ready to be used */
	struct rte_ether_addr dst, src;
	uint16_t port;
	uint16_t mtu; /* bytes of IP; 0: nothing leaves here now */
};

struct hops {
	uint8_t of[BURST_MAX]; /* which is whose */
	struct hop hop[BURST_MAX];
};

static void
find_from_vm(struct worker *w, struct burst *b)
{
	struct plain *v = &b->from_vm;

	for (uint16_t i = 0; i < v->n; i++) {
		v->vm[i] = plain_by_ip(b->vms, v->line[i], ip_of(v->eth[i])->src_addr, v->att[i]);
		if (likely(v->vm[i] != NULL))
			traffic_expect_from(w, v->vm[i]->slot);
	}
}

static inline bool
give_world(struct worker *w, struct rte_mbuf *m, struct rte_ether_hdr *eth, const struct plain_vm *vm,
	const struct hop *h)
{
	const struct topology *t = w->topo;
	struct rte_ipv4_hdr *ip = ip_of(eth);
	uint16_t total = rte_be_to_cpu_16(ip->total_length);

	if (vm == NULL || !rte_is_same_ether_addr(&vm->mac, &eth->src_addr) || total > h->mtu ||
		!is_good_global(t, vm->other))
		return false;
	traffic_from_segment(w, t->attachments[vm->att].seg, m);
	traffic_from_vm(w, vm->slot, m);
	ip4_trim(m, total);
	nat_plain(ip, NAT_SRC, vm->other);
	memcpy(eth, h, 2 * sizeof(h->dst));
	tx_put(w, m, (uint8_t)h->port, 0, TOPO_NONE);
	return true;
}

static inline void
open_hop(struct hop *h, const struct topology *t, const struct nexthop *route, const struct neigh *n)
{
	const struct topo_port *p = &t->ports[route->port];
	bool open = (route->kind == NH_VIA || route->kind == NH_CONNECTED) && n->state == NEIGH_REACHABLE;

	*h = (struct hop){.dst = n->mac, .src = p->mac, .port = route->port, .mtu = open ? p->mtu : 0};
}

/* Most packets of a burst leave by the same next hop: a run of them asks once. */
static void
find_hops(struct worker *w, const struct plain *v, struct hops *h)
{
	struct neigh_key key[BURST_MAX];
	struct nexthop route[BURST_MAX];
	struct neigh neigh[BURST_MAX];
	rte_be32_t dst[BURST_MAX];
	uint16_t n = 0;

	for (uint16_t i = 0; i < v->n; i++)
		dst[i] = ip_of(v->eth[i])->dst_addr;
	routetab_find(w->tables->routes, 0, dst, v->n, route);
	for (uint16_t i = 0; i < v->n; i++) {
		bool via = route[i].kind == NH_VIA;

		if (n == 0 || !via || memcmp(&route[i], &route[n - 1], sizeof(route[i])) != 0) {
			key[n] = (struct neigh_key){.ip = via ? route[i].via : dst[i], .port = route[i].port};
			route[n++] = route[i];
		}
		h->of[i] = (uint8_t)(n - 1);
	}
	neightab_find(w->tables->neighbours, key, n, neigh);
	for (uint16_t i = 0; i < n; i++)
		open_hop(&h->hop[i], w->topo, &route[i], &neigh[i]);
}

static void
all_from_vm(struct worker *w, struct burst *b)
{
	struct plain *v = &b->from_vm;
	struct hops h;

	find_from_vm(w, b);
	find_hops(w, v, &h);
	for (uint16_t i = 0; i < v->n; i++) {
		struct rte_mbuf *m = b->m[v->at[i]];

		if (!must_stay(b, m, false) && give_world(w, m, v->eth[i], v->vm[i], &h.hop[h.of[i]]))
			leaves(b, v->at[i]);
		else
			stays(b, m, false);
	}
}

void
express(struct worker *w, struct vec *in, struct vec *rest)
{
	struct burst b;
	uint16_t i;

	b.vms = vmtab_plain(w->tables->vms);
	b.in.att = ATT_ANY; /* none */
	b.m = in->m;
	b.left = 0;
	b.some_stay = false;
	memset(b.stay, 0, sizeof(b.stay));
	b.to_vm.n = b.from_vm.n = 0;
	for (i = 0; i < RTE_MIN(AHEAD, in->n); i++)
		rte_prefetch0(rte_pktmbuf_mtod(in->m[i], void *));
	for (i = 0; i < in->n; i++) {
		if (i + AHEAD < in->n)
			rte_prefetch0(rte_pktmbuf_mtod(in->m[i + AHEAD], void *));
		look(w, &b, i);
	}
	if (b.to_vm.n != 0)
		all_to_vm(w, &b);
	if (b.from_vm.n != 0)
		all_from_vm(w, &b);
	if (likely(b.left == in->n))
		return;
	for (i = 0; i < in->n; i++)
		if (in->m[i] != NULL)
			vec_add(rest, in->m[i]);
}
