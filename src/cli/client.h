/* SPDX-License-Identifier: BSD-3-Clause */
/* client.h - blocking JSON-RPC 2.0 over the router's unix socket: 4-byte big-endian length and JSON text. */
#pragma once

#include <common/err.h>
#include <jansson.h>
#include <stdbool.h>

#define CLIENT_MESSAGE_MAX (1u << 20)
#define CLIENT_TIMEOUT_S   60 /* without a byte from the router */

struct client {
	int fd; /* -1 = not connected */
	long long id;
	int interrupt; /* wait.h: what ends a call that waits; -1 = nothing */
};

int client_open(struct client *c, const char *socket_path, struct err *e);
void client_close(struct client *c);
/* Waits, without an end, for what the router says of its own accord. 0 and *msg, a new reference; -EINTR for Ctrl-C; else the
 * connection is closed. */
int client_next(struct client *c, json_t **msg, struct err *e);
/* *reply: the whole answer, with "result" or "error"; new reference. 0; -EMSGSIZE: the request is too long, nothing
 * was sent; else the connection is closed and what became of the request is not known. */
int client_call(struct client *c, const char *method, json_t *params, json_t **reply, struct err *e);
