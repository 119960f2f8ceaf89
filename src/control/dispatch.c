/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch.c - channels that are up, who may call what, and one call's way through a transaction. */
#include "state.h"

#include <common/log.h>

#define PENDING_MAX 64 /* connections that have not proved who they are; the oldest goes first */

/* ---- sessions ---- */

struct session *
session_new(struct core *c, enum channel_role role, const char *name)
{
	struct session *s = zalloc(sizeof(*s));

	s->core = c;
	s->role = role;
	snprintf(s->name, sizeof(s->name), "%s", name);
	DL_APPEND(c->sessions, s);
	return s;
}

static void
session_free(struct session *s)
{
	watch_gone(s);
	rpc_free(s->rpc);
	DL_DELETE(s->core->sessions, s);
	free(s);
}

void
session_close(struct session *s)
{
	channel_close(s->channel);
	session_free(s);
}

void
sessions_trim(struct core *c)
{
	struct session *s, *oldest = NULL;
	size_t pending = 0;

	DL_FOREACH(c->sessions, s)
	{
		if (s->rpc || s->dialled)
			continue;
		pending++;
		oldest = oldest ? oldest : s;
	}
	if (pending > PENDING_MAX)
		session_close(oldest);
}

struct term_txn {
	struct txn txn;
	uint64_t number;
	char name[NAME_LEN + 1];
};

static int
term_apply(struct core *c, struct txn *t)
{
	struct term_txn *x = (struct term_txn *)t;

	if (x->number > c->term.number)
		term_set(c, x->number, x->name);
	return 0;
}

static void
term_done(struct core *c, struct txn *t, int code)
{
	(void)c;
	(void)code; /* not stored: its next change brings it again */
	fail_clear(&t->fail);
	free(t);
}

static void
take_term(struct session *s)
{
	const json_t *v = json_object_get(channel_hello(s->channel), "term");
	struct core *c = s->core;
	struct term_txn *x;

	s->term = json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
	if (s->term <= c->term.number)
		return;
	x = zalloc(sizeof(*x));
	x->txn.apply = term_apply;
	x->txn.done = term_done;
	x->number = s->term;
	snprintf(x->name, sizeof(x->name), "%.*s", NAME_LEN, s->name);
	txn_submit(c, &x->txn);
}

static void
session_up(void *arg, struct channel *ch)
{
	struct session *s = arg;
	const struct channel_identity *id = channel_peer(ch);

	s->role = id->role;
	if (s->role != ROLE_LOCAL)
		snprintf(s->name, sizeof(s->name), "%s", id->name);
	s->rpc = rpc_new(ch, dispatch, s);
	if (!s->rpc) {
		session_close(s);
		return;
	}
	if (s->role == ROLE_CONTROLLER)
		take_term(s);
	if (s->role == ROLE_PEER)
		peer_up(s->core, s);
}

static void
session_message(void *arg, struct channel *ch, json_t *msg)
{
	struct session *s = arg;

	(void)ch;
	rpc_message(s->rpc, msg);
}

/* Anybody may knock: a line a second at most. */
static void
log_stranger(struct core *c, struct channel *ch, const char *why)
{
	c->strangers++;
	if (now_ms(c) < c->stranger_log_at) {
		c->strangers_quiet++;
		return;
	}
	log_warn("control: %s refused: %s (%" PRIu64 " more since the last such line)", channel_from(ch), why,
		c->strangers_quiet);
	c->strangers_quiet = 0;
	c->stranger_log_at = now_ms(c) + 1000;
}

static void
session_down(void *arg, struct channel *ch, const char *why)
{
	struct session *s = arg;

	if (!s->rpc && !s->dialled && s->role != ROLE_LOCAL)
		log_stranger(s->core, ch, why);
	else if (s->role != ROLE_LOCAL)
		log_info("control: %s %s (%s): %s", s->rpc ? channel_role_name(s->role) : "connection",
			s->name, channel_from(ch), why);
	if (s->peer)
		peer_down(s->core, s);
	session_free(s);
}

const struct channel_ops session_ops = {session_up, session_message, session_down};

void
sessions_fini(struct core *c)
{
	while (c->sessions)
		session_close(c->sessions);
}

/* ---- changes ---- */

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

	(void)c;
	if (code == 0) {
		if (t->changed)
			log_info("control: %s by %s: revision %" PRIu64, x->method, x->name, t->revision);
		rpc_reply(x->request, change_result(x));
	} else {
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

static void
change_call(struct session *s, struct rpc_request *r, const char *method, const json_t *params)
{
	struct change_txn *x = change_new(s, r, method, 1);
	struct fail f = {0};

	if (change_read(&x->changes[0], method, params, &f) != 0)
		refuse(x, r, &f);
	else
		txn_submit(s->core, &x->txn);
}

static void
list_call(struct session *s, struct rpc_request *r, struct txn_params *p)
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

/* ---- calls ---- */

static bool
allowed(enum channel_role role, enum permission perm)
{
	if (role == ROLE_CONTROLLER)
		return perm != PERM_LOCAL;
	return role == ROLE_LOCAL || (role == ROLE_OBSERVER && perm == PERM_OBSERVE);
}

static void
call(struct session *s, struct rpc_request *r, const struct method *m, const json_t *params)
{
	union {
		struct show_params show;
		struct txn_params txn;
		struct watch_params watch;
		struct explain_params explain;
	} p;
	struct faults faults;
	struct err e = {0};
	int rc;

	memset(&p, 0, sizeof(p));
	if (m->perm == PERM_CHANGE && strcmp(m->name, "txn.apply") != 0) {
		change_call(s, r, m->name, params);
		return;
	}
	faults_init(&faults);
	rc = kind_read(m->params, params, NULL, &p, &faults);
	if (rc != 0)
		faults_err(&faults, &e);
	faults_fini(&faults);
	if (rc != 0) {
		rpc_fail(r, RPC_INVALID_PARAMS, NULL, "%s", e.text);
	} else if (m->perm == PERM_CHANGE) {
		list_call(s, r, &p.txn);
	} else if (m->perm == PERM_LOCAL) {
		watch_call(s, r, &p.watch, strcmp(m->name, "capture") == 0);
	} else if (strcmp(m->name, "explain") == 0) {
		explain_call(s, r, &p.explain);
	} else {
		json_t *v = show(s->core, m->name + strlen("show."), &p.show);

		if (v)
			rpc_reply(r, v);
		else
			rpc_fail(r, RPC_INTERNAL, NULL, "%s: nothing to show here", m->name);
	}
	if (rc == 0)
		kind_fini(m->params, &p);
}

void
dispatch(void *arg, struct rpc_request *r, const char *method, json_t *params)
{
	struct session *s = arg;
	const struct method *m = method_find(method);

	if (s->role == ROLE_PEER && s->peer && strncmp(method, "sync.", 5) == 0) {
		sync_request(s, r, method, params);
		return;
	}
	if (!m)
		rpc_fail(r, RPC_NO_METHOD, NULL, "no method %.40s", method);
	else if (!allowed(s->role, m->perm))
		rpc_fail(r, RPC_DENIED, NULL, "%s: not allowed to %s %s", method, channel_role_name(s->role),
			s->name);
	else
		call(s, r, m, params);
}
