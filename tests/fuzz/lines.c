/* SPDX-License-Identifier: BSD-3-Clause */
#include "lines.h"

#include <string.h>

bool
line_next(struct lines *in, struct line *l)
{
	const char *end;
	size_t n;

	if (in->left == 0)
		return false;
	end = memchr(in->at, '\n', in->left);
	n = end ? (size_t)(end - in->at) : in->left;
	*l = (struct line){n > 0 ? in->at[0] : 0, in->at + (n > 0), n > 0 ? n - 1 : 0};
	n += end != NULL;
	in->at += n;
	in->left -= n;
	return true;
}

uint64_t
line_number(const struct line *l, uint64_t max)
{
	uint64_t n = 0;

	for (size_t i = 0; i < l->len && l->text[i] >= '0' && l->text[i] <= '9' && n < max; i++)
		n = n * 10 + (uint64_t)(l->text[i] - '0');
	return n < max ? n : max;
}

char *
line_text(const struct line *l)
{
	return strndup(l->text, l->len);
}
