/* SPDX-License-Identifier: BSD-3-Clause */
/* news.c - what the peers are told unasked: VMs of ours that changed, drains of ours that are over. */
#include "sync.h"

#define UNACKED_MAX 32 /* updates on their way to one peer; above it they are left out, and it asks again */

static const struct {
	const char *method, *what;
	size_t max; /* in one message */
} kinds[NEWS_KINDS] = {
	[NEWS_DRAINS] = {"sync.done", "drains", 1000},
	[NEWS_VMS] = {"sync.update", "vms", 200},
};

struct told_vm {
	struct vm_key vm;
	uint64_t epoch;
};

/* For the record of moves: their old router has taken them. */
static void
note_told(const struct reply_to *r)
{
	const struct told_vm *t = (const struct told_vm *)buf_head(&r->told);

	for (size_t i = 0; i < buf_len(&r->told) / sizeof(*t); i++)
		move_told(r->core, r->peer, &t[i].vm, t[i].epoch);
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
	buf_fini(&r->told);
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

static void
tell(struct peer *p, const char *method, const char *what, struct news *news)
{
	struct reply_to *r = reply_new(p, p->up_serial);
	struct buf params;

	buf_init(&params, 0);
	text_add(&params, "{\"%s\":[", what);
	text_add_text(&params, &news->items);
	text_add(&params, "]}");
	r->told = news->told;
	buf_init(&news->told, 0);
	if (rpc_call_text(p->session->rpc, method, &params, acked, r) == 0) {
		p->unacked++;
	} else {
		buf_fini(&r->told);
		free(r);
	}
	buf_fini(&params);
}

static void
tell_news(struct peer *p, enum news_kind kind)
{
	struct news *n = &p->news[kind];

	if (n->n == 0)
		return;
	if (p->session && p->unacked < UNACKED_MAX)
		tell(p, kinds[kind].method, kinds[kind].what, n);
	else if (p->session)
		p->lagging = true;
	buf_consume(&n->items, buf_len(&n->items));
	buf_consume(&n->told, buf_len(&n->told));
	n->n = 0;
}

/* For all peers that are there and have the segment. */
static void
add(struct core *c, enum news_kind kind, const struct vm_state *s, struct buf *item)
{
	const struct told_vm t = {{s->fwd.segment, s->fwd.mac}, s->epoch};
	bool full = false;

	for (size_t i = 0; i < c->n_peers; i++) {
		struct peer *p = &c->peers[i];
		struct news *n = &p->news[kind];

		if (!p->session || !p->shared[s->fwd.segment])
			continue;
		if (n->n++ > 0)
			text_add(&n->items, ",");
		text_add_text(&n->items, item);
		if (kind == NEWS_VMS)
			text_add_bytes(&n->told, &t, sizeof(t));
		full |= n->n >= kinds[kind].max;
	}
	buf_fini(item);
	if (full)
		sync_flush(c);
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
	struct buf item;

	if (!anyone_listens(c))
		return;
	buf_init(&item, 0);
	vm_print(c, s, &item);
	add(c, NEWS_VMS, s, &item);
}

void
sync_drain_done(struct core *c, const struct vm_state *s, ip4 global_ip, uint64_t epoch)
{
	struct vm_key key = {s->fwd.segment, s->fwd.mac};
	const struct move *m = move_find(c, &key, epoch);
	char mac[MAC_TEXT], ip[IP4_TEXT];
	struct buf item;

	buf_init(&item, 0);
	text_add(&item,
		"{\"segment\":\"%s\",\"mac\":\"%s\",\"global\":\"%s\",\"epoch\":%" PRIu64 ",\"why\":\"%s\"}",
		segment_at(c, s->fwd.segment)->name, mac_format(&s->fwd.mac, mac), ip4_format(global_ip, ip),
		epoch, m ? m->now.reason : "");
	add(c, NEWS_DRAINS, s, &item);
}

void
sync_flush(struct core *c)
{
	for (enum news_kind kind = 0; kind < NEWS_KINDS; kind++)
		for (size_t i = 0; i < c->n_peers; i++)
			tell_news(&c->peers[i], kind);
	arriving_flush(c);
}

void
news_fini(struct peer *p)
{
	for (enum news_kind kind = 0; kind < NEWS_KINDS; kind++)
		buf_fini(&p->news[kind].items), buf_fini(&p->news[kind].told);
}
