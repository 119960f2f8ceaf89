/* SPDX-License-Identifier: BSD-3-Clause */
/* invariants.c - what must hold at any moment, once all is healed, and after a restart. */
#include "sim.h"

#include <stdio.h>

#define SLACK_MS 4000 /* a drain ends with the second and its transaction, on a disk that takes it */
#define ASKED_MS 3000 /* the wait at start, and some for lines of 180 ms */

typedef unsigned long long ull;

static struct core *
core_of(struct sim *s, unsigned int i)
{
	return world_router(s->w, i)->core;
}

static const char *
name_of(struct sim *s, unsigned int i)
{
	return world_router(s->w, i)->name;
}

/* What router i has of its peer j. */
static struct peer *
peer_of(struct sim *s, unsigned int i, unsigned int j)
{
	return &core_of(s, i)->peers[j - (j > i)];
}

/* ---- at any moment ---- */

static void
check_drain(struct sim *s, const struct node *n, const struct drain_time *t)
{
	uint64_t now = n->env.ops->now_ms(n->env.ctx);

	if (t->max_at > now + t->max_ms)
		world_broken(s->w, "%s: a drain was given more time than it was asked for", n->name);
	if (now > t->max_at + SLACK_MS)
		world_broken(s->w, "%s: a drain has outlived its time by %llu ms", n->name,
			(ull)(now - t->max_at));
}

/* While a router runs, no drain of its own is older than it may be. */
static void
check_drains(struct sim *s, unsigned int i)
{
	struct node *n = world_router(s->w, i);
	struct vm_obj *o;

	if (n->commits_to_fail || n->prepare_fails || n->prepare_limit ||
		s->w->now < s->calm_since[i] + SLACK_MS || s->w->now < n->failed_at + SLACK_MS)
		return;
	DL_FOREACH2(n->core->draining, o, drain_next)
	{
		for (unsigned int d = 0; d < o->now.fwd.n_drains; d++)
			if (o->now.fwd.drains[d].home == FWD_SELF)
				check_drain(s, n, &o->now.drain[d]);
	}
}

/* What the owner's move says of old sessions; NULL: it is no move, or two were asked for that say different things. */
static const char *
policy_of(const struct slot *t, unsigned int i, uint64_t epoch)
{
	const char *policy = NULL;
	const struct change *ch;

	LL_FOREACH(t->changes, ch)
	{
		if (ch->epoch != epoch || ch->router != i || ch->outcome == REFUSED)
			continue;
		if (ch->op != OP_MOVE || (policy && strcmp(policy, ch->sessions) != 0))
			return NULL;
		policy = ch->sessions;
	}
	return policy;
}

/* After a move that cuts nothing drains; the owner sends directly what drains elsewhere if that was asked for, and nothing else. */
static void
check_policies(struct sim *s, unsigned int i)
{
	for (unsigned int k = 0; k < s->n_slots; k++) {
		const struct slot *t = &s->slots[k];
		struct vm_obj *o = slot_vm(s, i, t, t->generation);
		const char *policy = o && o->now.fwd.owner == FWD_SELF ? policy_of(t, i, o->now.epoch) : NULL;

		for (unsigned int d = 0; policy && d < o->now.fwd.n_drains; d++) {
			const struct fwd_drain *drain = &o->now.fwd.drains[d];
			bool direct = drain->home != FWD_SELF && strcmp(policy, "direct") == 0;

			if (strcmp(policy, "cut") == 0 || drain->direct != direct)
				world_broken(s->w, "%s: slot %u: a drain of a move with sessions %s %s",
					name_of(s, i), t->number, policy,
					drain->direct ? "is direct" : "is not direct");
		}
	}
}

/* Before the last day that passed: then it may be forgotten that it was. */
static bool
was_gone(const struct sim *s, const struct slot *t)
{
	const struct change *ch;

	LL_FOREACH(t->changes, ch)
	if (ch->op == OP_UNREGISTER && ch->outcome != REFUSED && ch->asked_at < s->day_at)
		return true;
	return false;
}

/* It has this from its owner, which has it from an old store, too: nobody who is there knows better. */
static bool
owner_is_old(struct sim *s, unsigned int i, unsigned int k, const struct vm_obj *o)
{
	const char *owner = router_name(world_router(s->w, i)->core, o->now.fwd.owner);

	for (unsigned int r = 0; r < s->n_routers; r++)
		if (strcmp(name_of(s, r), owner) == 0)
			return o->now.epoch <= s->old[r][k];
	return false;
}

/* While a router runs, what it knows of a VM never gets older, until its end may be forgotten. */
static void
check_epochs(struct sim *s, unsigned int i)
{
	for (unsigned int k = 0; k < s->n_slots; k++) {
		const struct slot *t = &s->slots[k];
		struct vm_obj *o = slot_vm(s, i, t, t->generation);
		uint64_t epoch = o ? o->now.epoch : 0;

		if (s->generations[i][k] != t->generation)
			s->epochs[i][k] = s->floors[i][k] = s->old[i][k] = 0;
		s->generations[i][k] = t->generation;
		if ((!o || owner_is_old(s, i, k, o)) &&
			s->epochs[i][k] <= s->old[i][k]) /* it was in an old store, and in nothing newer */
			s->epochs[i][k] = 0;
		if (was_gone(s, t) && (epoch < s->epochs[i][k] || epoch < s->floors[i][k]))
			s->epochs[i][k] = s->floors[i][k] = 0;
		if (epoch < s->epochs[i][k])
			world_broken(s->w, "%s: slot %u went back from epoch %llu to %llu", name_of(s, i), k,
				(ull)s->epochs[i][k], (ull)epoch);
		s->epochs[i][k] = epoch;
	}
}

static void
check_term(struct sim *s, unsigned int i)
{
	uint64_t term = core_of(s, i)->term.number;

	if (term < s->terms[i])
		world_broken(
			s->w, "%s: term %llu was seen and is forgotten", name_of(s, i), (ull)s->terms[i]);
	s->terms[i] = term;
}

static bool
in_between(struct sim *s, unsigned int i, unsigned int j)
{
	return s->w->cut[i][j] || s->w->cut[j][i];
}

/* A router that starts, or whose peer does, has soon asked it, if nothing was between them at the later start and
 * since: however long the other had been trying in vain. */
static void
check_asked(struct sim *s, unsigned int i)
{
	for (unsigned int j = 0; j < s->n_routers; j++) {
		uint64_t later = s->started[i] > s->started[j] ? s->started[i] : s->started[j];

		if (s->w->reset_permille > 0 || s->lossy_end >= later)
			continue;
		if (i == j || !core_of(s, j) || in_between(s, i, j) || s->line_fault[i][j] >= later ||
			s->w->now < later + ASKED_MS || s->calm_since[i] > later || s->calm_since[j] > later)
			continue;
		if (!peer_of(s, i, j)->asked)
			world_broken(s->w, "%s has not asked %s", name_of(s, i), name_of(s, j));
	}
}

void
check_always(struct sim *s)
{
	for (unsigned int i = 0; i < s->n_routers; i++) {
		if (!core_of(s, i)) {
			memset(s->epochs[i], 0, sizeof(s->epochs[i]));
			continue;
		}
		check_drains(s, i);
		check_asked(s, i);
		if (core_of(s, i)->group) /* what is on its way may still be undone */
			continue;
		check_epochs(s, i);
		check_policies(s, i);
		check_term(s, i);
		if (core_of(s, i)->running && s->turn++ % 8 == 0)
			model_is_true(world_router(s->w, i));
	}
}

void
check_start(struct sim *s, unsigned int i)
{
	for (unsigned int k = 0; k < s->n_slots; k++) {
		const struct slot *t = &s->slots[k];
		struct vm_obj *o = slot_vm(s, i, t, t->generation);

		if (s->generations[i][k] == t->generation && !was_gone(s, t) &&
			(o ? o->now.epoch : 0) < s->floors[i][k])
			world_broken(s->w, "%s: slot %u: epoch %llu was acknowledged and is not in the store",
				name_of(s, i), k, (ull)s->floors[i][k]);
		if (s->is_old[i])
			s->old[i][k] = o ? o->now.epoch : 0;
	}
	s->is_old[i] = false;
	if (core_of(s, i)->term.number < s->terms[i])
		world_broken(s->w, "%s: term %llu was seen and is not in the store", name_of(s, i),
			(ull)s->terms[i]);
}

/* ---- healed ---- */

/* Both have a session, with the process that the other one is. */
static bool
pair_up(struct sim *s, unsigned int i, unsigned int j)
{
	const struct peer *p = peer_of(s, i, j);
	json_t *instance;

	if (!core_of(s, i)->running || !p->session)
		return false;
	instance = json_object_get(channel_hello(p->session->channel), "instance");
	return (uint64_t)json_integer_value(instance) == core_of(s, j)->instance;
}

bool
channels_up(struct sim *s)
{
	if (!world_is_whole(s->w))
		return false;
	for (unsigned int i = 0; i < s->n_routers; i++)
		for (unsigned int j = 0; j < s->n_routers; j++)
			if (i != j && !pair_up(s, i, j))
				return false;
	return true;
}

bool
stores_take(struct sim *s)
{
	for (unsigned int i = 0; i < s->n_routers; i++)
		if (core_of(s, i)->storage.rc != 0)
			return false;
	return true;
}

/* Whether it lives, where and since when; as a name, since indices differ from router to router. */
static const char *
owner_at(struct sim *s, unsigned int i, const struct slot *t, uint64_t *epoch, bool *live)
{
	struct vm_obj *o = slot_vm(s, i, t, t->generation);

	*epoch = o ? o->now.epoch : 0;
	*live = vm_live(o);
	return o ? router_name(core_of(s, i), o->now.fwd.owner) : "nobody";
}

/* VMs that are gone for good are so at each. */
static bool
ended_agree(struct sim *s, const struct slot *t, char why[200])
{
	for (unsigned int i = 0; i < s->n_routers; i++) {
		for (uint8_t g = 0; g < t->generation && s->has[t->segment][i]; g++) {
			if (!vm_live(slot_vm(s, i, t, g)))
				continue;
			snprintf(
				why, 200, "slot %u.%u is gone, and lives at %s", t->number, g, name_of(s, i));
			return false;
		}
	}
	return true;
}

static bool
slot_agrees(struct sim *s, const struct slot *t, char why[200])
{
	const char *owner = NULL, *other;
	uint64_t epoch = 0, e;
	bool live = false, l;
	unsigned int first = 0;

	for (unsigned int i = 0; i < s->n_routers; i++) {
		if (!s->has[t->segment][i])
			continue;
		other = owner_at(s, i, t, &e, &l);
		if (!owner) {
			owner = other;
			epoch = e;
			live = l;
			first = i;
		} else if (e != epoch || l != live || strcmp(owner, other) != 0) {
			snprintf(why, 200, "slot %u.%u: %s has epoch %llu of %s%s, %s epoch %llu of %s%s",
				t->number, t->generation, name_of(s, first), (ull)epoch, owner,
				live ? "" : " (gone)", name_of(s, i), (ull)e, other, l ? "" : " (gone)");
			return false;
		}
	}
	return true;
}

bool
owners_agree(struct sim *s, char why[200])
{
	for (unsigned int k = 0; k < s->n_slots; k++)
		if (!slot_agrees(s, &s->slots[k], why) || !ended_agree(s, &s->slots[k], why))
			return false;
	return true;
}

/* ---- what was acknowledged ---- */

static unsigned int
segment_router(struct sim *s, const struct slot *t)
{
	unsigned int i = 0;

	while (!s->has[t->segment][i])
		i++;
	return i;
}

/* Was it, or the same deletion, asked for before the last day? */
static bool
is_old(const struct sim *s, const struct slot *t, const struct change *ch)
{
	const struct change *other;

	LL_FOREACH(t->changes, other)
	if (other->asked_at < s->day_at && other->outcome != REFUSED &&
		(other == ch ||
			(ch->op == OP_UNREGISTER && other->op == ch->op && other->epoch == ch->epoch)))
		return true;
	return false;
}

/* The state at the end is that of a change that may have been made; at its epoch the lowest name wins of those that
 * were acknowledged. */
static void
check_history(struct sim *s, const struct slot *t)
{
	unsigned int at = segment_router(s, t);
	bool live, explained = false, forgotten = was_gone(s, t);
	uint64_t epoch;
	const char *owner = owner_at(s, at, t, &epoch, &live);
	const struct change *ch;

	LL_FOREACH(t->changes, ch)
	{
		int order = strcmp(name_of(s, ch->router), owner);
		bool same = ch->epoch == epoch && ch->op == OP_UNREGISTER && !live; /* whoever did it */

		if (ch->outcome == ACKED && !same && !(forgotten && is_old(s, t, ch)) &&
			(ch->epoch > epoch || (ch->epoch == epoch && order < 0)))
			world_broken(s->w,
				"slot %u.%u: epoch %llu at %s was acknowledged and is lost: it is %llu of %s",
				t->number, t->generation, (ull)ch->epoch, name_of(s, ch->router), (ull)epoch,
				owner);
		if (ch->epoch == epoch && order == 0 && (ch->op != OP_UNREGISTER) == live &&
			ch->outcome != REFUSED)
			explained = true;
	}
	if (!live &&
		t->put_back
			[t->generation]) /* an old store had it, until that ended: a deletion at the old epoch */
		explained = true;
	if (epoch > 0 && !explained)
		world_broken(s->w, "slot %u.%u: epoch %llu of %s%s is what nobody has asked for", t->number,
			t->generation, (ull)epoch, owner, live ? "" : " (gone)");
}

static void
check_routes(struct sim *s, unsigned int r)
{
	char prefix[24];

	for (int p = 0; p < PREFIXES; p++) {
		const struct routes *want = &s->routes[r];
		const struct fwd_route *route;
		uint32_t host;

		snprintf(prefix, sizeof(prefix), "203.0.%d.0/24", p);
		route = model_route(world_router(s->w, r), prefix);
		host = route ? route->via & 0xff : 0;
		if (host != want->acked[p] && !want->any[p] && (!host || host != want->unsure[p]))
			world_broken(s->w, "%s: route %s goes to .%u, acknowledged was .%u", name_of(s, r),
				prefix, host, want->acked[p]);
	}
}

void
check_round(struct sim *s)
{
	char why[200];

	for (unsigned int k = 0; k < s->n_slots; k++)
		check_history(s, &s->slots[k]);
	if (!owners_agree(s, why))
		world_broken(s->w, "%s", why);
	for (unsigned int i = 0; i < s->n_routers; i++) {
		if (!core_of(s, i)->group)
			model_is_true(world_router(s->w, i));
		check_routes(s, i);
	}
}

/* ---- the end ---- */

/* A sum made anew of what router i has as its own, or as peer p's, in the segments that it shares with p. */
static uint64_t
sum_of(struct core *c, const struct peer *p, uint8_t owner)
{
	uint64_t sum = 0;

	for (struct vm_obj *o = c->vms; o; o = o->hh.next)
		if (o->present && o->now.fwd.owner == owner && p->shared[o->key.segment])
			sum += vm_hash(c, &o->now);
	return sum;
}

static uint64_t
sum_kept(const struct digest *d)
{
	uint64_t sum = 0, leaves = 0;

	for (unsigned int b = 0; b < DIGEST_FAN; b++) {
		sum += d->branch[b];
		for (unsigned int l = 0; l < DIGEST_FAN && d->leaves[b]; l++)
			leaves += d->leaves[b][l];
	}
	return sum == leaves ? sum : ~sum;
}

/* What router i owns: as it sums it up, as peer j does, and by what they have. */
static bool
pair_agrees(struct sim *s, unsigned int i, unsigned int j)
{
	struct peer *there = peer_of(s, i, j), *here = peer_of(s, j, i);
	uint64_t sum = sum_of(core_of(s, i), there, FWD_SELF);

	return sum_kept(there->mine) == sum && sum_kept(here->theirs) == sum &&
	       memcmp(there->mine->branch, here->theirs->branch, sizeof(here->theirs->branch)) == 0;
}

bool
digests_agree(struct sim *s, char why[200])
{
	for (unsigned int i = 0; i < s->n_routers; i++) {
		for (unsigned int j = 0; j < s->n_routers; j++) {
			if (i == j || pair_agrees(s, i, j))
				continue;
			snprintf(why, 200, "the digests of what %s owns are not the same there and at %s",
				name_of(s, i), name_of(s, j));
			return false;
		}
	}
	return true;
}

static bool
is_at_rest(struct core *c)
{
	if (c->reserved || c->timed || c->departing)
		return false;
	for (struct vm_obj *o = c->vms; o; o = o->hh.next)
		if (o->now.fwd.n_drains > 0 || (!o->now.deleted && o->now.fwd.flags != 0))
			return false;
	return true;
}

bool
moves_over(struct sim *s)
{
	for (unsigned int i = 0; i < s->n_routers; i++)
		if (!is_at_rest(core_of(s, i)))
			return false;
	return true;
}

static struct vm_obj *
find_by_name(struct core *c, const char *segment, const struct mac *mac)
{
	int i = segment_index(c, segment);

	return i < 0 ? NULL : vm_find(c, (uint16_t)i, mac);
}

static void
check_pair(struct sim *s, unsigned int i, unsigned int j)
{
	struct core *a = core_of(s, i), *b = core_of(s, j);
	char mac[MAC_TEXT];

	for (struct vm_obj *p, *o = a->vms; o; o = o->hh.next) {
		const char *segment = segment_at(a, o->key.segment)->name;

		if (!vm_live(o) || segment_index(b, segment) < 0)
			continue;
		p = find_by_name(b, segment, &o->key.mac);
		if (!p || vm_hash(a, &o->now) != vm_hash(b, &p->now))
			world_broken(s->w,
				"%s and %s differ about %s: epochs %llu and %llu, owners %s and %s",
				name_of(s, i), name_of(s, j), mac_format(&o->key.mac, mac), (ull)o->now.epoch,
				p ? (ull)p->now.epoch : 0, router_name(a, o->now.fwd.owner),
				p ? router_name(b, p->now.fwd.owner) : "nobody");
	}
}

void
check_end(struct sim *s)
{
	check_round(s);
	for (unsigned int i = 0; i < s->n_routers; i++)
		for (unsigned int j = 0; j < s->n_routers; j++)
			if (i != j)
				check_pair(s, i, j);
	if (!moves_over(s))
		world_broken(s->w, "a drain, or a move that was prepared, is left");
	for (unsigned int i = 0; i < s->n_routers; i++)
		log_is_whole(world_router(s->w, i));
}

static uint64_t
knowledge(struct core *c)
{
	uint64_t sum = 0;

	for (struct vm_obj *o = c->vms; o; o = o->hh.next)
		sum += vm_hash(c, &o->now);
	return sum;
}

void
check_restart(struct sim *s)
{
	uint64_t before[WORLD_ROUTERS];

	for (unsigned int i = 0; i < s->n_routers; i++)
		before[i] = knowledge(core_of(s, i));
	for (unsigned int i = 0; i < s->n_routers; i++)
		node_crash(world_router(s->w, i));
	chaos_restart(s, true);
	for (unsigned int i = 0; i < s->n_routers; i++)
		if (before[i] != knowledge(core_of(s, i)))
			world_broken(s->w, "%s: a restart changed what it knows", name_of(s, i));
	world_run(s->w, 5000);
	check_end(s);
}
