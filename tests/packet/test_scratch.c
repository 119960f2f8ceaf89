/* SPDX-License-Identifier: BSD-3-Clause */
/* A scratch worker tries packets of every kind on the tables, and leaves no trace in them, in events, or in other workers. */
#include "ways.h"

#include <rte_tcp.h>
#include <stdlib.h>

#define ROUNDS 64

static struct worker *scratch;

/* ---- all that there is to see ---- */

static uint64_t
mix(uint64_t h, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const uint8_t *)p)[i]) * UINT64_C(1099511628211);
	return h;
}

static uint64_t
mix_sessions(uint64_t h)
{
	struct sessions_info s;
	uint32_t next = 0;

	memset(&s, 0, sizeof(s));
	while (sessions_next(net.tables.sessions, net.w->tick, &next, &s)) {
		h = mix(h, &s.key, sizeof(s.key));
		h = mix(h, &s.home, sizeof(s.home));
		h = mix(h, &s.idle_s, sizeof(s.idle_s));
		h = mix(h, &s.flags, sizeof(s.flags));
	}
	return h;
}

static uint64_t
mix_tables(uint64_t h)
{
	struct vm_key_mac mac;
	struct mac_entry e;
	struct neigh_key nk;
	struct neigh n;
	uint32_t next = 0;

	while (mactab_next(net.tables.macs, &next, &mac, &e))
		h = mix(mix(h, &mac, sizeof(mac)), &e, sizeof(e));
	for (next = 0; neightab_next(net.tables.neighbours, &next, &nk, &n);)
		h = mix(mix(h, &nk, sizeof(nk)), &n, sizeof(n));
	for (uint32_t i = 0; i < vmtab_slots(net.tables.vms); i++) {
		const struct vm_rec *r = vmtab_at(net.tables.vms, i);

		h = r != NULL ? mix(h, r, sizeof(*r)) : h;
	}
	next = routetab_count(net.tables.routes);
	return mix(h, &next, sizeof(next));
}

/* The other worker as a whole: counters, buckets, filters, what it holds; and its arrays and rings. */
static uint64_t
everything(void)
{
	uint64_t h = mix(UINT64_C(14695981039346656037), net.w, sizeof(*net.w));

	h = mix(h, net.w->mac_seen, mactab_entries(net.tables.macs) * sizeof(*net.w->mac_seen));
	h = mix(h, net.w->from_vm, vmtab_slots(net.tables.vms) * sizeof(*net.w->from_vm));
	h = mix(h, net.w->to_vm, vmtab_slots(net.tables.vms) * sizeof(*net.w->to_vm));
	for (int k = 0; k < EVENTS; k++)
		h += rte_ring_count(net.w->events[k]);
	return mix_sessions(mix_tables(h));
}

/* ---- trying ---- */

static uint16_t
throw_away(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	(void)port;
	rte_pktmbuf_free_bulk(m, n);
	return n;
}

static void
try(uint16_t port, const struct frame *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);
	static struct vec rx;

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, f->len), f->b, f->len);
	*meta(m) = (struct meta){.in_port = (uint8_t)port,
		.vlan = f->vlan,
		.origin = net.topo->ports[port].role == TOPO_WAN ? FROM_WAN : FROM_DC};
	rx.n = 0;
	vec_add(&rx, m);
	for (int i = 0; i < ROUNDS && (rx.n != 0 || scratch->inject.n != 0); i++) {
		pipeline_run(scratch, &rx);
		worker_flush(scratch, throw_away, NULL);
	}
	assert_int_equal(worker_imbalance(scratch), 0);
}

/* Every kind of packet: from a VM here, draining both ways, at a peer; hosts that nobody knows or that moved; ARP of all
 * kinds; the tunnel; fragments and ICMP errors; what must be dropped, held, fragmented, answered. */
static void
try_everything(void)
{
	struct frame big = udp(BY_VM(5), .dst = USER, .size = 1400),
		     out = udp(BY_VM(6), .dst = USER, .id = 7, .size = 200);
	struct frame quoted = udp(.src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53);
	const struct {
		uint16_t port;
		struct frame f;
	} all[] = {
		{DC0, udp(BY_VM(5), .dst = USER)},
		{DC0, tcp(BY_VM(6), .dst = USER, .sport = 9, .dport = 80, .flags = RTE_TCP_SYN_FLAG)},
		{DC0, tcp(BY_VM(6), .dst = USER, .sport = 1000, .dport = 80, .flags = RTE_TCP_FIN_FLAG)},
		{DC0, tcp(BY_VM(6), .dst = USER, .sport = 1000, .dport = 80, .flags = RTE_TCP_RST_FLAG)},
		{DC0, fragment_of(&out, 0, 104, false)},
		{DC0, fragment_of(&out, 104, 104, true)},
		{DC0, udp(BY_VM(7), .dst = USER)},
		{DC0, udp(BY_VM(5), .dst = USER, .ttl = 1)},
		{DC0, big},
		{DC0, echo_request(BY_VM(5), .dst = GW)},
		{DC0, udp(.smac = MAC_VM(5), .dmac = MAC_VM(8), .src = PRIVATE(5), .dst = PRIVATE(8))},
		{DC0, ether(0x88b5, .smac = MAC_HOST(1), .dmac = MAC_ALL)},
		{DC0, ether(0x88b5, .smac = MAC_HOST(2), .dmac = MAC_HOST(3))},
		{DC1, with_vlan(ether(0x88b5, .smac = MAC_HOST(2), .dmac = MAC_HOST(1)), VLAN_1B)},
		{DC1, with_vlan(udp(BY_VM(5), .dst = USER), VLAN_1B)},
		{DC0, ether(0x88b5, .smac = MAC_RY, .dmac = MAC_ALL)},
		{DC0, arp_frame(.sha = MAC_VM(5), .dmac = MAC_ALL, .spa = PRIVATE(5), .tpa = GW)},
		{DC0, arp_frame(.sha = MAC_VM(8), .dmac = MAC_ALL, .spa = PRIVATE(8), .tpa = PRIVATE(5))},
		{DC0, arp_frame(.sha = MAC_HOST(9), .dmac = MAC_ALL, .spa = GW, .tpa = GW)},
		{DC0, arp_frame(.sha = MAC_VM(7), .dmac = MAC_ALL, .spa = PRIVATE(7), .tpa = PRIVATE(7))},
		{WAN0, arp_frame(.sha = MAC_ISP, .dmac = MAC_WAN0, .spa = ISP, .tpa = WAN0_IP)},
		{WAN1, arp_frame(.sha = MAC_OTHER, .dmac = MAC_WAN1, .spa = OTHER, .tpa = WAN1_IP)},
		{WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5))},
		{WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(6), .sport = 5, .dport = 6)},
		{WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(6), .sport = 80, .dport = 1000,
			       .flags = RTE_TCP_FIN_FLAG)},
		{WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(6), .sport = 81, .dport = 7,
			       .flags = RTE_TCP_SYN_FLAG)},
		{WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(7))},
		{WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(50))},
		{WAN0, icmp(BY_ISP, .src = USER, .dst = GLOBAL(5), .icmp_type = 3, .icmp_code = 3,
			       QUOTE(&quoted))},
		{WAN0, udp(BY_ISP, .src = USER, .dst = IP(192, 0, 2, 99))},
		{WAN0, from_tunnel(R_Y, SEG1,
			       udp(.smac = MAC_RY, .dmac = MAC_VM(6), .src = USER, .dst = PRIVATE(6),
				       .sport = 3, .dport = 4))},
		{WAN0, from_tunnel(R_Y, SEG1,
			       tcp(.smac = MAC_RY, .dmac = MAC_VM(6), .src = USER, .dst = PRIVATE(6),
				       .sport = 80, .dport = 1000, .flags = RTE_TCP_RST_FLAG))},
		{WAN0, from_tunnel(R_Y, SEG1,
			       udp(.smac = MAC_VM(5), .dmac = MAC_ALL, .src = PRIVATE(5), .dst = USER))},
		{WAN0, from_tunnel(R_Y, SEG1, ether(0x88b5, .smac = MAC_HOST(4), .dmac = MAC_ALL))},
		{WAN0, from_tunnel(R_Y, SEG1, udp(BY_VM(6), .dst = USER))},
	};

	for (size_t i = 0; i < RTE_DIM(all); i++)
		try(all[i].port, &all[i].f);
}

static void
a_network_with_everything(void)
{
	vm_here(5);
	vm_moved_here(6, R_Y);
	vm_moved_away(7, R_Y);
	vm_at(8, R_Z);
	net.topo->transit = true;
	net.topo->ports[WAN0].mtu = 1000;
	net_route(IP(192, 0, 2, 99), 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	net_learnt(SEG1, MAC_HOST(2), R_X, ATT_1);
	net_learnt(SEG1, MAC_HOST(3), R_Y, 0);
	burst(WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(6), .sport = 80, .dport = 1000,
			    .flags = RTE_TCP_SYN_FLAG));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(6), .sport = 3, .dport = 4));
	net_forget();
	net_advance(7000);
}

static void
scratch_worker_changes_nothing_whatever_it_tries(void **state)
{
	uint64_t before;

	(void)state;
	a_network_with_everything();
	scratch = worker_new_scratch(net.topo, &net.tables, net.pool);
	assert_non_null(scratch);
	worker_tick(scratch, net.now_ms * 1000);
	before = everything();
	try_everything();
	assert_int_equal(everything(), before);
	/* and it did try: */
	assert_true(scratch->c.sent > 20);
	assert_int_equal(scratch->n_hold, 1);
	for (int s = STAGE_EXPRESS + 1; s < STAGES; s++) /* it tells every step, so nothing goes express */
		if (scratch->c.stage[s].packets == 0)
			fail_msg("no packet passed %s", stage_names[s].name);
	worker_free(scratch);
}

static void
other_workers_do_change_what_a_scratch_worker_leaves(void **state)
{
	uint64_t before;

	(void)state; /* else the test above could not fail */
	a_network_with_everything();
	before = mix_sessions(0);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(6), .sport = 3, .dport = 4));
	net_forget();
	assert_int_not_equal(mix_sessions(0), before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(scratch_worker_changes_nothing_whatever_it_tries),
		net_test(other_workers_do_change_what_a_scratch_worker_leaves),
	};

	return net_main(tests);
}
