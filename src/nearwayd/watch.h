/* SPDX-License-Identifier: BSD-3-Clause */
/* watch.h - trace and capture: probes on all workers, read by the control thread whenever the core asks.
 *
 * A trace tells a packet's story once it has ended; a capture passes each record on.
 */
#pragma once

#include <api/kinds.h>
#include <jansson.h>

#define WATCH_SNAP    192	   /* bytes of a packet that a trace keeps */
#define WATCH_MEMORY  (8u << 20)   /* of each worker's ring, in bytes */
#define WATCH_ENTRIES 8192	   /* records in it, at most */
#define WATCH_PAGE    (600u << 10) /* bytes of JSON in one answer, about; a message holds 1 MiB */

struct dp;
struct watch;

/* NULL with the reason. */
struct watch *watch_new(struct dp *dp, const struct watch_params *p, bool capture, struct err *e);
/* {"rows": [...], "lost": n}; *more is false with the last rows. */
json_t *watch_read(struct watch *w, bool *more);
/* Takes the probes off; what workers may still use is freed after a grace period. */
void watch_free(struct watch *w);
