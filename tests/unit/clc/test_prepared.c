/* SPDX-License-Identifier: BSD-3-Clause */
/* A move told step by step, and cut off at each of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "clc_world.h"

#define ID "seg1/02:56:4d:00:00:01"

static struct clc_vm *
vm1(struct world *w)
{
	return state_find(&w->c.state, "vm1");
}

static int
prepare(struct world *w, const char *to)
{
	struct move_params p = {.to = to, .drain_min_ms = 1000, .drain_max_ms = 2000};
	struct err e;

	return clc_prepare(&w->c, vm1(w), &p, &e);
}

static int
told_pause(struct world *w)
{
	json_t *old_router = NULL;
	struct err e;
	int rc = clc_pause(&w->c, vm1(w), &old_router, &e);

	if (rc == 0)
		assert_string_equal(json_string_value(old_router), "ready");
	json_decref(old_router);
	return rc;
}

static int
commit(struct world *w)
{
	struct err e;

	return clc_commit(&w->c, vm1(w), &e);
}

static int
abort_move(struct world *w)
{
	struct err e;

	return clc_abort(&w->c, vm1(w), &e);
}

static struct seen_count
sync_with(struct world *w, const char *site)
{
	struct seen_count n = {0};
	struct err e;

	assert_int_equal(clc_sync(&w->c, inventory_site(&w->inv, site), &n, &e), 0);
	return n;
}

static struct world *
prepared(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(prepare(w, "y"), 0);
	assert_int_equal(vm1(w)->step, VM_PREPARED);
	assert_string_equal(fake_move_state(&w->g, ID, 2), "prepared");
	return w;
}

static void
prepare_pause_and_commit_move_a_vm_and_change_nothing_before(void **state)
{
	struct world *w = prepared(state);

	assert_string_equal(json_string_value(json_object_get(world_at_routers(w, "vm1"), "owner")), "r-x");
	assert_string_equal(world_global(w, "vm1"), "203.0.113.1");
	assert_int_equal(told_pause(w), 0);
	assert_string_equal(fake_move_state(&w->g, ID, 2), "paused");
	assert_int_equal(commit(w), 0);
	assert_at(w, "vm1", "r-y");
	assert_string_equal(world_global(w, "vm1"), "203.0.113.65");
	assert_int_equal(vm1(w)->held.n, 1);
}

static void
each_step_may_be_given_again(void **state)
{
	struct world *w = prepared(state);

	assert_int_equal(prepare(w, "y"), 0);
	assert_int_equal(told_pause(w), 0);
	assert_int_equal(told_pause(w), 0);
	assert_int_equal(commit(w), 0);
	assert_int_equal(commit(w), 0);
	world_restart(w);
	assert_int_equal(commit(w), 0);
	assert_int_equal(abort_move(w), -ENOENT);
	assert_int_equal(told_pause(w), -ENOENT);
	assert_int_equal(prepare(w, "y"), -EEXIST);
	assert_at(w, "vm1", "r-y");
}

static void
address_of_a_prepared_move_is_nobody_elses_until_it_is_aborted(void **state)
{
	struct world *w = prepared(state);

	assert_int_equal(world_create(w, "vm2", "y"), 0);
	assert_string_equal(world_global(w, "vm2"), "203.0.113.66");
	assert_int_equal(abort_move(w), 0);
	assert_int_equal(abort_move(w), 0);
	assert_int_equal(commit(w), -ENOENT);
	assert_at(w, "vm1", "r-x");
	assert_int_equal(world_create(w, "vm3", "y"), 0);
	assert_string_equal(world_global(w, "vm3"), "203.0.113.65");
}

static void
move_after_an_aborted_one_has_another_epoch(void **state)
{
	struct world *w = prepared(state);

	assert_int_equal(abort_move(w), 0);
	world_restart(w);
	assert_int_equal(prepare(w, "y"), 0);
	assert_string_equal(fake_move_state(&w->g, ID, 3), "prepared");
	assert_int_equal(commit(w), 0);
	assert_int_equal(vm1(w)->epoch, 3);
	assert_at(w, "vm1", "r-y");
}

static void
epochs_of_aborted_moves_that_it_does_not_know_are_passed_over(void **state)
{
	struct world *w = prepared(state);

	for (int i = 0; i < 3; i++) {
		assert_int_equal(abort_move(w), 0);
		assert_int_equal(prepare(w, "y"), 0);
	}
	assert_int_equal(abort_move(w), 0);
	vm1(w)->ended = ENDED_NONE; /* its state is an older one */
	vm1(w)->ended_epoch = 0;
	assert_int_equal(prepare(w, "y"), 0);
	assert_string_equal(fake_move_state(&w->g, ID, 6), "prepared");
	assert_int_equal(commit(w), 0);
	assert_at(w, "vm1", "r-y");
}

static void
vm_that_arrived_by_itself_is_found_so(void **state)
{
	struct world *w = prepared(state);

	fake_arrive(&w->g, ID, 2);
	assert_int_equal(sync_with(w, "x").finished, 0); /* its end is told to the new router */
	assert_int_equal(vm1(w)->step, VM_COMMITTING);
	assert_int_equal(sync_with(w, "y").finished, 1);
	assert_at(w, "vm1", "r-y");
	assert_int_equal(commit(w), 0);
}

static void
abort_that_comes_too_late_says_where_the_vm_is(void **state)
{
	struct world *w = prepared(state);

	fake_arrive(&w->g, ID, 2);
	assert_int_equal(abort_move(w), -EEXIST);
	assert_at(w, "vm1", "r-y");
	assert_int_equal(commit(w), 0);
}

static void
commit_that_comes_too_late_says_so_and_another_move_may_follow(void **state)
{
	struct world *w = prepared(state);

	fake_time_out(&w->g, ID, 2);
	assert_int_equal(commit(w), -ECANCELED);
	assert_at(w, "vm1", "r-x");
	assert_int_equal(prepare(w, "y"), 0);
	fake_time_out(&w->g, ID, 3);
	assert_int_equal(told_pause(w), -ECANCELED);
	assert_int_equal(prepare(w, "y"), 0);
	fake_time_out(&w->g, ID, 4);
	assert_int_equal(prepare(w, "y"), 0); /* anew */
	assert_int_equal(commit(w), 0);
	assert_int_equal(vm1(w)->epoch, 5);
	assert_at(w, "vm1", "r-y");
}

/* However the router's answer was lost, and whoever finishes it. */
static void
each_step_that_was_cut_off_is_finished(void **state)
{
	static const enum fake_fault faults[] = {FAULT_LOSE_REPLY, FAULT_LOSE_BEFORE};
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	for (int i = 0; i < 4; i++) {
		const char *to = i % 2 == 0 ? "y" : "x";
		struct fake_router *r = &w->g.r[i % 2 == 0 ? Y : X];
		bool by_sync = i >= 2;

		for (int k = 0; k < 3; k++) {
			r->fault = faults[i % 2];
			assert_int_equal(k == 0	  ? prepare(w, to)
					 : k == 1 ? told_pause(w)
						  : commit(w),
				-EHOSTUNREACH);
			world_restart(w);
			assert_int_equal(vm1(w)->step, k == 2 ? VM_COMMITTING : VM_PREPARED);
			if (by_sync)
				assert_int_equal(sync_with(w, to).finished, k == 2);
			else
				assert_int_equal(k == 0	  ? prepare(w, to)
						 : k == 1 ? told_pause(w)
							  : commit(w),
					0);
		}
		assert_at(w, "vm1", i % 2 == 0 ? "r-y" : "r-x");
	}
}

static void
abort_that_was_cut_off_is_finished(void **state)
{
	struct world *w = prepared(state);

	w->g.r[Y].fault = FAULT_LOSE_BEFORE;
	assert_int_equal(abort_move(w), -EHOSTUNREACH);
	world_restart(w);
	assert_int_equal(vm1(w)->step, VM_ABORTING);
	assert_int_equal(sync_with(w, "y").finished, 1);
	assert_at(w, "vm1", "r-x");
	assert_string_equal(fake_move_state(&w->g, ID, 2), "aborted");
}

static void
router_that_lost_a_prepared_move_is_told_all_of_it_again(void **state)
{
	struct world *w = prepared(state);

	fake_forget_moves(&w->g);
	sync_with(w, "y");
	assert_string_equal(fake_move_state(&w->g, ID, 2), "prepared");
	fake_forget_moves(&w->g);
	assert_int_equal(commit(w), 0);
	assert_at(w, "vm1", "r-y");
}

static void
router_that_cannot_be_reached_decides_when_it_can(void **state)
{
	struct world *w = prepared(state);

	fake_router_down(&w->g.r[Y]);
	assert_int_equal(commit(w), -EHOSTUNREACH);
	assert_int_equal(abort_move(w), -EHOSTUNREACH); /* nobody knows yet whether it was committed */
	assert_int_equal(vm1(w)->step, VM_ABORTING);
	fake_arrive(&w->g, ID, 2);
	fake_router_up(&w->g.r[Y]);
	assert_int_equal(abort_move(w), -EEXIST);
	assert_at(w, "vm1", "r-y");
}

static void
refused_prepare_undoes_the_intent(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	w->g.r[Y].fault = FAULT_REFUSE;
	assert_true(prepare(w, "y") != 0);
	assert_at(w, "vm1", "r-x");
	assert_int_equal(world_create(w, "vm2", "y"), 0);
	assert_string_equal(world_global(w, "vm2"), "203.0.113.65");
}

static void
other_commands_say_that_a_move_is_prepared(void **state)
{
	struct world *w = prepared(state);

	assert_int_equal(world_move(w, "vm1", "y"), -EBUSY);
	assert_int_equal(prepare(w, "x"), -EBUSY);
	assert_string_equal(fake_move_state(&w->g, ID, 2), "prepared");
}

static void
prepared_vm_can_be_deleted(void **state)
{
	struct world *w = prepared(state);
	struct err e;

	assert_int_equal(clc_delete(&w->c, "vm1", &e), 0);
	assert_null(vm1(w));
	assert_true(json_is_true(json_object_get(fake_vm(&w->g, ID), "deleted")));
	assert_int_equal(json_integer_value(json_object_get(fake_vm(&w->g, ID), "epoch")), 3);
}

static void
somebody_elses_change_ends_a_prepared_move(void **state)
{
	struct world *w = prepared(state);
	json_t *vm = fake_vm(&w->g, ID);

	json_object_set_new(vm, "epoch", json_integer(7));
	assert_int_equal(commit(w), -ECANCELED);
	sync_with(w, "x");
	assert_at(w, "vm1", "r-x");
	assert_int_equal(vm1(w)->epoch, 7);
}

static void
host_routes_follow_the_commit(void **state)
{
	struct world *w = *state;

	list_at(w->inv.segments, struct inv_segment, 0)->access = 1;
	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(prepare(w, "y"), 0);
	assert_int_equal(json_object_size(w->g.r[U].routes), 1);
	json_t *before = json_deep_copy(w->g.r[U].routes);

	w->g.r[U].fault = FAULT_LOSE_BEFORE;
	assert_int_equal(commit(w), -EHOSTUNREACH);
	assert_int_equal(vm1(w)->step, VM_COMMITTING);
	assert_true(json_equal(before, w->g.r[U].routes));
	assert_int_equal(commit(w), 0);
	assert_false(json_equal(before, w->g.r[U].routes));
	assert_at(w, "vm1", "r-y");
	json_decref(before);
}

int
main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(prepare_pause_and_commit_move_a_vm_and_change_nothing_before),
		TEST(each_step_may_be_given_again),
		TEST(address_of_a_prepared_move_is_nobody_elses_until_it_is_aborted),
		TEST(move_after_an_aborted_one_has_another_epoch),
		TEST(epochs_of_aborted_moves_that_it_does_not_know_are_passed_over),
		TEST(vm_that_arrived_by_itself_is_found_so),
		TEST(abort_that_comes_too_late_says_where_the_vm_is),
		TEST(commit_that_comes_too_late_says_so_and_another_move_may_follow),
		TEST(each_step_that_was_cut_off_is_finished),
		TEST(abort_that_was_cut_off_is_finished),
		TEST(router_that_lost_a_prepared_move_is_told_all_of_it_again),
		TEST(router_that_cannot_be_reached_decides_when_it_can),
		TEST(refused_prepare_undoes_the_intent),
		TEST(other_commands_say_that_a_move_is_prepared),
		TEST(prepared_vm_can_be_deleted),
		TEST(somebody_elses_change_ends_a_prepared_move),
		TEST(host_routes_follow_the_commit),
	};

	return world_start(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
