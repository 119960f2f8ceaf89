/* SPDX-License-Identifier: BSD-3-Clause */
/* test_loop.c - a worker that really runs, in either poll mode, on ports that give back what is sent on them; and on TAPs,
 * by which it can be woken. */
#include "bench.h"

#include <dataplane/node.h>
#include <nearwayd/eal.h>
#include <nearwayd/frames.h>
#include <nearwayd/fwd.h>
#include <nearwayd/loop.h>
#include <nearwayd/pools.h>
#include <report.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_MS 20000
#define SKIPPED	    77 /* meson's */

static const struct rte_ether_addr host = {{2, 0, 0, 0, 0, 0x77}};

static struct loop_counts
counts(void)
{
	struct loop_counts n;

	for (int i = 0; i < 100; i++) { /* it gives up soon; the worker may want its CPU for longer */
		loop_counts(bench->loops[0], &n);
		if (n.exact)
			return n;
	}
	fail_msg("the worker does not answer");
	return n;
}

static uint64_t
dropped(enum drop why)
{
	return counts().c.drop[why];
}

/* Waits until as many were dropped. */
static void
wait_drop(enum drop why, uint64_t to)
{
	for (int i = 0; i < WATCHDOG_MS && dropped(why) < to; i++)
		usleep(1000);
	assert_int_equal(dropped(why), to);
	report_drop(drop_names[why].name, 1);
}

static void
worker_lies_on_the_node_of_its_cpu(void **state)
{
	const struct worker *w = loop_worker(bench->loops[0]);

	(void)state;
	assert_int_equal(node_of(w), rte_lcore_to_socket_id(eal_lcore(0)));
	assert_int_equal(node_of(w->orders), node_of(w));
	assert_ptr_equal(w->pool, pools_at(bench->pools, node_of(w)));
	assert_ptr_equal(pools_at(bench->pools, node_of(w) + 1), w->pool); /* of a node without memory */
}

static void
tag_is_taken_off_and_tells_the_segment(void **state)
{
	struct vm_key_mac key = {.mac = host, .seg = 1};
	struct mac_entry e = {0};

	(void)state;
	assert_true(dp_send(bench, frame_rarp(bench->pool, &host), 1, 7));
	for (int i = 0; i < WATCHDOG_MS && mactab_find(bench->tables.macs, &key, 1, &e) == 0; i++) {
		usleep(1000);
		bench_events();
	}
	assert_int_equal(mactab_find(bench->tables.macs, &key, 1, &e), 1);
	assert_int_equal(e.att, 1);
	assert_int_equal(e.router, ROUTER_SELF);
}

static void
unknown_vlan_is_dropped_by_name(void **state)
{
	uint64_t before = dropped(DROP_VLAN_UNKNOWN);

	(void)state;
	assert_true(dp_send(bench, frame_rarp(bench->pool, &host), 1, 99));
	wait_drop(DROP_VLAN_UNKNOWN, before + 1);
}

static void
port_without_link_drops_by_name(void **state)
{
	uint64_t before = dropped(DROP_PORT_DOWN);

	(void)state;
	assert_int_equal(rte_eth_dev_set_link_down(ports_at(bench->ports, 1)->id), 0);
	bench_advance(1000);
	assert_true(dp_send(bench, frame_rarp(bench->pool, &host), 1, 99));
	wait_drop(DROP_PORT_DOWN, before + 1);
	assert_int_equal(rte_eth_dev_set_link_up(ports_at(bench->ports, 1)->id), 0);
	bench_advance(1000);
	assert_true(ports_at(bench->ports, 1)->up);
}

/* Long enough for an adaptive worker to sleep each time. */
static void
idle_worker_takes_each_order(void **state)
{
	uint64_t before = dropped(DROP_VLAN_UNKNOWN), slept = counts().sleeps;

	(void)state;
	for (int i = 1; i <= 50; i++) {
		usleep(5000);
		assert_true(dp_send(bench, frame_rarp(bench->pool, &host), 1, 99));
		wait_drop(DROP_VLAN_UNKNOWN, before + i);
	}
	if (bench_poll == POLL_ADAPTIVE)
		assert_true(counts().sleeps > slept);
	else
		assert_int_equal(counts().sleeps, 0);
}

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* On ports that have a wake descriptor a worker sleeps for half a second: an order must not wait for that. Of several
 * the median, as the machine may be busy for a moment. */
static void
sleeping_worker_is_woken_for_an_order(void **state)
{
	struct rte_ring *orders = loop_worker(bench->loops[0])->orders;
	uint64_t slept = counts().sleeps, cycles[15];
	const size_t n = sizeof(cycles) / sizeof(cycles[0]);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		uint64_t start;

		usleep(20000);
		start = rte_rdtsc();
		assert_true(dp_send(bench, frame_rarp(bench->pool, &host), 1, 0));
		while (!rte_ring_empty(orders) && rte_rdtsc() - start < 2 * rte_get_tsc_hz())
			usleep(200); /* and no question for counts, which would wake it, too */
		cycles[i] = rte_rdtsc() - start;
	}
	assert_true(counts().sleeps >= slept + n);
	assert_int_equal(counts().n_hold, 0); /* with a packet on hold it wakes by itself, and soon */
	qsort(cycles, n, sizeof(cycles[0]), by_size);
	assert_true(cycles[n / 2] * 10 < rte_get_tsc_hz());
}

/* At the first attachment, on its way here or there already. */
static void
put_vm(bool there)
{
	struct fwd_change c = {.op = FWD_VM_PUT};
	struct fwd_txn *txn;
	struct err e;

	memcpy(c.vm.mac.b, host.addr_bytes, sizeof(c.vm.mac.b));
	c.vm.attachment = there ? 0 : -1;
	c.vm.flags = there ? 0 : FWD_VM_HOLDS;
	c.vm.n_addresses = 1;
	c.vm.addresses[0].private_ip = 0x0a000007;
	assert_int_equal(fwd_prepare(bench->fwd, &c, 1, &txn, &e), 0);
	fwd_publish(bench->fwd, txn, NULL, NULL);
	bench_advance(5);
}

static void
send_to_vm(void)
{
	struct dp_order o = {.inject = rte_pktmbuf_alloc(bench->pool), .made = MADE_CONTROL};
	struct loop *l = bench->loops[0];
	struct rte_ipv4_hdr *ip;

	assert_non_null(o.inject);
	memset(rte_pktmbuf_append(o.inject, 64), 0, 64);
	ip = rte_pktmbuf_mtod_offset(o.inject, struct rte_ipv4_hdr *, sizeof(struct rte_ether_hdr));
	*ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = RTE_BE16(50),
		.time_to_live = 64,
		.src_addr = RTE_BE32(0xc0000209),
		.dst_addr = RTE_BE32(0x0a000007)};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*meta(o.inject) = (struct meta){
		.origin = FROM_SELF, .enter = ENTER_TO_VM, .in_att = TOPO_NONE, .flags = META_OWN};
	assert_int_equal(rte_ring_sp_enqueue_elem(loop_worker(l)->orders, &o, sizeof(o)), 0);
	loop_wake(l);
}

static void
wait_on_hold(uint32_t packets)
{
	const uint32_t *now = &loop_worker(bench->loops[0])->vm_hold.packets;

	for (int i = 0; i < WATCHDOG_MS * 5 && __atomic_load_n(now, __ATOMIC_RELAXED) != packets; i++)
		usleep(200); /* and no question for counts, which would wake it, too */
	assert_int_equal(__atomic_load_n(now, __ATOMIC_RELAXED), packets);
}

/* Nobody wakes a worker because a record changed. */
static void
what_waits_for_a_vm_goes_on_soon_though_the_worker_sleeps(void **state)
{
	uint64_t cycles[15];
	const size_t n = sizeof(cycles) / sizeof(cycles[0]);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		put_vm(false);
		send_to_vm();
		wait_on_hold(1);
		usleep(20000);
		cycles[i] = rte_rdtsc();
		put_vm(true);
		wait_on_hold(0);
		cycles[i] = rte_rdtsc() - cycles[i];
	}
	qsort(cycles, n, sizeof(cycles[0]), by_size);
	assert_true(cycles[n / 2] * 10 < rte_get_tsc_hz());
	put_vm(false);
	send_to_vm();
	wait_on_hold(1);
	assert_int_equal(counts().n_vm_hold, 1);
	assert_int_equal(counts().n_hold, 1);
	assert_int_equal(counts().imbalance, 0);
}

static void
every_frame_of_a_flood_is_accounted_for(void **state)
{
	uint64_t before = dropped(DROP_VLAN_UNKNOWN), sent = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct rte_mbuf *m = frame_rarp(bench->pool, &host);

		if (m != NULL && dp_send(bench, m, 1, 99))
			sent++;
		else
			usleep(100);
	}
	for (int i = 0; i < WATCHDOG_MS && dropped(DROP_VLAN_UNKNOWN) + dropped(DROP_TX_FULL) < before + sent;
		i++)
		usleep(1000);
	assert_int_equal(dropped(DROP_VLAN_UNKNOWN) + dropped(DROP_TX_FULL), before + sent);
	assert_int_equal(counts().imbalance, 0);
}

static void
no_buffer_is_lost(void **state)
{
	(void)state;
	/* What a neighbour's hold queue and a cache still have is not lost either. */
	for (int i = 0; i < WATCHDOG_MS && rte_mempool_in_use_count(bench->pool) != counts().n_hold; i++)
		usleep(1000);
	assert_int_equal(rte_mempool_in_use_count(bench->pool), counts().n_hold);
}

static int
start(void **state)
{
	struct err e = {0};

	if (bench_start(state) != 0)
		return -1;
	if (dp_run(bench, &e) == 0)
		return 0;
	print_error("%s\n", e.text);
	return -1;
}

/* Where TAPs may be made, and the kernel says nothing of its own by them: that would wake a worker, too. */
static bool
quiet_namespace(void)
{
	FILE *f;

	if (unshare(CLONE_NEWNET) != 0 || access("/dev/net/tun", W_OK) != 0)
		return false;
	f = fopen("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w");
	if (f == NULL)
		return true; /* no IPv6 at all */
	fputs("1", f);
	return fclose(f) == 0;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worker_lies_on_the_node_of_its_cpu),
		cmocka_unit_test(tag_is_taken_off_and_tells_the_segment),
		cmocka_unit_test(unknown_vlan_is_dropped_by_name),
		cmocka_unit_test(port_without_link_drops_by_name),
		cmocka_unit_test(idle_worker_takes_each_order),
		cmocka_unit_test(every_frame_of_a_flood_is_accounted_for),
		cmocka_unit_test(no_buffer_is_lost),
	};
	const struct CMUnitTest with_descriptors[] = {
		cmocka_unit_test(sleeping_worker_is_woken_for_an_order),
		cmocka_unit_test(what_waits_for_a_vm_goes_on_soon_though_the_worker_sleeps),
	};
	int rc;

	if (argc > 1 && strcmp(argv[1], "woken") == 0) {
		if (!quiet_namespace())
			return SKIPPED;
		bench_devices[0] = "net_tap0";
		bench_devices[1] = "net_tap1";
		return cmocka_run_group_tests(with_descriptors, start, bench_stop);
	}
	bench_devices[0] = "net_ring0";
	bench_devices[1] = "net_ring1";
	bench_poll = argc > 1 && strcmp(argv[1], "busy") == 0 ? POLL_BUSY : POLL_ADAPTIVE;
	report_open(bench_poll == POLL_BUSY ? "loop_busy" : "loop_adaptive");
	rc = cmocka_run_group_tests(tests, start, bench_stop);
	report_close();
	return rc;
}
