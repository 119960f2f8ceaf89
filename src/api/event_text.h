/* SPDX-License-Identifier: BSD-3-Clause */
/* event_text.h - an event, as the method `events` tells it, as one line for people. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* "TIME CLASS KIND name=value ...", without an end of line; members of an object stand for themselves. */
void event_print(const json_t *event, FILE *out);
