/* SPDX-License-Identifier: BSD-3-Clause */
/* testeal.h - EAL for a test: its runtime directory, which no other program looks at, goes with the program. */
#pragma once

#include <rte_eal.h>
#include <stdlib.h>
#include <unistd.h>

static inline void
test_eal_forget(void)
{
	rmdir(rte_eal_get_runtime_dir()); /* empty by now */
}

static inline int
test_eal_init(int argc, char **argv)
{
	atexit(test_eal_forget); /* before EAL's own, and so after it: that one takes its socket away */
	return rte_eal_init(argc, argv);
}
