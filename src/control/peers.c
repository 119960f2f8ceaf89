/* SPDX-License-Identifier: BSD-3-Clause */
/* peers.c - the other routers of the group: who dials, back-off, sessions. Of two routers the one with the
 * lower name dials, and one that starts dials each until it has asked it once: who was up all the time may try
 * seldom by now. There is one session: a new one replaces the old once both sides have proved who they are; of
 * two that crossed, both keep the one that the lower name dialled. */
#include "state.h"

#include <common/log.h>
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 60000
#define RETRY_MS       200   /* after a change of ours that refused claims may have waited for */
#define CHECK_MS       60000 /* about: routers that agree compare so often */

static bool
lower(const struct peer *p)
{
	return strcmp(p->core->conf->router.name, p->conf->name) < 0;
}

static bool
we_dial(const struct peer *p)
{
	return !p->conf->removed && !p->leaving && !p->dialling && (lower(p) || !p->asked);
}

void
peer_alarm(struct peer *p, const char *fmt, ...)
{
	uint64_t now = now_ms(p->core);
	char text[400];
	va_list ap;

	if (p->alarm_at != 0 && now < p->alarm_at) {
		p->alarms_quiet++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	event_alarm(p->core, p->conf->name, "%s (%" PRIu64 " more)", text, p->alarms_quiet);
	p->alarm_at = now + 1000;
	p->alarms_quiet = 0;
}

/* ---- who calls whom ---- */

static void
local_end(struct core *c, struct channel_local *l)
{
	memset(l, 0, sizeof(*l));
	l->env = c->env;
	l->role = ROLE_PEER;
	snprintf(l->name, sizeof(l->name), "%s", c->conf->router.name);
	l->private_key = c->private_key;
	l->hello = json_pack("{s:o, s:I, s:I, s:I}", "segments", json_object(), "instance",
		(json_int_t)c->instance, "revision", (json_int_t)c->stored_revision, "mtu",
		(json_int_t)config_wan_mtu(c->conf));
	for (size_t i = 0; i < c->conf->segments.n; i++) {
		const struct conf_segment *s = segment_at(c, (uint16_t)i);

		json_object_set_new(
			json_object_get(l->hello, "segments"), s->name, json_integer((json_int_t)s->vni));
	}
}

static void
accepted_tcp(void *arg, struct env_stream *stream, const struct env_peer_id *id)
{
	struct core *c = arg;
	struct session *s;
	struct channel_local l;

	if (!gate_admit(&c->gate, now_ms(c), id->text)) {
		c->env->ops->stream_close(stream);
		return;
	}
	s = session_new(c, ROLE_OBSERVER, id->text);
	local_end(c, &l);
	s->channel = channel_accept(&l, stream, id, caller_find, &session_ops, s);
	json_decref(l.hello);
	if (!s->channel)
		session_close(s);
	else
		sessions_trim(c);
}

static void
accepted_local(void *arg, struct env_stream *stream, const struct env_peer_id *id)
{
	struct core *c = arg;
	struct session *s;

	if (!id->local || (id->uid != 0 && id->uid != (uint32_t)geteuid())) {
		log_warn("control: %s may not use the local socket", id->text);
		c->env->ops->stream_close(stream);
		return;
	}
	s = session_new(c, ROLE_LOCAL, id->text);
	s->channel = channel_plain_accept(c->env, stream, id, &session_ops, s);
	if (!s->channel)
		session_close(s);
	else
		sessions_trim(c);
}

/* ---- dialling ---- */

/* Three to five quarters of it. */
static uint64_t
spread(struct core *c, uint64_t ms)
{
	uint64_t random;

	env_call(c->env, random, &random, sizeof(random));
	return ms - ms / 4 + random % (ms / 2);
}

static void
dial_later(struct peer *p)
{
	uint64_t random;

	env_call(p->core->env, random, &random, sizeof(random));
	timer_set(p->core, p->timer, 100 + random % p->backoff_ms); /* full jitter */
	p->backoff_ms = 2 * p->backoff_ms < BACKOFF_MAX_MS ? 2 * p->backoff_ms : BACKOFF_MAX_MS;
}

static void
peer_dial(struct peer *p)
{
	struct core *c = p->core;
	struct session *s = session_new(c, ROLE_PEER, p->conf->name);
	struct channel_local l;

	s->peer = p;
	s->dialled = true;
	local_end(c, &l);
	s->channel = channel_dial(&l, &p->identities[p->dials_old], p->conf->address, &session_ops, s);
	json_decref(l.hello);
	if (!s->channel) {
		session_close(s);
		dial_later(p);
		return;
	}
	p->dialling = s;
	p->state = PEER_DIALLING;
}

static void
peer_timer(void *arg)
{
	struct peer *p = arg;

	p->next_try = TRY_NONE;
	if (p->session)
		sync_start(p); /* do we agree? And perhaps claims that were refused can be taken now */
	else if (we_dial(p))
		peer_dial(p);
}

/* ---- revisions that a peer has seen of us ---- */

static int
revision_apply(struct core *c, struct txn *t)
{
	(void)t;
	if (c->revision < c->seen_revision) {
		c->revision = c->seen_revision;
		txn_count(c);
	}
	return 0;
}

static void
revision_done(struct core *c, struct txn *t, int code)
{
	(void)c;
	(void)code; /* not stored: a restart is told once more */
	fail_clear(&t->fail);
	free(t);
}

/* It does not run twice: who asks for what changed since one of them would miss what changed meanwhile. */
void
peer_saw_revision(struct peer *p, uint64_t revision)
{
	struct core *c = p->core;
	struct txn *t;

	if (p->asked || revision <= c->stored_revision || revision <= c->seen_revision)
		return;
	if (revision - c->stored_revision >
		EPOCH_STEP) { /* more than we could have made; ours would run out */
		peer_alarm(p, "it tells of our revision %" PRIu64 ", and we are at %" PRIu64 ": not believed",
			revision, c->stored_revision);
		return;
	}
	event_alarm(c, p->conf->name,
		"our store is older than what it has seen: revision %" PRIu64 " after %" PRIu64,
		c->stored_revision, revision);
	c->seen_revision = revision;
	t = zalloc(sizeof(*t));
	t->apply = revision_apply;
	t->done = revision_done;
	txn_submit(c, t);
}

static void
try_soon(struct peer *p)
{
	p->next_try = TRY_SOON;
	timer_set(p->core, p->timer, RETRY_MS);
}

void
peers_forgot(struct core *c)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		struct peer *p = &c->peers[i];

		if (p->exchange)
			sync_start(p); /* once more behind this one */
		else if (p->session && (p->differing > 0 || p->outdated) && p->next_try != TRY_SOON)
			try_soon(p);
	}
}

void
peers_retry(struct core *c)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		struct peer *p = &c->peers[i];

		if (p->next_try == TRY_LATER) {
			try_soon(p);
		} else if (p->retry && p->exchange) {
			sync_start(p); /* once more behind this one */
		}
	}
}

/* ---- up and down ---- */

/* A router whose revision went back has lost what it did since. */
static void
take_revision(struct peer *p, const json_t *hello)
{
	json_int_t told = json_integer_value(json_object_get(hello, "revision"));

	if (told > 0 && (uint64_t)told < p->revision)
		peer_alarm(p,
			"its store is older than before: revision %" JSON_INTEGER_FORMAT " after %" PRIu64,
			told, p->revision);
	peer_told_revision(p, told > 0 ? (uint64_t)told : 0);
}

void
peer_told_revision(struct peer *p, uint64_t revision)
{
	if (revision > p->revision)
		p->revision = revision;
}

/* It keeps its channel up and does not answer. */
static void
peer_silent(void *arg)
{
	struct peer *p = arg;
	struct session *s = p->session;

	peer_alarm(p, "it does not answer: its channel is closed");
	peer_down(p->core, s);
	session_close(s);
}

/* Which segments both have, by its hello. Of others neither speaks to the other. */
static void
take_segments(struct peer *p, const json_t *hello)
{
	const json_t *theirs = json_object_get(hello, "segments");
	bool others = false, shared;
	struct core *c = p->core;

	p->shares_all = true;
	for (size_t i = 0; i < c->conf->segments.n; i++) {
		const struct conf_segment *s = segment_at(c, (uint16_t)i);
		const json_t *vni = json_object_get(theirs, s->name);

		if (vni && (uint64_t)json_integer_value(vni) != s->vni)
			peer_alarm(p,
				"segment %s has VNI %" JSON_INTEGER_FORMAT " there and %" PRIu64
				" here: not shared",
				s->name, json_integer_value(vni), s->vni);
		shared = vni && (uint64_t)json_integer_value(vni) == s->vni;
		others |= shared != p->shared[i];
		p->shared[i] = shared;
		p->shares_all &= shared;
	}
	if (others)
		digest_shared(p);
}

/* TCP of moved VMs is held to what the tunnel takes, by what the file says of peers, and not by what they have. */
bool
peer_is_narrow(const struct peer *p)
{
	bool any = false;

	for (size_t i = 0; i < p->core->conf->segments.n; i++)
		any |= p->shared[i];
	return any && p->mtu != 0 && p->mtu < config_group_mtu(p->core->conf);
}

/* Told once of each value: other alarms of its coming up are not to wait for this one. */
static void
take_mtu(struct peer *p, const json_t *hello)
{
	json_int_t mtu = json_integer_value(json_object_get(hello, "mtu"));
	uint64_t before = p->mtu;

	p->mtu = mtu > 0 && mtu <= UINT16_MAX ? (uint64_t)mtu : 0;
	if (p->mtu != before && peer_is_narrow(p))
		event_alarm(p->core, p->conf->name,
			"its WAN ports take %" PRIu64 " bytes, and %" PRIu64
			" are reckoned with: large packets of moved VMs are lost; set its mtu in peers",
			p->mtu, config_group_mtu(p->core->conf));
}

/* Both sides called at once: each process sees the other once, in two sessions. */
static bool
crossed(const struct session *a, const struct session *b)
{
	const json_t *x = json_object_get(channel_hello(a->channel), "instance");

	return a->dialled != b->dialled &&
	       json_equal(x, json_object_get(channel_hello(b->channel), "instance"));
}

void
peer_up(struct core *c, struct session *s)
{
	struct session *old;
	struct peer *p = NULL;

	for (size_t i = 0; i < c->n_peers; i++)
		if (strcmp(c->peers[i].conf->name, s->name) == 0)
			p = &c->peers[i];
	if (!p) { /* cannot be: the identity came from this list */
		session_close(s);
		return;
	}
	if (p->dialling == s)
		p->dialling = NULL;
	old = p->session;
	if (old && crossed(old, s) && s->dialled != lower(p)) {
		session_close(s);
		return;
	}
	p->session = NULL;
	if (old) {
		sync_stop(p);
		handover_down(p);
		old->peer = NULL;
		session_close(old);
	}
	s->peer = p;
	p->session = s;
	p->state = PEER_SYNCING;
	p->since_ms = now_ms(c);
	p->backoff_ms = BACKOFF_MIN_MS;
	p->up_serial = ++c->serials;
	p->took_at = 0; /* its store may be another one by now */
	take_segments(p, channel_hello(s->channel));
	take_revision(p, channel_hello(s->channel));
	take_mtu(p, channel_hello(s->channel));
	p->unacked = 0;
	p->lagging = p->told_unsure = p->is_sure = false;
	p->next_try = TRY_NONE;
	c->env->ops->timer_stop(p->timer);
	event_note(c, EVENT_PEER_UP, p->conf->name, "");
	sync_start(p);
	arriving_up(p); /* an exchange may take longer than the old router waits for this */
	handover_up(p);
}

void
peer_down(struct core *c, struct session *s)
{
	struct peer *p = s->peer;

	if (p->dialling == s) {
		p->dialling = NULL;
		p->dials_old =
			p->n_identities > 1 && !p->dials_old; /* it may have its other key still, or by now */
	}
	if (p->session == s) {
		p->session = NULL;
		p->next_try = TRY_NONE;
		sync_stop(p);
		arriving_down(p);
		handover_down(p);
		p->since_ms = now_ms(c);
		event_note(c, EVENT_PEER_AWAY, p->conf->name, "");
		if (p->stale_since == 0)
			p->stale_since = p->since_ms;
		log_warn("control: peer %s is away: its VMs stay as they were", p->conf->name);
	}
	if (p->session)
		return;
	p->state = p->dialling ? PEER_DIALLING : PEER_AWAY;
	if (we_dial(p))
		dial_later(p);
}

bool
peer_may_list(struct core *c, uint8_t router)
{
	const struct peer *p = &c->peers[router - 1];

	return p->session || (p->stale_since && now_ms(c) - p->since_ms < PEER_BACK_MS);
}

void
peer_exchanged(struct peer *p, bool whole)
{
	p->asked = true;
	if (p->session && whole) {
		if (p->state != PEER_SYNCED) {
			event_note(p->core, EVENT_PEER_SYNCED, p->conf->name, "");
			arriving_up(p);
		}
		p->state = PEER_SYNCED;
		p->stale_since = 0;
	}
	if (p->session && whole && p->agrees) {
		p->backoff_ms = BACKOFF_MIN_MS;
		p->next_try = TRY_NONE;
		timer_set(p->core, p->timer, spread(p->core, CHECK_MS));
	} else if (p->session && p->next_try != TRY_SOON) {
		dial_later(p); /* the same timer and back-off, for another exchange */
		p->next_try = whole ? TRY_NONE : TRY_LATER;
	}
	core_ready(p->core, false);
}

/* ---- start and stop ---- */

/* By its part of the configuration. */
static void
peer_is(struct peer *p, const struct conf_peer *conf)
{
	p->conf = conf;
	p->leaving = false;
	snprintf(p->address, sizeof(p->address), "%s", conf->address);
	peer_identify(p);
}

static void
peer_add(struct core *c)
{
	struct peer *p = &c->peers[c->n_peers++];

	p->core = c;
	p->index = (uint8_t)c->n_peers;
	p->backoff_ms = BACKOFF_MIN_MS;
	p->timer = timer_new(c, peer_timer, p);
	p->deadline = timer_new(c, peer_silent, p);
	p->stale_since = p->agrees_since = now_ms(c);
	p->shared = zalloc(c->conf->segments.n + 1);
	p->mine = zalloc(sizeof(*p->mine));
	p->theirs = zalloc(sizeof(*p->theirs));
	handover_init(p);
	peer_is(p, list_at(c->conf->peers, const struct conf_peer, p->index - 1));
}

void
peers_init(struct core *c)
{
	callers_init(c);
	c->peers = zalloc_secret(PEERS_MAX * sizeof(*c->peers)); /* they stay where they are */
	while (c->n_peers < c->conf->peers.n)
		peer_add(c);
}

int
peers_listen(struct core *c, struct err *e)
{
	char address[sizeof(c->conf->control.socket) + 8];

	if (c->conf->control.socket[0]) {
		snprintf(address, sizeof(address), "unix:%s", c->conf->control.socket);
		c->local = env_call(c->env, listen, address, accepted_local, c, e);
		if (!c->local)
			return e && e->code ? e->code : -EADDRINUSE;
	}
	if (c->conf->control.listen[0]) {
		c->tcp = env_call(c->env, listen, c->conf->control.listen, accepted_tcp, c, e);
		if (!c->tcp)
			return e && e->code ? e->code : -EADDRINUSE;
	}
	return 0;
}

void
peers_start(struct core *c)
{
	for (size_t i = 0; i < c->n_peers; i++)
		if (we_dial(&c->peers[i]))
			peer_dial(&c->peers[i]);
}

/* ---- while the router runs ---- */

static void
hang_up(struct peer *p, const char *why)
{
	if (p->dialling)
		session_end(p->dialling, why);
	if (p->session)
		session_end(p->session, why);
}

void
peer_leave(struct peer *p)
{
	p->leaving = true;
	explicit_bzero(p->identities, sizeof(p->identities));
	p->n_identities = 0;
	hang_up(p, "it is removed from the configuration");
	p->core->env->ops->timer_stop(p->timer);
}

static void
dial_now(struct peer *p)
{
	p->backoff_ms = BACKOFF_MIN_MS;
	if (p->session || !we_dial(p))
		return;
	p->core->env->ops->timer_stop(p->timer);
	peer_dial(p);
}

void
peer_stay(struct peer *p)
{
	if (!p->leaving)
		return;
	peer_is(p, p->conf);
	dial_now(p);
}

static void
peer_follow(struct peer *p, const struct conf_peer *conf)
{
	bool moved = strcmp(p->address, conf->address) != 0, is_back = p->address[0] == '\0' && moved;

	peer_is(p, conf);
	if (conf->removed) { /* nobody waits for it */
		p->asked = true;
		return;
	}
	if (is_back) {
		p->asked = false;
		p->took_at = 0;
		p->stale_since = p->since_ms = now_ms(p->core);
	}
	if (moved)
		hang_up(p, "its address is another one");
	if (p->dialling && !caller_is_known(p->core, channel_peer(p->dialling->channel)))
		session_end(p->dialling, "its key is another one");
	dial_now(p);
}

void
peers_follow(struct core *c)
{
	for (size_t i = 0; i < c->n_peers; i++)
		peer_follow(&c->peers[i], list_at(c->conf->peers, const struct conf_peer, i));
	while (c->n_peers < c->conf->peers.n) {
		peer_add(c);
		c->peers[c->n_peers - 1].since_ms = now_ms(c);
		dial_now(&c->peers[c->n_peers - 1]);
	}
	core_ready(c, false);
}

/* ---- stop ---- */

void
peers_fini(struct core *c)
{
	if (c->tcp)
		c->env->ops->listener_close(c->tcp);
	if (c->local)
		c->env->ops->listener_close(c->local);
	for (size_t i = 0; i < c->n_peers; i++) {
		sync_stop(&c->peers[i]);
		handover_down(&c->peers[i]);
		c->peers[i].session = NULL;
		c->env->ops->timer_free(c->peers[i].timer);
		c->env->ops->timer_free(c->peers[i].deadline);
	}
	sessions_fini(c);
	for (size_t i = 0; i < c->n_peers; i++) {
		handover_fini(&c->peers[i]);
		news_fini(&c->peers[i]);
		free(c->peers[i].shared);
		digest_clear(c->peers[i].mine);
		digest_clear(c->peers[i].theirs);
		free(c->peers[i].mine);
		free(c->peers[i].theirs);
	}
	callers_fini(c);
	clients_fini(c);
	secret_free(c->peers);
}
