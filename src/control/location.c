/* SPDX-License-Identifier: BSD-3-Clause */
/* location.c - where our VMs stand: announcing those that came, and what the data plane tells. */
#include "state.h"

#include <common/log.h>

static const uint16_t probe_at[PROBES] = {0, 50, 200, 500}; /* ms after the move, until the VM is heard */

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
	DL_DELETE2(c->probing[o->probe], o, probe_prev, probe_next);
}

static void
probes_schedule(struct core *c)
{
	uint64_t now = now_ms(c), due, next = UINT64_MAX;

	for (unsigned int i = 0; i < PROBES; i++) {
		if (!c->probing[i])
			continue;
		due = c->probing[i]->probe_since + probe_at[i];
		if (due < next)
			next = due;
	}
	if (next != UINT64_MAX)
		timer_set(c, c->probe_timer, next > now ? next - now : 0);
}

static bool
probe_is_due(const struct vm_obj *o, uint64_t now)
{
	return o->probe < PROBES && o->probe_since + probe_at[o->probe] <= now;
}

/* Sends what is due of one VM, which is in no list, and puts it to those that wait for the same probe. */
static void
probe_go_on(struct core *c, struct vm_obj *o, uint64_t now)
{
	for (; probe_is_due(o, now); o->probe++)
		probe_send(c, o);
	o->probing = o->probe < PROBES;
	if (o->probing)
		DL_APPEND2(c->probing[o->probe], o, probe_prev, probe_next);
}

/* The later probes first: who waits for one came before all who wait for an earlier one, so each list stays in order. */
static void
probes_tick(void *arg)
{
	struct core *c = arg;
	uint64_t now = now_ms(c);
	struct vm_obj *o;

	for (unsigned int i = PROBES; i-- > 0;)
		while ((o = c->probing[i]) != NULL && probe_is_due(o, now)) {
			probe_stop(c, o);
			probe_go_on(c, o, now);
		}
	probes_schedule(c);
}

static void
probe_start(struct core *c, struct vm_obj *o)
{
	probe_stop(c, o);
	o->probe = 0;
	o->probe_since = now_ms(c);
	probe_go_on(c, o, o->probe_since);
	if (o->probing && c->probing[o->probe] == o)
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
		if (arriving_heard(c, ev))
			break;
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
	case FWD_HOLD_OVER:
		arriving_released(c, ev);
		break;
	case FWD_EVENTS:
		break;
	}
}

void
location_init(struct core *c)
{
	c->probe_timer = timer_new(c, probes_tick, c);
}
