/* SPDX-License-Identifier: BSD-3-Clause */
/* icmp_error.h - drops a packet and tells its sender why: RFC 792, RFC 1812 4.3.
 *
 * Towards the WAN it is routed, from the address of the port that the packet came in by; a VM is told where its
 * frame came from, attachment or peer, from its gateway's address: the frame's Ethernet header is still as it came. Never about
 * an ICMP error, a later fragment, or a packet of the router's own; rate limited per worker. The message quotes
 * what the sender sent: NAT is undone.
 */
#pragma once

#include "worker.h"

#define ICMP_ERRORS_PER_S 1000
#define ICMP_ERRORS_BURST 100

/* `why` decides type and code; `mtu` is told by DROP_TOO_BIG alone. */
void icmp_error_drop(struct worker *w, struct rte_mbuf *m, enum drop why, uint16_t mtu);

/* Tells the sender of a packet that goes on, and is not translated yet, that its host may be out of reach. */
void icmp_error_host(struct worker *w, struct rte_mbuf *m);
