/* SPDX-License-Identifier: BSD-3-Clause */
/* session.h - runs commands on one router and prints what it says. */
#pragma once

#include "client.h"
#include "grammar.h"

enum { /* exit codes */
	DONE = 0,
	REFUSED = 1, /* the router said no */
	USAGE = 2,   /* not a command; nothing was sent */
	NO_ROUTER = 3,
};

struct session {
	struct client client;
	const char *socket;
	bool json;
	FILE *out, *err;
};

/* One command: an exit code. Connects when it is not connected. `words` may hold --json anywhere. */
int session_run(struct session *s, const char *const *words, size_t n);
/* ---- for watch.c and follow.c: one call; what to print when it failed or was refused, an exit code ---- */
int session_call(struct session *s, const char *method, json_t *params, json_t **reply, struct err *e);
int session_fail(struct session *s, const struct err *e);
int session_refuse(struct session *s, const json_t *reply);
/* The router's name, for the prompt; false with the reason when it does not answer. */
bool session_name(struct session *s, char *name, size_t size, struct err *e);
/* What may follow `words`, for people. */
void session_help(const char *const *words, size_t n, FILE *out);
