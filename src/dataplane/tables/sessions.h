/* SPDX-License-Identifier: BSD-3-Clause */
/* sessions.h - homes of the sessions of VMs that drain: 5-tuple -> the global address the session uses.
 *
 * A fixed array of buckets in a mapped, versioned file on tmpfs that a restarted process takes up. No pointers, no
 * locks: any worker inserts by compare-and-swap in the bucket and refreshes by plain stores.
 *
 *   bucket, 8 cache lines: | head, 14 tags | cell 0 | cell 1 | ... | cell 13 |
 *   head, 64 bits:         | version 36 | 14 x (free, claimed, live) |
 *   cell, 32 bytes:        | key 16 | home 4, flags 1, generation 3 | tick 4 | 0 |
 *
 * A look-up reads the line of the cell that the key leads to; where that does not have it, the head and the cells whose tags fit.
 *
 * Readers and writers: workers. The control thread counts, frees and ages (sweeps) alongside.
 * Size:    fixed at creation: at least twice `entries` cells. A full bucket = SESSION_FULL: not noted (at `entries` sessions
 *          fewer than 2 in 1,000).
 * Order:   to insert: claim a cell (CAS of the head), write it, then publish it by a CAS from the very head under which
 *          the bucket was searched; when that fails somebody published or freed one, so search again. So a session
 *          never has two cells. Only then the cell loses its mark of a claimed one, and tells by itself that it is live.
 *          To free: first the cell becomes busy, a CAS from the state by which it was condemned, and is nobody's from then on;
 *          then the head says that it can be claimed.
 *          A reader compares the key between two looks at the state. What is marked as claimed is live if the head said so before
 *          and is still the same. What the head calls live and is busy was freed, or written anew, since.
 * Ageing:  seconds ticks of the boot-time clock, compared modulo 2^32. TCP: 10 s of silence after both FINs (had one not been
 *          acknowledged, it would have come again), 240 s after a RST (RFC 5382 REQ-5; it may be forged: traffic goes on
 *          refreshing), else 2 h 4 min idle. Others: 5 min.
 */
#pragma once

#include <rte_byteorder.h>
#include <stdbool.h>
#include <stdint.h>

struct session_key {   /* 16 bytes */
	rte_be32_t vm; /* the VM's private address */
	rte_be32_t remote;
	rte_be16_t vm_port; /* ICMP echo: the identifier, and remote_port 0; other protocols: both 0 */
	rte_be16_t remote_port;
	uint32_t vni_proto; /* vni << 8 | protocol */
};

enum session_result { SESSION_FOUND, SESSION_NOTED, SESSION_ABSENT, SESSION_FULL };

/* What the packet tells about a TCP session; and of any, that its home is a guess: it gives way to who knows it. */
enum {
	SESSION_FIN_FROM_VM = 1,
	SESSION_FIN_TO_VM = 2,
	SESSION_RST = 4,
	SESSION_GUESSED = 8,
};

#define SESSIONS_A_BUCKET 14 /* at most */

struct sessions;

struct sessions_info { /* one session, for show and sweeps */
	struct session_key key;
	rte_be32_t home;
	uint32_t idle_s;
	uint8_t flags;
};

/* `file` NULL: anonymous memory. A file of another version or size is replaced by an empty one (*fresh true); of ours, each
 * cell is checked and what makes no sense is left out. `boot_id` is kept in the file: ticks of another boot are re-based,
 * so that what was idle stays so. NULL with errno; EBUSY: another process has the file. */
struct sessions *sessions_new(const char *file, uint32_t entries, const char *boot_id, bool *fresh);
void sessions_free(struct sessions *s); /* unmaps; the file stays */

/* The home of a session, refreshed to `tick`; SESSION_FOUND or SESSION_ABSENT. */
enum session_result sessions_find(
	struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t *home);
/* As sessions_find, but the session does not notice. */
enum session_result sessions_peek(const struct sessions *s, const struct session_key *k, rte_be32_t *home);
/* As sessions_find, but notes it with `*home` when absent; an existing session keeps its home, returned in *home, but for one
 * that was guessed when this one is not. */
enum session_result sessions_note(
	struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t *home);
/* Gives a session another home (UDP: the latest inbound decides; TCP: a session that had ended). */
enum session_result sessions_rehome(
	struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t home);
/* What another router has noted, with its last packet at `tick`: a session that is here stays as it is, for it has evidence; one
 * that was guessed takes this home (SESSION_NOTED). */
enum session_result sessions_learn(
	struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t home);
/* Tells whether an existing TCP session has ended (FIN both ways or RST), so that a new SYN may take its key. */
bool sessions_ended(struct sessions *s, const struct session_key *k);

/* Control thread. */
uint32_t sessions_count(const struct sessions *s, rte_be32_t home); /* those not aged out yet; home 0: all */
/* Frees what has aged; call at least once a minute. Returns how many. */
uint32_t sessions_sweep(struct sessions *s, uint32_t tick);
/* As sessions_sweep in steps, so that a large table stalls nobody. Frees what is gone(), too; what stays is counted by kept(). */
struct sessions_walk {
	uint32_t tick;
	bool young;							       /* what has aged stays, too */
	bool (*gone)(void *arg, const struct session_key *k, rte_be32_t home); /* NULL: none but by age */
	void (*kept)(void *arg, rte_be32_t home);			       /* NULL: not counted */
	void *arg;
	uint32_t next; /* bucket; 0 at first */
};
/* Looks at so many buckets more; false at the table's end. */
bool sessions_walk(struct sessions *s, struct sessions_walk *walk, uint32_t buckets);
bool sessions_next(const struct sessions *s, uint32_t tick, uint32_t *next, struct sessions_info *info);
/* Tells of the sessions in so many buckets from *bucket on; false at the table's end. What is noted or freed meanwhile may be
 * left out. */
bool sessions_look(const struct sessions *s, uint32_t tick, uint32_t *bucket, uint32_t buckets,
	void (*seen)(void *arg, const struct sessions_info *info), void *arg);
