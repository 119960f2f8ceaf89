/* SPDX-License-Identifier: BSD-3-Clause */
/* event_text.h - an event, as the method `events` tells it, or an entry of show.log, as one line for people. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* "TIME CLASS KIND name=value ...", without an end of line; members of an object stand for themselves. */
void event_print(const json_t *event, FILE *out);
/* "TIME WHO WHAT name=value ...", without number and hash. */
void log_entry_print(const json_t *entry, FILE *out);
