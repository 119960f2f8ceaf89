/* SPDX-License-Identifier: BSD-3-Clause */
/* Staged transactions: parts, their count and hash, their bounds and their end. */
#include "control.h"

#include <api/items.h>
#include <errno.h>

/* ---- a connection that stages ---- */

struct stage {
	struct caller *k;
	json_int_t txn, part, count;
	struct items_hash hash;
};

static struct caller *
controller_of(struct node *r, int term)
{
	struct caller *k = caller_new(
		world_controller(r->w), "clc", ROLE_CONTROLLER, r, json_pack("{s:i}", "term", term));

	assert_true(k->up);
	return k;
}

static struct stage
stage_open_for(struct caller *k, bool replace)
{
	struct stage g = {.k = k};
	json_t *v;

	assert_int_equal(caller_ask(k, "txn.open", json_pack("{s:b}", "replace", replace), &v), 0);
	g.txn = json_integer_value(json_object_get(v, "txn"));
	json_decref(v);
	items_hash_init(&g.hash);
	return g;
}

static struct stage
stage_open(struct caller *k)
{
	return stage_open_for(k, false);
}

/* Stages vm.register of VMs `from` to `from + n - 1` as one part. */
static json_t *
registers(unsigned int from, unsigned int n)
{
	json_t *changes = json_array();

	for (unsigned int i = from; i < from + n; i++)
		json_array_append_new(changes, json_pack("{s:s, s:o}", "method", "vm.register", "params",
						       vm_register_params(i, 1, vm_global(0, i))));
	return changes;
}

static int
stage_part(struct stage *g, json_int_t part, json_t *changes)
{
	return caller_call(g->k, "txn.add",
		json_pack("{s:I, s:I, s:o}", "txn", g->txn, "part", part, "changes", changes));
}

static void
stage_add(struct stage *g, json_t *changes)
{
	json_t *item;
	size_t i;

	json_array_foreach(changes, i, item) assert_true(items_hash_add(&g->hash, item) > 0);
	g->count += (json_int_t)json_array_size(changes);
	assert_int_equal(stage_part(g, ++g->part, changes), 0);
}

static json_t *
commit_params(const struct stage *g)
{
	char hash[ITEMS_HASH_TEXT];

	items_hash_text(&g->hash, hash);
	return json_pack("{s:I, s:I, s:s}", "txn", g->txn, "count", g->count, "sha256", hash);
}

static int
stage_commit(struct stage *g, json_t **v)
{
	return caller_ask(g->k, "txn.commit", commit_params(g), v);
}

/* The error's code or 0. */
static int
commit(struct stage *g)
{
	json_t *v;
	int code = stage_commit(g, &v);

	json_decref(v);
	return code;
}

/* ---- tests ---- */

static void
the_hash_of_items_is_that_of_any_json_library(void **state)
{
	/* python3: hashlib.sha256(b"".join(json.dumps(i, sort_keys=True, separators=(",", ":")).encode() + b"\n" ...)) */
	static const char expected[] = "609340230898644c329b33ff10d54bd1db2d9097d149d4bd990b6b414e743f12";
	json_t *items = json_loads(
		"[{\"params\": {\"b\": [1, true, null], \"a\": \"x/\\\"\\\\\"}, \"method\": \"m\"}, {}]", 0,
		NULL);
	char text[ITEMS_HASH_TEXT];
	struct items_hash h;

	(void)state;
	items_hash_init(&h);
	assert_int_equal(items_hash_add(&h, json_array_get(items, 0)), 56);
	assert_int_equal(items_hash_add(&h, json_array_get(items, 1)), 2);
	items_hash_text(&h, text);
	assert_string_equal(text, expected);
	json_decref(items);
	items = json_loads("[\"\\u00e9\", \"\\u001f\", 1.5, {\"\\u007f\": 1}]", 0, NULL);
	for (size_t i = 0; i < json_array_size(items); i++)
		assert_int_equal(items_hash_add(&h, json_array_get(items, i)), -EINVAL);
	json_decref(items);
}

static void
a_staged_transaction_is_one_commit_and_one_publication(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1);
	struct stage g = stage_open(k);
	uint64_t commits = r->n_commits, publishes = r->n_publishes;
	json_t *v;

	(void)state;
	stage_add(&g, registers(0, 300));
	stage_add(&g, registers(300, 200));
	assert_int_equal(model_count(r), 0);
	assert_int_equal(stage_commit(&g, &v), 0);
	assert_int_equal(json_integer_value(json_object_get(v, "count")), 500);
	assert_true(json_is_true(json_object_get(v, "changed")));
	json_decref(v);
	assert_int_equal(model_count(r), 500);
	assert_int_equal(r->n_commits, commits + 1);
	assert_int_equal(r->n_publishes, publishes + 1);
	assert_int_equal(commit(&g), RPC_NOT_FOUND); /* it has ended */
	caller_free(k);
	world_free(w);
}

/* C-42: what was cut, repeated, swapped or altered on its way is not committed. */
static void
a_commit_needs_all_parts_as_they_were_sent(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1);
	struct stage g = stage_open(k), whole;

	(void)state;
	stage_add(&g, registers(0, 3));
	whole = g;
	whole.count = 5;
	assert_int_equal(commit(&whole), RPC_CONFLICT); /* two are missing */
	whole = g;
	items_hash_init(&whole.hash);
	assert_int_equal(commit(&whole), RPC_CONFLICT);			    /* others were sent */
	assert_int_equal(stage_part(&g, 3, registers(3, 1)), RPC_CONFLICT); /* part 2 is missing */
	assert_int_equal(stage_part(&g, 1, registers(0, 3)), 0);	    /* its answer was lost */
	assert_int_equal(stage_part(&g, 1, registers(0, 2)), RPC_CONFLICT);
	assert_int_equal(stage_part(&g, 2, registers(0, 0)), RPC_INVALID_PARAMS);
	assert_int_equal(model_count(r), 0);
	stage_add(&g, registers(3, 2)); /* what was refused has left nothing behind */
	assert_int_equal(commit(&g), 0);
	assert_int_equal(model_count(r), 5);
	caller_free(k);
	world_free(w);
}

/* C-41: half of it invalid: none is applied. */
static void
a_refused_change_refuses_its_part_or_its_transaction(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1);
	struct stage g = stage_open(k);
	json_t *bad = registers(9, 2), *v;

	(void)state;
	stage_add(&g, registers(0, 100));
	json_object_set_new(json_object_get(json_array_get(bad, 1), "params"), "mac", json_integer(1));
	assert_int_equal(stage_part(&g, 2, bad), RPC_INVALID_PARAMS);
	bad = json_pack("[{s:s, s:{}}]", "method", "txn.apply", "params");
	assert_int_equal(stage_part(&g, 2, bad), RPC_NO_METHOD);
	assert_int_equal(vm_register(r, 99, 1, 0), 0);
	assert_int_equal(stage_commit(&g, &v), RPC_CONFLICT); /* VM 99 has other content */
	assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "data"), "change")), 99);
	json_decref(v);
	assert_int_equal(model_count(r), 1);
	assert_int_equal(vm_unregister(r, 99, 2), 0);
	assert_int_equal(commit(&g), RPC_STALE_EPOCH); /* it is still there to be committed */
	assert_int_equal(caller_call(k, "txn.abort", json_pack("{s:I}", "txn", g.txn)), 0);
	assert_int_equal(caller_call(k, "txn.abort", json_pack("{s:I}", "txn", g.txn)), RPC_NOT_FOUND);
	assert_true(model_is_true(r));
	caller_free(k);
	world_free(w);
}

static void
a_dry_run_of_a_staged_transaction_changes_nothing_and_keeps_it(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1);
	struct stage g = stage_open(k);
	json_t *params, *v;

	(void)state;
	stage_add(&g, registers(0, 3));
	params = commit_params(&g);
	json_object_set_new(params, "dry-run", json_true());
	assert_int_equal(caller_ask(k, "txn.commit", params, &v), 0);
	assert_true(json_is_true(json_object_get(v, "dry-run")));
	json_decref(v);
	assert_int_equal(model_count(r), 0);
	assert_int_equal(commit(&g), 0);
	assert_int_equal(model_count(r), 3);
	caller_free(k);
	world_free(w);
}

/* C-43: the connection is lost in the middle: the old state stays, and it is staged again. */
static void
a_connection_takes_what_it_staged_with_it(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1), *other;
	struct stage g = stage_open(k);

	(void)state;
	stage_add(&g, registers(0, 3));
	caller_free(k);
	world_run(w, 1000);
	assert_null(r->core->staged);
	assert_int_equal(r->core->staged_bytes, 0);
	assert_int_equal(model_count(r), 0);
	k = controller_of(r, 1);
	other = controller_of(r, 1);
	g = stage_open(k);
	stage_add(&g, registers(0, 3));
	g.k = other;
	assert_int_equal(commit(&g), RPC_NOT_FOUND); /* nobody else's */
	g.k = k;
	assert_int_equal(commit(&g), 0);
	caller_free(k);
	caller_free(other);
	world_free(w);
}

static void
lost_with_its_commit_on_the_way_it_is_committed(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1);
	struct stage g = stage_open(k);

	(void)state;
	stage_add(&g, registers(0, 300));
	assert_int_equal(rpc_notify(k->rpc, "txn.commit", commit_params(&g)), 0);
	while (!r->core->group)
		assert_true(world_step(w, w->now + 1000));
	caller_free(k);
	world_run(w, 1000);
	assert_int_equal(model_count(r), 300);
	assert_null(r->core->staged);
	world_free(w);
}

static void
open_transactions_are_bounded_in_number_and_time(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k[5];
	struct stage g;

	(void)state;
	for (int i = 0; i < 5; i++) {
		k[i] = controller_of(r, 1);
		for (int j = 0; j < 4 && i < 4; j++)
			g = stage_open(k[i]);
		assert_int_equal(
			caller_call(k[i], "txn.open", json_object()), RPC_LIMIT); /* of its own; of all */
	}
	world_run(w, 50000);
	assert_int_equal(stage_part(&g, 1, registers(0, 1)), 0);
	world_run(w, 40000);
	assert_non_null(r->core->staged);
	world_run(w, 40000);
	assert_null(r->core->staged);
	assert_int_equal(stage_part(&g, 2, registers(1, 1)), RPC_NOT_FOUND);
	assert_true(logged("was idle for 60 s"));
	for (int i = 0; i < 5; i++)
		caller_free(k[i]);
	world_free(w);
}

static void
a_staged_replace_is_all_that_the_router_has(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1);
	struct stage g = stage_open(k);
	json_t *params, *v;

	(void)state;
	params = commit_params(&g);
	json_object_set_new(params, "max-remove", json_integer(1));
	assert_int_equal(caller_call(k, "txn.commit", params), RPC_INVALID_PARAMS); /* it is no replace */
	assert_int_equal(vm_register(r, 5000, 1, 0), 0);
	g = stage_open_for(k, true);
	for (unsigned int i = 0; i < 3; i++)
		stage_add(&g, registers(1000 * i, 1000));
	assert_int_equal(commit(&g), RPC_LIMIT);
	params = commit_params(&g);
	json_object_set_new(params, "max-remove", json_integer(1));
	assert_int_equal(caller_ask(k, "txn.commit", params, &v), 0);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "vms"), "added")), 3000);
	json_decref(v);
	assert_int_equal(model_count(r), 3000);
	assert_true(vm_at(r, 5000)->now.deleted);
	assert_true(model_is_true(r));
	caller_free(k);
	world_free(w);
}

static void
a_long_transaction_lets_others_have_their_turn(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1), *other = controller_of(r, 1);
	struct stage g = stage_open(k);

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		stage_add(&g, registers(1000 * i, 1000));
	assert_int_equal(rpc_notify(k->rpc, "txn.commit", commit_params(&g)), 0);
	while (r->core->n_log == 0)
		assert_true(world_step(w, w->now + 1000));
	assert_true(r->core->n_log < TURN_CHANGES + 1);
	assert_int_equal(caller_call(other, "show.status", json_object()), 0);
	assert_int_equal(vm_register(r, 2999, 1, vm_global(0, 2999)), 0); /* after it, and so already done */
	assert_int_equal(model_count(r), 3000);
	assert_int_equal(r->core->revision, 2);
	caller_free(k);
	caller_free(other);
	world_free(w);
}

static void
a_router_that_ends_amid_a_long_transaction_has_none_of_it(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1);
	struct stage g = stage_open(k);

	(void)state;
	stage_add(&g, registers(0, 1000));
	stage_add(&g, registers(1000, 1000));
	assert_int_equal(rpc_notify(k->rpc, "txn.commit", commit_params(&g)), 0);
	while (r->core->n_log == 0)
		assert_true(world_step(w, w->now + 1000));
	node_crash(r);
	node_start(r);
	world_run(w, 3000);
	assert_int_equal(model_count(r), 0);
	assert_true(model_is_true(r));
	caller_free(k);
	world_free(w);
}

/* More entries than one commit takes away: what is too much goes by itself, and what is left is whole. */
static void
a_log_that_a_long_transaction_overfills_is_cut_to_its_bound(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller_of(r, 1);
	struct stage g = stage_open(k);

	(void)state;
	r->conf.control.log_rows = 300;
	r->conf.limits.vms = 30000;
	for (unsigned int n = 0; n < 25000; n += 2500)
		stage_add(&g, registers(n, 2500));
	assert_int_equal(commit(&g), 0);
	world_run(w, 1000);
	assert_in_range(stored_count(r, "log"), 300, 300 + 2 * 31);
	caller_free(k);
	node_crash(r);
	node_start(r);
	world_run(w, 1000);
	assert_false(logged("was altered"));
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(the_hash_of_items_is_that_of_any_json_library),
		T(a_staged_transaction_is_one_commit_and_one_publication),
		T(a_commit_needs_all_parts_as_they_were_sent),
		T(a_refused_change_refuses_its_part_or_its_transaction),
		T(a_dry_run_of_a_staged_transaction_changes_nothing_and_keeps_it),
		T(a_connection_takes_what_it_staged_with_it),
		T(lost_with_its_commit_on_the_way_it_is_committed),
		T(open_transactions_are_bounded_in_number_and_time),
		T(a_staged_replace_is_all_that_the_router_has),
		T(a_long_transaction_lets_others_have_their_turn),
		T(a_router_that_ends_amid_a_long_transaction_has_none_of_it),
		T(a_log_that_a_long_transaction_overfills_is_cut_to_its_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
