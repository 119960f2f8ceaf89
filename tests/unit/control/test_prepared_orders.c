/* SPDX-License-Identifier: BSD-3-Clause */
/* Prepared moves of two VMs among three routers: steps in any order, of any router, with kills and cut links between them. */
#include "control.h"

#define ROUTERS 3
#define VMS	2
#define STEPS	80
#define FIRST	1101 /* among these: a word that an old router could not take, and was not told again */
#define LAST	1160

static const char *const verbs[] = {"move.prepare", "move.pause", "move.commit", "move.abort", "vm.move"};

static struct node *
any_router(struct world *w)
{
	struct node *r = world_router(w, (unsigned int)world_random(w, ROUTERS));

	if (!r->core)
		node_start(r);
	return r;
}

/* One step of a VM's move, by somebody who knows nothing of the others. */
static void
ask_any(struct world *w)
{
	struct node *r = any_router(w);
	unsigned int n = 1 + (unsigned int)world_random(w, VMS);
	const char *verb = verbs[world_random(w, 5)];
	bool of_key = strcmp(verb, "move.prepare") != 0 && strcmp(verb, "vm.move") != 0;
	json_t *p = vm_register_params(n, 0, vm_global(r->index, n));
	int code;

	if (of_key)
		json_object_del(p, "addresses");
	else
		json_object_update_new(p, json_pack("{s:i, s:i}", "drain-min", 0, "drain-max", 2000));
	json_decref(ask(r, &code, verb, "o", p));
	assert_int_not_equal(code, RPC_INTERNAL);
	assert_int_not_equal(code, RPC_NO_METHOD);
}

static void
hear_any(struct world *w)
{
	struct fwd_event ev = {.kind = FWD_VM_SEEN, .mac = vm_mac(1 + (unsigned int)world_random(w, VMS))};

	node_event(any_router(w), &ev);
}

static void
disturb(struct world *w)
{
	unsigned int a = (unsigned int)world_random(w, ROUTERS), b = (a + 1) % ROUTERS;

	switch (world_random(w, 4)) {
	case 0:
		if (world_router(w, a)->core)
			node_crash(world_router(w, a));
		break;
	case 1:
		world_cut(w, a, b, true);
		break;
	case 2:
		world_cut(w, a, b, false);
		break;
	default:
		world_router(w, a)->commits_to_fail = (int)world_random(w, 3);
		break;
	}
}

static void
step(struct world *w)
{
	uint64_t what = world_random(w, 10);

	if (what < 6)
		ask_any(w);
	else if (what < 8)
		hear_any(w);
	else
		disturb(w);
	world_run(w, world_random(w, 1500));
	for (unsigned int i = 0; i < ROUTERS; i++) {
		struct node *r = world_router(w, i);

		if (r->core && r->core->running && !r->core->group)
			assert_true(model_is_true(r));
	}
}

/* Whatever is healed, and the time of every move over. */
static void
end(struct world *w)
{
	world_heal(w);
	for (unsigned int i = 0; i < ROUTERS; i++) {
		world_router(w, i)->commits_to_fail = 0;
		if (!world_router(w, i)->core)
			node_start(world_router(w, i));
	}
	world_run(w, 200000);
}

static void
assert_nothing_left(struct node *r)
{
	struct core *c = r->core;

	assert_null(c->reserved);
	assert_null(c->timed);
	assert_null(c->departing);
	for (unsigned int n = 1; n <= VMS; n++) {
		assert_int_equal(fwd_at(r, n)->flags, 0);
		assert_int_equal(fwd_at(r, n)->n_drains, 0);
	}
}

static void
moves_in_any_order_end_with_one_owner_and_leave_nothing(void **state)
{
	unsigned int committed = 0, arrived = 0, aborted = 0;
	struct move *m;

	(void)state;
	for (uint64_t seed = FIRST; seed <= LAST; seed++) {
		struct world *w = world_new(seed, ROUTERS);

		for (unsigned int i = 0; i < ROUTERS; i++) {
			world_router(w, i)->conf.moves.prepared_max_ms = 20000;
			world_router(w, i)->conf.moves.paused_max_ms = 3000;
			node_start(world_router(w, i));
		}
		world_run(w, 6000);
		for (unsigned int n = 1; n <= VMS; n++)
			assert_int_equal(vm_register(world_router(w, 0), n, 1, vm_global(0, n)), 0);
		for (int i = 0; i < STEPS; i++)
			step(w);
		end(w);
		for (unsigned int i = 0; i < ROUTERS; i++)
			assert_nothing_left(world_router(w, i));
		assert_agreed(w, ROUTERS);
		DL_FOREACH(world_router(w, 1)->core->moves_list, m)
		{
			committed += m->plan && m->now.at[MOVE_AT_COMMITTED] != 0;
			arrived += m->now.arrived;
			aborted += m->now.state == MOVE_ABORTED;
		}
		if (w->why[0])
			fail_msg("seed %d: %s", (int)seed, w->why);
		world_free(w);
	}
	assert_true(committed > 10 && arrived > 10 && aborted > 10); /* it can fail */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			moves_in_any_order_end_with_one_owner_and_leave_nothing, control_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
