/* SPDX-License-Identifier: BSD-3-Clause */
/* json_pool.h - memory of JSON values. A message of many changes is tens of thousands of small blocks, which come and go at once:
 * those that are freed are kept, by size, for the next one. Each is a block of malloc()'s, so either free() will do.
 */
#pragma once

#include <stddef.h>

/* From now on jansson uses it. */
void json_pool_start(void);
void *json_pool_get(size_t n);
void json_pool_put(void *p);
