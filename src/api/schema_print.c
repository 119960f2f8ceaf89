/* SPDX-License-Identifier: BSD-3-Clause */
/* schema_print.c - objects as JSON text, without a tree of JSON values in between. */
#include "schema_write.h"

#include <errno.h>
#include <string.h>

static int print_object(const struct kind *k, const void *obj, struct buf *to);

static int
append(struct buf *to, const char *text)
{
	return buf_append(to, text, strlen(text));
}

static int
print_number(uint64_t n, struct buf *to)
{
	json_int_t v = (json_int_t)n; /* as kind_write() has it */
	uint64_t left = v < 0 ? -(uint64_t)v : (uint64_t)v;
	char text[24], *p = text + sizeof(text);

	do
		*--p = (char)('0' + left % 10);
	while ((left /= 10) != 0);
	if (v < 0)
		*--p = '-';
	return buf_append(to, p, (size_t)(text + sizeof(text) - p));
}

static int
append_part(const char *text, size_t n, void *to)
{
	return buf_append(to, text, n) == 0 ? 0 : -1;
}

static int
print_json(const json_t *v, struct buf *to)
{
	return json_dump_callback(v, append_part, to, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY) == 0
		       ? 0
		       : -ENOMEM;
}

/* What needs no escape, which is nearly all, is taken as it is. */
static int
print_string(const char *s, struct buf *to)
{
	size_t n = 0;
	json_t *v;
	int rc;

	while (s[n] >= 0x20 && s[n] < 0x7f && s[n] != '"' && s[n] != '\\')
		n++;
	if (s[n] == '\0') {
		rc = buf_append(to, "\"", 1);
		rc = rc ? rc : buf_append(to, s, n);
		return rc ? rc : buf_append(to, "\"", 1);
	}
	v = json_string(s);
	rc = print_json(v, to);
	json_decref(v);
	return rc;
}

static int
print_list(const struct list *l, const struct kind *k, struct buf *to)
{
	int rc = buf_append(to, "[", 1);

	for (size_t i = 0; i < l->n && rc == 0; i++) {
		rc = i > 0 ? buf_append(to, ",", 1) : 0;
		rc = rc ? rc : print_object(k, (const char *)l->items + i * k->size, to);
	}
	return rc ? rc : buf_append(to, "]", 1);
}

static int
print_field(const struct field *f, const void *obj, struct buf *to)
{
	const void *p = (const char *)obj + f->offset;
	char text[64];

	switch (f->type) {
	case F_BOOL:
		return append(to, *(const bool *)p ? "true" : "false");
	case F_INT:
	case F_DURATION:
		return print_number(*(const uint64_t *)p, to);
	case F_JSON:
		return *(json_t *const *)p != NULL ? print_json(*(json_t *const *)p, to) : append(to, "null");
	case F_OBJECT:
		return print_object(f->kind, p, to);
	case F_LIST:
		return print_list(p, f->kind, to);
	default:
		return print_string(scalar_write(f, p, text), to);
	}
}

static int
print_object(const struct kind *k, const void *obj, struct buf *to)
{
	const char *before = "{\"";
	int rc = 0;

	for (const struct field *f = k->fields; f->name != NULL && rc == 0; f++) {
		if (field_left_out(f, obj))
			continue;
		rc = append(to, before);
		rc = rc ? rc : append(to, f->name);
		rc = rc ? rc : buf_append(to, "\":", 2);
		rc = rc ? rc : print_field(f, obj, to);
		before = ",\"";
	}
	return rc ? rc : append(to, before[0] == '{' ? "{}" : "}");
}

int
kind_print(const struct kind *k, const void *obj, struct buf *to)
{
	return print_object(k, obj, to);
}
