/* SPDX-License-Identifier: BSD-3-Clause */
/* machine.h - the machine under the router, as /proc and /sys tell. `root` is in front of both: "", but in tests. What the machine
 * does not tell is taken for good.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define MACHINE_TEXT 64

/* Is the CPU left to who asks for it by name (isolcpus)? */
bool machine_isolated(const char *root, unsigned int cpu);
/* Are both threads of one core, or the same? */
bool machine_one_core(const char *root, unsigned int a, unsigned int b);
/* Of the CPU's frequency; "" = not told. */
const char *machine_governor(const char *root, unsigned int cpu, char text[MACHINE_TEXT]);
/* Who tells the kernel the time; "" = not told. */
const char *machine_clocksource(const char *root, char text[MACHINE_TEXT]);
/* Does the CPU's counter run at one rate, whatever its frequency, and while it sleeps? */
bool machine_counter_is_steady(const char *root);
/* Is the wall clock set by somebody who knows (adjtimex)? */
bool machine_clock_is_set(void);
/* Does what this process has mapped of the file lie in large pages, some of it at least? */
bool machine_in_large_pages(const char *root, const char *file);
bool machine_is_tmpfs(const char *dir);
