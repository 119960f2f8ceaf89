/* SPDX-License-Identifier: BSD-3-Clause */
#include "buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
buf_init(struct buf *b, size_t limit)
{
	*b = (struct buf){.limit = limit};
}

void
buf_fini(struct buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->cap);
	free(b->data);
	*b = (struct buf){.limit = b->limit};
}

uint8_t *
buf_reserve(struct buf *b, size_t n)
{
	size_t len = buf_len(b);
	size_t cap = b->cap != 0 ? b->cap : 256;
	uint8_t *p;

	if (b->limit != 0 && (n > b->limit || len > b->limit - n))
		return NULL;
	if (b->cap - b->tail >= n)
		return b->data + b->tail;
	while (cap - len < n)
		cap *= 2;
	/* A fresh block instead of realloc(): the old one may hold secrets and is wiped. */
	p = malloc(cap);
	if (p == NULL)
		return NULL;
	if (b->data != NULL) {
		memcpy(p, buf_head(b), len);
		explicit_bzero(b->data, b->cap);
		free(b->data);
	}
	b->data = p;
	b->head = 0;
	b->tail = len;
	b->cap = cap;
	return p + len;
}

void
buf_commit(struct buf *b, size_t n)
{
	b->tail += n;
}

int
buf_append(struct buf *b, const void *p, size_t n)
{
	uint8_t *to;

	if (n == 0)
		return 0;
	if (b->limit != 0 && (n > b->limit || buf_len(b) > b->limit - n))
		return -ENOSPC;
	to = buf_reserve(b, n);
	if (to == NULL)
		return -ENOMEM;
	memcpy(to, p, n);
	b->tail += n;
	return 0;
}

void
buf_consume(struct buf *b, size_t n)
{
	b->head += n;
	if (b->head == b->tail)
		b->head = b->tail = 0;
}
