/* SPDX-License-Identifier: BSD-3-Clause */
/* events.c - what subscribers are told: facts that are durable and live, numbered, in a ring.
 *
 * An event is kept as the core knows it, and becomes JSON only for who asked. A subscription is a place in the
 * numbers: the next batch goes out when the last one has left the channel. So a subscriber that reads slowly costs
 * nobody anything; when the ring has overtaken it, it is told to resync, and where to go on.
 *
 *   ring   [first ...... next of a slow one ...... next of a quick one ... last]
 */
#include "state.h"

#include <common/log.h>
#include <stdarg.h>
#include <time.h>

#define BATCH	     256 /* events of one message; at their longest they are below half of what one holds */
#define CURSOR_EVERY (EVENTS_KEPT / 4) /* whose classes are quiet gets a new cursor so often */

struct event {
	uint64_t number, revision; /* 0 = belongs to none */
	int64_t wall_ms;
	enum event_kind kind;
	uint8_t from; /* VM_MOVED: router index of the owner before */
	union {	      /* as much of it as the kind needs */
		uint64_t any;
		struct vm_state vm; /* without its drain[] when it has none */
		struct {
			struct vm_key vm;
			struct fwd_drain drain;
			uint64_t epoch;
		} drain;
		struct move move;
		struct route route;
		struct {
			uint64_t term; /* 0 = none */
			char name[NAME_LEN + 1], text[400];
		} note;
	};
};

static const struct {
	enum event_class class;
	const char *name;
} kinds[] = {
	[EVENT_VM_REGISTERED] = {EVENTS_VM, "registered"},
	[EVENT_VM_CHANGED] = {EVENTS_VM, "changed"},
	[EVENT_VM_MOVED] = {EVENTS_VM, "moved"},
	[EVENT_VM_LOCATED] = {EVENTS_VM, "located"},
	[EVENT_VM_UNREGISTERED] = {EVENTS_VM, "unregistered"},
	[EVENT_DRAIN_BEGUN] = {EVENTS_DRAIN, "begun"},
	[EVENT_DRAIN_OVER] = {EVENTS_DRAIN, "over"},
	[EVENT_MOVE_PREPARED] = {EVENTS_MOVE, "prepared"},
	[EVENT_MOVE_PAUSED] = {EVENTS_MOVE, "paused"},
	[EVENT_MOVE_BEGUN] = {EVENTS_MOVE, "begun"},
	[EVENT_MOVE_ABORTED] = {EVENTS_MOVE, "aborted"},
	[EVENT_MOVE_DONE] = {EVENTS_MOVE, "done"},
	[EVENT_ROUTE_REPLACED] = {EVENTS_ROUTE, "replaced"},
	[EVENT_ROUTE_DELETED] = {EVENTS_ROUTE, "deleted"},
	[EVENT_PEER_UP] = {EVENTS_PEER, "up"},
	[EVENT_PEER_SYNCED] = {EVENTS_PEER, "synced"},
	[EVENT_PEER_AWAY] = {EVENTS_PEER, "away"},
	[EVENT_CONTROLLER_UP] = {EVENTS_CONTROLLER, "up"},
	[EVENT_CONTROLLER_AWAY] = {EVENTS_CONTROLLER, "away"},
	[EVENT_CONTROLLER_TERM] = {EVENTS_CONTROLLER, "term"},
	[EVENT_CONTROLLER_SUPERSEDED] = {EVENTS_CONTROLLER, "superseded"},
	[EVENT_ALARM] = {EVENTS_ALARM, "raised"},
	[EVENT_STORE_REFUSES] = {EVENTS_STORE, "refuses"},
	[EVENT_STORE_TAKES] = {EVENTS_STORE, "takes"},
};

/* ---- the ring ---- */

static uint64_t
first_kept(const struct core *c)
{
	return c->n_events > EVENTS_KEPT ? c->n_events - EVENTS_KEPT + 1 : 1;
}

static struct event **
place(struct core *c, uint64_t number)
{
	return &c->ring[number % EVENTS_KEPT];
}

static bool
is_subscribed(const struct core *c)
{
	const struct session *s;

	DL_FOREACH(c->sessions, s)
	if (s->events.on)
		return true;
	return false;
}

/* With so many bytes of the union. */
static struct event *
event_new(struct core *c, enum event_kind kind, size_t size)
{
	struct event *e = zalloc(offsetof(struct event, any) + size), **at = place(c, ++c->n_events);

	e->number = c->n_events;
	e->wall_ms = env_call(c->env, wall_ms);
	e->kind = kind;
	free(*at);
	*at = e;
	if (!c->events_due && is_subscribed(c)) {
		c->events_due = true;
		timer_set(c, c->events_timer, 0);
	}
	return e;
}

/* ---- facts ---- */

static size_t
vm_size(const struct vm_state *s)
{
	return s->fwd.n_drains > 0 ? sizeof(*s) : offsetof(struct vm_state, drain);
}

static enum event_kind
vm_kind(const struct vm_state *old, const struct vm_state *now)
{
	if (now->deleted)
		return EVENT_VM_UNREGISTERED;
	if (!old || old->deleted)
		return EVENT_VM_REGISTERED;
	if (old->fwd.owner != now->fwd.owner)
		return EVENT_VM_MOVED;
	/* What changed and changed back in one commit has another revision. */
	return vm_state_same(old, now) && old->revision == now->revision ? EVENT_VM_LOCATED
									 : EVENT_VM_CHANGED;
}

static bool
has_drain(const struct vm_state *s, const struct fwd_drain *d, uint64_t epoch)
{
	for (unsigned int i = 0; s && i < s->fwd.n_drains; i++)
		if (s->fwd.drains[i].global_ip == d->global_ip && s->drain[i].epoch == epoch)
			return true;
	return false;
}

/* The drains of `s` that `other` does not have. */
static void
drain_events(struct core *c, const struct vm_state *s, const struct vm_state *other, enum event_kind kind)
{
	struct event *e;

	for (unsigned int i = 0; s && i < s->fwd.n_drains; i++) {
		if (has_drain(other, &s->fwd.drains[i], s->drain[i].epoch))
			continue;
		e = event_new(c, kind, sizeof(e->drain));
		e->drain.vm = (struct vm_key){s->fwd.segment, s->fwd.mac};
		e->drain.drain = s->fwd.drains[i];
		e->drain.epoch = s->drain[i].epoch;
	}
}

void
event_vm(struct core *c, const struct vm_state *old, const struct vm_state *now, uint64_t revision)
{
	enum event_kind kind = vm_kind(old, now);
	struct event *e;

	if (kind == EVENT_VM_LOCATED && old->fwd.location == now->fwd.location &&
		old->fwd.attachment == now->fwd.attachment)
		return;
	e = event_new(c, kind, vm_size(now));
	memcpy(&e->vm, now, vm_size(now));
	e->from = old ? old->fwd.owner : 0;
	e->revision = kind == EVENT_VM_LOCATED ? 0 : revision;
	drain_events(c, now, old, EVENT_DRAIN_BEGUN);
	drain_events(c, old, now, EVENT_DRAIN_OVER);
}

void
event_move(struct core *c, enum event_kind kind, const struct move *m)
{
	struct event *e = event_new(c, kind, offsetof(struct move, present));

	memcpy(&e->move, m, offsetof(struct move, present));
}

void
event_route(struct core *c, const struct route_obj *o, uint64_t revision)
{
	const struct route *r = route_live(o);
	struct event *e = event_new(c, r ? EVENT_ROUTE_REPLACED : EVENT_ROUTE_DELETED, sizeof(e->route));

	if (r)
		e->route = *r;
	else
		e->route.prefix = route_prefix(o);
	e->revision = revision;
}

static struct event *
note_new(struct core *c, enum event_kind kind, const char *name)
{
	struct event *e = event_new(c, kind, sizeof(e->note));

	snprintf(e->note.name, sizeof(e->note.name), "%.*s", NAME_LEN, name);
	return e;
}

void
event_note(struct core *c, enum event_kind kind, const char *name, const char *text)
{
	struct event *e = note_new(c, kind, name);

	snprintf(e->note.text, sizeof(e->note.text), "%s", text);
}

void
event_term(struct core *c, enum event_kind kind, const char *name, uint64_t term)
{
	note_new(c, kind, name)->note.term = term;
}

void
event_superseded(struct core *c, const char *controller, uint64_t term)
{
	struct term *last = &c->superseded;

	if (last->number == term && strncmp(last->name, controller, NAME_LEN) == 0)
		return;
	last->number = term;
	snprintf(last->name, sizeof(last->name), "%.*s", NAME_LEN, controller);
	event_term(c, EVENT_CONTROLLER_SUPERSEDED, controller, term);
	if (term == c->term.number)
		event_alarm(c, "",
			"controllers %s and %s have the same term %" PRIu64 ": the first one alone is obeyed",
			c->term.name, controller, term);
}

void
event_alarm(struct core *c, const char *peer, const char *fmt, ...)
{
	struct event *e = note_new(c, EVENT_ALARM, peer);
	char who[WHO_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->note.text, sizeof(e->note.text), fmt, ap);
	va_end(ap);
	audit_refusal(c, peer[0] ? audit_who(ROLE_PEER, peer, who) : "router", "alarm",
		json_pack("{s:o}", "error", audit_text(e->note.text)));
	log_warn("control: ALARM: %s%s%s%s", peer[0] ? "peer " : "", peer, peer[0] ? ": " : "", e->note.text);
}

/* ---- as JSON ---- */

const char *
wall_text(int64_t wall_ms, char text[WALL_TEXT])
{
	time_t at = (time_t)(wall_ms > 0 ? wall_ms / 1000 : 0);
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(text, WALL_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + strlen(text), WALL_TEXT - strlen(text), ".%03dZ",
		wall_ms > 0 ? (int)(wall_ms % 1000) : 0);
	return text;
}

static void
set_vm(struct core *c, json_t *v, const struct event *e)
{
	struct vm_state s = {0};

	memcpy(&s, &e->vm, offsetof(struct vm_state, drain));
	memcpy(&s, &e->vm, vm_size(&s));
	json_object_set_new(v, "vm", vm_shown(c, &s));
	if (e->kind == EVENT_VM_MOVED)
		json_object_set_new(v, "from", json_string(router_name(c, e->from)));
}

static void
set_drain(struct core *c, json_t *v, const struct event *e)
{
	const struct fwd_drain *d = &e->drain.drain;
	char mac[MAC_TEXT], a[IP4_TEXT], b[IP4_TEXT];

	json_object_set_new(v, "drain",
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "segment",
			segment_at(c, e->drain.vm.segment)->name, "mac", mac_format(&e->drain.vm.mac, mac),
			"private", ip4_format(d->private_ip, a), "global", ip4_format(d->global_ip, b),
			"router", router_name(c, d->home), "epoch", (json_int_t)e->drain.epoch));
}

static void
set_note(json_t *v, const struct event *e, const char *who)
{
	if (e->note.name[0])
		json_object_set_new(v, who, json_string(e->note.name));
	if (e->note.term)
		json_object_set_new(v, "term", json_integer((json_int_t)e->note.term));
	if (e->note.text[0])
		json_object_set_new(v, "text", json_string(e->note.text));
}

static void
set_data(struct core *c, json_t *v, const struct event *e)
{
	switch (kinds[e->kind].class) {
	case EVENTS_VM:
		set_vm(c, v, e);
		break;
	case EVENTS_DRAIN:
		set_drain(c, v, e);
		break;
	case EVENTS_MOVE:
		json_object_set_new(v, "move", move_event_json(c, &e->move));
		break;
	case EVENTS_ROUTE:
		json_object_set_new(v, "route", kind_write(&kind_route, &e->route));
		break;
	case EVENTS_CONTROLLER:
		set_note(v, e, "controller");
		break;
	case EVENTS_PEER:
	case EVENTS_ALARM:
	case EVENTS_STORE:
		set_note(v, e, "peer");
		break;
	}
}

static json_t *
event_json(struct core *c, const struct event *e)
{
	char time[WALL_TEXT];
	json_t *v = json_pack("{s:I, s:s, s:s, s:s}", "number", (json_int_t)e->number, "time",
		wall_text(e->wall_ms, time), "class", words_event_class[kinds[e->kind].class], "kind",
		kinds[e->kind].name);

	if (e->revision)
		json_object_set_new(v, "revision", json_integer((json_int_t)e->revision));
	set_data(c, v, e);
	return v;
}

/* ---- cursors: which process, and the number of the last event ---- */

static json_t *
cursor_json(const struct core *c, uint64_t number)
{
	char text[48];

	snprintf(text, sizeof(text), "%" PRIx64 "-%" PRIu64, c->instance, number);
	return json_string(text);
}

/* Where a subscription begins; why there is a gap before it, or NULL. */
static const char *
find_cursor(struct core *c, const char *text, uint64_t *number)
{
	uint64_t instance, n;
	char end;

	*number = c->n_events;
	if (text[0] == '\0')
		return NULL;
	if (sscanf(text, "%" SCNx64 "-%" SCNu64 "%c", &instance, &n, &end) != 2)
		return "the cursor is none of a router's";
	if (instance != c->instance)
		return "the router has started anew since";
	if (n > c->n_events)
		return "the cursor is of an event still to come";
	if (n + 1 < first_kept(c))
		return "what came next is not kept any more";
	*number = n;
	return NULL;
}

/* ---- subscriptions ---- */

static void
tell(struct session *s, json_t *events, const char *resync)
{
	json_t *v = json_pack("{s:o, s:o, s:s*}", "events", events, "cursor",
		cursor_json(s->core, s->events.next - 1), "resync", resync);

	s->events.told = s->events.next;
	rpc_notify(s->rpc, "event", v);
}

/* Up to a batch; the subscription's place is behind what was looked at. */
static json_t *
take_batch(struct session *s)
{
	struct core *c = s->core;
	struct subscription *sub = &s->events;
	json_t *events = json_array();

	for (; sub->next <= c->n_events && json_array_size(events) < BATCH; sub->next++) {
		const struct event *e = *place(c, sub->next);

		if (sub->classes & 1u << kinds[e->kind].class)
			json_array_append_new(events, event_json(c, e));
	}
	return events;
}

void
events_send(struct session *s)
{
	struct core *c = s->core;
	struct subscription *sub = &s->events;
	json_t *events;

	if (!sub->on || !channel_idle(s->channel))
		return;
	if (sub->next < first_kept(c)) {
		sub->next = c->n_events + 1;
		tell(s, json_array(), "events came faster than they were read");
		return;
	}
	events = take_batch(s);
	if (json_array_size(events) > 0 || sub->next - sub->told >= CURSOR_EVERY)
		tell(s, events, NULL);
	else
		json_decref(events);
}

static void
send_all(void *arg)
{
	struct core *c = arg;
	struct session *s;

	c->events_due = false;
	DL_FOREACH(c->sessions, s)
	events_send(s);
}

static unsigned int
classes_of(const struct events_params *p)
{
	unsigned int classes = p->classes.n > 0 ? 0 : ~0u;

	for (size_t i = 0; i < p->classes.n; i++)
		classes |= 1u << list_at(p->classes, const struct event_choice, i)->class;
	return classes;
}

void
events_call(struct session *s, struct rpc_request *r, const void *params)
{
	const struct events_params *p = params;
	struct core *c = s->core;
	uint64_t number;
	const char *why = find_cursor(c, p->after, &number);

	s->events = (struct subscription){true, classes_of(p), number + 1, number + 1};
	rpc_reply(r, json_pack("{s:o, s:s*}", "cursor", cursor_json(c, number), "resync", why));
	c->events_due = true;
	timer_set(c, c->events_timer, 0);
}

/* ---- start and stop ---- */

void
events_init(struct core *c)
{
	c->ring = zalloc(EVENTS_KEPT * sizeof(*c->ring));
	c->events_timer = timer_new(c, send_all, c);
}

void
events_fini(struct core *c)
{
	for (uint64_t i = first_kept(c); i <= c->n_events; i++)
		free(*place(c, i));
	free(c->ring);
	c->env->ops->timer_free(c->events_timer);
}
