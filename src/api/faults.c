/* SPDX-License-Identifier: BSD-3-Clause */
#include "schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void
faults_init(struct faults *f)
{
	*f = (struct faults){0};
}

void
faults_fini(struct faults *f)
{
	free(f->items);
	*f = (struct faults){0};
}

/* Text goes to terminals, logs and JSON: no control characters, no half UTF-8 sequence at the end. */
static void
make_printable(char *s)
{
	size_t n = strlen(s);
	size_t start = n;

	for (char *p = s; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	while (start > 0 && n - start < 4 && ((unsigned char)s[start - 1] & 0xc0) == 0x80)
		start--;
	if (start > 0 && (unsigned char)s[start - 1] >= 0xc0) {
		unsigned char lead = (unsigned char)s[--start];
		size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

		if (n - start < need)
			s[start] = '\0';
	}
}

static struct fault *
faults_grow(struct faults *f)
{
	struct fault *items;

	if (f->n == FAULTS_MAX)
		return NULL;
	/* Doubles at each power of two. */
	if ((f->n & (f->n - 1)) == 0) {
		items = realloc(f->items, (f->n == 0 ? 1 : f->n * 2) * sizeof(*items));
		if (items == NULL)
			return NULL;
		f->items = items;
	}
	return &f->items[f->n++];
}

void
faults_add(struct faults *f, int line, int column, const char *path, const char *fmt, ...)
{
	struct fault *x = faults_grow(f);
	va_list ap;

	if (x == NULL) {
		f->dropped++;
		return;
	}
	x->line = line;
	x->column = column;
	snprintf(x->path, sizeof(x->path), "%s", path);
	va_start(ap, fmt);
	vsnprintf(x->text, sizeof(x->text), fmt, ap);
	va_end(ap);
	make_printable(x->path);
	make_printable(x->text);
}

int
faults_err(const struct faults *f, struct err *e)
{
	size_t more = f->n + f->dropped - 1;
	const struct fault *x = f->items;

	if (f->n == 0)
		return f->dropped != 0 ? err_set(e, ENOMEM, "out of memory") : 0;
	if (more == 0)
		return err_set(e, EINVAL, "%s%s%s", x->path, x->path[0] != '\0' ? ": " : "", x->text);
	return err_set(e, EINVAL, "%.159s%s%.255s (and %zu more)", x->path, x->path[0] != '\0' ? ": " : "",
		x->text, more);
}

void
faults_print(const struct faults *f, const char *file, FILE *out)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct fault *x = &f->items[i];

		fprintf(out, "%s:", file);
		if (x->line > 0)
			fprintf(out, "%d:%d:", x->line, x->column);
		fprintf(out, " %s%s%s\n", x->path, x->path[0] != '\0' ? ": " : "", x->text);
	}
	if (f->dropped > 0)
		fprintf(out, "%s: and %zu more faults\n", file, f->dropped);
}

static bool
before(const struct fault *a, const struct fault *b)
{
	return a->line != b->line ? a->line < b->line : a->column < b->column;
}

/* Insertion: stable, and there are never many. */
void
faults_sort(struct faults *f)
{
	for (size_t i = 1; i < f->n; i++) {
		struct fault x = f->items[i];
		size_t j = i;

		for (; j > 0 && before(&x, &f->items[j - 1]); j--)
			f->items[j] = f->items[j - 1];
		f->items[j] = x;
	}
}
