/* SPDX-License-Identifier: BSD-3-Clause */
/* fields.h - short words for field tables. For the .c files that have some; no header includes it. */
#pragma once

#include "schema.h"

#include <stddef.h>

#define AT(type, member) .offset = offsetof(struct type, member)
#define END                  \
	{                    \
		.name = NULL \
	}
#define REQ   FIELD_REQUIRED
#define LIVE  FIELD_LIVE
#define KEYED (FIELD_REQUIRED | FIELD_KEY)
