/* SPDX-License-Identifier: BSD-3-Clause */
/* eal.h - the DPDK environment: arguments from the plan, start with its log turned into ours. */
#pragma once

#include "plan.h"

#define EAL_ARGS_MAX (24 + PLAN_PORTS)

struct eal_args {
	int argc;
	char *argv[EAL_ARGS_MAX + 1]; /* owned; ended by NULL */
};

/* Of a worker: lcore 0 is the control thread. */
static inline unsigned int
eal_lcore(uint16_t worker)
{
	return worker + 1u;
}

/* Each lcore is pinned to its CPU. 0 or -ENOMEM. */
int eal_args_make(const struct plan *p, const char *router, struct eal_args *a);
void eal_args_free(struct eal_args *a);

/* Starts EAL on the calling thread, which becomes the control thread. `verbose` shows DPDK's own chatter. */
int eal_start(const struct plan *p, const char *router, bool verbose, struct err *e);
void eal_stop(void);
