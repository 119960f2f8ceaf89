/* SPDX-License-Identifier: BSD-3-Clause */
/* yaml.h - YAML text to a JSON tree that knows its lines, and back.
 *
 * Refused with line and column: tabs for indentation, duplicate keys, aliases and anchors, more than
 * one document, NUL bytes, depth above 16, more than 1 MiB of text, anything libyaml refuses.
 * Every scalar becomes a JSON string (plain `null`/`~`/empty becomes JSON null).
 */
#pragma once

#include "schema.h"

/* New reference and *src (free with source_free), or NULL with at least one fault added. */
json_t *yaml_parse(const char *text, size_t len, struct source **src, struct faults *faults);
json_t *yaml_parse_file(const char *file, struct source **src, struct faults *faults);
/* The same for what may be longer; `limit` in MiB. */
json_t *yaml_parse_long_file(const char *file, size_t limit, struct source **src, struct faults *faults);
/* Reads an object from a file. Reports the faults of the text, of the fields and of `check` (may be NULL)
 * together, sorted; `check` is given what could be read. 0, or -EINVAL and `obj` zeroed. */
int yaml_load(const struct kind *k, const char *file, void *obj,
	void (*check)(const void *obj, const json_t *tree, const struct source *src, struct faults *f),
	struct faults *f);

/* Block-style YAML of a JSON tree; malloc'ed text or NULL. */
char *yaml_format(const json_t *tree);
