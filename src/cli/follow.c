/* SPDX-License-Identifier: BSD-3-Clause */
#include "follow.h"
#include "wait.h"

#include <api/event_text.h>
#include <errno.h>
#include <string.h>

static void
print_line(struct session *s, const json_t *v)
{
	if (s->json)
		json_dumpf(v, s->out, JSON_COMPACT);
	else
		event_print(v, s->out);
	fputc('\n', s->out);
}

static void
print_resync(struct session *s, const json_t *params)
{
	json_t *v;

	if (!s->json) {
		fprintf(s->err, "nearway: events are missing here: %s\n",
			json_string_value(json_object_get(params, "resync")));
		return;
	}
	v = json_pack("{s:O, s:O*}", "resync", json_object_get(params, "resync"), "cursor",
		json_object_get(params, "cursor"));
	print_line(s, v);
	json_decref(v);
}

/* `params` of the reply or of a notification; keeps the cursor. */
static int
take(struct session *s, const json_t *params, char cursor[64])
{
	const char *at = json_string_value(json_object_get(params, "cursor"));
	json_t *e;
	size_t i;

	if (at != NULL)
		snprintf(cursor, 64, "%s", at);
	if (json_is_string(json_object_get(params, "resync")))
		print_resync(s, params);
	json_array_foreach(json_object_get(params, "events"), i, e) print_line(s, e);
	if (fflush(s->out) == 0)
		return DONE;
	fprintf(s->err, "nearway: output: %s\n", strerror(errno));
	return NO_ROUTER;
}

/* Until the connection ends or Ctrl-C comes. */
static int
follow(struct session *s, char cursor[64])
{
	int rc = DONE;

	while (rc == DONE) {
		json_t *msg = NULL;
		struct err e;

		if (client_next(&s->client, &msg, &e) < 0)
			return e.code == -EINTR ? DONE : session_fail(s, &e);
		rc = take(s, json_object_get(msg, "params"), cursor);
		json_decref(msg);
	}
	return rc;
}

static int
subscribe(struct session *s, const struct command *c)
{
	char cursor[64] = "";
	json_t *reply = NULL;
	struct err e;
	int rc;

	if (session_call(s, c->method->name, c->params, &reply, &e) < 0)
		return e.code == -EINTR ? DONE : session_fail(s, &e);
	if (json_object_get(reply, "error") != NULL)
		rc = session_refuse(s, reply);
	else
		rc = take(s, json_object_get(reply, "result"), cursor);
	json_decref(reply);
	if (rc == DONE)
		rc = follow(s, cursor);
	if (cursor[0] != '\0')
		fprintf(s->err, "nearway: to go on from here: events after %s\n", cursor);
	return rc;
}

int
follow_run(struct session *s, const struct command *c)
{
	bool own = s->client.interrupt < 0;
	int rc;

	if (own)
		s->client.interrupt = wait_open_interrupt();
	rc = subscribe(s, c);
	client_close(&s->client); /* tells the router, should it go on */
	if (own)
		wait_close_interrupt(&s->client.interrupt);
	return rc;
}
