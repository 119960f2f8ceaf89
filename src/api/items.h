/* SPDX-License-Identifier: BSD-3-Clause */
/* items.h - the hash over the items of a staged transaction: both ends say it of the same bytes.
 *
 * SHA-256 over the items in order, each as its canonical text and one '\n'. Canonical: JSON without blanks, members of
 * objects sorted by their bytes, strings of printable ASCII alone, numbers whole. Any language's JSON library writes it.
 */
#pragma once

#include <jansson.h>
#include <sodium.h>

#define ITEMS_HASH_TEXT (2 * crypto_hash_sha256_BYTES + 1) /* hexadecimal, lower case */

struct items_hash {
	crypto_hash_sha256_state state;
};

void items_hash_init(struct items_hash *h);
/* The length of the item's canonical text; -EINVAL: it has none (a control or non-ASCII character, or a fraction). */
ssize_t items_hash_add(struct items_hash *h, const json_t *item);
/* The items of the next part, from *at on, which it moves behind them: as many as fill half a message, at most ITEMS_PART. They
 * enter the hash. NULL: the item at *at has no canonical text. */
#define ITEMS_PART 1000
json_t *items_part(struct items_hash *h, const json_t *items, size_t *at);
/* What was added so far; more may follow. */
void items_hash_text(const struct items_hash *h, char text[ITEMS_HASH_TEXT]);
