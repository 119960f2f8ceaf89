/* SPDX-License-Identifier: BSD-3-Clause */
#include "control.h"

#include <limits.h>

#define HOUR UINT64_C(3600000)

static void
peers_learn_registrations_changes_and_deletions(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 2)), 0);
	world_run(w, 100);
	assert_int_equal(fwd_at(c, 1)->owner, 1);
	assert_int_equal(fwd_at(c, 1)->location, 1);
	assert_int_equal(fwd_at(c, 1)->addresses[0].global_ip, vm_global(0, 1));
	assert_int_equal(vm_unregister(a, 1, 0), 0);
	world_run(w, 100);
	assert_null(fwd_at(c, 1));
	assert_true(vm_at(c, 1)->now.deleted);
	assert_agreed(w, 3);
	world_free(w);
}

static void
routers_that_were_apart_agree_when_they_meet(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(vm_register(a, i, 0, vm_global(0, i)), 0);
	world_run(w, 100);
	world_cut(w, 0, 1, true);
	world_run(w, 30000);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(vm_move(b, i, 0, vm_global(1, i), HOUR, HOUR), 0);
	for (unsigned int i = 10; i < 15; i++)
		assert_int_equal(vm_unregister(a, i, 0), 0);
	assert_int_equal(vm_register(b, 30, 0, vm_global(1, 30)), 0);
	assert_int_equal(fwd_at(a, 0)->owner, FWD_SELF); /* both serve: the same gateway MAC */
	assert_int_equal(fwd_at(b, 0)->owner, FWD_SELF);
	world_cut(w, 0, 1, false);
	world_run(w, 70000);
	assert_agreed(w, 2);
	assert_int_equal(fwd_at(a, 0)->owner, 1);
	assert_int_equal(fwd_at(a, 0)->drains[0].home, FWD_SELF);
	assert_null(fwd_at(b, 10));
	assert_non_null(fwd_at(a, 30));
	world_free(w);
}

static void
an_exchange_pages_through_thousands_of_vms(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *changes = json_array();
	int code;

	(void)state;
	node_crash(b);
	for (unsigned int i = 0; i < 5000; i++) {
		struct mac mac = vm_mac(i);
		char m[MAC_TEXT], p[IP4_TEXT];

		json_array_append_new(
			changes, json_pack("{s:s, s:{s:s, s:s, s:[{s:s}]}}", "method", "vm.register",
					 "params", "segment", "tenant-a", "mac", mac_format(&mac, m),
					 "addresses", "private", ip4_format(vm_private(i), p)));
	}
	json_decref(ask(a, &code, "txn.apply", "{s:o}", "changes", changes));
	assert_int_equal(code, 0);
	node_start(b);
	world_run(w, 70000);
	assert_int_equal(model_count(b), 5000);
	assert_agreed(w, 2);
	world_free(w);
}

static void
an_exchange_pages_through_segments_whose_names_begin_alike(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *changes = json_array();
	int code;

	(void)state;
	for (unsigned int i = 0; i < 2; i++)
		strcpy(((struct conf_segment *)world_router(w, i)->conf.segments.items)[1].name, "tenant");
	node_start(a);
	world_run(w, 6000);
	for (unsigned int i = 0; i < 6000; i++) {
		struct mac mac = vm_mac(i);
		char m[MAC_TEXT];

		json_array_append_new(changes,
			json_pack("{s:s, s:{s:s, s:s, s:i}}", "method", "vm.unregister", "params", "segment",
				i % 2 ? "tenant" : "tenant-a", "mac", mac_format(&mac, m), "epoch", 1));
	}
	json_decref(ask(a, &code, "txn.apply", "{s:o}", "changes", changes));
	assert_int_equal(code, 0);
	node_start(b);
	world_run(w, 10000);
	assert_int_equal(HASH_COUNT(b->core->vms), 6000);
	assert_agreed(w, 2);
	world_free(w);
}

/* C-52: and the data plane is untouched. */
static void
a_lost_peer_leaves_its_vms_as_they_were(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *v, *row;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 100);
	node_crash(a);
	world_run(w, 7 * 24 * HOUR);
	assert_int_equal(fwd_at(b, 1)->owner, 1);
	v = get(b, "show.peers", "{}");
	row = json_array_get(json_object_get(v, "rows"), 0);
	assert_true(json_is_true(json_object_get(row, "stale")));
	assert_string_equal(json_string_value(json_object_get(row, "state")), "away");
	assert_int_equal(json_integer_value(json_object_get(row, "vms")), 1);
	json_decref(v);
	node_start(a);
	world_run(w, 3000);
	v = get(b, "show.peers", "{}");
	row = json_array_get(json_object_get(v, "rows"), 0);
	assert_false(json_is_true(json_object_get(row, "stale")));
	json_decref(v);
	world_free(w);
}

static void
a_move_told_to_the_new_router_works_while_the_old_one_is_dead(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 100);
	node_crash(a);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, HOUR), 0);
	assert_int_equal(fwd_at(b, 1)->owner, FWD_SELF);
	world_run(w, 60000);
	node_start(a);
	world_run(w, 3000);
	assert_int_equal(fwd_at(a, 1)->owner, 1);
	assert_int_equal(fwd_at(a, 1)->drains[0].home, FWD_SELF);
	world_run(w, 2 * HOUR);
	assert_int_equal(fwd_at(a, 1)->n_drains, 0);
	assert_agreed(w, 2);
	world_free(w);
}

static void
a_drain_that_ended_while_the_owner_was_away_ends_there_too(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 100);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), 60000, 120000), 0);
	world_run(w, 100);
	node_crash(b);
	world_run(w, 200000);
	assert_int_equal(fwd_at(a, 1)->n_drains, 0);
	assert_int_equal(fwd_at(c, 1)->n_drains, 0);
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 1)), 0); /* and its address is used again */
	node_start(b);
	world_run(w, 70000);
	assert_int_equal(fwd_at(b, 1)->n_drains, 0);
	assert_false(logged("is refused"));
	assert_agreed(w, 3);
	world_free(w);
}

static void
a_drain_whose_home_has_given_the_address_away_is_not_taken(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 100);
	world_cut(w, 1, 2, true); /* c hears nothing of the move, then all of it late */
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), 1000, 2000), 0);
	world_run(w, 100);
	world_cut(w, 0, 1, true); /* and b nothing of the end of its drain */
	world_run(w, 5000);
	assert_int_equal(fwd_at(a, 1)->n_drains, 0);
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 1)), 0);
	world_run(w, 30000);
	world_cut(w, 1, 2, false);
	world_run(w, 70000);
	assert_int_equal(fwd_at(b, 1)->n_drains, 1); /* it still believes so */
	assert_int_equal(fwd_at(c, 1)->owner, 2);
	assert_int_equal(fwd_at(c, 1)->n_drains, 0);
	assert_int_equal(fwd_at(c, 2)->addresses[0].global_ip, vm_global(0, 1));
	world_cut(w, 0, 1, false);
	world_run(w, 140000);
	assert_agreed(w, 3);
	world_free(w);
}

/* ---- a peer that is not what it should be ---- */

static json_t *
claim(unsigned int n, const char *owner, uint64_t epoch, const char *private, const char *global)
{
	struct mac mac = vm_mac(n);
	char m[MAC_TEXT];

	return json_pack("{s:s, s:s, s:s, s:I, s:[{s:s, s:s*}]}", "segment", "tenant-a", "mac",
		mac_format(&mac, m), "owner", owner, "epoch", (json_int_t)epoch, "addresses", "private",
		private, "global", global);
}

static int
tell(struct caller *k, json_t *vm)
{
	int code = caller_call(k, "sync.update", json_pack("{s:[o]}", "vms", vm));

	world_run(k->from->w, 50);
	return code;
}

/* Router a runs; the test speaks with b's key. */
static struct caller *
false_peer(struct world **w)
{
	*w = world_new(1, 3);
	node_start(world_router(*w, 0));
	world_run(*w, 100);
	return caller_new(world_router(*w, 1), "r-b", ROLE_PEER, world_router(*w, 0),
		json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
}

static void
routers_speak_only_of_segments_that_both_have(void **state)
{
	struct world *w = world_new(1, 3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	struct conf_segment *lab = list_at(b->conf.segments, struct conf_segment, 1);
	const char *in_lab = "{\"segment\": \"lab\", \"mac\": \"52:54:00:00:00:09\", "
			     "\"addresses\": [{\"private\": \"172.16.0.6\"}]}";

	(void)state;
	free(lab->attachments.items);
	b->conf.segments.n = 1;					  /* b has no lab */
	list_at(c->conf.segments, struct conf_segment, 1)->vni++; /* c has another one by the same name */
	for (unsigned int i = 0; i < 3; i++)
		node_start(world_router(w, i));
	world_run(w, 6000);
	assert_true(logged("not shared"));
	assert_int_equal(call(a, "vm.register", in_lab), 0);
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 100);
	world_reset(w, 0, 1);
	world_reset(w, 0, 2);
	world_run(w, 70000);
	assert_int_equal(model_count(a), 2);
	assert_int_equal(model_count(b), 1);
	assert_int_equal(model_count(c), 1);
	assert_false(logged("is refused"));
	world_free(w);
}

/* What docs/security.md says of a stolen key: the first epoch of a VM may be any. */
static void
a_peer_may_take_a_vm_that_nobody_knows_at_the_last_epoch(void **state)
{
	struct world *w;
	struct caller *k = false_peer(&w);
	struct node *a = world_router(w, 0);

	(void)state;
	tell(k, claim(1, "r-b", EPOCH_MAX, "10.0.0.6", NULL));
	assert_int_equal(fwd_at(a, 1)->owner, 1);
	assert_int_equal(vm_register(a, 1, 0, 0), RPC_EPOCH_STEP);
	assert_int_equal(vm_move(a, 1, 0, vm_global(0, 1), 0, 0), RPC_EPOCH_STEP);
	assert_true(model_is_true(a));
	caller_free(k);
	world_free(w);
}

/* C-80 */
static void
a_peer_may_claim_for_itself_only(void **state)
{
	struct world *w;
	struct caller *k = false_peer(&w);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_true(k->up);
	assert_int_equal(vm_register(a, 1, 5, vm_global(0, 1)), 0);
	tell(k, claim(2, "r-b", 1, "10.0.0.7", "198.52.0.7")); /* this is right */
	assert_int_equal(fwd_at(a, 2)->owner, 1);
	tell(k, claim(3, "r-c", 1, "10.0.0.8", NULL)); /* for another */
	tell(k, claim(3, "r-a", 1, "10.0.0.8", NULL)); /* for us */
	tell(k, claim(3, "r-x", 1, "10.0.0.8", NULL)); /* for nobody we know */
	assert_null(vm_at(a, 3));
	tell(k, claim(1, "r-b", 5 + EPOCH_STEP + 1, "10.0.0.6", NULL)); /* too far */
	tell(k, claim(1, "r-b", 4, "10.0.0.6", NULL));			/* stale */
	tell(k, claim(1, "r-a", 6, "10.0.0.6", NULL));			/* our own VM, in our name */
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF);
	tell(k, claim(4, "r-b", 1, "10.0.0.9", "198.51.0.9")); /* an address of our pool */
	tell(k, claim(4, "r-b", 1, "11.0.0.9", NULL));	       /* outside the segment */
	tell(k, claim(4, "r-b", 1, "10.0.0.1", NULL));	       /* the gateway */
	tell(k, claim(4, "r-b", 1, "10.0.0.9", "224.0.0.9"));
	tell(k, claim(4, "r-b", 1, "10.0.0.6", NULL)); /* the private address of our VM */
	tell(k, json_pack("{s:s, s:s, s:s, s:i}", "segment", "other", "mac", "52:54:00:00:00:04", "owner",
			"r-b", "epoch", 1));
	tell(k, json_pack("{s:s, s:s, s:s, s:i}", "segment", "lab", "mac", "52:54:00:00:00:04", "owner",
			"r-b", "epoch", 1)); /* we have it, but by its hello it has not */
	tell(k, json_string("garbage"));
	tell(k, json_object());
	assert_null(vm_at(a, 4));
	assert_int_equal(HASH_COUNT(a->core->vms), 2);
	assert_true(logged("ALARM: peer r-b"));
	tell(k, claim(1, "r-b", 6, "10.0.0.6", "198.52.0.6")); /* a move that no controller told us: right */
	assert_int_equal(fwd_at(a, 1)->owner, 1);
	assert_true(model_is_true(a));
	caller_free(k);
	world_free(w);
}

static void
a_peer_may_call_nothing_but_sync(void **state)
{
	struct world *w;
	struct caller *k = false_peer(&w);

	(void)state;
	assert_int_equal(caller_call(k, "vm.register", json_object()), RPC_DENIED);
	assert_int_equal(caller_call(k, "show.vms", json_object()), RPC_DENIED);
	assert_int_equal(caller_call(k, "sync.nothing", json_object()), RPC_NO_METHOD);
	assert_int_equal(caller_call(k, "sync.pull", json_pack("{s:[i]}", "vms", 7)), 0);
	assert_int_equal(
		caller_call(k, "sync.done", json_pack("{s:[i, {s:i}]}", "drains", 7, "segment", 1)), 0);
	assert_int_equal(caller_call(k, "sync.update", json_pack("{s:i}", "vms", 7)), RPC_NO_METHOD);
	assert_true(k->up && !k->down);
	caller_free(k);
	world_free(w);
}

static void
a_peer_may_end_only_drains_whose_home_it_is(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	struct caller *k;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 100);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, HOUR), 0);
	world_run(w, 100);
	node_crash(c);
	k = caller_new(c, "r-c", ROLE_PEER, b, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	assert_true(k->up);
	assert_int_equal(caller_call(k, "sync.done",
				 json_pack("{s:[{s:s, s:s, s:s, s:i}]}", "drains", "segment", "tenant-a",
					 "mac", "52:54:00:00:00:01", "global", "198.51.0.6", "epoch", 2)),
		0);
	assert_int_equal(fwd_at(b, 1)->n_drains, 1);
	caller_free(k);
	world_free(w);
}

/* With one drain of router a's. */
static json_t *
drain_claim(unsigned int n, uint64_t epoch, const char *private, const char *old_private, const char *old,
	uint64_t old_epoch)
{
	json_t *vm = claim(n, "r-b", epoch, private, NULL);

	json_object_set_new(vm, "drains",
		json_pack("[{s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:i}]", "private", old_private, "global", old,
			"router", "r-a", "epoch", (json_int_t)old_epoch, "min", 1000, "max", 1000, "left-min",
			1000, "left-max", 1000));
	return vm;
}

static void
a_peer_makes_us_translate_nothing_that_we_did_not(void **state)
{
	struct world *w;
	struct caller *k = false_peer(&w);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(a, 1, 5, vm_global(0, 1)), 0);
	tell(k, drain_claim(
			2, 1, "10.0.0.7", "10.0.0.7", "198.51.0.7", 1)); /* a VM of its own, a free address */
	assert_int_equal(fwd_at(a, 2)->n_drains, 0);
	assert_string_equal(k->last, "sync.done");
	tell(k, drain_claim(2, 2, "10.0.0.7", "10.0.0.7", "198.51.0.6", 2)); /* that of our VM */
	assert_int_equal(fwd_at(a, 2)->n_drains, 0);
	tell(k, drain_claim(
			1, 6, "10.0.0.6", "10.0.0.9", "198.51.0.6", 6)); /* to another's private address */
	tell(k, drain_claim(1, 6, "10.0.0.6", "10.0.0.6", "198.51.0.6", 7)); /* by a move to come */
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF);
	tell(k, drain_claim(1, 6, "10.0.0.6", "10.0.0.6", "198.51.0.8", 6)); /* our VM, not its address */
	assert_int_equal(fwd_at(a, 1)->owner, 1);
	assert_int_equal(fwd_at(a, 1)->n_drains, 0);
	tell(k, drain_claim(1, 7, "10.0.0.6", "10.0.0.6", "198.51.0.6", 7)); /* it was live here, once */
	assert_int_equal(fwd_at(a, 1)->n_drains, 0);
	assert_int_equal(vm_register(a, 3, 0, vm_global(0, 1)), 0); /* all is free */
	assert_true(model_is_true(a));
	caller_free(k);
	world_free(w);
}

/* A claimant that has not heard of the move that began a drain gives it the number of its own. */
static void
a_drain_goes_on_by_its_homes_clock_whatever_move_it_is_named_by(void **state)
{
	struct world *w;
	struct caller *k = false_peer(&w);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(a, 1, 5, vm_global(0, 1)), 0);
	tell(k, drain_claim(1, 6, "10.0.0.6", "10.0.0.6", "198.51.0.6", 6));
	assert_int_equal(fwd_at(a, 1)->drains[0].home, FWD_SELF);
	world_run(w, 700);
	tell(k, drain_claim(1, 7, "10.0.0.6", "10.0.0.6", "198.51.0.6", 7));
	assert_int_equal(vm_at(a, 1)->now.drain[0].epoch, 7);
	assert_true(drain_left(a->core, vm_at(a, 1)->now.drain[0].max_at) <= 300);
	assert_int_equal(a->n_freed, 0);
	world_run(w, 2500);
	assert_int_equal(fwd_at(a, 1)->n_drains, 0);
	caller_free(k);
	world_free(w);
}

/* ---- a store that was lost ---- */

/* Router a has VMs of each kind; then it is down, VM 5 moves on, and it starts without its store. */
static struct world *
store_lost(void)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	for (unsigned int i = 1; i <= 5; i++)
		assert_int_equal(vm_register(a, i, 0, vm_global(0, i)), 0);
	assert_int_equal(vm_unregister(a, 2, 0), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(b, 3, 0, vm_global(1, 3), HOUR, HOUR), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(b, 4, 0, vm_global(1, 4), HOUR, HOUR), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(a, 4, 0, vm_global(0, 4), HOUR, HOUR), 0);
	world_run(w, 200);
	node_crash(a);
	assert_int_equal(vm_move(b, 5, 0, vm_global(1, 5), HOUR, HOUR), 0);
	world_run(w, 200);
	stored_clear(a);
	return w;
}

static void
a_router_that_lost_its_store_gets_its_vms_back_from_its_peers(void **state)
{
	struct world *w = store_lost();
	struct node *a = world_router(w, 0);

	(void)state;
	node_start(a);
	for (uint64_t began = w->now; !a->ready && w->now < began + 5000;)
		world_run(w, 10);
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF); /* before its ports start */
	assert_int_equal(fwd_at(a, 1)->addresses[0].global_ip, vm_global(0, 1));
	assert_true(vm_at(a, 2)->now.deleted);
	assert_int_equal(fwd_at(a, 3)->owner, 1);
	assert_int_equal(fwd_at(a, 3)->drains[0].global_ip, vm_global(0, 3)); /* and still translates */
	assert_int_equal(fwd_at(a, 4)->owner, FWD_SELF);
	assert_int_equal(fwd_at(a, 4)->drains[0].home, 1);
	assert_int_equal(fwd_at(a, 5)->owner, 1); /* it went on: a higher epoch */
	assert_true(logged("gives back 3 VMs of ours"));
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0); /* above the old epoch, or the same */
	world_run(w, 1000);
	assert_agreed(w, 3);
	node_crash(a);
	node_start(a);
	world_run(w, 3000);
	assert_agreed(w, 3);
	world_run(w, HOUR + 60000);
	assert_int_equal(fwd_at(a, 3)->n_drains, 0);
	assert_false(logged("is refused"));
	world_free(w);
}

static struct node *agreeing;

static json_t *
agrees_at_once(const char *method, const json_t *params)
{
	(void)params;
	assert_string_equal(method, "sync.sums");
	return json_pack("{s:o, s:o, s:i}", "mine", sums_with(0), "yours",
		digest_json(agreeing->core->peers[0].mine->branch), "revision", 0);
}

static void
a_router_whose_peer_has_the_same_as_its_own_asks_nothing_back(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *k;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	node_crash(b);
	node_crash(a);
	node_start(a);
	world_run(w, 100);
	agreeing = a;
	k = caller_with(
		b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100), agrees_at_once);
	world_run(w, 500);
	assert_int_equal(k->calls, 1);
	caller_free(k);
	world_free(w);
}

/* The first exchange with a router whose store is empty: what a peer's key can say of that router's past. */
static json_t *
false_past(const char *method, const json_t *params)
{
	json_t *vms;

	(void)params;
	if (strcmp(method, "sync.mine") != 0)
		return strcmp(method, "sync.sums") == 0 ? sums_answer(1) : json_object();
	vms = json_array();
	json_array_append_new(vms, claim(1, "r-a", 1, "10.0.0.6", "198.51.0.6")); /* this is right */
	json_array_append_new(vms, claim(2, "r-b", 1, "10.0.0.7", NULL));	  /* its own */
	json_array_append_new(vms, claim(3, "r-c", 1, "10.0.0.8", NULL));
	json_array_append_new(vms, claim(4, "r-a", 1, "10.0.0.9", "198.52.0.9")); /* not our pool */
	json_array_append_new(vms, claim(5, "r-a", 1, "10.0.0.6", NULL));	  /* twice */
	json_array_append_new(vms, claim(6, "r-a", 1, "10.0.0.1", NULL));	  /* the gateway */
	return json_pack("{s:o}", "vms", vms);
}

static void
an_empty_router_believes_of_its_past_what_could_have_been(void **state)
{
	struct world *w = world_new(1, 3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *k;

	(void)state;
	node_start(a);
	world_run(w, 100);
	caller_free(caller_new(b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100)));
	k = caller_new(b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	assert_string_equal(k->last, "sync.sums"); /* the first exchange is over */
	caller_free(k);
	node_crash(a);
	stored_clear(a);
	node_start(a);
	world_run(w, 100);
	k = caller_with(
		b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100), false_past);
	world_run(w, 500);
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF);
	assert_int_equal(HASH_COUNT(a->core->vms), 1);
	assert_true(logged("is refused"));
	assert_true(model_is_true(a));
	caller_free(k);
	world_free(w);
}

/* ---- equal epochs ---- */

/* C-79 */
static void
of_two_claims_at_one_epoch_the_lower_name_keeps_it_everywhere(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		for (unsigned int j = 0; j < i; j++)
			world_cut(w, i, j, true);
	world_run(w, 20000);
	assert_int_equal(vm_register(c, 1, 8, vm_global(2, 1)), 0); /* the controller's fault */
	assert_int_equal(vm_register(b, 1, 8, vm_global(1, 1)), 0);
	assert_int_equal(vm_register(a, 2, 8, vm_global(0, 2)), 0);
	assert_int_equal(vm_unregister(c, 2, 8), 0);
	for (unsigned int i = 0; i < 3; i++)
		for (unsigned int j = 0; j < i; j++)
			world_cut(w, i, j, false);
	world_run(w, 200000);
	assert_int_equal(fwd_at(a, 1)->owner, 1); /* r-b */
	assert_int_equal(fwd_at(b, 1)->owner, FWD_SELF);
	assert_int_equal(fwd_at(c, 2)->owner, 1); /* r-a's VM beats r-c's tombstone */
	assert_true(logged("the lower name keeps it"));
	assert_agreed(w, 3);
	world_free(w);
}

static void
an_address_that_moves_between_vms_of_a_peer_follows_its_last_word(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(a, 2, 0, 0), 0);
	world_run(w, 100);
	world_cut(w, 0, 1, true); /* b hears of both at once, in the digest's order: VM 0 first */
	world_run(w, 20000);
	assert_int_equal(vm_unregister(a, 1, 0), 0);
	assert_int_equal(vm_register(a, 0, 0, vm_global(0, 1)), 0);
	world_cut(w, 0, 1, false);
	world_run(w, 70000);
	assert_int_equal(fwd_at(b, 0)->addresses[0].global_ip, vm_global(0, 1));
	assert_false(logged("is refused"));
	assert_agreed(w, 2);
	world_free(w);
}

static void
a_claim_whose_address_another_router_still_has_is_taken_later(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	const char *again = "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:63\", "
			    "\"addresses\": [{\"private\": \"10.0.0.6\"}]}";

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, 0), 0);
	world_run(w, 100);
	assert_int_equal(call(b, "vm.register", again), RPC_CONFLICT);
	world_cut(w, 0, 2, true); /* c does not hear that a gives VM 1 up */
	assert_int_equal(vm_unregister(a, 1, 0), 0);
	world_run(w, 500);
	assert_int_equal(call(b, "vm.register", again), 0);
	world_run(w, 5000);
	assert_null(fwd_at(c, 0x63));
	assert_non_null(fwd_at(c, 1));
	world_cut(w, 0, 2, false);
	world_run(w, 200000);
	assert_non_null(fwd_at(c, 0x63));
	assert_agreed(w, 3);
	world_free(w);
}

static void
news_that_the_store_refuses_are_asked_for_again(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	b->commits_to_fail = 1;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 50);
	assert_null(fwd_at(b, 1));
	world_run(w, 10000);
	assert_non_null(fwd_at(b, 1));
	assert_agreed(w, 2);
	world_free(w);
}

/* It is tried seldom by then, but the router asks its store each 5 s. */
static void
news_that_a_store_refused_for_long_come_once_it_takes_them(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	b->commits_to_fail = INT_MAX;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 600000);
	assert_null(fwd_at(b, 1));
	for (unsigned int i = 0; i < 10; i++) {
		b->commits_to_fail = INT_MAX;
		assert_int_equal(vm_move(a, 1, 0, vm_global(0, 2 + i), 0, 1000), 0);
		world_run(w, 100000 + world_random(w, 100000));
		b->commits_to_fail = 0;
		world_run(w, 5500);
		assert_int_equal(fwd_at(b, 1)->addresses[0].global_ip, vm_global(0, 2 + i));
	}
	world_free(w);
}

static void
one_claim_that_forwarding_refuses_does_not_cost_the_others(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	b->conf.limits.vms = 3;
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(vm_register(a, i, 0, vm_global(0, i)), 0);
	world_run(w, 1000);
	assert_int_equal(model_count(b), 3);
	b->conf.limits.vms = 10;
	b->prepare_fails = true;
	world_run(w, 60000);
	b->prepare_fails = false;
	world_run(w, 130000);
	assert_agreed(w, 2);
	world_free(w);
}

static void
a_burst_beyond_what_may_be_on_its_way_is_asked_for_afterwards(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *changes = json_array();
	int code;

	(void)state;
	for (unsigned int i = 0; i < 7500; i++) {
		struct mac mac = vm_mac(i);
		char m[MAC_TEXT];

		json_array_append_new(
			changes, json_pack("{s:s, s:{s:s, s:s, s:i}}", "method", "vm.unregister", "params",
					 "segment", "tenant-a", "mac", mac_format(&mac, m), "epoch", 1));
	}
	json_decref(ask(a, &code, "txn.apply", "{s:o}", "changes", changes));
	assert_int_equal(code, 0);
	assert_true(a->core->peers[0].lagging);
	world_run(w, 5000);
	assert_int_equal(HASH_COUNT(b->core->vms), 7500);
	assert_agreed(w, 2);
	world_free(w);
}

/* 13,000 drains are more than one message holds. */
static void
drains_that_all_end_at_once_end_at_the_owner_too(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	int code;

	(void)state;
	for (unsigned int i = 0; i < 26000; i += 3250) {
		json_t *changes = json_array();
		bool moves = i >= 13000;

		for (unsigned int n = i % 13000; n < i % 13000 + 3250; n++) {
			struct mac mac = vm_mac(n);
			char m[MAC_TEXT], p[IP4_TEXT], g[IP4_TEXT];

			json_array_append_new(
				changes, json_pack("{s:s, s:{s:s, s:s, s:[{s:s, s:s}]}}", "method",
						 moves ? "vm.move" : "vm.register", "params", "segment",
						 "tenant-a", "mac", mac_format(&mac, m), "addresses",
						 "private", ip4_format(vm_private(n), p), "global",
						 ip4_format(vm_global(moves, n), g)));
			if (moves)
				json_object_set_new(
					json_object_get(json_array_get(changes, n - i % 13000), "params"),
					"drain-max", json_integer(5000));
		}
		json_decref(ask(moves ? b : a, &code, "txn.apply", "{s:o}", "changes", changes));
		assert_int_equal(code, 0);
		world_run(w, 200);
	}
	a->commits_to_fail = 1000000; /* so that all are over when the first can end */
	world_run(w, 10000);
	a->commits_to_fail = 0;
	world_run(w, 5000);
	assert_int_equal(vm_at(a, 0)->now.fwd.n_drains, 0);
	for (unsigned int n = 0; n < 13000; n++)
		assert_int_equal(vm_at(b, n)->now.fwd.n_drains, 0);
	assert_agreed(w, 2);
	world_free(w);
}

/* As many VMs with three addresses each as one call can name: all is told by the channel that is up. */
static void
a_site_that_is_evacuated_in_one_call_does_not_cost_the_channel(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	uint64_t up = b->core->peers[0].up_serial;
	int code;

	(void)state;
	for (unsigned int moves = 0; moves < 2; moves++) {
		json_t *changes = json_array();

		for (unsigned int n = 0; n < 9900; n += 3) {
			struct mac mac = vm_mac(n);
			char m[MAC_TEXT], p[3][IP4_TEXT], g[3][IP4_TEXT];

			for (unsigned int k = 0; k < 3; k++) {
				ip4_format(vm_private(n + k), p[k]);
				ip4_format(vm_global(moves, n + k), g[k]);
			}
			json_array_append_new(changes,
				json_pack("{s:s, s:{s:s, s:s, s:[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]}}",
					"method", moves ? "vm.move" : "vm.register", "params", "segment",
					"tenant-a", "mac", mac_format(&mac, m), "addresses", "private", p[0],
					"global", g[0], "private", p[1], "global", g[1], "private", p[2],
					"global", g[2]));
		}
		json_decref(ask(moves ? b : a, &code, "txn.apply", "{s:o}", "changes", changes));
		assert_int_equal(code, 0);
		world_run(w, 1000);
	}
	assert_agreed(w, 2);
	assert_int_equal(b->core->peers[0].up_serial, up);
	world_free(w);
}

static void
ignore(void *arg, int code, json_t *result)
{
	(void)arg;
	(void)code;
	(void)result;
}

static void
count_pulled(void *arg, int code, json_t *result)
{
	*(size_t *)arg += code == 0 ? json_array_size(json_object_get(result, "vms")) : 0;
}

/* Registrations are on their way to a store that refuses them, while a peer keeps asking. */
static void
a_peer_is_not_told_what_the_store_does_not_have_yet(void **state)
{
	struct world *w;
	struct caller *k = false_peer(&w);
	struct node *a = world_router(w, 0);
	struct caller *clc =
		caller_new(world_controller(w), "clc", ROLE_CONTROLLER, a, json_pack("{s:i}", "term", 1));
	size_t told = 0;

	(void)state;
	assert_true(clc->up);
	for (int i = 0; i < 30; i++) {
		a->commits_to_fail = 1;
		assert_int_equal(rpc_call(clc->rpc, "vm.register",
					 json_pack("{s:s, s:s, s:[{s:s}]}", "segment", "tenant-a", "mac",
						 "52:54:00:00:00:01", "addresses", "private", "10.0.0.6"),
					 ignore, NULL),
			0);
		for (int ms = 0; ms < 20; ms++) {
			assert_int_equal(
				rpc_call(k->rpc, "sync.pull",
					json_pack("{s:[[s, s]]}", "vms", "tenant-a", "52:54:00:00:00:01"),
					count_pulled, &told),
				0);
			world_run(w, 1);
		}
	}
	assert_null(vm_at(a, 1));
	assert_int_equal(told, 0);
	assert_int_equal(vm_register(a, 1, 0, 0), 0);
	assert_int_equal(rpc_call(k->rpc, "sync.pull",
				 json_pack("{s:[[s, s]]}", "vms", "tenant-a", "52:54:00:00:00:01"),
				 count_pulled, &told),
		0);
	world_run(w, 100);
	assert_int_equal(told, 1);
	caller_free(clc);
	caller_free(k);
	world_free(w);
}

/* C-25: once it is up. */
static void
a_new_session_replaces_the_old_one(void **state)
{
	struct world *w;
	struct caller *k = false_peer(&w), *l;

	(void)state;
	assert_true(k->up);
	l = caller_new(world_router(w, 1), "r-b", ROLE_PEER, world_router(w, 0), NULL);
	assert_true(l->up);
	world_run(w, 1000);
	assert_true(k->down);
	assert_int_equal(caller_call(l, "sync.sums", json_object()), 0);
	caller_free(k);
	caller_free(l);
	world_free(w);
}

static void
ready_waits_for_peers_but_not_for_ever(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	uint64_t began;

	(void)state;
	node_start(b); /* a is down */
	world_run(w, 1900);
	assert_false(b->ready);
	world_run(w, 200);
	assert_true(b->ready);
	assert_int_equal(vm_register(b, 1, 9, vm_global(1, 1)), 0);
	node_start(a);
	for (began = w->now; !a->ready && w->now < began + 2000;)
		world_run(w, 10);
	assert_true(w->now < began + 500);
	assert_non_null(fwd_at(a, 1)); /* known before its ports start */
	world_free(w);
}

/* Of two routers each may be the one that was down; who was up has long ceased to dial often. */
static void
a_router_that_was_down_starts_with_what_its_peers_know(void **state)
{
	(void)state;
	for (unsigned int down = 0; down < 2; down++) {
		struct world *w = routers(2);
		struct node *n = world_router(w, down), *up = world_router(w, 1 - down);
		uint64_t began;

		assert_int_equal(vm_register(n, 1, 0, vm_global(down, 1)), 0);
		world_run(w, 200);
		node_crash(n);
		assert_int_equal(vm_move(up, 1, 0, vm_global(1 - down, 1), HOUR, HOUR), 0);
		world_run(w, HOUR / 2);
		node_start(n);
		for (began = w->now; !n->ready && w->now < began + 5000;)
			world_run(w, 10);
		assert_true(w->now < began + 1000);
		assert_int_equal(fwd_at(n, 1)->owner, 1);
		assert_int_equal(fwd_at(n, 1)->drains[0].home, FWD_SELF);
		assert_agreed(w, 2);
		world_free(w);
	}
}

/* One session with each peer; its serial, or 0. */
static uint64_t
one_session(struct node *n, unsigned int peer, unsigned int peers)
{
	const struct peer *p = &n->core->peers[peer];
	struct session *s;
	size_t count;

	DL_COUNT(n->core->sessions, s, count);
	return count == peers && p->state == PEER_SYNCED ? p->up_serial : 0;
}

/* C-24: both dial at once. */
static void
routers_that_dial_each_other_at_once_keep_the_session_of_the_lower_name(void **state)
{
	struct world *w = world_new(1, 3);

	(void)state;
	w->delay_min = w->delay_max = 20; /* each hello comes up at its dialler's end first */
	for (unsigned int i = 0; i < 3; i++)
		node_start(world_router(w, i));
	world_run(w, 300);
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int j = 0; j < 2; j++) {
			assert_true(one_session(world_router(w, i), j, 2) > 0);
			assert_int_equal(world_router(w, i)->core->peers[j].session->dialled, j >= i);
		}
	}
	assert_false(logged("is away"));
	world_free(w);
}

/* C-24: at any distance in time, and what is told meanwhile arrives. */
static void
routers_that_start_at_any_time_come_to_one_session(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 40; round++) {
		struct world *w = world_new(round + 1, 2);
		struct node *a = world_router(w, round % 2), *b = world_router(w, 1 - round % 2);
		uint64_t serial[2];

		w->delay_max = 1 + 10 * (round % 10);
		node_start(a);
		world_run(w, world_random(w, 8 * w->delay_max));
		node_start(b);
		for (unsigned int n = 0; n < 20; n++) {
			world_run(w, world_random(w, w->delay_max));
			vm_register(n % 2 ? a : b, n, 0, 0);
		}
		world_run(w, 5000);
		assert_int_equal(model_count(a), 20);
		assert_agreed(w, 2);
		serial[0] = one_session(a, 0, 1);
		serial[1] = one_session(b, 0, 1);
		assert_true(serial[0] > 0 && serial[1] > 0);
		world_run(w, 300000);
		assert_int_equal(one_session(a, 0, 1), serial[0]); /* and stay with it */
		assert_int_equal(one_session(b, 0, 1), serial[1]);
		world_free(w);
	}
}

static void
ready_waits_for_each_peer(void **state)
{
	struct world *w = world_new(1, 3);

	(void)state;
	node_start(world_router(w, 0));
	node_start(world_router(w, 2)); /* r-b is down */
	world_run(w, 1800);
	assert_int_equal(world_router(w, 2)->core->peers[0].state, PEER_SYNCED);
	assert_false(world_router(w, 2)->ready);
	world_run(w, 300);
	assert_true(world_router(w, 2)->ready);
	world_free(w);
}

/* ---- MTU ---- */

static void
a_peer_whose_wan_takes_less_than_the_file_says_is_an_alarm(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	list_at(b->conf.ports, struct conf_port, 0)->mtu = 1400;
	list_at(b->conf.peers, struct conf_peer, 0)->mtu = 1300; /* less than it has: nobody minds */
	node_start(a);
	node_start(b);
	world_run(w, 5000);
	assert_true(logged("r-b: its WAN ports take 1400 bytes, and 1500 are reckoned with"));
	assert_false(logged("r-a: its WAN ports take"));
	world_free(w);
}

/* r-c's is not in the file, but another one's, which is as small. */
static void
what_counts_is_the_least_of_the_group_and_who_shares_a_segment(void **state)
{
	struct world *w = world_new(1, 3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	list_at(a->conf.peers, struct conf_peer, 0)->mtu = 1400;
	list_at(c->conf.ports, struct conf_port, 0)->mtu = 1400;
	list_at(b->conf.ports, struct conf_port, 0)->mtu = 1300;
	node_drop_segments(b); /* nothing of its goes through the tunnel */
	for (unsigned int i = 0; i < 3; i++)
		node_start(world_router(w, i));
	world_run(w, 5000);
	assert_false(logged("its WAN ports take"));
	world_free(w);
}

static void
a_peer_whose_mtu_is_in_the_file_is_no_alarm(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	list_at(b->conf.ports, struct conf_port, 0)->mtu = 1400;
	list_at(a->conf.peers, struct conf_peer, 0)->mtu = 1400;
	node_start(a);
	node_start(b);
	world_run(w, 5000);
	assert_false(logged("its WAN ports take"));
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(peers_learn_registrations_changes_and_deletions),
		T(routers_that_were_apart_agree_when_they_meet),
		T(an_exchange_pages_through_thousands_of_vms),
		T(an_exchange_pages_through_segments_whose_names_begin_alike),
		T(a_lost_peer_leaves_its_vms_as_they_were),
		T(a_move_told_to_the_new_router_works_while_the_old_one_is_dead),
		T(a_drain_that_ended_while_the_owner_was_away_ends_there_too),
		T(a_drain_whose_home_has_given_the_address_away_is_not_taken),
		T(routers_speak_only_of_segments_that_both_have),
		T(a_peer_may_take_a_vm_that_nobody_knows_at_the_last_epoch),
		T(a_peer_may_claim_for_itself_only),
		T(a_peer_may_call_nothing_but_sync),
		T(a_peer_may_end_only_drains_whose_home_it_is),
		T(a_peer_makes_us_translate_nothing_that_we_did_not),
		T(a_drain_goes_on_by_its_homes_clock_whatever_move_it_is_named_by),
		T(a_router_that_lost_its_store_gets_its_vms_back_from_its_peers),
		T(a_router_whose_peer_has_the_same_as_its_own_asks_nothing_back),
		T(an_empty_router_believes_of_its_past_what_could_have_been),
		T(of_two_claims_at_one_epoch_the_lower_name_keeps_it_everywhere),
		T(an_address_that_moves_between_vms_of_a_peer_follows_its_last_word),
		T(a_claim_whose_address_another_router_still_has_is_taken_later),
		T(news_that_the_store_refuses_are_asked_for_again),
		T(news_that_a_store_refused_for_long_come_once_it_takes_them),
		T(one_claim_that_forwarding_refuses_does_not_cost_the_others),
		T(a_burst_beyond_what_may_be_on_its_way_is_asked_for_afterwards),
		T(drains_that_all_end_at_once_end_at_the_owner_too),
		T(a_site_that_is_evacuated_in_one_call_does_not_cost_the_channel),
		T(a_peer_is_not_told_what_the_store_does_not_have_yet),
		T(a_new_session_replaces_the_old_one),
		T(ready_waits_for_peers_but_not_for_ever),
		T(a_router_that_was_down_starts_with_what_its_peers_know),
		T(routers_that_dial_each_other_at_once_keep_the_session_of_the_lower_name),
		T(routers_that_start_at_any_time_come_to_one_session),
		T(ready_waits_for_each_peer),
		T(a_peer_whose_wan_takes_less_than_the_file_says_is_an_alarm),
		T(what_counts_is_the_least_of_the_group_and_who_shares_a_segment),
		T(a_peer_whose_mtu_is_in_the_file_is_no_alarm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
