/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may speak on a segment, and what is learnt from it. */
#include "harness.h"

static struct frame
hello(struct rte_ether_addr from, struct rte_ether_addr to, rte_be32_t src)
{
	return udp(.smac = from, .dmac = to, .src = src, .dst = PRIVATE(6), .sport = 1, .dport = 2);
}

static void
a_multicast_or_zero_source_is_dropped(void **state)
{
	(void)state;
	burst(DC0, hello(MAC(3, 0, 0, 0, 0, 1), MAC_VM(6), PRIVATE(5)),
		hello(MAC_NONE, MAC_VM(6), PRIVATE(5)));
	expect_drop(DROP_SRC_MAC_INVALID, 2);
}

/* From VLAN 100 at dc1 to the untagged attachment at dc0 the inner tag would become VLAN 200, another segment's. */
static void
a_second_vlan_tag_does_not_hop_into_another_segment(void **state)
{
	const uint8_t tag_and_type[] = {0, VLAN_2, 0x08, 0x00};

	(void)state;
	vm_here(6);
	burst(DC1,
		ether(RTE_ETHER_TYPE_VLAN, .smac = MAC_HOST(1), .dmac = MAC_VM(6), .vlan = VLAN_1B,
			.data = tag_and_type, .size = sizeof(tag_and_type)),
		ether(RTE_ETHER_TYPE_QINQ, .smac = MAC_HOST(1), .dmac = MAC_ALL, .vlan = VLAN_1B,
			.data = tag_and_type, .size = sizeof(tag_and_type)));
	expect_drop(DROP_INNER_VLAN, 2);
	expect_no_event(EVENT_MAC_LEARN);
}

static void
the_gateway_s_mac_is_no_source_but_of_routers(void **state)
{
	(void)state;
	burst(DC0, hello(MAC_GW, MAC_VM(6), PRIVATE(5)));
	burst(WAN0, from_tunnel(R_Y, SEG1, hello(MAC_GW, MAC_VM(6), PRIVATE(5))));
	expect_drop(DROP_SRC_MAC_INVALID, 2);
}

static void
a_router_mac_on_a_dc_port_is_a_loop_and_an_alarm(void **state)
{
	struct dp_event ev;

	(void)state;
	burst(DC0, hello(MAC_RY, MAC_VM(6), PRIVATE(5)), hello(MAC_RX, MAC_VM(6), PRIVATE(5)));
	expect_drop(DROP_LOOP, 2);
	ev = expect_event(EVENT_LOOP);
	assert_int_equal(ev.seg, SEG1);
	assert_int_equal(ev.att, ATT_1);
	assert_memory_equal(&ev.mac, &MAC_RY, 6);
	expect_event(EVENT_LOOP);
}

static void
a_router_mac_comes_only_from_its_own_vtep(void **state)
{
	(void)state;
	vm_here(6);
	vm_at(8, R_Y);
	burst(WAN0, from_tunnel(R_Z, SEG1, hello(MAC_RY, MAC_VM(7), USER)),
		from_tunnel(R_Z, SEG1, hello(MAC_RY, MAC_VM(8), USER)),
		from_tunnel(R_Z, SEG1, hello(MAC_RX, MAC_VM(7), USER)),
		from_tunnel(R_Y, SEG1, hello(MAC_RY, MAC_VM(6), USER)));
	expect_drop(DROP_SPOOFED, 3);
	expect_no_event(EVENT_MAC_LEARN);
	expect_frame(
		DC0, hello(MAC_GW, MAC_VM(6), USER)); /* what a router sent looks routed at the VM, too */
}

/* R_Z owned VM 6 a moment ago, and owns VM 8; what R_Y has routed goes through it. */
static void
a_router_mac_comes_from_another_vtep_to_a_vm_whose_owner_relays(void **state)
{
	(void)state;
	vm_here(6);
	vm_at(8, R_Z);
	burst(WAN0, from_tunnel(R_Z, SEG1, hello(MAC_RY, MAC_VM(6), USER)),
		from_tunnel(R_Z, SEG1, hello(MAC_RY, MAC_VM(8), USER)));
	expect_frame(DC0, hello(MAC_GW, MAC_VM(6), USER));
	expect_frame(DC0, hello(MAC_GW, MAC_VM(8), USER));
	expect_frame(DC1, with_vlan(hello(MAC_GW, MAC_VM(8), USER), VLAN_1B));
	expect_no_event(EVENT_MAC_LEARN);
}

static void
an_unknown_host_is_learnt_where_it_spoke(void **state)
{
	struct dp_event ev;

	(void)state;
	vm_here(6);
	burst(DC1, with_vlan(hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99)), VLAN_1B));
	expect_frame(DC0, hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99)));
	ev = expect_event(EVENT_MAC_LEARN);
	assert_int_equal(ev.router, R_X);
	assert_int_equal(ev.att, ATT_1B);
	assert_int_equal(ev.seg, SEG1);
	assert_memory_equal(&ev.mac, &MAC_HOST(1), 6);
	burst(WAN0, from_tunnel(R_Z, SEG1, hello(MAC_HOST(2), MAC_VM(6), PRIVATE(98))));
	expect_frame(DC0, hello(MAC_HOST(2), MAC_VM(6), PRIVATE(98)));
	assert_int_equal(expect_event(EVENT_MAC_LEARN).router, R_Z);
}

static void
a_learnt_host_keeps_its_entry_fresh_and_is_not_learnt_again(void **state)
{
	uint32_t entry = net_learnt(SEG1, MAC_HOST(1), R_X, ATT_1B);

	(void)state;
	vm_here(6);
	net_advance(5000);
	burst(DC1, with_vlan(hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99)), VLAN_1B));
	expect_frame(DC0, hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99)));
	expect_no_event(EVENT_MAC_LEARN);
	assert_int_equal(net.w->mac_seen[entry], net.w->tick);
}

static void
sources_of_one_burst_are_told_apart(void **state)
{
	uint32_t entry = net_learnt(SEG1, MAC_HOST(1), R_X, ATT_1);
	struct rte_ether_addr news;

	(void)state;
	vm_here(5);
	vm(.mac = MAC_VM(6), .seg = SEG1, .att = ATT_1B, .n_addresses = 1,
		.addresses = {{PRIVATE(6), GLOBAL(6)}});
	net_advance(5000);
	burst(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)), hello(MAC_HOST(2), MAC_VM(6), PRIVATE(98)),
		hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99)));
	expect_frame(DC1, with_vlan(hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)), VLAN_1B));
	expect_frame(DC1, with_vlan(hello(MAC_HOST(2), MAC_VM(6), PRIVATE(98)), VLAN_1B));
	expect_frame(DC1, with_vlan(hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99)), VLAN_1B));
	news = expect_event(EVENT_MAC_LEARN).mac;
	assert_memory_equal(&news, &MAC_HOST(2), 6);
	expect_no_event(EVENT_MAC_LEARN);
	assert_int_equal(net.w->mac_seen[entry], net.w->tick);
}

static void
a_learnt_host_that_speaks_elsewhere_is_learnt_anew(void **state)
{
	(void)state;
	vm_here(6);
	net_learnt(SEG1, MAC_HOST(1), R_Y, ATT_ANY);
	burst(DC1, with_vlan(hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99)), VLAN_1B));
	expect_frame(DC0, hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99)));
	assert_int_equal(expect_event(EVENT_MAC_LEARN).att, ATT_1B);
	net_learnt(SEG1, MAC_HOST(1), R_X, ATT_1B);
	burst(WAN0, from_tunnel(R_Z, SEG1, hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99))));
	expect_frame(DC0, hello(MAC_HOST(1), MAC_VM(6), PRIVATE(99)));
	assert_int_equal(expect_event(EVENT_MAC_LEARN).router, R_Z);
}

static void
a_registered_vm_is_never_learnt(void **state)
{
	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)));
	expect_drop(DROP_BRIDGE_FILTERED, 1);
	expect_no_event(EVENT_MAC_LEARN);
	expect_no_event(EVENT_VM_SEEN);
}

static void
a_vm_heard_at_another_attachment_is_news(void **state)
{
	struct dp_event ev;

	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC1, with_vlan(hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)), VLAN_1B));
	expect_frame(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)));
	ev = expect_event(EVENT_VM_SEEN);
	assert_int_equal(ev.router, R_X);
	assert_int_equal(ev.att, ATT_1B);
	assert_int_equal(ev.ip, PRIVATE(5));
	assert_memory_equal(&ev.mac, &MAC_VM(5), 6);
}

static void
a_vm_that_was_not_heard_yet_is_news_wherever_it_speaks(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .seg = SEG1, .att = ATT_ANY, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL(5)}});
	vm_here(6);
	burst(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)));
	expect_drop(DROP_BRIDGE_FILTERED, 1);
	assert_int_equal(expect_event(EVENT_VM_SEEN).att, ATT_1);
}

/* As when it was heard just before the controller told of its move: what it says now is news to another owner. */
static void
what_was_told_of_a_vm_is_news_again_once_its_record_changed(void **state)
{
	(void)state;
	vm_at(5, R_Y);
	burst(DC0, hello(MAC_VM(5), MAC_HOST(9), PRIVATE(5)));
	expect_event(EVENT_VM_SEEN);
	burst(DC0, hello(MAC_VM(5), MAC_HOST(9), PRIVATE(5)));
	expect_no_event(EVENT_VM_SEEN);
	vm(.mac = MAC_VM(5), .att = ATT_ANY, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(5)}});
	burst(DC0, hello(MAC_VM(5), MAC_HOST(9), PRIVATE(5)));
	assert_int_equal(expect_event(EVENT_VM_SEEN).att, ATT_1);
	net_forget();
}

static void
a_vm_of_ours_that_returns_from_a_peer_to_its_old_attachment_is_news(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .seg = SEG1, .location = R_Y, .att = ATT_1, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL(5)}});
	vm_here(6);
	burst(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)));
	expect_drop(DROP_BRIDGE_FILTERED, 1);
	assert_int_equal(expect_event(EVENT_VM_SEEN).att, ATT_1);
}

static void
a_vm_of_ours_heard_from_a_peer_is_news(void **state)
{
	(void)state;
	vm_here(5);
	vm_here(6);
	burst(WAN0, from_tunnel(R_Y, SEG1, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5))));
	expect_frame(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)));
	assert_int_equal(expect_event(EVENT_VM_SEEN).router, R_Y);
}

/* R_Y owns VM 9, which stands here; what R_Z sends to it comes by R_Y. */
static void
a_frame_that_its_destination_s_owner_may_have_relayed_tells_no_place(void **state)
{
	const struct frame host = hello(MAC_HOST(1), MAC_VM(9), PRIVATE(99)),
			   own = hello(MAC_VM(5), MAC_VM(9), PRIVATE(5));

	(void)state;
	vm_at(9, R_Y);
	vm(.mac = MAC_VM(5), .seg = SEG1, .location = R_Z, .att = ATT_ANY, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL(5)}});
	net_learnt(SEG1, MAC_HOST(1), R_Z, ATT_ANY);
	burst(WAN0, from_tunnel(R_Y, SEG1, host), from_tunnel(R_Y, SEG1, own));
	expect_frame(DC0, host);
	expect_frame(DC0, own);
	expect_frame(DC1, with_vlan(host, VLAN_1B));
	expect_frame(DC1, with_vlan(own, VLAN_1B));
	expect_no_event(EVENT_MAC_LEARN);
	expect_no_event(EVENT_VM_SEEN);
}

static void
a_vm_of_a_peer_is_news_at_our_own_attachment_alone(void **state)
{
	(void)state;
	vm_at(5, R_Y);
	vm_here(6);
	burst(WAN0, from_tunnel(R_Y, SEG1, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5))),
		from_tunnel(R_Z, SEG1, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5))));
	expect_frame(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)));
	expect_frame(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)));
	expect_no_event(EVENT_VM_SEEN);
	burst(DC1, with_vlan(hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)), VLAN_1B));
	expect_frame(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(5)));
	expect_event(EVENT_VM_SEEN);
}

static void
the_mac_of_a_vm_with_another_s_ip_is_no_evidence(void **state)
{
	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC1, with_vlan(hello(MAC_VM(5), MAC_VM(6), PRIVATE(7)), VLAN_1B));
	expect_frame(DC0, hello(MAC_VM(5), MAC_VM(6), PRIVATE(7)));
	expect_no_event(EVENT_VM_SEEN);
}

static void
arp_that_names_another_mac_than_its_sender_s_is_no_evidence(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC1,
		with_vlan(
			arp_frame(.smac = MAC_VM(5), .dmac = MAC_ALL, .sha = MAC_HOST(1), .spa = PRIVATE(5)),
			VLAN_1B),
		with_vlan(arp_frame(.smac = MAC_VM(5), .dmac = MAC_ALL, .op = 3, .rarp = true,
				  .sha = MAC_HOST(1)),
			VLAN_1B));
	expect_drop(DROP_ARP_MALFORMED, 2);
	expect_no_event(EVENT_VM_SEEN);
}

static void
arp_rarp_and_a_vm_s_own_probe_are_evidence(void **state)
{
	struct frame f[] = {
		arp_frame(.dmac = MAC_VM(6), .op = 2, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = PRIVATE(6)),
		arp_frame(.dmac = MAC_VM(6), .sha = MAC_VM(5), .spa = 0, .tpa = PRIVATE(5)),
		arp_frame(.dmac = MAC_VM(6), .op = 3, .rarp = true, .sha = MAC_VM(5), .tha = MAC_VM(5)),
	};

	(void)state;
	vm_here(5);
	vm_here(6);
	for (size_t i = 0; i < RTE_DIM(f); i++) {
		net_advance(HEARD_MS);
		burst(DC1, with_vlan(f[i], VLAN_1B));
		expect_frame(DC0, f[i]);
		assert_int_equal(expect_event(EVENT_VM_SEEN).ip, PRIVATE(5));
	}
}

static void
a_frame_to_the_gateway_that_is_no_ipv4_is_dropped(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, ether(0x86dd, .smac = MAC_VM(5), .dmac = MAC_GW),
		ether(0x86dd, .smac = MAC_VM(5), .dmac = MAC_RX));
	expect_drop(DROP_ETHERTYPE, 2);
}

static void
a_frame_to_the_gateway_is_routed_here_for_our_own_vm(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER, .sport = 1,
			   .dport = 2));
	expect_frame(WAN0, udp(.smac = MAC_WAN0, .dmac = MAC_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1,
				   .dport = 2, .ttl = 63));
}

static void
a_frame_to_the_gateway_that_a_peer_carried_here_is_not_carried_on_by_a_third_router(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .seg = SEG1, .owner = R_Z, .location = R_Z, .att = ATT_ANY, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL_Z(5)}}, .n_drains = 1,
		.drains = {{.ip = PRIVATE(5), .global = GLOBAL_Y(5), .home = R_Y}});
	burst(WAN0,
		from_tunnel(
			R_Y, SEG1, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER)),
		from_tunnel(
			R_Y, SEG1, udp(.smac = MAC_VM(5), .dmac = MAC_RX, .src = PRIVATE(5), .dst = USER)));
	expect_drop(DROP_NOT_OWNER, 2);
}

static void
a_frame_of_a_routed_vm_that_its_new_owner_carried_here_before_the_move_is_routed_here(void **state)
{
	rte_be32_t own = IP(203, 0, 113, 135);

	(void)state;
	vm(.mac = MAC_VM(5), .seg = SEG3, .owner = R_Y, .location = R_Y, .att = ATT_ANY, .n_addresses = 1,
		.addresses = {{own, 0}});
	burst(WAN0, from_tunnel(R_Y, SEG3, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = own, .dst = USER)));
	expect_frame(WAN0, udp(.smac = MAC_WAN0, .dmac = MAC_ISP, .src = own, .dst = USER, .ttl = 63));
	burst(WAN0, from_tunnel(R_Z, SEG3, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = own, .dst = USER)));
	expect_drop(DROP_NOT_OWNER, 1);
}

static void
a_packet_that_a_peer_routed_to_a_draining_vm_notes_the_session_s_home(void **state)
{
	struct frame f = tcp(.smac = MAC_RY, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5), .sport = 5000,
		.dport = 22);

	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	expect_frame(DC0, tcp(.smac = MAC_GW, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5),
				  .sport = 5000, .dport = 22));
	assert_int_equal(net_home(IPPROTO_TCP, PRIVATE(5), 22, USER, 5000), GLOBAL_Y(5));
}

static void
only_the_owner_notes_homes_from_what_peers_routed(void **state)
{
	struct frame f = tcp(.smac = MAC_RY, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5), .sport = 5000,
		.dport = 22);

	(void)state; /* a third router: the VM went from R_Y to R_Z */
	vm(.mac = MAC_VM(5), .seg = SEG1, .owner = R_Z, .location = R_Z, .att = ATT_ANY, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL_Z(5)}}, .n_drains = 1,
		.drains = {{.ip = PRIVATE(5), .global = GLOBAL_Y(5), .home = R_Y}});
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	memcpy(f.b + 6, &MAC_GW, 6);
	expect_frame(DC0, f);
	expect_frame(DC1, with_vlan(f, VLAN_1B));
	assert_int_equal(net_home(IPPROTO_TCP, PRIVATE(5), 22, USER, 5000), 0);
}

static void
only_routers_tell_homes(void **state)
{
	struct frame f = tcp(.smac = MAC_HOST(1), .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5),
		.sport = 5000, .dport = 22);

	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	expect_frame(DC0, f);
	assert_int_equal(net_home(IPPROTO_TCP, PRIVATE(5), 22, USER, 5000), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		net_rule(a_multicast_or_zero_source_is_dropped, "IEEE 802.1D 7.8"),
		net_rule(a_second_vlan_tag_does_not_hop_into_another_segment, "IEEE 802.1Q"),
		net_test(the_gateway_s_mac_is_no_source_but_of_routers),
		net_test(a_router_mac_on_a_dc_port_is_a_loop_and_an_alarm),
		net_test(a_router_mac_comes_only_from_its_own_vtep),
		net_test(a_router_mac_comes_from_another_vtep_to_a_vm_whose_owner_relays),
		net_rule(an_unknown_host_is_learnt_where_it_spoke, "IEEE 802.1D 7.8; RFC 7348 4.1"),
		net_rule(a_learnt_host_keeps_its_entry_fresh_and_is_not_learnt_again, "IEEE 802.1D 7.9.2"),
		net_test(sources_of_one_burst_are_told_apart),
		net_rule(a_learnt_host_that_speaks_elsewhere_is_learnt_anew, "IEEE 802.1D 7.8"),
		net_test(a_registered_vm_is_never_learnt),
		net_test(what_was_told_of_a_vm_is_news_again_once_its_record_changed),
		net_test(a_vm_heard_at_another_attachment_is_news),
		net_test(a_vm_that_was_not_heard_yet_is_news_wherever_it_speaks),
		net_test(a_vm_of_ours_that_returns_from_a_peer_to_its_old_attachment_is_news),
		net_test(a_vm_of_ours_heard_from_a_peer_is_news),
		net_test(a_frame_that_its_destination_s_owner_may_have_relayed_tells_no_place),
		net_test(a_vm_of_a_peer_is_news_at_our_own_attachment_alone),
		net_test(the_mac_of_a_vm_with_another_s_ip_is_no_evidence),
		net_test(arp_that_names_another_mac_than_its_sender_s_is_no_evidence),
		net_rule(arp_rarp_and_a_vm_s_own_probe_are_evidence, "RFC 826; RFC 903; RFC 5227 2.1.1"),
		net_test(a_frame_to_the_gateway_that_is_no_ipv4_is_dropped),
		net_test(a_frame_to_the_gateway_is_routed_here_for_our_own_vm),
		net_test(a_frame_to_the_gateway_that_a_peer_carried_here_is_not_carried_on_by_a_third_router),
		net_test(
			a_frame_of_a_routed_vm_that_its_new_owner_carried_here_before_the_move_is_routed_here),
		net_test(a_packet_that_a_peer_routed_to_a_draining_vm_notes_the_session_s_home),
		net_test(only_the_owner_notes_homes_from_what_peers_routed),
		net_test(only_routers_tell_homes),
	};

	return net_main(tests);
}
