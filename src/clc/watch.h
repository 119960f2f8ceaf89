/* SPDX-License-Identifier: BSD-3-Clause */
/* watch.h - the events of all routers of the inventory, each followed across lost connections. */
#pragma once

#include "link.h"

struct watch;

/* `event`: one event, or {"resync": why} where some may be missing. */
struct watch *watch_new(struct links *l,
	void (*event)(void *arg, const struct inv_router *r, const json_t *event), void *arg);
/* Waits for something to happen; dials who is down, at most once a second each, and subscribes where it left off. */
void watch_turn(struct watch *w);
void watch_free(struct watch *w);
