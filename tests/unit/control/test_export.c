/* SPDX-License-Identifier: BSD-3-Clause */
/* state.export: what it tells makes the same state of an empty router, by state.replace. */
#include "control.h"

/* All rows, page by page; each page has the revision. */
static json_t *
export_all(struct node *r, int limit, unsigned int *pages)
{
	json_t *rows = json_array(), *v = NULL;
	char cursor[64] = "", params[120];

	*pages = 0;
	do {
		snprintf(params, sizeof(params), "{\"cursor\": \"%s\", \"limit\": %d}", cursor, limit);
		json_decref(v);
		v = get(r, "state.export", params);
		assert_string_equal(json_string_value(json_object_get(v, "router")), r->name);
		assert_int_equal(json_integer_value(json_object_get(v, "revision")), r->core->revision);
		json_array_extend(rows, json_object_get(v, "rows"));
		snprintf(cursor, sizeof(cursor), "%s",
			json_object_get(v, "next") ? json_string_value(json_object_get(v, "next")) : "");
		++*pages;
	} while (cursor[0] != '\0');
	json_decref(v);
	return rows;
}

static int
replace(struct node *r, json_t *changes)
{
	json_t *v;
	int code;

	v = ask(r, &code, "state.replace", "{s:O}", "changes", changes);
	json_decref(v);
	return code;
}

/* r-a: three VMs, one of which came from r-b and drains there, one that left, two routes. */
static struct world *
full(void)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	for (unsigned int n = 1; n <= 3; n++)
		assert_int_equal(vm_register(a, n, 0, n == 2 ? 0 : vm_global(0, n)), 0);
	assert_int_equal(vm_register(b, 4, 0, vm_global(1, 4)), 0);
	world_run(w, 500);
	assert_int_equal(vm_move(a, 4, 0, vm_global(0, 4), 7200000, 10800000), 0);
	assert_int_equal(vm_move(b, 3, 0, vm_global(1, 3), 3600000, 3600000), 0);
	assert_int_equal(
		call(a, "route.replace", "{\"prefix\": \"10.9.0.5/32\", \"via\": \"192.0.2.7\"}"), 0);
	assert_int_equal(call(a, "route.replace", "{\"prefix\": \"10.8.0.0/16\", \"blackhole\": true}"), 0);
	world_run(w, 2000);
	return w;
}

static void
an_exported_state_makes_an_empty_router_what_it_was(void **state)
{
	struct world *w = full();
	struct node *a = world_router(w, 0);
	unsigned int pages;
	json_t *before = export_all(a, 0, &pages), *after;

	(void)state;
	assert_int_equal(json_array_size(before), 5);
	node_crash(world_router(w, 1)); /* nobody else tells it */
	node_crash(a);
	stored_clear(a);
	node_start(a);
	world_run(w, 3000);
	assert_null(vm_at(a, 1));
	assert_int_equal(replace(a, before), 0);
	after = export_all(a, 0, &pages);
	assert_true(json_equal(before, after));
	assert_int_equal(vm_at(a, 4)->now.fwd.n_drains, 1); /* from r-b, which is away */
	assert_true(model_is_true(a));
	assert_int_equal(replace(a, before), 0); /* nothing to do: */
	assert_int_equal(a->core->revision, 1);
	json_decref(before);
	json_decref(after);
	world_free(w);
}

static void
pages_of_any_size_give_the_same(void **state)
{
	struct world *w = full();
	unsigned int pages;
	json_t *whole = export_all(world_router(w, 0), 0, &pages);

	(void)state;
	for (int limit = 1; limit < 7; limit++) {
		json_t *v = export_all(world_router(w, 0), limit, &pages);

		assert_true(json_equal(whole, v));
		assert_true((int)pages >= 5 / limit);
		json_decref(v);
	}
	json_decref(whole);
	world_free(w);
}

/* An own VM's address that drains here, too: nobody else could be told to drain it. */
static void
what_drains_here_itself_is_not_told(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	unsigned int pages;
	json_t *rows, *old;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), 3600000, 3600000), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(a, 1, 0, vm_global(0, 2), 3600000, 3600000), 0);
	world_run(w, 200);
	assert_int_equal(vm_at(a, 1)->now.fwd.n_drains, 2);
	rows = export_all(a, 0, &pages);
	old = json_object_get(json_object_get(json_array_get(rows, 0), "params"), "old");
	assert_int_equal(json_array_size(old), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(old, 0), "router")), b->name);
	json_decref(rows);
	world_free(w);
}

static void
an_empty_router_exports_nothing(void **state)
{
	struct world *w = routers(1);
	unsigned int pages;
	json_t *rows = export_all(world_router(w, 0), 0, &pages);

	(void)state;
	assert_int_equal(json_array_size(rows), 0);
	json_decref(rows);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(an_exported_state_makes_an_empty_router_what_it_was),
		T(pages_of_any_size_give_the_same),
		T(what_drains_here_itself_is_not_told),
		T(an_empty_router_exports_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
