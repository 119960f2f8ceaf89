/* SPDX-License-Identifier: BSD-3-Clause */
/* sync.c - the exchange: this router asks a peer whether both know the same, and for what they do not.
 *
 * Each router speaks only of VMs that it owns, and of drains whose home it is.
 *
 *   sync.sums   {revision}           -> {mine: [256 sums], yours: [256 sums], revision, sure}
 *                                       digests (digest.c) of what I own, of what I have as yours; the highest revision that
 *                                       you told me before; whether I have learnt what you know of mine, see below
 *   sync.mine   {branches: [n...], cursor} -> {vms, next}   what you know to be mine in these branches
 *   sync.sums   {branches: [n...]}   -> {mine: [[256 sums]...]}   of the leaves of these branches
 *   sync.rows   {leaves: [n...]}     -> {rows: [[segment, mac, epoch, hash]...], others: [[segment, mac, owner, epoch]...], leaves}
 *                                       what I own in the first `leaves` of these, and what others do
 *   sync.pull   {vms: [[segment, mac]...]} -> {vms: [vm...]}   these of mine
 *   sync.update {vms: [vm...]}       -> {}            these of mine have changed
 *   sync.done   {drains: [{segment, mac, global, epoch}...]} -> {}   these old addresses of mine are gone
 *   sync.again  {}                   -> {}            I left updates out, or am sure now: ask me
 *   sync.sessions                     handover.c: the sessions of VMs that I took over from you
 *
 * Two routers that agree exchange one question and its answer: at each connection, each minute, and after claims that were
 * refused. One stream carries all of it in order, so what a router last said of its VM is the newest it said.
 *
 * A store may be lost, or be put back from a backup, and nobody can tell by looking at it. So a router asks each peer once after
 * its start for what that one has as the router's, where that is not the same (sync.mine), and takes what is newer than its own.
 * From then on it is `sure` with this peer: what it does not list is gone, and the peer forgets it. Before, its word is taken
 * where a peer knows nothing newer, but takes no address from what the peer has as its own: that may be newer.
 */
#include "sync.h"

#include <common/log.h>

#define BRANCHES_ASKED 32
#define LEAVES_ASKED   256
#define ANSWER_MS      30000  /* a peer that has not answered by then is cut off */
#define DIFFER_MS      120000 /* differences that last longer are an alarm */

struct exchange { /* ours, of the peer's state */
	uint64_t serial;
	bool again;		  /* asked for meanwhile */
	bool compared;		  /* by the digests of all */
	json_t *mine;		  /* branches: what it has there as ours is asked for; NULL: nothing */
	bool back;		  /* it has told all of that, */
	bool learnt;		  /* and nothing is left to be asked for again */
	char cursor[VM_KEY_TEXT]; /* of sync.mine */
	json_t *wanted;		  /* [[segment, mac]...] of the rows that came, still to be pulled */
	size_t left;		  /* VMs that differ and cannot be pulled */
	size_t n_branches, branch, asked; /* those that differ; the first not done; how many are asked for */
	size_t n_leaves, leaf;		  /* the same, of the last branches that came */
	uint8_t branches[DIGEST_FAN];
	uint16_t leaves[BRANCHES_ASKED * DIGEST_FAN];
};

struct reply_to *
reply_new(struct peer *p, uint64_t serial)
{
	struct reply_to *r = zalloc(sizeof(*r));

	*r = (struct reply_to){.core = p->core, .peer = p->index, .serial = serial};
	return r;
}

/* The peer whose exchange the answer belongs to, or NULL; frees r. */
static struct peer *
reply_exchange(struct reply_to *r)
{
	struct peer *p = &r->core->peers[r->peer - 1];

	if (!p->exchange || p->exchange->serial != r->serial)
		p = NULL;
	else
		r->core->env->ops->timer_stop(p->deadline);
	free(r);
	return p;
}

const char *
text_at(const json_t *row, size_t i)
{
	const char *s = json_string_value(json_array_get(row, i));

	return s ? s : "";
}

static void
exchange_call(
	struct peer *p, const char *method, json_t *params, void (*done)(void *arg, int code, json_t *v))
{
	struct reply_to *r = reply_new(p, p->exchange->serial);

	timer_set(p->core, p->deadline, ANSWER_MS);
	if (rpc_call(p->session->rpc, method, params, done, r) != 0)
		free(r); /* the channel is ending and will say so */
}

static void
exchange_free(struct peer *p)
{
	if (!p->exchange)
		return;
	p->core->env->ops->timer_stop(p->deadline);
	json_decref(p->exchange->wanted);
	json_decref(p->exchange->mine);
	free(p->exchange);
	p->exchange = NULL;
}

/* What we list is true from now on. A peer that was told otherwise takes it so by another exchange. */
static void
is_sure_now(struct peer *p)
{
	p->sure = true;
	if (!p->told_unsure || !p->session)
		return;
	p->told_unsure = false;
	rpc_notify(p->session->rpc, "sync.again", json_object());
}

static void
exchange_end(struct peer *p, bool whole)
{
	struct exchange *x = p->exchange;
	bool again = x->again;

	if (whole && x->learnt)
		is_sure_now(p);
	whole = whole && !p->retry;
	p->retry = false;
	p->differing = p->agrees ? 0 : x->left;
	if (p->differing > 0 && now_ms(p->core) - p->agrees_since > DIFFER_MS)
		event_alarm(p->core, p->conf->name,
			"%zu of its VMs are not the same here and there, for %" PRIu64
			" s: the log says what is refused",
			p->differing, (now_ms(p->core) - p->agrees_since) / 1000);
	exchange_free(p);
	peer_exchanged(p, whole);
	if (again && p->session && !p->exchange)
		sync_start(p);
}

static void exchange_next(struct peer *p);

/* ---- VMs ---- */

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

/* ---- rows: what the peer owns in some leaves ---- */

/* What we have as the peer's, and the peer, which is sure, has no more: it has deleted that, and has forgotten so. True: that
 * it was there is forgotten here, too, before anything else is taken. */
static bool
ended(struct peer *p, const struct vm_obj *o)
{
	if (o->now.deleted) {
		tombstone_forget(p->core, o);
		return true;
	}
	p->exchange->left++;
	ghost_end(p->core, o);
	return false;
}

/* Is the peer's VM of this row news to us? */
static bool
is_news(struct peer *p, const json_t *row)
{
	int segment = segment_index(p->core, text_at(row, 0));
	uint64_t epoch = (uint64_t)json_integer_value(json_array_get(row, 2));
	uint64_t hash = (uint64_t)json_integer_value(json_array_get(row, 3));
	struct vm_obj *o;
	struct mac mac;

	if (segment < 0 || mac_parse(text_at(row, 1), &mac) != 0)
		return false; /* a segment that we do not share is none of ours */
	o = vm_find(p->core, (uint16_t)segment, &mac);
	if (!o || !o->present)
		return true;
	o->listed = p->exchange->serial;
	if (o->now.epoch < epoch)
		return true;
	if (o->now.epoch == epoch)
		return o->hash != hash;
	if (o->now.fwd.owner == p->index && p->is_sure)
		return ended(p, o);
	p->exchange->left++;
	if (o->now.fwd.owner == p->index)
		peer_alarm(p,
			"its VM %s/%s is at epoch %" PRIu64 ", here it was at %" PRIu64
			": register it there with a higher one",
			text_at(row, 0), text_at(row, 1), epoch, o->now.epoch);
	return false;
}

/* What we have as the peer's has gone on to an owner who will tell us, and whose word is taken: its deletion is not forgotten, but
 * overtaken. At a lower epoch it has begun anew; at the same one, too, where the new owner's word would not count (wins()). */
static void
went_on(struct peer *p, const json_t *row)
{
	struct core *c = p->core;
	int segment = segment_index(c, text_at(row, 0)), owner = router_index(c, text_at(row, 2));
	const struct peer *now = owner > 0 ? &c->peers[owner - 1] : NULL;
	uint64_t epoch = (uint64_t)json_integer_value(json_array_get(row, 3));
	struct vm_obj *o;
	struct mac mac;

	if (segment < 0 || owner < 0 || mac_parse(text_at(row, 1), &mac) != 0 ||
		(now && now->asked && !now->shared[segment]))
		return;
	o = vm_find(c, (uint16_t)segment, &mac);
	if (!o || o->now.fwd.owner != p->index || o->now.epoch > epoch ||
		(o->now.epoch == epoch && strcmp(p->conf->name, text_at(row, 2)) < 0))
		return;
	o->listed = p->exchange->serial;
	p->exchange->left++;
}

/* What we have as the peer's, and it does not list. */
static void
unlisted(struct peer *p, uint16_t leaf)
{
	struct vm_obj *o;

	LL_FOREACH2(p->core->leaves[leaf], o, leaf_next)
	{
		if (!o->present || o->now.fwd.owner != p->index || !p->shared[o->key.segment] ||
			o->listed == p->exchange->serial)
			continue;
		if (p->is_sure)
			ended(p, o);
		else
			p->exchange->left++;
	}
	tombstones_flush(p->core);
}

static void
rows_came(void *arg, int code, json_t *v)
{
	json_t *rows = json_object_get(v, "rows"), *row;
	json_int_t done = json_integer_value(json_object_get(v, "leaves"));
	struct peer *p = reply_exchange(arg);
	struct exchange *x = p ? p->exchange : NULL;
	size_t i;

	if (!p)
		return;
	if (code != 0 || !json_is_array(rows) || done < 1 || (size_t)done > x->asked) {
		exchange_end(p, false);
		return;
	}
	json_array_foreach(rows, i, row)
	{
		if (is_news(p, row))
			json_array_append_new(
				x->wanted, json_pack("[s, s]", text_at(row, 0), text_at(row, 1)));
	}
	json_array_foreach(json_object_get(v, "others"), i, row) went_on(p, row);
	for (; done > 0; done--)
		unlisted(p, x->leaves[x->leaf++]);
	exchange_next(p);
}

static void
rows_ask(struct peer *p)
{
	struct exchange *x = p->exchange;
	json_t *leaves = json_array();

	x->asked = x->n_leaves - x->leaf < LEAVES_ASKED ? x->n_leaves - x->leaf : LEAVES_ASKED;
	for (size_t i = 0; i < x->asked; i++)
		json_array_append_new(leaves, json_integer(x->leaves[x->leaf + i]));
	exchange_call(p, "sync.rows", json_pack("{s:o}", "leaves", leaves), rows_came);
}

/* ---- sums: where do we differ? ---- */

static void
leaves_compare(struct peer *p, uint8_t branch, const json_t *sums)
{
	struct exchange *x = p->exchange;
	uint8_t differ[DIGEST_FAN];
	size_t n = digest_compare(digest_leaves(p->theirs, branch), sums, differ);

	for (size_t i = 0; i < n; i++)
		x->leaves[x->n_leaves++] = (uint16_t)(branch * DIGEST_FAN + differ[i]);
}

static void
branches_came(void *arg, int code, json_t *v)
{
	json_t *mine = json_object_get(v, "mine"), *sums;
	struct peer *p = reply_exchange(arg);
	struct exchange *x = p ? p->exchange : NULL;
	bool good = code == 0 && p && json_array_size(mine) == x->asked;
	size_t i;

	if (!p)
		return;
	json_array_foreach(mine, i, sums) good &= digest_well_formed(sums);
	if (!good) {
		exchange_end(p, false);
		return;
	}
	x->n_leaves = x->leaf = 0;
	json_array_foreach(mine, i, sums) leaves_compare(p, x->branches[x->branch++], sums);
	exchange_next(p);
}

static void
branches_ask(struct peer *p)
{
	struct exchange *x = p->exchange;
	json_t *branches = json_array();

	x->asked = x->n_branches - x->branch < BRANCHES_ASKED ? x->n_branches - x->branch : BRANCHES_ASKED;
	for (size_t i = 0; i < x->asked; i++)
		json_array_append_new(branches, json_integer(x->branches[x->branch + i]));
	exchange_call(p, "sync.sums", json_pack("{s:o}", "branches", branches), branches_came);
}

static void
agreement(struct peer *p, bool agrees, bool took_all)
{
	uint64_t now = now_ms(p->core);

	if (agrees != p->agrees)
		p->agrees_since = now;
	p->agrees = agrees;
	if (!took_all)
		return;
	p->took_at = now;
	moves_told(p->core, p->index);
	handover_up(p); /* what was asked before it had heard of the moves */
}

/* Once after the start: has it other VMs as ours than we have? Then it is asked for them, and compared once more. What was
 * refused for a reason that may pass is asked for again by the next exchange. */
static void
past_compare(struct peer *p, const uint8_t *differ, size_t n)
{
	struct exchange *x = p->exchange;

	x->learnt = n == 0 || (x->back && !p->retry);
	if (p->sure || x->learnt || x->back)
		return;
	x->mine = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(x->mine, json_integer(differ[i]));
}

/* What was on its way when the answer came is in the model now. */
static void
sums_compare(struct core *c, void *arg, int code)
{
	struct reply_to *r = arg;
	json_t *v = r->answer;
	struct peer *p = reply_exchange(r);
	uint8_t differ[DIGEST_FAN];
	struct exchange *x;
	size_t n_mine;

	(void)c;
	if (p && code != 0)
		exchange_end(p, false);
	else if (p) {
		x = p->exchange;
		x->compared = true;
		x->n_branches = digest_compare(p->theirs->branch, json_object_get(v, "mine"), x->branches);
		p->is_sure = json_is_true(json_object_get(v, "sure"));
		n_mine = digest_compare(p->mine->branch, json_object_get(v, "yours"), differ);
		agreement(p, x->n_branches == 0 && n_mine == 0, n_mine == 0);
		past_compare(p, differ, n_mine);
		exchange_next(p);
	}
	json_decref(v);
}

static void
sums_came(void *arg, int code, json_t *v)
{
	struct reply_to *r = arg;
	uint64_t serial = r->serial;
	struct peer *p = reply_exchange(r);
	json_int_t revision = json_integer_value(json_object_get(v, "revision"));

	if (!p)
		return;
	if (code != 0 || !digest_well_formed(json_object_get(v, "mine")) ||
		!digest_well_formed(json_object_get(v, "yours"))) {
		exchange_end(p, false);
		return;
	}
	peer_saw_revision(p, revision > 0 ? (uint64_t)revision : 0);
	r = reply_new(p, serial);
	r->answer = json_incref(v);
	txn_after(p->core, sums_compare, r);
}

static void
sums_ask(struct peer *p)
{
	exchange_call(p, "sync.sums", json_pack("{s:I}", "revision", (json_int_t)p->core->stored_revision),
		sums_came);
}

/* ---- what was ours before our store was lost, or became an old one ---- */

/* To the next page, or behind the last one; false: that leads nowhere. */
static bool
take_cursor(struct exchange *x, const json_t *v)
{
	const char *next = json_string_value(json_object_get(v, "next"));

	if (next && (strlen(next) >= sizeof(x->cursor) || strcmp(next, x->cursor) <= 0))
		return false;
	strcpy(x->cursor, next ? next : "");
	if (!next) {
		json_decref(x->mine);
		x->mine = NULL;
		x->back = true;
		x->compared = false;
	}
	return true;
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
	exchange_call(p, "sync.mine",
		json_pack("{s:O, s:s}", "branches", p->exchange->mine, "cursor", p->exchange->cursor),
		mine_came);
}

/* ---- the exchange ---- */

static void
exchange_next(struct peer *p)
{
	struct exchange *x = p->exchange;

	if (x->mine)
		mine_ask(p);
	else if (!x->compared)
		sums_ask(p);
	else if (json_array_size(x->wanted) > 0)
		exchange_call(
			p, "sync.pull", json_pack("{s:o}", "vms", take_front(x->wanted, PULL_VMS)), pulled);
	else if (x->leaf < x->n_leaves)
		rows_ask(p);
	else if (x->branch < x->n_branches)
		branches_ask(p);
	else
		exchange_end(p, true);
}

bool
sync_go_on(struct peer *p, uint64_t serial, size_t refused)
{
	if (!p->exchange || p->exchange->serial != serial)
		return false;
	p->exchange->left += refused;
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
	p->outdated = false;
	p->exchange = zalloc(sizeof(*p->exchange));
	p->exchange->serial = ++p->core->serials;
	p->exchange->wanted = json_array();
	p->retry = false;
	exchange_next(p);
}

void
sync_stop(struct peer *p)
{
	exchange_free(p);
}
