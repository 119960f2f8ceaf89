/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups of several routers: partitions that heal, lines that lose, clocks that jump, controllers that come and go. */
#include "control.h"

#define HOUR UINT64_C(3600000)
#define DAY  (24 * HOUR)

static bool
all_agree(struct world *w, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < n - 1; j++)
			if (world_router(w, i)->core->peers[j].state != PEER_SYNCED ||
				!world_router(w, i)->core->peers[j].agrees)
				return false;
	return true;
}

/* Drains of seconds end, then nothing is on its way. */
static void
settle(struct world *w, unsigned int n)
{
	uint64_t until = w->now + 300000;

	world_run(w, 10000);
	while (!all_agree(w, n) && w->now < until)
		world_run(w, 100);
	assert_true(all_agree(w, n));
	assert_agreed(w, n);
}

static void
change_something(struct world *w, unsigned int routers)
{
	struct node *r = world_router(w, (unsigned int)world_random(w, routers));
	unsigned int n = (unsigned int)world_random(w, 40);
	ip4 global = vm_global(r->index, n);

	switch (world_random(w, 5)) {
	case 0:
		vm_unregister(r, n, 0);
		break;
	case 1:
		vm_register(r, n, 0, global);
		break;
	default:
		vm_move(r, n, 0, global, 1000, 5000);
	}
}

static void
cut_halves(struct world *w, unsigned int n, bool cut)
{
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < i; j++)
			if (i % 2 != j % 2)
				world_cut(w, i, j, cut);
}

/* ---- partitions ---- */

static void
groups_of_three_four_and_eight_agree_after_partitions(void **state)
{
	static const unsigned int sizes[] = {3, 4, 8};

	(void)state;
	for (unsigned int s = 0; s < 3; s++) {
		unsigned int n = sizes[s];
		struct world *w = routers(n);

		for (int i = 0; i < 40; i++)
			change_something(w, n);
		settle(w, n);
		cut_halves(w, n, true);
		world_run(w, 20000);
		for (int i = 0; i < 60; i++) /* on both sides */
			change_something(w, n);
		world_run(w, 20000);
		cut_halves(w, n, false);
		settle(w, n);
		world_free(w);
	}
}

/* C-78: while split the old owner goes on for its own side, and gives up with the first exchange. */
static void
an_owner_that_was_cut_off_gives_up_within_one_exchange(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	const struct peer *p = &a->core->peers[0];

	(void)state;
	assert_int_equal(vm_register(a, 1, 7, vm_global(0, 1)), 0);
	world_run(w, 200);
	world_cut(w, 0, 1, true);
	world_run(w, 20000);
	assert_int_equal(vm_move(b, 1, 8, vm_global(1, 1), HOUR, HOUR), 0);
	world_run(w, 60000);
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF);
	assert_int_equal(fwd_at(b, 1)->owner, FWD_SELF);
	world_cut(w, 0, 1, false);
	while (p->state != PEER_SYNCED && world_step(w, w->now + 70000))
		;
	assert_int_equal(p->state, PEER_SYNCED);
	assert_int_equal(fwd_at(a, 1)->owner, 1);
	assert_int_equal(fwd_at(a, 1)->drains[0].home, FWD_SELF);
	world_free(w);
}

/* C-83: news pass in one direction alone; then 200 ms of delay and a connection in a hundred writes that ends; then each line
 * fails and comes back, in any order. */
static void
lines_that_lose_delay_and_clog_end_in_agreement(void **state)
{
	struct world *w = routers(4);

	(void)state;
	world_cut_one_way(w, 0, 1, true);
	for (int i = 0; i < 30; i++) {
		change_something(w, 4);
		world_run(w, 1000);
	}
	world_cut_one_way(w, 0, 1, false);
	settle(w, 4);
	w->delay_min = w->delay_max = 200;
	w->reset_permille = 10;
	for (int i = 0; i < 30; i++) {
		change_something(w, 4);
		world_run(w, 1000);
	}
	w->reset_permille = 0;
	for (int i = 0; i < 60; i++) {
		unsigned int a = (unsigned int)world_random(w, 4), b = (unsigned int)world_random(w, 4);

		if (a != b)
			world_cut(w, a, b, world_random(w, 2) == 0);
		change_something(w, 4);
		world_run(w, 1000);
	}
	world_heal(w);
	settle(w, 4);
	world_free(w);
}

/* C-86: the new owner has committed, nobody has heard of it, and both ends die. */
static void
a_move_both_ends_of_which_die_is_decided_by_its_epoch(void **state)
{
	(void)state;
	for (int first = 0; first < 2; first++) { /* who is back first */
		struct world *w = routers(3);
		struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

		assert_int_equal(vm_register(a, 1, 7, vm_global(0, 1)), 0);
		world_run(w, 200);
		world_cut(w, 0, 1, true);
		world_cut(w, 1, 2, true);
		assert_int_equal(vm_move(b, 1, 8, vm_global(1, 1), HOUR, HOUR), 0);
		node_crash(b);
		node_crash(a);
		world_heal(w);
		assert_int_equal(fwd_at(c, 1)->owner, 1); /* r-a: what it knows */
		node_start(first ? b : a);
		world_run(w, 3000);
		assert_non_null(fwd_at(first ? b : a, 1));
		assert_int_equal(fwd_at(first ? b : a, 1)->owner, FWD_SELF);
		node_start(first ? a : b);
		for (uint64_t until = w->now + 3000; w->now < until; world_run(w, 10)) {
			assert_non_null(fwd_at(a, 1)); /* it is nowhere unknown, not for a moment */
			assert_non_null(fwd_at(b, 1));
			assert_non_null(fwd_at(c, 1));
		}
		assert_int_equal(fwd_at(b, 1)->owner, FWD_SELF);
		assert_int_equal(vm_at(c, 1)->now.epoch, 8);
		assert_int_equal(fwd_at(a, 1)->drains[0].home, FWD_SELF);
		settle(w, 3);
		world_free(w);
	}
}

/* nat.set keeps the epoch, so r-b believes to know what is old: the controller's word tells it better, and the home decides. */
static void
an_address_set_while_the_new_router_was_apart_drains_all_the_same(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 1, 5, vm_global(0, 1)), 0); /* 198.51.0.6 */
	world_run(w, 200);
	world_cut(w, 0, 1, true);
	world_run(w, 20000);
	assert_int_equal(
		call(a, "nat.set",
			"{\"segment\": \"tenant-a\", \"private\": \"10.0.0.6\", \"global\": \"198.51.0.7\"}"),
		0);
	assert_int_equal(
		call(b, "vm.move",
			"{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:01\", \"epoch\": 6,"
			"\"addresses\": [{\"private\": \"10.0.0.6\", \"global\": \"198.52.0.6\"}], \"old\": ["
			"{\"private\": \"10.0.0.6\", \"global\": \"198.51.0.7\", \"router\": \"r-a\"}]}"),
		0);
	world_cut(w, 0, 1, false);
	settle(w, 2);
	assert_int_equal(fwd_at(a, 1)->n_drains, 1);
	assert_int_equal(fwd_at(a, 1)->drains[0].global_ip, vm_global(0, 2));
	assert_int_equal(fwd_at(a, 1)->drains[0].home, FWD_SELF);
	assert_false(logged("is refused"));
	world_free(w);
}

/* C-51: the files have IPv4 addresses, no names. A router that moved to another one dials its peers from there, and its key says
 * who it is. */
static void
a_router_whose_address_changed_is_known_by_its_key(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(b, 1, 0, vm_global(1, 1)), 0);
	node_crash(b);
	strcpy(b->conf.control.listen, "203.0.113.77:7411"); /* r-a's file has the old one */
	world_run(w, HOUR);
	node_start(b);
	world_run(w, 3000);
	assert_true(all_agree(w, 2));
	assert_non_null(fwd_at(a, 1));
	world_free(w);
}

/* ---- clocks ---- */

/* C-54: NTP may do what it likes with the wall clock: nothing runs by it. */
static void
a_wall_clock_that_jumps_changes_nothing(void **state)
{
	static const int64_t jumps[] = {315360000000, -315360000000, 1000, -1000};

	(void)state;
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		struct world *w = routers(2);
		struct node *a = world_router(w, 0), *b = world_router(w, 1);
		uint64_t up = a->core->peers[0].up_serial;

		assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
		assert_int_equal(vm_unregister(a, 2, 1), 0);
		world_run(w, 200);
		assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, 2 * HOUR), 0);
		a->sessions = 1;
		for (int jump = 0; jump < 4; jump++) { /* under way, and again */
			a->wall_offset += jump % 2 ? -jumps[i] : jumps[i];
			b->wall_offset -= jumps[i];
			world_run(w, HOUR / 4);
			vm_register(b, 10 + (unsigned int)jump, 0, vm_global(1, 10 + (unsigned int)jump));
		}
		world_run(w, HOUR - 5000);
		assert_int_equal(fwd_at(a, 1)->n_drains, 1);
		world_run(w, 10000);
		assert_int_equal(fwd_at(a, 1)->n_drains, 0); /* after two hours, and not before */
		assert_int_equal(a->core->peers[0].up_serial, up);
		assert_true(vm_at(a, 2)->now.deleted); /* its day is not over */
		settle(w, 2);
		world_free(w);
	}
}

/* A drain of a day at a home whose clock is slewed, while the wall clock steps a second back each hour, as over a leap second.
 * By the world's clock it ends `min` to `max` ms after its begin. */
static void
drain_of_a_day(int ppm, uint64_t min, uint64_t max)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	uint64_t up = a->core->peers[0].up_serial, began;

	node_slew(a, ppm);
	node_slew(b, -ppm);
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	began = w->now;
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, DAY), 0);
	a->sessions = 1; /* to its last moment */
	for (int hour = 1; hour < 24; hour++) {
		world_run(w, began + (uint64_t)hour * HOUR - w->now);
		a->wall_offset -= 1000;
		b->wall_offset -= 1000;
	}
	world_run(w, began + min - w->now);
	assert_int_equal(fwd_at(a, 1)->n_drains, 1);
	world_run(w, began + max - w->now);
	assert_int_equal(fwd_at(a, 1)->n_drains, 0);
	assert_int_equal(a->core->peers[0].up_serial, up); /* heartbeats of both clocks */
	settle(w, 2);
	world_free(w);
}

/* C-54: leap seconds, and NTP that slews by all it may, 500 ppm: 43.2 s a day. A drain lasts as long as it should by the
 * boot-time clock, and a second at most until that is looked at. */
static void
leap_seconds_and_slewed_clocks_end_no_drain_early_or_late(void **state)
{
	(void)state;
	drain_of_a_day(0, DAY, DAY + 1500);
	drain_of_a_day(500, DAY - 43300, DAY - 43150 + 1500);
	drain_of_a_day(-500, DAY + 43150, DAY + 43300 + 1500);
}

/* C-55: what was due while the machine slept is done once. */
static void
timers_of_a_machine_that_slept_act_once(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	uint64_t rows, sent;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 2)), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR / 2, HOUR / 2), 0);
	assert_int_equal(vm_move(b, 2, 0, vm_global(1, 2), 10 * HOUR, 10 * HOUR), 0);
	world_run(w, 1000);
	rows = a->n_rows;
	sent = w->sent;
	node_suspend(a, HOUR);
	world_run(w, 500);
	assert_int_equal(fwd_at(a, 1)->n_drains, 0); /* it is over: its clock went on */
	assert_int_equal(fwd_at(a, 2)->n_drains, 1);
	assert_true(a->n_rows - rows <= 6); /* the VM, its move, the clocks: not sixty checkpoints */
	assert_true(w->sent - sent < 40000);
	world_run(w, 130000);
	settle(w, 2);
	world_free(w);
}

/* ---- controllers ---- */

static struct caller *
controller(struct world *w, int term)
{
	return caller_new(world_controller(w), "clc", ROLE_CONTROLLER, world_router(w, 0),
		json_pack("{s:i}", "term", term));
}

static json_t *
vm_params(unsigned int n)
{
	struct mac mac = vm_mac(n);
	char m[MAC_TEXT], p[IP4_TEXT];

	return json_pack("{s:s, s:s, s:i, s:[{s:s}]}", "segment", "tenant-a", "mac", mac_format(&mac, m),
		"epoch", 1, "addresses", "private", ip4_format(vm_private(n), p));
}

/* C-45, C-44: it comes back with its state and tells all of it again: nothing changes, nothing is written. */
static void
a_controller_that_restarts_with_its_state_changes_nothing(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *clc = controller(w, 3);
	uint64_t publishes, rows, b_rows;

	(void)state;
	for (unsigned int n = 0; n < 50; n++)
		assert_int_equal(caller_call(clc, "vm.register", vm_params(n)), 0);
	world_run(w, 1000);
	publishes = a->n_publishes;
	rows = a->n_rows;
	b_rows = b->n_rows;
	caller_free(clc);
	world_run(w, 5000);
	clc = controller(w, 3);
	for (unsigned int n = 0; n < 50; n++)
		assert_int_equal(caller_call(clc, "vm.register", vm_params(n)), 0);
	world_run(w, 1000);
	assert_int_equal(a->n_publishes, publishes);
	assert_int_equal(a->n_rows, rows);
	assert_int_equal(b->n_rows, b_rows);
	assert_int_equal(a->core->term.number, 3);
	caller_free(clc);
	world_free(w);
}

#define NEVER	 (-1)
#define A_MOMENT 10000

/* `since` and `heard` are times ago, in ms: heard at most so long ago. */
static void
assert_controller(struct node *r, const char *state, int64_t since, int64_t heard, int sessions)
{
	json_t *v = get(r, "show.controllers", "{}"), *row = json_array_get(json_object_get(v, "rows"), 0);
	json_int_t ago = json_integer_value(json_object_get(row, "heard-ms"));

	assert_string_equal(json_string_value(json_object_get(row, "name")), "clc");
	assert_string_equal(json_string_value(json_object_get(row, "role")), "controller");
	assert_string_equal(json_string_value(json_object_get(row, "state")), state);
	assert_in_range(json_integer_value(json_object_get(row, "since-ms")), since, since + A_MOMENT);
	assert_int_equal(json_integer_value(json_object_get(row, "sessions")), sessions);
	assert_int_equal(json_object_get(row, "heard-ms") == NULL, heard == NEVER);
	assert_true(heard == NEVER || ago <= heard + 1000);
	assert_int_equal(json_integer_value(json_object_get(row, "term")), heard == NEVER ? 0 : 3);
	json_decref(v);
}

/* C-53: forwarding unchanged, and `show controllers` says since when. */
static void
a_controller_that_is_away_for_a_week_is_not_missed(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *clc = controller(w, 3);
	uint64_t publishes;
	struct fwd_vm here, there;

	(void)state;
	assert_int_equal(caller_call(clc, "vm.register", vm_params(1)), 0);
	world_run(w, 60000);
	assert_controller(a, "up", 60000, 5000, 1);
	caller_free(clc);
	world_run(w, 1000);
	assert_controller(a, "away", 1000, 6000, 0);
	assert_controller(b, "away", 61000, NEVER, 0);
	here = *fwd_at(a, 1);
	there = *fwd_at(b, 1);
	publishes = a->n_publishes + b->n_publishes;
	world_run(w, 7 * DAY);
	assert_memory_equal(fwd_at(a, 1), &here, sizeof(here));
	assert_memory_equal(fwd_at(b, 1), &there, sizeof(there));
	assert_int_equal(a->n_publishes + b->n_publishes, publishes);
	assert_true(get_number(a, "show.status", "uptime-ms") > (int64_t)(7 * DAY));
	assert_controller(a, "away", 7 * DAY + 1000, 7 * DAY + 6000, 0);
	clc = controller(w, 3);
	assert_int_equal(caller_call(clc, "vm.register", vm_params(2)), 0);
	assert_controller(a, "up", 0, 0, 1);
	caller_free(clc);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(groups_of_three_four_and_eight_agree_after_partitions),
		T(an_owner_that_was_cut_off_gives_up_within_one_exchange),
		T(lines_that_lose_delay_and_clog_end_in_agreement),
		T(a_move_both_ends_of_which_die_is_decided_by_its_epoch),
		T(an_address_set_while_the_new_router_was_apart_drains_all_the_same),
		T(a_router_whose_address_changed_is_known_by_its_key),
		T(a_wall_clock_that_jumps_changes_nothing),
		T(leap_seconds_and_slewed_clocks_end_no_drain_early_or_late),
		T(timers_of_a_machine_that_slept_act_once),
		T(a_controller_that_restarts_with_its_state_changes_nothing),
		T(a_controller_that_is_away_for_a_week_is_not_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
