/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <sys/vfs.h>

static FILE *
open_below(const char *root, const char *file)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s", root, file);
	return fopen(path, "re");
}

/* The first line of root/file; "" = there is none. */
static const char *__attribute__((format(printf, 4, 5)))
line_of(const char *root, char *text, size_t size, const char *file, ...)
{
	char name[256];
	va_list ap;
	FILE *f;

	va_start(ap, file);
	vsnprintf(name, sizeof(name), file, ap);
	va_end(ap);
	text[0] = '\0';
	f = open_below(root, name);
	if (f == NULL)
		return text;
	if (fgets(text, (int)size, f) == NULL)
		text[0] = '\0';
	fclose(f);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* Is the CPU in a list such as "0,2-5"? */
static bool
list_has(const char *list, unsigned int cpu)
{
	unsigned int from, to;
	int n;

	for (; sscanf(list, "%u%n", &from, &n) == 1; list++) {
		list += n;
		to = from;
		if (sscanf(list, "-%u%n", &to, &n) == 1)
			list += n;
		if (cpu >= from && cpu <= to)
			return true;
		if (*list != ',')
			return false;
	}
	return false;
}

bool
machine_isolated(const char *root, unsigned int cpu)
{
	char list[4096];

	return list_has(line_of(root, list, sizeof(list), "/sys/devices/system/cpu/isolated"), cpu);
}

bool
machine_one_core(const char *root, unsigned int a, unsigned int b)
{
	char list[4096];

	return a == b || list_has(line_of(root, list, sizeof(list),
					  "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", a),
				 b);
}

const char *
machine_governor(const char *root, unsigned int cpu, char text[MACHINE_TEXT])
{
	return line_of(
		root, text, MACHINE_TEXT, "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor", cpu);
}

const char *
machine_clocksource(const char *root, char text[MACHINE_TEXT])
{
	return line_of(
		root, text, MACHINE_TEXT, "/sys/devices/system/clocksource/clocksource0/current_clocksource");
}

static bool
has_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	for (const char *s = strstr(line, word); s != NULL; s = strstr(s + n, word))
		if (s > line && s[-1] == ' ' && (s[n] == ' ' || s[n] == '\n' || s[n] == '\0'))
			return true;
	return false;
}

/* x86 alone names it; what has no flags there, as arm64, has a counter that is steady by its architecture. */
bool
machine_counter_is_steady(const char *root)
{
	FILE *f = open_below(root, "/proc/cpuinfo");
	char line[8192];
	bool steady = true;

	if (f == NULL)
		return true;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		steady = has_word(line, "constant_tsc") && has_word(line, "nonstop_tsc");
		break;
	}
	fclose(f);
	return steady;
}

bool
machine_clock_is_set(void)
{
	struct timex t = {0};
	int state = adjtimex(&t);

	return state >= 0 && state != TIME_ERROR && (t.status & STA_UNSYNC) == 0;
}

bool
machine_in_large_pages(const char *root, const char *file)
{
	FILE *f = open_below(root, "/proc/self/smaps");
	unsigned long kb, large = 0;
	bool within = false;
	char line[1024];

	if (f == NULL)
		return true;
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strchr(line, '-') != NULL && strchr(line, '-') < strchr(line, ' ')) /* a mapping begins */
			within = strchr(line, '/') != NULL && strcmp(strchr(line, '/'), file) == 0;
		else if (within && sscanf(line, "ShmemPmdMapped: %lu kB", &kb) == 1)
			large += kb;
	}
	fclose(f);
	return large > 0;
}

bool
machine_is_tmpfs(const char *dir)
{
	struct statfs s;

	return statfs(dir, &s) != 0 || s.f_type == TMPFS_MAGIC || s.f_type == RAMFS_MAGIC;
}
