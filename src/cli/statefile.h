/* SPDX-License-Identifier: BSD-3-Clause */
/* statefile.h - state export and import: a router's VMs and run-time routes as YAML. */
#pragma once

#include "session.h"

/* All pages of one revision, as YAML (or with --json as the router told it) on the session's output. */
int export_run(struct session *s, const struct command *c);
/* Makes the file the whole of the router's state: state.replace, staged. A fault in the file is told with its line, and
 * nothing was sent then. */
int import_run(struct session *s, const struct command *c);
