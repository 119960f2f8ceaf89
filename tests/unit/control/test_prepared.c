/* SPDX-License-Identifier: BSD-3-Clause */
/* Moves that are prepared: of VM 1, from router 0 to router 1; what happens to it at each step, and when a router goes. */
#include "control.h"

#define MS(s)	 ((uint64_t)(s)*1000)
#define MINUTE	 MS(60)
#define HOUR	 MS(3600)
#define OLD	 vm_global(0, 1)
#define NEW	 vm_global(1, 1)
#define NOTES(w) assert_flags(w, FWD_VM_NOTES, 0)

static struct world *
at_home(void)
{
	struct world *w = routers(2);

	assert_int_equal(vm_register(world_router(w, 0), 1, 1, OLD), 0);
	world_run(w, 200);
	return w;
}

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

/* The code, and the result or the error's data when somebody wants it. */
static int
say(struct node *r, const char *verb, json_t *params, json_t **result)
{
	char method[40];
	json_t *v;
	int code;

	snprintf(method, sizeof(method), "move.%s", verb);
	v = ask(r, &code, method, "o", params);
	if (result)
		*result = v;
	else
		json_decref(v);
	return code;
}

static json_t *
key_params(uint64_t epoch)
{
	json_t *v = vm_register_params(1, epoch, 0);

	json_object_del(v, "addresses");
	return v;
}

static int
do_it(struct node *r, const char *verb, uint64_t epoch)
{
	return say(r, verb, key_params(epoch), NULL);
}

static int
prepare(struct node *r, uint64_t epoch, ip4 global)
{
	return say(r, "prepare", vm_register_params(1, epoch, global), NULL);
}

static struct world *
prepared(void)
{
	struct world *w = at_home();

	assert_int_equal(prepare(y(w), 2, NEW), 0);
	world_run(w, 200);
	return w;
}

static struct world *
paused(void)
{
	struct world *w = prepared();

	assert_int_equal(do_it(y(w), "pause", 2), 0);
	return w;
}

static void
assert_flags(struct world *w, uint8_t at_x, uint8_t at_y)
{
	assert_int_equal(fwd_at(x(w), 1)->flags, at_x);
	assert_int_equal(fwd_at(y(w), 1)->flags, at_y);
}

/* Nothing of it is left: neither in forwarding nor in the addresses. */
static void
assert_as_before(struct world *w)
{
	assert_flags(w, 0, 0);
	assert_int_equal(fwd_at(x(w), 1)->owner, FWD_SELF);
	assert_int_equal(fwd_at(x(w), 1)->location, FWD_SELF);
	assert_int_equal(fwd_at(y(w), 1)->owner, 1);
	assert_int_equal(fwd_at(x(w), 1)->n_drains, 0);
	assert_int_equal(vm_register(y(w), 2, 0, NEW), 0);
	assert_int_equal(vm_unregister(y(w), 2, 0), 0);
	world_run(w, 200);
	assert_agreed(w, 2);
}

static void
assert_moved(struct world *w)
{
	const struct fwd_vm *at_x = fwd_at(x(w), 1), *at_y = fwd_at(y(w), 1);

	assert_int_equal(at_y->owner, FWD_SELF);
	assert_int_equal(at_y->addresses[0].global_ip, NEW);
	assert_int_equal(at_y->drains[0].global_ip, OLD);
	assert_int_equal(at_x->owner, 1);
	assert_int_equal(at_x->location, 1);
	assert_int_equal(at_x->drains[0].home, FWD_SELF);
	assert_int_equal(at_x->flags, 0);
	assert_agreed(w, 2);
}

static json_t *
move_row_at(struct node *r)
{
	json_t *v = get(r, "show.moves", "{}"), *row;

	row = json_incref(json_array_get(json_object_get(v, "rows"), 0));
	json_decref(v);
	return row;
}

static void
assert_state(struct node *r, const char *state, const char *reason)
{
	json_t *row = move_row_at(r);
	const char *why = json_string_value(json_object_get(row, "reason"));

	assert_string_equal(json_string_value(json_object_get(row, "state")), state);
	assert_string_equal(why ? why : "", reason);
	json_decref(row);
}

static void
hear(struct node *r, enum fwd_event_kind kind)
{
	struct fwd_event ev = {
		.kind = kind, .mac = vm_mac(1), .ip = vm_private(1), .location = FWD_SELF, .attachment = 0};

	node_event(r, &ev);
}

/* ---- the steps ---- */

static void
a_prepared_move_reserves_and_notes_and_changes_nothing_else(void **state)
{
	struct world *w = prepared();

	(void)state;
	NOTES(w);
	assert_int_equal(fwd_at(x(w), 1)->owner, FWD_SELF);
	assert_int_equal(fwd_at(x(w), 1)->location, FWD_SELF);
	assert_int_equal(fwd_at(y(w), 1)->owner, 1);
	assert_int_equal(vm_register(y(w), 2, 0, NEW), RPC_CONFLICT);
	assert_int_equal(prepare(y(w), 2, NEW), 0); /* told again */
	assert_int_equal(prepare(y(w), 2, vm_global(1, 7)), RPC_CONFLICT);
	assert_int_equal(prepare(y(w), 3, NEW), RPC_CONFLICT);
	assert_state(y(w), "prepared", "");
	assert_agreed(w, 2);
	world_free(w);
}

static void
what_vm_move_would_refuse_cannot_be_prepared(void **state)
{
	struct world *w = at_home();

	(void)state;
	assert_int_equal(prepare(y(w), 1, NEW), RPC_CONFLICT);
	assert_int_equal(prepare(y(w), 2, OLD), RPC_INVALID_PARAMS);
	assert_int_equal(vm_register(y(w), 3, 0, NEW), 0);
	assert_int_equal(prepare(y(w), 2, NEW), RPC_CONFLICT);
	assert_int_equal(prepare(x(w), 2, vm_global(0, 9)), RPC_CONFLICT); /* it is there */
	assert_int_equal(do_it(y(w), "commit", 2), RPC_NOT_FOUND);
	assert_flags(w, 0, 0);
	world_free(w);
}

static void
a_pause_is_acknowledged_when_the_old_router_sends_to_the_new_one(void **state)
{
	struct world *w = prepared();
	json_t *v;

	(void)state;
	assert_int_equal(say(y(w), "pause", key_params(0), &v), 0);
	assert_string_equal(json_string_value(json_object_get(v, "old-router")), "ready");
	assert_string_equal(json_string_value(json_object_get(v, "state")), "paused");
	json_decref(v);
	assert_flags(w, FWD_VM_NOTES, FWD_VM_HOLDS);
	assert_int_equal(fwd_at(x(w), 1)->owner, FWD_SELF);
	assert_int_equal(fwd_at(x(w), 1)->location, 1);
	hear(x(w), FWD_VM_SEEN); /* it still speaks there, and that moves nothing */
	world_run(w, 3000);
	assert_int_equal(fwd_at(x(w), 1)->location, 1);
	world_free(w);
}

static void
a_pause_does_not_wait_for_an_old_router_that_is_away(void **state)
{
	struct world *w = prepared();
	uint64_t before;
	json_t *v;

	(void)state;
	node_crash(x(w));
	world_run(w, 30000);
	before = w->now;
	assert_int_equal(say(y(w), "pause", key_params(2), &v), 0);
	assert_string_equal(json_string_value(json_object_get(v, "old-router")), "away");
	assert_true(w->now - before < 500);
	json_decref(v);
	world_free(w);
}

static void
a_pause_waits_a_second_for_an_old_router_that_does_not_answer(void **state)
{
	struct world *w = prepared();
	uint64_t before;
	json_t *v;

	(void)state;
	world_cut(w, 0, 1, true);
	before = w->now;
	assert_int_equal(say(y(w), "pause", key_params(2), &v), 0);
	assert_string_equal(json_string_value(json_object_get(v, "old-router")), "away");
	assert_in_range(w->now - before, 1000, 1500);
	json_decref(v);
	world_free(w);
}

static void
a_committed_move_is_what_vm_move_makes_and_holds_until_the_vm_is_heard(void **state)
{
	struct world *w = paused();

	(void)state;
	assert_int_equal(do_it(y(w), "commit", 2), 0);
	world_run(w, 200);
	assert_moved(w);
	assert_int_equal(fwd_at(y(w), 1)->flags & FWD_VM_HOLDS, FWD_VM_HOLDS);
	hear(y(w), FWD_VM_HEARD);
	world_run(w, 200);
	assert_int_equal(fwd_at(y(w), 1)->flags & FWD_VM_HOLDS, 0);
	assert_int_equal(fwd_at(y(w), 1)->attachment, 0);
	world_run(w, 6000); /* nobody lists its sessions here */
	assert_int_equal(fwd_at(y(w), 1)->flags, 0);
	assert_int_equal(do_it(y(w), "commit", 2), 0);
	assert_int_equal(do_it(y(w), "abort", 2), RPC_COMMITTED);
	assert_int_equal(prepare(y(w), 2, NEW), 0);
	assert_state(y(w), "draining", "");
	world_free(w);
}

static void
a_vm_that_is_not_heard_holds_no_longer_than_hold_max(void **state)
{
	struct world *w = paused();

	(void)state;
	assert_int_equal(do_it(y(w), "commit", 2), 0);
	world_run(w, y(w)->core->conf->hold.max_ms - 100);
	assert_int_equal(fwd_at(y(w), 1)->flags & FWD_VM_HOLDS, FWD_VM_HOLDS);
	world_run(w, 400);
	assert_int_equal(fwd_at(y(w), 1)->flags & FWD_VM_HOLDS, 0);
	world_free(w);
}

static void
a_vm_that_arrives_commits_its_move(void **state)
{
	struct world *w = paused();
	json_t *row;

	(void)state;
	hear(y(w), FWD_VM_SEEN);
	world_run(w, 200);
	assert_moved(w);
	assert_int_equal(fwd_at(y(w), 1)->attachment, 0);
	assert_int_equal(fwd_at(y(w), 1)->flags & FWD_VM_HOLDS, 0);
	row = move_row_at(y(w));
	assert_string_equal(json_string_value(json_object_get(row, "by")), "arrival");
	json_decref(row);
	assert_int_equal(do_it(y(w), "abort", 2), RPC_COMMITTED);
	assert_int_equal(do_it(y(w), "commit", 2), 0);
	world_free(w);
}

static void
a_vm_that_is_heard_without_a_prepared_move_commits_nothing(void **state)
{
	struct world *w = at_home();

	(void)state;
	hear(y(w), FWD_VM_SEEN);
	world_run(w, 200);
	assert_as_before(w);
	world_free(w);
}

static void
an_aborted_move_leaves_nothing_behind(void **state)
{
	for (int after_pause = 0; after_pause < 2; after_pause++) {
		struct world *w = after_pause ? paused() : prepared();

		(void)state;
		assert_int_equal(do_it(y(w), "abort", 2), 0);
		assert_int_equal(do_it(y(w), "abort", 2), 0);
		world_run(w, 500);
		assert_state(y(w), "aborted", "asked");
		assert_int_equal(do_it(y(w), "commit", 2), RPC_ABORTED);
		assert_int_equal(do_it(y(w), "pause", 2), RPC_ABORTED);
		assert_int_equal(prepare(y(w), 2, NEW), RPC_ABORTED);
		assert_as_before(w);
		assert_int_equal(prepare(y(w), 3, NEW), 0);
		world_free(w);
	}
}

/* What it has sent until then would find nobody at the new site. */
static void
what_waits_goes_back_when_the_old_router_has_heard_of_the_end_and_its_last_packets_are_here(void **state)
{
	for (int silent = 0; silent < 2; silent++) {
		struct world *w = paused();

		(void)state;
		world_stall(w, 0, 1, silent ? 60000 : 50);
		assert_int_equal(do_it(y(w), "abort", 2), 0);
		world_run(w, 20);
		assert_int_equal(fwd_at(x(w), 1)->location, 1);
		assert_int_equal(fwd_at(y(w), 1)->flags, FWD_VM_HOLDS);
		world_run(w, silent ? 900 : 150);
		assert_int_equal(fwd_at(x(w), 1)->location, silent ? 1 : FWD_SELF);
		assert_int_equal(fwd_at(y(w), 1)->flags, FWD_VM_HOLDS);
		world_run(w, 300);
		assert_int_equal(fwd_at(y(w), 1)->flags, 0);
		world_free(w);
	}
}

static void
what_waits_goes_back_while_the_old_router_hears_of_other_moves_all_the_time(void **state)
{
	struct world *w = paused();

	(void)state;
	for (unsigned int n = 2; n < 12; n++)
		assert_int_equal(vm_register(x(w), n, 1, vm_global(0, n)), 0);
	world_run(w, 100);
	assert_int_equal(do_it(y(w), "abort", 2), 0);
	for (unsigned int n = 2; n < 12; n++) {
		assert_int_equal(say(y(w), "prepare", vm_register_params(n, 2, vm_global(1, n)), NULL), 0);
		world_run(w, 50);
	}
	assert_int_equal(fwd_at(y(w), 1)->flags, 0);
	world_free(w);
}

/* Nobody would end what it does, for as long as its VM stays where it is. */
static void
no_move_is_forgotten_that_still_holds(void **state)
{
	unsigned int n = MOVES_KEPT + MOVES_SLACK + 2;
	struct world *w = routers(2);

	(void)state;
	vm_many(x(w), "vm.register", 1, n, 1);
	vm_many(y(w), "move.prepare", 1, n, 2);
	vm_many(y(w), "move.pause", 1, n, 2);
	world_stall(w, 0, 1, 60000);
	vm_many(y(w), "move.abort", 1, n, 2);
	assert_int_equal(fwd_at(y(w), 1)->flags, FWD_VM_HOLDS);
	world_run(w, 2000);
	for (unsigned int i = 1; i < n; i++)
		assert_int_equal(fwd_at(y(w), i)->flags, 0);
	world_run(w, 60000);
	assert_int_equal(vm_register(y(w), n, 1, 0), 0);
	assert_int_equal(vm_move(x(w), n, 2, 0, 0, 0), 0);
	world_run(w, 1000);
	assert_in_range(y(w)->core->n_moves_ended, MOVES_KEPT, MOVES_KEPT + MOVES_SLACK);
	world_free(w);
}

static void
another_move_may_be_prepared_while_what_waited_goes_back(void **state)
{
	struct world *w = paused();

	(void)state;
	world_stall(w, 0, 1, 50);
	assert_int_equal(do_it(y(w), "abort", 2), 0);
	assert_int_equal(prepare(y(w), 3, NEW), 0);
	assert_int_equal(do_it(y(w), "pause", 3), 0);
	assert_flags(w, FWD_VM_NOTES, FWD_VM_HOLDS);
	assert_int_equal(do_it(y(w), "commit", 3), 0);
	world_run(w, 200);
	assert_moved(w);
	world_free(w);
}

/* The aborted one would hold again what comes for a VM that is here and was heard. */
static void
a_vm_that_moves_while_what_waited_goes_back_is_reached_at_once(void **state)
{
	struct world *w = paused();

	(void)state;
	world_stall(w, 0, 1, 60000);
	assert_int_equal(do_it(y(w), "abort", 2), 0);
	assert_int_equal(fwd_at(y(w), 1)->flags, FWD_VM_HOLDS);
	assert_int_equal(vm_move(y(w), 1, 3, NEW, 0, HOUR), 0);
	hear(y(w), FWD_VM_HEARD);
	world_run(w, 100);
	assert_int_equal(fwd_at(y(w), 1)->flags & FWD_VM_HOLDS, 0);
	assert_null(y(w)->core->active);
	world_free(w);
}

static void
a_dry_run_of_each_step_changes_nothing(void **state)
{
	static const char *const verbs[] = {"pause", "commit", "abort"};
	struct world *w = prepared();
	json_t *params = vm_register_params(1, 3, NEW);

	(void)state;
	for (int i = 0; i < 3; i++) {
		json_t *key = key_params(2);

		json_object_set_new(key, "dry-run", json_true());
		assert_int_equal(say(y(w), verbs[i], key, NULL), 0);
		assert_state(y(w), "prepared", "");
	}
	NOTES(w);
	assert_int_equal(do_it(y(w), "abort", 2), 0);
	json_object_set_new(params, "dry-run", json_true());
	assert_int_equal(say(y(w), "prepare", params, NULL), 0);
	assert_as_before(w);
	world_free(w);
}

/* ---- time, and others ---- */

static void
a_pause_that_takes_too_long_is_over_and_the_move_goes_on(void **state)
{
	struct world *w = paused();

	(void)state;
	world_run(w, y(w)->core->conf->moves.paused_max_ms + 500);
	assert_state(y(w), "prepared", "timeout");
	NOTES(w);
	assert_int_equal(fwd_at(x(w), 1)->location, FWD_SELF);
	assert_int_equal(do_it(y(w), "commit", 2), 0);
	world_run(w, 200);
	assert_moved(w);
	world_free(w);
}

static void
a_prepared_move_that_nobody_commits_is_aborted(void **state)
{
	struct world *w = prepared();

	(void)state;
	world_run(w, y(w)->core->conf->moves.prepared_max_ms + 500);
	assert_state(y(w), "aborted", "timeout");
	assert_as_before(w);
	world_free(w);
}

static void
start_again(struct node *r, bool reboot)
{
	node_crash(r);
	if (reboot)
		node_reboot(r, 0);
	node_start(r);
}

static void
assert_ends_in(struct world *w, uint64_t ms)
{
	world_run(w, ms - 2 * MINUTE);
	assert_state(y(w), "prepared", "");
	world_run(w, 3 * MINUTE);
	assert_state(y(w), "aborted", "timeout");
	assert_as_before(w);
}

/* Nor by a reboot, as far as its clocks can be believed; nor less, however long the boot was in which it began. */
static void
a_restart_gives_a_prepared_move_no_more_time(void **state)
{
	static const struct {
		uint64_t up;
		bool reboots[2];
	} cases[] = {{0, {false, false}}, {0, {true, false}}, {0, {false, true}}, {0, {true, true}},
		{3 * HOUR, {true, false}}, {3 * HOUR, {true, true}}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *w = at_home();

		(void)state;
		world_run(w, cases[i].up);
		assert_int_equal(prepare(y(w), 2, NEW), 0);
		world_run(w, 10 * MINUTE);
		start_again(y(w), cases[i].reboots[0]);
		world_run(w, 2 * MINUTE);
		start_again(y(w), cases[i].reboots[1]);
		assert_ends_in(w, 48 * MINUTE);
		world_free(w);
	}
}

/* Rows of an older version. */
static void
a_prepared_move_whose_row_has_no_time_begins_anew(void **state)
{
	struct world *w = prepared();
	json_t *shown = move_row_at(y(w));
	const char *id = json_string_value(json_object_get(shown, "id"));
	json_t *row = json_loads(stored_row(y(w), "move", id), 0, NULL);
	char *text;

	(void)state;
	assert_int_equal(json_object_del(row, "since"), 0);
	text = json_dumps(row, 0);
	world_run(w, 10 * MINUTE);
	stored_set(y(w), "move", id, text);
	start_again(y(w), false);
	assert_ends_in(w, 60 * MINUTE);
	free(text);
	json_decref(row);
	json_decref(shown);
	world_free(w);
}

static void
a_prepared_move_begins_anew_where_no_clock_was_stored(void **state)
{
	struct world *w = prepared();

	(void)state;
	world_run(w, 10 * MINUTE);
	stored_set(y(w), "meta", "router", NULL);
	start_again(y(w), true);
	assert_ends_in(w, 60 * MINUTE);
	world_free(w);
}

/* Nothing else happens there: that it is prepared is enough for the clock to be written down. */
static void
a_router_that_is_off_for_longer_than_was_left_gives_no_more_than_that(void **state)
{
	struct world *w = prepared();

	(void)state;
	world_run(w, 55 * MINUTE);
	node_crash(y(w));
	world_run(w, 6 * MINUTE);
	node_reboot(y(w), 0);
	node_start(y(w));
	assert_ends_in(w, 5 * MINUTE);
	world_free(w);
}

static void
a_pause_ends_in_time_though_the_router_was_away_for_longer(void **state)
{
	struct world *w = paused();

	(void)state;
	node_crash(y(w));
	world_run(w, y(w)->conf.moves.paused_max_ms + 5000);
	node_start(y(w));
	world_run(w, 3000);
	assert_state(y(w), "prepared", "timeout");
	NOTES(w);
	world_free(w);
}

static void
a_vm_that_somebody_else_changes_ends_the_move(void **state)
{
	struct world *w = paused();

	(void)state;
	assert_int_equal(vm_register(x(w), 1, 2, vm_global(0, 5)), 0);
	world_run(w, 200);
	assert_state(y(w), "aborted", "overtaken");
	assert_as_before(w);
	world_free(w);
}

static void
vm_move_at_the_same_epoch_commits_the_prepared_move(void **state)
{
	struct world *w = paused();

	(void)state;
	assert_int_equal(vm_move(y(w), 1, 2, NEW, HOUR, 2 * HOUR), 0);
	world_run(w, 200);
	assert_moved(w);
	assert_state(y(w), "draining", "");
	assert_int_equal(vm_register(y(w), 2, 0, vm_global(1, 2)), 0);
	world_free(w);
}

/* ---- routers that go ---- */

static void
restart(struct world *w, struct node *n)
{
	node_crash(n);
	world_run(w, 100);
	node_start(n);
	world_run(w, 90000);
}

static void
each_step_outlives_a_restart_of_either_router(void **state)
{
	for (unsigned int who = 0; who < 2; who++) {
		struct world *w = prepared();

		(void)state;
		restart(w, world_router(w, who));
		assert_state(y(w), "prepared", "");
		NOTES(w);
		assert_int_equal(vm_register(y(w), 2, 0, NEW), RPC_CONFLICT);
		assert_int_equal(do_it(y(w), "pause", 2), 0);
		assert_flags(w, FWD_VM_NOTES, FWD_VM_HOLDS);
		node_crash(world_router(w, who));
		node_start(world_router(w, who));
		world_run(w, 8000);
		assert_state(y(w), "paused", "");
		assert_flags(w, FWD_VM_NOTES, FWD_VM_HOLDS);
		assert_int_equal(fwd_at(x(w), 1)->location, 1);
		assert_int_equal(do_it(y(w), "commit", 2), 0);
		restart(w, world_router(w, who));
		assert_moved(w);
		world_free(w);
	}
}

/* Its abort was not heard at the old router. */
static void
what_a_new_router_does_not_tell_again_is_over(void **state)
{
	struct world *w = paused();

	(void)state;
	world_cut(w, 0, 1, true);
	assert_int_equal(do_it(y(w), "abort", 2), 0);
	node_crash(y(w));
	world_cut(w, 0, 1, false);
	node_start(y(w));
	world_run(w, 90000);
	assert_as_before(w);
	world_free(w);
}

static void
an_old_router_takes_its_vm_back_from_a_new_one_that_is_gone(void **state)
{
	struct world *w = paused();

	(void)state;
	node_crash(y(w));
	world_run(w, 1000);
	assert_int_equal(fwd_at(x(w), 1)->location, 1);
	world_run(w, 60000);
	assert_int_equal(fwd_at(x(w), 1)->location, FWD_SELF);
	assert_int_equal(fwd_at(x(w), 1)->flags, 0);
	world_free(w);
}

static void
a_dead_old_router_keeps_nothing_from_moving(void **state)
{
	struct world *w = prepared();

	(void)state;
	node_crash(x(w));
	world_run(w, 1000);
	assert_int_equal(do_it(y(w), "pause", 2), 0);
	assert_int_equal(do_it(y(w), "commit", 2), 0);
	world_run(w, 6000);
	assert_int_equal(fwd_at(y(w), 1)->owner, FWD_SELF);
	assert_int_equal(fwd_at(y(w), 1)->flags, 0);
	node_start(x(w));
	world_run(w, 90000);
	assert_moved(w);
	world_free(w);
}

/* ---- what a peer may say ---- */

static json_t *
told(const char *segment, unsigned int n, json_int_t epoch, const char *state, json_int_t left)
{
	struct mac mac = vm_mac(n);
	char text[MAC_TEXT];

	return json_pack("{s:[{s:s, s:s, s:I, s:s, s:I}]}", "moves", "segment", segment, "mac",
		mac_format(&mac, text), "epoch", epoch, "state", state, "left", left);
}

static void
a_peer_moves_only_what_is_ours_and_still_to_come(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *k;

	(void)state;
	node_start(a);
	world_run(w, 3000);
	assert_int_equal(vm_register(a, 1, 5, OLD), 0);
	k = caller_new(b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	assert_true(k->up);
	assert_int_equal(caller_call(k, "sync.moves", told("tenant-a", 1, 5, "paused", 1000)), 0);
	assert_int_equal(caller_call(k, "sync.moves", told("tenant-a", 2, 9, "paused", 1000)), 0);
	assert_int_equal(caller_call(k, "sync.moves", told("lab", 1, 9, "paused", 1000)), 0);
	assert_int_equal(caller_call(k, "sync.moves", told("tenant-a", 1, 9, "gone", 1000)), 0);
	assert_int_equal(caller_call(k, "sync.moves", told("tenant-a", 1, 9, "paused", -1)), 0);
	assert_int_equal(caller_call(k, "sync.moves", told("tenant-a", 1, INT64_MAX, "paused", 1)), 0);
	assert_int_equal(caller_call(k, "sync.moves", json_pack("{s:[n, i, {}]}", "moves", 3)), 0);
	assert_int_equal(caller_call(k, "sync.moves", json_pack("{s:i}", "moves", 3)), RPC_NO_METHOD);
	assert_int_equal(fwd_at(a, 1)->flags, 0);
	assert_int_equal(fwd_at(a, 1)->location, FWD_SELF);
	assert_int_equal(caller_call(k, "sync.moves", told("tenant-a", 1, 6, "paused", INT64_MAX)), 0);
	assert_int_equal(fwd_at(a, 1)->location, 1);
	assert_int_equal(caller_call(k, "sync.moves", told("tenant-a", 1, 7, "aborted", 0)), 0);
	assert_int_equal(fwd_at(a, 1)->location, 1); /* that is another move */
	assert_int_equal(caller_call(k, "sync.moves", told("tenant-a", 1, 6, "aborted", 0)), 0);
	assert_int_equal(fwd_at(a, 1)->location, FWD_SELF);
	caller_free(k);
	world_free(w);
}

static unsigned int told_moves;

/* A peer whose exchange never comes to an end. */
static json_t *
unsynced(const char *method, const json_t *params)
{
	(void)params;
	told_moves += strcmp(method, "sync.moves") == 0;
	return json_object();
}

static void
an_old_router_that_is_back_is_told_before_the_exchange_is_through(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *hello = json_pack("{s:{s:i}}", "segments", "tenant-a", 100), *vm;
	struct caller *k;
	struct mac mac = vm_mac(1);
	char text[MAC_TEXT];

	(void)state;
	node_start(b);
	world_run(w, 3000);
	k = caller_new(a, "r-a", ROLE_PEER, b, json_incref(hello));
	vm = json_pack("{s:s, s:s, s:s, s:i, s:[{s:s, s:s}]}", "segment", "tenant-a", "mac",
		mac_format(&mac, text), "owner", "r-a", "epoch", 1, "addresses", "private", "10.0.0.6",
		"global", "198.51.0.6");
	assert_int_equal(caller_call(k, "sync.update", json_pack("{s:[o]}", "vms", vm)), 0);
	world_run(w, 50);
	assert_int_equal(prepare(b, 2, NEW), 0);
	assert_int_equal(do_it(b, "pause", 2), 0);
	caller_free(k);
	world_run(w, 1000);
	told_moves = 0;
	k = caller_with(a, "r-a", ROLE_PEER, b, hello, unsynced);
	assert_true(k->up);
	world_run(w, 100);
	assert_int_equal(told_moves, 1);
	caller_free(k);
	world_free(w);
}

static void
a_pause_is_answered_though_the_old_router_was_quicker_than_our_own_grace_period(void **state)
{
	struct world *w = prepared();
	uint64_t before = w->now;
	json_t *v;

	(void)state;
	y(w)->grace_ms = 100;
	assert_int_equal(say(y(w), "pause", key_params(2), &v), 0);
	assert_string_equal(json_string_value(json_object_get(v, "old-router")), "ready");
	assert_true(w->now - before < 500);
	json_decref(v);
	world_free(w);
}

/* It is not with whom it was when its move was prepared. */
static void
a_vm_that_went_on_meanwhile_is_asked_for_where_it_is(void **state)
{
	struct world *w = routers(3);
	struct node *z = world_router(w, 2);
	json_t *v;

	(void)state;
	assert_int_equal(vm_register(x(w), 1, 1, OLD), 0);
	world_run(w, 200);
	assert_int_equal(prepare(y(w), 5, NEW), 0);
	world_run(w, 200);
	assert_int_equal(fwd_at(x(w), 1)->flags, FWD_VM_NOTES);
	assert_int_equal(vm_move(z, 1, 2, vm_global(2, 1), HOUR, HOUR), 0);
	world_run(w, 200);
	assert_int_equal(fwd_at(x(w), 1)->flags, 0);
	assert_int_equal(fwd_at(z, 1)->flags, FWD_VM_NOTES);
	assert_int_equal(say(y(w), "pause", key_params(5), &v), 0);
	assert_string_equal(json_string_value(json_object_get(v, "old-router")), "ready");
	json_decref(v);
	assert_int_equal(router_index(z->core, "r-b"), fwd_at(z, 1)->location);
	assert_int_equal(do_it(y(w), "abort", 5), 0);
	world_run(w, 200);
	assert_int_equal(fwd_at(z, 1)->location, FWD_SELF);
	assert_int_equal(fwd_at(z, 1)->flags, 0);
	assert_agreed(w, 3);
	world_free(w);
}

static void
a_vm_that_arrives_while_the_disk_refuses_is_taken_once_it_does_not(void **state)
{
	struct world *w = paused();

	(void)state;
	y(w)->commits_to_fail = 1;
	hear(y(w), FWD_VM_SEEN);
	world_run(w, 1000);
	assert_int_equal(fwd_at(y(w), 1)->owner, 1);
	world_run(w, MS(9)); /* the store is asked again; the VM says no more */
	assert_moved(w);
	world_free(w);
}

static void
a_move_that_time_ends_is_in_the_log_of_changes(void **state)
{
	struct world *w = prepared();
	json_t *v, *row;
	bool found = false;
	size_t i;

	(void)state;
	world_run(w, HOUR + MS(2));
	v = get(y(w), "show.log", "{}");
	json_array_foreach(json_object_get(v, "rows"), i, row) found |=
		strcmp(json_string_value(json_object_get(row, "what")), "move") == 0;
	assert_true(found);
	json_decref(v);
	world_free(w);
}

/* ---- what is told of it ---- */

static void
the_record_has_each_steps_time_and_what_waited(void **state)
{
	static const char *const times[] = {"prepared", "paused", "committed", "heard", "released"};
	struct fwd_event over = {
		.kind = FWD_HOLD_OVER, .mac = vm_mac(1), .held = 12, .released = 11, .dropped = 1};
	struct world *w = paused();
	json_t *row;

	(void)state;
	assert_int_equal(do_it(y(w), "commit", 2), 0);
	hear(y(w), FWD_VM_HEARD);
	world_run(w, 100);
	node_event(y(w), &over);
	row = move_row_at(y(w));
	for (int i = 0; i < 5; i++)
		assert_true(json_is_string(json_object_get(json_object_get(row, "times"), times[i])));
	assert_int_equal(json_integer_value(json_object_get(row, "held")), 12);
	assert_int_equal(json_integer_value(json_object_get(row, "released")), 11);
	assert_int_equal(json_integer_value(json_object_get(row, "dropped")), 1);
	json_decref(row);
	world_free(w);
}

/* ---- words out of their time ---- */

/* Y had the VM by a move of epoch 2 and lost it again; the next one to Y is in its pause. */
static struct world *
paused_once_more(void)
{
	struct world *w = prepared();

	assert_int_equal(do_it(y(w), "commit", 2), 0);
	world_run(w, 3000);
	assert_int_equal(vm_move(x(w), 1, 3, OLD, 0, 1), 0);
	world_run(w, 20000);
	assert_int_equal(prepare(y(w), 4, NEW), 0);
	world_run(w, 200);
	assert_int_equal(do_it(y(w), "pause", 4), 0);
	return w;
}

static void
what_waits_goes_back_though_an_older_move_is_prepared_again(void **state)
{
	struct world *w = paused_once_more();

	(void)state;
	assert_int_equal(do_it(y(w), "abort", 4), 0);
	assert_int_equal(prepare(y(w), 2, NEW), 0); /* it was, and is committed: the answer of then */
	world_run(w, 60000);
	assert_int_equal(fwd_at(y(w), 1)->flags & FWD_VM_HOLDS, 0);
	world_free(w);
}

static int
abort_four(struct core *c, struct txn *t)
{
	struct move_key_params k = {.segment = {"tenant-a"}, .mac = vm_mac(1), .epoch = 4};
	json_t *out = json_object();
	int rc = apply_move_abort(c, &k, out, &t->fail);

	json_decref(out);
	return rc;
}

static int
prepare_two(struct core *c, struct txn *t)
{
	struct vm_key key = {(uint16_t)segment_index(c, "tenant-a"), vm_mac(1)};
	struct vm_move_params p;
	struct faults faults;
	json_t *out = json_object();
	int rc;

	faults_init(&faults);
	kind_read(&kind_vm_move_params, move_find(c, &key, 2)->plan, NULL, &p, &faults);
	rc = apply_move_prepare(c, &p, out, &t->fail);
	kind_fini(&kind_vm_move_params, &p);
	faults_fini(&faults);
	json_decref(out);
	return rc;
}

static void
is_done(struct core *c, struct txn *t, int code)
{
	(void)c;
	assert_int_equal(code, 0);
	fail_clear(&t->fail);
	free(t);
}

static void
submit(struct node *n, int (*apply)(struct core *c, struct txn *t))
{
	struct txn *t = calloc(1, sizeof(*t));

	t->apply = apply;
	t->done = is_done;
	txn_submit(n->core, t);
}

static void
an_older_move_may_be_prepared_again_in_the_group_of_an_abort(void **state)
{
	struct world *w = paused_once_more();

	(void)state;
	submit(y(w), abort_four);
	submit(y(w), prepare_two);
	world_run(w, 60000);
	assert_int_equal(fwd_at(y(w), 1)->flags & FWD_VM_HOLDS, 0);
	world_free(w);
}

static int
abort_slowly(struct core *c, struct txn *t)
{
	struct vm_key key = {(uint16_t)segment_index(c, "tenant-a"), vm_mac(1)};
	struct move_key_params k = {.segment = {"tenant-a"}, .mac = vm_mac(1), .epoch = 2};
	json_t *out;

	if (move_find(c, &key, 2)->now.state == MOVE_ABORTED)
		return 0;
	out = json_object();
	apply_move_abort(c, &k, out, &t->fail);
	json_decref(out);
	timer_set(c, c->arriving_timer, 0); /* the clock ticks between two turns of the transaction */
	return TXN_MORE;
}

static void
what_waits_does_not_go_back_before_the_old_router_has_heard_though_the_abort_takes_turns(void **state)
{
	struct world *w = paused();

	(void)state;
	world_run(w, 1000);
	world_stall(w, 0, 1, 60000);
	submit(y(w), abort_slowly);
	for (int i = 0; i < 5; i++) {
		world_run(w, 5);
		assert_true(fwd_at(y(w), 1)->flags & FWD_VM_HOLDS);
	}
	world_free(w);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, control_setup)
	const struct CMUnitTest tests[] = {
		TEST(a_prepared_move_reserves_and_notes_and_changes_nothing_else),
		TEST(what_vm_move_would_refuse_cannot_be_prepared),
		TEST(a_pause_is_acknowledged_when_the_old_router_sends_to_the_new_one),
		TEST(a_pause_does_not_wait_for_an_old_router_that_is_away),
		TEST(a_pause_waits_a_second_for_an_old_router_that_does_not_answer),
		TEST(a_committed_move_is_what_vm_move_makes_and_holds_until_the_vm_is_heard),
		TEST(a_vm_that_is_not_heard_holds_no_longer_than_hold_max),
		TEST(a_vm_that_arrives_commits_its_move),
		TEST(a_vm_that_is_heard_without_a_prepared_move_commits_nothing),
		TEST(an_aborted_move_leaves_nothing_behind),
		TEST(what_waits_goes_back_when_the_old_router_has_heard_of_the_end_and_its_last_packets_are_here),
		TEST(what_waits_goes_back_while_the_old_router_hears_of_other_moves_all_the_time),
		TEST(no_move_is_forgotten_that_still_holds),
		TEST(another_move_may_be_prepared_while_what_waited_goes_back),
		TEST(a_vm_that_moves_while_what_waited_goes_back_is_reached_at_once),
		TEST(a_dry_run_of_each_step_changes_nothing),
		TEST(a_pause_that_takes_too_long_is_over_and_the_move_goes_on),
		TEST(a_prepared_move_that_nobody_commits_is_aborted),
		TEST(what_waits_goes_back_though_an_older_move_is_prepared_again),
		TEST(an_older_move_may_be_prepared_again_in_the_group_of_an_abort),
		TEST(what_waits_does_not_go_back_before_the_old_router_has_heard_though_the_abort_takes_turns),
		TEST(a_restart_gives_a_prepared_move_no_more_time),
		TEST(a_prepared_move_whose_row_has_no_time_begins_anew),
		TEST(a_prepared_move_begins_anew_where_no_clock_was_stored),
		TEST(a_router_that_is_off_for_longer_than_was_left_gives_no_more_than_that),
		TEST(a_pause_ends_in_time_though_the_router_was_away_for_longer),
		TEST(a_vm_that_somebody_else_changes_ends_the_move),
		TEST(vm_move_at_the_same_epoch_commits_the_prepared_move),
		TEST(each_step_outlives_a_restart_of_either_router),
		TEST(what_a_new_router_does_not_tell_again_is_over),
		TEST(an_old_router_takes_its_vm_back_from_a_new_one_that_is_gone),
		TEST(a_dead_old_router_keeps_nothing_from_moving),
		TEST(a_peer_moves_only_what_is_ours_and_still_to_come),
		TEST(an_old_router_that_is_back_is_told_before_the_exchange_is_through),
		TEST(a_pause_is_answered_though_the_old_router_was_quicker_than_our_own_grace_period),
		TEST(a_vm_that_went_on_meanwhile_is_asked_for_where_it_is),
		TEST(a_vm_that_arrives_while_the_disk_refuses_is_taken_once_it_does_not),
		TEST(a_move_that_time_ends_is_in_the_log_of_changes),
		TEST(the_record_has_each_steps_time_and_what_waited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
