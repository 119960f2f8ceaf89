/* SPDX-License-Identifier: BSD-3-Clause */
/* changes.c - changes by methods: one, or a list that is one transaction; read, applied, answered. */
#include "state.h"

#include <common/log.h>

struct change {
	const struct method *method;
	int (*apply)(struct core *c, const void *params, json_t *out, struct fail *f);
	void *params;
};

struct change_txn {
	struct txn txn;
	struct rpc_request *request;
	enum channel_role role;
	uint64_t term;
	char name[112], method[NAME_LEN + 1];
	bool list; /* txn.apply */
	json_t *results;
	size_t n;
	struct change changes[];
};

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

static void
change_txn_free(struct change_txn *x)
{
	for (size_t i = 0; i < x->n; i++) {
		if (x->changes[i].params)
			kind_fini(x->changes[i].method->params, x->changes[i].params);
		free(x->changes[i].params);
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

static int
change_apply(struct core *c, struct txn *t)
{
	struct change_txn *x = (struct change_txn *)t;
	struct fail *f = &t->fail;
	int rc = check_term(c, x, f);

	json_decref(x->results);
	x->results = json_array();
	for (size_t i = 0; i < x->n && rc == 0; i++) {
		json_t *out = json_object();
		char why[sizeof(f->text)];

		rc = x->changes[i].apply(c, x->changes[i].params, out, f);
		json_array_append_new(x->results, out);
		if (rc == 0 || !x->list)
			continue;
		memcpy(why, f->text, sizeof(why));
		fail(f, rc, "changes[%zu]: %.350s", i, why);
		f->data = json_pack("{s:I, s:o*}", "change", (json_int_t)i, "vm", f->data);
	}
	return rc;
}

static json_t *
change_result(struct change_txn *x)
{
	json_t *v = x->list ? json_pack("{s:O}", "results", x->results)
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
	change_txn_free(x);
}

static struct change_txn *
change_new(struct session *s, struct rpc_request *r, const char *method, size_t n)
{
	struct change_txn *x = zalloc(sizeof(*x) + n * sizeof(x->changes[0]));

	x->txn.apply = change_apply;
	x->txn.done = change_done;
	x->request = r;
	x->role = s->role;
	x->term = s->term;
	x->n = n;
	snprintf(x->name, sizeof(x->name), "%s", s->name);
	snprintf(x->method, sizeof(x->method), "%s", method);
	return x;
}

static void
refuse(struct change_txn *x, struct rpc_request *r, struct fail *f)
{
	rpc_fail(r, f->code, NULL, "%s", f->text);
	change_txn_free(x);
}

void
change_call(struct session *s, struct rpc_request *r, const char *method, const json_t *params)
{
	struct change_txn *x = change_new(s, r, method, 1);
	struct fail f = {0};

	if (change_read(&x->changes[0], method, params, &f) != 0)
		refuse(x, r, &f);
	else
		txn_submit(s->core, &x->txn);
}

void
changes_call(struct session *s, struct rpc_request *r, struct txn_params *p)
{
	struct change_txn *x = change_new(s, r, "txn.apply", p->changes.n);
	struct fail f = {0};
	char why[sizeof(f.text)];

	x->list = true;
	x->txn.dry_run = p->dry_run;
	for (size_t i = 0; i < p->changes.n; i++) {
		const struct txn_change *ch = list_at(p->changes, const struct txn_change, i);

		if (change_read(&x->changes[i], ch->method, ch->params, &f) == 0)
			continue;
		memcpy(why, f.text, sizeof(why));
		fail(&f, f.code, "changes[%zu]: %.350s", i, why);
		refuse(x, r, &f);
		return;
	}
	txn_submit(s->core, &x->txn);
}
