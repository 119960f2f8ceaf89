/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"

#include "testeal.h"

#include <dataplane/round_trip.h>
#include <errno.h>
#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAN_IP	 RTE_BE32(0xc6336402) /* 198.51.100.2 */
#define NEXT_HOP RTE_BE32(0xc6336401)
#define PEER	 RTE_BE32(0xc6336442) /* on the wan port's link */
#define GW_IP	 RTE_BE32(0x0a000001)
#define POOL	 0x64400000u
#define DPORT	 RTE_BE16(5000)
#define WORLD	 250 /* hosts of it */

static const struct rte_ether_addr wan_mac = {{2, 0xaa, 0, 0, 0, 0}}, dc_mac = {{2, 0xaa, 0, 0, 0, 1}},
				   gw_mac = {{2, 0x5e, 0, 0, 0, 1}}, hop_mac = {{2, 0xcc, 0, 0, 0, 1}};

uint16_t rig_segments = 1;
uint32_t rig_sessions = 65536;

/* ---- EAL ---- */

static uint64_t
free_hugepage_megabytes(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	unsigned long pages = 0;

	if (f == NULL)
		return 0;
	if (fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * 2;
}

void
rig_eal(const char *name, uint32_t megabytes, bool *huge)
{
	char mb[16], prefix[32];
	const char *argv[16] = {
		name, "--no-pci", "-l", "0", "--log-level=error", "--file-prefix", prefix, "-m", mb};
	int n = 9;

	*huge = *huge && free_hugepage_megabytes() >= megabytes;
	snprintf(mb, sizeof(mb), "%u", megabytes);
	snprintf(prefix, sizeof(prefix), "nwrig%d", getpid());
	if (*huge) {
		argv[n++] = "--in-memory";
	} else {
		argv[n++] = "--no-huge";
		argv[n++] = "--no-shconf";
	}
	if (test_eal_init(n, (char **)(uintptr_t)argv) < 0) {
		fprintf(stderr, "%s: EAL does not start with %u MiB of %s\n", name, megabytes,
			*huge ? "hugepages" : "memory without hugepages");
		exit(1);
	}
}

/* ---- the router ---- */

static void
set_prefix(struct topo_prefix *p, uint32_t addr, uint8_t len)
{
	p->addr = rte_cpu_to_be_32(addr);
	p->mask = rte_cpu_to_be_32(UINT32_MAX << (32 - len));
}

static void
set_port(struct topo_port *p, const char *name, enum topo_role role, struct rte_ether_addr mac)
{
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->role = role;
	p->mac = mac;
	p->mtu = 1500;
	memset(p->attachment, 0xff, sizeof(p->attachment)); /* TOPO_NONE */
}

/* The VMs are in the first segment; 172.16.0.0/24 and so on, and what looks for a segment, have the others. */
static void
add_segments(struct topology *t)
{
	for (; t->n_segments < rig_segments; t->n_segments++) {
		struct topo_segment *s = &t->segments[t->n_segments];

		*s = t->segments[0];
		s->vni += t->n_segments;
		s->n_attachments = 0;
		s->gw_ip = rte_cpu_to_be_32(0xac100001 + 256u * t->n_segments);
		set_prefix(&s->prefix, 0xac100000 + 256u * t->n_segments, 24);
	}
}

static struct topology *
make_topology(void)
{
	struct topology *t = calloc(1, sizeof(*t));
	struct topo_segment *s;

	if (t == NULL)
		return NULL;
	t->router_mac = (struct rte_ether_addr){{2, 0xbb, 0, 0, 0, 1}};
	t->vtep = WAN_IP;
	t->n_ports = 2;
	set_port(&t->ports[RIG_WAN], "wan", TOPO_WAN, wan_mac);
	t->ports[RIG_WAN].ip = WAN_IP;
	set_prefix(&t->ports[RIG_WAN].connected, 0xc6336400, 24);
	set_port(&t->ports[RIG_DC], "dc", TOPO_DC, dc_mac);
	t->ports[RIG_DC].dpdk_port = RIG_DC;
	t->ports[RIG_DC].attachment[0] = 0;
	t->n_attachments = t->n_segments = 1;
	t->attachments[0] = (struct topo_attachment){.port = RIG_DC};
	s = &t->segments[0];
	*s = (struct topo_segment){.vni = 5001,
		.gw_ip = GW_IP,
		.gw_mac = gw_mac,
		.mtu = 1500,
		.att_mtu = 1500,
		.mss = 1410,
		.tunnel_mtu = 1450,
		.nat = true,
		.suppress_arp = true,
		.n_attachments = 1};
	set_prefix(&s->prefix, 0x0a000000, 8);
	add_segments(t);
	t->hold = (struct topo_hold){
		.packets = 8192, .vm_packets = 8192, .bytes = 1 << 30, .vm_bytes = 1 << 30, .most_ms = 33000};
	t->n_peers = 1;
	t->peers[0] = (struct topo_peer){.name = "peer", .vtep = PEER, .mac = {{2, 0xbb, 0, 0, 0, 2}}};
	t->n_pools = 1;
	set_prefix(&t->pools[0].prefix, POOL, 10);
	topo_index(t);
	return t;
}

rte_be32_t
rig_private(uint32_t vm)
{
	return rte_cpu_to_be_32(0x0a000002 + vm);
}

rte_be32_t
rig_global(uint32_t vm)
{
	return rte_cpu_to_be_32(POOL + vm);
}

struct rte_ether_addr
rig_mac(uint32_t vm)
{
	return (struct rte_ether_addr){
		{2, 1, (uint8_t)(vm >> 24), (uint8_t)(vm >> 16), (uint8_t)(vm >> 8), (uint8_t)vm}};
}

struct vm_rec
rig_vm(uint32_t vm, bool here)
{
	struct vm_rec r;

	memset(&r, 0, sizeof(r));
	r.mac = rig_mac(vm);
	r.n_addresses = 1;
	r.addresses[0].ip = rig_private(vm);
	if (here) {
		r.addresses[0].global = rig_global(vm);
		return r;
	}
	r.owner = r.location = RIG_PEER;
	r.n_drains = 1;
	r.drains[0] =
		(struct vm_rec_drain){.ip = rig_private(vm), .global = rig_global(vm), .home = ROUTER_SELF};
	return r;
}

/* The other end of session or packet number `seq`. */
static rte_be32_t
world(uint64_t seq)
{
	return rte_cpu_to_be_32(0xc0000200 + (uint32_t)(seq * 37 % WORLD) + 1);
}

/* With world(), another for each session of a VM. */
static rte_be16_t
session_port(uint64_t session)
{
	return rte_cpu_to_be_16((uint16_t)(4000 + session / WORLD));
}

static struct session_key
session_key(const struct rig *r, uint32_t vm, uint32_t session)
{
	return (struct session_key){.vm = rig_private(vm),
		.remote = world(session),
		.vm_port = session_port(session),
		.remote_port = DPORT,
		.vni_proto = r->topo->segments[0].vni << 8 | IPPROTO_UDP};
}

/* An address that the VM has left at the peer. */
static rte_be32_t
left_behind(uint32_t vm)
{
	return rte_cpu_to_be_32(0xcb000000 + vm);
}

static struct vm_rec
member(uint32_t vm, enum rig_set set)
{
	struct vm_rec r = rig_vm(vm, set != RIG_AWAY);

	if (set == RIG_PAIRS && vm % 2 == 1) {
		r.owner = r.location = RIG_PEER;
		r.addresses[0].global = 0;
	}
	if (set == RIG_DRAINING && vm % 2 == 0) {
		r.n_drains = 1;
		r.drains[0] = (struct vm_rec_drain){
			.ip = rig_private(vm), .global = left_behind(vm), .home = RIG_PEER};
	}
	return r;
}

int
rig_become(struct rig *r, enum rig_set set)
{
	struct vmtab_txn *x = vmtab_begin(r->tables.vms, r->vms);
	int rc = x != NULL ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < r->vms && rc == 0; i++) {
		struct vm_rec rec = member(i, set);

		rc = vmtab_prepare_put(x, &rec);
	}
	if (rc == 0)
		rc = vmtab_prepare_end(x, NULL);
	if (rc != 0) {
		if (x != NULL)
			vmtab_abort(x);
		return rc;
	}
	vmtab_publish(x);
	rcu_wait(r->tables.rcu);
	vmtab_retire(x);
	return 0;
}

uint32_t
rig_note_sessions(struct rig *r, uint32_t n)
{
	uint32_t movers = (r->vms + 1) / 2, each = RTE_MAX(n / movers, 1u);

	for (uint32_t i = 0; i < movers * each; i++) {
		uint32_t vm = i / each * 2, session = i % each;
		struct session_key k = session_key(r, vm, session);

		sessions_learn(r->tables.sessions, &k, r->w->tick, 0,
			session % 2 == 0 ? rig_global(vm) : left_behind(vm));
	}
	return each;
}

static int
make_tables(struct rig *r)
{
	struct nexthop via = {.kind = NH_VIA, .port = RIG_WAN, .via = NEXT_HOP},
		       on_link = {.kind = NH_CONNECTED};
	struct neigh_key hop = {.ip = NEXT_HOP, .port = RIG_WAN}, peer = {.ip = PEER, .port = RIG_WAN};
	struct neigh n = {.mac = hop_mac, .state = NEIGH_REACHABLE};
	struct tables *t = &r->tables;

	t->rcu = rcu_new(4);
	t->vms = vmtab_new(r->vms, t->rcu);
	t->routes = routetab_new(64, t->rcu);
	t->neighbours = neightab_new(64, t->rcu);
	t->macs = mactab_new(1024, t->rcu);
	t->sessions = sessions_new(NULL, rig_sessions, "boot", NULL);
	t->rtt = t->vms != NULL ? rtt_new(vmtab_slots(t->vms)) : NULL;
	if (t->rcu == NULL || t->vms == NULL || t->routes == NULL || t->neighbours == NULL ||
		t->macs == NULL || t->sessions == NULL || t->rtt == NULL)
		return -1;
	vmtab_on_change(t->vms, round_trip_changed, t->rtt);
	if (routetab_put(t->routes, 0, 0, 0, &via) != 0 ||
		routetab_put(t->routes, 0, RTE_BE32(0xc6336400), 24, &on_link) != 0 ||
		neightab_put(t->neighbours, &hop, &n) != 0 || neightab_put(t->neighbours, &peer, &n) != 0)
		return -1;
	return rig_become(r, RIG_HERE);
}

struct rig *
rig_new(uint16_t id, uint32_t vms, uint32_t mbufs)
{
	struct rig *r = calloc(1, sizeof(*r));
	char name[32];

	if (r == NULL)
		return NULL;
	r->vms = vms;
	snprintf(name, sizeof(name), "rig%u", id);
	r->pool = rte_pktmbuf_pool_create(
		name, mbufs, 256, sizeof(struct meta), RTE_PKTMBUF_HEADROOM + 384, SOCKET_ID_ANY);
	r->topo = make_topology();
	if (r->pool == NULL || r->topo == NULL || make_tables(r) != 0)
		goto fail;
	r->w = worker_new(id, r->topo, &r->tables, r->pool);
	if (r->w == NULL)
		goto fail;
	worker_tick(r->w, 1000000000);
	return r;
fail:
	rig_free(r);
	return NULL;
}

void
rig_free(struct rig *r)
{
	struct tables *t = &r->tables;

	worker_free(r->w);
	sessions_free(t->sessions);
	mactab_free(t->macs);
	neightab_free(t->neighbours);
	routetab_free(t->routes);
	vmtab_free(t->vms);
	rtt_free(t->rtt);
	rcu_free(t->rcu);
	rte_mempool_free(r->pool);
	free(r->topo);
	free(r);
}

/* ---- frames ---- */

/* The UDP frame at the start of an mbuf. */
struct udp_frame {
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
	uint8_t data[RIG_DATA];
} __rte_packed __rte_aligned(2);

_Static_assert(sizeof(struct udp_frame) == RIG_LEN, "as rig.h says");

/* Of a frame of `len` bytes. */
static void *
start(struct rte_mbuf *m, uint16_t len)
{
	rte_pktmbuf_reset(m);
	m->data_len = m->pkt_len = len;
	return rte_pktmbuf_mtod(m, void *);
}

struct ends { /* of a packet */
	struct rte_ether_addr from_mac, to_mac;
	rte_be32_t from, to;
	rte_be16_t port; /* of the sender */
};

static struct ends
ends_of(const struct rig *r, enum rig_way way, uint32_t vm, uint64_t seq)
{
	uint32_t next = (vm + 1) % r->vms;

	switch (way) {
	case RIG_DOWNLINK:
		return (struct ends){hop_mac, wan_mac, world(seq), rig_global(vm), RTE_BE16(4000)};
	case RIG_BRIDGED:
		return (struct ends){
			rig_mac(vm), rig_mac(next), rig_private(vm), rig_private(next), RTE_BE16(4000)};
	case RIG_TUNNEL:
		return (struct ends){
			rig_mac(next), rig_mac(vm), rig_private(next), rig_private(vm), RTE_BE16(4000)};
	case RIG_SESSION:
		return (struct ends){rig_mac(vm), gw_mac, rig_private(vm), world(seq), session_port(seq)};
	default:
		return (struct ends){rig_mac(vm), gw_mac, rig_private(vm), world(seq), RTE_BE16(4000)};
	}
}

static void
write_ip(struct rte_ipv4_hdr *ip, rte_be32_t from, rte_be32_t to, uint8_t proto, uint16_t len)
{
	*ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(len),
		.time_to_live = 64,
		.next_proto_id = proto,
		.src_addr = from,
		.dst_addr = to};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void
fill_udp(struct rte_mbuf *m, const struct ends *e, uint64_t seq)
{
	struct udp_frame *f = start(m, sizeof(*f));

	f->eth = (struct rte_ether_hdr){e->to_mac, e->from_mac, RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	write_ip(&f->ip, e->from, e->to, IPPROTO_UDP, RIG_LEN - sizeof(f->eth));
	f->udp = (struct rte_udp_hdr){e->port, DPORT, RTE_BE16(sizeof(f->udp) + RIG_DATA), 0};
	memset(f->data, 0, RIG_DATA);
	memcpy(f->data, &seq, sizeof(seq));
	f->udp.dgram_cksum = rte_ipv4_udptcp_cksum(&f->ip, &f->udp);
}

/* Around the frame that is in the mbuf. */
static void
fill_tunnel(const struct rig *r, struct rte_mbuf *m)
{
	uint16_t inner = (uint16_t)rte_pktmbuf_pkt_len(m);
	struct tunnel_hdr *h = (struct tunnel_hdr *)rte_pktmbuf_prepend(m, sizeof(*h));
	uint16_t udp = (uint16_t)(sizeof(h->udp) + sizeof(h->vxlan) + inner);

	h->eth = (struct rte_ether_hdr){wan_mac, hop_mac, RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	write_ip(&h->ip, PEER, WAN_IP, IPPROTO_UDP, (uint16_t)(sizeof(h->ip) + udp));
	h->udp = (struct rte_udp_hdr){
		RTE_BE16(50000), RTE_BE16(RTE_VXLAN_DEFAULT_PORT), rte_cpu_to_be_16(udp), 0};
	h->vxlan = (struct rte_vxlan_hdr){
		.vx_flags = RTE_BE32(0x08000000), .vx_vni = rte_cpu_to_be_32(r->topo->segments[0].vni << 8)};
}

static void
fill_echo(struct rte_mbuf *m, uint32_t vm)
{
	struct udp_frame *f = start(m, sizeof(*f));
	struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)&f->udp;

	f->eth = (struct rte_ether_hdr){gw_mac, rig_mac(vm), RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	write_ip(&f->ip, rig_private(vm), GW_IP, IPPROTO_ICMP, RIG_LEN - sizeof(f->eth));
	memset(icmp, 0, sizeof(f->udp) + RIG_DATA);
	icmp->icmp_type = RTE_IP_ICMP_ECHO_REQUEST;
	icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, sizeof(f->udp) + RIG_DATA);
}

static void
fill_arp(struct rte_mbuf *m, uint32_t vm)
{
	struct rte_ether_hdr *eth = start(m, 60);
	struct rte_arp_hdr *arp = (struct rte_arp_hdr *)(eth + 1);

	memset(eth, 0, 60);
	memset(&eth->dst_addr, 0xff, sizeof(eth->dst_addr));
	eth->src_addr = rig_mac(vm);
	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_ARP);
	*arp = (struct rte_arp_hdr){.arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER),
		.arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = 6,
		.arp_plen = 4,
		.arp_opcode = RTE_BE16(RTE_ARP_OP_REQUEST)};
	arp->arp_data =
		(struct rte_arp_ipv4){.arp_sha = rig_mac(vm), .arp_sip = rig_private(vm), .arp_tip = GW_IP};
}

void
rig_fill(const struct rig *r, struct rte_mbuf *m, enum rig_way way, uint32_t vm, uint64_t seq)
{
	struct ends e = ends_of(r, way, vm, seq);

	if (way == RIG_ARP)
		fill_arp(m, vm);
	else if (way == RIG_ECHO)
		fill_echo(m, vm);
	else
		fill_udp(m, &e, seq);
	if (way == RIG_TUNNEL)
		fill_tunnel(r, m);
	if (way == RIG_JUNK)
		rte_pktmbuf_trim(m, RIG_LEN - 20);
	rig_received(m, way == RIG_DOWNLINK || way == RIG_TUNNEL ? RIG_WAN : RIG_DC);
}

uint64_t
rig_seq(struct rte_mbuf *m)
{
	uint64_t seq;

	memcpy(&seq, rte_pktmbuf_mtod_offset(m, const uint8_t *, offsetof(struct udp_frame, data)),
		sizeof(seq));
	return seq;
}
