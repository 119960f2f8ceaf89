/* SPDX-License-Identifier: BSD-3-Clause */
#include "print.h"

#include <api/event_text.h>
#include <api/schema.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *
print_vm(const struct clc *c, const struct clc_vm *vm)
{
	const struct inv_site *site;
	json_t *v;

	if (vm == NULL)
		return json_null();
	site = inventory_site(c->inv, vm->site);
	v = vm_row(vm);
	if (!vm_is_leaving(vm))
		json_object_del(v, "to-epoch");
	if (vm->ended == ENDED_NONE) {
		json_object_del(v, "ended");
		json_object_del(v, "ended-epoch");
	}
	json_object_set_new(v, "router", json_string(site != NULL ? site->router : ""));
	return v;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp((*(struct clc_vm *const *)a)->name, (*(struct clc_vm *const *)b)->name);
}

json_t *
print_list(const struct clc *c)
{
	struct clc_vm **sorted = calloc(HASH_CNT(by_name, c->state.vms) + 1, sizeof(struct clc_vm *)), *vm,
		      *next;
	json_t *list = json_array();
	size_t n = 0;

	HASH_ITER (by_name, c->state.vms, vm, next)
		if (sorted != NULL)
			sorted[n++] = vm;
	if (n > 0)
		qsort(sorted, n, sizeof(struct clc_vm *), by_name);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, print_vm(c, sorted[i]));
	free(sorted);
	return json_pack("{s:o}", "vms", list);
}

static const struct clc_vm *
vm_of(const struct clc *c, const json_t *plan)
{
	const char *id = json_string_value(json_object_get(plan, "id")); /* SEGMENT/MAC@EPOCH */
	struct clc_vm *vm = NULL;

	if (id != NULL)
		HASH_FIND(by_id, c->state.ids, id, strcspn(id, "@"), vm);
	return vm;
}

json_t *
print_plans(const struct clc *c)
{
	json_t *plan;
	size_t i;

	json_array_foreach(c->links.plans, i, plan)
	{
		const struct clc_vm *vm = vm_of(c, plan);

		if (vm != NULL)
			json_object_set_new(plan, "vm", json_string(vm->name));
	}
	return json_pack("{s:O}", "plans", c->links.plans);
}

/* ---- text ---- */

/* What a router sends may hold anything; a terminal gets nothing but text. */
static const char *
text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	for (const char *c = s; c != NULL && *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return "?";
	return s != NULL ? s : "-";
}

static void
vm_head(void)
{
	printf("%-16s %-8s %-10s %-17s %-15s %-15s %5s  %s\n", "VM", "SITE", "SEGMENT", "MAC", "PRIVATE",
		"GLOBAL", "EPOCH", "STATE");
}

static void
vm_text(const json_t *vm)
{
	const json_t *a = json_object_get(vm, "addresses"), *held = json_object_get(vm, "held"), *x;
	const char *to = json_string_value(json_object_get(vm, "to"));
	size_t i;

	printf("%-16s %-8s %-10s %-17s %-15s %-15s %5lld  %s%s%s\n", text(vm, "name"), text(vm, "site"),
		text(vm, "segment"), text(vm, "mac"), text(json_array_get(a, 0), "private"),
		text(json_array_get(a, 0), "global"),
		(long long)json_integer_value(json_object_get(vm, "epoch")), text(vm, "state"),
		to != NULL ? " to " : "", to != NULL ? to : "");
	for (i = 1; i < json_array_size(a); i++)
		printf("%-54s %-15s %-15s\n", "", text(json_array_get(a, i), "private"),
			text(json_array_get(a, i), "global"));
	json_array_foreach(held, i, x) printf("%-54s %-15s %-15s %5lld  old, of site %s\n", "",
		text(x, "private"), text(x, "global"),
		(long long)json_integer_value(json_object_get(x, "epoch")), text(x, "site"));
}

static void
vms_text(const json_t *list)
{
	const json_t *vm;
	size_t i;

	vm_head();
	json_array_foreach(list, i, vm) vm_text(vm);
}

static void
routers_text(const json_t *list)
{
	const json_t *r;
	size_t i;

	printf("%-12s %-22s %s\n", "ROUTER", "ADDRESS", "STATE");
	json_array_foreach(list, i, r)
	{
		const json_t *status = json_object_get(r, "status");

		if (status != NULL)
			printf("%-12s %-22s up, revision %lld\n", text(r, "name"), text(r, "address"),
				(long long)json_integer_value(json_object_get(status, "revision")));
		else
			printf("%-12s %-22s down: %s\n", text(r, "name"), text(r, "address"),
				text(r, "error"));
	}
}

static void
errors_text(const json_t *list)
{
	const json_t *line;
	size_t i;

	json_array_foreach(list, i, line) fprintf(stderr, "nearway-clc: %s\n", json_string_value(line));
}

static void
evacuated_text(const json_t *v)
{
	bool dry = json_is_true(json_object_get(v, "dry-run"));
	json_int_t before = json_integer_value(json_object_get(v, "before"));
	const json_t *r;
	size_t i;

	json_array_foreach(json_object_get(v, "refused"), i, r)
		printf("refused %s: %s\n", text(r, "vm"), text(r, "error"));
	printf("%lld VMs %s in %.1f s, %lld batches, the slowest %lld ms; %lld %s left",
		(long long)json_integer_value(json_object_get(v, "moved")),
		dry ? "would move, told" : "moved",
		(double)json_integer_value(json_object_get(v, "took-ms")) / 1000,
		(long long)json_integer_value(json_object_get(v, "batches")),
		(long long)json_integer_value(json_object_get(v, "slowest-ms")),
		(long long)json_integer_value(json_object_get(v, "left")), dry ? "would be" : "are");
	printf(before > 0 ? "; %lld had moved before\n" : "\n", (long long)before);
}

/* What has moved is the output, a list; the rest is for the reader. */
static void
evacuation_ended_text(const json_t *v)
{
	json_int_t on_their_way = json_integer_value(json_object_get(v, "on-their-way"));
	const char *from = text(v, "from"), *to = text(v, "to");
	const json_t *name;
	size_t i;

	json_array_foreach(json_object_get(v, "vms"), i, name) puts(json_string_value(name));
	fflush(stdout);
	fprintf(stderr, "nearway-clc: ended: %lld VMs had moved to site %s, %lld stay at site %s\n",
		(long long)json_integer_value(json_object_get(v, "moved")), to,
		(long long)json_integer_value(json_object_get(v, "left")), from);
	if (on_their_way > 0)
		fprintf(stderr, "nearway-clc: %lld more are on their way: sync finishes that\n",
			(long long)on_their_way);
	if (json_array_size(json_object_get(v, "vms")) > 0)
		fprintf(stderr,
			"nearway-clc: with the list above in FILE, they go back by: "
			"evacuate --from %s --to %s --vms FILE\n",
			to, from);
}

/* ---- plans ---- */

static void
time_text(const json_t *v, const char *name, const char *words)
{
	const json_t *ms = json_object_get(v, name);
	char buf[32];

	if (json_is_integer(ms))
		printf("%s%s", words, duration_to_text((uint64_t)json_integer_value(ms), buf));
}

static void
addresses_text(const json_t *plan, const char *what)
{
	const json_t *a;
	size_t i;

	json_array_foreach(json_object_get(plan, what), i, a)
	{
		printf("  %-10s %-15s %-15s at %s", what, text(a, "private"), text(a, "global"),
			text(a, "router"));
		time_text(a, "min", ", at least ");
		time_text(a, "max", ", at most ");
		if (json_is_integer(json_object_get(a, "sessions")))
			printf(", %lld sessions",
				(long long)json_integer_value(json_object_get(a, "sessions")));
		putchar('\n');
	}
}

static void
plan_text(const json_t *plan)
{
	const json_t *s;
	size_t i;

	printf("%s: %s to %s, %s\n", text(plan, "vm"), text(plan, "from"), text(plan, "to"),
		text(plan, "id"));
	addresses_text(plan, "live");
	addresses_text(plan, "draining");
	addresses_text(plan, "ended");
	json_array_foreach(json_object_get(plan, "steps"), i, s)
	{
		printf("  %-10s %s %s", text(s, "step"), text(s, "router"), text(s, "does"));
		time_text(s, "after-ms", ", after ");
		time_text(s, "within-ms", ", within ");
		puts(json_is_true(json_object_get(s, "optional")) ? " (need not happen)" : "");
	}
}

static void
plans_text(const json_t *list)
{
	const json_t *plan;
	size_t i;

	json_array_foreach(list, i, plan) plan_text(plan);
	if (json_array_size(list) == 0)
		puts("nothing would change");
}

static void
result_text(const char *command, const json_t *v)
{
	if (json_object_get(v, "plans") != NULL) {
		plans_text(json_object_get(v, "plans"));
	} else if (json_object_get(v, "on-their-way") != NULL) {
		evacuation_ended_text(v);
	} else if (json_object_get(v, "vms") != NULL) {
		vms_text(json_object_get(v, "vms"));
	} else if (json_object_get(v, "routers") != NULL) {
		routers_text(json_object_get(v, "routers"));
	} else if (strcmp(command, "evacuate") == 0) {
		evacuated_text(v);
	} else if (json_object_get(v, "name") != NULL) {
		vm_head();
		vm_text(v);
		if (json_object_get(v, "old-router") != NULL)
			printf("old router: %s\n", text(v, "old-router"));
	} else if (strcmp(command, "delete") == 0) {
		printf("deleted %s\n", text(v, "deleted"));
	} else if (strcmp(command, "route") == 0) {
		printf("%s via %s at %s\n", text(v, "prefix"), text(v, "via"), text(v, "router"));
	} else {
		errors_text(json_object_get(v, "errors"));
		printf("%lld VMs adopted, %lld addresses released, %lld VMs registered again, %lld "
		       "unfinished finished\n",
			(long long)json_integer_value(json_object_get(v, "adopted")),
			(long long)json_integer_value(json_object_get(v, "released")),
			(long long)json_integer_value(json_object_get(v, "registered")),
			(long long)json_integer_value(json_object_get(v, "finished")));
	}
}

void
print_event(const char *router, const json_t *event, bool json)
{
	json_t *v;

	if (json) {
		v = json_pack("{s:s}", "router", router);
		json_object_update(v, (json_t *)(uintptr_t)event);
		json_dumpf(v, stdout, JSON_COMPACT);
		json_decref(v);
	} else if (json_object_get(event, "resync") != NULL) {
		printf("%s: events are missing here: %s", router, text(event, "resync"));
	} else {
		printf("%s ", router);
		event_print(event, stdout);
	}
	putchar('\n');
}

void
print_result(const char *command, const json_t *result, const char *error, bool json)
{
	json_t *v;

	if (json) {
		v = result != NULL ? json_copy((json_t *)result) : json_object();
		if (error != NULL)
			json_object_set_new(v, "error", json_string(error));
		json_dumpf(v, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(v);
		return;
	}
	if (result != NULL)
		result_text(command, result);
	if (error != NULL)
		fprintf(stderr, "nearway-clc: %s\n", error);
}
