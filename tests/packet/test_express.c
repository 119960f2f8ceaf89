/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes express, and what does not. That it ends the same either way the other packet tests tell, which run with it and without,
 * and mutated frames (test_mutate). */
#include "ways.h"

#include <dataplane/tables/sessions_at.h>

#include <rte_tcp.h>
#include <stdlib.h>

/* Variants of a frame override a part of it. */
#pragma GCC diagnostic ignored "-Woverride-init"

#define OUT BY_VM(5), .dst = USER, .sport = 9, .dport = 53
#define IN  BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 53, .dport = 9

static uint64_t
staged(void)
{
	return net.w->c.stage[STAGE_CLASSIFY].packets;
}

static void
goes(uint16_t port, struct frame f, bool express)
{
	uint64_t before = staged();

	net.w->express = true;
	burst(port, f);
	if ((staged() == before) != express)
		fail_msg("%s", express ? "it took the stages" : "it went express");
	net_forget();
}
#define goes_express(port, f) goes(port, f, true)
#define takes_stages(port, f) goes(port, f, false)

static void
tcp_and_udp_of_a_vm_at_home_go_express_both_ways(void **state)
{
	(void)state;
	vm_here(5);
	goes_express(DC0, udp(OUT));
	goes_express(DC0, tcp(OUT, .flags = RTE_TCP_ACK_FLAG));
	goes_express(WAN0, udp(IN));
	goes_express(WAN0, tcp(IN, .flags = RTE_TCP_FIN_FLAG));
}

static void
what_is_not_plain_takes_the_stages(void **state)
{
	struct frame big = udp(OUT, .size = 1000);

	(void)state;
	vm_here(5);
	takes_stages(DC0, tcp(OUT, .flags = RTE_TCP_SYN_FLAG)); /* its MSS may be clamped */
	takes_stages(DC0, fragment_of(&big, 0, 504, false));
	takes_stages(DC0, fragment_of(&big, 504, 504, true));
	takes_stages(DC0, udp(OUT, .ttl = 1));
	takes_stages(DC0, echo_request(OUT));
	takes_stages(DC0, udp(BY_VM(5), .dst = PRIVATE(6)));
	takes_stages(DC0, udp(BY_VM(5), .dst = GLOBAL(6)));
	takes_stages(DC0, udp(BY_VM(5), .src = PRIVATE(6), .dst = USER)); /* lies */
	takes_stages(DC1, with_vlan(udp(OUT), VLAN_1B));		  /* not where we know it: news */
	takes_stages(WAN0, udp(IN, .ttl = 1));
	takes_stages(WAN0, udp(IN, .src = PRIVATE(9)));
	takes_stages(WAN0, udp(IN, .dst = GLOBAL(9)));
}

static void
vms_that_are_not_here_or_not_known_where_take_the_stages(void **state)
{
	(void)state;
	vm_at(5, R_Y);
	takes_stages(DC0, udp(OUT));
	vm(.mac = MAC_VM(5), .seg = SEG1, .att = ATT_ANY, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL(5)}});
	takes_stages(DC0, udp(OUT));
	net_forget();
	takes_stages(WAN0, udp(IN));
}

/* The first packet of a session is noted by the stages; the next ones go express. */
static void
known_sessions_of_a_vm_that_drains_go_express(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	takes_stages(DC0, udp(OUT));
	goes_express(DC0, udp(OUT));
	takes_stages(WAN0, udp(IN)); /* its home was a guess, and is so no more */
	goes_express(WAN0, udp(IN));
	takes_stages(DC0, udp(OUT, .sport = 10));
	vm_moved_away(6, R_Y);
	takes_stages(WAN0, udp(IN, .dst = GLOBAL(6)));
	goes_express(WAN0, udp(IN, .dst = GLOBAL(6)));
}

/* The first one is too big for the way and is fragmented by the stages; the last is of another VM and need not wait. */
static void
packets_behind_one_that_stays_keep_their_order(void **state)
{
	struct frame big = udp(OUT, .size = 1200), out = udp(TO_ISP, .src = GLOBAL(5), .dst = USER,
							   .sport = 9, .dport = 53, .size = 1200, ROUTED);

	(void)state;
	vm_here(6);
	vm_here(5);
	net.w->express = true;
	net.topo->ports[WAN0].mtu = 1000;
	burst(DC0, big, udp(OUT, .id = 2), udp(BY_VM(6), .dst = USER, .sport = 9, .dport = 53));
	assert_int_equal(staged(), 2);
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(6), .dst = USER, .sport = 9, .dport = 53, ROUTED));
	expect_frame(WAN0, fragment_of(&out, 0, 976, false));
	expect_frame(WAN0, fragment_of(&out, 976, 232, true));
	expect_frame(
		WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, .id = 2, ROUTED));
}

/* One by a peer's, one by an address of ours, and a VM without homes between them; what comes first leaves first by each way. */
static void
sessions_of_both_homes_and_of_a_vm_without_leave_in_one_burst(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	vm_here(6);
	takes_stages(DC0, tcp(OUT)); /* by a guess */
	takes_stages(DC0, udp(OUT));
	net_forget();
	burst(DC0, tcp(OUT, .id = 2), udp(OUT, .id = 3), udp(BY_VM(6), .dst = USER, .sport = 9, .dport = 53),
		udp(OUT, .id = 4), tcp(OUT, .id = 5));
	assert_int_equal(staged(), 2);
	expect_frame(
		WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, .id = 3, ROUTED));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(6), .dst = USER, .sport = 9, .dport = 53, ROUTED));
	expect_frame(
		WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, .id = 4, ROUTED));
	expect_tunnel(R_Y, SEG1, tcp(OUT, .id = 2));
	expect_tunnel(R_Y, SEG1, tcp(OUT, .id = 5));
}

/* The first one is too big for the way, and is fragmented by the stages. */
static void
sessions_with_homes_behind_a_packet_that_stays_keep_their_order(void **state)
{
	struct frame out =
		udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, .size = 1200, ROUTED);

	(void)state;
	vm_moved_here(5, R_Y);
	takes_stages(DC0, tcp(OUT));
	takes_stages(DC0, udp(OUT));
	net_forget();
	net.topo->ports[WAN0].mtu = 1000;
	burst(DC0, udp(OUT, .size = 1200), udp(OUT, .id = 2), tcp(OUT, .id = 3));
	assert_int_equal(staged(), 5);
	expect_frame(WAN0, fragment_of(&out, 0, 976, false));
	expect_frame(WAN0, fragment_of(&out, 976, 232, true));
	expect_frame(
		WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, .id = 2, ROUTED));
	expect_tunnel(R_Y, SEG1, tcp(OUT, .id = 3));
}

/* As a packet that was made or held: where it goes on stands in its metadata. */
static void
what_enters_anew_goes_on_where_it_was(void **state)
{
	struct frame f = udp(OUT);
	struct dp_order o = {
		.kind = ORDER_INJECT, .made = MADE_REPLICA, .inject = rte_pktmbuf_alloc(net.pool)};

	(void)state;
	vm_here(5);
	memcpy(rte_pktmbuf_append(o.inject, f.len), f.b, f.len);
	*meta(o.inject) = (struct meta){.in_port = DC0, .seg = SEG1, .enter = ENTER_PORT, .out_port = DC0};
	net.w->express = true;
	rte_ring_sp_enqueue_elem(net.w->orders, &o, sizeof(o));
	worker_orders(net.w);
	net_idle();
	expect_frame(DC0, f);
}

/* From VM 5 of SEG4 by its gateway. */
#define OUT4 .smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE4(5), .dst = USER, .sport = 9, .dport = 53

static void
vm_in(uint8_t n, uint16_t seg, uint8_t location, uint16_t att)
{
	vm(.mac = MAC_VM(n), .seg = seg, .location = location, .att = att, .n_addresses = 1,
		.addresses = {{seg == SEG4 ? PRIVATE4(n) : PRIVATE(n), GLOBAL(n)}});
}

static void
while_a_vm_is_waited_for_others_send_express_and_are_sent_to_by_the_stages(void **state)
{
	(void)state;
	vm_here(5);
	vm_in(15, SEG4, R_X, ATT_4A);
	vm(.mac = MAC_VM(6), .seg = SEG1, .att = ATT_1, .n_addresses = 1,
		.addresses = {{PRIVATE(6), GLOBAL(6)}}, .flags = VM_REC_HOLDS);
	net.w->express = true;
	burst(WAN0, udp(IN, .dst = GLOBAL(6)));
	assert_int_equal(net.w->vm_hold.packets, 1);
	goes_express(DC0, udp(OUT));
	goes_express(
		WAN0, from_tunnel(T_A, SEG4,
			      udp(.smac = MAC_VM(15), .dmac = MAC_GW, .src = PRIVATE4(15), .dst = USER)));
	takes_stages(WAN0, udp(IN)); /* it may be behind one that waits */
	vm_here(6);
	net_idle();
	net_forget();
	goes_express(WAN0, udp(IN));
	goes_express(WAN0, udp(IN, .dst = GLOBAL(6)));
}

/* ---- the tunnel ---- */

/* Between VMs of SEG1: 5 here at dc0, 6 at dc1, 7 ours at R_Y, 8 of R_Z. */
#define BRIDGED(a, b, ...)                                                                          \
	udp(.smac = MAC_VM(a), .dmac = MAC_VM(b), .src = PRIVATE(a), .dst = PRIVATE(b), .sport = 9, \
		.dport = 53, ##__VA_ARGS__)
static void
vms_of_seg1(void)
{
	vm_here(5);
	vm_in(6, SEG1, R_X, ATT_1B);
	vm_in(7, SEG1, R_Y, ATT_ANY);
	vm_at(8, R_Z);
}

static void
frames_between_vms_go_express_into_the_tunnel_out_of_it_and_beside_it(void **state)
{
	(void)state;
	vms_of_seg1();
	goes_express(DC0, BRIDGED(5, 6));
	goes_express(DC0, BRIDGED(5, 7));
	goes_express(DC0, BRIDGED(5, 8));
	goes_express(DC1, with_vlan(BRIDGED(6, 5), VLAN_1B));
	goes_express(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(7, 5)));
	goes_express(WAN0, from_tunnel(R_Z, SEG1, BRIDGED(8, 6)));
}

static void
frames_whose_way_is_to_be_decided_take_the_stages(void **state)
{
	(void)state;
	vms_of_seg1();
	takes_stages(DC0, BRIDGED(5, 9)); /* nobody registered it */
	takes_stages(DC0, BRIDGED(9, 5));
	takes_stages(DC0, BRIDGED(5, 5));
	takes_stages(DC1, with_vlan(BRIDGED(5, 6), VLAN_1B)); /* it was at dc0 */
	takes_stages(WAN0, from_tunnel(R_Z, SEG1, BRIDGED(7, 5)));
	takes_stages(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(5, 6)));
	takes_stages(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(7, 8))); /* not back into the tunnel */
	takes_stages(WAN0, from_tunnel(R_Y, SEG1,
				   udp(.smac = MAC_RY, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5))));
	net.topo->peers[0].vtep = 0; /* removed */
	takes_stages(DC0, BRIDGED(5, 7));
	net.topo->segments[SEG1].external = true;
	takes_stages(DC0, BRIDGED(5, 6));
	net.topo->segments[SEG1].external = false;
	net.topo->segments[SEG1].per_site = true;
	takes_stages(DC0, BRIDGED(5, 6));
}

/* The frame in the tunnel, or the packet around it, is strange in one respect. */
static void
what_is_not_plain_in_the_tunnel_takes_the_stages(void **state)
{
	struct frame f = from_tunnel(R_Y, SEG1, BRIDGED(7, 5)), g;
	struct rte_udp_hdr *outer = (struct rte_udp_hdr *)(g.b + 34);

	(void)state;
	vms_of_seg1();
	goes_express(WAN0, f);
	g = f;
	outer->dgram_cksum = RTE_BE16(0x1234);
	takes_stages(WAN0, g);
	g = f;
	outer->dgram_len = RTE_BE16(70);
	takes_stages(WAN0, g);
	g = f;
	g.b[42] = 0; /* no flag I */
	takes_stages(WAN0, g);
	g = f;
	g.b[42] = 0xff; /* reserved bits, which count for nothing */
	g.b[43] = g.b[49] = 0xff;
	goes_express(WAN0, g);
	g = f;
	g.b[14 + 50 - 2] = 0x81; /* a tag inside */
	g.b[14 + 50 - 1] = 0;
	takes_stages(WAN0, g);
	takes_stages(WAN0, from_tunnel(R_Y, SEG2, BRIDGED(7, 5)));
	takes_stages(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(7, 5, .frag = RTE_IPV4_HDR_MF_FLAG)));
	takes_stages(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(7, 5, .options = 4)));
	takes_stages(WAN0, from_tunnel(R_Y, SEG1,
				   tcp(.smac = MAC_VM(7), .dmac = MAC_VM(5), .src = PRIVATE(7),
					   .dst = PRIVATE(5), .flags = RTE_TCP_SYN_FLAG)));
}

/* By the greatest of all keys: all ones, in the VNI's reserved byte, too. */
static struct frame
by_nobody_s_tunnel(struct frame f)
{
	struct frame g = vxlan_frame(
		&(struct spec){BY_ISP, .src = UINT32_MAX, .dst = WAN0_IP, .sport = 50000}, 0xffffff, &f);

	g.b[49] = 0xff;
	return g;
}

static void
a_tunnel_of_nobody_is_not_open(void **state)
{
	struct spec outer = {BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 50000};
	struct frame f = BRIDGED(7, 5);

	(void)state;
	vms_of_seg1();
	takes_stages(WAN0, by_nobody_s_tunnel(f));
	takes_stages(WAN0, vxlan_frame(&outer, VNI(SEG1), &f));
}

/* While `n` others wait to be sent by the port that it leaves by. */
static bool
goes_beside(uint16_t port, struct frame f, uint16_t by, uint16_t n)
{
	static struct vec rx;
	struct vec *out = &net.w->tx[by];
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);
	uint64_t before = staged();

	memcpy(rte_pktmbuf_append(m, f.len), f.b, f.len);
	*meta(m) = (struct meta){.in_port = (uint8_t)port, .origin = port == WAN0 ? FROM_WAN : FROM_DC};
	vec_add(&rx, m);
	net.w->express = true;
	out->n = n;
	pipeline_run(net.w, &rx);
	out->n -= n;
	memmove(out->m, out->m + n, out->n * sizeof(*out->m));
	net_idle();
	net_forget();
	return staged() == before;
}

static void
a_port_without_room_for_a_burst_is_left_to_the_stages_until_it_has(void **state)
{
	const struct {
		uint16_t port, by;
		struct frame f;
	} one[] = {{WAN0, DC0, udp(IN)}, {DC0, WAN0, udp(OUT)}, {DC0, WAN0, BRIDGED(5, 7)}};

	(void)state;
	vms_of_seg1();
	for (size_t k = 0; k < RTE_DIM(one); k++) {
		assert_true(goes_beside(one[k].port, one[k].f, one[k].by, VEC_MAX - BURST_MAX));
		assert_false(goes_beside(one[k].port, one[k].f, one[k].by, VEC_MAX - BURST_MAX + 1));
		goes_express(one[k].port, one[k].f);
	}
}

/* Not where it is looked for first, because that was not free. */
static bool
stands_far(uint16_t port)
{
	struct session_key k = net_session(IPPROTO_TCP, PRIVATE(5), port, USER, 53);
	struct session_where where;
	uint64_t key[2], state;

	memcpy(key, &k, sizeof(k));
	sessions_locate(net.tables.sessions, key, &where);
	return session_near(&where, &state) == NULL && session_far(&where, &state) != NULL;
}

static void
sessions_that_stand_far_from_their_places_go_express_unless_they_end(void **state)
{
	unsigned int far = 0;

	(void)state;
	net_note_sessions(6, 4000);
	vm_moved_here(5, R_Y);
	for (uint16_t port = 1; port < 2000 && far < 8; port++) {
		takes_stages(DC0, tcp(OUT, .sport = port, .flags = RTE_TCP_SYN_FLAG));
		if (!stands_far(port))
			continue;
		far++;
		goes_express(DC0, tcp(OUT, .sport = port));
		goes_express(WAN0, tcp(IN, .dport = port));
		takes_stages(DC0, tcp(OUT, .sport = port, .flags = RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG));
		takes_stages(WAN0, tcp(IN, .dport = port, .flags = RTE_TCP_ACK_FLAG | RTE_TCP_RST_FLAG));
	}
	assert_int_equal(far, 8);
}

static void
sessions_of_two_segments_in_one_burst_are_told_apart(void **state)
{
	uint64_t before;

	(void)state;
	vm_moved_here(5, R_Y);
	vm(.mac = MAC_VM(6), .seg = SEG4, .att = ATT_4A, .n_addresses = 1, .n_drains = 1,
		.addresses = {{PRIVATE4(6), GLOBAL(6)}},
		.drains = {{.ip = PRIVATE4(6), .global = GLOBAL_Y(6), .home = R_Y}});
	takes_stages(WAN0, udp(IN));
	takes_stages(WAN0, udp(IN, .dst = GLOBAL(6)));
	net.w->express = true;
	before = staged();
	burst(WAN0, udp(IN), udp(IN, .dst = GLOBAL(6)), udp(IN));
	assert_int_equal(staged(), before);
	net_forget();
}

/* As the control thread has it done. */
static void
take_up(const struct topology *t)
{
	__atomic_store_n(&net.w->topo_wanted, t, __ATOMIC_RELEASE);
	worker_orders(net.w);
}

/* In another topology a peer is no more. */
static void
a_way_to_a_peer_that_was_removed_is_not_kept(void **state)
{
	struct topology *next = malloc(sizeof(*next));

	(void)state;
	vms_of_seg1();
	goes_express(DC0, BRIDGED(5, 7));
	goes_express(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(7, 5)));
	memcpy(next, net.topo, sizeof(*next));
	next->peers[R_Y - 1].vtep = 0;
	topo_index(next);
	take_up(next);
	takes_stages(DC0, BRIDGED(5, 7));
	takes_stages(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(7, 5)));
	take_up(net.topo);
	goes_express(DC0, BRIDGED(5, 7));
	free(next);
}

static void
a_tunnel_of_nobody_is_not_that_of_before(void **state)
{
	(void)state;
	vms_of_seg1();
	goes_express(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(7, 5)));
	net_neighbour(WAN1, OTHER, NEIGH_REACHABLE, MAC_OTHER);
	takes_stages(WAN0, by_nobody_s_tunnel(BRIDGED(7, 5)));
}

static void
a_vm_of_ours_at_a_peer_is_reached_express(void **state)
{
	(void)state;
	vms_of_seg1();
	goes_express(WAN0, udp(IN, .dst = GLOBAL(7)));
	goes_express(WAN0, tcp(IN, .dst = GLOBAL(7)));
	net_neighbour(WAN0, ISP, NEIGH_NONE, MAC_NONE); /* the way to the peer */
	takes_stages(WAN0, udp(IN, .dst = GLOBAL(7)));
	takes_stages(DC0, BRIDGED(5, 7));
	takes_stages(DC0, udp(OUT));
	net_advance(HOLD_MS);
	net_forget();
}

static void
local_vteps_are_attachments(void **state)
{
#define VM4(a, b) udp(.smac = MAC_VM(a), .dmac = MAC_VM(b), .src = PRIVATE4(a), .dst = PRIVATE4(b))
	(void)state;
	vm_in(5, SEG4, R_X, ATT_4A);
	vm_in(6, SEG4, R_X, ATT_4B);
	vm_in(7, SEG4, R_X, ATT_4);
	vm_in(8, SEG4, R_Y, ATT_ANY);
	goes_express(WAN0, from_tunnel(T_A, SEG4, udp(OUT4)));
	goes_express(WAN0, udp(IN));
	goes_express(WAN0, from_tunnel(T_A, SEG4, VM4(5, 7)));
	goes_express(DC0, with_vlan(VM4(7, 5), VLAN_4));
	goes_express(WAN0, from_tunnel(T_A, SEG4, VM4(5, 8)));
	goes_express(WAN0, from_tunnel(R_Y, SEG4, VM4(8, 5)));
	takes_stages(WAN0, from_tunnel(T_A, SEG4, VM4(5, 6)));
	takes_stages(WAN0, from_tunnel(T_B, SEG4, udp(OUT4))); /* not where we know it */
	takes_stages(WAN0, from_tunnel(R_Y, SEG4, udp(OUT4)));
	takes_stages(WAN0, from_tunnel(T_A, SEG1, udp(OUT4)));
}

/* ---- how much fits ---- */

#define IP_BYTES(n) .size = (n)-28

static void
what_fits_goes_express_and_one_byte_more_does_not(void **state)
{
	struct topology *t = net.topo;

	(void)state;
	vms_of_seg1();
	vm_in(9, SEG4, R_X, ATT_4A);
	t->ports[DC1].mtu = 1400; /* bridged to dc1 */
	goes_express(DC0, BRIDGED(5, 6, IP_BYTES(1400)));
	takes_stages(DC0, BRIDGED(5, 6, IP_BYTES(1401)));
	t->segments[SEG1].att_mtu = 1300; /* routed to dc0 */
	goes_express(WAN0, udp(IN, IP_BYTES(1300)));
	takes_stages(WAN0, udp(IN, IP_BYTES(1301)));
	t->ports[WAN0].mtu = 1350;
	goes_express(DC0, udp(OUT, IP_BYTES(1350)));
	takes_stages(DC0, udp(OUT, IP_BYTES(1351)));
	t->segments[SEG1].tunnel_mtu = 1200;
	goes_express(DC0, BRIDGED(5, 7, IP_BYTES(1200)));
	takes_stages(DC0, BRIDGED(5, 7, IP_BYTES(1201)));
	goes_express(WAN0, udp(IN, .dst = GLOBAL(7), IP_BYTES(1200)));
	takes_stages(WAN0, udp(IN, .dst = GLOBAL(7), IP_BYTES(1201)));
	t->segments[SEG1].tunnel_mtu = 1450; /* but the port takes 1350, the tunnel's header with it */
	goes_express(DC0, BRIDGED(5, 8, IP_BYTES(1300)));
	takes_stages(DC0, BRIDGED(5, 8, IP_BYTES(1301)));
	goes_express(WAN0, udp(IN, .dst = GLOBAL(9), IP_BYTES(1300)));
	takes_stages(WAN0, udp(IN, .dst = GLOBAL(9), IP_BYTES(1301)));
}

static void
a_frame_without_room_in_front_of_it_takes_the_stages(void **state)
{
	(void)state;
	vms_of_seg1();
	net.front = 50;
	goes_express(DC0, BRIDGED(5, 7));
	net.front = 48;
	takes_stages(DC0, BRIDGED(5, 7));
	net.front = 0;
	goes_express(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(7, 6)));
}

/* ---- homes ---- */

static void
sessions_of_which_something_is_to_be_decided_take_the_stages(void **state)
{
#define FIRST	 tcp(OUT, .flags = RTE_TCP_SYN_FLAG)
#define FLAGS(f) .flags = RTE_TCP_ACK_FLAG | (f)
	(void)state;
	vm_moved_here(5, R_Y);
	takes_stages(DC0, tcp(OUT)); /* not known: by the old home, a guess */
	goes_express(DC0, tcp(OUT));
	takes_stages(WAN0, tcp(IN)); /* by another address than its home */
	takes_stages(DC0, tcp(OUT, .sport = 10, .flags = RTE_TCP_SYN_FLAG));
	goes_express(DC0, tcp(OUT, .sport = 10));
	goes_express(WAN0, tcp(IN, .dport = 10));
	takes_stages(DC0, tcp(OUT, .sport = 10, FLAGS(RTE_TCP_SYN_FLAG)));
	takes_stages(WAN0, tcp(IN, .dport = 10, FLAGS(RTE_TCP_SYN_FLAG)));
	takes_stages(DC0, tcp(OUT, .sport = 10, FLAGS(RTE_TCP_FIN_FLAG)));
	takes_stages(WAN0, tcp(IN, .dport = 10, FLAGS(RTE_TCP_FIN_FLAG)));
	takes_stages(DC0, tcp(OUT, .sport = 10, FLAGS(RTE_TCP_RST_FLAG)));
	takes_stages(WAN0, tcp(IN, .dport = 10, FLAGS(RTE_TCP_RST_FLAG)));
	takes_stages(WAN0, udp(IN, .dport = 11));
	goes_express(WAN0, udp(IN, .dport = 11));
	goes_express(DC0, udp(OUT, .sport = 11));
}

static void
a_session_whose_home_is_away_or_gone_takes_the_stages(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	takes_stages(DC0, tcp(OUT));
	goes_express(DC0, tcp(OUT));
	net.topo->peers[0].away = true;
	takes_stages(DC0, tcp(OUT)); /* the VM is told */
	net.topo->peers[0].away = false;
	vm_moved_here(5, R_Z);
	takes_stages(DC0, tcp(OUT)); /* its home drains no more */
}

static void
sessions_of_a_vm_about_to_leave_and_of_a_direct_home_go_express(void **state)
{
	struct vm_rec r;

	(void)state;
	vm_here(5);
	r = *vm_get(SEG1, MAC_VM(5));
	r.flags = VM_REC_NOTES;
	vm_put(&r);
	takes_stages(DC0, udp(OUT));
	goes_express(DC0, udp(OUT));
	goes_express(WAN0, udp(IN));
	r.flags = 0;
	r.n_drains = 1;
	r.drains[0] =
		(struct vm_rec_drain){.ip = PRIVATE(5), .global = GLOBAL_Y(5), .home = R_Y, .direct = true};
	vm_put(&r);
	takes_stages(DC0, tcp(OUT));
	net.w->express = true;
	burst(DC0, tcp(OUT));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL_Y(5), .dst = USER, .sport = 9, .dport = 53, ROUTED));
}

/* ---- order ---- */

static void
tunnelled_packets_behind_one_that_stays_keep_their_order(void **state)
{
	(void)state;
	vms_of_seg1();
	net.w->express = true;
	burst(WAN0, from_tunnel(R_Y, SEG1, BRIDGED(7, 5, .options = 4)),
		from_tunnel(R_Y, SEG1, BRIDGED(7, 5, .id = 2)), from_tunnel(R_Y, SEG1, BRIDGED(7, 6)));
	expect_frame(DC0, BRIDGED(7, 5, .options = 4));
	expect_frame(DC0, BRIDGED(7, 5, .id = 2));
	expect_frame(DC1, with_vlan(BRIDGED(7, 6), VLAN_1B));
	assert_int_equal(staged(), 2);
	burst(DC0, BRIDGED(5, 8, .options = 4), BRIDGED(5, 8, .id = 2));
	expect_tunnel(R_Z, SEG1, BRIDGED(5, 8, .options = 4));
	expect_tunnel(R_Z, SEG1, BRIDGED(5, 8, .id = 2));
	burst(DC0, BRIDGED(5, 9), BRIDGED(5, 6)); /* the first to all, as is seen late */
	expect_frame(DC1, with_vlan(BRIDGED(5, 9), VLAN_1B));
	expect_frame(DC1, with_vlan(BRIDGED(5, 6), VLAN_1B));
	net_forget();
}

/* What goes in, comes out: the frame to its last byte, with the padding that it has. */
static void
what_goes_express_through_the_tunnel_is_what_the_stages_send(void **state)
{
	struct frame padded = BRIDGED(5, 7);

	(void)state;
	vms_of_seg1();
	padded.len += 10;
	memset(padded.b + padded.len - 10, 0, 10);
	net_same_either_way(DC0, &padded, 1);
	padded.b[5] = 8;
	net_same_either_way(DC0, &padded, 1);
	padded = from_tunnel(R_Y, SEG1, BRIDGED(7, 6));
	padded.len += 10;
	net_same_either_way(WAN0, &padded, 1);
}

/* Held for the next hop, and what comes with it once that is known. */
static void
what_waited_for_a_next_hop_is_in_front_of_what_comes_with_it(void **state)
{
	struct dp_order o = {.kind = ORDER_RELEASE, .port = WAN0, .ip = ISP};

	(void)state;
	vms_of_seg1();
	net_neighbour(WAN0, ISP, NEIGH_NONE, MAC_NONE);
	burst(DC0, udp(OUT, .id = 1), BRIDGED(5, 8, .id = 1));
	net_neighbour(WAN0, ISP, NEIGH_REACHABLE, MAC_ISP);
	rte_ring_sp_enqueue_elem(net.w->orders, &o, sizeof(o));
	worker_orders(net.w);
	burst(DC0, udp(OUT, .id = 2), BRIDGED(5, 8, .id = 2));
	expect_frame(
		WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, .id = 1, ROUTED));
	expect_tunnel(R_Z, SEG1, BRIDGED(5, 8, .id = 1));
	expect_frame(
		WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, .id = 2, ROUTED));
	expect_tunnel(R_Z, SEG1, BRIDGED(5, 8, .id = 2));
	net_forget();
}

/* The later fragment waited for its first, in a burst of before, and enters with what comes behind a hypervisor's tunnel now. */
static void
a_fragment_that_waited_is_in_front_of_what_a_hypervisor_sends_next(void **state)
{
	struct frame f[RX_MAX + 1], big = udp(OUT4, .id = 1, .size = 1000);
	struct frame out = udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, .id = 1,
		.size = 1000, ROUTED);

	(void)state;
	vm(.mac = MAC_VM(5), .seg = SEG4, .att = ATT_4A, .n_addresses = 1, .n_drains = 1,
		.addresses = {{PRIVATE4(5), GLOBAL(5)}},
		.drains = {{.ip = PRIVATE4(5), .global = GLOBAL_Y(5), .home = R_Y}});
	burst(WAN0, from_tunnel(T_A, SEG4, udp(OUT4)));
	burst(WAN0, from_tunnel(T_A, SEG4, fragment_of(&big, 504, 496, true)));
	net_forget();
	f[0] = from_tunnel(T_A, SEG4, fragment_of(&big, 0, 504, false));
	for (int i = 1; i < RX_MAX; i++)
		f[i] = ether(0x88b5, .smac = MAC_ISP, .dmac = MAC_WAN0);
	f[RX_MAX] = from_tunnel(T_A, SEG4, udp(OUT4, .id = 2));
	net_burst(WAN0, f, RX_MAX + 1);
	expect_drop(DROP_ETHERTYPE, RX_MAX - 1);
	expect_frame(WAN0, fragment_of(&out, 0, 504, false));
	expect_frame(WAN0, fragment_of(&out, 504, 496, true));
	expect_frame(
		WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, .id = 2, ROUTED));
}

/* Of UDP the latest inbound decides: a packet by the home must not overtake one by another address. */
static void
the_latest_inbound_packet_decides_the_home_of_udp(void **state)
{
	(void)state;
	vm_with_old(5, GLOBAL(6));
	burst(WAN0, udp(IN));
	burst(WAN0, udp(IN), udp(IN, .dst = GLOBAL(6)), udp(IN, .id = 3));
	assert_int_equal(net_home(IPPROTO_UDP, PRIVATE(5), 9, USER, 53), GLOBAL(5));
	net_forget();
}

/* A packet to our VTEP that ends before its VXLAN header does. */
static void
a_packet_to_our_vtep_without_a_whole_vxlan_header_is_not_read_behind_its_end(void **state)
{
	struct frame f = udp(BY_ISP, .src = VTEP_Y, .dst = WAN0_IP, .dport = 4789, .empty = true);

	(void)state;
	net_same_either_way(WAN0, &f, 1);
}

/* ---- fours some of which stay ---- */

#define FIN_ACK	    (RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG)
#define HOST_ABROAD IP(192, 0, 2, 11)

/* A session of VM 5 ends, which the stages see to; what leaves beside it are packets of VM 6. */
static void
of_four_packets_three_leave_beside_one_that_stays(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	vm_here(6);
	takes_stages(DC0, tcp(OUT));
	takes_stages(WAN0, tcp(IN, .src = HOST_ABROAD));
	net_forget();
	for (uint16_t at = 0; at < 4; at++) {
		struct frame out[4], in[4];

		for (uint16_t k = 0; k < 4; k++) {
			out[k] = udp(BY_VM(6), .dst = USER, .id = k, .size = 20);
			in[k] = udp(BY_ISP, .src = USER, .dst = GLOBAL(6), .id = k, .size = 20);
		}
		out[at] = tcp(OUT, .flags = FIN_ACK);
		in[at] = tcp(IN, .src = HOST_ABROAD, .flags = FIN_ACK);
		net.w->express = true;
		net_burst(DC0, out, 4);
		net_burst(WAN0, in, 4);
		for (uint16_t k = 0; k < 4; k++) {
			if (k == at)
				continue;
			expect_frame(WAN0,
				udp(TO_ISP, .src = GLOBAL(6), .dst = USER, .id = k, .size = 20, ROUTED));
			expect_frame(DC0, udp(TO_VM(6), .src = USER, .id = k, .size = 20, ROUTED));
		}
		expect_tunnel(R_Y, SEG1, tcp(OUT, .flags = FIN_ACK));
		expect_frame(DC0,
			tcp(TO_VM(5), .src = HOST_ABROAD, .sport = 53, .dport = 9, .flags = FIN_ACK, ROUTED));
	}
}

/* ---- what is kept from burst to burst ---- */

#define VIA(p, ip) (&(const struct nexthop){.kind = NH_VIA, .port = (p), .via = (ip)})
#define ISP1	   (WAN1_IP ^ RTE_BE32(3)) /* the other one behind its port */

static void
isp_has_another_mac(void)
{
	net_neighbour(WAN0, ISP, NEIGH_REACHABLE, MAC_VM(99));
}

static void
isp_is_gone(void)
{
	net_neighbour(WAN0, ISP, NEIGH_FAILED, MAC_NONE);
}

static void
isp_is_forgotten(void)
{
	const struct neigh_key isp = {.ip = ISP, .port = WAN0};

	assert_int_equal(neightab_del(net.tables.neighbours, &isp), 0);
}

static void
default_route_leads_to_another_port(void)
{
	net_route(0, 0, VIA(WAN1, ISP1));
}

static void
default_route_is_gone(void)
{
	assert_int_equal(routetab_del(net.tables.routes, 0, 0, 0), 0);
}

static void
user_has_a_route_of_its_own(void)
{
	net_route(USER, 32, VIA(WAN1, ISP1));
}

static void
peer_has_a_route_of_its_own(void)
{
	net_route(VTEP_Y, 32, VIA(WAN1, ISP1));
}

static void
routes_of_their_own_are_gone(void)
{
	routetab_del(net.tables.routes, 0, USER, 32);
	routetab_del(net.tables.routes, 0, VTEP_Y, 32);
}

static void
port_takes_less(void)
{
	net.topo->ports[WAN0].mtu = net.topo->ports[DC0].mtu = 100;
	net.topo->segments[SEG1].att_mtu = 100;
}

/* Of VMs at home and at a peer, one that drains, both ways and beside the gateway. */
static const struct frame *
all_ways(uint16_t port, uint16_t *n)
{
	static struct frame f[6];

	*n = 0;
	if (port == DC0) {
		f[(*n)++] = udp(OUT, .size = 200);
		f[(*n)++] = udp(BY_VM(4), .dst = USER, .sport = 9, .dport = 53);
		f[(*n)++] = BRIDGED(5, 7);
	} else {
		f[(*n)++] = udp(IN, .size = 200);
		f[(*n)++] = udp(BY_ISP, .src = USER, .dst = GLOBAL(8), .sport = 53, .dport = 9);
		f[(*n)++] = from_tunnel(R_Y, SEG1, BRIDGED(7, 5));
	}
	return f;
}

static void
keep_all_ways(uint16_t port, bool express)
{
	uint16_t n;
	const struct frame *f = all_ways(port, &n);

	for (uint16_t k = 0; k < n; k++) {
		uint64_t before = staged();

		net.w->express = true;
		burst(port, f[k]);
		if (express && staged() != before)
			fail_msg("frame %u of port %u took the stages", k, port);
		net_forget();
	}
}

static void
same_all_ways(uint16_t port)
{
	uint16_t n;
	const struct frame *f = all_ways(port, &n);

	net_same_either_way(port, f, n);
}

/* After each change, one after the other, packets end by what was kept as they end by the stages, which keep nothing. */
static void
what_is_kept_is_forgotten_when_routes_neighbours_or_the_topology_change(void **state)
{
	const struct {
		void (*make)(void);
		bool express; /* what is kept before leads somewhere */
	} change[] = {{isp_has_another_mac, true}, {user_has_a_route_of_its_own, true},
		{routes_of_their_own_are_gone, true}, {peer_has_a_route_of_its_own, true},
		{routes_of_their_own_are_gone, true}, {isp_is_gone, true}, {isp_has_another_mac, false},
		{isp_is_forgotten, true}, {isp_has_another_mac, false},
		{default_route_leads_to_another_port, true}, {port_takes_less, true},
		{default_route_is_gone, false}};

	(void)state;
	vms_of_seg1();
	vm_moved_here(4, R_Y);
	vm(.mac = MAC_VM(8), .seg = SEG1, .att = ATT_ANY, .location = R_Y, .n_addresses = 1,
		.addresses = {{PRIVATE(8), GLOBAL(8)}});
	net_neighbour(WAN1, ISP1, NEIGH_REACHABLE, MAC_VM(98));
	takes_stages(DC0, udp(BY_VM(4), .dst = USER, .sport = 9, .dport = 53)); /* notes its session */
	for (size_t i = 0; i < RTE_DIM(change); i++) {
		keep_all_ways(DC0, change[i].express);
		keep_all_ways(WAN0, change[i].express);
		change[i].make();
		same_all_ways(DC0);
		same_all_ways(WAN0);
	}
	net_forget();
}

static void
another_topology_is_taken_up_between_bursts(void **state)
{
	struct topology *next = malloc(sizeof(*next));

	(void)state;
	assert_non_null(next);
	vm_here(5);
	goes_express(DC0, udp(OUT, .size = 200));
	*next = *net.topo;
	next->ports[WAN0].mac = MAC_VM(97);
	topo_index(next);
	take_up(next);
	net.w->express = true;
	burst(DC0, udp(OUT));
	expect_frame(WAN0, udp(.smac = MAC_VM(97), .dmac = MAC_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9,
				   .dport = 53, ROUTED));
	take_up(net.topo);
	burst(DC0, udp(OUT));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, ROUTED));
	free(next);
}

static void
the_first_calls_of_a_stage_are_timed_and_then_one_in_sixteen(void **state)
{
	const struct stage_count *c = &net.w->c.stage[STAGE_EXPRESS];

	(void)state;
	vm_here(5);
	for (int i = 0; i < 33; i++) {
		net.w->express = true;
		burst(DC0, udp(OUT), udp(OUT));
		net_forget();
	}
	assert_int_equal(c->calls, 33);
	assert_int_equal(c->packets, 66);
	assert_int_equal(c->timed, 34);
	assert_true(c->cycles > 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		net_test(tcp_and_udp_of_a_vm_at_home_go_express_both_ways),
		net_test(what_is_not_plain_takes_the_stages),
		net_test(vms_that_are_not_here_or_not_known_where_take_the_stages),
		net_test(known_sessions_of_a_vm_that_drains_go_express),
		net_test(packets_behind_one_that_stays_keep_their_order),
		net_test(sessions_of_both_homes_and_of_a_vm_without_leave_in_one_burst),
		net_test(sessions_with_homes_behind_a_packet_that_stays_keep_their_order),
		net_test(what_enters_anew_goes_on_where_it_was),
		net_test(while_a_vm_is_waited_for_others_send_express_and_are_sent_to_by_the_stages),
		net_test(frames_between_vms_go_express_into_the_tunnel_out_of_it_and_beside_it),
		net_test(frames_whose_way_is_to_be_decided_take_the_stages),
		net_test(what_is_not_plain_in_the_tunnel_takes_the_stages),
		net_test(a_tunnel_of_nobody_is_not_open),
		net_test(a_port_without_room_for_a_burst_is_left_to_the_stages_until_it_has),
		net_test(a_way_to_a_peer_that_was_removed_is_not_kept),
		net_test(sessions_that_stand_far_from_their_places_go_express_unless_they_end),
		net_test(sessions_of_two_segments_in_one_burst_are_told_apart),
		net_test(a_tunnel_of_nobody_is_not_that_of_before),
		net_test(a_vm_of_ours_at_a_peer_is_reached_express),
		net_test(local_vteps_are_attachments),
		net_test(what_fits_goes_express_and_one_byte_more_does_not),
		net_test(a_frame_without_room_in_front_of_it_takes_the_stages),
		net_test(sessions_of_which_something_is_to_be_decided_take_the_stages),
		net_test(a_session_whose_home_is_away_or_gone_takes_the_stages),
		net_test(sessions_of_a_vm_about_to_leave_and_of_a_direct_home_go_express),
		net_test(tunnelled_packets_behind_one_that_stays_keep_their_order),
		net_test(what_goes_express_through_the_tunnel_is_what_the_stages_send),
		net_test(what_waited_for_a_next_hop_is_in_front_of_what_comes_with_it),
		net_test(a_fragment_that_waited_is_in_front_of_what_a_hypervisor_sends_next),
		net_test(the_latest_inbound_packet_decides_the_home_of_udp),
		net_test(a_packet_to_our_vtep_without_a_whole_vxlan_header_is_not_read_behind_its_end),
		net_test(of_four_packets_three_leave_beside_one_that_stays),
		net_test(what_is_kept_is_forgotten_when_routes_neighbours_or_the_topology_change),
		net_test(another_topology_is_taken_up_between_bursts),
		net_test(the_first_calls_of_a_stage_are_timed_and_then_one_in_sixteen),
	};

	return net_main(tests);
}
