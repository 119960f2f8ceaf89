/* SPDX-License-Identifier: BSD-3-Clause */
/* evacuate_command.c - nearway-clc evacuate: what it is given, how far it is, what came of it. */
#include "clc_priv.h"
#include "evacuation.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOW_ON "; the same command, or evacuate --resume, goes on, evacuate --abort ends it here"

static volatile sig_atomic_t told_to_stop;

static void
stop(int signal)
{
	(void)signal;
	told_to_stop = 1;
}

/* Once: who is told twice ends at once. */
static void
heed_signals(void)
{
	struct sigaction once = {.sa_handler = stop, .sa_flags = (int)SA_RESETHAND};

	told_to_stop = 0;
	sigaction(SIGINT, &once, NULL);
	sigaction(SIGTERM, &once, NULL);
}

struct progress {
	uint64_t told_ms;
	const char *does;
};

/* A line a second, for whoever waits. */
static bool
progress(void *arg, const struct evacuation *x)
{
	struct progress *p = arg;
	size_t refused = json_array_size(x->refused);

	if (x->took_ms - p->told_ms >= 1000 || told_to_stop) {
		p->told_ms = x->took_ms;
		fprintf(stderr, "nearway-clc: %zu of %zu VMs %s, %zu refused, %.1f s\n", x->before + x->moved,
			x->before + x->wanted, p->does, refused, (double)x->took_ms / 1000);
	}
	return !told_to_stop;
}

static int
read_batch(const char *text, size_t *batch, struct err *e)
{
	unsigned long n = text != NULL ? strtoul(text, NULL, 10) : EVACUATION_BATCH_DEFAULT;

	if (n == 0 || n > EVACUATION_BATCH_MAX || (text != NULL && text[strspn(text, "0123456789")] != '\0'))
		return err_set(e, EINVAL, "--batch %s: not a number of 1 to %d", text, EVACUATION_BATCH_MAX);
	*batch = n;
	return 0;
}

/* Of those that it is about, whatever is under way with them. */
static size_t
still_at(const struct clc *c, const struct evacuation *x)
{
	struct clc_vm *vm, *next;
	size_t n = 0;

	HASH_ITER (by_name, c->state.vms, vm, next)
		n += strcmp(vm->site, x->from) == 0 &&
		     (x->segment == NULL || strcmp(vm->segment, x->segment) == 0) &&
		     (x->listed == NULL || json_object_get(x->listed, vm->name) != NULL);
	return n;
}

static json_t *
report(const struct evacuation *x, size_t left, bool dry)
{
	json_t *v = json_pack("{s:I, s:I, s:I, s:O, s:I, s:I, s:I}", "before", (json_int_t)x->before, "moved",
		(json_int_t)x->moved, "left", (json_int_t)left, "refused", x->refused, "batches",
		(json_int_t)x->batches, "took-ms", (json_int_t)x->took_ms, "slowest-ms",
		(json_int_t)x->slowest_ms);

	if (dry)
		json_object_set_new(v, "dry-run", json_true());
	return v;
}

static int
run(struct clc *c, struct evacuation *x, bool dry, json_t **out, struct err *e)
{
	struct progress told = {.does = dry ? "would move" : "moved"};
	int rc;

	heed_signals();
	x->go_on = progress;
	x->arg = &told;
	rc = clc_evacuate(c, x, e);
	*out = report(x, still_at(c, x), dry);
	if (x->stopped)
		rc = err_set(e, EINTR, "stopped: %zu of %zu VMs %s%s", x->before + x->moved,
			x->before + x->wanted, told.does, dry ? "" : HOW_ON);
	else if (rc == 0 && json_array_size(x->refused) > 0)
		rc = err_set(e, EPROTO, "%zu VMs %s refused and stay at site %s", json_array_size(x->refused),
			dry ? "would be" : "were", x->from);
	json_decref(x->refused);
	return rc;
}

static int
check_args(const struct clc *c, const struct evacuate_args *a, struct err *e)
{
	if (a->from == NULL || a->to == NULL)
		return err_set(
			e, EINVAL, "evacuate needs --from SITE and --to SITE, or --resume, or --abort");
	if (inventory_site(c->inv, a->from) == NULL)
		return err_set(e, ENOENT, "no site %s in the inventory", a->from);
	if (strcmp(a->from, a->to) == 0)
		return err_set(e, EINVAL, "--from and --to are the same site");
	if (a->segment != NULL && a->vms != NULL)
		return err_set(e, EINVAL, "--segment and --vms exclude each other");
	if (a->segment != NULL && inventory_segment(c->inv, a->segment) == NULL)
		return err_set(e, ENOENT, "no segment %s in the inventory", a->segment);
	return 0;
}

static int
evacuate_given(struct clc *c, const struct evacuate_args *a, json_t **out, struct err *e)
{
	struct evacuation x = {.from = a->from, .segment = a->segment, .move = a->move};
	json_t *listed = NULL;
	int rc = check_args(c, a, e);

	x.move.to = a->to;
	if (rc == 0)
		rc = read_batch(a->batch, &x.batch, e);
	if (rc == 0 && a->vms != NULL)
		rc = evacuation_list(c, a->vms, &listed, e);
	x.listed = listed;
	if (rc == 0)
		rc = run(c, &x, a->dry, out, e);
	json_decref(listed);
	return rc;
}

static int
resume(struct clc *c, const struct evacuate_args *a, json_t **out, struct err *e)
{
	json_t *row = json_incref(c->state.evacuation); /* x points into it */
	struct evacuation x;
	int rc;

	if (row == NULL)
		return err_set(e, ENOENT, "no evacuation is under way");
	evacuation_read(row, &x);
	rc = run(c, &x, a->dry, out, e);
	json_decref(row);
	return rc;
}

static bool
says_what(const struct evacuate_args *a)
{
	return a->from != NULL || a->to != NULL || a->segment != NULL || a->vms != NULL || a->batch != NULL ||
	       a->move.drain_min_ms != UINT64_MAX || a->move.drain_max_ms != UINT64_MAX ||
	       a->move.sessions >= 0;
}

int
evacuate_command(struct clc *c, const struct evacuate_args *a, json_t **out, struct err *e)
{
	if (!a->resume && !a->abort)
		return evacuate_given(c, a, out, e);
	if (says_what(a) || (a->abort && (a->resume || a->dry)))
		return err_set(e, EINVAL, "evacuate %s: nothing else is said with it, it is all stored",
			a->abort ? "--abort" : "--resume");
	return a->abort ? clc_evacuate_abort(c, out, e) : resume(c, a, out, e);
}
