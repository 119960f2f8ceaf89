/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.c - the last events of a seed in words: the simulator's own, and what the routers log. */
#include "sim.h"

#include <common/log.h>
#include <stdarg.h>
#include <stdio.h>

#define LINES 2000
#define WIDTH 240

static struct sim *traced;
static char lines[LINES][WIDTH];
static uint64_t n_lines;

static char *
next_line(struct sim *s, const char *who)
{
	char *line = lines[n_lines++ % LINES];
	int n = snprintf(line, WIDTH, "%7llu %-5s ", (unsigned long long)s->w->now, who);

	return line + n;
}

void
note(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (traced != s)
		return;
	va_start(ap, fmt);
	vsnprintf(next_line(s, "sim"), WIDTH - 20, fmt, ap);
	va_end(ap);
}

static void
logged(void *arg, enum log_level level, const char *line)
{
	const struct node *n = traced->w->running;

	(void)arg;
	(void)level;
	snprintf(next_line(traced, n ? n->name : "?"), WIDTH - 20, "%s", line);
}

void
trace_begin(struct sim *s)
{
	traced = s;
	n_lines = 0;
	log_set_sink(logged, NULL);
}

void
trace_print(void)
{
	for (uint64_t i = n_lines > LINES ? n_lines - LINES : 0; i < n_lines; i++)
		printf("%s\n", lines[i % LINES]);
}
