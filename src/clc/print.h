/* SPDX-License-Identifier: BSD-3-Clause */
/* print.h - results as JSON, and JSON as text for people. */
#pragma once

#include "clc.h"

/* A VM with its router's name. */
json_t *print_vm(const struct clc *c, const struct clc_vm *vm);
json_t *print_list(const struct clc *c); /* {"vms": [...]} ordered by name */
/* The result on stdout; the error on stderr, or with `json` on stdout as "error" of the object. */
void print_result(const char *command, const json_t *result, const char *error, bool json);
