/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <nearwayd/neighs.h>
#include <rte_arp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HOP RTE_BE32(0xc00002fe) /* 192.0.2.254 */

static const struct rte_ether_addr hop_mac = {{2, 0xff, 0, 0, 0, 1}}, other_mac = {{2, 0xff, 0, 0, 0, 2}};

static enum neigh_state
seen_by_workers(rte_be32_t ip, struct rte_ether_addr *mac)
{
	struct neigh_key key = {.ip = ip, .port = 0};
	struct neigh n;

	neightab_find(bench->tables.neighbours, &key, 1, &n);
	if (mac != NULL)
		*mac = n.mac;
	return n.state;
}

/* The next order is an ARP request from the port's own address for `ip`, to everybody or to `unicast`. */
static void
expect_request(rte_be32_t ip, const struct rte_ether_addr *unicast)
{
	struct rte_mbuf *m = bench_frame();
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	const struct rte_arp_hdr *a = (const struct rte_arp_hdr *)(eth + 1);

	assert_int_equal(meta(m)->enter, ENTER_PORT);
	assert_int_equal(meta(m)->out_port, 0);
	assert_int_equal(rte_pktmbuf_pkt_len(m), 60);
	assert_int_equal(eth->ether_type, RTE_BE16(RTE_ETHER_TYPE_ARP));
	assert_int_equal(a->arp_opcode, RTE_BE16(RTE_ARP_OP_REQUEST));
	assert_int_equal(a->arp_data.arp_tip, ip);
	assert_int_equal(a->arp_data.arp_sip, RTE_BE32(0xc0000201));
	assert_true(rte_is_same_ether_addr(&a->arp_data.arp_sha, &bench->topo->ports[0].mac));
	assert_true(rte_is_same_ether_addr(&eth->src_addr, &bench->topo->ports[0].mac));
	if (unicast == NULL)
		assert_true(rte_is_broadcast_ether_addr(&eth->dst_addr));
	else
		assert_true(rte_is_same_ether_addr(&eth->dst_addr, unicast));
	rte_pktmbuf_free(m);
}

static void
expect_release(rte_be32_t ip)
{
	struct dp_order o;

	if (!bench_order(&o))
		fail_msg("held packets are not released");
	assert_null(o.inject);
	assert_int_equal(o.port, 0);
	assert_int_equal(o.ip, ip);
}

static int
fresh(void **state)
{
	(void)state;
	bench_advance(120000); /* everything nobody keeps fails and is forgotten */
	bench_forget();
	return 0;
}

static void
wanted_neighbour_is_asked_for_at_once_and_each_second(void **state)
{
	(void)state;
	neighs_want(bench->neighs, 0, HOP);
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_RESOLVING);
	expect_release(HOP);
	expect_request(HOP, NULL);
	neighs_want(bench->neighs, 0, HOP); /* no second request for a second packet */
	bench_advance(900);
	bench_no_more();
	bench_advance(200);
	expect_request(HOP, NULL);
	bench_advance(1000);
	expect_request(HOP, NULL);
	bench_no_more();
}

static void
answer_makes_it_reachable_and_releases_held_packets(void **state)
{
	struct rte_ether_addr mac;

	(void)state;
	neighs_want(bench->neighs, 0, HOP);
	bench_forget();
	neighs_seen(bench->neighs, 0, HOP, &hop_mac);
	assert_int_equal(seen_by_workers(HOP, &mac), NEIGH_REACHABLE);
	assert_true(rte_is_same_ether_addr(&mac, &hop_mac));
	expect_release(HOP);
	neighs_seen(bench->neighs, 0, HOP, &hop_mac);
	bench_no_more(); /* nothing new, nothing done */
}

static void
neighbour_that_never_answers_fails_and_is_forgotten(void **state)
{
	(void)state;
	neighs_want(bench->neighs, 0, HOP);
	bench_advance(3100);
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_FAILED);
	bench_advance(3100);
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_NONE);
	bench_forget();
	neighs_want(bench->neighs, 0, HOP);
	expect_release(HOP);
	expect_request(HOP, NULL); /* the next packet asks again */
}

static void
reachable_neighbour_is_asked_again_by_unicast(void **state)
{
	(void)state;
	neighs_want(bench->neighs, 0, HOP);
	neighs_seen(bench->neighs, 0, HOP, &hop_mac);
	bench_forget();
	bench_advance(19000);
	bench_no_more();
	bench_advance(1200);
	expect_request(HOP, &hop_mac);
	neighs_seen(bench->neighs, 0, HOP, &hop_mac);
	bench_advance(5000);
	bench_no_more();
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_REACHABLE);
}

static void
silent_neighbour_stays_in_use_until_broadcasts_failed_too(void **state)
{
	(void)state;
	neighs_want(bench->neighs, 0, HOP);
	neighs_seen(bench->neighs, 0, HOP, &hop_mac);
	bench_forget();
	bench_advance(20100);
	for (int i = 0; i < 3; i++, bench_advance(1000))
		expect_request(HOP, &hop_mac);
	for (int i = 0; i < 3; i++, bench_advance(1000)) {
		assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_REACHABLE);
		expect_request(HOP, NULL);
	}
	bench_advance(200);
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_FAILED);
}

static void
next_hop_of_a_route_is_asked_for_until_it_answers(void **state)
{
	(void)state;
	neighs_keep(bench->neighs, 0, HOP);
	bench_advance(60000);
	bench_forget();
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_FAILED);
	bench_advance(1100);
	expect_request(HOP, NULL);
	neighs_seen(bench->neighs, 0, HOP, &hop_mac);
	expect_release(HOP);
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_REACHABLE);
	neighs_leave(bench->neighs, 0, HOP);
}

static void
next_hop_of_100000_routes_is_kept_until_the_last_has_left(void **state)
{
	(void)state;
	for (int i = 0; i < 100000; i++)
		neighs_keep(bench->neighs, 0, HOP);
	for (int i = 0; i < 99999; i++)
		neighs_leave(bench->neighs, 0, HOP);
	bench_advance(60000);
	bench_forget();
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_FAILED); /* not forgotten: still asked for */
	neighs_leave(bench->neighs, 0, HOP);
	bench_advance(5000);
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_NONE);
}

static void
neighbour_may_change_its_mac(void **state)
{
	struct rte_ether_addr mac;

	(void)state;
	neighs_want(bench->neighs, 0, HOP);
	neighs_seen(bench->neighs, 0, HOP, &hop_mac);
	bench_forget();
	neighs_seen(bench->neighs, 0, HOP, &other_mac);
	expect_release(HOP);
	seen_by_workers(HOP, &mac);
	assert_true(rte_is_same_ether_addr(&mac, &other_mac));
}

static void
arp_that_nobody_asked_for_makes_no_entry(void **state)
{
	(void)state;
	neighs_seen(bench->neighs, 0, HOP, &hop_mac);
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_NONE);
	bench_no_more();
}

static void
mac_that_no_host_has_is_not_believed(void **state)
{
	static const struct rte_ether_addr group = {{1, 0, 0x5e, 0, 0, 1}}, zero;

	(void)state;
	neighs_want(bench->neighs, 0, HOP);
	neighs_seen(bench->neighs, 0, HOP, &group);
	neighs_seen(bench->neighs, 0, HOP, &zero);
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_RESOLVING);
}

static void
only_wan_ports_have_neighbours(void **state)
{
	(void)state;
	neighs_want(bench->neighs, 1, HOP);
	neighs_want(bench->neighs, 99, HOP);
	bench_no_more();
}

static void
more_neighbours_than_the_limit_are_counted_not_asked_for(void **state)
{
	uint64_t before = neighs_refused(bench->neighs);

	(void)state;
	for (uint32_t i = 0; i < 10; i++) /* the limit is 8, a quarter of it for next hops of routes */
		neighs_want(bench->neighs, 0, rte_cpu_to_be_32(0xc0000210 + i));
	assert_int_equal(neighs_refused(bench->neighs), before + 4);
}

static void
whatever_packets_ask_for_a_route_finds_room_for_its_next_hop(void **state)
{
	uint64_t before;

	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		neighs_want(bench->neighs, 0, rte_cpu_to_be_32(0xc0000210 + i));
	before = neighs_refused(bench->neighs);
	neighs_keep(bench->neighs, 0, HOP);
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_RESOLVING);
	assert_int_equal(neighs_refused(bench->neighs), before);
	neighs_leave(bench->neighs, 0, HOP);
}

static void
vtep_of_a_peer_on_link_is_asked_for_from_the_start(void **state)
{
	rte_be32_t was = bench->topo->peers[0].vtep;

	(void)state;
	bench->topo->peers[0].vtep = HOP;
	neighs_run(bench->neighs);
	expect_release(HOP);
	expect_request(HOP, NULL);
	bench_advance(60000); /* it is not forgotten, though nobody answers and nothing is sent to it */
	assert_int_equal(seen_by_workers(HOP, NULL), NEIGH_FAILED);
	neighs_leave(bench->neighs, 0, HOP);
	bench->topo->peers[0].vtep = was;
}

static int
start(void **state)
{
	int rc = bench_start(state);

	if (rc == 0)
		neighs_run(bench->neighs);
	return rc;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(wanted_neighbour_is_asked_for_at_once_and_each_second, fresh),
		cmocka_unit_test_setup(answer_makes_it_reachable_and_releases_held_packets, fresh),
		cmocka_unit_test_setup(neighbour_that_never_answers_fails_and_is_forgotten, fresh),
		cmocka_unit_test_setup(reachable_neighbour_is_asked_again_by_unicast, fresh),
		cmocka_unit_test_setup(silent_neighbour_stays_in_use_until_broadcasts_failed_too, fresh),
		cmocka_unit_test_setup(next_hop_of_a_route_is_asked_for_until_it_answers, fresh),
		cmocka_unit_test_setup(next_hop_of_100000_routes_is_kept_until_the_last_has_left, fresh),
		cmocka_unit_test_setup(neighbour_may_change_its_mac, fresh),
		cmocka_unit_test_setup(arp_that_nobody_asked_for_makes_no_entry, fresh),
		cmocka_unit_test_setup(mac_that_no_host_has_is_not_believed, fresh),
		cmocka_unit_test_setup(only_wan_ports_have_neighbours, fresh),
		cmocka_unit_test_setup(more_neighbours_than_the_limit_are_counted_not_asked_for, fresh),
		cmocka_unit_test_setup(whatever_packets_ask_for_a_route_finds_room_for_its_next_hop, fresh),
		cmocka_unit_test_setup(vtep_of_a_peer_on_link_is_asked_for_from_the_start, fresh),
	};

	return cmocka_run_group_tests(tests, start, bench_stop);
}
