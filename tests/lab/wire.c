/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire.h"

#include <arpa/inet.h>
#include <rte_arp.h>
#include <rte_debug.h>
#include <rte_ethdev.h>
#include <time.h>

static void
port_start(uint16_t port, struct rte_mempool *pool)
{
	struct rte_eth_conf conf = {0};

	if (rte_eth_dev_configure(port, 1, 1, &conf) != 0 ||
		rte_eth_rx_queue_setup(port, 0, WIRE_RING, SOCKET_ID_ANY, NULL, pool) != 0 ||
		rte_eth_tx_queue_setup(port, 0, WIRE_RING, SOCKET_ID_ANY, NULL) != 0 ||
		rte_eth_dev_start(port) != 0)
		rte_exit(1, "port %u does not start\n", port);
}

struct rte_mempool *
wire_start(uint16_t ports)
{
	struct rte_mempool *pool = rte_pktmbuf_pool_create(
		"wire", 2 * ports * WIRE_RING + 1023, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);

	if (pool == NULL)
		rte_exit(1, "no memory\n");
	for (uint16_t i = 0; i < ports; i++)
		port_start(i, pool);
	return pool;
}

void
wire_wait(uint16_t ports, volatile const int *stopped)
{
	for (uint16_t i = 0; i < ports; i++) {
		struct rte_eth_link link = {0};

		for (int tries = 0; tries < 200 && link.link_status == 0 && !*stopped; tries++) {
			rte_eth_link_get_nowait(i, &link);
			nanosleep(&(struct timespec){0, 50000000}, NULL);
		}
		if (link.link_status == 0)
			rte_exit(1, "port %u has no link\n", i);
	}
}

void
wire_send(uint16_t port, struct rte_mbuf *m, uint64_t *refused)
{
	if (rte_eth_tx_burst(port, 0, &m, 1) == 1)
		return;
	(*refused)++;
	rte_pktmbuf_free(m);
}

void
wire_answer_arp(uint16_t port, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_arp_hdr *a = (struct rte_arp_hdr *)(eth + 1);
	rte_be32_t asked = a->arp_data.arp_tip;
	uint64_t refused = 0;

	if (a->arp_opcode != htons(RTE_ARP_OP_REQUEST)) {
		rte_pktmbuf_free(m);
		return;
	}
	a->arp_opcode = htons(RTE_ARP_OP_REPLY);
	a->arp_data.arp_tha = a->arp_data.arp_sha;
	a->arp_data.arp_tip = a->arp_data.arp_sip;
	a->arp_data.arp_sip = asked;
	rte_eth_macaddr_get(port, &a->arp_data.arp_sha);
	eth->dst_addr = a->arp_data.arp_tha;
	eth->src_addr = a->arp_data.arp_sha;
	wire_send(port, m, &refused);
}

struct rte_ether_addr
wire_mac(const char *text)
{
	struct rte_ether_addr a;

	if (rte_ether_unformat_addr(text, &a) != 0)
		rte_exit(1, "no MAC: %s\n", text);
	return a;
}

uint64_t
wire_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void
wire_idle(void)
{
	nanosleep(&(struct timespec){0, 50000}, NULL);
}
