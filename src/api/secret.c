/* SPDX-License-Identifier: BSD-3-Clause */
#include "secret.h"

#include "json_pool.h"

#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void
no_random(void)
{
	static const char text[] = "libsodium: no random numbers from the kernel, or misused: ending\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		abort();
	_exit(1);
}

int
secret_start(void)
{
	sodium_set_misuse_handler(no_random);
	return sodium_init() < 0 ? -EIO : 0;
}

/* libsodium puts the block at the end of its pages, behind a canary of 16 bytes. */
static void
wipe_on_fork(uint8_t *p, size_t n)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = ((uintptr_t)p - 16) & ~(page - 1);

	madvise((void *)start, (uintptr_t)p + n - start, MADV_WIPEONFORK);
}

void *
secret_new(size_t n)
{
	size_t aligned = (n + 15) & ~(size_t)15;
	uint8_t *p = sodium_init() >= 0 ? sodium_malloc(aligned) : NULL;

	if (p == NULL)
		return NULL;
	wipe_on_fork(p, aligned);
	memset(p, 0, aligned);
	return p;
}

void
secret_free(void *p)
{
	sodium_free(p);
}

void
secret_wipe_free(void *p, size_t n)
{
	if (p != NULL)
		sodium_memzero(p, n);
	free(p);
}

static void
json_wipe_free(void *p)
{
	secret_wipe_free(p, p != NULL ? malloc_usable_size(p) : 0);
}

static unsigned int texts;

void
secret_json_begin(void)
{
	if (texts++ == 0)
		json_set_alloc_funcs(json_pool_get, json_wipe_free);
}

void
secret_json_end(void)
{
	if (--texts == 0)
		json_set_alloc_funcs(json_pool_get, json_pool_put);
}
