/* SPDX-License-Identifier: BSD-3-Clause */
/* An evacuation as an operator has it: of a list, stopped, gone on with, ended where it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "clc_world.h"

#define VMS   25
#define BATCH 10

static struct err said; /* of the last command */
static json_t *out;

static int
run(struct world *w, const struct evacuate_args *a)
{
	json_decref(out);
	out = NULL;
	said = (struct err){0};
	return evacuate_command(&w->c, a, &out, &said);
}

static const struct move_params as_router_has_it = {
	.drain_min_ms = UINT64_MAX, .drain_max_ms = UINT64_MAX, .sessions = -1};

static struct evacuate_args
from_to(const char *from, const char *to, const char *vms)
{
	return (struct evacuate_args){
		.from = from, .to = to, .vms = vms, .batch = "10", .move = as_router_has_it};
}

static int
evacuate(struct world *w, const char *from, const char *to, const char *vms)
{
	struct evacuate_args a = from_to(from, to, vms);

	return run(w, &a);
}

static int
resume(struct world *w)
{
	return run(w, &(struct evacuate_args){.resume = true, .move = as_router_has_it});
}

static int
end_it(struct world *w)
{
	return run(w, &(struct evacuate_args){.abort = true, .move = as_router_has_it});
}

static json_int_t
told(const char *what)
{
	assert_true(json_is_integer(json_object_get(out, what)));
	return json_integer_value(json_object_get(out, what));
}

static void
create(struct world *w)
{
	char name[16];

	for (int i = 0; i < VMS; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		assert_int_equal(world_create(w, name, "x"), 0);
	}
}

static const char *
list(struct world *w, const char *text)
{
	static char file[128];
	FILE *f;

	snprintf(file, sizeof(file), "%s/list", w->dir);
	f = fopen(file, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	return file;
}

/* Those that the last command has named. */
static const char *
list_of_those_named(struct world *w)
{
	static char text[VMS * 16];
	const json_t *name;
	size_t i, n = 0;

	text[0] = '\0';
	json_array_foreach(json_object_get(out, "vms"), i, name) n +=
		(size_t)snprintf(text + n, sizeof(text) - n, "%s\n", json_string_value(name));
	return list(w, text);
}

static size_t
count_at(struct world *w, const char *site)
{
	size_t n = 0;

	for (struct clc_vm *vm = w->c.state.vms; vm != NULL; vm = vm->by_name.next)
		n += vm->step == VM_ACTIVE && strcmp(vm->site, site) == 0;
	return n;
}

/* ---- somebody tells the running command to stop ---- */

static struct world *running;
static unsigned int batches_until_signal;

static void
turn_and_signal(void *arg)
{
	fake_advance(arg, 100);
	if (batches_until_signal > 0 && running->g.r[Y].txns >= batches_until_signal) {
		batches_until_signal = 0;
		raise(SIGTERM);
	}
}

static void
signal_amid_batch(struct world *w, unsigned int batch)
{
	running = w;
	w->g.r[Y].txns = 0;
	batches_until_signal = batch;
	w->c.links.turn = turn_and_signal;
}

static int
stop_after_first_batch(struct world *w, const char *vms)
{
	signal_amid_batch(w, 1);
	return evacuate(w, "x", "y", vms);
}

/* Each of them once: no epoch but the one after the first. */
static void
assert_each_moved_once(struct world *w)
{
	assert_int_equal(count_at(w, "y"), VMS);
	for (struct clc_vm *vm = w->c.state.vms; vm != NULL; vm = vm->by_name.next) {
		assert_int_equal(vm->epoch, 2);
		assert_at(w, vm->name, "r-y");
	}
}

/* ---- a list ---- */

static void
vms_of_a_list_move_and_no_others(void **state)
{
	struct world *w = *state;

	create(w);
	assert_int_equal(evacuate(w, "x", "y", list(w, "x3\nx1\r\n\nx24")), 0);
	assert_int_equal(told("moved"), 3);
	assert_int_equal(told("left"), 0);
	assert_int_equal(count_at(w, "y"), 3);
	assert_at(w, "x1", "r-y");
	assert_at(w, "x3", "r-y");
	assert_at(w, "x24", "r-y");
}

static void
list_may_come_by_standard_input(void **state)
{
	struct world *w = *state;
	int terminal = dup(0);

	create(w);
	assert_non_null(freopen(list(w, "x1\nx2\n"), "re", stdin));
	assert_int_equal(evacuate(w, "x", "y", "-"), 0);
	dup2(terminal, 0);
	close(terminal);
	assert_int_equal(told("moved"), 2);
	assert_at(w, "x2", "r-y");
}

static void
assert_refused(struct world *w, int rc, const char *text, const char *why)
{
	assert_int_equal(evacuate(w, "x", "y", list(w, text)), rc);
	assert_string_equal(said.text, why);
	assert_int_equal(count_at(w, "y"), 1);
	assert_null(w->c.state.evacuation);
}

static void
fault_of_a_list_is_told_with_its_line_and_nothing_moves(void **state)
{
	struct move_params p = {.to = "y", .drain_min_ms = 0, .drain_max_ms = 1000, .sessions = -1};
	struct world *w = *state;
	char line[300] = "x1\n\n";
	struct err e;

	create(w);
	assert_int_equal(world_create(w, "y0", "y"), 0);
	assert_refused(w, -ENOENT, "x1\n\nnone\n", "--vms: line 3: no VM none");
	assert_refused(w, -EINVAL, "x1\nx2\nx1\n", "--vms: line 3: VM x1 is given twice, first in line 1");
	assert_refused(w, -EINVAL, "x1\ny0\n", "--vms: line 2: VM y0 is at site y, not at x");
	assert_refused(w, -EINVAL, "\n", "--vms: no VM in it");
	memset(line + 4, 'a', sizeof(line) - 5);
	assert_refused(w, -EINVAL, line, "--vms: line 3: longer than a name may be");
	assert_int_equal(clc_prepare(&w->c, state_find(&w->c.state, "x5"), &p, &e), 0);
	assert_refused(w, -EBUSY, "x1\nx5\n",
		"--vms: line 2: VM x5 has a move that is prepared: commit or abort it first");
	assert_int_equal(evacuate(w, "x", "y", "/no/file"), -ENOENT);
	assert_string_equal(said.text, "--vms /no/file: No such file or directory");
}

static void
what_contradicts_itself_is_refused(void **state)
{
	struct evacuate_args a = from_to("x", "y", "-"), no_site = from_to("x", NULL, NULL);
	struct world *w = *state;

	a.segment = "seg1";
	assert_int_equal(run(w, &a), -EINVAL);
	assert_string_equal(said.text, "--segment and --vms exclude each other");
	assert_int_equal(run(w, &no_site), -EINVAL);
	assert_string_equal(said.text, "evacuate needs --from SITE and --to SITE, or --resume, or --abort");
	a = (struct evacuate_args){.resume = true, .batch = "5", .move = as_router_has_it};
	assert_int_equal(run(w, &a), -EINVAL);
	assert_string_equal(said.text, "evacuate --resume: nothing else is said with it, it is all stored");
	a = (struct evacuate_args){.abort = true, .resume = true, .move = as_router_has_it};
	assert_int_equal(run(w, &a), -EINVAL);
	assert_int_equal(resume(w), -ENOENT);
	assert_int_equal(end_it(w), -ENOENT);
	assert_string_equal(said.text, "no evacuation is under way");
}

/* ---- stopped, and gone on with ---- */

static void
signal_stops_it_after_the_batch_and_the_same_command_moves_the_rest(void **state)
{
	struct world *w = *state;
	struct sigaction now;

	create(w);
	assert_int_equal(stop_after_first_batch(w, NULL), -EINTR);
	assert_string_equal(said.text,
		"stopped: 10 of 25 VMs moved; the same command, or evacuate --resume, goes on, "
		"evacuate --abort ends it here");
	assert_int_equal(told("moved"), BATCH);
	assert_int_equal(told("left"), VMS - BATCH);
	assert_int_equal(count_at(w, "y"), BATCH);
	assert_int_equal(sigaction(SIGTERM, NULL, &now), 0);
	assert_true(now.sa_handler == SIG_DFL); /* the second time it ends at once */
	world_restart(w);
	assert_int_equal(evacuate(w, "x", "y", NULL), 0);
	assert_int_equal(told("before"), BATCH);
	assert_int_equal(told("moved"), VMS - BATCH);
	assert_int_equal(told("left"), 0);
	assert_each_moved_once(w);
}

static void
signal_in_the_last_batch_leaves_nothing_to_stop(void **state)
{
	struct world *w = *state;

	create(w);
	signal_amid_batch(w, 3);
	assert_int_equal(evacuate(w, "x", "y", NULL), 0);
	assert_int_equal(batches_until_signal, 0);
	assert_each_moved_once(w);
	assert_int_equal(resume(w), -ENOENT);
}

static void
list_that_was_stopped_goes_on_by_the_same_list_in_any_order(void **state)
{
	struct world *w = *state;
	char text[VMS * 8] = "", *end = text;

	create(w);
	for (int i = 0; i < VMS; i++)
		end += sprintf(end, "x%d\n", i);
	assert_int_equal(stop_after_first_batch(w, list(w, text)), -EINTR);
	world_restart(w);
	end = text;
	for (int i = VMS - 1; i >= 0; i--)
		end += sprintf(end, "x%d\n", i);
	assert_int_equal(evacuate(w, "x", "y", list(w, text)), 0);
	assert_int_equal(told("before"), BATCH);
	assert_each_moved_once(w);
}

static void
resume_goes_on_with_all_that_was_said_at_first(void **state)
{
	struct world *w = *state;
	struct evacuate_args a = from_to("x", "y", list(w, ""));
	json_t *told_router;

	create(w);
	a.vms = list(w, "x1\nx2\nx3\nx4\nx5\n");
	a.batch = "2";
	a.move = (struct move_params){
		.drain_min_ms = 60000, .drain_max_ms = 120000, .sessions = SESSIONS_DIRECT};
	signal_amid_batch(w, 1);
	assert_int_equal(run(w, &a), -EINTR);
	assert_int_equal(unlink(a.vms), 0);
	world_restart(w);
	signal_amid_batch(w, 1);
	assert_int_equal(resume(w), -EINTR); /* a batch is two VMs still */
	assert_string_equal(said.text,
		"stopped: 4 of 5 VMs moved; the same command, or evacuate --resume, goes on, "
		"evacuate --abort ends it here");
	assert_int_equal(resume(w), 0);
	assert_int_equal(count_at(w, "y"), 5);
	told_router = w->g.r[Y].last;
	assert_int_equal(json_integer_value(json_object_get(told_router, "drain-min")), 60000);
	assert_int_equal(json_integer_value(json_object_get(told_router, "drain-max")), 120000);
	assert_string_equal(json_string_value(json_object_get(told_router, "sessions")), "direct");
	assert_int_equal(resume(w), -ENOENT);
}

static void
what_came_to_the_site_meanwhile_moves_with_all_of_it(void **state)
{
	struct world *w = *state;

	create(w);
	assert_int_equal(stop_after_first_batch(w, NULL), -EINTR);
	assert_int_equal(world_create(w, "later", "x"), 0);
	assert_int_equal(resume(w), 0);
	assert_int_equal(count_at(w, "y"), VMS + 1);
}

static void
cut_off_by_a_lost_router_it_goes_on_by_resume(void **state)
{
	struct world *w = *state;

	create(w);
	w->g.r[Y].fault = FAULT_LOSE_REPLY;
	assert_int_equal(evacuate(w, "x", "y", NULL), -EHOSTUNREACH);
	world_restart(w);
	assert_int_equal(resume(w), 0);
	assert_each_moved_once(w);
}

static void
another_one_has_to_wait_until_it_has_ended(void **state)
{
	struct world *w = *state;
	struct evacuate_args of_segment = from_to("x", "y", NULL);

	create(w);
	of_segment.segment = "seg1";
	assert_int_equal(stop_after_first_batch(w, NULL), -EINTR);
	assert_int_equal(run(w, &of_segment), -EBUSY);
	assert_int_equal(evacuate(w, "x", "y", list(w, "x1\n")), -EBUSY);
	assert_int_equal(evacuate(w, "y", "x", NULL), -EBUSY);
	assert_string_equal(said.text,
		"another evacuation, of site x to y, is under way: evacuate --resume goes on with it, "
		"evacuate --abort ends it");
	assert_int_equal(count_at(w, "y"), BATCH);
	assert_int_equal(end_it(w), 0);
	assert_int_equal(evacuate(w, "y", "x", NULL), 0);
	assert_int_equal(count_at(w, "x"), VMS);
}

static void
dry_run_stores_no_evacuation_and_ends_none(void **state)
{
	struct evacuate_args a = from_to("x", "y", NULL);
	struct world *w = *state;

	create(w);
	a.dry = true;
	clc_dry_run(&w->c);
	assert_int_equal(run(w, &a), 0);
	assert_int_equal(told("moved"), VMS);
	world_restart(w);
	clc_dry_run(&w->c);
	signal_amid_batch(w, 1);
	assert_int_equal(run(w, &a), -EINTR);
	assert_string_equal(said.text, "stopped: 10 of 25 VMs would move");
	world_restart(w);
	assert_null(w->c.state.evacuation);
	assert_int_equal(stop_after_first_batch(w, NULL), -EINTR);
	world_restart(w);
	clc_dry_run(&w->c);
	a = (struct evacuate_args){.resume = true, .dry = true, .move = as_router_has_it};
	assert_int_equal(run(w, &a), 0);
	assert_int_equal(told("before"), BATCH);
	assert_int_equal(told("moved"), VMS - BATCH);
	world_restart(w);
	assert_int_equal(count_at(w, "y"), BATCH);
	assert_int_equal(resume(w), 0);
	assert_each_moved_once(w);
}

/* ---- ended where it is ---- */

static void
abort_leaves_the_rest_and_names_those_that_moved_which_go_back_by_that_list(void **state)
{
	struct world *w = *state;

	create(w);
	assert_int_equal(stop_after_first_batch(w, NULL), -EINTR);
	world_restart(w);
	w->g.r[Y].calls = w->g.r[X].calls = 0;
	assert_int_equal(end_it(w), 0);
	assert_int_equal(w->g.r[Y].calls + w->g.r[X].calls, 0);
	assert_int_equal(told("moved"), BATCH);
	assert_int_equal(told("left"), VMS - BATCH);
	assert_int_equal(told("on-their-way"), 0);
	assert_int_equal(json_array_size(json_object_get(out, "vms")), BATCH);
	assert_int_equal(count_at(w, "x"), VMS - BATCH);
	assert_int_equal(evacuate(w, "y", "x", list_of_those_named(w)), 0);
	assert_int_equal(told("moved"), BATCH);
	assert_int_equal(count_at(w, "x"), VMS);
	assert_int_equal(end_it(w), -ENOENT);
}

/* Their router has them, and the controller does not know. */
static void
abort_of_one_that_was_cut_off_tells_what_is_on_its_way(void **state)
{
	struct seen_count seen = {0};
	struct world *w = *state;
	const char *back;

	create(w);
	w->g.r[Y].fault = FAULT_LOSE_REPLY;
	assert_int_equal(evacuate(w, "x", "y", NULL), -EHOSTUNREACH);
	assert_int_equal(end_it(w), 0);
	assert_int_equal(told("moved"), 0);
	assert_int_equal(told("on-their-way"), BATCH);
	assert_int_equal(told("left"), VMS - BATCH);
	back = list_of_those_named(w);
	assert_int_equal(evacuate(w, "y", "x", back), -EBUSY);
	assert_non_null(strstr(said.text, "is moving: finish that first (move, sync)"));
	world_restart(w);
	assert_int_equal(clc_sync(&w->c, inventory_site(&w->inv, "y"), &seen, &said), 0);
	assert_int_equal(evacuate(w, "y", "x", back), 0);
	assert_int_equal(count_at(w, "x"), VMS);
}

static void
assert_printed(const char *json, const char *expected)
{
	char text[1000];

	world_printed("evacuate", json, text);
	assert_string_equal(text, expected);
}

static void
list_is_the_output_of_abort_and_the_report_says_what_was_before(void **state)
{
	(void)state;
	assert_printed(
		"{\"from\": \"x\", \"to\": \"y\", \"moved\": 1, \"on-their-way\": 1, \"left\": 3, \"vms\": "
		"[\"x1\", \"x2\"]}",
		"x1\nx2\n");
	assert_printed("{\"before\": 10, \"moved\": 15, \"left\": 0, \"refused\": [], \"batches\": 2, "
		       "\"took-ms\": 100, \"slowest-ms\": 70}",
		"15 VMs moved in 0.1 s, 2 batches, the slowest 70 ms; 0 are left; 10 had moved before\n");
	assert_printed("{\"before\": 0, \"moved\": 1, \"left\": 1, \"refused\": [{\"vm\": \"x7\", \"error\": "
		       "\"no\"}], "
		       "\"batches\": 1, \"took-ms\": 0, \"slowest-ms\": 7}",
		"refused x7: no\n1 VMs moved in 0.0 s, 1 batches, the slowest 7 ms; 1 are left\n");
}

static void
row_that_is_no_evacuation_costs_nothing_else(void **state)
{
	static const char *const rows[] = {"{}", "[]",
		"{\"from\": \"x\", \"to\": \"y\", \"batch\": 0, \"drain-min\": 0, \"drain-max\": 0, "
		"\"sessions\": "
		"0, \"listed\": false, \"vms\": {}}",
		"{\"from\": \"x\", \"to\": \"y\", \"batch\": 1, \"drain-min\": 0, \"drain-max\": 0, "
		"\"sessions\": "
		"9, \"listed\": false, \"vms\": {}}",
		"{\"from\": \"x\", \"to\": \"y\", \"batch\": 1, \"drain-min\": 0, \"drain-max\": 0, "
		"\"sessions\": "
		"0, \"listed\": false, \"vms\": []}"};
	struct world *w = *state;

	create(w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct env_row row = {"evacuation", "under way", rows[i]};

		assert_int_equal(store_commit(w->c.state.db, &row, 1), 0);
		world_restart(w);
		assert_null(w->c.state.evacuation);
	}
	assert_int_equal(evacuate(w, "x", "y", NULL), 0);
	assert_each_moved_once(w);
}

static int
tear_down(void **state)
{
	json_decref(out);
	out = NULL;
	return world_tear_down(state);
}

int
main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(vms_of_a_list_move_and_no_others),
		TEST(list_may_come_by_standard_input),
		TEST(fault_of_a_list_is_told_with_its_line_and_nothing_moves),
		TEST(what_contradicts_itself_is_refused),
		TEST(signal_stops_it_after_the_batch_and_the_same_command_moves_the_rest),
		TEST(signal_in_the_last_batch_leaves_nothing_to_stop),
		TEST(list_that_was_stopped_goes_on_by_the_same_list_in_any_order),
		TEST(resume_goes_on_with_all_that_was_said_at_first),
		TEST(what_came_to_the_site_meanwhile_moves_with_all_of_it),
		TEST(cut_off_by_a_lost_router_it_goes_on_by_resume),
		TEST(another_one_has_to_wait_until_it_has_ended),
		TEST(dry_run_stores_no_evacuation_and_ends_none),
		TEST(abort_leaves_the_rest_and_names_those_that_moved_which_go_back_by_that_list),
		TEST(abort_of_one_that_was_cut_off_tells_what_is_on_its_way),
		TEST(list_is_the_output_of_abort_and_the_report_says_what_was_before),
		TEST(row_that_is_no_evacuation_costs_nothing_else),
	};

	return world_start(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
