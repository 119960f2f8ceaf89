/* SPDX-License-Identifier: BSD-3-Clause */
/* txn.c - transactions in groups: apply, fwd_prepare, commit, publish, retired, acknowledge. */
#include "state.h"

#include <common/log.h>
#include <errno.h>

/* Outlives the core when that is freed with a commit on its way: core is NULL then. */
struct group {
	struct core *core;
	struct env *env;
	struct txn *txns;
	size_t n_txns;
	struct fwd_txn *fwd;
	struct fwd_change *changes;
	size_t n_changes;
	struct env_row *rows;
	size_t n_rows;
	struct txn *applying; /* a long one, between two turns of the event loop */
	size_t mark;	      /* in the log, where it began */
	bool open;	      /* transactions are still being applied */
	uint64_t commit_us;   /* the store was asked then */
	bool stored;	      /* something that belongs into the store has changed */
	uint64_t revision;    /* before it */
};

/* ---- the log ---- */

struct undo *
txn_log(struct core *c)
{
	struct undo *u;

	if (c->n_log == c->log_size) {
		c->log_size = c->log_size ? 2 * c->log_size : 64;
		c->log = realloc(c->log, c->log_size * sizeof(*c->log));
		if (!c->log)
			abort();
	}
	u = &c->log[c->n_log++];
	memset(u, 0, sizeof(*u));
	u->revision = c->revision + 1;
	return u;
}

void
txn_touch(struct core *c, struct touched *t)
{
	size_t at = c->n_log - 1;

	if (t->group != c->groups)
		*t = (struct touched){c->groups, at, at};
	c->log[at].before = t->last;
	t->last = at;
}

const struct undo *
txn_before(const struct core *c, const struct touched *t)
{
	return t->group == c->groups && t->first < c->n_log ? &c->log[t->first] : NULL;
}

size_t
txn_mark(struct core *c)
{
	return c->n_log;
}

static struct touched *
touched_of(const struct undo *u)
{
	switch (u->kind) {
	case UNDO_VM:
		return &u->vm->touched;
	case UNDO_ROUTE:
		return &u->route->touched;
	case UNDO_MOVE:
		return &u->move->touched;
	default:
		return NULL;
	}
}

/* The log's last entry goes. */
static void
untouch(struct core *c)
{
	struct touched *t = touched_of(&c->log[c->n_log]);

	if (!t)
		return;
	if (t->first == c->n_log)
		t->group = 0;
	else
		t->last = c->log[c->n_log].before;
}

void
txn_rollback(struct core *c, size_t mark)
{
	while (c->n_log > mark) {
		struct undo *u = &c->log[--c->n_log];

		untouch(c);
		switch (u->kind) {
		case UNDO_VM:
			vm_undo(c, u->vm, &u->old.vm, u->present);
			break;
		case UNDO_ROUTE:
			route_undo(u);
			break;
		case UNDO_TERM:
			c->term = u->old.term;
			break;
		case UNDO_MOVE:
			move_undo(c, u->move, &u->old.move, u->present);
			break;
		}
	}
}

bool
txn_turn(struct core *c)
{
	if (c->turn == 0)
		return false;
	c->turn--;
	return true;
}

void
txn_count(struct core *c)
{
	if (c->current)
		c->current->changed = true;
}

void
term_set(struct core *c, uint64_t number, const char *name)
{
	struct undo *u = txn_log(c);

	u->kind = UNDO_TERM;
	u->old.term = c->term;
	c->term.number = number;
	snprintf(c->term.name, sizeof(c->term.name), "%s", name);
	txn_count(c);
}

/* ---- what a group does to store and forwarding ---- */

static void
group_free(struct group *g)
{
	for (size_t i = 0; i < g->n_rows; i++)
		row_free(&g->rows[i]);
	free(g->rows);
	free(g->changes);
	free(g);
}

static bool
in_fwd(const struct vm_state *s, bool present)
{
	return present && !s->deleted;
}

/* Deletions go first, so that what they free can be taken in the same transaction. */
static void
change_vm(struct group *g, const struct undo *first, bool deletions)
{
	const struct vm_obj *o = first->vm;
	bool was = in_fwd(&first->old.vm, first->present), is = in_fwd(&o->now, o->present);
	struct fwd_change *ch = &g->changes[g->n_changes];
	struct fwd_vm had;

	if (is == deletions || (!was && !is))
		return;
	memset(ch, 0, sizeof(*ch));
	vm_forwarding(&first->old.vm, &had);
	vm_forwarding(&o->now, &ch->vm);
	if (was && is && memcmp(&had, &ch->vm, sizeof(had)) == 0)
		return;
	ch->op = is ? FWD_VM_PUT : FWD_VM_DEL;
	g->n_changes++;
}

static void
change_route(struct core *c, struct group *g, const struct undo *first)
{
	const struct route_obj *o = first->route;
	const struct route *r = route_live(o);
	struct fwd_change *ch = &g->changes[g->n_changes];

	if (!r && !first->old.route.has_conf && !first->old.route.has_run)
		return; /* made and deleted in this group */
	g->n_changes++;
	memset(ch, 0, sizeof(*ch));
	ch->op = r ? FWD_ROUTE_PUT : FWD_ROUTE_DEL;
	if (r)
		route_fwd(c, r, &ch->route);
	else
		ch->route.prefix = route_prefix(o);
}

static void
rows_of(struct core *c, struct group *g, const struct undo *first)
{
	const struct vm_obj *o = first->vm;

	if (first->kind == UNDO_ROUTE) {
		route_row(first->route, &g->rows[g->n_rows++]);
		return;
	}
	if (first->kind == UNDO_MOVE) {
		move_row(c, first->move, &g->rows[g->n_rows++]);
		return;
	}
	if (!o->present) {
		vm_row_gone(c, o, &g->rows[g->n_rows++]);
		return;
	}
	if (first->present && vm_state_same(&first->old.vm, &o->now) &&
		first->old.vm.revision == o->now.revision)
		return;
	vm_row(c, &o->now, &g->rows[g->n_rows++]);
}

/* Its last entry stands for an object: then what it takes has been freed by those before it. */
static const struct undo *
first_of(struct core *c, size_t i)
{
	const struct touched *t = touched_of(&c->log[i]);

	return t && t->last == i ? &c->log[t->first] : NULL;
}

static void
group_build(struct core *c, struct group *g)
{
	const struct undo *u;
	struct txn *t;

	audit_begin(c);
	g->changes = zalloc((c->n_log + 1) * sizeof(*g->changes));
	g->rows = zalloc((c->n_log + 1) * sizeof(*g->rows));
	for (int deletions = 1; deletions >= 0; deletions--)
		for (size_t i = 0; i < c->n_log; i++)
			if ((u = first_of(c, i)) != NULL && u->kind == UNDO_VM)
				change_vm(g, u, deletions);
	for (size_t i = 0; i < c->n_log; i++) {
		u = first_of(c, i);
		if (u && u->kind == UNDO_ROUTE)
			change_route(c, g, u);
		if (u && g->stored)
			rows_of(c, g, u);
	}
	if (g->stored)
		meta_row(c, &g->rows[g->n_rows++]);
	DL_FOREACH(g->txns, t)
	{
		if (t->audit && t->changed)
			t->audit(c, t);
	}
	g->n_rows = audit_rows(c, &g->rows, g->n_rows);
}

/* ---- the end of a group ---- */

static void
pump_soon(struct core *c)
{
	if (!c->group && (c->queue || (audit_waits(c) && c->storage.rc == 0)))
		timer_set(c, c->pump, 0);
}

static void
group_finish(struct core *c, struct group *g, int code, const char *why)
{
	struct txn *t, *next;

	c->group = NULL;
	DL_FOREACH_SAFE(g->txns, t, next)
	{
		DL_DELETE(g->txns, t);
		if (t->fail.code == 0 && code != 0)
			fail(&t->fail, code, "%s", why);
		t->done(c, t, t->fail.code);
	}
	if (code == 0 && (g->n_changes > 0 || g->stored))
		peers_retry(c);
	group_free(g);
	pump_soon(c);
}

static void
group_retired(void *arg)
{
	struct group *g = arg;

	if (g->core)
		group_finish(g->core, g, 0, NULL);
	else
		group_free(g);
}

/* Store and forwarding have it: timers, announcements, news for the peers. */
static void
group_live(struct core *c)
{
	for (size_t i = 0; i < c->n_log; i++) {
		const struct undo *u = first_of(c, i);

		if (c->log[i].kind == UNDO_TERM)
			event_term(c, EVENT_CONTROLLER_TERM, c->term.name, c->term.number);
		if (u && u->kind == UNDO_ROUTE)
			event_route(c, u->route, c->log[i].revision);
		if (u && u->kind == UNDO_MOVE)
			move_changed(c, u->move, u->present ? &u->old.move : NULL);
		if (!u || u->kind != UNDO_VM)
			continue;
		if (!u->vm->present) { /* forgotten: its last place in the log, nobody looks for it again */
			vm_free(c, u->vm);
			continue;
		}
		event_vm(c, u->present ? &u->old.vm : NULL, &u->vm->now, c->log[i].revision);
		vm_changed(c, u->vm, &u->old.vm, u->present);
		if (u->vm->now.fwd.owner == FWD_SELF &&
			!(u->present && vm_state_same(&u->old.vm, &u->vm->now)))
			sync_changed(c, &u->vm->now);
	}
	moves_trim(c);
	sync_flush(c);
	c->n_log = 0;
	c->live_revision = c->revision;
	routes_trim(c);
}

static void
group_publish(struct group *g)
{
	struct core *c = g->core;

	if (g->fwd) {
		struct fwd_txn *fwd = g->fwd;

		g->fwd = NULL;
		env_call(g->env, fwd_publish, fwd, group_retired, g);
		group_live(c);
		return;
	}
	group_live(c);
	group_finish(c, g, 0, NULL);
}

static void
group_committed(void *arg, int rc)
{
	struct group *g = arg;
	struct core *c = g->core;

	if (!c) { /* the router stops: the store has it or not, the next start will tell */
		if (g->fwd)
			env_call(g->env, fwd_abort, g->fwd);
		group_free(g);
		return;
	}
	c->store_us = now_us(c) - g->commit_us;
	storage_told(c, rc);
	audit_stored(c, rc == 0);
	if (rc == 0) {
		c->stored_revision = c->revision;
		group_publish(g);
		return;
	}
	if (g->fwd)
		env_call(g->env, fwd_abort, g->fwd);
	txn_rollback(c, 0);
	c->revision = g->revision;
	group_finish(c, g, RPC_STORE, strerror(-rc));
}

/* ---- the start of a group ---- */

static void
apply_begin(struct core *c, struct group *g)
{
	struct txn *t = c->queue;

	DL_DELETE(c->queue, t);
	c->queued--;
	g->applying = t;
	g->mark = txn_mark(c);
	t->changed = t->goes_on = false;
	fail_clear(&t->fail);
}

/* What it refuses is undone here, and told with the others: the reason may lie in one that is on its way. */
static void
apply_end(struct core *c, struct group *g, int code)
{
	struct txn *t = g->applying;

	if (code != 0 || t->dry_run) {
		txn_rollback(c, g->mark);
		t->changed = false;
	}
	t->fail.code = code;
	if (t->changed)
		c->revision++;
	t->revision = c->revision;
	t->log_from = g->mark;
	t->log_to = c->n_log;
	g->stored |= t->changed;
	g->applying = NULL;
	DL_APPEND(g->txns, t);
	g->n_txns++;
}

/* A turn's worth of the one that is being applied; false: it is not through. */
static bool
apply_some(struct core *c, struct group *g)
{
	struct txn *t = g->applying;
	int code;

	c->current = t;
	code = t->apply(c, t);
	c->current = NULL;
	t->goes_on = code == TXN_MORE;
	if (code != TXN_MORE)
		apply_end(c, g, code);
	return code != TXN_MORE;
}

static int
txn_fail_code(int rc)
{
	return rc == -ENOSPC ? RPC_LIMIT : rc == -EEXIST ? RPC_CONFLICT : RPC_INTERNAL;
}

/* Forwarding refused. One alone is told why; of several each gets its own try. */
static void
group_refused(struct core *c, struct group *g, int rc, const char *why)
{
	struct txn *t;

	txn_rollback(c, 0);
	c->revision = g->revision;
	if (g->n_txns == 1) {
		log_warn("control: forwarding refused a change: %s", why);
		group_finish(c, g, txn_fail_code(rc), why);
		return;
	}
	c->solo = g->n_txns;
	while (g->txns) {
		t = g->txns->prev; /* the last */
		DL_DELETE(g->txns, t);
		DL_PREPEND(c->queue, t);
		c->queued++;
	}
	c->group = NULL;
	group_free(g);
	pump_soon(c);
}

static void
group_run(struct core *c, struct group *g)
{
	struct err e = {0};
	int rc;

	group_build(c, g);
	if (g->n_changes > 0) {
		rc = env_call(c->env, fwd_prepare, g->changes, g->n_changes, &g->fwd, &e);
		if (rc != 0) {
			g->fwd = NULL;
			group_refused(c, g, rc, e.text[0] ? e.text : strerror(-rc));
			return;
		}
	}
	g->commit_us = now_us(c);
	c->store_us = 0;
	if (g->n_rows > 0)
		env_call(c->env, commit, g->rows, g->n_rows, group_committed, g);
	else
		group_publish(g);
}

/* Another transaction joins the group. A long one comes with few others: they would wait for it. */
static bool
takes_more(struct core *c, const struct group *g)
{
	if (!c->queue || g->n_txns >= (c->solo ? 1 : GROUP_MAX))
		return false;
	return g->n_txns == 0 || c->n_log + c->queue->size < GROUP_MAX;
}

/* True: the group is full, or the queue empty. */
static bool
group_fill(struct core *c, struct group *g)
{
	c->turn = TURN_CHANGES;
	while (g->applying || takes_more(c, g)) {
		if (!txn_turn(c))
			return false;
		if (!g->applying)
			apply_begin(c, g);
		if (!apply_some(c, g))
			return false;
	}
	return true;
}

static struct group *
group_new(struct core *c)
{
	struct group *g = zalloc(sizeof(*g));

	g->core = c;
	g->env = c->env;
	g->revision = c->revision;
	g->open = true;
	c->groups++;
	return g;
}

static void
pump(void *arg)
{
	struct core *c = arg;

	if (!c->running || c->audit.seeking || (c->group ? !c->group->open : !c->queue && !audit_waits(c)))
		return;
	if (!c->group)
		c->group = group_new(c);
	if (!group_fill(c, c->group)) {
		timer_set(c, c->pump, 0);
		return;
	}
	c->group->open = false;
	if (c->solo)
		c->solo--;
	group_run(c, c->group);
}

void
txn_submit(struct core *c, struct txn *t)
{
	if (c->queued >= QUEUE_MAX) {
		fail(&t->fail, RPC_LIMIT, "%d changes wait already: send fewer at a time", QUEUE_MAX);
		t->done(c, t, RPC_LIMIT);
		return;
	}
	t->asked_us = now_us(c);
	DL_APPEND(c->queue, t);
	c->queued++;
	pump_soon(c);
}

struct after_txn {
	struct txn txn;
	void (*fn)(struct core *c, void *arg, int code);
	void *arg;
};

static int
after_apply(struct core *c, struct txn *t)
{
	(void)c;
	(void)t;
	return 0;
}

static void
after_done(struct core *c, struct txn *t, int code)
{
	struct after_txn x = *(struct after_txn *)t;

	fail_clear(&t->fail);
	free(t);
	x.fn(c, x.arg, code);
}

void
txn_after(struct core *c, void (*fn)(struct core *c, void *arg, int code), void *arg)
{
	struct after_txn *x;

	if (!c->group && !c->queue) {
		fn(c, arg, 0);
		return;
	}
	x = zalloc(sizeof(*x));
	x->txn.apply = after_apply;
	x->txn.done = after_done;
	x->fn = fn;
	x->arg = arg;
	txn_submit(c, &x->txn);
}

/* ---- start and stop ---- */

void
txn_init(struct core *c)
{
	c->pump = timer_new(c, pump, c);
	c->groups = 1;
}

void
txn_fini(struct core *c)
{
	struct txn *t, *next;

	if (c->group) {
		DL_FOREACH_SAFE(c->group->txns, t, next)
		{
			DL_DELETE(c->group->txns, t);
			DL_APPEND(c->queue, t);
		}
		if (c->group->applying)
			DL_APPEND(c->queue, c->group->applying);
		c->group->core = NULL;
		if (c->group->open) /* else store or forwarding have it */
			group_free(c->group);
		c->group = NULL;
	}
	DL_FOREACH_SAFE(c->queue, t, next)
	{
		DL_DELETE(c->queue, t);
		fail(&t->fail, RPC_INTERNAL, "the router stops");
		t->done(c, t, RPC_INTERNAL);
	}
	free(c->log);
	c->env->ops->timer_free(c->pump);
}
