/* SPDX-License-Identifier: BSD-3-Clause */
/* controllers.c - two controllers, each with its own term and its own idea of the VMs. One that is told that it is
 * superseded speaks a while longer, as one would that has not understood, and then rests until it takes over. */
#include "sim.h"

#include <stdio.h>

#define ADOPT_MS   4000 /* a router that cannot be asked is not waited for */
#define ADOPT_ROWS 20	/* a page: so that there are several */

/* ---- lines ---- */

static void line_dial(void *arg);
static void line_adopt(struct line *l, const char *cursor);

static void
line_up(void *arg, struct channel *c)
{
	struct line *l = arg;

	(void)c;
	if (l->controller->adopting_until)
		line_adopt(l, "");
}

static void
line_message(void *arg, struct channel *c, json_t *msg)
{
	(void)c;
	rpc_message(((struct line *)arg)->rpc, msg);
}

static void
line_drop(struct line *l)
{
	struct channel *c = l->channel;
	struct rpc *rpc = l->rpc;

	l->channel = NULL;
	l->rpc = NULL;
	rpc_free(rpc);
	channel_close(c);
}

static void
line_redial(struct line *l, uint64_t ms)
{
	if (l->controller->active)
		l->controller->node->env.ops->timer_set(l->redial, ms);
}

static void
line_down(void *arg, struct channel *c, const char *why)
{
	struct line *l = arg;

	(void)c;
	(void)why;
	l->channel = NULL; /* it is freed behind this */
	line_drop(l);
	line_redial(l, 200 + world_random(l->controller->sim->w, 1500));
}

static const struct channel_ops line_ops = {line_up, line_message, line_down};

static void
no_calls(void *arg, struct rpc_request *r, const char *method, json_t *params)
{
	(void)arg;
	(void)method;
	(void)params;
	rpc_fail(r, RPC_NO_METHOD, NULL, "none");
}

static void
line_dial(void *arg)
{
	struct line *l = arg;
	struct controller *k = l->controller;
	struct node *to = world_router(k->sim->w, l->router);
	struct channel_local local = {
		.env = &k->node->env, .role = ROLE_CONTROLLER, .private_key = k->node->private_key};
	struct channel_identity id = {.role = ROLE_PEER};

	snprintf(local.name, sizeof(local.name), "%s", k->node->name);
	local.hello = json_pack("{s:I}", "term", (json_int_t)k->term);
	strcpy(id.name, to->name);
	memcpy(id.key, to->public_key, 32);
	l->term = k->term;
	l->asked = false;
	l->channel = channel_dial(&local, &id, to->conf.control.listen, &line_ops, l);
	l->rpc = rpc_new(l->channel, no_calls, l);
	json_decref(local.hello);
}

static void
lines_dial(struct controller *k, uint64_t within_ms)
{
	for (unsigned int r = 0; r < k->sim->n_routers; r++) {
		line_drop(&k->lines[r]);
		line_redial(&k->lines[r], world_random(k->sim->w, within_ms));
	}
}

static void
lines_drop(struct controller *k)
{
	for (unsigned int r = 0; r < k->sim->n_routers; r++) {
		k->node->env.ops->timer_stop(k->lines[r].redial);
		line_drop(&k->lines[r]);
	}
}

/* ---- what it learns from routers ---- */

/* A VM as a router has it. */
static void
learn(struct controller *k, json_t *vm)
{
	struct sim *s = k->sim;
	const char *segment, *text, *owner;
	json_int_t epoch;
	struct view *v;
	struct mac mac;

	if (json_unpack(vm, "{s:s, s:s, s:s, s:I}", "segment", &segment, "mac", &text, "owner", &owner,
		    "epoch", &epoch) != 0 ||
		mac_parse(text, &mac) != 0 || mac.b[5] >= s->n_slots)
		return;
	v = &k->views[mac.b[5]];
	if (mac.b[4] != v->generation || (uint64_t)epoch < v->epoch)
		return;
	v->epoch = (uint64_t)epoch;
	v->registered = !json_is_true(json_object_get(vm, "deleted"));
	for (unsigned int r = 0; r < s->n_routers; r++)
		if (strcmp(world_router(s->w, r)->name, owner) == 0)
			v->router = r;
}

static void
adopted(void *arg, int code, json_t *result)
{
	struct line *l = arg;
	json_t *row;
	size_t i;

	l->controller->sim->calls--;
	if (code < 0 && code > -1000)
		return;
	json_array_foreach(json_object_get(result, "rows"), i, row) learn(l->controller, row);
	if (json_object_get(result, "next"))
		line_adopt(l, json_string_value(json_object_get(result, "next")));
	else
		l->asked = true;
}

static void
line_adopt(struct line *l, const char *cursor)
{
	json_t *v = json_pack("{s:i}", "limit", ADOPT_ROWS);

	if (cursor[0])
		json_object_set_new(v, "cursor", json_string(cursor));
	if (rpc_call(l->rpc, "show.vms", v, adopted, l) == 0)
		l->controller->sim->calls++;
}

static bool
has_adopted(struct controller *k)
{
	bool all = true;

	for (unsigned int r = 0; r < k->sim->n_routers; r++)
		all &= k->lines[r].asked;
	if (!all && k->sim->w->now < k->adopting_until)
		return false;
	note(k->sim, "%s has asked %s what they know", k->node->name, all ? "all routers" : "some routers");
	k->adopting_until = 0;
	return true;
}

/* The VM that a slot has now: nothing is known of another one. */
static struct view *
view_of(struct controller *k, const struct slot *t)
{
	struct view *v = &k->views[t->number];

	if (v->generation != t->generation)
		*v = (struct view){.generation = t->generation, .busy = v->busy};
	return v;
}

static void
forget_all(struct controller *k)
{
	for (unsigned int i = 0; i < k->sim->n_slots; i++)
		k->views[i] = (struct view){.generation = k->sim->slots[i].generation};
}

/* ---- calls ---- */

struct asked {
	struct controller *controller;
	struct slot *slot; /* NULL: a route */
	struct change *change;
	uint8_t generation;
	unsigned int router;
	uint64_t term, sent_at, seen; /* highest term that was seen at the router before */
	bool replay, commits;
};

/* A right change: nobody else has spoken. */
static void
refused_wrongly(struct asked *a, int code, json_t *error)
{
	struct sim *s = a->controller->sim;
	const char *why = json_string_value(json_object_get(error, "message"));

	if (code == RPC_DENIED || code == RPC_INVALID_PARAMS || code == RPC_EPOCH_STEP ||
		code == RPC_NOT_FOUND || code == RPC_NO_METHOD || code == RPC_INTERNAL)
		world_broken(s->w, "%s was refused with %d: %s", a->controller->node->name, code, why);
	else if ((code == RPC_STALE_EPOCH || code == RPC_SUPERSEDED) && s->strict && !a->replay)
		world_broken(s->w, "a right change of %s was refused with %d: %s", a->controller->node->name,
			code, why);
	else if (code == RPC_SUPERSEDED && a->term == s->top_term &&
		 s->controllers[0].term != s->controllers[1].term)
		world_broken(
			s->w, "%s has the highest term and was refused: %s", a->controller->node->name, why);
}

static void
is_superseded(struct controller *k)
{
	struct sim *s = k->sim;

	s->did.superseded++;
	if (k->stop_at)
		return;
	k->stop_at = s->w->now + 1 + world_random(s->w, 6000);
	note(s, "%s is superseded", k->node->name);
}

/* A change was made: not by one that this router had seen superseded before it was asked. */
static void
check_fence(struct asked *a)
{
	struct sim *s = a->controller->sim;

	if (a->seen > a->term && s->lost_at[a->router] < a->sent_at)
		world_broken(s->w, "%s took a change of term %llu after it had seen %llu",
			world_router(s->w, a->router)->name, (unsigned long long)a->term,
			(unsigned long long)a->seen);
}

static void
count(struct asked *a, int code)
{
	struct sim *s = a->controller->sim;

	s->calls--;
	if (code < 0 && code > -1000)
		s->did.unknown++;
	else if (code != 0)
		s->did.refusals++;
	if (code == 0)
		check_fence(a);
	if (code == RPC_SUPERSEDED)
		is_superseded(a->controller);
}

static void
vm_acked(struct asked *a)
{
	struct sim *s = a->controller->sim;
	struct view *v = &a->controller->views[a->slot->number];
	struct change *ch = a->change;
	uint64_t *floor = &s->floors[a->router][a->slot->number];

	if (a->generation != a->slot->generation) { /* of a VM that is gone */
		ch->outcome = ACKED;
		return;
	}
	if (ch->epoch > *floor && a->sent_at > s->lost_at[a->router])
		*floor = ch->epoch;
	if (v->generation == a->generation && ch->epoch >= v->epoch) {
		v->epoch = ch->epoch;
		v->registered = ch->op != OP_UNREGISTER;
		v->router = ch->router;
	}
	change_acked(s, a->slot, ch);
}

static void
vm_answered(void *arg, int code, json_t *result)
{
	struct asked *a = arg;
	struct sim *s = a->controller->sim;
	struct change *ch = a->change;

	count(a, code);
	if (!a->replay)
		a->controller->views[a->slot->number].busy = false;
	if (code != 0)
		note(s, "%s: slot %u.%u epoch %llu at %s: %d", a->controller->node->name, a->slot->number,
			a->generation, (unsigned long long)ch->epoch, world_router(s->w, a->router)->name,
			code);
	if (code == 0)
		vm_acked(a);
	else if (code < 0 && code > -1000 && ch->outcome != ACKED)
		ch->outcome = UNKNOWN;
	else if (ch->outcome == ASKED && !a->replay && !ch->prepared)
		ch->outcome = REFUSED;
	if (code != 0 && (code > 0 || code < -1000)) {
		refused_wrongly(a, code, result);
		learn(a->controller, json_object_get(result, "data"));
	}
	free(a);
}

static struct asked *
asked_new(struct controller *k, unsigned int router)
{
	struct asked *a = calloc(1, sizeof(*a));
	struct sim *s = k->sim;

	*a = (struct asked){.controller = k,
		.router = router,
		.term = k->lines[router].term,
		.sent_at = s->w->now,
		.seen = s->terms[router]};
	return a;
}

static void
send_change(struct controller *k, struct slot *t, struct change *ch, bool replay)
{
	struct line *l = &k->lines[ch->router];
	static const char *const method[] = {"vm.register", "vm.move", "vm.unregister"};
	struct asked *a = asked_new(k, ch->router);
	json_t *v = change_params(k->sim, t, ch);

	a->slot = t;
	a->generation = t->generation;
	a->change = ch;
	a->replay = replay;
	note(k->sim, "%s: %s slot %u.%u epoch %llu at %s%s", k->node->name, method[ch->op], t->number,
		t->generation, (unsigned long long)ch->epoch, world_router(k->sim->w, ch->router)->name,
		replay ? ", once more" : "");
	if (!l->rpc) {
		json_decref(v);
		free(a);
	} else if (rpc_call(l->rpc, method[ch->op], v, vm_answered, a) != 0) {
		free(a);
	} else {
		k->sim->calls++;
		if (ch->outcome == REFUSED) /* it may be made now, and that be seen before it is told */
			ch->outcome = UNKNOWN;
		if (!replay)
			k->views[t->number].busy = true;
	}
}

/* ---- a move that is prepared, step by step ---- */

/* Whatever was said of it before, by whom, and wherever its VM is by now. */
static void
step_answered(void *arg, int code, json_t *result)
{
	struct asked *a = arg;
	struct sim *s = a->controller->sim;

	count(a, code);
	if (code == 0 && a->commits) {
		s->did.commits++;
		vm_acked(a);
	}
	if (code == RPC_DENIED || code == RPC_INVALID_PARAMS || code == RPC_NO_METHOD || code == RPC_INTERNAL)
		world_broken(s->w, "%s: a step of a move was refused with %d: %s", a->controller->node->name,
			code, json_string_value(json_object_get(result, "message")));
	free(a);
}

static void
say_step(struct controller *k, struct slot *t, struct change *ch, const char *verb)
{
	struct rpc *rpc = k->lines[ch->router].rpc;
	struct asked *a;
	json_t *v;

	if (!rpc)
		return;
	a = asked_new(k, ch->router);
	a->slot = t;
	a->generation = t->generation;
	a->change = ch;
	a->commits = strcmp(verb, "move.commit") == 0;
	ch->prepared = true;
	v = strcmp(verb, "move.prepare") == 0 ? change_params(k->sim, t, ch) : change_key(t, ch);
	note(k->sim, "%s: %s slot %u.%u epoch %llu at %s", k->node->name, verb, t->number, t->generation,
		(unsigned long long)ch->epoch, world_router(k->sim->w, ch->router)->name);
	if (rpc_call(rpc, verb, v, step_answered, a) == 0)
		k->sim->calls++;
	else
		free(a);
}

static bool
may_be_prepared(const struct sim *s, const struct change *ch)
{
	return ch->op == OP_MOVE && ch->outcome != REFUSED && ch->asked_at >= s->day_at;
}

/* Of the last move that a slot's VM was to make, or of an older one: the next step, or one that is out of order. */
static void
any_step(struct controller *k)
{
	static const char *const verbs[] = {
		"move.prepare", "move.pause", "move.commit", "move.abort", "move.finish", "move.cut"};
	struct sim *s = k->sim;
	struct slot *t = &s->slots[world_random(s->w, s->n_slots)];
	struct change *ch = t->changes;
	const char *verb = verbs[world_random(s->w, 6)];

	while (ch && (!may_be_prepared(s, ch) || world_random(s->w, 4) == 0))
		ch = ch->next;
	if (ch)
		say_step(k, t, ch, verb);
}

/* ---- what it wants ---- */

static struct change *
next_change(struct controller *k, struct slot *t, struct view *v)
{
	static const char *const policies[] = {"home", "home", "direct", "cut"};
	struct world *w = k->sim->w;
	struct change *ch;
	enum op op = !v->registered ? OP_REGISTER : world_random(w, 6) == 0 ? OP_UNREGISTER : OP_MOVE;

	ch = change_new(k->sim, t, op, ++v->epoch, slot_router(k->sim, t));
	if (op == OP_UNREGISTER && world_random(w, 2) == 0)
		ch->router = v->router;
	if (op == OP_MOVE)
		ch->old = v->router;
	ch->drain_min = world_random(w, 5000);
	ch->drain_max = 5000 + world_random(w, 15000);
	ch->sessions = policies[world_random(w, 4)];
	return ch;
}

/* A new change of a slot's VM, or once more the last one whose outcome is unknown. */
static void
change_slot(struct controller *k)
{
	struct sim *s = k->sim;
	struct slot *t = &s->slots[world_random(s->w, s->n_slots)];
	struct view *v = view_of(k, t);

	if (v->busy)
		return;
	if (v->last && v->last->epoch == v->epoch && v->last->outcome <= UNKNOWN &&
		v->last->asked_at >= s->day_at && world_random(s->w, 2) == 0) {
		send_change(k, t, v->last, false);
		return;
	}
	v->last = next_change(k, t, v);
	if (v->last->op == OP_MOVE && world_random(s->w, 3) == 0)
		say_step(k, t, v->last, "move.prepare"); /* and goes on by and by, or does not */
	else
		send_change(k, t, v->last, false);
}

/* Any earlier change, as it would come from a client that has not understood, or by a connection that was slow. */
static void
replay(struct controller *k)
{
	struct sim *s = k->sim;
	struct slot *t = &s->slots[world_random(s->w, s->n_slots)];
	struct change *ch;
	uint64_t n = 0;

	LL_COUNT(t->changes, ch, n);
	n = world_random(s->w, n);
	for (ch = t->changes; ch && n > 0; n--)
		ch = ch->next;
	if (ch && ch->asked_at >= s->day_at)
		send_change(k, t, ch, true);
}

static void
route_answered(void *arg, int code, json_t *result)
{
	struct asked *a = arg;
	struct sim *s = a->controller->sim;
	struct routes *r = &s->routes[a->router];
	int p = r->prefix;

	count(a, code);
	r->prefix = -1;
	if (code == 0 && a->sent_at > s->lost_at[a->router]) {
		r->acked[p] = r->asked;
		r->any[p] = false;
	}
	if (code >= 0) /* refused: nothing was changed */
		r->unsure[p] = 0;
	if (code != 0 && (code > 0 || code < -1000))
		refused_wrongly(a, code, result);
	free(a);
}

static void
change_route(struct controller *k)
{
	struct sim *s = k->sim;
	unsigned int to = (unsigned int)world_random(s->w, s->n_routers);
	int p = (int)world_random(s->w, PREFIXES);
	struct routes *r = &s->routes[to];
	char prefix[24], via[24];
	struct asked *a;
	json_t *v;

	if (!k->lines[to].rpc || r->prefix >= 0 || r->unsure[p])
		return;
	a = asked_new(k, to);
	r->asked = 100 + (uint32_t)world_random(s->w, 100);
	snprintf(prefix, sizeof(prefix), "203.0.%d.0/24", p);
	snprintf(via, sizeof(via), "192.0.2.%u", r->asked);
	v = json_pack("{s:s, s:s}", "prefix", prefix, "via", via);
	if (rpc_call(k->lines[to].rpc, "route.replace", v, route_answered, a) != 0) {
		free(a);
		return;
	}
	r->prefix = p;
	r->unsure[p] = r->asked;
	s->calls++;
}

/* ---- who speaks ---- */

static void
stops(struct controller *k)
{
	note(k->sim, "%s stops", k->node->name);
	k->active = false;
	k->stop_at = 0;
	k->adopting_until = 0;
	lines_drop(k);
}

static void
set_term(struct controller *k, uint64_t term)
{
	k->term = term;
	if (term > k->sim->top_term)
		k->sim->top_term = term;
}

static void
begin_adopting(struct controller *k)
{
	forget_all(k);
	k->sim->strict = false;
	k->adopting_until = k->sim->w->now + ADOPT_MS;
}

void
controller_takes_over(struct controller *k, uint64_t term, bool empty)
{
	struct sim *s = k->sim;
	const struct controller *other = &s->controllers[k == s->controllers];

	note(s, "%s takes over with term %llu%s", k->node->name, (unsigned long long)term,
		empty ? " and an empty store" : "");
	s->did.takeovers++;
	s->strict = false;
	set_term(k, term);
	k->active = true;
	k->stop_at = 0;
	k->adopting_until = 0;
	if (empty)
		begin_adopting(k);
	else
		memcpy(k->views, other->views, sizeof(k->views));
	for (unsigned int i = 0; i < s->n_slots && !empty; i++) {
		k->views[i].busy = false;
		k->views[i].last = NULL;
	}
	lines_dial(k, 300);
}

void
controller_restarts(struct controller *k, bool empty)
{
	note(k->sim, "%s restarts%s", k->node->name, empty ? " with an empty store" : "");
	lines_drop(k);
	if (empty)
		begin_adopting(k);
	lines_dial(k, 3000);
}

static void
act(struct controller *k)
{
	struct world *w = k->sim->w;

	if (k->stop_at && w->now >= k->stop_at)
		stops(k);
	if (!k->active || (k->adopting_until && !has_adopted(k)))
		return;
	change_slot(k);
	if (world_random(w, 2) == 0)
		any_step(k);
	if (world_random(w, 4) == 0)
		change_route(k);
	if (world_random(w, 6) == 0)
		replay(k);
}

void
controllers_act(struct sim *s)
{
	bool any = false;

	for (unsigned int i = 0; i < CONTROLLERS; i++) {
		act(&s->controllers[i]);
		any |= s->controllers[i].active;
	}
	if (!any)
		controller_takes_over(
			&s->controllers[world_random(s->w, CONTROLLERS)], s->top_term + 1, false);
}

void
controllers_rest(struct sim *s)
{
	for (unsigned int i = 0; i < CONTROLLERS; i++)
		if (s->controllers[i].stop_at)
			stops(&s->controllers[i]);
}

bool
controllers_settled(struct sim *s)
{
	for (unsigned int i = 0; i < CONTROLLERS; i++)
		for (unsigned int r = 0; r < s->n_routers && s->controllers[i].active; r++)
			if (!s->controllers[i].lines[r].channel)
				return false;
	return s->calls == 0;
}

void
controllers_begin(struct sim *s)
{
	for (unsigned int i = 0; i < CONTROLLERS; i++) {
		struct controller *k = &s->controllers[i];

		k->sim = s;
		k->node = &s->w->nodes[s->n_routers + i];
		for (unsigned int r = 0; r < s->n_routers; r++) {
			struct line *l = &k->lines[r];

			l->controller = k;
			l->router = r;
			l->redial = k->node->env.ops->timer_new(k->node->env.ctx, line_dial, l);
		}
	}
	s->strict = true;
	set_term(&s->controllers[0], 1);
	s->controllers[0].active = true;
	lines_dial(&s->controllers[0], 50);
}

void
controllers_end(struct sim *s)
{
	for (unsigned int i = 0; i < CONTROLLERS; i++) {
		struct controller *k = &s->controllers[i];

		k->active = false;
		lines_drop(k);
		for (unsigned int r = 0; r < s->n_routers; r++)
			k->node->env.ops->timer_free(k->lines[r].redial);
	}
}
