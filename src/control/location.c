/* SPDX-License-Identifier: BSD-3-Clause */
/* location.c - where our VMs stand: announcing those that came, and what the data plane tells. */
#include "state.h"

#include <common/log.h>

static const uint16_t probe_at[] = {0, 50, 200, 500}; /* ms after the move, until the VM is heard */
#define PROBES (sizeof(probe_at) / sizeof(probe_at[0]))

/* ---- announcing ---- */

static void
probe_send(struct core *c, const struct vm_obj *o)
{
	const struct fwd_vm *f = &o->now.fwd;

	for (unsigned int i = 0; i < f->n_addresses; i++)
		env_call(
			c->env, fwd_announce, FWD_ARP_PROBE, f->segment, &f->mac, f->addresses[i].private_ip);
}

static void
probe_stop(struct core *c, struct vm_obj *o)
{
	if (!o->probing)
		return;
	o->probing = false;
	DL_DELETE2(c->probing, o, probe_prev, probe_next);
}

static void
probes_schedule(struct core *c)
{
	uint64_t now = now_ms(c), due, next = UINT64_MAX;
	struct vm_obj *o;

	DL_FOREACH2(c->probing, o, probe_next)
	{
		due = o->probe_since + probe_at[o->probe];
		if (due < next)
			next = due;
	}
	if (next != UINT64_MAX)
		timer_set(c, c->probe_timer, next > now ? next - now : 0);
}

/* Sends what is due of one VM; false when it was the last. */
static bool
probe_due(struct core *c, struct vm_obj *o, uint64_t now)
{
	while (o->probe < PROBES && o->probe_since + probe_at[o->probe] <= now) {
		probe_send(c, o);
		o->probe++;
	}
	return o->probe < PROBES;
}

static void
probes_tick(void *arg)
{
	struct core *c = arg;
	uint64_t now = now_ms(c);
	struct vm_obj *o, *next;

	DL_FOREACH_SAFE2(c->probing, o, next, probe_next)
	if (!probe_due(c, o, now))
		probe_stop(c, o);
	probes_schedule(c);
}

static void
probe_start(struct core *c, struct vm_obj *o)
{
	bool first = c->probing == NULL;

	probe_stop(c, o);
	o->probe = 0;
	o->probe_since = now_ms(c);
	if (!probe_due(c, o, o->probe_since))
		return;
	o->probing = true;
	DL_APPEND2(c->probing, o, probe_prev, probe_next);
	if (first)
		probes_schedule(c);
}

static bool
is_external(struct core *c, uint16_t segment)
{
	return segment_at(c, segment)->extension == EXTENSION_EXTERNAL;
}

/* Heard for the first time since it came. */
static bool
was_sought(const struct vm_state *old, const struct vm_state *now)
{
	return !old || old->deleted || old->epoch != now->epoch || old->fwd.owner != FWD_SELF ||
	       old->fwd.location != FWD_SELF || old->fwd.attachment == ATTACHMENT_ANY;
}

void
location_changed(struct core *c, struct vm_obj *o, const struct vm_state *old)
{
	const struct vm_state *now = &o->now;
	bool was_mine = old && !old->deleted && old->fwd.owner == FWD_SELF;
	bool is_mine = !now->deleted && now->fwd.owner == FWD_SELF;

	if (is_mine && now->fwd.location == FWD_SELF && now->fwd.attachment == ATTACHMENT_ANY) {
		if (!was_mine || old->epoch != now->epoch || old->fwd.attachment != ATTACHMENT_ANY)
			probe_start(c, o);
		return;
	}
	probe_stop(c, o);
	if (is_mine && now->fwd.location == FWD_SELF && was_sought(old, now) &&
		segment_at(c, now->fwd.segment)->gateway.mode == GATEWAY_PER_SITE)
		env_call(c->env, fwd_announce, FWD_GARP, now->fwd.segment, &now->fwd.mac, 0);
	if (was_mine && !is_mine && !now->deleted && !is_external(c, now->fwd.segment))
		/* our switches learn that the VM is behind us now; one stretched by others knows better */
		env_call(c->env, fwd_announce, FWD_RARP, now->fwd.segment, &now->fwd.mac, 0);
}

/* ---- events ---- */

/* One line a second for each kind; the counters have all. */
static void
alarm_line(struct core *c, const struct fwd_event *ev, const char *what)
{
	uint64_t now = now_ms(c), *at = &c->alarm_at[ev->kind];
	char mac[MAC_TEXT], ip[IP4_TEXT], vtep[IP4_TEXT];

	if (*at && now < *at)
		return;
	*at = now + 1000;
	event_alarm(c, "", "%s: segment %s, MAC %s, address %s, on %s %s", what,
		segment_at(c, ev->segment)->name, mac_format(&ev->mac, mac), ip4_format(ev->ip, ip),
		ev->location == FWD_SELF ? "port" : "the tunnel from",
		ev->location == FWD_SELF ? attachment_text(c, ev->attachment, vtep)
					 : router_name(c, ev->location));
}

void
location_event(struct core *c, const struct fwd_event *ev)
{
	if (ev->segment >= c->conf->segments.n || ev->location > c->conf->peers.n)
		return;
	c->events[ev->kind]++;
	switch (ev->kind) {
	case FWD_VM_SEEN:
	case FWD_VM_HEARD:
		if (evidence_of_two(c, ev))
			alarm_line(c, ev, "a VM still speaks where it was");
		evidence_seen(c, ev);
		break;
	case FWD_GW_CONFLICT:
		alarm_line(c, ev, "somebody outside the group claims the gateway address");
		break;
	case FWD_LOOP:
		alarm_line(c, ev,
			"a router of the group is heard at an attachment: the segment is bridged twice");
		break;
	case FWD_LINK_DOWN:
		evidence_link_down(c, ev->port);
		break;
	}
}

void
location_init(struct core *c)
{
	c->probe_timer = timer_new(c, probes_tick, c);
}
