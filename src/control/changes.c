/* SPDX-License-Identifier: BSD-3-Clause */
/* changes.c - changes by methods: one, or a list that is one transaction; read, applied, answered. */
#include "changes.h"

#include <common/log.h>

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

static const struct {
	const char *name;
	int (*apply)(struct core *c, const void *params, json_t *out, struct fail *f);
} appliers[] = {
	{"vm.register", do_vm_register},
	{"vm.unregister", do_vm_unregister},
	{"vm.move", do_vm_move},
	{"nat.set", do_nat_set},
	{"route.replace", do_route_replace},
	{"route.delete", do_route_delete},
	{"move.finish", do_move_finish},
};

/* Finds the method and reads its parameters; 0 or an RPC_ code. */
static int
change_read(struct change *ch, const char *name, const json_t *params, struct fail *f)
{
	struct faults faults;
	struct err e = {0};
	int rc;

	ch->method = method_find(name);
	for (size_t i = 0; i < sizeof(appliers) / sizeof(appliers[0]); i++)
		if (ch->method && strcmp(appliers[i].name, name) == 0)
			ch->apply = appliers[i].apply;
	if (!ch->apply)
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
changes_read(const struct list *l, struct change *out, struct fail *f)
{
	char why[sizeof(f->text)];

	for (size_t i = 0; i < l->n; i++) {
		const struct txn_change *ch = list_at(*l, const struct txn_change, i);

		if (change_read(&out[i], ch->method, ch->params, f) == 0)
			continue;
		memcpy(why, f->text, sizeof(why));
		changes_free(out, i);
		return fail(f, f->code, "changes[%zu]: %.350s", i, why);
	}
	return 0;
}

static void
change_txn_free(struct change_txn *x)
{
	if (!x->staged) {
		changes_free(x->changes, x->n);
		free(x->changes);
	}
	json_decref(x->results);
	fail_clear(&x->txn.fail);
	free(x);
}

/* An older controller, or another one with the same term, may speak no more. */
static int
check_term(struct core *c, const struct change_txn *x, struct fail *f)
{
	if (x->role != ROLE_CONTROLLER)
		return 0;
	if (x->term > c->term.number) /* the store refused it when its channel came up */
		term_set(c, x->term, x->name);
	if (x->term < c->term.number)
		return fail(f, RPC_SUPERSEDED, "superseded: controller %s has spoken with term %" PRIu64,
			c->term.name, c->term.number);
	if (x->term > 0 && strcmp(x->name, c->term.name) != 0)
		return fail(f, RPC_SUPERSEDED, "superseded: term %" PRIu64 " belongs to controller %s",
			x->term, c->term.name);
	return 0;
}

/* One of the changes was refused: says which. */
static int
refuse_list(struct change_txn *x, size_t i)
{
	struct fail *f = &x->txn.fail;
	char why[sizeof(f->text)];

	if (!x->list)
		return f->code;
	memcpy(why, f->text, sizeof(why));
	f->data = json_pack("{s:I, s:o*}", "change", (json_int_t)i, "vm", f->data);
	return fail(f, f->code, "changes[%zu]: %.350s", i, why);
}

static int
change_apply(struct core *c, struct txn *t)
{
	struct change_txn *x = (struct change_txn *)t;
	int rc = check_term(c, x, &t->fail);

	if (rc != 0)
		return rc;
	json_decref(x->results);
	x->results = json_array();
	for (size_t i = 0; i < x->n; i++) {
		json_t *out = json_object();

		rc = x->changes[i].apply(c, x->changes[i].params, out, &t->fail);
		if (!x->staged)
			json_array_append(x->results, out);
		json_decref(out);
		if (rc != 0)
			return refuse_list(x, i);
	}
	return 0;
}

static json_t *
change_result(struct change_txn *x)
{
	json_t *v = x->staged ? json_pack("{s:I}", "count", (json_int_t)x->n)
		    : x->list ? json_pack("{s:O}", "results", x->results)
			      : json_incref(json_array_get(x->results, 0));

	json_object_set_new(v, "changed", json_boolean(x->txn.changed));
	json_object_set_new(v, "revision", json_integer((json_int_t)x->txn.revision));
	if (x->txn.dry_run)
		json_object_set_new(v, "dry-run", json_true());
	return v;
}

static void
change_done(struct core *c, struct txn *t, int code)
{
	struct change_txn *x = (struct change_txn *)t;

	if (code == 0) {
		if (t->changed)
			log_info("control: %s by %s: revision %" PRIu64, x->method, x->name, t->revision);
		rpc_reply(x->request, change_result(x));
	} else {
		if (code == RPC_SUPERSEDED)
			event_superseded(c, x->name, x->term);
		log_warn("control: %s by %s refused: %s", x->method, x->name, t->fail.text);
		rpc_fail(x->request, code, json_incref(t->fail.data), "%s", t->fail.text);
	}
	if (x->staged)
		staged_committed(x->staged, code == 0 && !t->dry_run);
	change_txn_free(x);
}

struct change_txn *
change_txn_new(struct session *s, struct rpc_request *r, const char *method)
{
	struct change_txn *x = zalloc(sizeof(*x));

	x->txn.apply = change_apply;
	x->txn.done = change_done;
	x->request = r;
	x->role = s->role;
	x->term = s->term;
	snprintf(x->name, sizeof(x->name), "%s", s->name);
	snprintf(x->method, sizeof(x->method), "%s", method);
	return x;
}

static void
submit_or_refuse(struct session *s, struct change_txn *x, struct fail *f)
{
	if (f->code == 0) {
		txn_submit(s->core, &x->txn);
		return;
	}
	rpc_fail(x->request, f->code, NULL, "%s", f->text);
	x->n = 0;
	change_txn_free(x);
}

void
change_call(struct session *s, struct rpc_request *r, const char *method, const json_t *params)
{
	struct change_txn *x = change_txn_new(s, r, method);
	struct fail f = {0};

	x->n = 1;
	x->changes = zalloc(sizeof(*x->changes));
	change_read(x->changes, method, params, &f);
	submit_or_refuse(s, x, &f);
}

void
txn_apply_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct txn_params *p = params;
	struct change_txn *x = change_txn_new(s, r, "txn.apply");
	struct fail f = {0};

	x->list = true;
	x->txn.dry_run = p->dry_run;
	x->n = p->changes.n;
	x->changes = zalloc(x->n * sizeof(*x->changes));
	changes_read(&p->changes, x->changes, &f);
	submit_or_refuse(s, x, &f);
}
