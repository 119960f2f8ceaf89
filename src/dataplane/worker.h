/* SPDX-License-Identifier: BSD-3-Clause */
/* worker.h - all that a stage may change. One per core, written by that core alone. */
#pragma once

#include "meta.h"
#include "probe.h"
#include "stages.h"
#include "topology.h"
#include "vec.h"
#include "vm_hold.h"

#include "tables/mactab.h"
#include "tables/neightab.h"
#include "tables/routetab.h"
#include "tables/rtt.h"
#include "tables/sessions.h"
#include "tables/vmtab.h"

#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#define HOLD_PER_NEIGHBOUR 16	/* packets that wait for one next hop */
#define HOLD_MAX	   256	/* packets that wait in all, per worker */
#define HOLD_MS		   3000 /* longest wait for a next hop */
#define HOLD_FRAGMENTS	   64	/* of HOLD_MAX: draining VMs' fragments that wait for their first one */
#define HOLD_FRAGMENT_MS   100	/* longest wait for it: the network reorders by milliseconds */
#define UNTIMED_CALLS	   15	/* of sixteen */
#define EVENT_RING	   1024
#define ORDER_RING	   2048 /* a batch of 1,000 moves is announced at once */
#define HEARD		   1024 /* entries of the filter before "heard" events */
#define HEARD_MS	   100	/* one event per host and place in this time */
#define FRAG_HOMES	   64	/* fragmented packets of draining VMs whose home is remembered */
#define PUNT_RING	   256	/* packets that wait for the kernel, per worker */
#define INJECT_COPIES	   256	/* that may wait in w->inject: they leave room for orders */
#define VXLAN_FLAG_I	   0x08000000
#define LOOP_HOLD_MS \
	10000 /* nothing is flooded between tunnel and attachments so long after a loop was heard */
#define ARP_SOURCES 1024 /* rate limits of ARP: of VMs, and as many of all other hosts */

/* What workers read and the control thread writes: the tables. One for all workers. */
struct tables {
	struct rcu *rcu;
	struct vmtab *vms;
	struct routetab *routes;
	struct neightab *neighbours;
	struct mactab *macs;
	struct sessions *sessions;
	struct rtt *rtt;
};

struct dp_event {	/* a worker tells the control thread */
	uint8_t kind;	/* enum dp_event_kind */
	uint8_t router; /* router index it came from; ROUTER_SELF = own attachment */
	uint16_t seg, att, port;
	struct rte_ether_addr mac;
	rte_be32_t ip;
	uint32_t held, released, dropped; /* HOLD_OVER: packets that waited; of these, went on; lost in all */
};

enum dp_order_kind {
	ORDER_INJECT,  /* `inject`, with meta.enter set */
	ORDER_RELEASE, /* the neighbour (port, ip) changed: look at held packets */
	ORDER_LOOP,    /* a loop was heard in segment `seg`, perhaps by another worker */
};

struct dp_order { /* the control thread tells a worker */
	struct rte_mbuf *inject;
	uint8_t kind; /* enum dp_order_kind */
	uint8_t made; /* INJECT: enum made, what the packet counts as */
	uint16_t port, seg;
	rte_be32_t ip;
};

/* What goes to the kernel has a rate by class, so that a flood of UDP leaves room for a session and its ARP. */
enum punt_class { PUNT_ARP, PUNT_TCP, PUNT_OTHER, PUNT_CLASSES };

struct stage_count {
	uint64_t packets, calls;
	uint64_t timed, cycles; /* packets of the calls that were timed, and what these took */
};

struct port_count {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, tx_drops;
};

struct traffic { /* of a VM or a segment: traffic.h */
	uint64_t from_packets, from_bytes, to_packets, to_bytes;
};

struct tally { /* of a VM, one way */
	uint64_t packets, bytes;
};

struct bucket { /* token bucket, one owner */
	uint64_t tokens_x1000, last_ms;
};

struct counts { /* conservation: received + made + released = sent + dropped + held + punted */
	uint64_t received, released, sent, held, punted;
	uint64_t drop[DROPS], made[MADES];
	uint64_t events[EVENTS], events_lost[EVENTS];
	uint64_t sessions_full, home_away;
	uint64_t passed; /* received, and given to the worker that forwards them: they count there */
	struct stage_count stage[STAGES];
	struct port_count port[TOPO_PORTS];
};

/* Everything in front of a tunnelled frame. */
struct tunnel_hdr {
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
	struct rte_vxlan_hdr vxlan;
} __rte_packed __rte_aligned(2);

/* A host that the control thread was told of just now: one that sends a million packets a second from a new
 * place must not use up what all the others may report. */
struct heard {
	uint64_t key;		  /* MAC and segment */
	const struct vm_rec *rec; /* of the VM then, to compare only: another one makes it news again */
	uint64_t until_ms;
	uint16_t att;
	uint8_t router, kind;
};

/* The home of a fragmented packet of a draining VM: later fragments have no ports to find it by. */
struct frag_home {
	rte_be32_t vm, remote, home;
	rte_be16_t id;
	uint16_t seg;
	uint8_t proto;
	uint32_t tick;
};

struct worker {
	const struct topology *topo;
	const struct topology *topo_wanted; /* the control thread's word, taken up by worker_orders() */
	/* set before start */
	const struct tables *tables;
	struct rte_mempool *pool;
	struct rte_ring *events[EVENTS]; /* struct dp_event, one producer: this worker */
	struct rte_ring *orders;	 /* struct dp_order, one consumer: this worker */
	struct rte_ring *punts; /* mbufs for the kernel, meta.in_port says whose; one producer: this worker */
	uint16_t id;
	bool scratch;		    /* finds but never inserts: no events, no sessions */
	bool express;		    /* unremarkable packets need not go through all stages */
	uint16_t untimed;	    /* a call of a stage is timed when its number has none of these bits */
	struct probe *probe;	    /* follows packets; NULL = off */
	struct probe *probe_wanted; /* the control thread's word, taken up by worker_orders() */
	uint32_t probe_numbers;	    /* the last one given */
	/* written each loop */
	uint64_t now_ms; /* boot-time clock, coarse */
	uint32_t now_us; /* the same in microseconds; wraps */
	uint32_t tick;	 /* seconds of it */
	struct counts c;
	struct bucket event_bucket[EVENTS];
	struct bucket icmp_bucket;
	struct bucket punt_bucket[TOPO_PORTS][PUNT_CLASSES];
	struct bucket storm_bucket[TOPO_SEGMENTS][STORMS];
	struct bucket arp_vm[ARP_SOURCES], arp_host[ARP_SOURCES]; /* by hash of the sender */
	uint64_t loop_until_ms[TOPO_SEGMENTS]; /* flooding is held back until then; 0 = no loop was heard */
	uint64_t defended_ms[TOPO_SEGMENTS];   /* when the gateway address was last defended; 0 = never */
	struct heard heard[HEARD];
	struct frag_home frag_homes[FRAG_HOMES];
	struct tally *from_vm,
		*to_vm; /* by slot of the VM table, and one more; four to a cache line: a packet needs one way */
	struct traffic seg_traffic[TOPO_SEGMENTS];
	uint32_t *mac_seen; /* by mac_entry.entry: tick */
	struct vec inject;  /* enters with the next burst */
	struct vec tx[TOPO_PORTS];
	struct rte_mbuf
		*hold[HOLD_MAX]; /* by meta.enter, for a neighbour or a fragment; in order of arrival */
	uint16_t n_hold;
	struct vm_hold vm_hold; /* for VMs on their way here */
	struct paths *paths;	/* the vectors between stages */
	struct ready *ready;	/* what express keeps from burst to burst */
	uint16_t more;		/* fragments that this burst may still add, so that no vector overflows */
	struct tunnel_hdr tunnel[TOPO_TUNNELS]; /* headers towards a peer or local VTEP; from 1 */
} __rte_cache_aligned;

/* All that is the worker's alone lies on the NUMA node of its pool, as far as that has memory. */
struct worker *worker_new(
	uint16_t id, const struct topology *topo, const struct tables *tables, struct rte_mempool *pool);
/* One that tries packets on the tables: it has no events and no orders, and nobody sees what it counts and holds. */
struct worker *worker_new_scratch(
	const struct topology *topo, const struct tables *tables, struct rte_mempool *pool);
void worker_free(struct worker *w); /* frees held, injected and unsent mbufs */
/* Sets the coarse clock; called once a loop. */
void worker_tick(struct worker *w, uint64_t now_us);

/* ---- what stages call ---- */

/* This and worker_punt() are the only ways a packet leaves the pipeline other than tx and hold. */
static inline void
worker_drop(struct worker *w, struct rte_mbuf *m, enum drop why)
{
	w->c.drop[why]++;
	if (unlikely(w->probe != NULL))
		probe_note(w, m, PROBE_DROP, (uint8_t)why);
	rte_pktmbuf_free(m);
}

/* Gives a frame to the kernel's interface of the port that it came in by, which has one. Drops it by PUNT_RATE or
 * PUNT_FULL. A scratch worker counts it and gives nothing. */
void worker_punt(struct worker *w, struct rte_mbuf *m, enum punt_class class);

/* Gives a packet that the router made to the next burst; drops it by INJECT_FULL. meta->enter is set. meta->vm is
 * cleared: a record is not valid beyond this burst. */
void worker_inject(struct worker *w, struct rte_mbuf *m);
/* A deep copy of m with its metadata, to be injected, counted as MADE_REPLICA. NULL when there is no mbuf or INJECT_COPIES
 * wait; the copy then counts as made and as dropped by NO_MBUF or INJECT_FULL, so that the loss shows and the books balance. */
struct rte_mbuf *worker_copy(struct worker *w, const struct rte_mbuf *m);
/* A fresh mbuf, counted as made; NULL as above. Metadata zeroed, origin FROM_SELF, no segment. */
struct rte_mbuf *worker_make(struct worker *w, enum made why);
/* The same for one more packet in this burst's vectors: there is a bound to these. */
struct rte_mbuf *worker_make_more(struct worker *w, enum made why);
/* Rate limited by kind; lost ones (false) are counted. A scratch worker tells nothing. */
bool worker_event(struct worker *w, const struct dp_event *ev);
/* An event about where a host (seg, mac) is (router, att): the same news is told once in HEARD_MS, unless the VM's record
 * (NULL: none) changed meanwhile. */
void worker_heard(struct worker *w, const struct dp_event *ev, const struct vm_rec *rec);
/* `child` was made of `parent` (its metadata is in place): a probe that follows one follows the other. */
static inline void
worker_follow(struct worker *w, const struct rte_mbuf *parent, struct rte_mbuf *child, enum made why)
{
	if (unlikely(w->probe != NULL))
		probe_child(w, parent, child, (uint8_t)why);
}

bool bucket_take(struct bucket *b, uint64_t now_ms, uint32_t rate, uint32_t burst);
/* May this host's ARP be heard? VMs have buckets of their own, so that a flood of invented senders takes none of theirs;
 * `where` is the segment or port. */
bool worker_arp_allowed(struct worker *w, const struct rte_ether_addr *from, uint16_t where, bool is_vm);
/* Flooding between the tunnel and the attachments of this segment stops for LOOP_HOLD_MS. */
void worker_hear_loop(struct worker *w, uint16_t seg);

/* Sends all w->tx vectors with `send` (the driver, or a test); what it does not take is dropped as TX_FULL. */
void worker_flush(struct worker *w,
	uint16_t (*send)(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n), void *arg);
/* Handles orders from the control thread: takes up its probe, injects, releases. Once a loop, before anything else. */
void worker_orders(struct worker *w);
/* Drops what waited too long for a next hop; a fragment goes on without its first one. Once a loop. */
void worker_expire_hold(struct worker *w);
/* Puts a packet on hold that will go on at `enter`; the caller made sure of room. */
void worker_hold(struct worker *w, struct rte_mbuf *m, enum enter enter);
/* Held packets of which `goes` is true enter with the next burst, in order of arrival. */
void worker_release(struct worker *w, bool (*goes)(struct rte_mbuf *m, const void *arg), const void *arg);

/* received + made + released - sent - dropped - held(now and ever) - punted - what waits in tx and inject; 0 when whole.
 * "released" counts packets leaving hold, "held" packets entering it. */
int64_t worker_imbalance(const struct worker *w);
