/* SPDX-License-Identifier: BSD-3-Clause */
#include "oracle.h"

#include <common/log.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
finding(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "finding: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	abort();
}

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* Without a sanitizer nobody counts, and nothing is ever too much. */
size_t
memory_held(void)
{
	return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : 0;
}

void
memory_check(size_t base, size_t max, const char *by)
{
	size_t now = memory_held();

	if (now > base + max)
		finding("%zu bytes are held by %s, at most %zu are its share", now - base, by, max);
}

static void
no_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/* ---- random of libsodium ---- */

static uint64_t stream;

static void
stream_fill(void *buf, size_t n)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < n; i++) {
		stream = stream * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		p[i] = (uint8_t)(stream >> 56);
	}
}

static uint32_t
stream_number(void)
{
	uint32_t n;

	stream_fill(&n, sizeof(n));
	return n;
}

static const char *
stream_name(void)
{
	return "fuzz";
}

static randombytes_implementation fixed_random = {
	.implementation_name = stream_name, .random = stream_number, .buf = stream_fill};

void
fuzz_random_reset(void)
{
	stream = 1;
}

void
fuzz_quiet(void)
{
	log_set_sink(no_line, NULL);
	randombytes_set_implementation(&fixed_random);
	fuzz_random_reset();
}
