/* SPDX-License-Identifier: BSD-3-Clause */
/* answers.c - what a peer may ask of this router, and tell it: see sync.c. */
#include "sync.h"

#define ROWS_MAX     4000 /* about: the last leaf is whole */
#define BRANCHES_MAX 64
#define LEAVES_MAX   1024
#define QUESTIONS    4	  /* of one peer that wait; an honest one asks the next when it has the answer */
#define CLAIMS_MAX   1000 /* in one message */
#define CLAIMS_WAIT  8000 /* of one peer, in transactions that wait; above what an honest one has on its way */

static bool
speaks_of(const struct peer *p, const struct vm_obj *o)
{
	return o->present && o->now.fwd.owner == FWD_SELF && p->shared[o->key.segment];
}

/* ---- questions ---- */

static void
branches_asked(const json_t *params, bool asked[DIGEST_FAN])
{
	const json_t *branch;
	size_t i;

	json_array_foreach(json_object_get(params, "branches"), i, branch)
		asked[(size_t)json_integer_value(branch) % DIGEST_FAN] = true;
}

/* Of what a peer owned before its store was lost, or became an old one: the branches that it asks for, tombstones too. */
static json_t *
give_back(struct peer *p, const json_t *params)
{
	const char *cursor = json_string_value(json_object_get(params, "cursor"));
	json_t *vms = json_array(), *v = json_pack("{s:o}", "vms", vms);
	struct core *c = p->core;
	size_t n = HASH_COUNT(c->vms), i = vm_sorted(c, cursor);
	bool asked[DIGEST_FAN] = {0};
	char key[VM_KEY_TEXT];

	branches_asked(params, asked);
	for (; i < n && json_array_size(vms) < PULL_VMS; i++) {
		const struct vm_obj *o = c->sorted[i];

		if (o->present && o->now.fwd.owner == p->index && p->shared[o->key.segment] &&
			asked[o->leaf / DIGEST_FAN])
			json_array_append_new(vms, vm_json(c, &o->now));
	}
	if (i < n) {
		vm_key_text(c, c->sorted[i - 1]->key.segment, &c->sorted[i - 1]->key.mac, key);
		json_object_set_new(v, "next", json_string(key));
	}
	return v;
}

static json_t *
sums_of_all(struct peer *p, const json_t *params)
{
	json_int_t revision = json_integer_value(json_object_get(params, "revision"));
	json_t *v = json_pack("{s:o, s:o, s:I, s:b}", "mine", digest_json(p->mine->branch), "yours",
		digest_json(p->theirs->branch), "revision", (json_int_t)p->revision, "sure", p->sure);

	p->told_unsure = !p->sure;
	if (revision > 0)
		peer_told_revision(p, (uint64_t)revision);
	return v;
}

static json_t *
sums_of_leaves(struct peer *p, const json_t *params)
{
	json_t *mine = json_array(), *branch;
	size_t i;

	json_array_foreach(json_object_get(params, "branches"), i, branch)
	{
		uint8_t n = (uint8_t)json_integer_value(branch);

		json_array_append_new(mine, digest_json(digest_leaves(p->mine, n)));
	}
	return json_pack("{s:o}", "mine", mine);
}

/* Ours with epoch and hash; those of others, whose they are, and with which epoch. */
static void
leaf_rows(struct peer *p, size_t leaf, json_t *rows, json_t *others)
{
	struct core *c = p->core;
	const struct vm_obj *o;
	char mac[MAC_TEXT];

	LL_FOREACH2(c->leaves[leaf], o, leaf_next)
	{
		const char *segment = segment_at(c, o->key.segment)->name;

		mac_format(&o->key.mac, mac);
		if (speaks_of(p, o))
			json_array_append_new(rows, json_pack("[s, s, I, I]", segment, mac,
							    (json_int_t)o->now.epoch, (json_int_t)o->hash));
		else if (o->present && p->shared[o->key.segment])
			json_array_append_new(
				others, json_pack("[s, s, s, I]", segment, mac,
						router_name(c, o->now.fwd.owner), (json_int_t)o->now.epoch));
	}
}

static json_t *
rows(struct peer *p, const json_t *params)
{
	json_t *leaves = json_object_get(params, "leaves"), *leaf;
	json_t *found = json_array(), *others = json_array();
	size_t i;

	json_array_foreach(leaves, i, leaf)
	{
		if (json_array_size(found) + json_array_size(others) >= ROWS_MAX)
			break;
		leaf_rows(p, (size_t)json_integer_value(leaf) % DIGEST_LEAVES, found, others);
	}
	return json_pack("{s:o, s:o, s:I}", "rows", found, "others", others, "leaves", (json_int_t)i);
}

static json_t *
pull(struct peer *p, const json_t *params)
{
	json_t *vms = json_array(), *row;
	struct core *c = p->core;
	struct vm_obj *o;
	struct mac mac;
	size_t i;

	json_array_foreach(json_object_get(params, "vms"), i, row)
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

/* What the model has now may still be undone, and what the peer told before is to be in it: a question waits for what waits
 * already. */
struct question {
	uint8_t peer;
	struct rpc_request *request;
	json_t *params;
	json_t *(*answer)(struct peer *p, const json_t *params);
};

static void
answer_now(struct core *c, void *arg, int code)
{
	struct question *q = arg;
	struct peer *p = &c->peers[q->peer - 1];

	p->questions--;
	if (code == 0)
		rpc_reply(q->request, q->answer(p, q->params));
	else
		rpc_fail(q->request, code, NULL, "too much waits already: ask again later");
	json_decref(q->params);
	free(q);
}

static void
answer(struct peer *p, struct rpc_request *r, json_t *params,
	json_t *(*with)(struct peer *p, const json_t *params))
{
	struct question *q;

	if (p->questions == QUESTIONS) {
		rpc_fail(r, RPC_LIMIT, NULL, "%d of your questions wait: ask when they are answered",
			QUESTIONS);
		return;
	}
	p->questions++;
	q = zalloc(sizeof(*q));
	*q = (struct question){p->index, r, json_incref(params), with};
	txn_after(p->core, answer_now, q);
}

/* ---- drains that are over ---- */

struct done_txn {
	struct txn txn;
	uint8_t peer;
	struct rpc_request *request;
	json_t *drains;
};

/* What a home may say; an older one says nothing. */
static const char *
drain_why(const char *said)
{
	static const char *const words[] = {"quiet", "deadline", "cut"};

	for (size_t i = 0; said && i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(said, words[i]) == 0)
			return words[i];
	return "";
}

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
	drain_end(c, &s, drain_why(json_string_value(json_object_get(v, "why"))));
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
done_audit(struct core *c, struct txn *t)
{
	struct done_txn *x = (struct done_txn *)t;
	char who[WHO_TEXT];

	audit_effects(c, t, audit_who(ROLE_PEER, router_name(c, x->peer), who), "sync.done");
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
	x->txn.audit = done_audit;
	x->peer = p->index;
	x->request = r;
	x->drains = json_incref(drains);
	txn_submit(p->core, &x->txn);
}

/* ---- what comes ---- */

/* An array of at most `max`. */
static bool
has_list(const json_t *params, const char *name, size_t max)
{
	const json_t *v = json_object_get(params, name);

	return json_is_array(v) && json_array_size(v) <= max;
}

/* Its claims, unless too many wait already: then all is asked for again, and that has its newest word. */
static void
update(struct peer *p, struct rpc_request *r, json_t *vms)
{
	if (p->claims_wait + json_array_size(vms) > CLAIMS_WAIT) {
		p->refused += json_array_size(vms);
		peer_alarm(p, "it sends more than is taken: %zu claims wait", p->claims_wait);
		rpc_fail(r, RPC_LIMIT, NULL, "%zu of your claims wait: you will be asked again",
			p->claims_wait);
		p->overrun = true;
		return;
	}
	claims_new(p, vms, 0, r);
}

void
sync_request(struct session *s, struct rpc_request *r, const char *method, json_t *params)
{
	struct peer *p = s->peer;

	if (strcmp(method, "sync.sums") == 0 && has_list(params, "branches", BRANCHES_MAX)) {
		answer(p, r, params, sums_of_leaves);
	} else if (strcmp(method, "sync.sums") == 0 && !json_object_get(params, "branches")) {
		answer(p, r, params, sums_of_all);
	} else if (strcmp(method, "sync.rows") == 0 && has_list(params, "leaves", LEAVES_MAX)) {
		answer(p, r, params, rows);
	} else if (strcmp(method, "sync.pull") == 0 && has_list(params, "vms", PULL_VMS)) {
		answer(p, r, params, pull);
	} else if (strcmp(method, "sync.mine") == 0 && has_list(params, "branches", DIGEST_FAN) &&
		   json_is_string(json_object_get(params, "cursor"))) {
		answer(p, r, params, give_back);
	} else if (strcmp(method, "sync.update") == 0 && has_list(params, "vms", CLAIMS_MAX)) {
		update(p, r, json_object_get(params, "vms"));
	} else if (strcmp(method, "sync.done") == 0 && has_list(params, "drains", SIZE_MAX)) {
		done_new(p, r, json_object_get(params, "drains"));
	} else if (strcmp(method, "sync.count") == 0 &&
		   has_list(params, "globals", FWD_ADDRESSES_MAX + FWD_DRAINS_MAX)) {
		plan_count(p, r, json_object_get(params, "globals"));
	} else if (strcmp(method, "sync.moves") == 0 && has_list(params, "moves", CLAIMS_MAX)) {
		departing_told(p, r, json_object_get(params, "moves"));
	} else if (strcmp(method, "sync.sessions") == 0 && has_list(params, "vms", LIST_VMS)) {
		listing_ask(p, r, json_object_get(params, "vms"));
	} else if (strcmp(method, "sync.sessions") == 0 &&
		   json_is_integer(json_object_get(params, "cursor"))) {
		listing_go_on(p, r, json_integer_value(json_object_get(params, "cursor")));
	} else if (strcmp(method, "sync.again") == 0) {
		rpc_reply(r, json_object());
		sync_start(p);
	} else {
		rpc_fail(r, RPC_NO_METHOD, NULL, "no method %.40s with these parameters", method);
	}
}
