/* SPDX-License-Identifier: BSD-3-Clause */
/* talk.h - what the rpc and sync targets share: those who talk to a router, line by line.
 *
 *	lTEXT cTEXT dTEXT oTEXT pTEXT   the local user, controller clc, controller clc-2, an observer, peer r-b says TEXT,
 *		 as it stands
 *	aTEXT    r-b's result of the next call that the router makes to it; no text: it never answers; none left: {}
 *	hTEXT    what the hello of whoever connects next says besides
 *	q        all hang up
 *	tN       N ms pass
 *	s, f     the disk refuses the next commit; forwarding refuses, until the next f
 *	rN       the router is killed, and comes back; with N, after a reboot with the wall clock N seconds ahead
 *	n        in the first line: the router's store is empty
 *
 * Whoever speaks connects first, and waits for what the router says: a request has one answer; an error, "changed": false and
 * a dry run have changed nothing, an observer never does, and a peer what it may change.
 */
#pragma once

#include "router.h"

/* One input; `who` may speak. */
void talk(const uint8_t *data, size_t size, const char *who);
