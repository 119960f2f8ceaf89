/* SPDX-License-Identifier: BSD-3-Clause */
/* moves.c - moves as objects, and what a change of a VM makes of them.
 *
 *   move.prepare -> prepared <-> paused -> committed: draining -> done      vm.move begins at draining, or done
 *                       |          |
 *                       +----------+----> aborted
 *
 * A move is committed by the change that gives its VM its epoch and makes it ours, whoever asked for that; any other
 * change that has its epoch or a higher one ends it. So moves_follow() sees every change of a VM, inside the transaction that
 * makes it, and what it makes of moves is undone with it.
 */
#include "state.h"

#include <common/log.h>

void
move_id(struct core *c, const struct vm_key *vm, uint64_t epoch, char id[MOVE_ID_TEXT])
{
	char key[VM_KEY_TEXT];

	vm_key_text(c, vm->segment, &vm->mac, key);
	snprintf(id, MOVE_ID_TEXT, "%s@%" PRIu64, key, epoch);
}

struct move *
move_find(struct core *c, const struct vm_key *vm, uint64_t epoch)
{
	char id[MOVE_ID_TEXT];
	struct move *m;

	move_id(c, vm, epoch, id);
	HASH_FIND_STR(c->moves, id, m);
	return m;
}

struct move *
move_active(struct core *c, const struct vm_key *vm)
{
	struct move *m;

	HASH_FIND(active_hh, c->active, vm, sizeof(*vm), m);
	return m;
}

struct move *
move_reserving(struct core *c, const struct vm_key *vm, ip4 global)
{
	struct reserved *r;

	HASH_FIND(hh, c->reserved, &global, sizeof(global), r);
	return r && memcmp(&r->move->vm, vm, sizeof(*vm)) != 0 ? r->move : NULL;
}

bool
move_open(const struct move *m)
{
	return m->now.state == MOVE_PREPARED || m->now.state == MOVE_PAUSED;
}

/* ---- objects ---- */

struct move *
move_new(struct core *c, const struct vm_key *vm, uint64_t epoch)
{
	struct move *m = zalloc(sizeof(*m));

	m->vm = *vm;
	m->epoch = epoch;
	m->stands = ATTACHMENT_ANY;
	move_id(c, vm, epoch, m->id);
	return m;
}

void
move_free(struct move *m)
{
	json_decref(m->plan);
	free(m);
}

static bool
is_timed(const struct move *m)
{
	return move_open(m) || m->now.holds || m->now.open;
}

/* And nothing waits for it, which nobody would end if it were forgotten. */
static bool
has_ended(const struct move *m)
{
	return (m->now.state == MOVE_DONE || m->now.state == MOVE_ABORTED) && !is_timed(m);
}

/* Into the lists that it belongs to, as it is now. */
static void
enter(struct core *c, struct move *m)
{
	HASH_ADD_STR(c->moves, id, m);
	c->n_moves_ended += has_ended(m);
	if (is_timed(m))
		DL_APPEND2(c->timed, m, timed_prev, timed_next);
	if (is_timed(m) || m->now.sought)
		HASH_ADD(active_hh, c->active, vm, sizeof(m->vm), m);
	for (unsigned int i = 0; i < m->n_reserved && move_open(m); i++)
		HASH_ADD(hh, c->reserved, global_ip, sizeof(ip4), &m->reserved[i]);
}

static void
leave(struct core *c, struct move *m)
{
	HASH_DEL(c->moves, m);
	c->n_moves_ended -= has_ended(m);
	if (is_timed(m))
		DL_DELETE2(c->timed, m, timed_prev, timed_next);
	if (is_timed(m) || m->now.sought)
		HASH_DELETE(active_hh, c->active, m);
	for (unsigned int i = 0; i < m->n_reserved && move_open(m); i++)
		HASH_DEL(c->reserved, &m->reserved[i]);
}

void
move_put(struct core *c, struct move *m, const struct move_now *now, bool present)
{
	if (m->present)
		leave(c, m);
	else if (present)
		DL_APPEND(c->moves_list, m);
	if (m->present && !present)
		DL_DELETE(c->moves_list, m);
	m->now = *now;
	m->present = present;
	if (present)
		enter(c, m);
}

/* The rest is worth no row of its own. */
static bool
is_stored(const struct move *m, const struct move_now *now)
{
	return !m->present || m->now.state != now->state || m->now.arrived != now->arrived ||
	       m->now.from != now->from;
}

void
move_set(struct core *c, struct move *m, const struct move_now *now)
{
	struct undo *u = txn_log(c);

	u->kind = UNDO_MOVE;
	u->move = m;
	u->present = m->present;
	u->old.move = m->now;
	txn_touch(c, &m->touched);
	if (is_stored(m, now))
		txn_count(c);
	move_put(c, m, now, true);
}

void
move_hold_no_more(struct core *c, struct move *m)
{
	struct move_now n = m->now;

	n.holds = false;
	move_set(c, m, &n);
}

/* What was counted meanwhile was no change: it stays. */
void
move_undo(struct core *c, struct move *m, const struct move_now *old, bool present)
{
	struct move_now was = *old;

	was.held = m->now.held;
	was.released = m->now.released;
	was.dropped = m->now.dropped;
	was.at[MOVE_AT_RELEASED] = m->now.at[MOVE_AT_RELEASED];
	move_put(c, m, &was, present);
	if (!present && m->touched.group == 0)
		move_free(m);
}

uint8_t
move_flags(struct core *c, const struct vm_state *s)
{
	struct vm_key key = {s->fwd.segment, s->fwd.mac};
	const struct move *m = move_active(c, &key);
	uint8_t flags = s->departure.phase == DEPARTS_NOT ? 0 : FWD_VM_NOTES;

	if (!m || s->deleted)
		return flags;
	flags |= m->now.state == MOVE_PAUSED || m->now.holds ? FWD_VM_HOLDS : 0;
	return flags | (m->now.open ? FWD_VM_OPEN : 0);
}

/* ---- what a change of a VM makes of its moves ---- */

static bool
drains_epoch(const struct vm_state *s, uint64_t epoch)
{
	for (unsigned int i = 0; i < s->fwd.n_drains; i++)
		if (s->drain[i].epoch == epoch)
			return true;
	return false;
}

static bool
is_sought(const struct vm_state *s)
{
	return s->fwd.owner == FWD_SELF && s->fwd.location == FWD_SELF && s->fwd.attachment == ATTACHMENT_ANY;
}

static void
end(struct core *c, struct move_now *n, enum move_state state, const char *reason)
{
	n->state = (uint8_t)state;
	snprintf(n->reason, sizeof(n->reason), "%s", reason);
	n->since = now_ms(c);
	n->at[MOVE_AT_DONE] = env_call(c->env, wall_ms);
}

static void
end_drain(struct core *c, const struct move *m, struct move_now *n, const char *reason)
{
	n->late = move_late(c, m, n);
	n->trips = move_round_trips(c, m, n);
	end(c, n, MOVE_DONE, reason);
}

/* Nothing drains: had the VM addresses that end, and with them its sessions? */
static const char *
ends_at_once(struct core *c, const struct vm_state *old, const struct vm_state *now, struct move_now *n)
{
	const char *why = "";

	for (unsigned int i = 0; old && !old->deleted && i < old->fwd.n_addresses; i++) {
		const struct fwd_address *a = &old->fwd.addresses[i];

		if (!a->global_ip || vm_has_home(now, a->private_ip, a->global_ip))
			continue;
		why = "cut";
		n->cut += n->from == FWD_SELF ? move_cut(c, a->global_ip) : 0;
	}
	return why;
}

/* From `old`, NULL: nobody knows whose the VM was. */
static void
commit(struct core *c, const struct move *m, const struct vm_state *old, const struct vm_state *now,
	struct move_now *n)
{
	int64_t wall = env_call(c->env, wall_ms);

	n->state = MOVE_DRAINING;
	n->reason[0] = '\0';
	n->from = old && !old->deleted ? old->fwd.owner : n->from;
	n->since = now_ms(c);
	n->at[MOVE_AT_COMMITTED] = wall;
	n->asked_us = c->current ? c->current->asked_us : 0;
	n->sought = is_sought(now);
	n->at[MOVE_AT_HEARD] = now->fwd.owner == FWD_SELF && !n->sought ? wall : 0;
	if (n->from == FWD_SELF && old)
		move_begin_late(c, m, old, n);
	if (!drains_epoch(now, m->epoch))
		end_drain(c, m, n, ends_at_once(c, old, now, n));
}

static bool
lists_sessions(struct core *c, uint8_t from)
{
	return from != FWD_SELF && peer_may_list(c, from);
}

static void
follow_open(struct core *c, struct move *m, const struct vm_state *old, const struct vm_state *now)
{
	struct move_now n = m->now;

	if (now->epoch < m->epoch && (now->deleted || now->fwd.owner == n.from))
		return;
	if (now->epoch < m->epoch) {
		n.from = now->fwd.owner; /* it went on before: that one is told from now on */
	} else if (now->epoch == m->epoch && now->fwd.owner == FWD_SELF && !now->deleted) {
		commit(c, m, old, now, &n);
		n.holds = n.sought;
		n.open = lists_sessions(c, n.from);
	} else {
		end(c, &n, MOVE_ABORTED, "overtaken");
	}
	move_set(c, m, &n);
}

/* Committed, and something waits for it. */
static void
follow_active(struct core *c, struct move *m, const struct vm_state *now)
{
	bool ours = now->epoch == m->epoch && now->fwd.owner == FWD_SELF && !now->deleted;
	struct move_now n = m->now;

	if (ours && (!n.sought || is_sought(now)))
		return;
	if (ours && n.at[MOVE_AT_HEARD] == 0)
		n.at[MOVE_AT_HEARD] = env_call(c->env, wall_ms);
	n.sought = n.holds = false;
	n.open &= ours;
	move_set(c, m, &n);
}

static bool
drains_global(const struct vm_state *s, ip4 global, uint64_t epoch)
{
	for (unsigned int i = 0; i < s->fwd.n_drains; i++)
		if (s->fwd.drains[i].global_ip == global && s->drain[i].epoch == epoch)
			return true;
	return false;
}

/* Why an old address drains no more. Who is its home is told so by the VM's owner, who was asked to cut it. */
static const char *
over_why(const struct core *c, const struct move *m, const struct vm_state *now, ip4 global)
{
	if (c->drain_why)
		return c->drain_why;
	if (now->deleted || vm_has_global(now, global))
		return now->deleted ? "gone" : "returned";
	return m->now.from == FWD_SELF ? "cut" : "";
}

static void
follow_drains(struct core *c, const struct vm_obj *o, const struct vm_state *old)
{
	struct move_now n;
	struct move *m;

	for (unsigned int i = 0; i < old->fwd.n_drains; i++) {
		const struct fwd_drain *d = &old->fwd.drains[i];

		if (drains_global(&o->now, d->global_ip, old->drain[i].epoch))
			continue;
		m = move_find(c, &o->key, old->drain[i].epoch);
		if (!m || m->now.state != MOVE_DRAINING)
			continue;
		n = m->now;
		if ((d->home == FWD_SELF || home_lost(c, d->home)) && !vm_has_global(&o->now, d->global_ip))
			n.cut += move_cut(c, d->global_ip);
		if (!drains_epoch(&o->now, m->epoch))
			end_drain(c, m, &n, over_why(c, m, &o->now, d->global_ip));
		move_set(c, m, &n);
	}
}

/* A move that was not prepared; one with its name may have been, and was aborted before. */
static void
follow_begin(struct core *c, const struct vm_obj *o, const struct vm_state *old)
{
	const struct vm_state *now = &o->now;
	struct move_now n = {0};
	struct move *m;

	if (old->deleted || now->deleted || now->epoch <= old->epoch)
		return;
	if (old->fwd.owner == now->fwd.owner && !drains_epoch(now, now->epoch))
		return;
	m = move_find(c, &o->key, now->epoch);
	if (m && (m->now.state != MOVE_ABORTED || now->fwd.owner != FWD_SELF))
		return;
	if (!m)
		m = move_new(c, &o->key, now->epoch);
	m->to = now->fwd.owner;
	commit(c, m, old, now, &n);
	move_set(c, m, &n);
}

void
moves_follow(struct core *c, const struct vm_obj *o, const struct vm_state *old)
{
	struct move *m = move_active(c, &o->key);

	if (m && move_open(m))
		follow_open(c, m, old, &o->now);
	else if (m && m->now.state != MOVE_ABORTED)
		follow_active(c, m, &o->now);
	else if (m && (!old || old->epoch != o->now.epoch))
		move_hold_no_more(c, m);
	if (!old)
		return;
	follow_drains(c, o, old);
	follow_begin(c, o, old);
}

/* ---- it is live ---- */

static void
tell(struct core *c, const struct move *m, const struct move_now *old)
{
	static const enum event_kind kinds[] = {
		[MOVE_PREPARED] = EVENT_MOVE_PREPARED,
		[MOVE_PAUSED] = EVENT_MOVE_PAUSED,
		[MOVE_DRAINING] = EVENT_MOVE_BEGUN,
		[MOVE_DONE] = EVENT_MOVE_DONE,
		[MOVE_ABORTED] = EVENT_MOVE_ABORTED,
	};

	if (m->now.state == MOVE_DONE && !move_begun(old))
		event_move(c, EVENT_MOVE_BEGUN, m);
	event_move(c, kinds[m->now.state], m);
	log_debug("control: move %s from %s to %s: %s%s%s", m->id, router_name(c, m->now.from),
		router_name(c, m->to), move_words[m->now.state], m->now.reason[0] ? ", " : "", m->now.reason);
}

void
move_changed(struct core *c, struct move *m, const struct move_now *old)
{
	arriving_watch(c);
	checkpoint_watch(c);
	if (m->to == FWD_SELF) {
		move_note_waits(c, m);
		if (move_begun(&m->now) && !move_begun(old))
			move_note_live(c, m);
	}
	if (old && old->state == m->now.state && old->from == m->now.from)
		return;
	if (!old || old->state != m->now.state)
		tell(c, m, old);
	if (m->to == FWD_SELF && (move_open(m) || m->now.state == MOVE_ABORTED))
		arriving_tell(c, m);
}

static void
note_holds(struct core *c, struct vm_obj *o)
{
	const struct move *m = o->now.fwd.flags & FWD_VM_HOLDS ? move_active(c, &o->key) : NULL;

	if (m)
		o->held_for = m->epoch;
}

void
vm_changed(struct core *c, struct vm_obj *o, const struct vm_state *old, bool was_present)
{
	note_holds(c, o);
	drains_track(c, o);
	if (was_present)
		drains_release(c, old, &o->now);
	location_changed(c, o, was_present ? old : NULL);
	handover_follow(c, o);
}

void
moves_trim(struct core *c)
{
	size_t n = 0, over = c->n_moves_ended > MOVES_KEPT ? c->n_moves_ended - MOVES_KEPT : 0;
	struct move *m, *next, *gone = NULL;
	struct env_row *rows;

	if (over <= MOVES_SLACK)
		return;
	rows = zalloc(over * sizeof(*rows));
	DL_FOREACH_SAFE(c->moves_list, m, next)
	{
		if (n == over)
			break;
		if (!has_ended(m))
			continue;
		move_put(c, m, &m->now, false);
		DL_APPEND(gone, m);
		rows[n++] = (struct env_row){"move", m->id, NULL};
	}
	commit_aside(c, rows, n);
	free(rows);
	DL_FOREACH_SAFE(gone, m, next)
	move_free(m);
}

/* ---- start and stop ---- */

/* Rows come in the order of their keys. */
static int
by_start(const struct move *a, const struct move *b)
{
	int64_t x = a->now.at[a->plan ? MOVE_AT_PREPARED : MOVE_AT_COMMITTED];
	int64_t y = b->now.at[b->plan ? MOVE_AT_PREPARED : MOVE_AT_COMMITTED];

	return x < y ? -1 : x > y;
}

/* Since when it is so, as if this had been one boot; a row without that begins anew. */
static uint64_t
since(struct core *c, const struct move *m, bool same_boot)
{
	uint64_t most = move_most_ms(c, m), spent = c->stored.boot_ms - m->now.since, left;

	if (m->undated || !move_open(m))
		return now_ms(c);
	if (same_boot)
		return m->now.since;
	if ((int64_t)spent < 0)
		spent = 0;
	left = spent < most ? most - spent : 0;
	return now_ms(c) -
	       (most - drain_left_after_boot(left, env_call(c->env, wall_ms) - c->stored.wall_ms));
}

/* What became of its VM while it was not known here. */
static void
resume(struct core *c, struct move *m, bool same_boot)
{
	struct vm_obj *o = vm_find(c, m->vm.segment, &m->vm.mac);
	struct move_now old = m->now, n = old;

	if (has_ended(m))
		return;
	n.since = since(c, m, same_boot);
	if (n.state == MOVE_DRAINING && (!o || !drains_epoch(&o->now, m->epoch)))
		end(c, &n, MOVE_DONE, "");
	else if (move_open(m) && o && o->now.epoch >= m->epoch)
		end(c, &n, MOVE_ABORTED, "overtaken");
	move_put(c, m, &n, true);
	move_changed(c, m, &old);
	if (!o)
		return;
	o->now.fwd.flags = move_flags(c, &o->now);
	note_holds(c, o);
}

void
moves_start(struct core *c)
{
	bool same_boot = c->stored.present && strcmp(c->stored.boot_id, env_call(c->env, boot_id)) == 0;
	struct vm_obj *o;
	struct move *m;

	for (o = c->vms; o; o = o->hh.next) {
		if (!vm_drains_at(&o->now, FWD_SELF))
			continue;
		drains_restore(c, o, same_boot);
		drains_track(c, o);
	}
	DL_SORT(c->moves_list, by_start);
	DL_FOREACH(c->moves_list, m)
	resume(c, m, same_boot);
	moves_trim(c);
	handover_start(c);
	homes_start(c);
}

void
moves_init(struct core *c)
{
	drains_init(c);
	location_init(c);
	evidence_init(c);
	arriving_init(c);
	departing_init(c);
	homes_init(c);
}

void
moves_fini(struct core *c)
{
	struct move *m, *next;

	DL_FOREACH_SAFE(c->moves_list, m, next)
	{
		move_put(c, m, &m->now, false);
		move_free(m);
	}
	c->env->ops->timer_free(c->drain_timer);
	c->env->ops->timer_free(c->probe_timer);
	evidence_fini(c);
	arriving_fini(c);
	plan_fini(c);
	homes_fini(c);
	departing_fini(c);
}
