/* SPDX-License-Identifier: BSD-3-Clause */
/* A router that is killed between any two events of a change, and one whose store refuses. */
#include "control.h"

#include <inttypes.h>

#define KEY   "tenant-a/52:54:00:00:00:01"
#define EPOCH 5

struct seen { /* how far the change had come */
	bool acked, told;
};

static void
answered(void *arg, int code, json_t *result)
{
	struct seen *s = arg;

	(void)result;
	s->acked = code == 0;
}

static void
send_register(struct caller *k, struct seen *s)
{
	assert_int_equal(
		rpc_call(k->rpc, "vm.register", vm_register_params(1, EPOCH, vm_global(0, 1)), answered, s),
		0);
}

static struct caller *
controller(struct world *w)
{
	struct caller *k = caller_new(world_controller(w), "clc", ROLE_CONTROLLER, world_router(w, 0), NULL);

	assert_true(k->up);
	return k;
}

/* A change that is killed `steps` events after it was sent. */
static struct seen
kill_after(struct world *w, unsigned int steps)
{
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *k = controller(w);
	struct seen s = {0};

	send_register(k, &s);
	for (unsigned int i = 0; i < steps; i++)
		world_step(w, w->now + 1000);
	s.told = fwd_at(b, 1) != NULL;
	node_crash(a);
	world_run(w, 100);
	caller_free(k);
	return s;
}

static void
assert_whole(struct node *a)
{
	const struct fwd_vm *vm = fwd_at(a, 1);

	assert_non_null(vm); /* found by its MAC, and with its public address */
	assert_int_equal(vm->addresses[0].global_ip, vm_global(0, 1));
	assert_true(model_is_true(a));
}

/* The controller repeats what it was not answered: done already, or now. */
static void
assert_repeat(struct world *w, bool done)
{
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w);
	uint64_t commits = a->n_commits; /* that it came is logged by now */

	assert_int_equal(caller_call(k, "vm.register", vm_register_params(1, EPOCH, vm_global(0, 1))), 0);
	if (done)
		assert_int_equal(a->n_commits, commits);
	caller_free(k);
}

struct counts {
	unsigned int old, unanswered, untold;
};

/* True once the change was through before the kill. */
static bool
killed_at(unsigned int variant, unsigned int steps, struct counts *n)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);
	struct seen s;
	bool stored;

	for (unsigned int i = 0; i < variant; i++)
		world_random(w, 2); /* other delays */
	s = kill_after(w, steps);
	stored = stored_row(a, "vm", KEY) != NULL;
	assert_true(stored || (!s.acked && !s.told));
	n->old += !stored;
	n->unanswered += stored && !s.acked;
	n->untold += s.acked && !s.told;
	node_start(a);
	while (!a->ready)
		world_step(w, w->now + 5000);
	if (stored)
		assert_whole(a);
	else
		assert_null(fwd_at(a, 1));
	assert_repeat(w, stored);
	world_run(w, 5000);
	assert_whole(a);
	assert_agreed(w, 2); /* the peer, too */
	assert_int_equal(vm_at(world_router(w, 1), 1)->now.epoch, EPOCH);
	world_free(w);
	return s.acked && s.told;
}

/* C-59, C-63, C-64, C-65, C-66: before the check, after the commit, before and after forwarding has it (MAC and public address are
 * one record there), before and after the answer, before the peers are told. */
static void
killed_between_any_two_events_of_a_change_the_store_says_what_is_true(void **state)
{
	struct counts n = {0};

	(void)state;
	for (unsigned int variant = 0; variant < 10; variant++)
		for (unsigned int steps = 0; !killed_at(variant, steps, &n); steps++)
			;
	assert_true(n.old >= 20 && n.unanswered >= 10 && n.untold >= 10);
}

/* ---- a store that refuses ---- */

static bool
store_state_is(struct node *r, const char *want)
{
	json_t *v = get(r, "show.status", "{}");
	bool is = strcmp(json_string_value(json_object_get(json_object_get(v, "store"), "state")), want) == 0;

	json_decref(v);
	return is;
}

/* C-71, C-73: what the operator sees. */
static void
a_store_that_refuses_is_an_alarm_until_it_takes_rows_again(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v;

	(void)state;
	assert_int_equal(vm_register(r, 1, 0, vm_global(0, 1)), 0);
	assert_true(store_state_is(r, "ok"));
	r->commits_to_fail = 3;
	assert_int_equal(vm_register(r, 2, 0, vm_global(0, 2)), RPC_STORE);
	assert_true(store_state_is(r, "refuses"));
	assert_true(logged("ALARM: the store refuses: No space left on device"));
	assert_true(model_is_true(r));
	world_run(w, 12000); /* it is asked again by itself: refused twice, */
	assert_int_equal(r->commits_to_fail, 0);
	assert_true(store_state_is(r, "refuses"));
	v = get(r, "show.status", "{}");
	assert_in_range(
		json_integer_value(json_object_get(json_object_get(v, "store"), "since-ms")), 10000, 13000);
	json_decref(v);
	world_run(w, 5000); /* and taken */
	assert_true(store_state_is(r, "ok"));
	assert_true(logged("the store takes changes again"));
	assert_int_equal(vm_register(r, 2, 0, vm_global(0, 2)), 0);
	world_free(w);
}

static void
a_retry_on_its_way_outlives_the_router(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	r->commits_to_fail = 1;
	assert_int_equal(vm_register(r, 1, 0, 0), RPC_STORE);
	while (!r->pending)
		world_step(w, w->now + 6000);
	node_crash(r);
	node_start(r);
	world_run(w, 100);
	assert_int_equal(vm_register(r, 1, 0, 0), 0);
	world_free(w);
}

/* ---- damaged rows ---- */

/* A router with VMs of its own, one that drains here, one of a peer's, a tombstone and a route, down. */
static struct world *
full_router(void)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	for (unsigned int n = 1; n <= 4; n++)
		assert_int_equal(vm_register(a, n, 0, vm_global(0, n)), 0);
	assert_int_equal(vm_register(b, 5, 0, vm_global(1, 5)), 0);
	world_run(w, 500);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), 3600000, 3600000), 0);
	assert_int_equal(vm_unregister(a, 2, 0), 0);
	assert_int_equal(
		call(a, "route.replace", "{\"prefix\": \"10.9.0.5/32\", \"via\": \"192.0.2.7\"}"), 0);
	world_run(w, 2000);
	node_crash(a);
	node_crash(b);
	world_run(w, 1000);
	return w;
}

/* One bit of one row's key or value. */
static void
flip_a_bit(struct node *r)
{
	const char *value, *name;
	char key[200], text[2000], kind[20], *p;

	do /* those of the log are not loaded */
		name = stored_at(r, (unsigned int)world_random(r->w, 20), &value);
	while (!name || strncmp(name, "log ", 4) == 0);
	snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(name, " "), name);
	snprintf(key, sizeof(key), "%s", strchr(name, ' ') + 1);
	snprintf(text, sizeof(text), "%s", value);
	stored_set(r, kind, key, NULL);
	p = world_random(r->w, 8) ? text : key;
	p[world_random(r->w, strlen(p))] ^= (char)(1 << world_random(r->w, 8));
	stored_set(r, kind, key, text);
}

static void
assert_invariants(struct node *r)
{
	struct core *c = r->core;
	struct fail f = {0};
	struct vm_obj *o;

	for (o = c->vms; o; o = o->hh.next)
		if (vm_live(o) && vm_check(c, &o->now, &f) != 0)
			fail_msg("%s", f.text);
	if (!model_is_true(r))
		fail_msg("%s", r->w->why);
}

/* C-74: our own checks of rows. */
static void
a_row_with_a_flipped_bit_breaks_no_invariant(void **state)
{
	struct world *w = full_router();
	struct node *a = world_router(w, 0);
	struct stored *good = stored_copy(a);
	unsigned int skipped = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		control_setup(NULL); /* forgets the log */
		flip_a_bit(a);
		node_start(a);
		world_run(w, 20);
		assert_invariants(a);
		skipped += logged("is refused and skipped");
		node_crash(a);
		stored_restore(a, good);
		good = stored_copy(a);
	}
	assert_in_range(skipped, 300, 999);
	stored_restore(a, good);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(killed_between_any_two_events_of_a_change_the_store_says_what_is_true),
		T(a_store_that_refuses_is_an_alarm_until_it_takes_rows_again),
		T(a_row_with_a_flipped_bit_breaks_no_invariant),
		T(a_retry_on_its_way_outlives_the_router),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
