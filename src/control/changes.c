/* SPDX-License-Identifier: BSD-3-Clause */
/* changes.c - transactions of changes, one or a list: applied, undone where one is refused, answered. */
#include "changes.h"

#include <common/log.h>

static void
change_txn_free(struct change_txn *x)
{
	if (!x->staged) {
		changes_free(x->changes, x->n);
		free(x->changes);
	}
	json_decref(x->results);
	fail_clear(&x->txn.fail);
	free(x->replace);
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
int
change_refused(struct change_txn *x, size_t i)
{
	struct fail *f = &x->txn.fail;
	char why[sizeof(f->text)];

	if (!x->list)
		return f->code;
	memcpy(why, f->text, sizeof(why));
	f->data = json_pack("{s:I, s:o*}", "change", (json_int_t)i,
		x->changes[i].kind->name[0] == 'r' ? "route" : "vm", f->data);
	return fail(f, f->code, "changes[%zu]: %.350s", i, why);
}

static int
list_apply(struct core *c, struct change_txn *x)
{
	for (; x->at < x->n; x->at++) {
		struct change *ch = &x->changes[x->at];
		json_t *out;
		int rc;

		if (!txn_turn(c))
			return TXN_MORE;
		out = json_object();
		rc = change_make(c, ch, out, &x->txn.fail);
		if (!x->staged)
			json_array_append(x->results, out);
		json_decref(out);
		if (rc != 0)
			return change_refused(x, x->at);
	}
	return 0;
}

/* As for a single change: who finds all as asked is not refused. */
static int
check_revision(struct core *c, struct change_txn *x)
{
	struct fail *f = &x->txn.fail;

	if (x->if_revision == UINT64_MAX || x->if_revision == c->revision || !x->txn.changed)
		return 0;
	f->data = json_pack("{s:I}", "revision", (json_int_t)c->revision);
	return fail(f, RPC_REVISION, "the router is at revision %" PRIu64 ", not %" PRIu64, c->revision,
		x->if_revision);
}

static int
change_apply(struct core *c, struct txn *t)
{
	struct change_txn *x = (struct change_txn *)t;
	int rc = t->goes_on ? 0 : check_term(c, x, &t->fail);

	if (rc != 0)
		return rc;
	if (!t->goes_on) {
		json_decref(x->results);
		x->results = json_array();
		x->at = 0;
	}
	rc = x->replace ? replace_apply(c, x) : list_apply(c, x);
	return rc ? rc : check_revision(c, x);
}

static json_t *
change_result(struct change_txn *x)
{
	json_t *v = x->replace	? replace_result(x->replace)
		    : x->staged ? json_pack("{s:I}", "count", (json_int_t)x->n)
		    : x->list	? json_pack("{s:O}", "results", x->results)
				: json_incref(json_array_get(x->results, 0));

	json_object_set_new(v, "changed", json_boolean(x->txn.changed));
	json_object_set_new(v, "revision", json_integer((json_int_t)x->txn.revision));
	if (x->txn.dry_run)
		json_object_set_new(v, "dry-run", json_true());
	return v;
}

static void
audit_one(struct core *c, const struct change_txn *x, const char *who, const struct change *ch)
{
	struct buf more;

	buf_init(&more, 0);
	text_add(&more, "{\"result\":\"ok\",\"revision\":%" PRIu64 ",\"params\":", x->txn.revision);
	text_add_kind(&more, ch->method->params, ch->params);
	if (x->list)
		text_add(&more, ",\"of\":\"%s\"", x->method);
	text_add(&more, "}");
	audit_change(c, who, ch->method->name, &more);
}

/* Each change of a list has an entry of its own: that is what one looks for. A replace changes little of what it names. */
static void
change_audit(struct core *c, struct txn *t)
{
	struct change_txn *x = (struct change_txn *)t;
	char who[WHO_TEXT];

	audit_who(x->role, x->name, who);
	if (x->replace) {
		audit_effects(c, t, who, x->method);
		return;
	}
	for (size_t i = 0; i < x->n; i++)
		audit_one(c, x, who, &x->changes[i]);
}

static void
refused(struct core *c, const struct change_txn *x, int code, const char *why)
{
	char who[WHO_TEXT];

	log_warn("control: %s by %s refused: %s", x->method, x->name, why);
	audit_refused(c, audit_who(x->role, x->name, who), x->method, code, why);
}

static void
reply(struct core *c, struct change_txn *x)
{
	const struct change *one = x->list || x->replace || x->staged || x->txn.dry_run ? NULL : x->changes;

	if (x->txn.plans)
		plan_answer(c, change_result(x), x->request);
	else if (one && one->kind->answer)
		one->kind->answer(c, one->params, x->txn.changed, change_result(x), x->request);
	else
		rpc_reply(x->request, change_result(x));
}

static void
change_done(struct core *c, struct txn *t, int code)
{
	struct change_txn *x = (struct change_txn *)t;

	if (code == 0) {
		if (t->changed)
			log_debug("control: %s by %s: revision %" PRIu64, x->method, x->name, t->revision);
		reply(c, x);
	} else {
		if (code == RPC_SUPERSEDED)
			event_superseded(c, x->name, x->term);
		refused(c, x, code, t->fail.text);
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
	x->txn.audit = change_audit;
	x->if_revision = UINT64_MAX;
	x->request = r;
	x->role = s->role;
	x->term = s->term;
	snprintf(x->name, sizeof(x->name), "%s", s->name);
	snprintf(x->method, sizeof(x->method), "%s", method);
	return x;
}

void
change_submit(struct session *s, struct change_txn *x)
{
	x->txn.size = x->n;
	txn_submit(s->core, &x->txn);
}

static void
refuse(struct session *s, struct change_txn *x, const struct fail *f)
{
	refused(s->core, x, f->code, f->text);
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
	if (change_read(x->changes, method, params, &f) != 0) {
		refuse(s, x, &f);
		return;
	}
	x->txn.dry_run = x->txn.plans = change_is_dry(x->changes);
	change_submit(s, x);
}

static void
list_call(struct session *s, struct change_txn *x, const struct list *changes)
{
	struct fail f = {0};

	x->list = true;
	x->n = changes->n;
	x->changes = zalloc((x->n + 1) * sizeof(*x->changes));
	if (changes_read(changes, x->replace, x->changes, &f) == 0)
		change_submit(s, x);
	else
		refuse(s, x, &f);
}

void
txn_apply_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct txn_params *p = params;
	struct change_txn *x = change_txn_new(s, r, "txn.apply");

	x->txn.dry_run = p->dry_run;
	x->if_revision = p->if_revision;
	list_call(s, x, &p->changes);
}

void
state_replace_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct replace_params *p = params;
	struct change_txn *x = change_txn_new(s, r, "state.replace");

	x->txn.dry_run = p->dry_run;
	x->if_revision = p->if_revision;
	x->replace = replace_new(p->max_remove);
	list_call(s, x, &p->changes);
}
