/* SPDX-License-Identifier: BSD-3-Clause */
#include "methods.h"
#include "kinds.h"

#include <string.h>

#define METHOD(name, params, perm, help) {name, &kind_##params##_params, PERM_##perm, help},
#define COMMAND(name, params, perm, help)

const struct method methods[] = {
#include "methods.def"
	{.name = NULL},
};

#undef COMMAND
#define COMMAND METHOD

const struct method commands[] = {
#include "methods.def"
	{.name = NULL},
};

const struct method *
method_find(const char *name)
{
	for (const struct method *m = methods; m->name != NULL; m++)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}
