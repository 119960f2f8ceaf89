/* SPDX-License-Identifier: BSD-3-Clause */
/* A site is left in batches: what is refused, stopped or cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "clc_world.h"

#define VMS 25

static int batches_left; /* until somebody stops it */

static bool
go_on(void *arg, const struct evacuation *x)
{
	(void)arg;
	(void)x;
	return --batches_left > 0;
}

static int
evacuate(struct world *w, struct evacuation *x, size_t batch, const char *segment)
{
	struct err e;
	int rc;

	*x = (struct evacuation){.from = "x",
		.segment = segment,
		.move = {.to = "y", .drain_min_ms = 0, .drain_max_ms = 1000},
		.batch = batch,
		.go_on = go_on};
	rc = clc_evacuate(&w->c, x, &e);
	return rc;
}

static void
create(struct world *w, int n, const char *site)
{
	char name[16];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s%d", site, i);
		assert_int_equal(world_create(w, name, site), 0);
	}
	batches_left = 1000;
}

static size_t
count_at(struct world *w, const char *site)
{
	struct clc_vm *vm, *next;
	size_t n = 0;

	HASH_ITER (by_name, w->c.state.vms, vm, next) {
		assert_int_equal(vm->step, VM_ACTIVE);
		n += strcmp(vm->site, site) == 0;
	}
	return n;
}

static void
all_vms_of_a_site_move_a_batch_after_another(void **state)
{
	struct world *w = *state;
	struct evacuation x;

	create(w, VMS, "x");
	assert_int_equal(world_create(w, "y0", "y"), 0);
	assert_int_equal(evacuate(w, &x, 10, "seg1"), 0);
	assert_int_equal(x.wanted, VMS);
	assert_int_equal(x.moved, VMS);
	assert_int_equal(x.batches, 3);
	assert_int_equal(json_array_size(x.refused), 0);
	assert_int_equal(w->g.r[Y].txns, 3);
	assert_int_equal(count_at(w, "y"), VMS + 1);
	assert_at(w, "x24", "r-y");
	assert_int_equal(world_vm(w, "y0")->epoch, 1);
	json_decref(x.refused);
	assert_int_equal(evacuate(w, &x, 10, NULL), 0);
	assert_int_equal(x.wanted, 0);
	json_decref(x.refused);
}

static void
segment_that_was_not_meant_stays(void **state)
{
	struct world *w = *state;
	struct evacuation x;

	create(w, 2, "x");
	assert_int_equal(evacuate(w, &x, 10, "another"), 0);
	assert_int_equal(x.wanted, 0);
	assert_int_equal(count_at(w, "x"), 2);
	json_decref(x.refused);
}

/* The router has it deleted at the very epoch of its move: a conflict that nothing but the answer tells. */
static void
vm_that_is_refused_stays_and_the_others_of_its_batch_move(void **state)
{
	struct world *w = *state;
	struct evacuation x;

	create(w, VMS, "x");
	json_object_set_new(world_at_routers(w, "x7"), "epoch", json_integer(2));
	json_object_set_new(world_at_routers(w, "x7"), "deleted", json_true());
	assert_int_equal(evacuate(w, &x, VMS, NULL), 0);
	assert_int_equal(x.moved, VMS - 1);
	assert_int_equal(json_array_size(x.refused), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(x.refused, 0), "vm")), "x7");
	assert_null(w->c.state.evacuation); /* it is at its end */
	assert_int_equal(count_at(w, "x"), 1);
	json_decref(x.refused);
}

static void
batch_of_which_all_are_refused_ends_it(void **state)
{
	struct world *w = *state;
	struct evacuation x;
	char name[16];

	create(w, VMS, "x");
	for (int i = 0; i < VMS; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		json_object_set_new(world_at_routers(w, name), "epoch", json_integer(2));
		json_object_set_new(world_at_routers(w, name), "deleted", json_true());
	}
	assert_int_equal(evacuate(w, &x, 10, NULL), -EPROTO);
	assert_int_equal(x.moved, 0);
	assert_int_equal(x.batches, 1);
	assert_int_equal(json_array_size(x.refused), 10);
	assert_non_null(w->c.state.evacuation); /* to be resumed, or aborted */
	json_decref(x.refused);
}

static void
stopped_after_a_batch_it_goes_on_when_it_is_given_again(void **state)
{
	struct world *w = *state;
	struct evacuation x;

	create(w, VMS, "x");
	batches_left = 1;
	assert_int_equal(evacuate(w, &x, 10, NULL), 0);
	assert_int_equal(x.moved, 10);
	assert_int_equal(count_at(w, "x"), VMS - 10);
	json_decref(x.refused);
	world_restart(w);
	batches_left = 1000;
	assert_int_equal(evacuate(w, &x, 10, NULL), 0);
	assert_int_equal(x.wanted, VMS - 10);
	assert_int_equal(x.moved, VMS - 10);
	assert_int_equal(count_at(w, "y"), VMS);
	json_decref(x.refused);
}

static void
router_that_is_lost_on_the_way_ends_it_and_nothing_is_done_twice(void **state)
{
	static const enum fake_fault faults[] = {FAULT_LOSE_REPLY, FAULT_LOSE_BEFORE};
	struct world *w = *state;
	struct evacuation x;

	create(w, VMS, "x");
	for (size_t i = 0; i < 2; i++) {
		w->g.r[Y].fault = faults[i];
		assert_int_equal(evacuate(w, &x, 10, NULL), -EHOSTUNREACH);
		assert_int_equal(x.batches, 1);
		json_decref(x.refused);
		world_restart(w);
	}
	assert_int_equal(evacuate(w, &x, 10, NULL), 0);
	assert_int_equal(count_at(w, "y"), VMS);
	for (struct clc_vm *vm = w->c.state.vms; vm != NULL; vm = vm->by_name.next)
		assert_int_equal(vm->epoch, 2);
	json_decref(x.refused);
}

static void
site_without_free_addresses_takes_as_many_as_it_can(void **state)
{
	struct world *w = *state;
	struct evacuation x;

	create(w, 60, "y");
	create(w, 8, "x");
	assert_int_equal(evacuate(w, &x, 10, NULL), -ENOSPC);
	assert_int_equal(x.moved + count_at(w, "x"), 8);
	assert_true(x.moved > 0);
	assert_non_null(w->c.state.evacuation);
	assert_int_equal(json_array_size(x.refused), 0);
	json_decref(x.refused);
}

int
main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(all_vms_of_a_site_move_a_batch_after_another),
		TEST(segment_that_was_not_meant_stays),
		TEST(vm_that_is_refused_stays_and_the_others_of_its_batch_move),
		TEST(batch_of_which_all_are_refused_ends_it),
		TEST(stopped_after_a_batch_it_goes_on_when_it_is_given_again),
		TEST(router_that_is_lost_on_the_way_ends_it_and_nothing_is_done_twice),
		TEST(site_without_free_addresses_takes_as_many_as_it_can),
	};

	return world_start(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
