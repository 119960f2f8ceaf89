/* SPDX-License-Identifier: BSD-3-Clause */
/* recpool.h - cache-aligned VM records in DPDK memory. Control thread only.
 *
 * Grows by chunks and never gives them back. A freed record is filled with VM_REC_POISON, so that a reader that kept it
 * too long shows up in the race tests (and under ASan at once).
 */
#pragma once

#include "vmtab.h"

#define VM_REC_POISON 0xdb

struct recpool;

struct recpool *recpool_new(uint32_t records); /* made at once; more come when they are needed */
void recpool_free(struct recpool *p);
struct vm_rec *recpool_get(struct recpool *p); /* NULL: no memory */
void recpool_put(struct recpool *p, struct vm_rec *rec);
