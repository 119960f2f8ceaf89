/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon.h - the router from start to stop. */
#pragma once

#include "plan.h"

/* Runs until SIGTERM or SIGINT; 0, or -errno after the reason was logged. */
int daemon_run(const struct config *c, const struct plan *p, bool verbose);
