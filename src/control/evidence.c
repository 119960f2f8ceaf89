/* SPDX-License-Identifier: BSD-3-Clause */
/* evidence.c - a VM of ours was heard: does that move its location, now, later, or not at all?
 *
 *   the VM is          heard at our own attachment     heard through the tunnel
 *   searched for       at once                         SEARCH_MS after the search began: a frame that was on its way when
 *                                                      the VM came says nothing
 *   at a peer          at once                         SEEN_MS after it last moved
 *   at an attachment   SEEN_MS after it last moved     SEEN_MS after it last moved
 *
 * What comes too early is kept, the newest of it, until its time comes: it may be the only frame of a silent VM.
 */
#include "state.h"

#define SEEN_MS	  1000
#define SEARCH_MS 500
#define TICK_MS	  50  /* kept evidence is looked at so often */
#define FLIGHT_MS 200 /* what was on its way when the VM left still comes from there */

struct seen_txn {
	struct txn txn;
	struct vm_key vm;
	uint8_t location;
	int16_t attachment;
};

static bool
is_ours(const struct vm_obj *o)
{
	return vm_live(o) && o->now.fwd.owner == FWD_SELF;
}

static uint64_t
due_at(const struct vm_obj *o, uint8_t location)
{
	const struct fwd_vm *f = &o->now.fwd;
	bool searching = f->location == FWD_SELF && f->attachment == ATTACHMENT_ANY;

	if (location == FWD_SELF && (searching || f->location != FWD_SELF))
		return 0;
	return searching ? o->probe_since + SEARCH_MS : o->seen_at + SEEN_MS;
}

void
evidence_forget(struct core *c, struct vm_obj *o)
{
	if (!o->hint.kept)
		return;
	o->hint.kept = false;
	DL_DELETE2(c->hinted, o, hint_prev, hint_next);
}

static void
keep(struct core *c, struct vm_obj *o, uint8_t location, int16_t attachment)
{
	evidence_forget(c, o);
	if (!c->hinted)
		timer_set(c, c->hint_timer, TICK_MS);
	o->hint.kept = true;
	o->hint.epoch = o->now.epoch;
	o->hint.location = location;
	o->hint.attachment = attachment;
	DL_APPEND2(c->hinted, o, hint_prev, hint_next);
}

static int
seen_apply(struct core *c, struct txn *t)
{
	struct seen_txn *x = (struct seen_txn *)t;
	struct vm_obj *o = vm_find(c, x->vm.segment, &x->vm.mac);
	struct vm_state s;

	if (!is_ours(o))
		return 0;
	s = o->now;
	s.fwd.location = x->location;
	s.fwd.attachment = x->attachment;
	vm_set(c, &s);
	return 0;
}

static void
seen_done(struct core *c, struct txn *t, int code)
{
	struct seen_txn *x = (struct seen_txn *)t;
	struct vm_obj *o = vm_find(c, x->vm.segment, &x->vm.mac);

	if (o)
		o->waits = false;
	if (o && code == 0)
		o->seen_at = now_ms(c);
	fail_clear(&t->fail);
	free(x);
}

static void
move_location(struct core *c, struct vm_obj *o, uint8_t location, int16_t attachment)
{
	struct seen_txn *x = zalloc(sizeof(*x));

	evidence_forget(c, o);
	o->left = o->now.fwd.location;
	o->left_attachment = o->now.fwd.attachment;
	x->txn.apply = seen_apply;
	x->txn.done = seen_done;
	x->vm = o->key;
	x->location = location;
	x->attachment = attachment;
	o->waits = true;
	txn_submit(c, &x->txn);
}

static bool
is_there(const struct vm_obj *o, uint8_t location, int16_t attachment)
{
	return o->now.fwd.location == location && o->now.fwd.attachment == attachment;
}

bool
evidence_of_two(struct core *c, const struct fwd_event *ev)
{
	struct vm_obj *o = vm_find(c, ev->segment, &ev->mac);
	uint64_t since = is_ours(o) ? now_ms(c) - o->seen_at : 0;

	return is_ours(o) && o->seen_at != 0 && since > FLIGHT_MS && since < SEEN_MS &&
	       ev->location == o->left &&
	       (ev->location != FWD_SELF ||
		       (o->left_attachment >= 0 && ev->attachment == o->left_attachment)) &&
	       !is_there(o, ev->location, ev->location == FWD_SELF ? ev->attachment : ATTACHMENT_ANY);
}

void
evidence_seen(struct core *c, const struct fwd_event *ev)
{
	int16_t attachment = ev->location == FWD_SELF ? ev->attachment : ATTACHMENT_ANY;
	struct vm_obj *o = vm_find(c, ev->segment, &ev->mac);

	if (!is_ours(o)) {
		c->events_ignored++;
	} else if (o->waits ||
		   (!is_there(o, ev->location, attachment) && now_ms(c) < due_at(o, ev->location))) {
		c->events_ignored++;
		keep(c, o, ev->location, attachment);
	} else if (is_there(o, ev->location, attachment)) {
		evidence_forget(c, o);
	} else {
		move_location(c, o, ev->location, attachment);
	}
}

/* ---- a link went down ---- */

struct lost_txn {
	struct txn txn;
	uint16_t port;
};

/* By index: is the attachment a VLAN of this port? Attachments are counted across segments. */
static bool *
attachments_of(struct core *c, uint16_t port)
{
	const char *name = list_at(c->conf->ports, const struct conf_port, port)->name;
	size_t n = 0, i = 0;
	bool *of;

	for (size_t s = 0; s < c->conf->segments.n; s++)
		n += segment_at(c, (uint16_t)s)->attachments.n;
	of = zalloc(n + 1);
	for (size_t s = 0; s < c->conf->segments.n; s++) {
		const struct list *l = &segment_at(c, (uint16_t)s)->attachments;

		for (size_t k = 0; k < l->n; k++)
			of[i++] = strcmp(list_at(*l, const struct conf_attachment, k)->port, name) == 0;
	}
	return of;
}

static int
lost_apply(struct core *c, struct txn *t)
{
	bool *lost = attachments_of(c, ((struct lost_txn *)t)->port);
	struct vm_obj *o;
	struct vm_state s;

	for (o = c->vms; o; o = o->hh.next) {
		const struct fwd_vm *f = &o->now.fwd;

		if (!is_ours(o) || f->location != FWD_SELF || f->attachment < 0 || !lost[f->attachment])
			continue;
		s = o->now;
		s.fwd.attachment = ATTACHMENT_ANY;
		vm_set(c, &s);
	}
	free(lost);
	return 0;
}

static void
lost_done(struct core *c, struct txn *t, int code)
{
	(void)c;
	(void)code;
	fail_clear(&t->fail);
	free(t);
}

void
evidence_link_down(struct core *c, uint16_t port)
{
	struct lost_txn *x;

	if (port >= c->conf->ports.n)
		return;
	x = zalloc(sizeof(*x));
	x->txn.apply = lost_apply;
	x->txn.done = lost_done;
	x->port = port;
	txn_submit(c, &x->txn);
}

/* ---- kept evidence ---- */

static void
use_kept(struct core *c, struct vm_obj *o)
{
	struct hint h = o->hint;

	if (!is_ours(o) || o->now.epoch != h.epoch || (!o->waits && is_there(o, h.location, h.attachment)))
		evidence_forget(c, o);
	else if (!o->waits && now_ms(c) >= due_at(o, h.location))
		move_location(c, o, h.location, h.attachment);
}

static void
tick(void *arg)
{
	struct core *c = arg;
	struct vm_obj *o, *next;

	DL_FOREACH_SAFE2(c->hinted, o, next, hint_next)
	use_kept(c, o);
	if (c->hinted)
		timer_set(c, c->hint_timer, TICK_MS);
}

void
evidence_init(struct core *c)
{
	c->hint_timer = timer_new(c, tick, c);
}

void
evidence_fini(struct core *c)
{
	c->env->ops->timer_free(c->hint_timer);
}
