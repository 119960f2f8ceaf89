/* SPDX-License-Identifier: BSD-3-Clause */
/* world.h - routers, a controller and what is between them, in one process and in simulated time.
 *
 * Each node has its own clocks, random numbers, store and model of forwarding behind a `struct env`; the core
 * and the channel that run in it are the real ones. Everything is decided by the seed.
 *
 *   node r-x --(delay, partition, reset)-- node r-y        node clc: no core, calls routers
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

#define WORLD_NODES 6

struct world;

struct announced {
	uint64_t at;
	enum fwd_announce what;
	uint16_t segment;
	struct mac mac;
	ip4 ip;
};

struct node {
	struct world *w;
	char name[32];
	uint8_t index;
	struct env env;
	struct core *core; /* NULL: down, or the controller */
	struct config conf;
	uint8_t private_key[32], public_key[32];
	bool ready;
	unsigned int generation; /* of the process */
	char boot_id[40];
	uint64_t boot_base;  /* world time when this boot began */
	int64_t wall_offset; /* added to the world's time */
	/* faults */
	int commits_to_fail; /* so many more commits are refused with -ENOSPC */
	bool prepare_fails;
	size_t prepare_limit; /* more changes at once are refused; 0 = none */
	/* what it did */
	struct announced announced[512];
	unsigned int n_announced;
	ip4 freed[256];
	unsigned int n_freed;
	bool watching;	   /* a trace or a capture is on */
	uint64_t sessions; /* what fwd_sessions() tells of any address */
	bool sessions_old; /* and that it counted them too long ago */
	uint64_t n_commits, n_prepares, n_publishes, n_rows;
	/* private */
	struct stored *rows;
	struct pending *pending;
	struct model_vm *vms;
	struct model_route *routes;
	void (*event)(void *arg, const struct fwd_event *ev);
	void *event_arg;
};

struct world {
	uint64_t now; /* ms */
	uint64_t random[2];
	uint64_t seed;
	struct node nodes[WORLD_NODES];
	unsigned int n_nodes;
	bool cut[WORLD_NODES][WORLD_NODES];
	uint64_t delay_min, delay_max;
	char why[400]; /* first invariant that broke, "" = none */
	/* private */
	struct heap_event *heap;
	size_t n_heap, heap_size;
	uint64_t serial;
	struct env_timer *timers;
	struct env_stream *streams;
	struct env_listener *listeners;
};

/* `routers` routers r-a, r-b, r-c... that are each other's peers, and the node "clc". None runs yet. */
struct world *world_new(uint64_t seed, unsigned int routers);
void world_free(struct world *w);
uint64_t world_random(struct world *w, uint64_t below);
/* Lets time pass. */
void world_run(struct world *w, uint64_t ms);
/* One event; false when none waits before `until`. */
bool world_step(struct world *w, uint64_t until);

struct node *world_router(struct world *w, unsigned int i);
struct node *world_controller(struct world *w);
/* Starts a router from its store. */
void node_start(struct node *n);
void node_crash(struct node *n);			/* kill -9: clocks and boot go on */
void node_reboot(struct node *n, int64_t wall_jump_ms); /* of a crashed node: another boot, clock from zero */
/* Cuts or joins two nodes, both ways. */
void world_cut(struct world *w, unsigned int a, unsigned int b, bool cut);
/* Ends every connection between two nodes. */
void world_reset(struct world *w, unsigned int a, unsigned int b);

/* A call over the local socket; runs the world until the reply. *code 0 or the error's; new reference or
 * NULL. */
json_t *ask(struct node *n, int *code, const char *method, const char *params_fmt, ...);
/* The event loop tells the core what the data plane saw. */
void node_event(struct node *n, const struct fwd_event *ev);

/* The model of forwarding. */
const struct fwd_vm *model_vm(struct node *n, uint16_t segment, const struct mac *mac);
const struct fwd_route *model_route(struct node *n, const char *prefix);
unsigned int model_count(struct node *n);
/* Is the model what the core wants, VM by VM? Else false and w->why. */
bool model_is_true(struct node *n);
/* The stored text of a row, or NULL. */
const char *stored_row(struct node *n, const char *kind, const char *key);
unsigned int stored_count(struct node *n, const char *kind);
void stored_set(struct node *n, const char *kind, const char *key, const char *value);
/* The i-th row, "KIND KEY", and its value; NULL behind the last. */
const char *stored_at(struct node *n, unsigned int i, const char **value);
void stored_clear(struct node *n);
