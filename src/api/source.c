/* SPDX-License-Identifier: BSD-3-Clause */
/* source.c - where things stood in a text: address of a JSON value, or of a key inside its object, to
 * line:column. jansson keeps the address of a key for as long as the key is in its object.
 */
#include "schema.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct place {
	const void *thing;
	int line, column;
	UT_hash_handle hh;
};

struct source {
	struct place *places;
};

struct source *
source_new(void)
{
	return calloc(1, sizeof(struct source));
}

void
source_free(struct source *s)
{
	struct place *p, *next;

	if (s == NULL)
		return;
	HASH_ITER (hh, s->places, p, next) {
		HASH_DEL(s->places, p);
		free(p);
	}
	free(s);
}

static struct place *
find(const struct source *s, const void *thing)
{
	struct place *p;

	HASH_FIND_PTR(s->places, &thing, p);
	return p;
}

int
source_add(struct source *s, const void *value_or_key, int line, int column)
{
	struct place *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	*p = (struct place){.thing = value_or_key, .line = line, .column = column};
	HASH_ADD_PTR(s->places, thing, p);
	if (p->hh.tbl == NULL) {
		free(p);
		return -ENOMEM;
	}
	return 0;
}

static void
find_place(const struct source *s, const void *thing, int *line, int *column)
{
	const struct place *p = s != NULL && thing != NULL ? find(s, thing) : NULL;

	*line = p != NULL ? p->line : 0;
	*column = p != NULL ? p->column : 0;
}

void
source_find(const struct source *s, const json_t *value, int *line, int *column)
{
	find_place(s, value, line, column);
}

void
source_find_key(const struct source *s, const json_t *object, const char *key, int *line, int *column)
{
	/* jansson has no const iterator; nothing is changed. */
	void *iter = json_object_iter_at((json_t *)(uintptr_t)object, key);

	find_place(s, iter != NULL ? json_object_iter_key(iter) : NULL, line, column);
}

/* One step of a path: ".name", "name" or "[7]"; NULL when there is no such thing. */
static const json_t *
step(const json_t *from, const char **path)
{
	char name[64];
	size_t n;

	if (**path == '[') {
		size_t i = strtoul(*path + 1, NULL, 10);

		*path += strcspn(*path, "]");
		*path += **path == ']';
		return json_array_get(from, i);
	}
	*path += **path == '.';
	n = strcspn(*path, ".[");
	snprintf(name, sizeof(name), "%.*s", (int)n, *path);
	*path += n;
	return json_object_get(from, name);
}

const json_t *
tree_at(const json_t *tree, const char *path)
{
	while (tree != NULL && *path != '\0')
		tree = step(tree, &path);
	return tree;
}

void
source_find_path(const struct source *s, const json_t *tree, const char *path, int *line, int *column)
{
	source_find(s, tree, line, column);
	while (s != NULL && tree != NULL && *path != '\0') {
		int l, c;

		tree = step(tree, &path);
		if (tree == NULL)
			return;
		source_find(s, tree, &l, &c);
		if (l != 0) {
			*line = l;
			*column = c;
		}
	}
}
