/* SPDX-License-Identifier: BSD-3-Clause */
/* sim.c - three to eight routers and two controllers under faults, decided by a seed.
 *
 *   sim [--seeds N] [--from M]       so many seeds, 50 from 1; which failed, and why
 *   sim --seed N [--trace]           this one, with the routers' log; the same events every time.
 *                                    --trace: the last events before it failed instead
 *   sim --seed N --minimise          which faults, routers, VMs it takes to fail
 *   --without FAULT,... --only FAULT,... --routers N --slots N --rounds N
 *
 * Each round: controllers register, move and unregister VMs and replace routes while faults come (chaos.c); then all is
 * healed, and within 2 s after the channels are up again each VM has one owner, at the highest epoch, and what was
 * acknowledged is there. In the end, when the drains are over, all routers know the same, and again after kill -9.
 * At any moment: what a router knows, and the term it obeys, does not get older; a superseded controller changes
 * nothing; forwarding is what the core wants; no address leads to two VMs; no drain outlives its time.
 */
#include "sim.h"

#include <common/log.h>
#include <getopt.h>
#include <stdio.h>
#include <time.h>

#define CHAOS_MS  25000
#define UP_MS	  90000 /* silence is noticed after 15 s, and diallers wait up to 60 s between tries */
#define AGREED_MS 2000	/* from then on */
#define DRAINS_MS 30000 /* the longest, and the news of its end */

/* ---- one seed ---- */

static unsigned int
pick_routers(struct sim *s)
{
	static const unsigned int of_ten[] = {3, 3, 3, 3, 4, 4, 4, 5, 5, 6};
	unsigned int n = of_ten[world_random(s->w, 10)];

	return world_random(s->w, 25) == 0 ? 8 : world_random(s->w, 25) == 0 ? 7 : n;
}

/* Not all routers share all segments, and they number them in their own way. */
static void
configure(struct sim *s)
{
	for (unsigned int i = 0; i < s->n_routers; i++) {
		struct node *n = world_router(s->w, i);
		bool second = i < 2 || world_random(s->w, 3) > 0, swapped = world_random(s->w, 2);

		s->has[0][i] = true;
		s->has[1][i] = second;
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
	for (unsigned int i = 0; i < s->n_slots; i++) {
		s->slots[i].number = i;
		s->slots[i].segment = world_random(s->w, 3) == 0;
	}
	for (unsigned int i = 0; i < s->n_routers; i++)
		s->routes[i].prefix = -1;
	chaos_begin(s);
	chaos_restart(s, true);
	controllers_begin(s);
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
		world_run(s->w, 20 + world_random(s->w, 200));
		chaos_restart(s, false);
		controllers_act(s);
		if (world_random(s->w, 3) == 0)
			evidence(s);
		if (world_random(s->w, 6) == 0)
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
	return channels_up(s) && controllers_settled(s);
}

static bool
is_agreed(struct sim *s)
{
	char why[200];

	ghosts_unregister(s);
	return owners_agree(s, why);
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
	keep_longest(&s->up_ms, up - healed);
	keep_longest(&s->agreed_ms, s->w->now - up);
	note(s, "all agree");
	check_round(s);
}

static void
rounds(struct sim *s)
{
	for (unsigned int i = 0; i < s->options->rounds && !s->w->why[0]; i++) {
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
	wait_until(s, drains_over, DRAINS_MS, 500);
	if (s->w->why[0])
		return;
	world_run(s->w, 1000);
	check_end(s);
	if (!s->w->why[0])
		check_restart(s);
}

static void
end(struct sim *s)
{
	controllers_end(s);
	history_free(s);
	chaos_end(s);
	world_free(s->w);
}

struct result {
	bool good;
	uint64_t fingerprint, up_ms, agreed_ms;
	char why[440];
};

static void
tell(const struct sim *s, uint64_t seed, const struct result *r)
{
	printf("seed %llu: %u routers, %llu changes acknowledged (%llu moves), %llu refused, %llu unknown, "
	       "%llu starts "
	       "after crashes, %llu takeovers, up after %llu ms, agreed %llu ms later, fingerprint %016llx\n",
		(unsigned long long)seed, s->n_routers, (unsigned long long)s->acks,
		(unsigned long long)s->moves, (unsigned long long)s->refusals, (unsigned long long)s->unknown,
		(unsigned long long)s->crashes, (unsigned long long)s->takeovers,
		(unsigned long long)s->up_ms, (unsigned long long)s->agreed_ms,
		(unsigned long long)r->fingerprint);
}

static struct result
run(uint64_t seed, const struct options *o, bool talk)
{
	struct result r = {0};
	struct sim s;

	begin(&s, seed, o);
	rounds(&s);
	if (!s.w->why[0])
		finish(&s);
	r.good = !s.w->why[0];
	r.fingerprint = s.w->serial ^ world_random(s.w, UINT64_MAX);
	r.up_ms = s.up_ms;
	r.agreed_ms = s.agreed_ms;
	snprintf(r.why, sizeof(r.why), "at %llu ms: %s", (unsigned long long)s.w->now, s.w->why);
	if (!r.good && o->trace)
		trace_print();
	if (talk)
		tell(&s, seed, &r);
	end(&s);
	return r;
}

/* ---- many, and less of one ---- */

static void
no_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static int
run_many(uint64_t from, uint64_t seeds, const struct options *o)
{
	struct result r, first = {0};
	uint64_t failed = 0, up = 0, agreed = 0;

	for (uint64_t i = 0; i < seeds; i++) {
		r = run(from + i, o, i < 3);
		first = i == 0 ? r : first;
		keep_longest(&up, r.up_ms);
		keep_longest(&agreed, r.agreed_ms);
		failed += !r.good;
		if (!r.good)
			printf("seed %llu FAILED %s\n  sim --seed %llu --trace\n",
				(unsigned long long)(from + i), r.why, (unsigned long long)(from + i));
		fflush(stdout);
	}
	r = run(from, o, false);
	if (r.fingerprint != first.fingerprint) {
		printf("seed %llu does not replay: %016llx, then %016llx\n", (unsigned long long)from,
			(unsigned long long)first.fingerprint, (unsigned long long)r.fingerprint);
		failed++;
	}
	printf("%llu seeds, %llu failed; all channels up at most %llu ms after a heal, agreement at most "
	       "%llu ms later\n",
		(unsigned long long)seeds, (unsigned long long)failed, (unsigned long long)up,
		(unsigned long long)agreed);
	return failed ? 1 : 0;
}

/* Takes away what the seed fails without. Another run is another fate: what is left may be another failure. */
static int
minimise(uint64_t seed, struct options o)
{
	struct options less;
	const char *name;

	if (run(seed, &o, false).good)
		return 0;
	for (less = o; less.rounds > 1 && (less.rounds--, !run(seed, &less, false).good);)
		o = less;
	for (unsigned int i = 0; fault_name(i); i++) {
		less = o;
		less.without |= UINT64_C(1) << i;
		if (!run(seed, &less, false).good)
			o = less;
	}
	for (unsigned int n = 1; n < SLOTS; n++) {
		less = o;
		less.slots = n;
		if (!run(seed, &less, false).good) {
			o = less;
			break;
		}
	}
	printf("sim --seed %llu --trace --rounds %u", (unsigned long long)seed, o.rounds);
	if (o.slots)
		printf(" --slots %u", o.slots);
	printf(" --only join");
	for (unsigned int i = 0; (name = fault_name(i)) != NULL; i++)
		if (!(o.without >> i & 1) && strcmp(name, "join") != 0)
			printf(",%s", name);
	printf("\n  %s\n", run(seed, &o, false).why);
	return 1;
}

/* ---- options ---- */

static int
usage(void)
{
	fprintf(stderr, "sim [--seed N [--trace|--minimise]] [--seeds N] [--from N] [--without FAULTS] "
			"[--only FAULTS]\n"
			"    [--routers N] [--slots N] [--rounds N]\nfaults:");
	for (unsigned int i = 0; fault_name(i); i++)
		fprintf(stderr, " %s", fault_name(i));
	fprintf(stderr, "\n");
	return 2;
}

struct command {
	uint64_t seed, seeds, from;
	bool minimise;
	struct options options;
};

static bool
read_option(struct command *c, int opt)
{
	uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0, bits;

	switch (opt) {
	case 's':
		return (c->seed = n) > 0;
	case 'n':
		return (c->seeds = n) > 0;
	case 'f':
		return (c->from = n) > 0;
	case 'r':
		return (c->options.routers = (unsigned int)n) >= 2 && n <= WORLD_ROUTERS;
	case 'v':
		return (c->options.slots = (unsigned int)n) >= 1 && n <= SLOTS;
	case 'o':
		return (c->options.rounds = (unsigned int)n) >= 1;
	case 'w':
		bits = fault_bits(optarg);
		c->options.without |= bits;
		return bits != 0;
	case 'l':
		bits = fault_bits(optarg);
		c->options.without |= ~bits;
		return bits != 0;
	case 't':
		return c->options.trace = true;
	case 'm':
		return c->minimise = true;
	}
	return false;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 'n'}, {"from", required_argument, NULL, 'f'},
		{"routers", required_argument, NULL, 'r'}, {"slots", required_argument, NULL, 'v'},
		{"rounds", required_argument, NULL, 'o'}, {"without", required_argument, NULL, 'w'},
		{"only", required_argument, NULL, 'l'}, {"trace", no_argument, NULL, 't'},
		{"minimise", no_argument, NULL, 'm'}, {NULL, 0, NULL, 0}};
	struct command c = {.seeds = 50, .from = 1, .options.rounds = 3};
	struct result r;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!read_option(&c, opt))
			return usage();
	if (!c.seed || c.minimise)
		log_set_sink(no_line, NULL);
	if (c.minimise)
		return c.seed ? minimise(c.seed, c.options) : usage();
	if (!c.seed)
		return run_many(c.from, c.seeds, &c.options);
	r = run(c.seed, &c.options, true);
	if (!r.good)
		printf("seed %llu FAILED %s\n", (unsigned long long)c.seed, r.why);
	return r.good ? 0 : 1;
}
