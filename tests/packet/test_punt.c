/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel gets of the router's own addresses, where a port has given it an interface; what it never gets; and what
 * it sends. */
#include "ways.h"

#include <dataplane/kernel_frame.h>
#include <rte_tcp.h>

#define PPS   800 /* its burst is 100 */
#define BURST 100
#define REPLY 2

static void
punt_on(void)
{
	net.topo->ports[WAN0].punt_pps = PPS;
}

static struct frame
ssh(void)
{
	return tcp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 40000, .dport = 22,
		.flags = RTE_TCP_SYN_FLAG, .mss = 1460);
}

static struct frame
datagram(void)
{
	return udp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 40000, .dport = 123);
}

static struct frame
arp_reply(void)
{
	return arp_frame(.dmac = MAC_WAN0, .op = REPLY, .sha = MAC_ISP, .spa = ISP, .tha = MAC_WAN0,
		.tpa = WAN0_IP);
}

/* ---- what it gets ---- */

static void
kernel_gets_what_the_fast_path_does_not_answer(void **state)
{
	struct frame quoted = tcp(.src = WAN0_IP, .dst = USER, .sport = 22, .dport = 40000);
	struct frame all[] = {
		ssh(),
		datagram(),
		ip(BY_ISP, .src = USER, .dst = WAN0_IP, .proto = 89),
		echo_reply(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 7, .dport = 1),
		icmp(BY_ISP, .src = ISP, .dst = WAN0_IP, .icmp_type = 3, .icmp_code = 4, QUOTE(&quoted)),
	};

	(void)state;
	punt_on();
	net_burst(WAN0, all, RTE_DIM(all));
	for (size_t i = 0; i < RTE_DIM(all); i++)
		expect_punt(WAN0, all[i]);
	assert_int_equal(net.w->c.punted, RTE_DIM(all));
}

static void
kernel_gets_all_fragments_of_what_it_has_to_put_together(void **state)
{
	struct frame f = echo_request(BY_ISP, .src = USER, .dst = WAN0_IP, .size = 200);

	(void)state;
	punt_on();
	burst(WAN0, fragment_of(&f, 0, 104, false), fragment_of(&f, 104, 104, true));
	expect_punt(WAN0, fragment_of(&f, 0, 104, false));
	expect_punt(WAN0, fragment_of(&f, 104, 104, true));
}

static void
padding_of_a_short_frame_does_not_reach_the_kernel(void **state)
{
	struct frame f = datagram(), padded = f;

	(void)state;
	punt_on();
	padded.len += 9;
	burst(WAN0, padded);
	expect_punt(WAN0, f);
}

static void
echo_is_answered_by_the_fast_path_all_the_same(void **state)
{
	(void)state;
	punt_on();
	burst(WAN0, echo_request(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 9, .dport = 1));
	expect_frame(WAN0, echo_reply(TO_ISP, .src = WAN0_IP, .dst = USER, .sport = 9, .dport = 1));
	assert_int_equal(net.w->c.punted, 0);
}

static void
arp_reply_to_the_port_tells_both_router_and_kernel(void **state)
{
	(void)state;
	punt_on();
	burst(WAN0, arp_reply());
	expect_punt(WAN0, arp_reply());
	assert_int_equal(expect_event(EVENT_NEIGH_SEEN).ip, ISP);
}

static void
arp_request_is_answered_once_and_not_shown_to_the_kernel(void **state)
{
	(void)state;
	punt_on();
	burst(WAN0, arp_frame(.dmac = MAC_ALL, .sha = MAC_ISP, .spa = ISP, .tpa = WAN0_IP));
	expect_frame(WAN0, arp_frame(.smac = MAC_WAN0, .dmac = MAC_ISP, .op = REPLY, .sha = MAC_WAN0,
				   .spa = WAN0_IP, .tha = MAC_ISP, .tpa = ISP));
	expect_event(EVENT_NEIGH_SEEN);
	assert_int_equal(net.w->c.punted, 0);
}

/* ---- what it never gets ---- */

static void
nothing_goes_to_the_kernel_unless_the_port_says_so(void **state)
{
	struct frame f = datagram();

	(void)state;
	net.topo->ports[WAN1].punt_pps = PPS;
	burst(WAN0, ssh(), f, arp_reply());
	expect_drop(DROP_LOCAL_UNANSWERED, 2);
	expect_drop(DROP_ARP_CONSUMED, 1);
	expect_frame(WAN0, icmp(OWN_ICMP, TO_ISP, .src = WAN0_IP, .dst = USER, .icmp_type = 3, .icmp_code = 3,
				   QUOTE(&f)));
}

static void
another_ports_address_is_not_the_kernels(void **state)
{
	(void)state;
	punt_on();
	net.topo->ports[WAN1].punt_pps = PPS;
	burst(WAN0, tcp(BY_ISP, .src = USER, .dst = WAN1_IP, .sport = 1, .dport = 22),
		tcp(BY_ISP, .src = USER, .dst = GW3, .sport = 1, .dport = 22));
	expect_drop(DROP_LOCAL_UNANSWERED, 2);
	burst(WAN0, arp_frame(.dmac = MAC_WAN0, .op = REPLY, .sha = MAC_ISP, .spa = ISP, .tha = MAC_WAN0,
			    .tpa = WAN1_IP));
	expect_drop(DROP_ARP_CONSUMED, 1);
}

static void
a_vm_reaches_no_kernel_by_any_address_of_the_router(void **state)
{
	(void)state;
	punt_on();
	vm_here(5);
	vm(.mac = MAC_VM(6), .seg = SEG1, .owner = R_X, .location = R_Y, .att = ATT_ANY, .n_addresses = 1,
		.addresses = {{PRIVATE(6), GLOBAL(6)}});
	burst(DC0, tcp(BY_VM(5), .dst = WAN0_IP, .sport = 1, .dport = 22),
		tcp(BY_VM(5), .dst = GW, .sport = 1, .dport = 22));
	expect_drop(DROP_LOCAL_UNANSWERED, 2);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_VM(6), .dst = WAN0_IP, .sport = 1, .dport = 22)));
	expect_drop(DROP_LOCAL_UNANSWERED, 1);
}

static void
translated_and_routed_addresses_go_where_they_went(void **state)
{
	(void)state;
	punt_on();
	vm_here(5);
	burst(WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 1, .dport = 22));
	expect_frame(DC0, tcp(TO_VM(5), .src = USER, .sport = 1, .dport = 22, ROUTED));
	burst(WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(6), .sport = 1, .dport = 22));
	expect_drop(DROP_GLOBAL_UNREGISTERED, 1);
}

static void
tunnel_packets_never_reach_the_kernel_not_even_in_pieces(void **state)
{
	struct frame bad = udp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 50000, .dport = 4789);
	struct frame big =
		udp(BY_ISP, .src = VTEP_Y, .dst = WAN0_IP, .sport = 50000, .dport = 4789, .size = 400);

	(void)state;
	punt_on();
	burst(WAN0, bad);
	net_forget();
	burst(WAN0, fragment_of(&big, 0, 104, false));
	net_forget();
	assert_int_equal(net.w->c.punted, 0);
}

static void
sources_that_no_packet_may_have_are_dropped_first(void **state)
{
	(void)state;
	punt_on();
	burst(WAN0, tcp(BY_ISP, .src = PRIVATE(5), .dst = WAN0_IP, .sport = 1, .dport = 22));
	expect_drop(DROP_INSIDE_SOURCE, 1);
	burst(WAN0, tcp(BY_ISP, .src = WAN0_IP, .dst = WAN0_IP, .sport = 1, .dport = 22),
		tcp(BY_ISP, .src = IP(127, 0, 0, 1), .dst = WAN0_IP, .sport = 1, .dport = 22));
	expect_drop(DROP_MARTIAN, 2);
	burst(WAN0, arp_frame(.dmac = MAC_WAN0, .op = REPLY, .smac = MAC_OTHER, .sha = MAC_ISP, .spa = ISP,
			    .tha = MAC_WAN0, .tpa = WAN0_IP));
	expect_drop(DROP_ARP_MALFORMED, 1);
}

/* ---- bounds ---- */

static void
punt_some(struct frame f, int n)
{
	for (int i = 0; i < n; i++)
		net_burst(WAN0, &f, 1);
}

static int
punted(void)
{
	void *m;
	int n = 0;

	for (; rte_ring_sc_dequeue(net.w->punts, &m) == 0; n++)
		rte_pktmbuf_free(m);
	return n;
}

static void
a_flood_of_one_class_is_cut_to_its_rate_and_leaves_the_others_theirs(void **state)
{
	(void)state;
	punt_on();
	punt_some(datagram(), BURST + 30);
	assert_int_equal(punted(), BURST);
	expect_drop(DROP_PUNT_RATE, 30);
	punt_some(ssh(), 20);
	punt_some(arp_reply(), 20);
	assert_int_equal(punted(), 40);
	for (int i = 0; i < 20; i++)
		expect_event(EVENT_NEIGH_SEEN);
	net_advance(100);
	punt_some(datagram(), PPS / 10 + 5);
	assert_int_equal(punted(), PPS / 10);
	expect_drop(DROP_PUNT_RATE, 5);
}

static void
what_the_control_thread_does_not_fetch_is_dropped_at_a_full_ring(void **state)
{
	(void)state;
	net.topo->ports[WAN0].punt_pps = 1000000;
	punt_some(ssh(), PUNT_RING + 7);
	expect_drop(DROP_PUNT_FULL, 7);
	assert_int_equal(net.w->c.punted, PUNT_RING);
	assert_int_equal(worker_imbalance(net.w), 0);
	assert_int_equal(punted(), PUNT_RING);
}

static void
a_scratch_worker_says_punted_and_gives_nothing(void **state)
{
	(void)state;
	punt_on();
	net.w->scratch = true;
	burst(WAN0, ssh());
	assert_int_equal(net.w->c.punted, 1);
	assert_int_equal(rte_ring_count(net.w->punts), 0);
}

static void
a_freed_worker_takes_along_what_the_kernel_did_not_get(void **state)
{
	(void)state;
	punt_on();
	punt_some(ssh(), 3);
	worker_free(net.w);
	assert_int_equal(rte_mempool_in_use_count(net.pool), 0);
	net.w = worker_new(0, net.topo, &net.tables, net.pool); /* teardown wants one */
}

/* ---- what it sends ---- */

static bool
may_leave(struct frame f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);
	bool yes;

	memcpy(rte_pktmbuf_append(m, f.len), f.b, f.len);
	memset(meta(m), 0, sizeof(struct meta));
	yes = kernel_frame_may_leave(&net.topo->ports[WAN0], m);
	rte_pktmbuf_free(m);
	return yes;
}

static struct frame
cut(struct frame f, uint16_t len)
{
	f.len = len;
	return f;
}

static struct frame
own_request(void)
{
	return arp_frame(.dmac = MAC_ALL, .sha = MAC_WAN0, .spa = WAN0_IP, .tpa = ISP);
}

static void
kernel_speaks_by_the_ports_own_addresses_alone(void **state)
{
	struct frame bad_sum = tcp(TO_ISP, .src = WAN0_IP, .dst = USER, .sport = 22, .dport = 40000);

	(void)state;
	assert_true(may_leave(tcp(TO_ISP, .src = WAN0_IP, .dst = USER, .sport = 22, .dport = 40000)));
	assert_true(may_leave(udp(TO_ISP, .src = WAN0_IP, .dst = ISP, .sport = 123, .dport = 123)));
	assert_false(may_leave(tcp(TO_ISP, .src = WAN1_IP, .dst = USER)));
	assert_false(may_leave(tcp(TO_ISP, .src = USER, .dst = ISP))); /* forwarded */
	assert_false(may_leave(tcp(.smac = MAC_WAN1, .dmac = MAC_ISP, .src = WAN0_IP, .dst = USER)));
	assert_false(may_leave(ip(TO_ISP, .src = WAN0_IP, .dst = IP(224, 0, 0, 22), .proto = 2)));
	assert_false(may_leave(ether(RTE_ETHER_TYPE_IPV6, TO_ISP, .size = 40)));
	assert_false(may_leave(ether(RTE_ETHER_TYPE_VLAN, TO_ISP, .size = 40)));
	bad_sum.b[24] ^= 1;
	assert_false(may_leave(bad_sum));
	for (uint16_t len = 0; len < 34; len++)
		assert_false(may_leave(cut(bad_sum, len)));
}

static void
kernel_asks_by_arp_and_never_answers(void **state)
{
	(void)state;
	assert_true(may_leave(own_request()));
	assert_false(may_leave(cut(own_request(), 41)));
	assert_false(may_leave(arp_frame(.dmac = MAC_ISP, .op = REPLY, .sha = MAC_WAN0, .spa = WAN0_IP,
		.tha = MAC_ISP, .tpa = ISP)));
	assert_false(may_leave(arp_frame(.dmac = MAC_ALL, .sha = MAC_WAN0, .spa = WAN1_IP, .tpa = ISP)));
	assert_false(may_leave(
		arp_frame(.dmac = MAC_ALL, .smac = MAC_WAN0, .sha = MAC_WAN1, .spa = WAN0_IP, .tpa = ISP)));
	for (uint16_t at = 14; at < 22; at++) {
		struct frame f = own_request();

		f.b[at] ^= 0x20;
		assert_false(may_leave(f));
	}
}

static void
a_frame_of_the_kernel_leaves_as_it_is_and_counts_as_punt(void **state)
{
	struct frame f = tcp(TO_ISP, .src = WAN0_IP, .dst = USER, .sport = 22, .dport = 40000);
	struct dp_order o = {.inject = rte_pktmbuf_alloc(net.pool), .made = MADE_PUNT};

	(void)state;
	memcpy(rte_pktmbuf_append(o.inject, f.len), f.b, f.len);
	*meta(o.inject) =
		(struct meta){.origin = FROM_SELF, .enter = ENTER_PORT, .out_port = WAN0, .flags = META_OWN};
	assert_int_equal(rte_ring_sp_enqueue_elem(net.w->orders, &o, sizeof(o)), 0);
	worker_orders(net.w);
	net_idle();
	expect_frame(WAN0, f);
	assert_int_equal(net.w->c.made[MADE_PUNT], 1);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		net_test(kernel_gets_what_the_fast_path_does_not_answer),
		net_test(kernel_gets_all_fragments_of_what_it_has_to_put_together),
		net_test(padding_of_a_short_frame_does_not_reach_the_kernel),
		net_test(echo_is_answered_by_the_fast_path_all_the_same),
		net_test(arp_reply_to_the_port_tells_both_router_and_kernel),
		net_test(arp_request_is_answered_once_and_not_shown_to_the_kernel),
		net_test(nothing_goes_to_the_kernel_unless_the_port_says_so),
		net_test(another_ports_address_is_not_the_kernels),
		net_test(a_vm_reaches_no_kernel_by_any_address_of_the_router),
		net_test(translated_and_routed_addresses_go_where_they_went),
		net_test(tunnel_packets_never_reach_the_kernel_not_even_in_pieces),
		net_test(sources_that_no_packet_may_have_are_dropped_first),
		net_test(a_flood_of_one_class_is_cut_to_its_rate_and_leaves_the_others_theirs),
		net_test(what_the_control_thread_does_not_fetch_is_dropped_at_a_full_ring),
		net_test(a_scratch_worker_says_punted_and_gives_nothing),
		net_test(a_freed_worker_takes_along_what_the_kernel_did_not_get),
		net_test(kernel_speaks_by_the_ports_own_addresses_alone),
		net_test(kernel_asks_by_arp_and_never_answers),
		net_test(a_frame_of_the_kernel_leaves_as_it_is_and_counts_as_punt),
	};

	return net_main(tests);
}
