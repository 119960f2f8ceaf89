/* SPDX-License-Identifier: BSD-3-Clause */
/* fold.h - one multiplication to 128 bits, folded to 64: every bit of the result depends on every bit of both. */
#pragma once

#include <stdint.h>

__extension__ typedef unsigned __int128 fold_u128;

static inline uint64_t
fold(uint64_t a, uint64_t b)
{
	fold_u128 r = (fold_u128)a * b;

	return (uint64_t)r ^ (uint64_t)(r >> 64);
}
