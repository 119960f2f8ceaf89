/* SPDX-License-Identifier: BSD-3-Clause */
#include "chain.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD	 "{\"hash\":\""
#define HEAD_LEN (sizeof(HEAD) - 1)
#define BODY_AT	 (HEAD_LEN + 2 * CHAIN_HASH + 2) /* behind the comma */

const char *
chain_hash_text(const uint8_t hash[CHAIN_HASH], char text[CHAIN_HASH_TEXT])
{
	return sodium_bin2hex(text, CHAIN_HASH_TEXT, hash, CHAIN_HASH);
}

bool
chain_hash_parse(const char *text, uint8_t hash[CHAIN_HASH])
{
	size_t n;

	return sodium_hex2bin(hash, CHAIN_HASH, text, strnlen(text, 2 * CHAIN_HASH), NULL, &n, NULL) == 0 &&
	       n == CHAIN_HASH;
}

bool
chain_hash_of(const char *text, uint8_t hash[CHAIN_HASH])
{
	return strncmp(text, HEAD, HEAD_LEN) == 0 && chain_hash_parse(text + HEAD_LEN, hash);
}

/* body: the text behind the opening brace. */
static void
link_hash(const uint8_t before[CHAIN_HASH], const char *body, uint8_t out[CHAIN_HASH])
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, before, CHAIN_HASH);
	crypto_hash_sha256_update(&st, (const uint8_t *)"{", 1);
	crypto_hash_sha256_update(&st, (const uint8_t *)body, strlen(body));
	crypto_hash_sha256_final(&st, out);
}

char *
chain_append(struct chain *c, const char *rest)
{
	size_t size = BODY_AT + 40 + strlen(rest);
	char *text = malloc(size), hex[CHAIN_HASH_TEXT];

	if (text == NULL)
		abort(); /* without memory there is no router */
	c->number++;
	snprintf(text + BODY_AT, size - BODY_AT, "\"number\":%" PRIu64 ",%s", c->number, rest);
	link_hash(c->hash, text + BODY_AT, c->hash);
	memcpy(text, HEAD, HEAD_LEN);
	memcpy(text + HEAD_LEN, chain_hash_text(c->hash, hex), 2 * CHAIN_HASH);
	memcpy(text + BODY_AT - 2, "\",", 2);
	return text;
}

static bool
no(char *why, size_t size, const char *text)
{
	snprintf(why, size, "%s", text);
	return false;
}

bool
chain_follow(struct chain *c, const char *text, char *why, size_t size)
{
	uint8_t is[CHAIN_HASH], says[CHAIN_HASH];
	uint64_t number;

	if (strlen(text) < BODY_AT || !chain_hash_of(text, says) ||
		strncmp(text + BODY_AT - 2, "\",", 2) != 0 ||
		sscanf(text + BODY_AT, "\"number\":%" SCNu64 ",", &number) != 1)
		return no(why, size, "it is no entry of a log");
	if (number != c->number + 1)
		return no(why, size, number > c->number ? "entries before it are gone" : "it stands twice");
	link_hash(c->hash, text + BODY_AT, is);
	if (memcmp(is, says, CHAIN_HASH) != 0)
		return no(why, size, "its hash is not that of its text behind the entry before it");
	c->number = number;
	memcpy(c->hash, is, CHAIN_HASH);
	return true;
}
