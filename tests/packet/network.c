/* SPDX-License-Identifier: BSD-3-Clause */
/* network.c - the network of harness.h's picture, and what the control thread would put into its tables. */
#include "harness.h"

#include <dataplane/round_trip.h>

#include <stdio.h>
#include <stdlib.h>

#define TABLE 1024 /* entries of each table */

static void
set_prefix(struct topo_prefix *p, rte_be32_t addr, uint8_t len)
{
	p->mask = rte_cpu_to_be_32(~UINT32_C(0) << (32 - len));
	p->addr = addr & p->mask;
}

static void
set_port(uint16_t i, const char *name, enum topo_role role, struct rte_ether_addr mac)
{
	struct topo_port *p = &net.topo->ports[i];

	snprintf(p->name, sizeof(p->name), "%s", name);
	p->role = role;
	p->dpdk_port = i;
	p->mac = mac;
	p->mtu = 1500;
	for (int v = 0; v < 4096; v++)
		p->attachment[v] = TOPO_NONE;
}

static void
set_wan(uint16_t i, rte_be32_t addr)
{
	struct topo_port *p = &net.topo->ports[i];

	p->ip = addr;
	set_prefix(&p->connected, addr, 30);
}

static void
attach(uint16_t att, uint16_t seg, uint16_t port, uint16_t vlan)
{
	struct topo_segment *s = &net.topo->segments[seg];

	net.topo->attachments[att] = (struct topo_attachment){.port = port, .vlan = vlan, .seg = seg};
	net.topo->ports[port].attachment[vlan] = att;
	s->attachments[s->n_attachments++] = att;
}

static void
attach_vtep(uint16_t att, uint16_t seg, uint8_t tunnel)
{
	struct topo_segment *s = &net.topo->segments[seg];
	struct topo_vtep *v = &net.topo->vteps[net.topo->n_vteps++];

	assert_int_equal(tunnel, TOPO_VTEP_TUNNEL + net.topo->n_vteps - 1);
	v->ip = vtep_of(tunnel);
	memset(v->attachment, 0xff, sizeof(v->attachment)); /* TOPO_NONE */
	v->attachment[seg] = att;
	net.topo->attachments[att] = (struct topo_attachment){.seg = seg, .tunnel = tunnel};
	s->attachments[s->n_attachments++] = att;
}

static void
set_segment(uint16_t i, rte_be32_t gw, uint8_t len, bool nat)
{
	struct topo_segment *s = &net.topo->segments[i];

	snprintf(s->name, sizeof(s->name), "seg%u", i + 1u);
	s->vni = VNI(i);
	set_prefix(&s->prefix, gw, len);
	s->gw_ip = gw;
	s->gw_mac = MAC_GW;
	s->mtu = s->att_mtu = 1500;
	s->tunnel_mtu = 1450;
	s->mss = 1410;
	s->nat = nat;
	s->suppress_arp = true;
	s->exits = nat ? 0 : 1u << WAN0;
}

static void
build_topology(void)
{
	struct topology *t = net.topo;

	t->router_mac = MAC_RX;
	t->vtep = WAN0_IP;
	t->n_ports = PORTS;
	t->n_segments = SEGS;
	t->n_attachments = ATTS;
	set_port(WAN0, "wan0", TOPO_WAN, MAC_WAN0);
	set_port(DC0, "dc0", TOPO_DC, MAC_DC0);
	set_port(DC1, "dc1", TOPO_DC, MAC_DC1);
	set_port(WAN1, "wan1", TOPO_WAN, MAC_WAN1);
	set_wan(WAN0, WAN0_IP);
	set_wan(WAN1, WAN1_IP);
	set_segment(SEG1, GW, 24, true);
	set_segment(SEG2, GW2, 24, true);
	set_segment(SEG3, GW3, 26, false);
	set_segment(SEG4, GW4, 24, true);
	net.topo->segments[SEG4].att_mtu = 1450;
	attach(ATT_1, SEG1, DC0, 0);
	attach(ATT_1B, SEG1, DC1, VLAN_1B);
	attach(ATT_2, SEG2, DC0, VLAN_2);
	attach(ATT_3, SEG3, DC0, VLAN_3);
	t->n_peers = 2;
	t->peers[0] = (struct topo_peer){.name = "r-y", .vtep = VTEP_Y, .mac = MAC_RY};
	t->peers[1] = (struct topo_peer){.name = "r-z", .vtep = VTEP_Z, .mac = MAC_RZ};
	attach(ATT_4, SEG4, DC0, VLAN_4);
	attach_vtep(ATT_4A, SEG4, T_A);
	attach_vtep(ATT_4B, SEG4, T_B);
	t->hold = (struct topo_hold){
		.packets = 64, .vm_packets = 16, .bytes = 64000, .vm_bytes = 16000, .most_ms = 33000};
	t->n_pools = 2;
	set_prefix(&t->pools[0].prefix, GLOBAL(0), 26);
	set_prefix(&t->pools[1].prefix, GLOBAL(64), 28);
	t->pools[1].on_link = true;
}

static void
build_tables(void)
{
	struct tables *t = &net.tables;

	t->rcu = rcu_new(4);
	t->vms = vmtab_new(TABLE, t->rcu);
	t->routes = routetab_new(TABLE, t->rcu);
	t->neighbours = neightab_new(TABLE, t->rcu);
	t->macs = mactab_new(TABLE, t->rcu);
	t->sessions = sessions_new(NULL, TABLE, "boot", NULL);
	t->rtt = rtt_new(vmtab_slots(t->vms));
	assert_true(t->rcu && t->vms && t->routes && t->neighbours && t->macs && t->sessions && t->rtt);
	vmtab_on_change(t->vms, round_trip_changed, t->rtt);
}

static void
free_tables(void)
{
	struct tables *t = &net.tables;

	rcu_wait(t->rcu);
	sessions_free(t->sessions);
	mactab_free(t->macs);
	neightab_free(t->neighbours);
	routetab_free(t->routes);
	vmtab_free(t->vms);
	rtt_free(t->rtt);
	rcu_free(t->rcu);
}

static void
standard_routes(void)
{
	net_route(0, 0, &(const struct nexthop){.kind = NH_VIA, .port = WAN0, .via = ISP});
	net_route(WAN0_IP & IP(255, 255, 255, 252), 30,
		&(const struct nexthop){.kind = NH_CONNECTED, .port = WAN0});
	net_route(WAN1_IP & IP(255, 255, 255, 252), 30,
		&(const struct nexthop){.kind = NH_CONNECTED, .port = WAN1});
	for (uint16_t i = 0; i < SEGS; i++) {
		const struct topo_prefix *p = &net.topo->segments[i].prefix;

		net_route(p->addr, (uint8_t)__builtin_popcount(p->mask),
			&(const struct nexthop){.kind = NH_SEGMENT, .seg = i});
	}
	net_neighbour(WAN0, ISP, NEIGH_REACHABLE, MAC_ISP);
}

void
network_build(void)
{
	net.topo = calloc(1, sizeof(*net.topo));
	assert_non_null(net.topo);
	build_topology();
	topo_index(net.topo);
	build_tables();
	standard_routes();
}

void
network_free(void)
{
	free_tables();
	free(net.topo);
}

/* ---- what tests put into the tables ---- */

static void
commit(struct vmtab_txn *x, int rc)
{
	assert_int_equal(rc, 0);
	vmtab_publish(x);
	rcu_wait(net.tables.rcu);
	vmtab_retire(x);
	rcu_poll(net.tables.rcu);
}

void
vm_put(const struct vm_rec *rec)
{
	struct vmtab_txn *x = vmtab_begin(net.tables.vms, 1);

	commit(x, vmtab_prepare_put(x, rec));
}

void
vm_del(uint16_t seg, struct rte_ether_addr mac)
{
	struct vmtab_txn *x = vmtab_begin(net.tables.vms, 1);

	commit(x, vmtab_prepare_del(x, seg, &mac));
}

const struct vm_rec *
vm_get(uint16_t seg, struct rte_ether_addr mac)
{
	struct vm_key_mac k = {.mac = mac, .seg = seg};
	const struct vm_rec *r;

	vmtab_by_mac(net.tables.vms, &k, 1, &r);
	return r;
}

static rte_be32_t
global_at(uint8_t router, uint8_t n)
{
	return router == R_X ? GLOBAL(n) : router == R_Y ? GLOBAL_Y(n) : GLOBAL_Z(n);
}

static struct vm_rec
vm_of(uint8_t n, uint8_t owner)
{
	return (struct vm_rec){
		.mac = MAC_VM(n),
		.seg = SEG1,
		.owner = owner,
		.location = owner,
		.att = owner == R_X ? ATT_1 : ATT_ANY,
		.n_addresses = 1,
		.addresses = {{PRIVATE(n), global_at(owner, n)}},
	};
}

void
vm_here(uint8_t n)
{
	struct vm_rec r = vm_of(n, R_X);

	vm_put(&r);
}

void
vm_at(uint8_t n, uint8_t router)
{
	struct vm_rec r = vm_of(n, router);

	vm_put(&r);
}

static void
vm_moved(uint8_t n, uint8_t from, uint8_t to)
{
	struct vm_rec r = vm_of(n, to);

	r.n_drains = 1;
	r.drains[0] = (struct vm_rec_drain){.ip = PRIVATE(n), .global = global_at(from, n), .home = from};
	vm_put(&r);
}

void
vm_moved_here(uint8_t n, uint8_t from)
{
	vm_moved(n, from, R_X);
}

void
vm_moved_away(uint8_t n, uint8_t to)
{
	vm_moved(n, R_X, to);
}

void
vm_with_old(uint8_t n, rte_be32_t global)
{
	struct vm_rec r = vm_of(n, R_X);

	r.n_drains = 1;
	r.drains[0] = (struct vm_rec_drain){.ip = PRIVATE(n), .global = global, .home = R_X};
	vm_put(&r);
}

void
net_route(rte_be32_t prefix, uint8_t len, const struct nexthop *nh)
{
	assert_int_equal(routetab_put(net.tables.routes, 0, prefix, len, nh), 0);
}

void
net_neighbour(uint16_t port, rte_be32_t addr, enum neigh_state state, struct rte_ether_addr mac)
{
	struct neigh_key k = {.ip = addr, .port = port};
	struct neigh n = {.mac = mac, .state = (uint8_t)state};

	assert_int_equal(neightab_put(net.tables.neighbours, &k, &n), 0);
}

uint32_t
net_learnt(uint16_t seg, struct rte_ether_addr mac, uint8_t router, uint16_t att)
{
	struct vm_key_mac k = {.mac = mac, .seg = seg};
	struct mac_entry e = {.router = router, .att = att};

	assert_int_equal(mactab_put(net.tables.macs, &k, &e), 0);
	assert_int_equal(mactab_find(net.tables.macs, &k, 1, &e), 1);
	return e.entry;
}

struct session_key
net_session(uint8_t proto, rte_be32_t vm_ip, uint16_t vm_port, rte_be32_t remote, uint16_t remote_port)
{
	return (struct session_key){.vm = vm_ip,
		.remote = remote,
		.vm_port = rte_cpu_to_be_16(vm_port),
		.remote_port = rte_cpu_to_be_16(remote_port),
		.vni_proto = VNI(SEG1) << 8 | proto};
}

void
net_note_sessions(uint8_t n, uint32_t sessions)
{
	for (uint32_t i = 0; i < sessions; i++) {
		struct session_key k = net_session(IPPROTO_TCP, PRIVATE(n), (uint16_t)i, USER, 0);
		rte_be32_t home = GLOBAL(n);

		sessions_note(net.tables.sessions, &k, net.w->tick, 0, &home);
	}
}

rte_be32_t
net_home(uint8_t proto, rte_be32_t vm_ip, uint16_t vm_port, rte_be32_t remote, uint16_t remote_port)
{
	rte_be32_t home = 0;
	struct session_key k = net_session(proto, vm_ip, vm_port, remote, remote_port);

	sessions_find(net.tables.sessions, &k, net.w->tick, 0, &home);
	return home;
}
