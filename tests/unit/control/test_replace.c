/* SPDX-License-Identifier: BSD-3-Clause */
/* state.replace and staged replaces: the whole of what a router shall have. */
#include "control.h"

/* ---- lists of what shall be ---- */

static void
want_vm(json_t *list, const char *method, unsigned int n, uint64_t epoch, ip4 global)
{
	json_array_append_new(list,
		json_pack("{s:s, s:o}", "method", method, "params", vm_register_params(n, epoch, global)));
}

static json_t *
want_vms(struct node *r, unsigned int from, unsigned int n, uint64_t epoch)
{
	json_t *list = json_array();

	for (unsigned int i = from; i < from + n; i++)
		want_vm(list, "vm.register", i, epoch, vm_global(r->index, i));
	return list;
}

static void
want_route(json_t *list, const char *prefix, const char *via)
{
	json_array_append_new(list, json_pack("{s:s, s:{s:s, s:s}}", "method", "route.replace", "params",
					    "prefix", prefix, "via", via));
}

static int
replace(struct node *r, json_t *list, const char *more, json_t **v)
{
	json_t *params = json_loads(more, 0, NULL);
	int code;

	json_object_set_new(params, "changes", list);
	*v = ask(r, &code, "state.replace", "o", params);
	return code;
}

static int
replace_code(struct node *r, json_t *list, const char *more)
{
	json_t *v;
	int code = replace(r, list, more, &v);

	json_decref(v);
	return code;
}

/* {"vms": {...}, "routes": {...}} of a result. */
static void
assert_counts(const json_t *v, const char *of, int added, int changed, int unchanged, int removed)
{
	const json_t *n = json_object_get(v, of);

	assert_int_equal(json_integer_value(json_object_get(n, "added")), added);
	assert_int_equal(json_integer_value(json_object_get(n, "changed")), changed);
	assert_int_equal(json_integer_value(json_object_get(n, "unchanged")), unchanged);
	assert_int_equal(json_integer_value(json_object_get(n, "removed")), removed);
}

/* ---- tests ---- */

static void
what_the_list_says_is_all_that_is(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *list = want_vms(r, 2, 3, 0), *v;

	(void)state;
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(vm_register(r, i, 5, vm_global(0, i)), 0);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.0.0/24\", \"via\": \"192.0.2.7\"}"), 0);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.1.0/24\", \"via\": \"192.0.2.7\"}"), 0);
	want_vm(list, "vm.register", 6, 9, 0);
	want_route(list, "10.9.1.0/24", "192.0.2.8");
	want_route(list, "10.9.2.0/24", "192.0.2.7");
	assert_int_equal(replace(r, list, "{\"max-remove\": 2}", &v), 0);
	assert_counts(v, "vms", 2, 0, 2, 1);
	assert_counts(v, "routes", 1, 1, 0, 1);
	json_decref(v);
	assert_true(vm_at(r, 1)->now.deleted);
	assert_int_equal(vm_at(r, 1)->now.epoch, 6);
	assert_int_equal(vm_at(r, 2)->now.epoch, 5);
	assert_int_equal(vm_at(r, 4)->now.epoch, 1);
	assert_int_equal(vm_at(r, 6)->now.epoch, 9);
	assert_null(model_route(r, "10.9.0.0/24"));
	assert_int_equal(model_route(r, "10.9.1.0/24")->via, 0xc0000208);
	assert_non_null(model_route(r, "10.9.2.0/24"));
	assert_non_null(model_route(r, "0.0.0.0/0")); /* of the file: no run-time route */
	assert_true(model_is_true(r));
	world_free(w);
}

static void
what_is_so_already_costs_no_row_and_no_change_of_forwarding(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	uint64_t commits, prepares, rows, revision;
	json_t *list, *v;

	(void)state;
	list = want_vms(r, 0, 500, 1);
	want_route(list, "10.9.1.0/24", "192.0.2.8");
	assert_int_equal(replace_code(r, json_incref(list), "{}"), 0);
	commits = r->n_commits;
	prepares = r->n_prepares;
	rows = r->n_rows;
	revision = r->core->revision;
	assert_int_equal(replace(r, list, "{}", &v), 0);
	assert_counts(v, "vms", 0, 0, 500, 0);
	assert_counts(v, "routes", 0, 0, 1, 0);
	assert_true(json_is_false(json_object_get(v, "changed")));
	json_decref(v);
	assert_int_equal(r->n_commits, commits);
	assert_int_equal(r->n_prepares, prepares);
	assert_int_equal(r->core->revision, revision);
	list = want_vms(r, 0, 499, 1); /* one of 500 changes: one row, and that of the router */
	want_route(list, "10.9.1.0/24", "192.0.2.8");
	want_vm(list, "vm.register", 499, 2, 0);
	assert_int_equal(replace_code(r, list, "{}"), 0);
	assert_int_equal(r->n_rows, rows + 2);
	assert_int_equal(r->n_prepares, prepares + 1);
	world_free(w);
}

/* C-42, C-46: an empty or cut list wipes nothing without an operator's word. */
static void
what_the_list_lacks_is_removed_only_as_far_as_allowed(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v, *removed;

	(void)state;
	assert_int_equal(replace_code(r, want_vms(r, 0, 5, 7), "{}"), 0);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.0.0/24\", \"via\": \"192.0.2.7\"}"), 0);
	assert_int_equal(replace(r, json_array(), "{}", &v), RPC_LIMIT);
	assert_non_null(strstr(json_string_value(json_object_get(v, "message")), "5 VMs and 1 routes"));
	v = (json_decref(v), NULL);
	assert_int_equal(replace(r, want_vms(r, 0, 2, 7), "{\"max-remove\": 3}", &v), RPC_LIMIT);
	removed = json_object_get(json_object_get(v, "data"), "removed");
	assert_int_equal(json_integer_value(json_object_get(removed, "vms")), 3);
	assert_int_equal(json_integer_value(json_object_get(removed, "routes")), 1);
	json_decref(v);
	assert_int_equal(model_count(r), 5);
	assert_int_equal(replace(r, json_array(), "{\"dry-run\": true}", &v), 0); /* tells */
	assert_counts(v, "vms", 0, 0, 0, 5);
	assert_counts(v, "routes", 0, 0, 0, 1);
	json_decref(v);
	assert_int_equal(model_count(r), 5);
	assert_int_equal(replace_code(r, json_array(), "{\"max-remove\": 6}"), 0); /* the word */
	assert_int_equal(model_count(r), 0);
	assert_int_equal(r->core->n_tombstones, 5);
	assert_true(model_is_true(r));
	world_free(w);
}

/* C-46: a controller that lost its state says low epochs: they are stale, and nothing is taken from others. */
static void
what_others_own_is_neither_removed_nor_taken_by_old_epochs(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *list;

	(void)state;
	assert_int_equal(vm_register(a, 1, 5, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(b, 2, 5, vm_global(1, 2)), 0);
	world_run(w, 1000);
	assert_int_equal(replace_code(a, want_vms(a, 1, 1, 1), "{}"), RPC_STALE_EPOCH);
	assert_int_equal(replace_code(a, want_vms(a, 1, 2, 5), "{}"), RPC_CONFLICT);
	assert_int_equal(replace_code(a, want_vms(a, 1, 2, 0), "{}"), RPC_CONFLICT);
	list = want_vms(a, 1, 1, 5);
	want_vm(list, "vm.move", 2, 0, vm_global(0, 2));
	assert_int_equal(replace_code(a, list, "{}"), RPC_CONFLICT);
	assert_int_equal(replace_code(a, want_vms(a, 1, 1, 5), "{}"), 0);
	assert_int_equal(vm_at(a, 2)->now.fwd.owner, 1);
	list = want_vms(a, 1, 1, 5);
	want_vm(list, "vm.move", 2, 6, vm_global(0, 2));
	assert_int_equal(replace_code(a, list, "{}"), 0);
	assert_int_equal(vm_at(a, 2)->now.fwd.owner, 0);
	assert_int_equal(vm_at(a, 2)->now.fwd.n_drains, 1);
	world_run(w, 1000);
	assert_agreed(w, 2);
	world_free(w);
}

static void
addresses_pass_between_vms_of_the_list_in_any_order(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *list = json_array();

	(void)state;
	assert_int_equal(replace_code(r, want_vms(r, 1, 4, 1), "{}"), 0);
	want_vm(list, "vm.register", 1, 2,
		vm_global(0, 2)); /* 1 and 2 swap, 3 takes what 4 leaves by being removed */
	want_vm(list, "vm.register", 2, 2, vm_global(0, 1));
	want_vm(list, "vm.register", 3, 2, vm_global(0, 4));
	assert_int_equal(replace_code(r, json_incref(list), "{\"max-remove\": 1}"), 0);
	assert_int_equal(fwd_at(r, 1)->addresses[0].global_ip, vm_global(0, 2));
	assert_int_equal(fwd_at(r, 2)->addresses[0].global_ip, vm_global(0, 1));
	assert_int_equal(fwd_at(r, 3)->addresses[0].global_ip, vm_global(0, 4));
	assert_ptr_equal(vm_by_global(r->core, vm_global(0, 1)), vm_at(r, 2));
	json_array_clear(list);
	want_vm(list, "vm.register", 1, 3, vm_global(0, 4)); /* 3 keeps it */
	want_vm(list, "vm.register", 2, 2, vm_global(0, 1));
	want_vm(list, "vm.register", 3, 2, vm_global(0, 4));
	assert_int_equal(replace_code(r, json_incref(list), "{}"), RPC_CONFLICT);
	json_decref(list);
	assert_ptr_equal(vm_by_global(r->core, vm_global(0, 4)), vm_at(r, 3));
	assert_true(model_is_true(r));
	world_free(w);
}

/* C-33: what makes no sense in a list is refused whole, and named. */
static void
a_list_that_makes_no_sense_is_refused_whole(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *list, *v;

	(void)state;
	assert_int_equal(vm_register(r, 1, 1, 0), 0);
	list = want_vms(r, 2, 2, 1);
	want_vm(list, "vm.register", 3, 1, vm_global(0, 3)); /* new, and twice */
	assert_int_equal(replace(r, list, "{\"max-remove\": 9}", &v), RPC_INVALID_PARAMS);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "data"), "change")), 2);
	json_decref(v);
	list = json_array();
	want_vm(list, "vm.register", 1, 1, 0); /* known, and twice */
	want_vm(list, "vm.move", 1, 1, 0);
	assert_int_equal(replace_code(r, list, "{}"), RPC_INVALID_PARAMS);
	list = json_pack("[{s:s, s:{s:s, s:s}}]", "method", "vm.unregister", "params", "segment", "tenant-a",
		"mac", "52:54:00:00:00:01");
	assert_int_equal(replace_code(r, list, "{}"), RPC_INVALID_PARAMS);
	list = json_array();
	want_vm(list, "vm.register", 1, 1, 0);
	want_route(list, "10.9.0.0/24", "203.0.113.1"); /* on no port */
	assert_int_equal(replace_code(r, list, "{}"), RPC_INVALID_PARAMS);
	assert_int_equal(call(r, "state.replace", "{}"), RPC_INVALID_PARAMS);
	assert_int_equal(model_count(r), 1);
	assert_int_equal(r->core->revision, 1);
	assert_true(model_is_true(r));
	world_free(w);
}

/* C-42: the list of a controller with an older term removes nothing. Said again after a restart, a list changes nothing. */
static void
a_controller_with_an_old_term_replaces_nothing(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *old, *new;

	(void)state;
	old = caller_new(world_controller(w), "clc", ROLE_CONTROLLER, r, json_pack("{s:i}", "term", 3));
	assert_int_equal(
		caller_call(old, "state.replace", json_pack("{s:o}", "changes", want_vms(r, 0, 3, 1))), 0);
	caller_free(old);
	old = caller_new(world_controller(w), "clc", ROLE_CONTROLLER, r, json_pack("{s:i}", "term", 3));
	assert_int_equal(
		caller_call(old, "state.replace", json_pack("{s:o}", "changes", want_vms(r, 0, 3, 1))), 0);
	assert_int_equal(r->core->revision, 2); /* of the term, and of the VMs */
	new = caller_new(world_controller(w), "clc", ROLE_CONTROLLER, r, json_pack("{s:i}", "term", 4));
	assert_int_equal(
		caller_call(old, "state.replace", json_pack("{s:[], s:i}", "changes", "max-remove", 99)),
		RPC_SUPERSEDED);
	assert_int_equal(model_count(r), 3);
	caller_free(old);
	caller_free(new);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(what_the_list_says_is_all_that_is),
		T(what_is_so_already_costs_no_row_and_no_change_of_forwarding),
		T(what_the_list_lacks_is_removed_only_as_far_as_allowed),
		T(what_others_own_is_neither_removed_nor_taken_by_old_epochs),
		T(addresses_pass_between_vms_of_the_list_in_any_order),
		T(a_list_that_makes_no_sense_is_refused_whole),
		T(a_controller_with_an_old_term_replaces_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
