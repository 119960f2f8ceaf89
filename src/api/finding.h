/* SPDX-License-Identifier: BSD-3-Clause */
/* finding.h - what `nearway doctor` tells: a row for each thing that was looked at.
 *
 *   {"verdict": "ok|warning|fault", "check": "port", "of": "wan0", "found": "...", "advice": "..."}
 */
#pragma once

#include <jansson.h>

/* A fault keeps packets or changes from their way; a warning costs time, or may become a fault. */
enum verdict { VERDICT_OK, VERDICT_WARNING, VERDICT_FAULT };

/* `advice`: what to do; NULL: nothing. */
void finding_add(json_t *rows, enum verdict v, const char *check, const char *of, const char *advice,
	const char *found, ...) __attribute__((format(printf, 6, 7)));
/* The rows, the worst first; takes them. */
json_t *findings_sorted(json_t *rows);
