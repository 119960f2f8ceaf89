/* SPDX-License-Identifier: BSD-3-Clause */
/* What one host, or one segment, may take: storm limits, ARP rates, and what happens once a loop was heard. */
#include "harness.h"

#include <dataplane/pin.h>

static struct frame
from_to(struct rte_ether_addr from, struct rte_ether_addr to)
{
	return ether(0x88b5, .smac = from, .dmac = to);
}

/* How many of `n` such frames of a stranger were flooded to the other attachment. */
static uint64_t
flooded(struct rte_ether_addr to, int n)
{
	uint64_t sent = net.w->c.port[DC1].tx_packets;

	for (int i = 0; i < n; i++)
		burst(DC0, from_to(MAC_HOST(1), to));
	return net.w->c.port[DC1].tx_packets - sent;
}

static uint64_t
dropped(enum drop why)
{
	return net.w->c.drop[why];
}

static const struct rte_ether_addr group = {{1, 0, 0x5e, 0, 0, 9}}, unknown = {{2, 0, 0, 0, 2, 77}};

/* ---- storms ---- */

static void
each_class_of_flooded_frames_has_a_limit_of_its_own(void **state)
{
	(void)state;
	net.topo->segments[SEG1].storm_pps[STORM_BROADCAST] = 1000;
	net.topo->segments[SEG1].storm_pps[STORM_MULTICAST] = 2000;
	net.topo->segments[SEG1].storm_pps[STORM_UNICAST] = 4000;
	assert_int_equal(flooded(MAC_ALL, 500), 100); /* a tenth of a second's at once */
	assert_int_equal(flooded(group, 500), 200);
	assert_int_equal(flooded(unknown, 500), 400);
	expect_drop(DROP_STORM_BROADCAST, 400);
	expect_drop(DROP_STORM_MULTICAST, 300);
	expect_drop(DROP_STORM_UNICAST, 100);
	net_forget();
}

static void
a_storm_is_let_through_again_at_its_rate(void **state)
{
	(void)state;
	net.topo->segments[SEG1].storm_pps[STORM_BROADCAST] = 1000;
	flooded(MAC_ALL, 500);
	net_advance(50);
	assert_int_equal(flooded(MAC_ALL, 500), 50);
	net_forget();
}

static void
a_storm_in_one_segment_leaves_the_others_and_known_hosts_alone(void **state)
{
	(void)state;
	net.topo->segments[SEG1].storm_pps[STORM_BROADCAST] = 1000;
	net.topo->segments[SEG1].storm_pps[STORM_UNICAST] = 1000;
	flooded(MAC_ALL, 500);
	flooded(unknown, 500);
	net_forget();
	vm_here(5);
	net_learnt(SEG1, MAC_HOST(2), R_X, ATT_1B);
	burst(DC1, with_vlan(from_to(MAC_HOST(1), MAC_VM(5)), VLAN_1B));
	expect_frame(DC0, from_to(MAC_HOST(1), MAC_VM(5)));
	burst(DC0, from_to(MAC_HOST(1), MAC_HOST(2)));
	expect_frame(DC1, with_vlan(from_to(MAC_HOST(1), MAC_HOST(2)), VLAN_1B));
	burst(DC0, with_vlan(from_to(MAC_HOST(1), MAC_ALL), VLAN_2));
	expect_tunnel(R_Y, SEG2, from_to(MAC_HOST(1), MAC_ALL));
	expect_tunnel(R_Z, SEG2, from_to(MAC_HOST(1), MAC_ALL));
}

static void
workers_share_the_limit_of_a_segment(void **state)
{
	(void)state;
	net.topo->segments[SEG1].storm_pps[STORM_BROADCAST] = 4000;
	net.topo->n_workers = 4;
	assert_int_equal(flooded(MAC_ALL, 500), 100);
	net_forget();
}

/* ---- ARP of one host ---- */

static uint64_t
heard_of(struct rte_ether_addr from, rte_be32_t spa, int n)
{
	uint64_t before = dropped(DROP_ARP_RATE), refused;

	for (int i = 0; i < n; i++)
		burst(DC0, arp_frame(.sha = from, .dmac = MAC_ALL, .spa = spa, .tpa = GW));
	refused = dropped(DROP_ARP_RATE) - before;
	expect_drop(DROP_ARP_RATE, refused);
	return (uint64_t)n - refused;
}

static void
arp_of_one_host_beyond_its_rate_is_dropped(void **state)
{
	(void)state;
	net.topo->arp_pps = 20;
	vm_here(5);
	assert_int_equal(heard_of(MAC_VM(5), PRIVATE(5), 100), 40); /* two seconds' at once */
	net_advance(500);
	assert_int_equal(heard_of(MAC_VM(5), PRIVATE(5), 100), 10);
	net_forget();
}

static void
a_flood_of_invented_senders_takes_no_arp_from_a_vm(void **state)
{
	(void)state;
	net.topo->arp_pps = 1;
	vm_here(5);
	for (int i = 0; i < 20000; i++)
		burst(DC0, arp_frame(.sha = MAC(2, 9, 0, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i),
				   .dmac = MAC_ALL, .spa = PRIVATE(200), .tpa = GW));
	assert_true(dropped(DROP_ARP_RATE) > 15000);
	net_forget();
	assert_int_equal(heard_of(MAC_VM(5), PRIVATE(5), 2), 2);
	net_forget();
}

static void
arp_of_a_wan_neighbour_beyond_its_rate_is_dropped(void **state)
{
	(void)state;
	net.topo->arp_pps = 5;
	for (int i = 0; i < 100; i++)
		burst(WAN0, arp_frame(.sha = MAC_ISP, .dmac = MAC_ALL, .spa = ISP, .tpa = WAN0_IP));
	expect_drop(DROP_ARP_RATE, 90);
	net_forget();
}

static void
answers_that_a_peer_sends_for_many_vms_are_not_one_host_s_arp(void **state)
{
	(void)state;
	net.topo->arp_pps = 1;
	vm_at(9, R_Y);
	for (int i = 0; i < 50; i++)
		burst(WAN0, from_tunnel(R_Y, SEG1,
				    arp_frame(.smac = MAC_RY, .dmac = MAC_VM(9), .op = RTE_ARP_OP_REPLY,
					    .sha = MAC_GW, .spa = GW, .tha = MAC_VM(9), .tpa = PRIVATE(9))));
	assert_int_equal(dropped(DROP_ARP_RATE), 0);
	net_forget();
}

/* ---- loops ---- */

static struct frame
pin_of(struct rte_ether_addr router, struct rte_ether_addr gateway)
{
	struct pin_frame p = {.magic = PIN_MAGIC, .router = router};

	return ether(PIN_ETHERTYPE, .smac = gateway, .dmac = MAC(3, 'n', 'w', 'p', 'i', 'n'),
		.data = (const uint8_t *)&p + sizeof(p.eth), .size = sizeof(p) - sizeof(p.eth));
}

static void
a_pin_of_a_peer_at_our_attachment_is_a_loop(void **state)
{
	(void)state;
	burst(DC0, pin_of(MAC_RY, MAC_GW));
	expect_drop(DROP_LOOP, 1);
	expect_event(EVENT_LOOP);
}

static void
our_own_pin_that_comes_back_is_none(void **state)
{
	(void)state;
	burst(DC0, pin_of(MAC_RX, MAC_GW));
	expect_drop(DROP_SRC_MAC_INVALID, 1);
	expect_no_event(EVENT_LOOP);
}

static void
once_a_loop_was_heard_nothing_is_flooded_between_tunnel_and_attachments(void **state)
{
	(void)state;
	burst(DC0, from_to(MAC_RY, MAC_ALL));
	expect_drop(DROP_LOOP, 1);
	expect_event(EVENT_LOOP);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_HOST(1), MAC_ALL)));
	expect_drop(DROP_LOOP_HOLD, 1);
	burst(DC0, from_to(MAC_HOST(1), MAC_ALL));
	expect_frame(DC1, with_vlan(from_to(MAC_HOST(1), MAC_ALL), VLAN_1B));
	burst(DC0, with_vlan(from_to(MAC_HOST(1), MAC_ALL), VLAN_2)); /* another segment */
	expect_tunnel(R_Y, SEG2, from_to(MAC_HOST(1), MAC_ALL));
	expect_tunnel(R_Z, SEG2, from_to(MAC_HOST(1), MAC_ALL));
}

static void
unicast_to_vms_goes_on_while_flooding_is_held_back(void **state)
{
	(void)state;
	vm_here(5);
	vm_at(9, R_Y);
	burst(DC0, from_to(MAC_RY, MAC_ALL));
	expect_drop(DROP_LOOP, 1);
	expect_event(EVENT_LOOP);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_HOST(1), MAC_VM(5))));
	expect_frame(DC0, from_to(MAC_HOST(1), MAC_VM(5)));
	burst(DC0, from_to(MAC_VM(5), MAC_VM(9)));
	expect_tunnel(R_Y, SEG1, from_to(MAC_VM(5), MAC_VM(9)));
}

static void
flooding_goes_on_ten_seconds_after_the_loop_was_last_heard(void **state)
{
	(void)state;
	burst(DC0, from_to(MAC_RY, MAC_ALL));
	expect_drop(DROP_LOOP, 1);
	expect_event(EVENT_LOOP);
	net_advance(LOOP_HOLD_MS);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_HOST(1), MAC_ALL)));
	expect_frame(DC0, from_to(MAC_HOST(1), MAC_ALL));
	expect_frame(DC1, with_vlan(from_to(MAC_HOST(1), MAC_ALL), VLAN_1B));
}

static void
a_loop_that_another_worker_heard_is_held_back_here_too(void **state)
{
	const struct dp_order loop = {.kind = ORDER_LOOP, .seg = SEG1};

	(void)state;
	assert_int_equal(rte_ring_sp_enqueue_elem(net.w->orders, (void *)(uintptr_t)&loop, sizeof(loop)), 0);
	worker_orders(net.w);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_HOST(1), MAC_ALL)));
	expect_drop(DROP_LOOP_HOLD, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(each_class_of_flooded_frames_has_a_limit_of_its_own),
		net_test(a_storm_is_let_through_again_at_its_rate),
		net_test(a_storm_in_one_segment_leaves_the_others_and_known_hosts_alone),
		net_test(workers_share_the_limit_of_a_segment),
		net_test(arp_of_one_host_beyond_its_rate_is_dropped),
		net_test(a_flood_of_invented_senders_takes_no_arp_from_a_vm),
		net_test(arp_of_a_wan_neighbour_beyond_its_rate_is_dropped),
		net_test(answers_that_a_peer_sends_for_many_vms_are_not_one_host_s_arp),
		net_test(a_pin_of_a_peer_at_our_attachment_is_a_loop),
		net_test(our_own_pin_that_comes_back_is_none),
		net_test(once_a_loop_was_heard_nothing_is_flooded_between_tunnel_and_attachments),
		net_test(unicast_to_vms_goes_on_while_flooding_is_held_back),
		net_test(flooding_goes_on_ten_seconds_after_the_loop_was_last_heard),
		net_test(a_loop_that_another_worker_heard_is_held_back_here_too),
	};

	return net_main(tests);
}
