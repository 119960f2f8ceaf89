/* SPDX-License-Identifier: BSD-3-Clause */
/* config_priv.h - what the files of config_check() share. */
#pragma once

#include "kinds.h"
#include "text.h"

struct check {
	const struct config *c;
	const json_t *tree;
	const struct source *src;
	struct faults *f;
	size_t n;
};

/* A fault at `path`. */
void bad(struct check *k, const char *path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
const char *path_text(char buf[96], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Did the file say something there? A value that could not be read is not missing. */
bool is_given(const struct check *k, const char *path);

#define PATH(...)   path_text((char[96]){0}, __VA_ARGS__)
#define IP(a)	    ip4_format(a, (char[IP4_TEXT]){0})
#define MAC(m)	    mac_format(m, (char[MAC_TEXT]){0})
#define PREFIX(p)   prefix4_format(p, (char[PREFIX4_TEXT]){0})
#define PORT(c, i)  list_at((c)->ports, struct conf_port, i)
#define SEG(c, i)   list_at((c)->segments, struct conf_segment, i)
#define POOL(c, i)  list_at((c)->pools, struct conf_pool, i)
#define PEER(c, i)  list_at((c)->peers, struct conf_peer, i)
#define ROUTE(c, i) list_at((c)->routes, struct route, i)

bool mac_is_set(const struct mac *m);
bool is_wan(const struct conf_port *p); /* with an address that could be read */
struct prefix4 connected(const struct conf_port *p);
const struct conf_port *port_find(const struct config *c, const char *name);
const struct conf_port *port_of_address(const struct config *c, ip4 a);
/* Could every port be read? Else nothing may be said about what they lack. */
bool ports_known(const struct config *c);
/* A reference from `path` to a port that must have a role. */
void check_port_ref(struct check *k, const char *path, const char *name, enum port_role role);
/* Network and broadcast address, where a prefix has them. */
bool is_edge(const struct prefix4 *p, ip4 a);

size_t config_callers(const struct config *c); /* peers, controllers and observers */
void check_callers(struct check *k);
void check_punt(struct check *k, size_t port);
void check_segments(struct check *k);
