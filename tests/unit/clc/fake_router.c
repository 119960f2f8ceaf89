/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_router.h"

#include <api/items.h>
#include <api/methods.h>
#include <assert.h>
#include <mutate.h>
#include <net/keys.h>
#include <net/rpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_group *group_of_find;

static const char *
text(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static json_int_t
number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static bool
is_dry(const json_t *params)
{
	return json_is_true(json_object_get(params, "dry-run"));
}

static void
id_of(const json_t *params, char id[64])
{
	snprintf(id, 64, "%s/%s", text(params, "segment"), text(params, "mac"));
}

json_t *
fake_vm(const struct fake_group *g, const char *id)
{
	return json_object_get(g->vms, id);
}

void
fake_end_drains(struct fake_group *g, const char *id)
{
	json_object_del(fake_vm(g, id), "drains");
}

static bool
has_global(const json_t *list, const char *global)
{
	const json_t *a;
	size_t i;

	json_array_foreach(list, i, a) if (global != NULL && text(a, "global") != NULL &&
					   strcmp(text(a, "global"), global) == 0) return true;
	return false;
}

/* What drains after a move: the old drains and the old live addresses that are not live again. */
static json_t *
drains_after(const json_t *old, const json_t *params)
{
	json_t *drains = json_array(), *a;
	size_t i;

	json_array_foreach(json_object_get(old, "drains"), i,
		a) if (!has_global(json_object_get(params, "addresses"), text(a, "global")))
		json_array_append(drains, a);
	json_array_foreach(json_object_get(old, "addresses"), i,
		a) if (text(a, "global") != NULL && !has_global(json_object_get(params, "addresses"),
							    text(a, "global"))) json_array_append_new(drains,
		json_pack("{s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:i}", "private", text(a, "private"), "global",
			text(a, "global"), "router", text(old, "owner"), "epoch", number(params, "epoch"),
			"min", 1000, "max", 2000, "left-min", 1000, "left-max", 2000));
	return drains;
}

/* ---- prepared moves ---- */

static json_t *
move_of(const struct fake_group *g, const char *id, json_int_t epoch)
{
	char key[96];

	snprintf(key, sizeof(key), "%s@%" JSON_INTEGER_FORMAT, id, epoch);
	return json_object_get(g->moves, key);
}

const char *
fake_move_state(const struct fake_group *g, const char *id, json_int_t epoch)
{
	return text(move_of(g, id, epoch), "state");
}

void
fake_time_out(struct fake_group *g, const char *id, json_int_t epoch)
{
	json_object_set_new(move_of(g, id, epoch), "state", json_string("aborted"));
	json_object_set_new(move_of(g, id, epoch), "reason", json_string("timeout"));
}

void
fake_forget_moves(struct fake_group *g)
{
	json_object_clear(g->moves);
}

static int change(struct fake_router *r, const char *method, const json_t *params, json_t **data);

void
fake_arrive(struct fake_group *g, const char *id, json_int_t epoch)
{
	json_t *m = move_of(g, id, epoch), *data;

	for (size_t i = 0; i < FAKE_ROUTERS; i++)
		if (strcmp(g->r[i].name, text(m, "router")) == 0)
			assert(change(&g->r[i], "vm.move", json_object_get(m, "plan"), &data) == 0);
	json_object_set_new(m, "state", json_string("draining"));
}

static int
move_prepare(struct fake_router *r, const char *id, const json_t *params, json_t *m, json_t **data)
{
	json_int_t epoch = number(params, "epoch");
	json_t *vm = fake_vm(r->group, id);
	char key[96];

	if (m != NULL && strcmp(text(m, "state"), "aborted") == 0) {
		*data = json_deep_copy(m);
		return RPC_ABORTED;
	}
	if (m != NULL)
		return strcmp(text(m, "state"), "draining") == 0 ? RPC_COMMITTED : 0;
	if (number(vm, "epoch") >= epoch) {
		*data = json_deep_copy(vm);
		return RPC_STALE_EPOCH;
	}
	snprintf(key, sizeof(key), "%s@%" JSON_INTEGER_FORMAT, id, epoch);
	json_object_set_new(r->group->moves, key,
		json_pack("{s:s, s:o, s:s}", "state", "prepared", "plan", json_deep_copy(params), "router",
			r->name));
	return 0;
}

static int
move_change(struct fake_router *r, const char *method, const json_t *params, json_t **data)
{
	json_t *m;
	char id[64];

	id_of(params, id);
	m = move_of(r->group, id, number(params, "epoch"));
	if (strcmp(method, "move.prepare") == 0)
		return move_prepare(r, id, params, m, data);
	if (m == NULL)
		return RPC_NOT_FOUND;
	if (number(fake_vm(r->group, id), "epoch") > number(params, "epoch"))
		json_object_set_new(m, "state", json_string("aborted"));
	if (strcmp(text(m, "state"), "aborted") == 0 && strcmp(method, "move.abort") != 0) {
		*data = json_deep_copy(m);
		return RPC_ABORTED;
	}
	if (strcmp(text(m, "state"), "draining") == 0)
		return strcmp(method, "move.commit") == 0 ? 0 : RPC_COMMITTED;
	if (strcmp(method, "move.commit") == 0)
		fake_arrive(r->group, id, number(params, "epoch"));
	else
		json_object_set_new(
			m, "state", json_string(strcmp(method, "move.abort") == 0 ? "aborted" : "paused"));
	return 0;
}

/* 0 or an RPC error; *data is new. */
static int
change(struct fake_router *r, const char *method, const json_t *params, json_t **data)
{
	json_t *old, *now;
	char id[64];

	*data = NULL;
	r->changes++;
	json_decref(r->last);
	r->last = json_deep_copy(params);
	if (strcmp(method, "route.replace") == 0)
		return json_object_set(r->routes, text(params, "prefix"), json_object_get(params, "via"));
	if (strcmp(method, "route.delete") == 0)
		return json_object_del(r->routes, text(params, "prefix")) == 0 ? 0 : RPC_NOT_FOUND;
	if (strncmp(method, "move.", 5) == 0)
		return move_change(r, method, params, data);
	id_of(params, id);
	old = fake_vm(r->group, id);
	if (old != NULL && number(params, "epoch") <= number(old, "epoch")) {
		if (number(params, "epoch") == number(old, "epoch") &&
			strcmp(text(old, "owner"), r->name) == 0 &&
			(strcmp(method, "vm.unregister") == 0 ||
				json_equal(json_object_get(old, "addresses"),
					json_object_get(params, "addresses"))))
			return 0;
		*data = json_deep_copy(old);
		return number(params, "epoch") < number(old, "epoch") ? RPC_STALE_EPOCH : RPC_CONFLICT;
	}
	now = json_pack("{s:s, s:s, s:s, s:I, s:b, s:O?}", "segment", text(params, "segment"), "mac",
		text(params, "mac"), "owner", r->name, "epoch", number(params, "epoch"), "deleted",
		strcmp(method, "vm.unregister") == 0, "addresses", json_object_get(params, "addresses"));
	if (json_object_get(params, "addresses") == NULL)
		json_object_del(now, "addresses");
	if (strcmp(method, "vm.move") == 0 && old != NULL)
		json_object_set_new(now, "drains", drains_after(old, params));
	json_object_set_new(r->group->vms, id, now);
	return 0;
}

static int
change_all(struct fake_router *r, const json_t *params, json_t **data)
{
	json_t *before = json_deep_copy(r->group->vms), *ch, *vm;
	size_t i;
	int rc = 0;

	r->txns++;
	json_array_foreach(json_object_get(params, "changes"), i, ch)
	{
		assert(!is_dry(json_object_get(ch, "params"))); /* a list is dry as a whole */
		rc = change(r, text(ch, "method"), json_object_get(ch, "params"), &vm);
		if (rc == 0)
			continue;
		*data = json_pack("{s:I, s:o*}", "change", (json_int_t)i, "vm", vm);
		json_decref(r->group->vms);
		r->group->vms = before;
		return rc;
	}
	json_decref(before);
	return 0;
}

/* As a router: all as it was hashed, or nothing. */
static int
commit(struct fake_router *r, const json_t *params, json_t **data)
{
	json_t *all = json_pack("{s:O}", "changes", r->staged), *item;
	char text_[ITEMS_HASH_TEXT];
	struct items_hash h;
	size_t i;
	int rc;

	items_hash_init(&h);
	json_array_foreach(r->staged, i, item) items_hash_add(&h, item);
	items_hash_text(&h, text_);
	assert(strcmp(text(params, "sha256"), text_) == 0);
	assert(number(params, "count") == (json_int_t)json_array_size(r->staged));
	rc = change_all(r, all, data);
	r->commits += rc == 0;
	json_decref(all);
	return rc;
}

/* Of a staged transaction all but its commit. */
static bool
stage(struct fake_router *r, struct rpc_request *q, const char *method, const json_t *params)
{
	if (strcmp(method, "txn.open") == 0) {
		assert(r->staged == NULL);
		r->staged = json_array();
		r->parts = 0;
	} else if (strcmp(method, "txn.add") == 0) {
		assert(number(params, "txn") == 7 && number(params, "part") == ++r->parts);
		json_array_extend(r->staged, json_object_get(params, "changes"));
	} else if (strcmp(method, "txn.abort") == 0) {
		json_decref(r->staged);
		r->staged = NULL;
	} else {
		return false;
	}
	rpc_reply(q, json_pack("{s:i}", "txn", 7));
	return true;
}

static json_t *
page(struct fake_router *r, const json_t *params)
{
	const char *cursor = text(params, "cursor"), *id;
	json_int_t limit = r->group->page != 0 ? r->group->page : number(params, "limit");
	json_t *rows = json_array(), *v = json_pack("{s:o}", "rows", rows), *vm;
	json_int_t i = 0, from = cursor != NULL ? atoi(cursor) : 0;
	char next[16];

	json_object_foreach(r->group->vms, id, vm)
	{
		if (i++ < from || json_is_true(json_object_get(vm, "deleted")))
			continue;
		if ((json_int_t)json_array_size(rows) == limit) {
			snprintf(next, sizeof(next), "%d", (int)i - 1);
			json_object_set_new(v, "next", json_string(next));
			break;
		}
		json_array_append_new(rows, json_copy(vm));
		/* More than the controller knows. */
		json_object_set_new(
			json_array_get(rows, json_array_size(rows) - 1), "port", json_string("dc0"));
	}
	return v;
}

static void
free_rpc(struct fake_router *r)
{
	r->channel = NULL;
	rpc_free(r->rpc);
	r->rpc = NULL;
	json_decref(r->staged);
	r->staged = NULL;
	if (r->unanswered != NULL) /* to nobody any more */
		rpc_reply(r->unanswered, json_null());
	r->unanswered = NULL;
}

static void
lose(struct fake_router *r)
{
	channel_close(r->channel);
	free_rpc(r);
}

/* `plan`: stolen, or NULL. */
static void
answer(struct rpc_request *q, int rc, json_t *data, json_t *plan)
{
	if (rc == 0)
		rpc_reply(
			q, json_pack("{s:i, s:s, s:o*}", "revision", 1, "old-router", "ready", "plan", plan));
	else
		rpc_fail(q, rc, data, "fake refusal %d", rc);
}

static int
carry_out(struct fake_router *r, const char *method, const json_t *params, json_t **data)
{
	int rc = strcmp(method, "txn.apply") == 0    ? change_all(r, params, data)
		 : strcmp(method, "txn.commit") == 0 ? commit(r, params, data)
						     : change(r, method, params, data);

	if (strcmp(method, "txn.commit") == 0 && rc == 0 && !is_dry(params)) {
		json_decref(r->staged);
		r->staged = NULL;
	}
	return rc;
}

/* What a move made of the VM; of anything else nothing. */
static json_t *
plan_of(struct fake_router *r, const json_t *params)
{
	char key[96], id[64];
	json_t *vm;

	if (text(params, "mac") == NULL)
		return NULL;
	id_of(params, id);
	snprintf(key, sizeof(key), "%s@%" JSON_INTEGER_FORMAT, id, number(params, "epoch"));
	vm = fake_vm(r->group, id);
	return json_pack("{s:s, s:s, s:O?, s:O?}", "id", key, "to", r->name, "live",
		json_object_get(params, "addresses"), "draining", json_object_get(vm, "drains"));
}

/* Carries it out, and takes it back. */
static void
dry_run(struct fake_router *r, struct rpc_request *q, const char *method, const json_t *params)
{
	struct fake_group *g = r->group;
	json_t *vms = json_deep_copy(g->vms), *moves = json_deep_copy(g->moves),
	       *routes = json_deep_copy(r->routes), *data = NULL;
	int rc = carry_out(r, method, params, &data);

	answer(q, rc, data, rc == 0 ? plan_of(r, params) : NULL);
	json_decref(g->vms);
	json_decref(g->moves);
	json_decref(r->routes);
	g->vms = vms;
	g->moves = moves;
	r->routes = routes;
	r->dry_runs++;
}

/* One of them at an epoch that may be the last; deleted or not. */
static json_t *
some_vm(struct fake_router *r)
{
	static const json_int_t epochs[] = {1, 7, INT64_MAX - 1, INT64_MAX};
	uint64_t skip = mutate_random(json_object_size(r->group->vms) + 1);
	const char *id;
	json_t *vm;

	json_object_foreach(r->group->vms, id, vm)
	{
		if (skip-- > 0)
			continue;
		vm = json_deep_copy(vm);
		json_object_set_new(vm, "epoch", json_integer(epochs[mutate_random(4)]));
		json_object_set_new(vm, "deleted", json_boolean(mutate_random(2)));
		return vm;
	}
	return json_object();
}

/* Of a copy: what it has stays as it is. */
static json_t *
damaged(json_t *given_stolen)
{
	static const char *const others[] = {
		"[]", "null", "7", "\"\"", "{}", "[[[[]]]]", "{\"rows\": 7}", "1e99"};

	json_t *v = json_deep_copy(given_stolen);

	json_decref(given_stolen);
	if (mutate_random(6) == 0) {
		json_decref(v);
		return json_loads(others[mutate_random(8)], JSON_DECODE_ANY, NULL);
	}
	for (uint64_t edits = mutate_random(4); edits > 0; edits--)
		mutate_tree(v);
	return v;
}

/* An endless list shows the same VMs over and over, or none. */
static void
handle_hostile(struct fake_router *r, struct rpc_request *q, const char *method, json_t *params)
{
	int rc = 0;
	json_t *v;

	if (r->hostility == HOSTILE_SILENT) {
		r->unanswered = q;
		return;
	}
	v = strcmp(method, "show.vms") == 0 ? page(r, params) : json_pack("{s:i}", "revision", 1);
	if (r->hostility == HOSTILE_ENDLESS) {
		json_object_set_new(v, "next", json_string("on"));
		rpc_reply(q, v);
		return;
	}
	if (strcmp(method, "show.vms") != 0 && mutate_random(2) == 0)
		rc = mutate_random(2) ? RPC_STALE_EPOCH : (int)mutate_random(20) - 5;
	if (rc == 0) {
		rpc_reply(q, damaged(v));
		return;
	}
	json_decref(v);
	rpc_fail(q, rc, damaged(some_vm(r)), "no");
}

static void
handle(void *arg, struct rpc_request *q, const char *method, json_t *params)
{
	struct fake_router *r = arg;
	enum fake_fault fault = r->fault;
	json_t *data = NULL;
	int rc = 0;

	r->calls++;
	if (r->hostility != HONEST) {
		handle_hostile(r, q, method, params);
		return;
	}
	if (strcmp(method, "show.vms") == 0) {
		rpc_reply(q, page(r, params));
		return;
	}
	if (strcmp(method, "show.status") == 0) {
		rpc_reply(q, json_pack("{s:s, s:i}", "name", r->name, "revision", 9));
		return;
	}
	if (strcmp(method, "events") == 0) {
		snprintf(r->after, sizeof(r->after), "%s", text(params, "after"));
		rpc_reply(q, json_pack("{s:s, s:s*}", "cursor", r->after[0] ? r->after : "c-0", "resync",
				     strcmp(r->after, "c-old") == 0 ? "too old" : NULL));
		return;
	}
	if (stage(r, q, method, params))
		return;
	r->fault = FAULT_NONE;
	if (fault == FAULT_REFUSE) {
		rpc_fail(q, RPC_LIMIT, NULL, "fake limit");
		return;
	}
	if (is_dry(params)) {
		dry_run(r, q, method, params);
		return;
	}
	if (fault != FAULT_LOSE_BEFORE)
		rc = carry_out(r, method, params, &data);
	if (fault == FAULT_NONE) {
		answer(q, rc, data, NULL);
		return;
	}
	lose(r);
	rpc_reply(q, json_null());
}

static void
on_up(void *arg, struct channel *c)
{
	struct fake_router *r = arg;

	r->rpc = rpc_new(c, handle, r);
}

static void
on_message(void *arg, struct channel *c, json_t *msg)
{
	(void)c;
	rpc_message(((struct fake_router *)arg)->rpc, msg);
}

static void
on_down(void *arg, struct channel *c, const char *why)
{
	struct fake_router *r = arg;

	(void)why;
	(void)c;
	free_rpc(r);
}

static const struct channel_ops ops = {on_up, on_message, on_down};

static const struct channel_identity *
find(void *arg, const uint8_t key[32])
{
	(void)arg;
	return memcmp(key, group_of_find->controller.key, 32) == 0 ? &group_of_find->controller : NULL;
}

static void
accepted(void *arg, struct env_stream *s, const struct env_peer_id *id)
{
	struct fake_router *r = arg;

	if (r->turn_away > 0) {
		r->turn_away--;
		r->group->f.ops.stream_close(s);
		return;
	}
	lose(r);
	r->channel = channel_accept(&r->local, s, id, find, &ops, r);
}

void
fake_router_up(struct fake_router *r)
{
	r->listener = env_call(&r->group->f.env, listen, r->address, accepted, r, NULL);
}

void
fake_router_down(struct fake_router *r)
{
	lose(r);
	if (r->listener != NULL)
		r->group->f.ops.listener_close(r->listener);
	r->listener = NULL;
}

void
fake_tell(struct fake_router *r, const char *cursor, json_int_t number)
{
	rpc_notify(r->rpc, "event",
		json_pack("{s:s, s:[{s:I, s:s}]}", "cursor", cursor, "events", "number", number, "class",
			"vm"));
}

void
fake_group_init(struct fake_group *g)
{
	static const char *const names[] = {"r-x", "r-y", "r-u"};

	memset(g, 0, sizeof(*g));
	fake_init(&g->f);
	group_of_find = g;
	g->vms = json_object();
	g->moves = json_object();
	g->controller = (struct channel_identity){.name = "clc", .role = ROLE_CONTROLLER};
	for (int i = 0; i < FAKE_ROUTERS; i++) {
		struct fake_router *r = &g->r[i];

		r->group = g;
		r->routes = json_object();
		strcpy(r->name, names[i]);
		snprintf(r->address, sizeof(r->address), "192.0.2.%d:7411", 10 + i);
		r->local = (struct channel_local){.env = &g->f.env, .role = ROLE_PEER};
		strcpy(r->local.name, r->name);
		assert(key_generate(r->private_key) == 0);
		r->local.private_key = r->private_key;
		fake_router_up(r);
	}
}

void
fake_group_fini(struct fake_group *g)
{
	for (int i = 0; i < FAKE_ROUTERS; i++) {
		fake_router_down(&g->r[i]);
		json_decref(g->r[i].routes);
		json_decref(g->r[i].last);
	}
	json_decref(g->vms);
	json_decref(g->moves);
	fake_run(&g->f);
	fake_fini(&g->f);
}
