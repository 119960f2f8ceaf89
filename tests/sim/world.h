/* SPDX-License-Identifier: BSD-3-Clause */
/* world.h - routers, controllers and what is between them, in one process and in simulated time.
 *
 * Each node has its own clocks, random numbers, store and model of forwarding behind a `struct env`; the core
 * and the channel that run in it are the real ones. Everything is decided by the seed.
 *
 *   node r-a --(delay, cut, stall, reset)-- node r-b        nodes clc, clc-2: no core, call routers
 *     store: rows, pending commits          model of forwarding: VMs, routes, announcements, sessions
 *
 * A crash ends a node between two events: commits on their way are wholly there or wholly not, in order.
 */
#pragma once

#include <control/core.h>
#include <control/state.h>
#include <env/env.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define WORLD_ROUTERS 8
#define WORLD_NODES   (WORLD_ROUTERS + 2)

struct world;

struct announced {
	uint64_t at;
	enum fwd_announce what;
	uint16_t segment;
	struct mac mac;
	ip4 ip;
};

/* What a router has just asked of its environment, or been told by it. */
enum node_step { STEP_NONE, STEP_COMMIT, STEP_DURABLE, STEP_PREPARE, STEP_PUBLISH, STEP_RETIRED, STEP_WRITE };

struct node {
	struct world *w;
	char name[32];
	uint8_t index;
	struct env env;
	struct core *core; /* NULL: down, or a controller */
	struct config conf;
	uint8_t private_key[32], public_key[32];
	struct config next; /* what a reload reads; see node_next() */
	bool has_next;	    /* else it refuses */
	bool ready;
	unsigned int generation; /* of the process */
	char boot_id[40];
	uint64_t boot_base;  /* world time when this boot began, less what it was suspended */
	int64_t wall_offset; /* added to the world's time */
	int slew_ppm;	     /* both clocks go by so much faster; see node_slew() */
	uint64_t slew_from;
	/* faults */
	int commits_to_fail; /* so many more commits are refused, */
	int commit_error;    /* with this -errno; 0 = -ENOSPC */
	uint64_t failed_at;  /* the last one */
	uint64_t told_after; /* commits are durable at once, but nobody hears of it before this moment */
	bool prepare_fails;
	size_t prepare_limit;	  /* more changes at once are refused; 0 = none */
	uint64_t grace_ms;	  /* a grace period lasts so much longer */
	uint64_t slow_until;	  /* reads little at a time */
	enum node_step crash_on;  /* kill -9 right after this step, */
	unsigned int crash_after; /* when it has come so many times more */
	/* what it did */
	struct announced announced[512];
	unsigned int n_announced;
	ip4 freed[256];
	unsigned int n_freed;
	bool watching;		      /* a trace or a capture is on */
	uint64_t sessions;	      /* what fwd_sessions() tells of any address */
	bool sessions_old;	      /* and that it counted them too long ago */
	bool away[WORLD_ROUTERS + 1]; /* peers, by router index: as forwarding was told */
	size_t sessions_room;	      /* so many sessions can be noted; 0 = any number */
	uint64_t sent_to_vms;	      /* and fwd_vm_traffic() of each VM, 3 more */
	struct fwd_round_trips trips; /* what fwd_round_trips() tells of any VM */
	bool lists_fail;	      /* there is no memory for a list of them */
	unsigned int n_lists;	      /* that were begun */
	uint64_t n_commits, n_prepares, n_publishes;
	uint64_t n_rows; /* of the state, not of the log */
	/* private */
	struct stored *rows;
	struct pending *pending;
	struct model_vm *vms;
	struct model_route *routes;
	struct model_session *table;
	size_t n_sessions;
	void (*event)(void *arg, const struct fwd_event *ev);
	void *event_arg;
};

struct world {
	uint64_t now; /* ms */
	uint64_t random[2];
	uint64_t seed;
	struct node nodes[WORLD_NODES];
	unsigned int n_nodes;
	bool cut[WORLD_NODES][WORLD_NODES]; /* from, to */
	uint64_t clog_from[WORLD_NODES][WORLD_NODES],
		clog_until[WORLD_NODES][WORLD_NODES]; /* a cut with its times */
	uint64_t delay_min, delay_max;
	uint64_t sent;		     /* bytes on all streams */
	unsigned int reset_permille; /* of writes, that end their connection */
	char why[400];		     /* first invariant that broke, "" = none */
	const struct node *running;  /* whose event this is; NULL = nobody's */
	/* private */
	struct heap_event *heap;
	size_t n_heap, heap_size;
	uint64_t serial;
	struct env_timer *timers;
	struct env_stream *streams;
	struct env_listener *listeners;
};

/* `routers` routers r-a, r-b, r-c... that are each other's peers, and the nodes "clc" and "clc-2". None runs yet. */
struct world *world_new(uint64_t seed, unsigned int routers);
void world_free(struct world *w);
uint64_t world_random(struct world *w, uint64_t below);
/* The first invariant that broke is kept. */
void world_broken(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Lets time pass. */
void world_run(struct world *w, uint64_t ms);
/* One event; false when none waits before `until`. */
bool world_step(struct world *w, uint64_t until);

struct node *world_router(struct world *w, unsigned int i);
struct node *world_controller(struct world *w);
/* One more segment of a node that does not run yet; tenant-a and lab are there. Segment 0 .. n of the configuration. */
void node_add_segment(struct node *n, const char *name, uint32_t vni, ip4 prefix, uint8_t len, int access);
void node_drop_segments(struct node *n);
/* Starts a router from its store. */
void node_start(struct node *n);
void node_crash(struct node *n);			/* kill -9: clocks and boot go on */
void node_lose_power(struct node *n);			/* nobody hears of its end */
void node_reboot(struct node *n, int64_t wall_jump_ms); /* of a crashed node: another boot, clock from zero */
void node_suspend(struct node *n, uint64_t ms);		/* its clocks go on, nothing else does */
void node_slew(struct node *n, int ppm);		/* as NTP does: from now on, by at most 500 */
/* What is durable is told now, whatever told_after said. */
void node_disk_tells(struct node *n);
/* Cuts or joins two nodes, both ways; or what goes from one to the other alone. */
void world_cut(struct world *w, unsigned int a, unsigned int b, bool cut);
void world_cut_one_way(struct world *w, unsigned int from, unsigned int to, bool cut);
/* Ends every connection between two nodes; what was on its way is lost from some point on. */
void world_reset(struct world *w, unsigned int a, unsigned int b);
/* The same, but `b` does not hear of it. */
void world_half_open(struct world *w, unsigned int a, unsigned int b);
/* Each connection has both its ends: none waits for silence or a reset to be noticed. */
bool world_is_whole(const struct world *w);
/* Holds up what the connections that are now there between two nodes carry: new ones are faster. */
void world_stall(struct world *w, unsigned int a, unsigned int b, uint64_t ms);
void world_heal(struct world *w); /* nothing cuts, stalls, slows or resets any more */

/* A call over the local socket; runs the world until the reply. *code 0 or the error's; new reference or
 * NULL. */
json_t *ask(struct node *n, int *code, const char *method, const char *params_fmt, ...);
/* A copy of its configuration to change, which the next reload reads. */
struct config *node_next(struct node *n);
/* The event loop tells the core what the data plane saw. */
void node_event(struct node *n, const struct fwd_event *ev);

/* The model of forwarding. */
const struct fwd_vm *model_vm(struct node *n, uint16_t segment, const struct mac *mac);
const struct fwd_route *model_route(struct node *n, const char *prefix);
unsigned int model_count(struct node *n);
/* Sessions that a router has noted. Find: that with the same ends, or NULL. */
void model_session_add(struct node *n, const struct fwd_session *s);
const struct fwd_session *model_session(const struct node *n, const struct fwd_session *s);
void model_sessions_clear(struct node *n);
/* Is the model what the core wants, VM by VM? Else false and w->why. */
bool model_is_true(struct node *n);
/* Does the stored log verify, from one end to the other? Else false and w->why. */
bool log_is_whole(struct node *n);
/* The stored text of a row, or NULL. */
const char *stored_row(struct node *n, const char *kind, const char *key);
unsigned int stored_count(struct node *n, const char *kind);
void stored_set(struct node *n, const char *kind, const char *key, const char *value);
/* The i-th row, "KIND KEY", and its value; NULL behind the last. */
const char *stored_at(struct node *n, unsigned int i, const char **value);
void stored_clear(struct node *n);
/* All rows as they are now, to be put back later. */
struct stored *stored_copy(struct node *n);
void stored_restore(struct node *n, struct stored *copy_stolen);
