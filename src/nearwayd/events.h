/* SPDX-License-Identifier: BSD-3-Clause */
/* events.h - what workers tell the control thread: drained from their rings, each kind in its turn and with a bound, and
 * handed to whom it concerns.
 *
 * Adaptive workers kick; busy workers make no system call, so their rings are looked at every 2 ms.
 */
#pragma once

struct dp;
struct event_base;
struct events;

struct events *events_new(struct dp *dp, struct event_base *base);
void events_run(struct events *e);
void events_kick(struct events *e); /* any thread */
void events_free(struct events *e);
