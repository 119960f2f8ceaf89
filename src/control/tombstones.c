/* SPDX-License-Identifier: BSD-3-Clause */
/* tombstones.c - deletions. Each keeps its epoch, so that who was away cannot bring the VM back by an older one.
 *
 * Who made a deletion forgets it after a day, and not before each peer has shown that it has it (sync.c: the sums of what it
 * has as ours). The peers see then that it is listed no more, and forget it, too. So a router that returns after a week meets
 * every deletion that it missed. How many there may be meanwhile is limited for each router: above that none is taken.
 *
 * A router whose store is of the time before such a deletion has the VM alive, as its owner's, and learns of its end in the same
 * way: it is listed no more. Then it becomes a tombstone first, which goes with the next exchange.
 */
#include "state.h"

#define FORGET_MS    (UINT64_C(24) * 3600 * 1000)
#define TICK_MS	     600000
#define FORGET_BATCH 2000

struct forgotten {
	struct vm_key vm;
	uint64_t epoch;
	bool live;
};

struct forget_txn {
	struct txn txn;
	uint8_t peer; /* who has forgotten VMs that live here; FWD_SELF: nobody */
	size_t n;
	struct forgotten item[FORGET_BATCH];
};

/* ---- counting ---- */

void
tombstone_count(struct core *c, struct vm_obj *o, int by)
{
	c->n_tombstones += (size_t)by;
	c->tombstones_of[o->now.fwd.owner] += (size_t)by;
	if (o->now.fwd.owner != FWD_SELF)
		return;
	if (by < 0) {
		DL_DELETE2(c->tombstones, o, tomb_prev, tomb_next);
		return;
	}
	if (o->now.deleted_at) { /* it was there and comes back: an undo, which goes from the youngest to the oldest */
		DL_PREPEND2(c->tombstones, o, tomb_prev, tomb_next);
		return;
	}
	o->now.deleted_at = now_ms(c);
	DL_APPEND2(c->tombstones, o, tomb_prev, tomb_next);
}

int
tombstone_check(struct core *c, uint8_t owner, struct fail *f)
{
	if (c->tombstones_of[owner] < c->conf->limits.tombstones)
		return 0;
	return fail(f, RPC_LIMIT,
		"limits.tombstones is reached: %zu deletions of router %s are remembered, until each router "
		"of the "
		"group has them: see show peers",
		c->tombstones_of[owner], router_name(c, owner));
}

/* ---- forgetting ---- */

static void
forget_one(struct core *c, const struct forgotten *it)
{
	struct vm_obj *o = vm_find(c, it->vm.segment, &it->vm.mac);

	if (!o || !o->present || o->now.epoch != it->epoch || o->now.deleted == it->live)
		return;
	if (it->live)
		vm_withdraw(c, o, o->now.fwd.owner);
	else if (!o->hint.kept)
		vm_forget(c, o);
}

static int
forget_apply(struct core *c, struct txn *t)
{
	struct forget_txn *x = (struct forget_txn *)t;

	for (size_t i = 0; i < x->n; i++)
		forget_one(c, &x->item[i]);
	return 0;
}

static void
forget_audit(struct core *c, struct txn *t)
{
	struct forget_txn *x = (struct forget_txn *)t;
	char who[WHO_TEXT];

	if (x->peer != FWD_SELF)
		audit_effects(c, t, audit_who(ROLE_PEER, router_name(c, x->peer), who), "sync.rows");
}

static void
forget_done(struct core *c, struct txn *t, int code)
{
	if (code == 0) /* else the next tick or exchange tries again */
		peers_forgot(c);
	fail_clear(&t->fail);
	free(t);
}

static void
forget(struct core *c, const struct vm_obj *o, bool live)
{
	struct forget_txn *x = c->forgetting;

	if (!x) {
		x = c->forgetting = zalloc(sizeof(*x));
		x->txn.apply = forget_apply;
		x->txn.done = forget_done;
		x->txn.audit = forget_audit;
	}
	if (live)
		x->peer = o->now.fwd.owner;
	x->item[x->n++] = (struct forgotten){o->key, o->now.epoch, live};
	if (x->n == FORGET_BATCH)
		tombstones_flush(c);
}

void
tombstone_forget(struct core *c, const struct vm_obj *o)
{
	forget(c, o, false);
}

void
ghost_end(struct core *c, const struct vm_obj *o)
{
	char key[VM_KEY_TEXT];

	vm_key_text(c, o->key.segment, &o->key.mac, key);
	peer_alarm(&c->peers[o->now.fwd.owner - 1],
		"VM %s at epoch %" PRIu64
		" is its no more, and its end is forgotten: our store was an old one",
		key, o->now.epoch);
	forget(c, o, true);
}

void
tombstones_flush(struct core *c)
{
	struct forget_txn *x = c->forgetting;

	c->forgetting = NULL;
	if (x)
		txn_submit(c, &x->txn);
}

/* All that this router had deleted before is at every peer. */
static uint64_t
taken_by_all(struct core *c)
{
	uint64_t at = now_ms(c);

	for (size_t i = 0; i < c->n_peers; i++)
		if (!c->peers[i].conf->removed && c->peers[i].took_at < at)
			at = c->peers[i].took_at;
	return at;
}

static void
tick(void *arg)
{
	struct core *c = arg;
	uint64_t taken = taken_by_all(c), now = now_ms(c);
	struct vm_obj *o;

	DL_FOREACH2(c->tombstones, o, tomb_next)
	{
		if (o->now.deleted_at >= taken || now - o->now.deleted_at < FORGET_MS)
			break;
		tombstone_forget(c, o);
	}
	tombstones_flush(c);
	timer_set(c, c->tomb_timer, TICK_MS);
}

/* ---- start and stop ---- */

static int
by_age(const struct vm_obj *a, const struct vm_obj *b)
{
	return a->now.deleted_at < b->now.deleted_at ? -1 : a->now.deleted_at > b->now.deleted_at;
}

/* After a reboot nobody knows how old they are: they are young again. */
void
tombstones_start(struct core *c)
{
	bool same_boot = c->stored.present && strcmp(c->stored.boot_id, env_call(c->env, boot_id)) == 0;
	struct vm_obj *o;

	DL_FOREACH2(c->tombstones, o, tomb_next)
	if (same_boot && o->written_at < o->loaded_at)
		o->now.deleted_at = o->written_at;
	DL_SORT2(c->tombstones, by_age, tomb_prev, tomb_next);
	timer_set(c, c->tomb_timer, TICK_MS);
}

void
tombstones_init(struct core *c)
{
	c->tombstones_of = zalloc((PEERS_MAX + 1) * sizeof(*c->tombstones_of));
	c->tomb_timer = timer_new(c, tick, c);
}

void
tombstones_fini(struct core *c)
{
	free(c->forgetting);
	free(c->tombstones_of);
	c->env->ops->timer_free(c->tomb_timer);
}
