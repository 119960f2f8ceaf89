/* SPDX-License-Identifier: BSD-3-Clause */
/* lock.h - one router process for each configuration: a lock in its runtime directory, held until the process ends. */
#pragma once

#include <common/err.h>

/* Makes `dir` (0700) if need be; the descriptor, or -errno with who holds it. */
int lock_take(const char *dir, struct err *e);
