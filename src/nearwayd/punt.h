/* SPDX-License-Identifier: BSD-3-Clause */
/* punt.h - ports that give the kernel an interface: its address is the port's, its wire is the port.
 *
 *   wire --- port --- worker --- w->punts ---> control thread ---> TAP --- kernel: SSH, BGP
 *             ^                                                     |
 *             +------------- worker 0 <--- orders <-----------------+
 *
 * What may go in is decided by the workers (stages local and arp-wan). What may come out is decided by
 * dataplane/kernel_frame.h. The kernel routes by its own tables, and forwards nothing that came by such an interface.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct dp;
struct err;
struct event_base;
struct punt;

/* Makes the interfaces of all ports that ask for one; ports are open. NULL with the reason. */
struct punt *punt_new(struct dp *dp, struct event_base *base, struct err *e);
void punt_run(struct punt *p); /* ports have started: takes what the kernel sends */
/* Gives the kernel what workers have for it, within a budget; true when there is more. */
bool punt_drain(struct punt *p);
void punt_link(struct punt *p, uint16_t port, bool up);
void punt_free(struct punt *p); /* workers have stopped */

struct punt_info {
	char name[16];
	uint64_t in, in_lost; /* to the kernel; not taken by it */
	uint64_t out, out_refused,
		out_lost; /* from the kernel; not allowed; no buffer or worker 0 is behind */
};

/* False: the port gives the kernel nothing. */
bool punt_info(const struct punt *p, uint16_t port, struct punt_info *info);
