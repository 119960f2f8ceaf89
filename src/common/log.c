/* SPDX-License-Identifier: BSD-3-Clause */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static void
sink_stderr(void *arg, enum log_level level, const char *line)
{
	static const char *const name[] = {"error", "warn", "info", "debug"};
	struct timespec ts;
	struct tm tm;
	char when[32];

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	fprintf(stderr, "%s.%03ldZ %-5s %s\n", when, ts.tv_nsec / 1000000, name[level], line);
}

static struct {
	enum log_level level;
	log_sink sink;
	void *arg;
} to = {LOG_INFO, sink_stderr, NULL};

void
log_set_level(enum log_level level)
{
	to.level = level;
}

void
log_set_sink(log_sink sink, void *arg)
{
	to.sink = sink != NULL ? sink : sink_stderr;
	to.arg = arg;
}

void
log_line(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (level > to.level)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (char *p = line; *p != '\0';
		p++) /* what others sent is quoted: it must not make lines of its own */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	to.sink(to.arg, level, line);
}
