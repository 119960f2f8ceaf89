/* SPDX-License-Identifier: BSD-3-Clause */
/* macs.h - learnt MACs: written from workers' news, aged by the newest tick at which any worker heard them.
 */
#pragma once

#include <dataplane/worker.h>

struct dp;
struct macs;

struct mac_counts { /* of a segment */
	uint64_t learnt, moved, refused;
};

struct macs *macs_new(struct dp *dp);
void macs_run(struct macs *m);
void macs_forget_port(struct macs *m, uint16_t port); /* what was learnt behind it */
void macs_forget_removed(struct macs *m);	      /* hosts behind peers that are gone */
void macs_learn(struct macs *m, const struct dp_event *ev);
uint32_t macs_idle_s(const struct macs *m, const struct mac_entry *e); /* since it was last heard */
uint64_t macs_refused(const struct macs *m);			       /* not learnt: the table was full */
const struct mac_counts *macs_of(const struct macs *m, uint16_t seg);
void macs_free(struct macs *m);
