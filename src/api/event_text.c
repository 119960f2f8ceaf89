/* SPDX-License-Identifier: BSD-3-Clause */
#include "event_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* What a router sends may hold anything; a terminal gets nothing but text. */
static void
put_plain(const char *s, FILE *out)
{
	for (; *s != '\0'; s++)
		fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, out);
}

static void
put_pair(const char *name, const json_t *v, FILE *out)
{
	fputc(' ', out);
	put_plain(name, out);
	fputc('=', out);
	if (json_is_string(v) && strchr(json_string_value(v), ' ') == NULL)
		put_plain(json_string_value(v), out);
	else
		json_dumpf(v, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

static bool
is_one_of(const char *name, const char *const *names)
{
	for (; *names != NULL; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

static void
put_head(const json_t *o, const char *name, const char *before, FILE *out)
{
	const char *s = json_string_value(json_object_get(o, name));

	fputs(before, out);
	put_plain(s != NULL ? s : "-", out);
}

/* The three first names of `head` stand in front, the others are left out. */
static void
print_line(const json_t *o, const char *const *head, FILE *out)
{
	const char *name, *inner;
	json_t *v, *w;

	for (int i = 0; i < 3; i++)
		put_head(o, head[i], i > 0 ? " " : "", out);
	json_object_foreach((json_t *)(uintptr_t)o, name, v)
	{
		if (is_one_of(name, head))
			continue;
		if (!json_is_object(v))
			put_pair(name, v, out);
		json_object_foreach(v, inner, w) put_pair(inner, w, out);
	}
}

void
event_print(const json_t *event, FILE *out)
{
	print_line(event, (const char *const[]){"time", "class", "kind", "number", NULL}, out);
}

void
log_entry_print(const json_t *entry, FILE *out)
{
	print_line(entry, (const char *const[]){"time", "who", "what", "number", "hash", NULL}, out);
}
