/* SPDX-License-Identifier: BSD-3-Clause */
/* inventory.h - what the controller is told: itself, sites with their pools, routers, segments (clc.yaml). */
#pragma once

#include <api/schema.h>

struct inv_clc {
	char name[NAME_LEN + 1]; /* as the routers' configuration names it */
	char key_file[256];
	char state[256];
	uint64_t term;
	char mac_prefix[9]; /* "02:56:4d" */
};

struct inv_pool {
	struct prefix4 prefix;
};

struct inv_route { /* who on the user's side must know where a routed VM stands */
	char router[NAME_LEN + 1];
	ip4 via;
};

struct inv_site {
	char name[NAME_LEN + 1];
	char router[NAME_LEN + 1];
	struct list pools;  /* inv_pool */
	struct list routes; /* inv_route */
};

struct inv_router {
	char name[NAME_LEN + 1];
	char address[HOSTPORT_LEN + 1];
	uint8_t key[KEY_LEN];
	uint8_t old_key[KEY_LEN]; /* the one before, while it is being replaced; zero = none */
	uint8_t psk[KEY_LEN];
};

struct inv_range {
	ip4 first, last; /* 0 = the segment's first and last host */
};

struct inv_segment {
	char name[NAME_LEN + 1];
	struct prefix4 prefix;
	ip4 gateway;
	struct inv_range range;
	int access; /* 0 nat; 1 routed: reached by its own address, needs no global one */
};

struct inventory {
	struct inv_clc clc;
	struct list sites, routers, segments;
};

extern const struct kind kind_inventory;

/* Reads and checks; 0 or -EINVAL with all faults. */
int inventory_load(const char *file, struct inventory *inv, struct faults *f);
void inventory_free(struct inventory *inv);

/* NULL when there is none of that name. */
const struct inv_site *inventory_site(const struct inventory *inv, const char *name);
const struct inv_site *inventory_site_of(const struct inventory *inv, const char *router);
const struct inv_router *inventory_router(const struct inventory *inv, const char *name);
const struct inv_segment *inventory_segment(const struct inventory *inv, const char *name);
bool segment_is_routed(const struct inv_segment *s);
/* First and last address that a VM may get. */
void segment_range(const struct inv_segment *s, ip4 *first, ip4 *last);
