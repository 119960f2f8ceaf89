/* SPDX-License-Identifier: BSD-3-Clause */
/* tabtest.h - EAL without hugepages or devices, and random numbers that repeat. For tests of tables. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "testeal.h"
#include <cmocka.h>

static inline void
start_eal(const char *name, const char *megabytes)
{
	char prefix[64];
	const char *argv[] = {name, "--no-huge", "--no-shconf", "-m", megabytes, "--no-pci", "-l", "0",
		"--log-level=error", "--file-prefix", prefix, NULL};

	snprintf(prefix, sizeof(prefix), "nwtest%d", getpid());
	if (test_eal_init((int)(sizeof(argv) / sizeof(argv[0])) - 1, (char **)(uintptr_t)argv) < 0) {
		fprintf(stderr, "EAL does not start\n");
		exit(1);
	}
}

struct rng { /* xorshift: the same everywhere, one per thread */
	uint64_t s;
};

static inline uint64_t
rng_next(struct rng *r)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return r->s * UINT64_C(0x2545f4914f6cdd1d);
}

static inline uint32_t
rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}
