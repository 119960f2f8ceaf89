/* SPDX-License-Identifier: BSD-3-Clause */
/* drains.c - old global addresses that still work: their clocks here, at their home, and their end. */
#include "state.h"

#include <common/log.h>

#define POLL_MS		10000 /* a drain's sessions are asked for so often */
#define REBOOT_GRACE_MS (UINT64_C(10) * 60 * 1000)

void
drain_remove(struct vm_state *s, unsigned int i)
{
	unsigned int last = --s->fwd.n_drains;

	for (; i < last; i++) {
		s->fwd.drains[i] = s->fwd.drains[i + 1];
		s->drain[i] = s->drain[i + 1];
	}
	memset(&s->fwd.drains[last], 0, sizeof(s->fwd.drains[last]));
	memset(&s->drain[last], 0, sizeof(s->drain[last]));
}

void
drain_end(struct core *c, const struct vm_state *s, const char *why)
{
	const struct vm_obj *o = vm_find(c, s->fwd.segment, &s->fwd.mac);

	if (s->fwd.n_drains == o->now.fwd.n_drains)
		return;
	c->drain_why = why;
	vm_set(c, s);
	c->drain_why = NULL;
}

static bool
drains_global(const struct vm_state *s, ip4 global)
{
	for (unsigned int i = 0; i < s->fwd.n_drains; i++)
		if (s->fwd.drains[i].global_ip == global)
			return true;
	return false;
}

struct drain_txn {
	struct txn txn;
	size_t n;
	struct {
		struct vm_key vm;
		ip4 global;
		uint64_t epoch;
		const char *why;
	} item[];
};

static int
drains_apply(struct core *c, struct txn *t)
{
	struct drain_txn *d = (struct drain_txn *)t;

	for (size_t i = 0; i < d->n; i++) {
		struct vm_obj *o = vm_find(c, d->item[i].vm.segment, &d->item[i].vm.mac);
		struct vm_state s;

		if (!o)
			continue;
		s = o->now;
		for (unsigned int j = s.fwd.n_drains; j-- > 0;)
			if (s.fwd.drains[j].home == FWD_SELF &&
				s.fwd.drains[j].global_ip == d->item[i].global &&
				s.drain[j].epoch == d->item[i].epoch)
				drain_remove(&s, j);
		drain_end(c, &s, d->item[i].why);
	}
	return 0;
}

static void
drains_audit(struct core *c, struct txn *t)
{
	audit_effects(c, t, "router", "drain");
}

static void
drains_done(struct core *c, struct txn *t, int code)
{
	c->drains_end = false; /* refused by the store: the next tick tries again */
	if (code == 0 && ((struct drain_txn *)t)->n >= TURN_MAX)
		timer_set(c, c->drain_timer, 0);
	fail_clear(&t->fail);
	free(t);
}

/* Why it is; NULL: it is not. */
static const char *
drain_is_over(struct core *c, struct vm_obj *o, unsigned int i)
{
	const struct drain_time *t = &o->now.drain[i];
	uint64_t now = now_ms(c), n;

	if (o->now.fwd.drains[i].home != FWD_SELF)
		return NULL;
	if (now >= t->max_at)
		return "deadline";
	if (now < t->min_at || now < t->quiet_at || now < o->poll_at)
		return NULL;
	if (!env_call(c->env, fwd_sessions, o->now.fwd.drains[i].global_ip, &n))
		return NULL; /* an old count does not prove that none began since */
	if (n != 0)
		o->poll_at = now + POLL_MS;
	return n == 0 ? "quiet" : NULL;
}

static void
drains_collect(struct core *c)
{
	struct drain_txn *d = NULL;
	size_t room = 0;
	struct vm_obj *o;

	DL_FOREACH2(c->draining, o, drain_next)
	{
		if (d && d->n >= TURN_MAX)
			break;
		for (unsigned int i = 0; i < o->now.fwd.n_drains; i++) {
			const char *why = drain_is_over(c, o, i);

			if (!why)
				continue;
			if (!d || d->n == room) {
				bool fresh = !d;

				room = room ? 2 * room : 16;
				d = realloc(d, sizeof(*d) + room * sizeof(d->item[0]));
				if (!d)
					abort();
				if (fresh)
					memset(d, 0, sizeof(*d));
			}
			d->item[d->n].vm = o->key;
			d->item[d->n].why = why;
			d->item[d->n].global = o->now.fwd.drains[i].global_ip;
			d->item[d->n++].epoch = o->now.drain[i].epoch;
		}
	}
	if (!d)
		return;
	c->drains_end = true;
	d->txn.apply = drains_apply;
	d->txn.done = drains_done;
	d->txn.audit = drains_audit;
	txn_submit(c, &d->txn);
}

static void
drains_tick(void *arg)
{
	struct core *c = arg;

	if (!c->draining)
		return;
	if (!c->drains_end)
		drains_collect(c);
	timer_set(c, c->drain_timer, DRAIN_TICK_MS);
}

void
drains_track(struct core *c, struct vm_obj *o)
{
	bool has = o->present && vm_drains_at(&o->now, FWD_SELF);

	if (has == o->has_own_drain)
		return;
	o->has_own_drain = has;
	if (has) {
		if (!c->draining)
			timer_set(c, c->drain_timer, DRAIN_TICK_MS);
		DL_APPEND2(c->draining, o, drain_prev, drain_next);
		checkpoint_watch(c);
	} else {
		DL_DELETE2(c->draining, o, drain_prev, drain_next);
	}
}

static bool
has_homes(const struct vm_state *s)
{
	return s->fwd.n_drains > 0 || (s->fwd.flags & FWD_VM_NOTES);
}

static void
free_live(struct core *c, const struct vm_state *now)
{
	for (unsigned int i = 0; i < now->fwd.n_addresses; i++)
		if (now->fwd.addresses[i].global_ip)
			env_call(c->env, fwd_sessions_free, now->fwd.addresses[i].global_ip);
}

/* Where a VM has one address alone nobody looks at its sessions, nor at their ends: what was noted of them grows old. */
static void
release_live(struct core *c, const struct vm_state *old, const struct vm_state *now)
{
	if (!now->deleted && has_homes(old) && !has_homes(now))
		free_live(c, now);
}

void
drains_release_rest(struct core *c)
{
	struct vm_obj *o, *next;

	HASH_ITER (hh, c->vms, o, next)
		if (vm_live(o) && !has_homes(&o->now))
			free_live(c, &o->now);
}

/* Global addresses that neither live nor drain any more lose their sessions; the group is told of our own. */
void
drains_release(struct core *c, const struct vm_state *old, const struct vm_state *now)
{
	for (unsigned int i = 0; i < old->fwd.n_drains; i++) {
		ip4 global = old->fwd.drains[i].global_ip;

		if (drains_global(now, global) || vm_has_global(now, global))
			continue;
		env_call(c->env, fwd_sessions_free, global);
		if (old->fwd.drains[i].home == FWD_SELF && !now->deleted)
			sync_drain_done(c, now, global, old->drain[i].epoch);
	}
	for (unsigned int i = 0; i < old->fwd.n_addresses; i++) {
		ip4 global = old->fwd.addresses[i].global_ip;

		if (global && !drains_global(now, global) && !vm_has_global(now, global))
			env_call(c->env, fwd_sessions_free, global);
	}
	release_live(c, old, now);
}

/* ---- by the operator, before their time ---- */

/* Its VM, to be changed; *touched: bit i is set for each drain of it that is meant. Only its home and the VM's owner may end one. */
static int
drains_meant(struct core *c, const struct move_key_params *p, struct vm_obj **o, unsigned int *touched,
	struct fail *f)
{
	int segment = segment_index(c, p->segment);
	bool elsewhere = false;
	char mac[MAC_TEXT];

	*touched = 0;
	*o = segment < 0 ? NULL : vm_find(c, (uint16_t)segment, &p->mac);
	if (!vm_live(*o))
		return fail(f, RPC_NOT_FOUND, "no VM %s in segment %s", mac_format(&p->mac, mac), p->segment);
	for (unsigned int i = 0; i < (*o)->now.fwd.n_drains; i++) {
		if (p->epoch && (*o)->now.drain[i].epoch != p->epoch)
			continue;
		if ((*o)->now.fwd.owner == FWD_SELF || (*o)->now.fwd.drains[i].home == FWD_SELF)
			*touched |= 1u << i;
		else
			elsewhere = true;
	}
	if (*touched == 0 && elsewhere)
		return fail(f, RPC_NOT_FOUND, "the VM is registered at router %s: tell that one",
			router_name(c, (*o)->now.fwd.owner));
	return 0;
}

int
apply_move_cut(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f)
{
	unsigned int meant;
	struct vm_obj *o;
	struct vm_state s;
	int rc = drains_meant(c, p, &o, &meant, f);

	if (rc != 0)
		return rc;
	s = o->now;
	for (unsigned int i = s.fwd.n_drains; i-- > 0;)
		if (meant >> i & 1)
			drain_remove(&s, i);
	json_object_set_new(out, "ended", json_integer(o->now.fwd.n_drains - s.fwd.n_drains));
	drain_end(c, &s, "cut");
	return 0;
}

/* Told by the owner, the least time that was asked for is none, at the home, too; the home itself lets only its clock run out. */
int
apply_move_finish(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f)
{
	unsigned int meant;
	struct vm_obj *o;
	struct vm_state s;
	int rc = drains_meant(c, p, &o, &meant, f);

	if (rc != 0)
		return rc;
	s = o->now;
	for (unsigned int i = 0; i < s.fwd.n_drains; i++) {
		if (!(meant >> i & 1))
			continue;
		if (s.fwd.owner == FWD_SELF)
			s.drain[i].min_ms = 0;
		if (s.fwd.drains[i].home == FWD_SELF)
			s.drain[i].min_at = now_ms(c);
	}
	json_object_set_new(out, "finishing", json_integer(__builtin_popcount(meant)));
	if (meant != 0)
		vm_set(c, &s);
	return 0;
}

/* ---- clocks ---- */

uint64_t
drain_left(struct core *c, uint64_t at)
{
	uint64_t now = now_ms(c);

	return at > now ? at - now : 0;
}

/* A wall clock that went back, or further than what was left, proves nothing: then nothing is taken off. */
uint64_t
drain_left_after_boot(uint64_t left, int64_t wall)
{
	uint64_t grace = left < REBOOT_GRACE_MS ? left : REBOOT_GRACE_MS;

	if (wall <= 0 || (uint64_t)wall > left)
		return left;
	return left - (uint64_t)wall > grace ? left - (uint64_t)wall : grace;
}

/* What is left of a drain whose row was written `since` ms before the last row of that boot. */
static uint64_t
restored(struct core *c, uint64_t at, const struct vm_obj *o, bool same_boot)
{
	uint64_t last = same_boot ? o->loaded_at : c->stored.boot_ms;
	uint64_t since = last > o->written_at ? last - o->written_at : 0;
	uint64_t left = at > o->loaded_at ? at - o->loaded_at : 0; /* the load took its time, too */

	left = left > since ? left - since : 0;
	return same_boot ? left : drain_left_after_boot(left, env_call(c->env, wall_ms) - c->stored.wall_ms);
}

void
drains_restore(struct core *c, struct vm_obj *o, bool same_boot)
{
	uint64_t now = now_ms(c);

	for (unsigned int i = 0; i < o->now.fwd.n_drains; i++) {
		struct drain_time *t = &o->now.drain[i];
		uint64_t left_max, spent;

		if (o->now.fwd.drains[i].home != FWD_SELF)
			continue;
		left_max = restored(c, t->max_at, o, same_boot);
		t->min_at = now + restored(c, t->min_at, o, same_boot);
		t->max_at = now + left_max;
		if (t->min_at > t->max_at)
			t->min_at = t->max_at;
		spent = t->max_ms - left_max;
		if (same_boot) /* the session table was kept: noting went on */
			t->quiet_at = spent < SESSION_QUIET_MS ? now + SESSION_QUIET_MS - spent : now;
		else
			t->quiet_at = now + SESSION_QUIET_MS;
	}
}

void
drains_init(struct core *c)
{
	c->drain_timer = timer_new(c, drains_tick, c);
}
