/* SPDX-License-Identifier: BSD-3-Clause */
/* evacuate.c - a site is left: all its VMs move, in batches. */
#include "clc_priv.h"
#include "evacuation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef char vm_name[NAME_LEN + 1];

/* At the site it leaves, or cut off on its way to the other. */
static bool
has_to_move(const struct evacuation *x, const struct clc_vm *vm)
{
	if (x->segment != NULL && strcmp(vm->segment, x->segment) != 0)
		return false;
	return strcmp(vm->site, x->from) == 0 &&
	       (vm->step == VM_ACTIVE || (vm->step == VM_MOVING && strcmp(vm->to, x->move.to) == 0));
}

static bool
has_moved(const struct evacuation *x, const struct clc_vm *vm)
{
	return vm->step == VM_ACTIVE && strcmp(vm->site, x->move.to) == 0;
}

/* Of a list its VMs; else those that it was about before, and those that are at the site now. A new reference. */
static json_t *
all_of(struct clc *c, const struct evacuation *x)
{
	json_t *before = json_object_get(c->state.evacuation, "vms"), *all;
	struct clc_vm *vm, *next;

	if (x->listed != NULL)
		return json_incref(x->listed);
	all = before != NULL ? json_copy(before) : json_object();
	HASH_ITER (by_name, c->state.vms, vm, next)
		if (has_to_move(x, vm))
			json_object_set_new(all, vm->name, json_integer(0));
	return all;
}

/* By name: what a router says of a VM may end it. */
static vm_name *
names_of(struct clc *c, struct evacuation *x, json_t *all)
{
	vm_name *names = calloc(json_object_size(all) + 1, sizeof(*names));
	const char *name;
	json_t *line;

	if (names == NULL)
		return NULL;
	json_object_foreach(all, name, line)
	{
		const struct clc_vm *vm = state_find(&c->state, name);

		if (vm != NULL && has_to_move(x, vm))
			memcpy(names[x->wanted++], vm->name, sizeof(*names));
		else
			x->before += vm != NULL && has_moved(x, vm);
	}
	return names;
}

static size_t
find(struct clc *c, const struct evacuation *x, const vm_name *names, size_t n, struct clc_vm **vms)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		struct clc_vm *vm = state_find(&c->state, names[i]);

		if (vm != NULL && has_to_move(x, vm))
			vms[found++] = vm;
	}
	return found;
}

static size_t
arrived(struct clc *c, const struct evacuation *x, const vm_name *names, size_t n)
{
	size_t there = 0;

	for (size_t i = 0; i < n; i++) {
		const struct clc_vm *vm = state_find(&c->state, names[i]);

		there += vm != NULL && has_moved(x, vm);
	}
	return there;
}

/* Refused, and some of them may go all the same. */
static bool
may_be_parted(int rc)
{
	return rc == -EPROTO || rc == -ENOSPC || rc == -EBUSY;
}

/* A transaction; when it is refused its halves, down to the VMs that are to blame. */
static int
move_some(struct clc *c, struct evacuation *x, const vm_name *names, size_t n, struct clc_vm **vms,
	struct err *e)
{
	size_t k = find(c, x, names, n, vms);
	int rc = k > 0 ? clc_move_known(c, vms, k, &x->move, e) : 0;

	if (!may_be_parted(rc) ||
		(n == 1 && rc == -ENOSPC)) /* no address is free: none is for the next one either */
		return rc;
	pool_take_stock(&c->state); /* what those that were refused had taken is free again */
	if (n == 1) {
		json_array_append_new(x->refused, json_pack("{s:s, s:s}", "vm", names[0], "error", e->text));
		return 0;
	}
	rc = move_some(c, x, names, n / 2, vms, e);
	return rc == 0 ? move_some(c, x, names + n / 2, n - n / 2, vms, e) : rc;
}

static int
move_batch(struct clc *c, struct evacuation *x, const vm_name *names, size_t n, struct clc_vm **vms,
	struct err *e)
{
	uint64_t began = env_call(c->links.env, now_ms), took;
	size_t refused = json_array_size(x->refused);
	int rc = move_some(c, x, names, n, vms, e);

	if (rc == 0 && n > 1 && json_array_size(x->refused) - refused == n)
		rc = err_set(e, EPROTO, "all %zu VMs of a batch were refused: %s", n,
			json_string_value(json_object_get(json_array_get(x->refused, refused), "error")));
	took = env_call(c->links.env, now_ms) - began;
	x->slowest_ms = took > x->slowest_ms ? took : x->slowest_ms;
	x->moved += arrived(c, x, names, n);
	x->batches++;
	return rc;
}

/* Stored before the first VM moves, so that it can be told how far it is and what has moved, whenever it ends. */
static int
begin(struct clc *c, struct evacuation *x, vm_name **names, struct err *e)
{
	json_t *all = all_of(c, x);
	int rc = 0;

	*names = names_of(c, x, all);
	if (*names == NULL)
		rc = err_set(e, ENOMEM, "out of memory");
	else if (x->wanted > 0)
		rc = state_set_evacuation(&c->state, evacuation_row(x, all), e);
	json_decref(all);
	return rc;
}

static int
move_batches(struct clc *c, struct evacuation *x, const vm_name *names, struct clc_vm **vms, struct err *e)
{
	uint64_t began = env_call(c->links.env, now_ms);
	int rc = 0;

	for (size_t at = 0, n; rc == 0 && !x->stopped && at < x->wanted; at += n) {
		n = x->wanted - at < x->batch ? x->wanted - at : x->batch;
		rc = move_batch(c, x, names + at, n, vms, e);
		x->took_ms = env_call(c->links.env, now_ms) - began;
		x->stopped = rc == 0 && !x->go_on(x->arg, x) && at + n < x->wanted;
	}
	return rc;
}

int
clc_evacuate(struct clc *c, struct evacuation *x, struct err *e)
{
	const struct inv_site *to = clc_need_site(c, x->move.to, e);
	struct clc_vm **vms = calloc(x->batch + 1, sizeof(struct clc_vm *));
	struct seen_count seen = {0};
	vm_name *names = NULL;
	int rc = to != NULL ? evacuation_check(c, x, e) : e->code;

	x->refused = json_array();
	if (rc == 0 && vms == NULL)
		rc = err_set(e, ENOMEM, "out of memory");
	if (rc == 0)
		rc = clc_look(c, to, &seen, e);
	if (rc == 0)
		rc = begin(c, x, &names, e);
	if (rc == 0) {
		pool_take_stock(&c->state);
		rc = move_batches(c, x, (const vm_name *)names, vms, e);
	}
	if (rc == 0 && !x->stopped && c->state.evacuation != NULL)
		rc = state_set_evacuation(&c->state, NULL, e);
	free(names);
	free(vms);
	return rc;
}

/* Those of it that are not where they were, by name. */
static json_t *
gone_of(struct clc *c, const struct evacuation *x, json_t *all, json_int_t *on_their_way, json_int_t *left)
{
	json_t *gone = json_array(), *line;
	const char *name;

	json_object_foreach(all, name, line)
	{
		const struct clc_vm *vm = state_find(&c->state, name);
		bool leaves = vm != NULL && vm->step == VM_MOVING && strcmp(vm->to, x->move.to) == 0;

		*on_their_way += leaves;
		if (vm != NULL && (leaves || has_moved(x, vm)))
			json_array_append_new(gone, json_string(name));
		else
			*left += vm != NULL && strcmp(vm->site, x->from) == 0;
	}
	return gone;
}

int
clc_evacuate_abort(struct clc *c, json_t **report, struct err *e)
{
	json_int_t on_their_way = 0, left = 0;
	struct evacuation x;
	json_t *gone;

	if (c->state.evacuation == NULL)
		return err_set(e, ENOENT, "no evacuation is under way");
	evacuation_read(c->state.evacuation, &x);
	gone = gone_of(c, &x, json_object_get(c->state.evacuation, "vms"), &on_their_way, &left);
	*report = json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "from", x.from, "to", x.move.to, "moved",
		(json_int_t)json_array_size(gone) - on_their_way, "on-their-way", on_their_way, "left", left,
		"vms", gone);
	return state_set_evacuation(&c->state, NULL, e);
}
