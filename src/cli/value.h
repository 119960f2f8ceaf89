/* SPDX-License-Identifier: BSD-3-Clause */
/* value.h - one word of the command line as the JSON value of a field. */
#pragma once

#include <api/schema.h>

#define VALUE_FILE_MAX (1u << 29) /* a list of changes; what does not fit a message is staged */

/* New reference; kind_read() checks it with an empty source. NULL with a fault. */
json_t *value_parse(const struct field *f, const char *word, struct faults *faults);
/* "PRIVATE[=GLOBAL],...": how a list of such objects is written; NULL where only JSON can say it. */
const char *value_list_form(const struct kind *k, char *buf, size_t size);
