/* SPDX-License-Identifier: BSD-3-Clause */
/* probe.h - follows packets: what enters the router and fits a filter is recorded at each stage and at its end.
 *
 * A filter is asked once, where a packet enters: when it is received, or comes from the control thread. It gets a number
 * (meta.probe) that it keeps through tunnel, NAT, hold and the next burst; what a stage makes of it (a copy, a
 * fragment, an ICMP error) gets a number of its own, and the record that begins it says of what it was made. What a stage
 * decided is the difference between the record at its entry and the next one.
 *
 * Writer:  one worker, inside its bursts. Without a probe that is one branch for each stage and burst.
 * Reader:  one other thread, at any time: probe_next(), probe_done().
 * Size:    fixed at creation. A full ring loses records, which are counted; the worker never waits.
 * Order:   a record is written before `head` is released; a slot is reused after `tail` was released.
 * Life:    the control thread stores worker.probe_wanted; the worker takes it up before anything else in its loop
 *          (worker_orders), so a replaced probe may be freed a grace period later.
 */
#pragma once

#include "meta.h"
#include "vec.h"

#include <rte_ether.h>
#include <stdbool.h>

#define PROBE_VM_IPS (2 * VM_REC_ADDRESSES + VM_REC_DRAINS)

struct worker;

struct probe_match {   /* what is not set asks nothing; MACs, addresses and ports: of either end */
	uint16_t port; /* that it enters by, or that a frame of our own leaves by; TOPO_NONE = any */
	uint16_t seg;  /* of the attachment, or of the tunnelled frame; TOPO_NONE = any */
	uint16_t ethertype, l4_port;
	int16_t proto; /* -1 = any */
	bool by_mac;
	struct rte_ether_addr mac;
	rte_be32_t host;
	/* a VM: its MAC or any of its addresses, private or global */
	bool by_vm;
	struct rte_ether_addr vm_mac;
	uint8_t n_vm_ips;
	rte_be32_t vm_ips[PROBE_VM_IPS];
};

enum probe_point {
	PROBE_RX,     /* received; what: port */
	PROBE_MADE,   /* by the control thread, or of packet `parent`; what: enum made */
	PROBE_STAGE,  /* enters a stage; what: enum stage */
	PROBE_HELD,   /* waits; what: enum enter, where it will go on */
	PROBE_DROP,   /* what: enum drop */
	PROBE_SENT,   /* what: port */
	PROBE_PUNTED, /* to the kernel; what: port */
};

#define PROBE_ALL 0x7f /* of (1 << point) */

struct probe_vm { /* of the record in meta.vm, which may be gone when somebody reads */
	bool known;
	uint8_t owner, location, n_drains;
	uint16_t seg, att;
	struct rte_ether_addr mac;
};

struct probe_record {
	uint64_t tsc;
	uint32_t packet, parent;
	uint32_t wire_len;
	uint16_t len;	/* of data */
	uint16_t place; /* the probe's own */
	uint8_t point, what;
	struct probe_vm vm;
	struct meta meta; /* .vm must not be followed */
	uint8_t data[];
};

struct probe {
	/* set before a worker has it */
	struct probe_match match;
	uint8_t points; /* which to record: 1 << point */
	uint16_t snap;	/* bytes of each packet */
	uint32_t stride, entries;
	uint8_t *ring;
	/* the worker's */
	uint32_t first; /* number of the first packet; below it are those of a probe before */
	uint32_t left;	/* packets that may still be marked */
	uint32_t head __rte_cache_aligned;
	uint64_t lost;
	/* the reader's */
	uint32_t tail __rte_cache_aligned;
};

/* For `left` packets; `entries` is rounded up to a power of two. NULL: no memory. */
struct probe *probe_new(const struct probe_match *match, uint8_t points, uint16_t snap, uint32_t entries);
void probe_free(struct probe *p);
/* The oldest record, valid until probe_done(); NULL = none. */
const struct probe_record *probe_next(struct probe *p);
void probe_done(struct probe *p);
uint64_t probe_lost(const struct probe *p);

/* Does a frame fit? `port` is where it enters. */
struct topology;
bool probe_fits(const struct probe_match *q, const struct topology *t, const struct rte_mbuf *m,
	uint16_t port, uint16_t vlan);

/* ---- for the data plane; all but probe_take() only while worker.probe is not NULL ---- */

void probe_take(struct worker *w, struct probe *p); /* or NULL */
void probe_received(struct worker *w, struct rte_mbuf *m);
void probe_ordered(struct worker *w, struct rte_mbuf *m, uint8_t made);
/* `child` was made of `parent`. */
void probe_child(struct worker *w, const struct rte_mbuf *parent, struct rte_mbuf *child, uint8_t made);
void probe_stage(struct worker *w, uint8_t stage, const struct vec *v);
void probe_note(struct worker *w, struct rte_mbuf *m, enum probe_point point, uint8_t what);
/* Before the driver gets the vector, whose packets are not ours to look at then: records of those that it may take. Returns how
 * many; probe_sent() keeps those of the first `sent` packets. */
uint32_t probe_sending(struct worker *w, uint8_t port, const struct vec *v);
void probe_sent(struct worker *w, uint32_t prepared, uint16_t sent);
