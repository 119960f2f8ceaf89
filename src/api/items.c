/* SPDX-License-Identifier: BSD-3-Clause */
#include "items.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PART_BYTES (512u << 10) /* of a message of 1 MiB; an item has a few hundred */

static bool
is_plain(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	return true;
}

/* Each JSON library has its own way to write what is refused here. */
static bool
is_canonical(const json_t *v)
{
	const char *key;
	json_t *member;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		json_object_foreach((json_t *)(uintptr_t)v, key,
			member) if (!is_plain(key, strlen(key)) || !is_canonical(member)) return false;
		return true;
	case JSON_ARRAY:
		json_array_foreach(v, i, member) if (!is_canonical(member)) return false;
		return true;
	case JSON_STRING:
		return is_plain(json_string_value(v), json_string_length(v));
	case JSON_REAL:
		return false;
	default:
		return true;
	}
}

void
items_hash_init(struct items_hash *h)
{
	crypto_hash_sha256_init(&h->state);
}

ssize_t
items_hash_add(struct items_hash *h, const json_t *item)
{
	char *text = is_canonical(item) ? json_dumps(item, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	size_t n;

	if (text == NULL)
		return -EINVAL;
	n = strlen(text);
	crypto_hash_sha256_update(&h->state, (const unsigned char *)text, n);
	crypto_hash_sha256_update(&h->state, (const unsigned char *)"\n", 1);
	free(text);
	return (ssize_t)n;
}

json_t *
items_part(struct items_hash *h, const json_t *items, size_t *at)
{
	json_t *part = json_array();
	size_t bytes = 0;

	for (; *at < json_array_size(items) && json_array_size(part) < ITEMS_PART && bytes < PART_BYTES;
		++*at) {
		json_t *item = json_array_get(items, *at);
		ssize_t n = items_hash_add(h, item);

		if (n < 0) {
			json_decref(part);
			return NULL;
		}
		bytes += (size_t)n;
		json_array_append(part, item);
	}
	return part;
}

void
items_hash_text(const struct items_hash *h, char text[ITEMS_HASH_TEXT])
{
	crypto_hash_sha256_state state = h->state;
	unsigned char hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256_final(&state, hash);
	sodium_bin2hex(text, ITEMS_HASH_TEXT, hash, sizeof(hash));
}
