/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.h - memory for private and pre-shared keys, and for what holds them: between guard pages, locked, in no core
 * file, zero in a forked child, wiped when freed. Keys stay nowhere else once they were read.
 */
#pragma once

#include <stddef.h>

/* Random numbers work, and the process ends rather than go on should they ever cease to. 0 or -EIO. */
int secret_start(void);
void *secret_new(size_t n); /* zeroed; NULL without memory */
void secret_free(void *p);  /* NULL is fine */
/* Between these two, which nest, what jansson frees is wiped: for a text that has keys in it. */
void secret_json_begin(void);
void secret_json_end(void);
/* free() of n bytes of such a text. */
void secret_wipe_free(void *p, size_t n);
