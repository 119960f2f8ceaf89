/* SPDX-License-Identifier: BSD-3-Clause */
/* Subscriptions to events. */
#include "control.h"

static struct caller *
controller(struct world *w, unsigned int router)
{
	struct caller *k =
		caller_new(world_controller(w), "clc", ROLE_CONTROLLER, world_router(w, router), NULL);

	assert_true(k->up);
	return k;
}

/* A new reference to the reply. */
static json_t *
subscribe(struct caller *k, const char *after, json_t *classes)
{
	return caller_get(k, "events", json_pack("{s:s, s:o*}", "after", after, "classes", classes));
}

static struct caller *
subscriber(struct world *w, unsigned int router)
{
	struct caller *k = controller(w, router);
	json_t *v = subscribe(k, "", NULL);

	assert_null(json_object_get(v, "resync"));
	json_decref(v);
	return k;
}

static const char *
text_at(const json_t *v, const char *path)
{
	char name[32];
	size_t n = strcspn(path, ".");

	snprintf(name, sizeof(name), "%.*s", (int)n, path);
	v = json_object_get(v, name);
	if (path[n])
		return text_at(v, path + n + 1);
	return json_string_value(v) ? json_string_value(v) : "";
}

static bool
is(const json_t *e, const char *class, const char *kind)
{
	return strcmp(text_at(e, "class"), class) == 0 && strcmp(text_at(e, "kind"), kind) == 0;
}

/* How many of a kind were told; the last one in *last. */
static unsigned int
heard(const struct caller *k, const char *class, const char *kind, const json_t **last)
{
	unsigned int n = 0;
	json_t *e;
	size_t i;

	json_array_foreach(k->events, i, e)
	{
		if (!is(e, class, kind))
			continue;
		n++;
		if (last)
			*last = e;
	}
	return n;
}

static json_int_t
number_of(const struct caller *k, size_t i)
{
	return json_integer_value(json_object_get(json_array_get(k->events, i), "number"));
}

/* Each behind the other, none twice. */
static void
assert_in_order(const struct caller *k)
{
	for (size_t i = 1; i < json_array_size(k->events); i++)
		assert_true(number_of(k, i) > number_of(k, i - 1));
}

static const char *
cursor_of(const struct caller *k)
{
	return text_at(k->told, "cursor");
}

static void
a_registration_is_told_with_all_that_a_controller_needs(void **state)
{
	struct world *w = routers(1);
	struct caller *k = subscriber(w, 0);
	const json_t *e = NULL;

	(void)state;
	assert_int_equal(vm_register(world_router(w, 0), 1, 7, vm_global(0, 1)), 0);
	world_run(w, 100);
	assert_int_equal(heard(k, "vm", "registered", &e), 1);
	assert_string_equal(text_at(e, "vm.owner"), "r-a");
	assert_string_equal(text_at(e, "vm.mac"), "52:54:00:00:00:01");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(e, "vm"), "epoch")), 7);
	assert_int_equal(json_integer_value(json_object_get(e, "revision")), 1);
	assert_int_equal(json_array_size(json_object_get(json_object_get(e, "vm"), "addresses")), 1);
	assert_int_equal(strlen(text_at(e, "time")), strlen("2026-11-25T18:52:53.123Z"));
	assert_int_equal(vm_unregister(world_router(w, 0), 1, 8), 0);
	world_run(w, 100);
	assert_int_equal(heard(k, "vm", "unregistered", &e), 1);
	assert_int_equal(json_integer_value(json_object_get(e, "revision")), 2);
	assert_int_equal(json_array_size(k->events), 2);
	caller_free(k);
	world_free(w);
}

#define SET(global)                                                                                     \
	"{\"method\": \"nat.set\", \"params\": {\"segment\": \"tenant-a\", \"private\": \"10.0.0.6\", " \
	"\"global\": \"" global "\"}}"

/* Who asked for it knows its revision, and may go on from there. */
static void
what_changes_and_changes_back_in_one_commit_has_its_revision(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	struct caller *k = subscriber(w, 0);
	const json_t *e = NULL;
	struct vm_obj *o;

	(void)state;
	assert_int_equal(vm_register(r, 1, 7, vm_global(0, 1)), 0);
	assert_int_equal(
		call(r, "txn.apply", "{\"changes\": [" SET("198.51.0.50") ", " SET("198.51.0.6") "]}"), 0);
	world_run(w, 100);
	assert_int_equal(heard(k, "vm", "changed", &e), 1);
	assert_int_equal(json_integer_value(json_object_get(e, "revision")), 2);
	assert_string_equal(text_at(e, "vm.owner"), "r-a");
	caller_free(k);
	node_crash(r);
	node_start(r);
	o = vm_at(r, 1);
	assert_int_equal(o->now.revision, 2);
	assert_int_equal(o->now.fwd.addresses[0].global_ip, vm_global(0, 1));
	world_free(w);
}

static void
a_move_is_told_at_both_routers_and_its_end_too(void **state)
{
	struct world *w = routers(2);
	struct caller *at[] = {subscriber(w, 0), subscriber(w, 1)};
	const json_t *e = NULL;

	(void)state;
	assert_int_equal(vm_register(world_router(w, 0), 1, 1, vm_global(0, 1)), 0);
	world_run(w, 500);
	assert_int_equal(vm_move(world_router(w, 1), 1, 2, vm_global(1, 1), 1000, 2000), 0);
	world_run(w, 500);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(heard(at[i], "vm", "registered", NULL), 1);
		assert_int_equal(heard(at[i], "vm", "moved", &e), 1);
		assert_string_equal(text_at(e, "from"), "r-a");
		assert_string_equal(text_at(e, "vm.owner"), "r-b");
		assert_int_equal(heard(at[i], "drain", "begun", &e), 1);
		assert_string_equal(text_at(e, "drain.router"), "r-a");
		assert_string_equal(text_at(e, "drain.global"), "198.51.0.6");
		assert_int_equal(heard(at[i], "move", "begun", &e), 1);
		assert_string_equal(text_at(e, "move.id"), "tenant-a/52:54:00:00:00:01@2");
		assert_string_equal(text_at(e, "move.state"), "draining");
		assert_int_equal(heard(at[i], "drain", "over", NULL), 0);
	}
	world_run(w, 20000);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(heard(at[i], "drain", "over", NULL), 1);
		assert_int_equal(heard(at[i], "move", "done", &e), 1);
		assert_string_equal(text_at(e, "move.state"), "done");
		assert_in_order(at[i]);
		caller_free(at[i]);
	}
	world_free(w);
}

static void
what_is_refused_or_only_tried_or_repeated_is_no_event(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = subscriber(w, 0);

	(void)state;
	assert_int_equal(
		call(a, "txn.apply",
			"{\"dry-run\": true, \"changes\": [{\"method\": \"route.replace\", \"params\": "
			"{\"prefix\": \"203.0.1.0/24\", \"via\": \"192.0.2.9\"}}]}"),
		0);
	assert_int_equal(call(a, "route.replace", "{\"prefix\": \"203.0.1.0/24\", \"via\": \"8.8.8.8\"}"),
		RPC_INVALID_PARAMS);
	world_run(w, 100);
	assert_int_equal(json_array_size(k->events), 0);
	assert_int_equal(vm_register(a, 1, 5, 0), 0);
	assert_int_equal(vm_register(a, 1, 5, 0), 0);
	assert_int_equal(vm_register(a, 1, 4, 0), RPC_STALE_EPOCH);
	world_run(w, 100);
	assert_int_equal(json_array_size(k->events), 1);
	caller_free(k);
	world_free(w);
}

static void
routes_are_told(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = subscriber(w, 0);
	const json_t *e = NULL;

	(void)state;
	assert_int_equal(
		call(a, "route.replace", "{\"prefix\": \"203.0.1.0/24\", \"via\": \"192.0.2.9\"}"), 0);
	assert_int_equal(call(a, "route.delete", "{\"prefix\": \"203.0.1.0/24\"}"), 0);
	world_run(w, 100);
	assert_int_equal(heard(k, "route", "replaced", &e), 1);
	assert_string_equal(text_at(e, "route.via"), "192.0.2.9");
	assert_int_equal(heard(k, "route", "deleted", &e), 1);
	assert_string_equal(text_at(e, "route.prefix"), "203.0.1.0/24");
	caller_free(k);
	world_free(w);
}

static void
a_disk_that_refuses_is_told_and_nothing_that_it_refused(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = subscriber(w, 0);
	const json_t *e = NULL;

	(void)state;
	a->commits_to_fail = 2;
	assert_int_equal(vm_register(a, 1, 1, 0), RPC_STORE);
	assert_int_equal(vm_register(a, 1, 1, 0), RPC_STORE);
	assert_int_equal(vm_register(a, 1, 1, 0), 0);
	world_run(w, 100);
	assert_int_equal(heard(k, "store", "refuses", &e), 1);
	assert_string_equal(text_at(e, "text"), "No space left on device");
	assert_int_equal(heard(k, "store", "takes", NULL), 1);
	assert_int_equal(heard(k, "vm", "registered", NULL), 1);
	assert_int_equal(json_array_size(k->events), 3);
	caller_free(k);
	world_free(w);
}

static void
peers_controllers_and_alarms_are_told(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *second = &w->nodes[w->n_nodes - 1];
	struct caller *k = subscriber(w, 0), *other;
	struct fwd_event conflict = {.kind = FWD_GW_CONFLICT, .mac = vm_mac(9), .ip = 0x0a000001};
	const json_t *e = NULL;

	(void)state;
	world_reset(w, 0, 1);
	world_run(w, 10000);
	assert_true(heard(k, "peer", "away", &e) >= 1);
	assert_string_equal(text_at(e, "peer"), "r-b");
	assert_true(heard(k, "peer", "up", NULL) >= 1);
	assert_true(heard(k, "peer", "synced", NULL) >= 1);
	other = caller_new(second, "clc-2", ROLE_CONTROLLER, a, json_pack("{s:i}", "term", 3));
	assert_int_equal(heard(k, "controller", "up", &e), 1);
	assert_string_equal(text_at(e, "controller"), "clc-2");
	assert_int_equal(heard(k, "controller", "term", &e), 1);
	assert_int_equal(json_integer_value(json_object_get(e, "term")), 3);
	caller_free(other);
	for (unsigned int i = 0; i < 2; i++)
		caller_call(k, "route.delete", json_pack("{s:s}", "prefix", "203.0.1.0/24"));
	node_event(a, &conflict);
	world_run(w, 100);
	assert_int_equal(heard(k, "controller", "superseded", &e), 1);
	assert_string_equal(text_at(e, "controller"), "clc");
	assert_int_equal(heard(k, "controller", "away", NULL), 1);
	assert_int_equal(heard(k, "alarm", "raised", &e), 1);
	assert_non_null(strstr(text_at(e, "text"), "claims the gateway address"));
	assert_true(logged("ALARM: somebody outside the group"));
	assert_in_order(k);
	caller_free(k);
	world_free(w);
}

static void
a_subscriber_chooses_its_classes(void **state)
{
	struct world *w = routers(1);
	struct caller *k = controller(w, 0);
	json_t *v = subscribe(k, "", json_pack("[{s:s}, {s:s}]", "class", "route", "class", "alarm"));

	(void)state;
	json_decref(v);
	assert_int_equal(vm_register(world_router(w, 0), 1, 1, 0), 0);
	assert_int_equal(call(world_router(w, 0), "route.replace",
				 "{\"prefix\": \"203.0.1.0/24\", \"via\": \"192.0.2.9\"}"),
		0);
	world_run(w, 100);
	assert_int_equal(json_array_size(k->events), 1);
	assert_int_equal(heard(k, "route", "replaced", NULL), 1);
	assert_int_equal(caller_call(k, "events", json_pack("{s:[{s:s}]}", "classes", "class", "weather")),
		RPC_INVALID_PARAMS);
	caller_free(k);
	world_free(w);
}

static void
who_comes_again_is_told_what_it_missed_and_nothing_twice(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = subscriber(w, 0);
	char cursor[64];
	json_t *v;

	(void)state;
	assert_int_equal(vm_register(a, 1, 1, 0), 0);
	world_run(w, 100);
	snprintf(cursor, sizeof(cursor), "%s", cursor_of(k));
	caller_free(k);
	assert_int_equal(vm_register(a, 2, 1, 0), 0);
	assert_int_equal(vm_register(a, 3, 1, 0), 0);
	k = controller(w, 0);
	v = subscribe(k, cursor, json_pack("[{s:s}]", "class", "vm"));
	assert_null(json_object_get(v, "resync"));
	assert_string_equal(text_at(v, "cursor"), cursor);
	json_decref(v);
	assert_int_equal(vm_register(a, 4, 1, 0), 0);
	world_run(w, 100);
	assert_int_equal(json_array_size(k->events), 3);
	assert_string_equal(text_at(json_array_get(k->events, 0), "vm.mac"), "52:54:00:00:00:02");
	assert_string_equal(text_at(json_array_get(k->events, 2), "vm.mac"), "52:54:00:00:00:04");
	caller_free(k);
	world_free(w);
}

static void
a_cursor_that_leads_nowhere_is_answered_with_resync(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = subscriber(w, 0);
	const char *const wrong[] = {"1", "x-1", "1-2-3", "0-0"};
	char cursor[64], late[80];
	json_t *v;

	(void)state;
	assert_int_equal(vm_register(a, 1, 1, 0), 0);
	world_run(w, 100);
	snprintf(cursor, sizeof(cursor), "%s", cursor_of(k));
	for (unsigned int i = 0; i < 4; i++) {
		v = subscribe(k, wrong[i], NULL);
		assert_non_null(json_object_get(v, "resync"));
		assert_string_equal(text_at(v, "cursor"), cursor);
		json_decref(v);
	}
	snprintf(late, sizeof(late), "%s0", cursor);
	v = subscribe(k, late, NULL);
	assert_string_equal(text_at(v, "resync"), "the cursor is of an event still to come");
	json_decref(v);
	caller_free(k);
	node_crash(a);
	node_start(a);
	world_run(w, 100);
	k = controller(w, 0);
	v = subscribe(k, cursor, NULL);
	assert_string_equal(text_at(v, "resync"), "the router has started anew since");
	assert_string_not_equal(text_at(v, "cursor"), cursor);
	json_decref(v);
	caller_free(k);
	world_free(w);
}

static void
what_is_not_kept_any_more_is_answered_with_resync(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *k = controller(w, 0);
	char first[64], text[64];
	json_t *v = subscribe(k, "", json_pack("[{s:s}]", "class", "route"));

	(void)state;
	snprintf(first, sizeof(first), "%s", text_at(v, "cursor"));
	json_decref(v);
	for (unsigned int i = 0; i < EVENTS_KEPT; i++) {
		snprintf(text, sizeof(text), "number %u", i);
		event_alarm(a->core, "", "%s", text);
	}
	world_run(w, 100);
	assert_int_equal(json_array_size(k->events), 0);
	assert_int_equal(k->resyncs, 0);
	assert_non_null(k->told);
	assert_string_not_equal(
		cursor_of(k), first); /* of the quiet classes, too, it has a cursor that is kept */
	v = subscribe(k, first, NULL);
	assert_null(json_object_get(v, "resync")); /* the very first is still there */
	json_decref(v);
	world_run(w, 5000);
	assert_int_equal(json_array_size(k->events), EVENTS_KEPT);
	assert_in_order(k);
	event_alarm(a->core, "", "one more");
	v = subscribe(k, first, NULL);
	assert_string_equal(text_at(v, "resync"), "what came next is not kept any more");
	json_decref(v);
	caller_free(k);
	world_free(w);
}

static void
who_reads_slowly_gets_a_resync_and_holds_up_nobody(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0);
	struct caller *slow = subscriber(w, 0);
	struct caller *quick = caller_new(&w->nodes[2], "clc-2", ROLE_CONTROLLER, a, NULL);
	unsigned int before = 0;
	json_t *v = subscribe(quick, "", NULL);

	(void)state;
	json_decref(v);
	event_alarm(a->core, "", "before");
	world_run(w, 50);
	before = json_array_size(slow->events);
	world_cut(w, 0, 1, true);
	for (unsigned int i = 0; i < EVENTS_KEPT + 1000; i++) {
		event_alarm(a->core, "", "number %u", i);
		if (i % 64 == 0)
			world_run(w, 4);
	}
	world_run(w, 100);
	assert_int_equal(json_array_size(quick->events), 1 + EVENTS_KEPT + 1000);
	assert_int_equal(quick->resyncs, 0);
	world_cut(w, 0, 1, false);
	world_run(w, 1000);
	assert_int_equal(slow->resyncs, 1);
	assert_true(json_array_size(slow->events) < before + 1000);
	event_alarm(a->core, "", "behind");
	world_run(w, 100);
	assert_string_equal(
		text_at(json_array_get(slow->events, json_array_size(slow->events) - 1), "text"), "behind");
	assert_in_order(slow);
	caller_free(slow);
	caller_free(quick);
	world_free(w);
}

/* ---- a subscriber that comes and goes at random, at a router whose lines, disk and process fail ---- */

#define KNOWN 8

struct follower {
	struct world *w;
	struct caller *k;
	char cursor[64];
	size_t taken;		      /* of k->events */
	json_int_t number;	      /* of the last event */
	json_int_t epochs[KNOWN];     /* of the VMs, by events or what was read after a resync */
	json_int_t revisions[KNOWN];  /* of their last events */
	unsigned int events, resyncs; /* in all */
};

static unsigned int
vm_of(const json_t *e)
{
	const char *mac = text_at(e, "vm.mac");

	return (unsigned int)strtoul(mac + strlen("52:54:00:00:00:"), NULL, 16);
}

/* Each event is a change that was not told before, and the newest of its VM. */
static void
follow_event(struct follower *f, const json_t *e)
{
	unsigned int n = vm_of(e);
	json_int_t epoch = json_integer_value(json_object_get(json_object_get(e, "vm"), "epoch"));
	json_int_t number = json_integer_value(json_object_get(e, "number"));
	json_int_t revision = json_integer_value(json_object_get(e, "revision"));

	assert_true(number > f->number);
	assert_true(epoch > f->epochs[n]);
	assert_true(revision > f->revisions[n]);
	f->number = number;
	f->epochs[n] = epoch;
	f->revisions[n] = revision;
	f->events++;
}

static void
follow_read(struct follower *f)
{
	f->resyncs++;
	f->number = 0;
	for (unsigned int n = 0; n < KNOWN; n++) {
		struct vm_obj *o = vm_at(world_router(f->w, 0), n);

		f->epochs[n] = o ? (json_int_t)o->now.epoch : 0;
		f->revisions[n] = 0;
	}
}

static void
follow_take(struct follower *f)
{
	for (; f->k && f->taken < json_array_size(f->k->events); f->taken++)
		follow_event(f, json_array_get(f->k->events, f->taken));
	if (f->k && f->k->told)
		snprintf(f->cursor, sizeof(f->cursor), "%s", cursor_of(f->k));
}

static void
follow_leave(struct follower *f)
{
	follow_take(f);
	if (f->k)
		caller_free(f->k);
	f->k = NULL;
}

/* Nothing else happens at the router while the reply is on its way. */
static void
follow_come(struct follower *f)
{
	json_t *v;

	follow_leave(f);
	f->k = caller_new(world_controller(f->w), "clc", ROLE_CONTROLLER, world_router(f->w, 0), NULL);
	f->taken = 0;
	if (!f->k->up) {
		follow_leave(f);
		return;
	}
	v = subscribe(f->k, f->cursor, json_pack("[{s:s}]", "class", "vm"));
	snprintf(f->cursor, sizeof(f->cursor), "%s", text_at(v, "cursor"));
	if (json_object_get(v, "resync"))
		follow_read(f);
	json_decref(v);
}

static void
random_step(struct follower *f, uint64_t *epoch)
{
	struct node *a = world_router(f->w, 0);
	unsigned int n = (unsigned int)world_random(f->w, KNOWN);

	switch (world_random(f->w, 12)) {
	case 0:
		follow_come(f);
		break;
	case 1:
		follow_leave(f);
		break;
	case 2:
		world_reset(f->w, 0, 2); /* the controller's line */
		break;
	case 3:
		if (world_random(f->w, 4) > 0)
			break;
		node_crash(a);
		node_start(a);
		break;
	case 4:
		a->commits_to_fail = 1;
		break;
	case 5:
		vm_move(world_router(f->w, 1), n, ++*epoch, 0, 0, 0);
		break;
	case 6:
		vm_unregister(a, n, ++*epoch);
		break;
	default:
		vm_register(a, n, ++*epoch, 0);
		break;
	}
	world_run(f->w, world_random(f->w, 40));
	follow_take(f);
	if (f->k && f->k->down)
		follow_leave(f);
}

static void
follow_a_while(uint64_t seed, unsigned int *events, unsigned int *resyncs)
{
	struct follower f = {.w = world_new(seed, 2)};
	struct node *a;
	uint64_t epoch = 0;

	for (unsigned int i = 0; i < 2; i++)
		node_start(world_router(f.w, i));
	world_run(f.w, 6000);
	follow_come(&f);
	for (unsigned int i = 0; i < 200; i++)
		random_step(&f, &epoch);
	a = world_router(f.w, 0);
	a->commits_to_fail = 0;
	world_run(f.w, 200000);
	follow_come(&f);
	world_run(f.w, 1000);
	follow_take(&f);
	for (unsigned int n = 0; n < KNOWN; n++) /* nothing was left out */
		assert_int_equal(f.epochs[n], vm_at(a, n) ? (json_int_t)vm_at(a, n)->now.epoch : 0);
	*events += f.events;
	*resyncs += f.resyncs;
	follow_leave(&f);
	world_free(f.w);
}

static void
who_comes_and_goes_hears_each_change_once_or_of_a_resync(void **state)
{
	unsigned int events = 0, resyncs = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++)
		follow_a_while(seed, &events, &resyncs);
	assert_true(events > 1000);
	assert_true(resyncs > 30);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(a_registration_is_told_with_all_that_a_controller_needs),
		T(what_changes_and_changes_back_in_one_commit_has_its_revision),
		T(a_move_is_told_at_both_routers_and_its_end_too),
		T(what_is_refused_or_only_tried_or_repeated_is_no_event),
		T(routes_are_told),
		T(a_disk_that_refuses_is_told_and_nothing_that_it_refused),
		T(peers_controllers_and_alarms_are_told),
		T(a_subscriber_chooses_its_classes),
		T(who_comes_again_is_told_what_it_missed_and_nothing_twice),
		T(a_cursor_that_leads_nowhere_is_answered_with_resync),
		T(what_is_not_kept_any_more_is_answered_with_resync),
		T(who_comes_and_goes_hears_each_change_once_or_of_a_resync),
		T(who_reads_slowly_gets_a_resync_and_holds_up_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
