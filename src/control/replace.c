/* SPDX-License-Identifier: BSD-3-Clause */
/* replace.c - a list of changes as the whole of what this router shall have: its VMs and its run-time routes.
 *
 *   name      what the list says is marked by the serial of this replace
 *   remove    VMs of ours and run-time routes without that mark go, and free their addresses for what comes
 *   put       each change as by itself: what is so already is left alone; twice the same is refused
 */
#include "changes.h"

struct replace *
replace_new(uint64_t max_remove)
{
	struct replace *r = zalloc(sizeof(*r));

	r->max_remove = max_remove;
	return r;
}

static bool
is_own(const struct vm_obj *o)
{
	return vm_live(o) && o->now.fwd.owner == FWD_SELF;
}

/* ---- naming ---- */

static uint64_t *
mark_of(const struct object *o)
{
	return o->vm ? &o->vm->named : o->route ? &o->route->named : NULL;
}

/* What does not exist yet gets its mark when it is put. */
static int
name_all(struct core *c, struct change_txn *x)
{
	for (; x->at < x->n; x->at++) {
		struct object o;
		uint64_t *mark;

		if (!txn_turn(c))
			return TXN_MORE;
		o = change_object(c, &x->changes[x->at]);
		mark = mark_of(&o);
		if (mark)
			*mark = x->replace->serial;
	}
	return 0;
}

/* ---- removing ---- */

static int
remove_vm(struct core *c, const struct vm_obj *o, struct fail *f)
{
	struct vm_key_params p = {.mac = o->key.mac};
	json_t *out = json_object();
	int rc;

	strcpy(p.segment, segment_at(c, o->key.segment)->name);
	rc = apply_vm_unregister(c, &p, out, f);
	json_decref(out);
	return rc;
}

static int
remove_vms(struct core *c, struct change_txn *x)
{
	struct replace *r = x->replace;

	for (; r->vm; r->vm = r->vm->hh.next) {
		int rc;

		if (!txn_turn(c))
			return TXN_MORE;
		if (!is_own(r->vm) || r->vm->named == r->serial)
			continue;
		rc = remove_vm(c, r->vm, &x->txn.fail);
		if (rc != 0)
			return rc;
		r->vms.removed++;
	}
	return 0;
}

static int
remove_routes(struct core *c, struct change_txn *x)
{
	struct replace *r = x->replace;

	for (; r->route; r->route = r->route->hh.next) {
		struct route_key_params p = {.prefix = route_prefix(r->route)};
		int rc;

		if (!txn_turn(c))
			return TXN_MORE;
		if (!r->route->has_run || r->route->named == r->serial)
			continue;
		rc = apply_route_delete(c, &p, NULL, &x->txn.fail);
		if (rc != 0)
			return rc;
		r->routes.removed++;
	}
	return 0;
}

/* A list that was made from too little wipes nothing without somebody's word; a dry run only tells. */
static int
check_removed(struct change_txn *x)
{
	const struct replace *r = x->replace;
	struct fail *f = &x->txn.fail;

	if (x->txn.dry_run || r->vms.removed + r->routes.removed <= r->max_remove)
		return 0;
	f->data = json_pack("{s:{s:I, s:I}}", "removed", "vms", (json_int_t)r->vms.removed, "routes",
		(json_int_t)r->routes.removed);
	return fail(f, RPC_LIMIT,
		"%zu VMs and %zu routes of this router are not in the list and would be removed: more than "
		"max-remove, %" PRIu64,
		r->vms.removed, r->routes.removed, r->max_remove);
}

/* ---- putting ---- */

/* An address that a VM gives up further down in the list is free. */
static void
free_address(struct core *c, const struct replace *r, const struct vm_obj *self, struct vm_obj *holder, ip4 a)
{
	if (holder && holder != self && holder->named == r->serial && is_own(holder) &&
		(vm_has_private(&holder->now, a) || vm_has_global(&holder->now, a)))
		vm_strip(c, holder, a);
}

static void
free_addresses(struct core *c, const struct replace *r, const struct change *ch, const struct vm_obj *self)
{
	const struct vm_key_params *p = ch->params;
	int segment = segment_index(c, p->segment);
	const struct list *l = change_addresses(ch);

	for (size_t i = 0; segment >= 0 && i < l->n; i++) {
		const struct vm_address *a = list_at(*l, const struct vm_address, i);

		free_address(c, r, self, vm_by_private(c, (uint16_t)segment, a->private_ip), a->private_ip);
		if (a->global_ip)
			free_address(c, r, self, vm_by_global(c, a->global_ip), a->global_ip);
	}
}

/* A list that knows no epochs takes no VM from another router. */
static int
check_owner(struct core *c, const struct vm_obj *o, const struct change *ch, struct fail *f)
{
	const struct vm_key_params *p = ch->params;
	char key[VM_KEY_TEXT];

	if (!vm_live(o) || is_own(o) || p->epoch != 0)
		return 0;
	vm_key_text(c, o->key.segment, &o->key.mac, key);
	f->data = vm_shown(c, &o->now);
	return fail(f, RPC_CONFLICT,
		"VM %s is registered at router %s: a higher epoch than %" PRIu64 " takes it", key,
		router_name(c, o->now.fwd.owner), o->now.epoch);
}

static int
put_vm(struct core *c, struct change_txn *x, struct change *ch, const struct vm_obj *o)
{
	struct fail *f = &x->txn.fail;
	int rc = check_owner(c, o, ch, f);
	json_t *out = json_object();

	if (rc == 0) {
		free_addresses(c, x->replace, ch, o);
		rc = change_make(c, ch, out, f);
	}
	json_decref(out);
	return rc;
}

static int
twice(struct change_txn *x)
{
	fail(&x->txn.fail, RPC_INVALID_PARAMS, "the list names the same VM or route before");
	return change_refused(x, x->at);
}

static int
put(struct core *c, struct change_txn *x)
{
	struct change *ch = &x->changes[x->at];
	struct object o = change_object(c, ch);
	struct replaced *count = change_addresses(ch) ? &x->replace->vms : &x->replace->routes;
	uint64_t *mark = mark_of(&o);
	bool had = o.vm ? is_own(o.vm) : o.route && o.route->has_run;
	size_t before = txn_mark(c);
	int rc;

	if (mark && *mark == x->replace->serial + 1)
		return twice(x);
	rc = change_addresses(ch) ? put_vm(c, x, ch, o.vm) : change_make(c, ch, NULL, &x->txn.fail);
	if (rc != 0)
		return change_refused(x, x->at);
	*(txn_mark(c) == before ? &count->unchanged : had ? &count->changed : &count->added) += 1;
	o = change_object(c, ch);
	mark = mark_of(&o);
	if (mark)
		*mark = x->replace->serial + 1;
	return 0;
}

static int
put_all(struct core *c, struct change_txn *x)
{
	for (; x->at < x->n; x->at++) {
		int rc;

		if (!txn_turn(c))
			return TXN_MORE;
		rc = put(c, x);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ---- all of it ---- */

static void
begin(struct core *c, struct replace *r)
{
	c->replaces += 2; /* named: the serial; put: the number behind it */
	*r = (struct replace){.serial = c->replaces, .max_remove = r->max_remove};
}

int
replace_apply(struct core *c, struct change_txn *x)
{
	struct replace *r = x->replace;
	int rc = 0;

	if (!x->txn.goes_on)
		begin(c, r);
	switch (r->step) {
	case REPLACE_NAME:
		rc = name_all(c, x);
		if (rc != 0)
			break;
		r->step = REPLACE_REMOVE_VMS;
		r->vm = c->vms;
		/* fall through */
	case REPLACE_REMOVE_VMS:
		rc = remove_vms(c, x);
		if (rc != 0)
			break;
		r->step = REPLACE_REMOVE_ROUTES;
		r->route = c->routes;
		/* fall through */
	case REPLACE_REMOVE_ROUTES:
		rc = remove_routes(c, x);
		rc = rc ? rc : check_removed(x);
		if (rc != 0)
			break;
		r->step = REPLACE_PUT;
		x->at = 0;
		/* fall through */
	case REPLACE_PUT:
		rc = put_all(c, x);
	}
	return rc;
}

static json_t *
replaced_json(const struct replaced *n)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "added", (json_int_t)n->added, "changed",
		(json_int_t)n->changed, "unchanged", (json_int_t)n->unchanged, "removed",
		(json_int_t)n->removed);
}

json_t *
replace_result(const struct replace *r)
{
	return json_pack("{s:o, s:o}", "vms", replaced_json(&r->vms), "routes", replaced_json(&r->routes));
}
