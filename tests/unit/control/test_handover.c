/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions of VMs that moved: the old router lists them, the new one notes them. VM n moves from router a to router b. */
#include "control.h"

#define MS(s) ((uint64_t)(s)*1000)
#define HOUR  MS(3600)
#define USER  0xc000020a
#define UDP   17
#define TCP   6

/* Of VM n with a remote port, by a home. */
static struct fwd_session
session(unsigned int n, uint16_t remote_port, ip4 home)
{
	return (struct fwd_session){.protocol = UDP,
		.private_ip = vm_private(n),
		.remote_ip = USER,
		.port = 53,
		.remote_port = remote_port,
		.global_ip = home,
		.idle_s = 20};
}

static void
has(struct node *r, unsigned int n, uint16_t remote_port, ip4 home)
{
	struct fwd_session s = session(n, remote_port, home);

	model_session_add(r, &s);
}

static ip4
home_of(struct node *r, unsigned int n, uint16_t remote_port)
{
	struct fwd_session key = session(n, remote_port, 0);
	const struct fwd_session *s = model_session(r, &key);

	return s ? s->global_ip : 0;
}

static int
move(struct node *r, unsigned int router, unsigned int n)
{
	return vm_move(r, n, 0, vm_global(router, n), HOUR, 2 * HOUR);
}

/* VM 1 at router a with a session. */
static struct world *
with_session(void)
{
	struct world *w = routers(3);

	assert_int_equal(vm_register(world_router(w, 0), 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	has(world_router(w, 0), 1, 80, vm_global(0, 1));
	return w;
}

static int64_t
peer_number(struct node *r, const char *peer, const char *name)
{
	json_t *v = get(r, "show.peers", "{}"), *row;
	int64_t n = -1;
	size_t i;

	json_array_foreach(json_object_get(v, "rows"), i, row)
	{
		if (strcmp(json_string_value(json_object_get(row, "name")), peer) == 0)
			n = json_integer_value(json_object_get(row, name));
	}
	json_decref(v);
	return n;
}

/* ---- two routers as they should be ---- */

static struct fwd_session
tcp_session(unsigned int n, uint16_t remote_port, ip4 home)
{
	struct fwd_session s = session(n, remote_port, home);

	s.protocol = TCP;
	return s;
}

/* Its end was seen by nobody, and a new one from the same port of the same host would clash with it for two hours. */
static void
tcp_that_may_have_ended_unseen_is_in_no_later_list(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct fwd_session tcp = tcp_session(1, 443, vm_global(0, 1));

	(void)state;
	model_session_add(a, &tcp);
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	assert_non_null(model_session(b, &tcp));
	assert_int_equal(vm_move(a, 1, 0, vm_global(0, 1), 0, 0), 0);
	world_run(w, 3000); /* it has one address from now on */
	assert_null(model_session(a, &tcp));
	assert_null(model_session(b, &tcp));
	assert_int_equal(home_of(a, 1, 80), vm_global(0, 1));
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	assert_null(model_session(b, &tcp));
	world_free(w);
}

/* VM 1 is prepared to move to the second router, and the first one notes this session of it. */
static void
note_for_a_move(struct world *w, const struct fwd_session *s)
{
	int code;

	json_decref(ask(
		world_router(w, 1), &code, "move.prepare", "o", vm_register_params(1, 2, vm_global(1, 1))));
	assert_int_equal(code, 0);
	world_run(w, 200);
	model_session_add(world_router(w, 0), s);
}

static void
abort_move(struct node *r)
{
	json_t *key = vm_register_params(1, 2, 0);
	int code;

	json_object_del(key, "addresses");
	json_decref(ask(r, &code, "move.abort", "o", key));
	assert_int_equal(code, 0);
}

static void
what_was_noted_for_a_move_that_is_aborted_is_in_no_later_list(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct fwd_session tcp = tcp_session(1, 443, vm_global(0, 1));

	(void)state;
	note_for_a_move(w, &tcp);
	abort_move(b);
	world_run(w, 200);
	assert_null(model_session(a, &tcp));
	world_free(w);
}

static void
sessions_of_a_vm_that_moved_are_noted_at_its_new_router_as_they_are(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct fwd_session tcp = session(1, 443, vm_global(0, 1));
	const struct fwd_session *s;

	(void)state;
	tcp.protocol = TCP;
	tcp.flags = FWD_SESSION_FIN_TO_VM;
	tcp.idle_s = 5000;
	model_session_add(a, &tcp);
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	assert_int_equal(home_of(b, 1, 80), vm_global(0, 1));
	s = model_session(b, &tcp);
	assert_non_null(s);
	assert_int_equal(s->flags, FWD_SESSION_FIN_TO_VM);
	assert_in_range(s->idle_s, 5000, 5001);
	assert_int_equal(s->global_ip, vm_global(0, 1));
	assert_int_equal(peer_number(b, "r-a", "sessions-noted"), 2);
	assert_int_equal(a->n_lists, 1);
	assert_true(logged("r-a has listed the sessions of 1 VMs: 2 noted"));
	world_free(w);
}

static json_t *
record_of(struct node *r, const char *name)
{
	json_t *v = get(r, "show.moves", "{}");
	json_t *row = json_array_get(json_object_get(v, "rows"), 0), *found = json_object_get(row, name);

	json_incref(found);
	json_decref(v);
	return found;
}

/* A departure is in memory alone, the sessions are not. */
static void
what_was_noted_for_a_move_that_was_aborted_meanwhile_is_forgotten_after_a_start(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct fwd_session tcp = tcp_session(1, 443, vm_global(0, 1));

	(void)state;
	note_for_a_move(w, &tcp);
	node_crash(a);
	abort_move(b);
	node_start(a);
	world_run(w, 5000);
	assert_null(model_session(a, &tcp));
	assert_int_equal(home_of(a, 1, 80), vm_global(0, 1)); /* UDP stays until it ages */
	world_free(w);
}

static void
end_of_the_list_is_in_the_record_of_the_move(void **state)
{
	struct world *w = with_session();
	struct node *b = world_router(w, 1);
	json_t *v, *at;

	(void)state;
	has(world_router(w, 0), 1, 81, vm_global(0, 1));
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	v = record_of(b, "listed");
	assert_int_equal(json_integer_value(v), 2);
	json_decref(v);
	v = record_of(b, "times");
	at = json_object_get(v, "listed");
	assert_true(json_is_string(at));
	json_decref(v);
	world_free(w);
}

/* By one call for VM 1 that is prepared at router b. */
static void
prepare_and_commit(struct node *r, unsigned int router, uint64_t epoch)
{
	json_t *params = vm_register_params(1, epoch, vm_global(router, 1));
	char *text = json_dumps(params, 0);

	assert_int_equal(call(r, "move.prepare", text), 0);
	json_decref(params);
	free(text);
	assert_int_equal(
		call(r, "move.commit", "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:01\"}"), 0);
}

static void
what_is_unknown_is_old_until_the_list_has_ended_and_no_longer(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	a->lists_fail = true;
	prepare_and_commit(b, 1, 2);
	assert_true(fwd_at(b, 1)->flags & FWD_VM_OPEN);
	world_run(w, 500);
	assert_true(fwd_at(b, 1)->flags & FWD_VM_OPEN);
	a->lists_fail = false;
	world_run(w, 1500); /* asked again, and long before the move's own bound of 5 s */
	assert_int_equal(home_of(b, 1, 80), vm_global(0, 1));
	assert_false(fwd_at(b, 1)->flags & FWD_VM_OPEN);
	assert_true(model_is_true(b));
	world_free(w);
}

static void
what_the_new_router_has_noted_itself_stays(void **state)
{
	struct world *w = with_session();
	struct node *b = world_router(w, 1);

	(void)state;
	has(b, 1, 80, vm_global(1, 1));
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	assert_int_equal(home_of(b, 1, 80), vm_global(1, 1));
	assert_int_equal(peer_number(b, "r-a", "sessions-known"), 1);
	world_free(w);
}

static void
vm_that_returns_learns_the_sessions_of_its_stay(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	has(b, 1, 81, vm_global(1, 1)); /* opened there, and idle */
	assert_int_equal(move(a, 0, 1), 0);
	world_run(w, 200);
	assert_int_equal(home_of(a, 1, 81), vm_global(1, 1));
	assert_int_equal(home_of(a, 1, 80), vm_global(0, 1));
	world_free(w);
}

static void
vm_that_goes_on_takes_the_sessions_of_all_its_sites_along(void **state)
{
	struct world *w = with_session();
	struct node *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	has(b, 1, 81, vm_global(1, 1));
	assert_int_equal(move(c, 2, 1), 0);
	world_run(w, 200);
	assert_int_equal(home_of(c, 1, 80), vm_global(0, 1));
	assert_int_equal(home_of(c, 1, 81), vm_global(1, 1));
	world_free(w);
}

/* The router before last knows what the last one was never told. */
static void
each_router_where_the_vm_drains_is_asked(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	a->lists_fail = true;
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	has(b, 1, 81, vm_global(1, 1));
	assert_int_equal(home_of(b, 1, 80), 0);
	assert_int_equal(move(c, 2, 1), 0);
	world_run(w, 200);
	assert_int_equal(home_of(c, 1, 81), vm_global(1, 1));
	assert_int_equal(home_of(c, 1, 80), 0);
	a->lists_fail = false;
	world_run(w, MS(3));
	assert_int_equal(home_of(c, 1, 80), vm_global(0, 1));
	assert_int_equal(home_of(b, 1, 80), 0); /* the VM is not there any more */
	world_free(w);
}

/* It was killed before it could list them: what is unknown until then is old. */
static void
an_old_router_that_restarts_right_after_the_commit_is_waited_for(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	unsigned int ms;

	(void)state;
	prepare_and_commit(b, 1, 2);
	node_crash(a);
	assert_int_equal(home_of(b, 1, 80), 0);
	world_run(w, 400);
	node_start(a);
	for (ms = 0; home_of(b, 1, 80) == 0 && ms < 3000; ms += 10) {
		assert_true(fwd_at(b, 1)->flags & FWD_VM_OPEN);
		world_run(w, 10);
	}
	assert_int_equal(home_of(b, 1, 80), vm_global(0, 1));
	world_run(w, 200);
	assert_false(fwd_at(b, 1)->flags & FWD_VM_OPEN);
	world_free(w);
}

static void
an_old_router_that_stays_away_is_waited_for_two_seconds(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	prepare_and_commit(b, 1, 2);
	node_crash(a);
	world_run(w, 1500);
	assert_true(fwd_at(b, 1)->flags & FWD_VM_OPEN);
	world_run(w, 1000);
	assert_false(fwd_at(b, 1)->flags & FWD_VM_OPEN);
	world_free(w);
}

/* The record has the sessions of all lists, and the last of them ends the open time. */
static void
lists_of_all_old_routers_are_waited_for(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	json_t *v;

	(void)state;
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	a->lists_fail = true;
	prepare_and_commit(c, 2, 3);
	world_run(w, 200);
	assert_int_equal(home_of(c, 1, 80), vm_global(0, 1)); /* by b's list */
	assert_true(fwd_at(c, 1)->flags & FWD_VM_OPEN);
	has(a, 1, 82, vm_global(0, 1));
	a->lists_fail = false;
	world_run(w, MS(3));
	assert_false(fwd_at(c, 1)->flags & FWD_VM_OPEN);
	v = record_of(c, "listed");
	assert_int_equal(json_integer_value(v), 3);
	json_decref(v);
	assert_true(model_is_true(c));
	world_free(w);
}

static void
what_was_guessed_takes_the_home_that_is_listed(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct fwd_session guess = session(1, 80, vm_global(1, 1)), unsure = session(1, 81, vm_global(0, 1));

	(void)state;
	guess.flags = unsure.flags = FWD_SESSION_GUESSED;
	model_session_add(b, &guess);
	model_session_add(a, &unsure);
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	assert_int_equal(home_of(b, 1, 80), vm_global(0, 1));
	assert_int_equal(model_session(b, &guess)->flags, 0);
	assert_int_equal(
		model_session(b, &unsure)->flags, FWD_SESSION_GUESSED); /* who knows better is believed */
	world_free(w);
}

static void
list_of_many_vms_is_one_walk_and_comes_in_pages(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *changes = json_array(), *v = NULL;

	(void)state;
	for (unsigned int n = 1; n <= 100; n++)
		assert_int_equal(vm_register(a, n, 0, vm_global(0, n)), 0);
	world_run(w, 500);
	for (unsigned int n = 1; n <= 100; n++) {
		for (uint16_t port = 1; port <= 90; port++)
			has(a, n, port, vm_global(0, n));
		v = vm_register_params(n, 2, vm_global(1, n));
		json_array_append_new(changes, json_pack("{s:s, s:o}", "method", "vm.move", "params", v));
	}
	v = json_pack("{s:o}", "changes", changes);
	{
		char *text = json_dumps(v, 0);

		assert_int_equal(call(b, "txn.apply", text), 0);
		free(text);
	}
	json_decref(v);
	world_run(w, 2000);
	assert_int_equal(a->n_lists, 1);
	assert_int_equal(peer_number(b, "r-a", "sessions-noted"), 9000);
	for (unsigned int n = 1; n <= 100; n += 33)
		for (uint16_t port = 1; port <= 90; port++)
			assert_int_equal(home_of(b, n, port), vm_global(0, n));
	assert_true(logged("r-a has listed the sessions of 100 VMs"));
	world_free(w);
}

static void
full_table_is_counted_and_the_list_ends_all_the_same(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	for (uint16_t port = 100; port < 110; port++)
		has(a, 1, port, vm_global(0, 1));
	b->sessions_room = 3;
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 5000);
	assert_int_equal(peer_number(b, "r-a", "sessions-noted"), 3);
	assert_int_equal(peer_number(b, "r-a", "sessions-no-room"), 8);
	assert_true(logged("find no room (limits.sessions is"));
	assert_int_equal(a->n_lists, 1);
	world_free(w);
}

/* ---- asked again, and not asked ---- */

static void
list_that_was_whole_is_not_asked_for_again_when_the_channel_is_another(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	node_event(b, &(struct fwd_event){.kind = FWD_VM_HEARD, .mac = vm_mac(1), .ip = vm_private(1)});
	world_run(w, 200); /* the VM has changed */
	assert_int_equal(fwd_at(b, 1)->attachment, 0);
	assert_int_equal(a->n_lists, 1);
	world_reset(w, 0, 1);
	world_run(w, MS(70));
	assert_int_equal(a->n_lists, 1);
	world_free(w);
}

static void
old_router_that_was_away_is_asked_when_it_is_back(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	world_cut(w, 0, 1, true);
	world_run(w, MS(20));
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, MS(5));
	assert_int_equal(home_of(b, 1, 80), 0);
	world_cut(w, 0, 1, false);
	world_run(w, MS(140));
	assert_int_equal(home_of(b, 1, 80), vm_global(0, 1));
	assert_int_equal(a->n_lists, 1);
	world_free(w);
}

static void
list_that_the_channel_cut_short_begins_anew(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	for (unsigned int i = 0; i < 9000; i++)
		has(a, 1, (uint16_t)(1000 + i), vm_global(0, 1));
	assert_int_equal(move(b, 1, 1), 0);
	while (b->n_sessions == 0)
		assert_true(world_step(w, w->now + 1000));
	world_reset(w, 0, 1);
	world_run(w, MS(140));
	assert_int_equal(b->n_sessions, 9001);
	assert_int_equal(a->n_lists, 2);
	world_free(w);
}

static void
router_that_was_started_again_asks_again_while_the_vm_drains(void **state)
{
	struct world *w = with_session();
	struct node *b = world_router(w, 1);

	(void)state;
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, 200);
	node_crash(b);
	model_sessions_clear(b); /* the machine went off, and with it the table */
	node_start(b);
	world_run(w, MS(10));
	assert_int_equal(home_of(b, 1, 80), vm_global(0, 1));
	world_free(w);
}

static void
nothing_is_asked_for_a_vm_that_drains_nowhere_else(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	char mac[MAC_TEXT], params[200];
	struct mac m = vm_mac(1);

	(void)state;
	assert_int_equal(vm_register(b, 2, 0, vm_global(1, 2)), 0);
	world_cut(w, 0, 1, true);
	world_run(w, MS(20));
	assert_int_equal(move(b, 1, 1), 0);
	snprintf(params, sizeof(params), "{\"segment\": \"tenant-a\", \"mac\": \"%s\"}", mac_format(&m, mac));
	assert_int_equal(call(b, "move.cut", params), 0);
	world_run(w, 100);
	world_cut(w, 0, 1, false);
	world_run(w, MS(140));
	assert_int_equal(a->n_lists, 0);
	assert_int_equal(b->n_lists, 0);
	world_free(w);
}

static void
old_router_without_memory_for_a_list_is_asked_later(void **state)
{
	struct world *w = with_session();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	a->lists_fail = true;
	assert_int_equal(move(b, 1, 1), 0);
	world_run(w, MS(5));
	assert_int_equal(home_of(b, 1, 80), 0);
	a->lists_fail = false;
	world_run(w, MS(60));
	assert_int_equal(home_of(b, 1, 80), vm_global(0, 1));
	world_free(w);
}

/* ---- an old router that is not what it should be: it speaks with a's key to router b ---- */

static json_t *(*lists)(const json_t *params);
static unsigned int asked;

static json_t *
old_router(const char *method, const json_t *params)
{
	if (strcmp(method, "sync.sums") == 0)
		return sums_answer(0);
	if (strcmp(method, "sync.sessions") != 0)
		return json_object();
	asked++;
	return lists(params);
}

static struct caller *
moved_from_a_false_router(struct world **w, json_t *(*with)(const json_t *params))
{
	struct node *b;
	struct caller *k;
	json_t *vm;
	struct mac mac = vm_mac(1);
	char text[MAC_TEXT];

	*w = world_new(1, 3);
	b = world_router(*w, 1);
	lists = with;
	asked = 0;
	node_start(b);
	world_run(*w, 100);
	k = caller_with(world_router(*w, 0), "r-a", ROLE_PEER, b,
		json_pack("{s:{s:i}}", "segments", "tenant-a", 100), old_router);
	assert_true(k->up);
	vm = json_pack("{s:s, s:s, s:s, s:i, s:[{s:s, s:s}]}", "segment", "tenant-a", "mac",
		mac_format(&mac, text), "owner", "r-a", "epoch", 1, "addresses", "private", "10.0.0.6",
		"global", "198.51.0.6");
	assert_int_equal(caller_call(k, "sync.update", json_pack("{s:[o]}", "vms", vm)), 0);
	world_run(*w, 50);
	assert_int_equal(move(b, 1, 1), 0);
	return k;
}

#define GOOD "[0, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 80, \"198.51.0.6\", 0, 1]"

static json_t *
wrong_rows(const json_t *params)
{
	(void)params;
	return json_loads(
		"{\"sessions\": ["
		"[0, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.7\", 0, 1]," /* no home of its */
		"[0, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"0.0.0.0\", 0, 1],"
		"[0, 17, \"10.0.0.7\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 0, 1]," /* another VM's address */
		"[1, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 0, 1]," /* nobody asked for it */
		"[-1, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 0, 1],"
		"[4294967296, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 0, 1],"
		"[0, 256, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 0, 1],"
		"[0, 17, \"10.0.0.6\", 65536, \"192.0.2.10\", 81, \"198.51.0.6\", 0, 1],"
		"[0, 17, \"10.0.0.6\", 53, \"192.0.2.10\", -1, \"198.51.0.6\", 0, 1],"
		"[0, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 9, 1],"
		"[0, 6, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 16, 1],"
		"[0, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 0, -1],"
		"[0, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 0, 4294967296],"
		"[0, 17, \"10.0.0.6\", 53, \"user\", 81, \"198.51.0.6\", 0, 1],"
		"[0, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 0],"
		"[0, 17, \"10.0.0.6\", 53, \"192.0.2.10\", 81, \"198.51.0.6\", 0, 1, 1],"
		"{}, 7, null, []," GOOD "]}",
		0, NULL);
}

/* Numbers of a peer are in range before they are used. */
static void
sessions_that_no_honest_router_lists_are_refused_and_counted(void **state)
{
	struct world *w;
	struct caller *k = moved_from_a_false_router(&w, wrong_rows);
	struct node *b = world_router(w, 1);

	(void)state;
	world_run(w, 500);
	assert_int_equal(b->n_sessions, 1);
	assert_int_equal(home_of(b, 1, 80), vm_global(0, 1));
	assert_int_equal(peer_number(b, "r-a", "sessions-refused"), 20);
	assert_true(logged("ALARM: peer r-a: 20 sessions that it lists are refused"));
	assert_int_equal(asked, 1);
	caller_free(k);
	world_free(w);
}

static json_t *
endless(const json_t *params)
{
	(void)params;
	return json_loads("{\"sessions\": [], \"next\": 1}", 0, NULL);
}

static json_t *
wrong_next(const json_t *params)
{
	(void)params;
	return json_loads("{\"sessions\": [" GOOD "], \"next\": \"1\"}", 0, NULL);
}

static json_t *
no_list(const json_t *params)
{
	(void)params;
	return json_object();
}

static void
list_that_leads_nowhere_is_given_up_and_asked_for_ever_more_seldom(void **state)
{
	json_t *(*const false_lists[])(const json_t *) = {endless, wrong_next, no_list};

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct world *w;
		struct caller *k = moved_from_a_false_router(&w, false_lists[i]);

		world_run(w, MS(61));
		assert_in_range(asked, 4, 7); /* at 0, 1, 3, 7, 15, 31 s */
		caller_free(k);
		world_free(w);
	}
}

static json_t *
unknown_at_first(const json_t *params)
{
	(void)params;
	return json_loads(asked == 1 ? "{\"sessions\": [" GOOD "], \"unknown\": [0, -1, 9, \"0\", null]}"
				     : "{\"sessions\": [" GOOD "], \"unknown\": 7}",
		0, NULL);
}

static void
vm_that_the_old_router_does_not_know_there_yet_is_asked_for_again(void **state)
{
	struct world *w;
	struct caller *k = moved_from_a_false_router(&w, unknown_at_first);
	struct node *b = world_router(w, 1);

	(void)state;
	world_run(w, 500);
	assert_int_equal(asked, 1);
	assert_int_equal(b->n_sessions, 0); /* of what it does not know it can list nothing */
	world_run(w, 1000);
	assert_int_equal(asked, 2);
	assert_int_equal(b->n_sessions, 1);
	world_run(w, MS(100));
	assert_int_equal(asked, 2);
	caller_free(k);
	world_free(w);
}

/* ---- a new router that is not what it should be: it speaks with b's key to router a ---- */

static struct caller *
false_new_router(struct world **w)
{
	struct node *a;

	*w = world_new(1, 3);
	a = world_router(*w, 0);
	node_start(a);
	world_run(*w, 100);
	return caller_new(world_router(*w, 1), "r-b", ROLE_PEER, a,
		json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
}

static void
claims(struct caller *k, unsigned int n, uint64_t epoch)
{
	struct mac mac = vm_mac(n);
	char m[MAC_TEXT], private[IP4_TEXT], old[IP4_TEXT], new[IP4_TEXT];
	json_t *drain = json_pack("{s:s, s:s, s:s, s:I, s:i, s:I, s:I, s:I, s:I}", "private",
		ip4_format(vm_private(n), private), "global", ip4_format(vm_global(0, n), old), "router",
		"r-a", "epoch", (json_int_t)epoch, "since", 1, "min", (json_int_t)HOUR, "max",
		(json_int_t)HOUR, "left-min", (json_int_t)HOUR, "left-max", (json_int_t)HOUR);
	json_t *vm = json_pack("{s:s, s:s, s:s, s:I, s:[{s:s, s:s}], s:[o]}", "segment", "tenant-a", "mac",
		mac_format(&mac, m), "owner", "r-b", "epoch", (json_int_t)epoch, "addresses", "private",
		private, "global", ip4_format(vm_global(1, n), new), "drains", drain);

	assert_int_equal(caller_call(k, "sync.update", json_pack("{s:[o]}", "vms", vm)), 0);
	world_run(k->from->w, 50);
}

static json_t *
question(unsigned int n, uint64_t epoch)
{
	struct mac mac = vm_mac(n);
	char m[MAC_TEXT];

	return json_pack("{s:[[s, s, I]]}", "vms", "tenant-a", mac_format(&mac, m), (json_int_t)epoch);
}

static bool
is_unknown(struct caller *k, json_t *params)
{
	json_t *v = caller_get(k, "sync.sessions", params);
	bool unknown = json_array_size(json_object_get(v, "unknown")) == 1;

	assert_int_equal(json_array_size(json_object_get(v, "sessions")), unknown ? 0 : 1);
	assert_null(json_object_get(v, "next"));
	json_decref(v);
	return unknown;
}

/* A peer learns of the sessions of its own VMs alone. */
static void
peer_is_told_the_sessions_of_vms_that_went_to_it_alone(void **state)
{
	struct world *w;
	struct caller *k = false_new_router(&w);
	struct node *a = world_router(w, 0);

	(void)state;
	for (unsigned int n = 1; n <= 2; n++) {
		assert_int_equal(vm_register(a, n, 1, vm_global(0, n)), 0);
		has(a, n, 80, vm_global(0, n));
	}
	claims(k, 1, 2);
	assert_false(is_unknown(k, question(1, 2)));
	assert_true(is_unknown(k, question(1, 1)));
	assert_true(is_unknown(k, question(1, 3)));
	assert_true(is_unknown(k, question(2, 1))); /* a's own */
	assert_true(is_unknown(k, question(3, 1))); /* nobody's */
	assert_true(is_unknown(k, json_pack("{s:[i]}", "vms", 7)));
	assert_true(is_unknown(k, json_pack("{s:[[s, s, s]]}", "vms", "nowhere", "x", "y")));
	caller_free(k);
	world_free(w);
}

/* A home that the VM has no more is about to be forgotten. */
static void
session_whose_home_is_gone_is_not_listed(void **state)
{
	struct world *w;
	struct caller *k = false_new_router(&w);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(a, 1, 1, vm_global(0, 1)), 0);
	has(a, 1, 80, vm_global(0, 1));
	has(a, 1, 81, vm_global(0, 9));
	claims(k, 1, 2);
	assert_false(is_unknown(k, question(1, 2)));
	caller_free(k);
	world_free(w);
}

/* A cursor is the one that was given, and nothing else. */
static void
list_goes_on_by_the_cursor_that_was_given_alone(void **state)
{
	struct world *w;
	struct caller *k = false_new_router(&w);
	struct node *a = world_router(w, 0);
	json_t *v, *none = json_pack("{s:[]}", "vms"), *many = json_array();
	json_int_t next;

	(void)state;
	assert_int_equal(caller_call(k, "sync.sessions", json_pack("{s:i}", "cursor", 0)), RPC_NOT_FOUND);
	assert_int_equal(vm_register(a, 1, 1, vm_global(0, 1)), 0);
	for (unsigned int i = 0; i < 9000; i++)
		has(a, 1, (uint16_t)(1000 + i), vm_global(0, 1));
	claims(k, 1, 2);
	v = caller_get(k, "sync.sessions", question(1, 2));
	assert_int_equal(json_array_size(json_object_get(v, "sessions")), 4000);
	next = json_integer_value(json_object_get(v, "next"));
	json_decref(v);
	for (json_int_t cursor = next - 2; cursor <= next + 2; cursor += 1 + (cursor == next - 1))
		assert_int_equal(
			caller_call(k, "sync.sessions", json_pack("{s:I}", "cursor", cursor)), RPC_NOT_FOUND);
	v = caller_get(k, "sync.sessions", json_pack("{s:I}", "cursor", next));
	assert_int_equal(json_array_size(json_object_get(v, "sessions")), 4000);
	json_decref(v);
	assert_int_equal(caller_call(k, "sync.sessions", json_pack("{s:I}", "cursor", next)), RPC_NOT_FOUND);
	v = caller_get(k, "sync.sessions", json_pack("{s:I}", "cursor", next + 1));
	assert_int_equal(json_array_size(json_object_get(v, "sessions")), 1000);
	assert_null(json_object_get(v, "next"));
	json_decref(v);
	v = caller_get(k, "sync.sessions", none);
	assert_int_equal(json_array_size(json_object_get(v, "sessions")), 0);
	json_decref(v);
	for (unsigned int i = 0; i < 8001; i++)
		json_array_append_new(many, json_array());
	assert_int_equal(caller_call(k, "sync.sessions", json_pack("{s:o}", "vms", many)), RPC_NO_METHOD);
	assert_true(k->up && !k->down);
	caller_free(k);
	world_free(w);
}

static void
channel_that_ends_in_the_middle_of_a_list_leaves_nothing_behind(void **state)
{
	struct world *w;
	struct caller *k = false_new_router(&w);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(a, 1, 1, vm_global(0, 1)), 0);
	has(a, 1, 80, vm_global(0, 1));
	claims(k, 1, 2);
	rpc_notify(k->rpc, "sync.sessions", question(1, 2)); /* and once more before its page is made */
	rpc_notify(k->rpc, "sync.sessions", question(1, 2));
	while (a->n_lists == 0)
		assert_true(world_step(w, w->now + 1000));
	caller_free(k);
	world_run(w, 1000);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			sessions_of_a_vm_that_moved_are_noted_at_its_new_router_as_they_are, control_setup),
		cmocka_unit_test_setup(tcp_that_may_have_ended_unseen_is_in_no_later_list, control_setup),
		cmocka_unit_test_setup(
			what_was_noted_for_a_move_that_is_aborted_is_in_no_later_list, control_setup),
		cmocka_unit_test_setup(
			what_was_noted_for_a_move_that_was_aborted_meanwhile_is_forgotten_after_a_start,
			control_setup),
		cmocka_unit_test_setup(end_of_the_list_is_in_the_record_of_the_move, control_setup),
		cmocka_unit_test_setup(
			an_old_router_that_restarts_right_after_the_commit_is_waited_for, control_setup),
		cmocka_unit_test_setup(
			an_old_router_that_stays_away_is_waited_for_two_seconds, control_setup),
		cmocka_unit_test_setup(
			what_is_unknown_is_old_until_the_list_has_ended_and_no_longer, control_setup),
		cmocka_unit_test_setup(what_the_new_router_has_noted_itself_stays, control_setup),
		cmocka_unit_test_setup(vm_that_returns_learns_the_sessions_of_its_stay, control_setup),
		cmocka_unit_test_setup(
			vm_that_goes_on_takes_the_sessions_of_all_its_sites_along, control_setup),
		cmocka_unit_test_setup(each_router_where_the_vm_drains_is_asked, control_setup),
		cmocka_unit_test_setup(lists_of_all_old_routers_are_waited_for, control_setup),
		cmocka_unit_test_setup(what_was_guessed_takes_the_home_that_is_listed, control_setup),
		cmocka_unit_test_setup(list_of_many_vms_is_one_walk_and_comes_in_pages, control_setup),
		cmocka_unit_test_setup(full_table_is_counted_and_the_list_ends_all_the_same, control_setup),
		cmocka_unit_test_setup(list_that_was_whole_is_not_asked_for_again_when_the_channel_is_another,
			control_setup),
		cmocka_unit_test_setup(old_router_that_was_away_is_asked_when_it_is_back, control_setup),
		cmocka_unit_test_setup(list_that_the_channel_cut_short_begins_anew, control_setup),
		cmocka_unit_test_setup(
			router_that_was_started_again_asks_again_while_the_vm_drains, control_setup),
		cmocka_unit_test_setup(nothing_is_asked_for_a_vm_that_drains_nowhere_else, control_setup),
		cmocka_unit_test_setup(old_router_without_memory_for_a_list_is_asked_later, control_setup),
		cmocka_unit_test_setup(
			sessions_that_no_honest_router_lists_are_refused_and_counted, control_setup),
		cmocka_unit_test_setup(
			list_that_leads_nowhere_is_given_up_and_asked_for_ever_more_seldom, control_setup),
		cmocka_unit_test_setup(
			vm_that_the_old_router_does_not_know_there_yet_is_asked_for_again, control_setup),
		cmocka_unit_test_setup(peer_is_told_the_sessions_of_vms_that_went_to_it_alone, control_setup),
		cmocka_unit_test_setup(session_whose_home_is_gone_is_not_listed, control_setup),
		cmocka_unit_test_setup(list_goes_on_by_the_cursor_that_was_given_alone, control_setup),
		cmocka_unit_test_setup(
			channel_that_ends_in_the_middle_of_a_list_leaves_nothing_behind, control_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
