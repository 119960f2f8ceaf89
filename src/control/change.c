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
APPLY(route_replace, struct route)
APPLY(route_delete, struct route_key_params)
APPLY(move_finish, struct move_finish_params)

enum { OF_VM, OF_PRIVATE, OF_ROUTE };

/* What names a VM stands alike in all that do. */
#define NAMES_A_VM(type)                                                                              \
	_Static_assert(offsetof(struct type, segment) == offsetof(struct vm_key_params, segment) &&   \
			       offsetof(struct type, mac) == offsetof(struct vm_key_params, mac) &&   \
			       offsetof(struct type, epoch) == offsetof(struct vm_key_params, epoch), \
		"begins as vm_key_params");
NAMES_A_VM(vm_register_params)
NAMES_A_VM(vm_move_params)
NAMES_A_VM(move_finish_params)
_Static_assert(offsetof(struct vm_register_params, addresses) == offsetof(struct vm_move_params, addresses) &&
		       offsetof(struct route, prefix) == offsetof(struct route_key_params, prefix),
	"as the other");

static const struct change_kind kinds[] = {
	{"vm.register", do_vm_register, OF_VM, true},
	{"vm.unregister", do_vm_unregister, OF_VM, false},
	{"vm.move", do_vm_move, OF_VM, true},
	{"nat.set", do_nat_set, OF_PRIVATE, false},
	{"route.replace", do_route_replace, OF_ROUTE, true},
	{"route.delete", do_route_delete, OF_ROUTE, false},
	{"move.finish", do_move_finish, OF_VM, false},
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

void
changes_free(struct change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (changes[i].params)
			kind_fini(changes[i].method->params, changes[i].params);
		free(changes[i].params);
	}
}

int
changes_read(const struct list *l, bool desired, struct change *out, struct fail *f)
{
	char why[sizeof(f->text)];

	for (size_t i = 0; i < l->n; i++) {
		const struct txn_change *ch = list_at(*l, const struct txn_change, i);

		if (change_read(&out[i], ch->method, ch->params, f) == 0 &&
			(!desired || out[i].kind->desired))
			continue;
		if (f->code == 0)
			fail(f, RPC_INVALID_PARAMS,
				"%s does not say what shall be: vm.register, vm.move and route.replace do",
				ch->method);
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
