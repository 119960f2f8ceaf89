/* SPDX-License-Identifier: BSD-3-Clause */
/* ask.c - calls over a router's local socket. */
#include "world_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

struct asking {
	struct rpc *rpc;
	json_t *call;
	const char *method;
	json_t *result;
	int code;
	bool done;
};

static void
ask_done(void *arg, int code, json_t *result)
{
	struct asking *a = arg;

	a->code = code;
	a->result = json_incref(result);
	a->done = true;
}

static void
ask_up(void *arg, struct channel *c)
{
	struct asking *a = arg;

	(void)c;
	rpc_call(a->rpc, a->method, json_incref(a->call), ask_done, a);
}

static void
ask_message(void *arg, struct channel *c, json_t *msg)
{
	(void)c;
	rpc_message(((struct asking *)arg)->rpc, msg);
}

static void
ask_down(void *arg, struct channel *c, const char *why)
{
	struct asking *a = arg;

	(void)c;
	(void)why;
	a->code = -ECONNRESET;
	a->done = true;
}

static const struct channel_ops ask_ops = {ask_up, ask_message, ask_down};

static void
no_handler(void *arg, struct rpc_request *r, const char *method, json_t *params)
{
	(void)arg;
	(void)method;
	(void)params;
	rpc_fail(r, RPC_NO_METHOD, NULL, "none");
}

static void
stream_up(void *arg)
{
	(void)arg;
}

json_t *
ask(struct node *n, int *code, const char *method, const char *params_fmt, ...)
{
	static const struct env_stream_ops before_attach = {.connected = stream_up};
	struct node *client = world_controller(n->w);
	struct asking a = {.method = method};
	uint64_t until = n->w->now + 60000;
	struct env_stream *s;
	struct channel *c;
	char address[128];
	va_list ap;

	va_start(ap, params_fmt);
	a.call = json_vpack_ex(NULL, 0, params_fmt, ap);
	va_end(ap);
	if (!a.call) {
		fprintf(stderr, "ask %s: bad parameters\n", method);
		abort();
	}
	snprintf(address, sizeof(address), "unix:%s", n->conf.control.socket);
	s = op_dial(client, address, &before_attach, NULL);
	c = channel_plain_accept(&client->env, s, NULL, &ask_ops, &a);
	a.rpc = rpc_new(c, no_handler, NULL);
	while (!a.done && world_step(n->w, until))
		;
	rpc_free(a.rpc);
	channel_close(c);
	json_decref(a.call);
	*code = a.done ? a.code : -ETIMEDOUT;
	return a.result;
}
