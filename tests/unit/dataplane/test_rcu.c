/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/rcu.h>

struct note {
	struct rcu *rcu;
	int *order, *n, id;
	bool again;
};

static void
write_down(void *arg)
{
	struct note *e = arg;

	e->order[(*e->n)++] = e->id;
	if (e->again) {
		e->again = false;
		assert_int_equal(rcu_defer(e->rcu, write_down, e), 0);
	}
}

static void
a_token_passes_only_after_each_online_worker_was_quiescent(void **state)
{
	struct rcu *r = rcu_new(3);
	uint64_t token;

	(void)state;
	for (uint32_t w = 0; w < 3; w++)
		assert_int_equal(rcu_register(r, w), 0);
	rte_rcu_qsbr_thread_online(rcu_qsbr(r), 0);
	rte_rcu_qsbr_thread_online(rcu_qsbr(r), 1);
	token = rcu_start(r); /* worker 2 is offline: not waited for */
	assert_false(rcu_passed(r, token));
	rte_rcu_qsbr_quiescent(rcu_qsbr(r), 0);
	assert_false(rcu_passed(r, token));
	rte_rcu_qsbr_quiescent(rcu_qsbr(r), 1);
	assert_true(rcu_passed(r, token));
	token = rcu_start(r);
	rte_rcu_qsbr_thread_offline(rcu_qsbr(r), 0);
	rte_rcu_qsbr_thread_offline(rcu_qsbr(r), 1);
	assert_true(rcu_passed(r, token));
	assert_int_equal(rcu_register(r, 3), -EINVAL);
	rcu_free(r);
}

static void
deferred_calls_run_once_in_order_after_their_grace_period(void **state)
{
	struct rcu *r = rcu_new(1);
	struct note notes[200];
	int order[400], n = 0;

	(void)state;
	assert_int_equal(rcu_register(r, 0), 0);
	rte_rcu_qsbr_thread_online(rcu_qsbr(r), 0);
	for (int i = 0; i < 200; i++) {
		notes[i] = (struct note){r, order, &n, i, false};
		assert_int_equal(rcu_defer(r, write_down, &notes[i]), 0);
	}
	assert_int_equal(rcu_poll(r), 200);
	assert_int_equal(n, 0);
	rte_rcu_qsbr_quiescent(rcu_qsbr(r), 0);
	assert_int_equal(rcu_poll(r), 0);
	assert_int_equal(n, 200);
	for (int i = 0; i < n; i++)
		assert_int_equal(order[i], i);
	rcu_free(r);
}

static void
a_deferred_call_may_defer_another(void **state)
{
	struct rcu *r = rcu_new(1);
	int order[4], n = 0;
	struct note e = {r, order, &n, 7, true};

	(void)state;
	assert_int_equal(rcu_register(r, 0), 0);
	rte_rcu_qsbr_thread_online(rcu_qsbr(r), 0);
	assert_int_equal(rcu_defer(r, write_down, &e), 0);
	rte_rcu_qsbr_quiescent(rcu_qsbr(r), 0);
	assert_int_equal(rcu_poll(r), 1);
	assert_int_equal(n, 1);
	rte_rcu_qsbr_thread_offline(rcu_qsbr(r), 0);
	rcu_wait(r);
	assert_int_equal(rcu_poll(r), 0);
	assert_int_equal(n, 2);
	rcu_free(r);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_passes_only_after_each_online_worker_was_quiescent),
		cmocka_unit_test(deferred_calls_run_once_in_order_after_their_grace_period),
		cmocka_unit_test(a_deferred_call_may_defer_another),
	};

	(void)argc;
	start_eal(argv[0], "64");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
