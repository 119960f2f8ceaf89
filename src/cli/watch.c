/* SPDX-License-Identifier: BSD-3-Clause */
#include "watch.h"
#include "output.h"
#include "pcapng.h"
#include "wait.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MS 50 /* between two questions when nothing came */

struct watch {
	struct session *s;
	const struct command *c;
	FILE *file; /* a capture's */
	struct pcapng pcapng;
	uint8_t *data;
	size_t size;
	uint64_t n, lost;
};

/* ---- a trace ---- */

static long long
number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void
print_head(const json_t *o, FILE *out)
{
	fprintf(out, "packet %lld", number_of(o, "packet"));
	if (json_object_get(o, "made") != NULL)
		fprintf(out, ", %s", text_of(o, "made"));
	if (json_object_get(o, "of") != NULL)
		fprintf(out, " of packet %lld", number_of(o, "of"));
	if (json_object_get(o, "port") != NULL)
		fprintf(out, ", received by %s", text_of(o, "port"));
	if (json_object_get(o, "vlan") != NULL)
		fprintf(out, " vlan %lld", number_of(o, "vlan"));
	fprintf(out, ", %lld bytes", number_of(o, "length"));
	if (json_object_get(o, "time") != NULL)
		fprintf(out, ", %s", text_of(o, "time"));
	fprintf(out, "\n  %s\n", text_of(o, "frame"));
}

static void
print_step(const json_t *step, FILE *out)
{
	const json_t *decided = json_object_get(step, "decided");
	size_t i;
	json_t *said;

	fprintf(out, "    %-*s", json_array_size(decided) > 0 ? 12 : 0, text_of(step, "stage"));
	json_array_foreach(decided, i, said)
		fprintf(out, "%s%s", i > 0 ? "; " : " ", json_string_value(said));
	fputc('\n', out);
}

void
watch_print(const json_t *o, FILE *out)
{
	const char *end = text_of(o, "end");
	size_t i;
	json_t *step;

	print_head(o, out);
	json_array_foreach(json_object_get(o, "path"), i, step) print_step(step, out);
	if (strcmp(end, "sent") == 0)
		fprintf(out, "  sent by %s, %lld bytes\n  %s\n", text_of(o, "by"),
			number_of(o, "sent-length"), text_of(o, "sent"));
	else if (strcmp(end, "dropped") == 0)
		fprintf(out, "  dropped: %s (%s)\n", text_of(o, "reason"), text_of(o, "help"));
	else if (json_object_get(o, "help") != NULL)
		fprintf(out, "  %s: %s\n", end, text_of(o, "help"));
	else
		fprintf(out, "  %s\n", end);
}

static int
take_story(struct watch *w, const json_t *row)
{
	if (w->s->json) {
		json_dumpf(row, w->s->out, JSON_COMPACT);
		fputc('\n', w->s->out);
	} else {
		watch_print(row, w->s->out);
	}
	return 0;
}

/* ---- a capture ---- */

static int
nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Into w->data; the number of bytes, or -EPROTO. */
static ssize_t
take_hex(struct watch *w, const char *hex)
{
	size_t n = strlen(hex) / 2;

	if (n > w->size) {
		free(w->data);
		w->data = malloc(n);
		w->size = w->data != NULL ? n : 0;
	}
	if (n > w->size)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (nibble(hex[2 * i]) < 0 || nibble(hex[2 * i + 1]) < 0)
			return -EPROTO;
		w->data[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
	}
	return (ssize_t)n;
}

static int
take_packet(struct watch *w, const json_t *row)
{
	ssize_t n = take_hex(w, text_of(row, "data"));
	const char *at = text_of(row, "at");
	char comment[320];
	struct pcapng_packet k = {.port = text_of(row, "port"),
		.way = strcmp(at, "tx") == 0 ? PCAPNG_OUT : PCAPNG_IN,
		.time_ns = (uint64_t)number_of(row, "time-ns"),
		.data = w->data,
		.len = (uint32_t)n,
		.wire_len = (uint32_t)number_of(row, "length")};

	if (n < 0)
		return (int)n;
	if (strcmp(at, "drop") == 0) {
		snprintf(comment, sizeof(comment), "dropped: %s\n%s", text_of(row, "reason"),
			text_of(row, "help"));
		k.comment = comment;
	}
	return pcapng_add(&w->pcapng, &k);
}

static int
open_file(struct watch *w)
{
	const char *name = w->c->file;
	int rc;

	w->file = strcmp(name, "-") == 0 ? w->s->out : fopen(name, "we");
	rc = w->file != NULL ? pcapng_begin(&w->pcapng, w->file) : -errno;
	if (rc == 0 && fflush(w->file) != 0)
		rc = -errno;
	if (rc == 0)
		return DONE;
	fprintf(w->s->err, "nearway: %s: %s\n", name, strerror(-rc));
	return USAGE;
}

static int
close_file(struct watch *w, int rc)
{
	if (w->file == NULL)
		return rc;
	if (w->file != w->s->out && fclose(w->file) != 0 && rc == DONE) {
		fprintf(w->s->err, "nearway: %s: %s\n", w->c->file, strerror(errno));
		return NO_ROUTER;
	}
	fprintf(w->s->err, "nearway: %llu packets in %s\n", (unsigned long long)w->n, w->c->file);
	return rc;
}

/* ---- both ---- */

static int
take_rows(struct watch *w, const json_t *rows)
{
	FILE *out = w->file != NULL ? w->file : w->s->out;
	size_t i;
	json_t *row;
	int rc = 0;

	json_array_foreach(rows, i, row)
	{
		rc = w->file != NULL ? take_packet(w, row) : take_story(w, row);
		if (rc != 0)
			break;
		w->n++;
	}
	if (rc == 0 && fflush(out) != 0)
		rc = -errno;
	if (rc == 0)
		return DONE;
	fprintf(w->s->err, "nearway: %s: %s\n", w->file != NULL ? w->c->file : "output", strerror(-rc));
	return NO_ROUTER;
}

/* One question. *more: there will be others. */
static int
ask(struct watch *w, bool *more)
{
	json_t *reply = NULL, *result, *next;
	struct err e;
	int rc;

	*more = false;
	if (session_call(w->s, w->c->method->name, w->c->params, &reply, &e) < 0)
		return e.code == -EINTR ? DONE : session_fail(w->s, &e);
	if (json_object_get(reply, "error") != NULL) {
		rc = session_refuse(w->s, reply);
	} else {
		result = json_object_get(reply, "result");
		next = json_object_get(result, "next");
		w->lost = (uint64_t)number_of(result, "lost");
		rc = take_rows(w, json_object_get(result, "rows"));
		*more = rc == DONE && next != NULL && json_object_set(w->c->params, "cursor", next) == 0;
		if (*more && json_array_size(json_object_get(result, "rows")) == 0)
			*more = wait_for(-1, 0, w->s->client.interrupt, PAUSE_MS) == 0 || errno == ETIMEDOUT;
	}
	json_decref(reply);
	return rc;
}

static int
ask_all(struct watch *w)
{
	bool more = true;
	int rc = DONE;

	while (more && rc == DONE)
		rc = ask(w, &more);
	client_close(&w->s->client); /* tells the router, should it go on */
	if (w->lost != 0)
		fprintf(w->s->err, "nearway: %llu records were lost: they came faster than they were read\n",
			(unsigned long long)w->lost);
	return rc;
}

int
watch_run(struct session *s, const struct command *c)
{
	struct watch w = {.s = s, .c = c};
	bool own = s->client.interrupt < 0;
	int rc = DONE;

	if (own)
		s->client.interrupt = wait_open_interrupt();
	if (c->file != NULL)
		rc = open_file(&w);
	if (rc == DONE)
		rc = close_file(&w, ask_all(&w));
	if (own)
		wait_close_interrupt(&s->client.interrupt);
	free(w.data);
	return rc;
}
