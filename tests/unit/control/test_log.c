/* SPDX-License-Identifier: BSD-3-Clause */
/* The log in the store: what stands in it, that it goes with its change, and that nobody alters it unseen. */
#include "control.h"

static const char *
log_key(uint64_t number)
{
	static char key[24];

	snprintf(key, sizeof(key), "%020" PRIu64, number);
	return key;
}

/* The ends of the log as the store has them. */
static struct chain
end_of(struct node *r, const char *number, const char *hash)
{
	const char *text = stored_row(r, "meta", "log");
	json_t *v = json_loads(text ? text : "{}", 0, NULL);
	struct chain ch = {.number = (uint64_t)json_integer_value(json_object_get(v, number))};

	assert_non_null(text);
	assert_true(chain_hash_parse(json_string_value(json_object_get(v, hash)), ch.hash));
	json_decref(v);
	return ch;
}

static void
assert_whole(struct node *r)
{
	if (!log_is_whole(r))
		fail_msg("%s", r->w->why);
}

/* The last stored entry with this "what", a new reference, or NULL. */
static json_t *
entry(struct node *r, const char *what)
{
	uint64_t first = end_of(r, "before", "anchor").number, n = end_of(r, "last", "hash").number;

	for (; n > first; n--) {
		json_t *v = json_loads(stored_row(r, "log", log_key(n)), 0, NULL);

		if (strcmp(json_string_value(json_object_get(v, "what")), what) == 0)
			return v;
		json_decref(v);
	}
	return NULL;
}

static bool
says(struct node *r, const char *what, const char *text)
{
	json_t *v = entry(r, what);
	char *all = json_dumps(v, JSON_COMPACT);
	bool does = all && strstr(all, text);

	json_decref(v);
	free(all);
	return does;
}

static unsigned int
count(struct node *r, const char *text)
{
	uint64_t first = end_of(r, "before", "anchor").number, n = end_of(r, "last", "hash").number;
	unsigned int found = 0;

	for (; n > first; n--)
		found += strstr(stored_row(r, "log", log_key(n)), text) != NULL;
	return found;
}

static struct caller *
controller(struct world *w, int term)
{
	struct caller *k = caller_new(world_controller(w), "clc", ROLE_CONTROLLER, world_router(w, 0),
		term ? json_pack("{s:i}", "term", term) : NULL);

	assert_true(k->up);
	return k;
}

static void
an_accepted_change_stands_in_the_log_with_who_and_what(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w, 3);

	(void)state;
	assert_int_equal(vm_register(a, 1, 7, vm_global(0, 1)), 0);
	assert_true(says(a, "vm.register", "\"who\":\"local "));
	assert_true(says(a, "vm.register",
		"\"result\":\"ok\",\"revision\":2,\"params\":{\"segment\":\"tenant-a\",\"mac\":"
		"\"52:54:00:00:00:01\",\"epoch\":7,"));
	assert_int_equal(caller_call(k, "route.replace",
				 json_pack("{s:s, s:s}", "prefix", "203.0.1.0/24", "via", "192.0.2.9")),
		0);
	assert_true(says(a, "route.replace", "\"who\":\"controller clc\""));
	assert_true(says(a, "term", "\"changed\":[\"term 3\"]"));
	assert_true(says(a, "session.up", "\"who\":\"controller clc\""));
	caller_free(k);
	world_run(w, 100);
	assert_true(says(a, "session.down", "\"who\":\"controller clc\""));
	assert_true(says(a, "start", "\"store\":\"empty\""));
	assert_whole(a);
	world_free(w);
}

static void
a_change_and_its_entry_are_one_commit(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	uint64_t commits = a->n_commits;

	(void)state;
	assert_int_equal(vm_register(a, 1, 1, 0), 0);
	assert_int_equal(a->n_commits, commits + 1);
	assert_int_equal(count(a, "vm.register"), 1);
	assert_int_equal(vm_register(a, 1, 1, 0), 0); /* again: nothing changes, nothing is written */
	assert_int_equal(a->n_commits, commits + 1);
	a->commits_to_fail = 1;
	assert_int_equal(vm_register(a, 2, 1, 0), RPC_STORE);
	world_run(w, 6000);
	assert_int_equal(count(a, "52:54:00:00:00:02"), 0);
	assert_true(says(a, "vm.register", "\"result\":\"refused\",\"code\":6")); /* once the disk took it */
	assert_whole(a);
	assert_int_equal(vm_register(a, 2, 1, 0), 0);
	assert_int_equal(count(a, "52:54:00:00:00:02"), 1);
	assert_whole(a);
	world_free(w);
}

static void
each_change_of_a_list_has_an_entry_and_a_refused_list_one(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(
		call(a, "txn.apply",
			"{\"changes\": [{\"method\": \"route.replace\", \"params\": {\"prefix\": "
			"\"203.0.1.0/24\", "
			"\"via\": \"192.0.2.9\"}}, {\"method\": \"route.replace\", \"params\": {\"prefix\": "
			"\"203.0.2.0/24\", \"via\": \"192.0.2.9\"}}]}"),
		0);
	assert_int_equal(count(a, "\"of\":\"txn.apply\""), 2);
	assert_int_equal(count(a, "\"revision\":1"), 2);
	assert_int_equal(
		call(a, "txn.apply",
			"{\"changes\": [{\"method\": \"route.delete\", \"params\": {\"prefix\": "
			"\"203.0.1.0/24\"}}, "
			"{\"method\": \"route.replace\", \"params\": {\"prefix\": \"203.0.3.0/24\", \"via\": "
			"\"8.8.8.8\"}}]}"),
		RPC_INVALID_PARAMS);
	world_run(w, 100);
	assert_true(says(a, "txn.apply", "changes[1]"));
	assert_int_equal(count(a, "route.delete"), 0);
	assert_whole(a);
	world_free(w);
}

static void
what_peers_and_time_change_stands_there_too(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 1, 1, vm_global(0, 1)), 0);
	world_run(w, 500);
	assert_true(says(b, "sync.update", "\"who\":\"peer r-a\""));
	assert_true(says(b, "sync.update", "\"changed\":[\"tenant-a/52:54:00:00:00:01@1\"]"));
	assert_int_equal(vm_move(b, 1, 2, vm_global(1, 1), 1000, 2000), 0);
	world_run(w, 10000);
	assert_true(says(a, "drain", "\"who\":\"router\""));
	assert_true(says(b, "sync.done", "\"who\":\"peer r-a\""));
	for (unsigned int i = 0; i < 2; i++)
		assert_whole(world_router(w, i));
	world_free(w);
}

static void
refusals_are_logged_at_a_bounded_rate_and_the_rest_is_counted(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w, 0);
	uint64_t before, after;

	(void)state;
	world_run(w, 20000);
	before = end_of(a, "last", "hash").number;
	for (unsigned int i = 0; i < 1000; i++)
		rpc_notify(k->rpc, "route.delete", json_pack("{s:s}", "prefix", "no\xc3\xa9"));
	world_run(w, 20000);
	after = end_of(a, "last", "hash").number;
	assert_in_range(after - before, 100, 150);
	assert_true(says(a, "route.delete", "\"result\":\"refused\",\"code\":-32602"));
	assert_true(says(a, "refusals", "\"result\":\"left out\",\"count\":"));
	assert_int_equal(vm_register(a, 1, 1, 0), 0); /* changes have no rate */
	assert_true(says(a, "vm.register", "\"ok\""));
	assert_int_equal(caller_call(k, "trace", json_object()), RPC_DENIED);
	world_run(w, 100);
	assert_true(says(a, "trace", "\"code\":1"));
	assert_whole(a);
	caller_free(k);
	world_free(w);
}

static void
strangers_and_alarms_stand_there(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0), stranger = *world_controller(w);
	struct fwd_event conflict = {.kind = FWD_GW_CONFLICT, .mac = vm_mac(9), .ip = 0x0a000001};
	struct caller *k;

	(void)state;
	memset(stranger.private_key, 99, 32);
	k = caller_new(&stranger, "clc", ROLE_CONTROLLER, a, NULL);
	assert_false(k->up);
	caller_free(k);
	node_event(a, &conflict);
	world_run(w, 1000);
	assert_true(says(a, "session.up", "\"result\":\"refused\""));
	assert_true(says(a, "alarm", "claims the gateway address"));
	assert_whole(a);
	world_free(w);
}

static void
the_oldest_entries_go_and_what_is_left_still_verifies(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);

	(void)state;
	for (unsigned int i = 1; i <= 700; i++)
		assert_int_equal(vm_register(a, 1, i, i % 2 ? vm_global(0, 1) : 0), 0);
	world_run(w, 1000);
	assert_true(end_of(a, "before", "anchor").number > 300);
	assert_in_range(stored_count(a, "log"), 300, 300 + 2 * 31);
	assert_whole(a);
	node_crash(a);
	node_start(a);
	world_run(w, 1000);
	assert_false(logged("was altered"));
	assert_int_equal(vm_register(a, 2, 1, 0), 0);
	assert_whole(a);
	world_free(w);
}

static void
the_log_goes_on_after_kill_and_says_so(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);

	(void)state;
	for (unsigned int i = 1; i < 30; i++) {
		assert_int_equal(vm_register(a, i, 1, 0), 0);
		if (i % 3)
			continue;
		node_crash(a);
		node_start(a);
		world_run(w, 100);
		assert_whole(a);
	}
	assert_false(logged("was altered"));
	assert_true(says(a, "start", "\"store\":\"kept\""));
	assert_int_equal(count(a, "\"what\":\"start\""), 10);
	world_free(w);
}

static void
alter(struct node *a, uint64_t number, const char *from, const char *to)
{
	char text[2000], *at;

	snprintf(text, sizeof(text), "%s", stored_row(a, "log", log_key(number)));
	at = strstr(text, from);
	assert_non_null(at);
	memcpy(at, to, strlen(to));
	stored_set(a, "log", log_key(number), text);
}

static void
restart(struct world *w, struct node *a)
{
	node_crash(a);
	node_start(a);
	world_run(w, 1000);
}

static void
an_altered_entry_is_found_at_the_next_start(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);

	(void)state;
	for (unsigned int i = 1; i < 20; i++)
		assert_int_equal(vm_register(a, i, 1, 0), 0);
	restart(w, a);
	assert_false(logged("ALARM"));
	alter(a, 10, "local", "peer ");
	restart(w, a);
	assert_true(logged(
		"ALARM: the log in the store was altered: entry 10: its hash is not that of its text"));
	assert_true(says(a, "alarm", "entry 10"));
	world_free(w);
}

static void
an_entry_that_is_gone_is_found_in_the_middle_and_at_the_end(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	uint64_t last;

	(void)state;
	for (unsigned int i = 1; i < 20; i++)
		assert_int_equal(vm_register(a, i, 1, 0), 0);
	node_crash(a);
	last = end_of(a, "last", "hash").number;
	stored_set(a, "log", log_key(last), NULL);
	node_start(a);
	world_run(w, 1000);
	assert_true(logged("its end is not that which was written"));
	stored_set(a, "log", log_key(12), NULL);
	restart(w, a);
	assert_true(logged("entry 12: entries before it are gone"));
	world_free(w);
}

static void
a_log_without_its_ends_is_found_and_goes_on_behind_them(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct chain last;

	(void)state;
	for (unsigned int i = 1; i < 20; i++)
		assert_int_equal(vm_register(a, i, 1, 0), 0);
	node_crash(a);
	last = end_of(a, "last", "hash");
	stored_set(a, "meta", "log", NULL);
	node_start(a);
	world_run(w, 1000);
	assert_true(logged("ALARM: the log in the store was altered: nothing says where it begins and ends"));
	assert_int_equal(vm_register(a, 30, 1, 0), 0);
	assert_true(end_of(a, "last", "hash").number > last.number);
	assert_non_null(stored_row(a, "log", log_key(2)));
	world_free(w);
}

static void
the_log_is_shown_page_by_page_to_who_may_observe(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w, 0);
	json_t *v, *rows;

	(void)state;
	for (unsigned int i = 1; i < 20; i++)
		assert_int_equal(vm_register(a, i, 1, 0), 0);
	v = caller_get(k, "show.log", json_pack("{s:i}", "limit", 5));
	rows = json_object_get(v, "rows");
	assert_int_equal(json_array_size(rows), 5);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "number")), 1);
	assert_string_equal(json_string_value(json_object_get(v, "next")), "5");
	json_decref(v);
	v = caller_get(k, "show.log", json_pack("{s:s}", "cursor", "10"));
	rows = json_object_get(v, "rows");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "number")), 11);
	assert_null(json_object_get(v, "next"));
	json_decref(v);
	world_run(w, 60000);
	assert_int_equal(vm_register(a, 30, 1, 0), 0);
	v = caller_get(k, "show.log", json_pack("{s:s}", "since", "30s"));
	assert_int_equal(json_array_size(json_object_get(v, "rows")), 1);
	json_decref(v);
	assert_int_equal(get_number(a, "show.status", "revision"), 20);
	caller_free(k);
	world_free(w);
}

/* 300 entries of 6 kB do not fit into one message. */
static void
a_page_of_large_entries_is_shorter_and_says_where_to_go_on(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w, 0);
	char text[6001] = "", cursor[24] = "0";
	size_t n = 0, pages = 0;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 300; i++)
		audit_note(a->core, "router", "large", json_pack("{s:s}", "text", text));
	world_run(w, 100);
	for (bool more = true; more; pages++) {
		json_t *v = caller_get(k, "show.log", json_pack("{s:s}", "cursor", cursor));
		const char *next = json_string_value(json_object_get(v, "next"));

		more = next != NULL;
		n += json_array_size(json_object_get(v, "rows"));
		snprintf(cursor, sizeof(cursor), "%s", more ? next : "");
		json_decref(v);
	}
	assert_in_range(n, 300, 310);
	assert_in_range(pages, 2, 6);
	caller_free(k);
	world_free(w);
}

static void
count_page(void *arg, int code, json_t *v)
{
	unsigned int *n = arg; /* pages, refusals */

	(void)v;
	n[code == 0 ? 0 : 1]++;
	assert_true(code == 0 || code == RPC_LIMIT);
}

/* Each page holds up the commits behind it. */
static void
pages_that_one_asks_for_at_once_are_bounded(void **state)
{
	struct world *w = routers(1);
	struct caller *k = controller(w, 0), *other = controller(w, 0);
	unsigned int n[2] = {0};

	(void)state;
	for (int i = 0; i < 500; i++)
		assert_int_equal(rpc_call(k->rpc, "show.log", json_object(), count_page, n), 0);
	json_decref(caller_get(other, "show.log", json_object()));
	world_run(w, 1000);
	assert_int_equal(n[0] + n[1], 500);
	assert_true(n[0] >= 4 && n[1] > 400);
	json_decref(caller_get(k, "show.log", json_object()));
	caller_free(k);
	caller_free(other);
	world_free(w);
}

static void
an_entry_survives_another_library_byte_by_byte(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	const char *text;
	char *again;
	json_t *v;

	(void)state;
	assert_int_equal(
		call(a, "route.delete", "{\"prefix\": \"caf\xc3\xa9 \\u0001\\\" \"}"), RPC_INVALID_PARAMS);
	world_run(w, 100);
	text = stored_row(a, "log", log_key(end_of(a, "last", "hash").number));
	for (const char *p = text; *p; p++)
		assert_in_range(*p, 0x20, 0x7e);
	v = json_loads(text, 0, NULL);
	again = json_dumps(v, JSON_COMPACT);
	assert_string_equal(again, text);
	free(again);
	json_decref(v);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(an_accepted_change_stands_in_the_log_with_who_and_what),
		T(a_change_and_its_entry_are_one_commit),
		T(each_change_of_a_list_has_an_entry_and_a_refused_list_one),
		T(what_peers_and_time_change_stands_there_too),
		T(refusals_are_logged_at_a_bounded_rate_and_the_rest_is_counted),
		T(strangers_and_alarms_stand_there),
		T(the_oldest_entries_go_and_what_is_left_still_verifies),
		T(the_log_goes_on_after_kill_and_says_so),
		T(an_altered_entry_is_found_at_the_next_start),
		T(an_entry_that_is_gone_is_found_in_the_middle_and_at_the_end),
		T(a_log_without_its_ends_is_found_and_goes_on_behind_them),
		T(the_log_is_shown_page_by_page_to_who_may_observe),
		T(a_page_of_large_entries_is_shorter_and_says_where_to_go_on),
		T(pages_that_one_asks_for_at_once_are_bounded),
		T(an_entry_survives_another_library_byte_by_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
