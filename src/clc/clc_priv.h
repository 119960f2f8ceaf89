/* SPDX-License-Identifier: BSD-3-Clause */
/* clc_priv.h - what clc.c and prepared.c share. */
#pragma once

#include "clc.h"
#include "tell.h"

/* {segment, mac, epoch} */
json_t *clc_key_params(const struct clc_vm *vm, uint64_t epoch);
/* Of vm.move and move.prepare: the move under way. */
json_t *clc_move_params(const struct clc *c, const struct clc_vm *vm);
const struct inv_site *clc_need_site(struct clc *c, const char *name, struct err *e);
/* An error: what is under way has to be finished first. */
int clc_busy(const struct clc_vm *vm, struct err *e);
/* Tells the routers on the user's side that the VMs stand at the site. */
int clc_tell_routes(struct clc *c, const struct inv_site *site, struct clc_vm **vms, size_t n, struct err *e);
/* What the router said when our epoch was too low. Taken over as it is; a VM that was deleted there is gone. */
void clc_take_current(struct clc *c, struct clc_vm *vm, const json_t *current);
/* Prepared moves to the site: commits and aborts that were cut off are finished, and what is prepared is told again, since
 * the router may have lost or aborted it. */
int clc_finish_prepared(struct clc *c, const struct inv_site *site, struct seen_count *n, struct err *e);
/* clc_move() once the controller has looked at the site's router and taken stock of addresses. */
int clc_move_known(struct clc *c, struct clc_vm **vms, size_t n, const struct move_params *p, struct err *e);
