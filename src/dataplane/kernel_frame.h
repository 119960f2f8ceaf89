/* SPDX-License-Identifier: BSD-3-Clause */
/* kernel_frame.h - what the kernel may send out of a port that has given it an interface (punt).
 *
 * IPv4 from the port's own address, and ARP requests of it, both with the port's own MAC. Never an answer to ARP: the
 * router gives that itself. Nothing that the kernel forwards or says by an address of another interface, no broadcast and
 * no multicast.
 */
#pragma once

#include "topology.h"

#include <rte_mbuf.h>

/* Notes an IPv4 packet in the mbuf's metadata, as ip4_parse() does. */
bool kernel_frame_may_leave(const struct topo_port *port, struct rte_mbuf *m);
