/* SPDX-License-Identifier: BSD-3-Clause */
/* text.h - scalars as text, inside src/api only. */
#pragma once

#include "schema.h"

int text_to_u64(const char *s, uint64_t *out);	   /* decimal, no sign, no leading zeroes */
int text_to_duration(const char *s, uint64_t *ms); /* a number and one of ms s m h d; "0" */
int text_to_bool(const char *s, bool *out);
bool text_is_name(const char *s);
bool text_is_hostport(const char *s);
/* Was `s` probably meant to be `word`? '_' and '-' are alike. */
bool text_is_near(const char *s, const char *word);
