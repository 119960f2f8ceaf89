/* SPDX-License-Identifier: BSD-3-Clause */
#include "swapper.h"

#include "race.h"

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <stdlib.h>

#define BATCHES_MAX (1u << 18) /* noted, the last ones */
#define REST_US	    500

static void
put(struct vmtab_txn *x, uint32_t vm, uint32_t global)
{
	struct vm_rec r = rig_vm(vm, true);

	r.addresses[0].global = rig_global(global);
	must(vmtab_prepare_put(x, &r) == 0, "VM %u: its record cannot be changed", vm);
}

static void
change_pair(struct swapper *s, struct vmtab_txn *x)
{
	uint32_t pair = s->next, vm = 2 * pair;

	s->next = pair + 1 == s->rig->vms / 2 ? 0 : pair + 1;
	s->exchanged[pair] ^= s->exchange;
	put(x, vm, vm + s->exchanged[pair]);
	put(x, vm + 1, vm + 1 - s->exchanged[pair]);
}

static void
change_batch(struct swapper *s)
{
	uint64_t t0 = rte_rdtsc(), t1, t2;
	struct vmtab_txn *x = vmtab_begin(s->rig->tables.vms, s->batch);

	must(x != NULL, "not enough memory");
	for (uint32_t i = 0; i < s->batch; i += 2)
		change_pair(s, x);
	must(vmtab_prepare_end(x, NULL) == 0, "the batch does not fit");
	vmtab_publish(x);
	t1 = rte_rdtsc();
	rcu_wait(s->rig->tables.rcu);
	t2 = rte_rdtsc();
	vmtab_retire(x);
	s->cycles[s->batches++ % BATCHES_MAX] = (uint32_t)(t1 - t0 + rte_rdtsc() - t2);
	s->longest_grace = RTE_MAX(s->longest_grace, t2 - t1);
	atomic_fetch_add(&s->made, s->batch);
}

/* Until it shall rest. What it could not do in time, it does as fast as it can. */
static void
change_at_rate(struct swapper *s)
{
	double per_cycle = s->rate / (double)rte_get_tsc_hz();
	uint64_t start = rte_rdtsc(), made = 0;

	while (atomic_load(&s->on)) {
		if ((double)(rte_rdtsc() - start) * per_cycle < (double)made) {
			rte_pause();
			continue;
		}
		change_batch(s);
		made += s->batch;
	}
}

static void *
run(void *arg)
{
	struct swapper *s = arg;

	s->begin();
	must(rte_thread_register() == 0, "no lcore for the writer");
	while (!atomic_load(&s->stop)) {
		if (atomic_load(&s->on)) {
			atomic_store(&s->resting, false);
			change_at_rate(s);
		}
		atomic_store(&s->resting, true);
		usleep(REST_US);
	}
	rte_thread_unregister();
	return NULL;
}

void
swapper_start(struct swapper *s)
{
	s->exchanged = calloc(s->rig->vms / 2, sizeof(*s->exchanged));
	s->cycles = calloc(BATCHES_MAX, sizeof(*s->cycles));
	must(s->exchanged != NULL && s->cycles != NULL, "not enough memory");
	must(pthread_create(&s->thread, NULL, run, s) == 0, "writer");
}

void
swapper_set(struct swapper *s, bool on)
{
	atomic_store(&s->on, on);
	while (atomic_load(&s->resting) == on)
		rte_rcu_qsbr_quiescent(rcu_qsbr(s->rig->tables.rcu), 0);
}

uint64_t
swapper_made(struct swapper *s)
{
	return atomic_load(&s->made);
}

static int
by_cycles(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

double
swapper_us(struct swapper *s)
{
	uint32_t n = RTE_MIN(s->batches, BATCHES_MAX);

	if (n == 0)
		return 0;
	qsort(s->cycles, n, sizeof(*s->cycles), by_cycles);
	return (double)s->cycles[n / 2] * 1e6 / (double)rte_get_tsc_hz() / s->batch;
}

void
swapper_stop(struct swapper *s)
{
	atomic_store(&s->stop, true);
	pthread_join(s->thread, NULL);
	free(s->exchanged);
	free(s->cycles);
}
