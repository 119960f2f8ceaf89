/* SPDX-License-Identifier: BSD-3-Clause */
/* sim.c - three to eight routers and two controllers under faults, decided by a seed.
 *
 *   sim [--seeds A..B] [--jobs N]    these seeds, 1..50, by so many processes, 1; which failed, and why, and in the end one
 *                                    line of what all came to
 *   sim --seed N [--trace]           this one, with the routers' log; the same events every time.
 *                                    --trace: the last events before it failed instead
 *   sim --seed N --minimise          which faults, routers, VMs it takes to fail
 *   --without FAULT,... --only FAULT,... --routers N --slots N --rounds N
 *
 * Each round: controllers register, move and unregister VMs, prepare moves and go on with them in any order, and replace routes while faults come (chaos.c); then all is
 * healed, and within 2 s after the channels are up again each VM has one owner, at the highest epoch, and what was
 * acknowledged is there. In the end, when the drains are over, all routers know the same, and again after kill -9.
 * At any moment: what a router knows, and the term it obeys, does not get older; a superseded controller changes
 * nothing; forwarding is what the core wants; no address leads to two VMs; no drain outlives its time.
 */
#include "sim.h"

#include <common/log.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

/* ---- less of one ---- */

/* Takes away what the seed fails without. Another run is another fate: what is left may be another failure. */
static int
minimise(uint64_t seed, struct options o)
{
	struct options less;
	const char *name;

	if (run_seed(seed, &o).good)
		return 0;
	for (less = o, less.rounds = 1; less.rounds <= ROUNDS_MAX; less.rounds++) {
		if (!run_seed(seed, &less).good) {
			o = less;
			break;
		}
	}
	for (unsigned int i = 0; fault_name(i); i++) {
		less = o;
		less.without |= UINT64_C(1) << i;
		if (!run_seed(seed, &less).good)
			o = less;
	}
	for (unsigned int n = 1; n < SLOTS; n++) {
		less = o;
		less.slots = n;
		if (!run_seed(seed, &less).good) {
			o = less;
			break;
		}
	}
	printf("sim --seed %" PRIu64 " --trace --rounds %u", seed, o.rounds);
	if (o.slots)
		printf(" --slots %u", o.slots);
	printf(" --only join");
	for (unsigned int i = 0; (name = fault_name(i)) != NULL; i++)
		if (!(o.without >> i & 1) && strcmp(name, "join") != 0)
			printf(",%s", name);
	printf("\n  %s\n", run_seed(seed, &o).why);
	return 1;
}

/* ---- options ---- */

static int
usage(void)
{
	fprintf(stderr, "sim [--seed N [--trace|--minimise]] [--seeds A..B [--jobs N]] [--without FAULTS] "
			"[--only FAULTS]\n"
			"    [--routers N] [--slots N] [--rounds N]\nfaults:");
	for (unsigned int i = 0; fault_name(i); i++)
		fprintf(stderr, " %s", fault_name(i));
	fprintf(stderr, "\n");
	return 2;
}

struct command {
	uint64_t seed;
	bool minimise;
	struct many many;
	struct options options;
};

static bool
read_seeds(struct many *m, const char *text)
{
	char end;

	return sscanf(text, "%" SCNu64 "..%" SCNu64 "%c", &m->from, &m->to, &end) == 2 && m->from > 0 &&
	       m->from <= m->to;
}

static bool
read_option(struct command *c, int opt)
{
	uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0, bits;

	switch (opt) {
	case 's':
		return (c->seed = n) > 0;
	case 'n':
		return read_seeds(&c->many, optarg);
	case 'j':
		return (c->many.jobs = (unsigned int)n) >= 1 && n <= JOBS_MAX;
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

static int
run_one(uint64_t seed, const struct options *o)
{
	struct result r = run_seed(seed, o);

	printf("seed %" PRIu64 " %s%s; ", seed, r.good ? "is good" : "FAILED ", r.good ? "" : r.why);
	tell_tally(&r.did);
	printf("; fingerprint %016" PRIx64 "\n", r.fingerprint);
	return r.good ? 0 : 1;
}

static void
no_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/* What nobody reads costs little so. */
static void
no_log(void)
{
	log_set_sink(no_line, NULL);
	log_set_level(LOG_ERROR);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 'n'}, {"jobs", required_argument, NULL, 'j'},
		{"routers", required_argument, NULL, 'r'}, {"slots", required_argument, NULL, 'v'},
		{"rounds", required_argument, NULL, 'o'}, {"without", required_argument, NULL, 'w'},
		{"only", required_argument, NULL, 'l'}, {"trace", no_argument, NULL, 't'},
		{"minimise", no_argument, NULL, 'm'}, {NULL, 0, NULL, 0}};
	struct command c = {.many = {.from = 1, .to = 50, .jobs = 1, .options = &c.options}};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!read_option(&c, opt))
			return usage();
	if (!c.seed || c.minimise)
		no_log();
	if (c.minimise)
		return c.seed ? minimise(c.seed, c.options) : usage();
	if (!c.seed)
		return run_many(&c.many) > 0 ? 1 : 0;
	return run_one(c.seed, &c.options);
}
