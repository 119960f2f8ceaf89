/* SPDX-License-Identifier: BSD-3-Clause */
/* evacuation.h - many VMs leave a site as one operation, which is stored until it is at its end: stopped, or cut off anywhere, it
 * goes on; or it is ended where it is.
 */
#pragma once

#include "clc.h"

struct evacuation {
	const char *from, *segment; /* NULL: of all segments */
	struct move_params move;
	size_t batch;	/* VMs of one transaction */
	json_t *listed; /* {name: line of its list} of those that move, borrowed; NULL: all that are there */
	/* After each batch; false: no further one. */
	bool (*go_on)(void *arg, const struct evacuation *x);
	void *arg;
	/* what came of it */
	size_t before;		       /* moved already when it was given */
	size_t wanted, moved, batches; /* of those that were left then */
	bool stopped;		       /* by go_on(), and some are left */
	json_t *refused;	       /* {"vm", "error"} of each; new reference of the caller's */
	uint64_t took_ms,
		slowest_ms; /* in all; the slowest batch, from its intents' being stored to its end */
};

/* Moves VMs, a batch after another, each all or nothing; of a batch that is refused those VMs that the refusal is not
 * about move all the same. Stopped, or cut off anywhere: giving it again goes on. 0 although some were refused; an error: a
 * router cannot be reached, the state cannot be stored, a VM of the list is not at the site, or -EBUSY, another one is under way. */
int clc_evacuate(struct clc *c, struct evacuation *x, struct err *e);
/* What is under way ends where it is: the VMs that it has not begun with stay. No router is asked. *report (new reference): "from",
 * "to", how many "moved", are "on-their-way" since it was cut off, or "left"; "vms": the names of the first two. */
int clc_evacuate_abort(struct clc *c, json_t **report, struct err *e);

#define EVACUATION_BATCH_DEFAULT 1000
#define EVACUATION_BATCH_MAX	 100000

struct evacuate_args {				       /* of the command */
	const char *from, *to, *segment, *vms, *batch; /* NULL: not given */
	struct move_params move;
	bool resume, abort, dry;
};

/* The whole command. -EINTR: it was told to stop, by SIGINT or SIGTERM. */
int evacuate_command(struct clc *c, const struct evacuate_args *a, json_t **out, struct err *e);

/* ---- as it is stored (evacuation.c) ---- */

json_t *evacuation_row(const struct evacuation *x, json_t *vms);
/* What is to be done, without what came of it; points into the row. False: it is none. */
bool evacuation_read(const json_t *row, struct evacuation *x);
/* Is it the one that is under way, if one is, and are those of its list where they should be? */
int evacuation_check(const struct clc *c, const struct evacuation *x, struct err *e);
/* A name a line, empty lines passed over; "-": standard input. *listed: new reference. Errors say the line. */
int evacuation_list(const struct clc *c, const char *file, json_t **listed, struct err *e);
