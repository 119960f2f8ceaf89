/* SPDX-License-Identifier: BSD-3-Clause */
/* race.h - threads that read while one writes. A violation ends the program at once, with what was wrong. */
#pragma once

#include "tabtest.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define must(cond, ...)                                                            \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond); \
			fprintf(stderr, __VA_ARGS__);                              \
			fputc('\n', stderr);                                       \
			abort();                                                   \
		}                                                                  \
	} while (0)

static inline double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* How long each test runs: RACE_SECONDS, or a few. */
static inline double
race_seconds(double otherwise)
{
	const char *s = getenv("RACE_SECONDS");

	return s != NULL ? atof(s) : otherwise;
}

/* ---- CPUs: rte_eal_init() pins its caller, and threads inherit that; then readers and writer only take turns.
 *
 * So each says where it runs: left alone, a busy machine's scheduler may put them on one CPU, too. */

static cpu_set_t cpus_allowed;
static atomic_ullong cpus_seen; /* as bits modulo 64 */

static inline void
cpus_keep(void) /* before EAL starts */
{
	must(sched_getaffinity(0, sizeof(cpus_allowed), &cpus_allowed) == 0, "affinity");
}

/* The calling thread goes to the n-th of the CPUs that the program may use, counted round. */
static inline void
cpus_place(uint32_t n)
{
	uint32_t left = n % (uint32_t)CPU_COUNT(&cpus_allowed);
	cpu_set_t one;
	int cpu = 0;

	while (!CPU_ISSET(cpu, &cpus_allowed) || left-- > 0)
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	must(sched_setaffinity(0, sizeof(one), &one) == 0, "CPU %d", cpu);
	atomic_fetch_or(&cpus_seen, 1ULL << (sched_getcpu() & 63));
}

static inline void
cpus_check(void)
{
	int seen = __builtin_popcountll(atomic_load(&cpus_seen)), allowed = CPU_COUNT(&cpus_allowed);

	printf("ran on %d of %d CPUs\n", seen, allowed);
	must(seen >= 2 || allowed < 2, "readers and writer shared one CPU");
}

/* ---- jitter: stops threads for a moment at random instructions, in the middle of what they do ----
 *
 * Without it the few nanoseconds between two stores of a writer are hardly ever met. */

#define JITTER_MAX 8

struct jitter {
	pthread_t thread, victims[JITTER_MAX];
	uint32_t n;
	atomic_bool stop;
};

static inline void
jitter_pause(int sig)
{
	struct timespec ts = {0, 60000};
	int keep = errno;

	(void)sig;
	nanosleep(&ts, NULL);
	errno = keep;
}

static inline void *
jitter_run(void *arg)
{
	struct jitter *j = arg;
	struct rng rng = {77};

	while (!atomic_load(&j->stop)) {
		struct timespec ts = {0, 20000 + rng_below(&rng, 200000)};

		nanosleep(&ts, NULL);
		pthread_kill(j->victims[rng_below(&rng, j->n)], SIGUSR1);
	}
	return NULL;
}

static inline void
jitter_victim(struct jitter *j, pthread_t t)
{
	j->victims[j->n++] = t;
}

static inline void
jitter_start(struct jitter *j)
{
	struct sigaction sa = {.sa_handler = jitter_pause, .sa_flags = SA_RESTART};

	sigaction(SIGUSR1, &sa, NULL);
	must(pthread_create(&j->thread, NULL, jitter_run, j) == 0, "jitter");
}

static inline void
jitter_stop(struct jitter *j) /* before a victim ends */
{
	atomic_store(&j->stop, true);
	pthread_join(j->thread, NULL);
}
