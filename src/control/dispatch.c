/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch.c - channels that are up, who may call what, and where a call goes. */
#include "state.h"

#include <common/log.h>

/* The oldest goes first, so that one that is dead or forgotten keeps nobody out. */
#define PENDING_MAX 64 /* connections that have not proved who they are */
#define CALLER_MAX  8  /* of one controller or observer */
#define LOCAL_MAX   64 /* of the local socket */

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

/* Who came or went that may do something here. */
static void
session_told(struct session *s, enum event_kind kind, const char *what, json_t *more_stolen)
{
	char who[WHO_TEXT];

	if (s->role == ROLE_CONTROLLER)
		event_term(s->core, kind, s->name, s->term);
	audit_refusal(s->core, audit_who(s->role, s->name, who), what, more_stolen);
}

static void
session_free(struct session *s)
{
	if (s->rpc && s->role != ROLE_LOCAL)
		session_told(s, EVENT_CONTROLLER_AWAY, "session.down", NULL);
	watch_gone(s);
	staged_gone(s);
	rpc_free(s->rpc);
	DL_DELETE(s->core->sessions, s);
	free(s);
}

void
session_close(struct session *s)
{
	client_goes(s);
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

/* Nobody who may come in uses up descriptors and memory by coming again and again. */
static void
sessions_bound(struct core *c, const struct session *newest)
{
	bool local = newest->role == ROLE_LOCAL;
	struct session *s, *oldest = NULL;
	size_t n = 0;

	DL_FOREACH(c->sessions, s)
	{
		if (!s->rpc || s->role != newest->role || (!local && strcmp(s->name, newest->name) != 0))
			continue;
		n++;
		oldest = oldest ? oldest : s;
	}
	if (n <= (local ? LOCAL_MAX : CALLER_MAX))
		return;
	log_warn("control: %s %s: more than %zu sessions: the oldest is closed",
		channel_role_name(newest->role), newest->name, n - 1);
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
term_audit(struct core *c, struct txn *t)
{
	struct term_txn *x = (struct term_txn *)t;
	char who[WHO_TEXT];

	audit_effects(c, t, audit_who(ROLE_CONTROLLER, x->name, who), "term");
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
	x->txn.audit = term_audit;
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
	if (s->role != ROLE_LOCAL && !caller_is_known(s->core, id)) { /* it was, when the handshake began */
		session_end(s, "its key is not configured any more");
		return;
	}
	if (s->role != ROLE_LOCAL)
		snprintf(s->name, sizeof(s->name), "%s", id->name);
	s->rpc = rpc_new(ch, dispatch, s);
	if (!s->rpc) {
		session_close(s);
		return;
	}
	if (s->role != ROLE_LOCAL)
		gate_know(&s->core->gate, now_ms(s->core), channel_from(ch));
	if (s->role == ROLE_CONTROLLER)
		take_term(s);
	client_came(s);
	if (s->role != ROLE_LOCAL)
		session_told(s, EVENT_CONTROLLER_UP, "session.up",
			json_pack("{s:o}", "from", audit_text(channel_from(ch))));
	if (s->role == ROLE_PEER)
		peer_up(s->core, s); /* of a peer there is one */
	else
		sessions_bound(s->core, s);
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
	audit_refusal(c, channel_from(ch), "session.up",
		json_pack("{s:s, s:o}", "result", "refused", "error", audit_text(why)));
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

	client_goes(s);
	if (!s->rpc && !s->dialled && s->role != ROLE_LOCAL)
		log_stranger(s->core, ch, why);
	else if (s->role != ROLE_LOCAL)
		log_info("control: %s %s (%s): %s", s->rpc ? channel_role_name(s->role) : "connection",
			s->name, channel_from(ch), why);
	if (s->peer)
		peer_down(s->core, s);
	session_free(s);
}

void
session_end(struct session *s, const char *why)
{
	struct channel *ch = s->channel;

	session_down(s, ch, why);
	channel_close(ch);
}

void
sessions_follow(struct core *c)
{
	struct session *s, *next;

	DL_FOREACH_SAFE(c->sessions, s, next)
	if (s->rpc && s->role != ROLE_LOCAL && !caller_is_known(c, channel_peer(s->channel)))
		session_end(s, "its key is not configured any more");
}

static void
session_drained(void *arg, struct channel *ch)
{
	(void)ch;
	events_send(arg);
}

const struct channel_ops session_ops = {session_up, session_message, session_down, session_drained};

void
sessions_fini(struct core *c)
{
	while (c->sessions)
		session_close(c->sessions);
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
show_call(struct session *s, struct rpc_request *r, const struct method *m, const void *params)
{
	static const struct show_params all; /* of what comes in one piece, and has no parameters */
	json_t *v = show(s->core, m->name + strlen("show."), m->params == &kind_no_params ? &all : params);

	if (v)
		rpc_reply(r, v);
	else
		rpc_fail(r, RPC_INTERNAL, NULL, "%s: nothing to show here", m->name);
}

static void
state_export_call(struct session *s, struct rpc_request *r, const void *params)
{
	rpc_reply(r, state_export(s->core, params));
}

/* Beside these there are show.* and the methods that change one thing. */
static const struct {
	const char *name;
	void (*run)(struct session *s, struct rpc_request *r, const void *params);
} calls[] = {
	{"txn.apply", txn_apply_call},
	{"state.replace", state_replace_call},
	{"state.export", state_export_call},
	{"txn.open", txn_open_call},
	{"txn.add", txn_add_call},
	{"txn.commit", txn_commit_call},
	{"txn.abort", txn_abort_call},
	{"trace", trace_call},
	{"capture", capture_call},
	{"explain", explain_call},
	{"doctor", doctor_call},
	{"metrics", metrics_call},
	{"reload", reload_call},
	{"events", events_call},
	{"show.log", audit_show},
	{"show.move", move_show_call},
};

static void
refuse(struct session *s, struct rpc_request *r, const struct method *m, int code, const char *why)
{
	char who[WHO_TEXT];

	if (m->perm == PERM_CHANGE || code == RPC_DENIED)
		audit_refused(s->core, audit_who(s->role, s->name, who), m->name, code, why);
	rpc_fail(r, code, NULL, "%s", why);
}

static void
deny(struct session *s, struct rpc_request *r, const struct method *m)
{
	char why[200];

	snprintf(why, sizeof(why), "%s: not allowed to %s %s", m->name, channel_role_name(s->role), s->name);
	refuse(s, r, m, RPC_DENIED, why);
}

static void
call(struct session *s, struct rpc_request *r, const struct method *m, const json_t *params)
{
	void (*run)(struct session *, struct rpc_request *, const void *) = NULL;
	struct faults faults;
	struct err e = {0};
	void *p;
	int rc;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strcmp(calls[i].name, m->name) == 0)
			run = calls[i].run;
	if (m->perm == PERM_CHANGE && !run) {
		change_call(s, r, m->name, params);
		return;
	}
	p = zalloc(m->params->size + 1);
	faults_init(&faults);
	rc = kind_read(m->params, params, NULL, p, &faults);
	if (rc != 0)
		refuse(s, r, m, RPC_INVALID_PARAMS, (faults_err(&faults, &e), e.text));
	else if (run)
		run(s, r, p);
	else
		show_call(s, r, m, p);
	if (rc == 0)
		kind_fini(m->params, p);
	faults_fini(&faults);
	free(p);
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
		deny(s, r, m);
	else
		call(s, r, m, params);
}
