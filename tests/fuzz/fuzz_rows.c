/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_rows.c - rows of the store: whatever they say, the router starts, and what it takes it takes again.
 *
 *	=KIND KEY VALUE   a row: put, or in the place of the one of this kind and key
 *	-KIND KEY         it is gone
 */
#include "router.h"

#include <stdio.h>

#define HELD_MAX (16u << 20)

static void
put_row(void *arg, const char *kind, const char *key, const char *value)
{
	stored_set(arg, kind, key, value);
}

static void
take_row(struct node *n, const struct line *l)
{
	char *text = line_text(l), *value;
	char kind[32], key[128];
	int at = 0;

	if (sscanf(text, "%31s %127[^ ]%n", kind, key, &at) == 2) {
		value = text + at + (text[at] == ' ');
		stored_set(n, kind, key, l->what == '=' ? value : NULL);
	}
	free(text);
}

static void
start(struct world *w)
{
	node_start(router_node(w));
	while (!router_node(w)->ready && world_step(w, w->now + 10000))
		;
	router_settle(w);
}

/* What it has taken it can change, and has after a restart. */
static void
use(struct world *w)
{
	struct state s = state_of(w);
	int code;

	router_check(w, &s);
	state_free(&s);
	json_decref(ask(router_node(w), &code, "vm.register", "{s:s, s:s, s:[{s:s}]}", "segment", "tenant-a",
		"mac", "52:54:00:00:00:99", "addresses", "private", "10.0.0.99"));
	router_check_restart(w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lines in = {(const char *)data, size};
	struct world *w;
	struct line l;
	size_t base;

	fuzz_random_reset();
	base = memory_held();
	w = world_new(1, 3);
	router_rows(put_row, router_node(w));
	while (line_next(&in, &l))
		if (l.what == '=' || l.what == '-')
			take_row(router_node(w), &l);
	start(w);
	use(w);
	memory_check(base, HELD_MAX, "a router and its rows");
	world_free(w);
	return 0;
}
