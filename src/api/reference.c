/* SPDX-License-Identifier: BSD-3-Clause */
/* reference.c - prints docs/configuration.md from the field tables; a test compares. */
#include "kinds.h"

#include <ctype.h>
#include <stdio.h>

static void
print_row(const struct field *f)
{
	char allows[240];

	if (f->type == F_OBJECT)
		snprintf(allows, sizeof(allows), "a mapping, see below");
	else
		field_allows(f, allows, sizeof(allows));
	printf("| `%s` | %s | %s%s%s | %s%s%s |\n", f->name, allows, f->def != NULL ? "`" : "",
		f->def != NULL			   ? f->def
		: (f->flags & FIELD_REQUIRED) != 0 ? "required"
						   : "",
		f->def != NULL ? "`" : "", f->help,
		(f->flags & FIELD_KEY) != 0 ? "; identifies the item in its list" : "",
		(f->flags & FIELD_LIVE) != 0 ? "; **reload**" : "");
}

static void
print_kind(const struct kind *k, const char *path)
{
	if (path[0] != '\0')
		printf("\n## `%s`\n\n%c%s.\n", path, toupper((unsigned char)k->help[0]), k->help + 1);
	printf("\n| key | allowed | default | meaning |\n|---|---|---|---|\n");
	for (const struct field *f = k->fields; f->name != NULL; f++)
		print_row(f);
	for (const struct field *f = k->fields; f->name != NULL; f++) {
		char sub[160];

		if (f->kind == NULL)
			continue;
		snprintf(sub, sizeof(sub), "%s%s%s%s", path, path[0] != '\0' ? "." : "", f->name,
			f->type == F_LIST ? "[]" : "");
		print_kind(f->kind, sub);
	}
}

int
main(void)
{
	printf("# nearway.yaml\n\n"
	       "Every key of a router's configuration file. The text of this page comes from the field "
	       "tables in\n"
	       "`src/api/kinds.c` (`ninja -C build reference` writes it anew, a test compares). An annotated "
	       "example is\n"
	       "[conf/nearway.yaml](../conf/nearway.yaml). `nearwayd --check FILE` names every fault of a "
	       "file with\n"
	       "line and column.\n\n"
	       "The file is one YAML document of at most 1 MiB, indented with spaces, without anchors, "
	       "aliases and tags.\n"
	       "Unknown and duplicate keys are faults. A number is decimal; a truth value is on or off (also "
	       "true,\n"
	       "false, yes, no); a duration is a number and one of ms, s, m, h, d.\n\n"
	       "What says **reload**, with all that is in it, changes while the router runs: `nearway "
	       "reload`. "
	       "Everything else\n"
	       "needs a restart.\n");
	print_kind(&kind_config, "");
	return 0;
}
