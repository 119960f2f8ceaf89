/* SPDX-License-Identifier: BSD-3-Clause */
#include "output.h"

#include <api/kinds.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- one value as one line ---- */

static void
put_text(const char *s, FILE *out)
{
	if (*s == '\0')
		s = "-";
	for (; *s != '\0'; s++)
		fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, out);
}

static void put_value(const json_t *v, FILE *out);

/* Two members are a pair, "10.0.0.5=203.0.113.70"; more are "key=value key=value". */
static void
put_object(const json_t *v, FILE *out)
{
	bool pair = json_object_size(v) <= 2;
	bool first = true;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)v, key, value)
	{
		if (!first)
			fputc(pair ? '=' : ' ', out);
		if (!pair) {
			put_text(key, out);
			fputc('=', out);
		}
		put_value(value, out);
		first = false;
	}
	if (first)
		fputc('-', out);
}

static void
put_array(const json_t *v, FILE *out)
{
	size_t i;
	json_t *item;

	if (json_array_size(v) == 0)
		fputc('-', out);
	json_array_foreach(v, i, item)
	{
		if (i > 0)
			fputs(json_is_object(item) && json_object_size(item) > 2 ? "; " : ",", out);
		put_value(item, out);
	}
}

static void
put_value(const json_t *v, FILE *out)
{
	if (v == NULL || json_is_null(v))
		fputc('-', out);
	else if (json_is_string(v))
		put_text(json_string_value(v), out);
	else if (json_is_integer(v))
		fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_real(v))
		fprintf(out, "%g", json_real_value(v));
	else if (json_is_boolean(v))
		fputs(json_is_true(v) ? "on" : "off", out);
	else if (json_is_array(v))
		put_array(v, out);
	else
		put_object(v, out);
}

static char *
value_text(const json_t *v)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		abort();
	put_value(v, out);
	if (fclose(out) != 0)
		abort();
	return text;
}

/* Characters, not bytes. */
static size_t
text_width(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* ---- tables ---- */

struct table {
	json_t *columns; /* their names as keys, in order */
	size_t n;
	size_t *width; /* by that order */
	bool *number;  /* right-aligned */
};

static void
table_columns(struct table *t, const json_t *rows)
{
	size_t i;
	json_t *row;

	t->columns = json_object();
	json_array_foreach(rows, i, row)
	{
		const char *key;
		json_t *v;

		json_object_foreach(row, key, v) if (json_object_get(t->columns, key) == NULL)
			json_object_set_new(t->columns, key, json_null());
	}
	t->n = json_object_size(t->columns);
	t->width = calloc(t->n + 1, sizeof(*t->width));
	t->number = calloc(t->n + 1, sizeof(*t->number));
	if (t->width == NULL || t->number == NULL)
		abort();
}

static void
table_measure(struct table *t, const json_t *rows)
{
	const char *key;
	json_t *unused;
	size_t c = 0;

	json_object_foreach(t->columns, key, unused)
	{
		size_t i;
		json_t *row;

		t->width[c] = text_width(key);
		t->number[c] = true;
		json_array_foreach(rows, i, row)
		{
			const json_t *v = json_object_get(row, key);
			char *text = value_text(v);

			if (text_width(text) > t->width[c])
				t->width[c] = text_width(text);
			if (v != NULL && !json_is_number(v) && !json_is_null(v))
				t->number[c] = false;
			free(text);
		}
		c++;
	}
}

static void
put_cell(const struct table *t, size_t c, const char *text, FILE *out)
{
	int pad = (int)(t->width[c] - text_width(text));

	if (c > 0)
		fputs("  ", out);
	if (t->number[c])
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, c + 1 < t->n ? pad : 0, "");
}

static void
put_indent(int depth, FILE *out)
{
	fprintf(out, "%*s", depth * 2, "");
}

static void
table_print(const struct table *t, const json_t *row, int depth, FILE *out)
{
	const char *key;
	json_t *unused;
	size_t c = 0;

	put_indent(depth, out);
	json_object_foreach(t->columns, key, unused)
	{
		char *text = row != NULL ? value_text(json_object_get(row, key)) : strdup(key);

		put_cell(t, c++, text, out);
		free(text);
	}
	fputc('\n', out);
}

static void
put_rows(const json_t *rows, int depth, FILE *out)
{
	struct table t;
	size_t i;
	json_t *row;

	if (json_array_size(rows) == 0) {
		put_indent(depth, out);
		fputs("none\n", out);
		return;
	}
	table_columns(&t, rows);
	table_measure(&t, rows);
	table_print(&t, NULL, depth, out);
	json_array_foreach(rows, i, row) table_print(&t, row, depth, out);
	json_decref(t.columns);
	free(t.width);
	free(t.number);
}

/* ---- objects ---- */

static bool
is_rows(const json_t *v)
{
	size_t i;
	json_t *item;

	json_array_foreach(v, i, item) if (!json_is_object(item)) return false;
	return json_array_size(v) > 0;
}

static void
put_lines(const json_t *object, int depth, FILE *out)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)object, key, v)
	{
		bool nested = json_is_object(v) && json_object_size(v) > 0;

		put_indent(depth, out);
		put_text(key, out);
		fputs(nested || is_rows(v) ? ":\n" : ": ", out);
		if (nested) {
			put_lines(v, depth + 1, out);
		} else if (is_rows(v)) {
			put_rows(v, depth + 1, out);
		} else {
			put_value(v, out);
			fputc('\n', out);
		}
	}
}

/* What stands beside the rows of a listing. */
static void
put_beside(const json_t *result, FILE *out)
{
	json_t *rest = json_copy((json_t *)(uintptr_t)result);

	json_object_del(rest, "rows");
	json_object_del(rest, "next");
	put_lines(rest, 0, out);
	json_decref(rest);
}

/* ---- durations: milliseconds on the wire, "90m" for people ---- */

static bool
is_duration(const char *key, const json_t *v)
{
	const struct field *f = kind_field(&kind_vm_drain, key);

	return f != NULL && f->type == F_DURATION && json_is_integer(v) && json_integer_value(v) >= 0;
}

static void
durations_to_text(json_t *v)
{
	const char *key;
	char text[32];
	json_t *x;
	size_t i;

	json_object_foreach(v, key, x)
	{
		if (is_duration(key, x))
			json_object_set_new(
				v, key, json_string(duration_to_text((uint64_t)json_integer_value(x), text)));
		else
			durations_to_text(x);
	}
	json_array_foreach(v, i, x) durations_to_text(x);
}

static void
put_result(const json_t *result, FILE *out)
{
	const json_t *rows = json_object_get(result, "rows");

	if (json_is_array(rows) && (is_rows(rows) || json_array_size(rows) == 0)) {
		put_beside(result, out);
		put_rows(rows, 0, out);
	} else if (json_is_object(result)) {
		put_lines(result, 0, out);
	} else {
		put_value(result, out);
		fputc('\n', out);
	}
}

void
output_text(const json_t *result, FILE *out)
{
	json_t *copy = json_deep_copy(result);

	durations_to_text(copy);
	put_result(copy, out);
	json_decref(copy);
}

const char *
text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

static void
put_finding(const json_t *row, FILE *out)
{
	const char *advice = text_of(row, "advice");

	fprintf(out, "%-8.8s ", text_of(row, "verdict"));
	put_text(text_of(row, "check"), out);
	fputc(' ', out);
	put_text(text_of(row, "of"), out);
	fputs(": ", out);
	put_text(text_of(row, "found"), out);
	fputc('\n', out);
	if (advice[0] == '\0')
		return;
	fprintf(out, "%9s", "");
	put_text(advice, out);
	fputc('\n', out);
}

void
output_findings(const json_t *result, FILE *out)
{
	size_t i;
	json_t *row;

	json_array_foreach(json_object_get(result, "rows"), i, row) put_finding(row, out);
}

void
output_json(const json_t *result, FILE *out)
{
	json_dumpf(result, out, JSON_INDENT(2) | JSON_ENCODE_ANY);
	fputc('\n', out);
}

void
output_error(const json_t *error, FILE *out)
{
	const char *message = json_string_value(json_object_get(error, "message"));
	const json_t *data = json_object_get(error, "data");

	put_text(message != NULL ? message : "the router refused without a reason", out);
	fputc('\n', out);
	if (json_is_object(data))
		put_lines(data, 1, out);
}
