/* SPDX-License-Identifier: BSD-3-Clause */
/* reload.c - the configuration is read again while the router runs.
 *
 *   read, checked whole, compared -> peers that leave are let in no more -> a transaction: routes of the file, what
 *   leaves with peers -> published: content of the configuration, topology -> keys, sessions, peers follow
 *
 * What is refused on the way changes nothing. The configuration stays the same object; its content changes between
 * two events, so nobody keeps pointers into it but struct peer, which follows.
 */
#include "state.h"

#include <api/secret.h>
#include <common/log.h>
#include <errno.h>

struct reload {
	struct txn txn;
	struct env_config read;
	struct rpc_request *request; /* NULL: a signal */
	char by[112];
};

static bool
leaves(const struct reload *x, const struct peer *p)
{
	return !p->conf->removed &&
	       list_at(x->read.next->peers, const struct conf_peer, p->index - 1)->removed;
}

static int
reload_apply(struct core *c, struct txn *t)
{
	struct reload *x = (struct reload *)t;

	routes_follow(c, &x->read.next->routes);
	for (size_t i = 0; i < c->n_peers; i++)
		if (leaves(x, &c->peers[i]))
			vms_withdraw(c, c->peers[i].index);
	return 0;
}

/* Forwarding has it, and nothing that follows can fail. */
static void
follow(struct core *c, const struct reload *x)
{
	env_call(c->env, config_publish);
	memcpy(c->private_key, x->read.private_key, sizeof(c->private_key));
	callers_fini(c);
	callers_init(c);
	peers_follow(c);
	sessions_follow(c);
	for (size_t i = 0; i < c->n_peers; i++)
		if (c->peers[i].conf->removed)
			vms_forget(c, c->peers[i].index);
}

static void
abandon(struct core *c)
{
	env_call(c->env, config_abort);
	for (size_t i = 0; i < c->n_peers; i++)
		peer_stay(&c->peers[i]);
}

static void
refused(struct core *c, const char *by, int code, const char *why)
{
	log_error("control: reload by %s refused, nothing changed: %s", by, why);
	audit_refused(c, by, "reload", code, why);
}

static void
log_changes(struct core *c, const struct reload *x)
{
	json_t *v, *changed = json_array();
	size_t i;

	log_info("control: configuration reloaded by %s: %zu changes", x->by,
		json_array_size(x->read.changed));
	json_array_foreach(x->read.changed, i, v)
	{
		log_info("control: reload: %s", json_string_value(v));
		json_array_append_new(changed, audit_text(json_string_value(v)));
	}
	audit_note(c, x->by, "reload", json_pack("{s:s, s:o}", "result", "ok", "changed", changed));
}

static void
reload_free(struct reload *x)
{
	json_decref(x->read.changed);
	fail_clear(&x->txn.fail);
	secret_free(x);
}

static void
reload_done(struct core *c, struct txn *t, int code)
{
	struct reload *x = (struct reload *)t;

	c->reloading = false;
	if (code == 0 && !t->dry_run) {
		follow(c, x);
		log_changes(c, x);
	} else {
		abandon(c);
		if (!t->dry_run)
			refused(c, x->by, code, t->fail.text);
	}
	if (x->request && code == 0)
		rpc_reply(x->request, json_pack("{s:O}", "changed", x->read.changed));
	else if (x->request)
		rpc_fail(x->request, code, NULL, "%s", t->fail.text);
	reload_free(x);
}

static int
reload_start(struct core *c, struct rpc_request *r, const char *by, bool dry_run, struct err *e)
{
	struct reload *x;
	int rc;

	if (c->reloading || !c->running)
		return err_set(
			e, EBUSY, "%s", c->running ? "a reload is on its way already" : "the router starts");
	x = zalloc_secret(sizeof(*x)); /* the private key */
	rc = env_call(c->env, config_read, &x->read, e);
	if (rc != 0) {
		reload_free(x);
		return rc;
	}
	x->txn.dry_run = dry_run;
	x->txn.apply = reload_apply;
	x->txn.done = reload_done;
	x->request = r;
	snprintf(x->by, sizeof(x->by), "%s", by);
	c->reloading = true;
	for (size_t i = 0; i < c->n_peers && !dry_run; i++)
		if (leaves(x, &c->peers[i]))
			peer_leave(&c->peers[i]);
	txn_submit(c, &x->txn);
	return 0;
}

void
core_reload(struct core *c)
{
	struct err e = {0};

	if (reload_start(c, NULL, "SIGHUP", false, &e) != 0)
		refused(c, "SIGHUP", RPC_INVALID_PARAMS, e.text);
}

void
reload_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct reload_params *p = params;
	struct err e = {0};
	int rc = reload_start(s->core, r, s->name, p->dry_run, &e);
	int code = rc == -EBUSY ? RPC_CONFLICT : RPC_INVALID_PARAMS;

	if (rc == 0)
		return;
	if (!p->dry_run)
		refused(s->core, s->name, code, e.text);
	rpc_fail(r, code, NULL, "%s", e.text);
}
