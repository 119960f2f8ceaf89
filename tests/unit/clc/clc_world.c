/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <clc/print.h>
#include <cmocka.h>
#include <common/log.h>
#include <net/keys.h>

#include "clc_world.h"

static const char *world_conf; /* conf/clc.yaml */

static void
no_line(void *arg, enum log_level level, const char *text)
{
	(void)arg;
	(void)level;
	(void)text;
}

bool
world_start(int argc, char **argv)
{
	if (argc != 2)
		return false;
	world_conf = argv[1];
	log_set_sink(no_line, NULL);
	return true;
}

static void
turn(void *arg)
{
	fake_advance(arg, 100);
}

/* As the program does at its start and end. */
void
world_open(struct world *w)
{
	struct err e = {0};

	w->c = (struct clc){.inv = &w->inv};
	if (state_open(&w->c.state, &w->inv, &e) != 0)
		fail_msg("%s", e.text);
	links_init(&w->c.links, &w->g.f.env, &w->inv, w->key);
	w->c.links.turn = turn;
	w->c.links.turn_arg = &w->g.f;
	w->open = true;
}

void
world_close(struct world *w)
{
	links_fini(&w->c.links);
	state_close(&w->c.state);
	w->open = false;
	fake_run(&w->g.f);
}

void
world_restart(struct world *w)
{
	world_close(w);
	world_open(w);
}

static void
load_inventory(struct world *w)
{
	struct faults f;

	faults_init(&f);
	assert_int_equal(inventory_load(world_conf, &w->inv, &f), 0);
	faults_fini(&f);
	snprintf(w->inv.clc.state, sizeof(w->inv.clc.state), "%s/clc.db", w->dir);
	for (size_t i = 0; i < w->inv.routers.n; i++)
		key_public(w->g.r[i].private_key, list_at(w->inv.routers, struct inv_router, i)->key);
}

int
world_set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->dir, "/tmp/nearway-clc-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	fake_group_init(&w->g);
	assert_int_equal(key_generate(w->key), 0);
	key_public(w->key, w->g.controller.key);
	load_inventory(w);
	world_open(w);
	*state = w;
	return 0;
}

int
world_tear_down(void **state)
{
	struct world *w = *state;
	char command[128];

	if (w->open)
		world_close(w);
	inventory_free(&w->inv);
	fake_group_fini(&w->g);
	snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

int
world_create(struct world *w, const char *name, const char *site)
{
	struct create_params p = {.name = name, .site = site, .segment = "seg1"};
	struct err e;

	return clc_create(&w->c, &p, &e);
}

int
world_move(struct world *w, const char *name, const char *to)
{
	struct move_params p = {.to = to, .drain_min_ms = 1000, .drain_max_ms = 2000};
	struct clc_vm *vm = state_find(&w->c.state, name);
	struct err e;

	assert_non_null(vm);
	return clc_move(&w->c, &vm, 1, &p, &e);
}

const struct clc_vm *
world_vm(struct world *w, const char *name)
{
	const struct clc_vm *vm = state_find(&w->c.state, name);

	assert_non_null(vm);
	return vm;
}

const char *
world_global(struct world *w, const char *name)
{
	static char text[4][IP4_TEXT];
	static int turn_of;

	return ip4_format(
		list_at(world_vm(w, name)->addresses, struct vm_address, 0)->global_ip, text[turn_of++ % 4]);
}

json_t *
world_at_routers(struct world *w, const char *name)
{
	return fake_vm(&w->g, world_vm(w, name)->id);
}

void
world_printed(const char *command, const char *json, char out[1000])
{
	json_t *v = json_loads(json, 0, NULL);
	FILE *file = tmpfile();
	int terminal = dup(1);

	assert_non_null(v);
	fflush(stdout);
	dup2(fileno(file), 1);
	print_result(command, v, NULL, false);
	fflush(stdout);
	dup2(terminal, 1);
	close(terminal);
	rewind(file);
	out[fread(out, 1, 999, file)] = '\0';
	fclose(file);
	json_decref(v);
}
