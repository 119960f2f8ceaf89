/* SPDX-License-Identifier: BSD-3-Clause */
/* news.c - what the peers are told unasked: VMs of ours that changed, drains of ours that are over. */
#include "sync.h"

#define UPDATE_VMS  200
#define DONE_DRAINS 1000
#define UNACKED_MAX 32 /* updates on their way to one peer; above it they are left out, and it asks again */

/* For the record of moves: their old router has taken them. */
static void
note_told(const struct reply_to *r)
{
	const json_t *v;
	size_t i;

	json_array_foreach(r->answer, i, v) move_told(r->core, r->peer, v);
}

static void
acked(void *arg, int code, json_t *v)
{
	struct reply_to *r = arg;
	struct peer *p = &r->core->peers[r->peer - 1];
	bool mine = p->session && p->up_serial == r->serial;

	(void)v;
	if (code == 0)
		note_told(r);
	json_decref(r->answer);
	free(r);
	if (!mine)
		return;
	p->unacked--;
	if (code != 0 && !p->exchange) /* a drain of ours that it could not end: its digest will differ */
		peer_exchanged(p, false);
	if (p->unacked > 0 || !p->lagging)
		return;
	p->lagging = false;
	rpc_notify(p->session->rpc, "sync.again", json_object());
	sync_start(p);
}

/* What of a list is about segments that the peer has. New reference. */
static json_t *
shared_part(const struct peer *p, json_t *list)
{
	json_t *part, *v;
	size_t i;

	if (p->shares_all)
		return json_incref(list);
	part = json_array();
	json_array_foreach(list, i, v)
	{
		int segment = segment_index(p->core, json_string_value(json_object_get(v, "segment")));

		if (segment >= 0 && p->shared[segment])
			json_array_append(part, v);
	}
	return part;
}

static void
tell(struct peer *p, const char *method, const char *what, json_t *list)
{
	struct reply_to *r;

	if (!p->session || json_array_size(list) == 0)
		return;
	if (p->unacked >= UNACKED_MAX) {
		p->lagging = true;
		return;
	}
	r = reply_new(p, p->up_serial);
	r->answer = strcmp(what, "vms") == 0 ? json_incref(list) : NULL;
	if (rpc_call(p->session->rpc, method, json_pack("{s:O}", what, list), acked, r) == 0) {
		p->unacked++;
		return;
	}
	json_decref(r->answer);
	free(r);
}

static void
tell_all(struct core *c, const char *method, const char *what, json_t **list)
{
	for (size_t i = 0; i < c->n_peers && *list; i++) {
		json_t *part = shared_part(&c->peers[i], *list);

		tell(&c->peers[i], method, what, part);
		json_decref(part);
	}
	json_decref(*list);
	*list = NULL;
}

static bool
anyone_listens(const struct core *c)
{
	for (size_t i = 0; i < c->n_peers; i++)
		if (c->peers[i].session)
			return true;
	return false;
}

void
sync_changed(struct core *c, const struct vm_state *s)
{
	if (!anyone_listens(c))
		return;
	if (!c->news_vms)
		c->news_vms = json_array();
	json_array_append_new(c->news_vms, vm_json(c, s));
	if (json_array_size(c->news_vms) >= UPDATE_VMS)
		sync_flush(c);
}

void
sync_drain_done(struct core *c, const struct vm_state *s, ip4 global_ip, uint64_t epoch)
{
	struct vm_key key = {s->fwd.segment, s->fwd.mac};
	const struct move *m = move_find(c, &key, epoch);
	char mac[MAC_TEXT], ip[IP4_TEXT];

	if (!c->news_drains)
		c->news_drains = json_array();
	json_array_append_new(c->news_drains,
		json_pack("{s:s, s:s, s:s, s:I, s:s}", "segment", segment_at(c, s->fwd.segment)->name, "mac",
			mac_format(&s->fwd.mac, mac), "global", ip4_format(global_ip, ip), "epoch",
			(json_int_t)epoch, "why", m ? m->now.reason : ""));
	if (json_array_size(c->news_drains) >= DONE_DRAINS)
		sync_flush(c);
}

/* Drains first: an address that is free again may already belong to one of the VMs. */
void
sync_flush(struct core *c)
{
	tell_all(c, "sync.done", "drains", &c->news_drains);
	tell_all(c, "sync.update", "vms", &c->news_vms);
	arriving_flush(c);
}
