/* SPDX-License-Identifier: BSD-3-Clause */
/* announce.h - frames that tell switches and VMs of a move, in order and none too many at once.
 *
 * A batch of moves has more of them than worker 0 takes orders; what does not fit waits here, as a description, not as a
 * packet buffer, and leaves half of the orders to others.
 */
#pragma once

#include <dataplane/worker.h>
#include <env/env.h>

#define ANNOUNCE_MAX 65536 /* that wait; more are counted as lost */

struct dp;
struct announces;

struct announcement {
	struct rte_ether_addr mac;
	uint16_t segment;
	rte_be32_t ip;
	uint8_t what; /* enum fwd_announce */
};

struct announces *announces_new(struct dp *dp);
void announces_free(struct announces *a);
/* On every attachment of the segment. */
void announce(struct announces *a, const struct announcement *one);
