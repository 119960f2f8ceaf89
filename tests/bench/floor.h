/* SPDX-License-Identifier: BSD-3-Clause */
/* floor.h - what no router can do without for the packets of a workload, whose VMs' records are known and asked for ahead:
 *
 *   W1, W2, W6, W7   MAC, address and TTL are written, from the record
 *   W3               the tunnel's 50 bytes stand in front of the frame, from a template for the record's location, with their lengths
 *   W5, W8           both
 *   W4               the tunnel's header is read and taken away, and the record says where the frame goes
 *
 * Nothing is checked, counted or summed, nor is anything looked for. Of W6 and W7, a part of which goes through the tunnel, it is
 * less than that. */
#pragma once

#include "workloads.h"

typedef void (*floor_burst)(
	const struct worker *w, struct rte_mbuf **m, const struct vm_rec **recs, uint32_t n);

floor_burst floor_of(const struct workload *kind);
/* Whose record the packet of this VM, one of `vms`, needs. */
uint32_t floor_vm(const struct workload *kind, uint32_t vm, uint32_t vms);
