/* SPDX-License-Identifier: BSD-3-Clause */
/* watch.c - trace and capture: one client at a time asks forwarding for what came, page by page; explain. */
#include "state.h"

#include <errno.h>

static bool
go_on(struct session *s, const char *cursor)
{
	return s->core->watcher == s && strtoull(cursor, NULL, 10) == s->core->watches;
}

static int
begin(struct session *s, const struct watch_params *p, bool capture, struct err *e)
{
	struct core *c = s->core;
	int rc;

	if (c->watcher)
		return err_set(e, EBUSY, "another trace or capture is on, and there is one at a time");
	rc = env_call(c->env, fwd_watch, p, capture, e);
	if (rc == 0) {
		c->watcher = s;
		c->watches++;
	}
	return rc;
}

static void
send_page(struct session *s, struct rpc_request *r)
{
	struct core *c = s->core;
	char next[24];
	bool more;
	json_t *v = (json_t *)env_call(c->env, fwd_watched, &more);

	if (more) {
		snprintf(next, sizeof(next), "%" PRIu64, c->watches);
		json_object_set_new(v, "next", json_string(next));
	} else {
		c->watcher = NULL;
	}
	rpc_reply(r, v);
}

static void
watch_call(struct session *s, struct rpc_request *r, const struct watch_params *p, bool capture)
{
	struct err e = {0};
	int rc = 0;

	if (p->cursor[0] == '\0')
		rc = begin(s, p, capture, &e);
	else if (!go_on(s, p->cursor))
		rc = err_set(
			&e, ENOENT, "no trace or capture of this connection has the cursor %s", p->cursor);
	if (rc == 0)
		send_page(s, r);
	else
		rpc_fail(r,
			rc == -EBUSY	? RPC_CONFLICT
			: rc == -ENOENT ? RPC_NOT_FOUND
			: rc == -ENOMEM ? RPC_INTERNAL
					: RPC_INVALID_PARAMS,
			NULL, "%s", e.text);
}

void
trace_call(struct session *s, struct rpc_request *r, const void *params)
{
	watch_call(s, r, params, false);
}

void
capture_call(struct session *s, struct rpc_request *r, const void *params)
{
	watch_call(s, r, params, true);
}

void
explain_call(struct session *s, struct rpc_request *r, const void *params)
{
	struct err e = {0};
	json_t *v = (json_t *)env_call(s->core->env, fwd_explain, params, &e);

	if (v)
		rpc_reply(r, v);
	else
		rpc_fail(r, e.code == -ENOMEM ? RPC_INTERNAL : RPC_INVALID_PARAMS, NULL, "%s", e.text);
}

void
watch_gone(struct session *s)
{
	struct core *c = s->core;

	if (c->watcher != s)
		return;
	c->watcher = NULL;
	c->env->ops->fwd_unwatch(c->env->ctx);
}
