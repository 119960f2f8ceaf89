/* SPDX-License-Identifier: BSD-3-Clause */
#include "finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const verdicts[] = {"ok", "warning", "fault"};

void
finding_add(json_t *rows, enum verdict v, const char *check, const char *of, const char *advice,
	const char *found, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, found);
	vsnprintf(text, sizeof(text), found, ap);
	va_end(ap);
	json_array_append_new(
		rows, json_pack("{s:s, s:s, s:s, s:s, s:s}", "verdict", verdicts[v], "check", check, "of", of,
			      "found", text, "advice", advice != NULL ? advice : ""));
}

json_t *
findings_sorted(json_t *rows)
{
	json_t *sorted = json_array(), *row;
	size_t i;

	for (int v = VERDICT_FAULT; v >= VERDICT_OK; v--)
		json_array_foreach(rows, i,
			row) if (strcmp(json_string_value(json_object_get(row, "verdict")), verdicts[v]) == 0)
			json_array_append(sorted, row);
	json_decref(rows);
	return sorted;
}
