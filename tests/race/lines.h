/* SPDX-License-Identifier: BSD-3-Clause */
/* lines.h - which cache lines two sides both touch, and one of them writes. x86-64 Linux.
 *
 * Between lines_begin() and lines_end() all writable memory of the process is out of reach, so what touches it faults: first
 * it is noted which pages a side reads and writes, once each. In a second run, narrowed to pages that are shared, every
 * instruction is: its address and whether it writes are noted, the page is opened, that one instruction is stepped over, the
 * page is closed. A write that stores what was there is found like any other, and so is an atomic one.
 * Left out are stacks with what is thread-local. An access that crosses a line is noted in the second one if it changes it.
 *
 * In between there may be no system call, and nothing else may run: other threads sleep in the kernel. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LINES_SIDES 2

struct line {
	uintptr_t at;
	struct line_side {
		bool reads, writes;
		uintptr_t code; /* that touched it first, that wrote it first */
	} side[LINES_SIDES];
};

/* Runs it on a thread of this side, whose stack is left out, and returns when it has ended. */
void lines_thread(int side, void (*run)(void *arg), void *arg);
void lines_begin(void); /* on that thread */
void lines_end(void);
void lines_forget(void);	/* all that was noted, and to pages again */
void lines_narrow(void);	/* to lines of the pages that are shared */
uint32_t lines_noted(int side); /* lines, or pages */
/* The next line, or page, after `l` (NULL: the first) that one side writes and the other one touches; NULL: no more. */
const struct line *lines_next_shared(const struct line *l);
