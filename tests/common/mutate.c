/* SPDX-License-Identifier: BSD-3-Clause */
#include "mutate.h"

#include <stdbool.h>
#include <string.h>

uint64_t mutate_seed = 20250611;

uint64_t
mutate_random(uint64_t n)
{
	mutate_seed ^= mutate_seed << 13;
	mutate_seed ^= mutate_seed >> 7;
	mutate_seed ^= mutate_seed << 17;
	return (mutate_seed >> 11) % n;
}

static const char *const pieces[] = {":", "- ", "\n", "  ", "\t", "[", "]", "{", "}", "&a ", "*a", "!!int ",
	"\"", "'", "|", ">", "---\n", "...\n", "null", "~", "-1", "0", "99999999999999999999", "1e9",
	"255.255.255.255", "0.0.0.0/0", "ff:ff:ff:ff:ff:ff", "\xff", "\xc3", "\xe2\x82", "\x01",
	"%YAML 1.1\n", "? ", "<<: ", "#", "name: a\n", "true", "0x10", "1h", "30d", "\\u0000", ",",
	"\xef\xbb\xbf", "\xc2\x85", "\xe2\x80\xa8"};

size_t
mutate_text(char *text, size_t len, size_t size)
{
	for (uint64_t edits = 1 + mutate_random(4); edits > 0 && len > 0; edits--) {
		size_t at = mutate_random(len);
		size_t n = 1 + mutate_random(len - at < 40 ? len - at : 40);
		const char *piece = pieces[mutate_random(sizeof(pieces) / sizeof(pieces[0]))];
		size_t piece_len = strlen(piece);

		switch (mutate_random(6)) {
		case 0: /* one byte */
			text[at] = (char)mutate_random(256);
			break;
		case 1: /* cut */
			memmove(text + at, text + at + n, len - at - n);
			len -= n;
			break;
		case 2: /* repeat */
			if (len + n < size) {
				memmove(text + at + n, text + at, len - at);
				len += n;
			}
			break;
		case 3: /* swap two stretches */
		{
			size_t to = mutate_random(len - n + 1);

			memmove(text + to, text + at, n);
			break;
		}
		case 4: /* end here */
			if (mutate_random(8) == 0)
				len = at;
			break;
		default: /* put in something that means something */
			if (len + piece_len < size) {
				memmove(text + at + piece_len, text + at, len - at);
				memcpy(text + at, piece, piece_len);
				len += piece_len;
			}
		}
	}
	return len;
}

static json_t *
random_value(void)
{
	switch (mutate_random(9)) {
	case 0:
		return json_null();
	case 1:
		return json_boolean(mutate_random(2));
	case 2:
		return json_integer((json_int_t)(mutate_random(2) ? mutate_random(5000)
								  : UINT64_MAX - mutate_random(100)));
	case 3:
		return json_integer(mutate_random(2) ? INT64_MAX : INT64_MIN);
	case 4:
		return json_real(1.5);
	case 5:
		return json_object();
	case 6:
		return json_array();
	case 7:
		return json_stringn("a\0b", 3);
	default: {
		json_t *s = json_string(pieces[mutate_random(sizeof(pieces) / sizeof(pieces[0]))]);

		return s != NULL ? s : json_string("");
	}
	}
}

static void
mutate_object(json_t *o)
{
	size_t at = mutate_random(json_object_size(o) + 1);
	const char *key;
	json_t *v;
	void *tmp;

	json_object_foreach_safe(o, tmp, key, v)
	{
		if (at-- > 0)
			continue;
		if (mutate_random(3) == 0)
			json_object_del(o, key);
		else
			json_object_set_new(o, key, random_value());
		return;
	}
	json_object_set_new(o, mutate_random(2) ? "name" : "nmae", random_value());
}

static void
mutate_array(json_t *a)
{
	size_t n = json_array_size(a);

	if (n > 0 && mutate_random(3) == 0)
		json_array_remove(a, mutate_random(n));
	else if (n > 0 && mutate_random(2) == 0)
		json_array_append(a, json_array_get(a, mutate_random(n)));
	else
		json_array_append_new(a, random_value());
}

void
mutate_tree(json_t *t)
{
	const char *key;
	json_t *v;
	size_t i;

	if (mutate_random(4) != 0) {
		size_t skip = mutate_random(4);

		json_object_foreach(t, key, v)
		{
			if ((json_is_object(v) || json_is_array(v)) && skip-- == 0) {
				mutate_tree(v);
				return;
			}
		}
		json_array_foreach(t, i, v)
		{
			if (json_is_object(v) && mutate_random(2) == 0) {
				mutate_tree(v);
				return;
			}
		}
	}
	if (json_is_object(t))
		mutate_object(t);
	else if (json_is_array(t))
		mutate_array(t);
}

static json_t *
value_of_type(unsigned int type)
{
	switch (type) {
	case 0:
		return json_null();
	case 1:
		return json_integer(7);
	case 2:
		return json_string("seven");
	case 3:
		return json_pack("[n]");
	default:
		return json_pack("{s:n}", "seven");
	}
}

static bool
replace_nth(json_t *t, size_t *nth, unsigned int with)
{
	const char *key;
	json_t *v;
	size_t i;

	json_object_foreach(t, key, v)
	{
		if ((*nth)-- == 0)
			return json_object_set_new(t, key, value_of_type(with)) == 0;
		if (replace_nth(v, nth, with))
			return true;
	}
	json_array_foreach(t, i, v)
	{
		if ((*nth)-- == 0)
			return json_array_set_new(t, i, value_of_type(with)) == 0;
		if (replace_nth(v, nth, with))
			return true;
	}
	return false;
}

json_t *
mutate_nth(const json_t *t, size_t nth, unsigned int with)
{
	json_t *copy = json_deep_copy(t);

	if (replace_nth(copy, &nth, with))
		return copy;
	json_decref(copy);
	return NULL;
}
