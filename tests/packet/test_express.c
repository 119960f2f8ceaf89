/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes express, and what does not. That it ends the same either way the other packet tests tell, which run with it and without,
 * and mutated frames (test_mutate). */
#include "ways.h"

#include <rte_tcp.h>

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
vms_that_move_drain_or_stand_elsewhere_take_the_stages(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	takes_stages(DC0, udp(OUT));
	takes_stages(WAN0, udp(IN));
	vm_moved_away(5, R_Y);
	takes_stages(DC0, udp(OUT));
	takes_stages(WAN0, udp(IN));
	vm_at(5, R_Y);
	takes_stages(DC0, udp(OUT));
	vm(.mac = MAC_VM(5), .seg = SEG1, .att = ATT_1, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL(5)}}, .flags = VM_REC_NOTES);
	takes_stages(DC0, udp(OUT));
	vm(.mac = MAC_VM(5), .seg = SEG1, .att = ATT_ANY, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL(5)}});
	takes_stages(DC0, udp(OUT));
	net_forget();
	takes_stages(WAN0, udp(IN));
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

static void
while_a_vm_is_waited_for_others_send_express_and_are_sent_to_by_the_stages(void **state)
{
	(void)state;
	vm_here(5);
	vm(.mac = MAC_VM(6), .seg = SEG1, .att = ATT_1, .n_addresses = 1,
		.addresses = {{PRIVATE(6), GLOBAL(6)}}, .flags = VM_REC_HOLDS);
	net.w->express = true;
	burst(WAN0, udp(IN, .dst = GLOBAL(6)));
	assert_int_equal(net.w->vm_hold.packets, 1);
	goes_express(DC0, udp(OUT));
	takes_stages(WAN0, udp(IN)); /* it may be behind one that waits */
	vm_here(6);
	net_idle();
	net_forget();
	goes_express(WAN0, udp(IN));
	goes_express(WAN0, udp(IN, .dst = GLOBAL(6)));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		net_test(tcp_and_udp_of_a_vm_at_home_go_express_both_ways),
		net_test(what_is_not_plain_takes_the_stages),
		net_test(vms_that_move_drain_or_stand_elsewhere_take_the_stages),
		net_test(packets_behind_one_that_stays_keep_their_order),
		net_test(what_enters_anew_goes_on_where_it_was),
		net_test(while_a_vm_is_waited_for_others_send_express_and_are_sent_to_by_the_stages),
	};

	return net_main(tests);
}
