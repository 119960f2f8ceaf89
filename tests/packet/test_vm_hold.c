/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets for a VM that is on its way here wait, in order, and lose nothing.
 *
 * VM 5 moves from R_Y to us: `paused` as long as it is R_Y's, `committed` when it is ours and not heard yet, then it stands at
 * ATT_1; or `aborted`: it is R_Y's as before. */
#include "harness.h"

static struct vm_rec
record(uint8_t owner, uint16_t att, uint16_t flags)
{
	return (struct vm_rec){
		.mac = MAC_VM(5),
		.seg = SEG1,
		.owner = owner,
		.location = owner,
		.att = att,
		.flags = flags,
		.n_addresses = 1,
		.addresses = {{PRIVATE(5), owner == R_X ? GLOBAL(5) : GLOBAL_Y(5)}},
	};
}

static void
put(uint8_t owner, uint16_t att, uint16_t flags)
{
	struct vm_rec r = record(owner, att, flags);

	vm_put(&r);
}

static void
paused(void)
{
	put(R_Y, ATT_ANY, VM_REC_HOLDS);
}

static void
committed(void)
{
	put(R_X, ATT_ANY, VM_REC_HOLDS);
}

/* Ours, and paused: its new router is to have all that comes. */
static void
leaves_for(uint8_t router)
{
	struct vm_rec r = record(R_X, ATT_ANY, VM_REC_NOTES);

	r.location = router;
	vm_put(&r);
}

static void
arrived(void)
{
	put(R_X, ATT_1, 0);
}

static void
aborted(void)
{
	put(R_Y, ATT_ANY, 0);
}

static struct frame
from_user(uint16_t i)
{
	return udp(.smac = MAC_ISP, .dmac = MAC_WAN0, .src = USER, .dst = GLOBAL(5), .sport = 1000 + i,
		.dport = 53);
}

static struct frame
at_vm(uint16_t i)
{
	return udp(.smac = MAC_GW, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5), .sport = 1000 + i,
		.dport = 53, .ttl = 63);
}

/* Translated by R_Y, which bends the VM's traffic to us. */
static struct frame
routed_by(struct rte_ether_addr router, uint16_t i)
{
	return udp(.smac = router, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5), .sport = 1000 + i,
		.dport = 53, .ttl = 62);
}

static void
bent(uint16_t i)
{
	burst(WAN0, from_tunnel(R_Y, SEG1, routed_by(MAC_RY, i)));
}

static struct frame
from_neighbour(struct rte_ether_addr smac, uint16_t i)
{
	return udp(.smac = smac, .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5), .sport = 1000 + i,
		.dport = 53);
}

static void
expect_over(uint32_t held, uint32_t released, uint32_t dropped)
{
	struct dp_event ev;

	net_idle();
	ev = expect_event(EVENT_HOLD_OVER);
	assert_int_equal(ev.seg, SEG1);
	assert_memory_equal(&ev.mac, &MAC_VM(5), sizeof(ev.mac));
	assert_int_equal(ev.held, held);
	assert_int_equal(ev.released, released);
	assert_int_equal(ev.dropped, dropped);
	assert_int_equal(net.w->vm_hold.n_queues, 0);
	assert_int_equal(net.w->vm_hold.packets, 0);
	assert_int_equal(net.w->vm_hold.bytes, 0);
}

/* ---- what waits, and goes on ---- */

static void
routed_packets_wait_and_go_on_in_order(void **state)
{
	(void)state;
	committed();
	for (uint16_t i = 0; i < 10; i++)
		burst(WAN0, from_user(i));
	expect_nothing();
	assert_int_equal(net.w->vm_hold.packets, 10);
	arrived();
	net_idle();
	for (uint16_t i = 0; i < 10; i++)
		expect_frame(DC0, at_vm(i));
	expect_over(10, 10, 0);
}

static void
bridged_packets_wait_from_the_tunnel_and_from_attachments(void **state)
{
	(void)state;
	paused();
	vm_here(6);
	bent(0);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_neighbour(MAC_VM(7), 1)));
	burst(DC0, from_neighbour(MAC_VM(6), 2));
	expect_nothing();
	committed();
	bent(3);
	expect_nothing();
	put(R_X, ATT_1B, 0);
	net_idle();
	expect_frame(DC1, with_vlan(routed_by(MAC_GW, 0), VLAN_1B));
	expect_frame(DC1, with_vlan(from_neighbour(MAC_VM(7), 1), VLAN_1B));
	expect_frame(DC1, with_vlan(from_neighbour(MAC_VM(6), 2), VLAN_1B));
	expect_frame(DC1, with_vlan(routed_by(MAC_GW, 3), VLAN_1B));
	expect_over(4, 4, 0);
}

static void
what_our_vms_send_to_it_before_the_commit_waits_too(void **state)
{
	struct frame f = udp(.smac = MAC_VM(12), .dmac = MAC_GW, .vlan = VLAN_2, .src = IP(10, 0, 2, 12),
		.dst = PRIVATE(5), .sport = 7, .dport = 8);

	(void)state;
	paused();
	vm(.mac = MAC_VM(12), .seg = SEG2, .att = ATT_2, .n_addresses = 1,
		.addresses = {{IP(10, 0, 2, 12), 0}});
	burst(DC0, f);
	expect_nothing();
	arrived();
	net_idle();
	expect_frame(DC0, udp(.smac = MAC_GW, .dmac = MAC_VM(5), .src = IP(10, 0, 2, 12), .dst = PRIVATE(5),
				  .sport = 7, .dport = 8, .ttl = 63));
	expect_over(1, 1, 0);
}

static void
what_came_by_the_attachment_of_the_vm_goes_back_there_as_of_the_gateway(void **state)
{
	(void)state;
	paused();
	vm_here(6);
	burst(DC0, from_neighbour(MAC_VM(6), 1));
	arrived();
	net_idle();
	expect_frame(DC0, from_neighbour(MAC_GW, 1));
	expect_over(1, 1, 0);
	burst(DC0, from_neighbour(MAC_VM(6), 2)); /* what did not wait is the switch's */
	expect_drop(DROP_BRIDGE_FILTERED, 1);
}

static void
what_came_from_a_hypervisor_goes_on_to_the_one_where_the_vm_is(void **state)
{
	struct vm_rec r = {.mac = MAC_VM(5),
		.seg = SEG4,
		.att = ATT_ANY,
		.flags = VM_REC_HOLDS,
		.n_addresses = 1,
		.addresses = {{PRIVATE4(5), 0}}};
	struct frame f = udp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE4(6), .dst = PRIVATE4(5),
		.sport = 1, .dport = 2);
	struct frame out = udp(.smac = MAC_GW, .dmac = MAC_VM(5), .src = PRIVATE4(6), .dst = PRIVATE4(5),
		.sport = 1, .dport = 2);

	(void)state;
	vm_put(&r);
	vm(.mac = MAC_VM(6), .seg = SEG4, .att = ATT_4A, .n_addresses = 1, .addresses = {{PRIVATE4(6), 0}});
	burst(WAN0, from_tunnel(T_A, SEG4, f));
	r.flags = 0;
	r.att = ATT_4B;
	vm_put(&r);
	net_idle();
	expect_tunnel(T_B, SEG4, out);
	expect_event(EVENT_HOLD_OVER);
}

static void
in_a_segment_others_stretch_frames_of_attachments_do_not_wait(void **state)
{
	(void)state;
	net.topo->segments[SEG1].external = true;
	committed();
	vm_here(6);
	burst(DC0, from_neighbour(MAC_VM(6), 1));
	expect_frame(DC1, with_vlan(from_neighbour(MAC_VM(6), 1), VLAN_1B));
	bent(2);
	expect_nothing();
	arrived();
	net_idle();
	expect_frame(DC0, routed_by(MAC_GW, 2));
	expect_over(1, 1, 0);
}

static void
unicast_arp_waits_too_and_a_broadcast_does_not(void **state)
{
	struct frame reply = arp_frame(.smac = MAC_VM(6), .dmac = MAC_VM(5), .op = 2, .sha = MAC_VM(6),
		.spa = PRIVATE(6), .tha = MAC_VM(5), .tpa = PRIVATE(5));
	struct frame all = ether(0x86dd, .smac = MAC_VM(7), .dmac = MAC_ALL);

	(void)state;
	committed();
	burst(WAN0, from_tunnel(R_Y, SEG1, reply), from_tunnel(R_Y, SEG1, all));
	expect_frame(DC0, all);
	expect_frame(DC1, with_vlan(all, VLAN_1B));
	expect_nothing();
	arrived();
	net_idle();
	expect_frame(DC0, reply);
	expect_over(1, 1, 0);
	net_forget();
}

static void
one_that_stands_at_a_peer_holds_nothing(void **state)
{
	struct vm_rec r = record(R_X, ATT_ANY, VM_REC_HOLDS);

	(void)state;
	r.location = R_Z;
	vm_put(&r);
	burst(WAN0, from_user(1));
	expect_tunnel(R_Z, SEG1,
		udp(.smac = MAC_RX, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5), .sport = 1001,
			.dport = 53, .ttl = 63));
	expect_no_event(EVENT_HOLD_OVER);
}

static void
one_that_was_not_heard_in_time_gets_it_at_all_attachments(void **state)
{
	(void)state;
	committed();
	burst(WAN0, from_user(1));
	put(R_X, ATT_ANY, 0);
	net_idle();
	expect_frame(DC0, at_vm(1));
	expect_frame(DC1, with_vlan(at_vm(1), VLAN_1B));
	expect_over(1, 1, 0);
}

/* ---- order ---- */

static void
what_is_newer_waits_behind_what_is_released(void **state)
{
	struct frame newer[RX_MAX];

	(void)state;
	net.topo->hold =
		(struct topo_hold){.packets = 256, .vm_packets = 256, .bytes = 1 << 20, .vm_bytes = 1 << 20};
	net.topo->hold.most_ms = 1000;
	committed();
	for (uint16_t i = 0; i < 200; i++)
		burst(WAN0, from_user(i));
	arrived();
	for (uint16_t i = 0; i < RX_MAX; i++)
		newer[i] = from_user(200 + i);
	net_burst(WAN0, newer, RX_MAX);
	for (uint16_t i = 0; i < 200 + RX_MAX; i++)
		expect_frame(DC0, at_vm(i));
	net_idle();
	net_forget();
}

static void
what_is_newer_in_the_last_burst_passes_at_once(void **state)
{
	(void)state;
	committed();
	burst(WAN0, from_user(0));
	arrived();
	burst(WAN0, from_user(1));
	expect_frame(DC0, at_vm(0));
	expect_frame(DC0, at_vm(1));
	expect_over(1, 1, 0);
}

/* Releases into a burst with `received` packets, and runs the stage after the record was set. */
static void
release_and_try(uint16_t received, void (*set)(void))
{
	struct vec rx = {.n = received};
	const struct vm_rec *now;

	vm_hold_round(net.w, &rx);
	assert_int_equal(rx.n, BURST_MAX);
	set();
	now = vm_get(SEG1, MAC_VM(5));
	for (uint16_t i = received; i < rx.n; i++)
		assert_true(vm_hold_take(net.w, rx.m[i], now, meta(rx.m[i])->enter));
}

static void
released_ones_that_find_the_flag_again_go_back_to_where_they_stood(void **state)
{
	(void)state;
	net.topo->hold.packets = net.topo->hold.vm_packets = 100;
	committed();
	for (uint16_t i = 0; i < 80; i++)
		burst(WAN0, from_user(i));
	arrived();
	release_and_try(0, committed); /* the record changed between the begin of the burst and the stage */
	arrived();
	release_and_try(RX_MAX, committed);
	arrived();
	burst(WAN0, from_user(80));
	for (uint16_t i = 0; i < 81; i++)
		expect_frame(DC0, at_vm(i));
	net_idle();
	expect_over(81, 81, 0);
}

static void
released_ones_do_not_pass_one_that_went_back(void **state)
{
	struct vec rx = {.n = 0};

	(void)state;
	committed();
	burst(WAN0, from_user(0), from_user(1));
	arrived();
	vm_hold_round(net.w, &rx);
	assert_int_equal(rx.n, 2);
	committed();
	assert_true(vm_hold_take(net.w, rx.m[0], vm_get(SEG1, MAC_VM(5)), ENTER_TO_VM));
	arrived();
	assert_true(vm_hold_take(net.w, rx.m[1], vm_get(SEG1, MAC_VM(5)), ENTER_TO_VM));
	burst(WAN0, from_user(2));
	for (uint16_t i = 0; i < 3; i++)
		expect_frame(DC0, at_vm(i));
	expect_over(2, 2, 0);
}

static void
a_record_that_changes_many_times_releases_once_and_to_where_it_says_last(void **state)
{
	uint16_t held = 0;

	(void)state;
	for (uint16_t i = 0; i < 6; i++) {
		paused();
		bent(held++);
		put(R_Y, ATT_ANY, VM_REC_HOLDS | VM_REC_NOTES);
		committed();
		bent(held++);
		put(R_X, ATT_1B, VM_REC_HOLDS | VM_REC_OPEN);
		net_idle();
		expect_nothing();
	}
	put(R_X, ATT_1B, VM_REC_OPEN);
	net_idle();
	for (uint16_t i = 0; i < held; i++)
		expect_frame(DC1, with_vlan(routed_by(MAC_GW, i), VLAN_1B));
	expect_over(held, held, 0);
}

/* ---- abort ---- */

static void
after_an_abort_what_came_through_the_tunnel_goes_back_as_the_owner_s_own(void **state)
{
	(void)state;
	paused();
	bent(0);
	burst(WAN0, from_tunnel(R_Y, SEG1, from_neighbour(MAC_VM(7), 1)));
	aborted();
	net_idle();
	expect_tunnel(R_Y, SEG1, routed_by(MAC_RY, 0));
	expect_tunnel(R_Y, SEG1, from_neighbour(MAC_RY, 1));
	expect_over(2, 2, 0);
	bent(2); /* and what did not wait is not sent back */
	expect_frame(DC0, routed_by(MAC_GW, 2));
	expect_frame(DC1, with_vlan(routed_by(MAC_GW, 2), VLAN_1B));
}

static void
after_an_abort_what_was_sent_here_goes_to_the_owner(void **state)
{
	(void)state;
	paused();
	vm_here(6);
	burst(DC0, from_neighbour(MAC_VM(6), 1));
	aborted();
	net_idle();
	expect_tunnel(R_Y, SEG1, from_neighbour(MAC_VM(6), 1));
	expect_over(1, 1, 0);
}

static void
what_comes_back_is_for_our_attachments_and_teaches_nothing(void **state)
{
	struct frame back = routed_by(MAC_RX, 1);
	struct vm_rec r = record(R_X, ATT_ANY, 0);

	(void)state;
	vm_moved_here(5, R_Y); /* it drains there: a frame of R_Y's own would be evidence of a session */
	burst(WAN0, from_tunnel(R_Y, SEG1, back));
	expect_frame(DC0, routed_by(MAC_GW, 1));
	assert_int_equal(net_home(IPPROTO_UDP, PRIVATE(5), 53, USER, 1001), 0);
	r.location = R_Y; /* we do not know yet that it is not there */
	vm_put(&r);
	burst(WAN0, from_tunnel(R_Y, SEG1, back));
	expect_frame(DC0, routed_by(MAC_GW, 1));
	expect_frame(DC1, with_vlan(routed_by(MAC_GW, 1), VLAN_1B));
	expect_no_event(EVENT_MAC_LEARN);
	expect_no_event(EVENT_VM_SEEN);
}

static void
what_its_new_router_sent_before_the_pause_is_sent_back_to_wait_there(void **state)
{
	(void)state;
	put(R_X, ATT_1, VM_REC_NOTES);
	bent(0); /* prepared: it stands here */
	expect_frame(DC0, routed_by(MAC_GW, 0));
	leaves_for(R_Y);
	bent(1);
	expect_tunnel(R_Y, SEG1, routed_by(MAC_RY, 1));
	burst(WAN0, from_tunnel(R_Y, SEG1, from_neighbour(MAC_VM(7), 2)));
	expect_tunnel(R_Y, SEG1, from_neighbour(MAC_RY, 2));
}

static void
what_comes_back_waits_while_the_vm_is_on_its_way(void **state)
{
	(void)state;
	paused();
	burst(WAN0, from_tunnel(R_Y, SEG1, routed_by(MAC_RX, 1)));
	arrived();
	net_idle();
	expect_frame(DC0, routed_by(MAC_GW, 1));
	expect_over(1, 1, 0);
}

static void
what_comes_back_for_a_vm_that_is_not_ours_is_spoofed(void **state)
{
	(void)state;
	burst(WAN0, from_tunnel(R_Y, SEG1, routed_by(MAC_RX, 1)));
	vm_at(5, R_Z);
	burst(WAN0, from_tunnel(R_Y, SEG1, routed_by(MAC_RX, 1)));
	expect_drop(DROP_SPOOFED, 2);
}

/* ---- bounds ---- */

static void
one_vm_holds_no_more_than_its_bounds(void **state)
{
	(void)state;
	committed();
	for (uint16_t i = 0; i < 20; i++)
		burst(WAN0, from_user(i));
	expect_drop(DROP_VM_HOLD_FULL, 4);
	arrived();
	net_idle();
	for (uint16_t i = 0; i < 16; i++)
		expect_frame(DC0, at_vm(i));
	expect_over(16, 16, 4);
	net.topo->hold.vm_bytes = 3 * from_user(0).len;
	committed();
	for (uint16_t i = 0; i < 4; i++)
		burst(WAN0, from_user(i));
	expect_drop(DROP_VM_HOLD_FULL, 1);
	arrived();
	net_idle();
	net_forget();
}

static void
hold(uint8_t n, uint16_t packets)
{
	struct frame f =
		udp(.smac = MAC_ISP, .dmac = MAC_WAN0, .src = USER, .dst = GLOBAL(n), .sport = 1, .dport = 2);

	vm(.mac = MAC_VM(n), .seg = SEG1, .att = ATT_ANY, .flags = VM_REC_HOLDS, .n_addresses = 1,
		.addresses = {{PRIVATE(n), GLOBAL(n)}});
	for (uint16_t i = 0; i < packets; i++)
		burst(WAN0, f);
}

static void
all_together_hold_no_more_than_theirs(void **state)
{
	(void)state;
	for (uint8_t n = 20; n < 25; n++)
		hold(n, 13);
	expect_drop(DROP_VM_HOLD_FULL, 1);
	assert_int_equal(net.w->vm_hold.packets, 64);
	for (uint8_t n = 20; n < 25; n++)
		vm_here(n);
	net_idle();
	net_forget();
	net.topo->hold.bytes = 200;
	hold(30, 4); /* of 50 bytes */
	hold(31, 1);
	expect_drop(DROP_VM_HOLD_FULL, 1);
	vm_del(SEG1, MAC_VM(30));
	net_idle();
	expect_drop(DROP_VM_HOLD_GONE, 4);
	vm_del(SEG1, MAC_VM(31));
	net_idle();
	net_forget();
}

static void
several_workers_share_the_bounds_and_each_holds_for_itself(void **state)
{
	struct worker *first = net.w, *second;

	(void)state;
	net.topo->n_workers = 2;
	second = worker_new(1, net.topo, &net.tables, net.pool);
	worker_tick(second, net.now_ms * 1000);
	committed();
	for (uint16_t i = 0; i < 9; i++) {
		net.w = first;
		burst(WAN0, from_user(i));
		net.w = second;
		burst(WAN0, from_user(100 + i));
	}
	arrived();
	net_idle();
	for (uint16_t i = 0; i < 8; i++)
		expect_frame(DC0, at_vm(100 + i));
	expect_over(8, 8, 1);
	expect_drop(DROP_VM_HOLD_FULL, 1);
	net.w = first;
	net_idle();
	for (uint16_t i = 0; i < 8; i++)
		expect_frame(DC0, at_vm(i));
	expect_over(8, 8, 1);
	worker_free(second);
}

static void
what_waits_longer_than_control_may_let_it_is_dropped(void **state)
{
	(void)state;
	committed();
	burst(WAN0, from_user(0));
	net_advance(32999);
	burst(WAN0, from_user(1));
	net_idle();
	expect_nothing();
	net_advance(1);
	net_idle();
	expect_drop(DROP_VM_HOLD_EXPIRED, 1);
	arrived();
	net_idle();
	expect_frame(DC0, at_vm(1));
	expect_over(2, 1, 1);
}

static void
what_waits_for_a_vm_that_is_deleted_is_dropped(void **state)
{
	(void)state;
	committed();
	for (uint16_t i = 0; i < 3; i++)
		burst(WAN0, from_user(i));
	vm_del(SEG1, MAC_VM(5));
	net_idle();
	expect_drop(DROP_VM_HOLD_GONE, 3);
	expect_over(3, 0, 3);
}

static void
an_address_that_became_another_vm_s_meanwhile_is_followed(void **state)
{
	(void)state;
	committed();
	burst(WAN0, from_user(0));
	vm(.mac = MAC_VM(5), .seg = SEG1, .att = ATT_1, .n_addresses = 1, .addresses = {{PRIVATE(50), 0}});
	vm(.mac = MAC_VM(8), .seg = SEG1, .att = ATT_ANY, .flags = VM_REC_HOLDS, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL(5)}});
	net_idle();
	expect_event(EVENT_HOLD_OVER);
	expect_nothing();
	vm(.mac = MAC_VM(8), .seg = SEG1, .att = ATT_1, .n_addresses = 1,
		.addresses = {{PRIVATE(5), GLOBAL(5)}});
	net_idle();
	expect_frame(DC0, udp(.smac = MAC_GW, .dmac = MAC_VM(8), .src = USER, .dst = PRIVATE(5),
				  .sport = 1000, .dport = 53, .ttl = 63));
	expect_event(EVENT_HOLD_OVER);
}

/* ---- what is told ---- */

static void
the_end_is_told_though_the_control_thread_was_behind(void **state)
{
	struct dp_event ev = {.kind = EVENT_HOLD_OVER};
	uint64_t lost;

	(void)state;
	committed();
	burst(WAN0, from_user(0));
	for (int i = 0; i < 2; i++) {
		while (!rte_ring_full(net.w->events[EVENT_HOLD_OVER]) && worker_event(net.w, &ev))
			;
		net_advance(1);
	}
	assert_true(rte_ring_full(net.w->events[EVENT_HOLD_OVER]));
	lost = net.w->c.events_lost[EVENT_HOLD_OVER];
	arrived();
	burst(WAN0, from_user(1));
	expect_frame(DC0, at_vm(0));
	expect_frame(DC0, at_vm(1));
	rte_ring_reset(net.w->events[EVENT_HOLD_OVER]);
	assert_int_equal(net.w->c.events_lost[EVENT_HOLD_OVER], lost);
	expect_over(1, 1, 0);
}

static void
a_probe_sees_it_wait_and_go_on(void **state)
{
	const struct probe_match any = {.port = TOPO_NONE, .seg = TOPO_NONE, .proto = -1};
	struct probe *p = probe_new(&any, PROBE_ALL, 64, 64);
	const struct probe_record *r;
	bool held = false, stage = false, sent = false;

	(void)state;
	probe_take(net.w, p);
	committed();
	burst(WAN0, from_user(0));
	arrived();
	net_idle();
	for (; (r = probe_next(p)) != NULL; probe_done(p)) {
		if (r->point == PROBE_HELD) {
			assert_int_equal(r->what, ENTER_TO_VM);
			held = true;
		}
		stage |= held && r->point == PROBE_STAGE && r->what == STAGE_TO_VM;
		sent |= stage && r->point == PROBE_SENT;
	}
	assert_true(held && stage && sent);
	probe_take(net.w, NULL);
	probe_free(p);
	expect_frame(DC0, at_vm(0));
	expect_over(1, 1, 0);
}

/* QEMU sends it when the guest resumes: the sign that it has arrived. */
static void
a_rarp_of_the_vm_it_waits_for_is_heard_at_our_attachment(void **state)
{
	struct frame rarp =
		arp_frame(.dmac = MAC_ALL, .op = 3, .rarp = true, .sha = MAC_VM(5), .tha = MAC_VM(5));
	struct dp_event ev;

	(void)state;
	paused();
	bent(0);
	burst(DC1, with_vlan(rarp, VLAN_1B));
	ev = expect_event(EVENT_VM_SEEN);
	assert_int_equal(ev.router, R_X);
	assert_int_equal(ev.att, ATT_1B);
	assert_memory_equal(&ev.mac, &MAC_VM(5), sizeof(ev.mac));
	assert_int_equal(net.w->vm_hold.packets, 1);
	net_forget();
}

static void
what_still_waits_is_freed_with_its_worker(void **state)
{
	(void)state;
	committed();
	burst(WAN0, from_user(0), from_user(1));
	bent(2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(routed_packets_wait_and_go_on_in_order),
		net_test(bridged_packets_wait_from_the_tunnel_and_from_attachments),
		net_test(what_our_vms_send_to_it_before_the_commit_waits_too),
		net_test(what_came_by_the_attachment_of_the_vm_goes_back_there_as_of_the_gateway),
		net_test(what_came_from_a_hypervisor_goes_on_to_the_one_where_the_vm_is),
		net_test(in_a_segment_others_stretch_frames_of_attachments_do_not_wait),
		net_test(unicast_arp_waits_too_and_a_broadcast_does_not),
		net_test(one_that_stands_at_a_peer_holds_nothing),
		net_test(one_that_was_not_heard_in_time_gets_it_at_all_attachments),
		net_test(what_is_newer_waits_behind_what_is_released),
		net_test(what_is_newer_in_the_last_burst_passes_at_once),
		net_test(released_ones_that_find_the_flag_again_go_back_to_where_they_stood),
		net_test(released_ones_do_not_pass_one_that_went_back),
		net_test(a_record_that_changes_many_times_releases_once_and_to_where_it_says_last),
		net_test(after_an_abort_what_came_through_the_tunnel_goes_back_as_the_owner_s_own),
		net_test(after_an_abort_what_was_sent_here_goes_to_the_owner),
		net_test(what_comes_back_is_for_our_attachments_and_teaches_nothing),
		net_test(what_its_new_router_sent_before_the_pause_is_sent_back_to_wait_there),
		net_test(what_comes_back_waits_while_the_vm_is_on_its_way),
		net_test(what_comes_back_for_a_vm_that_is_not_ours_is_spoofed),
		net_test(one_vm_holds_no_more_than_its_bounds),
		net_test(all_together_hold_no_more_than_theirs),
		net_test(several_workers_share_the_bounds_and_each_holds_for_itself),
		net_test(what_waits_longer_than_control_may_let_it_is_dropped),
		net_test(what_waits_for_a_vm_that_is_deleted_is_dropped),
		net_test(an_address_that_became_another_vm_s_meanwhile_is_followed),
		net_test(the_end_is_told_though_the_control_thread_was_behind),
		net_test(a_probe_sees_it_wait_and_go_on),
		net_test(a_rarp_of_the_vm_it_waits_for_is_heard_at_our_attachment),
		net_test(what_still_waits_is_freed_with_its_worker),
	};

	return net_main(tests);
}
