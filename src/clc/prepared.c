/* SPDX-License-Identifier: BSD-3-Clause */
/* prepared.c - a move told step by step: prepare, pause, commit, abort. */
#include "clc_priv.h"

#include <api/methods.h>
#include <errno.h>
#include <string.h>

static const char *
new_router(const struct clc *c, const struct clc_vm *vm)
{
	const struct inv_site *site = inventory_site(c->inv, vm->to);

	return site != NULL ? site->router : "";
}

/* The intent, before a router is told. */
static int
intend(struct clc *c, struct clc_vm *vm, enum vm_step step, struct err *e)
{
	vm->step = step;
	vm->dirty = true;
	return state_commit(&c->state, e);
}

/* The router has said how it ended: stores that, and says it. */
static int
ended_by_router(struct clc *c, struct clc_vm *vm, const json_t *move, struct err *e)
{
	const char *reason = json_string_value(json_object_get(move, "reason"));
	char why[128];
	int rc;

	snprintf(why, sizeof(why), "%.100s", reason != NULL ? reason : "asked");
	vm_end_abort(vm);
	rc = state_commit(&c->state, e);
	return rc != 0 ? rc
		       : err_set(e, ECANCELED,
				 "the move of VM %s was aborted by its new router (%s): it stays at site %s",
				 vm->name, why, vm->site);
}

/* The VM may be gone after this. */
static int
overtaken(struct clc *c, struct clc_vm *vm, const json_t *current, struct err *e)
{
	int rc;

	clc_take_current(c, vm, current);
	rc = state_commit(&c->state, e);
	return rc != 0 ? rc
		       : err_set(e, ECANCELED,
				 "the VM was changed by somebody else meanwhile (list): give the command "
				 "again");
}

/* ---- commit ---- */

/* Its routes, then its row: what fails in between is done again. */
static int
committed(struct clc *c, struct clc_vm *vm, struct err *e)
{
	int rc = clc_tell_routes(c, inventory_site(c->inv, vm->to), &vm, 1, e);

	if (rc != 0)
		return rc;
	vm_end_move(vm);
	return state_commit(&c->state, e);
}

/* A router that never heard of the move, or lost it, is told all of it in one call. */
static int
tell_commit(struct clc *c, struct clc_vm *vm, json_t **data, struct err *e)
{
	const char *router = new_router(c, vm);
	int rc = link_change(&c->links, router, "move.commit", clc_key_params(vm, vm->to_epoch), data, e);

	if (rc != RPC_NOT_FOUND)
		return rc;
	json_decref(*data);
	return link_change(&c->links, router, "vm.move", clc_move_params(c, vm), data, e);
}

static int
finish_commit(struct clc *c, struct clc_vm *vm, struct err *e)
{
	json_t *data = NULL;
	int rc;

	if (clc_need_site(c, vm->to, e) == NULL)
		return e->code;
	rc = tell_commit(c, vm, &data, e);
	if (rc == 0 || rc == RPC_COMMITTED)
		rc = committed(c, vm, e);
	else if (rc == RPC_ABORTED)
		rc = ended_by_router(c, vm, data, e);
	else if (rc == RPC_STALE_EPOCH)
		rc = overtaken(c, vm, data, e);
	else
		rc = e->code;
	json_decref(data);
	return rc;
}

int
clc_commit(struct clc *c, struct clc_vm *vm, struct err *e)
{
	int rc;

	if (vm->step == VM_ACTIVE && vm->ended == ENDED_COMMITTED)
		return 0;
	if (vm->step == VM_ACTIVE)
		return err_set(e, ENOENT, "VM %s: %s", vm->name,
			vm->ended == ENDED_ABORTED ? "its move was aborted" : "no move of it is prepared");
	if (!vm_is_leaving(vm) || vm->step == VM_MOVING)
		return clc_busy(vm, e);
	rc = intend(c, vm, VM_COMMITTING, e);
	return rc == 0 ? finish_commit(c, vm, e) : rc;
}

/* ---- abort ---- */

static int
committed_already(struct clc *c, struct clc_vm *vm, struct err *e)
{
	int rc = intend(c, vm, VM_COMMITTING, e);

	if (rc == 0)
		rc = finish_commit(c, vm, e);
	return rc != 0 ? rc
		       : err_set(e, EEXIST, "the move of VM %s is committed already: it is at site %s",
				 vm->name, vm->site);
}

static int
finish_abort(struct clc *c, struct clc_vm *vm, struct err *e)
{
	int rc;

	if (clc_need_site(c, vm->to, e) == NULL)
		return e->code;
	rc = link_change(
		&c->links, new_router(c, vm), "move.abort", clc_key_params(vm, vm->to_epoch), NULL, e);
	if (rc == RPC_COMMITTED)
		return committed_already(c, vm, e);
	if (rc != 0 && rc != RPC_NOT_FOUND && rc != RPC_ABORTED)
		return e->code;
	vm_end_abort(vm);
	return state_commit(&c->state, e);
}

int
clc_abort(struct clc *c, struct clc_vm *vm, struct err *e)
{
	int rc;

	if (vm->step == VM_ACTIVE && vm->ended == ENDED_ABORTED)
		return 0;
	if (vm->step == VM_ACTIVE)
		return err_set(e, ENOENT, "VM %s: %s", vm->name,
			vm->ended == ENDED_COMMITTED ? "its move is committed already"
						     : "no move of it is prepared");
	if (!vm_is_leaving(vm) || vm->step == VM_MOVING)
		return clc_busy(vm, e);
	rc = intend(c, vm, VM_ABORTING, e);
	return rc == 0 ? finish_abort(c, vm, e) : rc;
}

/* ---- prepare, pause ---- */

/* `fresh`: the intent is of this command, so that a refusal proves that the router has nothing of it. */
static int
tell_prepare(struct clc *c, struct clc_vm *vm, bool fresh, struct err *e)
{
	json_t *data = NULL;
	int rc = link_change(&c->links, new_router(c, vm), "move.prepare", clc_move_params(c, vm), &data, e);

	if (rc == RPC_COMMITTED) {
		rc = committed_already(c, vm, e);
	} else if (rc == RPC_ABORTED) {
		rc = ended_by_router(c, vm, data, e);
	} else if (rc == RPC_STALE_EPOCH) {
		rc = overtaken(c, vm, data, e);
	} else if (rc != 0) {
		struct err e2;

		if (fresh && rc != LINK_DOWN) {
			vm_undo_move(vm);
			state_commit(&c->state, &e2);
		}
		rc = e->code;
	}
	json_decref(data);
	return rc;
}

static int
begin_prepare(struct clc *c, struct clc_vm *vm, const struct inv_site *to, const struct move_params *p,
	struct err *e)
{
	if (vm_begin_move(&c->state, vm, to, e) != 0) {
		vm_undo_move(vm);
		return e->code;
	}
	vm->drain_min_ms = p->drain_min_ms;
	vm->drain_max_ms = p->drain_max_ms;
	vm->sessions = p->sessions;
	vm->ended = ENDED_NONE;
	return intend(c, vm, VM_PREPARED, e);
}

static bool
was_aborted(const struct clc_vm *vm)
{
	return vm != NULL && vm->step == VM_ACTIVE && vm->ended == ENDED_ABORTED;
}

/* Told again; when the router has aborted it meanwhile, it may be prepared anew. */
static int
prepare_again(struct clc *c, struct clc_vm *vm, bool *anew, struct err *e)
{
	char name[NAME_LEN + 1];
	int rc;

	memcpy(name, vm->name, sizeof(name));
	rc = tell_prepare(c, vm, false, e);
	*anew = rc != 0 && was_aborted(state_find(&c->state, name));
	return *anew ? 0 : rc;
}

/* Above the epochs of moves that were aborted and are not known here, one after another: somebody else's, or of a state that
 * was lost. */
static int
prepare_new(struct clc *c, struct clc_vm *vm, const struct inv_site *to, const struct move_params *p,
	struct err *e)
{
	char name[NAME_LEN + 1];
	int rc;

	memcpy(name, vm->name, sizeof(name));
	do {
		rc = begin_prepare(c, vm, to, p, e);
		if (rc != 0)
			return rc;
		rc = tell_prepare(c, vm, true, e);
		vm = state_find(&c->state, name);
	} while (rc == -ECANCELED && was_aborted(vm));
	return rc;
}

int
clc_prepare(struct clc *c, struct clc_vm *vm, const struct move_params *p, struct err *e)
{
	const struct inv_site *to = clc_need_site(c, p->to, e);
	struct seen_count seen = {0};
	bool anew = true;
	int rc = to == NULL ? e->code : clc_look(c, to, &seen, e);

	if (rc == 0 && vm->step == VM_PREPARED && strcmp(vm->to, to->name) == 0)
		rc = prepare_again(c, vm, &anew, e);
	if (rc != 0 || !anew)
		return rc;
	if (vm->step != VM_ACTIVE)
		return clc_busy(vm, e);
	if (strcmp(vm->site, to->name) == 0)
		return err_set(e, EEXIST, "VM %s is at site %s already", vm->name, vm->site);
	pool_take_stock(&c->state);
	return prepare_new(c, vm, to, p, e);
}

int
clc_pause(struct clc *c, struct clc_vm *vm, json_t **old_router, struct err *e)
{
	json_t *data = NULL;
	int rc;

	if (vm->step == VM_ACTIVE)
		return err_set(e, ENOENT, "no move of VM %s is prepared", vm->name);
	if (vm->step != VM_PREPARED)
		return clc_busy(vm, e);
	rc = link_change(
		&c->links, new_router(c, vm), "move.pause", clc_key_params(vm, vm->to_epoch), &data, e);
	if (rc == 0)
		*old_router = json_incref(json_object_get(data, "old-router"));
	else if (rc == RPC_COMMITTED)
		rc = committed_already(c, vm, e);
	else if (rc == RPC_ABORTED)
		rc = ended_by_router(c, vm, data, e);
	else
		rc = e->code;
	json_decref(data);
	return rc;
}

/* ---- sync ---- */

/* An end that the router tells is an end, whatever was wished. The VM may be gone after this. */
static int
finish(struct clc *c, struct clc_vm *vm, size_t *finished, struct err *e)
{
	enum vm_step step = (enum vm_step)vm->step;
	int rc = step == VM_COMMITTING ? finish_commit(c, vm, e)
		 : step == VM_ABORTING ? finish_abort(c, vm, e)
				       : tell_prepare(c, vm, false, e);
	bool over = rc == -ECANCELED || rc == -EEXIST;

	*finished += over || (rc == 0 && step != VM_PREPARED);
	return over ? 0 : rc;
}

int
clc_finish_prepared(struct clc *c, const struct inv_site *site, struct seen_count *n, struct err *e)
{
	struct clc_vm *vm, *next;
	int rc = 0;

	HASH_ITER (by_name, c->state.vms, vm, next) {
		if (!vm_is_leaving(vm) || vm->step == VM_MOVING || strcmp(vm->to, site->name) != 0)
			continue;
		rc = finish(c, vm, &n->finished, e);
		if (rc != 0)
			break;
	}
	return rc;
}
