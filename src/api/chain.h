/* SPDX-License-Identifier: BSD-3-Clause */
/* chain.h - the hash chain of a router's log. An entry is one line of JSON, printable ASCII:
 *
 *   {"hash":"<64 hexadecimal digits>","number":7,"time":...}       as stored and shown
 *   {"number":7,"time":...}                                        what is hashed
 *
 * hash = SHA-256(the hash of the entry before, 32 bytes || the text without "hash"); 32 zero bytes stand before the
 * first. Who alters, removes or inserts an entry must make all hashes behind it anew.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHAIN_HASH 32

struct chain {
	uint64_t number; /* of the last entry, 0 = none */
	uint8_t hash[CHAIN_HASH];
};

/* Appends an entry. `rest`: the members behind "number", from the first name's quote to the closing brace. The stored
 * text, of malloc'ed memory. */
char *chain_append(struct chain *c, const char *rest);
/* Is `text` the entry that follows? Then it is the last one; else false, `why`, and the chain as it was. */
bool chain_follow(struct chain *c, const char *text, char *why, size_t size);
/* The hash that an entry says it has, unchecked. */
bool chain_hash_of(const char *text, uint8_t hash[CHAIN_HASH]);

#define CHAIN_HASH_TEXT (2 * CHAIN_HASH + 1)
const char *chain_hash_text(const uint8_t hash[CHAIN_HASH], char text[CHAIN_HASH_TEXT]);
bool chain_hash_parse(
	const char *text, uint8_t hash[CHAIN_HASH]); /* 64 digits; what is behind them does not matter */
