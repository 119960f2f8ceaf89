/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_rpc.c - JSON-RPC texts of the local user, controllers and an observer, into a router that runs. */
#include "talk.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	talk(data, size, "lcdo");
	return 0;
}
