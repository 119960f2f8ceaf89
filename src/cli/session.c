/* SPDX-License-Identifier: BSD-3-Clause */
#include "session.h"
#include "follow.h"
#include "output.h"
#include "stage.h"
#include "statefile.h"
#include "watch.h"

#include <api/event_text.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64

/* A router that was restarted between two commands has closed the socket. */
static bool
is_stale(const struct client *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return c->fd >= 0 && poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

int
session_call(struct session *s, const char *method, json_t *params, json_t **reply, struct err *e)
{
	if (is_stale(&s->client))
		client_close(&s->client);
	if (s->client.fd < 0) {
		int rc = client_open(&s->client, s->socket, e);

		if (rc < 0)
			return rc;
	}
	return client_call(&s->client, method, params, reply, e);
}

int
session_fail(struct session *s, const struct err *e)
{
	fprintf(s->err, "nearway: %s\n", e->text);
	return e->code == -EMSGSIZE ? USAGE : NO_ROUTER;
}

int
session_refuse(struct session *s, const json_t *reply)
{
	const json_t *error = json_object_get(reply, "error");

	if (s->json)
		output_json(error, s->out);
	fputs("nearway: ", s->err);
	output_error(error, s->err);
	return REFUSED;
}

/* Appends this page to those before; gives back the cursor of the next one, or NULL. */
static const char *
take_page(json_t **whole, json_t *page)
{
	json_t *rows = json_object_get(*whole, "rows");

	if (*whole == NULL)
		*whole = json_incref(page);
	else
		json_array_extend(rows, json_object_get(page, "rows"));
	return json_string_value(json_object_get(page, "next"));
}

static void
print_log(const json_t *whole, FILE *out)
{
	size_t i;
	json_t *entry;

	json_array_foreach(json_object_get(whole, "rows"), i, entry)
	{
		log_entry_print(entry, out);
		fputc('\n', out);
	}
}

static void
print_stories(const json_t *whole, FILE *out)
{
	size_t i;
	json_t *story;

	json_array_foreach(json_object_get(whole, "rows"), i, story) watch_print(story, out);
}

static int
print_result(struct session *s, const struct command *c, json_t *whole)
{
	const char *next = json_string_value(json_object_get(whole, "next"));

	if (!c->one_page)
		json_object_del(whole, "next");
	if (s->json)
		output_json(whole, s->out);
	else if (strcmp(c->method->name, "explain") == 0)
		print_stories(whole, s->out);
	else if (strcmp(c->method->name, "show.log") == 0)
		print_log(whole, s->out);
	else if (strcmp(c->method->name, "metrics") == 0)
		fputs(text_of(whole, "text"), s->out);
	else if (strcmp(c->method->name, "doctor") == 0)
		output_findings(whole, s->out);
	else
		output_text(whole, s->out);
	if (c->one_page && next != NULL && !s->json)
		fprintf(s->err, "nearway: there is more: cursor %s\n", next);
	return DONE;
}

/* Sets the cursor for the next page; false when the listing is complete or goes in circles. */
static bool
next_page(const struct command *c, const char *next)
{
	const char *last = json_string_value(json_object_get(c->params, "cursor"));

	if (next == NULL || c->one_page || kind_field(c->method->params, "cursor") == NULL)
		return false;
	if (last != NULL && strcmp(last, next) == 0)
		return false;
	return json_object_set_new(c->params, "cursor", json_string(next)) == 0;
}

/* A list of changes that does not fit into one message is staged. */
static int
call_or_stage(struct session *s, const struct command *c, json_t **reply, struct err *e)
{
	int rc = session_call(s, c->method->name, c->params, reply, e);
	json_t *changes = json_object_get(c->params, "changes"), *open, *commit;
	bool replace = strcmp(c->method->name, "state.replace") == 0;

	if (rc != -EMSGSIZE || (!replace && strcmp(c->method->name, "txn.apply") != 0))
		return rc;
	open = json_pack("{s:b}", "replace", replace);
	commit = json_copy(c->params);
	json_object_del(commit, "changes");
	rc = stage_call(s, changes, open, commit, reply, e);
	json_decref(open);
	json_decref(commit);
	return rc;
}

static int
run_command(struct session *s, const struct command *c)
{
	json_t *whole = NULL;
	json_t *reply = NULL;
	bool more = true;
	int rc = DONE;

	while (more && rc == DONE) {
		struct err e;

		more = false;
		if (call_or_stage(s, c, &reply, &e) < 0) {
			rc = session_fail(s, &e);
			break;
		}
		if (json_object_get(reply, "error") != NULL)
			rc = session_refuse(s, reply);
		else
			more = next_page(c, take_page(&whole, json_object_get(reply, "result")));
		json_decref(reply);
	}
	if (rc == DONE)
		rc = print_result(s, c, whole);
	json_decref(whole);
	return rc;
}

static void
print_faults(const struct faults *f, FILE *err)
{
	for (size_t i = 0; i < f->n; i++)
		fprintf(err, "nearway: %s%s%s\n", f->items[i].path, f->items[i].path[0] != '\0' ? ": " : "",
			f->items[i].text);
}

static bool
is_watch(const struct method *m)
{
	return strcmp(m->name, "trace") == 0 || strcmp(m->name, "capture") == 0;
}

static int
run_words(struct session *s, const char *const *words, size_t n)
{
	struct faults f;
	struct command c;
	int rc = USAGE;

	if (n > 0 && strcmp(words[0], "help") == 0) {
		session_help(words + 1, n - 1, s->out);
		return DONE;
	}
	faults_init(&f);
	if (grammar_parse(words, n, &c, &f) != 0)
		print_faults(&f, s->err);
	else if (strcmp(c.method->name, "state.export") == 0 && !c.one_page)
		rc = export_run(s, &c);
	else if (strcmp(c.method->name, "state.import") == 0)
		rc = import_run(s, &c);
	else if (strcmp(c.method->name, "events") == 0)
		rc = follow_run(s, &c);
	else
		rc = is_watch(c.method) ? watch_run(s, &c) : run_command(s, &c);
	command_fini(&c);
	faults_fini(&f);
	return rc;
}

int
session_run(struct session *s, const char *const *words, size_t n)
{
	const char *kept[WORDS_MAX];
	bool json = s->json;
	size_t n_kept = 0;
	int rc;

	if (n > WORDS_MAX) {
		fprintf(s->err, "nearway: too many words\n");
		return USAGE;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], "--json") == 0)
			s->json = true;
		else
			kept[n_kept++] = words[i];
	}
	rc = run_words(s, kept, n_kept);
	s->json = json;
	return rc;
}

bool
session_name(struct session *s, char *name, size_t size, struct err *e)
{
	json_t *none = json_object();
	json_t *reply = NULL;
	const char *text = NULL;

	if (session_call(s, "show.status", none, &reply, e) == 0) {
		text = json_string_value(json_object_get(json_object_get(reply, "result"), "name"));
		snprintf(name, size, "%s", text != NULL ? text : "nearway");
		json_decref(reply);
	}
	json_decref(none);
	return reply != NULL;
}

void
session_help(const char *const *words, size_t n, FILE *out)
{
	struct choices *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return;
	grammar_choices(words, n, "", c);
	if (c->n == 0)
		fputs("  nothing fits here\n", out);
	choices_print(c, out);
	free(c);
}
