/* SPDX-License-Identifier: BSD-3-Clause */
#include "evacuation.h"
#include "clc_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- as it is stored ---- */

json_t *
evacuation_row(const struct evacuation *x, json_t *vms)
{
	json_t *row = json_pack("{s:s, s:s, s:I, s:I, s:I, s:i, s:b, s:O}", "from", x->from, "to", x->move.to,
		"batch", (json_int_t)x->batch, "drain-min", (json_int_t)x->move.drain_min_ms, "drain-max",
		(json_int_t)x->move.drain_max_ms, "sessions", x->move.sessions, "listed", x->listed != NULL,
		"vms", vms);

	if (x->segment != NULL)
		json_object_set_new(row, "segment", json_string(x->segment));
	return row;
}

bool
evacuation_read(const json_t *row, struct evacuation *x)
{
	json_int_t batch, min, max;
	json_t *vms;
	int listed;

	*x = (struct evacuation){0};
	if (json_unpack((json_t *)(uintptr_t)row, "{s:s, s:s, s:I, s:I, s:I, s:i, s:b, s:o, s?s}", "from",
		    &x->from, "to", &x->move.to, "batch", &batch, "drain-min", &min, "drain-max", &max,
		    "sessions", &x->move.sessions, "listed", &listed, "vms", &vms, "segment",
		    &x->segment) != 0 ||
		batch < 1 || batch > EVACUATION_BATCH_MAX || x->move.sessions > SESSIONS_CUT ||
		!json_is_object(vms))
		return false;
	x->batch = (size_t)batch;
	x->move.drain_min_ms = (uint64_t)min;
	x->move.drain_max_ms = (uint64_t)max;
	x->listed = listed ? vms : NULL;
	return true;
}

/* ---- the same one? ---- */

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_list(json_t *a, json_t *b)
{
	const char *name;
	json_t *line;

	if (a == NULL || b == NULL || json_object_size(a) != json_object_size(b))
		return a == b;
	json_object_foreach(a, name, line) if (json_object_get(b, name) == NULL) return false;
	return true;
}

static int
check_vm(const struct clc_vm *vm, const struct evacuation *x, struct err *e)
{
	if (vm->step == VM_MOVING && strcmp(vm->to, x->move.to) == 0)
		return 0;
	if (vm->step != VM_ACTIVE)
		return clc_busy(vm, e);
	if (strcmp(vm->site, x->from) != 0)
		return err_set(e, EINVAL, "VM %s is at site %s, not at %s", vm->name, vm->site, x->from);
	return 0;
}

static int
check_list(const struct clc *c, const struct evacuation *x, struct err *e)
{
	const char *name;
	json_t *line;

	json_object_foreach(x->listed, name, line)
	{
		const struct clc_vm *vm = state_find(&c->state, name);

		if (vm != NULL && check_vm(vm, x, e) != 0)
			return err_wrap(e, "--vms: line %lld", (long long)json_integer_value(line));
	}
	return 0;
}

int
evacuation_check(const struct clc *c, const struct evacuation *x, struct err *e)
{
	struct evacuation open;

	if (c->state.evacuation == NULL)
		return x->listed != NULL ? check_list(c, x, e) : 0;
	evacuation_read(c->state.evacuation, &open);
	if (strcmp(open.from, x->from) == 0 && strcmp(open.move.to, x->move.to) == 0 &&
		same_text(open.segment, x->segment) && same_list(open.listed, x->listed))
		return 0;
	return err_set(e, EBUSY,
		"another evacuation, of site %s to %s, is under way: evacuate --resume goes on with it, "
		"evacuate --abort ends it",
		open.from, open.move.to);
}

/* ---- a list ---- */

static int
take_line(const struct clc *c, char *line, int number, json_t *listed, struct err *e)
{
	const json_t *first;

	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] == '\0')
		return 0;
	first = json_object_get(listed, line);
	if (state_find(&c->state, line) == NULL)
		return err_set(e, ENOENT, "line %d: no VM %.64s", number, line);
	if (first != NULL)
		return err_set(e, EINVAL, "line %d: VM %s is given twice, first in line %lld", number, line,
			(long long)json_integer_value(first));
	json_object_set_new(listed, line, json_integer(number));
	return 0;
}

static int
take_lines(const struct clc *c, FILE *f, json_t *listed, struct err *e)
{
	char line[256];
	int rc = 0;

	for (int number = 1; rc == 0 && fgets(line, sizeof(line), f) != NULL; number++)
		rc = strlen(line) == sizeof(line) - 1
			     ? err_set(e, EINVAL, "line %d: longer than a name may be", number)
			     : take_line(c, line, number, listed, e);
	if (rc == 0 && ferror(f))
		rc = err_set(e, EIO, "%s", strerror(errno));
	if (rc == 0 && json_object_size(listed) == 0)
		rc = err_set(e, EINVAL, "no VM in it");
	return rc;
}

int
evacuation_list(const struct clc *c, const char *file, json_t **listed, struct err *e)
{
	bool is_stdin = strcmp(file, "-") == 0;
	FILE *f = is_stdin ? stdin : fopen(file, "re");
	int rc;

	if (f == NULL)
		return err_set(e, errno, "--vms %s: %s", file, strerror(errno));
	*listed = json_object();
	rc = take_lines(c, f, *listed, e);
	if (!is_stdin)
		fclose(f);
	return rc == 0 ? 0 : err_wrap(e, "--vms");
}
