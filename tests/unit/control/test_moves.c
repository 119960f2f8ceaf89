/* SPDX-License-Identifier: BSD-3-Clause */
#include "control.h"

#define MS(s)  ((uint64_t)(s)*1000)
#define MINUTE MS(60)
#define HOUR   MS(3600)

/* VM 1 has moved from router 0 to router 1, with this drain. */
static struct world *
moved(uint64_t min_ms, uint64_t max_ms)
{
	struct world *w = routers(2);

	assert_int_equal(vm_register(world_router(w, 0), 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(world_router(w, 1), 1, 0, vm_global(1, 1), min_ms, max_ms), 0);
	world_run(w, 200);
	return w;
}

static bool
drains(struct node *r, unsigned int n)
{
	const struct fwd_vm *vm = fwd_at(r, n);

	return vm && vm->n_drains > 0;
}

static bool
freed(struct node *r, ip4 global)
{
	for (unsigned int i = 0; i < r->n_freed; i++)
		if (r->freed[i] == global)
			return true;
	return false;
}

static void
a_moved_vm_belongs_to_the_new_router_and_its_old_address_drains_at_the_old_one(void **state)
{
	struct world *w = moved(HOUR, 2 * HOUR);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	const struct fwd_vm *vm = fwd_at(b, 1);
	json_t *v, *d;

	(void)state;
	assert_int_equal(vm->owner, FWD_SELF);
	assert_int_equal(vm->location, FWD_SELF);
	assert_int_equal(vm->attachment, ATTACHMENT_ANY);
	assert_int_equal(vm->addresses[0].global_ip, vm_global(1, 1));
	assert_int_equal(vm->n_drains, 1);
	assert_int_equal(vm->drains[0].home, 1);
	vm = fwd_at(a, 1);
	assert_int_equal(vm->owner, 1);
	assert_int_equal(vm->location, 1);
	assert_int_equal(vm->drains[0].home, FWD_SELF);
	assert_int_equal(vm->drains[0].global_ip, vm_global(0, 1));
	v = get(b, "show.vms", "{}");
	d = json_array_get(json_object_get(json_array_get(json_object_get(v, "rows"), 0), "drains"), 0);
	assert_int_equal(
		json_integer_value(json_object_get(d, "max")), 2 * HOUR); /* milliseconds, as documented */
	assert_true(json_is_integer(json_object_get(d, "left-min")));
	json_decref(v);
	assert_agreed(w, 2);
	world_free(w);
}

static void
a_drain_ends_at_max_and_its_sessions_are_freed_everywhere(void **state)
{
	struct world *w = moved(MS(10), MS(30));
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *v, *row;

	(void)state;
	a->sessions = 3;
	world_run(w, MS(28));
	assert_true(drains(a, 1) && drains(b, 1));
	assert_false(freed(a, vm_global(0, 1)));
	world_run(w, MS(4));
	assert_false(drains(a, 1) || drains(b, 1));
	assert_true(freed(a, vm_global(0, 1)));
	assert_true(freed(b, vm_global(0, 1)));
	assert_int_equal(fwd_at(b, 1)->addresses[0].global_ip, vm_global(1, 1));
	v = get(b, "show.moves", "{}");
	row = json_array_get(json_object_get(v, "rows"), 0);
	assert_string_equal(json_string_value(json_object_get(row, "id")), "tenant-a/52:54:00:00:00:01@2");
	assert_string_equal(json_string_value(json_object_get(row, "state")), "done");
	assert_string_equal(json_string_value(json_object_get(row, "from")), "r-a");
	assert_string_equal(json_string_value(json_object_get(row, "to")), "r-b");
	json_decref(v);
	assert_agreed(w, 2);
	world_free(w);
}

/* Never earlier than a session may be silent after noting began, even past min. */
static void
a_drain_without_sessions_ends_once_silence_proves_it(void **state)
{
	struct world *w = moved(HOUR, 24 * HOUR);
	struct node *a = world_router(w, 0);

	(void)state;
	world_run(w, 2 * HOUR);
	assert_true(drains(a, 1)); /* past min, but an idle TCP session may still be there, unseen */
	world_run(w, 5 * MINUTE);
	assert_false(drains(a, 1));
	world_free(w);
}

static void
a_drain_with_sessions_goes_on_past_min_until_they_end(void **state)
{
	struct world *w = moved(3 * HOUR, 24 * HOUR);
	struct node *a = world_router(w, 0);

	(void)state;
	world_run(w, 3 * HOUR - MINUTE);
	assert_true(drains(a, 1)); /* no sessions, but min */
	a->sessions = 1;
	world_run(w, 4 * HOUR);
	assert_true(drains(a, 1));
	a->sessions = 0;
	a->sessions_old = true; /* one may have begun since they were counted */
	world_run(w, MS(15));
	assert_true(drains(a, 1));
	a->sessions_old = false;
	world_run(w, MS(15));
	assert_false(drains(a, 1));
	world_free(w);
}

#define DRAINS(e) "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:01\", \"epoch\": " e "}"

static void
cut_ends_a_drain_at_the_home_or_at_the_owner(void **state)
{
	struct world *w = moved(HOUR, 2 * HOUR);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(call(a, "move.cut", DRAINS("7")), 0); /* no such move: nothing ends */
	assert_true(drains(a, 1));
	assert_int_equal(call(a, "move.cut", DRAINS("2")), 0);
	world_run(w, 200);
	assert_false(drains(a, 1) || drains(b, 1));
	assert_agreed(w, 2);
	assert_int_equal(vm_move(a, 1, 0, vm_global(0, 1), HOUR, HOUR), 0);
	world_run(w, 200);
	assert_true(drains(a, 1) && drains(b, 1));
	assert_int_equal(call(a, "move.cut", DRAINS("0")), 0); /* a owns it now, b is the home */
	world_run(w, 200);
	assert_false(drains(a, 1) || drains(b, 1));
	assert_true(freed(b, vm_global(1, 1)));
	assert_int_equal(call(a, "move.cut", "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:02\"}"),
		RPC_NOT_FOUND);
	world_free(w);
}

static void
cut_at_a_third_router_names_the_owner(void **state)
{
	struct world *w = routers(3);

	(void)state;
	assert_int_equal(vm_register(world_router(w, 0), 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(world_router(w, 1), 1, 0, vm_global(1, 1), HOUR, HOUR), 0);
	world_run(w, 200);
	assert_int_equal(call(world_router(w, 2), "move.cut", DRAINS("0")), RPC_NOT_FOUND);
	assert_true(drains(world_router(w, 2), 1));
	world_free(w);
}

/* At its owner and at the home; the sessions that there are go on, and with the last of them it ends. */
static void
finish_gives_up_the_least_time_of_a_drain_alone(void **state)
{
	(void)state;
	for (int at = 0; at < 2; at++) {
		struct world *w = moved(10 * HOUR, 20 * HOUR);
		struct node *a = world_router(w, 0), *b = world_router(w, 1);

		a->sessions = 2;
		world_run(w, 3 * HOUR); /* so long nothing was noted before the move may be unknown */
		assert_int_equal(call(world_router(w, at), "move.finish", DRAINS("2")), 0);
		world_run(w, HOUR);
		assert_true(drains(a, 1) && drains(b, 1));
		assert_agreed(w, 2);
		a->sessions = 0;
		world_run(w, MS(30));
		assert_false(drains(a, 1) || drains(b, 1));
		assert_agreed(w, 2);
		world_free(w);
	}
}

/* More than one transaction takes (TURN_MAX). */
static void
drains_that_end_at_once_end_in_turns(void **state)
{
	const unsigned int vms = 3000;
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	for (unsigned int i = 1; i <= vms; i++)
		assert_int_equal(vm_register(a, i, 0, vm_global(0, i)), 0);
	world_run(w, 200);
	a->sessions = 1;
	for (unsigned int i = 1; i <= vms; i++)
		assert_int_equal(vm_move(b, i, 0, vm_global(1, i), 1000, 20 * HOUR), 0);
	world_run(w, 3 * HOUR);
	assert_true(drains(a, 1) && drains(a, vms));
	a->sessions = 0;
	world_run(w, MS(12)); /* sessions are asked for each 10 s */
	for (unsigned int i = 1; i <= vms; i++)
		assert_false(drains(a, i) || drains(b, i));
	assert_agreed(w, 2);
	world_free(w);
}

static void
a_vm_that_returns_gets_its_draining_address_back(void **state)
{
	struct world *w = moved(HOUR, 2 * HOUR);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_move(a, 1, 0, 0, HOUR, 2 * HOUR), 0); /* no address said */
	world_run(w, 200);
	assert_int_equal(fwd_at(a, 1)->owner, FWD_SELF);
	assert_int_equal(fwd_at(a, 1)->addresses[0].global_ip, vm_global(0, 1));
	assert_int_equal(fwd_at(a, 1)->n_drains, 1);
	assert_int_equal(fwd_at(a, 1)->drains[0].global_ip, vm_global(1, 1));
	assert_false(freed(a, vm_global(0, 1))); /* its sessions live on */
	assert_int_equal(fwd_at(b, 1)->drains[0].home, FWD_SELF);
	assert_int_equal(vm_move(a, 1, 0, 0, HOUR, 2 * HOUR), 0); /* again: nothing to do */
	assert_int_equal(vm_at(a, 1)->now.epoch, 3);
	world_run(w, 2 * HOUR + MINUTE); /* the first move's time is over, too: nothing hits the live entry */
	assert_int_equal(fwd_at(a, 1)->addresses[0].global_ip, vm_global(0, 1));
	assert_false(drains(a, 1) || drains(b, 1));
	assert_agreed(w, 2);
	world_free(w);
}

static void
a_new_address_at_the_same_router_lets_the_old_one_drain_there(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_move(a, 1, 0, vm_global(0, 2), MS(10), MS(30)), 0);
	a->sessions = 1;
	world_run(w, MS(28));
	assert_int_equal(fwd_at(a, 1)->drains[0].home, FWD_SELF);
	world_run(w, MS(4));
	assert_false(drains(a, 1));
	assert_int_equal(fwd_at(a, 1)->addresses[0].global_ip, vm_global(0, 2));
	assert_agreed(w, 2);
	world_free(w);
}

static void
moves_in_a_chain_drain_oldest_first(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	const struct fwd_vm *vm;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, HOUR), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(c, 1, 0, vm_global(2, 1), HOUR, 2 * HOUR), 0);
	world_run(w, 200);
	vm = fwd_at(c, 1);
	assert_int_equal(vm->n_drains, 2);
	assert_int_equal(vm->drains[0].global_ip, vm_global(0, 1));
	assert_int_equal(vm->drains[1].global_ip, vm_global(1, 1));
	assert_agreed(w, 3);
	world_run(w, HOUR + MINUTE);
	assert_int_equal(fwd_at(c, 1)->n_drains, 1);
	assert_int_equal(fwd_at(c, 1)->drains[0].global_ip, vm_global(1, 1));
	assert_agreed(w, 3);
	world_free(w);
}

/* 0 to 1 and back, and then to 2: what drains first began to drain last. */
static void
an_address_that_a_vm_returned_to_keeps_its_age(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	const struct fwd_vm *vm;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, HOUR), 0);
	world_run(w, 200);
	assert_int_equal(fwd_at(b, 1)->addresses[0].since, 2);
	assert_int_equal(vm_move(a, 1, 0, 0, HOUR, HOUR), 0);
	world_run(w, 200);
	vm = fwd_at(a, 1);
	assert_int_equal(vm->addresses[0].since, 1);
	assert_int_equal(vm->drains[0].since, 2);
	assert_agreed(w, 3);
	node_crash(a);
	node_start(a);
	world_run(w, 200);
	assert_int_equal(fwd_at(a, 1)->addresses[0].since, 1);
	assert_int_equal(vm_move(c, 1, 0, vm_global(2, 1), HOUR, HOUR), 0);
	world_run(w, 200);
	vm = fwd_at(c, 1);
	assert_int_equal(vm->drains[0].global_ip, vm_global(0, 1));
	assert_int_equal(vm->drains[1].global_ip, vm_global(1, 1));
	assert_agreed(w, 3);
	world_free(w);
}

static void
a_fifth_drain_is_refused(void **state)
{
	struct world *w = routers(2);
	struct node *r[2] = {world_router(w, 0), world_router(w, 1)};

	(void)state;
	assert_int_equal(vm_register(r[0], 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	for (unsigned int i = 1; i <= 4; i++) { /* to and fro, with a new address each time */
		assert_int_equal(vm_move(r[i % 2], 1, 0, vm_global(i % 2, 1 + i), HOUR, HOUR), 0);
		world_run(w, 200);
	}
	assert_int_equal(fwd_at(r[0], 1)->n_drains, 4);
	assert_int_equal(vm_move(r[1], 1, 0, vm_global(1, 10), HOUR, HOUR), RPC_LIMIT);
	assert_int_equal(fwd_at(r[0], 1)->owner, FWD_SELF);
	world_free(w);
}

static void
drain_times_that_contradict_are_refused(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	const struct drain_time *t;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, MINUTE), RPC_INVALID_PARAMS);
	assert_int_equal(call(b, "vm.move",
				 "{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:01\", "
				 "\"addresses\": [{\"private\": \"10.0.0.6\"}], \"drain-max\": \"10m\"}"),
		0);
	t = &vm_at(b, 1)->now.drain[0];
	assert_int_equal(t->max_ms, 10 * MINUTE);
	assert_int_equal(t->min_ms, 10 * MINUTE); /* the default min does not exceed what was asked for */
	world_free(w);
}

/* ---- a move to a router that has not heard of what was before ---- */

/* VM 1 to router i at this epoch, with an hour to drain, and what the controller says of old addresses. */
static int
move_with_old(struct world *w, unsigned int i, uint64_t epoch, const char *old)
{
	char text[800], g[IP4_TEXT];

	snprintf(text, sizeof(text),
		"{\"segment\": \"tenant-a\", \"mac\": \"52:54:00:00:00:01\", \"epoch\": %" PRIu64
		", \"addresses\": [{\"private\": \"10.0.0.6\", \"global\": \"%s\"}], \"drain-max\": \"1h\", "
		"\"old\": [%s]}",
		epoch, ip4_format(vm_global(i, 1), g), old);
	return call(world_router(w, i), "vm.move", text);
}

#define OLD(global, router, epoch)                                                      \
	"{\"private\": \"10.0.0.6\", \"global\": \"" global "\", \"router\": \"" router \
	"\", \"epoch\": " #epoch "}"

static void
a_vm_that_the_new_router_never_heard_of_drains_at_the_old_one(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	world_cut(w, 0, 1, true);
	assert_int_equal(vm_register(a, 1, 1, vm_global(0, 1)), 0);
	assert_int_equal(move_with_old(w, 1, 2, OLD("198.51.0.6", "r-a", 0)), 0);
	assert_int_equal(fwd_at(b, 1)->drains[0].home, 1);
	assert_int_equal(move_with_old(w, 1, 2, OLD("198.51.0.6", "r-a", 0)), 0); /* once more: is so */
	world_cut(w, 0, 1, false);
	world_run(w, 70000);
	assert_int_equal(fwd_at(a, 1)->owner, 1);
	assert_int_equal(fwd_at(a, 1)->drains[0].home, FWD_SELF);
	assert_false(freed(a, vm_global(0, 1)));
	assert_agreed(w, 2);
	world_run(w, 2 * HOUR);
	assert_false(drains(a, 1) || drains(b, 1));
	world_free(w);
}

/* From a to b, then to c, which knows nothing of b. */
static void
a_chain_whose_last_router_missed_a_move_drains_at_both_homes(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);

	(void)state;
	assert_int_equal(vm_register(a, 1, 1, vm_global(0, 1)), 0);
	world_run(w, 200);
	world_cut(w, 1, 2, true);
	assert_int_equal(move_with_old(w, 1, 2, OLD("198.51.0.6", "r-a", 0)), 0);
	world_run(w, 10 * MINUTE);
	assert_int_equal(vm_at(c, 1)->now.epoch, 1);
	assert_int_equal(
		move_with_old(w, 2, 3, OLD("198.51.0.6", "r-a", 2) ", " OLD("198.52.0.6", "r-b", 0)), 0);
	world_run(w, 200);
	assert_int_equal(fwd_at(a, 1)->owner, 2);
	assert_int_equal(fwd_at(a, 1)->n_drains, 2);
	assert_true(drain_left(a->core, vm_at(a, 1)->now.drain[0].max_at) <= 50 * MINUTE);
	world_cut(w, 1, 2, false);
	world_run(w, 70000);
	assert_int_equal(fwd_at(b, 1)->owner, 2);
	assert_int_equal(fwd_at(b, 1)->drains[1].home, FWD_SELF);
	assert_int_equal(a->n_freed + b->n_freed, 0);
	assert_agreed(w, 3);
	world_free(w);
}

static void
a_vm_that_returns_to_who_never_heard_that_it_left_keeps_the_older_address(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 1, 1, vm_global(0, 1)), 0);
	world_run(w, 200);
	world_cut(w, 0, 1, true);
	assert_int_equal(move_with_old(w, 1, 2, ""), 0);
	assert_int_equal(move_with_old(w, 0, 3, OLD("198.52.0.6", "r-b", 0)), 0);
	assert_int_equal(fwd_at(a, 1)->drains[0].home, 1);
	assert_true(fwd_at(a, 1)->addresses[0].since < fwd_at(a, 1)->drains[0].since);
	world_cut(w, 0, 1, false);
	world_run(w, 70000);
	assert_int_equal(fwd_at(b, 1)->drains[0].home, FWD_SELF);
	assert_false(freed(a, vm_global(0, 1)) || freed(b, vm_global(1, 1)));
	assert_agreed(w, 2);
	world_free(w);
}

static void
who_knows_the_epoch_before_needs_no_old_addresses_told(void **state)
{
	struct world *w = routers(3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 1, 1, vm_global(0, 1)), 0);
	world_run(w, 200);
	assert_int_equal(move_with_old(w, 1, 2, OLD("198.53.0.6", "r-c", 0)), 0);
	assert_int_equal(fwd_at(b, 1)->n_drains, 1);
	assert_int_equal(fwd_at(b, 1)->drains[0].global_ip, vm_global(0, 1));
	world_free(w);
}

static void
old_addresses_that_cannot_be_are_refused_or_ended_by_their_home(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(move_with_old(w, 1, 5, OLD("198.51.0.6", "r-x", 0)), RPC_INVALID_PARAMS);
	assert_int_equal(
		move_with_old(w, 1, 5, OLD("198.51.0.6", "r-b", 0)), RPC_INVALID_PARAMS); /* itself */
	assert_int_equal(
		move_with_old(w, 1, 5, OLD("198.52.0.9", "r-a", 0)), RPC_INVALID_PARAMS); /* its pool */
	assert_int_equal(move_with_old(w, 1, 5, OLD("198.51.0.6", "r-a", 6)), RPC_INVALID_PARAMS);
	assert_int_equal(move_with_old(w, 1, 5, OLD("224.0.0.6", "r-a", 0)), RPC_INVALID_PARAMS);
	assert_int_equal(
		move_with_old(w, 1, 5,
			"{\"private\": \"10.0.0.7\", \"global\": \"198.51.0.6\", \"router\": \"r-a\"}"),
		RPC_INVALID_PARAMS);
	assert_null(vm_at(b, 1));
	assert_int_equal(vm_register(a, 2, 1, vm_global(0, 2)), 0);
	assert_int_equal(move_with_old(w, 1, 5, OLD("198.51.0.7", "r-a", 0)), RPC_CONFLICT); /* VM 2 has it */
	assert_int_equal(move_with_old(w, 1, 5, OLD("198.51.0.99", "r-a", 0)), 0); /* nobody has, and had */
	world_run(w, 500);
	assert_false(drains(a, 1) || drains(b, 1));
	assert_int_equal(vm_register(a, 3, 1, 0xc6330063), 0);
	world_run(w, 500);
	assert_agreed(w, 2);
	world_free(w);
}

static unsigned int
announcements(struct node *r, enum fwd_announce what, uint64_t since)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < r->n_announced; i++)
		n += r->announced[i].what == what && r->announced[i].at >= since;
	return n;
}

static void
the_new_router_probes_at_0_50_200_and_500_ms_and_the_old_one_sends_one_rarp(void **state)
{
	static const uint64_t when[] = {0, 50, 200, 500};
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	uint64_t began;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 1000);
	began = w->now;
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, HOUR), 0);
	world_run(w, 5000);
	assert_int_equal(announcements(b, FWD_ARP_PROBE, began), 4);
	assert_int_equal(b->n_announced, 4);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(b->announced[i].at - b->announced[0].at, when[i]);
		assert_int_equal(b->announced[i].ip, vm_private(1));
		assert_memory_equal(b->announced[i].mac.b, vm_at(b, 1)->key.mac.b, 6);
	}
	assert_int_equal(announcements(a, FWD_RARP, began), 1);
	assert_int_equal(announcements(a, FWD_ARP_PROBE, began), 0);
	world_free(w);
}

static void
a_vm_is_probed_in_time_while_another_waits_for_its_last_probe(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	uint64_t began;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 250);
	began = w->now;
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 2)), 0);
	world_run(w, 100);
	assert_int_equal(announcements(a, FWD_ARP_PROBE, began), 2); /* at 0 and 50 ms */
	world_free(w);
}

static void
hear(struct node *r, unsigned int n, uint8_t location, int16_t attachment)
{
	struct fwd_event ev = {
		.kind = FWD_VM_HEARD, .mac = vm_mac(n), .location = location, .attachment = attachment};

	node_event(r, &ev);
}

static struct conf_segment *
first_segment(struct node *r)
{
	return list_at(r->conf.segments, struct conf_segment, 0);
}

static void
with_per_site_macs_the_vm_is_told_of_its_new_gateway_once_it_is_heard(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	uint64_t began;

	(void)state;
	first_segment(b)->gateway.mode = GATEWAY_PER_SITE;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 1000);
	began = w->now;
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, HOUR), 0);
	world_run(w, 100);
	assert_int_equal(announcements(b, FWD_GARP, began), 0);
	hear(b, 1, FWD_SELF, 0);
	world_run(w, 2000);
	assert_int_equal(announcements(b, FWD_GARP, began), 1);
	hear(b, 1, FWD_SELF, 1); /* it is plugged elsewhere at this site: its gateway stays */
	world_run(w, 2000);
	assert_int_equal(announcements(b, FWD_GARP, began), 1);
	world_free(w);
}

static void
the_old_router_leaves_the_switches_of_an_external_segment_alone(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	first_segment(a)->extension = EXTENSION_EXTERNAL;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 1000);
	assert_int_equal(vm_move(b, 1, 0, vm_global(1, 1), HOUR, HOUR), 0);
	world_run(w, 2000);
	assert_int_equal(announcements(a, FWD_RARP, 0), 0);
	world_free(w);
}

static void
probing_ends_when_the_vm_is_heard(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	uint64_t commits;

	(void)state;
	assert_int_equal(vm_register(r, 1, 0, vm_global(0, 1)), 0);
	commits = r->n_commits;
	hear(r, 1, FWD_SELF, 0);
	world_run(w, 2000);
	assert_true(r->n_announced < 4);
	assert_int_equal(fwd_at(r, 1)->attachment, 0);
	assert_int_equal(r->n_commits, commits); /* an attachment is not worth a write */
	world_free(w);
}

static void
evidence_moves_the_location_at_the_owner_alone(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 1000);
	hear(a, 1, FWD_SELF, 0);
	world_run(w, 5000);
	hear(b, 1, FWD_SELF, 0); /* it has arrived there, but the controller has not spoken */
	hear(a, 1, 1, -1);	 /* the owner hears it through the tunnel */
	world_run(w, 100);
	assert_int_equal(fwd_at(a, 1)->location, 1);
	assert_int_equal(fwd_at(b, 1)->location, 1);
	assert_int_equal(fwd_at(b, 1)->owner, 1);
	hear(a, 1, FWD_SELF, 0); /* nothing is as sure as our own attachment */
	world_run(w, 100);
	assert_int_equal(fwd_at(a, 1)->location, FWD_SELF);
	hear(a, 1, 7, 0);	 /* no such router */
	hear(a, 2, FWD_SELF, 0); /* no such VM */
	world_free(w);
}

static void
a_vm_that_speaks_where_it_was_is_an_alarm_but_for_what_was_on_its_way(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 1000);
	hear(a, 1, FWD_SELF, 0); /* it was searched for: from nowhere */
	world_run(w, 2000);
	hear(a, 1, 1, -1);
	world_run(w, 100);
	hear(a, 1, 1, -1);
	hear(a, 1, FWD_SELF, 1); /* it came on, to a third place */
	world_run(w, 2000);
	hear(a, 1, 1, -1);
	world_run(w, 100);
	hear(a, 1, FWD_SELF, 1); /* sent before it left */
	world_run(w, 3000);
	hear(a, 1, 1, -1);
	world_run(w, 5000);
	hear(a, 1, FWD_SELF, 1); /* it is back, long after */
	world_run(w, 2000);
	assert_false(logged("still speaks where it was"));
	hear(a, 1, 1, -1);
	world_run(w, 500);
	hear(a, 1, FWD_SELF, 1);
	assert_true(logged("still speaks where it was"));
	world_free(w);
}

static void
evidence_that_comes_too_early_waits_for_its_time(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 1000);
	hear(a, 1, FWD_SELF, 0);
	world_run(w, 100);
	hear(a, 1, FWD_SELF, 1); /* within a second: a flap */
	hear(a, 1, 1, -1);	 /* the newest counts */
	world_run(w, 800);
	assert_int_equal(fwd_at(a, 1)->location, FWD_SELF);
	assert_int_equal(fwd_at(a, 1)->attachment, 0);
	world_run(w, 300);
	assert_int_equal(fwd_at(a, 1)->location, 1);
	hear(a, 1, FWD_SELF, 0);
	world_run(w, 10);
	hear(a, 1, 1, -1);
	assert_int_equal(
		vm_move(a, 1, 0, vm_global(0, 2), HOUR, HOUR), 0); /* of before a move: it says nothing */
	world_run(w, 3000);
	assert_int_equal(fwd_at(a, 1)->location, FWD_SELF);
	world_free(w);
}

/* A frame that left the old site before the VM did must not end the search for it at the new one. */
static void
evidence_from_the_tunnel_does_not_end_a_search_that_just_began(void **state)
{
	struct world *w = moved(HOUR, HOUR);
	struct node *b = world_router(w, 1);

	(void)state;
	hear(b, 1, 1, -1); /* 200 ms after the move */
	world_run(w, 100);
	assert_int_equal(fwd_at(b, 1)->location, FWD_SELF);
	hear(b, 1, FWD_SELF, 0);
	world_run(w, 100);
	assert_int_equal(fwd_at(b, 1)->attachment, 0);
	world_run(w, 3000);
	assert_int_equal(fwd_at(b, 1)->location, FWD_SELF);
	world_free(w);
}

static void
a_vm_that_did_not_come_is_found_where_it_stayed(void **state)
{
	struct world *w = moved(HOUR, HOUR);
	struct node *b = world_router(w, 1);

	(void)state;
	hear(b, 1, 1, -1);
	world_run(w, 400);
	assert_int_equal(fwd_at(b, 1)->location, 1);
	world_free(w);
}

static void
a_vm_behind_a_link_that_went_down_is_searched_for(void **state)
{
	struct fwd_event down = {.kind = FWD_LINK_DOWN, .port = 1};
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);
	unsigned int announced;

	(void)state;
	for (unsigned int n = 1; n <= 2; n++)
		assert_int_equal(vm_register(a, n, 0, vm_global(0, n)), 0);
	world_run(w, 1000);
	hear(a, 1, FWD_SELF, 0);
	hear(a, 2, 1, -1);
	world_run(w, 1000);
	announced = a->n_announced;
	down.port = 0; /* not its port */
	node_event(a, &down);
	world_run(w, 100);
	assert_int_equal(fwd_at(a, 1)->attachment, 0);
	down.port = 1;
	node_event(a, &down);
	world_run(w, 1000);
	assert_int_equal(fwd_at(a, 1)->attachment, ATTACHMENT_ANY);
	assert_int_equal(fwd_at(a, 2)->location, 1);
	assert_int_equal(a->n_announced, announced + 4); /* probes for the one */
	hear(a, 1, FWD_SELF, 0);
	world_run(w, 100);
	assert_int_equal(fwd_at(a, 1)->attachment, 0);
	assert_agreed(w, 2);
	world_free(w);
}

static void
a_location_at_a_peer_is_kept_over_a_restart(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 1000);
	hear(a, 1, 1, -1);
	world_run(w, 100);
	node_crash(a);
	node_start(a);
	world_run(w, 100);
	assert_int_equal(fwd_at(a, 1)->location, 1);
	world_free(w);
}

static void
alarms_of_the_data_plane_are_counted_and_logged_at_most_once_a_second(void **state)
{
	struct fwd_event ev = {.kind = FWD_GW_CONFLICT, .mac = vm_mac(9), .ip = 0x0a000001, .attachment = 0};
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v;

	(void)state;
	for (int i = 0; i < 100; i++)
		node_event(r, &ev);
	v = get(r, "show.status", "{}");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(v, "evidence"), "gateway-conflicts")),
		100);
	json_decref(v);
	assert_true(logged("claims the gateway address"));
	assert_true(logged("on port dc0"));
	ev.kind = FWD_LOOP;
	node_event(r, &ev);
	assert_true(logged("bridged twice"));
	world_free(w);
}

static uint64_t
left(struct node *r, bool min)
{
	const struct drain_time *t = &vm_at(r, 1)->now.drain[0];

	return drain_left(r->core, min ? t->min_at : t->max_at);
}

static void
a_drain_goes_on_where_it_was_after_a_restart_of_the_process(void **state)
{
	struct world *w = moved(HOUR, 3 * HOUR);
	struct node *a = world_router(w, 0);

	(void)state;
	world_run(w, 20 * MINUTE);
	node_crash(a);
	world_run(w, 10 * MINUTE);
	node_start(a);
	world_run(w, 100);
	assert_in_range(left(a, true), 30 * MINUTE - 1000, 30 * MINUTE);
	assert_in_range(left(a, false), 150 * MINUTE - 1000, 150 * MINUTE);
	a->sessions = 1;
	world_run(w, 151 * MINUTE);
	assert_false(drains(a, 1) || drains(world_router(w, 1), 1));
	world_free(w);
}

/* C-85: killed and started again within one boot: its clock counts, whatever the wall clock says meanwhile. */
static void
a_drain_survives_a_restart_whatever_the_wall_clock_says(void **state)
{
	static const int64_t jumps[] = {315360000000, -315360000000, 100 * (int64_t)MINUTE};

	(void)state;
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		struct world *w = moved(HOUR, 3 * HOUR);
		struct node *a = world_router(w, 0);

		a->sessions = 1;
		world_run(w, 20 * MINUTE);
		node_crash(a);
		a->wall_offset += jumps[i];
		world_run(w, 10 * MINUTE);
		node_start(a);
		world_run(w, 100);
		assert_in_range(left(a, true), 30 * MINUTE - 1000, 30 * MINUTE);
		assert_in_range(left(a, false), 150 * MINUTE - 1000, 150 * MINUTE);
		world_run(w, 151 * MINUTE);
		assert_false(drains(a, 1));
		world_free(w);
	}
}

static const struct env_ops *steady;
static uint64_t ticks;

static uint64_t
ticking_now(void *ctx)
{
	return steady->now_ms(ctx) + ++ticks;
}

static void
a_drain_past_its_least_time_stays_so_when_the_load_takes_its_time(void **state)
{
	struct world *w = moved(0, 30 * HOUR);
	struct node *a = world_router(w, 0);
	struct env_ops ticking;

	(void)state;
	a->sessions = 1;
	world_run(w, 2000);
	node_crash(a);
	node_reboot(a, 0);
	node_start(a); /* writes that nothing is left of it */
	world_run(w, 100);
	node_crash(a);
	world_run(w, 20 * MINUTE);
	node_reboot(a, 0);
	steady = a->env.ops;
	ticking = *steady;
	ticking.now_ms = ticking_now;
	a->env.ops = &ticking;
	node_start(a);
	a->env.ops = steady;
	assert_in_range(left(a, true), 0, 10 * MINUTE);
	world_free(w);
}

/* C-85: the wall clock jumped. */
static void
a_drain_survives_a_reboot_whatever_the_wall_clock_says(void **state)
{
	static const struct {
		int64_t jump;	   /* beside the ten minutes that passed */
		uint64_t left_max; /* of 3 h, of which 20 min had passed */
	} cases[] = {
		{0, 150 * MINUTE}, {-315360000000, 160 * MINUTE}, /* -10 y: nothing is taken off */
		{315360000000, 160 * MINUTE},			  /* +10 y: nor here */
		{120 * (int64_t)MINUTE, 30 * MINUTE},		  /* plausible: counts */
		{149 * (int64_t)MINUTE, 10 * MINUTE},		  /* nearly all: a little is left */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *w = moved(HOUR, 3 * HOUR);
		struct node *a = world_router(w, 0);

		a->sessions = 1;
		world_run(w, 20 * MINUTE);
		node_crash(a);
		world_run(w, 10 * MINUTE);
		node_reboot(a, cases[i].jump);
		node_start(a);
		world_run(w, 100);
		/* the last row before the crash is at most a checkpoint old */
		assert_in_range(
			left(a, false), cases[i].left_max - MINUTE - 1000, cases[i].left_max + MINUTE + 1000);
		node_crash(a); /* at once again: the rows now go by the new clock */
		node_start(a);
		world_run(w, 100);
		assert_in_range(
			left(a, false), cases[i].left_max - MINUTE - 1000, cases[i].left_max + MINUTE + 1000);
		world_run(w, 162 * MINUTE);
		assert_false(drains(a, 1));
		world_free(w);
	}
}

/* C-85: whatever it says. */
static void
what_is_left_is_never_more_and_never_cut_at_once(void **state)
{
	(void)state;
	for (uint64_t l = 0; l <= 24 * HOUR; l += 17 * MINUTE) {
		for (int64_t wall = -(int64_t)(50 * HOUR); wall <= (int64_t)(50 * HOUR);
			wall += 13 * (int64_t)MINUTE) {
			uint64_t rest = drain_left_after_boot(l, wall);

			assert_true(rest <= l);
			assert_true(rest >= (l < 10 * MINUTE ? l : 10 * MINUTE));
		}
	}
	assert_int_equal(drain_left_after_boot(HOUR, INT64_MAX), HOUR);
	assert_int_equal(drain_left_after_boot(HOUR, INT64_MIN), HOUR);
}

static void
a_drain_that_the_store_cannot_end_is_ended_later(void **state)
{
	struct world *w = moved(MS(5), MS(10));
	struct node *a = world_router(w, 0);

	(void)state;
	world_run(w, MS(9));
	a->commits_to_fail = 3;
	world_run(w, MS(2));
	assert_true(drains(a, 1));
	world_run(w, MS(5));
	assert_false(drains(a, 1));
	world_free(w);
}

static void
a_takeover_by_register_leaves_no_drain(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	world_run(w, 200);
	assert_int_equal(vm_register(b, 1, 0, vm_global(1, 1)), 0);
	world_run(w, 200);
	assert_false(drains(a, 1) || drains(b, 1));
	assert_true(freed(a, vm_global(0, 1)));
	assert_int_equal(fwd_at(a, 1)->owner, 1);
	assert_agreed(w, 2);
	world_free(w);
}

static void
an_unregistered_vm_takes_its_drains_with_it(void **state)
{
	struct world *w = moved(HOUR, HOUR);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	assert_int_equal(vm_unregister(b, 1, 0), 0);
	world_run(w, 200);
	assert_null(fwd_at(a, 1));
	assert_true(freed(a, vm_global(0, 1)));
	assert_int_equal(get_number(a, "show.status", "moves-draining"), 0);
	assert_int_equal(vm_register(a, 2, 0, vm_global(0, 1)), 0); /* the address is free again */
	world_free(w);
}

static bool
moves_are_in_order(struct node *r)
{
	struct move *m;

	DL_FOREACH(r->core->moves_list, m)
	if (m->next && m->now.at[MOVE_AT_COMMITTED] > m->next->now.at[MOVE_AT_COMMITTED])
		return false;
	return true;
}

static void
moves_done_are_kept_up_to_a_bound_over_restarts(void **state)
{
	struct world *w = routers(2);
	struct node *r[2] = {world_router(w, 0), world_router(w, 1)};
	uint64_t commits;

	(void)state;
	assert_int_equal(vm_register(r[0], 1, 0, 0), 0); /* no global address: a move is done at once */
	world_run(w, 100);
	commits = r[0]->n_commits;
	for (unsigned int i = 1; i <= MOVES_KEPT + MOVES_SLACK + 20; i++) {
		assert_int_equal(vm_move(r[i % 2], 1, 0, 0, 0, 0), 0);
		world_run(w, 30);
	}
	world_run(w, 1000);
	assert_int_equal(r[0]->core->n_moves_ended, MOVES_KEPT + 19);
	assert_int_equal(stored_count(r[0], "move"), MOVES_KEPT + 19);
	assert_int_equal(r[0]->n_commits - commits, MOVES_KEPT + MOVES_SLACK + 20 + 1);
	node_crash(r[0]);
	node_start(r[0]);
	world_run(w, 1000);
	assert_int_equal(r[0]->core->n_moves_ended, MOVES_KEPT + 19);
	assert_true(moves_are_in_order(r[0])); /* which are the oldest is known again */
	world_free(w);
}

static int
forget_apply(struct core *c, struct txn *t)
{
	struct mac mac = vm_mac(1);

	(void)t;
	vm_forget(c, vm_find(c, 0, &mac));
	return 0;
}

static void
forget_done(struct core *c, struct txn *t, int code)
{
	(void)c;
	(void)code;
	free(t);
}

/* A suspended machine's clocks fire late: what was kept of a VM may outlive it. */
static void
evidence_of_a_vm_that_is_forgotten_goes_with_it(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct fwd_event ev = {.kind = FWD_VM_SEEN,
		.mac = vm_mac(1),
		.ip = vm_private(1),
		.location = FWD_SELF,
		.attachment = 0};
	struct txn *t = zalloc(sizeof(*t));

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, vm_global(0, 1)), 0);
	node_event(a, &ev);
	world_run(w, 20);
	ev.attachment = 1; /* too early for another place */
	node_event(a, &ev);
	world_run(w, 1);
	assert_true(vm_at(a, 1)->hint.kept);
	t->apply = forget_apply;
	t->done = forget_done;
	txn_submit(a->core, t);
	world_run(w, 20);
	assert_null(vm_at(a, 1));
	assert_null(a->core->hinted);
	world_run(w, 2000);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(a_moved_vm_belongs_to_the_new_router_and_its_old_address_drains_at_the_old_one),
		T(a_drain_ends_at_max_and_its_sessions_are_freed_everywhere),
		T(a_drain_without_sessions_ends_once_silence_proves_it),
		T(a_drain_with_sessions_goes_on_past_min_until_they_end),
		T(cut_ends_a_drain_at_the_home_or_at_the_owner),
		T(cut_at_a_third_router_names_the_owner),
		T(finish_gives_up_the_least_time_of_a_drain_alone),
		T(drains_that_end_at_once_end_in_turns),
		T(a_vm_that_returns_gets_its_draining_address_back),
		T(a_new_address_at_the_same_router_lets_the_old_one_drain_there),
		T(moves_in_a_chain_drain_oldest_first),
		T(an_address_that_a_vm_returned_to_keeps_its_age),
		T(a_fifth_drain_is_refused),
		T(drain_times_that_contradict_are_refused),
		T(a_vm_that_the_new_router_never_heard_of_drains_at_the_old_one),
		T(a_chain_whose_last_router_missed_a_move_drains_at_both_homes),
		T(a_vm_that_returns_to_who_never_heard_that_it_left_keeps_the_older_address),
		T(who_knows_the_epoch_before_needs_no_old_addresses_told),
		T(old_addresses_that_cannot_be_are_refused_or_ended_by_their_home),
		T(a_vm_is_probed_in_time_while_another_waits_for_its_last_probe),
		T(the_new_router_probes_at_0_50_200_and_500_ms_and_the_old_one_sends_one_rarp),
		T(with_per_site_macs_the_vm_is_told_of_its_new_gateway_once_it_is_heard),
		T(the_old_router_leaves_the_switches_of_an_external_segment_alone),
		T(probing_ends_when_the_vm_is_heard),
		T(evidence_moves_the_location_at_the_owner_alone),
		T(a_vm_that_speaks_where_it_was_is_an_alarm_but_for_what_was_on_its_way),
		T(evidence_that_comes_too_early_waits_for_its_time),
		T(evidence_from_the_tunnel_does_not_end_a_search_that_just_began),
		T(a_vm_that_did_not_come_is_found_where_it_stayed),
		T(a_vm_behind_a_link_that_went_down_is_searched_for),
		T(a_location_at_a_peer_is_kept_over_a_restart),
		T(alarms_of_the_data_plane_are_counted_and_logged_at_most_once_a_second),
		T(a_drain_goes_on_where_it_was_after_a_restart_of_the_process),
		T(a_drain_survives_a_restart_whatever_the_wall_clock_says),
		T(a_drain_past_its_least_time_stays_so_when_the_load_takes_its_time),
		T(a_drain_survives_a_reboot_whatever_the_wall_clock_says),
		T(what_is_left_is_never_more_and_never_cut_at_once),
		T(a_drain_that_the_store_cannot_end_is_ended_later),
		T(a_takeover_by_register_leaves_no_drain),
		T(an_unregistered_vm_takes_its_drains_with_it),
		T(moves_done_are_kept_up_to_a_bound_over_restarts),
		T(evidence_of_a_vm_that_is_forgotten_goes_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
