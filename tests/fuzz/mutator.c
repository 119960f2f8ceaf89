/* SPDX-License-Identifier: BSD-3-Clause */
/* mutator.c - changes inputs that are lines: see lines.h. */
#include "lines.h"
#include "target.h"

#include <jansson.h>
#include <mutate.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX  64
#define VALUES_MAX 256

struct text {
	char *at;
	size_t len, size;
};

static void
replace(struct text *t, size_t from, size_t len, const char *with, size_t n)
{
	if (t->len - len + n > t->size)
		return;
	memmove(t->at + from + n, t->at + from + len, t->len - from - len);
	memcpy(t->at + from, with, n);
	t->len = t->len - len + n;
}

static size_t
find_lines(const struct text *t, struct line *line)
{
	struct lines in = {t->at, t->len};
	size_t n = 0;

	while (n < LINES_MAX && line_next(&in, &line[n]))
		n++;
	return n;
}

/* The JSON in a line, which may begin behind other words. */
static json_t *
json_in(const struct line *l, size_t *at, size_t *len)
{
	json_error_t e;
	json_t *v;

	for (*at = 0; *at < l->len && l->text[*at] != '{' && l->text[*at] != '['; ++*at)
		;
	v = json_loadb(l->text + *at, l->len - *at, JSON_DISABLE_EOF_CHECK, &e);
	*len = v ? (size_t)e.position : 0;
	return v;
}

static size_t
values_of(json_t *t, json_t **value, size_t n)
{
	const char *key;
	json_t *v;
	size_t i;

	if (n < VALUES_MAX)
		value[n++] = t;
	json_object_foreach(t, key, v) n = values_of(v, value, n);
	json_array_foreach(t, i, v) n = values_of(v, value, n);
	return n;
}

static json_t *
nudged(const json_t *v)
{
	json_int_t n = json_integer_value(v);

	return json_integer((json_int_t)((uint64_t)n + (mutate_random(2) ? 1 : UINT64_MAX)));
}

/* One member or element of `into` becomes a value of `from`, or a number one more or less. */
static void
graft(json_t *into, json_t *from)
{
	json_t *at[VALUES_MAX], *donor[VALUES_MAX], *v, *old, *to = NULL;
	size_t n = values_of(into, at, 0), m = values_of(from, donor, 0), k;
	const char *key = NULL;

	for (int tries = 0; tries < 4 && (to == NULL || (!json_is_object(to) && !json_is_array(to))); tries++)
		to = at[mutate_random(n)];
	k = json_is_array(to) ? json_array_size(to) : json_object_size(to);
	if (k == 0)
		return;
	k = mutate_random(k);
	if (json_is_object(to)) {
		void *iter = json_object_iter(to);

		while (k-- > 0)
			iter = json_object_iter_next(to, iter);
		key = json_object_iter_key(iter);
	}
	old = key ? json_object_get(to, key) : json_array_get(to, k);
	for (int tries = 0; tries < 8; tries++) { /* better one of the same type */
		v = donor[mutate_random(m)];
		if (json_typeof(v) == json_typeof(old) && v != old)
			break;
	}
	v = json_is_integer(old) && mutate_random(2) ? nudged(old) : json_deep_copy(v);
	if (key)
		json_object_set_new(to, key, v);
	else
		json_array_set_new(to, k, v);
}

static void
mutate_line(struct text *t, const struct line *l, const struct line *other)
{
	size_t at, len, at2, len2;
	json_t *v = json_in(l, &at, &len), *w = json_in(other, &at2, &len2);
	char *text = NULL;

	if (v != NULL && w != NULL && mutate_random(3) != 0)
		graft(v, w);
	else if (v != NULL)
		mutate_tree(v);
	if (v != NULL)
		text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	if (text != NULL)
		replace(t, (size_t)(l->text - t->at) + at, len, text, strlen(text));
	free(text);
	json_decref(v);
	json_decref(w);
}

static void
mutate_lines(struct text *t, const struct line *l, const struct line *other)
{
	size_t from = l->what ? 1 : 0, at = (size_t)(l->text - t->at) - from, len = l->len + from;
	size_t to = (size_t)(other->text - t->at) - (other->what ? 1 : 0), n = len;
	char *copy = malloc(len + 1);

	memcpy(copy, t->at + at, len);
	copy[n++] = '\n';
	switch (mutate_random(4)) {
	case 0: /* gone */
		replace(t, at, at + len < t->len ? len + 1 : len, "", 0);
		break;
	case 1: /* another letter */
		if (l->what)
			t->at[at] = t->at[to];
		break;
	default: /* once more, before another */
		replace(t, to, 0, copy, n);
	}
	free(copy);
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	struct text t = {(char *)data, size, max_size};
	struct line line[LINES_MAX];
	size_t n;

	mutate_seed = UINT64_C(0x9e3779b97f4a7c15) * (seed + UINT64_C(1)) | 1;
	n = find_lines(&t, line);
	if (n == 0 || mutate_random(2) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	for (uint64_t edits = 1 + mutate_random(3); edits > 0 && n > 0; edits--) {
		const struct line *l = &line[mutate_random(n)], *other = &line[mutate_random(n)];

		if (mutate_random(4) == 0)
			mutate_lines(&t, l, other);
		else
			mutate_line(&t, l, other);
		n = find_lines(&t, line);
	}
	return t.len;
}
