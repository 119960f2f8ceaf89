/* SPDX-License-Identifier: BSD-3-Clause */
/* print.h - results as JSON, and JSON as text for people. */
#pragma once

#include "clc.h"

/* A VM with its router's name. */
json_t *print_vm(const struct clc *c, const struct clc_vm *vm);
json_t *print_list(const struct clc *c);  /* {"vms": [...]} ordered by name */
json_t *print_plans(const struct clc *c); /* {"plans": [...]} of a dry run, each with the VM's name */
/* A line for an event of a router, or for a gap in them ({"resync": why}). */
void print_event(const char *router, const json_t *event, bool json);
/* The result on stdout; the error on stderr, or with `json` on stdout as "error" of the object. */
void print_result(const char *command, const json_t *result, const char *error, bool json);
