/* SPDX-License-Identifier: BSD-3-Clause */
/* Routers whose store was lost or is an old one: what their peers give back, and what that is worth to a stolen key. */
#include "control.h"

#define HOUR UINT64_C(3600000)

/* Else for a minute they would take no address from one of its VMs for another. */
static void
peers_hear_soon_that_a_router_is_sure(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 500);
	node_crash(a);
	node_start(a);
	world_run(w, 2000);
	assert_true(a->core->peers[0].sure);
	assert_true(b->core->peers[0].is_sure);
	world_free(w);
}

/* Only r-c knows that VM 1 is r-a's; r-a has an empty store. */
static struct world *
remembered_by_one(void)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	assert_int_equal(vm_register(a, 1, 3, vm_global(0, 1)), 0);
	world_run(w, 200);
	node_crash(a);
	node_crash(b);
	stored_clear(a);
	stored_clear(b);
	world_cut(w, 0, 2, true);
	node_start(a);
	world_run(w, 5000);
	return w;
}

static void
a_router_without_its_store_goes_on_asking_after_a_crash(void **state)
{
	struct world *w = remembered_by_one();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 9, 0, vm_global(0, 9)), 0); /* the store is not empty any more */
	node_crash(a);
	node_start(a);
	world_run(w, 5000);
	node_start(b); /* it tells what it knows: nothing */
	world_run(w, 70000);
	assert_null(vm_at(a, 1));
	node_crash(a);
	node_start(a);
	world_run(w, 3000);
	world_cut(w, 0, 2, false);
	world_run(w, 130000);
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF);
	assert_true(logged("gives back 1 VMs of ours"));
	assert_agreed(w, 3);
	world_free(w);
}

/* Yesterday's store of r-a; since then VM 1 was moved to r-b, 2 deleted, 3 registered, 4 moved here from r-b. */
static struct world *
yesterday(void)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct stored *old;

	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 2)), 0);
	assert_int_equal(vm_register(b, 4, 0, vm_global(1, 4)), 0);
	world_run(w, 500);
	old = stored_copy(a);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, HOUR), 0);
	assert_int_equal(vm_unregister(a, 2, 0), 0);
	assert_int_equal(vm_register(a, 3, 0, vm_global(0, 3)), 0);
	world_run(w, 500);
	assert_int_equal(vm_move(a, 4, 0, vm_global(0, 4), HOUR, HOUR), 0);
	world_run(w, 70000); /* the peers have seen its revision */
	node_crash(a);
	stored_restore(a, old);
	return w;
}

/* C-82: its old claims are stale at the peers, and it takes what they know before its ports start. */
static void
a_router_with_yesterdays_store_starts_with_what_its_peers_know(void **state)
{
	struct world *w = yesterday();
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	uint64_t began = w->now;

	(void)state;
	node_start(a);
	while (!a->ready && w->now < began + 5000) {
		assert_int_equal(fwd_at(b, 1)->owner, FWD_SELF);
		assert_null(fwd_at(c, 2));
		world_run(w, 10);
	}
	assert_true(w->now <= began + 2100);
	assert_int_equal(fwd_at(a, 1)->owner, 1);
	assert_true(vm_at(a, 2)->now.deleted);
	assert_int_equal(fwd_at(a, 3)->owner, FWD_SELF);
	assert_int_equal(fwd_at(a, 4)->owner, FWD_SELF);
	assert_int_equal(fwd_at(a, 4)->drains[0].home, 1);
	assert_true(logged("our store is older than what it has seen"));
	world_run(w, 70000);
	assert_agreed(w, 3);
	assert_int_equal(vm_register(a, 5, 0, vm_global(0, 5)), 0);
	world_run(w, 70000);
	node_crash(a);
	node_start(a); /* not asked again: its revisions went on above those that were seen */
	world_run(w, 5000);
	assert_agreed(w, 3);
	world_free(w);
}

/* C-82: by the time it meets them its revision is above the one that they have seen. */
static void
yesterdays_store_is_found_whatever_was_done_with_it_since(void **state)
{
	struct world *w = yesterday();
	struct node *a = world_router(w, 0);

	(void)state;
	world_cut(w, 0, 1, true);
	world_cut(w, 0, 2, true);
	node_start(a);
	world_run(w, 3000);
	for (unsigned int i = 10; i < 40; i++)
		assert_int_equal(vm_register(a, i, 0, vm_global(0, i)), 0);
	world_heal(w);
	world_run(w, 90000);
	assert_true(vm_at(a, 2)->now.deleted);
	assert_int_equal(fwd_at(a, 3)->owner, FWD_SELF);
	assert_int_equal(fwd_at(a, 4)->owner, FWD_SELF);
	assert_true(logged("VMs of ours"));
	assert_agreed(w, 3);
	world_free(w);
}

/* C-82: since the backup VMs 1 and 2 have changed addresses with each other. */
static void
what_is_given_back_takes_the_addresses_of_what_it_replaces_in_any_order(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);
	struct stored *old;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 2)), 0);
	world_run(w, 500);
	old = stored_copy(a);
	assert_int_equal(vm_unregister(a, 1, 0), 0);
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 2)), 0);
	world_run(w, 500);
	node_crash(a);
	stored_restore(a, old);
	node_start(a);
	world_run(w, 3000);
	assert_int_equal(fwd_at(a, 1)->addresses[0].global_ip, vm_global(0, 2));
	assert_int_equal(fwd_at(a, 2)->addresses[0].global_ip, vm_global(0, 1));
	assert_false(logged("is refused"));
	assert_agreed(w, 2);
	world_free(w);
}

/* C-82: the store still has it as r-c's, which is gone; r-b alone knows that it has come to r-a since. */
static void
a_vm_that_came_from_a_third_router_is_given_back_without_that_one(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *c = world_router(w, 2);
	struct stored *old;

	(void)state;
	assert_int_equal(vm_register(c, 1, 0, vm_global(2, 1)), 0);
	world_run(w, 500);
	old = stored_copy(a);
	assert_int_equal(vm_move(a, 1, 0, vm_global(0, 1), HOUR, HOUR), 0);
	world_run(w, 500);
	node_crash(c);
	node_crash(a);
	stored_restore(a, old);
	node_start(a);
	world_run(w, 3000);
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF);
	assert_int_equal(fwd_at(a, 1)->addresses[0].global_ip, vm_global(0, 1));
	node_start(c);
	world_run(w, 70000);
	assert_agreed(w, 3);
	world_free(w);
}

/* VM 7 with the private address of another one. */
static int
seven_with(struct node *r, unsigned int other)
{
	char private[IP4_TEXT];
	int code;

	ip4_format(vm_private(other), private);
	json_decref(ask(r, &code, "vm.register", "{s:s, s:s, s:i, s:[{s:s}]}", "segment", "tenant-a", "mac",
		"52:54:00:00:00:07", "epoch", 1, "addresses", "private", private));
	return code;
}

/* C-82: the address still belongs to r-c's VM here, and r-c cannot say yet that it has gone. */
static void
what_is_given_back_and_cannot_be_taken_yet_is_asked_for_again(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *c = world_router(w, 2);
	struct stored *old;

	(void)state;
	assert_int_equal(vm_register(c, 6, 0, vm_global(2, 6)), 0);
	world_run(w, 500);
	old = stored_copy(a);
	assert_int_equal(vm_unregister(c, 6, 0), 0);
	world_run(w, 500);
	assert_int_equal(seven_with(a, 6), 0);
	world_run(w, 500);
	node_crash(a);
	stored_restore(a, old);
	world_cut(w, 0, 2, true);
	node_start(a);
	world_run(w, 20000);
	assert_true(logged("address 10.0.0.11 belongs to VM tenant-a/52:54:00:00:00:06 of router r-c"));
	assert_null(fwd_at(a, 7));
	world_cut(w, 0, 2, false);
	world_run(w, 130000);
	assert_int_equal(fwd_at(a, 7)->owner, FWD_SELF);
	assert_null(fwd_at(a, 6));
	assert_agreed(w, 3);
	world_free(w);
}

/* An entry of the log of changes by this peer for this method. */
static bool
entry_of(struct node *r, const char *who, const char *what)
{
	const char *key, *value;

	for (unsigned int i = 0; (key = stored_at(r, i, &value)) != NULL; i++)
		if (strncmp(key, "log ", 4) == 0 && strstr(value, who) && strstr(value, what))
			return true;
	return false;
}

/* C-82: it had shown before that it knew of the deletion. */
static void
a_deletion_is_not_forgotten_while_an_old_store_cannot_take_it(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct stored *old;

	(void)state;
	assert_int_equal(vm_register(b, 1, 0, vm_global(1, 1)), 0);
	world_run(w, 500);
	old = stored_copy(a);
	assert_int_equal(vm_unregister(b, 1, 0), 0);
	world_run(w, 120000);
	node_crash(a);
	stored_restore(a, old);
	a->commits_to_fail = 10000000;
	node_start(a);
	world_run(w, 26 * HOUR);
	assert_true(vm_at(b, 1)->now.deleted);
	assert_true(vm_live(vm_at(a, 1)));
	a->commits_to_fail = 0;
	world_run(w, HOUR);
	assert_null(vm_at(a, 1));
	assert_null(vm_at(b, 1));
	world_free(w);
}

/* r-a and r-b have a VM each, 1 and 2; both are deleted, and a day later nobody remembers. r-a is down, with its store of before. */
static struct world *
about_to_start_before_that(void)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct stored *old;

	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(b, 2, 0, vm_global(1, 2)), 0);
	world_run(w, 500);
	old = stored_copy(a);
	assert_int_equal(vm_unregister(a, 1, 0), 0);
	assert_int_equal(vm_unregister(b, 2, 0), 0);
	world_run(w, 26 * HOUR);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(HASH_COUNT(world_router(w, i)->core->vms), 0);
	node_crash(a);
	stored_restore(a, old);
	return w;
}

static struct world *
forgotten_since(void)
{
	struct world *w = about_to_start_before_that();

	node_start(world_router(w, 0));
	world_run(w, 20000);
	return w;
}

/* C-82: whose deletion it was knows that it has no such VM, and forgets no VM that a peer knows to be its own. */
static void
a_vm_of_a_peer_that_all_others_have_forgotten_goes_with_the_first_exchange(void **state)
{
	struct world *w = forgotten_since();
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_null(vm_at(a, 2));
	assert_null(fwd_at(a, 2));
	assert_null(vm_at(b, 2));
	assert_true(entry_of(a, "peer r-b", "sync.rows"));
	assert_true(logged("peer r-b: VM tenant-a/52:54:00:00:00:02"));
	assert_int_equal(vm_register(b, 2, 0, vm_global(1, 2)), 0);
	assert_int_equal(vm_at(b, 2)->now.epoch, 1);
	world_run(w, 70000);
	assert_agreed(w, 3);
	world_free(w);
}

/* C-82: the VM has begun anew since, at a router with a higher name, which would not get it from the one whose it was. */
static void
a_vm_that_began_anew_elsewhere_is_not_kept_for_whose_it_was(void **state)
{
	struct world *w = about_to_start_before_that();
	struct node *a = world_router(w, 0), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_register(c, 2, 0, vm_global(2, 2)), 0);
	assert_int_equal(vm_at(c, 2)->now.epoch, 1);
	world_run(w, 500);
	node_start(a);
	world_run(w, 5000);
	assert_non_null(fwd_at(a, 2));
	assert_int_equal(fwd_at(a, 2)->owner, 2);
	assert_agreed(w, 3);
	world_free(w);
}

/* C-40: r-a is cut off from r-b, whose deletion it was, when all others forget that; what r-c tells of the VM meanwhile, which begins anew
 * there, is too old for r-a, and is asked for once r-b is heard. */
static void
a_vm_that_began_anew_is_asked_for_when_its_deletion_is_forgotten(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_register(b, 1, 0, vm_global(1, 1)), 0);
	assert_int_equal(vm_unregister(b, 1, 0), 0);
	world_run(w, 120000);
	world_cut(w, 0, 1, true);
	world_run(w, 26 * HOUR);
	assert_null(vm_at(c, 1));
	assert_true(vm_at(a, 1)->now.deleted);
	assert_int_equal(vm_register(c, 1, 0, vm_global(2, 1)), 0);
	world_run(w, 1000);
	assert_null(fwd_at(a, 1));
	world_cut(w, 0, 1, false);
	for (int i = 0; i < 700 && vm_at(a, 1) && vm_at(a, 1)->now.deleted; i++)
		world_run(w, 100);
	world_run(w, 1000);
	assert_non_null(fwd_at(a, 1));
	assert_agreed(w, 3);
	world_free(w);
}

/* C-82: the rule that docs/architecture.md states: of its own VM nobody can tell it. */
static void
a_store_from_before_a_deletion_that_all_have_forgotten_brings_the_vm_back(void **state)
{
	struct world *w = forgotten_since();
	struct node *a = world_router(w, 0), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF);
	assert_int_equal(fwd_at(c, 1)->owner, 1);
	assert_agreed(w, 3);
	assert_int_equal(vm_unregister(a, 1, 0), 0);
	world_run(w, 1000);
	assert_null(fwd_at(c, 1));
	assert_agreed(w, 3);
	world_free(w);
}

/* C-82: it is in the way of a newer one with its address. Neither is lost until somebody says which of them is. */
static void
what_an_old_store_brings_back_takes_no_address_from_what_its_peers_know(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct stored *old;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, 0), 0);
	world_run(w, 500);
	old = stored_copy(a);
	assert_int_equal(vm_unregister(a, 1, 0), 0);
	world_run(w, 26 * HOUR);
	assert_int_equal(seven_with(a, 1), 0);
	world_run(w, 500);
	node_crash(a);
	stored_restore(a, old);
	node_start(a);
	world_run(w, 90000);
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF);
	assert_null(fwd_at(a, 7));
	assert_int_equal(fwd_at(b, 7)->owner, 1);
	assert_int_equal(fwd_at(b, 7)->n_addresses, 1);
	assert_true(
		logged("its claim of VM tenant-a/52:54:00:00:00:07 is refused: address 10.0.0.6 belongs to "
		       "VM tenant-a/52:54:00:00:00:01"));
	assert_int_equal(vm_unregister(a, 1, 0), 0);
	world_run(w, 70000);
	assert_int_equal(fwd_at(a, 7)->owner, FWD_SELF);
	assert_int_equal(fwd_at(a, 7)->n_addresses, 1);
	assert_agreed(w, 3);
	world_free(w);
}

/* ---- what a peer's key can do with it ---- */

static unsigned int false_vm;
static const char *false_owner;
static uint64_t false_epoch;

static json_t *
false_word(void)
{
	struct mac mac = vm_mac(false_vm);
	char m[MAC_TEXT], private[IP4_TEXT];

	return json_pack("[{s:s, s:s, s:s, s:I, s:[{s:s}]}]", "segment", "tenant-a", "mac",
		mac_format(&mac, m), "owner", false_owner, "epoch", (json_int_t)false_epoch, "addresses",
		"private", ip4_format(vm_private(false_vm), private));
}

static json_t *
false_past(const char *method, const json_t *params)
{
	(void)params;
	if (strcmp(method, "sync.sums") == 0)
		return sums_answer(1);
	return strcmp(method, "sync.mine") == 0 ? json_pack("{s:o}", "vms", false_word()) : json_object();
}

/* r-a has VM 1, r-c VM 2, nobody VM 3; r-a starts anew and meets one with the key of r-b, who says that the VM was r-a's,
 * or claims it for himself. Has anything changed? */
static bool
believed(unsigned int vm, uint64_t epoch, bool past)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	struct vm_obj *before;
	struct caller *k;
	bool changed;

	assert_int_equal(vm_register(a, 1, 5, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(c, 2, 5, vm_global(2, 2)), 0);
	world_run(w, 500);
	node_crash(b);
	node_crash(a);
	node_start(a);
	world_run(w, 20);
	false_vm = vm;
	false_epoch = epoch;
	false_owner = past ? "r-a" : "r-b";
	k = caller_with(b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100),
		past ? false_past : NULL);
	if (!past)
		caller_call(k, "sync.update", json_pack("{s:o}", "vms", false_word()));
	world_run(w, 3000);
	before = vm_at(a, vm);
	changed = before && before->now.epoch == epoch && before->now.fwd.owner == (past ? FWD_SELF : 1) &&
		  before->now.fwd.addresses[0].global_ip == 0;
	if (past)
		assert_int_equal(
			changed, logged("peer r-b: our store was lost or is an old one: it gives back 1"));
	if (past)
		assert_int_equal(changed, entry_of(a, "peer r-b", "sync.mine"));
	assert_true(model_is_true(a));
	caller_free(k);
	world_free(w);
	return changed;
}

/* Whatever a key makes a router believe of its past, it could as well have claimed for its own. */
static void
an_invented_past_gains_no_more_than_a_claim(void **state)
{
	static const struct {
		unsigned int vm;
		uint64_t epoch;
		bool believed;
	} words[] = {{1, 4, false}, {1, 5, false}, {1, 6, true}, {2, 4, false}, {2, 5, true}, {2, 6, true},
		{3, 1, true}, {1, 6 + EPOCH_STEP, false}, {2, 6 + EPOCH_STEP, false}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		control_setup(state);
		assert_int_equal(believed(words[i].vm, words[i].epoch, true), words[i].believed);
		control_setup(state);
		assert_int_equal(believed(words[i].vm, words[i].epoch, false), words[i].believed);
	}
}

static json_t *
past_again(const char *method, const json_t *params)
{
	(void)params;
	assert_string_not_equal(method, "sync.mine");
	return sums_answer(1);
}

/* Once after each start, and not of a VM that it has meanwhile. */
static void
a_peer_is_asked_for_our_past_once(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *k;

	(void)state;
	assert_int_equal(vm_register(a, 1, 5, vm_global(0, 1)), 0);
	node_crash(b);
	k = caller_with(
		b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100), past_again);
	world_run(w, 3000);
	assert_string_equal(k->last, "sync.sums");
	caller_free(k);
	world_free(w);
}

static json_t *
false_future(const char *method, const json_t *params)
{
	json_t *v = sums_answer(0);

	(void)params;
	if (strcmp(method, "sync.sums") == 0)
		json_object_set_new(v, "revision", json_integer(INT64_MAX));
	return v;
}

/* Nor does it use up our revisions. */
static void
a_peer_that_invents_a_revision_out_of_reach_is_not_believed(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0);
	struct caller *k;
	uint64_t was;

	(void)state;
	node_start(a);
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	k = caller_new(world_router(w, 1), "r-b", ROLE_PEER, a, NULL); /* its past is told */
	world_run(w, 1000);
	caller_free(k);
	node_crash(a);
	node_start(a);
	world_run(w, 20);
	was = a->core->revision;
	k = caller_with(world_router(w, 1), "r-b", ROLE_PEER, a,
		json_pack("{s:{s:i}}", "segments", "tenant-a", 100), false_future);
	world_run(w, 3000);
	assert_true(k->up);
	assert_true(logged("ALARM: peer r-b: it tells of our revision 9223372036854775807"));
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 2)), 0);
	assert_int_equal(get_number(a, "show.status", "revision"), was + 1);
	caller_free(k);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(peers_hear_soon_that_a_router_is_sure),
		T(a_router_without_its_store_goes_on_asking_after_a_crash),
		T(a_router_with_yesterdays_store_starts_with_what_its_peers_know),
		T(yesterdays_store_is_found_whatever_was_done_with_it_since),
		T(what_is_given_back_takes_the_addresses_of_what_it_replaces_in_any_order),
		T(a_vm_that_came_from_a_third_router_is_given_back_without_that_one),
		T(what_is_given_back_and_cannot_be_taken_yet_is_asked_for_again),
		T(a_deletion_is_not_forgotten_while_an_old_store_cannot_take_it),
		T(a_vm_of_a_peer_that_all_others_have_forgotten_goes_with_the_first_exchange),
		T(a_vm_that_began_anew_elsewhere_is_not_kept_for_whose_it_was),
		T(a_vm_that_began_anew_is_asked_for_when_its_deletion_is_forgotten),
		T(a_store_from_before_a_deletion_that_all_have_forgotten_brings_the_vm_back),
		T(what_an_old_store_brings_back_takes_no_address_from_what_its_peers_know),
		T(an_invented_past_gains_no_more_than_a_claim),
		T(a_peer_is_asked_for_our_past_once),
		T(a_peer_that_invents_a_revision_out_of_reach_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
