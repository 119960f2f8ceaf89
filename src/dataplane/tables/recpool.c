/* SPDX-License-Identifier: BSD-3-Clause */
#include "recpool.h"

#include <rte_malloc.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)	  ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define CHUNK_MIN 1024

struct chunk {
	struct chunk *next;
	struct vm_rec *recs;
	uint32_t n;
};

struct recpool {
	struct chunk *chunks;
	struct vm_rec **free; /* a stack with room for all records there are */
	uint32_t n_free, n_all;
};

static int
grow(struct recpool *p, uint32_t n)
{
	struct chunk *c = calloc(1, sizeof(*c));
	struct vm_rec **stack = realloc(p->free, (p->n_all + n) * sizeof(*stack));

	if (stack != NULL)
		p->free = stack;
	if (c == NULL || stack == NULL)
		goto fail;
	c->recs = rte_malloc("vm records", n * sizeof(*c->recs), RTE_CACHE_LINE_SIZE);
	if (c->recs == NULL)
		goto fail;
	c->n = n;
	c->next = p->chunks;
	p->chunks = c;
	p->n_all += n;
	for (uint32_t i = n; i-- > 0;) /* the stack hands them out in address order */
		recpool_put(p, &c->recs[i]);
	return 0;
fail:
	free(c);
	return -1;
}

struct recpool *
recpool_new(uint32_t records)
{
	struct recpool *p = calloc(1, sizeof(*p));

	if (p != NULL && grow(p, RTE_MAX(records, 1u)) != 0) {
		recpool_free(p);
		return NULL;
	}
	return p;
}

void
recpool_free(struct recpool *p)
{
	if (p == NULL)
		return;
	for (struct chunk *c = p->chunks, *next; c != NULL; c = next) {
		next = c->next;
		ASAN_UNPOISON_MEMORY_REGION(c->recs, c->n * sizeof(*c->recs));
		rte_free(c->recs);
		free(c);
	}
	free(p->free);
	free(p);
}

struct vm_rec *
recpool_get(struct recpool *p)
{
	struct vm_rec *rec;

	if (p->n_free == 0 && grow(p, CHUNK_MIN) != 0)
		return NULL;
	rec = p->free[--p->n_free];
	ASAN_UNPOISON_MEMORY_REGION(rec, sizeof(*rec));
	return rec;
}

void
recpool_put(struct recpool *p, struct vm_rec *rec)
{
	memset(rec, VM_REC_POISON, sizeof(*rec));
	ASAN_POISON_MEMORY_REGION(rec, sizeof(*rec));
	p->free[p->n_free++] = rec;
}
