/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"

#include "testeal.h"

#include <dataplane/round_trip.h>
#include <dataplane/tables/sessions_at.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	t->router_mac = rig_router_mac;
	t->vtep = RIG_WAN_IP;
	t->n_ports = 2;
	set_port(&t->ports[RIG_WAN], "wan", TOPO_WAN, rig_wan_mac);
	t->ports[RIG_WAN].ip = RIG_WAN_IP;
	set_prefix(&t->ports[RIG_WAN].connected, 0xc6336400, 24);
	set_port(&t->ports[RIG_DC], "dc", TOPO_DC, rig_dc_mac);
	t->ports[RIG_DC].dpdk_port = RIG_DC;
	t->ports[RIG_DC].attachment[0] = 0;
	t->n_attachments = t->n_segments = 1;
	t->attachments[0] = (struct topo_attachment){.port = RIG_DC};
	s = &t->segments[0];
	*s = (struct topo_segment){.vni = RIG_VNI,
		.gw_ip = RIG_GW_IP,
		.gw_mac = rig_gw_mac,
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
	t->peers[0] = (struct topo_peer){.name = "peer", .vtep = RIG_PEER_IP, .mac = rig_peer_mac};
	t->n_pools = 1;
	set_prefix(&t->pools[0].prefix, RIG_POOL, 10);
	topo_index(t);
	return t;
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

static struct session_key
session_key(const struct rig *r, uint32_t vm, uint32_t session)
{
	return (struct session_key){.vm = rig_private(vm),
		.remote = rig_world(session),
		.vm_port = rig_session_port(session),
		.remote_port = RIG_WORLD_PORT,
		.vni_proto = r->topo->segments[0].vni << 8 | IPPROTO_UDP};
}

static struct vm_rec
member(uint32_t vm, enum rig_set set)
{
	struct vm_rec r = rig_vm(vm, set != RIG_AWAY);

	if (set == RIG_PAIRS && vm % 2 == 1) {
		r.owner = r.location = RIG_PEER;
		r.addresses[0].global = 0;
	}
	if (set == RIG_TROMBONE)
		r.location = RIG_PEER;
	if (set == RIG_DRAINING && vm % 2 == 0) {
		r.n_drains = 1;
		r.drains[0] = (struct vm_rec_drain){
			.ip = rig_private(vm), .global = rig_left_behind(vm), .home = RIG_PEER};
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

void
rig_note_sessions(struct rig *r, uint32_t each)
{
	for (uint32_t vm = 0; vm < r->vms; vm += 2) {
		for (uint32_t session = 0; session < each; session++) {
			struct session_key k = session_key(r, vm, session);

			sessions_learn(r->tables.sessions, &k, r->w->tick, 0,
				session % 2 == 0 ? rig_global(vm) : rig_left_behind(vm));
		}
	}
}

const struct session_cell *
rig_session(const struct rig *r, uint32_t vm, uint32_t session)
{
	struct session_key k = session_key(r, vm, session);
	struct session_where where;
	uint64_t key[2], state;
	struct session_cell *c;

	memcpy(key, &k, sizeof(key));
	sessions_locate(r->tables.sessions, key, &where);
	c = session_near(&where, &state);
	return c != NULL ? c : session_far(&where, &state);
}

static int
make_tables(struct rig *r)
{
	struct nexthop via = {.kind = NH_VIA, .port = RIG_WAN, .via = RIG_NEXT_HOP},
		       on_link = {.kind = NH_CONNECTED};
	struct neigh_key hop = {.ip = RIG_NEXT_HOP, .port = RIG_WAN},
			 peer = {.ip = RIG_PEER_IP, .port = RIG_WAN};
	struct neigh n = {.mac = rig_hop_mac, .state = NEIGH_REACHABLE};
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

/* The inner frame begins where others do: at the mbuf's headroom. */
void
rig_fill(const struct rig *r, struct rte_mbuf *m, enum rig_way way, uint32_t vm, uint64_t seq)
{
	struct rig_frame f = {.way = way, .vm = vm, .vms = r->vms, .seq = seq, .mark = seq, .data = RIG_DATA};

	rte_pktmbuf_reset(m);
	if (way == RIG_TUNNEL)
		m->data_off -= sizeof(struct tunnel_hdr);
	m->data_len = rig_frame_write(rte_pktmbuf_mtod(m, uint8_t *), &f);
	m->pkt_len = m->data_len;
	rig_received(m, rig_frame_port(&f));
}

uint64_t
rig_seq(struct rte_mbuf *m)
{
	uint64_t seq;

	memcpy(&seq, rte_pktmbuf_mtod_offset(m, const uint8_t *, RIG_HEADERS), sizeof(seq));
	return seq;
}

/* ---- measuring ---- */

uint16_t
rig_forget(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	(void)port;
	(void)m;
	return n;
}

int
rig_by_cycles(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

int
rig_by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}
