/* SPDX-License-Identifier: BSD-3-Clause */
/* rtt.h - round trips of the TCP sessions of some VMs, told by the packets that pass by: from a segment that goes one way until
 * its acknowledgement comes back the other.
 *
 *   VM <--- RTT_VM ---> this router <--- RTT_REMOTE ---> remote       the sum of both is what the session sees
 *
 * Of each session and way one segment at a time is timed, so a session gives one time in a round trip at most. None is taken
 * where it would tell something else than the way and who acknowledges at once:
 *
 *   sent again, or overtaken   which of the two is acknowledged nobody knows (Karn), and a hole delays those behind it
 *   acknowledged with more     whoever acknowledged waited for that
 *   of what was never sent     is no acknowledgement of it
 *
 * Of a VM that is timed stands how often which time was, by way and half; the median is read from that.
 *
 * Readers and writers: workers, without locks: both ways of a session are often two workers'. The one that sees its segments writes
 *        `sent`; what waits for its acknowledgement is ended by a CAS, once; times are counted by atomic additions, of each
 *        session one in a round trip at most. Whoever loses a race loses a time.
 * Writer: the control thread says which VMs are timed, and reads what was counted.
 * Size:  RTT_SESSIONS; a session keeps its place until nothing was timed there for RTT_IDLE_US, and others of its place are not timed.
 *        RTT_VMS, with 1 KiB each that is not touched before one is timed; further ones wait until one of these is timed no more.
 * Order: none is needed: the table decides about nothing but times. A worker that is about to count a time when its VM's place
 *        changes hands counts it for the next VM.
 */
#pragma once

#include "sessions.h"

#define RTT_VMS	     4096
#define RTT_SESSIONS 8192
#define RTT_IDLE_US  1000000u
#define RTT_MAX_US   8000000u /* what takes longer is no round trip */
#define RTT_BUCKETS  64	      /* four for each doubling, from 64 us to 2 s */

enum rtt_half { RTT_REMOTE, RTT_VM, RTT_HALVES };

/* By the VM's live address; by an old one. */
enum rtt_way { RTT_NEAR, RTT_OLD, RTT_WAYS };

struct rtt;

struct rtt_segment {	   /* of a TCP packet */
	uint32_t seq, len; /* SYN and FIN count */
	uint32_t ack;
	bool acks, syn;
};

struct rtt_times { /* of a VM: how often which */
	uint32_t n[RTT_WAYS][RTT_HALVES][RTT_BUCKETS];
};

struct rtt *rtt_new(uint32_t slots); /* of the VM table; NULL: no memory */
void rtt_free(struct rtt *t);

/* The VM of this slot is timed from now on, anew, or as soon as there is a place, first come, first served; no more. */
void rtt_begin(struct rtt *t, uint32_t slot);
void rtt_end(struct rtt *t, uint32_t slot);
uint32_t rtt_vms(const struct rtt *t);	   /* that are timed */
uint32_t rtt_waiting(const struct rtt *t); /* for which there is no place yet */

/* NULL: it is not timed. */
struct rtt_times *rtt_of(struct rtt *t, uint32_t slot);
/* A packet of the session goes to this side. True: what it acknowledges is a time of the other half. `now_us` may wrap. */
bool rtt_pass(struct rtt *t, const struct session_key *k, enum rtt_half to, const struct rtt_segment *s,
	uint32_t now_us, uint32_t *took_us);
void rtt_count(struct rtt_times *v, enum rtt_way way, enum rtt_half half, uint32_t us);
/* To within an eighth; *n is of how many. 0 when there is none. */
uint32_t rtt_median(const struct rtt_times *v, enum rtt_way way, enum rtt_half half, uint64_t *n);
