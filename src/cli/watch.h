/* SPDX-License-Identifier: BSD-3-Clause */
/* watch.h - trace and capture: asks the router for what came until there is no more, or Ctrl-C. */
#pragma once

#include "session.h"

int watch_run(struct session *s, const struct command *c);
/* Stories of packets (trace, explain) as a person reads them. */
void watch_print(const json_t *story, FILE *out);
