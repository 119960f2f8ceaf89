/* SPDX-License-Identifier: BSD-3-Clause */
/* show.c - views of the desired state. Listings go on from a cursor: the key of the last object seen. */
#include "state.h"

#define ROWS_DEFAULT 1000
#define PAGE_BYTES   700000 /* about; a message holds 1 MiB */
#define MOVES_PAGE   2000
#define SCAN_MAX     50000 /* VMs looked at for one page */

static json_t *
listing(json_t *rows, const char *next)
{
	json_t *v = json_pack("{s:o}", "rows", rows);

	if (next && next[0])
		json_object_set_new(v, "next", json_string(next));
	return v;
}

static json_t *
number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* ---- VMs and NAT: pages over the VMs in order ---- */

json_t *
vm_shown(struct core *c, const struct vm_state *s)
{
	json_t *v = vm_json(c, s);
	const struct fwd_vm *f = &s->fwd;
	char at[IP4_TEXT];

	if (f->owner == FWD_SELF && f->location == FWD_SELF && f->attachment >= 0)
		json_object_set_new(v, "port", json_string(attachment_text(c, f->attachment, at)));
	json_object_set_new(v, "revision", number(s->revision));
	return v;
}

static void
vm_rows(struct core *c, const struct vm_state *s, json_t *rows)
{
	uint8_t owner = s->fwd.owner;
	json_t *v = vm_shown(c, s);

	if (owner != FWD_SELF && c->peers[owner - 1].stale_since)
		json_object_set_new(v, "stale-ms", number(now_ms(c) - c->peers[owner - 1].stale_since));
	json_array_append_new(rows, v);
}

static void
set_traffic(json_t *v, const struct fwd_traffic *t)
{
	json_object_set_new(v, "from-packets", number(t->from_packets));
	json_object_set_new(v, "from-bytes", number(t->from_bytes));
	json_object_set_new(v, "to-packets", number(t->to_packets));
	json_object_set_new(v, "to-bytes", number(t->to_bytes));
}

static void
counter_rows(struct core *c, const struct vm_state *s, json_t *rows)
{
	const struct fwd_vm *f = &s->fwd;
	char mac[MAC_TEXT], ip[IP4_TEXT];
	struct fwd_traffic t;
	json_t *v = json_pack("{s:s, s:s, s:s, s:s}", "segment", segment_at(c, f->segment)->name, "mac",
		mac_format(&f->mac, mac), "private",
		f->n_addresses > 0 ? ip4_format(f->addresses[0].private_ip, ip) : "", "owner",
		router_name(c, f->owner));

	env_call(c->env, fwd_vm_traffic, f->segment, &f->mac, &t);
	set_traffic(v, &t);
	json_array_append_new(rows, v);
}

static json_t *
nat_row(struct core *c, const struct fwd_vm *f, ip4 private_ip, ip4 global_ip, uint8_t router)
{
	char a[IP4_TEXT], b[IP4_TEXT], mac[MAC_TEXT];

	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "global", ip4_format(global_ip, b), "private",
		ip4_format(private_ip, a), "segment", segment_at(c, f->segment)->name, "mac",
		mac_format(&f->mac, mac), "router", router_name(c, router));
}

static void
nat_rows(struct core *c, const struct vm_state *s, json_t *rows)
{
	const struct fwd_vm *f = &s->fwd;
	json_t *v;

	for (unsigned int i = 0; i < f->n_addresses; i++) {
		if (!f->addresses[i].global_ip)
			continue;
		v = nat_row(c, f, f->addresses[i].private_ip, f->addresses[i].global_ip, f->owner);
		json_object_set_new(v, "state", json_string("live"));
		json_array_append_new(rows, v);
	}
	for (unsigned int i = 0; i < f->n_drains; i++) {
		const struct drain_time *t = &s->drain[i];

		v = nat_row(c, f, f->drains[i].private_ip, f->drains[i].global_ip, f->drains[i].home);
		json_object_set_new(v, "state", json_string("draining"));
		json_object_set_new(v, "epoch", number(t->epoch));
		if (f->drains[i].home == FWD_SELF) {
			json_object_set_new(v, "left-min", number(drain_left(c, t->min_at)));
			json_object_set_new(v, "left-max", number(drain_left(c, t->max_at)));
		}
		json_array_append_new(rows, v);
	}
}

/* Is it in a listing of all that is, or of what changed since? */
static bool
is_listed(const struct vm_state *s, uint64_t since)
{
	return s && (since == UINT64_MAX ? !s->deleted : s->revision > since);
}

static json_t *
show_by_vm(struct core *c, const struct show_params *p, uint64_t since,
	void (*add)(struct core *, const struct vm_state *, json_t *))
{
	size_t n = HASH_COUNT(c->vms), i = vm_sorted(c, p->cursor),
	       stop = n - i > SCAN_MAX ? i + SCAN_MAX : n, limit = p->limit ? p->limit : ROWS_DEFAULT;
	char next[VM_KEY_TEXT] = "";
	json_t *rows = json_array();
	size_t bytes = 0;

	for (; i < stop && json_array_size(rows) < limit && bytes < PAGE_BYTES; i++) {
		const struct vm_state *s = vm_settled(c, c->sorted[i]);

		if (!is_listed(s, since))
			continue;
		add(c, s, rows);
		bytes += 200 + 200 * s->fwd.n_addresses + 300 * s->fwd.n_drains;
	}
	if (i < n && i > 0)
		vm_key_text(c, c->sorted[i - 1]->key.segment, &c->sorted[i - 1]->key.mac, next);
	return listing(rows, next);
}

static json_t *
show_vms(struct core *c, const struct show_params *p)
{
	json_t *v = show_by_vm(c, p, p->since, vm_rows);

	if (p->since < c->vms_from)
		json_object_set_new(
			v, "resync", json_string("VMs that were deleted since are not remembered"));
	return v;
}

/* ---- routes: as forwarding has them, or what changed of those of run time ---- */

static json_t *
show_routes(struct core *c, const struct show_params *p)
{
	json_t *v, *row;
	size_t i;

	if (p->since != UINT64_MAX)
		return routes_since(c, p);
	v = (json_t *)env_call(c->env, fwd_show, "routes", p->cursor, p->limit ? p->limit : ROWS_DEFAULT);
	json_array_foreach(json_object_get(v, "rows"), i, row) route_json_revision(c, row);
	return v;
}

/* The listing may be read again from this revision on. */
static json_t *
with_revision(struct core *c, json_t *v)
{
	if (v)
		json_object_set_new(v, "revision", number(c->live_revision));
	return v;
}

/* ---- moves: newest first, the cursor is how many were shown ---- */

static void
add_move(struct core *c, const struct move *m, json_t *rows)
{
	json_t *v = move_shown(c, m, true);

	if (v)
		json_array_append_new(rows, v);
}

static json_t *
show_moves(struct core *c, const struct show_params *p)
{
	size_t skip = strtoul(p->cursor, NULL, 10), i = 0;
	size_t limit = p->limit == 0 ? ROWS_DEFAULT : p->limit < MOVES_PAGE ? p->limit : MOVES_PAGE;
	struct move *m = c->moves_list ? c->moves_list->prev : NULL;
	json_t *rows = json_array();
	char next[32] = "";

	for (; m && json_array_size(rows) < limit; i++) {
		if (i >= skip)
			add_move(c, m, rows);
		m = m == c->moves_list ? NULL : m->prev;
	}
	if (m)
		snprintf(next, sizeof(next), "%zu", i);
	return listing(rows, next);
}

/* ---- segments and peers: few, in the order of the configuration ---- */

struct vm_counts { /* of those that are registered somewhere */
	json_int_t of_router[PEERS_MAX + 1], of_segment[SEGMENTS_MAX], own[SEGMENTS_MAX];
};

/* All VMs in one walk: there may be many more of them than of what is counted. */
static void
count_vms(struct core *c, struct vm_counts *n)
{
	memset(n, 0, sizeof(*n));
	for (const struct vm_obj *o = c->vms; o; o = o->hh.next) {
		if (!vm_live(o))
			continue;
		n->of_router[o->now.fwd.owner]++;
		n->of_segment[o->key.segment]++;
		n->own[o->key.segment] += o->now.fwd.owner == FWD_SELF;
	}
}

static json_t *
attachment_row(const struct conf_attachment *a)
{
	char vtep[IP4_TEXT];

	return a->vtep != 0 ? json_pack("{s:s}", "vtep", ip4_format(a->vtep, vtep))
			    : json_pack("{s:s, s:I}", "port", a->port, "vlan", (json_int_t)a->vlan);
}

static json_t *
segment_row(struct core *c, uint16_t i, const struct vm_counts *vms)
{
	const struct conf_segment *s = segment_at(c, i);
	char prefix[PREFIX4_TEXT], gateway[IP4_TEXT], mac[MAC_TEXT];
	json_t *attachments = json_array(), *v;
	struct fwd_segment f;

	for (size_t j = 0; j < s->attachments.n; j++) {
		const struct conf_attachment *a = list_at(s->attachments, const struct conf_attachment, j);

		json_array_append_new(attachments, attachment_row(a));
	}
	v = json_pack("{s:s, s:I, s:s, s:s, s:{s:s, s:s, s:s}, s:I, s:s, s:s, s:o, s:I, s:I}", "name",
		s->name, "vni", (json_int_t)s->vni, "prefix", prefix4_format(&s->prefix, prefix), "vrf",
		s->vrf, "gateway", "address", ip4_format(s->gateway.address, gateway), "mac",
		mac_format(&s->gateway.mac, mac), "mode",
		s->gateway.mode == GATEWAY_SHARED ? "shared" : "per-site", "mtu", (json_int_t)s->mtu,
		"access", s->access == ACCESS_NAT ? "nat" : "routed", "extension",
		s->extension == EXTENSION_NEARWAY ? "nearway" : "external", "attachments", attachments, "vms",
		vms->of_segment[i], "own-vms", vms->own[i]);
	env_call(c->env, fwd_segment, i, &f);
	set_traffic(v, &f.traffic);
	json_object_set_new(v, "macs", number(f.macs));
	json_object_set_new(v, "macs-moved", number(f.macs_moved));
	json_object_set_new(v, "macs-refused", number(f.macs_refused));
	return v;
}

static json_t *
show_segments(struct core *c)
{
	json_t *rows = json_array();
	struct vm_counts vms;

	count_vms(c, &vms);
	for (size_t i = 0; i < c->conf->segments.n; i++)
		json_array_append_new(rows, segment_row(c, (uint16_t)i, &vms));
	return listing(rows, NULL);
}

static json_t *
peer_row(struct core *c, const struct peer *p, const struct vm_counts *vms)
{
	static const char *const state[] = {"away", "dialling", "syncing", "synced"};
	char vtep[IP4_TEXT], mac[MAC_TEXT];
	json_t *v;

	v = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
		p->conf->name, "address", p->conf->address, "vtep", ip4_format(p->conf->vtep, vtep), "mac",
		mac_format(&p->conf->mac, mac), "state", state[p->state], "stale", p->stale_since != 0,
		"since-ms", (json_int_t)(now_ms(c) - (p->since_ms ? p->since_ms : c->started_ms)), "agrees",
		p->agrees, "agrees-ms", (json_int_t)(now_ms(c) - p->agrees_since), "differing",
		(json_int_t)p->differing, "vms", vms->of_router[p->index], "accepted",
		(json_int_t)p->accepted, "refused", (json_int_t)p->refused, "unacknowledged",
		(json_int_t)p->unacked);
	json_object_set_new(v, "mtu", number(p->mtu));
	json_object_set_new(v, "sessions-noted", number(p->sessions.noted));
	json_object_set_new(v, "sessions-known", number(p->sessions.known));
	json_object_set_new(v, "sessions-no-room", number(p->sessions.no_room));
	json_object_set_new(v, "sessions-refused", number(p->sessions_refused));
	return v;
}

static json_t *
show_peers(struct core *c)
{
	json_t *rows = json_array();
	struct vm_counts vms;

	count_vms(c, &vms);
	for (size_t i = 0; i < c->n_peers; i++)
		if (!c->peers[i].conf->removed)
			json_array_append_new(rows, peer_row(c, &c->peers[i], &vms));
	return listing(rows, NULL);
}

static json_t *
show_controllers(struct core *c)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < c->n_clients; i++)
		json_array_append_new(rows, client_json(c, &c->clients[i]));
	return listing(rows, NULL);
}

/* ---- status ---- */

static json_t *
count_moves(struct core *c, enum move_state state)
{
	struct move *m;
	json_int_t n = 0;

	DL_FOREACH(c->moves_list, m)
	n += m->now.state == state;
	return json_integer(n);
}

static json_t *
show_status(struct core *c)
{
	char hash[CHAIN_HASH_TEXT];
	struct vm_counts vms;
	json_t *v, *fwd;

	count_vms(c, &vms);
	v = json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I}}", "name",
		c->conf->router.name, "site", c->conf->router.site, "version", NEARWAY_VERSION, "uptime-ms",
		(json_int_t)(now_ms(c) - c->started_ms), "revision", (json_int_t)c->live_revision, "ready",
		c->ready == NULL, "vms", (json_int_t)c->n_live, "own-vms", vms.of_router[FWD_SELF],
		"tombstones", (json_int_t)c->n_tombstones, "evidence", "seen",
		(json_int_t)(c->events[FWD_VM_SEEN] + c->events[FWD_VM_HEARD]), "ignored",
		(json_int_t)c->events_ignored, "gateway-conflicts", (json_int_t)c->events[FWD_GW_CONFLICT],
		"loops", (json_int_t)c->events[FWD_LOOP]);
	fwd = (json_t *)env_call(c->env, fwd_show, "status", "", 0);

	json_object_set_new(v, "moves-prepared", count_moves(c, MOVE_PREPARED));
	json_object_set_new(v, "moves-paused", count_moves(c, MOVE_PAUSED));
	json_object_set_new(v, "moves-draining", count_moves(c, MOVE_DRAINING));
	json_object_set_new(v, "store", storage_json(c));
	json_object_set_new(v, "strangers",
		json_pack("{s:I, s:I}", "refused", (json_int_t)c->strangers, "turned-away",
			(json_int_t)c->gate.refused));
	json_object_set_new(v, "log",
		json_pack("{s:I, s:s}", "last", (json_int_t)c->audit.stored.number, "hash",
			chain_hash_text(c->audit.stored.hash, hash)));
	if (c->term.number > 0)
		json_object_set_new(v, "term",
			json_pack("{s:I, s:s}", "number", (json_int_t)c->term.number, "controller",
				c->term.name));
	if (fwd) {
		json_object_update(v, fwd);
		json_decref(fwd);
	}
	return v;
}

json_t *
show(struct core *c, const char *what, const struct show_params *p)
{
	if (strcmp(what, "status") == 0)
		return show_status(c);
	if (strcmp(what, "vms") == 0)
		return with_revision(c, show_vms(c, p));
	if (strcmp(what, "counters") == 0)
		return show_by_vm(c, p, UINT64_MAX, counter_rows);
	if (strcmp(what, "nat") == 0)
		return show_by_vm(c, p, UINT64_MAX, nat_rows);
	if (strcmp(what, "routes") == 0)
		return with_revision(c, show_routes(c, p));
	if (strcmp(what, "moves") == 0)
		return show_moves(c, p);
	if (strcmp(what, "move-times") == 0)
		return move_times_shown(c);
	if (strcmp(what, "segments") == 0)
		return show_segments(c);
	if (strcmp(what, "peers") == 0)
		return show_peers(c);
	if (strcmp(what, "controllers") == 0)
		return show_controllers(c);
	return (json_t *)env_call(c->env, fwd_show, what, p->cursor, p->limit ? p->limit : ROWS_DEFAULT);
}
