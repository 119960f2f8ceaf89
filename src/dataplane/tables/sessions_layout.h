/* SPDX-License-Identifier: BSD-3-Clause */
/* sessions_layout.h - the bytes of the session table, in memory and in its file. Only for sessions.c and sessions_file.c. */
#pragma once

#include "sessions.h"

#include "fold.h"

#include <stddef.h>

#define CELLS	   SESSIONS_A_BUCKET
#define TAG_WORDS  ((CELLS + 3) / 4)
#define FILE_MAGIC UINT64_C(0x31305353454e574e) /* "NWNESS01": change it with the layout */

/* state, 64 bits: | generation 24 | flags 8 | home 32 |. The generation changes whenever a cell is written anew. */
#define STATE(home, flags, gen) ((uint64_t)(home) | (uint64_t)(uint8_t)(flags) << 32 | (uint64_t)(gen) << 40)
#define STATE_HOME(s)		((rte_be32_t)(s))
#define STATE_FLAGS(s)		((uint8_t)((s) >> 32))
#define STATE_GEN(s)		((uint32_t)((s) >> 40))
#define FLAG_BUSY		0x80 /* being written */
#define FLAGS_TCP		(SESSION_FIN_FROM_VM | SESSION_FIN_TO_VM | SESSION_RST)
#define FLAGS_NOTED		(FLAGS_TCP | SESSION_GUESSED)

struct cell {
	uint64_t key[2];
	uint64_t state;
	uint32_t tick; /* last packet */
	uint32_t zero;
};

/* head: two bits for each cell, the version above them. */
enum { FREE, CLAIMED, LIVE };
#define HEAD_VERSION (UINT64_C(1) << (2 * CELLS))

struct session_bucket {
	uint64_t head;
	union {
		uint16_t tag[CELLS]; /* bits of the hash, so that most cells need not be read */
		uint64_t tags[TAG_WORDS];
	};
	uint8_t pad[24];
	struct cell cell[CELLS];
};

_Static_assert(
	sizeof(struct cell) == 32 && sizeof(struct session_bucket) == 512, "cells do not cross cache lines");

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

struct sessions {
	struct session_bucket *buckets;
	uint32_t mask;
	uint64_t seed[2];
	struct file_head *file; /* start of the mapping */
	size_t size;
	int fd; /* keeps the lock; -1: anonymous */
};

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

static inline void
locate(const struct sessions *s, const uint64_t key[2], struct session_where *w)
{
	uint64_t h = fold(key[0] ^ s->seed[0], key[1] ^ s->seed[1]);

	h = fold(h ^ UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db));
	w->b = &s->buckets[h & s->mask];
	w->tag = (uint16_t)(h >> 48);
	w->key[0] = key[0];
	w->key[1] = key[1];
}

static inline uint32_t
cell_idle(const struct cell *c, uint32_t tick)
{
	int32_t idle = (int32_t)(tick - __atomic_load_n(&c->tick, __ATOMIC_RELAXED));

	return idle < 0 ? 0 : (uint32_t)idle; /* another worker's tick may be ahead */
}
