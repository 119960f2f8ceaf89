/* SPDX-License-Identifier: BSD-3-Clause */
/* oracle.h - how the control targets tell what they found. */
#pragma once

#include <stddef.h>

/* Says what was found, and ends the process: libFuzzer keeps the input. */
void finding(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* A finding when more than so many bytes are held above `base`. */
size_t memory_held(void);
void memory_check(size_t base, size_t max, const char *by);
/* No lines of the log; Noise's keys from a fixed stream, so that an input does the same each time. */
void fuzz_quiet(void);
void fuzz_random_reset(void);
