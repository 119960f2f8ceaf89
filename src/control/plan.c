/* SPDX-License-Identifier: BSD-3-Clause */
/* plan.c - what a move will do, told by a dry run of the call that makes it: the steps that its record will have, which router
 * answers for which address and how long, and how many sessions each old address has.
 *
 *   sync.count {globals: [address...]} -> {sessions: [n or null...]}   by the old router; null: it notes none of this address
 *
 * The rest is what the change itself makes of the VM, so a plan says nothing else than what is done.
 */
#include "sync.h"

#define WAIT_MS 1000

/* ---- addresses ---- */

static json_t *
address_json(struct core *c, ip4 private_ip, ip4 global_ip, uint8_t router)
{
	char a[IP4_TEXT], b[IP4_TEXT];

	return json_pack("{s:s, s:s, s:s}", "private", ip4_format(private_ip, a), "global",
		global_ip ? ip4_format(global_ip, b) : "", "router", router_name(c, router));
}

static json_t *
live_json(struct core *c, const struct vm_state *now)
{
	json_t *v = json_array();

	for (unsigned int i = 0; i < now->fwd.n_addresses; i++)
		json_array_append_new(v, address_json(c, now->fwd.addresses[i].private_ip,
						 now->fwd.addresses[i].global_ip, FWD_SELF));
	return v;
}

static json_t *
draining_json(struct core *c, const struct vm_state *now)
{
	json_t *v = json_array(), *one;

	for (unsigned int i = 0; i < now->fwd.n_drains; i++) {
		const struct fwd_drain *d = &now->fwd.drains[i];

		one = address_json(c, d->private_ip, d->global_ip, d->home);
		json_object_set_new(one, "min", json_integer((json_int_t)now->drain[i].min_ms));
		json_object_set_new(one, "max", json_integer((json_int_t)now->drain[i].max_ms));
		json_array_append_new(v, one);
	}
	return v;
}

/* Those that work no more from the switch on, and with them their sessions. */
static json_t *
ended_json(struct core *c, const struct vm_state *old, const struct vm_state *now)
{
	json_t *v = json_array();

	for (unsigned int i = 0; old && !old->deleted && i < old->fwd.n_addresses; i++) {
		const struct fwd_address *a = &old->fwd.addresses[i];

		if (a->global_ip && !vm_has_home(now, a->private_ip, a->global_ip))
			json_array_append_new(
				v, address_json(c, a->private_ip, a->global_ip, old->fwd.owner));
	}
	for (unsigned int i = 0; old && !old->deleted && i < old->fwd.n_drains; i++) {
		const struct fwd_drain *d = &old->fwd.drains[i];

		if (!vm_has_home(now, d->private_ip, d->global_ip))
			json_array_append_new(v, address_json(c, d->private_ip, d->global_ip, d->home));
	}
	return v;
}

/* ---- steps ---- */

static void
step(struct core *c, json_t *steps, enum move_time which, uint8_t router, const char *does)
{
	json_array_append_new(steps, json_pack("{s:s, s:s, s:s}", "step", move_time_words[which], "router",
					     router_name(c, router), "does", does));
}

static void
within(json_t *steps, const char *name, uint64_t ms)
{
	json_object_set_new(
		json_array_get(steps, json_array_size(steps) - 1), name, json_integer((json_int_t)ms));
}

static void
perhaps(json_t *steps)
{
	json_object_set_new(json_array_get(steps, json_array_size(steps) - 1), "optional", json_true());
}

static void
before(struct core *c, json_t *steps)
{
	step(c, steps, MOVE_AT_PREPARED, FWD_SELF, "keeps the new addresses; the old router notes sessions");
	within(steps, "within-ms", c->conf->moves.prepared_max_ms);
	step(c, steps, MOVE_AT_PAUSED, FWD_SELF, "what comes for the VM waits here");
	within(steps, "within-ms", c->conf->moves.paused_max_ms);
	perhaps(steps);
}

/* The newest drain that this move begins, or NULL. */
static const struct drain_time *
own_drain(const struct vm_state *now)
{
	for (unsigned int i = now->fwd.n_drains; i-- > 0;)
		if (now->drain[i].epoch == now->epoch)
			return &now->drain[i];
	return NULL;
}

static bool
drains_elsewhere(const struct vm_state *now)
{
	for (unsigned int i = 0; i < now->fwd.n_drains; i++)
		if (now->fwd.drains[i].home != FWD_SELF)
			return true;
	return false;
}

static void
after(struct core *c, json_t *steps, uint8_t from, const struct vm_state *now, bool prepared)
{
	const struct drain_time *drain = own_drain(now);

	step(c, steps, MOVE_AT_COMMITTED, FWD_SELF,
		"is the VM's gateway; new sessions have the live addresses");
	if (from != FWD_SELF)
		step(c, steps, MOVE_AT_TOLD, from, "sends here what still comes there");
	step(c, steps, MOVE_AT_HEARD, FWD_SELF, "finds the VM at an attachment; until then it asks for it");
	if (prepared) {
		step(c, steps, MOVE_AT_RELEASED, FWD_SELF, "what waited has gone to the VM");
		within(steps, "within-ms", c->conf->hold.max_ms);
		perhaps(steps);
	}
	if (drains_elsewhere(now)) {
		step(c, steps, MOVE_AT_LISTED, from, "has listed the sessions that it noted");
		within(steps, "within-ms", MOVE_OPEN_MS);
	}
	step(c, steps, MOVE_AT_DONE, from, drain ? "ends the last old address" : "has no old address to end");
	if (!drain)
		return;
	within(steps, "after-ms", drain->min_ms);
	within(steps, "within-ms", drain->max_ms);
}

static json_t *
steps_json(struct core *c, uint8_t from, const struct vm_state *now, bool prepared)
{
	json_t *steps = json_array();

	if (prepared)
		before(c, steps);
	after(c, steps, from, now, prepared);
	return steps;
}

/* ---- the plan ---- */

static uint8_t
old_router(const struct vm_state *old, const struct vm_state *now)
{
	if (old && !old->deleted)
		return old->fwd.owner;
	return now->fwd.n_drains > 0 ? now->fwd.drains[now->fwd.n_drains - 1].home : FWD_SELF;
}

void
plan_tell(
	struct core *c, const struct vm_state *old, const struct vm_state *now, bool prepared, json_t *result)
{
	struct vm_key key = {now->fwd.segment, now->fwd.mac};
	uint8_t from = old_router(old, now);
	char id[MOVE_ID_TEXT];

	move_id(c, &key, now->epoch, id);
	json_object_set_new(result, "plan",
		json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", id, "from", router_name(c, from),
			"to", router_name(c, FWD_SELF), "gateway", router_name(c, FWD_SELF), "live",
			live_json(c, now), "draining", draining_json(c, now), "ended",
			ended_json(c, old, now), "steps", steps_json(c, from, now, prepared)));
}

/* ---- how many sessions: the old router is asked ---- */

struct plan_call { /* a dry run that waits for the count */
	struct core *core;
	struct rpc_request *request;
	json_t *result;
	struct env_timer *timer;
	uint64_t serial; /* of the question */
	struct plan_call *prev, *next;
};

static void
call_end(struct plan_call *w)
{
	struct core *c = w->core;

	rpc_reply(w->request, w->result);
	DL_DELETE(c->plans, w);
	c->env->ops->timer_free(w->timer);
	free(w);
}

static void
call_late(void *arg)
{
	call_end(arg);
}

/* Of a result with a plan: what it says of the old addresses of this router. */
static json_t *
old_at(const json_t *result, const char *router)
{
	static const char *const lists[] = {"draining", "ended"};
	json_t *at = json_array(), *one;
	size_t i;

	for (unsigned int k = 0; k < 2; k++)
		json_array_foreach(json_object_get(json_object_get(result, "plan"), lists[k]), i,
			one) if (strcmp(json_string_value(json_object_get(one, "router")), router) == 0)
			json_array_append(at, one);
	return at;
}

static void
set_sessions(const json_t *old, const json_t *sessions)
{
	json_t *one;
	size_t i;

	json_array_foreach(old, i, one)
	{
		json_t *n = json_array_get(sessions, i);

		if (json_is_integer(n) && json_integer_value(n) >= 0)
			json_object_set(one, "sessions", n);
	}
}

static void
counted(void *arg, int code, json_t *v)
{
	struct reply_to *r = arg;
	struct plan_call *w;

	DL_FOREACH(r->core->plans, w)
	if (w->serial == r->serial)
		break;
	if (w && code == 0)
		set_sessions(r->answer, json_object_get(v, "sessions"));
	if (w)
		call_end(w);
	json_decref(r->answer);
	free(r);
}

static void
ask(struct peer *p, json_t *old_stolen, json_t *result, struct rpc_request *request)
{
	struct core *c = p->core;
	struct plan_call *w = zalloc(sizeof(*w));
	struct reply_to *r = reply_new(p, ++c->serials);
	json_t *globals = json_array(), *one;
	size_t i;

	json_array_foreach(old_stolen, i, one) json_array_append(globals, json_object_get(one, "global"));
	r->answer = old_stolen;
	*w = (struct plan_call){.core = c, .request = request, .result = result, .serial = r->serial};
	w->timer = timer_new(c, call_late, w);
	timer_set(c, w->timer, WAIT_MS);
	DL_APPEND(c->plans, w);
	if (rpc_call(p->session->rpc, "sync.count", json_pack("{s:o}", "globals", globals), counted, r) == 0)
		return;
	json_decref(r->answer); /* the channel is ending */
	free(r);
	call_end(w);
}

void
plan_answer(struct core *c, json_t *result, struct rpc_request *r)
{
	const char *from = json_string_value(json_object_get(json_object_get(result, "plan"), "from"));
	int router = from ? router_index(c, from) : FWD_SELF;
	struct peer *p = router > FWD_SELF ? &c->peers[router - 1] : NULL;
	json_t *old = p && p->session ? old_at(result, from) : NULL;

	if (json_array_size(old) > 0) {
		ask(p, old, result, r);
		return;
	}
	json_decref(old);
	rpc_reply(r, result);
}

/* Of a VM of ours in a segment that the peer has, whose sessions are noted. */
static bool
is_counted(const struct peer *p, ip4 global)
{
	const struct vm_obj *o = vm_by_global(p->core, global);

	return vm_live(o) && p->shared[o->key.segment] &&
	       (o->now.fwd.n_drains > 0 || o->now.departure.phase != DEPARTS_NOT);
}

void
plan_count(struct peer *p, struct rpc_request *r, const json_t *globals)
{
	json_t *sessions = json_array(), *v;
	uint64_t n;
	ip4 global;
	size_t i;

	json_array_foreach(globals, i, v)
	{
		const char *text = json_string_value(v);

		if (text && ip4_parse(text, &global) == 0 && is_counted(p, global)) {
			env_call(p->core->env, fwd_sessions, global, &n);
			json_array_append_new(sessions, json_integer((json_int_t)n));
		} else {
			json_array_append_new(sessions, json_null());
		}
	}
	rpc_reply(r, json_pack("{s:o}", "sessions", sessions));
}

void
plan_fini(struct core *c)
{
	struct plan_call *w, *next;

	DL_FOREACH_SAFE(c->plans, w, next)
	call_end(w);
}
