/* SPDX-License-Identifier: BSD-3-Clause */
/* sync.h - what the two ends of an exchange share. Seen by sync.c, answers.c and news.c alone. */
#pragma once

#include "state.h"

#define PULL_VMS 200

struct reply_to { /* an answer of the peer's, unless exchange or session is over */
	struct core *core;
	uint8_t peer;
	uint64_t serial;
	json_t *answer; /* kept until what came before it is in the model */
};

struct reply_to *reply_new(struct peer *p, uint64_t serial);
/* The i-th member of an array, when it is a text; else "". */
const char *text_at(const json_t *row, size_t i);
