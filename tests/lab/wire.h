/* SPDX-License-Identifier: BSD-3-Clause */
/* wire.h - what programs need that are the other end of a router's memif ports. What fails ends the program. */
#pragma once

#include <rte_ether.h>
#include <rte_mbuf.h>

#define WIRE_RING 8192

struct rte_mempool *wire_start(uint16_t ports); /* all of them, and a pool that fills their rings */
void wire_wait(uint16_t ports, volatile const int *stopped); /* until they have a link */
/* Who is asked for by ARP is the port. Frees or sends the request; anything else is freed. */
void wire_answer_arp(uint16_t port, struct rte_mbuf *m);
void wire_send(uint16_t port, struct rte_mbuf *m, uint64_t *refused);
struct rte_ether_addr wire_mac(const char *text);
uint64_t wire_now_us(void);
void wire_idle(void);
