/* SPDX-License-Identifier: BSD-3-Clause */
#include "clc_priv.h"
#include "look.h"

#include <api/methods.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
clc_dry_run(struct clc *c)
{
	c->state.dry = true;
	c->links.plans = json_array();
}

/* ---- parameters of methods ---- */

json_t *
clc_key_params(const struct clc_vm *vm, uint64_t epoch)
{
	char mac[MAC_TEXT];

	return json_pack("{s:s, s:s, s:I}", "segment", vm->segment, "mac", mac_format(&vm->mac, mac), "epoch",
		(json_int_t)epoch);
}

static json_t *
register_params(const struct clc_vm *vm)
{
	json_t *v = clc_key_params(vm, vm->epoch);

	json_object_set_new(v, "addresses", field_write(kind_field(&kind_clc_vm, "addresses"), vm));
	return v;
}

static void
add_old(const struct clc *c, const struct clc_vm *vm, const struct held *h, json_t *list)
{
	const struct inv_site *site = inventory_site(c->inv, h->site);
	char private[IP4_TEXT], global[IP4_TEXT];

	if (site == NULL || strcmp(h->site, vm->to) == 0 || h->global_ip == 0 ||
		json_array_size(list) == VM_DRAINS_MAX)
		return;
	json_array_insert_new(list, 0,
		json_pack("{s:s, s:s, s:s, s:I}", "private", ip4_format(h->private_ip, private), "global",
			ip4_format(h->global_ip, global), "router", site->router, "epoch",
			(json_int_t)h->epoch));
}

/* What may still be live or drain elsewhere, oldest first: the new router may not have heard of it. */
static json_t *
old_addresses(const struct clc *c, const struct clc_vm *vm)
{
	json_t *list = json_array();

	for (size_t i = vm->addresses.n; i-- > 0;) {
		const struct vm_address *a = list_at(vm->addresses, struct vm_address, i);
		struct held live = {
			.private_ip = a->private_ip, .global_ip = a->global_ip, .epoch = vm->to_epoch};

		memcpy(live.site, vm->site, sizeof(live.site));
		add_old(c, vm, &live, list);
	}
	for (size_t i = vm->held.n; i-- > 0;)
		add_old(c, vm, list_at(vm->held, struct held, i), list);
	return list;
}

json_t *
clc_move_params(const struct clc *c, const struct clc_vm *vm)
{
	json_t *v = clc_key_params(vm, vm->to_epoch);

	json_object_set_new(v, "addresses", field_write(kind_field(&kind_clc_vm, "to-addresses"), vm));
	json_object_set_new(v, "old", old_addresses(c, vm));
	if (vm->drain_min_ms != UINT64_MAX)
		json_object_set_new(v, "drain-min", json_integer((json_int_t)vm->drain_min_ms));
	if (vm->drain_max_ms != UINT64_MAX)
		json_object_set_new(v, "drain-max", json_integer((json_int_t)vm->drain_max_ms));
	if (vm->sessions >= 0)
		json_object_set_new(v, "sessions", json_string(session_policy_words[vm->sessions]));
	return v;
}

static json_t *
route_params(const struct prefix4 *prefix, ip4 via)
{
	char p[PREFIX4_TEXT], a[IP4_TEXT];
	json_t *v = json_pack("{s:s}", "prefix", prefix4_format(prefix, p));

	if (via != 0)
		json_object_set_new(v, "via", json_string(ip4_format(via, a)));
	return v;
}

/* ---- host routes of routed VMs ---- */

static const struct inv_site *
gateway_site(const struct clc *c, const struct clc_vm *vm)
{
	bool there = vm->step == VM_MOVING || vm->step == VM_COMMITTING;

	return inventory_site(c->inv, there ? vm->to : vm->site);
}

static bool
is_routed(const struct clc *c, const struct clc_vm *vm)
{
	const struct inv_segment *seg = inventory_segment(c->inv, vm->segment);

	return seg != NULL && segment_is_routed(seg);
}

/* One route.replace for each private address of each routed VM. */
static size_t
route_changes(struct clc *c, struct clc_vm **vms, size_t n, ip4 via, struct change *out)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < vms[i]->addresses.n && is_routed(c, vms[i]); j++) {
			struct prefix4 host = {
				list_at(vms[i]->addresses, struct vm_address, j)->private_ip, 32};

			out[k++] = (struct change){
				.method = "route.replace", .params = route_params(&host, via), .vm = vms[i]};
		}
	}
	return k;
}

int
clc_tell_routes(struct clc *c, const struct inv_site *site, struct clc_vm **vms, size_t n, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < site->routes.n && rc == 0; i++) {
		const struct inv_route *r = list_at(site->routes, struct inv_route, i);
		struct change *ch = calloc(n * VM_ADDRESSES_MAX + 1, sizeof(*ch));
		size_t k;

		if (ch == NULL)
			return err_set(e, ENOMEM, "out of memory");
		k = route_changes(c, vms, n, r->via, ch);
		rc = k > 0 ? tell(&c->links, r->router, ch, k, e) : 0;
		changes_free(ch, k);
	}
	return rc;
}

/* Takes the host routes of a VM away. */
static int
untell_routes(struct clc *c, const struct inv_site *site, const struct clc_vm *vm, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < site->routes.n && is_routed(c, vm); i++) {
		const char *router = list_at(site->routes, struct inv_route, i)->router;

		for (size_t j = 0; j < vm->addresses.n; j++) {
			struct prefix4 host = {list_at(vm->addresses, struct vm_address, j)->private_ip, 32};

			rc = link_change(&c->links, router, "route.delete", route_params(&host, 0), NULL, e);
			if (rc != 0 && rc != RPC_NOT_FOUND)
				return e->code;
		}
	}
	return 0;
}

/* ---- looking ---- */

static void
adopt_unknown(struct clc *c, const struct vm *seen, struct seen_count *n)
{
	char name[NAME_LEN + 1];
	struct clc_vm *vm;

	if (seen->deleted || state_last_epoch(&c->state, seen->segment, &seen->mac) >= seen->epoch ||
		inventory_site_of(c->inv, seen->owner) == NULL)
		return;
	snprintf(name, sizeof(name), "vm-%02x%02x%02x%02x%02x%02x", seen->mac.b[0], seen->mac.b[1],
		seen->mac.b[2], seen->mac.b[3], seen->mac.b[4], seen->mac.b[5]);
	if (state_find(&c->state, name) != NULL) /* the same MAC in another segment */
		snprintf(name, sizeof(name), "%.18s-%02x%02x%02x%02x%02x%02x", seen->segment, seen->mac.b[0],
			seen->mac.b[1], seen->mac.b[2], seen->mac.b[3], seen->mac.b[4], seen->mac.b[5]);
	vm = state_add(&c->state, name, seen->segment, &seen->mac);
	if (vm != NULL && vm_adopt(c->inv, vm, seen))
		n->adopted++;
}

static void
take_view(struct clc *c, const struct inv_site *site, const struct sight *view, struct seen_count *n)
{
	const struct sight *s;
	struct clc_vm *vm, *next;

	for (s = view; s != NULL; s = s->hh.next) {
		vm = state_find_id(&c->state, s->vm.segment, &s->vm.mac);
		if (vm == NULL)
			adopt_unknown(c, &s->vm, n);
		else if (!vm_arrived(c->inv, vm, &s->vm))
			n->adopted += vm_adopt(c->inv, vm, &s->vm);
		n->vms++;
	}
	HASH_ITER (by_name, c->state.vms, vm, next)
		n->released += vm_release(vm, site->name, view_find(view, vm->id));
}

static int
look(struct clc *c, const struct inv_site *site, struct sight **view, struct seen_count *n, struct err *e)
{
	int rc = view_get(&c->links, site->router, view, e);

	if (rc != 0)
		return e->code;
	take_view(c, site, *view, n);
	rc = state_commit(&c->state, e);
	if (rc != 0)
		view_free(view);
	return rc;
}

int
clc_look(struct clc *c, const struct inv_site *site, struct seen_count *n, struct err *e)
{
	struct sight *view;
	int rc = look(c, site, &view, n, e);

	view_free(&view);
	return rc;
}

void
clc_take_current(struct clc *c, struct clc_vm *vm, const json_t *current)
{
	struct vm seen;

	if (vm_from_json(current, &seen) != 0)
		return;
	if (seen.deleted) {
		vm->epoch = seen.epoch;
		vm->gone = true;
	} else {
		vm_adopt(c->inv, vm, &seen);
	}
	kind_fini(&kind_vm, &seen);
}

const struct inv_site *
clc_need_site(struct clc *c, const char *name, struct err *e)
{
	const struct inv_site *site = inventory_site(c->inv, name);

	if (site == NULL)
		err_set(e, ENOENT, "no site %s in the inventory", name);
	return site;
}

int
clc_busy(const struct clc_vm *vm, struct err *e)
{
	static const char *const what[] = {
		[VM_CREATING] = "is being created: finish that first (sync)",
		[VM_MOVING] = "is moving: finish that first (move, sync)",
		[VM_DELETING] = "is being deleted: finish that first (delete, sync)",
		[VM_PREPARED] = "has a move that is prepared: commit or abort it first",
		[VM_COMMITTING] = "has a move that is being committed: finish that first (commit, sync)",
		[VM_ABORTING] = "has a move that is being aborted: finish that first (abort, sync)",
	};

	return err_set(e, EBUSY, "VM %s %s", vm->name, what[vm->step]);
}

/* ---- create ---- */

/* Goes above what a router knows, and stores that. */
static int
next_epoch(struct clc *c, struct clc_vm *vm, uint64_t known, struct err *e)
{
	uint64_t epoch = epoch_after(known, e);

	if (epoch == 0)
		return e->code;
	vm->epoch = epoch;
	vm->dirty = true;
	return state_commit(&c->state, e);
}

/* Registers; when the router remembers a deleted VM of this MAC, once more above its epoch. */
static int
tell_register(
	struct clc *c, struct clc_vm *vm, const struct inv_site *site, enum outcome *outcome, struct err *e)
{
	int rc = 0;

	for (int attempt = 0; attempt < 2; attempt++) {
		struct change *ch = calloc(1, sizeof(*ch));

		if (ch == NULL)
			return err_set(e, ENOMEM, "out of memory");
		*ch = (struct change){.method = "vm.register", .params = register_params(vm), .vm = vm};
		rc = tell(&c->links, site->router, ch, 1, e);
		*outcome = ch->outcome;
		if (ch->outcome == TOLD_STALE)
			clc_take_current(c, vm, ch->current);
		changes_free(ch, 1);
		if (!vm->gone || vm->step != VM_CREATING)
			break;
		vm->gone = false;
		rc = next_epoch(c, vm, vm->epoch, e);
		if (rc != 0)
			break;
	}
	return rc;
}

/* `fresh`: the intent is of this command, so that a refusal proves that the VM never was. */
static int
finish_create(struct clc *c, struct clc_vm *vm, bool fresh, struct err *e)
{
	const struct inv_site *site = clc_need_site(c, vm->site, e);
	enum outcome outcome = TOLD_NOT;
	int rc = site != NULL ? tell_register(c, vm, site, &outcome, e) : e->code;

	if (rc != 0 && outcome == TOLD_REFUSED && fresh) {
		struct err e2;

		vm->gone = true;
		vm->epoch--;
		state_commit(&c->state, &e2);
		return rc;
	}
	if (rc == 0)
		rc = clc_tell_routes(c, gateway_site(c, vm), &vm, 1, e);
	if (rc != 0)
		return rc;
	vm->step = VM_ACTIVE;
	vm->dirty = true;
	return state_commit(&c->state, e);
}

static int
allocate(struct clc *c, struct clc_vm *vm, const struct inv_segment *seg, const struct inv_site *site,
	ip4 private_ip, struct err *e)
{
	struct vm_address *a;

	if (private_ip != 0 && pool_check_private(&c->state, seg, private_ip, e) != 0)
		return e->code;
	if (private_ip == 0)
		private_ip = pool_private(&c->state, seg, e);
	if (private_ip == 0)
		return e->code;
	a = list_add(&vm->addresses, &kind_vm_address);
	if (a == NULL)
		return err_set(e, ENOMEM, "out of memory");
	a->private_ip = private_ip;
	if (segment_is_routed(seg))
		return 0;
	a->global_ip = pool_global(&c->state, site, e);
	return a->global_ip != 0 ? 0 : e->code;
}

static int
begin_create(struct clc *c, const struct create_params *p, const struct inv_segment *seg,
	const struct inv_site *site, struct clc_vm **made, struct err *e)
{
	struct mac mac = p->mac;
	struct clc_vm *vm;
	int rc;

	if (!mac_is_unicast(&mac) && pool_mac(&c->state, seg->name, &mac, e) != 0)
		return e->code;
	vm = state_find_id(&c->state, seg->name, &mac);
	if (vm != NULL)
		return err_set(e, EEXIST, "this MAC is VM %s already", vm->name);
	vm = state_add(&c->state, p->name, seg->name, &mac);
	if (vm == NULL)
		return err_set(e, ENOMEM, "out of memory");
	snprintf(vm->site, sizeof(vm->site), "%s", site->name);
	vm->step = VM_CREATING;
	vm->epoch = epoch_after(state_last_epoch(&c->state, seg->name, &mac), e);
	rc = vm->epoch == 0 ? e->code : allocate(c, vm, seg, site, p->private_ip, e);
	if (rc == 0)
		rc = state_commit(&c->state, e);
	if (rc != 0)
		state_forget(&c->state, vm);
	*made = vm;
	return rc;
}

static int
check_resume(const struct clc_vm *vm, const struct create_params *p, struct err *e)
{
	if (vm->step != VM_CREATING)
		return err_set(e, EEXIST, "VM %s exists already, at site %s", vm->name, vm->site);
	if (strcmp(vm->site, p->site) != 0 || strcmp(vm->segment, p->segment) != 0)
		return err_set(e, EBUSY,
			"VM %s is being created at site %s in segment %s: finish that first (sync)", vm->name,
			vm->site, vm->segment);
	return 0;
}

/* By the rule that its row is read with. */
static int
check_name(const struct clc *c, const char *name, struct err *e)
{
	char why[320];
	struct clc_vm vm;

	if (field_parse(kind_field(&kind_clc_vm, "name"), name, &vm, why, sizeof(why)) != 0)
		return err_set(e, EINVAL, "name of the VM: %s", why);
	if (json_object_get(c->state.skipped, name) != NULL)
		return err_set(e, EEXIST, "the row of VM %s in %s cannot be read: use another name", name,
			c->inv->clc.state);
	return 0;
}

int
clc_create(struct clc *c, const struct create_params *p, struct err *e)
{
	const struct inv_site *site = clc_need_site(c, p->site, e);
	const struct inv_segment *seg = inventory_segment(c->inv, p->segment);
	struct clc_vm *vm = state_find(&c->state, p->name);
	struct seen_count n = {0};
	int rc;

	if (site == NULL)
		return e->code;
	if (seg == NULL)
		return err_set(e, ENOENT, "no segment %s in the inventory", p->segment);
	rc = vm != NULL ? check_resume(vm, p, e) : check_name(c, p->name, e);
	if (rc == 0)
		rc = clc_look(c, site, &n, e);
	if (rc != 0)
		return rc;
	if (vm != NULL)
		return finish_create(c, vm, false, e);
	pool_take_stock(&c->state);
	rc = begin_create(c, p, seg, site, &vm, e);
	return rc == 0 ? finish_create(c, vm, true, e) : rc;
}

/* ---- move ---- */

struct mover { /* a VM of a move command */
	struct clc_vm *vm;
	bool fresh; /* the intent is of this command: undone when it is refused */
	bool told;
};

/* Nothing to do for those that are there already. */
static int
begin_moves(struct clc *c, struct mover *m, size_t n, const struct inv_site *to, const struct move_params *p,
	struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct clc_vm *vm = m[i].vm;
		bool there = strcmp(vm->step == VM_MOVING ? vm->to : vm->site, to->name) == 0;

		if (vm->step != VM_ACTIVE && vm->step != VM_MOVING)
			return clc_busy(vm, e);
		if (there)
			continue;
		m[i].fresh = vm->step == VM_ACTIVE;
		if (vm_begin_move(&c->state, vm, to, e) != 0) {
			for (size_t k = 0; k <= i; k++)
				if (m[k].fresh)
					vm_undo_move(m[k].vm);
			return err_wrap(e, "VM %s", vm->name);
		}
		vm->drain_min_ms = p->drain_min_ms;
		vm->drain_max_ms = p->drain_max_ms;
		vm->sessions = p->sessions;
	}
	return state_commit(&c->state, e);
}

static int
tell_moves(struct clc *c, struct mover *m, size_t n, const struct inv_site *to, struct err *e)
{
	struct change *ch = calloc(n + 1, sizeof(*ch));
	size_t *of = calloc(n + 1, sizeof(*of)), k = 0;
	int rc = -ENOMEM;

	if (ch == NULL || of == NULL) {
		err_set(e, ENOMEM, "out of memory");
		goto out;
	}
	for (size_t i = 0; i < n; i++) {
		if (m[i].vm->step != VM_MOVING)
			continue;
		of[k] = i;
		ch[k++] = (struct change){
			.method = "vm.move", .params = clc_move_params(c, m[i].vm), .vm = m[i].vm};
	}
	rc = k > 0 ? tell(&c->links, to->router, ch, k, e) : 0;
	for (size_t i = 0; i < k; i++) {
		struct mover *x = &m[of[i]];

		if (ch[i].outcome == TOLD_STALE)
			clc_take_current(c, x->vm, ch[i].current);
		else if (x->fresh && (ch[i].outcome == TOLD_REFUSED || ch[i].outcome == TOLD_NOT))
			vm_undo_move(x->vm);
		x->told = ch[i].outcome == TOLD_DONE;
	}
out:
	free(of);
	changes_free(ch, k);
	return rc;
}

/* Those whose gateway is now at the site: by this command, or found so. */
static int
tell_new_routes(struct clc *c, struct mover *m, size_t n, const struct inv_site *to, struct err *e)
{
	struct clc_vm **vms = calloc(n + 1, sizeof(struct clc_vm *));
	size_t k = 0;
	int rc;

	if (vms == NULL)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (!m[i].vm->gone &&
			(m[i].told || (m[i].vm->step == VM_ACTIVE && gateway_site(c, m[i].vm) == to)))
			vms[k++] = m[i].vm;
	rc = k > 0 ? clc_tell_routes(c, to, vms, k, e) : 0;
	free(vms);
	return rc;
}

static int
run_moves(struct clc *c, struct mover *m, size_t n, const struct inv_site *to, struct err *e)
{
	struct err e2;
	int rc = tell_moves(c, m, n, to, e), rc2;

	rc2 = tell_new_routes(c, m, n, to, rc == 0 ? e : &e2);
	if (rc2 == 0) /* else they stay moving, and the command is given again */
		for (size_t i = 0; i < n; i++)
			if (m[i].told)
				vm_end_move(m[i].vm);
	if (rc == 0)
		rc = rc2;
	rc2 = state_commit(&c->state, rc == 0 ? e : &e2);
	return rc == 0 ? rc2 : rc;
}

static struct mover *
make_movers(struct clc_vm **vms, size_t n)
{
	struct mover *m = calloc(n + 1, sizeof(*m));

	for (size_t i = 0; m != NULL && i < n; i++)
		m[i].vm = vms[i];
	return m;
}

int
clc_move_known(struct clc *c, struct clc_vm **vms, size_t n, const struct move_params *p, struct err *e)
{
	const struct inv_site *to = clc_need_site(c, p->to, e);
	struct mover *m = to != NULL ? make_movers(vms, n) : NULL;
	int rc;

	if (m == NULL)
		return to == NULL ? e->code : err_set(e, ENOMEM, "out of memory");
	rc = begin_moves(c, m, n, to, p, e);
	if (rc == 0)
		rc = run_moves(c, m, n, to, e);
	free(m);
	return rc;
}

int
clc_move(struct clc *c, struct clc_vm **vms, size_t n, const struct move_params *p, struct err *e)
{
	const struct inv_site *to = clc_need_site(c, p->to, e);
	struct seen_count seen = {0};
	size_t each;
	int rc = to != NULL ? clc_look(c, to, &seen, e) : e->code;

	if (rc != 0)
		return rc;
	pool_take_stock(&c->state);
	each = c->links.plans != NULL ? 1 : n; /* a plan is told of a change alone */
	for (size_t i = 0; rc == 0 && i < n; i += each)
		rc = clc_move_known(c, vms + i, each, p, e);
	return rc;
}

/* ---- delete ---- */

static int
tell_unregister(struct clc *c, struct clc_vm *vm, const struct inv_site *site, struct err *e)
{
	int rc = 0;

	for (int attempt = 0; attempt < 2; attempt++) {
		json_t *data = NULL;
		struct vm seen;

		rc = link_change(
			&c->links, site->router, "vm.unregister", clc_key_params(vm, vm->epoch), &data, e);
		if (rc == RPC_NOT_FOUND)
			rc = 0;
		if (rc != RPC_STALE_EPOCH || vm_from_json(data, &seen) != 0) {
			json_decref(data);
			break;
		}
		json_decref(data);
		if (seen.deleted) {
			vm->epoch = seen.epoch;
			vm->dirty = true;
			rc = 0;
			attempt++;
		} else if (next_epoch(c, vm, seen.epoch, e) != 0) {
			rc = RPC_STALE_EPOCH;
			attempt++;
		}
		kind_fini(&kind_vm, &seen);
	}
	return rc == 0 ? 0 : e->code;
}

static int
finish_delete(struct clc *c, struct clc_vm *vm, struct err *e)
{
	const struct inv_site *site = clc_need_site(c, vm->site, e);
	int rc = site != NULL ? tell_unregister(c, vm, site, e) : e->code;

	if (rc == 0)
		rc = untell_routes(c, site, vm, e);
	if (rc != 0)
		return rc;
	vm->gone = true;
	return state_commit(&c->state, e);
}

int
clc_delete(struct clc *c, const char *name, struct err *e)
{
	struct clc_vm *vm = state_find(&c->state, name);
	const struct inv_site *site;
	struct seen_count n = {0};
	int rc;

	if (vm == NULL)
		return err_set(e, ENOENT, "no VM %s", name);
	site = gateway_site(c, vm);
	if (site == NULL)
		return err_set(e, ENOENT, "site %s of VM %s is not in the inventory", vm->site, name);
	rc = clc_look(c, site, &n, e);
	if (rc != 0)
		return rc;
	if (vm->step != VM_DELETING) {
		uint64_t known = vm->to_epoch > vm->epoch ? vm->to_epoch : vm->epoch;

		site = gateway_site(c, vm);
		if (epoch_after(known, e) == 0)
			return e->code;
		snprintf(vm->site, sizeof(vm->site), "%s", site->name);
		vm->step = VM_DELETING;
		rc = next_epoch(c, vm, known, e);
	}
	return rc == 0 ? finish_delete(c, vm, e) : rc;
}

/* ---- route, sync ---- */

int
clc_route(struct clc *c, const struct route_write *r, struct err *e)
{
	json_t *params = route_params(&r->prefix, r->via);

	if (r->if_revision != UINT64_MAX)
		json_object_set_new(params, "if-revision", json_integer((json_int_t)r->if_revision));
	return link_change(&c->links, r->router, "route.replace", params, NULL, e) == 0 ? 0 : e->code;
}

/* VMs that we know at the site and its router does not: it has lost its state, or an operator took them away.
 */
static int
register_lost(struct clc *c, const struct inv_site *site, const struct sight *view, struct seen_count *n,
	struct err *e)
{
	struct clc_vm *vm, *next;
	enum outcome outcome;
	int rc = 0;

	HASH_ITER (by_name, c->state.vms, vm, next) {
		if ((vm->step != VM_ACTIVE && vm->step != VM_PREPARED) || strcmp(vm->site, site->name) != 0 ||
			view_find(view, vm->id) != NULL)
			continue;
		rc = tell_register(c, vm, site, &outcome, e);
		if (rc != 0)
			break;
		n->registered += outcome == TOLD_DONE;
	}
	return rc == 0 ? state_commit(&c->state, e) : rc;
}

static int
finish_moves(struct clc *c, const struct inv_site *site, struct seen_count *n, struct err *e)
{
	size_t all = HASH_CNT(by_name, c->state.vms), k = 0;
	struct clc_vm **vms = calloc(all + 1, sizeof(struct clc_vm *)), *vm, *next;
	struct mover *m;
	int rc = 0;

	if (vms == NULL)
		return err_set(e, ENOMEM, "out of memory");
	HASH_ITER (by_name, c->state.vms, vm, next)
		if (vm->step == VM_MOVING && strcmp(vm->to, site->name) == 0)
			vms[k++] = vm;
	m = make_movers(vms, k);
	if (m == NULL)
		rc = err_set(e, ENOMEM, "out of memory");
	else if (k > 0)
		rc = run_moves(c, m, k, site, e);
	n->finished += rc == 0 ? k : 0;
	free(m);
	free(vms);
	return rc;
}

static int
finish_rest(struct clc *c, const struct inv_site *site, struct seen_count *n, struct err *e)
{
	struct clc_vm *vm, *next;
	int rc = 0;

	HASH_ITER (by_name, c->state.vms, vm, next) {
		if (rc != 0 || strcmp(vm->site, site->name) != 0 ||
			(vm->step != VM_CREATING && vm->step != VM_DELETING))
			continue;
		rc = vm->step == VM_CREATING ? finish_create(c, vm, false, e) : finish_delete(c, vm, e);
		n->finished += rc == 0;
	}
	return rc;
}

int
clc_sync(struct clc *c, const struct inv_site *site, struct seen_count *n, struct err *e)
{
	struct sight *view;
	int rc = look(c, site, &view, n, e);

	if (rc == 0)
		rc = register_lost(c, site, view, n, e);
	if (rc == 0)
		rc = finish_moves(c, site, n, e);
	if (rc == 0)
		rc = clc_finish_prepared(c, site, n, e);
	if (rc == 0)
		rc = finish_rest(c, site, n, e);
	view_free(&view);
	return rc;
}
