/* SPDX-License-Identifier: BSD-3-Clause */
/* Readers look VMs up by each kind of key while the writer changes, swaps, deletes and re-adds them.
 *
 * Each record carries a checksum of itself, and a freed one is poisoned: half a record, or one that was freed too early,
 * does not verify. VMs come in pairs; the two of a pair exchange addresses. The addresses of the first STABLE VMs are
 * always held by one of their pair: a look-up that misses one is a violation. */
#include "race.h"

#include <dataplane/tables/vmtab.h>

#define READERS 2
#define STABLE	256 /* always registered */
#define VMS	512 /* the others come and go */
#define BURST	32
#define BATCH	128

static struct rcu *rcu;
static struct vmtab *table;
static atomic_bool stop;

/* ---- records that verify themselves ---- */

static uint32_t
checksum(const struct vm_rec *rec)
{
	struct vm_rec r = *rec;
	uint64_t words[sizeof(r) / 8], sum = 1;

	r.slot = 0;
	r.prev = NULL;
	memset(r.pad, 0, sizeof(r.pad));
	memcpy(words, &r, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		sum = (sum ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(sum >> 32);
}

static void
seal(struct vm_rec *r)
{
	uint32_t sum = checksum(r);

	memcpy(r->pad, &sum, sizeof(sum));
}

static bool
is_whole(const struct vm_rec *r)
{
	uint32_t sum;

	memcpy(&sum, r->pad, sizeof(sum));
	return sum == checksum(r);
}

/* ---- names of things ---- */

static struct vm_key_mac
mac_key(uint32_t vm)
{
	return (struct vm_key_mac){
		.mac = {{2, 0, 0, 0, (uint8_t)(vm >> 8), (uint8_t)vm}}, .seg = (uint16_t)(vm / 2 % 4)};
}

static struct vm_key_ip
ip_key(uint32_t vm)
{
	return (struct vm_key_ip){.ip = rte_cpu_to_be_32(0x0a000000 + vm), .seg = (uint16_t)(vm / 2 % 4)};
}

static rte_be32_t
global_key(uint32_t vm, uint32_t site)
{
	return rte_cpu_to_be_32(0xc6120000 + site * VMS + vm);
}

/* ---- readers ---- */

struct reader {
	pthread_t thread;
	uint32_t id;
	uint64_t lookups, found, changes;
};

static bool
rec_has_ip(const struct vm_rec *r, const struct vm_key_ip *k)
{
	return r->n_addresses == 1 && r->addresses[0].ip == k->ip && r->seg == k->seg;
}

static bool
rec_has_global(const struct vm_rec *r, rte_be32_t g)
{
	for (int i = 0; i < r->n_drains; i++)
		if (r->drains[i].global == g)
			return true;
	return r->addresses[0].global == g;
}

static void
check(struct reader *me, const struct vm_rec *r, uint32_t vm, const char *how)
{
	me->lookups++;
	must(r != NULL || vm >= STABLE, "VM %u is missing by %s", vm, how);
	if (r == NULL)
		return;
	me->found++;
	must(is_whole(r), "VM %u by %s: a torn or freed record", vm, how);
}

static void
read_burst(struct reader *me, struct rng *rng, uint16_t *version)
{
	const struct vm_rec *recs[3 * BURST];
	struct vm_key_ip ip[BURST];
	struct vm_key_mac mac[BURST];
	rte_be32_t global[BURST];
	uint32_t vm[BURST];

	for (uint32_t i = 0; i < BURST; i++) {
		vm[i] = rng_below(rng, rng_below(rng, 2) ? 16 : VMS); /* some are hot */
		ip[i] = ip_key(vm[i]);
		mac[i] = mac_key(vm[i]);
		global[i] = global_key(vm[i], rng_below(rng, 2));
	}
	vmtab_by_ip(table, ip, BURST, recs);
	vmtab_by_mac(table, mac, BURST, recs + BURST);
	vmtab_by_global(table, global, BURST, recs + 2 * BURST);
	for (uint32_t i = 0; i < BURST; i++) {
		check(me, recs[i], vm[i], "ip");
		check(me, recs[BURST + i], vm[i], "mac");
		check(me, recs[2 * BURST + i], vm[i], "global");
		must(recs[i] == NULL || rec_has_ip(recs[i], &ip[i]), "VM %u: not its IP", vm[i]);
		must(recs[BURST + i] == NULL || rte_is_same_ether_addr(&recs[BURST + i]->mac, &mac[i].mac),
			"VM %u: not its MAC", vm[i]);
		must(recs[2 * BURST + i] == NULL || rec_has_global(recs[2 * BURST + i], global[i]),
			"VM %u: not its global address", vm[i]);
		if (vm[i] == 0 && recs[BURST + i]->flags != *version) {
			*version = recs[BURST + i]->flags;
			me->changes++;
		}
	}
	if (rng_below(rng, 64) == 0)
		usleep(200); /* whoever frees too early has time to */
	for (uint32_t i = 0; i < 3 * BURST; i++)
		must(recs[i] == NULL || is_whole(recs[i]), "freed under a reader");
}

static void *
read_all(void *arg)
{
	struct reader *me = arg;
	struct rng rng = {100 + me->id};
	uint16_t version = 0;

	cpus_place(me->id);
	rte_rcu_qsbr_thread_online(rcu_qsbr(rcu), me->id);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		read_burst(me, &rng, &version);
		rte_rcu_qsbr_quiescent(rcu_qsbr(rcu), me->id);
	}
	rte_rcu_qsbr_thread_offline(rcu_qsbr(rcu), me->id);
	return NULL;
}

/* ---- the writer ---- */

struct vm_state {
	bool in;
	uint8_t ip_of_partner;	   /* 1: the pair's IPs are crossed */
	uint8_t global_of_partner; /* the same for global addresses */
	uint8_t site;		   /* whose global address is the live one; the other drains */
};

static struct vm_state now[VMS];
static uint64_t published, moved_keys;

static struct vm_rec
record(uint32_t vm, const struct vm_state *s, struct rng *rng)
{
	struct vm_key_mac mac = mac_key(vm);
	uint32_t g = vm ^ s->global_of_partner;
	struct vm_rec r;

	memset(&r, 0, sizeof(r));
	r.mac = mac.mac;
	r.seg = mac.seg;
	r.owner = s->site;
	r.location = (uint8_t)rng_next(rng);
	r.att = (uint16_t)rng_next(rng);
	r.flags = (uint16_t)rng_next(rng);
	r.n_addresses = 1;
	r.addresses[0].ip = ip_key(vm ^ s->ip_of_partner).ip;
	r.addresses[0].global = global_key(g, s->site);
	r.n_drains = 1;
	r.drains[0] = (struct vm_rec_drain){
		.ip = r.addresses[0].ip, .global = global_key(g, !s->site), .home = !s->site};
	seal(&r);
	return r;
}

/* One pair; what may happen to it depends on whether it is one of the stable ones. */
static void
change_pair(struct vmtab_txn *x, uint32_t a, struct vm_state *next, struct rng *rng)
{
	bool cross_ip = rng_below(rng, 4) == 0, cross_global = rng_below(rng, 4) == 0,
	     reverse = rng_below(rng, 2);

	for (uint32_t vm = a; vm <= a + 1; vm++) {
		next[vm].site = (uint8_t)rng_below(rng, 2);
		next[vm].ip_of_partner ^= cross_ip;
		next[vm].global_of_partner ^= cross_global;
		next[vm].in = vm < STABLE || rng_below(rng, 2);
	}
	moved_keys += cross_ip + cross_global;
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t vm = a + (i ^ reverse);
		struct vm_rec r = record(vm, &next[vm], rng);
		int rc = 0;

		if (next[vm].in)
			rc = vmtab_prepare_put(x, &r);
		else if (now[vm].in)
			rc = vmtab_prepare_del(x, r.seg, &r.mac);
		must(rc == 0, "prepare: %d", rc);
	}
}

static struct vmtab_txn *
prepare(struct rng *rng, struct vm_state *next)
{
	struct vmtab_txn *x = vmtab_begin(table, BATCH);
	uint32_t pairs = 1 + rng_below(rng, BATCH / 2), first = rng_below(rng, VMS / 2);
	int rc;

	memcpy(next, now, sizeof(now));
	for (uint32_t i = 0; i < pairs; i++)
		change_pair(x, (first + i) % (VMS / 2) * 2, next, rng);
	rc = vmtab_prepare_end(x, NULL);
	must(rc == 0, "prepare_end: %d", rc);
	return x;
}

/* Retires what is past its grace period, oldest first; waits when too many are not. */
static uint32_t
retire(struct vmtab_txn **txns, uint64_t *tokens, uint32_t n, uint32_t keep)
{
	while (n > 0 && (n > keep || rcu_passed(rcu, tokens[0]))) {
		while (!rcu_passed(rcu, tokens[0]))
			usleep(1);
		vmtab_retire(txns[0]);
		n--;
		memmove(txns, txns + 1, n * sizeof(*txns));
		memmove(tokens, tokens + 1, n * sizeof(*tokens));
	}
	return n;
}

static void
write_for(double length)
{
	struct vmtab_txn *txns[8];
	struct vm_state next[VMS];
	struct rng rng = {7};
	uint64_t tokens[8];
	double end = seconds() + length;
	uint32_t n = 0;

	while (seconds() < end) {
		struct vmtab_txn *x = prepare(&rng, next);

		if (rng_below(&rng, 8) == 0) {
			vmtab_abort(x);
			continue;
		}
		vmtab_publish(x);
		published++;
		memcpy(now, next, sizeof(now));
		txns[n] = x;
		tokens[n++] = rcu_start(rcu);
		n = retire(txns, tokens, n, 6);
	}
	retire(txns, tokens, n, 0);
}

static void
register_stable_ones(void)
{
	struct vmtab_txn *x = vmtab_begin(table, STABLE);
	struct rng rng = {3};

	for (uint32_t vm = 0; vm < STABLE; vm++) {
		struct vm_rec r;

		now[vm].in = true;
		r = record(vm, &now[vm], &rng);
		must(vmtab_prepare_put(x, &r) == 0, "VM %u", vm);
	}
	must(vmtab_prepare_end(x, NULL) == 0, "the first VMs");
	vmtab_publish(x);
	vmtab_retire(x);
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
	register_stable_ones();
	for (uint32_t i = 0; i < READERS; i++) {
		readers[i].id = i;
		must(rcu_register(rcu, i) == 0, "reader %u", i);
		must(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]) == 0, "reader %u", i);
		jitter_victim(&jitter, readers[i].thread);
	}
	jitter_victim(&jitter, pthread_self());
	jitter_victim(&jitter, pthread_self()); /* twice: its moments matter most */
	jitter_start(&jitter);
	write_for(race_seconds(2));
	jitter_stop(&jitter);
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		printf("reader %u: %lu look-ups, %lu found, %lu changes of one VM seen\n", i,
			readers[i].lookups, readers[i].found, readers[i].changes);
		must(readers[i].changes > 20, "the readers hardly met the writer");
	}
	printf("writer: %lu transactions, %lu exchanges\n", published, moved_keys);
	must(published > 200 && moved_keys > 200, "the writer hardly wrote");
	cpus_check();
	vmtab_free(table);
	rcu_free(rcu);
	return 0;
}
