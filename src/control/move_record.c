/* SPDX-License-Identifier: BSD-3-Clause */
/* move_record.c - what is noted of a move beside what its transactions change, and all of it as a timeline.
 *
 * Such notes reach the store with the next change of the move, at the latest with its end.
 */
#include "state.h"

/* ---- at the old router: packets that came too late ---- */

static uint64_t
sent_on(struct core *c, const struct vm_key *vm)
{
	struct fwd_traffic t;

	env_call(c->env, fwd_vm_traffic, vm->segment, &vm->mac, &t);
	return t.to_packets;
}

void
move_begin_late(struct core *c, const struct move *m, const struct vm_state *old, struct move_now *n)
{
	const struct departure *d = &old->departure;
	bool told = d->phase != DEPARTS_NOT && d->epoch == m->epoch;

	if (told) {
		n->at[MOVE_AT_PREPARED] = d->prepared_at;
		n->at[MOVE_AT_PAUSED] = d->paused_at;
		env_call(c->env, fwd_round_trips, m->vm.segment, &m->vm.mac, &n->trips);
		n->trips = (struct fwd_round_trips){.old = n->trips.near};
	}
	n->late_from = told && d->phase == DEPARTS_PAUSED ? d->late_from : sent_on(c, &m->vm);
}

uint64_t
move_late(struct core *c, const struct move *m, const struct move_now *now)
{
	uint64_t to = now->from == FWD_SELF && now->state == MOVE_DRAINING ? sent_on(c, &m->vm) : 0;

	return now->late + (to > now->late_from ? to - now->late_from : 0);
}

uint64_t
move_cut(struct core *c, ip4 global)
{
	uint64_t n = 0;

	env_call(c->env, fwd_sessions, global, &n);
	return n;
}

/* ---- round trips ---- */

struct fwd_round_trips
move_round_trips(struct core *c, const struct move *m, const struct move_now *now)
{
	const struct vm_obj *o = vm_find(c, m->vm.segment, &m->vm.mac);
	struct fwd_round_trips t = now->trips;

	if (m->to == FWD_SELF && now->state == MOVE_DRAINING && m->live_us != 0 && vm_live(o) &&
		o->now.epoch == m->epoch)
		env_call(c->env, fwd_round_trips, m->vm.segment, &m->vm.mac, &t);
	return t;
}

/* ---- how long it took ---- */

static void
took(struct core *c, enum move_took what, uint64_t from_us)
{
	if (from_us != 0)
		histogram_add(&c->move_times[what], now_us(c) - from_us);
}

void
move_note_live(struct core *c, struct move *m)
{
	m->live_us = now_us(c);
	if (m->now.asked_us == 0)
		return;
	m->switch_us = m->live_us - m->now.asked_us;
	m->store_us = c->store_us < m->switch_us ? c->store_us : m->switch_us;
	histogram_add(&c->move_times[MOVE_TOOK_SWITCH], m->switch_us);
	histogram_add(&c->move_times[MOVE_TOOK_STORE], m->store_us);
	histogram_add(&c->move_times[MOVE_TOOK_CONTROL], m->switch_us - m->store_us);
}

void
move_note_waits(struct core *c, struct move *m)
{
	bool waits = m->now.state == MOVE_PAUSED || m->now.holds;

	if (waits && m->waits_us == 0)
		m->waits_us = now_us(c);
}

void
move_note_released(struct core *c, struct move *m)
{
	took(c, MOVE_TOOK_HOLD, m->waits_us);
	m->waits_us = 0;
}

json_t *
move_times_shown(struct core *c)
{
	static const char *const words[MOVE_TOOK] = {"switch", "store", "control", "hold", "tell"};
	json_t *rows = json_array();

	for (unsigned int i = 0; i < MOVE_TOOK; i++) {
		const struct histogram *h = &c->move_times[i];

		json_array_append_new(rows,
			json_pack("{s:s, s:I, s:I, s:I, s:I}", "what", words[i], "moves", (json_int_t)h->n,
				"p50-us", (json_int_t)histogram_permille(h, 500), "p99-us",
				(json_int_t)histogram_permille(h, 990), "max-us", (json_int_t)h->max));
	}
	return json_pack("{s:o}", "rows", rows);
}

/* ---- who was told ---- */

static void
note_told(struct core *c, struct move *m)
{
	if (m->to != FWD_SELF || !move_begun(&m->now) || m->now.at[MOVE_AT_TOLD] != 0)
		return;
	m->now.at[MOVE_AT_TOLD] = env_call(c->env, wall_ms);
	took(c, MOVE_TOOK_TELL, m->live_us);
}

void
move_told(struct core *c, uint8_t peer, const struct vm_key *vm, uint64_t epoch)
{
	struct move *m = move_find(c, vm, epoch);

	if (m && m->now.from == peer)
		note_told(c, m);
}

void
moves_told(struct core *c, uint8_t peer)
{
	struct move *m;

	DL_FOREACH(c->moves_list, m)
	if (m->now.from == peer)
		note_told(c, m);
}

void
move_listed(struct core *c, const struct vm_key *vm, uint64_t epoch, uint64_t sessions)
{
	struct move *m = move_find(c, vm, epoch);

	if (!m || m->to == FWD_SELF)
		return;
	m->now.sessions = sessions;
	m->now.at[MOVE_AT_LISTED] = env_call(c->env, wall_ms);
}

/* ---- as a timeline ---- */

struct step {
	enum move_time which;
	int64_t at;
};

/* By time; what happened at once in the order of the steps. */
static int
by_time(const void *a, const void *b)
{
	const struct step *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return (int)x->which - (int)y->which;
}

static json_t *
timeline(const struct move_now *now)
{
	struct step steps[MOVE_TIMES];
	json_t *v = json_array();
	size_t n = 0;

	for (unsigned int i = 0; i < MOVE_TIMES; i++)
		if (now->at[i])
			steps[n++] = (struct step){(enum move_time)i, now->at[i]};
	qsort(steps, n, sizeof(steps[0]), by_time);
	for (size_t i = 0; i < n; i++) {
		bool aborted = steps[i].which == MOVE_AT_DONE && now->state == MOVE_ABORTED;

		json_array_append_new(
			v, json_pack("{s:s, s:I, s:o}", "step",
				   aborted ? move_words[MOVE_ABORTED] : move_time_words[steps[i].which], "ms",
				   (json_int_t)(steps[i].at - steps[0].at), "time",
				   move_time_json(steps[i].at)));
	}
	return v;
}

/* By its id, or the VM's last one by SEGMENT/MAC. */
static struct move *
find(struct core *c, const char *id)
{
	size_t n = strlen(id);
	struct move *m;

	HASH_FIND_STR(c->moves, id, m);
	if (m)
		return m;
	for (m = c->moves_list ? c->moves_list->prev : NULL; m; m = m == c->moves_list ? NULL : m->prev)
		if (strncmp(m->id, id, n) == 0 && m->id[n] == '@')
			return m;
	return NULL;
}

void
move_show_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct move_show_params *p = params;
	struct core *c = s->core;
	const struct move *m = find(c, p->id);
	json_t *v = m ? move_shown(c, m, true) : NULL;

	if (!v) {
		rpc_fail(r, RPC_NOT_FOUND, NULL,
			"no move %s is remembered here: an id is SEGMENT/MAC@EPOCH, and show moves lists "
			"them",
			p->id);
		return;
	}
	json_object_del(v, "times");
	if (m->switch_us != 0) {
		json_object_set_new(v, "switch-us", json_integer((json_int_t)m->switch_us));
		json_object_set_new(v, "store-us", json_integer((json_int_t)m->store_us));
	}
	json_object_set_new(v, "timeline", timeline(move_settled(c, m)));
	rpc_reply(r, v);
}
