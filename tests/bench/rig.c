/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"

#include "testeal.h"
#include <rte_udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAN_IP	 RTE_BE32(0xc6336402) /* 198.51.100.2 */
#define NEXT_HOP RTE_BE32(0xc6336401)
#define PEER	 RTE_BE32(0xc6336442) /* on the wan port's link */
#define GW_IP	 RTE_BE32(0x0a000001)

static const struct rte_ether_addr wan_mac = {{2, 0xaa, 0, 0, 0, 0}}, dc_mac = {{2, 0xaa, 0, 0, 0, 1}},
				   gw_mac = {{2, 0x5e, 0, 0, 0, 1}}, hop_mac = {{2, 0xcc, 0, 0, 0, 1}};

uint16_t rig_segments = 1;

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

	*huge = free_hugepage_megabytes() >= megabytes;
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
	set_prefix(&t->pools[0].prefix, 0xc6120000, 15);
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
	return rte_cpu_to_be_32(0xc6120000 + vm);
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

static int
register_vms(struct rig *r)
{
	struct vmtab_txn *x = vmtab_begin(r->tables.vms, r->vms);
	int rc = x != NULL ? 0 : -1;

	for (uint32_t i = 0; i < r->vms && rc == 0; i++) {
		struct vm_rec rec = rig_vm(i, true);

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
	vmtab_retire(x);
	return 0;
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
	t->sessions = sessions_new(NULL, 65536, "boot", NULL);
	if (t->rcu == NULL || t->vms == NULL || t->routes == NULL || t->neighbours == NULL ||
		t->macs == NULL || t->sessions == NULL)
		return -1;
	if (routetab_put(t->routes, 0, 0, 0, &via) != 0 ||
		routetab_put(t->routes, 0, RTE_BE32(0xc6336400), 24, &on_link) != 0 ||
		neightab_put(t->neighbours, &hop, &n) != 0 || neightab_put(t->neighbours, &peer, &n) != 0)
		return -1;
	return register_vms(r);
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
	worker_tick(r->w, 1000000);
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
	rcu_free(t->rcu);
	rte_mempool_free(r->pool);
	free(r->topo);
	free(r);
}

/* ---- frames ---- */

static rte_be32_t
world(uint64_t seq)
{
	return rte_cpu_to_be_32(0xc0000200 + (uint32_t)(seq * 37 % 250) + 1);
}

void
rig_fill(const struct rig *r, struct rte_mbuf *m, enum rig_way way, uint32_t vm, uint64_t seq)
{
	struct rte_ether_hdr *eth;
	struct rte_ipv4_hdr *ip;
	struct rte_udp_hdr *udp;

	(void)r;
	rte_pktmbuf_reset(m);
	m->data_len = m->pkt_len = RIG_LEN;
	eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	ip = (struct rte_ipv4_hdr *)(eth + 1);
	udp = (struct rte_udp_hdr *)(ip + 1);
	*eth = (struct rte_ether_hdr){.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	eth->dst_addr = way == RIG_UPLINK ? gw_mac : wan_mac;
	eth->src_addr = way == RIG_UPLINK ? rig_mac(vm) : hop_mac;
	*ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = RTE_BE16(RIG_LEN - 14),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP};
	ip->src_addr = way == RIG_UPLINK ? rig_private(vm) : world(seq);
	ip->dst_addr = way == RIG_UPLINK ? world(seq) : rig_global(vm);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*udp = (struct rte_udp_hdr){RTE_BE16(4000), RTE_BE16(5000), RTE_BE16(8 + RIG_DATA), 0};
	memset(udp + 1, 0, RIG_DATA);
	memcpy(udp + 1, &seq, sizeof(seq));
	udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
	rig_received(m, way == RIG_UPLINK ? RIG_DC : RIG_WAN);
}

uint64_t
rig_seq(struct rte_mbuf *m)
{
	uint64_t seq;

	memcpy(&seq, rte_pktmbuf_mtod_offset(m, const uint8_t *, 14 + 20 + 8), sizeof(seq));
	return seq;
}
