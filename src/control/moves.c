/* SPDX-License-Identifier: BSD-3-Clause */
/* moves.c - moves as objects, and what follows from a change of a VM. */
#include "state.h"

#include <common/log.h>
#include <time.h>

static bool
drains_epoch(const struct vm_state *s, uint64_t epoch)
{
	for (unsigned int i = 0; i < s->fwd.n_drains; i++)
		if (s->drain[i].epoch == epoch)
			return true;
	return false;
}

static void
move_id(struct core *c, const struct vm_key *vm, uint64_t epoch, char id[MOVE_ID_TEXT])
{
	char key[VM_KEY_TEXT];

	vm_key_text(c, vm->segment, &vm->mac, key);
	snprintf(id, MOVE_ID_TEXT, "%s@%" PRIu64, key, epoch);
}

static struct move *
move_find(struct core *c, const struct vm_key *vm, uint64_t epoch)
{
	char id[MOVE_ID_TEXT];
	struct move *m;

	move_id(c, vm, epoch, id);
	HASH_FIND_STR(c->moves, id, m);
	return m;
}

/* Is this change of a VM a move that is not known yet? */
static bool
move_begins(struct core *c, const struct vm_state *old, const struct vm_state *now, struct move *m)
{
	if (!old || old->deleted || now->deleted || now->epoch <= old->epoch)
		return false;
	if (old->fwd.owner == now->fwd.owner && !drains_epoch(now, now->epoch))
		return false;
	memset(m, 0, sizeof(*m));
	m->vm = (struct vm_key){now->fwd.segment, now->fwd.mac};
	m->epoch = now->epoch;
	m->from = old->fwd.owner;
	m->to = now->fwd.owner;
	m->started_ms = env_call(c->env, wall_ms);
	m->done = !drains_epoch(now, now->epoch);
	m->ended_ms = m->done ? m->started_ms : 0;
	move_id(c, &m->vm, m->epoch, m->id);
	return move_find(c, &m->vm, m->epoch) == NULL;
}

/* The i-th drain of `old` was the last one of its move. */
static struct move *
move_ends(struct core *c, const struct vm_state *old, const struct vm_state *now, unsigned int i)
{
	struct vm_key key = {now->fwd.segment, now->fwd.mac};
	uint64_t epoch = old->drain[i].epoch;
	struct move *m;

	if (drains_epoch(now, epoch))
		return NULL;
	for (unsigned int j = 0; j < i; j++)
		if (old->drain[j].epoch == epoch)
			return NULL; /* told already */
	m = move_find(c, &key, epoch);
	return m && !m->done ? m : NULL;
}

static uint64_t
move_sessions(struct core *c, const struct move *m)
{
	struct vm_obj *o = m->done ? NULL : vm_find(c, m->vm.segment, &m->vm.mac);
	uint64_t n = 0, of_one;

	for (unsigned int i = 0; o && i < o->now.fwd.n_drains; i++) {
		if (o->now.drain[i].epoch != m->epoch)
			continue;
		env_call(c->env, fwd_sessions, o->now.fwd.drains[i].global_ip, &of_one);
		n += of_one;
	}
	return n;
}

static json_t *
move_stored(struct core *c, const struct move *m)
{
	char mac[MAC_TEXT];

	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:I, s:I}", "segment",
		segment_at(c, m->vm.segment)->name, "mac", mac_format(&m->vm.mac, mac), "epoch",
		(json_int_t)m->epoch, "from", router_name(c, m->from), "to", router_name(c, m->to), "state",
		m->done ? "done" : "draining", "started", (json_int_t)m->started_ms, "ended",
		(json_int_t)m->ended_ms);
}

static json_t *
time_json(int64_t wall_ms)
{
	time_t at = (time_t)(wall_ms / 1000);
	char text[32];
	struct tm tm;

	if (wall_ms == 0 || !gmtime_r(&at, &tm))
		return json_null();
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

json_t *
move_event_json(struct core *c, const struct move *m)
{
	json_t *v = move_stored(c, m);

	json_object_set_new(v, "id", json_string(m->id));
	json_object_set_new(v, "started", time_json(m->started_ms));
	json_object_set_new(v, "ended", time_json(m->ended_ms));
	return v;
}

json_t *
move_json(struct core *c, const struct move *m)
{
	struct vm_obj *o = m->done ? NULL : vm_find(c, m->vm.segment, &m->vm.mac);
	json_t *v = move_event_json(c, m);

	if (!m->done)
		json_object_set_new(v, "sessions", json_integer((json_int_t)move_sessions(c, m)));
	for (unsigned int i = 0; o && i < o->now.fwd.n_drains; i++) {
		const struct drain_time *t = &o->now.drain[i];

		if (t->epoch != m->epoch || o->now.fwd.drains[i].home != FWD_SELF)
			continue;
		json_object_set_new(v, "left-min", json_integer((json_int_t)drain_left(c, t->min_at)));
		json_object_set_new(v, "left-max", json_integer((json_int_t)drain_left(c, t->max_at)));
	}
	return v;
}

size_t
moves_rows(struct core *c, const struct vm_state *old, const struct vm_state *now, struct env_row *rows)
{
	struct move begun, ended, *m;
	size_t n = 0;

	if (move_begins(c, old, now, &begun))
		row_set(&rows[n++], "move", begun.id, move_stored(c, &begun));
	for (unsigned int i = 0; old && i < old->fwd.n_drains; i++) {
		m = move_ends(c, old, now, i);
		if (!m)
			continue;
		ended = *m;
		ended.done = true;
		ended.ended_ms = env_call(c->env, wall_ms);
		row_set(&rows[n++], "move", ended.id, move_stored(c, &ended));
	}
	return n;
}

void
moves_trim(struct core *c)
{
	size_t n = 0, over = c->n_moves_done > MOVES_KEPT ? c->n_moves_done - MOVES_KEPT : 0;
	struct move *m, *next, *gone = NULL;
	struct env_row *rows;

	if (over <= MOVES_SLACK)
		return;
	rows = zalloc(over * sizeof(*rows));
	DL_FOREACH_SAFE(c->moves_list, m, next)
	{
		if (n == over || !m->done)
			continue;
		HASH_DEL(c->moves, m);
		DL_DELETE(c->moves_list, m);
		DL_APPEND(gone, m);
		rows[n++] = (struct env_row){"move", m->id, NULL};
	}
	commit_aside(c, rows, n);
	c->n_moves_done -= n;
	free(rows);
	DL_FOREACH_SAFE(gone, m, next)
	free(m);
}

static void
move_add(struct core *c, const struct move *from)
{
	struct move *m = zalloc(sizeof(*m));

	*m = *from;
	HASH_ADD_STR(c->moves, id, m);
	DL_APPEND(c->moves_list, m);
	c->n_moves_done += m->done;
}

static void
move_end(struct core *c, struct move *m)
{
	m->done = true;
	m->ended_ms = env_call(c->env, wall_ms);
	c->n_moves_done++;
	event_move(c, EVENT_MOVE_DONE, m);
	log_info("control: move %s from %s to %s is done", m->id, router_name(c, m->from),
		router_name(c, m->to));
}

static void
moves_follow(struct core *c, const struct vm_state *old, const struct vm_state *now)
{
	struct move begun, *m;

	for (unsigned int i = 0; old && i < old->fwd.n_drains; i++) {
		m = move_ends(c, old, now, i);
		if (m)
			move_end(c, m);
	}
	if (move_begins(c, old, now, &begun)) {
		move_add(c, &begun);
		event_move(c, EVENT_MOVE_BEGUN, &begun);
		if (begun.done)
			event_move(c, EVENT_MOVE_DONE, &begun);
		log_info("control: move %s from %s to %s%s", begun.id, router_name(c, begun.from),
			router_name(c, begun.to), begun.done ? "" : ": old addresses drain");
	}
}

/* ---- what follows from a change ---- */

void
moves_changed(struct core *c, struct vm_obj *o, const struct vm_state *old, bool was_present)
{
	drains_track(c, o);
	moves_follow(c, was_present ? old : NULL, &o->now);
	if (was_present)
		drains_release(c, old, &o->now);
	location_changed(c, o, was_present ? old : NULL);
}

int
apply_move_finish(struct core *c, const struct move_finish_params *p, json_t *out, struct fail *f)
{
	int segment = segment_index(c, p->segment);
	struct vm_obj *o = segment < 0 ? NULL : vm_find(c, (uint16_t)segment, &p->mac);
	char mac[MAC_TEXT];
	struct vm_state s;
	bool elsewhere = false;

	if (!vm_live(o))
		return fail(f, RPC_NOT_FOUND, "no VM %s in segment %s", mac_format(&p->mac, mac), p->segment);
	s = o->now;
	for (unsigned int i = s.fwd.n_drains; i-- > 0;) {
		if (p->epoch && s.drain[i].epoch != p->epoch)
			continue;
		if (s.fwd.owner == FWD_SELF || s.fwd.drains[i].home == FWD_SELF)
			drain_remove(&s, i);
		else
			elsewhere = true;
	}
	if (s.fwd.n_drains == o->now.fwd.n_drains && elsewhere)
		return fail(f, RPC_NOT_FOUND, "the VM is registered at router %s: tell that one",
			router_name(c, s.fwd.owner));
	json_object_set_new(out, "ended", json_integer(o->now.fwd.n_drains - s.fwd.n_drains));
	if (s.fwd.n_drains != o->now.fwd.n_drains)
		vm_set(c, &s);
	return 0;
}

/* ---- start ---- */

int
move_load(struct core *c, const struct env_row *row, struct fail *f)
{
	const char *segment, *mac, *from, *to, *state;
	json_int_t epoch, started, ended;
	json_t *v = json_loads(row->value, 0, NULL);
	struct move m = {0};
	int s, a, b, rc = 0;

	if (!v ||
		json_unpack(v, "{s:s, s:s, s:I, s:s, s:s, s:s, s:I, s:I}", "segment", &segment, "mac", &mac,
			"epoch", &epoch, "from", &from, "to", &to, "state", &state, "started", &started,
			"ended", &ended) != 0 ||
		mac_parse(mac, &m.vm.mac) != 0 || epoch < 1) {
		json_decref(v);
		return fail(f, RPC_INVALID_PARAMS, "not a move");
	}
	s = segment_index(c, segment);
	a = router_index(c, from);
	b = router_index(c, to);
	if (s >= 0 && a >= 0 && b >= 0) { /* else a segment or router that the configuration has no more */
		m.vm.segment = (uint16_t)s;
		m.epoch = (uint64_t)epoch;
		m.from = (uint8_t)a;
		m.to = (uint8_t)b;
		m.done = strcmp(state, "done") == 0;
		m.started_ms = started;
		m.ended_ms = ended;
		move_id(c, &m.vm, m.epoch, m.id);
		rc = row_check_key(row, m.id, f);
		if (rc == 0)
			move_add(c, &m);
	}
	json_decref(v);
	return rc;
}

/* Rows come in the order of their keys. */
static int
by_start(const struct move *a, const struct move *b)
{
	return a->started_ms < b->started_ms ? -1 : a->started_ms > b->started_ms;
}

void
moves_start(struct core *c)
{
	bool same_boot = c->stored.present && strcmp(c->stored.boot_id, env_call(c->env, boot_id)) == 0;
	struct vm_obj *o;
	struct move *m;

	for (o = c->vms; o; o = o->hh.next) {
		if (!vm_has_own_drain(&o->now))
			continue;
		drains_restore(c, o, same_boot);
		drains_track(c, o);
	}
	DL_SORT(c->moves_list, by_start);
	DL_FOREACH(c->moves_list, m)
	{
		o = m->done ? NULL : vm_find(c, m->vm.segment, &m->vm.mac);
		if (!m->done && (!o || !drains_epoch(&o->now, m->epoch)))
			move_end(c, m);
	}
	moves_trim(c);
}

void
moves_init(struct core *c)
{
	drains_init(c);
	location_init(c);
	evidence_init(c);
}

void
moves_fini(struct core *c)
{
	struct move *m, *next;

	DL_FOREACH_SAFE(c->moves_list, m, next)
	{
		HASH_DEL(c->moves, m);
		free(m);
	}
	c->env->ops->timer_free(c->drain_timer);
	c->env->ops->timer_free(c->probe_timer);
	evidence_fini(c);
}
