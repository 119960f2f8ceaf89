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
	}
	n->late_from = told && d->phase == DEPARTS_PAUSED ? d->late_from : sent_on(c, &m->vm);
}

uint64_t
move_late(struct core *c, const struct move *m, const struct move_now *now)
{
	uint64_t to = now->from == FWD_SELF && now->state == MOVE_DRAINING ? sent_on(c, &m->vm) : 0;

	return now->late + (to > now->late_from ? to - now->late_from : 0);
}

/* ---- who was told ---- */

static void
note_told(struct core *c, struct move *m)
{
	if (m->to == FWD_SELF && move_begun(&m->now) && m->now.at[MOVE_AT_TOLD] == 0)
		m->now.at[MOVE_AT_TOLD] = env_call(c->env, wall_ms);
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
	json_object_set_new(v, "timeline", timeline(move_settled(c, m)));
	rpc_reply(r, v);
}
