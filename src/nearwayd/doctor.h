/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor.h - memory, CPUs, ports, next hops, clocks and MTU: is each as a router wants it, and if not, what to do? */
#pragma once

#include <api/finding.h>

struct dp;

/* Rows of finding.h; a new reference. `root`: machine.h. */
json_t *doctor_rows(struct dp *dp, const char *root);
