/* SPDX-License-Identifier: BSD-3-Clause */
/* Several workers note the same sessions in the same few buckets, while others come, age and go there.
 *
 * Contested sessions: in each round every worker claims each for a home of its own. All must come to the same home, and
 * there must never be two cells of one. Transient sessions: their home follows from their key, so that a key of one and a
 * home of another show; they are noted as aged already, and swept at once. Own sessions: of one worker each, swept at once, too, and noted
 * again with the next home: none of before is ever found. */
#include "race.h"

#include <dataplane/tables/sessions.h>
#include <netinet/in.h>

#define WORKERS	  3
#define CONTESTED 24
#define TRANSIENT 60
#define OWN	  4 /* of each worker */
#define TICK	  100000

static struct sessions *table;
static pthread_barrier_t barrier;
static atomic_bool stop, swept_enough;
static atomic_uint round_number; /* odd while all sessions of the last round are freed */

static struct {
	enum session_result result[WORKERS];
	rte_be32_t home[WORKERS];
} verdict[CONTESTED];

static struct session_key
contested(uint32_t i)
{
	return (struct session_key){
		.vm = 1, .remote = i, .vm_port = 5, .remote_port = 6, .vni_proto = 9 << 8 | IPPROTO_TCP};
}

static struct session_key
transient(uint32_t i)
{
	uint32_t h = i * 2654435761u;

	return (struct session_key){.vm = h,
		.remote = ~h,
		.vm_port = (rte_be16_t)h,
		.remote_port = (rte_be16_t)(h >> 16),
		.vni_proto = 9 << 8 | IPPROTO_UDP};
}

static struct session_key
own(uint32_t worker, uint32_t i)
{
	return (struct session_key){
		.vm = 2, .remote = worker, .vm_port = (rte_be16_t)i, .vni_proto = 9 << 8 | IPPROTO_ICMP};
}

static rte_be32_t
own_home(uint32_t worker, uint32_t times)
{
	return 0x40000000 | worker << 24 | (times & 0xffffff);
}

static bool
is_contested(void *arg, const struct session_key *k, rte_be32_t home)
{
	(void)arg;
	(void)k;
	return home <= WORKERS;
}

static rte_be32_t
home_of(const struct session_key *k)
{
	return (k->vm ^ 0x5a5a5a5a) | 0x80000000;
}

struct worker {
	pthread_t thread;
	uint32_t id;
	uint64_t noted, found, full;
	uint32_t times[OWN]; /* its own sessions were noted */
};

static void
count(struct worker *me, enum session_result r)
{
	me->noted += r == SESSION_NOTED;
	me->found += r == SESSION_FOUND;
	me->full += r == SESSION_FULL;
}

static void
use_transient(struct worker *me, struct rng *rng)
{
	struct session_key k = transient(rng_below(rng, TRANSIENT));
	rte_be32_t home = home_of(&k), got = home;
	enum session_result r;

	if (rng_below(rng, 2)) {
		r = sessions_note(table, &k, TICK - 301, 0, &got);
		count(me, r);
	} else {
		r = sessions_find(table, &k, TICK - 301, 0, &got);
	}
	must(got == home, "transient %08x has the home of another: %08x", k.vm, got);
	if (rng_below(rng, 16) == 0)
		sessions_rehome(table, &k, TICK - 301, 0, home);
}

static void
use_own(struct worker *me, struct rng *rng)
{
	uint32_t i = rng_below(rng, OWN);
	struct session_key k = own(me->id, i);
	rte_be32_t next = own_home(me->id, me->times[i] + 1), got = next;
	enum session_result r = sessions_note(table, &k, TICK - 301, 0, &got);

	count(me, r);
	me->times[i] += r == SESSION_NOTED;
	must(r != SESSION_FOUND || got == own_home(me->id, me->times[i]), "home %08x of before", got);
	r = sessions_find(table, &k, TICK - 301, 0, &got);
	must(r == SESSION_ABSENT || got == own_home(me->id, me->times[i]), "home %08x of before", got);
}

/* A round: claim each contested session, in an order of one's own, some of them twice. */
static void
claim_all(struct worker *me, struct rng *rng)
{
	static const uint32_t strides[WORKERS] = {1, 5, 7}; /* coprime to CONTESTED */
	uint32_t start = rng_below(rng, CONTESTED);

	for (uint32_t n = 0; n < CONTESTED; n++) {
		uint32_t i = (start + n * strides[me->id]) % CONTESTED;
		struct session_key k = contested(i);
		rte_be32_t home = me->id + 1, again = me->id + 1;

		verdict[i].result[me->id] = sessions_note(table, &k, TICK, 0, &home);
		verdict[i].home[me->id] = home;
		count(me, verdict[i].result[me->id]);
		use_transient(me, rng);
		use_own(me, rng);
		if (verdict[i].result[me->id] == SESSION_FULL)
			continue;
		must(sessions_find(table, &k, TICK, 0, &again) == SESSION_FOUND, "session %u is gone", i);
		must(again == home, "session %u had home %u, now %u", i, home, again);
	}
}

static void *
work(void *arg)
{
	struct worker *me = arg;
	struct rng rng = {300 + me->id};

	for (;;) {
		pthread_barrier_wait(&barrier); /* a round begins */
		if (atomic_load(&stop))
			return NULL;
		claim_all(me, &rng);
		pthread_barrier_wait(&barrier); /* all have claimed */
	}
}

/* Within a round no contested session stands in two cells. */
static void
look_for_doubles(void)
{
	uint32_t seen[CONTESTED] = {0}, next = 0, round = atomic_load(&round_number), most = 0;
	struct sessions_info info;

	while (sessions_next(table, TICK, &next, &info)) {
		if ((uint8_t)info.key.vni_proto == IPPROTO_UDP) {
			must(info.home == home_of(&info.key), "a torn session");
			continue;
		}
		if ((uint8_t)info.key.vni_proto == IPPROTO_ICMP) {
			must(info.home >> 24 == (0x40 | info.key.remote), "a torn session");
			continue;
		}
		must(info.key.remote < CONTESTED && info.home >= 1 && info.home <= WORKERS, "a torn session");
		if (++seen[info.key.remote] > most)
			most = seen[info.key.remote];
	}
	must(most < 2 || round % 2 == 1 || round != atomic_load(&round_number),
		"a session stands in two cells");
}

static void
check_round(void)
{
	for (uint32_t i = 0; i < CONTESTED; i++) {
		rte_be32_t home = 0;
		uint32_t noted = 0;

		for (uint32_t w = 0; w < WORKERS; w++) {
			noted += verdict[i].result[w] == SESSION_NOTED;
			if (verdict[i].result[w] == SESSION_FULL)
				continue;
			must(home == 0 || home == verdict[i].home[w], "session %u has homes %u and %u", i,
				home, verdict[i].home[w]);
			home = verdict[i].home[w];
		}
		must(noted == (home != 0), "session %u was noted %u times", i, noted);
	}
}

static void *
sweep(void *arg)
{
	uint64_t *freed = arg;

	while (!atomic_load(&swept_enough)) {
		*freed += sessions_sweep(table, TICK);
		look_for_doubles();
	}
	return NULL;
}

int
main(void)
{
	struct worker workers[WORKERS] = {0};
	struct jitter jitter = {0};
	double end = seconds() + race_seconds(2);
	uint64_t rounds = 0, freed = 0;
	pthread_t sweeper;

	table = sessions_new(NULL, 30, "boot", NULL); /* eight buckets */
	pthread_barrier_init(&barrier, NULL, WORKERS + 1);
	must(pthread_create(&sweeper, NULL, sweep, &freed) == 0, "sweeper");
	for (uint32_t i = 0; i < WORKERS; i++) {
		workers[i].id = i;
		must(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "worker %u", i);
		jitter_victim(&jitter, workers[i].thread);
	}
	jitter_victim(&jitter, sweeper);
	jitter_start(&jitter);
	for (; seconds() < end; rounds++) {
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		check_round();
		atomic_fetch_add(&round_number, 1);
		sessions_walk(
			table, &(struct sessions_walk){.young = true, .gone = is_contested}, UINT32_MAX);
		atomic_fetch_add(&round_number, 1);
	}
	jitter_stop(&jitter);
	atomic_store(&stop, true);
	pthread_barrier_wait(&barrier);
	atomic_store(&swept_enough, true);
	pthread_join(sweeper, NULL);
	for (uint32_t i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		printf("worker %u: %lu noted, %lu found, %lu full\n", i, workers[i].noted, workers[i].found,
			workers[i].full);
		must(workers[i].noted > 1000 && workers[i].found > 1000, "hardly any race");
	}
	printf("%lu rounds, %lu swept\n", rounds, freed);
	must(freed > 1000, "hardly anything was swept");
	sessions_free(table);
	return 0;
}
