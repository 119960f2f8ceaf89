/* SPDX-License-Identifier: BSD-3-Clause */
/* census.h - walks over the session table: ages it, frees the sessions of homes that are gone, counts those of each other.
 *
 * One walk does all three, in steps of which none takes the control thread long, every 10 s, and sooner when homes are gone
 * or a fresh count is wanted.
 */
#pragma once

#include <rte_byteorder.h>
#include <stdbool.h>
#include <stdint.h>

struct dp;
struct census;

struct census *census_new(struct dp *dp);
void census_run(struct census *c);
void census_free(struct census *c);
/* *n: sessions of this home, of all for 0, by the last walk. True when that ended just now; else another one begins: ask
 * again soon. */
bool census_sessions(struct census *c, rte_be32_t home, uint64_t *n);
/* Frees the sessions of a home that a VM had to give up, soon: an evacuation ends thousands at once. Those of a VM that has
 * the address by then stay, but for TCP where it neither drains nor is about to leave. */
void census_forget(struct census *c, rte_be32_t home);
