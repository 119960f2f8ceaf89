/* SPDX-License-Identifier: BSD-3-Clause */
/* arriving.c - moves to this router that are open: what their old routers are told of them, their clocks, and the VM's own arrival.
 *
 *   sync.moves {moves: [{segment, mac, epoch, state, left}...]}   state: prepared, paused or aborted; left: so many milliseconds it
 *                                   may last unless more is heard. {}: forwarding there is as told
 *
 * All that are open are told when a channel has come up, and when the exchange on it is through: what is not told soon after that
 * it is up, is no more.
 */
#include "sync.h"

#include <common/log.h>

#define TICK_MS	      100
#define PAUSE_WAIT_MS 1000
#define BACK_MS	      1000 /* and so long that it has heard of the end of a pause, */
#define WAY_MS	      200  /* and then for what is still in the tunnel */
#define MOVES_MAX     1000 /* in one message */

/* ---- telling ---- */

uint64_t
move_most_ms(struct core *c, const struct move *m)
{
	return m->now.state == MOVE_PAUSED ? c->conf->moves.paused_max_ms : c->conf->moves.prepared_max_ms;
}

static uint64_t
left(struct core *c, const struct move *m)
{
	uint64_t most = move_most_ms(c, m), age = now_ms(c) - m->now.since;

	return move_open(m) && age < most ? most - age : 0;
}

static json_t *
as_told(struct core *c, const struct move *m)
{
	char mac[MAC_TEXT];

	return json_pack("{s:s, s:s, s:I, s:s, s:I}", "segment", segment_at(c, m->vm.segment)->name, "mac",
		mac_format(&m->vm.mac, mac), "epoch", (json_int_t)m->epoch, "state", move_words[m->now.state],
		"left", (json_int_t)left(c, m));
}

struct pause_call { /* a call that waits until the old router has heard of it */
	struct core *core;
	struct rpc_request *request;
	json_t *result;
	struct env_timer *timer;
	uint8_t peer;
	uint64_t word; /* that tells it */
	struct pause_call *prev, *next;
};

static void
pause_reply(struct rpc_request *r, json_t *result_stolen, const char *old_router)
{
	json_object_set_new(result_stolen, "old-router", json_string(old_router));
	rpc_reply(r, result_stolen);
}

static void
pause_end(struct pause_call *w, const char *old_router)
{
	struct core *c = w->core;

	pause_reply(w->request, w->result, old_router);
	DL_DELETE(c->pauses, w);
	c->env->ops->timer_free(w->timer);
	free(w);
}

static void
pause_late(void *arg)
{
	pause_end(arg, "away");
}

static void
tell_again(struct peer *p, json_t *moves)
{
	if (!p->untold)
		p->untold = json_array();
	json_array_extend(p->untold, moves);
	arriving_watch(p->core);
}

/* Words are answered in their order. */
static void
heard(void *arg, int code, json_t *v)
{
	struct reply_to *r = arg;
	struct core *c = r->core;
	struct peer *p = &c->peers[r->peer - 1];
	struct pause_call *w, *next;

	(void)v;
	if (code == 0) {
		p->words_heard = r->serial;
		p->heard_at = now_ms(c);
	} else if (code > 0 && p->session) {
		tell_again(p, r->answer); /* other changes with it were refused: it would keep what is over */
	}
	json_decref(r->answer);
	DL_FOREACH_SAFE(c->pauses, w, next)
	if (w->peer == r->peer && w->word <= r->serial)
		pause_end(w, code == 0 ? "ready" : "away");
	free(r);
}

static void
say(struct peer *p, json_t *moves)
{
	struct reply_to *r = reply_new(p, ++p->words);

	r->answer = json_incref(moves);
	if (rpc_call(p->session->rpc, "sync.moves", json_pack("{s:O}", "moves", moves), heard, r) == 0)
		return;
	json_decref(r->answer); /* the channel is ending and will say so */
	free(r);
}

void
arriving_unheard(struct move *m)
{
	m->word = UINT64_MAX;
	m->back_at = 0;
}

void
arriving_tell(struct core *c, struct move *m)
{
	struct peer *p = m->now.from == FWD_SELF ? NULL : &c->peers[m->now.from - 1];

	arriving_unheard(m);
	if (!p || !p->session || !p->shared[m->vm.segment])
		return;
	if (!p->news_moves)
		p->news_moves = json_array();
	json_array_append_new(p->news_moves, as_told(c, m));
	m->word = p->words + 1;
	if (json_array_size(p->news_moves) >= MOVES_MAX)
		arriving_flush(c);
}

void
arriving_flush(struct core *c)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		struct peer *p = &c->peers[i];

		if (p->news_moves && p->session)
			say(p, p->news_moves);
		json_decref(p->news_moves);
		p->news_moves = NULL;
	}
}

/* As they are by now; who was committed is told of by sync.update. */
static void
tell_untold(struct peer *p)
{
	json_t *moves = p->untold, *v;
	struct vm_key key = {0};
	struct move *m;
	size_t i;

	p->untold = NULL;
	json_array_foreach(moves, i, v)
	{
		key.segment =
			(uint16_t)segment_index(p->core, json_string_value(json_object_get(v, "segment")));
		mac_parse(json_string_value(json_object_get(v, "mac")), &key.mac);
		m = move_find(p->core, &key, (uint64_t)json_integer_value(json_object_get(v, "epoch")));
		if (m && m->now.from == p->index && (move_open(m) || m->now.state == MOVE_ABORTED))
			arriving_tell(p->core, m);
	}
	json_decref(moves);
}

static bool
has_untold(const struct core *c)
{
	for (size_t i = 0; i < c->n_peers; i++)
		if (c->peers[i].untold)
			return true;
	return false;
}

/* All that are open and begin there. */
void
arriving_up(struct peer *p)
{
	struct move *m;

	DL_FOREACH2(p->core->timed, m, timed_next)
	if (move_open(m) && m->now.from == p->index)
		arriving_tell(p->core, m);
	arriving_flush(p->core);
}

void
arriving_down(struct peer *p)
{
	struct pause_call *w, *next;

	json_decref(p->news_moves);
	json_decref(p->untold);
	p->news_moves = p->untold = NULL;
	DL_FOREACH_SAFE(p->core->pauses, w, next)
	if (w->peer == p->index)
		pause_end(w, "away");
}

void
pause_answer(struct core *c, const void *params, bool changed, json_t *result, struct rpc_request *r)
{
	const struct move_key_params *k = params;
	struct vm_key key = {(uint16_t)segment_index(c, k->segment), k->mac};
	struct move *m = move_active(c, &key);
	struct peer *p = m && m->now.from != FWD_SELF ? &c->peers[m->now.from - 1] : NULL;
	struct pause_call *w;

	if (!p || !p->session || !p->shared[key.segment] || m->now.state != MOVE_PAUSED) {
		pause_reply(r, result, "away");
		return;
	}
	if (!changed) { /* it was told before, and whether that was heard nobody knows */
		arriving_tell(c, m);
		arriving_flush(c);
	}
	if (p->words_heard >= m->word) { /* sooner than our own grace period was over */
		pause_reply(r, result, "ready");
		return;
	}
	w = zalloc(sizeof(*w));
	*w = (struct pause_call){
		.core = c, .request = r, .result = result, .peer = p->index, .word = m->word};
	w->timer = timer_new(c, pause_late, w);
	timer_set(c, w->timer, PAUSE_WAIT_MS);
	DL_APPEND(c->pauses, w);
}

/* ---- clocks ---- */

static bool
goes_back(const struct move *m)
{
	return m->now.holds && (move_open(m) || m->now.state == MOVE_ABORTED);
}

/* The old router sends nothing of it here any more; what it sent before may still be on its way. */
static void
note_heard(struct core *c, struct move *m)
{
	const struct peer *p;

	if (!goes_back(m) || m->back_at || m->now.from == FWD_SELF)
		return;
	p = &c->peers[m->now.from - 1];
	if (p->words_heard >= m->word)
		m->back_at = p->heard_at + WAY_MS;
}

static bool
has_held(struct core *c, const struct move *m)
{
	uint64_t now = now_ms(c), age = now - m->now.since;

	if (!goes_back(m))
		return age >= c->conf->hold.max_ms;
	return m->back_at ? now >= m->back_at : age >= BACK_MS;
}

static bool
is_due(struct core *c, const struct move *m, struct move_now *n)
{
	uint64_t age = now_ms(c) - m->now.since;

	*n = m->now;
	if (n->holds && has_held(c, m))
		n->holds = false;
	if (n->open && (age >= MOVE_OPEN_MS || n->from == FWD_SELF || !peer_may_list(c, n->from)))
		n->open = false;
	return n->holds != m->now.holds || n->open != m->now.open || (move_open(m) && left(c, m) == 0);
}

struct due_txn {
	struct txn txn;
	unsigned int changed;
};

static int
due_apply(struct core *c, struct txn *t)
{
	struct due_txn *x = (struct due_txn *)t;
	struct move *m, *next;
	struct move_now n;

	x->changed = 0;
	DL_FOREACH_SAFE2(c->timed, m, next, timed_next)
	{
		if (x->changed == TURN_MAX)
			break;
		if (!is_due(c, m, &n))
			continue;
		x->changed++;
		if (move_open(m) && left(c, m) == 0)
			move_time_out(c, m);
		else
			move_change(c, m, &n);
	}
	return 0;
}

static void
due_audit(struct core *c, struct txn *t)
{
	audit_effects(c, t, "router", "move");
}

static void
due_done(struct core *c, struct txn *t, int code)
{
	c->moves_due = false;
	if (code != 0)
		log_warn("control: what moves wait for cannot be ended: %s", t->fail.text);
	else if (((struct due_txn *)t)->changed == TURN_MAX)
		timer_set(c, c->arriving_timer, 0);
	fail_clear(&t->fail);
	free(t);
}

static void arrive_again(struct core *c, struct move *m);

/* Is one due? All in one walk: there may be 100,000. */
static bool
look(struct core *c)
{
	struct move_now n;
	bool due = false;
	struct move *m;

	DL_FOREACH2(c->timed, m, timed_next)
	{
		arrive_again(c, m);
		note_heard(c, m);
		due = due || is_due(c, m, &n);
	}
	return due;
}

static void
tick(void *arg)
{
	struct core *c = arg;
	struct due_txn *x;

	c->arriving_on = false;
	arriving_watch(c);
	for (size_t i = 0; i < c->n_peers; i++)
		tell_untold(&c->peers[i]);
	arriving_flush(c);
	if (!look(c) || c->moves_due)
		return;
	c->moves_due = true;
	x = zalloc(sizeof(*x));
	x->txn.apply = due_apply;
	x->txn.audit = due_audit;
	x->txn.done = due_done;
	txn_submit(c, &x->txn);
}

void
arriving_watch(struct core *c)
{
	if ((!c->timed && !has_untold(c)) || c->arriving_on)
		return;
	c->arriving_on = true;
	timer_set(c, c->arriving_timer, TICK_MS);
}

/* ---- the VM itself ---- */

struct arrival {
	struct txn txn;
	struct vm_key vm;
	uint64_t epoch;
	int16_t attachment;
};

static int
arrival_apply(struct core *c, struct txn *t)
{
	struct arrival *x = (struct arrival *)t;
	struct move *m = move_find(c, &x->vm, x->epoch);

	return m && move_open(m) ? move_arrive(c, m, x->attachment, &t->fail) : 0;
}

static void
arrival_audit(struct core *c, struct txn *t)
{
	audit_effects(c, t, "router", "arrival");
}

static void
arrival_done(struct core *c, struct txn *t, int code)
{
	struct arrival *x = (struct arrival *)t;
	struct move *m = move_find(c, &x->vm, x->epoch);

	if (m)
		m->arriving = false;
	if (m && code != RPC_STORE)
		m->stands = ATTACHMENT_ANY;
	if (m && code != 0 && code != RPC_STORE)
		event_alarm(c, "", "the VM of move %s is here, and the move cannot be committed: %s", m->id,
			t->fail.text);
	fail_clear(&t->fail);
	free(x);
}

static void
arrive(struct core *c, struct move *m)
{
	struct arrival *x = zalloc(sizeof(*x));

	x->txn.apply = arrival_apply;
	x->txn.audit = arrival_audit;
	x->txn.done = arrival_done;
	x->vm = m->vm;
	x->epoch = m->epoch;
	x->attachment = m->stands;
	m->arriving = true;
	txn_submit(c, &x->txn);
}

/* The store refused it, and a silent VM says no more. */
static void
arrive_again(struct core *c, struct move *m)
{
	if (move_open(m) && m->stands != ATTACHMENT_ANY && !m->arriving && c->storage.rc == 0)
		arrive(c, m);
}

bool
arriving_heard(struct core *c, const struct fwd_event *ev)
{
	struct vm_key key = {ev->segment, ev->mac};
	struct move *m = move_active(c, &key);

	if (!m || !move_open(m) || m->arriving || ev->location != FWD_SELF || ev->attachment < 0 ||
		segment_at(c, ev->segment)->extension == EXTENSION_EXTERNAL)
		return false;
	m->stands = ev->attachment;
	arrive(c, m);
	return true;
}

/* ---- what waited for it ---- */

void
arriving_released(struct core *c, const struct fwd_event *ev)
{
	const struct vm_obj *o = vm_find(c, ev->segment, &ev->mac);
	struct move *m = o ? move_find(c, &o->key, o->held_for) : NULL;

	if (!m)
		return;
	m->now.held += ev->held;
	m->now.released += ev->released;
	m->now.dropped += ev->dropped;
	m->now.at[MOVE_AT_RELEASED] = env_call(c->env, wall_ms);
	move_note_released(c, m);
}

/* ---- start and stop ---- */

void
arriving_init(struct core *c)
{
	c->arriving_timer = timer_new(c, tick, c);
}

void
arriving_fini(struct core *c)
{
	struct pause_call *w, *next;

	for (size_t i = 0; i < c->n_peers; i++)
		json_decref(c->peers[i].untold);
	DL_FOREACH_SAFE(c->pauses, w, next)
	pause_end(w, "away");
	c->env->ops->timer_free(c->arriving_timer);
}
