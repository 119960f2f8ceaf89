/* SPDX-License-Identifier: BSD-3-Clause */
#include "session_lines.h"

#include <dataplane/tables/sessions_layout.h>

bool
is_session_line(const struct sessions *s, uintptr_t at)
{
	return at >= (uintptr_t)s->buckets && at < (uintptr_t)(s->buckets + s->mask + 1);
}
