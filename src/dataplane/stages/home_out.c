/* SPDX-License-Identifier: BSD-3-Clause */
/* A packet to the world of a VM that drains: by which of its global addresses, and so through which router? Of one that is about
 * to leave the session is noted.
 *
 *   the session is noted                 its home
 *   TCP SYN without ACK                  the live address: the session begins here
 *   other TCP                            the oldest address that the VM still has: one that drains, or the live one
 *                                        when the VM returned to it; while the old routers' lists are open, and there are
 *                                        several old ones, none: it comes again, and by a wrong one it would be reset
 *   others                               the live address; the oldest while the old routers' lists are open
 *   a later fragment                     as its first one, for which it waits a moment
 *
 * What goes to a home elsewhere that is `direct` the owner translates itself: it leaves here, and only answers come through there.
 * What goes to a home that has been away for long goes there all the same, for it may be the control channel alone that is cut;
 * but the VM is told host unreachable, which TCP survives (RFC 1122, 4.2.3.9), so that its applications learn of it.
 * The owner decides for all; a router that is home of an old address decides for what its own attachments send, and takes
 * what the owner carries to it; every other router carries to the owner.
 */
#include <dataplane/flow.h>
#include <dataplane/icmp_error.h>
#include <dataplane/ip4.h>
#include <dataplane/ip4_send.h>
#include <dataplane/pipeline.h>
#include <dataplane/round_trip.h>
#include <dataplane/vmrec.h>

#define FRAG_S \
	30 /* a first fragment is remembered that long: RFC 791's reassembly time is 15 s, Linux' 30 s */

struct choice {
	const struct vm_rec *rec;
	struct flow flow;
	struct session_where where;
	rte_be32_t opens;  /* where a session that begins goes */
	rte_be32_t oldest; /* where an unknown one of before goes */
	bool drains;	   /* so there is a choice */
	bool chain;	   /* more than one old address */
	enum drop why;	   /* DROPS: none */
};

/* ---- fragments follow their first one ---- */

static struct frag_home *
frag_slot(struct worker *w, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);
	uint32_t h = ip->src_addr ^ ip->dst_addr * 31 ^ ip->packet_id * 0x9e3779b1;

	return &w->frag_homes[(h ^ h >> 16) % FRAG_HOMES];
}

static struct frag_home
frag_key(struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);

	return (struct frag_home){.vm = ip->src_addr,
		.remote = ip->dst_addr,
		.id = ip->packet_id,
		.seg = meta(m)->seg,
		.proto = ip->next_proto_id};
}

static bool
frag_same(const struct frag_home *f, const struct frag_home *k)
{
	return f->vm == k->vm && f->remote == k->remote && f->id == k->id && f->seg == k->seg &&
	       f->proto == k->proto;
}

static rte_be32_t
frag_find(struct worker *w, struct rte_mbuf *m)
{
	const struct frag_home *f = frag_slot(w, m);
	struct frag_home k = frag_key(m);

	return frag_same(f, &k) && w->tick - f->tick <= FRAG_S ? f->home : 0;
}

static bool
frag_waits_for(struct rte_mbuf *m, const void *arg)
{
	struct frag_home k = frag_key(m);

	return meta(m)->enter == ENTER_GATEWAY && frag_same(arg, &k);
}

static void
frag_note(struct worker *w, struct rte_mbuf *m, rte_be32_t home)
{
	struct frag_home k = frag_key(m);

	k.home = home;
	k.tick = w->tick;
	if (w->scratch)
		return;
	*frag_slot(w, m) = k;
	if (w->n_hold != 0)
		worker_release(w, frag_waits_for, &k);
}

static bool
frag_may_hold(const struct worker *w)
{
	uint16_t n = 0;

	for (uint16_t i = 0; i < w->n_hold; i++)
		n += meta(w->hold[i])->enter == ENTER_GATEWAY;
	return w->n_hold < HOLD_MAX && n < HOLD_FRAGMENTS;
}

/* Fragments may overtake their first one: a later one waits for it a moment. Without room it follows the rule at once. */
static bool
frag_hold(struct worker *w, struct rte_mbuf *m)
{
	if (w->scratch || (meta(m)->flags & META_FRAG_ALONE) || frag_find(w, m) != 0 || !frag_may_hold(w))
		return false;
	worker_hold(w, m, ENTER_GATEWAY);
	return true;
}

/* ---- the rule ---- */

/* Of a session that does not begin here, and that a rule gives its home. */
static uint8_t
guessed(const struct choice *c)
{
	return c->drains && !c->flow.syn ? SESSION_GUESSED : 0;
}

/* Notes a session that begins or was not known; a full table makes it an old one, its SYN too. */
static rte_be32_t
note(struct worker *w, struct choice *c, rte_be32_t home, bool stale)
{
	struct sessions *s = w->tables->sessions;
	uint8_t flags = c->flow.tells | guessed(c);
	rte_be32_t noted = home;
	enum session_result r;

	if (w->scratch || home == 0)
		return home;
	r = stale ? sessions_rehome(s, &c->flow.key, w->tick, flags, home)
		  : sessions_note(s, &c->flow.key, w->tick, flags, &noted);
	if (r != SESSION_FULL)
		return noted;
	w->c.sessions_full++;
	return c->flow.syn ? c->oldest : home;
}

/* Only who translates a session, and the owner, notes it: others would keep what they see half of. */
static bool
notes(const struct choice *c, rte_be32_t home)
{
	return !c->flow.quoted &&
	       (c->rec->owner == ROUTER_SELF || vm_home_router(c->rec, c->flow.key.vm, home) == ROUTER_SELF);
}

/* Its home is one of several, and a router that may know which has not told yet. */
static bool
is_awaited(const struct choice *c)
{
	return c->flow.tcp && !c->flow.syn && c->chain && (c->rec->flags & VM_REC_OPEN);
}

/* Where one goes that nobody knows. */
static rte_be32_t
by_rule(const struct choice *c)
{
	return !c->flow.syn && (c->flow.tcp || (c->rec->flags & VM_REC_OPEN)) ? c->oldest : c->opens;
}

static rte_be32_t
unknown(struct worker *w, struct choice *c, bool stale)
{
	rte_be32_t home = by_rule(c);

	if (is_awaited(c)) {
		c->why = DROP_HOME_AWAITED;
		return 0;
	}
	return notes(c, home) ? note(w, c, home, stale) : home;
}

/* A SYN of a key that is noted: a new session if the old one ended; a repeated SYN; or two at once. */
static rte_be32_t
reopen(struct worker *w, struct choice *c, rte_be32_t home)
{
	if (sessions_ended(w->tables->sessions, &c->flow.key))
		return note(w, c, c->opens, true);
	if (home != c->opens && c->rec->owner == ROUTER_SELF)
		c->why = DROP_SESSION_CLASH;
	return home;
}

static rte_be32_t
choose(struct worker *w, struct rte_mbuf *m, struct choice *c)
{
	rte_be32_t home = 0;
	bool stale;

	if (!c->flow.known) {
		home = frag_find(w, m);
		return home != 0 ? home : by_rule(c);
	}
	if (!flow_home(w, &c->flow, c->flow.tells, &home))
		return unknown(w, c, false);
	stale = vm_home_router(c->rec, c->flow.key.vm, home) == VM_NO_HOME;
	if (stale)
		return unknown(w, c, true);
	return c->flow.syn ? reopen(w, c, home) : home;
}

/* ---- the way ---- */

static void
go(struct worker *w, struct rte_mbuf *m, int router, struct vec *encap)
{
	const struct meta *md = meta(m);

	if (!(md->flags & META_CARRIED))
		ip4_carry(w, m, (uint8_t)router, encap);
	else if (md->vm->owner != ROUTER_SELF)
		worker_drop(w, m, DROP_NOT_OWNER);
	else if (router == md->in_router)
		worker_drop(w, m, DROP_OWNER_BACKWARDS);
	else if (
		ip4_hop(w, m,
			w->topo->segments[md->seg]
				.tunnel_mtu)) /* only who carries on from the tunnel takes a TTL: no frame goes round for ever */
		ip4_carry(w, m, (uint8_t)router, encap);
}

static void
send_home(struct worker *w, struct rte_mbuf *m, rte_be32_t home, struct vec *nat_out, struct vec *encap)
{
	struct meta *md = meta(m);
	int router = vm_home_router(md->vm, ip4_hdr(m)->src_addr, home);

	if (md->fragment == 1)
		frag_note(w, m, home);
	if (router == VM_NO_HOME) {
		worker_drop(w, m, DROP_NAT_NO_GLOBAL);
	} else if (router == ROUTER_SELF || vm_sends_direct(md->vm, ip4_hdr(m)->src_addr, home)) {
		ip4_clamp(m, w->topo->segments[md->seg].mss);
		md->nat_ip = home;
		vec_add(nat_out, m);
	} else {
		if (unlikely(__atomic_load_n(&w->topo->peers[router - 1].away, __ATOMIC_RELAXED))) {
			w->c.home_away++;
			icmp_error_host(w, m);
		}
		go(w, m, router, encap);
	}
}

static void
leave(struct worker *w, struct rte_mbuf *m, const struct flow *f, rte_be32_t home, struct vec *nat_out,
	struct vec *encap)
{
	round_trip_note(w, m, f, RTT_REMOTE, home);
	send_home(w, m, home, nat_out, encap);
}

/* Fills in the choice; false when there is none to make and the packet went its way. */
static bool
begin(struct worker *w, struct rte_mbuf *m, struct choice *c, struct vec *nat_out, struct vec *encap)
{
	const struct vm_rec *rec = meta(m)->vm;
	rte_be32_t ip = ip4_hdr(m)->src_addr;
	bool mine = rec->owner == ROUTER_SELF, carried = meta(m)->flags & META_CARRIED;
	const struct vm_rec_drain *any = vm_oldest_drain(rec, ip), *own = vm_drain_at(rec, ip, ROUTER_SELF);

	if (!mine && own == NULL) { /* neither owner nor home */
		go(w, m, rec->owner, encap);
		return false;
	}
	if (any == NULL && !(rec->flags & VM_REC_NOTES)) { /* another address of the VM drains */
		send_home(w, m, vm_live_global(rec, ip), nat_out, encap);
		return false;
	}
	*c = (struct choice){.rec = rec, .drains = any != NULL, .why = DROPS};
	/* What the owner carries here is of an address that drains here. */
	c->opens = mine || !carried ? vm_live_global(rec, ip) : own->global;
	c->oldest = !mine && carried				? own->global
		    : any == NULL || vm_live_is_oldest(rec, ip) ? vm_live_global(rec, ip)
								: any->global;
	c->chain = vm_old_addresses(rec, ip) > 1;
	flow_of(w, m, FLOW_FROM_VM, &c->flow);
	flow_locate(w, &c->flow, &c->where);
	return true;
}

void
home_out(struct worker *w, struct vec *in, struct vec *nat_out, struct vec *encap)
{
	struct choice choice[BURST_MAX];
	uint16_t n = 0, i;
	struct rte_mbuf *m;

	vec_foreach (in, m, i) {
		if (begin(w, m, &choice[n], nat_out, encap))
			in->m[n++] = m;
	}
	for (i = 0; i < n; i++) {
		rte_be32_t home;

		if (!choice[i].flow.known && choice[i].drains && frag_hold(w, in->m[i]))
			continue;
		home = choose(w, in->m[i], &choice[i]);
		if (choice[i].why != DROPS)
			worker_drop(w, in->m[i], choice[i].why);
		else
			leave(w, in->m[i], &choice[i].flow, home, nat_out, encap);
	}
}
