/* SPDX-License-Identifier: BSD-3-Clause */
/* trails.h - puts the records of each packet together, and tells its story once it has ended. */
#pragma once

#include <dataplane/probe.h>
#include <dataplane/topology.h>
#include <jansson.h>

#define TRAILS_MAX     4096 /* packets that have not ended; further ones are counted as lost */
#define TRAILS_RECORDS 64   /* of one packet; of more, the last takes the place of the one before */

struct trails;

/* For `limit` packets that come in, and all that is made of them. NULL: no memory. */
struct trails *trails_new(const struct topology *t, uint32_t limit);
void trails_free(struct trails *t);
/* Takes a record of a worker; returns the story of the packet that ended with it, or NULL. */
json_t *trails_add(struct trails *t, uint16_t worker, const struct probe_record *r);
/* The story so far of one that has not ended; NULL: there is none any more. */
json_t *trails_pop(struct trails *t);
bool trails_complete(const struct trails *t); /* all came, and have ended */
uint64_t trails_lost(const struct trails *t);
/* Wall clock of a record, in ns. */
int64_t trails_wall_ns(uint64_t tsc);
