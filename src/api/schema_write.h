/* SPDX-License-Identifier: BSD-3-Clause */
/* schema_write.h - what the two ways to write an object share: as JSON values, as text. Seen by schema.c and schema_print.c alone. */
#pragma once

#include "schema.h"

/* Absent and optional. */
bool field_left_out(const struct field *f, const void *obj);
/* What a text can say, as text. */
const char *scalar_write(const struct field *f, const void *p, char buf[64]);
