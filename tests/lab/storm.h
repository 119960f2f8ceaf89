/* SPDX-License-Identifier: BSD-3-Clause */
/* storm.h - what a segment in trouble sends: broadcasts and ARP questions from many MACs; and amid it a VM that asks for its
 * gateway ten times a second. For stream.c.
 */
#pragma once

#include <rte_ether.h>
#include <rte_mbuf.h>
#include <stdbool.h>

/* Broadcast UDP, and ARP questions for a host that nobody has; each uses `macs` source MACs, one after another. */
void storm_floods(uint64_t broadcast_pps, uint64_t arp_pps, uint32_t macs);
/* The question of a VM for its gateway. */
void storm_asks(const struct rte_ether_addr *vm, rte_be32_t ip, rte_be32_t gateway);
/* While `on`, sends what is due since it began; what the port's ring refuses is lost. */
void storm_blow(bool on, uint16_t port, struct rte_mempool *pool, uint64_t now_us);
/* Prints members of a JSON object, each after a comma: what was sent and refused, by kind. */
void storm_report(void);
