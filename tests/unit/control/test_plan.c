/* SPDX-License-Identifier: BSD-3-Clause */
/* The plan of a move, as a dry run tells it, and the move that follows: of VM 1, from router 0 to router 1. */
#include "control.h"

#define MS(s) ((uint64_t)(s)*1000)
#define HOUR  MS(3600)
#define KEY   "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:01\", \"epoch\": 2}"

static struct node *
x(struct world *w)
{
	return world_router(w, 0);
}

static struct node *
y(struct world *w)
{
	return world_router(w, 1);
}

static struct world *
at_home(ip4 global)
{
	struct world *w = routers(2);

	assert_int_equal(vm_register(x(w), 1, 1, global), 0);
	world_run(w, 200);
	return w;
}

static json_t *
move_params(ip4 global)
{
	json_t *v = vm_register_params(1, 2, global);

	json_object_set_new(v, "drain-min", json_string("10s"));
	json_object_set_new(v, "drain-max", json_string("30s"));
	return v;
}

static void
make(struct node *r, const char *method, ip4 global)
{
	json_t *params = move_params(global);
	char *text = json_dumps(params, 0);

	assert_int_equal(call(r, method, text), 0);
	json_decref(params);
	free(text);
}

/* The plan that a dry run of it tells. */
static json_t *
plan(struct node *r, const char *method, json_t *params)
{
	json_t *v, *plan;
	char *text;

	json_object_set_new(params, "dry-run", json_true());
	text = json_dumps(params, 0);
	v = get(r, method, text);
	plan = json_incref(json_object_get(v, "plan"));
	assert_true(json_is_object(plan));
	json_decref(v);
	json_decref(params);
	free(text);
	return plan;
}

static void
hear(struct node *r)
{
	struct fwd_event ev = {.kind = FWD_VM_HEARD,
		.mac = vm_mac(1),
		.ip = vm_private(1),
		.location = FWD_SELF,
		.attachment = 0};

	node_event(r, &ev);
}

static json_t *
timeline(struct node *r)
{
	json_t *v = get(r, "show.move", "{\"id\": \"tenant-a/52:54:00:00:00:01@2\"}"),
	       *steps = json_incref(json_object_get(v, "timeline"));

	json_decref(v);
	return steps;
}

static bool
has_step(const json_t *steps, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach(steps, i,
		one) if (strcmp(json_string_value(json_object_get(one, "step")), name) == 0) return true;
	return false;
}

/* All that was planned is recorded, but for what need not be; and nothing else is. */
static void
assert_followed(struct world *w, const json_t *plan)
{
	json_t *done = timeline(y(w)), *steps = json_object_get(plan, "steps"), *one;
	size_t i;

	json_array_foreach(steps, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "step"));

		if (!json_is_true(json_object_get(one, "optional")) && !has_step(done, name))
			fail_msg("step %s was planned and did not happen", name);
	}
	json_array_foreach(done, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "step"));

		if (!has_step(steps, name))
			fail_msg("step %s happened and was not planned", name);
	}
	json_decref(done);
}

/* The addresses are as planned, too: live ones at r-b, and what drains. */
static void
assert_addresses(struct world *w, const json_t *plan)
{
	const struct fwd_vm *vm = fwd_at(y(w), 1);
	const json_t *live = json_array_get(json_object_get(plan, "live"), 0);
	const json_t *draining = json_object_get(plan, "draining");
	char ip[IP4_TEXT];

	assert_string_equal(json_string_value(json_object_get(live, "router")), "r-b");
	assert_string_equal(json_string_value(json_object_get(live, "global")),
		vm->addresses[0].global_ip ? ip4_format(vm->addresses[0].global_ip, ip) : "");
	assert_int_equal(json_array_size(draining), vm->n_drains);
	for (unsigned int i = 0; i < vm->n_drains; i++) {
		const json_t *d = json_array_get(draining, i);

		assert_string_equal(json_string_value(json_object_get(d, "global")),
			ip4_format(vm->drains[i].global_ip, ip));
		assert_string_equal(json_string_value(json_object_get(d, "router")),
			vm->drains[i].home == FWD_SELF ? "r-b" : "r-a");
		assert_int_equal(json_integer_value(json_object_get(d, "min")), MS(10));
		assert_int_equal(json_integer_value(json_object_get(d, "max")), MS(30));
	}
}

static void
a_move_of_one_call_follows_its_plan(void **state)
{
	struct world *w = at_home(vm_global(0, 1));
	json_t *p = plan(y(w), "vm.move", move_params(vm_global(1, 1)));

	(void)state;
	assert_string_equal(json_string_value(json_object_get(p, "id")), "tenant-a/52:54:00:00:00:01@2");
	assert_string_equal(json_string_value(json_object_get(p, "from")), "r-a");
	assert_string_equal(json_string_value(json_object_get(p, "gateway")), "r-b");
	assert_int_equal(fwd_at(y(w), 1)->owner, 1); /* it was a dry run */
	make(y(w), "vm.move", vm_global(1, 1));
	assert_addresses(w, p);
	hear(y(w));
	world_run(w, MS(40));
	assert_followed(w, p);
	json_decref(p);
	world_free(w);
}

static void
a_prepared_move_follows_its_plan_paused_or_not(void **state)
{
	(void)state;
	for (int pause = 0; pause < 2; pause++) {
		struct fwd_event over = {.kind = FWD_HOLD_OVER, .mac = vm_mac(1), .held = 1, .released = 1};
		struct world *w = at_home(vm_global(0, 1));
		json_t *p = plan(y(w), "move.prepare", move_params(vm_global(1, 1)));

		make(y(w), "move.prepare", vm_global(1, 1));
		world_run(w, 200);
		if (pause)
			assert_int_equal(call(y(w), "move.pause", KEY), 0);
		assert_int_equal(call(y(w), "move.commit", KEY), 0);
		assert_addresses(w, p);
		hear(y(w));
		if (pause)
			node_event(y(w), &over);
		world_run(w, MS(40));
		assert_followed(w, p);
		json_decref(p);
		world_free(w);
	}
}

static void
the_plan_of_a_commit_is_that_of_its_move(void **state)
{
	struct world *w = at_home(vm_global(0, 1));
	json_t *p = plan(y(w), "move.prepare", move_params(vm_global(1, 1))), *q;

	(void)state;
	make(y(w), "move.prepare", vm_global(1, 1));
	q = plan(y(w), "move.commit", json_loads(KEY, 0, NULL));
	assert_true(json_equal(json_object_get(p, "steps"), json_object_get(q, "steps")));
	assert_true(json_equal(json_object_get(p, "live"), json_object_get(q, "live")));
	json_decref(p);
	json_decref(q);
	world_free(w);
}

static void
a_vm_without_global_addresses_has_a_plan_without_drains(void **state)
{
	struct world *w = at_home(0);
	json_t *p = plan(y(w), "vm.move", move_params(0));

	(void)state;
	make(y(w), "vm.move", 0);
	assert_addresses(w, p);
	hear(y(w));
	world_run(w, 500);
	assert_followed(w, p);
	assert_false(has_step(json_object_get(p, "steps"), "listed"));
	json_decref(p);
	world_free(w);
}

/* ---- sessions ---- */

static const json_t *
sessions_of(const json_t *plan)
{
	return json_object_get(json_array_get(json_object_get(plan, "draining"), 0), "sessions");
}

static void
the_plan_counts_the_sessions_that_the_old_router_has_noted(void **state)
{
	struct world *w = at_home(vm_global(0, 1));
	json_t *p;

	(void)state;
	x(w)->sessions = 12;
	p = plan(y(w), "move.prepare", move_params(vm_global(1, 1)));
	assert_null(sessions_of(p)); /* it notes none before a move is prepared */
	json_decref(p);
	make(y(w), "move.prepare", vm_global(1, 1));
	world_run(w, 200);
	p = plan(y(w), "move.commit", json_loads(KEY, 0, NULL));
	assert_int_equal(json_integer_value(sessions_of(p)), 12);
	json_decref(p);
	world_free(w);
}

static void
a_plan_does_not_wait_for_an_old_router_that_does_not_answer(void **state)
{
	struct world *w = at_home(vm_global(0, 1));
	uint64_t before;
	json_t *p;

	(void)state;
	make(y(w), "move.prepare", vm_global(1, 1));
	world_run(w, 200);
	world_cut(w, 0, 1, true);
	before = w->now;
	p = plan(y(w), "move.commit", json_loads(KEY, 0, NULL));
	assert_in_range(w->now - before, 1000, 1500);
	assert_null(sessions_of(p));
	json_decref(p);
	world_cut(w, 0, 1, false);
	world_run(w, MS(70)); /* its answer, late, is of nobody any more */
	world_free(w);
}

static void
who_stops_while_a_plan_waits_answers_it(void **state)
{
	struct world *w = at_home(vm_global(0, 1));
	struct caller *k;
	json_t *params;

	(void)state;
	make(y(w), "move.prepare", vm_global(1, 1));
	world_run(w, 200);
	world_cut(w, 0, 1, true);
	k = caller_new(world_controller(w), "clc", ROLE_CONTROLLER, y(w), json_pack("{s:i}", "term", 1));
	params = json_loads(KEY, 0, NULL);
	json_object_set_new(params, "dry-run", json_true());
	rpc_notify(k->rpc, "move.commit", params);
	world_run(w, 300);
	node_crash(y(w));
	caller_free(k);
	world_free(w);
}

static void
a_peer_counts_only_what_both_have(void **state)
{
	struct world *w = at_home(vm_global(0, 1));
	struct caller *k;
	json_t *v;

	(void)state;
	x(w)->sessions = 12;
	node_crash(y(w));
	world_run(w, MS(20));
	k = caller_new(y(w), "r-b", ROLE_PEER, x(w), json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	v = caller_get(k, "sync.count", json_pack("{s:[s, i, s]}", "globals", "203.0.113.1", 7, "x"));
	assert_int_equal(json_array_size(json_object_get(v, "sessions")), 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(json_is_null(json_array_get(json_object_get(v, "sessions"), i)));
	json_decref(v);
	caller_free(k);
	world_free(w);
}

/* ---- what becomes of old sessions ---- */

static json_t *
with_sessions(const char *policy)
{
	json_t *v = move_params(vm_global(1, 1));

	json_object_set_new(v, "sessions", json_string(policy));
	return v;
}

static void
do_move(struct node *r, const char *method, json_t *params)
{
	char *text = json_dumps(params, 0);

	assert_int_equal(call(r, method, text), 0);
	json_decref(params);
	free(text);
}

static void
assert_record(struct node *r, const char *reason, int64_t cut)
{
	json_t *v = get(r, "show.move", "{\"id\": \"tenant-a/52:54:00:00:00:01@2\"}");

	assert_string_equal(json_string_value(json_object_get(v, "state")), "done");
	assert_string_equal(json_string_value(json_object_get(v, "reason")), reason);
	assert_int_equal(json_integer_value(json_object_get(v, "cut")), cut);
	json_decref(v);
}

static bool
freed(struct node *r, ip4 global)
{
	for (unsigned int i = 0; i < r->n_freed; i++)
		if (r->freed[i] == global)
			return true;
	return false;
}

static void
a_move_that_cuts_ends_old_sessions_at_the_switch_and_says_how_many(void **state)
{
	struct world *w = at_home(vm_global(0, 1));
	json_t *p, *ended;

	(void)state;
	x(w)->sessions = 5;
	do_move(y(w), "move.prepare", with_sessions("cut"));
	world_run(w, 200);
	p = plan(y(w), "move.commit", json_loads(KEY, 0, NULL));
	ended = json_array_get(json_object_get(p, "ended"), 0);
	assert_int_equal(json_array_size(json_object_get(p, "draining")), 0);
	assert_string_equal(json_string_value(json_object_get(ended, "router")), "r-a");
	assert_int_equal(json_integer_value(json_object_get(ended, "sessions")), 5);
	assert_int_equal(call(y(w), "move.commit", KEY), 0);
	hear(y(w));
	world_run(w, 500);
	assert_addresses(w, p);
	assert_followed(w, p);
	assert_int_equal(fwd_at(x(w), 1)->n_drains, 0);
	assert_true(freed(x(w), vm_global(0, 1)));
	assert_record(x(w), "cut", 5);
	assert_record(y(w), "cut", 0);
	assert_int_equal(vm_register(x(w), 2, 1, vm_global(0, 1)), 0); /* it is free at once */
	world_run(w, 200);
	assert_agreed(w, 2);
	json_decref(p);
	world_free(w);
}

static void
a_move_that_cuts_ends_what_drains_of_moves_before(void **state)
{
	struct world *w = at_home(vm_global(0, 1));
	json_t *params;

	(void)state;
	make(y(w), "vm.move", vm_global(1, 1));
	world_run(w, 500);
	assert_int_equal(fwd_at(x(w), 1)->n_drains, 1);
	params = vm_register_params(1, 3, vm_global(0, 9));
	json_object_set_new(params, "sessions", json_string("cut"));
	do_move(x(w), "vm.move", params);
	world_run(w, 500);
	assert_int_equal(fwd_at(x(w), 1)->n_drains, 0);
	assert_int_equal(fwd_at(y(w), 1)->n_drains, 0);
	assert_true(freed(x(w), vm_global(0, 1)));
	assert_agreed(w, 2);
	world_free(w);
}

static void
a_drain_that_is_ended_says_how_many_sessions_that_cost(void **state)
{
	struct world *w = at_home(vm_global(0, 1));

	(void)state;
	make(y(w), "vm.move", vm_global(1, 1));
	world_run(w, 500);
	x(w)->sessions = 3;
	assert_int_equal(call(y(w), "move.cut", KEY), 0);
	world_run(w, 500);
	assert_record(x(w), "cut", 3);
	world_free(w);
}

static void
a_direct_move_sends_old_sessions_itself_over_restarts_until_a_move_says_else(void **state)
{
	struct world *w = at_home(vm_global(0, 1));

	(void)state;
	do_move(y(w), "vm.move", with_sessions("direct"));
	assert_true(fwd_at(y(w), 1)->drains[0].direct);
	world_run(w, 500);
	node_crash(y(w));
	world_run(w, 100);
	node_start(y(w));
	world_run(w, MS(3));
	assert_true(fwd_at(y(w), 1)->drains[0].direct);
	assert_agreed(w, 2);
	{
		json_t *v = get(y(w), "state.export", "{}"),
		       *change = json_array_get(json_object_get(v, "rows"), 0);

		assert_string_equal(
			json_string_value(json_object_get(json_object_get(change, "params"), "sessions")),
			"direct");
		json_decref(v);
	}
	assert_int_equal(vm_move(x(w), 1, 3, vm_global(0, 9), MS(10), MS(30)), 0);
	world_run(w, 500);
	for (unsigned int i = 0; i < fwd_at(x(w), 1)->n_drains; i++)
		assert_false(fwd_at(x(w), 1)->drains[i].direct);
	world_free(w);
}

/* ---- a home that is lost ---- */

static struct world *
with_lost_home(int policy)
{
	struct world *w = at_home(vm_global(0, 1));

	y(w)->conf.drain.on_home_lost = policy;
	y(w)->conf.drain.home_lost_after_ms = MS(60);
	assert_int_equal(vm_move(y(w), 1, 2, vm_global(1, 1), HOUR, 24 * HOUR), 0);
	world_run(w, 500);
	node_crash(x(w));
	return w;
}

static void
sessions_of_a_home_that_is_away_wait_for_it(void **state)
{
	struct world *w = with_lost_home(HOME_LOST_WAIT);

	(void)state;
	world_run(w, MS(55));
	assert_false(y(w)->away[1]);
	world_run(w, HOUR);
	assert_int_equal(fwd_at(y(w), 1)->n_drains, 1);
	assert_true(y(w)->away[1]); /* so VMs are told */
	node_start(x(w));
	world_run(w, MS(60));
	assert_int_equal(fwd_at(y(w), 1)->n_drains, 1);
	assert_false(y(w)->away[1]);
	assert_agreed(w, 2);
	world_free(w);
}

static void
sessions_of_a_home_that_is_lost_are_cut_after_the_configured_time(void **state)
{
	struct world *w = with_lost_home(HOME_LOST_CUT);

	(void)state;
	world_run(w, MS(55));
	assert_int_equal(fwd_at(y(w), 1)->n_drains, 1);
	y(w)->sessions = 4;
	world_run(w, MS(30));
	assert_int_equal(fwd_at(y(w), 1)->n_drains, 0);
	assert_record(y(w), "lost", 4);
	assert_true(logged("r-a is away for too long"));
	node_start(x(w));
	world_run(w, MS(60));
	assert_int_equal(fwd_at(x(w), 1)->n_drains, 0);
	assert_int_equal(fwd_at(x(w), 1)->owner, 1);
	assert_agreed(w, 2);
	world_free(w);
}

static void
a_move_away_from_a_lost_home_begins_no_drain_there(void **state)
{
	struct world *w = at_home(vm_global(0, 1));
	json_t *p;

	(void)state;
	node_crash(x(w));
	world_run(w, HOUR);
	y(w)->conf.drain.on_home_lost = HOME_LOST_CUT;
	y(w)->conf.drain.home_lost_after_ms = MS(60);
	p = plan(y(w), "vm.move", move_params(vm_global(1, 1)));
	assert_int_equal(json_array_size(json_object_get(p, "ended")), 1);
	make(y(w), "vm.move", vm_global(1, 1));
	assert_addresses(w, p);
	assert_int_equal(fwd_at(y(w), 1)->n_drains, 0);
	json_decref(p);
	world_free(w);
}

static void
a_home_that_is_back_may_be_lost_again(void **state)
{
	struct world *w = with_lost_home(HOME_LOST_CUT);

	(void)state;
	world_run(w, MS(90));
	node_start(x(w));
	world_run(w, MS(60));
	assert_int_equal(vm_register(x(w), 2, 1, vm_global(0, 2)), 0);
	world_run(w, 500);
	assert_int_equal(vm_move(y(w), 2, 2, vm_global(1, 2), HOUR, 24 * HOUR), 0);
	world_run(w, 500);
	assert_int_equal(fwd_at(y(w), 2)->n_drains, 1);
	node_crash(x(w));
	world_run(w, MS(90));
	assert_int_equal(fwd_at(y(w), 2)->n_drains, 0);
	world_free(w);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, control_setup)
	const struct CMUnitTest tests[] = {
		TEST(a_move_of_one_call_follows_its_plan),
		TEST(a_prepared_move_follows_its_plan_paused_or_not),
		TEST(the_plan_of_a_commit_is_that_of_its_move),
		TEST(a_vm_without_global_addresses_has_a_plan_without_drains),
		TEST(the_plan_counts_the_sessions_that_the_old_router_has_noted),
		TEST(a_plan_does_not_wait_for_an_old_router_that_does_not_answer),
		TEST(who_stops_while_a_plan_waits_answers_it),
		TEST(a_peer_counts_only_what_both_have),
		TEST(a_move_that_cuts_ends_old_sessions_at_the_switch_and_says_how_many),
		TEST(a_move_that_cuts_ends_what_drains_of_moves_before),
		TEST(a_drain_that_is_ended_says_how_many_sessions_that_cost),
		TEST(sessions_of_a_home_that_is_away_wait_for_it),
		TEST(sessions_of_a_home_that_is_lost_are_cut_after_the_configured_time),
		TEST(a_move_away_from_a_lost_home_begins_no_drain_there),
		TEST(a_home_that_is_back_may_be_lost_again),
		TEST(a_direct_move_sends_old_sessions_itself_over_restarts_until_a_move_says_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
