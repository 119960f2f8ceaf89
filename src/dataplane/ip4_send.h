/* SPDX-License-Identifier: BSD-3-Clause */
/* ip4_send.h - an IPv4 packet leaves a stage within the MTU of its way: whole, in fragments, or not at all. */
#pragma once

#include "worker.h"

/* May the packet go on by a way of this MTU? Takes a forwarded packet's TTL, once, and none of the router's own. False when
 * it was dropped, and its sender told: the TTL ended, or it is larger than the MTU and DF forbids to cut it. Called before
 * the Ethernet header is rewritten: the sender is told where the packet came from. */
bool ip4_hop(struct worker *w, struct rte_mbuf *m, uint16_t mtu);
/* Adds the packet, its Ethernet header and metadata final, to `out`; in fragments (RFC 791) when it is larger than `mtu`.
 * IP options are not fragmented: too_big. */
void ip4_send(struct worker *w, struct rte_mbuf *m, uint16_t mtu, struct vec *out);
/* Carries a VM's frame to the gateway on to another router of the group, unchanged, through the tunnel. */
void ip4_carry(struct worker *w, struct rte_mbuf *m, uint8_t router, struct vec *encap);
