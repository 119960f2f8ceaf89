/* SPDX-License-Identifier: BSD-3-Clause */
/* many.c - many seeds, by as many processes as are asked for. A worker that dies has failed the seed that it was at, and the
 * next one goes on behind it.
 *
 *   worker k of n: seeds from + k, from + k + n ...     --- its pipe: a result for each --->     the sums
 */
#include "sim.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEED_S	     600  /* of CPU: one that takes longer never ends */
#define REPLAY_EVERY 1000 /* so many seeds one is run twice, and must be the same */
#define PROGRESS_S   600

struct done {
	uint64_t seed;
	struct result r;
};

static_assert(sizeof(struct done) <= 4096, "written to a pipe as one piece: PIPE_BUF");

struct worker {
	pid_t pid;
	int out; /* what it writes, to be read here */
	uint64_t at;
};

struct run {
	const struct many *m;
	struct worker workers[JOBS_MAX];
	uint64_t n, failed, fingerprints, told_at;
	struct tally sum;
};

/* ---- a worker ---- */

static struct result
run_checked(const struct many *m, uint64_t seed)
{
	struct result r = run_seed(seed, m->options), again;

	if (!r.good || (seed - m->from) % REPLAY_EVERY != 0)
		return r;
	again = run_seed(seed, m->options);
	r.good = again.fingerprint == r.fingerprint;
	snprintf(r.why, sizeof(r.why), "it does not replay: %016" PRIx64 ", then %016" PRIx64, r.fingerprint,
		again.fingerprint);
	return r;
}

static void
work(const struct many *m, uint64_t seed, int out)
{
	const struct itimerval limit = {.it_value.tv_sec = SEED_S};
	struct done d;

	for (; seed <= m->to; seed += m->jobs) {
		setitimer(ITIMER_VIRTUAL, &limit, NULL);
		d.seed = seed;
		d.r = run_checked(m, seed);
		if (write(out, &d, sizeof(d)) != sizeof(d))
			_exit(1);
	}
	_exit(0);
}

static void
give_up(const char *what)
{
	perror(what);
	exit(2);
}

static void
worker_start(struct run *run, struct worker *w)
{
	int ends[2];

	fflush(stdout);
	if (pipe(ends) != 0)
		give_up("pipe");
	w->pid = fork();
	if (w->pid < 0)
		give_up("fork");
	if (w->pid == 0)
		work(run->m, w->at, ends[1]);
	close(ends[1]);
	w->out = ends[0];
}

/* ---- results ---- */

static void
add(struct tally *sum, const struct tally *t)
{
	sum->acks += t->acks;
	sum->moves += t->moves;
	sum->commits += t->commits;
	sum->refusals += t->refusals;
	sum->unknown += t->unknown;
	sum->crashes += t->crashes;
	sum->superseded += t->superseded;
	sum->takeovers += t->takeovers;
	sum->events += t->events;
	sum->resyncs += t->resyncs;
	for (unsigned int i = 0; i < CHAOS_KINDS; i++)
		sum->faults[i] += t->faults[i];
	if (t->up_ms > sum->up_ms)
		sum->up_ms = t->up_ms;
	if (t->agreed_ms > sum->agreed_ms)
		sum->agreed_ms = t->agreed_ms;
}

static void
seed_failed(struct run *run, uint64_t seed, const char *why)
{
	run->failed++;
	printf("seed %" PRIu64 " FAILED %s\n  sim --seed %" PRIu64 " --trace\n", seed, why, seed);
	fflush(stdout);
}

static void
take(struct run *run, const struct done *d)
{
	run->fingerprints += d->r.fingerprint;
	add(&run->sum, &d->r.did);
	if (!d->r.good)
		seed_failed(run, d->seed, d->r.why);
}

static void
seed_ended(struct run *run, struct worker *w)
{
	uint64_t now = (uint64_t)time(NULL);

	w->at += run->m->jobs;
	run->n++;
	if (now < run->told_at + PROGRESS_S)
		return;
	run->told_at = now;
	printf("%" PRIu64 " seeds, %" PRIu64 " failed\n", run->n, run->failed);
	fflush(stdout);
}

/* Behind its last seed, or at one, which has failed then. */
static void
worker_ended(struct run *run, struct worker *w)
{
	char why[80];
	int status;

	close(w->out);
	w->out = -1;
	waitpid(w->pid, &status, 0);
	if (w->at > run->m->to)
		return;
	snprintf(why, sizeof(why), "its process ended by %s %d", WIFSIGNALED(status) ? "signal" : "code",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	seed_failed(run, w->at, why);
	seed_ended(run, w);
	if (w->at <= run->m->to)
		worker_start(run, w);
}

static void
worker_writes(struct run *run, struct worker *w)
{
	struct done d;

	if (read(w->out, &d, sizeof(d)) == sizeof(d)) {
		take(run, &d);
		seed_ended(run, w);
	} else {
		worker_ended(run, w);
	}
}

static bool
wait_for_some(struct run *run)
{
	struct pollfd fds[JOBS_MAX];
	bool any = false;

	for (unsigned int k = 0; k < run->m->jobs; k++) {
		fds[k] = (struct pollfd){.fd = run->workers[k].out, .events = POLLIN};
		any |= fds[k].fd >= 0;
	}
	if (!any || poll(fds, run->m->jobs, -1) < 0)
		return false;
	for (unsigned int k = 0; k < run->m->jobs; k++)
		if (fds[k].revents)
			worker_writes(run, &run->workers[k]);
	return true;
}

/* ---- in the end ---- */

void
tell_tally(const struct tally *t)
{
	const char *name, *comma = " ";

	printf("%" PRIu64 " changes acknowledged (%" PRIu64 " moves, %" PRIu64 " commits of them), %" PRIu64
	       " refused, %" PRIu64 " unknown; %" PRIu64 " events, %" PRIu64 " resyncs; %" PRIu64
	       " crashes, %" PRIu64 " takeovers, faults:",
		t->acks, t->moves, t->commits, t->refusals, t->unknown, t->events, t->resyncs, t->crashes,
		t->takeovers);
	for (unsigned int i = 0; (name = fault_name(i)) != NULL; i++) {
		if (t->faults[i] == 0)
			continue;
		printf("%s%s %" PRIu64, comma, name, t->faults[i]);
		comma = ", ";
	}
	printf("; channels up at most %" PRIu64 " ms after a heal, agreement %" PRIu64 " ms later", t->up_ms,
		t->agreed_ms);
}

static double
seconds_of_children(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

uint64_t
run_many(const struct many *m)
{
	struct run run = {.m = m, .told_at = (uint64_t)time(NULL)};

	for (unsigned int k = 0; k < m->jobs; k++) {
		run.workers[k].at = m->from + k;
		worker_start(&run, &run.workers[k]);
	}
	while (wait_for_some(&run))
		;
	printf("%" PRIu64 " seeds, %" PRIu64 " failed; ", run.n, run.failed);
	tell_tally(&run.sum);
	printf("; fingerprint %016" PRIx64 "; %.1f s of CPU\n", run.fingerprints, seconds_of_children());
	return run.failed;
}
