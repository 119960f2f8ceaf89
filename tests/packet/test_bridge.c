/* SPDX-License-Identifier: BSD-3-Clause */
/* L2 forwarding in a segment. */
#include "harness.h"

#include <stdlib.h>

#include <rte_tcp.h>

static struct frame
from_to(struct rte_ether_addr from, struct rte_ether_addr to)
{
	return ether(0x88b5, .smac = from, .dmac = to);
}

static struct frame
vlan1b(struct frame f)
{
	return with_vlan(f, VLAN_1B);
}

/* A VM of ours that stands at `router`, or here at `att`. */
static void
our_vm(uint8_t n, uint8_t router, uint16_t att)
{
	vm(.mac = MAC_VM(n), .seg = SEG1, .owner = R_X, .location = router, .att = att, .n_addresses = 1,
		.addresses = {{PRIVATE(n), GLOBAL(n)}});
}

/* ---- to a VM ---- */

static void
a_frame_to_our_vm_goes_to_its_attachment_alone(void **state)
{
	(void)state;
	vm_here(5);
	our_vm(6, R_X, ATT_1B);
	burst(DC0, from_to(MAC_VM(5), MAC_VM(6)));
	expect_frame(DC1, vlan1b(from_to(MAC_VM(5), MAC_VM(6))));
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_VM(9), MAC_VM(6))));
	expect_frame(DC1, vlan1b(from_to(MAC_VM(9), MAC_VM(6))));
}

static void
a_frame_to_a_vm_at_the_attachment_it_came_from_is_filtered(void **state)
{
	(void)state;
	vm_here(6);
	burst(DC0, from_to(MAC_VM(5), MAC_VM(6)));
	expect_drop(DROP_BRIDGE_FILTERED, 1);
}

static void
a_vm_of_ours_not_heard_yet_gets_its_frames_at_all_attachments(void **state)
{
	(void)state;
	our_vm(6, R_X, ATT_ANY);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_VM(9), MAC_VM(6))));
	expect_frame(DC0, from_to(MAC_VM(9), MAC_VM(6)));
	expect_frame(DC1, vlan1b(from_to(MAC_VM(9), MAC_VM(6))));
	burst(DC0, from_to(MAC_VM(5), MAC_VM(6)));
	expect_frame(DC1, vlan1b(from_to(MAC_VM(5), MAC_VM(6))));
}

static void
the_owner_relays_to_the_peer_where_its_vm_stands(void **state)
{
	(void)state;
	our_vm(6, R_Z, ATT_ANY);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_VM(9), MAC_VM(6))));
	expect_tunnel(R_Z, SEG1, from_to(MAC_VM(9), MAC_VM(6)));
	burst(DC0, from_to(MAC_VM(5), MAC_VM(6)));
	expect_tunnel(R_Z, SEG1, from_to(MAC_VM(5), MAC_VM(6)));
}

static void
a_relayed_frame_keeps_the_mac_of_the_router_that_routed_it(void **state)
{
	(void)state;
	our_vm(6, R_Z, ATT_ANY);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_RY, MAC_VM(6))));
	expect_tunnel(R_Z, SEG1, from_to(MAC_RY, MAC_VM(6)));
}

static void
the_owner_does_not_relay_back_to_where_the_frame_came_from(void **state)
{
	(void)state;
	our_vm(6, R_Z, ATT_ANY);
	burst(WAN0, from_tunnel(R_Z, SEG1, from_to(MAC_VM(9), MAC_VM(6))));
	expect_drop(DROP_OWNER_BACKWARDS, 1);
}

static void
a_frame_to_a_peer_s_vm_goes_to_its_owner_alone(void **state)
{
	(void)state;
	vm_at(9, R_Z);
	burst(DC0, from_to(MAC_VM(5), MAC_VM(9)));
	expect_tunnel(R_Z, SEG1, from_to(MAC_VM(5), MAC_VM(9)));
}

static void
a_frame_from_the_tunnel_to_a_peer_s_vm_goes_to_attachments_and_never_on(void **state)
{
	(void)state;
	vm_at(9, R_Z);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_VM(8), MAC_VM(9))));
	expect_frame(DC0, from_to(MAC_VM(8), MAC_VM(9)));
	expect_frame(DC1, vlan1b(from_to(MAC_VM(8), MAC_VM(9))));
}

static void
a_router_mac_never_appears_on_a_dc_port(void **state)
{
	(void)state;
	vm_here(5);
	vm_at(9, R_Z);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_RY, MAC_VM(5))),
		from_tunnel(R_Y, SEG1, from_to(MAC_RY, MAC_VM(9))));
	expect_frame(DC0, from_to(MAC_GW, MAC_VM(5)));
	expect_frame(DC0, from_to(MAC_GW, MAC_VM(9)));
	expect_frame(DC1, vlan1b(from_to(MAC_GW, MAC_VM(9))));
}

/* ---- to a learnt host, or to all ---- */

static void
a_frame_to_a_learnt_host_goes_there_alone(void **state)
{
	(void)state;
	net_learnt(SEG1, MAC_HOST(1), R_X, ATT_1B);
	net_learnt(SEG1, MAC_HOST(2), R_Y, ATT_ANY);
	burst(DC0, from_to(MAC_VM(5), MAC_HOST(1)), from_to(MAC_VM(5), MAC_HOST(2)));
	expect_frame(DC1, vlan1b(from_to(MAC_VM(5), MAC_HOST(1))));
	expect_tunnel(R_Y, SEG1, from_to(MAC_VM(5), MAC_HOST(2)));
}

static void
frames_of_one_burst_go_each_its_own_way(void **state)
{
	(void)state;
	our_vm(6, R_X, ATT_1B);
	vm_at(9, R_Z);
	net_learnt(SEG1, MAC_HOST(1), R_X, ATT_1B);
	net_learnt(SEG1, MAC_HOST(2), R_Y, ATT_ANY);
	burst(DC0, from_to(MAC_VM(5), MAC_VM(6)), from_to(MAC_VM(5), MAC_HOST(2)),
		from_to(MAC_VM(5), MAC_VM(9)), from_to(MAC_VM(5), MAC_HOST(1)),
		from_to(MAC_HOST(1), MAC_VM(6)));
	expect_frame(DC1, vlan1b(from_to(MAC_VM(5), MAC_VM(6))));
	expect_tunnel(R_Y, SEG1, from_to(MAC_VM(5), MAC_HOST(2)));
	expect_tunnel(R_Z, SEG1, from_to(MAC_VM(5), MAC_VM(9)));
	expect_frame(DC1, vlan1b(from_to(MAC_VM(5), MAC_HOST(1))));
	expect_frame(DC1, vlan1b(from_to(MAC_HOST(1), MAC_VM(6))));
}

static void
a_frame_to_a_host_learnt_where_it_came_from_is_filtered(void **state)
{
	(void)state;
	net_learnt(SEG1, MAC_HOST(1), R_X, ATT_1);
	burst(DC0, from_to(MAC_VM(5), MAC_HOST(1)));
	expect_drop(DROP_BRIDGE_FILTERED, 1);
}

static void
a_host_learnt_at_a_peer_is_not_reached_from_the_tunnel(void **state)
{
	(void)state;
	net_learnt(SEG1, MAC_HOST(2), R_Y, ATT_ANY);
	burst(WAN0, from_tunnel(R_Z, SEG1, from_to(MAC_VM(9), MAC_HOST(2))));
	expect_drop(DROP_SPLIT_HORIZON, 1);
}

static void
unknown_unicast_and_groups_go_to_all_others_and_to_each_peer(void **state)
{
	const struct rte_ether_addr to[] = {MAC_HOST(3), MAC_ALL, MAC(1, 0, 0x5e, 0, 0, 9)};

	(void)state;
	for (size_t i = 0; i < RTE_DIM(to); i++) {
		burst(DC1, vlan1b(from_to(MAC_VM(5), to[i])));
		expect_frame(DC0, from_to(MAC_VM(5), to[i]));
		expect_tunnel(R_Y, SEG1, from_to(MAC_VM(5), to[i]));
		expect_tunnel(R_Z, SEG1, from_to(MAC_VM(5), to[i]));
	}
	assert_int_equal(net.w->c.made[MADE_REPLICA], 6);
}

static void
what_floods_in_from_the_tunnel_goes_to_attachments_alone(void **state)
{
	(void)state;
	burst(WAN0, from_tunnel(R_Y, SEG1, from_to(MAC_VM(9), MAC_ALL)));
	expect_frame(DC0, from_to(MAC_VM(9), MAC_ALL));
	expect_frame(DC1, vlan1b(from_to(MAC_VM(9), MAC_ALL)));
}

static void
a_segment_is_not_bridged_to_another(void **state)
{
	(void)state;
	burst(DC0, with_vlan(from_to(MAC_VM(5), MAC_ALL), VLAN_2));
	expect_tunnel(R_Y, SEG2, from_to(MAC_VM(5), MAC_ALL));
	expect_tunnel(R_Z, SEG2, from_to(MAC_VM(5), MAC_ALL));
}

static void
a_frame_that_has_nowhere_to_go_is_dropped(void **state)
{
	(void)state;
	net.topo->n_peers = 0;
	burst(DC0, with_vlan(from_to(MAC_VM(5), MAC_ALL), VLAN_2));
	expect_drop(DROP_NO_DESTINATION, 1);
}

static void
frames_for_the_next_bridge_alone_are_not_forwarded(void **state)
{
	(void)state;
	burst(DC0, from_to(MAC_VM(5), MAC(1, 0x80, 0xc2, 0, 0, 0)),
		from_to(MAC_VM(5), MAC(1, 0x80, 0xc2, 0, 0, 0x0e)));
	expect_drop(DROP_BRIDGE_FILTERED, 2);
}

static void
a_frame_larger_than_the_attachment_s_port_takes_is_dropped(void **state)
{
	struct frame big = ether(0x88b5, .smac = MAC_VM(5), .dmac = MAC_ALL, .size = 1401);

	(void)state;
	net.topo->ports[DC1].mtu = 1400;
	burst(DC0, big);
	expect_tunnel(R_Y, SEG1, big);
	expect_tunnel(R_Z, SEG1, big);
	expect_drop(DROP_TOO_BIG, 1);
}

/* ---- MSS ---- */

static struct frame
syn(uint8_t to, uint8_t flags, uint16_t mss)
{
	return tcp(.smac = MAC_VM(5), .dmac = MAC_VM(to), .src = PRIVATE(5), .dst = PRIVATE(to), .sport = 1,
		.dport = 2, .flags = flags, .mss = mss, .empty = true);
}

static void
syns_are_clamped_whether_they_cross_the_tunnel_or_not(void **state)
{
	(void)state;
	our_vm(6, R_X, ATT_1B);
	vm_at(9, R_Y);
	burst(DC0, syn(6, RTE_TCP_SYN_FLAG, 1460), syn(9, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG, 1460));
	expect_frame(DC1, vlan1b(syn(6, RTE_TCP_SYN_FLAG, 1410)));
	expect_tunnel(R_Y, SEG1, syn(9, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG, 1410));
}

static void
a_small_mss_and_other_segments_of_the_session_stay_as_they_are(void **state)
{
	(void)state;
	our_vm(6, R_X, ATT_1B);
	burst(DC0, syn(6, RTE_TCP_SYN_FLAG, 900), syn(6, RTE_TCP_ACK_FLAG, 1460),
		syn(6, RTE_TCP_SYN_FLAG, 0));
	expect_frame(DC1, vlan1b(syn(6, RTE_TCP_SYN_FLAG, 900)));
	expect_frame(DC1, vlan1b(syn(6, RTE_TCP_ACK_FLAG, 1460)));
	expect_frame(DC1, vlan1b(syn(6, RTE_TCP_SYN_FLAG, 0)));
}

static void
a_segment_without_peers_clamps_nothing(void **state)
{
	(void)state;
	net.topo->segments[SEG1].mss = 0;
	our_vm(6, R_X, ATT_1B);
	burst(DC0, syn(6, RTE_TCP_SYN_FLAG, 1460));
	expect_frame(DC1, vlan1b(syn(6, RTE_TCP_SYN_FLAG, 1460)));
}

/* A SYN with these TCP options. */
static struct frame
syn_with(const uint8_t *options, uint16_t n)
{
	struct frame f = syn(6, RTE_TCP_SYN_FLAG, 0);

	memcpy(f.b + f.len, options, n);
	f.len += n;
	f.b[17] += (uint8_t)n;
	f.b[46] = (uint8_t)((20 + n) / 4 << 4);
	frame_checksums(&f);
	return f;
}

static void
the_option_is_found_at_odd_offsets_and_behind_others(void **state)
{
	const uint8_t before[] = {1, 2, 4, 0x05, 0xb4, 3, 3, 7}, after[] = {1, 2, 4, 0x05, 0x82, 3, 3, 7};
	const uint8_t before2[] = {8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 2, 4, 0x05, 0xb4, 0, 0};
	const uint8_t after2[] = {8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 2, 4, 0x05, 0x82, 0, 0};

	(void)state;
	our_vm(6, R_X, ATT_1B);
	burst(DC0, syn_with(before, sizeof(before)), syn_with(before2, sizeof(before2)));
	expect_frame(DC1, vlan1b(syn_with(after, sizeof(after))));
	expect_frame(DC1, vlan1b(syn_with(after2, sizeof(after2))));
}

static void
broken_options_are_left_alone(void **state)
{
	const uint8_t broken[][8] = {
		{2, 0, 0x05, 0xb4, 2, 4, 0x05, 0xb4}, /* length 0: no way on */
		{3, 9, 0, 0, 2, 4, 0x05, 0xb4},	      /* runs over the end */
		{0, 4, 0, 0, 2, 4, 0x05, 0xb4},	      /* behind the end of options */
		{1, 1, 1, 1, 1, 1, 2, 4},	      /* cut off */
		{2, 3, 0x05, 1, 1, 1, 1, 1},	      /* MSS of another length */
	};

	(void)state;
	net.behind = 0xff; /* a value that would be clamped */
	our_vm(6, R_X, ATT_1B);
	for (size_t i = 0; i < RTE_DIM(broken); i++) {
		burst(DC0, syn_with(broken[i], 8));
		expect_frame(DC1, vlan1b(syn_with(broken[i], 8)));
	}
}

/* ---- a storm ---- */

static uint16_t
swallow(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg, (void)port;
	rte_pktmbuf_free_bulk(m, n);
	return n;
}

/* A whole burst of broadcasts on dc0, as fast as they can come: what was injected does not drain first. */
static void
broadcasts(void)
{
	const struct frame f = from_to(MAC_VM(5), MAC_ALL);
	static struct vec rx;

	while (rx.n < RX_MAX) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);

		assert_non_null(m);
		memcpy(rte_pktmbuf_append(m, f.len), f.b, f.len);
		*meta(m) = (struct meta){.in_port = DC0, .origin = FROM_DC};
		vec_add(&rx, m);
	}
	pipeline_run(net.w, &rx);
	worker_flush(net.w, swallow, NULL);
}

static void
a_storm_of_broadcasts_does_not_keep_the_control_thread_s_orders_out(void **state)
{
	const struct dp_order release = {.kind = ORDER_RELEASE, .port = WAN0, .ip = OTHER};

	(void)state;
	vm_here(5);
	for (int i = 0; i < 50; i++)
		broadcasts();
	assert_true(net.w->c.drop[DROP_INJECT_FULL] > 0);
	assert_int_equal(
		rte_ring_sp_enqueue_elem(net.w->orders, (void *)(uintptr_t)&release, sizeof(release)), 0);
	worker_orders(net.w);
	assert_true(rte_ring_empty(net.w->orders));
	assert_int_equal(worker_imbalance(net.w), 0);
	net_idle();
	net_forget();
}

/* C-84: peers come and go while packets flow: from the worker's next round on, another topology counts. */
static void
a_vtep_that_was_removed_is_refused_from_the_next_round_on(void **state)
{
	struct topology *next = malloc(sizeof(*next));
	struct frame to_all = from_to(MAC_VM(5), MAC_ALL);

	(void)state;
	vm_here(5);
	assert_non_null(next);
	memcpy(next, net.topo, sizeof(*next));
	next->peers[R_Z - 1] = (struct topo_peer){.name = "z"};
	topo_index(next);
	__atomic_store_n(&net.w->topo_wanted, next, __ATOMIC_RELEASE);
	worker_orders(net.w);
	burst(WAN0, from_tunnel(R_Z, SEG1, from_to(MAC_VM(9), MAC_VM(5))));
	expect_drop(DROP_VTEP_UNKNOWN, 1);
	burst(DC0, to_all); /* flooded, but not to it */
	expect_frame(DC1, vlan1b(to_all));
	expect_tunnel(R_Y, SEG1, to_all);
	__atomic_store_n(&net.w->topo_wanted, net.topo, __ATOMIC_RELEASE);
	worker_orders(net.w);
	burst(WAN0, from_tunnel(R_Z, SEG1, from_to(MAC_VM(9), MAC_VM(5)))); /* it is back */
	expect_frame(DC0, from_to(MAC_VM(9), MAC_VM(5)));
	free(next);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		net_test(a_frame_to_our_vm_goes_to_its_attachment_alone),
		net_rule(a_frame_to_a_vm_at_the_attachment_it_came_from_is_filtered, "IEEE 802.1D 7.7.1"),
		net_test(a_vm_of_ours_not_heard_yet_gets_its_frames_at_all_attachments),
		net_test(the_owner_relays_to_the_peer_where_its_vm_stands),
		net_test(a_relayed_frame_keeps_the_mac_of_the_router_that_routed_it),
		net_test(the_owner_does_not_relay_back_to_where_the_frame_came_from),
		net_test(a_frame_to_a_peer_s_vm_goes_to_its_owner_alone),
		net_test(a_frame_from_the_tunnel_to_a_peer_s_vm_goes_to_attachments_and_never_on),
		net_test(a_router_mac_never_appears_on_a_dc_port),
		net_rule(a_frame_to_a_learnt_host_goes_there_alone, "IEEE 802.1D 7.7.2; RFC 7348 4.1"),
		net_test(frames_of_one_burst_go_each_its_own_way),
		net_rule(a_frame_to_a_host_learnt_where_it_came_from_is_filtered, "IEEE 802.1D 7.7.1"),
		net_test(a_host_learnt_at_a_peer_is_not_reached_from_the_tunnel),
		net_rule(unknown_unicast_and_groups_go_to_all_others_and_to_each_peer,
			"IEEE 802.1D 7.7.2; RFC 7348 4.2"),
		net_rule(what_floods_in_from_the_tunnel_goes_to_attachments_alone, "RFC 7348 4.2"),
		net_rule(a_segment_is_not_bridged_to_another, "RFC 7348 4.1; IEEE 802.1Q"),
		net_test(a_frame_that_has_nowhere_to_go_is_dropped),
		net_rule(frames_for_the_next_bridge_alone_are_not_forwarded, "IEEE 802.1D 7.12.6"),
		net_test(a_frame_larger_than_the_attachment_s_port_takes_is_dropped),
		net_rule(syns_are_clamped_whether_they_cross_the_tunnel_or_not, "RFC 6691 2"),
		net_rule(a_small_mss_and_other_segments_of_the_session_stay_as_they_are, "RFC 9293 3.7.1"),
		net_test(a_segment_without_peers_clamps_nothing),
		net_rule(the_option_is_found_at_odd_offsets_and_behind_others, "RFC 9293 3.1"),
		net_rule(broken_options_are_left_alone, "RFC 9293 3.1"),
		net_test(a_storm_of_broadcasts_does_not_keep_the_control_thread_s_orders_out),
		net_test(a_vtep_that_was_removed_is_refused_from_the_next_round_on),
	};

	return net_main(tests);
}
