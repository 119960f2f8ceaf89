/* SPDX-License-Identifier: BSD-3-Clause */
/* sync.c - what routers of a group tell each other. Each speaks only of VMs that it owns, and of drains whose
 * home it is.
 *
 *   sync.digest {cursor}                -> {rows: [[segment, mac, epoch, hash]...], next}   what I own
 *   sync.pull   {vms: [[segment, mac]]} -> {vms: [vm...]}                                  these of mine
 *   sync.update {vms: [vm...]}          -> {}           these of mine have changed
 *   sync.done   {drains: [{segment, mac, global, epoch}]} -> {}   these old addresses of mine are gone
 *   sync.again  {}                      -> {}           I left updates out: ask for my digest
 *   sync.mine   {cursor}                -> {vms, next}  what you know to be owned by me: my store was empty
 *
 * An exchange (at each connection, and after claims that were refused) pages through the peer's digest and
 * pulls what differs. One stream carries all of it in order, so what a router last said of its VM is the
 * newest it said.
 */
#include "state.h"

#include <common/log.h>

#define DIGEST_ROWS 2000
#define PULL_VMS    200
#define UPDATE_VMS  200
#define DONE_DRAINS 1000
#define UNACKED_MAX 32	 /* updates on their way to one peer; above it they are left out, and it asks again */
#define CLAIMS_MAX  1000 /* in one message */

struct exchange { /* ours, of the peer's state */
	uint64_t serial;
	char cursor[VM_KEY_TEXT]; /* "" = the last page */
	json_t *wanted;		  /* [[segment, mac]...] of this page, still to be pulled */
	bool again;		  /* asked for meanwhile */
	bool mine;		  /* first of all: what it knows to be ours */
};

struct reply_to { /* an answer of the peer's, unless exchange or session is over */
	struct core *core;
	uint8_t peer;
	uint64_t serial;
};

bool
peer_gives_back(const struct peer *p)
{
	return !p->core->remembers && !p->gave_back;
}

static struct reply_to *
reply_new(struct peer *p, uint64_t serial)
{
	struct reply_to *r = zalloc(sizeof(*r));

	*r = (struct reply_to){p->core, p->index, serial};
	return r;
}

/* The peer whose exchange the answer belongs to, or NULL; frees r. */
static struct peer *
reply_exchange(struct reply_to *r)
{
	struct peer *p = &r->core->peers[r->peer - 1];

	if (!p->exchange || p->exchange->serial != r->serial)
		p = NULL;
	free(r);
	return p;
}

static const char *
text_at(const json_t *row, size_t i)
{
	const char *s = json_string_value(json_array_get(row, i));

	return s ? s : "";
}

/* ---- the exchange ---- */

static bool
exchange_call(
	struct peer *p, const char *method, json_t *params, void (*done)(void *arg, int code, json_t *v))
{
	struct reply_to *r = reply_new(p, p->exchange->serial);

	if (rpc_call(p->session->rpc, method, params, done, r) == 0)
		return true;
	free(r); /* the channel is ending and will say so */
	return false;
}

static void
exchange_free(struct peer *p)
{
	if (!p->exchange)
		return;
	json_decref(p->exchange->wanted);
	free(p->exchange);
	p->exchange = NULL;
}

static void
exchange_end(struct peer *p, bool whole)
{
	bool again = p->exchange->again;

	whole = whole && !p->retry;
	p->retry = false;
	p->gave_back = true;
	exchange_free(p);
	peer_exchanged(p, whole);
	if (again && p->session && !p->exchange)
		sync_start(p);
}

static void exchange_next(struct peer *p);

static void
pulled(void *arg, int code, json_t *v)
{
	struct peer *p = reply_exchange(arg);
	json_t *vms = json_object_get(v, "vms");

	if (!p)
		return;
	if (code != 0 || json_array_size(vms) > PULL_VMS)
		exchange_end(p, false);
	else if (json_array_size(vms) == 0)
		exchange_next(p);
	else
		claims_new(p, vms, p->exchange->serial, NULL);
}

/* Takes the first `n` of an array out of it. */
static json_t *
take_front(json_t *a, size_t n)
{
	json_t *front = json_array();

	for (size_t i = 0; i < n && i < json_array_size(a); i++)
		json_array_append(front, json_array_get(a, i));
	for (size_t i = json_array_size(front), m = json_array_size(a); i < m; i++)
		json_array_set(a, i - json_array_size(front), json_array_get(a, i));
	for (size_t i = json_array_size(front); i > 0; i--)
		json_array_remove(a, json_array_size(a) - 1);
	return front;
}

/* Is the peer's VM of this digest row news to us? */
static bool
differs(struct peer *p, const json_t *row)
{
	int segment = segment_index(p->core, text_at(row, 0));
	uint64_t epoch = (uint64_t)json_integer_value(json_array_get(row, 2));
	uint64_t hash = (uint64_t)json_integer_value(json_array_get(row, 3));
	struct vm_obj *o;
	struct mac mac;

	if (segment < 0 || mac_parse(text_at(row, 1), &mac) != 0)
		return false; /* a segment that we do not share is none of ours */
	o = vm_find(p->core, (uint16_t)segment, &mac);
	if (!o || o->now.epoch < epoch)
		return true;
	if (o->now.epoch > epoch) {
		if (o->now.fwd.owner == p->index)
			peer_alarm(p,
				"its VM %s/%s is at epoch %" PRIu64 ", here it was at %" PRIu64
				": register it there with a higher one",
				text_at(row, 0), text_at(row, 1), epoch, o->now.epoch);
		return false;
	}
	return vm_hash(p->core, &o->now) != hash;
}

/* To the next page, or "" behind the last; false: that leads nowhere. */
static bool
take_cursor(struct exchange *x, const json_t *v)
{
	const char *next = json_string_value(json_object_get(v, "next"));

	if (next && (strlen(next) >= sizeof(x->cursor) || strcmp(next, x->cursor) <= 0))
		return false;
	strcpy(x->cursor, next ? next : "");
	return true;
}

static void
digest_came(void *arg, int code, json_t *v)
{
	struct peer *p = reply_exchange(arg);
	json_t *rows = json_object_get(v, "rows"), *row;
	size_t i;

	if (!p)
		return;
	if (code != 0 || !json_is_array(rows) || !take_cursor(p->exchange, v)) {
		exchange_end(p, false);
		return;
	}
	json_array_foreach(rows, i, row) if (differs(p, row)) json_array_append_new(
		p->exchange->wanted, json_pack("[s, s]", text_at(row, 0), text_at(row, 1)));
	exchange_next(p);
}

static void
digest_ask(struct peer *p)
{
	exchange_call(p, "sync.digest", json_pack("{s:s}", "cursor", p->exchange->cursor), digest_came);
}

static void
mine_came(void *arg, int code, json_t *v)
{
	struct peer *p = reply_exchange(arg);
	json_t *vms = json_object_get(v, "vms");

	if (!p)
		return;
	if (code != 0 || json_array_size(vms) > PULL_VMS || !take_cursor(p->exchange, v))
		exchange_end(p, false);
	else if (json_array_size(vms) == 0)
		exchange_next(p);
	else
		claims_returned(p, vms, p->exchange->serial);
}

static void
mine_ask(struct peer *p)
{
	exchange_call(p, "sync.mine", json_pack("{s:s}", "cursor", p->exchange->cursor), mine_came);
}

static void
exchange_next(struct peer *p)
{
	struct exchange *x = p->exchange;

	if (x->mine && x->cursor[0]) {
		mine_ask(p);
		return;
	}
	if (x->mine) {
		x->mine = false;
		digest_ask(p);
		return;
	}
	if (json_array_size(x->wanted) > 0)
		exchange_call(
			p, "sync.pull", json_pack("{s:o}", "vms", take_front(x->wanted, PULL_VMS)), pulled);
	else if (x->cursor[0])
		digest_ask(p);
	else
		exchange_end(p, true);
}

bool
sync_go_on(struct peer *p, uint64_t serial)
{
	if (!p->exchange || p->exchange->serial != serial)
		return false;
	exchange_next(p);
	return true;
}

void
sync_start(struct peer *p)
{
	if (p->exchange) {
		p->exchange->again = true;
		return;
	}
	p->exchange = zalloc(sizeof(*p->exchange));
	p->exchange->serial = ++p->core->serials;
	p->exchange->wanted = json_array();
	p->exchange->mine = peer_gives_back(p);
	p->retry = false;
	if (p->exchange->mine)
		mine_ask(p);
	else
		digest_ask(p);
}

void
sync_stop(struct peer *p)
{
	exchange_free(p);
}

/* ---- what a peer asks of us ---- */

static bool
speaks_of(const struct peer *p, const struct vm_obj *o)
{
	return o->present && o->now.fwd.owner == FWD_SELF && p->shared[o->key.segment];
}

/* Puts the next page's cursor into `v`, when VM i of all in order is not the end. */
static void
set_next(struct core *c, json_t *v, size_t i)
{
	char key[VM_KEY_TEXT];

	if (i >= HASH_COUNT(c->vms))
		return;
	vm_key_text(c, c->sorted[i - 1]->key.segment, &c->sorted[i - 1]->key.mac, key);
	json_object_set_new(v, "next", json_string(key));
}

static json_t *
digest(struct core *c, const struct peer *p, const char *cursor)
{
	json_t *rows = json_array(), *v = json_pack("{s:o}", "rows", rows);
	size_t n = HASH_COUNT(c->vms), i = vm_sorted(c, cursor);
	char mac[MAC_TEXT];

	for (; i < n && json_array_size(rows) < DIGEST_ROWS; i++) {
		const struct vm_obj *o = c->sorted[i];

		if (!speaks_of(p, o))
			continue;
		json_array_append_new(rows, json_pack("[s, s, I, I]", segment_at(c, o->key.segment)->name,
						    mac_format(&o->key.mac, mac), (json_int_t)o->now.epoch,
						    (json_int_t)vm_hash(c, &o->now)));
	}
	set_next(c, v, i);
	return v;
}

/* What a peer that has lost its store owned, its tombstones too. */
static json_t *
give_back(struct core *c, const struct peer *p, const char *cursor)
{
	json_t *vms = json_array(), *v = json_pack("{s:o}", "vms", vms);
	size_t n = HASH_COUNT(c->vms), i = vm_sorted(c, cursor);

	for (; i < n && json_array_size(vms) < PULL_VMS; i++) {
		const struct vm_obj *o = c->sorted[i];

		if (o->present && o->now.fwd.owner == p->index && p->shared[o->key.segment])
			json_array_append_new(vms, vm_json(c, &o->now));
	}
	set_next(c, v, i);
	return v;
}

static json_t *
pull(struct core *c, const struct peer *p, const json_t *wanted)
{
	json_t *vms = json_array(), *row;
	struct vm_obj *o;
	struct mac mac;
	size_t i;

	json_array_foreach(wanted, i, row)
	{
		int segment = segment_index(c, text_at(row, 0));

		o = segment < 0 || mac_parse(text_at(row, 1), &mac) != 0
			    ? NULL
			    : vm_find(c, (uint16_t)segment, &mac);
		if (o && speaks_of(p, o))
			json_array_append_new(vms, vm_json(c, &o->now));
	}
	return json_pack("{s:o}", "vms", vms);
}

/* What the model has now may still be undone: a question that comes while a group is on its way waits for
 * the end of the next. */
struct read_txn {
	struct txn txn;
	uint8_t peer;
	struct rpc_request *request;
	json_t *params;
	bool back; /* sync.mine */
};

static void
read_reply(struct core *c, const struct peer *p, struct rpc_request *r, const json_t *params, bool back)
{
	const char *cursor = json_string_value(json_object_get(params, "cursor"));

	if (back)
		rpc_reply(r, give_back(c, p, cursor));
	else
		rpc_reply(r, cursor ? digest(c, p, cursor) : pull(c, p, json_object_get(params, "vms")));
}

static int
read_apply(struct core *c, struct txn *t)
{
	(void)c;
	(void)t;
	return 0;
}

static void
read_done(struct core *c, struct txn *t, int code)
{
	struct read_txn *x = (struct read_txn *)t;

	if (code == 0)
		read_reply(c, &c->peers[x->peer - 1], x->request, x->params, x->back);
	else
		rpc_fail(x->request, code, NULL, "%s", t->fail.text);
	json_decref(x->params);
	fail_clear(&t->fail);
	free(x);
}

static void
read_new(struct peer *p, struct rpc_request *r, json_t *params, bool back)
{
	struct read_txn *x;

	if (!p->core->group) {
		read_reply(p->core, p, r, params, back);
		return;
	}
	x = zalloc(sizeof(*x));
	x->txn.apply = read_apply;
	x->txn.done = read_done;
	x->peer = p->index;
	x->request = r;
	x->params = json_incref(params);
	x->back = back;
	txn_submit(p->core, &x->txn);
}

struct done_txn {
	struct txn txn;
	uint8_t peer;
	struct rpc_request *request;
	json_t *drains;
};

static void
done_one(struct core *c, uint8_t home, const json_t *v)
{
	const char *segment, *mac_text, *global_text;
	struct vm_obj *o;
	struct vm_state s;
	json_int_t epoch;
	struct mac mac;
	ip4 global;

	if (json_unpack((json_t *)(uintptr_t)v, "{s:s, s:s, s:s, s:I}", "segment", &segment, "mac", &mac_text,
		    "global", &global_text, "epoch", &epoch) != 0 ||
		segment_index(c, segment) < 0 || mac_parse(mac_text, &mac) != 0 ||
		ip4_parse(global_text, &global) != 0)
		return;
	o = vm_find(c, (uint16_t)segment_index(c, segment), &mac);
	if (!vm_live(o))
		return;
	s = o->now;
	for (unsigned int i = s.fwd.n_drains; i-- > 0;)
		if (s.fwd.drains[i].home == home && s.fwd.drains[i].global_ip == global &&
			s.drain[i].epoch == (uint64_t)epoch)
			drain_remove(&s, i);
	if (s.fwd.n_drains != o->now.fwd.n_drains)
		vm_set(c, &s);
}

static int
done_apply(struct core *c, struct txn *t)
{
	struct done_txn *x = (struct done_txn *)t;
	json_t *v;
	size_t i;

	json_array_foreach(x->drains, i, v) done_one(c, x->peer, v);
	return 0;
}

static void
done_done(struct core *c, struct txn *t, int code)
{
	struct done_txn *x = (struct done_txn *)t;

	(void)c;
	if (code == 0)
		rpc_reply(x->request, json_object());
	else
		rpc_fail(x->request, code, NULL, "%s", t->fail.text);
	json_decref(x->drains);
	fail_clear(&t->fail);
	free(x);
}

static void
done_new(struct peer *p, struct rpc_request *r, json_t *drains)
{
	struct done_txn *x = zalloc(sizeof(*x));

	x->txn.apply = done_apply;
	x->txn.done = done_done;
	x->peer = p->index;
	x->request = r;
	x->drains = json_incref(drains);
	txn_submit(p->core, &x->txn);
}

void
sync_request(struct session *s, struct rpc_request *r, const char *method, json_t *params)
{
	const char *cursor = json_string_value(json_object_get(params, "cursor"));
	json_t *vms = json_object_get(params, "vms"), *drains = json_object_get(params, "drains");

	bool back = strcmp(method, "sync.mine") == 0;

	if (((back || strcmp(method, "sync.digest") == 0) && cursor) ||
		(strcmp(method, "sync.pull") == 0 && !cursor && json_array_size(vms) <= PULL_VMS)) {
		read_new(s->peer, r, params, back);
	} else if (strcmp(method, "sync.update") == 0 && json_is_array(vms) &&
		   json_array_size(vms) <= CLAIMS_MAX) {
		claims_new(s->peer, vms, 0, r);
	} else if (strcmp(method, "sync.done") == 0 && json_is_array(drains)) {
		done_new(s->peer, r, drains);
	} else if (strcmp(method, "sync.again") == 0) {
		rpc_reply(r, json_object());
		sync_start(s->peer);
	} else {
		rpc_fail(r, RPC_NO_METHOD, NULL, "no method %.40s with these parameters", method);
	}
}

/* ---- news ---- */

static void
acked(void *arg, int code, json_t *v)
{
	struct reply_to *r = arg;
	struct peer *p = &r->core->peers[r->peer - 1];
	bool mine = p->session && p->up_serial == r->serial;

	(void)v;
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
	if (rpc_call(p->session->rpc, method, json_pack("{s:O}", what, list), acked, r) == 0)
		p->unacked++;
	else
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

void
sync_changed(struct core *c, const struct vm_state *s)
{
	if (!c->news_vms)
		c->news_vms = json_array();
	json_array_append_new(c->news_vms, vm_json(c, s));
	if (json_array_size(c->news_vms) >= UPDATE_VMS)
		sync_flush(c);
}

void
sync_drain_done(struct core *c, const struct vm_state *s, ip4 global_ip, uint64_t epoch)
{
	char mac[MAC_TEXT], ip[IP4_TEXT];

	if (!c->news_drains)
		c->news_drains = json_array();
	json_array_append_new(c->news_drains,
		json_pack("{s:s, s:s, s:s, s:I}", "segment", segment_at(c, s->fwd.segment)->name, "mac",
			mac_format(&s->fwd.mac, mac), "global", ip4_format(global_ip, ip), "epoch",
			(json_int_t)epoch));
	if (json_array_size(c->news_drains) >= DONE_DRAINS)
		sync_flush(c);
}

/* Drains first: an address that is free again may already belong to one of the VMs. */
void
sync_flush(struct core *c)
{
	tell_all(c, "sync.done", "drains", &c->news_drains);
	tell_all(c, "sync.update", "vms", &c->news_vms);
}
