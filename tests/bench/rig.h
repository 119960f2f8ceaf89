/* SPDX-License-Identifier: BSD-3-Clause */
/* rig.h - one router with the VMs of frames.h, without a driver: for benches and for tests of many packets. A VM that moved
 * away is owned by the peer, and its global address here drains. */
#pragma once

#include "frames.h"

#define RIG_PEER 1 /* router index */

#define RIG_DATA 32 /* bytes behind the UDP header */
#define RIG_LEN	 (RIG_HEADERS + RIG_DATA)

extern uint16_t rig_segments; /* of the routers to be made; 1 */
extern uint32_t rig_sessions; /* that they can note; 65,536 */

struct rig {
	struct topology *topo;
	struct tables tables;
	struct worker *w;
	struct rte_mempool *pool;
	uint32_t vms;
};

/* Hugepages when `*huge` and there are enough, else none; then `*huge` tells which. Exits when EAL does not start. */
void rig_eal(const char *name, uint32_t megabytes, bool *huge);
/* A router with the VMs registered, and mbufs; `id` tells several in one process apart. NULL: no memory. */
struct rig *rig_new(uint16_t id, uint32_t vms, uint32_t mbufs);
void rig_free(struct rig *r);

/* What becomes of the VMs, RIG_HERE at first, all in one transaction; 0, or why not. */
int rig_become(struct rig *r, enum rig_set set);
/* So many sessions of each VM that came; every other one goes by the address that drains. */
void rig_note_sessions(struct rig *r, uint32_t each);
/* Where it stands; NULL: it is not noted. */
const struct session_cell *rig_session(const struct rig *r, uint32_t vm, uint32_t session);

/* The record of VM i: owned here, or by the peer while its address here drains. */
struct vm_rec rig_vm(uint32_t vm, bool here);

/* Writes a frame whose mark is `seq`, and all that a driver sets. */
void rig_fill(const struct rig *r, struct rte_mbuf *m, enum rig_way way, uint32_t vm, uint64_t seq);
uint64_t rig_seq(struct rte_mbuf *m);

static inline void
rig_received(struct rte_mbuf *m, uint16_t port)
{
	struct meta *md = meta(m);

	md->in_port = (uint8_t)port;
	md->enter = ENTER_RX;
	md->vlan = 0;
}

/* For worker_flush(): nothing is sent, the mbufs are written again for a later burst. */
uint16_t rig_forget(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n);
/* For qsort(): of uint32_t; of double. */
int rig_by_cycles(const void *a, const void *b);
int rig_by_value(const void *a, const void *b);
