/* SPDX-License-Identifier: BSD-3-Clause */
/* What forwarding notices of VMs' records that change by the hundred thousand a second.
 *
 *   clock --> ring of 1,024 --> worker: pipeline_run(), CPU 1          writer: transactions, CPU 0
 *
 * Two CPUs are all it takes, because no third one has to send: a packet arrives when the clock says so, as if a port had written it to its ring.
 * The worker takes what is due, at most 32 at once, copies it from prepared frames into mbufs and runs them through the pipeline;
 * what arrives while 1,024 wait is lost. Without a rate as much is due as it takes: a flood.
 *
 * The writer exchanges the global addresses of two VMs (`exchange`), or renews their records (`renew`), in transactions, at a rate, and frees what
 * is old after the grace period, as the control thread does. Rounds with and without it alternate. Every packet has to come out, and each 64th is
 * looked at: MAC and address are both of the VM or both of the one that it exchanges with. */
#include "race.h"
#include "swapper.h"
#include "workloads.h"

#include <getopt.h>
#include <rte_cycles.h>
#include <rte_lcore.h>
#include <stdlib.h>
#include <sys/resource.h>

#define BURST	   32
#define RING	   1024
#define MBUFS	   512 /* in turn: as a receive ring holds */
#define CHECK	   64
#define ROUNDS_MAX 99
#define WARM_MS	   20
#define REST_MS	   50
#define STEPS	   7 /* of the search for the rate, to within a hundredth */

struct frame {
	uint8_t bytes[RIG_LEN];
} __rte_cache_aligned;

struct trial {
	uint64_t arrived, lost, longest; /* TSC cycles, of a turn */
	uint64_t preempted;		 /* times */
	double mpps;
	double swaps; /* a second */
};

static struct {
	uint32_t vms, rounds, ms, batch;
	uint32_t share; /* of the no-drop rate, in percent */
	uint32_t rate;	/* swaps a second */
	bool exchange, huge;
	const char *json;
} opt = {100000, 40, 50, 100, 90, 100000, true, true, NULL};

static struct rig *rig;
static struct swapper swapper;
static struct load load;
static struct frame *frames;
static struct rte_mbuf *mbufs[MBUFS];
static uint32_t next_frame, next_mbuf, until_check = CHECK;

/* ---- the worker ---- */

static void *
need(void *p)
{
	must(p != NULL, "not enough memory");
	return p;
}

static void
check_out(struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);
	uint32_t vm = (uint32_t)rig_seq(m),
		 got = rte_be_to_cpu_32(ip->dst_addr) - rte_be_to_cpu_32(rig_private(0));
	struct rte_ether_addr mac = rig_mac(got);

	must(got == vm || (opt.exchange && got == (vm ^ 1)), "a packet to VM %u came out for %u", vm, got);
	must(rte_is_same_ether_addr(&eth->dst_addr, &mac), "VM %u: its address, and another one's MAC", got);
	must(rte_ipv4_cksum(ip) == 0, "VM %u: a wrong checksum", got);
}

/* The mbufs are written again for a later burst. */
static uint16_t
take_out(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	must(port == RIG_DC, "a packet at port %u", port);
	for (uint16_t i = 0; i < n; i++) {
		if (likely(--until_check != 0))
			continue;
		until_check = CHECK;
		check_out(m[i]);
	}
	return n;
}

static void
forward(uint32_t n)
{
	struct vec rx = {.n = (uint16_t)n};

	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = mbufs[next_mbuf++ % MBUFS];
		const struct frame *f = &frames[next_frame];

		next_frame = next_frame + 1 == load.active ? 0 : next_frame + 1;
		rte_pktmbuf_reset(m);
		m->data_len = RIG_LEN;
		m->pkt_len = RIG_LEN;
		rte_memcpy(rte_pktmbuf_mtod(m, void *), f->bytes, RIG_LEN);
		rig_received(m, RIG_WAN);
		rx.m[i] = m;
	}
	pipeline_run(rig->w, &rx);
	worker_flush(rig->w, take_out, NULL);
}

static uint64_t
preempted(void)
{
	struct rusage u;

	getrusage(RUSAGE_THREAD, &u);
	return (uint64_t)u.ru_nivcsw;
}

/* Packets of `per_cycle` arrive, or a flood of them, until `end`. */
static void
run_until(uint64_t end, double per_cycle, struct trial *t)
{
	struct rte_rcu_qsbr *qsbr = rcu_qsbr(rig->tables.rcu);
	uint64_t start = rte_rdtsc(), before = start, now, taken = 0;

	while ((now = rte_rdtsc()) < end) {
		uint64_t due = per_cycle > 0 ? (uint64_t)((double)(now - start) * per_cycle) : taken + BURST;

		if (due - taken > RING) {
			t->lost += due - taken - RING;
			taken = due - RING;
		}
		t->longest = RTE_MAX(t->longest, now - before);
		before = now;
		if (due != taken) {
			uint32_t n = (uint32_t)RTE_MIN(due - taken, (uint64_t)BURST);

			forward(n);
			taken += n;
		}
		rte_rcu_qsbr_quiescent(qsbr, 0);
	}
	t->arrived = taken;
	t->mpps = (double)(taken - t->lost) / ((double)(now - start) / (double)rte_get_tsc_hz()) / 1e6;
}

/* ---- trials ---- */

/* As on a CPU that is kept for it: whatever else this machine runs waits until the trial is over. Without the right to it the worker shares. */
static void
alone(bool on)
{
	struct sched_param p = {.sched_priority = on ? 1 : 0};

	if (sched_setscheduler(0, on ? SCHED_FIFO : SCHED_OTHER, &p) == 0 && !on)
		usleep(REST_MS * 1000);
}

static struct trial
run_trial(double mpps, bool swaps)
{
	uint64_t hz = rte_get_tsc_hz(), made, sent = rig->w->c.sent, start;
	struct trial warm = {0}, t = {0};

	alone(true);
	swapper_set(&swapper, swaps);
	run_until(rte_rdtsc() + WARM_MS * hz / 1000, mpps * 1e6 / (double)hz, &warm);
	t.preempted = preempted();
	made = swapper_made(&swapper);
	start = rte_rdtsc();
	run_until(start + opt.ms * hz / 1000, mpps * 1e6 / (double)hz, &t);
	t.swaps = (double)(swapper_made(&swapper) - made) / ((double)(rte_rdtsc() - start) / (double)hz);
	t.preempted = preempted() - t.preempted;
	swapper_set(&swapper, false);
	alone(false);
	sent = rig->w->c.sent - sent;
	must(sent == warm.arrived - warm.lost + t.arrived - t.lost,
		"the pipeline dropped packets: %lu of %lu came out", sent,
		warm.arrived - warm.lost + t.arrived - t.lost);
	return t;
}

/* A rate holds when of two trials in a row one loses nothing. */
static bool
holds(double mpps)
{
	return run_trial(mpps, false).lost == 0 || run_trial(mpps, false).lost == 0;
}

static double
no_drop_rate(double flood)
{
	double low = 0, high = flood;

	for (int i = 0; i < STEPS; i++) {
		double middle = (low + high) / 2;

		if (holds(middle))
			low = middle;
		else
			high = middle;
	}
	return low > 0 ? low : high; /* a machine that is too busy for any: the figures will say so */
}

/* ---- figures ---- */

struct spread {
	double median, min, max, q1, q3;
};

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static struct spread
spread_of(double *v, uint32_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return (struct spread){v[n / 2], v[0], v[n - 1], v[n / 4], v[(n - 1) - n / 4]};
}

static double
us(double cycles)
{
	return cycles * 1e6 / (double)rte_get_tsc_hz();
}

struct sums { /* of the rounds at a share of the no-drop rate */
	uint32_t rounds, lossy;
	uint64_t arrived, lost, preempted, longest;
};

static void
add(struct sums *s, const struct trial *t)
{
	s->rounds++;
	s->lossy += t->lost != 0;
	s->arrived += t->arrived;
	s->lost += t->lost;
	s->preempted += t->preempted;
	s->longest = RTE_MAX(s->longest, t->longest);
}

static void
print_sums(const char *what, const struct sums *s)
{
	printf("  %-8s %lu of %lu packets lost, in %u of %u rounds; the worker lost its CPU %lu times; "
	       "longest turn %.1f us\n",
		what, s->lost, s->arrived, s->lossy, s->rounds, s->preempted, us((double)s->longest));
}

static void
write_json(FILE *f, double limit, const struct spread *ratio, const struct sums sums[2], double swaps,
	double cost)
{
	fprintf(f,
		"{\"change\": \"%s\", \"vms\": %u, \"batch\": %u, \"swaps_per_second\": %.0f, "
		"\"us_per_swap\": %.3f, \"no_drop_mpps\": %.3f, "
		"\"throughput_ratio\": %.4f, \"ratio_q1\": %.4f, \"ratio_q3\": %.4f, \"offered\": %lu, "
		"\"lost\": %lu, \"lost_without_swaps\": %lu}\n",
		opt.exchange ? "exchange" : "renew", opt.vms, opt.batch, swaps, cost, limit, ratio->median,
		ratio->q1, ratio->q3, sums[1].arrived, sums[1].lost, sums[0].lost);
}

static void
measure(void)
{
	double flood[2][ROUNDS_MAX], ratio[ROUNDS_MAX], swaps[ROUNDS_MAX], top, limit, cost;
	struct sums sums[2] = {{0}};
	struct spread r, off, on, made;

	top = run_trial(0, false).mpps;
	limit = no_drop_rate(top);
	for (uint32_t i = 0; i < opt.rounds; i++) {
		for (int with = 0; with < 2; with++) {
			struct trial paced;

			flood[with][i] = run_trial(0, with).mpps;
			/* the machine may have become slower, or faster: the rate goes with it */
			paced = run_trial(limit * opt.share / 100 * flood[0][i] / top, with);
			add(&sums[with], &paced);
			if (with)
				swaps[i] = paced.swaps;
		}
		ratio[i] = flood[1][i] / flood[0][i];
	}
	r = spread_of(ratio, opt.rounds);
	off = spread_of(flood[0], opt.rounds);
	on = spread_of(flood[1], opt.rounds);
	made = spread_of(swaps, opt.rounds);
	cost = swapper_us(&swapper);
	printf("%u VMs, %s, %u in a transaction: %.0f swaps a second (%.0f to %.0f), %.3f us of the writer "
	       "each; longest grace period %.0f us\n",
		opt.vms, opt.exchange ? "exchange" : "renew", opt.batch, made.median, made.min, made.max,
		cost, us((double)swapper.longest_grace));
	printf("flood: %.3f Mpps (%.3f to %.3f) without, %.3f (%.3f to %.3f) with swaps: %.4f of it "
	       "(quartiles %.4f to %.4f)\n",
		off.median, off.min, off.max, on.median, on.min, on.max, r.median, r.q1, r.q3);
	printf("%u %% of the no-drop rate, %.3f Mpps when it was sought, %.3f of a flood:\n", opt.share,
		limit, limit / top);
	print_sums("without", &sums[0]);
	print_sums("with", &sums[1]);
	if (opt.json != NULL) {
		FILE *f = need(fopen(opt.json, "w"));

		write_json(f, limit, &r, sums, made.median, cost);
		must(fclose(f) == 0, "%s", opt.json);
	}
}

/* ---- start ---- */

static void
make_frames(void)
{
	must(load_init(&load, &workloads[0], opt.vms) == 0, "not enough memory");
	frames = need(aligned_alloc(RTE_CACHE_LINE_SIZE, load.active * sizeof(*frames)));
	for (uint32_t k = 0; k < load.active; k++) {
		struct rig_frame f = {.data = RIG_DATA};

		load_frame(&load, k, &f);
		f.mark = f.vm;
		must(rig_frame_write(frames[k].bytes, &f) == RIG_LEN, "frame %u", k);
	}
	must(rte_pktmbuf_alloc_bulk(rig->pool, mbufs, MBUFS) == 0, "not enough memory");
}

static void
on_first_cpu(void)
{
	cpus_place(0);
}

static const char usage[] = "usage: bench_swaps [--vms N] [--change exchange|renew] [--rate N] [--batch N] "
			    "[--share PERCENT] [--rounds N] [--ms N] [--no-huge] [--json FILE]\n"
			    "  --vms N     even, 2 to 1000000, default 100000\n"
			    "  --change    exchange: two VMs get each other's global address; renew: a "
			    "record for the same; default exchange\n"
			    "  --rate N    swaps a second, default 100000\n"
			    "  --batch N   in a transaction: even, default 100\n"
			    "  --share N   of the no-drop rate, in percent, default 90\n"
			    "  --rounds N  1 to 99, default 40\n"
			    "  --ms N      of a trial, default 50\n";

static bool
parse(int argc, char **argv)
{
	static const struct option options[] = {{"vms", 1, NULL, 'v'}, {"change", 1, NULL, 'c'},
		{"rate", 1, NULL, 'r'}, {"batch", 1, NULL, 'b'}, {"rounds", 1, NULL, 'n'},
		{"ms", 1, NULL, 'm'}, {"share", 1, NULL, 's'}, {"no-huge", 0, NULL, 'h'},
		{"json", 1, NULL, 'j'}, {NULL, 0, NULL, 0}};
	static uint32_t *const numbers['z'] = {['v'] = &opt.vms,
		['r'] = &opt.rate,
		['b'] = &opt.batch,
		['n'] = &opt.rounds,
		['m'] = &opt.ms,
		['s'] = &opt.share};
	bool good = true;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		good &= c != '?';
		if (c < 'z' && numbers[c] != NULL)
			*numbers[c] = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 'c')
			good &= (opt.exchange = strcmp(optarg, "exchange") == 0) ||
				strcmp(optarg, "renew") == 0;
		opt.huge &= c != 'h';
		opt.json = c == 'j' ? optarg : opt.json;
	}
	return good && opt.vms >= 2 && opt.vms <= 1000000 && opt.vms % 2 == 0 && opt.batch >= 2 &&
	       opt.batch % 2 == 0 && opt.batch <= opt.vms && opt.rounds >= 1 && opt.rounds <= ROUNDS_MAX &&
	       opt.ms > 0 && opt.rate > 0 && opt.share > 0;
}

int
main(int argc, char **argv)
{
	if (!parse(argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0); /* it may end by abort() */
	cpus_keep();
	rig_eal(argv[0], 64 + opt.vms / 2048, &opt.huge);
	cpus_place(1);
	rig = need(rig_new(0, opt.vms, 8191));
	make_frames();
	must(rcu_register(rig->tables.rcu, 0) == 0, "worker");
	swapper = (struct swapper){.begin = on_first_cpu,
		.rig = rig,
		.exchange = opt.exchange,
		.batch = opt.batch,
		.rate = opt.rate};
	swapper_start(&swapper);
	rte_rcu_qsbr_thread_online(rcu_qsbr(rig->tables.rcu), 0);
	measure();
	rte_rcu_qsbr_thread_offline(rcu_qsbr(rig->tables.rcu), 0);
	swapper_stop(&swapper);
	cpus_check();
	rig_free(rig);
	return 0;
}
