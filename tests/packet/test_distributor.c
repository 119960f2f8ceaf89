/* SPDX-License-Identifier: BSD-3-Clause */
/* Which worker forwards a packet of a port that has too few queues, and how it gets there. */
#include "harness.h"

#include <dataplane/distributor.h>

#define WORKERS 4
#define VMS	1000

static struct rte_mbuf *
arrived(uint8_t port, struct frame f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, f.len), f.b, f.len);
	*meta(m) = (struct meta){.origin = port == WAN0 ? FROM_WAN : FROM_DC, .in_port = port};
	return m;
}

static uint16_t
worker_of(uint8_t port, struct frame f)
{
	struct rte_mbuf *m = arrived(port, f);
	uint16_t to = distributor_worker(m, WORKERS);

	rte_pktmbuf_free(m);
	return to;
}

static struct rte_ether_addr
mac_of(uint16_t vm)
{
	return MAC(2, 0, 0, 0, vm >> 8, vm & 0xff);
}

static rte_be32_t
global_of(uint16_t vm)
{
	return rte_cpu_to_be_32(0xcb007100u + vm);
}

/* ---- whose a packet is ---- */

static void
from_a_vm_all_is_one_workers_whatever_it_says_to_whom(void **state)
{
	uint16_t to = worker_of(DC0, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER));

	(void)state;
	assert_int_equal(worker_of(DC0, tcp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(5),
						.dst = OTHER, .sport = 7, .dport = 80)),
		to);
	assert_int_equal(worker_of(DC0, udp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER,
						.frag = RTE_IPV4_HDR_MF_FLAG)),
		to);
	assert_int_equal(worker_of(DC0, ip(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER,
						.proto = IPPROTO_UDP, .frag = 2)),
		to);
	assert_int_equal(
		worker_of(DC0, arp_frame(.sha = MAC_VM(5), .dmac = MAC_ALL, .spa = PRIVATE(5), .tpa = GW)),
		to);
}

static void
to_a_vm_all_is_one_workers_whoever_sends_it(void **state)
{
	uint16_t to = worker_of(WAN0, udp(.smac = MAC_ISP, .dmac = MAC_WAN0, .src = USER, .dst = GLOBAL(5)));

	(void)state;
	assert_int_equal(worker_of(WAN0, tcp(.smac = MAC_ISP, .dmac = MAC_WAN0, .src = OTHER,
						 .dst = GLOBAL(5), .sport = 7, .dport = 80)),
		to);
	assert_int_equal(worker_of(WAN0, ip(.smac = MAC_ISP, .dmac = MAC_WAN0, .src = USER, .dst = GLOBAL(5),
						 .proto = IPPROTO_UDP, .frag = 2)),
		to);
}

static void
in_the_tunnel_the_macs_inside_say_whose_it_is(void **state)
{
	struct frame in = udp(.smac = MAC_RY, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5), .sport = 1),
		     other = udp(.smac = MAC_RY, .dmac = MAC_VM(5), .src = OTHER, .dst = PRIVATE(5),
			     .sport = 2);

	(void)state;
	assert_int_equal(
		worker_of(WAN0, from_tunnel(R_Y, SEG1, in)), worker_of(WAN0, from_tunnel(R_Y, SEG1, other)));
}

/* Each of four workers gets a quarter, by a tenth more or less: numbers in a row are spread better than chance. */
static void
assert_even(const uint32_t *of)
{
	for (int i = 0; i < WORKERS; i++)
		assert_in_range(of[i], VMS / WORKERS * 9 / 10, VMS / WORKERS * 11 / 10);
}

static void
vms_are_spread_evenly(void **state)
{
	uint32_t from[WORKERS] = {0}, to[WORKERS] = {0}, tunnel[WORKERS] = {0};

	(void)state;
	for (uint16_t i = 0; i < VMS; i++) {
		struct frame f = udp(.smac = mac_of(i), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER);
		struct frame g = udp(.smac = MAC_ISP, .dmac = MAC_WAN0, .src = USER, .dst = global_of(i));
		struct frame h = udp(.smac = MAC_RY, .dmac = mac_of(i), .src = USER, .dst = PRIVATE(5));

		from[worker_of(DC0, f)]++;
		to[worker_of(WAN0, g)]++;
		tunnel[worker_of(WAN0, from_tunnel(R_Y, SEG1, h))]++;
	}
	assert_even(from);
	assert_even(to);
	assert_even(tunnel);
}

/* Only what is there is read: the mbuf ends with the frame, which a sanitizer sees. */
static void
a_frame_cut_off_anywhere_is_somebodys(void **state)
{
	struct frame f = from_tunnel(
		R_Y, SEG1, udp(.smac = MAC_RY, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5)));

	(void)state;
	for (uint16_t n = f.len; n > 0; n--) {
		f.len = n;
		assert_in_range(worker_of(WAN0, f), 0, WORKERS - 1);
		assert_in_range(worker_of(DC0, f), 0, WORKERS - 1);
	}
}

/* ---- how it gets there ---- */

static void
what_a_worker_is_passed_arrives_in_order_and_the_rest_is_dropped_by_name(void **state)
{
	struct outlet o = {
		.ring = rte_ring_create("outlet", OUTLET_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ)};
	struct frame f = udp(.smac = MAC_ISP, .dmac = MAC_WAN0, .src = USER, .dst = GLOBAL(5));
	struct rte_mbuf *m[OUTLET_RING];
	uint32_t n = 0;

	(void)state;
	assert_non_null(o.ring);
	assert_false(distributor_pass(net.w, &o));
	while (n < OUTLET_RING) {
		for (o.n = 0; o.n < RX_MAX; o.n++)
			o.m[o.n] = m[n++] = arrived(WAN0, f);
		assert_true(distributor_pass(net.w, &o));
		assert_int_equal(o.n, 0);
	}
	expect_drop(DROP_DISTRIBUTOR_FULL, 1); /* a ring of 512 holds 511 */
	assert_int_equal(net.w->c.received, 1);
	assert_int_equal(worker_imbalance(net.w), 0);
	for (uint32_t i = 0; i < OUTLET_RING - 1; i++) {
		void *got;

		assert_int_equal(rte_ring_sc_dequeue(o.ring, &got), 0);
		assert_ptr_equal(got, m[i]);
		rte_pktmbuf_free(got);
	}
	rte_ring_free(o.ring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(from_a_vm_all_is_one_workers_whatever_it_says_to_whom),
		net_test(to_a_vm_all_is_one_workers_whoever_sends_it),
		net_test(in_the_tunnel_the_macs_inside_say_whose_it_is),
		net_test(vms_are_spread_evenly),
		net_test(a_frame_cut_off_anywhere_is_somebodys),
		net_test(what_a_worker_is_passed_arrives_in_order_and_the_rest_is_dropped_by_name),
	};

	return net_main(tests);
}
