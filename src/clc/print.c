/* SPDX-License-Identifier: BSD-3-Clause */
#include "print.h"

#include <api/event_text.h>
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

/* ---- text ---- */

static const char *
text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

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
	const json_t *r;
	size_t i;

	json_array_foreach(json_object_get(v, "refused"), i, r)
		printf("refused %s: %s\n", text(r, "vm"), text(r, "error"));
	printf("%lld VMs moved in %.1f s, %lld batches, the slowest %lld ms; %lld are left\n",
		(long long)json_integer_value(json_object_get(v, "moved")),
		(double)json_integer_value(json_object_get(v, "took-ms")) / 1000,
		(long long)json_integer_value(json_object_get(v, "batches")),
		(long long)json_integer_value(json_object_get(v, "slowest-ms")),
		(long long)json_integer_value(json_object_get(v, "left")));
}

static void
result_text(const char *command, const json_t *v)
{
	if (json_object_get(v, "vms") != NULL) {
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
