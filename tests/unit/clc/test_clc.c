/* SPDX-License-Identifier: BSD-3-Clause */
/* The controller against routers that are channels in this process. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <clc/clc.h>
#include <clc/watch.h>
#include <cmocka.h>
#include <mutate.h>
#include <net/keys.h>

#include "clc_world.h"

/* ---- create and move ---- */

static void
create_gives_addresses_from_the_pools_and_registers_at_the_sites_router(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_at(w, "vm1", "r-x");
	assert_string_equal(world_vm(w, "vm1")->id, "seg1/02:56:4d:00:00:01");
	assert_string_equal(world_global(w, "vm1"), "203.0.113.1");
	assert_int_equal(
		list_at(world_vm(w, "vm1")->addresses, struct vm_address, 0)->private_ip, 0x0a00000a);
	assert_int_equal(world_create(w, "vm2", "y"), 0);
	assert_at(w, "vm2", "r-y");
	assert_string_equal(world_global(w, "vm2"), "203.0.113.65");
	assert_int_equal(world_create(w, "vm1", "x"), -EEXIST);
}

static void
move_registers_at_the_new_router_alone_and_holds_the_old_address(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	unsigned int at_x = w->g.r[X].changes;

	assert_int_equal(world_move(w, "vm1", "y"), 0);
	assert_at(w, "vm1", "r-y");
	assert_int_equal(w->g.r[X].changes, at_x);
	assert_int_equal(world_vm(w, "vm1")->epoch, 2);
	assert_string_equal(world_global(w, "vm1"), "203.0.113.65");
	assert_int_equal(world_vm(w, "vm1")->held.n, 1);
	/* While it drains, nobody else gets it. */
	assert_int_equal(world_create(w, "vm2", "x"), 0);
	assert_string_equal(world_global(w, "vm2"), "203.0.113.2");
	fake_end_drains(&w->g, world_vm(w, "vm1")->id);
	assert_int_equal(world_create(w, "vm3", "x"), 0);
	assert_string_equal(world_global(w, "vm3"), "203.0.113.1");
	assert_int_equal(world_vm(w, "vm1")->held.n, 0);
}

static void
vm_that_returns_gets_its_draining_address_back(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(world_create(w, "vm2", "x"), 0);
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	assert_int_equal(world_move(w, "vm1", "x"), 0);
	assert_string_equal(world_global(w, "vm1"), "203.0.113.1");
	assert_int_equal(world_vm(w, "vm1")->epoch, 3);
	assert_int_equal(world_vm(w, "vm1")->held.n, 1); /* that of Y */
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	assert_string_equal(world_global(w, "vm1"), "203.0.113.65");
}

/* "GLOBAL ROUTER EPOCH" of each. */
static void
assert_old(struct world *w, unsigned int router, const char *want)
{
	const json_t *list = json_object_get(w->g.r[router].last, "old"), *o;
	char got[400] = "";
	size_t i, n = 0;

	json_array_foreach(list, i, o) n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%s %s %d",
		i ? ", " : "", json_string_value(json_object_get(o, "global")),
		json_string_value(json_object_get(o, "router")),
		(int)json_integer_value(json_object_get(o, "epoch")));
	assert_string_equal(got, want);
}

static void
move_tells_the_new_router_what_may_be_in_use_elsewhere(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	assert_old(w, Y, "203.0.113.1 r-x 2");
	assert_int_equal(world_move(w, "vm1", "x"), 0); /* what it has there itself the router knows */
	assert_old(w, X, "203.0.113.65 r-y 3");
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	assert_old(w, Y, "203.0.113.1 r-x 4");
	w->g.r[X].fault = FAULT_LOSE_REPLY;
	assert_int_equal(world_move(w, "vm1", "x"), -EHOSTUNREACH);
	assert_int_equal(world_move(w, "vm1", "y"), 0); /* x may have taken it back */
	assert_old(w, Y, "203.0.113.1 r-x 4");
}

static void
move_to_where_it_is_changes_nothing(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	unsigned int before = w->g.r[X].changes;

	assert_int_equal(world_move(w, "vm1", "x"), 0);
	assert_int_equal(w->g.r[X].changes, before);
	assert_int_equal(world_vm(w, "vm1")->epoch, 1);
}

static void
many_vms_move_in_one_transaction(void **state)
{
	struct move_params p = {.to = "y", .drain_min_ms = UINT64_MAX, .drain_max_ms = UINT64_MAX};
	struct world *w = *state;
	struct clc_vm *vms[60];
	char name[16];
	struct err e;

	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "vm%d", i);
		assert_int_equal(world_create(w, name, "x"), 0);
		vms[i] = state_find(&w->c.state, name);
	}
	assert_int_equal(clc_move(&w->c, vms, 60, &p, &e), 0);
	assert_int_equal(w->g.r[Y].txns, 1);
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "vm%d", i);
		assert_at(w, name, "r-y");
	}
	world_restart(w);
	assert_at(w, "vm59", "r-y");
}

#define MANY 6000

/* VMs that the routers know, X owns, and an empty controller takes over; of a segment that has no global addresses. */
static struct clc_vm **
adopt_many(struct world *w)
{
	struct clc_vm **vms = calloc(MANY, sizeof(struct clc_vm *)), *vm, *next;
	struct seen_count n = {0};
	struct err e;
	size_t k = 0;

	list_at(w->inv.segments, struct inv_segment, 0)->access = 1;
	for (int i = 0; i < MANY; i++) {
		char id[64], ip[16], mac[18];

		snprintf(mac, sizeof(mac), "02:56:4d:00:%02x:%02x", i >> 8, i & 0xff);
		snprintf(ip, sizeof(ip), "10.0.%d.%d", i / 250, 1 + i % 250);
		snprintf(id, sizeof(id), "seg1/%s", mac);
		json_object_set_new(w->g.vms, id,
			json_pack("{s:s, s:s, s:s, s:i, s:[{s:s}]}", "segment", "seg1", "mac", mac, "owner",
				"r-x", "epoch", 1, "addresses", "private", ip));
	}
	assert_int_equal(clc_look(&w->c, inventory_site(&w->inv, "x"), &n, &e), 0);
	assert_int_equal(n.adopted, MANY);
	HASH_ITER (by_name, w->c.state.vms, vm, next)
		vms[k++] = vm;
	return vms;
}

static unsigned int
owned_by(struct world *w, const char *router)
{
	unsigned int n = 0;
	const char *id;
	json_t *vm;

	json_object_foreach(w->g.vms, id, vm) n +=
		strcmp(json_string_value(json_object_get(vm, "owner")), router) == 0;
	return n;
}

/* Above a message: VMs and their host routes are told in one staged transaction each. */
static void
more_vms_than_a_message_holds_move_in_one_staged_transaction(void **state)
{
	struct move_params p = {.to = "y", .drain_min_ms = UINT64_MAX, .drain_max_ms = UINT64_MAX};
	struct world *w = *state;
	struct clc_vm **vms = adopt_many(w);
	struct err e;

	w->g.r[Y].fault = FAULT_REFUSE; /* its commit: nothing has changed, and the intents are undone */
	assert_int_equal(clc_move(&w->c, vms, MANY, &p, &e), -EPROTO);
	assert_non_null(strstr(e.text, "refused txn.commit"));
	assert_null(w->g.r[Y].staged);
	assert_int_equal(owned_by(w, "r-x"), MANY);
	assert_int_equal(vms[0]->step, VM_ACTIVE);
	assert_int_equal(clc_move(&w->c, vms, MANY, &p, &e), 0);
	assert_int_equal(w->g.r[Y].txns, 1);
	assert_int_equal(w->g.r[Y].commits, 1);
	assert_int_equal(w->g.r[Y].parts, MANY / 1000);
	assert_int_equal(owned_by(w, "r-y"), MANY);
	assert_int_equal(w->g.r[U].commits, 1);
	assert_int_equal(json_object_size(w->g.r[U].routes), MANY);
	free(vms);
}

/* Its commit names the stale one, which the router keeps, and the rest goes by messages. */
static void
stale_one_in_a_staged_transaction_is_taken_as_done_and_the_rest_moves(void **state)
{
	struct move_params p = {.to = "y", .drain_min_ms = UINT64_MAX, .drain_max_ms = UINT64_MAX};
	struct world *w = *state;
	struct clc_vm **vms = adopt_many(w);
	json_t *stale = json_object_get(w->g.vms, "seg1/02:56:4d:00:10:00");
	struct err e;

	json_object_set_new(stale, "epoch", json_integer(9)); /* listings do not show it: see the next test */
	json_object_set_new(stale, "deleted", json_true());
	assert_int_equal(clc_move(&w->c, vms, MANY, &p, &e), 0);
	assert_int_equal(owned_by(w, "r-y"), MANY - 1);
	assert_int_equal(w->g.r[Y].commits, 0);
	assert_int_equal(w->g.r[Y].txns, 1 + 2);
	assert_null(w->g.r[Y].staged);
	free(vms);
}

static void
stale_one_in_a_batch_is_taken_as_done_and_the_rest_moves(void **state)
{
	struct move_params p = {.to = "y", .drain_min_ms = 0, .drain_max_ms = 0};
	struct world *w = *state;
	struct clc_vm *vms[3];
	struct err e;

	for (int i = 0; i < 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "vm%d", i);
		assert_int_equal(world_create(w, name, "x"), 0);
		vms[i] = state_find(&w->c.state, name);
	}
	/* Listings do not show what was deleted: that vm1 was, at a higher epoch, is heard only as the
	 * answer. */
	json_object_set_new(world_at_routers(w, "vm1"), "epoch", json_integer(9));
	json_object_set_new(world_at_routers(w, "vm1"), "deleted", json_true());
	assert_int_equal(clc_move(&w->c, vms, 3, &p, &e), 0);
	assert_at(w, "vm0", "r-y");
	assert_at(w, "vm2", "r-y");
	assert_null(state_find(&w->c.state, "vm1"));
	assert_int_equal(state_last_epoch(&w->c.state, "seg1", &(struct mac){{2, 0x56, 0x4d, 0, 0, 2}}), 9);
}

static void
name_that_could_not_be_read_back_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "_vm1", "-x", "a b", "vm/1", "aaaaaaaaaabbbbbbbbbbccccccccccdd"};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(world_create(w, bad[i], "x"), -EINVAL);
	world_restart(w);
	assert_int_equal(world_create(w, "vm_1.a-b", "x"), 0);
	world_restart(w);
	assert_at(w, "vm_1.a-b", "r-x");
}

static void
row_that_cannot_be_read_is_skipped_and_kept(void **state)
{
	struct env_row bad[] = {{"vm", "_vm9", "{\"name\": \"_vm9\"}"}, {"vm", "vm2", "{\"name\": \"vm2\"}"},
		{"tombstone", "seg1/02:56:4d:00:00:09", "null"}, {"vm", "vm3", "{"}, {"new", "thing", "1"}};
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(store_commit(w->c.state.db, bad, 5), 0);
	world_restart(w);
	assert_at(w, "vm1", "r-x");
	assert_int_equal(json_object_size(w->c.state.skipped), 5);
	assert_int_equal(world_create(w, "vm2", "x"), -EEXIST); /* nor overwritten */
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	world_restart(w);
	assert_at(w, "vm1", "r-y");
	assert_int_equal(json_object_size(w->c.state.skipped), 5);
}

/* ---- failures ---- */

static void
unreachable_router_is_said_and_nothing_is_changed(void **state)
{
	struct create_params p = {.name = "vm1", .site = "x", .segment = "seg1"};
	struct world *w = *state;
	struct err e;

	fake_router_down(&w->g.r[X]);
	assert_int_equal(clc_create(&w->c, &p, &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.text, "r-x at 192.0.2.10:7411 cannot be reached"));
	assert_null(state_find(&w->c.state, "vm1"));
	fake_router_up(&w->g.r[X]);
	assert_int_equal(world_create(w, "vm1", "x"), 0);
	fake_router_down(&w->g.r[Y]);
	assert_int_equal(world_move(w, "vm1", "y"), -EHOSTUNREACH);
	assert_at(w, "vm1", "r-x");
}

static void
wrong_key_is_said(void **state)
{
	struct create_params p = {.name = "vm1", .site = "x", .segment = "seg1"};
	struct world *w = *state;
	struct err e;

	w->g.controller.key[0] ^= 1; /* the router does not know us */
	assert_int_equal(clc_create(&w->c, &p, &e), -EHOSTUNREACH);
	w->g.controller.key[0] ^= 1;
	assert_int_equal(key_generate(w->g.r[X].private_key), 0); /* and is another one than pinned */
	assert_int_equal(clc_create(&w->c, &p, &e), -EHOSTUNREACH);
}

/* C-50: as a router's gate does it to who comes too often. */
static void
router_that_turns_newcomers_away_is_dialled_again_for_a_while(void **state)
{
	struct create_params p = {.name = "vm2", .site = "x", .segment = "seg1"};
	struct world *w = *state;
	uint64_t began = w->g.f.now_ms;
	struct err e;

	w->g.r[X].turn_away = 3;
	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(w->g.r[X].turn_away, 0);
	assert_in_range(w->g.f.now_ms - began, 1, 1000 + 2000 + 4000 + 1000); /* its turns are of 100 ms */
	world_restart(w);
	w->g.r[X].turn_away = UINT_MAX;
	began = w->g.f.now_ms;
	assert_int_equal(clc_create(&w->c, &p, &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.text, "r-x at 192.0.2.10:7411 cannot be reached: closed without an answer"));
	assert_in_range(w->g.f.now_ms - began, 10000, 11000);
	assert_true(UINT_MAX - w->g.r[X].turn_away >= 3);
	w->g.r[X].turn_away = 0;
	fake_router_down(&w->g.r[X]);
	began = w->g.f.now_ms;
	assert_int_equal(clc_create(&w->c, &p, &e), -EHOSTUNREACH); /* one that is down is said at once */
	assert_true(w->g.f.now_ms - began < 1000);
}

static void
refusal_undoes_the_intent_and_frees_the_address(void **state)
{
	struct create_params p = {.name = "vm1", .site = "x", .segment = "seg1"};
	struct world *w = *state;
	struct err e;

	w->g.r[X].fault = FAULT_REFUSE;
	assert_int_equal(clc_create(&w->c, &p, &e), -EPROTO);
	assert_non_null(strstr(e.text, "r-x refused vm.register: fake limit"));
	assert_null(state_find(&w->c.state, "vm1"));
	world_restart(w);
	assert_int_equal(json_object_size(w->c.state.skipped), 0);
	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_string_equal(world_global(w, "vm1"), "203.0.113.1");
	w->g.r[Y].fault = FAULT_REFUSE;
	assert_int_equal(world_move(w, "vm1", "y"), -EPROTO);
	assert_at(w, "vm1", "r-x");
	assert_int_equal(world_create(w, "vm2", "y"), 0);
	assert_string_equal(world_global(w, "vm2"), "203.0.113.65");
}

static void
command_that_was_cut_off_is_finished_by_giving_it_again(void **state)
{
	static const enum fake_fault faults[] = {FAULT_LOSE_REPLY, FAULT_LOSE_BEFORE};
	struct world *w = *state;

	for (int i = 0; i < 2; i++) {
		const char *name = i == 0 ? "vm1" : "vm2";

		w->g.r[X].fault = faults[i];
		assert_int_equal(world_create(w, name, "x"), -EHOSTUNREACH);
		assert_int_equal(world_vm(w, name)->step, VM_CREATING);
		world_restart(w); /* as after kill -9 */
		assert_int_equal(world_vm(w, name)->step, VM_CREATING);
		assert_int_equal(world_create(w, name, "y"), -EBUSY);
		assert_int_equal(world_create(w, name, "x"), 0);
		assert_at(w, name, "r-x");

		w->g.r[Y].fault = faults[i];
		assert_int_equal(world_move(w, name, "y"), -EHOSTUNREACH);
		world_restart(w);
		assert_int_equal(world_vm(w, name)->step, VM_MOVING);
		assert_int_equal(world_move(w, name, "y"), 0);
		assert_at(w, name, "r-y");
		assert_int_equal(world_vm(w, name)->epoch, 2);
	}
	assert_string_equal(world_global(w, "vm1"), "203.0.113.65");
	assert_string_equal(world_global(w, "vm2"), "203.0.113.66");
}

static void
move_that_was_cut_off_may_turn_to_another_site(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	w->g.r[Y].fault = FAULT_LOSE_REPLY; /* Y has it, and nobody told us */
	assert_int_equal(world_move(w, "vm1", "y"), -EHOSTUNREACH);
	assert_int_equal(world_move(w, "vm1", "x"), 0);
	assert_at(w, "vm1", "r-x");
	assert_int_equal(world_vm(w, "vm1")->epoch, 3);
	assert_int_equal(world_create(w, "vm2", "y"), 0);
	assert_string_equal(world_global(w, "vm2"), "203.0.113.66"); /* .65 may be in use at Y */
}

static void
sync_finishes_releases_and_registers_again(void **state)
{
	struct world *w = *state;
	struct seen_count n = {0};
	struct err e;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(world_create(w, "vm2", "x"), 0);
	assert_int_equal(world_create(w, "vm3", "x"), 0);
	assert_int_equal(world_move(w, "vm3", "y"), 0);
	w->g.r[Y].fault = FAULT_LOSE_BEFORE;
	assert_int_equal(world_move(w, "vm1", "y"), -EHOSTUNREACH);
	fake_end_drains(&w->g, world_vm(w, "vm3")->id);
	json_object_del(w->g.vms, world_vm(w, "vm2")->id); /* the router has lost it */
	world_restart(w);
	assert_int_equal(clc_sync(&w->c, inventory_site(&w->inv, "x"), &n, &e), 0);
	assert_int_equal(clc_sync(&w->c, inventory_site(&w->inv, "y"), &n, &e), 0);
	assert_int_equal(n.released, 1);
	assert_int_equal(n.registered, 1);
	assert_int_equal(n.finished, 1);
	assert_at(w, "vm1", "r-y");
	assert_at(w, "vm2", "r-x");
}

static void
empty_controller_adopts_what_the_routers_have(void **state)
{
	struct world *w = *state;
	struct seen_count n = {0};
	struct err e;
	char file[256];

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(world_create(w, "vm2", "x"), 0);
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	world_close(w);
	snprintf(file, sizeof(file), "%s/clc.db", w->dir);
	assert_int_equal(unlink(file), 0);
	w->g.page = 1;
	world_open(w);
	assert_int_equal(clc_look(&w->c, inventory_site(&w->inv, "y"), &n, &e), 0);
	assert_int_equal(n.adopted, 2);
	assert_at(w, "vm-02564d000001", "r-y");
	assert_int_equal(world_vm(w, "vm-02564d000001")->held.n, 1);
	/* Its next changes come above the epochs that are known, and take no address that is in use. */
	assert_int_equal(world_move(w, "vm-02564d000002", "y"), 0);
	assert_at(w, "vm-02564d000002", "r-y");
	assert_string_equal(world_global(w, "vm-02564d000002"), "203.0.113.66");
	assert_int_equal(world_create(w, "vm9", "x"), 0);
	assert_string_equal(world_global(w, "vm9"), "203.0.113.3");
}

static void
deleted_vm_comes_back_above_its_old_epoch(void **state)
{
	struct world *w = *state;
	struct err e;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	assert_int_equal(clc_delete(&w->c, "vm1", &e), 0);
	assert_null(state_find(&w->c.state, "vm1"));
	assert_int_equal(clc_delete(&w->c, "vm1", &e), -ENOENT);
	world_restart(w);
	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_at(w, "vm1", "r-x");
	assert_int_equal(world_vm(w, "vm1")->epoch, 4);
	/* Also when only the routers remember. */
	assert_int_equal(clc_delete(&w->c, "vm1", &e), 0);
	json_object_set_new(json_object_get(w->g.vms, "seg1/02:56:4d:00:00:01"), "epoch", json_integer(50));
	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(world_vm(w, "vm1")->epoch, 51);
	assert_at(w, "vm1", "r-x");
}

static void
pool_that_is_used_up_says_so_before_anything_is_told(void **state)
{
	struct world *w = *state;
	struct create_params p = {.name = "more", .site = "x", .segment = "seg1"};
	char name[16];
	struct err e;

	for (int i = 0; i < 62; i++) {
		snprintf(name, sizeof(name), "vm%d", i);
		assert_int_equal(world_create(w, name, "x"), 0);
	}
	unsigned int before = w->g.r[X].changes;

	assert_int_equal(clc_create(&w->c, &p, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "all 62"));
	assert_int_equal(w->g.r[X].changes, before);
	assert_null(state_find(&w->c.state, "more"));
}

/* ---- a router that is not what it should be ---- */

static void
router_that_never_answers_is_given_up(void **state)
{
	struct create_params p = {.name = "vm1", .site = "x", .segment = "seg1"};
	struct world *w = *state;
	uint64_t began = w->g.f.now_ms;
	struct err e;

	w->g.r[X].hostility = HOSTILE_SILENT; /* its heartbeats come */
	assert_int_equal(clc_create(&w->c, &p, &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.text, "no answer within 60 s"));
	assert_true(w->g.f.now_ms - began < 70000);
	w->g.r[X].hostility = HONEST;
	assert_int_equal(world_create(w, "vm1", "x"), 0); /* by a new channel */
}

static void
list_without_an_end_is_refused(void **state)
{
	struct seen_count n = {0};
	struct world *w = *state;
	struct err e;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	w->g.r[X].hostility = HOSTILE_ENDLESS;
	assert_int_equal(clc_look(&w->c, inventory_site(&w->inv, "x"), &n, &e), -EPROTO);
	assert_non_null(strstr(e.text, "without an end"));
	assert_true(w->g.r[X].calls < 10);
}

static void
last_epoch_has_none_after_it_and_is_said(void **state)
{
	struct world *w = *state;
	struct err e;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	json_object_set_new(world_at_routers(w, "vm1"), "epoch", json_integer(INT64_MAX));
	assert_int_equal(world_move(w, "vm1", "y"), -EOVERFLOW);
	assert_int_equal(clc_delete(&w->c, "vm1", &e), -EOVERFLOW);
	world_restart(w);
	assert_int_equal(json_object_size(w->c.state.skipped), 0);
	assert_int_equal(world_vm(w, "vm1")->epoch, INT64_MAX);
	assert_string_equal(world_vm(w, "vm1")->site, "x");
}

static int
some_step_of_a_prepared_move(struct world *w, struct clc_vm *vm)
{
	struct move_params p = {.to = mutate_random(2) ? "x" : "y", UINT64_MAX, UINT64_MAX};
	json_t *old_router = NULL;
	struct err e;
	int rc;

	switch (mutate_random(5)) {
	case 0:
		return clc_commit(&w->c, vm, &e);
	case 1:
		return clc_abort(&w->c, vm, &e);
	case 2:
		rc = clc_pause(&w->c, vm, &old_router, &e);
		json_decref(old_router);
		return rc;
	default:
		return clc_prepare(&w->c, vm, &p, &e);
	}
}

/* Whatever a router says: each command ends, and the database can be read. */
static void
router_that_answers_by_chance_costs_no_more_than_its_commands(void **state)
{
	struct world *w = *state;
	size_t failed = 0;
	struct err e;

	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_int_equal(world_create(w, "vm2", "y"), 0);
	for (int i = 0; i < 4000; i++) {
		struct seen_count n = {0};
		struct clc_vm *vm;
		char name[16];

		w->g.r[X].hostility = w->g.r[Y].hostility = i % 4 ? HOSTILE_WRONG : HONEST;
		snprintf(name, sizeof(name), "vm%d", (int)mutate_random(12));
		vm = state_find(&w->c.state, name);
		switch (mutate_random(vm != NULL ? 6 : 3)) {
		case 0:
			failed += world_create(w, name, mutate_random(2) ? "x" : "y") != 0;
			break;
		case 1:
			failed += clc_delete(&w->c, name, &e) != 0;
			break;
		case 3:
			failed += world_move(w, name, mutate_random(2) ? "x" : "y") != 0;
			break;
		case 4:
		case 5:
			failed += some_step_of_a_prepared_move(w, vm) != 0;
			break;
		default:
			failed += clc_sync(&w->c, inventory_site(&w->inv, mutate_random(2) ? "x" : "y"), &n,
					  &e) != 0;
		}
		if (i % 50 == 0)
			world_restart(w);
		assert_int_equal(json_object_size(w->c.state.skipped), 0);
	}
	assert_true(failed > 300 && failed < 3900);
}

/* ---- the routing method ---- */

static const char *
route_at_u(struct world *w, const char *prefix)
{
	return json_string_value(json_object_get(w->g.r[U].routes, prefix));
}

static void
routed_vm_has_no_global_address_and_its_host_route_follows_it(void **state)
{
	struct world *w = *state;
	struct err e;

	list_at(w->inv.segments, struct inv_segment, 0)->access = 1;
	assert_int_equal(world_create(w, "vm1", "x"), 0);
	assert_string_equal(world_global(w, "vm1"), "0.0.0.0");
	assert_string_equal(route_at_u(w, "10.0.0.10/32"), "198.51.100.2");
	/* The route fails: the move is not over until it is written. */
	w->g.r[U].fault = FAULT_REFUSE;
	assert_int_equal(world_move(w, "vm1", "y"), -EPROTO);
	assert_int_equal(world_vm(w, "vm1")->step, VM_MOVING);
	assert_string_equal(route_at_u(w, "10.0.0.10/32"), "198.51.100.2");
	assert_int_equal(world_move(w, "vm1", "y"), 0);
	assert_at(w, "vm1", "r-y");
	assert_string_equal(route_at_u(w, "10.0.0.10/32"), "198.51.100.6");
	assert_int_equal(world_vm(w, "vm1")->held.n, 0);
	assert_int_equal(clc_delete(&w->c, "vm1", &e), 0);
	assert_null(route_at_u(w, "10.0.0.10/32"));
}

static void
route_is_written_where_it_is_asked(void **state)
{
	struct route_write r = {"r-u", {0x0a010000, 16}, 0xc6336406, UINT64_MAX};
	struct world *w = *state;
	struct err e;

	assert_int_equal(clc_route(&w->c, &r, &e), 0);
	assert_string_equal(route_at_u(w, "10.1.0.0/16"), "198.51.100.6");
	assert_null(json_object_get(w->g.r[U].last, "if-revision"));
	r.if_revision = 0;
	assert_int_equal(clc_route(&w->c, &r, &e), 0);
	assert_int_equal(json_integer_value(json_object_get(w->g.r[U].last, "if-revision")), 0);
	assert_non_null(json_object_get(w->g.r[U].last, "if-revision"));
	r.router = "r-9";
	assert_int_equal(clc_route(&w->c, &r, &e), -ENOENT);
}

/* ---- pure ---- */

static void
hold_ends_only_when_the_router_has_heard_of_the_move_and_shows_it_no_more(void **state)
{
	struct vm_address live = {0x0a00000a, 0xcb007101};
	struct vm_drain drain = {.private_ip = 0x0a00000a, .global_ip = 0xcb007101};
	struct vm seen = {.epoch = 4};
	struct world *w = *state;
	struct clc_vm *vm;

	assert_int_equal(world_create(w, "vm1", "y"), 0);
	vm = state_find(&w->c.state, "vm1");
	vm_hold(vm, live.private_ip, live.global_ip, "x", 5);
	vm_hold(vm, live.private_ip, live.global_ip, "x", 5);
	assert_int_equal(vm->held.n, 1);
	assert_int_equal(vm_release(vm, "x", &seen), 0); /* it has not heard */
	seen.epoch = 5;
	seen.drains = (struct list){&drain, 1};
	assert_int_equal(vm_release(vm, "x", &seen), 0); /* it drains */
	seen.drains.n = 0;
	seen.addresses = (struct list){&live, 1};
	assert_int_equal(vm_release(vm, "x", &seen), 0); /* it is live again */
	seen.addresses.n = 0;
	assert_int_equal(vm_release(vm, "y", &seen), 0); /* another site's word does not count */
	assert_int_equal(vm_release(vm, "x", &seen), 1);
	assert_int_equal(vm->held.n, 0);
}

static void
private_addresses_that_cannot_be_a_vm_are_refused(void **state)
{
	static const ip4 bad[] = {0x0a000000, 0x0a000001, 0x0a0000ff, 0x0a000105};
	struct world *w = *state;
	struct err e;

	for (int i = 0; i < 4; i++) {
		struct create_params p = {.name = "vm", .site = "x", .segment = "seg1", .private_ip = bad[i]};

		assert_int_equal(clc_create(&w->c, &p, &e), -EINVAL);
	}
	assert_int_equal(world_create(w, "vm1", "x"), 0);
	struct create_params p = {.name = "vm", .site = "x", .segment = "seg1", .private_ip = 0x0a00000a};

	assert_int_equal(clc_create(&w->c, &p, &e), -EEXIST);
	p.private_ip = 0x0a000005; /* outside the range to give by ourselves, and a host */
	assert_int_equal(clc_create(&w->c, &p, &e), 0);
}

struct heard {
	json_int_t last[FAKE_ROUTERS];
	unsigned int events, resyncs;
};

static void
hear(void *arg, const struct inv_router *r, const json_t *event)
{
	struct heard *h = arg;
	int i = strcmp(r->name, "r-x") == 0 ? X : strcmp(r->name, "r-y") == 0 ? Y : U;

	if (json_object_get(event, "resync") != NULL) {
		h->resyncs++;
		return;
	}
	h->events++;
	h->last[i] = json_integer_value(json_object_get(event, "number"));
}

static void
turns(struct watch *x, unsigned int n)
{
	while (n-- > 0)
		watch_turn(x);
}

static const struct env_ops *watch_ops;
static uint64_t watch_dials[200];
static unsigned int n_watch_dials;

static struct env_stream *
note_dial(void *ctx, const char *address, const struct env_stream_ops *ops, void *arg)
{
	if (strcmp(address, "192.0.2.10:7411") == 0 && n_watch_dials < 200)
		watch_dials[n_watch_dials++] = ((struct fake_env *)ctx)->now_ms;
	return watch_ops->dial(ctx, address, ops, arg);
}

/* C-50: a controller that follows routers dials with back-off and full jitter, too. */
static void
watch_backs_off_with_full_jitter_up_to_a_minute(void **state)
{
	struct world *w = *state;
	struct env_ops real = w->g.f.ops;
	struct heard h = {0};
	uint64_t bound = 1000, sum = 0;
	struct watch *x;

	watch_ops = &real;
	n_watch_dials = 0;
	w->g.f.ops.dial = note_dial;
	fake_router_down(&w->g.r[X]);
	x = watch_new(&w->c.links, hear, &h);
	while (n_watch_dials < 60)
		watch_turn(x);
	for (unsigned int i = 1; i < 60; i++) {
		uint64_t gap = watch_dials[i] - watch_dials[i - 1];

		assert_true(gap <= bound + 200); /* and a tick */
		bound = 2 * bound < 60000 ? 2 * bound : 60000;
		sum += i > 10 ? gap : 0;
	}
	assert_in_range(sum / 49, 15000, 45000); /* half a minute, by chance: five deviations */
	w->g.f.ops.dial = real.dial;
	watch_free(x);
}

/* How many turns something takes is decided by the jitter. */
#define TURN_UNTIL(x, condition)                                  \
	do {                                                      \
		for (int n_ = 0; n_ < 5000 && !(condition); n_++) \
			watch_turn(x);                            \
		assert_true(condition);                           \
	} while (0)

static void
watch_follows_all_routers_and_resumes_where_a_connection_was_lost(void **state)
{
	struct world *w = *state;
	struct heard h = {0};
	struct watch *x = watch_new(&w->c.links, hear, &h);

	for (int i = 0; i < FAKE_ROUTERS; i++)
		TURN_UNTIL(x, w->g.r[i].calls > 0);
	for (int i = 0; i < FAKE_ROUTERS; i++)
		fake_tell(&w->g.r[i], "c-1", 1 + i);
	TURN_UNTIL(x, h.events == 3);
	assert_int_equal(h.last[U], 3);
	fake_router_down(&w->g.r[Y]);
	turns(x, 30);
	fake_tell(&w->g.r[X], "c-2", 7); /* one that is down holds up no other */
	TURN_UNTIL(x, h.last[X] == 7);
	fake_router_up(&w->g.r[Y]);
	TURN_UNTIL(x, strcmp(w->g.r[Y].after, "c-1") == 0);
	fake_tell(&w->g.r[Y], "c-old", 8);
	TURN_UNTIL(x, h.last[Y] == 8);
	assert_int_equal(h.resyncs, 0);
	fake_router_down(&w->g.r[Y]);
	turns(x, 2);
	fake_router_up(&w->g.r[Y]);
	TURN_UNTIL(x, h.resyncs == 1);
	watch_free(x);
}

int
main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(create_gives_addresses_from_the_pools_and_registers_at_the_sites_router),
		TEST(move_registers_at_the_new_router_alone_and_holds_the_old_address),
		TEST(vm_that_returns_gets_its_draining_address_back),
		TEST(move_tells_the_new_router_what_may_be_in_use_elsewhere),
		TEST(move_to_where_it_is_changes_nothing),
		TEST(many_vms_move_in_one_transaction),
		TEST(stale_one_in_a_batch_is_taken_as_done_and_the_rest_moves),
		TEST(more_vms_than_a_message_holds_move_in_one_staged_transaction),
		TEST(stale_one_in_a_staged_transaction_is_taken_as_done_and_the_rest_moves),
		TEST(name_that_could_not_be_read_back_is_refused),
		TEST(row_that_cannot_be_read_is_skipped_and_kept),
		TEST(unreachable_router_is_said_and_nothing_is_changed),
		TEST(wrong_key_is_said),
		TEST(router_that_turns_newcomers_away_is_dialled_again_for_a_while),
		TEST(refusal_undoes_the_intent_and_frees_the_address),
		TEST(command_that_was_cut_off_is_finished_by_giving_it_again),
		TEST(move_that_was_cut_off_may_turn_to_another_site),
		TEST(sync_finishes_releases_and_registers_again),
		TEST(empty_controller_adopts_what_the_routers_have),
		TEST(deleted_vm_comes_back_above_its_old_epoch),
		TEST(pool_that_is_used_up_says_so_before_anything_is_told),
		TEST(router_that_never_answers_is_given_up),
		TEST(list_without_an_end_is_refused),
		TEST(last_epoch_has_none_after_it_and_is_said),
		TEST(router_that_answers_by_chance_costs_no_more_than_its_commands),
		TEST(routed_vm_has_no_global_address_and_its_host_route_follows_it),
		TEST(route_is_written_where_it_is_asked),
		TEST(hold_ends_only_when_the_router_has_heard_of_the_move_and_shows_it_no_more),
		TEST(private_addresses_that_cannot_be_a_vm_are_refused),
		TEST(watch_backs_off_with_full_jitter_up_to_a_minute),
		TEST(watch_follows_all_routers_and_resumes_where_a_connection_was_lost),
	};

	return world_start(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
