/* SPDX-License-Identifier: BSD-3-Clause */
/* Readers look up destinations that are always routed while the writer replaces their host routes, takes them away and
 * gives them back over a covering prefix, or the default route alone, and fills and empties the rest of the table, so that
 * entries move about. */
#include "race.h"

#include <dataplane/tables/routetab.h>

#define READERS 2
#define HOSTS	64   /* a host route that is only ever replaced */
#define COVERED 64   /* a host route that comes and goes over a /24 */
#define OTHERS	3000 /* come and go */
#define ROUTES	(HOSTS + COVERED + 5 + OTHERS / 2)

static struct rcu *rcu;
static struct routetab *table;
static atomic_bool stop;

static rte_be32_t
host(uint32_t i)
{
	return rte_cpu_to_be_32(0xc0a80000 + i);
}

static rte_be32_t
covered(uint32_t i)
{
	return rte_cpu_to_be_32(0x0a010100 + i);
}

static rte_be32_t
other(uint32_t i)
{
	return rte_cpu_to_be_32(0x20000000 + i * 4);
}

/* A next hop says whose it is: one of another prefix is as wrong as half of one. */
static struct nexthop
nexthop(rte_be32_t prefix, uint32_t random)
{
	uint8_t port = (uint8_t)random;

	return (struct nexthop){
		.kind = NH_VIA, .port = port, .seg = (uint16_t)(port * 3), .via = prefix ^ port};
}

static bool
is_of(const struct nexthop *nh, rte_be32_t prefix)
{
	return nh->kind == NH_VIA && nh->via == (prefix ^ nh->port) && nh->seg == (uint16_t)(nh->port * 3);
}

/* Where at times no route is longer than the default one. */
static rte_be32_t
lonely(uint32_t i)
{
	return rte_cpu_to_be_32(0x64000000 + i);
}

static void
ask_by_default(struct rng *rng)
{
	struct nexthop nh[8];
	rte_be32_t dst[8];

	for (uint32_t i = 0; i < RTE_DIM(dst); i++)
		dst[i] = lonely(rng_below(rng, 2));
	routetab_find(table, 0, dst, RTE_DIM(dst), nh);
	for (uint32_t i = 0; i < RTE_DIM(dst); i++)
		must(is_of(&nh[i], dst[i]) || is_of(&nh[i], 0), "%08x has the next hop of another, or none",
			rte_be_to_cpu_32(dst[i]));
}

/* A route that is only ever replaced, by a next hop that counts; `counted` is what the table had when a put was over. */
static atomic_uint counted;

static rte_be32_t
counting(void)
{
	return rte_cpu_to_be_32(0x65000000);
}

struct reader {
	pthread_t thread;
	uint32_t id;
	uint64_t lookups, changes;
	uint64_t version; /* since which `kept` is the next hop */
	uint32_t kept;
	uint64_t asked, reused;
};

/* What was found is as good as found anew while the version is the same. */
static void
keep(struct reader *me)
{
	uint32_t before = atomic_load(&counted);
	uint64_t version = routetab_version(table);
	rte_be32_t dst = counting();
	struct nexthop nh;

	if (version != me->version || me->asked == 0) {
		routetab_find(table, 0, &dst, 1, &nh);
		me->version = version;
		me->kept = nh.via;
		me->asked++;
	} else {
		me->reused++;
	}
	must(me->kept >= before, "kept next hop %u, and %u was put before", me->kept, before);
}

static void *
read_all(void *arg)
{
	struct reader *me = arg;
	struct rng rng = {200 + me->id};
	struct nexthop nh[64];
	rte_be32_t dst[64];
	uint8_t last = 0;

	cpus_place(me->id);
	rte_rcu_qsbr_thread_online(rcu_qsbr(rcu), me->id);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		for (uint32_t i = 0; i < 64; i++)
			dst[i] = i % 2 ? host(rng_below(&rng, HOSTS)) : covered(rng_below(&rng, COVERED));
		dst[1] = host(0);
		routetab_find(table, 0, dst, 64, nh);
		ask_by_default(&rng);
		for (int i = 0; i < 8; i++)
			keep(me);
		for (uint32_t i = 0; i < 64; i++) {
			must(nh[i].kind != NH_NONE, "%08x has no route", rte_be_to_cpu_32(dst[i]));
			must(is_of(&nh[i], dst[i]) || (i % 2 == 0 && is_of(&nh[i], covered(0))),
				"%08x has the next hop of another, or half a one", rte_be_to_cpu_32(dst[i]));
		}
		me->changes += nh[1].port != last;
		last = nh[1].port;
		me->lookups += 64;
		rte_rcu_qsbr_quiescent(rcu_qsbr(rcu), me->id);
	}
	rte_rcu_qsbr_thread_offline(rcu_qsbr(rcu), me->id);
	return NULL;
}

static void
count(void)
{
	uint32_t n = counted + 1;
	struct nexthop nh = {.kind = NH_VIA, .via = n};

	must(routetab_put(table, 0, counting(), 32, &nh) == 0, "put %u", n);
	atomic_store(&counted, n);
}

static void
put(rte_be32_t prefix, uint8_t len, uint32_t random)
{
	struct nexthop nh = nexthop(prefix, random);
	int rc = routetab_put(table, 0, prefix, len, &nh);

	must(rc == 0, "put: %d", rc);
}

static uint64_t
write_for(double length)
{
	static bool in[OTHERS];
	struct rng rng = {9};
	double end = seconds() + length;
	uint64_t writes = 0;
	uint32_t n_in = 0;

	for (; writes % 64 != 0 || seconds() < end; writes++) {
		uint32_t random = (uint32_t)rng_next(&rng), i = rng_below(&rng, OTHERS);

		count();
		put(host(rng_below(&rng, 4) == 0 ? 0 : random % HOSTS), 32, random >> 8);
		if (rng_below(&rng, 2))
			routetab_del(table, 0, covered(random % COVERED), 32);
		else
			put(covered(random % COVERED), 32, random >> 8);
		if (rng_below(&rng, 2))
			routetab_del(table, 0, lonely(random % 2), 32);
		else
			put(lonely(random % 2), 32, random >> 8);
		if (in[i])
			must(routetab_del(table, 0, other(i), 30) == 0, "other %u", i);
		else if (n_in < OTHERS / 2)
			put(other(i), 30, random);
		else
			continue;
		n_in += in[i] ? -1 : 1;
		in[i] = !in[i];
	}
	return writes;
}

int
main(int argc, char **argv)
{
	struct reader readers[READERS] = {0};
	struct jitter jitter = {0};
	uint64_t writes;

	(void)argc;
	cpus_keep();
	start_eal(argv[0], "64");
	cpus_place(1);
	rcu = rcu_new(READERS);
	table = routetab_new(ROUTES, rcu);
	put(0, 0, 1);
	count();
	put(covered(0), 24, 1);
	for (uint32_t i = 0; i < HOSTS; i++)
		put(host(i), 32, i);
	for (uint32_t i = 0; i < READERS; i++) {
		readers[i].id = i;
		must(rcu_register(rcu, i) == 0, "reader %u", i);
		must(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]) == 0, "reader %u", i);
		jitter_victim(&jitter, readers[i].thread);
	}
	jitter_victim(&jitter, pthread_self());
	jitter_start(&jitter);
	writes = write_for(race_seconds(2));
	jitter_stop(&jitter);
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		printf("reader %u: %lu look-ups, %lu changes of one route seen, asked %lu and not %lu\n", i,
			readers[i].lookups, readers[i].changes, readers[i].asked, readers[i].reused);
		must(readers[i].changes > 20, "the readers hardly met the writer");
	}
	printf("writer: %lu rounds\n", writes);
	cpus_check();
	routetab_free(table);
	rcu_free(rcu);
	return 0;
}
