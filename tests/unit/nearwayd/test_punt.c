/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <nearwayd/punt.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct rte_mbuf *
frame(void)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(bench->pool);

	assert_non_null(m);
	assert_non_null(rte_pktmbuf_append(m, 60));
	return m;
}

static void
frame_of_the_kernel_leaves_by_its_port_and_counts_as_punt(void **state)
{
	struct dp_order o;

	(void)state;
	assert_true(dp_send_punt(bench, frame(), 0));
	assert_true(bench_order(&o));
	assert_int_equal(o.made, MADE_PUNT);
	assert_int_equal(meta(o.inject)->enter, ENTER_PORT);
	assert_int_equal(meta(o.inject)->out_port, 0);
	rte_pktmbuf_free(o.inject);
	bench_no_more();
}

static void
kernel_fills_half_of_the_queue_at_most_and_leaves_the_rest_to_the_router(void **state)
{
	unsigned int before = rte_mempool_in_use_count(bench->pool);
	uint64_t lost = bench->frames_lost;
	int n = 0;

	(void)state;
	while (dp_send_punt(bench, frame(), 0))
		n++;
	assert_int_equal(n, ORDER_RING / 2);
	assert_true(dp_send(bench, frame(), 0, 0));
	assert_int_equal(bench->frames_lost, lost); /* those are of our own */
	bench_forget();
	assert_int_equal(rte_mempool_in_use_count(bench->pool), before);
}

static void
port_that_does_not_punt_has_nothing_to_show(void **state)
{
	struct punt_info info;

	(void)state;
	assert_false(punt_info(bench->punt, 0, &info));
	assert_false(punt_drain(bench->punt));
	punt_link(bench->punt, 0, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_of_the_kernel_leaves_by_its_port_and_counts_as_punt),
		cmocka_unit_test(kernel_fills_half_of_the_queue_at_most_and_leaves_the_rest_to_the_router),
		cmocka_unit_test(port_that_does_not_punt_has_nothing_to_show),
	};

	return cmocka_run_group_tests(tests, bench_start, bench_stop);
}
