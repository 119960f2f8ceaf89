/* SPDX-License-Identifier: BSD-3-Clause */
/* Two workers that really run, on ports of one queue each: two ends of one net_memif, so that what is sent by one arrives at the
 * other. Port 0's queue is worker 0's and port 1's worker 1's. */
#include "bench.h"

#include <nearwayd/frames.h>
#include <nearwayd/loop.h>
#include <nearwayd/passing.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKERS	    2
#define HOSTS	    1000
#define AHEAD	    128 /* frames on their way, at most: each ring and queue takes them all */
#define WATCHDOG_MS 20000
#define SKIPPED	    77 /* meson's */

static struct loop_counts
counts(uint16_t worker)
{
	struct loop_counts n;

	for (int i = 0; i < 100; i++) { /* it gives up soon; the worker may want its CPU for longer */
		loop_counts(bench->loops[worker], &n);
		if (n.exact)
			return n;
	}
	fail_msg("worker %u does not answer", worker);
	return n;
}

static uint64_t
received(void)
{
	return counts(0).c.received + counts(1).c.received;
}

static void
wait_received(uint64_t n)
{
	for (int i = 0; i < WATCHDOG_MS * 10 && received() < n; i++)
		usleep(100);
	assert_int_equal(received(), n);
}

/* A frame of each of many hosts leaves by one port and comes in by the other. */
static void
send_by(uint16_t port)
{
	uint64_t before = received();

	for (uint16_t i = 0; i < HOSTS; i++) {
		struct rte_ether_addr host = {{2, 0, 0, 1, i >> 8, i & 0xff}};

		assert_true(dp_send(bench, frame_rarp(bench->pool, &host), port, 99));
		if (i % AHEAD == 0)
			wait_received(before + i + 1);
	}
	wait_received(before + HOSTS);
}

static void
what_a_port_of_one_queue_receives_all_workers_forward(uint16_t in, uint16_t out)
{
	struct loop_counts before[WORKERS] = {counts(0), counts(1)}, after[WORKERS];
	uint64_t arrived = 0;

	send_by(out);
	for (uint16_t i = 0; i < WORKERS; i++) {
		after[i] = counts(i);
		assert_in_range(after[i].c.received - before[i].c.received, HOSTS / 3, HOSTS * 2 / 3);
		assert_int_equal(after[i].imbalance, 0);
		arrived += after[i].c.port[in].rx_packets - before[i].c.port[in].rx_packets;
	}
	assert_int_equal(arrived, HOSTS);
	assert_int_equal(after[in].c.passed - before[in].c.passed,
		after[!in].c.received -
			before[!in]
				.c.received); /* the queue's worker passed on what the other one forwarded */
	assert_int_equal(after[!in].c.passed, before[!in].c.passed);
}

/* Worker 0, which sends what the control thread makes, has port 0's queue, */
static void
the_queues_worker_sends_by_it(void **state)
{
	(void)state;
	what_a_port_of_one_queue_receives_all_workers_forward(1, 0);
}

/* but port 1's is worker 1's. */
static void
a_worker_without_queue_sends_by_the_queues_worker(void **state)
{
	(void)state;
	what_a_port_of_one_queue_receives_all_workers_forward(0, 1);
}

static void
queues_of_ports_are_spread_over_workers(void **state)
{
	struct port p = {.index = 0, .rxqs = 1}, q = {.index = 1, .rxqs = 1}, r = {.index = 5, .rxqs = 3};

	(void)state;
	assert_int_equal(passing_owner(&p, 0, 2), 0);
	assert_int_equal(passing_owner(&q, 0, 2), 1);
	assert_int_equal(passing_owner(&r, 0, 3), 2);
	assert_int_equal(passing_owner(&r, 1, 3), 0);
	assert_int_equal(passing_owner(&r, 2, 3), 1);
}

static bool
linked(void)
{
	bench_advance(1000);
	return ports_at(bench->ports, 0)->up && ports_at(bench->ports, 1)->up;
}

/* Of its own the router speaks when a link comes up. */
static void
wait_until_quiet(void)
{
	uint64_t before;

	do {
		before = received();
		usleep(50000);
	} while (received() != before);
}

static int
start(void **state)
{
	struct err e = {0};

	if (bench_start(state) != 0)
		return -1;
	if (dp_run(bench, &e) != 0) {
		print_error("%s\n", e.text);
		return -1;
	}
	for (int i = 0; i < WATCHDOG_MS && !linked(); i++)
		usleep(1000);
	wait_until_quiet();
	return ports_at(bench->ports, 1)->up ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queues_of_ports_are_spread_over_workers),
		cmocka_unit_test(the_queues_worker_sends_by_it),
		cmocka_unit_test(a_worker_without_queue_sends_by_the_queues_worker),
	};
	char server[64], client[64];
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0 || !CPU_ISSET(0, &cpus) || !CPU_ISSET(1, &cpus))
		return SKIPPED;
	snprintf(server, sizeof(server), "net_memif0,role=server,socket=nearway-test-%d", getpid());
	snprintf(client, sizeof(client), "net_memif1,role=client,socket=nearway-test-%d", getpid());
	bench_devices[0] = server;
	bench_devices[1] = client;
	bench_cpus = "0-1";
	return cmocka_run_group_tests(tests, start, bench_stop);
}
