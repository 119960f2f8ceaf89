/* SPDX-License-Identifier: BSD-3-Clause */
/* histogram.h - how often which value came, to within a sixteenth of it; in memory of a fixed size. */
#pragma once

#include <stdint.h>

#define HISTOGRAM_BITS	  40 /* larger values count as that large */
#define HISTOGRAM_BUCKETS (16 * (HISTOGRAM_BITS - 3))

struct histogram { /* zero: empty */
	uint64_t n, max;
	uint64_t count[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);
/* The value that so many of 1,000 are not above: never too small, and too large by a sixteenth at most. 0 when empty. */
uint64_t histogram_permille(const struct histogram *h, unsigned int permille);
