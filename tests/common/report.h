/* SPDX-License-Identifier: BSD-3-Clause */
/* report.h - what a test program leaves for tests/conformance.py: when NEARWAY_RESULTS names a directory, <program>.tsv
 * and <program>.pcap in it.
 *
 *	test	NAME	REFERENCE	passed|failed	frames sent so far
 *	drop	REASON	packets that a test saw dropped so
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void report_open(const char *program);
void report_frame(const void *frame, size_t len); /* one that the router sent */
void report_drop(const char *reason, uint64_t n);
void report_test(const char *name, const char *reference, bool passed);
void report_close(void);
