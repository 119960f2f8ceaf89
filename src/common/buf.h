/* SPDX-License-Identifier: BSD-3-Clause */
/* buf.h - a growable byte buffer with a hard limit, read from the front.
 *
 *   data[head .. tail) is what it holds. Append at the tail, consume from the head.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t head, tail, cap;
	size_t limit; /* bytes it may ever hold at once; 0 = no limit */
};

void buf_init(struct buf *b, size_t limit);
void buf_fini(struct buf *b); /* wipes what it held */

static inline size_t
buf_len(const struct buf *b)
{
	return b->tail - b->head;
}

/* NULL where nothing was ever in it. */
static inline uint8_t *
buf_head(const struct buf *b)
{
	return b->data != NULL ? b->data + b->head : NULL;
}

/* 0, -ENOSPC above the limit, -ENOMEM; on failure nothing was appended. */
int buf_append(struct buf *b, const void *p, size_t n);
/* Makes room for n bytes and returns where they go, or NULL; buf_commit() takes what was written. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
/* Drops n bytes from the front; n must not exceed buf_len(). */
void buf_consume(struct buf *b, size_t n);
