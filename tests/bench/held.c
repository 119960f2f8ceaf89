/* SPDX-License-Identifier: BSD-3-Clause */
/* What packets on hold cost: many VMs of a router are on their way, and for each some packets wait.
 *
 * Measured are bursts of 32 packets for one VM more, which is there, and empty bursts, with and without that; then all records
 * change at once, and what it takes to release everything. */
#include "rig.h"

#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EACH   8 /* packets for each VM */
#define ROUNDS 10000

static uint32_t held = 1000; /* VMs; the rig has one more */
static uint64_t out, packets;

static void
fail(const char *why)
{
	fprintf(stderr, "bench_held: %s\n", why);
	exit(1);
}

static uint16_t
count(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	(void)port;
	rte_pktmbuf_free_bulk(m, n);
	out += n;
	return n;
}

static void
set_flags(struct rig *r, uint16_t flags)
{
	struct vmtab_txn *x = vmtab_begin(r->tables.vms, held);

	for (uint32_t vm = 0; vm < held; vm++) {
		struct vm_rec rec = rig_vm(vm, true);

		rec.flags = flags;
		if (vmtab_prepare_put(x, &rec) != 0)
			fail("the records do not fit");
	}
	if (vmtab_prepare_end(x, NULL) != 0)
		fail("the records do not fit");
	vmtab_publish(x);
	vmtab_retire(x);
}

static uint64_t
turn(struct rig *r, struct vec *rx)
{
	uint64_t t = rte_rdtsc();

	pipeline_run(r->w, rx);
	t = rte_rdtsc() - t;
	worker_flush(r->w, count, NULL);
	return t;
}

/* Numbered from `first`, for one VM after the other of so many from `vm` on. */
static void
receive(struct rig *r, struct vec *rx, uint32_t vm, uint32_t vms, uint32_t first)
{
	for (uint32_t i = first; rx->n < RX_MAX; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(r->pool);

		if (m == NULL)
			fail("no mbuf");
		rig_fill(r, m, RIG_DOWNLINK, vm + i % vms, i);
		vec_add(rx, m);
	}
}

static void
fill(struct rig *r)
{
	struct vec rx = {.n = 0};

	for (uint32_t i = 0; i < held * EACH; i += RX_MAX) {
		receive(r, &rx, 0, held, i);
		turn(r, &rx);
	}
	packets = r->w->vm_hold.packets;
	if (packets < held * EACH)
		fail("not all packets wait");
}

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t
median(struct rig *r, bool busy)
{
	static uint64_t cycles[ROUNDS];
	struct vec rx = {.n = 0};

	for (uint32_t i = 0; i < ROUNDS; i++) {
		if (busy)
			receive(r, &rx, held, 1, i);
		cycles[i] = turn(r, &rx);
	}
	qsort(cycles, ROUNDS, sizeof(cycles[0]), by_size);
	return cycles[ROUNDS / 2];
}

static void
measure(struct rig *r, const char *when)
{
	uint64_t empty = median(r, false), busy = median(r, true);

	printf("%s: %lu cycles an empty burst, %lu one of %d packets\n", when, empty, busy, RX_MAX);
}

static void
release(struct rig *r)
{
	uint64_t cycles = 0, rounds = 0;
	struct vec rx = {.n = 0};

	set_flags(r, 0);
	for (out = 0; r->w->vm_hold.packets != 0; rounds++)
		cycles += turn(r, &rx);
	if (out != packets)
		fail("packets were lost");
	printf("released: %lu packets in %lu rounds, %.0f cycles a packet, %.2f ms\n", out, rounds,
		(double)cycles / (double)out, (double)cycles * 1e3 / (double)rte_get_tsc_hz());
}

int
main(int argc, char **argv)
{
	char when[48];
	struct rig *r;
	bool huge = true;

	if (argc > 2 && strcmp(argv[1], "--vms") == 0)
		held = (uint32_t)atoi(argv[2]);
	if (held < 1 || held > 1000)
		fail("usage: bench_held [--vms N], 1 to 1000");
	rig_eal(argv[0], 128, &huge);
	r = rig_new(0, held + 1, 16383);
	if (r == NULL)
		fail("not enough memory");
	measure(r, "nothing on hold");
	set_flags(r, VM_REC_HOLDS);
	fill(r);
	snprintf(when, sizeof(when), "%lu packets for %u VMs on hold", packets, held);
	measure(r, when);
	release(r);
	rig_free(r);
	return 0;
}
