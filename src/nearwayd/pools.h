/* SPDX-License-Identifier: BSD-3-Clause */
/* pools.h - packet buffers: a pool on each NUMA node that has a port's device or a worker's CPU.
 *
 * A device writes into the pool of its own node, and what a worker makes is of the worker's. Each pool has as many buffers as are planned: a
 * packet may wait in any worker and any port's ring, wherever it came in. Without hugepages EAL's memory has no nodes, and there is one pool.
 */
#pragma once

#include "plan.h"

#include <rte_mempool.h>

struct pools;
struct err;

/* Once EAL runs. A node that has no memory for a pool has none, and a log line says so; NULL with the reason: there is none at all. */
struct pools *pools_new(const struct plan *p, struct err *e);
void pools_free(struct pools *ps);
/* The node's, or the first one where it has none; SOCKET_ID_ANY: the first one. */
struct rte_mempool *pools_at(const struct pools *ps, int node);
bool pools_several(const struct pools *ps);
/* Buffers in all, and those that nobody has. */
uint32_t pools_size(const struct pools *ps);
uint32_t pools_available(const struct pools *ps);
