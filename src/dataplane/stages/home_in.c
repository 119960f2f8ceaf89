/* SPDX-License-Identifier: BSD-3-Clause */
/* What reaches a VM that drains, or is about to leave, is evidence of a session's home; first evidence wins.
 *
 *   from the WAN by a draining address of ours      that address
 *   from the WAN by the live address                that address; but TCP only when it opens, or when the VM returned
 *                                                   to that address and has none that is older
 *   through the tunnel, routed by a home's router   the address that drains there, whoever relayed it
 *
 * Two at once: the second SYN is dropped until the first session ends, as is TCP that contradicts its home; of other
 * protocols the latest inbound decides. ICMP errors and later fragments tell nothing, and pass.
 */
#include <dataplane/flow.h>
#include <dataplane/ip4.h>
#include <dataplane/pipeline.h>
#include <dataplane/round_trip.h>
#include <dataplane/vmrec.h>

struct evidence {
	struct flow flow;
	struct session_where where;
	rte_be32_t home; /* 0: tells nothing */
	bool young; /* a live address of ours with older ones beside it: only an opening TCP packet is evidence */
};

/* Which evidence the packet is. Translated here, or from a peer: then it says only who translated it. */
static void
look(struct worker *w, struct rte_mbuf *m, struct evidence *e)
{
	const struct meta *md = meta(m);
	const struct vm_rec_drain *d;
	bool drains;
	rte_be32_t ip;

	*e = (struct evidence){0};
	if (ip4_know(m) != DROPS)
		return;
	ip = ip4_hdr(m)->dst_addr;
	flow_of(w, m, FLOW_TO_VM, &e->flow);
	drains = vm_oldest_drain(md->vm, ip) != NULL;
	if (!e->flow.known || e->flow.quoted || !(drains || (md->vm->flags & VM_REC_NOTES)))
		return;
	if (md->nat_ip != 0) {
		e->home = md->nat_ip;
		e->young =
			drains && vm_live_global(md->vm, ip) == md->nat_ip && !vm_live_is_oldest(md->vm, ip);
	} else if ((d = vm_drain_at(md->vm, ip, md->routed_by)) != NULL) {
		e->home = d->global;
	}
	flow_locate(w, &e->flow, &e->where);
}

/* The home that the table gives the session, noting it if this packet may; 0 = none. That the session ends is not
 * believed before its home agrees. */
static rte_be32_t
noted(struct worker *w, const struct evidence *e)
{
	struct sessions *s = w->tables->sessions;
	rte_be32_t home = e->home;
	bool find = w->scratch || (e->young && e->flow.tcp && !e->flow.syn);
	enum session_result r;

	if (find)
		return flow_home(w, &e->flow, 0, &home) ? home : 0;
	r = sessions_note(s, &e->flow.key, w->tick, 0, &home);
	if (r == SESSION_FULL)
		w->c.sessions_full++;
	return r == SESSION_FULL ? 0 : home;
}

static void
rehome(struct worker *w, const struct evidence *e)
{
	if (!w->scratch)
		sessions_rehome(w->tables->sessions, &e->flow.key, w->tick, e->flow.tells, e->home);
}

/* The same router may translate the session by another of the VM's old addresses: from a peer, both look alike. */
static bool
same_home(const struct meta *md, const struct evidence *e, rte_be32_t home)
{
	if (home == e->home)
		return true;
	return md->nat_ip == 0 && vm_home_router(md->vm, e->flow.key.vm, home) == md->routed_by;
}

static enum drop
judge(struct worker *w, struct rte_mbuf *m, const struct evidence *e)
{
	rte_be32_t home = e->home != 0 ? noted(w, e) : 0;
	bool ended;

	if (home == 0)
		return DROPS;
	ended = e->flow.syn && sessions_ended(w->tables->sessions, &e->flow.key);
	if (!ended && same_home(meta(m), e, home)) {
		if (e->flow.tells != 0 && !w->scratch)
			sessions_find(w->tables->sessions, &e->flow.key, w->tick, e->flow.tells, &home);
		round_trip_note(w, m, &e->flow, RTT_VM, home);
		return DROPS;
	}
	if (ended || !e->flow.tcp || vm_home_router(meta(m)->vm, e->flow.key.vm, home) == VM_NO_HOME) {
		rehome(w, e);
		return DROPS;
	}
	return e->flow.syn && meta(m)->nat_ip != 0 ? DROP_SESSION_CLASH : DROP_HOME_CONFLICT;
}

void
home_in(struct worker *w, struct vec *in, struct vec *to_vm, struct vec *bridge)
{
	struct evidence evidence[BURST_MAX];
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (in, m, i)
		look(w, m, &evidence[i]);
	vec_foreach (in, m, i) {
		enum drop why = judge(w, m, &evidence[i]);

		if (why != DROPS)
			worker_drop(w, m, why);
		else
			vec_add(meta(m)->nat_ip != 0 ? to_vm : bridge, m);
	}
}
