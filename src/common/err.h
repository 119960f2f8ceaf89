/* SPDX-License-Identifier: BSD-3-Clause */
/* err.h - an error as an operator reads it: what, where, why and what to do.
 *
 * A function that can fail returns 0 or -errno and, where a person may have to act on it, fills
 * the `struct err` it was given. `err` may be NULL: then only the code counts.
 */
#pragma once

struct err {
	int code;	/* 0 or the -errno that was returned */
	char text[480]; /* one line, no newline */
};

/* Sets the text and returns -code, so that `return err_set(e, EINVAL, ...)` reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "<what>: " in front of the text that is there already; returns e->code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
