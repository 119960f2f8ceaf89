/* SPDX-License-Identifier: BSD-3-Clause */
/* homes.c - old addresses whose home is lost: its router was away for longer than drain.home-lost-after.
 *
 * With drain.on-home-lost wait their sessions go on when it is back, and forwarding tells their VMs until then. With cut they end
 * here, where their VM is, and no move begins a drain there. A router that returns is told so by the VM as it is now.
 */
#include "state.h"

#include <common/log.h>

#define TICK_MS 1000

static bool
is_away(struct core *c, const struct peer *p)
{
	return !p->session && p->stale_since &&
	       now_ms(c) - p->stale_since >= c->conf->drain.home_lost_after_ms;
}

bool
home_lost(struct core *c, uint8_t router)
{
	return router != FWD_SELF && c->conf->drain.on_home_lost == HOME_LOST_CUT &&
	       is_away(c, &c->peers[router - 1]);
}

/* ---- what drains there ends ---- */

struct lost_txn {
	struct txn txn;
	uint8_t router;
	bool more;	    /* not the first of its turns */
	unsigned int ended; /* VMs */
};

static void
end_drains(struct core *c, const struct vm_obj *o, uint8_t router)
{
	struct vm_state s = o->now;

	for (unsigned int i = s.fwd.n_drains; i-- > 0;)
		if (s.fwd.drains[i].home == router)
			drain_remove(&s, i);
	drain_end(c, &s, "lost");
}

static int
lost_apply(struct core *c, struct txn *t)
{
	struct lost_txn *x = (struct lost_txn *)t;

	x->ended = 0;
	for (struct vm_obj *o = c->vms; o && x->ended < TURN_MAX && home_lost(c, x->router); o = o->hh.next)
		if (vm_live(o) && o->now.fwd.owner == FWD_SELF && vm_drains_at(&o->now, x->router)) {
			end_drains(c, o, x->router);
			x->ended++;
		}
	return 0;
}

static void
lost_audit(struct core *c, struct txn *t)
{
	audit_effects(c, t, "router", "home-lost");
}

static void end_some(struct core *c, struct peer *p, bool more);

static void
lost_done(struct core *c, struct txn *t, int code)
{
	struct lost_txn *x = (struct lost_txn *)t;
	struct peer *p = &c->peers[x->router - 1];

	if (code != 0)
		p->home_ended = false; /* the next tick tries again */
	else if (t->changed && !x->more)
		event_alarm(c, p->conf->name,
			"router %s is away for too long: old addresses that drain there are given up",
			p->conf->name);
	if (code == 0 && x->ended == TURN_MAX)
		end_some(c, p, true);
	fail_clear(&t->fail);
	free(t);
}

static void
end_some(struct core *c, struct peer *p, bool more)
{
	struct lost_txn *x = zalloc(sizeof(*x));

	x->txn.apply = lost_apply;
	x->txn.audit = lost_audit;
	x->txn.done = lost_done;
	x->router = p->index;
	x->more = more;
	p->home_ended = true;
	txn_submit(c, &x->txn);
}

static void
tick(void *arg)
{
	struct core *c = arg;

	for (size_t i = 0; i < c->n_peers; i++) {
		struct peer *p = &c->peers[i];
		bool away = !p->conf->removed && is_away(c, p), lost = away && home_lost(c, p->index);

		if (away != p->home_away)
			env_call(c->env, fwd_router_away, p->index, away);
		p->home_away = away;
		if (lost && !p->home_ended)
			end_some(c, p, false);
		p->home_ended &= lost;
	}
	timer_set(c, c->homes_timer, TICK_MS);
}

void
homes_start(struct core *c)
{
	timer_set(c, c->homes_timer, TICK_MS);
}

void
homes_init(struct core *c)
{
	c->homes_timer = timer_new(c, tick, c);
}

void
homes_fini(struct core *c)
{
	c->env->ops->timer_free(c->homes_timer);
}
