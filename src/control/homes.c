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
	uint8_t router = ((struct lost_txn *)t)->router;

	for (struct vm_obj *o = c->vms; o && home_lost(c, router); o = o->hh.next)
		if (vm_live(o) && o->now.fwd.owner == FWD_SELF && o->now.fwd.n_drains > 0)
			end_drains(c, o, router);
	return 0;
}

static void
lost_audit(struct core *c, struct txn *t)
{
	audit_effects(c, t, "router", "home-lost");
}

static void
lost_done(struct core *c, struct txn *t, int code)
{
	uint8_t router = ((struct lost_txn *)t)->router;

	if (code != 0) {
		c->peers[router - 1].home_ended = false; /* the next tick tries again */
	} else if (t->changed) {
		event_alarm(c, router_name(c, router),
			"router %s is away for too long: old addresses that drain there are given up",
			router_name(c, router));
	}
	fail_clear(&t->fail);
	free(t);
}

static void
end_all(struct core *c, struct peer *p)
{
	struct lost_txn *x = zalloc(sizeof(*x));

	x->txn.apply = lost_apply;
	x->txn.audit = lost_audit;
	x->txn.done = lost_done;
	x->router = p->index;
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
			end_all(c, p);
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
