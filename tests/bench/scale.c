/* SPDX-License-Identifier: BSD-3-Clause */
/* What a worker notices of another one: cycles a packet takes in pipeline_run(), without any driver, on two CPUs at once.
 *
 *   alone   one worker; the other CPU has nothing to do
 *   own     the other CPU forwards, too, by a router of its own: they share what the machine makes all CPUs share, no more
 *   common  two workers of one router, and packets of the same VMs
 *   shared  the same, but a packet is counted in one of 32 counters, a line each, that both have: what that would cost
 *
 * If workers share nothing, `common` is `own`, or less: two routers have twice the tables. Bursts of 32 are written into 512
 * mbufs in turn (not measured); a round's figure is that of its median burst; the kinds take turns. */
#include "rig.h"
#include "workloads.h"

#include <getopt.h>
#include <pthread.h>
#include <rte_cycles.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BURST	   32
#define MBUFS	   512
#define LANES	   2
#define ROUNDS_MAX 99
#define COUNTS_MAX 8

enum { ALONE, OWN, COMMON, SHARED, KINDS };

struct lane { /* a CPU */
	struct worker *w;
	const struct rig *rig;
	const struct load *load;
	struct rte_mbuf **mbufs;
	uint32_t *cycles; /* of each burst */
	int cpu;
	bool shares;
} __rte_cache_aligned;

static uint32_t packets = 1 << 17, rounds = 9;
static uint32_t counts[COUNTS_MAX] = {1000, 100000}, n_counts = 2;
static const char *which; /* workloads, all if NULL */
static bool huge = true;
static struct rig *rigs[LANES];
static struct worker *second; /* of rigs[0] */
static struct lane lanes[LANES];
static atomic_uint ready, busy; /* lanes that may begin; that are not done */
static struct {
	uint64_t packets;
} __rte_cache_aligned in_common[BURST];

static void *
need(void *p)
{
	if (p != NULL)
		return p;
	fprintf(stderr, "not enough memory\n");
	exit(1);
}

/* ---- one CPU ---- */

static uint32_t
burst(struct lane *l, uint64_t number)
{
	struct rte_mbuf **m = &l->mbufs[number * BURST % MBUFS];
	struct rig_frame f;
	struct vec rx;
	uint64_t t;

	for (uint32_t j = 0; j < BURST; j++) {
		load_frame(l->load, number * BURST + j, &f);
		rig_fill(l->rig, m[j], f.way, f.vm, f.seq);
	}
	rx.n = BURST;
	memcpy(rx.m, m, BURST * sizeof(*m));
	t = rte_rdtsc();
	worker_tick(l->w, 1000000000 + t / (rte_get_tsc_hz() / 1000000));
	pipeline_run(l->w, &rx);
	for (uint32_t j = 0; l->shares && j < BURST; j++)
		__atomic_fetch_add(&in_common[j].packets, 1, __ATOMIC_RELAXED);
	t = rte_rdtsc() - t;
	worker_flush(l->w, rig_forget, NULL);
	return (uint32_t)t;
}

/* The CPU is the worker's alone, in a real-time class where it may. */
static void
take_cpu(int number)
{
	struct sched_param p = {.sched_priority = 1};
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(number, &cpu);
	pthread_setaffinity_np(pthread_self(), sizeof(cpu), &cpu);
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &p);
}

/* Goes on until the other one is done, too, so that neither is ever alone. */
static void *
forward(void *arg)
{
	struct lane *l = arg;
	uint32_t bursts = packets / BURST;

	take_cpu(l->cpu);
	atomic_fetch_sub(&ready, 1);
	while (atomic_load(&ready) != 0)
		rte_pause();
	for (uint32_t i = 0; i < bursts; i++)
		l->cycles[i] = burst(l, i);
	atomic_fetch_sub(&busy, 1);
	for (uint32_t i = 0; atomic_load_explicit(&busy, memory_order_relaxed) != 0; i++)
		burst(l, i);
	return NULL;
}

/* Per packet, in the median burst, of the lane that had it worse. */
static double
run_round(int kind)
{
	uint32_t n = kind == ALONE ? 1 : LANES, bursts = packets / BURST;
	pthread_t threads[LANES];
	double worst = 0;

	lanes[1].w = kind == OWN ? rigs[1]->w : second;
	lanes[1].rig = kind == OWN ? rigs[1] : rigs[0];
	ready = busy = n;
	for (uint32_t i = n; i-- > 0;) { /* the first one's CPU is ours, and it gives it back to nobody */
		lanes[i].shares = kind == SHARED;
		if (pthread_create(&threads[i], NULL, forward, &lanes[i]) != 0)
			need(NULL);
	}
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		qsort(lanes[i].cycles, bursts, sizeof(uint32_t), rig_by_cycles);
		worst = RTE_MAX(worst, (double)lanes[i].cycles[bursts / 2] / BURST);
	}
	return worst;
}

/* ---- a workload ---- */

static void
print_row(const struct load *load, double of[KINDS][ROUNDS_MAX])
{
	double ratio[ROUNDS_MAX];

	for (uint32_t r = 0; r < rounds; r++)
		ratio[r] = of[COMMON][r] / of[OWN][r];
	qsort(ratio, rounds, sizeof(ratio[0]), rig_by_value);
	printf("%s  %-12s %8u", load->kind->id, load->kind->name, load->vms);
	for (int k = 0; k < KINDS; k++) {
		qsort(of[k], rounds, sizeof(of[k][0]), rig_by_value);
		printf(" %8.1f", of[k][rounds / 2]);
	}
	printf(" %8.2f (%.2f to %.2f)\n", ratio[rounds / 2], ratio[rounds / 4], ratio[rounds * 3 / 4]);
	fflush(stdout);
}

static void
run_workload(const struct workload *kind, uint32_t vms)
{
	double of[KINDS][ROUNDS_MAX];
	struct load load;

	if (load_init(&load, kind, vms) != 0)
		need(NULL);
	for (uint32_t i = 0; i < LANES; i++) {
		lanes[i].load = &load;
		if (rig_become(rigs[i], kind->set) != 0)
			need(NULL);
		if (kind->sessions != 0)
			rig_note_sessions(rigs[i], load_sessions(&load));
	}
	for (uint32_t r = 0; r < rounds; r++)
		for (int k = 0; k < KINDS; k++)
			of[k][r] = run_round(k);
	print_row(&load, of);
	load_fini(&load);
}

static void
run_count(uint32_t vms, uint16_t id)
{
	for (uint16_t i = 0; i < LANES; i++) {
		rigs[i] = need(rig_new(id + i, RTE_MAX(vms, 2u), 1023));
		lanes[i].mbufs = need(malloc(MBUFS * sizeof(*lanes[i].mbufs)));
		if (rte_pktmbuf_alloc_bulk(rigs[i]->pool, lanes[i].mbufs, MBUFS) != 0)
			need(NULL);
	}
	second = need(worker_new(id + LANES, rigs[0]->topo, &rigs[0]->tables, rigs[0]->pool));
	lanes[0].w = rigs[0]->w;
	lanes[0].rig = rigs[0];
	for (size_t i = 0; i < WORKLOADS; i++)
		if (which == NULL || strstr(which, workloads[i].id) != NULL)
			run_workload(&workloads[i], vms);
	worker_free(second);
	for (uint16_t i = 0; i < LANES; i++) {
		rte_pktmbuf_free_bulk(lanes[i].mbufs, MBUFS);
		free(lanes[i].mbufs);
		rig_free(rigs[i]);
	}
}

/* ---- all ---- */

static const char usage[] =
	"usage: bench_scale [--vms N,N...] [--workloads W1,W2...] [--rounds N] [--packets N] [--no-huge]\n"
	"  --vms N,N...        1 to 1000000, default 1000,100000\n"
	"  --workloads W1,...  W1 to W7, default all\n"
	"  --rounds N          1 to 99, default 9\n"
	"  --packets N         in each round and worker, default 131072\n";

static bool
parse_counts(char *text)
{
	n_counts = 0;
	for (char *s = strtok(text, ","); s != NULL && n_counts < COUNTS_MAX; s = strtok(NULL, ",")) {
		counts[n_counts] = (uint32_t)strtoul(s, NULL, 10);
		if (counts[n_counts] < 1 || counts[n_counts] > 1000000)
			return false;
		n_counts++;
	}
	return n_counts != 0;
}

static bool
parse(int argc, char **argv)
{
	static const struct option options[] = {{"rounds", 1, NULL, 'r'}, {"packets", 1, NULL, 'p'},
		{"vms", 1, NULL, 'v'}, {"workloads", 1, NULL, 'w'}, {"no-huge", 0, NULL, 'n'},
		{NULL, 0, NULL, 0}};
	bool good = true;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 'p')
			packets = (uint32_t)strtoul(optarg, NULL, 10) / BURST * BURST;
		else if (c == 'v')
			good &= parse_counts(optarg);
		huge &= c != 'n';
		which = c == 'w' ? optarg : which;
		good &= c != '?';
	}
	return good && rounds >= 1 && rounds <= ROUNDS_MAX && packets != 0;
}

/* Before EAL pins this thread to one of them. */
static bool
find_cpus(void)
{
	cpu_set_t all;
	uint32_t n = 0;

	if (sched_getaffinity(0, sizeof(all), &all) != 0)
		return false;
	for (int i = 0; i < CPU_SETSIZE && n < LANES; i++)
		if (CPU_ISSET(i, &all))
			lanes[n++].cpu = i;
	return n == LANES;
}

int
main(int argc, char **argv)
{
	uint32_t most = 0;

	if (!parse(argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	if (!find_cpus()) {
		fprintf(stderr, "%s: needs %d CPUs\n", argv[0], LANES);
		return 1;
	}
	for (uint32_t i = 0; i < LANES; i++)
		lanes[i].cycles = need(calloc(packets / BURST, sizeof(uint32_t)));
	for (uint32_t i = 0; i < n_counts; i++)
		most = RTE_MAX(most, counts[i]);
	rig_sessions = 1 << 20;
	rig_eal(argv[0], 64 + most / 1024, &huge);
	printf("%u rounds of %u packets a worker, bursts of %d; TSC %.2f GHz; %s; cycles per packet\n",
		rounds, packets, BURST, (double)rte_get_tsc_hz() / 1e9,
		huge ? "2 MiB hugepages" : "no hugepages (4 KiB pages)");
	printf("%-16s %8s %8s %8s %8s %8s  %s\n", "workload", "VMs", "alone", "own", "common", "shared",
		"common / own (quartiles)");
	for (uint16_t i = 0; i < n_counts; i++)
		run_count(counts[i], (uint16_t)(i * (LANES + 1)));
	return 0;
}
