/* SPDX-License-Identifier: BSD-3-Clause */
/* show.h - the views that only forwarding knows, as JSON. Counters are summed over the workers on reading. */
#pragma once

#include <jansson.h>
#include <stdint.h>

struct dp;

/* New reference: an object, for lists {"rows": [...], "next": cursor or absent}; NULL for a view that does not exist. */
json_t *show_view(struct dp *dp, const char *what, const char *cursor, uint64_t limit);
