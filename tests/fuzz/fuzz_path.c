/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_path.c - any bytes on any port: from classify on. */
#include "fuzz.h"

void
fuzz_frames(struct input *in)
{
	struct arrival a = fuzz_arrival(in);
	struct frame f = {.len = 0};

	fuzz_overwrite(in, &f, 0);
	fuzz_receive(&a, &f);
}
