/* SPDX-License-Identifier: BSD-3-Clause */
/* How many cycles a packet costs in pipeline_run(), per stage and in all, without any driver.
 *
 * Bursts of 32 small UDP packets, each of another VM in random order, are written into 512 mbufs in turn (not
 * measured) and run through the pipeline (measured). Beside it a floor: the same bursts, where each packet's
 * header is read and its VM's record read and both written to the extent that any router would have to; the
 * records are known and prefetched. A round's figure is that of its median burst, so that a burst in which
 * something else had the core does not count; rounds of all cases alternate, so that what else the machine
 * does meets all of them. */
#include "rig.h"

#include <getopt.h>
#include <rte_cycles.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BURST	   32
#define MBUFS	   512 /* in turn: as a receive ring holds */
#define ROUNDS_MAX 99

enum { FLOOR, PIPELINE, KINDS };

struct sample {
	double all, stage[STAGES];
};

struct bench { /* one direction at one number of VMs */
	const char *name;
	enum rig_way way;
	struct rig *rig;
	uint32_t *order; /* VMs, shuffled */
	struct rte_mbuf **mbufs;
	struct sample samples[KINDS][ROUNDS_MAX];
};

static uint32_t packets = 1 << 18, rounds = 15;
static uint32_t *burst_cycles[STAGES + 1]; /* of each burst of a round: by stage, and in all */

/* ---- one burst ---- */

static uint16_t
forget(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	(void)port;
	(void)m; /* the mbufs are written again for a later burst */
	return n;
}

static uint64_t
run_pipeline(struct bench *b, struct rte_mbuf **m)
{
	struct vec rx;
	uint64_t t;

	rx.n = BURST;
	memcpy(rx.m, m, BURST * sizeof(*m));
	t = rte_rdtsc();
	pipeline_run(b->rig->w, &rx);
	t = rte_rdtsc() - t;
	worker_flush(b->rig->w, forget, NULL);
	return t;
}

static uint64_t
run_floor(struct rte_mbuf **m, const struct vm_rec **recs)
{
	uint64_t t = rte_rdtsc();

	for (uint32_t i = 0; i < BURST; i++) {
		rte_prefetch0(rte_pktmbuf_mtod(m[i], void *));
		rte_prefetch0(recs[i]);
	}
	for (uint32_t i = 0; i < BURST; i++) {
		struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m[i], struct rte_ether_hdr *);
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);

		eth->dst_addr = recs[i]->mac;
		ip->dst_addr = recs[i]->addresses[0].ip;
		ip->time_to_live--;
	}
	return rte_rdtsc() - t;
}

/* ---- one round ---- */

static const struct vm_rec *
record_of(const struct bench *b, uint32_t vm)
{
	struct vm_key_mac key = {.mac = rig_mac(vm)};
	const struct vm_rec *rec;

	vmtab_by_mac(b->rig->tables.vms, &key, 1, &rec);
	return rec;
}

static int
by_cycles(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Per packet, in the median burst. */
static double
median_burst(uint32_t *cycles, uint32_t bursts)
{
	qsort(cycles, bursts, sizeof(*cycles), by_cycles);
	return (double)cycles[bursts / 2] / BURST;
}

/* Measures burst i, which is filled. */
static void
measure(struct bench *b, int kind, uint32_t i, struct rte_mbuf **m, const struct vm_rec **recs)
{
	struct stage_count before[STAGES];

	memcpy(before, b->rig->w->c.stage, sizeof(before));
	burst_cycles[STAGES][i] = (uint32_t)(kind == PIPELINE ? run_pipeline(b, m) : run_floor(m, recs));
	for (int s = 0; s < STAGES; s++)
		burst_cycles[s][i] = (uint32_t)(b->rig->w->c.stage[s].cycles - before[s].cycles);
}

static void
run_round(struct bench *b, int kind, const struct vm_rec **recs, struct sample *out)
{
	uint64_t sent = b->rig->w->c.sent;
	uint32_t bursts = packets / BURST;

	for (uint32_t i = 0; i < bursts; i++) {
		struct rte_mbuf **m = &b->mbufs[i * BURST % MBUFS];
		uint32_t at = (uint32_t)((uint64_t)i * BURST % b->rig->vms);

		for (uint32_t j = 0; j < BURST; j++)
			rig_fill(b->rig, m[j], b->way, b->order[(at + j) % b->rig->vms], j);
		measure(b, kind, i, m, &recs[at]);
	}
	out->all = median_burst(burst_cycles[STAGES], bursts);
	for (int s = 0; s < STAGES; s++)
		out->stage[s] = median_burst(burst_cycles[s], bursts);
	sent = b->rig->w->c.sent - sent;
	if (kind == PIPELINE && sent != (uint64_t)bursts * BURST) {
		fprintf(stderr, "%s: %lu of %u packets came out\n", b->name, sent, bursts * BURST);
		exit(1);
	}
}

/* ---- set-up ---- */

static void
shuffle(uint32_t *v, uint32_t n)
{
	uint64_t s = 88172645463325252u;

	for (uint32_t i = 0; i < n; i++)
		v[i] = i;
	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t j, t;

		s ^= s << 13;
		s ^= s >> 7;
		s ^= s << 17;
		j = (uint32_t)(s % (i + 1));
		t = v[i];
		v[i] = v[j];
		v[j] = t;
	}
}

static void *
need(void *p)
{
	if (p != NULL)
		return p;
	fprintf(stderr, "not enough memory\n");
	exit(1);
}

static struct bench
make_bench(struct rig *rig, enum rig_way way)
{
	struct bench b = {.name = way == RIG_UPLINK ? "NAT uplink" : "NAT downlink", .way = way, .rig = rig};

	b.order = need(malloc(rig->vms * sizeof(*b.order)));
	b.mbufs = need(malloc(MBUFS * sizeof(*b.mbufs)));
	shuffle(b.order, rig->vms);
	if (rte_pktmbuf_alloc_bulk(rig->pool, b.mbufs, MBUFS) != 0)
		need(NULL);
	return b;
}

static void
run(struct bench *benches, uint32_t n)
{
	for (uint32_t r = 0; r < rounds; r++) {
		for (uint32_t i = 0; i < n; i++) {
			struct bench *b = &benches[i];
			uint32_t extra = b->rig->vms + BURST;
			const struct vm_rec **recs = need(malloc(extra * sizeof(*recs)));

			for (uint32_t v = 0; v < extra; v++)
				recs[v] = record_of(b, b->order[v % b->rig->vms]);
			run_round(b, FLOOR, recs, &b->samples[FLOOR][r]);
			run_round(b, PIPELINE, recs, &b->samples[PIPELINE][r]);
			free(recs);
		}
	}
}

/* ---- figures ---- */

struct figure {
	double median, min, max;
};

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static struct figure
figure(const struct bench *b, int kind, int stage)
{
	double v[ROUNDS_MAX];

	for (uint32_t r = 0; r < rounds; r++)
		v[r] = stage < 0 ? b->samples[kind][r].all : b->samples[kind][r].stage[stage];
	qsort(v, rounds, sizeof(v[0]), by_value);
	return (struct figure){v[rounds / 2], v[0], v[rounds - 1]};
}

static void
print_row(const char *name, struct figure f, double floor)
{
	printf("  %-16s %8.1f %8.1f %8.1f %9.1f %8.2f\n", name, f.median, f.min, f.max,
		f.median * 1e9 / (double)rte_get_tsc_hz(), f.median / floor);
}

static void
print_bench(const struct bench *b)
{
	struct figure floor = figure(b, FLOOR, -1), all = figure(b, PIPELINE, -1);

	printf("\n%s, %u VMs\n", b->name, b->rig->vms);
	printf("  %-16s %8s %8s %8s %9s %8s\n", "cycles/packet", "median", "min", "max", "ns", "x floor");
	for (int s = 0; s < STAGES; s++) {
		struct figure f = figure(b, PIPELINE, s);

		if (f.max > 0)
			print_row(stage_names[s].name, f, floor.median);
	}
	print_row("pipeline", all, floor.median);
	print_row("floor", floor, floor.median);
	printf("  %.2f million packets/s on one core at the median\n",
		(double)rte_get_tsc_hz() / all.median / 1e6);
}

static void
json_figure(FILE *f, const char *name, struct figure x, const char *end)
{
	fprintf(f, "\"%s\": {\"median\": %.2f, \"min\": %.2f, \"max\": %.2f}%s", name, x.median, x.min, x.max,
		end);
}

static void
json_bench(FILE *f, const struct bench *b, const char *end)
{
	bool first = true;

	fprintf(f, "    {\"name\": \"%s\", \"vms\": %u, ", b->name, b->rig->vms);
	json_figure(f, "pipeline", figure(b, PIPELINE, -1), ", ");
	json_figure(f, "floor", figure(b, FLOOR, -1), ",\n     \"stages\": {");
	for (int s = 0; s < STAGES; s++) {
		struct figure x = figure(b, PIPELINE, s);

		if (x.max <= 0)
			continue;
		fprintf(f, "%s", first ? "" : ", ");
		json_figure(f, stage_names[s].name, x, "");
		first = false;
	}
	fprintf(f, "}}%s\n", end);
}

static void
write_json(const char *file, const struct bench *b, uint32_t n, bool huge)
{
	FILE *f = fopen(file, "w");

	if (f == NULL) {
		perror(file);
		exit(1);
	}
	fprintf(f,
		"{\"unit\": \"TSC cycles per packet\", \"tsc_hz\": %lu, \"hugepages\": %s, \"burst\": %d, ",
		rte_get_tsc_hz(), huge ? "true" : "false", BURST);
	fprintf(f, "\"packets\": %u, \"rounds\": %u,\n  \"cases\": [\n", packets, rounds);
	for (uint32_t i = 0; i < n; i++)
		json_bench(f, &b[i], i + 1 < n ? "," : "");
	fprintf(f, "  ]}\n");
	if (fclose(f) != 0) {
		perror(file);
		exit(1);
	}
}

static const char usage[] = "usage: bench_pipeline [--rounds N] [--packets N] [--segments N] [--json FILE]\n"
			    "  --rounds N    1 to 99, default 15\n"
			    "  --packets N   in each round, default 262144\n"
			    "  --segments N  1 to 256, default 1\n"
			    "  --json FILE   the figures for programs\n";

static const char *
parse(int argc, char **argv)
{
	static const struct option options[] = {{"rounds", 1, NULL, 'r'}, {"packets", 1, NULL, 'p'},
		{"segments", 1, NULL, 's'}, {"json", 1, NULL, 'j'}, {NULL, 0, NULL, 0}};
	const char *json = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 's')
			rig_segments = (uint16_t)strtoul(optarg, NULL, 10);
		else if (c == 'p')
			packets = (uint32_t)strtoul(optarg, NULL, 10) / BURST * BURST;
		else if (c == 'j')
			json = optarg;
		if (c == '?' || rounds < 1 || rounds > ROUNDS_MAX || packets == 0 || rig_segments < 1 ||
			rig_segments > TOPO_SEGMENTS) {
			fputs(usage, stderr);
			exit(2);
		}
	}
	return json;
}

int
main(int argc, char **argv)
{
	static struct bench benches[4];
	const char *json = parse(argc, argv);
	struct rig *few, *many;
	bool huge;

	for (int s = 0; s <= STAGES; s++)
		burst_cycles[s] = need(calloc(packets / BURST, sizeof(*burst_cycles[s])));
	rig_eal(argv[0], 768, &huge);
	few = need(rig_new(0, 1000, 8191));
	many = need(rig_new(1, 100000, 8191));
	benches[0] = make_bench(few, RIG_DOWNLINK);
	benches[1] = make_bench(few, RIG_UPLINK);
	benches[2] = make_bench(many, RIG_DOWNLINK);
	benches[3] = make_bench(many, RIG_UPLINK);
	run(benches, 4);
	printf("%u rounds of %u packets, bursts of %d; TSC %.2f GHz; %s\n", rounds, packets, BURST,
		(double)rte_get_tsc_hz() / 1e9, huge ? "2 MiB hugepages" : "no hugepages (4 KiB pages)");
	for (int i = 0; i < 4; i++)
		print_bench(&benches[i]);
	if (json != NULL)
		write_json(json, benches, 4, huge);
	return 0;
}
