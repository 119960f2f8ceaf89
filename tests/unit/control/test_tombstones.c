/* SPDX-License-Identifier: BSD-3-Clause */
/* Deletions: how long they are remembered, and who may come back when. */
#include "control.h"

#include <time.h>

#define HOUR UINT64_C(3600000)

static unsigned int most = 3000; /* deletions: the argument */

static const char *
row_of(struct node *r, unsigned int n)
{
	struct mac mac = vm_mac(n);
	char key[VM_KEY_TEXT];

	vm_key_text(r->core, 0, &mac, key);
	return stored_row(r, "vm", key);
}

static size_t
known(struct node *r)
{
	return HASH_COUNT(r->core->vms);
}

/* ---- forgetting ---- */

/* C-39, C-40 */
static void
a_deletion_is_forgotten_after_a_day_by_all_who_have_it(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_unregister(a, 1, 0), 0);
	assert_int_equal(vm_unregister(a, 2, 9), 0); /* of a VM that nobody knows */
	world_run(w, 23 * HOUR);
	assert_int_equal(known(a), 2);
	assert_int_equal(vm_at(b, 2)->now.epoch, 9);
	assert_int_equal(vm_unregister(a, 3, 0), RPC_NOT_FOUND);
	assert_int_equal(vm_unregister(a, 3, 1), 0); /* a young one */
	world_run(w, 2 * HOUR);
	assert_int_equal(known(a), 1);
	assert_int_equal(known(b), 1);
	assert_int_equal(known(c), 1);
	assert_null(row_of(a, 1));
	assert_null(row_of(b, 2));
	assert_non_null(row_of(c, 3));
	assert_int_equal(get_number(a, "show.status", "tombstones"), 1);
	assert_agreed(w, 3);
	node_crash(a);
	node_start(a);
	world_run(w, 3000);
	assert_int_equal(known(a), 1);
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0); /* as if it had never been */
	assert_int_equal(vm_at(a, 1)->now.epoch, 1);
	world_run(w, 1000);
	assert_agreed(w, 3);
	world_free(w);
}

/* C-40: while one router has not heard of it, nobody forgets it: that one comes back after three days with what it had. */
static void
a_router_that_returns_after_days_brings_no_deleted_vm_back(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_register(c, 1, 4, vm_global(2, 1)), 0);
	assert_int_equal(vm_register(c, 2, 1, vm_global(2, 2)), 0);
	world_run(w, 200);
	node_crash(c);
	assert_int_equal(vm_move(a, 1, 5, vm_global(0, 1), 1000, 2000), 0);
	assert_int_equal(vm_unregister(a, 1, 6), 0);
	world_run(w, 72 * HOUR);
	assert_int_equal(vm_at(a, 1)->now.epoch, 6);
	assert_int_equal(vm_at(b, 1)->now.epoch, 6);
	node_start(c); /* with VM 1 as its own, at epoch 4 */
	assert_false(vm_at(c, 1)->now.deleted);
	for (uint64_t began = w->now; !c->ready && w->now < began + 5000;)
		world_run(w, 10);
	assert_true(vm_at(c, 1)->now.deleted); /* before its ports start */
	assert_null(fwd_at(c, 1));
	assert_int_equal(fwd_at(c, 2)->owner, FWD_SELF); /* what nobody took over is still its own */
	world_run(w, 70000);
	assert_agreed(w, 3);
	world_run(w, HOUR); /* old enough, and now all have it */
	assert_int_equal(known(a), 1);
	assert_int_equal(known(b), 1);
	assert_int_equal(known(c), 1);
	assert_agreed(w, 3);
	world_free(w);
}

/* C-38: its owner lists a deletion no more because the VM has gone on to somebody else, whom this router cannot follow yet. */
static void
a_deletion_that_was_overtaken_is_not_forgotten_before_what_came_after_it(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_unregister(a, 1, 6), 0);
	world_run(w, 1000);
	c->prepare_fails = true;
	assert_int_equal(vm_register(b, 1, 7, vm_global(1, 1)), 0);
	world_run(w, 1000);
	assert_int_equal(vm_at(a, 1)->now.epoch, 7);
	world_reset(w, 0, 2); /* another exchange, of what is not the same */
	world_run(w, 10000);
	assert_non_null(vm_at(c, 1));
	assert_int_equal(vm_at(c, 1)->now.epoch, 6);
	assert_int_equal(vm_register(c, 1, 5, vm_global(2, 1)), RPC_STALE_EPOCH);
	c->prepare_fails = false;
	world_run(w, 70000);
	assert_int_equal(vm_at(c, 1)->now.epoch, 7);
	assert_agreed(w, 3);
	world_free(w);
}

/* C-38: it is listed anew, and cannot be taken yet. */
static void
a_deletion_is_not_forgotten_before_the_vm_that_came_after_it_is_taken(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_unregister(a, 1, 6), 0);
	world_run(w, 1000);
	b->prepare_fails = true;
	assert_int_equal(vm_register(a, 1, 7, vm_global(0, 1)), 0);
	world_run(w, 10000);
	assert_non_null(vm_at(b, 1));
	assert_int_equal(vm_at(b, 1)->now.epoch, 6);
	b->prepare_fails = false;
	world_run(w, 70000);
	assert_int_equal(vm_at(b, 1)->now.epoch, 7);
	assert_agreed(w, 2);
	world_free(w);
}

/* A peer's tombstone that its owner has forgotten meanwhile, by a router that was away then but had it. */
static void
who_was_away_when_a_deletion_was_forgotten_forgets_it_on_return(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_unregister(a, 1, 9), 0);
	world_run(w, 120000);
	node_crash(b); /* it has it, and a has seen so */
	world_run(w, 25 * HOUR);
	assert_int_equal(known(a), 0);
	node_start(b);
	assert_int_equal(known(b), 1);
	world_run(w, 5000);
	assert_int_equal(known(b), 0);
	world_free(w);
}

/* C-38: and takes what came after it, at the same owner or at another one, whatever its epoch. */
static void
who_was_away_when_a_deletion_was_forgotten_takes_the_vm_that_began_anew(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_unregister(a, 1, 9), 0);
	assert_int_equal(vm_unregister(a, 2, 9), 0);
	world_run(w, 120000);
	node_crash(c);
	world_run(w, 25 * HOUR);
	assert_int_equal(known(a), 0);
	assert_int_equal(vm_register(a, 1, 1, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(b, 2, 1, vm_global(1, 2)), 0);
	world_run(w, 1000);
	node_start(c);
	assert_int_equal(vm_at(c, 1)->now.epoch, 9);
	world_run(w, 5000);
	assert_int_equal(vm_at(c, 1)->now.epoch, 1);
	assert_int_equal(vm_at(c, 2)->now.epoch, 1);
	assert_agreed(w, 3);
	world_free(w);
}

/* From the router that has the VM now it hears first, and that seldom by then. */
static void
who_hears_late_that_a_deletion_was_forgotten_takes_the_vm_at_once(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	uint64_t until;

	(void)state;
	assert_int_equal(vm_unregister(a, 1, 9), 0);
	world_run(w, 120000);
	node_crash(c);
	world_run(w, 25 * HOUR);
	assert_int_equal(vm_register(b, 1, 1, vm_global(1, 1)), 0);
	world_cut(w, 0, 2, true);
	node_start(c);
	world_run(w, 30 * 60000);
	assert_int_equal(vm_at(c, 1)->now.epoch, 9);
	world_cut(w, 0, 2, false);
	for (until = w->now + 70000; !c->core->peers[0].session && w->now < until;)
		world_run(w, 10);
	world_run(w, 1000);
	assert_int_equal(vm_at(c, 1)->now.epoch, 1);
	assert_agreed(w, 3);
	world_free(w);
}

/* After a reboot nobody knows how long the machine was off: the day begins anew. */
static void
a_reboot_makes_deletions_young_again_and_a_restart_does_not(void **state)
{
	(void)state;
	for (int reboot = 0; reboot < 2; reboot++) {
		struct world *w = routers(1);
		struct node *a = world_router(w, 0);

		assert_int_equal(vm_unregister(a, 1, 1), 0);
		world_run(w, 20 * HOUR);
		node_crash(a);
		if (reboot)
			node_reboot(a, (int64_t)(48 * HOUR)); /* and the wall clock proves nothing */
		node_start(a);
		world_run(w, 5 * HOUR);
		assert_int_equal(known(a), reboot);
		world_run(w, 20 * HOUR);
		assert_int_equal(known(a), 0);
		world_free(w);
	}
}

static void
a_deletion_that_the_store_will_not_forget_stays_whole(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_unregister(a, 1, 1), 0);
	world_run(w, 23 * HOUR);
	a->commits_to_fail = 1000000;
	world_run(w, 3 * HOUR);
	assert_int_equal(known(a), 1);
	assert_true(vm_at(a, 1)->now.deleted && vm_at(a, 1)->present);
	a->commits_to_fail = 0;
	world_run(w, HOUR);
	assert_int_equal(known(a), 0);
	world_free(w);
}

/* The VM comes back in the same moment as its tombstone goes. */
static void
a_vm_that_returns_while_it_is_forgotten_is_there(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_unregister(a, 1, 7), 0);
	world_run(w, 1000);
	tombstone_forget(a->core, vm_at(a, 1));
	tombstones_flush(a->core);
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_true(vm_live(vm_at(a, 1)));
	world_run(w, 100);
	assert_non_null(row_of(a, 1));
	assert_true(model_is_true(a));
	tombstone_forget(a->core, vm_at(a, 1)); /* not one any more */
	tombstones_flush(a->core);
	world_run(w, 100);
	assert_true(vm_live(vm_at(a, 1)));
	world_free(w);
}

static int came_back;

static int
come_back(struct core *c, struct txn *t)
{
	struct mac mac = vm_mac(1);
	struct vm_state s = vm_find(c, 0, &mac)->now;

	(void)t;
	s.deleted = false;
	s.epoch++;
	vm_set(c, &s);
	return 0;
}

static void
has_come_back(struct core *c, struct txn *t, int code)
{
	(void)c;
	came_back = code;
	fail_clear(&t->fail);
}

/* C-71: both in one commit, which is refused: what the first of them left was freed by the undo of the second. */
static void
a_tombstone_stays_when_its_end_and_the_vm_s_return_are_refused(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct txn back = {.apply = come_back, .done = has_come_back};

	(void)state;
	assert_int_equal(vm_unregister(a, 1, 7), 0);
	for (int refused = 1; refused >= 0; refused--) {
		a->commits_to_fail = refused;
		tombstone_forget(a->core, vm_at(a, 1));
		tombstones_flush(a->core);
		txn_submit(a->core, &back);
		world_run(w, 100);
		assert_int_equal(came_back, refused ? RPC_STORE : 0);
		assert_int_equal(known(a), 1);
		assert_int_equal(vm_live(vm_at(a, 1)), !refused);
		assert_int_equal(vm_at(a, 1)->now.epoch, refused ? 7 : 8);
		assert_int_equal(get_number(a, "show.status", "tombstones"), refused);
	}
	world_free(w);
}

/* ---- limits ---- */

/* C-40: a stolen key of a peer fills its own share and no more. */
static void
deletions_of_each_router_are_limited(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	a->conf.limits.tombstones = 5;
	for (unsigned int n = 0; n < 8; n++)
		assert_int_equal(vm_unregister(b, n, 1), 0); /* its own limit is higher */
	world_run(w, 1000);
	assert_int_equal(a->core->tombstones_of[1], 5);
	assert_true(logged("limits.tombstones is reached"));
	for (unsigned int n = 20; n < 25; n++)
		assert_int_equal(vm_unregister(a, n, 1), 0);
	assert_int_equal(vm_unregister(a, 25, 1), RPC_LIMIT);
	assert_int_equal(vm_unregister(a, 24, 2), 0); /* a higher epoch of one that is there */
	assert_int_equal(vm_register(a, 30, 0, vm_global(0, 30)), 0);
	assert_int_equal(vm_unregister(a, 30, 0), RPC_LIMIT);
	a->conf.limits.tombstones =
		100; /* else it would never have all of r-b's, and nobody could forget them */
	world_run(w, 26 * HOUR);
	assert_int_equal(a->core->tombstones_of[1], 0);
	a->conf.limits.tombstones = 1;
	assert_int_equal(vm_unregister(a, 30, 0), 0);
	world_run(w, 70000);
	assert_agreed(w, 3);
	world_free(w);
}

/* As world_run(); the CPU time of the longest step, in which everybody else would wait. */
static double
longest_ms(struct world *w, uint64_t ms)
{
	uint64_t until = w->now + ms;
	clock_t longest = 0;

	for (bool more = true; more;) {
		clock_t began = clock(), took;

		more = world_step(w, until);
		took = clock() - began;
		longest = took > longest ? took : longest;
	}
	world_run(w, until - w->now);
	return (double)longest * 1000 / CLOCKS_PER_SEC;
}

/* C-40: as many as limits.tombstones says (here 3,000; 1,000,000, the most that it may be, in the suite `long`), and not one
 * more. None is forgotten before a day, nor before the other router has it, nor for a restart; then all are, at both. */
static void
as_many_deletions_as_may_be_are_kept_for_a_day_and_until_all_have_them(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	double learning, forgetting;

	(void)state;
	a->conf.limits.vms = b->conf.limits.vms = most + 1000;
	a->conf.limits.tombstones = b->conf.limits.tombstones = most;
	node_crash(b);
	vm_many(a, "vm.unregister", 0, most, 1);
	assert_int_equal(vm_unregister(a, most, 1), RPC_LIMIT);
	world_run(w, 25 * HOUR);
	assert_int_equal(known(a), most);
	node_start(b);
	learning = longest_ms(w, 60000);
	assert_int_equal(known(b), most);
	node_crash(a);
	node_start(a);
	world_run(w, 5000);
	assert_int_equal(known(a), most);
	assert_int_equal(vm_unregister(a, most, 1), RPC_LIMIT);
	forgetting = longest_ms(w, HOUR);
	assert_int_equal(known(a) + known(b), 0);
	assert_null(row_of(a, 0));
	assert_null(row_of(b, most - 1));
	assert_int_equal(vm_unregister(a, most, 1), 0);
	world_run(w, 1000);
	assert_agreed(w, 2);
	printf("%u deletions: the longest turn of learning them %.0f ms, of forgetting them %.0f ms\n", most,
		learning, forgetting);
	world_free(w);
}

/* ---- stale ---- */

static json_int_t
stale_ms(struct node *r)
{
	json_t *v = get(r, "show.vms", "{}"), *row = json_array_get(json_object_get(v, "rows"), 0);
	const json_t *ms = json_object_get(row, "stale-ms");
	json_int_t n = ms ? json_integer_value(ms) : -1;

	json_decref(v);
	return n;
}

static void
vms_of_a_peer_are_stale_from_its_loss_until_it_has_synced(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct fwd_vm before;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	assert_int_equal(stale_ms(a), -1);
	assert_int_equal(stale_ms(b), -1);
	before = *fwd_at(b, 1);
	node_crash(a);
	world_run(w, 10000);
	assert_true(stale_ms(b) >= 9000 && stale_ms(b) <= 10500);
	assert_memory_equal(fwd_at(b, 1), &before, sizeof(before)); /* forwarding goes on */
	node_crash(b);
	node_start(b); /* and from its own start: nobody says how long before */
	world_run(w, 5000);
	assert_true(stale_ms(b) >= 4900 && stale_ms(b) <= 5500);
	node_start(a);
	world_run(w, 3000);
	assert_int_equal(stale_ms(b), -1);
	world_free(w);
}

int
main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(a_deletion_is_forgotten_after_a_day_by_all_who_have_it),
		T(a_router_that_returns_after_days_brings_no_deleted_vm_back),
		T(a_deletion_that_was_overtaken_is_not_forgotten_before_what_came_after_it),
		T(a_deletion_is_not_forgotten_before_the_vm_that_came_after_it_is_taken),
		T(who_was_away_when_a_deletion_was_forgotten_forgets_it_on_return),
		T(who_was_away_when_a_deletion_was_forgotten_takes_the_vm_that_began_anew),
		T(who_hears_late_that_a_deletion_was_forgotten_takes_the_vm_at_once),
		T(a_reboot_makes_deletions_young_again_and_a_restart_does_not),
		T(a_deletion_that_the_store_will_not_forget_stays_whole),
		T(a_vm_that_returns_while_it_is_forgotten_is_there),
		T(a_tombstone_stays_when_its_end_and_the_vm_s_return_are_refused),
		T(deletions_of_each_router_are_limited),
		T(as_many_deletions_as_may_be_are_kept_for_a_day_and_until_all_have_them),
		T(vms_of_a_peer_are_stale_from_its_loss_until_it_has_synced),
	};

	if (argc == 2)
		most = (unsigned int)atoi(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
