/* SPDX-License-Identifier: BSD-3-Clause */
/* What a worker does with packets that no port received, and what it tells the control thread. */
#include "harness.h"

static struct rte_mbuf *
made(void)
{
	struct rte_mbuf *m = worker_make(net.w, MADE_CONTROL);
	struct frame f = ether(0x88b5, .smac = MAC_GW, .dmac = MAC_ALL);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, f.len), f.b, f.len);
	meta(m)->enter = ENTER_PORT;
	meta(m)->out_port = DC0;
	return m;
}

static void
hold(rte_be32_t via)
{
	struct rte_mbuf *m = made();

	meta(m)->out_port = WAN0;
	meta(m)->via = via;
	worker_hold(net.w, m, ENTER_NEIGH);
}

static void
a_copy_has_its_own_bytes_and_the_same_metadata(void **state)
{
	struct rte_mbuf *m = made(), *c;

	(void)state;
	net.w->more = 1;
	c = worker_copy(net.w, m);
	assert_non_null(c);
	assert_memory_equal(meta(m), meta(c), sizeof(struct meta));
	rte_pktmbuf_mtod(c, uint8_t *)[0] = 2;
	assert_int_equal(rte_pktmbuf_mtod(m, uint8_t *)[0], 0xff);
	assert_int_equal(net.w->c.made[MADE_REPLICA], 1);
	worker_inject(net.w, m);
	worker_inject(net.w, c);
	net_idle();
	expect_frame(DC0, ether(0x88b5, .smac = MAC_GW, .dmac = MAC_ALL));
	expect_frame(DC0, ether(0x88b5, .smac = MAC_GW, .dmac = MAC(2, 0xff, 0xff, 0xff, 0xff, 0xff)));
}

static void
a_copy_that_finds_no_mbuf_counts_as_made_and_dropped(void **state)
{
	struct rte_mbuf *m = made(), *all[4096];
	unsigned int n = 0;

	(void)state;
	net.w->more = 1;
	while ((all[n] = rte_pktmbuf_alloc(net.pool)) != NULL)
		n++;
	assert_null(worker_copy(net.w, m));
	assert_null(worker_make(net.w, MADE_ICMP_ERROR));
	rte_pktmbuf_free_bulk(all, n);
	expect_drop(DROP_NO_MBUF, 2);
	worker_drop(net.w, m, DROP_NO_MBUF);
	expect_drop(DROP_NO_MBUF, 1);
	assert_int_equal(worker_imbalance(net.w), 0);
}

static void
copies_that_wait_are_bounded_and_take_no_room_of_fragments(void **state)
{
	struct rte_mbuf *m = made();

	(void)state;
	net.w->more = 2;
	for (int i = 0; i < INJECT_COPIES; i++)
		worker_inject(net.w, worker_copy(net.w, m));
	assert_null(worker_copy(net.w, m));
	expect_drop(DROP_INJECT_FULL, 1);
	assert_int_equal(net.w->more, 2);
	worker_drop(net.w, m, DROP_NO_MBUF);
	expect_drop(DROP_NO_MBUF, 1);
	rte_pktmbuf_free_bulk(net.w->inject.m, net.w->inject.n);
	net.w->c.drop[DROP_NO_MBUF] += net.w->inject.n;
	net.w->inject.n = 0;
	net_forget();
}

static void
an_injected_packet_forgets_the_record_of_its_vm(void **state)
{
	struct rte_mbuf *m = made();

	(void)state;
	vm_here(5);
	meta(m)->vm = vm_get(SEG1, MAC_VM(5));
	worker_inject(net.w, m);
	assert_null(meta(m)->vm);
}

static void
what_the_inject_vector_cannot_take_is_dropped(void **state)
{
	(void)state;
	for (int i = 0; i < VEC_MAX + 3; i++)
		worker_inject(net.w, made());
	expect_drop(DROP_INJECT_FULL, 3);
	assert_int_equal(worker_imbalance(net.w), 0);
}

static uint16_t
takes_one(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg, (void)n;
	assert_int_equal(port, DC0);
	rte_pktmbuf_free(m[0]);
	return 1;
}

static void
what_a_transmit_queue_does_not_take_is_dropped_and_counted_by_port(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		vec_add(&net.w->tx[DC0], made());
	worker_flush(net.w, takes_one, NULL);
	expect_drop(DROP_TX_FULL, 2);
	assert_int_equal(net.w->c.port[DC0].tx_packets, 1);
	assert_int_equal(net.w->c.port[DC0].tx_bytes, 22);
	assert_int_equal(net.w->c.port[DC0].tx_drops, 2);
}

static void
events_of_one_kind_do_not_use_up_those_of_another(void **state)
{
	struct dp_event flood = {.kind = EVENT_CONFLICT}, other = {.kind = EVENT_LOOP};

	(void)state;
	for (int i = 0; i < 100; i++)
		worker_event(net.w, &flood);
	assert_int_equal(net.w->c.events[EVENT_CONFLICT], event_rates[EVENT_CONFLICT]);
	assert_int_equal(net.w->c.events_lost[EVENT_CONFLICT], 100 - event_rates[EVENT_CONFLICT]);
	assert_true(worker_event(net.w, &other));
	net_advance(1000);
	assert_true(worker_event(net.w, &flood));
}

static void
more_events_than_their_ring_holds_are_lost_and_counted(void **state)
{
	struct dp_event ev = {.kind = EVENT_VM_SEEN};

	(void)state;
	for (int i = 0; i < 2000; i++) {
		net_advance(1);
		worker_event(net.w, &ev);
	}
	assert_int_equal(net.w->c.events[EVENT_VM_SEEN], EVENT_RING - 1);
	assert_int_equal(net.w->c.events_lost[EVENT_VM_SEEN], 2000 - (EVENT_RING - 1));
}

static void
news_of_a_host_is_told_again_only_after_100_ms_or_from_another_place(void **state)
{
	struct dp_event ev = {.kind = EVENT_VM_SEEN, .seg = SEG1, .mac = MAC_VM(5), .att = ATT_1};

	(void)state;
	worker_heard(net.w, &ev, NULL);
	worker_heard(net.w, &ev, NULL);
	expect_event(EVENT_VM_SEEN);
	expect_no_event(EVENT_VM_SEEN);
	ev.att = ATT_1B;
	worker_heard(net.w, &ev, NULL);
	assert_int_equal(expect_event(EVENT_VM_SEEN).att, ATT_1B);
	net_advance(HEARD_MS);
	worker_heard(net.w, &ev, NULL);
	expect_event(EVENT_VM_SEEN);
	ev.kind = EVENT_MAC_LEARN;
	worker_heard(net.w, &ev, NULL);
	expect_event(EVENT_MAC_LEARN);
}

static void
a_scratch_worker_tells_nothing(void **state)
{
	struct dp_event ev = {.kind = EVENT_LOOP};

	(void)state;
	net.w->scratch = true;
	assert_false(worker_event(net.w, &ev));
	expect_no_event(EVENT_LOOP);
	assert_int_equal(net.w->c.events_lost[EVENT_LOOP], 0);
}

static void
a_bucket_never_holds_more_than_its_burst(void **state)
{
	struct bucket b = {0};
	int n = 0;

	(void)state;
	while (bucket_take(&b, 1000000, 100, 5))
		n++;
	assert_int_equal(n, 5);
	assert_false(bucket_take(&b, 1000009, 100, 5));
	assert_true(bucket_take(&b, 1000010, 100, 5));
	assert_false(bucket_take(&b, 1000010, 100, 5));
	assert_false(bucket_take(&b, 999999, 100, 5)); /* a clock that steps back gives nothing */
}

static void
an_order_injects_the_packet_of_the_control_thread(void **state)
{
	struct frame f = ether(0x88b5, .smac = MAC_GW, .dmac = MAC_ALL);
	struct dp_order o = {.inject = rte_pktmbuf_alloc(net.pool), .made = MADE_CONTROL};

	(void)state;
	memcpy(rte_pktmbuf_append(o.inject, f.len), f.b, f.len);
	*meta(o.inject) = (struct meta){
		.origin = FROM_SELF, .enter = ENTER_PORT, .seg = SEG1, .out_port = DC1, .out_vlan = VLAN_1B};
	assert_int_equal(rte_ring_sp_enqueue_elem(net.w->orders, &o, sizeof(o)), 0);
	worker_orders(net.w);
	net_idle();
	expect_frame(DC1, with_vlan(f, VLAN_1B));
}

static void
orders_wait_while_the_inject_vector_is_full(void **state)
{
	struct dp_order o = {.inject = rte_pktmbuf_alloc(net.pool), .made = MADE_CONTROL};

	(void)state;
	*meta(o.inject) = (struct meta){.enter = ENTER_PORT};
	for (int i = 0; i < VEC_MAX; i++)
		worker_inject(net.w, made());
	assert_int_equal(rte_ring_sp_enqueue_elem(net.w->orders, &o, sizeof(o)), 0);
	worker_orders(net.w);
	assert_int_equal(rte_ring_count(net.w->orders), 1);
	net.w->inject.n--;
	worker_drop(net.w, net.w->inject.m[net.w->inject.n], DROP_INJECT_FULL);
	expect_drop(DROP_INJECT_FULL, 1);
	worker_orders(net.w);
	assert_int_equal(rte_ring_count(net.w->orders), 0);
	assert_int_equal(net.w->inject.n, VEC_MAX);
}

static void
released_packets_leave_and_the_others_wait(void **state)
{
	struct dp_order o = {.kind = ORDER_RELEASE, .port = WAN0, .ip = ISP};

	(void)state;
	hold(ISP);
	hold(OTHER);
	hold(ISP);
	hold(ISP);
	meta(net.w->hold[3])->out_port = WAN1; /* the same address behind another port is another neighbour */
	assert_int_equal(rte_ring_sp_enqueue_elem(net.w->orders, &o, sizeof(o)), 0);
	worker_orders(net.w);
	assert_int_equal(net.w->n_hold, 2);
	assert_int_equal(meta(net.w->hold[0])->via, OTHER);
	assert_int_equal(meta(net.w->hold[1])->out_port, WAN1);
	assert_int_equal(net.w->inject.n, 2);
	assert_int_equal(meta(net.w->inject.m[0])->enter, ENTER_NEIGH);
	assert_int_equal(worker_imbalance(net.w), 0);
}

static void
a_packet_is_held_for_three_seconds_at_most(void **state)
{
	(void)state;
	hold(OTHER);
	net_advance(HOLD_MS - 1);
	hold(OTHER);
	assert_int_equal(net.w->n_hold, 2);
	net_advance(1);
	expect_drop(DROP_HOLD_EXPIRED, 1);
	assert_int_equal(net.w->n_hold, 1);
}

static void
a_freed_worker_takes_its_packets_along(void **state)
{
	struct dp_order o = {.inject = rte_pktmbuf_alloc(net.pool), .made = MADE_CONTROL};

	(void)state; /* the harness looks for leaks */
	hold(OTHER);
	worker_inject(net.w, made());
	vec_add(&net.w->tx[WAN0], made());
	assert_int_equal(rte_ring_sp_enqueue_elem(net.w->orders, &o, sizeof(o)), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		net_test(a_copy_has_its_own_bytes_and_the_same_metadata),
		net_test(a_copy_that_finds_no_mbuf_counts_as_made_and_dropped),
		net_test(copies_that_wait_are_bounded_and_take_no_room_of_fragments),
		net_test(an_injected_packet_forgets_the_record_of_its_vm),
		net_test(what_the_inject_vector_cannot_take_is_dropped),
		net_test(what_a_transmit_queue_does_not_take_is_dropped_and_counted_by_port),
		net_test(events_of_one_kind_do_not_use_up_those_of_another),
		net_test(more_events_than_their_ring_holds_are_lost_and_counted),
		net_test(news_of_a_host_is_told_again_only_after_100_ms_or_from_another_place),
		net_test(a_scratch_worker_tells_nothing),
		net_test(a_bucket_never_holds_more_than_its_burst),
		net_test(an_order_injects_the_packet_of_the_control_thread),
		net_test(orders_wait_while_the_inject_vector_is_full),
		net_test(released_packets_leave_and_the_others_wait),
		net_test(a_packet_is_held_for_three_seconds_at_most),
		net_test(a_freed_worker_takes_its_packets_along),
	};

	return net_main(tests);
}
