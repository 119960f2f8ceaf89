/* SPDX-License-Identifier: BSD-3-Clause */
/* control.h - short words for the tests of the control core. VM n has MAC 52:54:00:00:NN:NN and
 * address 10.0.N.N+5. */
#pragma once

#include <sim/world.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <common/log.h>

struct mac vm_mac(unsigned int n);
ip4 vm_private(unsigned int n);
/* The n-th address of router i's pool. */
ip4 vm_global(unsigned int i, unsigned int n);

/* Routers that run, know each other and are quiet. */
struct world *routers(unsigned int n);

/* Calls for VM n; the error's code or 0. epoch 0 = none given; global 0 = none. */
json_t *vm_register_params(unsigned int n, uint64_t epoch, ip4 global);
int vm_register(struct node *r, unsigned int n, uint64_t epoch, ip4 global);
int vm_move(struct node *r, unsigned int n, uint64_t epoch, ip4 global, uint64_t min_ms, uint64_t max_ms);
int vm_unregister(struct node *r, unsigned int n, uint64_t epoch);
/* VMs `from` to `to` in as few calls as may be: `vm.register`, or with this epoch `vm.unregister`. */
void vm_many(struct node *r, const char *method, unsigned int from, unsigned int to, uint64_t epoch);
/* A call whose result does not matter. */
int call(struct node *r, const char *method, const char *params);
/* A call that must succeed: its result. */
json_t *get(struct node *r, const char *method, const char *params);
int64_t get_number(struct node *r, const char *method, const char *name);

/* What a router knows of VM n, and what forwarding was told. */
struct vm_obj *vm_at(struct node *r, unsigned int n);
const struct fwd_vm *fwd_at(struct node *r, unsigned int n);
/* Every router's forwarding is what its core wants, and all know the same. */
void assert_agreed(struct world *w, unsigned int routers);
/* The log lines since the start of the test hold this text. */
bool logged(const char *text);
unsigned int logged_times(const char *text);

/* Somebody with a node's key at the other end of an encrypted channel. */
struct caller {
	struct node *from, *to;
	struct channel *channel;
	struct rpc *rpc;
	bool up, down;
	char why[200];
	unsigned int calls; /* it was given */
	char last[40];	    /* method of the last one */
	json_t *last_params;
	json_t *events; /* all it was told, in order, */
	json_t *told;	/* and the last of those messages */
	unsigned int resyncs;
	bool silent; /* it answers nothing */
	struct rpc_request *held[16];
	json_t *(*answer)(
		const char *method, const json_t *params); /* to calls; NULL: nothing is known here */
};

/* Dials as `name` in this role; hello is stolen. Runs the world until it is up or down. */
struct caller *caller_new(
	struct node *from, const char *name, enum channel_role role, struct node *to, json_t *hello);
/* The same; `answer` from its first call on. */
struct caller *caller_with(struct node *from, const char *name, enum channel_role role, struct node *to,
	json_t *hello, json_t *(*answer)(const char *method, const json_t *params));
void caller_free(struct caller *k);
/* What a peer answers that owns nothing, and what it has as ours is this sum in the first branch. */
json_t *sums_answer(json_int_t yours);
/* An array of 256 sums: `first`, and zeros. */
json_t *sums_with(json_int_t first);
/* The error's code or 0, and the result or the error (new reference); the params are stolen. */
int caller_ask(struct caller *k, const char *method, json_t *params, json_t **result);
/* The error's code or 0; the params are stolen. */
int caller_call(struct caller *k, const char *method, json_t *params);
/* A call that must succeed: its result. */
json_t *caller_get(struct caller *k, const char *method, json_t *params);

int control_setup(void **state);
