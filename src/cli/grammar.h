/* SPDX-License-Identifier: BSD-3-Clause */
/* grammar.h - the words of a command, from methods.def and the field tables alone.
 *
 *   vm move segment seg1 mac 02:00:00:00:00:05 addresses 10.0.0.5=203.0.113.70 drain-min 1h
 *   ^group ^verb  ^field  ^value ...
 *
 * A method without a dot is one word (trace, explain). capture is followed by the file to write, state import by the one to read.
 *
 * A value is written as in YAML. A list of objects is items with ',' between, the fields of an item in table order
 * with '=' between; or JSON; or @FILE with JSON in it (@- is the standard input). Groups, verbs and field names
 * may be shortened as long as they are clear.
 */
#pragma once

#include <api/methods.h>

struct command {
	const struct method *method;
	json_t *params;	  /* owned */
	const char *file; /* of a capture or import; the word */
	bool one_page;	  /* limit or cursor was given: do not follow the listing */
};

/* 0, or -EINVAL with faults whose path is the field, or "" for the words before. */
int grammar_parse(const char *const *words, size_t n, struct command *c, struct faults *f);
void command_fini(struct command *c);

/* What may stand after `words`. */
struct choice {
	char word[64]; /* to type; "<...>" stands for a value, "<enter>" for the end */
	char help[480];
	bool literal; /* `word` can be completed */
	bool needed;  /* a field that must be given */
};

struct choices {
	struct choice items[64];
	size_t n;
};

/* Those that begin with `partial`; none when the words make no sense. */
void grammar_choices(const char *const *words, size_t n, const char *partial, struct choices *out);
/* Prints them, two columns. */
void choices_print(const struct choices *c, FILE *out);
