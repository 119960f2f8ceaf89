/* SPDX-License-Identifier: BSD-3-Clause */
#include "histogram.h"

/* Below 16 each value has its bucket, above that each power of two has sixteen. */
static unsigned int
bucket(uint64_t value)
{
	unsigned int power;

	if (value < 16)
		return (unsigned int)value;
	power = 63u - (unsigned int)__builtin_clzll(value);
	if (power >= HISTOGRAM_BITS)
		return HISTOGRAM_BUCKETS - 1;
	return 16 * (power - 3) + ((value >> (power - 4)) & 15);
}

/* The largest value in it. */
static uint64_t
top(unsigned int bucket)
{
	unsigned int shift = bucket / 16 - 1;

	return bucket < 16 ? bucket : ((UINT64_C(17) + bucket % 16) << shift) - 1;
}

void
histogram_add(struct histogram *h, uint64_t value)
{
	h->count[bucket(value)]++;
	h->n++;
	if (value > h->max)
		h->max = value;
}

uint64_t
histogram_permille(const struct histogram *h, unsigned int permille)
{
	uint64_t rank = (h->n * permille + 999) / 1000, seen = 0;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->count[i];
		if (seen >= rank && seen > 0)
			return top(i) < h->max ? top(i) : h->max;
	}
	return h->max;
}
