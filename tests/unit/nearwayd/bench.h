/* SPDX-License-Identifier: BSD-3-Clause */
/* bench.h - the daemon's data plane on a workbench: real tables and EAL, ports that go nowhere, a clock that the test turns,
 * workers that do not run: what is meant for them is looked at in their rings.
 *
 *   192.0.2.1/24 wan0 --- [router] --- dc0: VLAN 0 segment web 10.0.0.0/24, VLAN 7 segment db 10.0.1.0/24
 *   peer r-y is router 1; ports wan0 0, dc0 1; segments web 0, db 1; attachments likewise
 */
#pragma once

#include <nearwayd/dp.h>

int bench_start(void **state); /* cmocka group setup */
int bench_stop(void **state);

/* Set before bench_start(). */
extern const char *bench_devices[2], *bench_cpus;
extern enum poll_mode bench_poll;

extern struct dp *bench;
extern struct config bench_config;

/* Turns the clock, running what is due on the way. */
void bench_advance(uint64_t ms);
/* The next order for worker 0; false when there is none. An injected mbuf is the caller's. */
bool bench_order(struct dp_order *o);
/* The same, but it must be a frame. */
struct rte_mbuf *bench_frame(void);
void bench_no_more(void); /* fails if an order is left */
void bench_forget(void);  /* drops what is left */
void bench_events(void);  /* what running workers told is handled */
