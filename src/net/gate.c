/* SPDX-License-Identifier: BSD-3-Clause */
#include "gate.h"

#include <sodium.h>
#include <string.h>

void
gate_init(struct gate *g, const uint8_t key[GATE_KEY])
{
	*g = (struct gate){0};
	memcpy(g->key, key, GATE_KEY);
}

static struct gate_bucket *
bucket_of(struct gate *g, const char *from)
{
	const char *colon = strrchr(from, ':');
	size_t len = colon != NULL ? (size_t)(colon - from) : strlen(from);
	uint8_t hash[crypto_shorthash_BYTES];
	uint64_t n;

	crypto_shorthash(hash, (const uint8_t *)from, len, g->key);
	memcpy(&n, hash, sizeof(n));
	return &g->one[n % GATE_BUCKETS];
}

/* Is there room for one more? `cost` is the time in which one token comes back. */
static bool
has_room(const struct gate_bucket *b, uint64_t now_ms, uint64_t cost_ms, uint64_t burst)
{
	return b->full_at <= now_ms + (burst - 1) * cost_ms;
}

static void
take(struct gate_bucket *b, uint64_t now_ms, uint64_t cost_ms)
{
	b->full_at = (b->full_at > now_ms ? b->full_at : now_ms) + cost_ms;
}

bool
gate_admit(struct gate *g, uint64_t now_ms, const char *from)
{
	struct gate_bucket *one = bucket_of(g, from);

	/* The address first: one that is over its own rate must not empty the bucket of all. */
	if (!has_room(one, now_ms, 1000 / GATE_RATE, GATE_BURST) ||
		!has_room(&g->all, now_ms, 1000 / GATE_ALL_RATE, GATE_ALL_BURST)) {
		g->refused++;
		return false;
	}
	take(one, now_ms, 1000 / GATE_RATE);
	take(&g->all, now_ms, 1000 / GATE_ALL_RATE);
	return true;
}
