/* SPDX-License-Identifier: BSD-3-Clause */
/* interactive.h - the CLI on a terminal (editing, history, completion, `?`) or fed with lines by a pipe. */
#pragma once

#include "session.h"

/* Until `exit` or end of input; an exit code. From a pipe the first command that fails ends it. */
int interactive_run(struct session *s);
int lines_run(struct session *s, FILE *in);
