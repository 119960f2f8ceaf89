/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc.h"

#include <api/methods.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Incoming requests that wait for their reply, and their texts: when there are so many, nothing more is read until
 * half of them have it. */
#define REQUESTS_MAX	   1024
#define REQUESTS_BYTES_MAX (4u << 20)

struct call { /* ours, waiting for its reply */
	TAILQ_ENTRY(call) link;
	json_int_t id;
	void (*done)(void *arg, int code, json_t *result);
	void *arg;
};

struct rpc_request {
	TAILQ_ENTRY(rpc_request) link;
	struct rpc *rpc; /* NULL once the channel is gone */
	json_t *id;	 /* NULL: a notification */
	size_t len;	 /* of its text */
};

struct rpc {
	struct channel *channel;
	rpc_handler handler;
	void *arg;
	json_int_t last_id;
	size_t n_requests, requests_len;
	bool full;
	TAILQ_HEAD(, call) calls; /* in order: replies mostly come in it, so the search is short */
	TAILQ_HEAD(, rpc_request) requests;
};

struct rpc *
rpc_new(struct channel *c, rpc_handler handler, void *arg)
{
	struct rpc *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->channel = c;
	r->handler = handler;
	r->arg = arg;
	TAILQ_INIT(&r->calls);
	TAILQ_INIT(&r->requests);
	return r;
}

static void
end_call(struct rpc *r, struct call *call, int code, json_t *result)
{
	TAILQ_REMOVE(&r->calls, call, link);
	call->done(call->arg, code, result);
	free(call);
}

void
rpc_free(struct rpc *r)
{
	struct rpc_request *q;
	struct call *call;

	if (r == NULL)
		return;
	while ((q = TAILQ_FIRST(&r->requests)) != NULL) {
		TAILQ_REMOVE(&r->requests, q, link); /* its channel may be gone */
		q->rpc = NULL;
	}
	r->channel = NULL; /* what the callbacks below may still try to call */
	while ((call = TAILQ_FIRST(&r->calls)) != NULL)
		end_call(r, call, -ECONNRESET, NULL);
	free(r);
}

/* ---- replies ---- */

/* A text that quotes the caller may have been cut inside a character, and JSON takes whole ones only. */
static json_t *
error_text(const char *text)
{
	json_t *v = json_string(text);
	char *plain = v == NULL ? strdup(text) : NULL;

	if (plain == NULL)
		return v;
	for (char *p = plain; *p != '\0'; p++)
		*p = *p & 0x80 ? '?' : *p;
	v = json_string(plain);
	free(plain);
	return v;
}

static void
send_error(struct rpc *r, json_t *id, int code, const char *text, json_t *data_stolen)
{
	json_t *msg = json_pack("{s:s, s:O?, s:{s:i, s:o, s:o*}}", "jsonrpc", "2.0", "id", id, "error",
		"code", code, "message", error_text(text), "data", data_stolen);

	if (channel_send(r->channel, msg) == -EMSGSIZE) {
		json_object_del(json_object_get(msg, "error"), "data");
		channel_send(r->channel, msg);
	}
	json_decref(msg);
}

static void
set_full(struct rpc *r, bool full)
{
	if (r->full != full)
		channel_pause(r->channel, full);
	r->full = full;
}

static void
add_request(struct rpc *r, struct rpc_request *q)
{
	TAILQ_INSERT_TAIL(&r->requests, q, link);
	r->n_requests++;
	r->requests_len += q->len;
	if (r->n_requests >= REQUESTS_MAX || r->requests_len >= REQUESTS_BYTES_MAX)
		set_full(r, true);
}

static void
remove_request(struct rpc *r, struct rpc_request *q)
{
	TAILQ_REMOVE(&r->requests, q, link);
	r->n_requests--;
	r->requests_len -= q->len;
	if (r->n_requests <= REQUESTS_MAX / 2 && r->requests_len <= REQUESTS_BYTES_MAX / 2)
		set_full(r, false);
}

static void
free_request(struct rpc_request *q)
{
	if (q->rpc != NULL)
		remove_request(q->rpc, q);
	json_decref(q->id);
	free(q);
}

void
rpc_reply(struct rpc_request *q, json_t *result_stolen)
{
	json_t *msg;

	if (q->rpc != NULL && q->id != NULL) {
		msg = json_pack("{s:s, s:O, s:O}", "jsonrpc", "2.0", "id", q->id, "result", result_stolen);
		if (channel_send(q->rpc->channel, msg) == -EMSGSIZE)
			send_error(q->rpc, q->id, RPC_LIMIT, "the reply is above 1 MiB: ask for fewer rows",
				NULL);
		json_decref(msg);
	}
	json_decref(result_stolen);
	free_request(q);
}

void
rpc_fail(struct rpc_request *q, int code, json_t *data_stolen, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (q->rpc != NULL && q->id != NULL)
		send_error(q->rpc, q->id, code, text, data_stolen);
	else
		json_decref(data_stolen);
	free_request(q);
}

struct channel *
rpc_request_channel(const struct rpc_request *q)
{
	return q->rpc != NULL ? q->rpc->channel : NULL;
}

/* ---- incoming ---- */

/* Why it is no request, or NULL. */
static const char *
request_fault(const json_t *msg)
{
	const json_t *id = json_object_get(msg, "id");
	const char *version = json_string_value(json_object_get(msg, "jsonrpc"));

	if (version == NULL || strcmp(version, "2.0") != 0)
		return "\"jsonrpc\" must be \"2.0\"";
	if (!json_is_string(json_object_get(msg, "method")))
		return "\"method\" must be a string";
	if (id != NULL && !json_is_string(id) && !json_is_integer(id))
		return "\"id\" must be a string or a whole number";
	if (json_object_get(msg, "result") != NULL || json_object_get(msg, "error") != NULL)
		return "a request and a reply at once";
	return NULL;
}

static void
take_request(struct rpc *r, json_t *msg)
{
	json_t *id = json_object_get(msg, "id"), *params = json_object_get(msg, "params");
	const char *fault = request_fault(msg);
	struct rpc_request *q;

	if (fault != NULL) {
		send_error(r, json_is_string(id) || json_is_integer(id) ? id : NULL, RPC_INVALID_REQUEST,
			fault, NULL);
		return;
	}
	if (params != NULL && !json_is_object(params)) {
		if (id != NULL)
			send_error(r, id, RPC_INVALID_PARAMS, "\"params\" must be an object", NULL);
		return;
	}
	q = calloc(1, sizeof(*q));
	if (q == NULL) {
		if (id != NULL)
			send_error(r, id, RPC_INTERNAL, "out of memory", NULL);
		return;
	}
	*q = (struct rpc_request){.rpc = r, .id = json_incref(id), .len = channel_message_len(r->channel)};
	add_request(r, q);
	params = params != NULL ? json_incref(params) : json_object();
	r->handler(r->arg, q, json_string_value(json_object_get(msg, "method")), params);
	json_decref(params);
}

/* A reply that nobody asked for, or a malformed one, is dropped: an answer would only start a quarrel. */
static void
take_reply(struct rpc *r, json_t *msg)
{
	json_t *result = json_object_get(msg, "result"), *error = json_object_get(msg, "error");
	json_t *id = json_object_get(msg, "id"), *code = json_object_get(error, "code");
	struct call *call;

	if (!json_is_integer(id) || (result != NULL) == (error != NULL))
		return;
	if (error != NULL && (!json_is_integer(code) || json_integer_value(code) == 0 ||
				     json_integer_value(code) != (int)json_integer_value(code)))
		return;
	TAILQ_FOREACH (call, &r->calls, link) {
		if (call->id != json_integer_value(id))
			continue;
		if (result != NULL)
			end_call(r, call, 0, result);
		else
			end_call(r, call, (int)json_integer_value(code), error);
		return;
	}
}

void
rpc_message(struct rpc *r, json_t *msg)
{
	if (msg == NULL)
		send_error(r, NULL, RPC_PARSE,
			"not JSON: UTF-8, no NUL, no duplicate members, at most 16 levels", NULL);
	else if (json_is_array(msg))
		send_error(
			r, NULL, RPC_INVALID_REQUEST, "no batches: send a request each, or txn.apply", NULL);
	else if (!json_is_object(msg))
		send_error(r, NULL, RPC_INVALID_REQUEST, "a request is an object", NULL);
	else if (json_object_get(msg, "method") == NULL &&
		 (json_object_get(msg, "result") != NULL || json_object_get(msg, "error") != NULL))
		take_reply(r, msg);
	else
		take_request(r, msg);
}

/* ---- outgoing ---- */

static int
send_request(struct rpc *r, json_int_t id, const char *method, json_t *params_stolen)
{
	json_t *msg =
		json_pack("{s:s, s:s, s:o*}", "jsonrpc", "2.0", "method", method, "params", params_stolen);
	int rc;

	if (id != 0)
		json_object_set_new(msg, "id", json_integer(id));
	rc = r->channel != NULL ? channel_send(r->channel, msg) : -ENOTCONN;
	json_decref(msg);
	return rc;
}

static int
send_text(struct rpc *r, json_int_t id, const char *method, const struct buf *params)
{
	char head[128], tail[48];
	int n = snprintf(head, sizeof(head), "{\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"params\":", method);
	int m = snprintf(tail, sizeof(tail), ",\"id\":%" JSON_INTEGER_FORMAT "}", id);
	struct buf b;
	int rc;

	if (r->channel == NULL)
		return -ENOTCONN;
	buf_init(&b, 0);
	rc = buf_append(&b, head, (size_t)n);
	rc = rc ? rc : buf_append(&b, buf_head(params), buf_len(params));
	rc = rc ? rc : buf_append(&b, tail, (size_t)m);
	rc = rc ? rc : channel_send_text(r->channel, (const char *)buf_head(&b), buf_len(&b));
	buf_fini(&b);
	return rc;
}

static struct call *
call_new(struct rpc *r, void (*done)(void *arg, int code, json_t *result), void *arg)
{
	struct call *call = calloc(1, sizeof(*call));

	if (call != NULL)
		*call = (struct call){.id = ++r->last_id, .done = done, .arg = arg};
	return call;
}

/* It waits for its reply, or was not sent. */
static int
call_sent(struct rpc *r, struct call *call, int rc)
{
	if (rc != 0)
		free(call);
	else
		TAILQ_INSERT_TAIL(&r->calls, call, link);
	return rc;
}

int
rpc_call(struct rpc *r, const char *method, json_t *params_stolen,
	void (*done)(void *arg, int code, json_t *result), void *arg)
{
	struct call *call = call_new(r, done, arg);

	if (call == NULL) {
		json_decref(params_stolen);
		return -ENOMEM;
	}
	return call_sent(r, call, send_request(r, call->id, method, params_stolen));
}

int
rpc_call_text(struct rpc *r, const char *method, const struct buf *params,
	void (*done)(void *arg, int code, json_t *result), void *arg)
{
	struct call *call = call_new(r, done, arg);

	return call == NULL ? -ENOMEM : call_sent(r, call, send_text(r, call->id, method, params));
}

int
rpc_notify(struct rpc *r, const char *method, json_t *params_stolen)
{
	return send_request(r, 0, method, params_stolen);
}
