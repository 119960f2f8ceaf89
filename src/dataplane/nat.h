/* SPDX-License-Identifier: BSD-3-Clause */
/* nat.h - rewrites one address of a parsed IPv4 packet and all checksums that cover it; no state.
 *
 * TCP, UDP (a zero checksum is kept), UDP-Lite and DCCP have the address in their pseudo header; later fragments have
 * no transport header; ICMP errors quote a packet of the other direction, which is translated inside out.
 */
#pragma once

#include "ip4.h"

enum nat_side { NAT_SRC, NAT_DST };

/* Writes `to` and keeps the old address in meta for nat_undo(). DROPS when done; else nothing was changed. */
enum drop nat_rewrite(struct rte_mbuf *m, enum nat_side side, rte_be32_t to);
/* Gives a packet back the addresses it came with: an ICMP error quotes what its receiver had sent. */
void nat_undo(struct rte_mbuf *m);
