/* SPDX-License-Identifier: BSD-3-Clause */
/* reference.c - prints docs/stages.md from stages.def; a test compares. */
#include "stages.h"

#include <stdio.h>

static void
print_table(const char *heading, const char *about, const struct named *names, int n)
{
	printf("\n## %s\n\n%s\n\n| name | |\n|---|---|\n", heading, about);
	for (int i = 0; i < n; i++)
		printf("| `%s` | %s |\n", names[i].name, names[i].help);
}

int
main(void)
{
	printf("# Stages, drops, made packets, events\n\n"
	       "Every name that `nearway trace`, the views and the metrics use. The text of this page comes "
	       "from "
	       "`src/dataplane/stages.def`\n"
	       "(`ninja -C build reference` writes it anew, a test compares).\n");
	print_table("Stages",
		"In the order in which packets go through them; [architecture.md](architecture.md) draws "
		"how. `nearway show "
		"stages`, `nearway_stage_packets_total`.",
		stage_names, STAGES);
	print_table("Drops",
		"Why a packet goes nowhere. `nearway show drops` (what there was none of is left out), "
		"`nearway_drops_total`.",
		drop_names, DROPS);
	print_table("Made packets", "What the router makes. `nearway show status`, `nearway_made_total`.",
		made_names, MADES);
	printf("\n## Events\n\nWhat workers tell the control thread: at most so many a second of each "
	       "worker. `nearway "
	       "show status`, `nearway_worker_events_total`.\n\n| name | | a second |\n|---|---|---:|\n");
	for (int i = 0; i < EVENTS; i++)
		printf("| `%s` | %s | %u |\n", event_names[i].name, event_names[i].help, event_rates[i]);
	return 0;
}
