/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration read again while the router runs: what follows, what stays, what is refused. */
#include "control.h"

#include <net/keys.h>

static struct node *
second(struct world *w)
{
	return &w->nodes[w->n_nodes - 1];
}

static int
reload(struct node *n)
{
	int code = call(n, "reload", "{}");

	world_run(n->w, 100);
	return code;
}

static void
change_key(struct node *n, uint8_t fill)
{
	memset(n->private_key, fill, 32);
	key_public(n->private_key, n->public_key);
}

static struct caller *
dial(struct node *from, const char *name, enum channel_role role, struct node *to)
{
	struct caller *k = caller_new(from, name, role, to, NULL);

	assert_true(k->up);
	return k;
}

static bool
lives(struct caller *k)
{
	return !k->down && caller_call(k, "show.vms", json_object()) == 0;
}

static enum peer_state
state(struct world *w, unsigned int i, unsigned int peer)
{
	return world_router(w, i)->core->peers[peer].state;
}

static bool
is_shown(struct node *n, const char *peer)
{
	json_t *v = get(n, "show.peers", "{}"), *row;
	bool found = false;
	size_t i;

	json_array_foreach(json_object_get(v, "rows"), i, row)
	{
		found |= strcmp(json_string_value(json_object_get(row, "name")), peer) == 0;
	}
	json_decref(v);
	return found;
}

/* ---- controllers ---- */

/* C-29: a pinned key replaced while up: its session ends, with the new key there is another one, the rest is untouched. */
static void
a_session_lives_as_long_as_its_key_is_configured(void **state_)
{
	struct world *w = routers(2);
	struct node *r = world_router(w, 0), *clc = world_controller(w);
	struct caller *one = dial(clc, "clc", ROLE_CONTROLLER, r),
		      *two = dial(second(w), "clc-2", ROLE_CONTROLLER, r);
	struct conf_controller *next;
	uint64_t publishes;

	(void)state_;
	assert_int_equal(vm_register(r, 1, 0, vm_global(0, 1)), 0);
	publishes = r->n_publishes;
	next = node_next(r)->control.controllers.items; /* while it changes over both are taken */
	memcpy(next->old_key, next->key, 32);
	change_key(clc, 99);
	memcpy(next->key, clc->public_key, 32);
	assert_int_equal(reload(r), 0);
	assert_true(lives(one) && lives(two));
	next = node_next(r)->control.controllers.items;
	memset(next->old_key, 0, 32);
	assert_int_equal(reload(r), 0);
	assert_true(one->down && lives(two));
	caller_free(one);
	one = dial(clc, "clc", ROLE_CONTROLLER, r);
	assert_true(lives(one));
	assert_int_equal(r->n_publishes, publishes);
	assert_int_equal(state(w, 0, 0), PEER_SYNCED);
	assert_true(vm_live(vm_at(r, 1)));
	caller_free(one);
	caller_free(two);
	world_free(w);
}

/* Of the i-th row of show.controllers, which must be this one. */
static const char *
client_state(struct node *n, size_t i, const char *role, const char *name)
{
	json_t *v = get(n, "show.controllers", "{}"), *row = json_array_get(json_object_get(v, "rows"), i);
	bool up = strcmp(json_string_value(json_object_get(row, "state")), "up") == 0;

	assert_string_equal(json_string_value(json_object_get(row, "name")), name);
	assert_string_equal(json_string_value(json_object_get(row, "role")), role);
	json_decref(v);
	return up ? "up" : "away";
}

/* In the file of `r` the first controller has another one's key. */
static void
take_key(struct node *r, const struct node *other)
{
	struct conf_controller *first = node_next(r)->control.controllers.items;

	memcpy(first->key, other->public_key, 32);
}

static void
a_dry_run_tells_what_would_change_and_changes_nothing(void **state_)
{
	struct world *w = routers(2);
	struct node *r = world_router(w, 0);
	struct caller *one = dial(world_controller(w), "clc", ROLE_CONTROLLER, r);
	const struct session *before;
	uint64_t publishes, revision;
	json_t *v;

	(void)state_;
	assert_int_equal(vm_register(world_router(w, 1), 1, 0, vm_global(1, 1)), 0);
	world_run(w, 100);
	publishes = r->n_publishes;
	revision = r->core->revision;
	before = r->core->peers[0].session;
	change_key(second(w), 99);
	take_key(r, second(w));
	node_next(r)->peers.n = 0;
	v = get(r, "reload", "{\"dry-run\": true}");
	world_run(w, 1000);
	assert_true(json_array_size(json_object_get(v, "changed")) > 0);
	json_decref(v);
	assert_true(lives(one));
	assert_ptr_equal(r->core->peers[0].session, before);
	assert_true(vm_live(vm_at(r, 1)));
	assert_int_equal(r->n_publishes, publishes);
	assert_int_equal(r->core->revision, revision);
	assert_false(logged("configuration reloaded"));
	take_key(r, second(w));
	assert_int_equal(reload(r), 0);
	assert_true(one->down);
	caller_free(one);
	world_free(w);
}

static void
psk_and_role_belong_to_the_key(void **state_)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *one = dial(world_controller(w), "clc", ROLE_CONTROLLER, r),
		      *two = dial(second(w), "clc-2", ROLE_CONTROLLER, r);
	struct config *next = node_next(r);

	(void)state_;
	list_at(next->control.controllers, struct conf_controller, 0)->psk[5] = 1;
	assert_int_equal(reload(r), 0);
	assert_true(one->down && lives(two));
	next = node_next(r); /* the second observes from now on */
	*(struct conf_controller *)list_add(&next->control.observers, &kind_conf_observer) =
		*list_at(next->control.controllers, struct conf_controller, 1);
	next->control.controllers.n = 1;
	assert_int_equal(reload(r), 0);
	assert_true(two->down);
	caller_free(two);
	assert_string_equal(client_state(r, 1, "observer", "clc-2"), "away");
	two = dial(second(w), "clc-2", ROLE_OBSERVER, r);
	assert_string_equal(client_state(r, 1, "observer", "clc-2"), "up");
	assert_int_equal(caller_call(two, "vm.register", json_object()), RPC_DENIED);
	assert_true(lives(two));
	caller_free(one);
	caller_free(two);
	world_free(w);
}

/* ---- peers ---- */

/* C-84: r-c, which owns a VM, is home of a drain and has one of ours standing there, is removed at r-a. */
static void
a_peer_that_is_removed_takes_its_entries_with_it(void **state_)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	struct fwd_event stands = {.kind = FWD_VM_SEEN, .mac = vm_mac(2), .ip = vm_private(2), .location = 2};
	struct config *next;
	struct caller *k;

	(void)state_;
	assert_int_equal(vm_register(c, 1, 0, vm_global(2, 1)), 0); /* owned there */
	assert_int_equal(vm_register(c, 2, 0, vm_global(2, 2)), 0); /* came from there, and drains */
	assert_int_equal(vm_register(b, 3, 0, vm_global(1, 3)), 0); /* has nothing to do with it */
	world_run(w, 100);
	assert_int_equal(vm_move(a, 2, 0, vm_global(0, 2), 3600000, 7200000), 0);
	world_run(w, 1100);
	node_event(a, &stands);
	world_run(w, 1100);
	assert_int_equal(fwd_at(a, 2)->location, 2);
	assert_int_equal(fwd_at(a, 2)->n_drains, 1);
	assert_non_null(fwd_at(a, 1));
	next = node_next(a);
	next->peers.n--;
	assert_int_equal(reload(a), 0);
	assert_false(is_shown(a, "r-c"));
	assert_null(a->core->peers[1].session);
	assert_null(vm_at(a, 1));
	assert_null(fwd_at(a, 1));
	assert_null(stored_row(a, "vm", "tenant-a/52:54:00:00:00:01"));
	assert_int_equal(fwd_at(a, 2)->n_drains, 0);
	assert_int_equal(fwd_at(a, 2)->location, FWD_SELF);
	assert_non_null(fwd_at(a, 3));
	if (!model_is_true(a))
		fail_msg("%s", w->why);
	world_run(w, 130000); /* it goes on trying */
	assert_null(a->core->peers[1].session);
	assert_int_equal(state(w, 0, 0), PEER_SYNCED);
	node_crash(c);
	k = caller_new(c, "r-c", ROLE_PEER, a, NULL);
	assert_true(k->down);
	caller_free(k);
	node_crash(a); /* the store knows nothing of it either */
	a->conf.peers.n--;
	node_start(a);
	world_run(w, 3000);
	assert_false(logged("refused and skipped"));
	assert_null(vm_at(a, 1));
	world_free(w);
}

static void
a_peer_that_is_added_is_dialled_and_told(void **state_)
{
	struct world *w = world_new(1, 3);
	struct node *a = world_router(w, 0), *c = world_router(w, 2);
	struct config *next;
	struct conf_peer kept = *list_at(a->conf.peers, struct conf_peer, 1);

	(void)state_;
	a->conf.peers.n = 1;
	for (unsigned int i = 0; i < 3; i++)
		node_start(world_router(w, i));
	world_run(w, 3000);
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(c, 2, 0, vm_global(2, 2)), 0);
	for (int round = 0; round < 2;
		round++) { /* and again, after it was removed: it has its place still */
		world_run(w, 1000);
		assert_null(vm_at(a, 2));
		next = node_next(a);
		*(struct conf_peer *)(list_add(&next->peers, &kind_conf_peer)) = kept;
		if (round == 1) {
			next->peers.n--;
			next->peers.n--;
			*(struct conf_peer *)(list_add(&next->peers, &kind_conf_peer)) = kept;
		}
		assert_int_equal(reload(a), 0);
		world_run(w, 70000);
		assert_int_equal(state(w, 0, 1), PEER_SYNCED);
		assert_non_null(fwd_at(a, 2));
		assert_non_null(fwd_at(c, 1));
		if (round == 1)
			break;
		next = node_next(a);
		next->peers.n--;
		assert_int_equal(reload(a), 0);
	}
	assert_int_equal(a->core->n_peers, 2);
	world_free(w);
}

/* C-51: a peer's address moves: who dials it reconnects to the new one, the pinned key is the same. */
static void
a_peer_whose_address_moves_is_dialled_there(void **state_)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0);
	struct conf_peer *conf = a->conf.peers.items;
	char right[sizeof(conf->address)];

	(void)state_;
	memcpy(right, conf->address, sizeof(right));
	snprintf(conf->address, sizeof(conf->address), "203.0.113.77:7411");
	snprintf(list_at(world_router(w, 1)->conf.peers, struct conf_peer, 0)->address, sizeof(right),
		"203.0.113.78:7411"); /* nor does it find us */
	node_start(a);
	node_start(world_router(w, 1));
	world_run(w, 200000);
	assert_int_not_equal(state(w, 0, 0), PEER_SYNCED);
	memcpy(list_at(node_next(a)->peers, struct conf_peer, 0)->address, right, sizeof(right));
	assert_int_equal(reload(a), 0);
	world_run(w, 500);
	assert_int_equal(state(w, 0, 0), PEER_SYNCED);
	world_free(w);
}

static void
a_router_whose_own_key_changes_is_let_in_by_the_new_one(void **state_)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct conf_peer *next = list_at(node_next(a)->peers, struct conf_peer, 0);
	struct session *before;

	(void)state_;
	memcpy(next->old_key, next->key, 32);
	change_key(b, 99);
	memcpy(next->key, b->public_key, 32);
	assert_int_equal(reload(a), 0);
	before = a->core->peers[0].session;
	assert_non_null(before);
	node_next(b);
	assert_int_equal(reload(b), 0);
	assert_ptr_equal(a->core->peers[0].session, before); /* what is up stays */
	memset(list_at(node_next(a)->peers, struct conf_peer, 0)->old_key, 0, 32);
	assert_int_equal(reload(a), 0);
	world_run(w, 3000);
	assert_int_equal(state(w, 0, 0), PEER_SYNCED);
	assert_int_equal(state(w, 1, 0), PEER_SYNCED);
	world_free(w);
}

/* ---- what else may change, and what not ---- */

static void
routes_of_the_file_follow_and_those_of_run_time_stay(void **state_)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct route *next;

	(void)state_;
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.0.0/16\", \"via\": \"192.0.2.9\"}"), 0);
	next = node_next(r)->routes.items;
	next[0].via = 0xc0000205;
	*(struct route *)list_add(&r->next.routes, &kind_route) =
		(struct route){.prefix = {0x0a080000, 16}, .blackhole = true};
	assert_int_equal(reload(r), 0);
	assert_int_equal(model_route(r, "0.0.0.0/0")->via, 0xc0000205);
	assert_true(model_route(r, "10.8.0.0/16")->blackhole);
	assert_int_equal(model_route(r, "10.9.0.0/16")->via, 0xc0000209);
	node_next(r)->routes.n = 1;
	assert_int_equal(reload(r), 0);
	assert_null(model_route(r, "10.8.0.0/16"));
	assert_int_equal(call(r, "route.delete", "{\"prefix\": \"10.9.0.0/16\"}"), 0);
	assert_null(model_route(r, "10.9.0.0/16"));
	world_free(w);
}

static void
drains_begin_with_the_new_defaults(void **state_)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);

	(void)state_;
	node_next(a)->drain.max_ms = 5000000;
	assert_int_equal(reload(a), 0);
	assert_int_equal(vm_register(world_router(w, 1), 1, 0, vm_global(1, 1)), 0);
	world_run(w, 100);
	assert_int_equal(call(a, "vm.move",
				 "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:01\", \"addresses\": "
				 "[{\"private\": \"10.0.0.6\", \"global\": \"198.51.0.6\"}]}"),
		0);
	assert_int_equal(vm_at(a, 1)->now.drain[0].max_ms, 5000000);
	world_free(w);
}

static void
assert_refused(struct node *r, int want, const char *why)
{
	int code;
	json_t *v = ask(r, &code, "reload", "{}");

	assert_int_equal(code, want);
	json_decref(v);
	world_run(r->w, 1500);
	assert_true(logged(why));
}

/* C-58: what cannot be taken changes nothing. */
static void
a_reload_that_is_refused_changes_nothing(void **state_)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);
	struct config *next;

	(void)state_;
	assert_int_equal(vm_register(world_router(w, 1), 1, 0, vm_global(1, 1)), 0);
	world_run(w, 100);
	assert_refused(a, RPC_INVALID_PARAMS, "no such file");
	next = node_next(a);
	next->peers.n = 0;
	list_at(next->ports, struct conf_port, 1)->mtu = 9000;
	assert_refused(a, RPC_INVALID_PARAMS,
		"ports[1].mtu: cannot change while the router runs: it needs a restart");
	next = node_next(a);
	next->peers.n = 0;
	list_at(next->routes, struct route, 0)->via = 0xc0000205;
	a->prepare_fails = true;
	assert_refused(a, RPC_LIMIT, "reload by");
	a->prepare_fails = false;
	world_run(w, 3000);
	assert_true(is_shown(a, "r-b"));
	assert_int_equal(state(w, 0, 0), PEER_SYNCED);
	assert_non_null(fwd_at(a, 1));
	assert_int_equal(model_route(a, "0.0.0.0/0")->via, 0xc00002fe);
	if (!model_is_true(a))
		fail_msg("%s", w->why);
	world_free(w);
}

static void
a_router_that_stops_in_the_middle_of_a_reload_forgets_it(void **state_)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);

	(void)state_;
	node_next(a)->peers.n = 0;
	core_reload(a->core);
	node_crash(a); /* the sanitizers watch */
	node_start(a);
	world_run(w, 3000);
	assert_int_equal(state(w, 0, 0), PEER_SYNCED);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(a_session_lives_as_long_as_its_key_is_configured),
		T(a_dry_run_tells_what_would_change_and_changes_nothing),
		T(psk_and_role_belong_to_the_key),
		T(a_peer_that_is_removed_takes_its_entries_with_it),
		T(a_peer_that_is_added_is_dialled_and_told),
		T(a_peer_whose_address_moves_is_dialled_there),
		T(a_router_whose_own_key_changes_is_let_in_by_the_new_one),
		T(routes_of_the_file_follow_and_those_of_run_time_stay),
		T(drains_begin_with_the_new_defaults),
		T(a_reload_that_is_refused_changes_nothing),
		T(a_router_that_stops_in_the_middle_of_a_reload_forgets_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
