/* SPDX-License-Identifier: BSD-3-Clause */
/* chaos.c - what befalls links, routers, disks, clocks and controllers. Each seed has some kinds of faults only: a kind
 * that is always there would hide what the others find. */
#include "sim.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define TEN_YEARS_MS  INT64_C(315360000000)
#define HOUR_MS	      UINT64_C(3600000)
#define DAY_MS	      (25 * HOUR_MS)
#define ON_ITS_WAY_MS 200 /* the longest delay: until then a reset from before may arrive */

static unsigned int
any_router(struct sim *s)
{
	return (unsigned int)world_random(s->w, s->n_routers);
}

static struct node *
any_node(struct sim *s)
{
	return world_router(s->w, any_router(s));
}

/* The other end of a link of router `a`: another router or a controller. */
static unsigned int
any_other(struct sim *s, unsigned int a)
{
	unsigned int n = s->n_routers + CONTROLLERS;

	return (a + 1 + (unsigned int)world_random(s->w, n - 1)) % n;
}

static const char *
name_of(struct sim *s, unsigned int i)
{
	return s->w->nodes[i].name;
}

/* Something is between two nodes, until this moment. */
static void
disturbed(struct sim *s, unsigned int a, unsigned int b, uint64_t until)
{
	if (until > s->line_fault[a][b])
		s->line_fault[a][b] = s->line_fault[b][a] = until;
}

static void
all_disturbed(struct sim *s, uint64_t until)
{
	for (unsigned int a = 0; a < s->w->n_nodes; a++)
		for (unsigned int b = 0; b < a; b++)
			disturbed(s, a, b, until);
}

static void
router_disturbed(struct sim *s, const struct node *n, uint64_t until)
{
	if (n->index < s->n_routers && until > s->calm_since[n->index]) /* controllers stand behind them */
		s->calm_since[n->index] = until;
}

/* ---- links ---- */

struct link {
	unsigned int a, b;
};

static struct link
disturb_link(struct sim *s, const char *what, uint64_t ms)
{
	struct link l = {.a = any_router(s)};

	l.b = any_other(s, l.a);
	disturbed(s, l.a, l.b, s->w->now + ms);
	note(s, "%s: %s and %s", what, name_of(s, l.a), name_of(s, l.b));
	return l;
}

static void
do_reset(struct sim *s)
{
	struct link l = disturb_link(s, "reset", 0);

	world_reset(s->w, l.a, l.b);
}

static void
do_cut(struct sim *s)
{
	struct link l = disturb_link(s, "cut", 0);

	world_cut(s->w, l.a, l.b, true);
}

static void
do_one_way(struct sim *s)
{
	struct link l = disturb_link(s, "cut of one direction", 0);

	if (world_random(s->w, 2))
		world_cut_one_way(s->w, l.a, l.b, true);
	else
		world_cut_one_way(s->w, l.b, l.a, true);
}

static void
do_join(struct sim *s)
{
	struct link l = disturb_link(s, "joined", 0);

	world_cut(s->w, l.a, l.b, false);
}

static void
do_stall(struct sim *s)
{
	uint64_t ms = world_random(s->w, 20000);
	struct link l = disturb_link(s, "old connections are slow", ms);

	world_stall(s->w, l.a, l.b, ms);
}

static void
do_half_open(struct sim *s)
{
	struct link l = disturb_link(s, "reset that one end does not hear of", 0);

	if (world_random(s->w, 2))
		world_half_open(s->w, l.a, l.b);
	else
		world_half_open(s->w, l.b, l.a);
}

/* All links stop one after another, and then go again, in another order. */
static void
do_clog(struct sim *s)
{
	uint64_t now = s->w->now;

	note(s, "all links clog");
	for (unsigned int a = 0; a < s->w->n_nodes; a++) {
		for (unsigned int b = 0; b < s->w->n_nodes; b++) {
			s->w->clog_from[a][b] = now + world_random(s->w, 2000);
			s->w->clog_until[a][b] = now + 2000 + world_random(s->w, 6000);
		}
	}
	all_disturbed(s, now + 8000);
}

static void
do_lossy(struct sim *s)
{
	bool on = s->w->reset_permille == 0;

	note(s, "1 %% of resets and 200 ms of delay %s", on ? "begin" : "end");
	s->w->reset_permille = on ? 10 : 0;
	s->w->delay_max = on ? 200 : 3;
	s->lossy_end = s->w->now;
}

static void
do_delay(struct sim *s)
{
	s->w->delay_max = s->w->delay_min + world_random(s->w, 4) * world_random(s->w, 60);
	note(s, "delays up to %llu ms", (unsigned long long)s->w->delay_max);
}

static void
do_slow(struct sim *s)
{
	struct node *n = any_node(s);

	n->slow_until = s->w->now + world_random(s->w, 15000);
	note(s, "%s reads slowly", n->name);
	for (unsigned int b = 0; b < s->w->n_nodes; b++)
		disturbed(s, n->index, b, n->slow_until + 2000);
}

/* ---- routers ---- */

static void
went_down(struct sim *s, struct node *n, uint64_t for_ms)
{
	s->did.crashes++;
	s->restart_at[n->index] = s->w->now + 50 + for_ms;
}

static bool
kill_node(struct sim *s, struct node *n)
{
	if (!n->core)
		return false;
	note(s, "%s is killed", n->name);
	node_crash(n);
	went_down(s, n, world_random(s->w, 8000));
	return true;
}

static void
do_crash(struct sim *s)
{
	kill_node(s, any_node(s));
}

static void
do_step(struct sim *s)
{
	struct node *n = any_node(s);

	n->crash_on = (enum node_step)(1 + world_random(s->w, STEP_WRITE));
	n->crash_after = (unsigned int)world_random(s->w, 4);
	note(s, "%s will be killed after step %d", n->name, n->crash_on);
}

static void
power_fails(struct sim *s, struct node *n, uint64_t for_ms, int64_t wall_jump_ms)
{
	note(s, "power of %s fails, its clock is %lld ms off", n->name, (long long)wall_jump_ms);
	for (unsigned int b = 0; b < s->w->n_nodes; b++)
		disturbed(s, n->index, b, s->w->now);
	node_lose_power(n);
	node_reboot(n, wall_jump_ms);
	went_down(s, n, for_ms);
}

static void
do_power(struct sim *s)
{
	static const int64_t jumps[] = {0, -TEN_YEARS_MS, TEN_YEARS_MS, 3000, -3000};
	struct node *n = any_node(s);

	if (n->core)
		power_fails(s, n, world_random(s->w, 8000), jumps[world_random(s->w, 5)]);
}

void
chaos_restart(struct sim *s, bool all)
{
	for (unsigned int i = 0; i < s->n_routers; i++) {
		struct node *n = world_router(s->w, i);

		if (n->core)
			continue;
		if (s->restart_at[i] <= s->started[i] && s->started[i] > 0) /* it was killed after a step */
			went_down(s, n, world_random(s->w, 2000));
		if (!all && s->w->now < s->restart_at[i])
			continue;
		note(s, "%s starts", n->name);
		node_start(n);
		s->started[i] = s->calm_since[i] = s->w->now;
		check_start(s, i);
	}
}

/* ---- disks ---- */

static void
disk_refuses(struct sim *s, int error, const char *what)
{
	struct node *n = any_node(s);

	n->commits_to_fail = 1 + (int)world_random(s->w, 2);
	n->commit_error = error;
	note(s, "disk of %s %s for %d commits", n->name, what, n->commits_to_fail);
	router_disturbed(s, n, s->w->now + 1000);
}

static void
do_disk_full(struct sim *s)
{
	disk_refuses(s, -ENOSPC, "is full");
}

static void
do_disk_error(struct sim *s)
{
	disk_refuses(s, -EIO, "fails");
}

static void
do_disk_late(struct sim *s)
{
	struct node *n = any_node(s);

	if (!n->core)
		return;
	n->told_after = s->w->now + world_random(s->w, 5000);
	note(s, "disk of %s tells nothing until %llu", n->name, (unsigned long long)n->told_after);
	router_disturbed(s, n, n->told_after);
}

/* Of one VM: at one epoch two routers may have it, each as its own. */
static bool
is_copy(const json_t *v, const json_t *other)
{
	json_int_t a = json_integer_value(json_object_get(v, "epoch")),
		   b = json_integer_value(json_object_get(other, "epoch"));

	return b > a || (b == a && json_equal(json_object_get(v, "owner"), json_object_get(other, "owner")));
}

/* Does another router's disk have the VM of this row, as new or newer? */
static bool
has_copy(struct sim *s, const struct node *n, const char *key, const char *value)
{
	json_t *v = json_loads(value, 0, NULL), *other;
	bool found = false;

	for (unsigned int i = 0; i < s->n_routers && !found; i++) {
		struct node *o = world_router(s->w, i);
		const char *row = o == n ? NULL : stored_row(o, "vm", key);

		other = row ? json_loads(row, 0, NULL) : NULL;
		found = other && is_copy(v, other);
		json_decref(other);
	}
	json_decref(v);
	return found;
}

/* What only this disk knows cannot come back. */
static bool
all_copied(struct sim *s, struct node *n)
{
	const char *name, *value;

	for (unsigned int i = 0; (name = stored_at(n, i, &value)) != NULL; i++)
		if (strncmp(name, "vm ", 3) == 0 && !has_copy(s, n, name + 3, value))
			return false;
	return true;
}

/* What a router acknowledged alone is gone with its disk: routes, terms; and epochs until it has asked its peers. */
static void
lost_store(struct sim *s, struct node *n)
{
	unsigned int i = n->index;

	s->strict = false;
	s->lost_at[i] = s->w->now;
	s->is_old[i] = true;
	s->terms[i] = 0;
	memset(s->floors[i], 0, sizeof(s->floors[i]));
	memset(s->routes[i].any, true, sizeof(s->routes[i].any));
}

static void
do_disk_lost(struct sim *s)
{
	struct node *n = any_node(s);

	if (!kill_node(s, n) || !all_copied(s, n))
		return;
	note(s, "disk of %s is empty", n->name);
	stored_clear(n);
	lost_store(s, n);
}

/* A backup is made, or put back. */
static void
do_yesterday(struct sim *s)
{
	struct node *n = any_node(s);
	struct stored **old = &s->yesterday[n->index];

	if (!*old) {
		*old = stored_copy(n);
		return;
	}
	if (!kill_node(s, n) || !all_copied(s, n))
		return;
	note(s, "disk of %s is that of yesterday", n->name);
	stored_restore(n, *old);
	*old = NULL;
	ghosts_put_back(s, n);
	lost_store(s, n);
}

/* ---- forwarding, clocks ---- */

static void
do_forwarding(struct sim *s)
{
	struct node *n = any_node(s);

	if (!n->core)
		return;
	router_disturbed(s, n, s->w->now);
	n->prepare_fails = !n->prepare_fails && world_random(s->w, 2);
	n->prepare_limit = n->prepare_fails ? 0 : world_random(s->w, 4);
	note(s, "forwarding of %s refuses %s", n->name,
		n->prepare_fails   ? "all"
		: n->prepare_limit ? "much at once"
				   : "nothing");
}

static void
do_wall(struct sim *s)
{
	static const int64_t jumps[] = {-TEN_YEARS_MS, TEN_YEARS_MS, 86400000, -86400000, 1000, -1000};
	struct node *n = any_node(s);
	int64_t jump = jumps[world_random(s->w, 6)];

	n->wall_offset += jump;
	note(s, "wall clock of %s jumps by %lld ms", n->name, (long long)jump);
}

static void
suspend(struct sim *s, struct node *n, uint64_t ms)
{
	node_suspend(n, ms);
	router_disturbed(s, n, s->w->now + 1000);
	for (unsigned int b = 0; b < s->w->n_nodes; b++)
		disturbed(s, n->index, b, s->w->now + 1000);
}

static void
do_suspend(struct sim *s)
{
	struct node *n = any_node(s);

	note(s, "%s was suspended for an hour", n->name);
	suspend(s, n, HOUR_MS);
}

/* A router is away for a day: for all others it passes at once. */
static void
do_day(struct sim *s)
{
	struct node *n = any_node(s);

	if (n->core)
		power_fails(s, n, 2000 + world_random(s->w, 5000), (int64_t)DAY_MS);
	s->day_at = s->w->now;
	note(s, "a day passes without %s", n->name);
	for (unsigned int i = 0; i < s->w->n_nodes; i++)
		if (&s->w->nodes[i] != n)
			suspend(s, &s->w->nodes[i], DAY_MS);
}

/* ---- controllers ---- */

static void
do_takeover(struct sim *s)
{
	struct controller *k = &s->controllers[world_random(s->w, CONTROLLERS)];

	controller_takes_over(k, s->top_term + 1, world_random(s->w, 2) == 0);
}

static void
do_contradict(struct sim *s)
{
	struct controller *k = &s->controllers[world_random(s->w, CONTROLLERS)];

	controller_takes_over(k, s->top_term, world_random(s->w, 4) == 0);
}

static void
do_controller(struct sim *s)
{
	struct controller *k = &s->controllers[world_random(s->w, CONTROLLERS)];

	if (k->active)
		controller_restarts(k, false);
}

static void
do_amnesia(struct sim *s)
{
	struct controller *k = &s->controllers[world_random(s->w, CONTROLLERS)];

	if (k->active)
		controller_restarts(k, true);
}

/* ---- which, and when ---- */

static const struct {
	const char *name;
	void (*make)(struct sim *s);
	unsigned int weight;
} kinds[] = {
	{"reset", do_reset, 3},
	{"cut", do_cut, 5},
	{"one-way", do_one_way, 3},
	{"join", do_join, 5},
	{"stall", do_stall, 3},
	{"half-open", do_half_open, 2},
	{"clog", do_clog, 1},
	{"lossy", do_lossy, 2},
	{"delay", do_delay, 3},
	{"slow", do_slow, 2},
	{"crash", do_crash, 2},
	{"step", do_step, 4},
	{"power", do_power, 2},
	{"disk-full", do_disk_full, 3},
	{"disk-error", do_disk_error, 3},
	{"disk-late", do_disk_late, 2},
	{"disk-lost", do_disk_lost, 1},
	{"yesterday", do_yesterday, 2},
	{"forwarding", do_forwarding, 2},
	{"wall", do_wall, 2},
	{"suspend", do_suspend, 1},
	{"day", do_day, 1},
	{"takeover", do_takeover, 2},
	{"contradict", do_contradict, 1},
	{"controller", do_controller, 2},
	{"amnesia", do_amnesia, 1},
};

#define N_FAULTS (sizeof(kinds) / sizeof(kinds[0]))

static_assert(N_FAULTS <= CHAOS_KINDS, "a tally has room for each");

const char *
fault_name(unsigned int i)
{
	return i < N_FAULTS ? kinds[i].name : NULL;
}

uint64_t
fault_bits(const char *names)
{
	uint64_t bits = 0;
	size_t len;

	for (; *names; names += len + (names[len] == ',')) {
		uint64_t bit = 0;

		len = strcspn(names, ",");
		for (unsigned int i = 0; i < N_FAULTS; i++)
			if (strlen(kinds[i].name) == len && strncmp(kinds[i].name, names, len) == 0)
				bit = UINT64_C(1) << i;
		if (!bit)
			return 0;
		bits |= bit;
	}
	return bits;
}

/* Who cuts joins, too. */
void
chaos_begin(struct sim *s)
{
	s->faults = world_random(s->w, UINT64_MAX) | world_random(s->w, UINT64_MAX);
	s->faults |= fault_bits("join");
	s->faults &= ~s->options->without;
}

void
chaos_act(struct sim *s)
{
	unsigned int total = 0;
	uint64_t pick;

	for (unsigned int i = 0; i < N_FAULTS; i++)
		total += s->faults >> i & 1 ? kinds[i].weight : 0;
	pick = world_random(s->w, total);
	for (unsigned int i = 0; i < N_FAULTS; i++) {
		unsigned int weight = s->faults >> i & 1 ? kinds[i].weight : 0;

		if (pick < weight) {
			s->did.faults[i]++;
			kinds[i].make(s);
			return;
		}
		pick -= weight;
	}
}

/* A table that was full has room again because something of this router's own has gone. */
static void
make_room(struct node *n)
{
	bool was_full = n->prepare_fails || n->prepare_limit;
	int code;

	n->prepare_fails = false;
	n->prepare_limit = 0;
	if (!was_full || !n->core || !n->core->running)
		return;
	json_decref(
		ask(n, &code, "route.replace", "{s:s, s:s}", "prefix", "203.0.99.0/24", "via", "192.0.2.9"));
	json_decref(ask(n, &code, "route.delete", "{s:s}", "prefix", "203.0.99.0/24"));
}

void
chaos_heal(struct sim *s)
{
	world_run(s->w, 0); /* a kill after a step that was just made */
	note(s, "all is healed");
	world_heal(s->w);
	s->w->delay_max = 3;
	for (unsigned int i = 0; i < s->n_routers; i++) {
		struct node *n = world_router(s->w, i);

		router_disturbed(s, n, s->w->now);
		n->commits_to_fail = 0;
		node_disk_tells(n);
		n->crash_on = STEP_NONE;
		make_room(n);
	}
	memset(s->line_fault, 0, sizeof(s->line_fault));
	all_disturbed(s, s->w->now);
	chaos_restart(s, true);
	world_run(s->w, ON_ITS_WAY_MS);
}

void
chaos_end(struct sim *s)
{
	for (unsigned int i = 0; i < s->n_routers; i++) {
		struct node *n = world_router(s->w, i);

		if (s->yesterday[i])
			stored_restore(n, s->yesterday[i]);
	}
}
