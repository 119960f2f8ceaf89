/* SPDX-License-Identifier: BSD-3-Clause */
/* counters.h - traffic of VMs and segments: the sum over all workers, from where a VM began; round trips of those that are timed. */
#pragma once

#include <dataplane/worker.h>
#include <env/env.h>

struct dp;
struct counters;

/* Notes from now on where a slot that is free again stands. NULL: no memory. */
struct counters *counters_new(struct dp *dp);
void counters_free(struct counters *c);
struct traffic counters_vm(const struct counters *c, const struct vm_rec *vm);
/* All zero of one that is not timed. */
struct fwd_round_trips counters_round_trips(const struct counters *c, const struct vm_rec *vm);
struct traffic counters_segment(const struct counters *c, uint16_t seg);
