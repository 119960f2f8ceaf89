/* SPDX-License-Identifier: BSD-3-Clause */
#include "gate.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <string.h>

void
gate_init(struct gate *g, const uint8_t key[GATE_KEY])
{
	*g = (struct gate){0};
	memcpy(g->key, key, GATE_KEY);
}

#define GATE_ADDRESS_MAX 64

/* The text without the port; of an IPv6 address its first 64 bits. */
static void
address_of(const char *from, uint8_t who[GATE_ADDRESS_MAX])
{
	const char *colon = strrchr(from, ':');
	size_t len = colon != NULL ? (size_t)(colon - from) : strlen(from);
	struct in6_addr a;
	char text[GATE_ADDRESS_MAX] = "";

	if (len >= sizeof(text))
		len = sizeof(text) - 1;
	memcpy(text, from, len);
	if (text[0] != '[') {
		memcpy(who, text, len);
		return;
	}
	text[strcspn(text, "%]")] = '\0';
	if (inet_pton(AF_INET6, text + 1, &a) == 1)
		memcpy(who, a.s6_addr, 8);
}

static struct gate_bucket *
bucket_of(struct gate *g, const char *from)
{
	uint8_t who[GATE_ADDRESS_MAX] = {0}, hash[crypto_shorthash_BYTES];
	uint64_t n;

	address_of(from, who);
	crypto_shorthash(hash, who, sizeof(who), g->key);
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
	struct gate_bucket *all = &g->all[one->known_until > now_ms];

	/* The address first: one that is over its own rate must not empty the bucket of all. */
	if (!has_room(one, now_ms, 1000 / GATE_RATE, GATE_BURST) ||
		!has_room(all, now_ms, 1000 / GATE_ALL_RATE, GATE_ALL_BURST)) {
		g->refused++;
		return false;
	}
	take(one, now_ms, 1000 / GATE_RATE);
	take(all, now_ms, 1000 / GATE_ALL_RATE);
	return true;
}

void
gate_know(struct gate *g, uint64_t now_ms, const char *from)
{
	struct gate_bucket *one = bucket_of(g, from);

	one->known_until = now_ms + GATE_KNOWN_MS;
	one->full_at -= one->full_at < 1000 / GATE_RATE ? one->full_at : 1000 / GATE_RATE;
}
