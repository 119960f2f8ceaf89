/* SPDX-License-Identifier: BSD-3-Clause */
/* follow.h - events: prints what the router tells until Ctrl-C, or until the router is gone. */
#pragma once

#include "session.h"

int follow_run(struct session *s, const struct command *c);
