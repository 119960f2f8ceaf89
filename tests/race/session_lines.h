/* SPDX-License-Identifier: BSD-3-Clause */
/* session_lines.h - where the sessions of a table lie. */
#pragma once

#include <dataplane/tables/sessions.h>

bool is_session_line(const struct sessions *s, uintptr_t at);
