/* SPDX-License-Identifier: BSD-3-Clause */
/* plan.h - what the configuration asks of the machine: CPUs, memory, EAL devices. Pure: touches nothing.
 *
 * A port's `device` is any DPDK device string. What a driver needs to carry whole frames of the port's MTU, and to have a
 * queue for each worker, is completed here where the operator did not say it himself, so that no driver default cuts frames.
 */
#pragma once

#include <api/kinds.h>

#define PLAN_WORKERS 32
#define PLAN_PORTS   32
#define PLAN_TXD     1024 /* transmit descriptors for a queue of a NIC */

struct plan_port {
	char name[64];	/* EAL device name: "net_af_packet0" or "0000:01:00.0" */
	char args[512]; /* the completed string for --vdev or -a */
	bool pci;
	uint32_t room; /* mbuf data room without headroom that the driver needs */
	uint16_t
		queues; /* that the device has at most, as far as that is known; 0: one for each worker, if it can */
};

struct plan {
	uint16_t n_workers, n_ports;
	uint16_t cpu[PLAN_WORKERS];
	uint16_t control_cpu;
	bool hugepages;
	uint32_t mbufs;
	uint32_t room;	    /* mbuf data room without headroom */
	uint64_t memory_mb; /* EAL memory that tables and buffers need */
	struct plan_port ports[PLAN_PORTS];
};

/* Completes one device string; 0 or -EINVAL with the reason. */
int plan_device(const struct conf_port *port, uint16_t workers, uint32_t rx_ring, struct plan_port *out,
	struct err *e);
/* `huge_mb` is what the machine has free in hugepages. Adds every fault with its path; 0 or -EINVAL. */
int plan_make(const struct config *c, uint64_t huge_mb, struct plan *p, struct faults *f);
/* Megabytes of free hugepages, from sysfs. */
uint64_t plan_free_hugepages_mb(void);
/* The summary that --check prints. */
void plan_print(const struct config *c, const struct plan *p, FILE *out);
