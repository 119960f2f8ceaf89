/* SPDX-License-Identifier: BSD-3-Clause */
/* Damaged rows of the store, damaged words of peers and controllers: taken, refused or skipped, and the router goes on. */
#include "control.h"

#include <mutate.h>

#define HOUR 3600000

/* ---- rows of the store ---- */

struct row {
	char kind[32], key[128];
	char *value;
};

/* Half of the rows keep their value, one in 16 is gone. */
static char *
damaged(const char *value)
{
	size_t len = strlen(value), size = 2 * len + 256;
	char *text = calloc(1, size);
	json_t *tree = NULL;

	memcpy(text, value, len);
	switch (mutate_random(16)) {
	case 0:
		free(text);
		return NULL;
	case 1 ... 4:
		len = mutate_text(text, len, size - 1);
		text[len] = '\0';
		return text;
	case 5 ... 7:
		tree = json_loads(value, 0, NULL);
		mutate_tree(tree);
		free(text);
		text = json_dumps(tree, JSON_COMPACT);
		json_decref(tree);
		return text;
	default:
		return text;
	}
}

static size_t
rows_take(struct node *n, struct row *row, size_t max)
{
	size_t i = 0;
	const char *name, *value;

	while (i < max && (name = stored_at(n, (unsigned int)i, &value)) != NULL) {
		assert_int_equal(sscanf(name, "%31s %127[^\n]", row[i].kind, row[i].key), 2);
		row[i++].value = strdup(value);
	}
	return i;
}

static void
rows_put_damaged(struct node *n, const struct row *row, size_t rows)
{
	stored_clear(n);
	for (size_t i = 0; i < rows; i++) {
		char *value = damaged(row[i].value);

		if (value != NULL)
			stored_set(n, row[i].kind, row[i].key, value);
		free(value);
	}
}

/* A router with own VMs, one of a peer, one that moved here and one that moved away, a route and a term. */
static struct world *
router_with_all_kinds_of_rows(void)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *k =
		caller_new(world_controller(w), "clc", ROLE_CONTROLLER, a, json_pack("{s:i}", "term", 3));

	assert_true(k->up);
	caller_free(k);
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 2)), 0);
	assert_int_equal(vm_register(b, 3, 0, vm_global(1, 3)), 0);
	assert_int_equal(vm_register(b, 4, 0, vm_global(1, 4)), 0);
	assert_int_equal(vm_register(a, 5, 0, vm_global(0, 5)), 0);
	assert_int_equal(vm_unregister(a, 5, 0), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(b, 2, 0, vm_global(1, 2), HOUR, 2 * HOUR), 0);
	assert_int_equal(vm_move(a, 3, 0, vm_global(0, 3), HOUR, 2 * HOUR), 0);
	assert_int_equal(call(a, "route.replace", "{\"prefix\": \"10.9.0.0/16\", \"blackhole\": true}"), 0);
	world_run(w, 200);
	node_crash(a);
	node_crash(b);
	return w;
}

static void
a_router_starts_from_any_damaged_rows_and_takes_changes(void **state)
{
	struct world *w = router_with_all_kinds_of_rows();
	struct node *a = world_router(w, 0);
	struct row row[64];
	size_t rows = rows_take(a, row, 64), whole = 0;

	(void)state;
	assert_true(rows > 8);
	for (int i = 0; i < 1500; i++) {
		rows_put_damaged(a, row, rows);
		node_start(a);
		world_run(w, 2500);
		assert_true(a->ready);
		if (!model_is_true(a))
			fail_msg("round %d: %s", i, w->why);
		whole += model_count(a) == 4;
		assert_int_equal(vm_register(a, 9, 0, vm_global(0, 9)), 0);
		node_crash(a);
	}
	assert_true(logged("refused and skipped"));
	assert_true(whole > 20 && whole < 1400); /* else the damage shows nothing */
	for (size_t i = 0; i < rows; i++)
		free(row[i].value);
	world_free(w);
}

/* Else one thing had two rows, of which its changes reach one, and the other is back after a restart. */
static void
a_row_under_the_key_of_something_else_is_refused(void **state)
{
	static const char *const kinds[] = {"vm", "route", "move"};
	struct world *w = router_with_all_kinds_of_rows();
	struct node *a = world_router(w, 0);
	struct row row[64];
	size_t rows = rows_take(a, row, 64);
	char text[100];

	(void)state;
	stored_clear(a);
	for (size_t i = 0; i < rows; i++)
		stored_set(a, row[i].kind, strcmp(row[i].kind, "meta") == 0 ? row[i].key : "another",
			row[i].value);
	node_start(a);
	world_run(w, 2500);
	assert_int_equal(model_count(a), 0);
	assert_null(model_route(a, "10.9.0.0/16"));
	assert_null(a->core->moves);
	for (size_t i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), "stored %s another is refused and skipped: it is about",
			kinds[i]);
		assert_true(logged(text));
	}
	for (size_t i = 0; i < rows; i++)
		free(row[i].value);
	world_free(w);
}

/* ---- words of those who hold a key ---- */

static const char *const words[][2] = {
	{"sync.update",
		"{\"vms\": [{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:03\", \"owner\": \"r-b\","
		"\"epoch\": 9, \"addresses\": [{\"private\": \"10.0.0.8\", \"global\": \"198.52.0.8\"}],"
		"\"drains\": [{\"private\": \"10.0.0.8\", \"global\": \"198.51.0.8\", \"router\": \"r-a\","
		"\"epoch\": 9, \"min\": 1000, \"max\": 2000, \"left-min\": 900, \"left-max\": 1900}]},"
		"{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:04\", \"owner\": \"r-b\", \"epoch\": "
		"3,"
		"\"deleted\": true}]}"},
	{"sync.done", "{\"drains\": [{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:03\","
		      "\"global\": \"198.52.0.8\", \"epoch\": 9}]}"},
	{"sync.again", "{}"},
	{"sync.mine", "{\"branches\": [0, 1, 255], \"cursor\": \"tenant-a/52:54:00:00:00:01\"}"},
	{"sync.sums", "{\"revision\": 7}"},
	{"sync.sums", "{\"branches\": [0, 1, 255]}"},
	{"sync.rows", "{\"leaves\": [0, 1, 65535]}"},
	{"sync.pull", "{\"vms\": [[\"tenant-a\", \"52:54:00:00:00:01\"]]}"},
	{"vm.register", "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:05\", \"epoch\": 1,"
			"\"addresses\": [{\"private\": \"10.0.0.10\", \"global\": \"198.51.0.10\"}]}"},
	{"vm.move", "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:03\", \"drain-min\": \"1h\","
		    "\"addresses\": [{\"private\": \"10.0.0.8\", \"global\": \"198.51.0.8\"}], \"old\": ["
		    "{\"private\": \"10.0.0.8\", \"global\": \"198.52.0.8\", \"router\": \"r-b\", \"epoch\": "
		    "0}]}"},
	{"vm.unregister", "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:05\"}"},
	{"nat.set", "{\"segment\": \"tenant-a\", \"private\": \"10.0.0.6\", \"global\": \"198.51.0.6\"}"},
	{"route.replace", "{\"prefix\": \"10.9.0.0/16\", \"via\": \"192.0.2.7\"}"},
	{"route.delete", "{\"prefix\": \"10.9.0.0/16\"}"},
	{"move.finish", "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:03\"}"},
	{"move.cut", "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:03\"}"},
	{"txn.apply", "{\"changes\": [{\"method\": \"vm.register\", \"params\": {\"segment\": \"tenant-a\", "
		      "\"mac\":"
		      "\"52:54:00:00:00:06\", \"addresses\": [{\"private\": \"10.0.0.11\"}]}},"
		      "{\"method\": \"route.delete\", \"params\": {\"prefix\": \"10.9.0.0/16\"}}]}"},
	{"state.replace",
		"{\"max-remove\": 9, \"changes\": [{\"method\": \"vm.register\", \"params\": {\"segment\":"
		"\"tenant-a\", \"mac\": \"52:54:00:00:00:05\", \"epoch\": 0, \"addresses\": [{\"private\":"
		"\"10.0.0.10\"}]}}, {\"method\": \"route.replace\", \"params\": {\"prefix\": \"10.9.0.0/16\","
		"\"via\": \"192.0.2.7\"}}]}"},
	{"txn.open", "{\"replace\": true}"},
	{"txn.add", "{\"txn\": 1, \"part\": 1, \"changes\": [{\"method\": \"route.delete\", \"params\":"
		    "{\"prefix\": \"10.9.0.0/16\"}}]}"},
	{"txn.commit", "{\"txn\": 1, \"count\": 1, \"sha256\":"
		       "\"85cdc6afd895b146a24ed535f1ff695e0d0cdbd1a799d110fad80943c18f96a7\"}"},
	{"txn.abort", "{\"txn\": 2}"},
	{"show.vms", "{\"limit\": 2, \"cursor\": \"\"}"},
	{"show.moves", "{\"limit\": 2}"},
	{"show.move", "{\"id\": \"tenant-a/52:54:00:00:00:01@2\"}"},
};

static unsigned int answers, refusals;

static void
answered(void *arg, int code, json_t *result)
{
	(void)arg;
	(void)result;
	answers++;
	refusals += code != 0;
}

/* Thousands of damaged calls of `from` to `to`; after each hundred it still does what it is asked. */
static void
pester(struct caller *k)
{
	struct world *w = k->from->w;

	answers = refusals = 0;
	for (int i = 0; i < 6000; i++) {
		const char *const *word = words[mutate_random(sizeof(words) / sizeof(words[0]))];
		json_t *params = json_loads(word[1], 0, NULL);

		assert_non_null(params);
		for (uint64_t edits = mutate_random(4); edits > 0; edits--)
			mutate_tree(params);
		rpc_call(k->rpc, word[0], params, answered, NULL);
		if (i % 100 != 0)
			continue;
		world_run(w, 500);
		if (!k->up || k->down || !model_is_true(k->to))
			fail_msg("call %d: %s%s", i, k->why, w->why);
		assert_int_equal(vm_register(k->to, 1, 0, vm_global(0, 1)), 0);
	}
	world_run(w, 1000);
	assert_true(refusals > 1000 && answers - refusals > 100);
}

static void
damaged_words_of_a_peer_are_taken_or_refused(void **state)
{
	struct world *w = world_new(1, 3);
	struct node *a = world_router(w, 0);
	struct caller *k;

	(void)state;
	node_start(a);
	world_run(w, 100);
	k = caller_new(
		world_router(w, 1), "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	pester(k);
	caller_free(k);
	world_free(w);
}

static unsigned int asked_sums, asked_rows, asked_pull;

/* NUL in a text makes it no JSON, which is no answer at all, and what waits for it would wait on. */
static bool
has_nul(const json_t *v)
{
	char *text = json_dumps(v, 0);
	bool nul = strstr(text, "\\u0000") != NULL;

	free(text);
	return nul;
}

/* Of a peer that owns something else each time. */
static json_t *
sound_answer(const char *method, const json_t *params)
{
	const json_t *branches = json_object_get(params, "branches");
	json_t *mine;

	assert_string_equal(words[0][0], "sync.update"); /* says VMs as the answer to a pull does */
	asked_rows += strcmp(method, "sync.rows") == 0;
	asked_pull += strcmp(method, "sync.pull") == 0;
	if (strcmp(method, "sync.pull") == 0)
		return json_loads(words[0][1], 0, NULL);
	if (strcmp(method, "sync.rows") == 0)
		return json_pack("{s:[[s, s, i, i], [s, s, i, i]], s:I}", "rows", "tenant-a",
			"52:54:00:00:00:03", 9, 1, "tenant-a", "52:54:00:00:00:04", 3, 2, "leaves",
			(json_int_t)json_array_size(json_object_get(params, "leaves")));
	if (strcmp(method, "sync.sums") != 0)
		return json_object();
	asked_sums++;
	if (!branches)
		return json_pack("{s:o, s:o}", "mine", sums_with(asked_sums), "yours", sums_with(0));
	mine = json_array();
	for (size_t i = 0; i < json_array_size(branches); i++)
		json_array_append_new(mine, sums_with(asked_sums));
	return json_pack("{s:o}", "mine", mine);
}

static json_t *
damaged_answer(const char *method, const json_t *params)
{
	json_t *v = sound_answer(method, params);

	for (uint64_t edits = mutate_random(4); edits > 0; edits--)
		mutate_tree(v);
	if (!has_nul(v))
		return v;
	json_decref(v);
	return json_object();
}

static void
damaged_answers_of_a_peer_are_taken_or_refused(void **state)
{
	struct world *w = world_new(1, 3);
	struct node *a = world_router(w, 0);
	struct caller *k;

	(void)state;
	node_start(a);
	world_run(w, 100);
	k = caller_new(
		world_router(w, 1), "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	k->answer = damaged_answer;
	for (int i = 0; i < 3000; i++) {
		rpc_notify(k->rpc, "sync.again", json_object());
		world_run(w, 60);
		if (k->down || !model_is_true(a))
			fail_msg("round %d: %s%s", i, k->why, w->why);
	}
	if (asked_sums < 2000 || asked_rows < 300 || asked_pull < 100)
		fail_msg("asked %u times for sums, %u for rows, %u for VMs", asked_sums, asked_rows,
			asked_pull);
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	caller_free(k);
	world_free(w);
}

static void
damaged_words_of_a_controller_are_taken_or_refused(void **state)
{
	struct world *w = routers(2);
	struct caller *k = caller_new(world_controller(w), "clc", ROLE_CONTROLLER, world_router(w, 0),
		json_pack("{s:i}", "term", 1));

	(void)state;
	pester(k);
	caller_free(k);
	world_run(w, 60000);
	assert_agreed(w, 2);
	world_free(w);
}

/* One by one, what chance may never come to. */
static void
try_each_type(struct caller *k)
{
	struct world *w = k->from->w;

	answers = refusals = 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		json_t *params = json_loads(words[i][1], 0, NULL), *other;

		for (unsigned int with = 0; with < MUTATE_TYPES; with++) {
			for (size_t nth = 0; (other = mutate_nth(params, nth, with)) != NULL; nth++) {
				rpc_call(k->rpc, words[i][0], other, answered, NULL);
				world_run(w, 20);
				if (!k->up || k->down || !model_is_true(k->to))
					fail_msg("%s: %s%s", words[i][0], k->why, w->why);
			}
		}
		json_decref(params);
	}
	world_run(w, 1000);
	assert_true(answers > 300 && refusals > 100);
	assert_int_equal(vm_register(k->to, 1, 0, vm_global(0, 1)), 0);
}

static void
any_value_that_a_peer_or_controller_says_may_be_of_another_type(void **state)
{
	struct world *w = world_new(1, 3);
	struct node *a = world_router(w, 0);
	struct caller *k;

	(void)state;
	node_start(a);
	world_run(w, 100);
	k = caller_new(
		world_router(w, 1), "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	try_each_type(k);
	caller_free(k);
	k = caller_new(world_controller(w), "clc", ROLE_CONTROLLER, a, json_pack("{s:i}", "term", 1));
	try_each_type(k);
	caller_free(k);
	world_free(w);
}

/* Nothing is read behind parameters of which there are none: AddressSanitizer looks. */
static void
whatever_shows_answers_without_parameters(void **state)
{
	struct world *w = routers(1);
	unsigned int shown = 0;
	int code;

	(void)state;
	for (const struct method *m = methods; m->name; m++) {
		if (strncmp(m->name, "show.", 5) != 0)
			continue;
		json_decref(ask(world_router(w, 0), &code, m->name, "{}"));
		if (strcmp(m->name, "show.move") == 0) /* of which one? */
			assert_int_equal(code, RPC_INVALID_PARAMS);
		else
			assert_true(code == 0 ||
				    code == RPC_INTERNAL); /* the model of forwarding has not all of it */
		shown++;
	}
	assert_true(shown > 10);
	world_free(w);
}

/* Name, role and version are the channel's own matter: test_channel.c. */
static void
what_else_a_hello_says_may_be_anything(void **state)
{
	static const char *const hello[] = {
		"{\"segments\": {\"tenant-a\": 100, \"lab\": 101}}", "{\"term\": 1}"};
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *clc = world_controller(w);
	unsigned int shared = 0, refused = 0;

	(void)state;
	node_start(a);
	world_run(w, 100);
	for (int i = 0; i < 600; i++) {
		json_t *h = json_loads(hello[i % 2], 0, NULL);
		struct caller *k;

		for (uint64_t edits = 1 + mutate_random(3); edits > 0; edits--)
			mutate_tree(h);
		k = i % 2 == 0 ? caller_new(b, "r-b", ROLE_PEER, a, h)
			       : caller_new(clc, "clc", ROLE_CONTROLLER, a, h);
		if (!k->down) /* NUL is no JSON */
			caller_call(k, i % 2 == 0 ? "sync.mine" : "show.vms",
				i % 2 == 0 ? json_pack("{s:[i, i], s:s}", "branches", 0, 255, "cursor", "")
					   : json_pack("{s:s}", "cursor", ""));
		refused += k->down;
		shared += a->core->peers[0].shared[0];
		caller_free(k);
		assert_true(model_is_true(a));
	}
	assert_true(shared > 50 && shared < 550 && refused < 100); /* else the damage shows nothing */
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(a_router_starts_from_any_damaged_rows_and_takes_changes),
		T(a_row_under_the_key_of_something_else_is_refused),
		T(damaged_words_of_a_peer_are_taken_or_refused),
		T(damaged_answers_of_a_peer_are_taken_or_refused),
		T(damaged_words_of_a_controller_are_taken_or_refused),
		T(any_value_that_a_peer_or_controller_says_may_be_of_another_type),
		T(whatever_shows_answers_without_parameters),
		T(what_else_a_hello_says_may_be_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
