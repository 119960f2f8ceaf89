/* SPDX-License-Identifier: BSD-3-Clause */
/* check.h - reads the configuration and plans with it; names every fault with line and column. */
#pragma once

#include "plan.h"

/* 0, or -EINVAL after all faults were printed to stderr. `c` is to be freed with kind_fini() when 0. */
/* Gives faults that have a path alone the lines that they have in the file. */
void check_locate(const char *file, struct faults *f);
int check_load(const char *file, struct config *c, struct plan *p);
