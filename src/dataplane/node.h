/* SPDX-License-Identifier: BSD-3-Clause */
/* node.h - memory that one worker alone uses, on the NUMA node of its CPU. */
#pragma once

#include <rte_memory.h>
#include <stddef.h>

/* Zeroed, at a cache line, on EAL's pages; rte_free() frees it. Of another node where this one has none left; NULL: there is none at all.
 * SOCKET_ID_ANY is the caller's node first. */
void *node_zalloc(const char *what, size_t size, int node);
/* Where it lies; SOCKET_ID_ANY: not on EAL's pages. */
int node_of(const void *p);
