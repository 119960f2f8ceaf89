/* SPDX-License-Identifier: BSD-3-Clause */
/* change.c - one change: read from its method and parameters, and the object that it is of. */
#include "changes.h"

#define APPLY(fn, type)                                                                \
	static int do_##fn(struct core *c, const void *p, json_t *out, struct fail *f) \
	{                                                                              \
		return apply_##fn(c, (const type *)p, out, f);                         \
	}
APPLY(vm_register, struct vm_register_params)
APPLY(vm_move, struct vm_move_params)
APPLY(vm_unregister, struct vm_key_params)
APPLY(nat_set, struct nat_set_params)
APPLY(route_delete, struct route_key_params)
APPLY(move_prepare, struct vm_move_params)
APPLY(move_pause, struct move_key_params)
APPLY(move_commit, struct move_key_params)
APPLY(move_abort, struct move_key_params)
APPLY(move_finish, struct move_key_params)
APPLY(move_cut, struct move_key_params)

static int
do_route_replace(struct core *c, const void *p, json_t *out, struct fail *f)
{
	return apply_route_replace(c, &((const struct route_params *)p)->route, out, f);
}

enum { OF_VM, OF_PRIVATE, OF_ROUTE };

/* What names a VM stands alike in all that do. */
#define NAMES_A_VM(type)                                                                              \
	_Static_assert(offsetof(struct type, segment) == offsetof(struct vm_key_params, segment) &&   \
			       offsetof(struct type, mac) == offsetof(struct vm_key_params, mac) &&   \
			       offsetof(struct type, epoch) == offsetof(struct vm_key_params, epoch), \
		"begins as vm_key_params");
NAMES_A_VM(vm_register_params)
NAMES_A_VM(vm_move_params)
NAMES_A_VM(move_key_params)
_Static_assert(
	offsetof(struct vm_register_params, addresses) == offsetof(struct vm_move_params, addresses) &&
		offsetof(struct route_params, route.prefix) == offsetof(struct route_key_params, prefix),
	"as the other");

static const struct change_kind kinds[] = {
	{"vm.register", do_vm_register, OF_VM, true},
	{"vm.unregister", do_vm_unregister, OF_VM, false},
	{"vm.move", do_vm_move, OF_VM, true},
	{"nat.set", do_nat_set, OF_PRIVATE, false},
	{"route.replace", do_route_replace, OF_ROUTE, true},
	{"route.delete", do_route_delete, OF_ROUTE, false},
	{"move.prepare", do_move_prepare, OF_VM, false},
	{"move.pause", do_move_pause, OF_VM, false, pause_answer},
	{"move.commit", do_move_commit, OF_VM, false},
	{"move.abort", do_move_abort, OF_VM, false},
	{"move.finish", do_move_finish, OF_VM, false},
	{"move.cut", do_move_cut, OF_VM, false},
};

/* Finds the method and reads its parameters; 0 or an RPC_ code. */
int
change_read(struct change *ch, const char *name, const json_t *params, struct fail *f)
{
	struct faults faults;
	struct err e = {0};
	int rc;

	ch->method = method_find(name);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (ch->method && strcmp(kinds[i].name, name) == 0)
			ch->kind = &kinds[i];
	if (!ch->kind)
		return fail(f, RPC_NO_METHOD, "%s is no method that changes one thing", name);
	ch->params = zalloc(ch->method->params->size);
	faults_init(&faults);
	rc = kind_read(ch->method->params, params, NULL, ch->params, &faults);
	if (rc != 0) {
		faults_err(&faults, &e);
		free(ch->params);
		ch->params = NULL;
		fail(f, RPC_INVALID_PARAMS, "%s", e.text);
	}
	faults_fini(&faults);
	return rc ? f->code : 0;
}

bool
change_is_dry(const struct change *ch)
{
	return ((const struct change_guard *)ch->params)->dry_run;
}

void
changes_free(struct change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (changes[i].params)
			kind_fini(changes[i].method->params, changes[i].params);
		free(changes[i].params);
	}
}

static int
change_of_list(struct change *ch, const struct txn_change *from, bool desired, struct fail *f)
{
	int rc = change_read(ch, from->method, from->params, f);

	if (rc == 0 && change_is_dry(ch))
		rc = fail(f, RPC_INVALID_PARAMS, "dry-run is of the whole list, not of one change");
	if (rc == 0 && desired && !ch->kind->desired)
		rc = fail(f, RPC_INVALID_PARAMS,
			"%s does not say what shall be: vm.register, vm.move and route.replace do",
			from->method);
	return rc;
}

int
changes_read(const struct list *l, bool desired, struct change *out, struct fail *f)
{
	char why[sizeof(f->text)];

	for (size_t i = 0; i < l->n; i++) {
		const struct txn_change *from = list_at(*l, const struct txn_change, i);

		if (change_of_list(&out[i], from, desired, f) == 0)
			continue;
		memcpy(why, f->text, sizeof(why));
		changes_free(out, i + 1);
		return fail(f, f->code, "changes[%zu]: %.350s", i, why);
	}
	return 0;
}

static void
find_vm(struct core *c, const char *segment, const struct mac *mac, struct object *o)
{
	int i = segment_index(c, segment);

	if (i >= 0)
		o->vm = vm_find(c, (uint16_t)i, mac);
}

struct object
change_object(struct core *c, const struct change *ch)
{
	const struct vm_key_params *vm = ch->params;
	const struct nat_set_params *nat = ch->params;
	const struct route_key_params *route = ch->params;
	struct object o = {0};
	int segment;

	switch (ch->kind->of) {
	case OF_VM:
		find_vm(c, vm->segment, &vm->mac, &o);
		break;
	case OF_PRIVATE:
		segment = segment_index(c, nat->segment);
		if (segment >= 0)
			o.vm = vm_by_private(c, (uint16_t)segment, nat->private_ip);
		break;
	default:
		o.route = route_find(c, &route->prefix);
		break;
	}
	return o;
}

const struct list *
change_addresses(const struct change *ch)
{
	const struct vm_register_params *p = ch->params;

	return ch->kind->of == OF_VM && ch->kind->desired ? &p->addresses : NULL;
}

/* ---- making it ---- */

static uint64_t
object_revision(const struct object *o)
{
	if (o->vm)
		return vm_live(o->vm) ? o->vm->now.revision : 0;
	return o->route && o->route->has_run ? o->route->revision : 0;
}

static int
wrong_revision(struct core *c, const struct change *ch, uint64_t asked, struct fail *f)
{
	struct object o = change_object(c, ch);
	uint64_t is = object_revision(&o);

	fail_clear(f);
	if (o.vm)
		f->data = vm_shown(c, &o.vm->now);
	else if (o.route)
		f->data = route_json(o.route);
	if (is == 0)
		return fail(f, RPC_REVISION, "it does not exist, and so is not at revision %" PRIu64, asked);
	return fail(f, RPC_REVISION, "it is at revision %" PRIu64 ", not %" PRIu64, is, asked);
}

/* Said again, a change that was made finds what it asks for, and is not refused: its acknowledgement may have been lost. So the
 * revision counts only where something would change. What is wrong at any revision is told as such. */
int
change_make(struct core *c, const struct change *ch, json_t *out, struct fail *f)
{
	const struct change_guard *g = ch->params;
	struct object o = change_object(c, ch);
	uint64_t was = object_revision(&o);
	size_t mark = txn_mark(c);
	int rc = ch->kind->apply(c, ch->params, out, f);

	if (g->if_revision == UINT64_MAX || g->if_revision == was || (rc == 0 && txn_mark(c) == mark))
		return rc;
	if (rc != 0 && rc != RPC_CONFLICT && rc != RPC_NOT_FOUND && rc != RPC_LIMIT)
		return rc;
	txn_rollback(c, mark);
	return wrong_revision(c, ch, g->if_revision, f);
}
