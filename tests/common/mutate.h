/* SPDX-License-Identifier: BSD-3-Clause */
/* mutate.h - damages text and JSON by chance; the same seed, the same damage. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

extern uint64_t mutate_seed; /* not 0 */

uint64_t mutate_random(uint64_t below);
/* One to four edits of random kinds, in a buffer of `size`; returns the new length. */
size_t mutate_text(char *text, size_t len, size_t size);
/* Walks down by chance and changes, adds or takes away what it finds there. */
void mutate_tree(json_t *t);
/* A copy of `t` with one thing changed: its `nth` value, counted depth first, is null, a number, text, a list or
 * an object now (`with` below MUTATE_TYPES). NULL: it has not so many values. */
#define MUTATE_TYPES 5
json_t *mutate_nth(const json_t *t, size_t nth, unsigned int with);
