/* SPDX-License-Identifier: BSD-3-Clause */
/* clc_world.h - the controller of conf/clc.yaml and its routers, which are channels in this process. */
#pragma once

#include <clc/evacuation.h>

#include "fake_router.h"

#define X 0
#define Y 1
#define U 2

struct world {
	struct fake_group g;
	struct inventory inv;
	struct clc c;
	uint8_t key[32];
	char dir[64];
	bool open;
};

/* By the program's argument, conf/clc.yaml, and without a line of log; false: it is not given. */
bool world_start(int argc, char **argv);
int world_set_up(void **state);
int world_tear_down(void **state);
/* The controller, as the program does at its start and end. */
void world_open(struct world *w);
void world_close(struct world *w);
void world_restart(struct world *w); /* what it has not stored it has lost */
int world_create(struct world *w, const char *name, const char *site);
int world_move(struct world *w, const char *name, const char *to);
const struct clc_vm *world_vm(struct world *w, const char *name);
const char *world_global(struct world *w, const char *name);
json_t *world_at_routers(struct world *w, const char *name); /* the VM as they have it */

/* What print_result() says of it on standard output, at most 999 bytes. */
void world_printed(const char *command, const char *json, char out[1000]);

#define assert_at(w, name, where)                                                                         \
	do {                                                                                              \
		assert_string_equal(world_vm(w, name)->site, (where)[2] == 'x' ? "x" : "y");              \
		assert_int_equal(world_vm(w, name)->step, VM_ACTIVE);                                     \
		assert_string_equal(                                                                      \
			json_string_value(json_object_get(world_at_routers(w, name), "owner")), where);   \
		assert_int_equal(json_integer_value(json_object_get(world_at_routers(w, name), "epoch")), \
			world_vm(w, name)->epoch);                                                        \
	} while (0)
