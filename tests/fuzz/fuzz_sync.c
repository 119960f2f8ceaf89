/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_sync.c - a peer's calls, and its answers to the exchange that the router begins. */
#include "talk.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	talk(data, size, "lp");
	return 0;
}
