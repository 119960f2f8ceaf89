/* SPDX-License-Identifier: BSD-3-Clause */
/* wait.h - waits for a descriptor and for Ctrl-C at once.
 *
 * SIGINT is blocked and read from a signalfd: one that comes between two waits ends the next one. A handler that sets
 * a flag would lose it there.
 */
#pragma once

/* Blocks SIGINT and returns the descriptor that tells of it, or -1 with errno. */
int wait_open_interrupt(void);
/* Ctrl-C ends the program again. */
void wait_close_interrupt(int *interrupt);
/* Until `fd` has one of `events` (poll(2)): 0. -1 with errno: EINTR for a SIGINT, which is taken; ETIMEDOUT.
 * interrupt: -1 = none; fd: -1 = just time. timeout_ms: -1 = for ever. */
int wait_for(int fd, short events, int interrupt, int timeout_ms);
