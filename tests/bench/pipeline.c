/* SPDX-License-Identifier: BSD-3-Clause */
/* How many cycles a packet costs in pipeline_run(), per stage and in all, without any driver.
 *
 * Bursts of 32 small packets, each of another VM in random order, are written into 512 mbufs in turn (not
 * measured) and run through the pipeline (measured). Beside it a floor (floor.h): the same bursts, where each packet has
 * done to it what no router can do without. A round's figure is that of its median burst, so that a burst in which
 * something else had the core does not count; rounds of floor and pipeline alternate, so that what else the machine
 * does meets both. */
#include "floor.h"
#include "rig.h"
#include "workloads.h"

#include <getopt.h>
#include <rte_cycles.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BURST	   32
#define MBUFS	   512 /* in turn: as a receive ring holds */
#define ROUNDS_MAX 99
#define COUNTS_MAX 8 /* of VMs, in one run */

/* BY_STAGE: the pipeline, each call of a stage timed, which costs 1.5 cycles. */
enum { FLOOR, PIPELINE, BY_STAGE, KINDS };

struct sample {
	double all, stage[STAGES];
};

struct bench { /* one workload at one number of VMs */
	struct load load;
	struct rig *rig;
	struct rte_mbuf **mbufs;
	const struct vm_rec **recs;	      /* for the floor: of VMs in the order in which they speak */
	const struct session_cell **sessions; /* of a round's packets; NULL: none are noted */
	struct sample samples[KINDS][ROUNDS_MAX];
};

static uint32_t packets = 1 << 18, rounds = 15;
static uint32_t counts[COUNTS_MAX] = {1000, 100000}, n_counts = 2;
static const char *which; /* workloads, all if NULL */
static bool stages, json_too, huge = true;
static uint32_t *burst_cycles[STAGES + 1]; /* of each burst of a round: by stage, and in all */

/* ---- one burst ---- */

static uint64_t
run_pipeline(struct bench *b, struct rte_mbuf **m, bool by_stage)
{
	struct vec rx;
	uint64_t t;

	b->rig->w->untimed = by_stage ? 0 : UNTIMED_CALLS;
	rx.n = BURST;
	memcpy(rx.m, m, BURST * sizeof(*m));
	t = rte_rdtsc();
	pipeline_run(b->rig->w, &rx);
	t = rte_rdtsc() - t;
	worker_flush(b->rig->w, rig_forget, NULL);
	return t;
}

static uint64_t
run_floor(struct bench *b, struct rte_mbuf **m, const struct floor_needs *needs)
{
	uint64_t t = rte_rdtsc();

	floor_of(b->load.kind)(b->rig->w, m, needs, BURST);
	return rte_rdtsc() - t;
}

/* ---- one round ---- */

static const struct vm_rec *
record_of(const struct bench *b, uint32_t vm)
{
	const struct vm_key_mac key = {.mac = rig_mac(vm)};
	const struct vm_rec *rec;

	vmtab_by_mac(b->rig->tables.vms, &key, 1, &rec);
	return rec;
}

/* Per packet, in the median burst. */
static double
median_burst(uint32_t *cycles, uint32_t bursts)
{
	qsort(cycles, bursts, sizeof(*cycles), rig_by_cycles);
	return (double)cycles[bursts / 2] / BURST;
}

/* Measures burst i, which is filled. */
static void
measure(struct bench *b, int kind, uint32_t i, struct rte_mbuf **m, const struct floor_needs *needs)
{
	struct stage_count before[STAGES];

	memcpy(before, b->rig->w->c.stage, sizeof(before));
	burst_cycles[STAGES][i] =
		(uint32_t)(kind == FLOOR ? run_floor(b, m, needs) : run_pipeline(b, m, kind == BY_STAGE));
	for (int s = 0; s < STAGES; s++)
		burst_cycles[s][i] = (uint32_t)(b->rig->w->c.stage[s].cycles - before[s].cycles);
}

/* Writes burst i; returns how many of its packets go out. */
static uint32_t
fill(struct bench *b, uint32_t i, struct rte_mbuf **m)
{
	struct rig_frame f;
	uint32_t out = 0;

	for (uint32_t j = 0; j < BURST; j++) {
		load_frame(&b->load, (uint64_t)i * BURST + j, &f);
		rig_fill(b->rig, m[j], f.way, f.vm, f.seq);
		out += f.way != RIG_JUNK;
	}
	return out;
}

static void
run_round(struct bench *b, int kind, struct sample *out)
{
	uint64_t sent = b->rig->w->c.sent, expected = 0;
	uint32_t bursts = packets / BURST;

	for (uint32_t i = 0; i < bursts; i++) {
		struct rte_mbuf **m = &b->mbufs[i * BURST % MBUFS];
		const struct floor_needs needs = {
			.rec = &b->recs[(uint64_t)i * BURST % b->load.active],
			.session = b->sessions != NULL ? &b->sessions[i * BURST] : NULL,
		};

		expected += fill(b, i, m);
		measure(b, kind, i, m, &needs);
	}
	out->all = median_burst(burst_cycles[STAGES], bursts);
	for (int s = 0; s < STAGES; s++)
		out->stage[s] = median_burst(burst_cycles[s], bursts);
	sent = b->rig->w->c.sent - sent;
	if (kind != FLOOR && sent != expected) {
		fprintf(stderr, "%s, %u VMs: %lu of %lu packets came out\n", b->load.kind->id, b->load.vms,
			sent, expected);
		exit(1);
	}
}

/* ---- set-up ---- */

static void *
need(void *p)
{
	if (p != NULL)
		return p;
	fprintf(stderr, "not enough memory\n");
	exit(1);
}

static void
find_records(struct bench *b)
{
	uint32_t n = b->load.active + BURST;

	b->recs = need(malloc(n * sizeof(*b->recs)));
	for (uint32_t v = 0; v < n; v++)
		b->recs[v] =
			record_of(b, floor_vm(b->load.kind, b->load.order[v % b->load.active], b->rig->vms));
}

static void
note_sessions(struct bench *b)
{
	struct rig_frame f;

	rig_note_sessions(b->rig, load_sessions(&b->load));
	b->sessions = need(malloc(packets * sizeof(*b->sessions)));
	for (uint32_t k = 0; k < packets; k++) {
		load_frame(&b->load, k, &f);
		b->sessions[k] = rig_session(b->rig, f.vm, (uint32_t)f.seq);
		if (b->sessions[k] == NULL)
			b->sessions[k] = &floor_no_session;
	}
}

static struct bench *
bench_new(const struct workload *load, struct rig *rig, uint32_t vms)
{
	struct bench *b = need(calloc(1, sizeof(*b)));

	b->rig = rig;
	if (load_init(&b->load, load, vms) != 0)
		need(NULL);
	b->mbufs = need(malloc(MBUFS * sizeof(*b->mbufs)));
	if (rte_pktmbuf_alloc_bulk(rig->pool, b->mbufs, MBUFS) != 0 || rig_become(rig, load->set) != 0)
		need(NULL);
	find_records(b);
	if (load->sessions != 0)
		note_sessions(b);
	return b;
}

static void
bench_free(struct bench *b)
{
	rte_pktmbuf_free_bulk(b->mbufs, MBUFS);
	free(b->mbufs);
	free(b->recs);
	free(b->sessions);
	load_fini(&b->load);
	free(b);
}

static void
run(struct bench *b)
{
	for (uint32_t r = 0; r < rounds; r++) {
		run_round(b, FLOOR, &b->samples[FLOOR][r]);
		run_round(b, PIPELINE, &b->samples[PIPELINE][r]);
		if (stages || json_too)
			run_round(b, BY_STAGE, &b->samples[BY_STAGE][r]);
	}
}

/* ---- figures ---- */

struct figure {
	double median, min, max;
};

static struct figure
figure(const struct bench *b, int kind, int stage)
{
	double v[ROUNDS_MAX];

	for (uint32_t r = 0; r < rounds; r++)
		v[r] = stage < 0 ? b->samples[kind][r].all : b->samples[kind][r].stage[stage];
	qsort(v, rounds, sizeof(v[0]), rig_by_value);
	return (struct figure){v[rounds / 2], v[0], v[rounds - 1]};
}

/* How many times the floor, in the median of rounds: each beside that of the floor right before it, so that what else the machine does meets
 * both. */
static double
times_floor(const struct bench *b)
{
	double v[ROUNDS_MAX];

	for (uint32_t r = 0; r < rounds; r++)
		v[r] = b->samples[PIPELINE][r].all / b->samples[FLOOR][r].all;
	qsort(v, rounds, sizeof(v[0]), rig_by_value);
	return v[rounds / 2];
}

static double
mpps(double cycles)
{
	return (double)rte_get_tsc_hz() / cycles / 1e6;
}

static void
print_bench(const struct bench *b)
{
	struct figure floor = figure(b, FLOOR, -1), all = figure(b, PIPELINE, -1);

	printf("%s  %-20s %8u %8.1f %8.1f %8.1f %7.1f %7.1f %8.2f %7.2f\n", b->load.kind->id,
		b->load.kind->name, b->load.vms, all.median, all.min, all.max,
		all.median * 1e9 / (double)rte_get_tsc_hz(), floor.median, times_floor(b), mpps(all.median));
	for (int s = 0; stages && s < STAGES; s++) {
		struct figure f = figure(b, BY_STAGE, s);

		if (f.max > 0)
			printf("      %-17s %8.1f %8.1f %8.1f\n", stage_names[s].name, f.median, f.min,
				f.max);
	}
	fflush(stdout);
}

/* A row as scripts/bench gives it of every device under test; the limit is the floor. */
static void
json_bench(FILE *f, const struct bench *b, bool first)
{
	struct figure floor = figure(b, FLOOR, -1), all = figure(b, PIPELINE, -1);
	const char *comma = "";

	fprintf(f, "%s\n  {\"workload\": \"%s\", \"dut\": \"pipeline\", \"vms\": %u, \"frame\": %u, ",
		first ? "" : ",", b->load.kind->id, b->load.vms, RIG_LEN);
	fprintf(f, "\"mpps_median\": %.3f, \"mpps_min\": %.3f, \"mpps_max\": %.3f, ", mpps(all.median),
		mpps(all.max), mpps(all.min));
	fprintf(f,
		"\"ratio_to_limit\": %.4f, \"cycles_per_packet\": %.2f, \"floor_cycles\": %.2f, \"stages\": "
		"{",
		1 / times_floor(b), all.median, floor.median);
	for (int s = 0; s < STAGES; s++) {
		struct figure x = figure(b, BY_STAGE, s);

		if (x.max <= 0)
			continue;
		fprintf(f, "%s\"%s\": %.2f", comma, stage_names[s].name, x.median);
		comma = ", ";
	}
	fprintf(f, "}}");
}

/* ---- the matrix ---- */

static bool
chosen(const struct workload *load)
{
	return which == NULL || strstr(which, load->id) != NULL;
}

static void
run_count(uint32_t vms, uint16_t id, FILE *json)
{
	struct rig *rig = need(rig_new(id, RTE_MAX(vms, 2u), 8191));
	static bool any;

	for (size_t i = 0; i < RTE_DIM(workloads); i++) {
		struct bench *b;

		if (!chosen(&workloads[i]))
			continue;
		b = bench_new(&workloads[i], rig, vms);
		run(b);
		print_bench(b);
		if (json != NULL)
			json_bench(json, b, !any);
		any = true;
		bench_free(b);
	}
	rig_free(rig);
}

static void
run_all(const char *file)
{
	FILE *json = file != NULL ? fopen(file, "w") : NULL;

	if (file != NULL && json == NULL) {
		perror(file);
		exit(1);
	}
	printf("%u rounds of %u packets, bursts of %d; TSC %.2f GHz; %s; cycles per packet\n", rounds,
		packets, BURST, (double)rte_get_tsc_hz() / 1e9,
		huge ? "2 MiB hugepages" : "no hugepages (4 KiB pages)");
	printf("%-24s %8s %8s %8s %8s %7s %7s %8s %7s\n", "workload", "VMs", "median", "min", "max", "ns",
		"floor", "x floor", "Mpps");
	if (json != NULL)
		fprintf(json, "[");
	for (uint32_t i = 0; i < n_counts; i++)
		run_count(counts[i], (uint16_t)i, json);
	if (json != NULL && (fprintf(json, "\n]\n") < 0 || fclose(json) != 0)) {
		perror(file);
		exit(1);
	}
}

static const char usage[] =
	"usage: bench_pipeline [--vms N,N...] [--workloads W1,W2...] [--stages] [--rounds N] [--packets N]\n"
	"                      [--segments N] [--no-huge] [--json FILE]\n"
	"  --vms N,N...        1 to 1000000, default 1000,100000\n"
	"  --workloads W1,...  W1 to W8, default all\n"
	"  --stages            each stage, too\n"
	"  --rounds N          1 to 99, default 15\n"
	"  --packets N         in each round, default 262144\n"
	"  --segments N        1 to 256, default 1\n"
	"  --json FILE         a row for each workload and number of VMs\n";

static bool
parse_counts(char *text)
{
	n_counts = 0;
	for (char *s = strtok(text, ","); s != NULL; s = strtok(NULL, ",")) {
		if (n_counts == COUNTS_MAX)
			return false;
		counts[n_counts] = (uint32_t)strtoul(s, NULL, 10);
		if (counts[n_counts] < 1 || counts[n_counts] > 1000000)
			return false;
		n_counts++;
	}
	return n_counts != 0;
}

static const char *
parse(int argc, char **argv)
{
	static const struct option options[] = {{"rounds", 1, NULL, 'r'}, {"packets", 1, NULL, 'p'},
		{"segments", 1, NULL, 's'}, {"json", 1, NULL, 'j'}, {"vms", 1, NULL, 'v'},
		{"workloads", 1, NULL, 'w'}, {"stages", 0, NULL, 't'}, {"no-huge", 0, NULL, 'n'},
		{NULL, 0, NULL, 0}};
	const char *json = NULL;
	bool good = true;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 's')
			rig_segments = (uint16_t)strtoul(optarg, NULL, 10);
		else if (c == 'p')
			packets = (uint32_t)strtoul(optarg, NULL, 10) / BURST * BURST;
		else if (c == 'v')
			good &= parse_counts(optarg);
		stages |= c == 't';
		huge &= c != 'n';
		which = c == 'w' ? optarg : which;
		json = c == 'j' ? optarg : json;
		json_too |= c == 'j';
		if (!good || c == '?' || rounds < 1 || rounds > ROUNDS_MAX || packets == 0 ||
			rig_segments < 1 || rig_segments > TOPO_SEGMENTS) {
			fputs(usage, stderr);
			exit(2);
		}
	}
	return json;
}

int
main(int argc, char **argv)
{
	const char *json = parse(argc, argv);
	uint32_t most = 0;

	for (int s = 0; s <= STAGES; s++)
		burst_cycles[s] = need(calloc(packets / BURST, sizeof(*burst_cycles[s])));
	for (uint32_t i = 0; i < n_counts; i++)
		most = RTE_MAX(most, counts[i]);
	rig_sessions = 1 << 20;
	rig_eal(argv[0], 64 + most / 2048, &huge);
	run_all(json);
	return 0;
}
