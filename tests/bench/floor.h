/* SPDX-License-Identifier: BSD-3-Clause */
/* floor.h - what no router can do without for the packets of a workload, whose VMs' records are known and asked for ahead:
 *
 *   W1, W2, W6   MAC, address and TTL are written, from the record
 *   W3           the tunnel's 50 bytes stand in front of the frame, from a template for the record's location, with their lengths
 *   W5, W8       both
 *   W4           the tunnel's header is read and taken away, and the record says where the frame goes
 *   W7           as W2; where the VM drains its session, which is known and asked for ahead, too, tells the address, and what goes by the
 *                peer's gets the tunnel's header
 *
 * Nothing is checked, counted or summed, nor is anything looked for. Of W6, a part of which goes through the tunnel, it is less
 * than that. */
#pragma once

#include "workloads.h"

#include <dataplane/tables/sessions_at.h>

/* Of packets, one after the other. */
struct floor_needs {
	const struct vm_rec *const *rec;
	/* W7 alone; where the VM does not drain: floor_no_session. */
	const struct session_cell *const *session;
};

typedef void (*floor_burst)(
	const struct worker *w, struct rte_mbuf **m, const struct floor_needs *needs, uint32_t n);

extern const struct session_cell floor_no_session;

floor_burst floor_of(const struct workload *kind);
/* Whose record the packet of this VM, one of `vms`, needs. */
uint32_t floor_vm(const struct workload *kind, uint32_t vm, uint32_t vms);
