/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon.h - the router from start to stop. */
#pragma once

#include "plan.h"

/* Runs until SIGTERM or SIGINT; 0, or -errno after the reason was logged. `c` is what `file` said; SIGHUP and
 * `nearway reload` read that again, and change `c`. */
int daemon_run(const char *file, struct config *c, const struct plan *p, bool verbose);
