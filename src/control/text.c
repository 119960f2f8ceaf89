/* SPDX-License-Identifier: BSD-3-Clause */
/* text.c - JSON as text, where a tree of values would be made only to be written: rows, entries of the log, news for peers. */
#include "state.h"

#include <common/log.h>
#include <errno.h>
#include <stdarg.h>

#define ROOM 256

static void
check(int rc)
{
	if (rc == 0)
		return;
	log_error("control: no memory");
	abort(); /* as zalloc() */
}

/* How long it is; it was added if that is below `room`. */
static size_t
try_add(struct buf *b, size_t room, const char *fmt, va_list ap)
{
	char *to = (char *)buf_reserve(b, room);
	int n = to ? vsnprintf(to, room, fmt, ap) : -1;

	check(n < 0 ? -ENOMEM : 0);
	if ((size_t)n < room)
		buf_commit(b, (size_t)n);
	return (size_t)n;
}

void
text_add(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = try_add(b, ROOM, fmt, ap);
	va_end(ap);
	if (n < ROOM)
		return;
	va_start(ap, fmt);
	try_add(b, n + 1, fmt, ap);
	va_end(ap);
}

void
text_add_kind(struct buf *b, const struct kind *k, const void *obj)
{
	check(kind_print(k, obj, b));
}

void
text_add_bytes(struct buf *b, const void *p, size_t n)
{
	check(buf_append(b, p, n));
}

void
text_add_text(struct buf *b, const struct buf *from)
{
	text_add_bytes(b, buf_head(from), buf_len(from));
}

void
text_reopen(struct buf *b)
{
	b->tail--;
}

char *
text_take(struct buf *b)
{
	char *text;

	check(buf_append(b, "", 1));
	text = (char *)b->data;
	buf_init(b, 0);
	return text;
}
