/* SPDX-License-Identifier: BSD-3-Clause */
/* departing.c - VMs of ours that are to move, as their new routers tell: their sessions are noted, and while a move is paused what
 * comes for the VM goes to its new router. See arriving.c for what is said.
 *
 * It is kept in memory alone: the new router tells it again whenever a channel comes up, or it is no more. While that router is
 * away it is believed as long as it said, and then the VM is where it was.
 */
#include "sync.h"

#include <common/log.h>

#define TICK_MS	 1000
#define SAY_MS	 10000 /* within so much after its channel has come up it has told what is still so */
#define LEFT_MAX UINT64_C(86400000)

struct told {
	struct txn txn;
	uint8_t peer;
	struct rpc_request *request;
	json_t *moves;
};

static int
phase_of(const char *state)
{
	static const char *const words[] = {
		[DEPARTS_NOT] = "aborted", [DEPARTS_PREPARED] = "prepared", [DEPARTS_PAUSED] = "paused"};

	for (int i = 0; i < 3; i++)
		if (strcmp(state, words[i]) == 0)
			return i;
	return -1;
}

/* What a peer may say: of a VM of ours in a segment that both have, which is to have a higher epoch there. */
static struct vm_obj *
speaks_of(struct peer *p, const json_t *v, struct departure *d)
{
	const char *segment, *mac_text, *state;
	json_int_t epoch, left;
	struct vm_obj *o;
	struct mac mac;
	int s, phase;

	if (json_unpack((json_t *)(uintptr_t)v, "{s:s, s:s, s:I, s:s, s:I}", "segment", &segment, "mac",
		    &mac_text, "epoch", &epoch, "state", &state, "left", &left) != 0 ||
		mac_parse(mac_text, &mac) != 0 || epoch < 1 || left < 0 || (phase = phase_of(state)) < 0)
		return NULL;
	s = segment_index(p->core, segment);
	o = s < 0 || !p->shared[s] ? NULL : vm_find(p->core, (uint16_t)s, &mac);
	if (!vm_live(o) || o->now.fwd.owner != FWD_SELF || o->now.epoch >= (uint64_t)epoch ||
		(uint64_t)epoch - o->now.epoch > EPOCH_STEP)
		return NULL;
	*d = (struct departure){.phase = (uint8_t)phase,
		.to = p->index,
		.epoch = (uint64_t)epoch,
		.until = now_ms(p->core) + ((uint64_t)left < LEFT_MAX ? (uint64_t)left : LEFT_MAX),
		.session = p->up_serial};
	return o;
}

/* For the record of the move: since when it is so, and what the VM had been sent when its pause began. */
static void
note_times(struct core *c, const struct departure *was, struct departure *d, const struct vm_key *vm)
{
	int64_t wall = env_call(c->env, wall_ms);
	struct fwd_traffic t;

	d->prepared_at = was->prepared_at ? was->prepared_at : wall;
	if (d->phase != DEPARTS_PAUSED)
		return;
	d->paused_at = was->paused_at;
	d->late_from = was->late_from;
	if (was->phase == DEPARTS_PAUSED)
		return;
	d->paused_at = wall;
	env_call(c->env, fwd_vm_traffic, vm->segment, &vm->mac, &t);
	d->late_from = t.to_packets;
}

/* Of two routers that prepare for it, the one whose epoch is higher. */
static void
take(struct core *c, struct vm_obj *o, struct departure *d)
{
	struct departure *was = &o->now.departure;
	bool other = was->phase != DEPARTS_NOT && (was->to != d->to || was->epoch != d->epoch);
	struct departure none = {0};

	if ((other && was->epoch >= d->epoch) ||
		(d->phase == DEPARTS_NOT && (other || was->phase == DEPARTS_NOT)))
		return;
	if (d->phase == DEPARTS_NOT) {
		vm_depart(c, o, &none);
		return;
	}
	note_times(c, other ? &none : was, d, &o->key);
	if (was->phase != d->phase || other)
		vm_depart(c, o, d);
	else
		*was = *d;
}

static int
told_apply(struct core *c, struct txn *t)
{
	struct told *x = (struct told *)t;
	struct departure d;
	struct vm_obj *o;
	const json_t *v;
	size_t i;

	json_array_foreach(x->moves, i, v) if ((o = speaks_of(&c->peers[x->peer - 1], v, &d)) != NULL)
		take(c, o, &d);
	return 0;
}

static void
told_done(struct core *c, struct txn *t, int code)
{
	struct told *x = (struct told *)t;

	if (code == 0)
		rpc_reply(x->request, json_object());
	else
		rpc_fail(x->request, code, NULL, "%s", t->fail.text);
	departing_watch(c);
	json_decref(x->moves);
	fail_clear(&t->fail);
	free(x);
}

void
departing_told(struct peer *p, struct rpc_request *r, json_t *moves)
{
	struct told *x = zalloc(sizeof(*x));

	x->txn.apply = told_apply;
	x->txn.done = told_done;
	x->peer = p->index;
	x->request = r;
	x->moves = json_incref(moves);
	txn_submit(p->core, &x->txn);
}

/* ---- a new router that says nothing more ---- */

static bool
is_over(struct core *c, const struct vm_obj *o)
{
	const struct departure *d = &o->now.departure;
	const struct peer *p = &c->peers[d->to - 1];

	if (!p->session)
		return now_ms(c) >= d->until;
	return d->session != p->up_serial && now_ms(c) >= p->since_ms + SAY_MS;
}

static int
over_apply(struct core *c, struct txn *t)
{
	struct departure none = {0};
	struct vm_obj *o, *next;
	unsigned int ended = 0;

	(void)t;
	DL_FOREACH_SAFE2(c->departing, o, next, depart_next)
	{
		if (ended == TURN_MAX)
			break; /* the next tick goes on */
		if (!is_over(c, o))
			continue;
		vm_depart(c, o, &none);
		ended++;
	}
	return 0;
}

static void
over_done(struct core *c, struct txn *t, int code)
{
	(void)code;
	c->departures_end = false;
	fail_clear(&t->fail);
	free(t);
}

static void
tick(void *arg)
{
	struct core *c = arg;
	struct vm_obj *o;
	struct txn *t;

	c->departing_on = false;
	departing_watch(c);
	if (c->departures_end)
		return;
	DL_FOREACH2(c->departing, o, depart_next)
	if (is_over(c, o))
		break;
	if (!o)
		return;
	c->departures_end = true;
	t = zalloc(sizeof(*t));
	t->apply = over_apply;
	t->done = over_done;
	txn_submit(c, t);
}

void
departing_watch(struct core *c)
{
	if (!c->departing || c->departing_on)
		return;
	c->departing_on = true;
	timer_set(c, c->departing_timer, TICK_MS);
}

void
departing_init(struct core *c)
{
	c->departing_timer = timer_new(c, tick, c);
}

void
departing_fini(struct core *c)
{
	c->env->ops->timer_free(c->departing_timer);
}
