/* SPDX-License-Identifier: BSD-3-Clause */
/* tell.h - changes told to one router, in one transaction: staged when they are more than a message holds. Where one of those turns
 * out stale, which is rare, the rest is told by messages, so that many of these do not cost the whole list again each. */
#pragma once

#include "link.h"
#include "state.h"

enum outcome {
	TOLD_NOT, /* an earlier change of the same call failed: it was not sent */
	TOLD_DONE,
	TOLD_STALE,   /* the router knows a higher epoch: `current` is what it has */
	TOLD_REFUSED, /* nothing was changed */
	TOLD_LOST,    /* no answer came: done or not */
};

struct change {
	const char *method;
	json_t *params; /* owned */
	struct clc_vm *vm;
	enum outcome outcome;
	json_t *current; /* owned */
};

/* 0 when each change is done or stale; else `e` says the first failure. */
int tell(struct links *l, const char *router, struct change *changes, size_t n, struct err *e);
void changes_free(struct change *changes, size_t n);
