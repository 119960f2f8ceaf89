/* SPDX-License-Identifier: BSD-3-Clause */
#include "json_pool.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>

#define STEP	 16
#define SMALLEST 24
#define SIZES	 12 /* up to 200 bytes: all of jansson's but long texts and large tables */

/* Of each size: of a message of 1 MiB. None under AddressSanitizer, as gcc and clang say it, which could not tell who uses what is
 * freed. */
#ifdef __has_feature
#define SANITIZED __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#define KEPT (SANITIZED ? 0 : 16384)

struct block { /* that was freed */
	struct block *next;
};

/* Of each size from SMALLEST + i * STEP on. */
static __thread struct {
	struct block *first;
	size_t n;
} pool[SIZES];

void *
json_pool_get(size_t n)
{
	size_t i = n <= SMALLEST ? 0 : (n - SMALLEST + STEP - 1) / STEP;
	struct block *b;

	if (i >= SIZES)
		return malloc(n);
	b = pool[i].first;
	if (b == NULL)
		return malloc(SMALLEST + i * STEP);
	pool[i].first = b->next;
	pool[i].n--;
	return b;
}

void
json_pool_put(void *p)
{
	size_t n = p != NULL ? malloc_usable_size(p) : 0, i = n < SMALLEST ? SIZES : (n - SMALLEST) / STEP;
	struct block *b = p;

	if (i >= SIZES || pool[i].n + 1 > KEPT) {
		free(p);
		return;
	}
	b->next = pool[i].first;
	pool[i].first = b;
	pool[i].n++;
}

void
json_pool_start(void)
{
	json_set_alloc_funcs(json_pool_get, json_pool_put);
}
