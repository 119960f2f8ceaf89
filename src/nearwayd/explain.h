/* SPDX-License-Identifier: BSD-3-Clause */
/* explain.h - what would happen to a packet: the real pipeline, run by the control thread with a worker of its own.
 *
 * Nothing is sent, counted or changed: the worker is a scratch worker (worker.h) and is thrown away. What it cannot know is
 * what other workers hold of the moment: rate limits, packets on hold, first fragments.
 */
#pragma once

#include <api/kinds.h>
#include <jansson.h>

struct dp;

/* {"rows": [story, ...]}: the packet's and those of what was made of it; NULL with the reason. */
json_t *explain(struct dp *dp, const struct explain_params *p, struct err *e);
