/* SPDX-License-Identifier: BSD-3-Clause */
/* schema_diff.c - what differs in two objects of a kind. */
#include "schema.h"

#include <stdarg.h>
#include <string.h>

struct diff {
	void (*each)(void *arg, const struct difference *d);
	void *arg;
	char path[160];
};

static const void *
item_at(const struct list *l, const struct kind *k, size_t i)
{
	return (const char *)l->items + i * k->size;
}

static const struct list *
list_of(const struct field *f, const void *obj)
{
	return (const struct list *)(const void *)((const char *)obj + f->offset);
}

/* Appends to the path; how long it was before. */
static size_t go_into(struct diff *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static size_t
go_into(struct diff *d, const char *fmt, ...)
{
	size_t n = strlen(d->path);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->path + n, sizeof(d->path) - n, fmt, ap);
	va_end(ap);
	return n;
}

static void
tell(struct diff *d, const char *what, bool live, const struct kind *k, const void *item)
{
	struct difference x = {d->path, what, live, k, item};

	d->each(d->arg, &x);
}

/* ---- items by their keys ---- */

static const void *
same_keys(const struct list *l, const struct kind *k, const void *as)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct field *f = k->fields;

		while (f->name != NULL &&
			((f->flags & FIELD_KEY) == 0 || field_equal(f, item_at(l, k, i), as)))
			f++;
		if (f->name == NULL)
			return item_at(l, k, i);
	}
	return NULL;
}

/* "[r-z]" */
static size_t
go_into_item(struct diff *d, const struct kind *k, const void *item)
{
	size_t n = go_into(d, "%s", "");
	const char *sep = "[";

	for (const struct field *f = k->fields; f->name != NULL; f++) {
		json_t *v;

		if ((f->flags & FIELD_KEY) == 0)
			continue;
		v = field_write(f, item);
		if (json_is_string(v))
			go_into(d, "%s%s", sep, json_string_value(v));
		else
			go_into(d, "%s%" JSON_INTEGER_FORMAT, sep, json_integer_value(v));
		json_decref(v);
		sep = ", ";
	}
	go_into(d, "]");
	return n;
}

static void differ(struct diff *d, const struct kind *k, const void *a, const void *b, bool live);

static void
differ_by_key(struct diff *d, const struct kind *k, const struct list *a, const struct list *b)
{
	for (size_t i = 0; i < a->n; i++) {
		const void *x = item_at(a, k, i), *y = same_keys(b, k, x);
		size_t n = go_into_item(d, k, x);

		if (y == NULL)
			tell(d, "removed", true, k, x);
		else
			differ(d, k, x, y, true);
		d->path[n] = '\0';
	}
	for (size_t i = 0; i < b->n; i++) {
		const void *y = item_at(b, k, i);
		size_t n = go_into_item(d, k, y);

		if (same_keys(a, k, y) == NULL)
			tell(d, "added", true, k, y);
		d->path[n] = '\0';
	}
}

static void
differ_by_place(struct diff *d, const struct kind *k, const struct list *a, const struct list *b)
{
	if (a->n != b->n) {
		tell(d, "changed", false, NULL, NULL);
		return;
	}
	for (size_t i = 0; i < a->n; i++) {
		size_t n = go_into(d, "[%zu]", i);

		differ(d, k, item_at(a, k, i), item_at(b, k, i), false);
		d->path[n] = '\0';
	}
}

static void
differ(struct diff *d, const struct kind *k, const void *a, const void *b, bool live)
{
	for (const struct field *f = k->fields; f->name != NULL; f++) {
		bool is_live = live || (f->flags & FIELD_LIVE) != 0;
		size_t n;

		if (field_equal(f, a, b))
			continue;
		n = go_into(d, "%s%s", d->path[0] != '\0' ? "." : "", f->name);
		if (f->type == F_OBJECT)
			differ(d, f->kind, (const char *)a + f->offset, (const char *)b + f->offset, is_live);
		else if (f->type == F_LIST && is_live)
			differ_by_key(d, f->kind, list_of(f, a), list_of(f, b));
		else if (f->type == F_LIST)
			differ_by_place(d, f->kind, list_of(f, a), list_of(f, b));
		else
			tell(d, "changed", is_live, NULL, NULL);
		d->path[n] = '\0';
	}
}

void
kind_differences(const struct kind *k, const void *a, const void *b,
	void (*each)(void *arg, const struct difference *d), void *arg)
{
	struct diff d = {.each = each, .arg = arg};

	differ(&d, k, a, b, false);
}
