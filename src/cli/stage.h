/* SPDX-License-Identifier: BSD-3-Clause */
/* stage.h - a list of changes of any length as one transaction: staged in parts that fit a message. */
#pragma once

#include "session.h"

/* `changes`: an array of {"method", "params"}. `open` and `commit` are further parameters of txn.open and txn.commit, or
 * NULL. 0 and *reply: the answer to the commit, or the first one that was refused; else as session_call(). */
int stage_call(struct session *s, const json_t *changes, const json_t *open, const json_t *commit,
	json_t **reply, struct err *e);
