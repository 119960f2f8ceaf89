/* SPDX-License-Identifier: BSD-3-Clause */
/* sim.h - inside of the simulator: what a seed makes of a world (world.h), and what must hold of it.
 *
 *   sim.c          options, less of a seed         seed.c         a seed: its rounds, and its end
 *   many.c         many seeds, by some processes   history.c      the VMs, and all that was asked for them
 *   controllers.c  two controllers that call       chaos.c        faults, and their end
 *   invariants.c   what holds always and after     ghosts.c       VMs that an old store brings back
 *   watch.c        an observer                     trace.c        the last events, in words
 *   plain.c        instead of cryptography
 */
#pragma once

#include "world.h"

#define SLOTS	    24 /* sets of addresses, each used by one VM after another */
#define CONTROLLERS 2
#define PREFIXES    5
#define ROUNDS_MAX  3
#define VM_SEGMENTS 2 /* tenant-a, which all routers have, and tenant-b */
#define CHAOS_KINDS 64

enum op { OP_REGISTER, OP_MOVE, OP_UNREGISTER };
/* Of a change: its reply is on its way, or was lost, or says that it is done, or that it is not. */
enum outcome { ASKED, UNKNOWN, ACKED, REFUSED };

struct change {
	enum op op;
	uint64_t epoch;
	unsigned int router;
	enum outcome outcome;
	uint64_t asked_at;
	unsigned int old; /* router of the address that begins to drain; `router`: none */
	uint64_t drain_min, drain_max;
	const char *sessions; /* the policy of a move: what becomes of old ones */
	bool prepared; /* or may be, at its router: then it may be made whenever its VM is heard there */
	struct change *next;
};

struct slot {
	unsigned int number, segment;
	uint8_t generation; /* in the MAC: another VM with the same addresses */
	/* of this generation */
	struct change *changes; /* newest first */
	uint64_t highest;	/* epoch */
	/* of those before: when its end was asked for; a store that was put back has it */
	uint64_t gone_at[256];
	bool put_back[256];
};

/* What a controller believes of a slot's VM. */
struct view {
	uint8_t generation;
	uint64_t epoch; /* known, or last used */
	bool registered, busy;
	unsigned int router;
	struct change *last; /* of its own */
};

struct line { /* of a controller to a router */
	struct controller *controller;
	unsigned int router;
	uint64_t term; /* as it was told */
	struct channel *channel;
	struct rpc *rpc;
	struct env_timer *redial;
	bool asked; /* what it knows: it has answered */
};

struct controller {
	struct sim *sim;
	struct node *node;
	uint64_t term;
	bool active;
	uint64_t stop_at;	 /* superseded: it speaks until then; 0 = it is not */
	uint64_t adopting_until; /* asks the routers what they know, and changes nothing; 0 = it does not */
	struct view views[SLOTS];
	struct line lines[WORLD_ROUTERS];
};

#define WATCH_NAME "watch"

struct watch {
	struct sim *sim;
	struct env *env;
	unsigned int router;
	uint8_t key[32];
	struct channel *channel;
	struct rpc *rpc;
	struct env_timer *redial;
	bool on, reading; /* it is subscribed; and has not read all VMs yet */
	char cursor[64];  /* "": it begins anew */
	uint64_t number;  /* of the last event; 0: the next may be any */
	json_t *vms;	  /* by MAC */
};

struct routes { /* of a router, to 203.0.PREFIX.0/24: the hosts that they lead to */
	uint32_t acked[PREFIXES], unsure[PREFIXES];
	bool any[PREFIXES]; /* its store was lost or is an old one */
	uint32_t asked;
	int prefix; /* -1: none on its way */
};

struct options {
	uint64_t without;		     /* faults by their bits */
	unsigned int routers, slots, rounds; /* 0: by the seed */
	bool trace, log;
};

/* What came of a seed, or of many. */
struct tally {
	uint64_t acks, moves, commits, refusals, unknown, crashes, superseded, takeovers;
	uint64_t events, resyncs;     /* of the observer */
	uint64_t faults[CHAOS_KINDS]; /* of each kind, whatever came of them */
	uint64_t up_ms,
		agreed_ms; /* the slowest round: from the heal to the last channel, from there to agreement */
};

struct sim {
	struct world *w;
	const struct options *options;
	unsigned int n_routers, n_slots;
	uint64_t faults;	       /* those that this seed has */
	unsigned int rounds, fault_in; /* one in so many steps */
	uint64_t step_ms;	       /* the longest */
	struct controller controllers[CONTROLLERS];
	struct watch watch;
	struct slot slots[SLOTS];
	bool has[VM_SEGMENTS][WORLD_ROUTERS];
	struct routes routes[WORLD_ROUTERS];
	struct change *ended; /* of VMs that are gone */
	unsigned int turn;
	unsigned int calls; /* on their way */
	uint64_t top_term;
	/* One controller has spoken all the time and forgot nothing, nor did a router: its epochs are right. */
	bool strict;
	/* times of the world */
	uint64_t started[WORLD_ROUTERS], restart_at[WORLD_ROUTERS], lost_at[WORLD_ROUTERS];
	uint64_t calm_since[WORLD_ROUTERS];	       /* without a fault of its disk, its clocks or itself */
	uint64_t line_fault[WORLD_NODES][WORLD_NODES]; /* the last one between two, or when it ends */
	uint64_t lossy_end;
	uint64_t
		day_at; /* a day has passed: tombstones may be forgotten, nobody repeats what he asked before */
	struct stored *yesterday[WORLD_ROUTERS];
	/* what was seen of a router: it does not go back */
	uint64_t epochs[WORLD_ROUTERS][SLOTS], floors[WORLD_ROUTERS][SLOTS], terms[WORLD_ROUTERS];
	uint8_t generations[WORLD_ROUTERS][SLOTS];
	bool is_old[WORLD_ROUTERS];	    /* its store, with which it is to start, */
	uint64_t old[WORLD_ROUTERS][SLOTS]; /* and what it had: from a backup alone, it may go */
	struct tally did;
};

struct result {
	bool good;
	uint64_t fingerprint; /* of all that happened */
	struct tally did;
	char why[440];
};

/* ---- seed.c ---- */

struct result run_seed(uint64_t seed, const struct options *o);

/* ---- many.c ---- */

#define JOBS_MAX 64

struct many {
	uint64_t from, to;
	unsigned int jobs; /* processes */
	const struct options *options;
};

/* All of them, whatever becomes of one: which failed as soon as they do, how far it is now and then, and in the end one
 * line of what all came to. The number of those that failed. */
uint64_t run_many(const struct many *m);
void tell_tally(const struct tally *t);

/* ---- history.c ---- */

extern const char *const segment_names[VM_SEGMENTS];

void history_free(struct sim *s);
struct mac slot_mac(const struct slot *t, uint8_t generation);
json_t *change_key(const struct slot *t, const struct change *ch); /* whose, and its epoch */
json_t *change_params(struct sim *s, const struct slot *t, const struct change *ch);
/* One of the routers that have the slot's segment. */
unsigned int slot_router(struct sim *s, const struct slot *t);
struct change *change_new(struct sim *s, struct slot *t, enum op op, uint64_t epoch, unsigned int router);
void change_acked(struct sim *s, struct slot *t, struct change *ch);
/* What a router knows of the slot's VM of a generation, or NULL. */
struct vm_obj *slot_vm(struct sim *s, unsigned int router, const struct slot *t, uint8_t generation);
ip4 slot_private(const struct slot *t);
ip4 slot_global(const struct slot *t, unsigned int router);

/* ---- controllers.c ---- */

void controllers_begin(struct sim *s);
void controllers_end(struct sim *s);
void controllers_act(struct sim *s); /* perhaps a change, perhaps a replay */
void controllers_rest(struct sim *s);
/* It takes over from the other one, with this term; what it knows is a copy, or what it asks the routers. */
void controller_takes_over(struct controller *c, uint64_t term, bool empty);
void controller_restarts(struct controller *c, bool empty);
bool controllers_settled(struct sim *s); /* every line is up, and no call waits */

/* ---- watch.c ---- */

void watch_configure(struct sim *s, struct node *n);
void watch_begin(struct sim *s);
void watch_end(struct sim *s);
bool watch_is_up(struct sim *s);
/* Its copy is what its router knows. */
bool watch_agrees(struct sim *s, char why[200]);

/* ---- chaos.c ---- */

void chaos_begin(struct sim *s);
void chaos_act(struct sim *s); /* one fault */
void chaos_restart(struct sim *s, bool all);
void chaos_heal(struct sim *s);
void chaos_end(struct sim *s);
uint64_t fault_bits(const char *names); /* "crash,cut"; 0: there is no such */
const char *fault_name(unsigned int i); /* NULL behind the last */

/* ---- ghosts.c ---- */

void ghosts_put_back(struct sim *s, struct node *n); /* its store is an old one now */
void ghosts_unregister(struct sim *s);

/* ---- invariants.c ---- */

void check_always(struct sim *s);
void check_start(struct sim *s, unsigned int router); /* it has just started from its store */
bool channels_up(struct sim *s);
bool stores_take(struct sim *s); /* each router knows that its store does so again */
/* One owner per VM, at one epoch, at all routers that share it. `why` names the first that differs. */
bool owners_agree(struct sim *s, char why[200]);
void check_round(struct sim *s); /* healed and agreed */
/* What one owns is the same to both of each pair, by their digests. */
bool digests_agree(struct sim *s, char why[200]);
bool moves_over(struct sim *s);	   /* nothing drains, nor is about to move */
void check_end(struct sim *s);	   /* and nothing is left of a move */
void check_restart(struct sim *s); /* everything is in the store: the same again after kill -9 */

/* ---- trace.c ---- */

void trace_begin(struct sim *s);
void note(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void trace_print(void);
