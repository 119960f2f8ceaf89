/* SPDX-License-Identifier: BSD-3-Clause */
/* output.h - a result as a person reads it. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* {"rows": [{...}]}: a table whose columns are the rows' keys; other objects: "key: value" lines; else the value. */
void output_text(const json_t *result, FILE *out);
/* A member that is a text; "" when it is not. */
const char *text_of(const json_t *o, const char *key);
/* Rows of `nearway doctor` (api/finding.h): what was found, and below it what to do. */
void output_findings(const json_t *result, FILE *out);
void output_json(const json_t *result, FILE *out);
/* A JSON-RPC error object: its message, then its data. */
void output_error(const json_t *error, FILE *out);
