/* SPDX-License-Identifier: BSD-3-Clause */
/* Revisions of objects: shown, compared and set, asked for since; and dry runs of single changes. */
#include "control.h"

static json_t *
with(json_t *params, const char *name, json_int_t value)
{
	json_object_set_new(params, name, json_integer(value));
	return params;
}

static int
make(struct node *r, const char *method, json_t *params, json_t **v)
{
	int code;

	*v = ask(r, &code, method, "o", params);
	return code;
}

static int
make_code(struct node *r, const char *method, json_t *params)
{
	json_t *v;
	int code = make(r, method, params, &v);

	json_decref(v);
	return code;
}

static json_t *
vm(unsigned int n, uint64_t epoch, json_int_t if_revision)
{
	return with(vm_register_params(n, epoch, 0), "if-revision", if_revision);
}

static json_t *
route(const char *via, json_int_t if_revision)
{
	return with(json_pack("{s:s, s:s}", "prefix", "10.9.0.0/24", "via", via), "if-revision", if_revision);
}

/* The revision of the row with this member in a listing, or -1. */
static json_int_t
shown(struct node *r, const char *what, const char *name, const char *value)
{
	json_t *v = get(r, what, "{}"), *row;
	json_int_t revision = -1;
	size_t i;

	json_array_foreach(json_object_get(v, "rows"), i, row)
	{
		if (strcmp(json_string_value(json_object_get(row, name)), value) == 0)
			revision = json_integer_value(json_object_get(row, "revision"));
	}
	json_decref(v);
	return revision;
}

#define VM1 "52:54:00:00:00:01"

static void
an_object_keeps_the_revision_that_changed_it(void **state)
{
	struct world *w = routers(2);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(r, 1, 0, 0), 0);
	assert_int_equal(vm_register(r, 2, 0, 0), 0);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.0.0/24\", \"via\": \"192.0.2.7\"}"), 0);
	assert_int_equal(shown(r, "show.vms", "mac", VM1), 1);
	assert_int_equal(shown(r, "show.routes", "prefix", "10.9.0.0/24"), 3);
	assert_int_equal(vm_register(r, 1, 0, 0), 0); /* is so already */
	assert_int_equal(shown(r, "show.vms", "mac", VM1), 1);
	assert_int_equal(vm_register(r, 1, 2, 0), 0);
	assert_int_equal(shown(r, "show.vms", "mac", VM1), 4);
	world_run(w, 1000);
	assert_int_equal(shown(world_router(w, 1), "show.vms", "mac", VM1), 3); /* its own count */
	node_crash(r);
	node_start(r);
	world_run(w, 3000);
	assert_int_equal(shown(r, "show.vms", "mac", VM1), 4);
	assert_int_equal(shown(r, "show.routes", "prefix", "10.9.0.0/24"), 3);
	world_free(w);
}

static void
a_change_of_what_is_not_at_its_revision_is_refused(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v, *data;

	(void)state;
	assert_int_equal(make_code(r, "vm.register", vm(1, 0, 7)), RPC_REVISION); /* does not exist */
	assert_int_equal(make_code(r, "vm.register", vm(1, 0, 0)), 0);
	assert_int_equal(make_code(r, "vm.register", vm(1, 3, 0)), RPC_REVISION); /* exists */
	assert_int_equal(make(r, "vm.register", vm(1, 3, 9), &v), RPC_REVISION);
	data = json_object_get(v, "data");
	assert_int_equal(json_integer_value(json_object_get(data, "revision")), 1);
	assert_string_equal(json_string_value(json_object_get(data, "mac")), VM1);
	json_decref(v);
	assert_int_equal(make_code(r, "vm.register", vm(1, 3, 1)), 0);
	assert_int_equal(make_code(r, "vm.move", vm(1, 4, 1)), RPC_REVISION);
	assert_int_equal(make_code(r, "nat.set",
				 json_pack("{s:s, s:s, s:s, s:i}", "segment", "tenant-a", "private",
					 "10.0.0.6", "global", "198.51.0.6", "if-revision", 1)),
		RPC_REVISION);
	v = json_pack(
		"{s:s, s:s, s:i, s:i}", "segment", "tenant-a", "mac", VM1, "epoch", 4, "if-revision", 1);
	assert_int_equal(make_code(r, "vm.unregister", json_copy(v)), RPC_REVISION);
	assert_int_equal(make_code(r, "vm.unregister", with(v, "if-revision", 2)), 0);
	assert_int_equal(make_code(r, "vm.register", vm(1, 5, 3)), RPC_REVISION); /* a tombstone exists not */
	assert_int_equal(make_code(r, "vm.register", vm(1, 5, 0)), 0);
	assert_int_equal(make_code(r, "route.replace", route("192.0.2.7", 0)), 0);
	assert_int_equal(make(r, "route.replace", route("192.0.2.8", 0), &v), RPC_REVISION);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(v, "data"), "via")), "192.0.2.7");
	json_decref(v);
	assert_int_equal(make_code(r, "route.replace", route("192.0.2.8", 5)), 0);
	assert_int_equal(
		call(r, "route.delete", "{\"prefix\": \"10.9.0.0/24\", \"if-revision\": 5}"), RPC_REVISION);
	assert_int_equal(call(r, "route.delete", "{\"prefix\": \"10.9.0.0/24\", \"if-revision\": 6}"), 0);
	assert_int_equal(r->core->revision, 7);
	assert_true(model_is_true(r));
	world_free(w);
}

/* C-44: the acknowledgement was lost, and the same change comes again, with the revision of before it. */
static void
a_change_said_again_is_not_refused_for_its_revision(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *gone;
	uint64_t revision;

	(void)state;
	assert_int_equal(make_code(r, "vm.register", vm(1, 1, 0)), 0);
	assert_int_equal(make_code(r, "vm.register", vm(1, 2, 1)), 0);
	assert_int_equal(make_code(r, "route.replace", route("192.0.2.7", 0)), 0);
	gone = json_pack(
		"{s:s, s:s, s:i, s:i}", "segment", "tenant-a", "mac", VM1, "epoch", 3, "if-revision", 2);
	revision = r->core->revision;
	assert_int_equal(make_code(r, "vm.register", vm(1, 2, 1)), 0);
	assert_int_equal(make_code(r, "route.replace", route("192.0.2.7", 0)), 0);
	assert_int_equal(
		make_code(r, "vm.register", vm(1, 1, 0)), RPC_STALE_EPOCH); /* newer: done, as ever */
	assert_int_equal(r->core->revision, revision);
	assert_int_equal(make_code(r, "vm.unregister", json_copy(gone)), 0);
	assert_int_equal(make_code(r, "vm.unregister", gone), 0);
	assert_int_equal(r->core->revision, revision + 1);
	assert_int_equal(make_code(r, "vm.register", /* what is wrong at any revision is told as such */
				 json_pack("{s:s, s:s, s:[{s:s}], s:i}", "segment", "tenant-a", "mac", VM1,
					 "addresses", "private", "11.0.0.6", "if-revision", 99)),
		RPC_INVALID_PARAMS);
	world_free(w);
}

static void
a_transaction_may_ask_for_the_revision_of_the_router(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *list = json_pack("[{s:s, s:o}, {s:s, s:o}]", "method", "vm.register", "params",
		       vm_register_params(1, 1, 0), "method", "vm.register", "params",
		       vm_register_params(2, 1, 0)),
	       *params = json_pack("{s:O, s:i}", "changes", list, "if-revision", 1), *v;

	(void)state;
	assert_int_equal(make(r, "txn.apply", json_copy(params), &v), RPC_REVISION);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "data"), "revision")), 0);
	json_decref(v);
	assert_null(vm_at(r, 1));
	assert_int_equal(make_code(r, "state.replace", json_copy(params)), RPC_REVISION);
	with(params, "if-revision", 0);
	assert_int_equal(make_code(r, "txn.apply", json_copy(params)), 0);
	assert_int_equal(make_code(r, "txn.apply", json_copy(params)), 0); /* said again */
	assert_int_equal(make_code(r, "state.replace", json_copy(params)), 0);
	json_decref(params);
	json_array_clear(list);
	json_array_append_new(list, json_pack("{s:s, s:o}", "method", "vm.register", "params", vm(3, 1, 0)));
	json_array_append_new(list, json_pack("{s:s, s:o}", "method", "vm.register", "params", vm(2, 2, 0)));
	assert_int_equal(make(r, "txn.apply", json_pack("{s:O}", "changes", list), &v), RPC_REVISION);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "data"), "change")), 1);
	assert_non_null(json_object_get(json_object_get(v, "data"), "vm"));
	json_decref(v);
	assert_null(vm_at(r, 3)); /* all or nothing */
	json_decref(list);
	world_free(w);
}

static void
a_dry_run_of_one_change_checks_and_changes_nothing(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *params = vm_register_params(1, 1, 0), *v;

	(void)state;
	json_object_set_new(params, "dry-run", json_true());
	assert_int_equal(make(r, "vm.register", json_copy(params), &v), 0);
	assert_true(json_is_true(json_object_get(v, "dry-run")));
	json_decref(v);
	assert_int_equal(
		make_code(r, "vm.register", with(json_copy(params), "if-revision", 3)), RPC_REVISION);
	assert_int_equal(
		make_code(r, "txn.apply",
			json_pack("{s:[{s:s, s:O}]}", "changes", "method", "vm.register", "params", params)),
		RPC_INVALID_PARAMS); /* the list runs dry, or not */
	json_decref(params);
	assert_int_equal(call(r, "route.replace",
				 "{\"prefix\": \"10.9.0.0/24\", \"via\": \"192.0.2.7\", \"dry-run\": true}"),
		0);
	assert_null(vm_at(r, 1));
	assert_null(model_route(r, "10.9.0.0/24"));
	assert_int_equal(r->core->revision, 0);
	world_free(w);
}

/* ---- since ---- */

static size_t
rows_since(struct node *r, const char *what, json_int_t since, json_t **v)
{
	int code;

	*v = ask(r, &code, what, "{s:I}", "since", since);
	assert_int_equal(code, 0);
	return json_array_size(json_object_get(*v, "rows"));
}

static json_t *
row(const json_t *v, size_t i)
{
	return json_array_get(json_object_get(v, "rows"), i);
}

static void
a_listing_since_a_revision_has_what_changed_and_what_is_gone(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v;

	(void)state;
	for (unsigned int i = 1; i <= 5; i++)
		assert_int_equal(vm_register(r, i, 1, 0), 0);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.0.0/24\", \"via\": \"192.0.2.7\"}"), 0);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.1.0/24\", \"via\": \"192.0.2.7\"}"), 0);
	v = get(r, "show.vms", "{\"limit\": 2}"); /* the first page of a copy */
	assert_int_equal(json_integer_value(json_object_get(v, "revision")), 7);
	json_decref(v);
	assert_int_equal(vm_unregister(r, 1, 2), 0); /* was on it */
	assert_int_equal(vm_register(r, 4, 2, 0), 0);
	assert_int_equal(call(r, "route.delete", "{\"prefix\": \"10.9.0.0/24\"}"), 0);
	assert_int_equal(rows_since(r, "show.vms", 7, &v), 2);
	assert_int_equal(json_integer_value(json_object_get(v, "revision")), 10);
	assert_true(json_is_true(json_object_get(row(v, 0), "deleted")));
	assert_int_equal(json_integer_value(json_object_get(row(v, 0), "revision")), 8);
	assert_int_equal(json_integer_value(json_object_get(row(v, 1), "epoch")), 2);
	json_decref(v);
	assert_int_equal(rows_since(r, "show.vms", 10, &v), 0);
	json_decref(v);
	assert_int_equal(rows_since(r, "show.routes", 7, &v), 1);
	assert_true(json_is_true(json_object_get(row(v, 0), "deleted")));
	assert_null(json_object_get(v, "resync"));
	json_decref(v);
	assert_int_equal(rows_since(r, "show.routes", 0, &v), 2);
	json_decref(v);
	v = get(r, "show.routes", "{\"since\": 0, \"limit\": 1}");
	assert_string_equal(json_string_value(json_object_get(v, "next")), "10.9.0.0/24");
	json_decref(v);
	v = get(r, "show.routes", "{\"since\": 0, \"limit\": 1, \"cursor\": \"10.9.0.0/24\"}");
	assert_string_equal(json_string_value(json_object_get(row(v, 0), "prefix")), "10.9.1.0/24");
	json_decref(v);
	node_crash(r);
	node_start(r);
	world_run(w, 1000);
	assert_int_equal(rows_since(r, "show.vms", 7, &v), 2);
	json_decref(v);
	assert_int_equal(rows_since(r, "show.routes", 7, &v), 0);
	assert_non_null(
		json_object_get(v, "resync")); /* it does not remember what was removed before it started */
	json_decref(v);
	world_free(w);
}

static void
who_asks_since_before_a_deletion_was_forgotten_is_told_to_resync(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v;

	(void)state;
	assert_int_equal(vm_register(r, 1, 1, 0), 0);
	assert_int_equal(vm_unregister(r, 1, 2), 0);
	world_run(w, UINT64_C(25) * 3600 * 1000);
	for (int round = 0; round < 2; round++) {
		assert_null(vm_at(r, 1));
		assert_int_equal(rows_since(r, "show.vms", 1, &v), 0);
		assert_non_null(json_object_get(v, "resync"));
		json_decref(v);
		assert_int_equal(rows_since(r, "show.vms", 2, &v), 0); /* who knew */
		assert_null(json_object_get(v, "resync"));
		json_decref(v);
		node_crash(r);
		node_start(r);
		world_run(w, 1000);
	}
	world_free(w);
}

static void
removed_routes_are_remembered_to_a_bound(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *put, *del, *v;

	(void)state;
	for (unsigned int round = 0; round < 4; round++) {
		put = json_array();
		del = json_array();
		for (unsigned int i = 0; i < 6000; i++) {
			char prefix[32];

			snprintf(prefix, sizeof(prefix), "10.%u.%u.%u/32", 16 + round, i / 256, i % 256);
			json_array_append_new(put, json_pack("{s:s, s:{s:s, s:s}}", "method", "route.replace",
							   "params", "prefix", prefix, "via", "192.0.2.7"));
			json_array_append_new(del, json_pack("{s:s, s:{s:s}}", "method", "route.delete",
							   "params", "prefix", prefix));
		}
		assert_int_equal(make_code(r, "txn.apply", json_pack("{s:o}", "changes", put)), 0);
		assert_int_equal(make_code(r, "txn.apply", json_pack("{s:o}", "changes", del)), 0);
	}
	assert_int_equal(HASH_COUNT(r->core->routes), 6001);
	assert_int_equal(rows_since(r, "show.routes", 1, &v), 1000);
	assert_non_null(json_object_get(v, "resync"));
	json_decref(v);
	world_free(w);
}

static void
what_may_still_be_undone_is_not_shown(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k =
		caller_new(world_controller(w), "clc", ROLE_CONTROLLER, r, json_pack("{s:i}", "term", 0));
	json_t *v;

	(void)state;
	assert_int_equal(vm_register(r, 1, 1, 0), 0);
	assert_int_equal(rpc_notify(k->rpc, "vm.register", vm_register_params(1, 2, 0)), 0);
	while (!r->core->group)
		assert_true(world_step(w, w->now + 1000));
	assert_int_equal(vm_at(r, 1)->now.epoch, 2);
	v = show(r->core, "vms", &(struct show_params){.since = UINT64_MAX});
	assert_int_equal(json_integer_value(json_object_get(row(v, 0), "epoch")), 1);
	assert_int_equal(json_integer_value(json_object_get(v, "revision")), 1);
	json_decref(v);
	world_run(w, 1000);
	v = get(r, "show.vms", "{}");
	assert_int_equal(json_integer_value(json_object_get(row(v, 0), "epoch")), 2);
	json_decref(v);
	caller_free(k);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(an_object_keeps_the_revision_that_changed_it),
		T(a_change_of_what_is_not_at_its_revision_is_refused),
		T(a_change_said_again_is_not_refused_for_its_revision),
		T(a_transaction_may_ask_for_the_revision_of_the_router),
		T(a_dry_run_of_one_change_checks_and_changes_nothing),
		T(a_listing_since_a_revision_has_what_changed_and_what_is_gone),
		T(who_asks_since_before_a_deletion_was_forgotten_is_told_to_resync),
		T(removed_routes_are_remembered_to_a_bound),
		T(what_may_still_be_undone_is_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
