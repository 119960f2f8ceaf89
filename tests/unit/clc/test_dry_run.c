/* SPDX-License-Identifier: BSD-3-Clause */
/* What a command would do, told by the routers and not done: neither they nor the controller's state change. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <clc/print.h>

#include "clc_world.h"

#define ID   "seg1/02:56:4d:00:00:01"
#define MANY 6000 /* more than a message holds */

/* All that a dry run could change: what is stored, and what routers have. */
static json_t *
everything(struct world *w)
{
	world_restart(w);
	return json_pack("{s:o, s:o, s:o, s:o}", "stored", print_list(&w->c), "vms", json_deep_copy(w->g.vms),
		"moves", json_deep_copy(w->g.moves), "routes", json_deep_copy(w->g.r[U].routes));
}

static json_t *
begin(struct world *w)
{
	json_t *before = everything(w);

	clc_dry_run(&w->c);
	return before;
}

static void
assert_nothing_changed(struct world *w, json_t *before_stolen)
{
	json_t *now = everything(w);

	assert_true(json_equal(now, before_stolen));
	json_decref(now);
	json_decref(before_stolen);
}

static const json_t *
plan(struct world *w, size_t i)
{
	return json_array_get(w->c.links.plans, i);
}

static const char *
text(const json_t *plan, const char *name)
{
	return json_string_value(json_object_get(plan, name));
}

static const char *
live(const json_t *plan)
{
	return text(json_array_get(json_object_get(plan, "live"), 0), "global");
}

static int
prepare(struct world *w, const char *to)
{
	struct move_params p = {.to = to, .drain_min_ms = 1000, .drain_max_ms = 2000};
	struct err e;

	return clc_prepare(&w->c, state_find(&w->c.state, "vm1"), &p, &e);
}

static int
commit(struct world *w)
{
	struct err e;

	return clc_commit(&w->c, state_find(&w->c.state, "vm1"), &e);
}

static void
move_is_told_as_the_plan_that_the_move_itself_follows(void **state)
{
	struct world *w = *state;
	char id[64], global[IP4_TEXT];
	json_t *before, *printed;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	before = begin(w);
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	printed = print_plans(&w->c);
	assert_string_equal(text(json_array_get(json_object_get(printed, "plans"), 0), "vm"), "vm1");
	json_decref(printed);
	assert_int_equal(json_array_size(w->c.links.plans), 1);
	snprintf(id, sizeof(id), "%s", text(plan(w, 0), "id"));
	snprintf(global, sizeof(global), "%s", live(plan(w, 0)));
	assert_string_equal(text(plan(w, 0), "to"), "r-y");
	assert_nothing_changed(w, before);
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	assert_string_equal(id, ID "@2");
	assert_int_equal(world_vm(w, "vm1")->epoch, 2);
	assert_string_equal(global, world_global(w, "vm1"));
}

static void
each_vm_of_a_move_has_a_plan_with_an_address_of_its_own(void **state)
{
	struct move_params p = {.to = "y", .drain_min_ms = UINT64_MAX, .drain_max_ms = UINT64_MAX};
	struct world *w = *state;
	struct clc_vm *vms[2];
	json_t *before;
	struct err e;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(world_create(w, "vm2", "x"), 0);
	before = begin(w);
	vms[0] = state_find(&w->c.state, "vm1");
	vms[1] = state_find(&w->c.state, "vm2");
	assert_int_equal(clc_move(&w->c, vms, 2, &p, &e), 0);
	assert_int_equal(json_array_size(w->c.links.plans), 2);
	assert_string_equal(live(plan(w, 0)), "203.0.113.65");
	assert_string_equal(live(plan(w, 1)), "203.0.113.66");
	assert_nothing_changed(w, before);
}

static void
prepare_and_commit_are_told_and_not_done(void **state)
{
	struct world *w = *state;
	json_t *before;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	before = begin(w);
	assert_int_equal(prepare(w, "y"), 0);
	assert_string_equal(live(plan(w, 0)), "203.0.113.65");
	assert_nothing_changed(w, before);
	assert_int_equal(prepare(w, "y"), 0);
	before = begin(w);
	assert_int_equal(commit(w), 0);
	assert_string_equal(text(plan(w, 0), "id"), ID "@2");
	assert_nothing_changed(w, before);
	assert_string_equal(fake_move_state(&w->g, ID, 2), "prepared");
	assert_int_equal(commit(w), 0);
	assert_at(w, "vm1", "r-y");
}

/* The router has lost it: its commit is all of the move, here too. */
static void
commit_that_the_router_knows_nothing_of_is_told_as_a_move(void **state)
{
	struct world *w = *state;
	json_t *before;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(prepare(w, "y"), 0);
	fake_forget_moves(&w->g);
	before = begin(w);
	assert_int_equal(commit(w), 0);
	assert_string_equal(live(plan(w, 0)), "203.0.113.65");
	assert_nothing_changed(w, before);
}

static void
refusal_is_told_and_changes_nothing(void **state)
{
	struct world *w = *state;
	json_t *before;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	before = begin(w);
	w->g.r[Y].fault = FAULT_REFUSE;
	assert_int_equal(world_move(w, "vm1", "y"), -EPROTO);
	w->g.r[Y].fault = FAULT_REFUSE;
	assert_int_equal(prepare(w, "y"), -EPROTO);
	assert_int_equal(json_array_size(w->c.links.plans), 0);
	assert_nothing_changed(w, before);
}

/* It is found, since its address must not be taken; whether it is adopted is for a real command. */
static void
what_is_learnt_from_routers_is_not_stored_either(void **state)
{
	struct world *w = *state;
	json_t *before;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	json_object_set_new(w->g.vms, "seg1/02:00:00:00:00:99",
		json_pack("{s:s, s:s, s:s, s:i, s:b, s:[{s:s, s:s}]}", "segment", "seg1", "mac",
			"02:00:00:00:00:99", "owner", "r-y", "epoch", 1, "deleted", 0, "addresses", "private",
			"10.0.0.99", "global", "203.0.113.65"));
	before = begin(w);
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	assert_string_equal(live(plan(w, 0)), "203.0.113.66");
	assert_nothing_changed(w, before);
}

static void
look_at(struct world *w, const char *site)
{
	struct seen_count n = {0};
	struct err e;

	assert_int_equal(clc_look(&w->c, inventory_site(&w->inv, site), &n, &e), 0);
}

static void
plan_is_printed_for_people_whatever_a_router_makes_of_it(void **state)
{
	char out[1000];

	(void)state;
	world_printed("move",
		"{\"plans\": [{\"vm\": \"vm1\", \"id\": \"seg1/02:56:4d:00:00:01@2\", \"from\": \"r-x\", "
		"\"to\": "
		"\"r-y\", \"live\": [{\"private\": \"10.0.0.10\", \"global\": \"203.0.113.65\", \"router\": "
		"\"r-y\"}], "
		"\"draining\": [{\"private\": \"10.0.0.10\", \"global\": \"203.0.113.1\", \"router\": "
		"\"r-x\", \"min\": "
		"3600000, \"max\": 86400000, \"sessions\": 12}], \"steps\": [{\"step\": \"paused\", "
		"\"router\": \"r-y\", "
		"\"does\": \"waits\", \"within-ms\": 30000, \"optional\": true}]}]}",
		out);
	assert_string_equal(out,
		"vm1: r-x to r-y, seg1/02:56:4d:00:00:01@2\n"
		"  live       10.0.0.10       203.0.113.65    at r-y\n"
		"  draining   10.0.0.10       203.0.113.1     at r-x, at least 1h, at most 1d, 12 sessions\n"
		"  paused     r-y waits, within 30s (need not happen)\n");
	world_printed("move",
		"{\"plans\": [{\"id\": 7, \"to\": \"\\u001b[2J\", \"live\": [null, 3], \"steps\": {\"a\": "
		"1}}]}",
		out);
	assert_string_equal(out, "-: - to ?, -\n"
				 "  live       -               -               at -\n"
				 "  live       -               -               at -\n");
	world_printed("move", "{\"plans\": []}", out);
	assert_string_equal(out, "nothing would change\n");
}

static bool
go_on(void *arg, const struct evacuation *x)
{
	(void)arg;
	(void)x;
	return true;
}

static int
evacuate(struct world *w, struct evacuation *x, size_t batch)
{
	struct err e;

	*x = (struct evacuation){.from = "x",
		.move = {.to = "y", .drain_min_ms = 0, .drain_max_ms = 1000},
		.batch = batch,
		.go_on = go_on};
	return clc_evacuate(&w->c, x, &e);
}

/* One that the router refuses, and more than addresses are free. */
static void
evacuation_tells_how_many_would_move_and_which_not(void **state)
{
	struct evacuation told, done;
	struct world *w = *state;
	char name[16];
	json_t *before;

	for (int i = 0; i < 25; i++) {
		snprintf(name, sizeof(name), "vm%d", i);
		assert_int_equal(world_create(w, name, "x"), 0);
	}
	json_object_set_new(world_at_routers(w, "vm7"), "epoch", json_integer(2));
	json_object_set_new(world_at_routers(w, "vm7"), "deleted", json_true());
	before = begin(w);
	assert_int_equal(evacuate(w, &told, 10), 0);
	assert_int_equal(told.moved, 24);
	assert_int_equal(told.batches, 3);
	assert_nothing_changed(w, before);
	assert_int_equal(evacuate(w, &done, 10), 0);
	assert_int_equal(done.moved, told.moved);
	assert_int_equal(done.batches, told.batches);
	assert_true(json_equal(done.refused, told.refused));
	assert_int_equal(json_array_size(told.refused), 1);
	json_decref(told.refused);
	json_decref(done.refused);
}

/* A dry run leaves a staged transaction open at the router: it is closed. VMs of a segment that has no global addresses, and their
 * host routes. */
static void
batch_above_a_message_is_told_and_leaves_no_open_transaction(void **state)
{
	struct world *w = *state;
	struct evacuation x;

	list_at(w->inv.segments, struct inv_segment, 0)->access = 1;
	for (int i = 0; i < MANY; i++) {
		char id[64], ip[16], mac[18];

		snprintf(mac, sizeof(mac), "02:56:4d:00:%02x:%02x", i >> 8, i & 0xff);
		snprintf(ip, sizeof(ip), "10.0.%d.%d", i / 250, 1 + i % 250);
		snprintf(id, sizeof(id), "seg1/%s", mac);
		json_object_set_new(w->g.vms, id,
			json_pack("{s:s, s:s, s:s, s:i, s:[{s:s}]}", "segment", "seg1", "mac", mac, "owner",
				"r-x", "epoch", 1, "addresses", "private", ip));
	}
	clc_dry_run(&w->c);
	look_at(w, "x");
	assert_int_equal(evacuate(w, &x, MANY), 0);
	assert_int_equal(x.moved, MANY);
	assert_int_equal(w->g.r[Y].dry_runs, 1);
	assert_int_equal(w->g.r[U].dry_runs, 1);
	assert_null(w->g.r[Y].staged);
	assert_null(w->g.r[U].staged);
	assert_int_equal(json_object_size(w->g.r[U].routes), 0);
	assert_string_equal(
		json_string_value(json_object_get(fake_vm(&w->g, "seg1/02:56:4d:00:00:00"), "owner")), "r-x");
	world_restart(w);
	assert_int_equal(HASH_CNT(by_name, w->c.state.vms), 0);
	json_decref(x.refused);
}

int
main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(move_is_told_as_the_plan_that_the_move_itself_follows),
		TEST(each_vm_of_a_move_has_a_plan_with_an_address_of_its_own),
		TEST(prepare_and_commit_are_told_and_not_done),
		TEST(commit_that_the_router_knows_nothing_of_is_told_as_a_move),
		TEST(refusal_is_told_and_changes_nothing),
		TEST(what_is_learnt_from_routers_is_not_stored_either),
		TEST(plan_is_printed_for_people_whatever_a_router_makes_of_it),
		TEST(evacuation_tells_how_many_would_move_and_which_not),
		TEST(batch_above_a_message_is_told_and_leaves_no_open_transaction),
	};

	return world_start(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
