/* SPDX-License-Identifier: BSD-3-Clause */
/* sessions_layout.h - the bytes of the session table, in memory and in its file. Only for sessions.c and sessions_file.c. */
#pragma once

#include "sessions_at.h"

#define CELLS	   SESSIONS_A_BUCKET
#define FILE_MAGIC UINT64_C(0x31305353454e574e) /* "NWNESS01": change it with the layout */

/* head: two bits for each cell, the version above them. */
enum { FREE, CLAIMED, LIVE };
#define HEAD_VERSION (UINT64_C(1) << (2 * CELLS))

struct file_head {
	uint64_t magic; /* written last: a file without it was never finished */
	uint64_t seed[2];
	uint32_t buckets;
	uint32_t bucket_size;
	uint32_t newest; /* tick of the last sweep */
	uint32_t rebasing;
	char boot_id[64];
};

#define FILE_HEAD_SIZE 4096

static inline uint32_t
cell_of(uint64_t head, uint32_t i)
{
	return head >> (2 * i) & 3;
}

/* The head with cell i in another state, and another version. */
static inline uint64_t
head_with(uint64_t head, uint32_t i, uint64_t what)
{
	return ((head & ~(UINT64_C(3) << (2 * i))) | what << (2 * i)) + HEAD_VERSION;
}

static inline uint16_t
session_tag(const struct session_where *w)
{
	return (uint16_t)(w->hash >> 48);
}

static inline uint32_t
cell_idle(const struct session_cell *c, uint32_t tick)
{
	int32_t idle = (int32_t)(tick - __atomic_load_n(&c->tick, __ATOMIC_RELAXED));

	return idle < 0 ? 0 : (uint32_t)idle; /* another worker's tick may be ahead */
}
