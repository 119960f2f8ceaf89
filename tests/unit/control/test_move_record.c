/* SPDX-License-Identifier: BSD-3-Clause */
/* The record of a move, as a timeline: of VM 1, from router 0 to router 1, at either. */
#include "control.h"

#define MS(s) ((uint64_t)(s)*1000)
#define HOUR  MS(3600)
#define ID    "tenant-a/52:54:00:00:00:01@2"
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
at_home(void)
{
	struct world *w = routers(3);

	assert_int_equal(vm_register(x(w), 1, 1, vm_global(0, 1)), 0);
	world_run(w, 200);
	return w;
}

static void
prepare(struct world *w)
{
	json_t *params = vm_register_params(1, 2, vm_global(1, 1));
	char *text;

	json_object_set_new(params, "drain-min", json_string("10s"));
	json_object_set_new(params, "drain-max", json_string("30s"));
	text = json_dumps(params, 0);
	assert_int_equal(call(y(w), "move.prepare", text), 0);
	json_decref(params);
	free(text);
	world_run(w, 200);
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

static void
session_at(struct node *r, uint16_t remote_port)
{
	struct fwd_session s = {.protocol = 17,
		.private_ip = vm_private(1),
		.remote_ip = 0xc000020a,
		.port = 53,
		.remote_port = remote_port,
		.global_ip = vm_global(0, 1)};

	model_session_add(r, &s);
}

/* With two sessions at the old router, 12 packets that waited, and 40 more that the old router sent on. */
static struct world *
moved(void)
{
	struct fwd_event over = {
		.kind = FWD_HOLD_OVER, .mac = vm_mac(1), .held = 12, .released = 11, .dropped = 1};
	struct world *w = at_home();

	prepare(w);
	session_at(x(w), 80);
	session_at(x(w), 81);
	assert_int_equal(call(y(w), "move.pause", KEY), 0);
	world_run(w, 100);
	x(w)->sent_to_vms = 12;
	assert_int_equal(call(y(w), "move.commit", KEY), 0);
	world_run(w, 50);
	hear(y(w));
	world_run(w, 50);
	node_event(y(w), &over);
	world_run(w, 500);
	x(w)->sent_to_vms = 52;
	return w;
}

static json_t *
record(struct node *r, const char *id)
{
	json_t *params = json_pack("{s:s}", "id", id), *v;
	char *text = json_dumps(params, 0);

	v = get(r, "show.move", text);
	json_decref(params);
	free(text);
	return v;
}

static void
assert_text(struct node *r, const char *name, const char *is)
{
	json_t *v = record(r, ID);
	const char *s = json_string_value(json_object_get(v, name));

	assert_string_equal(s ? s : "", is);
	json_decref(v);
}

static void
assert_count(struct node *r, const char *name, int64_t is)
{
	json_t *v = record(r, ID);

	assert_int_equal(json_integer_value(json_object_get(v, name)), is);
	json_decref(v);
}

/* "prepared paused ..."; times begin at 0 and never go back. */
static void
assert_steps(struct node *r, const char *steps)
{
	json_t *v = record(r, ID), *step;
	json_int_t before = 0;
	char text[200] = "";
	size_t i;

	json_array_foreach(json_object_get(v, "timeline"), i, step)
	{
		json_int_t ms = json_integer_value(json_object_get(step, "ms"));

		assert_true(i == 0 ? ms == 0 : ms >= before);
		assert_true(json_is_string(json_object_get(step, "time")));
		before = ms;
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			json_string_value(json_object_get(step, "step")));
	}
	assert_string_equal(text, steps);
	json_decref(v);
}

/* ---- the steps, at either router ---- */

static void
the_record_of_a_move_is_a_timeline_at_either_router(void **state)
{
	struct world *w = moved();
	json_t *v;

	(void)state;
	assert_steps(y(w), "prepared paused committed told listed heard released");
	assert_steps(x(w), "prepared paused committed listed");
	v = record(y(w), ID);
	assert_in_range(/* the commit came 100 ms after the pause, which came 200 ms after the plan */
		json_integer_value(json_object_get(json_array_get(json_object_get(v, "timeline"), 2), "ms")),
		300, 400);
	json_decref(v);
	world_run(w, MS(40));
	assert_steps(y(w), "prepared paused committed told listed heard released done");
	assert_steps(x(w), "prepared paused committed listed done");
	world_free(w);
}

static void
both_routers_count_what_they_saw_of_it(void **state)
{
	struct world *w = moved();

	(void)state;
	assert_count(y(w), "held", 12);
	assert_count(y(w), "released", 11);
	assert_count(y(w), "dropped", 1);
	assert_count(y(w), "listed", 2);
	assert_count(y(w), "forwarded-late", 0);
	assert_count(x(w), "listed", 2);
	assert_count(x(w), "forwarded-late", 52);
	world_run(w, MS(40));
	x(w)->sent_to_vms = 900; /* of no move any more */
	assert_count(x(w), "forwarded-late", 52);
	world_free(w);
}

static void
what_was_counted_outlives_a_restart_once_the_move_is_done(void **state)
{
	struct world *w = moved();

	(void)state;
	world_run(w, MS(40));
	node_crash(x(w));
	node_crash(y(w));
	world_run(w, 100);
	node_start(x(w));
	node_start(y(w));
	world_run(w, MS(10));
	assert_count(x(w), "forwarded-late", 52);
	assert_count(y(w), "released", 11);
	assert_steps(x(w), "prepared paused committed listed done");
	assert_steps(y(w), "prepared paused committed told listed heard released done");
	world_free(w);
}

static void
an_old_router_that_was_away_is_told_when_it_is_back(void **state)
{
	struct world *w = at_home();

	(void)state;
	node_crash(x(w));
	world_run(w, MS(30));
	prepare(w);
	assert_int_equal(call(y(w), "move.commit", KEY), 0);
	world_run(w, MS(10));
	assert_steps(y(w), "prepared committed");
	node_start(x(w));
	world_run(w, MS(70));
	assert_text(y(w), "state", "done"); /* its drain was over meanwhile */
	{
		json_t *v = record(y(w), ID), *step;
		bool told = false;
		size_t i;

		json_array_foreach(json_object_get(v, "timeline"), i, step) told |=
			strcmp(json_string_value(json_object_get(step, "step")), "told") == 0;
		assert_true(told);
		json_decref(v);
	}
	world_free(w);
}

static void
a_move_is_found_by_its_id_or_as_the_vms_last_one(void **state)
{
	struct world *w = moved();
	json_t *v;
	int code;

	(void)state;
	assert_int_equal(vm_move(x(w), 1, 3, vm_global(0, 1), MS(10), MS(30)), 0);
	world_run(w, 500);
	v = record(x(w), "tenant-a/52:54:00:00:00:01");
	assert_string_equal(json_string_value(json_object_get(v, "id")), "tenant-a/52:54:00:00:00:01@3");
	json_decref(v);
	assert_text(x(w), "id", ID);
	json_decref(ask(x(w), &code, "show.move", "{s:s}", "id", "tenant-a/52:54:00:00:00:0"));
	assert_int_equal(code, RPC_NOT_FOUND);
	assert_int_equal(call(x(w), "show.move", "{}"), RPC_INVALID_PARAMS);
	world_free(w);
}

/* ---- how long it took ---- */

static json_t *
took(struct node *r, const char *what)
{
	json_t *v = get(r, "show.move-times", "{}"), *row, *found = NULL;
	size_t i;

	json_array_foreach(json_object_get(v, "rows"), i,
		row) if (strcmp(json_string_value(json_object_get(row, "what")), what) == 0) found =
		json_incref(row);
	json_decref(v);
	assert_non_null(found);
	return found;
}

static int64_t
number(struct node *r, const char *what, const char *name)
{
	json_t *row = took(r, what);
	int64_t n = json_integer_value(json_object_get(row, name));

	json_decref(row);
	return n;
}

static void
what_a_move_took_is_told_and_the_store_apart(void **state)
{
	struct world *w = at_home();
	json_t *v;

	(void)state;
	assert_int_equal(number(y(w), "switch", "moves"), 0);
	assert_int_equal(number(y(w), "switch", "p99-us"), 0);
	y(w)->told_after = w->now + 40; /* the disk is slow */
	assert_int_equal(vm_move(y(w), 1, 2, vm_global(1, 1), MS(10), MS(30)), 0);
	world_run(w, 500);
	assert_int_equal(number(y(w), "switch", "moves"), 1);
	assert_in_range(number(y(w), "store", "max-us"), 30000, 41000);
	assert_int_equal(number(y(w), "switch", "max-us"),
		number(y(w), "store", "max-us") + number(y(w), "control", "max-us"));
	assert_int_equal(number(y(w), "tell", "moves"), 1);
	assert_in_range(number(y(w), "tell", "max-us"), 1, 400000);
	assert_int_equal(number(x(w), "switch", "moves"), 0); /* the new router alone measures */
	v = record(y(w), ID);
	assert_int_equal(json_integer_value(json_object_get(v, "store-us")), number(y(w), "store", "max-us"));
	json_decref(v);
	world_free(w);
}

static void
what_waited_is_counted_though_the_store_refuses_a_step_meanwhile(void **state)
{
	const struct fwd_event over = {
		.kind = FWD_HOLD_OVER, .mac = vm_mac(1), .held = 12, .released = 11, .dropped = 1};
	struct world *w = at_home();

	(void)state;
	prepare(w);
	assert_int_equal(call(y(w), "move.pause", KEY), 0);
	world_run(w, 100);
	y(w)->commits_to_fail = 1;
	y(w)->told_after = w->now + 200;
	hear(y(w));
	world_run(w, 50);
	node_event(y(w), &over);
	world_run(w, 500);
	assert_text(y(w), "state", "paused");
	assert_count(y(w), "held", 12);
	assert_count(y(w), "released", 11);
	assert_count(y(w), "dropped", 1);
	world_free(w);
}

static void
what_waited_is_told_how_long(void **state)
{
	struct world *w = moved();

	(void)state;
	assert_int_equal(number(y(w), "hold", "moves"), 1);
	assert_in_range(
		number(y(w), "hold", "max-us"), 200000, 350000); /* 100, 50 and 50 ms, and the calls */
	world_free(w);
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
a_histogram_is_never_too_low_and_a_sixteenth_too_high_at_most(void **state)
{
	static const unsigned int asked[] = {1, 500, 990, 999, 1000};
	static uint64_t values[1000];
	struct histogram h = {0};
	uint64_t r = 7;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		r = r * UINT64_C(6364136223846793005) + 1;
		values[i] = r >> 24 >> (i % 40);
		histogram_add(&h, values[i]);
	}
	qsort(values, 1000, sizeof(values[0]), by_value);
	for (unsigned int i = 0; i < 5; i++) {
		uint64_t is = values[asked[i] - 1];

		assert_in_range(histogram_permille(&h, asked[i]), is, is + is / 16);
	}
	histogram_add(&h, UINT64_MAX);
	assert_true(histogram_permille(&h, 1000) > UINT64_C(1) << 39);
	assert_true(h.max == UINT64_MAX);
}

/* ---- how it ended ---- */

static void
a_drain_that_ends_by_its_time_says_so_at_every_router(void **state)
{
	struct world *w = moved();

	(void)state;
	x(w)->sessions = 2;
	world_run(w, MS(40));
	assert_text(x(w), "reason", "deadline");
	assert_text(y(w), "reason", "deadline");
	assert_text(world_router(w, 2), "reason", "deadline");
	world_free(w);
}

static void
a_drain_that_ends_with_its_last_session_says_so(void **state)
{
	struct world *w = at_home();

	(void)state;
	assert_int_equal(vm_move(y(w), 1, 2, vm_global(1, 1), HOUR, 24 * HOUR), 0);
	world_run(w, 2 * HOUR + MS(600));
	assert_text(x(w), "reason", "quiet");
	assert_text(y(w), "reason", "quiet");
	world_free(w);
}

static void
a_drain_that_the_operator_ends_says_so_wherever_he_does(void **state)
{
	(void)state;
	for (unsigned int at = 0; at < 2; at++) {
		struct world *w = moved();

		assert_int_equal(call(world_router(w, at), "move.cut", KEY), 0);
		world_run(w, 500);
		assert_text(x(w), "reason", "cut");
		assert_text(y(w), "reason", "cut");
		world_free(w);
	}
}

static void
a_drain_of_a_vm_that_returns_or_goes_says_so(void **state)
{
	struct world *w = moved();

	(void)state;
	assert_int_equal(vm_move(x(w), 1, 3, vm_global(0, 1), MS(10), MS(30)), 0);
	world_run(w, 500);
	assert_text(x(w), "reason", "returned");
	assert_text(y(w), "reason", "returned");
	world_free(w);
	w = moved();
	assert_int_equal(vm_unregister(y(w), 1, 3), 0);
	world_run(w, 500);
	assert_text(x(w), "reason", "gone");
	assert_text(y(w), "reason", "gone");
	world_free(w);
}

static void
an_aborted_move_ends_with_that_step(void **state)
{
	struct world *w = at_home();

	(void)state;
	prepare(w);
	assert_int_equal(call(y(w), "move.abort", KEY), 0);
	assert_steps(y(w), "prepared aborted");
	assert_text(y(w), "reason", "asked");
	world_free(w);
}

/* ---- round trips ---- */

static json_int_t
trip(const json_t *v, const char *way, const char *name)
{
	return json_integer_value(
		json_object_get(json_object_get(json_object_get(v, "round-trips"), way), name));
}

static json_int_t
gain(struct node *r)
{
	json_t *v = record(r, ID);
	json_int_t is = json_integer_value(json_object_get(json_object_get(v, "round-trips"), "gain-us"));

	json_decref(v);
	return is;
}

static void
measured(struct node *r, uint64_t old_us, uint64_t near_us)
{
	if (old_us > 0)
		r->trips.old = (struct fwd_round_trip){old_us, 500, 8};
	if (near_us > 0)
		r->trips.near = (struct fwd_round_trip){near_us, 200, 5};
}

static void
what_a_move_gained_is_told_by_the_new_router(void **state)
{
	struct world *w = moved();
	json_t *v = record(y(w), ID);

	(void)state;
	assert_null(json_object_get(v, "round-trips")); /* nothing was measured: it is no zero */
	json_decref(v);
	measured(y(w), 80000, 0);
	v = record(y(w), ID);
	assert_int_equal(trip(v, "old", "us"), 80500);
	assert_int_equal(trip(v, "old", "to-remote-us"), 80000);
	assert_int_equal(trip(v, "old", "to-vm-us"), 500);
	assert_int_equal(trip(v, "old", "samples"), 8);
	assert_null(json_object_get(json_object_get(v, "round-trips"), "near"));
	assert_null(json_object_get(json_object_get(v, "round-trips"), "gain-us"));
	json_decref(v);
	measured(y(w), 0, 1000);
	assert_int_equal(gain(y(w)), 80500 - 1200);
	world_run(w, MS(40));
	measured(y(w), 1, 1); /* of no move any more */
	assert_int_equal(gain(y(w)), 80500 - 1200);
	node_crash(y(w));
	world_run(w, 100);
	node_start(y(w));
	assert_int_equal(gain(y(w)), 80500 - 1200);
	world_free(w);
}

static void
what_a_restart_cut_off_is_not_told_as_the_whole(void **state)
{
	struct world *w = moved();
	json_t *v;

	(void)state;
	node_crash(y(w));
	node_start(y(w));
	world_run(w, 100);
	measured(y(w), 80000, 1000);
	v = record(y(w), ID);
	assert_string_equal(json_string_value(json_object_get(v, "state")), "draining");
	assert_null(json_object_get(v, "round-trips"));
	json_decref(v);
	world_free(w);
}

static void
the_old_router_tells_what_was_before_a_prepared_move(void **state)
{
	struct world *w = at_home();
	json_t *v;

	(void)state;
	prepare(w);
	measured(x(w), 0, 30000);
	assert_int_equal(call(y(w), "move.commit", KEY), 0);
	world_run(w, 200);
	measured(x(w), 0, 7);
	v = record(x(w), ID);
	assert_int_equal(trip(v, "old", "us"), 30200);
	assert_null(json_object_get(json_object_get(v, "round-trips"), "near"));
	json_decref(v);
	world_free(w);
}

static void
the_old_router_knows_nothing_of_before_a_move_that_was_not_prepared(void **state)
{
	struct world *w = at_home();
	json_t *v;

	(void)state;
	measured(x(w), 0, 30000);
	assert_int_equal(vm_move(y(w), 1, 2, vm_global(1, 1), MS(10), MS(30)), 0);
	world_run(w, 200);
	v = record(x(w), ID);
	assert_null(json_object_get(v, "round-trips"));
	json_decref(v);
	world_free(w);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, control_setup)
	const struct CMUnitTest tests[] = {
		TEST(the_record_of_a_move_is_a_timeline_at_either_router),
		TEST(both_routers_count_what_they_saw_of_it),
		TEST(what_was_counted_outlives_a_restart_once_the_move_is_done),
		TEST(an_old_router_that_was_away_is_told_when_it_is_back),
		TEST(a_move_is_found_by_its_id_or_as_the_vms_last_one),
		TEST(what_a_move_gained_is_told_by_the_new_router),
		TEST(what_a_restart_cut_off_is_not_told_as_the_whole),
		TEST(the_old_router_tells_what_was_before_a_prepared_move),
		TEST(the_old_router_knows_nothing_of_before_a_move_that_was_not_prepared),
		TEST(what_a_move_took_is_told_and_the_store_apart),
		TEST(what_waited_is_counted_though_the_store_refuses_a_step_meanwhile),
		TEST(what_waited_is_told_how_long),
		TEST(a_histogram_is_never_too_low_and_a_sixteenth_too_high_at_most),
		TEST(a_drain_that_ends_by_its_time_says_so_at_every_router),
		TEST(a_drain_that_ends_with_its_last_session_says_so),
		TEST(a_drain_that_the_operator_ends_says_so_wherever_he_does),
		TEST(a_drain_of_a_vm_that_returns_or_goes_says_so),
		TEST(an_aborted_move_ends_with_that_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
