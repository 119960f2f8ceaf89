/* SPDX-License-Identifier: BSD-3-Clause */
/* look.h - what a router shows of VMs. */
#pragma once

#include "link.h"

#include <api/kinds.h>
#include <uthash.h>

struct sight {
	char id[NAME_LEN + 1 + MAC_TEXT]; /* SEGMENT/MAC */
	struct vm vm;
	UT_hash_handle hh;
};

/* All VMs of the group as the router knows them; 0, or what link_call() returns. *view is freed with
 * view_free(). */
int view_get(struct links *l, const char *router, struct sight **view, struct err *e);
void view_free(struct sight **view);
const struct vm *view_find(const struct sight *view, const char *id);
/* One VM as JSON, whatever else the router put beside the fields that we know. */
int vm_from_json(const json_t *v, struct vm *vm);
