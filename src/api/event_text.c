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
is_head(const char *name)
{
	return strcmp(name, "time") == 0 || strcmp(name, "class") == 0 || strcmp(name, "kind") == 0 ||
	       strcmp(name, "number") == 0;
}

static void
put_head(const json_t *event, const char *name, const char *before, FILE *out)
{
	const char *s = json_string_value(json_object_get(event, name));

	fputs(before, out);
	put_plain(s != NULL ? s : "-", out);
}

void
event_print(const json_t *event, FILE *out)
{
	const char *name, *inner;
	json_t *v, *w;

	put_head(event, "time", "", out);
	put_head(event, "class", " ", out);
	put_head(event, "kind", " ", out);
	json_object_foreach((json_t *)(uintptr_t)event, name, v)
	{
		if (is_head(name))
			continue;
		if (!json_is_object(v))
			put_pair(name, v, out);
		json_object_foreach(v, inner, w) put_pair(inner, w, out);
	}
}
