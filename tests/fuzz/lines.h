/* SPDX-License-Identifier: BSD-3-Clause */
/* lines.h - inputs of the control targets: lines of text, and a mutator that knows what stands in them.
 *
 *	l{"jsonrpc": "2.0", "id": 1, "method": "show.vms"}	a letter, which the target gives a meaning,
 *	t1500							and what belongs to it
 *
 * Half of the time a line is taken apart as JSON: a value is damaged, or replaced by one of another line, so that words of
 * one VM, epoch or cursor meet in many ways; or lines are repeated, dropped and swapped. Else bytes change.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct line {
	char what; /* the letter; 0: an empty line */
	const char *text;
	size_t len;
};

struct lines {
	const char *at;
	size_t left;
};

bool line_next(struct lines *in, struct line *l);
/* The text as a number, at most `max`. */
uint64_t line_number(const struct line *l, uint64_t max);

/* A string of its own, ended by NUL. */
char *line_text(const struct line *l);
