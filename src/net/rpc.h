/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc.h - JSON-RPC 2.0 requests and replies over a channel: building, checking and matching. No batches. */
#pragma once

#include "channel.h"

#include <common/buf.h>

struct rpc;	    /* one per channel: outstanding calls and the handler of incoming ones */
struct rpc_request; /* an incoming call that waits for its reply */

/* Handles one incoming request. Must end in exactly one rpc_reply() or rpc_fail(), now or later; a
 * notification (no id) takes them and sends nothing. `params` is an object, borrowed during the call. */
typedef void (*rpc_handler)(void *arg, struct rpc_request *r, const char *method, json_t *params);

struct rpc *rpc_new(struct channel *c, rpc_handler handler, void *arg);
/* Fails every outstanding call with -ECONNRESET; pending rpc_request objects stay valid and reply to nobody.
 */
void rpc_free(struct rpc *r);
/* What channel_ops.message is given, NULL included. Of requests at most 1,024, or 4 MiB of their texts, wait for their
 * replies: then the channel is paused. Malformed messages earn an error reply per JSON-RPC 2.0.
 */
void rpc_message(struct rpc *r, json_t *msg);

/* 0, or what channel_send() refused (then `done` is not called). done(arg, 0, result) or done(arg, code,
 * error object): code is the JSON-RPC error's, or -errno for a lost channel. */
int rpc_call(struct rpc *r, const char *method, json_t *params_stolen,
	void (*done)(void *arg, int code, json_t *result), void *arg);
/* The same with parameters that are JSON text already: an object, of which nothing is checked. */
int rpc_call_text(struct rpc *r, const char *method, const struct buf *params,
	void (*done)(void *arg, int code, json_t *result), void *arg);
int rpc_notify(struct rpc *r, const char *method, json_t *params_stolen);

void rpc_reply(struct rpc_request *r, json_t *result_stolen);
void rpc_fail(struct rpc_request *r, int code, json_t *data_stolen, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
struct channel *rpc_request_channel(const struct rpc_request *r); /* NULL when it is gone */
