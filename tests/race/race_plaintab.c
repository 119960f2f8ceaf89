/* SPDX-License-Identifier: BSD-3-Clause */
/* Readers look VMs up while the writer changes them, gives them homes, makes them remarkable, deletes and adds them again.
 *
 * The numbers of an entry, and of the record that is kept of one with homes, say the same thing in three ways: half of an old one and half of a
 * new do not agree. An entry that was found stays as it was until the reader reports quiescent. And what is found is true: `turn` of a VM is odd from the moment its record
 * that is remarkable has been published, and nobody who sees it odd before and after finds the VM in between. */
#include "race.h"

#include <dataplane/tables/plaintab.h>

#define READERS 2
#define VMS	64 /* few, so that each place is soon another's */
#define BURST	32

static struct rcu *rcu;
static struct vmtab *table;
static atomic_bool stop;
static atomic_uint turn[VMS]; /* odd: remarkable, or not there */

static struct rte_ether_addr
mac(uint32_t vm)
{
	return (struct rte_ether_addr){{2, 0, 0, 0, 0, (uint8_t)vm}};
}

static rte_be32_t
global(uint32_t vm)
{
	return rte_cpu_to_be_32(0xc6120000 + vm);
}

/* Private address and attachment of a version. */
static rte_be32_t private(uint32_t vm, uint8_t version)
{
	return rte_cpu_to_be_32(0x0a000000 + version * 256u + vm);
}

enum kind { PLAIN, HOMES, REMARKABLE };

static struct vm_rec
record(uint32_t vm, uint8_t version, enum kind kind)
{
	struct vm_rec r;

	memset(&r, 0, sizeof(r));
	r.mac = mac(vm);
	r.att = version;
	r.flags = kind == HOMES ? VM_REC_NOTES : kind == REMARKABLE ? VM_REC_HOLDS : 0;
	r.n_addresses = 1;
	r.addresses[0] = (struct vm_rec_address){private(vm, version), global(vm)};
	return r;
}

/* ---- readers ---- */

struct reader {
	pthread_t thread;
	uint32_t id;
	uint64_t lookups, found, absent;
};

static void
check(const struct plain_vm *e, uint32_t vm, rte_be32_t other, uint16_t att)
{
	const struct vm_rec *rec = vmtab_plain(table)->homes[e->slot].rec;
	struct rte_ether_addr m = mac(vm);

	must((e->at & PLAIN_PLACE) == att && rte_is_same_ether_addr(&e->mac, &m) && e->other == other,
		"VM %u: half of an entry, or that of another", vm);
	must(!(e->at & PLAIN_HOMES) || (rte_is_same_ether_addr(&rec->mac, &m) && rec->att == att &&
					       rec->flags == VM_REC_NOTES),
		"VM %u: another's record, or one of before", vm);
}

static const struct plain_vm *
look(const struct plaintab *t, uint32_t vm, uint8_t version, uint32_t how)
{
	struct rte_ether_addr m = mac(vm);
	uint64_t bits = plain_bits_mac(&m, 0);
	rte_be32_t ip = private(vm, version);
	const struct plain_vm *e;

	if (how == 0) {
		e = plain_by_ip(t, plain_line_by_ip(t, ip, version), ip, version);
		if (e != NULL)
			check(e, vm, global(vm), version);
	} else if (how == 1) {
		e = plain_by_global(t, plain_line_by_global(t, global(vm)), global(vm));
		if (e != NULL)
			check(e, vm, private(vm, (uint8_t)(e->at & PLAIN_PLACE)), e->at & PLAIN_PLACE);
	} else {
		e = plain_by_mac(t, plain_line_by_mac(t, bits), bits);
		if (e != NULL)
			check(e, vm, (uint32_t)bits, e->at);
	}
	return e;
}

static void
read_burst(struct reader *me, struct rng *rng)
{
	const struct plaintab *t = vmtab_plain(table);
	const struct plain_vm *e[BURST];
	const struct plain_homes *homes[BURST];
	struct plain_vm was[BURST];
	struct plain_homes had[BURST];

	for (uint32_t i = 0; i < BURST; i++) {
		uint32_t vm = rng_below(rng, VMS), before = atomic_load(&turn[vm]);

		e[i] = look(t, vm, (uint8_t)rng_below(rng, 4), rng_below(rng, 3));
		me->lookups++;
		homes[i] = NULL;
		if (e[i] != NULL) {
			was[i] = *e[i];
			if (was[i].at & PLAIN_HOMES) {
				homes[i] = &t->homes[was[i].slot];
				had[i] = *homes[i];
			}
			me->found++;
		}
		if (before % 2 == 1 && atomic_load(&turn[vm]) == before) {
			must(e[i] == NULL, "VM %u was found and is remarkable", vm);
			me->absent++;
		}
	}
	if (rng_below(rng, 64) == 0)
		usleep(200); /* whoever writes too early has time to */
	for (uint32_t i = 0; i < BURST; i++)
		must((e[i] == NULL || memcmp(e[i], &was[i], sizeof(was[i])) == 0) &&
				(homes[i] == NULL || memcmp(homes[i], &had[i], sizeof(had[i])) == 0),
			"an entry changed under a reader");
}

static void *
read_all(void *arg)
{
	struct reader *me = arg;
	struct rng rng = {100 + me->id};

	cpus_place(me->id);
	rte_rcu_qsbr_thread_online(rcu_qsbr(rcu), me->id);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		read_burst(me, &rng);
		rte_rcu_qsbr_quiescent(rcu_qsbr(rcu), me->id);
	}
	rte_rcu_qsbr_thread_offline(rcu_qsbr(rcu), me->id);
	return NULL;
}

/* ---- the writer ---- */

static uint64_t published;

/* VMs from `first` on, a few, become plain, have homes, become remarkable, or go. */
static struct vmtab_txn *
change(struct rng *rng, uint32_t first, uint32_t n, bool *plain, bool *in)
{
	struct vmtab_txn *x = vmtab_begin(table, n);

	for (uint32_t i = first; i < first + n; i++) {
		uint32_t what = rng_below(rng, 8);
		struct vm_rec r = record(i, (uint8_t)rng_below(rng, 4),
			what < 3   ? PLAIN
			: what < 5 ? HOMES
				   : REMARKABLE);
		int rc = 0;

		plain[i] = what < 5;
		if (what < 7)
			rc = vmtab_prepare_put(x, &r);
		else if (in[i])
			rc = vmtab_prepare_del(x, 0, &r.mac);
		must(rc == 0, "prepare: %d", rc);
		in[i] = what < 7;
	}
	must(vmtab_prepare_end(x, NULL) == 0, "prepare_end");
	return x;
}

/* `turn` is even before a plain record comes, odd after one that is not. */
static void
publish(struct vmtab_txn *x, uint32_t first, uint32_t n, const bool *plain)
{
	for (uint32_t i = first; i < first + n; i++)
		if (plain[i] && atomic_load(&turn[i]) % 2 == 1)
			atomic_fetch_add(&turn[i], 1);
	vmtab_publish(x);
	for (uint32_t i = first; i < first + n; i++)
		if (!plain[i] && atomic_load(&turn[i]) % 2 == 0)
			atomic_fetch_add(&turn[i], 1);
	published++;
}

static void
write_for(double length)
{
	struct vmtab_txn *txns[4];
	uint64_t tokens[4];
	bool plain[VMS], in[VMS] = {false};
	struct rng rng = {7};
	double end = seconds() + length;
	uint32_t n = 0;

	while (seconds() < end || n != 0) {
		bool more = seconds() < end && n < RTE_DIM(txns);
		uint32_t count = 1 + rng_below(&rng, 8), first = rng_below(&rng, VMS - count);

		if (more) {
			txns[n] = change(&rng, first, count, plain, in);
			publish(txns[n], first, count, plain);
			tokens[n++] = rcu_start(rcu);
		}
		while (n != 0 && (rcu_passed(rcu, tokens[0]) || (!more && (usleep(1), false)))) {
			vmtab_retire(txns[0]);
			n--;
			memmove(txns, txns + 1, n * sizeof(*txns));
			memmove(tokens, tokens + 1, n * sizeof(*tokens));
		}
	}
}

int
main(int argc, char **argv)
{
	struct reader readers[READERS] = {0};
	struct jitter jitter = {0};

	(void)argc;
	cpus_keep();
	start_eal(argv[0], "64");
	cpus_place(1);
	rcu = rcu_new(READERS);
	table = vmtab_new(VMS, rcu);
	for (uint32_t i = 0; i < VMS; i++)
		atomic_init(&turn[i], 1);
	for (uint32_t i = 0; i < READERS; i++) {
		readers[i].id = i;
		must(rcu_register(rcu, i) == 0, "reader %u", i);
		must(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]) == 0, "reader %u", i);
		jitter_victim(&jitter, readers[i].thread);
	}
	jitter_victim(&jitter, pthread_self());
	jitter_start(&jitter);
	write_for(race_seconds(2));
	jitter_stop(&jitter);
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		printf("reader %u: %lu look-ups, %lu found, %lu rightly not\n", i, readers[i].lookups,
			readers[i].found, readers[i].absent);
		must(readers[i].found > 1000 && readers[i].absent > 1000,
			"the readers hardly met the writer");
	}
	printf("writer: %lu transactions\n", published);
	must(published > 200, "the writer hardly wrote");
	cpus_check();
	vmtab_free(table);
	rcu_free(rcu);
	return 0;
}
