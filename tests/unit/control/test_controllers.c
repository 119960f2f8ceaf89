/* SPDX-License-Identifier: BSD-3-Clause */
#include "control.h"

static struct node *
second(struct world *w)
{
	return &w->nodes[w->n_nodes - 1];
}

static struct caller *
controller(struct world *w, const char *name, struct node *from, int term)
{
	struct caller *k = caller_new(from, name, ROLE_CONTROLLER, world_router(w, 0),
		term ? json_pack("{s:i}", "term", term) : NULL);

	assert_true(k->up);
	return k;
}

static int
put(struct caller *k, unsigned int n)
{
	struct mac mac = vm_mac(n);
	char m[MAC_TEXT], a[IP4_TEXT];

	return caller_call(k, "vm.register",
		json_pack("{s:s, s:s, s:[{s:s}]}", "segment", "tenant-a", "mac", mac_format(&mac, m),
			"addresses", "private", ip4_format(vm_private(n), a)));
}

static void
a_controller_may_change_and_observe(void **state)
{
	struct world *w = routers(1);
	struct caller *k = controller(w, "clc", world_controller(w), 0);

	(void)state;
	assert_int_equal(put(k, 1), 0);
	assert_int_equal(caller_call(k, "show.vms", json_object()), 0);
	assert_int_equal(caller_call(k, "sync.sums", json_object()), RPC_NO_METHOD);
	assert_int_equal(caller_call(k, "vm.fly", json_object()), RPC_NO_METHOD);
	caller_free(k);
	world_free(w);
}

static void
packets_are_shown_to_the_local_user_alone(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = controller(w, "clc", world_controller(w), 0);

	(void)state;
	assert_int_equal(caller_call(k, "trace", json_object()), RPC_DENIED);
	assert_int_equal(caller_call(k, "capture", json_object()), RPC_DENIED);
	assert_int_equal(call(r, "trace", "{}"), 0);
	assert_int_equal(call(r, "capture", "{\"at\": [{\"point\": \"drop\"}]}"), 0);
	assert_int_equal(call(r, "capture", "{\"at\": [{\"point\": \"nowhere\"}]}"), RPC_INVALID_PARAMS);
	assert_int_equal(
		caller_call(k, "explain", json_pack("{s:s, s:s}", "port", "wan0", "dst", "192.0.2.1")), 0);
	assert_int_equal(caller_call(k, "explain", json_pack("{s:s}", "port", "wan0")), RPC_INVALID_PARAMS);
	caller_free(k);
	world_free(w);
}

static void
a_trace_ends_with_its_client_and_belongs_to_no_other(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v = get(r, "trace", "{}");
	char params[64];

	(void)state;
	assert_non_null(json_object_get(v, "next"));
	snprintf(params, sizeof(params), "{\"cursor\": \"%s\"}",
		json_string_value(json_object_get(v, "next")));
	world_run(w, 1000); /* whoever asked has closed */
	assert_false(r->watching);
	assert_int_equal(call(r, "trace", params), RPC_NOT_FOUND);
	json_decref(v);
	world_free(w);
}

static void
counters_of_forwarding_stand_beside_vms_and_segments(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v, *row;

	(void)state;
	assert_int_equal(vm_register(r, 1, 0, 0), 0);
	v = get(r, "show.counters", "{}");
	row = json_array_get(json_object_get(v, "rows"), 0);
	assert_string_equal(json_string_value(json_object_get(row, "private")), "10.0.0.6");
	assert_int_equal(json_integer_value(json_object_get(row, "from-packets")), 1);
	assert_int_equal(json_integer_value(json_object_get(row, "to-bytes")), 4);
	json_decref(v);
	v = get(r, "show.segments", "{}");
	row = json_array_get(json_object_get(v, "rows"), 0);
	assert_int_equal(json_integer_value(json_object_get(row, "from-bytes")), 2);
	assert_int_equal(json_integer_value(json_object_get(row, "to-packets")), 3);
	json_decref(v);
	world_free(w);
}

/* C-47 */
static void
a_lower_term_is_superseded_for_ever(void **state)
{
	struct world *w = routers(1);
	struct caller *seven = controller(w, "clc", world_controller(w), 7), *eight;

	(void)state;
	assert_int_equal(put(seven, 1), 0);
	eight = controller(w, "clc-2", second(w), 8);
	assert_int_equal(put(eight, 2), 0);
	assert_int_equal(put(seven, 3), RPC_SUPERSEDED); /* on the session that was there before */
	assert_int_equal(caller_call(seven, "show.vms", json_object()), 0);
	caller_free(seven);
	caller_free(eight);
	node_crash(world_router(w, 0));
	node_start(world_router(w, 0));
	world_run(w, 100);
	seven = controller(w, "clc", world_controller(w), 7);
	assert_int_equal(put(seven, 4), RPC_SUPERSEDED);
	assert_null(vm_at(world_router(w, 0), 4));
	caller_free(seven);
	world_free(w);
}

/* C-48 */
static void
one_term_belongs_to_the_controller_that_spoke_it_first(void **state)
{
	struct world *w = routers(1);
	struct caller *one = controller(w, "clc", world_controller(w), 7),
		      *two = controller(w, "clc-2", second(w), 7);

	(void)state;
	assert_int_equal(put(one, 1), 0);
	assert_int_equal(put(two, 2), RPC_SUPERSEDED);
	assert_true(logged("ALARM: controllers clc and clc-2 have the same term 7"));
	assert_int_equal(put(one, 3), 0);
	caller_free(two);
	two = controller(w, "clc", world_controller(w), 8); /* the first one again, with a new term, */
	assert_int_equal(put(one, 5), RPC_SUPERSEDED);	    /* beside its old session */
	assert_int_equal(put(two, 5), 0);
	caller_free(one);
	one = controller(w, "clc", world_controller(w), 8); /* it comes again */
	assert_int_equal(put(one, 4), 0);
	caller_free(one);
	caller_free(two);
	world_free(w);
}

static void
a_term_that_cannot_be_stored_is_no_term_yet(void **state)
{
	struct world *w = routers(1);
	struct caller *seven = controller(w, "clc", world_controller(w), 7), *eight;

	(void)state;
	world_router(w, 0)->commits_to_fail = 1;
	eight = controller(w, "clc-2", second(w), 8);
	assert_int_equal(put(seven, 1), 0);
	world_router(w, 0)->commits_to_fail = 1;
	assert_int_equal(put(eight, 2), RPC_STORE);
	assert_int_equal(put(seven, 3), 0);
	assert_int_equal(put(eight, 2), 0); /* and its term with it, on the same session */
	assert_int_equal(put(seven, 4), RPC_SUPERSEDED);
	assert_non_null(strstr(stored_row(world_router(w, 0), "meta", "router"), "\"clc-2\""));
	caller_free(seven);
	caller_free(eight);
	world_free(w);
}

static void
an_unknown_key_or_a_wrong_role_does_not_get_in(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), stranger = *world_controller(w);
	struct caller *k;

	(void)state;
	memset(stranger.private_key, 99, 32);
	k = caller_new(&stranger, "clc", ROLE_CONTROLLER, a, NULL);
	assert_false(k->up);
	caller_free(k);
	k = caller_new(
		world_router(w, 1), "r-b", ROLE_CONTROLLER, a, NULL); /* a peer's key as a controller */
	world_run(w, 1000);
	assert_true(!k->up || k->down);
	caller_free(k);
	k = caller_new(world_controller(w), "r-b", ROLE_PEER, a, NULL); /* a controller's as a peer */
	world_run(w, 1000);
	assert_true(!k->up || k->down);
	caller_free(k);
	assert_int_equal(vm_register(a, 1, 0, 0), 0);
	world_free(w);
}

static size_t
sessions_of(struct node *r)
{
	struct session *s;
	size_t n;

	DL_COUNT(r->core->sessions, s, n);
	return n;
}

static void
open_gate(struct node *r)
{
	memset(r->core->gate.all, 0, sizeof(r->core->gate.all));
	memset(r->core->gate.one, 0, sizeof(r->core->gate.one));
}

static void
is_closed(void *arg, const char *why)
{
	(void)why;
	*(bool *)arg = true;
}

/* C-20: from as many addresses, so that only their number counts. The oldest go first. */
static void
ten_thousand_connections_that_say_nothing_do_not_crowd_out_others(void **state)
{
	static const struct env_stream_ops stranger = {.closed = is_closed};
	static bool closed[10000];
	struct world *w = routers(1);
	struct node *a = world_router(w, 0), *clc = world_controller(w);
	struct caller *k = controller(w, "clc", clc, 0), *late;
	unsigned int left = 0;

	(void)state;
	for (unsigned int i = 0; i < 10000; i++) {
		clc->env.ops->dial(clc, a->conf.control.listen, &stranger, &closed[i]);
		open_gate(a);
		if (i % 10 != 0)
			continue;
		world_run(w, 1);
		assert_in_range(sessions_of(a), 1, 65 + 1);
		if (i % 1000 == 0)
			assert_int_equal(put(k, i), 0);
	}
	world_run(w, 100);
	for (unsigned int i = 0; i < 10000; i++) {
		/* Ten come in a millisecond, by lines that differ by as much. */
		assert_true(closed[i] || i >= 10000 - 128);
		left += !closed[i];
	}
	assert_int_equal(left, 64);
	open_gate(a);
	late = controller(w, "clc", clc, 0); /* who comes now displaces the oldest of them */
	assert_true(late->up);
	assert_int_equal(put(late, 10001), 0);
	world_run(w, 10000);
	assert_int_equal(sessions_of(a), 2);
	assert_int_equal(put(k, 10002), 0);
	caller_free(late);
	caller_free(k);
	world_free(w);
}

/* C-20: those who may come in are bounded, too: a controller that connects in a loop and never closes. */
static void
sessions_of_one_controller_are_bounded_and_the_oldest_goes(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k[30];

	(void)state;
	for (unsigned int i = 0; i < 30; i++) {
		k[i] = controller(w, "clc", world_controller(w), 0);
		assert_true(k[i]->up);
		assert_true(sessions_of(a) <= 8);
		world_run(w, 200); /* the gate */
	}
	for (unsigned int i = 0; i < 30; i++) {
		assert_int_equal(k[i]->down, i < 22);
		if (i >= 22)
			assert_int_equal(put(k[i], i), 0);
		caller_free(k[i]);
	}
	world_free(w);
}

static void
sessions_of_the_local_socket_are_bounded_and_the_oldest_goes(void **state)
{
	static const struct env_stream_ops none;
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	char address[128];

	(void)state;
	snprintf(address, sizeof(address), "unix:%s", a->conf.control.socket);
	for (unsigned int i = 0; i < 200; i++) {
		a->env.ops->dial(a, address, &none, NULL);
		world_run(w, 10);
		assert_true(sessions_of(a) <= 64);
	}
	assert_int_equal(vm_register(a, 1, 0, 0), 0);
	world_free(w);
}

struct reply {
	unsigned int ok, refused;
};

static void
count_reply(void *arg, int code, json_t *result)
{
	struct reply *r = arg;

	(void)result;
	r->ok += code == 0;
	r->refused += code == RPC_LIMIT;
}

/* So many VMs at once; the replies are counted. */
static void
send_registers(struct caller *k, unsigned int n, struct reply *r)
{
	for (unsigned int i = 0; i < n; i++) {
		struct mac mac = vm_mac(i);
		char m[MAC_TEXT], p[IP4_TEXT];

		rpc_call(k->rpc, "vm.register",
			json_pack("{s:s, s:s, s:[{s:s}]}", "segment", "tenant-a", "mac", mac_format(&mac, m),
				"addresses", "private", ip4_format(vm_private(i), p)),
			count_reply, r);
	}
}

static void
what_waits_together_is_one_commit(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w, "clc", world_controller(w), 0);
	uint64_t commits = a->n_commits;
	struct reply r = {0};

	(void)state;
	send_registers(k, 500, &r);
	world_run(w, 2000);
	assert_int_equal(r.ok, 500);
	assert_true(a->n_commits - commits <= 20);
	assert_int_equal(a->core->revision, 500); /* yet each has its own revision */
	caller_free(k);
	world_free(w);
}

/* C-49: one controller sends far more than the router can take: it waits, the router's memory does not grow with what it sends, others
 * are served, and in the end all is done. */
static void
a_flood_of_one_controller_waits_and_others_are_served(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w, "clc", world_controller(w), 0);
	unsigned int others = 0;
	struct reply r = {0};

	(void)state;
	send_registers(k, 6000, &r);
	while (r.ok + r.refused < 6000) {
		assert_true(a->core->queued <= 1024 + 1);
		if (r.ok > 0 && r.ok < 3000)
			assert_int_equal(vm_register(a, 7000 + others++, 0, 0), 0);
		world_run(w, 1);
	}
	assert_true(others > 1);
	assert_int_equal(r.ok, 6000);
	caller_free(k);
	world_free(w);
}

static void
one_bad_change_among_those_that_wait_is_refused_alone(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w, "clc", world_controller(w), 0);
	struct reply good = {0}, bad = {0};

	(void)state;
	a->prepare_limit = 3; /* forwarding takes no more than three changes at once */
	for (unsigned int i = 0; i < 20; i++) {
		struct mac mac = vm_mac(i);
		char m[MAC_TEXT], p[IP4_TEXT];

		rpc_call(k->rpc, "vm.register",
			json_pack("{s:s, s:s, s:[{s:s}]}", "segment", i == 7 ? "nowhere" : "tenant-a", "mac",
				mac_format(&mac, m), "addresses", "private", ip4_format(vm_private(i), p)),
			count_reply, i == 7 ? &bad : &good);
	}
	world_run(w, 3000);
	assert_int_equal(good.ok, 19);
	assert_int_equal(bad.ok, 0);
	assert_int_equal(model_count(a), 19);
	assert_true(model_is_true(a));
	caller_free(k);
	world_free(w);
}

static void
a_caller_that_goes_away_leaves_its_change_done(void **state)
{
	struct world *w = routers(1);
	struct caller *k = controller(w, "clc", world_controller(w), 0);
	struct reply r = {0};
	struct mac mac = vm_mac(1);
	char m[MAC_TEXT];

	(void)state;
	rpc_call(k->rpc, "vm.register",
		json_pack("{s:s, s:s, s:[{s:s}]}", "segment", "tenant-a", "mac", mac_format(&mac, m),
			"addresses", "private", "10.0.0.6"),
		count_reply, &r);
	while (world_router(w, 0)->pending == NULL)
		assert_true(world_step(w, w->now + 1000));
	caller_free(k);
	world_run(w, 1000);
	assert_non_null(fwd_at(world_router(w, 0), 1));
	world_free(w);
}

static void
a_router_that_stops_in_the_middle_of_a_change_leaves_no_trace_of_it_in_memory(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w, "clc", world_controller(w), 0);
	struct reply r = {0};

	(void)state;
	for (unsigned int i = 0; i < 50; i++) {
		struct mac mac = vm_mac(i);
		char m[MAC_TEXT], p[IP4_TEXT];

		rpc_call(k->rpc, "vm.register",
			json_pack("{s:s, s:s, s:[{s:s}]}", "segment", "tenant-a", "mac", mac_format(&mac, m),
				"addresses", "private", ip4_format(vm_private(i), p)),
			count_reply, &r);
		world_run(w, world_random(w, 12));
		if (world_random(w, 8) > 0)
			continue;
		node_crash(a); /* the sanitizers watch */
		node_start(a);
		world_run(w, 200);
		caller_free(k);
		k = controller(w, "clc", world_controller(w), 0);
	}
	world_run(w, 70000);
	assert_agreed(w, 2);
	caller_free(k);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(a_controller_may_change_and_observe),
		T(packets_are_shown_to_the_local_user_alone),
		T(a_trace_ends_with_its_client_and_belongs_to_no_other),
		T(counters_of_forwarding_stand_beside_vms_and_segments),
		T(a_lower_term_is_superseded_for_ever),
		T(one_term_belongs_to_the_controller_that_spoke_it_first),
		T(a_term_that_cannot_be_stored_is_no_term_yet),
		T(an_unknown_key_or_a_wrong_role_does_not_get_in),
		T(ten_thousand_connections_that_say_nothing_do_not_crowd_out_others),
		T(sessions_of_the_local_socket_are_bounded_and_the_oldest_goes),
		T(sessions_of_one_controller_are_bounded_and_the_oldest_goes),
		T(what_waits_together_is_one_commit),
		T(a_flood_of_one_controller_waits_and_others_are_served),
		T(one_bad_change_among_those_that_wait_is_refused_alone),
		T(a_caller_that_goes_away_leaves_its_change_done),
		T(a_router_that_stops_in_the_middle_of_a_change_leaves_no_trace_of_it_in_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
