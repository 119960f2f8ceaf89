/* SPDX-License-Identifier: BSD-3-Clause */
/* listing.h - the noted sessions of some VMs, for the router that they moved to; and what such a router makes of them.
 *
 * One walk over the table for all VMs that are asked for, in steps of which none takes the control thread long. It is a page
 * at a time, so a reader who is slow keeps nothing but his place.
 */
#pragma once

#include <env/env.h>

struct dp;

/* The contracts are those of fwd_list_*() and fwd_sessions_learn() in env.h. */
struct fwd_list *listing_new(struct dp *dp, const struct fwd_listed *of, size_t n, size_t limit);
void listing_next(struct fwd_list *l,
	void (*page)(void *arg, const struct fwd_session *rows, size_t n, bool more), void *arg);
void listing_free(struct fwd_list *l);
void listing_learn(struct dp *dp, const struct fwd_session *rows, size_t n, struct fwd_learnt *out);
