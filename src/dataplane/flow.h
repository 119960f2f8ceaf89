/* SPDX-License-Identifier: BSD-3-Clause */
/* flow.h - the session that a packet of a draining VM belongs to.
 *
 * An ICMP error belongs to the session of the packet that it quotes, and tells nothing about it. A later fragment
 * has no ports: it follows its first fragment, which the worker remembers for a short time (worker.h, frag_home).
 */
#pragma once

#include "tables/sessions_at.h"
#include "worker.h"

#include <string.h>

enum flow_dir { FLOW_FROM_VM, FLOW_TO_VM };

struct flow {
	struct session_key key;
	bool known;    /* false: a later fragment */
	bool quoted;   /* by an ICMP error */
	bool tcp;      /* of the session, not of the packet that quotes it */
	bool syn;      /* a pure SYN: opens a session */
	uint8_t tells; /* SESSION_* of TCP */
};

/* `m` is parsed, its VM's address is the private one. */
void flow_of(const struct worker *w, struct rte_mbuf *m, enum flow_dir dir, struct flow *f);
/* Asks for its memory: it is not known, or express would have taken the packet. */
static inline void
flow_locate(const struct worker *w, const struct flow *f, struct session_where *where)
{
	uint64_t key[2];

	memcpy(key, &f->key, sizeof(key));
	sessions_locate(w->tables->sessions, key, where);
	sessions_expect_far(where);
}

/* The home that is noted for it, refreshed by what the packet `tells`; a scratch worker only looks. False: none is. */
bool flow_home(const struct worker *w, const struct flow *f, uint8_t tells, rte_be32_t *home);
