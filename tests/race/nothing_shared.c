/* SPDX-License-Identifier: BSD-3-Clause */
/* Two workers that forward packets of the same VMs share no cache line: none writes what the other reads or writes.
 *
 * Each has a thread of its own and takes its turn: buffers from the pool, the round of its loop, the buffers back as a driver
 * gives them, all accesses noted (lines.h). What they share by design is a case of its own: the session table of draining VMs. */
#include "lines.h"
#include "rig.h"
#include "session_lines.h"
#include "tabtest.h"
#include "workloads.h"

#include <dlfcn.h>

#define VMS   64
#define BURST 32
#define WARM  20 /* bursts before the one that counts */

static struct side {
	struct worker *w;
	struct rte_mbuf *m[BURST];
} __rte_cache_aligned sides[LINES_SIDES];

static struct rig *rig;
static struct load load;
static uint32_t now_s = 1000;
static uint32_t passes; /* seconds between what was noted and refreshed before and the burst that counts */
static bool shares;	/* a fault, to be found */
static uint32_t in_common;

static uint16_t
send_burst(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	(void)port;
	rte_pktmbuf_free_bulk(m, n);
	return n;
}

static void
take_buffers(struct side *s)
{
	if (rte_pktmbuf_alloc_bulk(rig->pool, s->m, BURST) != 0)
		abort();
}

static void
fill(struct side *s)
{
	struct rig_frame f;

	for (uint32_t j = 0; j < BURST; j++) {
		load_frame(&load, j, &f);
		rig_fill(rig, s->m[j], f.way, f.vm, f.seq);
	}
}

/* As in the daemon's loop, without the driver. */
static void
round_once(struct side *s)
{
	struct vec rx;

	worker_orders(s->w);
	worker_tick(s->w, now_s * UINT64_C(1000000));
	rx.n = BURST;
	memcpy(rx.m, s->m, sizeof(s->m));
	pipeline_run(s->w, &rx);
	worker_flush(s->w, send_burst, NULL);
	rte_rcu_qsbr_quiescent(rcu_qsbr(rig->tables.rcu), s->w->id);
	if (shares)
		__atomic_fetch_add(&in_common, 0, __ATOMIC_RELAXED);
}

static void
forward(void *arg)
{
	struct side *s = arg;

	RTE_PER_LCORE(_lcore_id) = s->w->id + 1; /* so it has buffers of its own at hand, as an EAL thread */
	for (int i = 0; i < WARM; i++) {
		take_buffers(s);
		fill(s);
		round_once(s);
	}
	now_s += passes;
	lines_begin();
	take_buffers(s);
	lines_end();
	fill(s);
	lines_begin();
	round_once(s);
	lines_end();
}

static void
run_sides(const struct workload *kind)
{
	assert_int_equal(load_init(&load, kind, VMS), 0);
	assert_int_equal(rig_become(rig, kind->set), 0);
	if (kind->sessions != 0)
		rig_note_sessions(rig, load_sessions(&load));
	lines_forget();
	for (int i = 0; i < LINES_SIDES; i++)
		lines_thread(i, forward, &sides[i]);
	for (int i = 0; i < LINES_SIDES; i++)
		assert_true(lines_noted(i) >
			    BURST / 2); /* it did look: the buffers alone are a quarter of that */
	lines_narrow();
	for (int i = 0; i < LINES_SIDES; i++)
		lines_thread(i, forward, &sides[i]);
	load_fini(&load);
}

static void
tell(const struct workload *kind, const struct line *l)
{
	Dl_info info = {0};

	for (int i = 0; i < LINES_SIDES; i++) {
		dladdr((void *)l->side[i].code, &info);
		fprintf(stderr, "%s: line %#lx: worker %d %s it at %s+%#lx (addr2line)\n", kind->id, l->at, i,
			l->side[i].writes ? "writes" : "reads", info.dli_fname,
			l->side[i].code - (uintptr_t)info.dli_fbase);
	}
}

static uint32_t
count_shared(const struct workload *kind)
{
	uint32_t n = 0;

	for (const struct line *l = NULL; (l = lines_next_shared(l)) != NULL; n++)
		tell(kind, l);
	return n;
}

/* ---- tests ---- */

static void
a_line_that_two_workers_share_is_found(void **state)
{
	const struct line *l;

	(void)state;
	shares = true;
	run_sides(&workloads[0]);
	shares = false;
	l = lines_next_shared(NULL);
	assert_non_null(l);
	assert_int_equal(l->at, (uintptr_t)&in_common & ~(uintptr_t)63);
	assert_true(l->side[0].writes && l->side[1].writes);
	assert_null(lines_next_shared(l));
}

static void
two_workers_write_no_line_that_the_other_one_touches(void **state)
{
	uint32_t shared = 0;

	(void)state;
	for (int express = 0; express < 2; express++) {
		for (int i = 0; i < LINES_SIDES; i++)
			sides[i].w->express = express;
		for (int k = 0; k < WORKLOADS; k++) {
			run_sides(&workloads[k]);
			shared += count_shared(&workloads[k]);
		}
	}
	assert_int_equal(shared, 0);
}

/* Sessions are known to all workers: a session's two ways may be two workers'. Refreshing is what they have in common, and that
 * is done once a second. */
static void
of_draining_vms_they_share_sessions_alone_and_those_once_a_second(void **state)
{
	uint32_t n = 0;

	(void)state;
	passes = 1;
	run_sides(&workloads[WORKLOADS - 1]);
	passes = 0;
	for (const struct line *l = NULL; (l = lines_next_shared(l)) != NULL; n++)
		assert_true(is_session_line(rig->tables.sessions, l->at));
	assert_in_range(n, 1, BURST);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_that_two_workers_share_is_found),
		cmocka_unit_test(two_workers_write_no_line_that_the_other_one_touches),
		cmocka_unit_test(of_draining_vms_they_share_sessions_alone_and_those_once_a_second),
	};
	bool huge = false;

	(void)argc;
	rig_eal(argv[0], 64, &huge);
	rig = rig_new(0, VMS, 8191);
	if (rig == NULL)
		return 1;
	sides[0].w = rig->w;
	sides[1].w = worker_new(1, rig->topo, &rig->tables, rig->pool);
	return sides[1].w == NULL ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
