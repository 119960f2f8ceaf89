/* SPDX-License-Identifier: BSD-3-Clause */
/* round_trip.h - round trips of the TCP sessions of VMs that drain or are about to leave (tables/rtt.h).
 *
 * By the VM's owner alone: it sees both ways of all sessions to the outside, those by old addresses, too, which go through the tunnel to
 * their home and come back from there. So what the move has gained is the difference of two figures of one router.
 */
#pragma once

#include "flow.h"

/* A VM is timed from the record on with which we own it and it drains or is about to leave; for vmtab_on_change(). `rtt` is the
 * struct rtt. */
void round_trip_changed(void *rtt, const struct vm_rec *was, const struct vm_rec *is);
/* A packet of the session, by this home, goes on towards `to`. Of home-out and home-in, whose VM is in the metadata. */
void round_trip_note(
	struct worker *w, struct rte_mbuf *m, const struct flow *f, enum rtt_half to, rte_be32_t home);
/* The same of a whole TCP packet without IP options that is no RST. */
void round_trip_plain(struct worker *w, uint32_t slot, const struct rte_ipv4_hdr *ip,
	const struct session_key *k, enum rtt_half to, enum rtt_way way);
