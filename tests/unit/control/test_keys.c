/* SPDX-License-Identifier: BSD-3-Clause */
/* Roles and keys: who may call what, and keys that change while the router runs. */
#include "control.h"

#include <net/keys.h>

static struct node *
second(struct world *w)
{
	return &w->nodes[w->n_nodes - 1];
}

/* One router, or more, where clc-2 observes instead of ruling. */
static struct world *
observed(unsigned int n)
{
	struct world *w = world_new(1, n);
	struct conf_control *conf = &world_router(w, 0)->conf.control;
	struct conf_controller *both = conf->controllers.items, *observer;

	observer = list_add(&conf->observers, &kind_conf_observer);
	*observer = both[1];
	conf->controllers.n = 1;
	for (unsigned int i = 0; i < n; i++)
		node_start(world_router(w, i));
	world_run(w, 6000);
	return w;
}

static bool
may(enum channel_role role, enum permission perm)
{
	static const bool table[][3] = {
		[ROLE_CONTROLLER] = {[PERM_OBSERVE] = true, [PERM_CHANGE] = true, [PERM_LOCAL] = false},
		[ROLE_PEER] = {false, false, false},
		[ROLE_OBSERVER] = {[PERM_OBSERVE] = true, [PERM_CHANGE] = false, [PERM_LOCAL] = false},
		[ROLE_LOCAL] = {true, true, true},
	};

	return table[role][perm];
}

static void
assert_all_methods(enum channel_role role, struct caller *k)
{
	for (const struct method *m = methods; m->name; m++) {
		int code = caller_call(k, m->name, json_object());

		if ((code != RPC_DENIED) != may(role, m->perm))
			fail_msg("%s by %s: %d", m->name, channel_role_name(role), code);
	}
}

static void
each_role_may_call_what_it_needs_and_nothing_else(void **state)
{
	struct world *w = observed(2);
	struct node *r = world_router(w, 0);
	struct caller *clc = caller_new(world_controller(w), "clc", ROLE_CONTROLLER, r, NULL),
		      *observer = caller_new(second(w), "clc-2", ROLE_OBSERVER, r, NULL), *peer;

	(void)state;
	assert_true(clc->up && observer->up);
	assert_all_methods(ROLE_CONTROLLER, clc);
	assert_all_methods(ROLE_OBSERVER, observer);
	assert_int_equal(caller_call(observer, "sync.sums", json_object()), RPC_NO_METHOD);
	node_crash(world_router(w, 1));
	peer = caller_new(world_router(w, 1), "r-b", ROLE_PEER, r, NULL);
	assert_true(peer->up);
	assert_all_methods(ROLE_PEER, peer);
	for (const struct method *m = methods; m->name; m++) /* the local user: nothing is denied */
		assert_int_not_equal(call(r, m->name, "{}"), RPC_DENIED);
	caller_free(clc);
	caller_free(observer);
	caller_free(peer);
	world_free(w);
}

/* C-07: a router that dials as if it were a controller, an observer as a controller, a controller as a peer. */
static void
a_key_is_good_for_its_own_role_alone(void **state)
{
	struct world *w = observed(2);
	struct node *r = world_router(w, 0);
	const struct {
		struct node *from;
		const char *name;
		enum channel_role role;
	} wrong[] = {
		{world_router(w, 1), "r-b", ROLE_CONTROLLER},
		{world_router(w, 1), "r-b", ROLE_OBSERVER},
		{world_router(w, 1), "clc", ROLE_CONTROLLER},
		{second(w), "clc-2", ROLE_CONTROLLER},
		{second(w), "clc", ROLE_CONTROLLER},
		{world_controller(w), "clc", ROLE_PEER},
		{world_controller(w), "clc", ROLE_LOCAL},
	};

	(void)state;
	node_crash(world_router(w, 1));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct caller *k = caller_new(wrong[i].from, wrong[i].name, wrong[i].role, r, NULL);

		assert_true(k->down);
		assert_int_equal(k->calls, 0);
		caller_free(k);
	}
	world_free(w);
}

/* ---- two keys of one name ---- */

static void
make_key(uint8_t fill, uint8_t private_key[32], uint8_t public_key[32])
{
	memset(private_key, fill, 32);
	key_public(private_key, public_key);
}

/* Its next callers, or its next start, have this key. */
static void
take_key(struct node *n, uint8_t fill)
{
	make_key(fill, n->private_key, n->public_key);
}

static void
both_keys_of_a_controller_are_taken_while_it_changes_over(void **state)
{
	struct world *w = world_new(1, 1);
	struct node *r = world_router(w, 0), *clc = world_controller(w);
	struct conf_controller *conf = r->conf.control.controllers.items;
	uint8_t private_key[32];

	(void)state;
	memcpy(conf->old_key, conf->key, 32);
	make_key(99, private_key, conf->key);
	node_start(r);
	world_run(w, 100);
	for (int i = 0; i < 3; i++) {
		struct caller *k = caller_new(clc, "clc", ROLE_CONTROLLER, r, NULL);

		assert_int_equal(k->up, i < 2); /* the old, the new, one of nobody */
		caller_free(k);
		take_key(clc, i == 0 ? 99 : 98);
	}
	world_free(w);
}

static bool
synced(struct world *w)
{
	return world_router(w, 0)->core->peers[0].state == PEER_SYNCED &&
	       world_router(w, 1)->core->peers[0].state == PEER_SYNCED;
}

/* r-a has r-b's old and new key; r-b is started with either. */
static void
a_peer_that_changes_its_key_is_dialled_by_whichever_it_has(void **state)
{
	(void)state;
	for (int with_new = 0; with_new < 2; with_new++) {
		struct world *w = world_new(1, 2);
		struct node *a = world_router(w, 0), *b = world_router(w, 1);
		struct conf_peer *conf = a->conf.peers.items;
		uint8_t private_key[32];

		memcpy(conf->old_key, conf->key, 32);
		make_key(99, private_key, conf->key);
		if (with_new)
			take_key(b, 99);
		node_start(a);
		node_start(b);
		world_run(w, 3000);
		assert_true(synced(w));
		world_reset(w, 0, 1);
		world_run(w, 10000);
		assert_true(synced(w));
		assert_int_equal(a->core->peers[0].dials_old, !with_new);
		world_free(w);
	}
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(each_role_may_call_what_it_needs_and_nothing_else),
		T(a_key_is_good_for_its_own_role_alone),
		T(both_keys_of_a_controller_are_taken_while_it_changes_over),
		T(a_peer_that_changes_its_key_is_dialled_by_whichever_it_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
