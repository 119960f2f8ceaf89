/* SPDX-License-Identifier: BSD-3-Clause */
#include "talk.h"

#include <net/channel_priv.h>
#include <stdio.h>

#define SPEAKERS 5
#define PEER	 1 /* the node of r-b */
#define HELD_MAX (24u << 20)
#define WAIT_MS	 3000 /* for an answer */
#define RIPE_MS	 4000

struct speaker {
	const char *name;
	char letter;
	enum channel_role role;
	unsigned int node, term; /* where it stands; of a controller */
	const uint8_t *key;	 /* NULL: that of the node */
	struct talk *talk;
	struct channel *channel; /* NULL: not connected */
	bool up;
	json_t *asked; /* the id of the request that waits, NULL = none */
	unsigned int answers, others;
	bool idle; /* the last answer says that nothing was changed */
};

struct talk {
	struct world *w;
	struct speaker speakers[SPEAKERS];
	struct lines answers; /* lines of `a`, in their order */
	json_t *hello;
	size_t base;
};

static const struct speaker everybody[SPEAKERS] = {
	{"local", 'l', ROLE_LOCAL, 3, 0, NULL},
	{"clc", 'c', ROLE_CONTROLLER, 3, 1, NULL},
	{"clc-2", 'd', ROLE_CONTROLLER, 4, 2, NULL},
	{"watch", 'o', ROLE_OBSERVER, 4, 0, observer_key},
	{"r-b", 'p', ROLE_PEER, PEER, 0, NULL},
};

/* ---- what is said ---- */

/* A text as it stands: with room in front for the flag of a part, or the length. */
static void
say(struct channel *c, const char *text, size_t len)
{
	uint8_t *b = malloc(len + 4);

	memcpy(b + 4, text, len);
	if (c->plain) {
		for (int i = 0; i < 4; i++)
			b[i] = (uint8_t)(len >> (24 - 8 * i));
		c->env->ops->stream_write(c->stream, b, len + 4);
	} else {
		secure_send(c, (char *)b + 4, len);
	}
	free(b);
}

static bool
next_answer(struct talk *t, struct line *l)
{
	while (line_next(&t->answers, l))
		if (l->what == 'a')
			return true;
	return false;
}

static void
answer_router(struct speaker *s, const json_t *id)
{
	struct line l = {.text = "{}", .len = 2};
	char *text, *id_text = json_dumps(id, JSON_COMPACT | JSON_ENCODE_ANY);
	int n;

	if (!next_answer(s->talk, &l) || l.len > 0) {
		n = asprintf(&text, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%.*s}", id_text, (int)l.len,
			l.text);
		say(s->channel, text, (size_t)n);
		free(text);
	}
	free(id_text);
}

/* ---- what is heard ---- */

static void
heard_answer(struct speaker *s, json_t *msg)
{
	json_t *id = json_object_get(msg, "id"), *error = json_object_get(msg, "error");
	json_t *result = json_object_get(msg, "result");

	if ((error != NULL) == (result != NULL))
		finding("an answer has both result and error, or none");
	if (error != NULL && (!json_is_integer(json_object_get(error, "code")) ||
				     !json_is_string(json_object_get(error, "message"))))
		finding("an error has no code or no message");
	if (s->asked != NULL && json_equal(id, s->asked)) {
		s->answers++;
		s->idle = error != NULL || json_is_false(json_object_get(result, "changed")) ||
			  json_is_true(json_object_get(result, "dry-run"));
	} else if (!json_is_null(id)) {
		finding("an answer to what nobody asked");
	} else {
		s->others++;
	}
}

static void
heard(void *arg, struct channel *c, json_t *msg)
{
	struct speaker *s = arg;

	(void)c;
	if (msg == NULL || json_string_value(json_object_get(msg, "jsonrpc")) == NULL)
		finding("the router says what is no JSON-RPC");
	if (json_object_get(msg, "method") == NULL)
		heard_answer(s, msg);
	else if (json_object_get(msg, "id") != NULL)
		answer_router(s, json_object_get(msg, "id"));
}

static void
came_up(void *arg, struct channel *c)
{
	(void)c;
	((struct speaker *)arg)->up = true;
}

static void
went_down(void *arg, struct channel *c, const char *why)
{
	struct speaker *s = arg;

	(void)c;
	(void)why;
	s->channel = NULL;
}

static const struct channel_ops speaker_ops = {came_up, heard, went_down};

/* ---- connections ---- */

static void
no_data(void *arg)
{
	(void)arg;
}

static const struct env_stream_ops before_attach = {.connected = no_data};

static void
dial_local(struct speaker *s)
{
	struct node *n = &s->talk->w->nodes[s->node];
	char address[160];
	struct env_stream *stream;

	snprintf(address, sizeof(address), "unix:%s", router_node(s->talk->w)->conf.control.socket);
	stream = n->env.ops->dial(n, address, &before_attach, NULL);
	s->channel = channel_plain_accept(&n->env, stream, NULL, &speaker_ops, s);
}

static void
dial_secure(struct speaker *s)
{
	struct node *n = &s->talk->w->nodes[s->node], *a = router_node(s->talk->w);
	struct channel_local local = {.env = &n->env, .role = s->role};
	struct channel_identity to = {.role = ROLE_PEER};
	json_t *hello = s->role == ROLE_PEER
				? json_pack("{s:{s:i, s:i}}", "segments", "tenant-a", 100, "lab", 200)
				: json_pack("{s:i}", "term", s->term);

	json_object_update(hello, s->talk->hello);
	local.hello = hello;
	snprintf(local.name, sizeof(local.name), "%s", s->name);
	local.private_key = s->key ? s->key : n->private_key;
	snprintf(to.name, sizeof(to.name), "%s", a->name);
	memcpy(to.key, a->public_key, 32);
	s->channel = channel_dial(&local, &to, a->conf.control.listen, &speaker_ops, s);
	json_decref(hello);
}

static bool
connect_speaker(struct speaker *s)
{
	struct world *w = s->talk->w;
	uint64_t until = w->now + 6000;

	if (s->channel != NULL)
		return true;
	s->up = false;
	if (s->role == ROLE_LOCAL)
		dial_local(s);
	else
		dial_secure(s);
	while (s->channel != NULL && !s->up && world_step(w, until))
		;
	json_decref(s->talk->hello);
	s->talk->hello = NULL;
	router_settle(w);
	return s->channel != NULL && s->up;
}

static void
hang_up(struct talk *t)
{
	for (size_t i = 0; i < SPEAKERS; i++) {
		channel_close(t->speakers[i].channel);
		t->speakers[i].channel = NULL;
		json_decref(t->speakers[i].asked);
		t->speakers[i].asked = NULL;
	}
	world_run(t->w, 20);
}

/* ---- one who speaks ---- */

/* The id that an answer will have, a new reference; NULL: none is due, or an error with id null. What is neither request
 * nor reply is answered, too. */
static json_t *
id_of(const struct line *l)
{
	json_t *msg = channel_parse(l->text, l->len), *id = json_object_get(msg, "id");
	bool reply = json_object_get(msg, "method") == NULL &&
		     (json_object_get(msg, "result") != NULL || json_object_get(msg, "error") != NULL);

	id = !reply && (json_is_string(id) || json_is_integer(id)) ? json_incref(id) : NULL;
	json_decref(msg);
	return id;
}

/* A peer speaks for itself: VMs that it does not come to own stay whose they were. */
static void
check_authority(const struct state *before, const struct state *now, bool unsure)
{
	for (size_t i = 0; i < now->n; i++) {
		const struct known *is = &now->vms[i], *was = state_find(before, &is->key);
		uint8_t owner = was ? was->owner : UINT8_MAX;

		if (is->owner != owner && is->owner != PEER && !(unsure && is->owner == FWD_SELF))
			finding("by a peer's word a VM of router %u is one of router %u", owner, is->owner);
		if (was != NULL && is->epoch != was->epoch && is->owner != PEER &&
			!(unsure && is->owner == FWD_SELF))
			finding("a peer changed the epoch of a VM of router %u", is->owner);
		if (is->epoch > INT64_MAX || (was != NULL && is->epoch - was->epoch > EPOCH_STEP))
			finding("a peer's step of an epoch to %" PRIu64 " was taken", is->epoch);
	}
}

static void
wait_for_answer(struct speaker *s)
{
	struct world *w = s->talk->w;
	uint64_t until = w->now + WAIT_MS;

	while (s->asked != NULL && s->answers == 0 && s->channel != NULL && world_step(w, until))
		;
	router_settle(w);
}

static void
speak(struct speaker *s, const struct line *l)
{
	struct world *w = s->talk->w;
	bool ripe, unsure, fresh = s->channel == NULL;
	struct state before = state_of(w), now;

	if (l->len == 0 || !connect_speaker(s)) {
		state_free(&before);
		return;
	}
	if (!fresh || s->role != ROLE_PEER) { /* a peer that connects is asked, and its answers count */
		state_free(&before);
		before = state_of(w);
	}
	ripe = state_ripens(w, RIPE_MS);
	unsure = !router_node(w)->core->peers[0].sure || fresh;
	s->asked = id_of(l);
	s->answers = s->others = 0;
	s->idle = false;
	say(s->channel, l->text, l->len);
	wait_for_answer(s);
	if (s->asked != NULL && s->channel != NULL && s->answers != 1)
		finding("%u answers to one request of %s", s->answers, s->name);
	now = state_of(w);
	if ((s->idle || s->role == ROLE_OBSERVER) && s->role != ROLE_PEER && !ripe &&
		s->talk->answers.left == 0 && now.sum != before.sum)
		finding("nothing was changed, %s is told, and something has changed", s->name);
	if (s->role == ROLE_PEER && !ripe)
		check_authority(&before, &now, unsure);
	state_free(&now);
	router_check(w, &before);
	state_free(&before);
	json_decref(s->asked);
	s->asked = NULL;
}

/* ---- lines ---- */

static void
restart(struct talk *t, const struct line *l)
{
	struct node *a = router_node(t->w);

	hang_up(t);
	a->prepare_fails = false;
	router_check_restart(t->w);
	if (l->len == 0)
		return;
	node_crash(a);
	node_reboot(a, (int64_t)line_number(l, 1000000) * 1000);
	node_start(a);
	while (!a->ready && world_step(t->w, t->w->now + 10000))
		;
	router_settle(t->w);
}

static void
set_hello(struct talk *t, const struct line *l)
{
	json_decref(t->hello);
	t->hello = channel_parse(l->text, l->len);
	json_object_del(t->hello, "name"); /* the channel's own matter */
	json_object_del(t->hello, "role");
	json_object_del(t->hello, "version");
}

static void
take_line(struct talk *t, const struct line *l, const char *who)
{
	struct node *a = router_node(t->w);

	switch (l->what) {
	case 'h':
		set_hello(t, l);
		break;
	case 'q':
		hang_up(t);
		break;
	case 't':
		world_run(t->w, line_number(l, 20000));
		router_settle(t->w);
		break;
	case 's':
		a->commits_to_fail = 1;
		break;
	case 'f':
		a->prepare_fails = !a->prepare_fails;
		break;
	case 'r':
		restart(t, l);
		break;
	default:
		for (size_t i = 0; i < SPEAKERS; i++)
			if (t->speakers[i].letter == l->what && strchr(who, l->what))
				speak(&t->speakers[i], l);
	}
}

/* All have gone: what is left of them? */
static void
check_books(struct talk *t)
{
	struct core *c = router_node(t->w)->core;
	struct session *s;

	world_run(t->w, 200);
	router_settle(t->w);
	DL_FOREACH(c->sessions, s)
	if (!s->dialled)
		finding("the session of %s is still there", s->name);
	if (c->watcher != NULL || router_node(t->w)->watching)
		finding("a trace goes on, and nobody reads it");
}

void
talk(const uint8_t *data, size_t size, const char *who)
{
	struct talk t = {.answers = {(const char *)data, size}};
	struct lines in = t.answers;
	struct line l;

	t.w = router_world(size > 0 && data[0] == 'n');
	t.base = memory_held();
	for (size_t i = 0; i < SPEAKERS; i++) {
		t.speakers[i] = everybody[i];
		t.speakers[i].talk = &t;
	}
	while (line_next(&in, &l)) {
		take_line(&t, &l, who);
		memory_check(t.base, HELD_MAX, "a router and what it was told");
	}
	hang_up(&t);
	router_node(t.w)->prepare_fails = false;
	router_node(t.w)->commits_to_fail = 0;
	check_books(&t);
	router_check_restart(t.w);
	json_decref(t.hello);
	world_free(t.w);
}
