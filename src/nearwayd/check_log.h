/* SPDX-License-Identifier: BSD-3-Clause */
/* check_log.h - nearwayd --check-log FILE: the log in a store, from its first entry to its last. */
#pragma once

#include <common/err.h>

/* Prints what it found. 0: whole; else what is wrong is in `e`. */
int check_log(const char *file, struct err *e);
