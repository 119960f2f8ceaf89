/* SPDX-License-Identifier: BSD-3-Clause */
/* ports.h - DPDK ports: set-up, queues, link state, and what wakes a worker that sleeps for one.
 *
 * A port has a receive and a transmit queue for each worker, as far as its driver has them, so that none ever locks. Where it has fewer,
 * workers pass packets to each other (passing.h).
 */
#pragma once

#include "plan.h"

#include <dataplane/topology.h>
#include <env/env.h>

#define PORT_QUEUES 64

enum wake_kind { WAKE_NONE, WAKE_SOCKET, WAKE_INTERRUPT };

struct port {
	uint16_t index; /* in the configuration */
	uint16_t id;	/* DPDK's */
	uint16_t rxqs, txqs;
	uint16_t rxd, txd;
	const char *driver;
	unsigned int ifindex; /* of the kernel interface underneath, or 0 */
	bool started;
	bool intr;	/* Rx interrupts were configured */
	bool up;	/* link, as last seen; workers read it */
	uint32_t speed; /* Mbit/s */
	enum wake_kind wake;
	bool wake_by_data; /* the descriptor is readable for as long as packets wait, not once for each */
	int wake_fd[PORT_QUEUES]; /* -1: none, the worker sleeps on a ladder */
	int sockets[PORT_QUEUES]; /* of net_af_packet, by queue */
	uint16_t n_sockets;
	uint64_t socket_drops; /* what came when all slots were full */
};

struct ports;
struct pools;

struct event_base;

struct ports_start {
	const struct config *config;
	const struct plan *plan;
	struct topology *topo;
	const struct pools *pools;
	struct env *env;
	struct event_base *base;
};

/* Finds, configures and describes all ports; fills in the topology's dpdk_port and mac. NULL with the reason. */
struct ports *ports_open(const struct ports_start *s, struct err *e);
int ports_start(struct ports *ps, void (*link)(void *arg, uint16_t port, bool up), void *arg, struct err *e);
void ports_close(struct ports *ps);
const struct port *ports_at(const struct ports *ps, uint16_t index);
const char *port_wake_name(const struct port *p);
/* Packets that came and found no room, all causes. */
uint64_t ports_missed(struct ports *ps, uint16_t index);
