/* SPDX-License-Identifier: BSD-3-Clause */
/* seed.c - one seed: a world, some rounds of faults and healing, and its end. */
#include "sim.h"

#include <stdio.h>

#define CHAOS_MS   25000
#define UP_MS	   90000 /* silence is noticed after 15 s, and diallers wait up to 60 s between tries */
#define AGREED_MS  2000	 /* from then on */
#define SEEN_MS	   5000	 /* an observer that has to dial again, too */
#define DIGESTS_MS 150000
#define DRAINS_MS  30000 /* the longest, and the news of its end */

static unsigned int
pick_routers(struct sim *s)
{
	static const unsigned int of_ten[] = {3, 3, 3, 3, 4, 4, 4, 5, 5, 6};
	unsigned int n = of_ten[world_random(s->w, 10)];

	return world_random(s->w, 25) == 0 ? 8 : world_random(s->w, 25) == 0 ? 7 : n;
}

/* Seeds differ in how long they are, and in how many changes are asked for between two faults. */
static void
pick_pace(struct sim *s)
{
	static const unsigned int rounds[] = {1, 2, 2, ROUNDS_MAX}, one_in[] = {2, 2, 3, 5};

	s->rounds = rounds[world_random(s->w, 4)];
	if (s->options->rounds)
		s->rounds = s->options->rounds; /* those that both have are the same */
	s->step_ms = world_random(s->w, 3) ? 400 : 200;
	s->fault_in = one_in[world_random(s->w, 4)];
}

/* Not all routers share all segments, and they number them in their own way. Some keep a short log, some give up
 * addresses of a router that is away. */
static void
configure(struct sim *s)
{
	for (unsigned int i = 0; i < s->n_routers; i++) {
		struct node *n = world_router(s->w, i);
		bool second = i < 2 || world_random(s->w, 3) > 0, swapped = world_random(s->w, 2);

		s->has[0][i] = true;
		s->has[1][i] = second;
		n->conf.control.log_rows = 30 + world_random(s->w, 270);
		n->conf.drain.on_home_lost = i % 2 ? HOME_LOST_CUT : HOME_LOST_WAIT;
		n->conf.drain.home_lost_after_ms = 3000;
		n->conf.moves.prepared_max_ms = 15000;
		n->conf.moves.paused_max_ms = 3000;
		watch_configure(s, n);
		node_drop_segments(n);
		if (second && swapped)
			node_add_segment(n, "tenant-b", 101, 0xac140000, 16, ACCESS_NAT);
		node_add_segment(n, "tenant-a", 100, 0x0a000000, 8, ACCESS_NAT);
		if (second && !swapped)
			node_add_segment(n, "tenant-b", 101, 0xac140000, 16, ACCESS_NAT);
	}
}

static void
begin(struct sim *s, uint64_t seed, const struct options *o)
{
	struct world *pick = world_new(seed, 1);

	memset(s, 0, sizeof(*s));
	s->options = o;
	s->w = pick;
	s->n_routers = pick_routers(s);
	if (o->routers)
		s->n_routers = o->routers;
	world_free(pick);
	s->w = world_new(seed, s->n_routers);
	s->n_slots = o->slots ? o->slots : 4 + (unsigned int)world_random(s->w, SLOTS - 3);
	if (o->trace)
		trace_begin(s);
	configure(s);
	pick_pace(s);
	for (unsigned int i = 0; i < s->n_slots; i++) {
		s->slots[i].number = i;
		s->slots[i].segment = world_random(s->w, 3) == 0;
	}
	for (unsigned int i = 0; i < s->n_routers; i++)
		s->routes[i].prefix = -1;
	chaos_begin(s);
	chaos_restart(s, true);
	controllers_begin(s);
	watch_begin(s);
}

/* The data plane hears a VM somewhere. */
static void
evidence(struct sim *s)
{
	struct slot *t = &s->slots[world_random(s->w, s->n_slots)];
	unsigned int at = slot_router(s, t);
	struct node *n = world_router(s->w, at);
	struct fwd_event ev = {.kind = FWD_VM_SEEN, .mac = slot_mac(t, t->generation), .ip = slot_private(t)};

	if (!n->core)
		return;
	ev.segment = (uint16_t)segment_index(n->core, segment_names[t->segment]);
	ev.location = (uint8_t)world_random(s->w, s->n_routers);
	node_event(n, &ev);
}

static void
chaos(struct sim *s)
{
	uint64_t until = s->w->now + CHAOS_MS;

	while (s->w->now < until && !s->w->why[0]) {
		world_run(s->w, 20 + world_random(s->w, s->step_ms));
		chaos_restart(s, false);
		controllers_act(s);
		if (world_random(s->w, 3) == 0)
			evidence(s);
		if (world_random(s->w, s->fault_in) == 0)
			chaos_act(s);
		check_always(s);
	}
}

/* Waits until it holds; false: it took too long, or something broke. */
static bool
wait_until(struct sim *s, bool (*holds)(struct sim *s), uint64_t ms, uint64_t step)
{
	uint64_t until = s->w->now + ms;

	while (!holds(s)) {
		if (s->w->now >= until || s->w->why[0])
			return false;
		world_run(s->w, step);
		check_always(s);
	}
	return true;
}

static bool
is_up(struct sim *s)
{
	return channels_up(s) && stores_take(s) && controllers_settled(s) && watch_is_up(s);
}

static bool
is_agreed(struct sim *s)
{
	char why[200];

	ghosts_unregister(s);
	return owners_agree(s, why);
}

static bool
is_seen(struct sim *s)
{
	char why[200];

	return watch_is_up(s) && watch_agrees(s, why);
}

static bool
is_same(struct sim *s)
{
	char why[200];

	return digests_agree(s, why);
}

/* The observer knows what its router does. */
static void
check_seen(struct sim *s)
{
	char why[200];

	if (!wait_until(s, is_seen, SEEN_MS, 50) && !watch_agrees(s, why))
		world_broken(s->w, "%d ms after its router knew: %s", SEEN_MS, why);
}

/* Routers compare their digests each minute. */
static void
check_digests(struct sim *s)
{
	char why[200];

	if (!wait_until(s, is_same, DIGESTS_MS, 1000) && !digests_agree(s, why))
		world_broken(s->w, "%d s after all drains: %s", DIGESTS_MS / 1000, why);
}

static void
keep_longest(uint64_t *longest, uint64_t ms)
{
	if (ms > *longest)
		*longest = ms;
}

static void
settle(struct sim *s)
{
	uint64_t healed = s->w->now, up;
	char why[200];

	if (!wait_until(s, is_up, UP_MS, 100)) {
		world_broken(s->w, "not all channels are up %d s after the heal", UP_MS / 1000);
		return;
	}
	up = s->w->now;
	note(s, "all channels are up");
	if (!wait_until(s, is_agreed, AGREED_MS, 50) && !owners_agree(s, why)) {
		world_broken(s->w, "%d ms after all channels were up: %s", AGREED_MS, why);
		return;
	}
	keep_longest(&s->did.up_ms, up - healed);
	keep_longest(&s->did.agreed_ms, s->w->now - up);
	note(s, "all agree");
	check_round(s);
	check_seen(s);
}

static void
rounds(struct sim *s)
{
	for (unsigned int i = 0; i < s->rounds && !s->w->why[0]; i++) {
		chaos(s);
		controllers_rest(s);
		if (s->w->why[0])
			return;
		chaos_heal(s);
		settle(s);
	}
}

static void
finish(struct sim *s)
{
	wait_until(s, moves_over, DRAINS_MS, 500);
	if (s->w->why[0])
		return;
	world_run(s->w, 1000);
	check_digests(s);
	check_end(s);
	if (!s->w->why[0])
		check_restart(s);
	check_seen(s);
}

static void
end(struct sim *s)
{
	watch_end(s);
	controllers_end(s);
	history_free(s);
	chaos_end(s);
	world_free(s->w);
}

struct result
run_seed(uint64_t seed, const struct options *o)
{
	struct result r = {0};
	struct sim s;

	begin(&s, seed, o);
	rounds(&s);
	if (!s.w->why[0])
		finish(&s);
	r.good = !s.w->why[0];
	r.fingerprint = s.w->serial ^ world_random(s.w, UINT64_MAX);
	r.did = s.did;
	snprintf(r.why, sizeof(r.why), "at %llu ms: %s", (unsigned long long)s.w->now, s.w->why);
	if (!r.good && o->trace)
		trace_print();
	end(&s);
	return r;
}
