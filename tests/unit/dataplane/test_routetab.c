/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/routetab.h>

#define ROUTES 300

static struct rcu *rcu;

struct model {
	struct {
		uint16_t vrf;
		uint32_t prefix;
		uint8_t len;
		struct nexthop nh;
	} r[ROUTES];
	uint32_t n;
};

static uint32_t
mask(uint8_t len)
{
	return len == 0 ? 0 : UINT32_MAX << (32 - len);
}

static uint32_t
model_index(const struct model *m, uint16_t vrf, uint32_t prefix, uint8_t len)
{
	uint32_t i = 0;

	while (i < m->n && !(m->r[i].vrf == vrf && m->r[i].prefix == prefix && m->r[i].len == len))
		i++;
	return i;
}

static struct nexthop
model_find(const struct model *m, uint16_t vrf, uint32_t dst)
{
	struct nexthop best = {0};
	int len = -1;

	for (uint32_t i = 0; i < m->n; i++)
		if (m->r[i].vrf == vrf && m->r[i].len > len && (dst & mask(m->r[i].len)) == m->r[i].prefix) {
			len = m->r[i].len;
			best = m->r[i].nh;
		}
	return best;
}

static void
compare(const struct routetab *t, const struct model *m, struct rng *rng)
{
	rte_be32_t dst[64];
	struct nexthop nh[64];
	uint32_t n = 1 + rng_below(rng, 64);
	uint16_t vrf = (uint16_t)rng_below(rng, 2);

	for (uint32_t i = 0; i < n; i++)
		dst[i] = i > 0 && rng_below(rng, 3) == 0
				 ? dst[i - 1]
				 : rte_cpu_to_be_32((uint32_t)rng_next(rng) & 0xc003000f);
	routetab_find(t, vrf, dst, n, nh);
	for (uint32_t i = 0; i < n; i++) {
		struct nexthop want = model_find(m, vrf, rte_be_to_cpu_32(dst[i]));

		assert_memory_equal(&nh[i], &want, sizeof(want));
	}
}

/* Where there is a route longer than the default one that begins so. */
static void
compare_longer(const struct routetab *t, const struct model *m)
{
	uint8_t got[256], want[256] = {0};

	for (uint32_t i = 0; i < m->n; i++)
		for (uint32_t b = 0; m->r[i].len != 0 && b < 256; b++)
			if (((b << 24 ^ m->r[i].prefix) & mask((uint8_t)RTE_MIN(m->r[i].len, 8))) == 0)
				want[b] = 0x80;
	routetab_longer(t, 0x80, got);
	assert_memory_equal(got, want, sizeof(want));
}

static void
random_routes_match_as_a_linear_search_does(void **state)
{
	struct routetab *t = routetab_new(ROUTES, rcu);
	struct model *m = calloc(1, sizeof(*m));
	struct rng rng = {21};
	uint32_t full = 0;

	(void)state;
	for (int op = 0; op < 150000; op++) {
		uint8_t len = (uint8_t)rng_below(&rng, 33);
		uint32_t prefix = (uint32_t)rng_next(&rng) & 0xc003000f & mask(len);
		uint16_t vrf = (uint16_t)rng_below(&rng, 2);
		uint32_t i = model_index(m, vrf, prefix, len);
		struct nexthop nh = {
			.kind = NH_VIA, .port = (uint8_t)rng_next(&rng), .via = (uint32_t)rng_next(&rng)};
		uint64_t version = routetab_version(t);
		int rc;

		if (rng_below(&rng, 5) < 4) {
			rc = routetab_put(t, vrf, rte_cpu_to_be_32(prefix), len, &nh);

			assert_int_equal(rc, i == m->n && m->n == ROUTES ? -ENOSPC : 0);
			full += rc != 0;
			if (rc == 0) {
				m->r[i].vrf = vrf;
				m->r[i].prefix = prefix;
				m->r[i].len = len;
				m->r[i].nh = nh;
				m->n += i == m->n;
			}
		} else {
			rc = routetab_del(t, vrf, rte_cpu_to_be_32(prefix), len);
			assert_int_equal(rc, i == m->n ? -ENOENT : 0);
			if (i != m->n)
				m->r[i] = m->r[--m->n];
		}
		assert_true(rc != 0 || routetab_version(t) > version);
		assert_int_equal(routetab_count(t), m->n);
		if (op % 16 == 0)
			compare(t, m, &rng);
		if (op % 256 == 0)
			compare_longer(t, m);
	}
	assert_true(full > 0);
	routetab_free(t);
	free(m);
}

static void
the_longest_prefix_wins_and_a_default_route_takes_the_rest(void **state)
{
	struct routetab *t = routetab_new(8, rcu);
	struct nexthop def = {.kind = NH_VIA, .port = 1}, net = {.kind = NH_CONNECTED, .port = 2},
		       host = {.kind = NH_BLACKHOLE}, nh[3];
	rte_be32_t dst[3] = {RTE_BE32(0x0a000001), RTE_BE32(0x0a000002), RTE_BE32(0x08080808)};

	(void)state;
	assert_int_equal(routetab_put(t, 0, 0, 0, &def), 0);
	assert_int_equal(routetab_put(t, 0, RTE_BE32(0x0a000000), 8, &net), 0);
	assert_int_equal(routetab_put(t, 0, dst[0], 32, &host), 0);
	routetab_find(t, 0, dst, 3, nh);
	assert_int_equal(nh[0].kind, NH_BLACKHOLE);
	assert_int_equal(nh[1].kind, NH_CONNECTED);
	assert_int_equal(nh[2].kind, NH_VIA);
	assert_int_equal(routetab_del(t, 0, 0, 0), 0);
	routetab_find(t, 0, dst, 3, nh);
	assert_int_equal(nh[2].kind, NH_NONE);
	routetab_free(t);
}

/* Few routes, so that most bursts meet none that is longer than the default one, and each prefix is the only one of its bytes. */
static void
few_routes_that_come_and_go_match_as_a_linear_search_does(void **state)
{
	struct routetab *t = routetab_new(8, rcu);
	struct model m = {0};
	struct rng rng = {22};

	(void)state;
	for (int op = 0; op < 100000; op++) {
		uint8_t len = (uint8_t)rng_below(&rng, 12);
		uint32_t prefix = (uint32_t)rng_next(&rng) & mask(len), i = rng_below(&rng, 3);
		struct nexthop nh = {.kind = NH_VIA, .via = (uint32_t)rng_next(&rng)}, got[32];
		rte_be32_t dst[32];

		if (i < m.n) {
			assert_int_equal(routetab_del(t, 0, rte_cpu_to_be_32(m.r[i].prefix), m.r[i].len), 0);
			m.r[i] = m.r[--m.n];
		} else if (model_index(&m, 0, prefix, len) == m.n) {
			assert_int_equal(routetab_put(t, 0, rte_cpu_to_be_32(prefix), len, &nh), 0);
			m.r[m.n].prefix = prefix;
			m.r[m.n].len = len;
			m.r[m.n++].nh = nh;
		}
		for (i = 0; i < RTE_DIM(dst); i++)
			dst[i] = rte_cpu_to_be_32((uint32_t)rng_next(&rng));
		routetab_find(t, 0, dst, op % 4 == 0 ? 1 : RTE_DIM(dst), got);
		for (i = 0; i < (op % 4 == 0 ? 1 : RTE_DIM(dst)); i++) {
			struct nexthop want = model_find(&m, 0, rte_be_to_cpu_32(dst[i]));

			assert_memory_equal(&got[i], &want, sizeof(want));
		}
	}
	routetab_free(t);
}

static void
host_bits_of_a_prefix_do_not_count(void **state)
{
	struct routetab *t = routetab_new(8, rcu);
	struct nexthop nh = {.kind = NH_CONNECTED}, out;
	rte_be32_t prefix, dst = RTE_BE32(0x0a010203);
	uint32_t next = 0;
	uint16_t vrf;
	uint8_t len;

	(void)state;
	assert_int_equal(routetab_put(t, 5, dst, 16, &nh), 0);
	assert_true(routetab_next(t, &next, &vrf, &prefix, &len, &out));
	assert_int_equal(vrf, 5);
	assert_int_equal(prefix, RTE_BE32(0x0a010000));
	assert_int_equal(len, 16);
	assert_false(routetab_next(t, &next, &vrf, &prefix, &len, &out));
	assert_int_equal(routetab_del(t, 5, RTE_BE32(0x0a01ffff), 16), 0);
	assert_int_equal(routetab_count(t), 0);
	routetab_free(t);
}

static void
reserved_routes_can_be_put(void **state)
{
	struct routetab *t = routetab_new(10, rcu);
	struct nexthop nh = {.kind = NH_BLACKHOLE};

	(void)state;
	assert_int_equal(routetab_reserve(t, 11), -ENOSPC);
	assert_int_equal(routetab_reserve(t, 10), 0);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(routetab_put(t, 0, rte_cpu_to_be_32(i), 32, &nh), 0);
	assert_int_equal(routetab_reserve(t, 1), -ENOSPC);
	assert_true(routetab_has(t, 0, rte_cpu_to_be_32(9), 32)); /* whose replacement needs no room */
	assert_false(routetab_has(t, 0, rte_cpu_to_be_32(10), 32));
	routetab_free(t);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_routes_match_as_a_linear_search_does),
		cmocka_unit_test(few_routes_that_come_and_go_match_as_a_linear_search_does),
		cmocka_unit_test(the_longest_prefix_wins_and_a_default_route_takes_the_rest),
		cmocka_unit_test(host_bits_of_a_prefix_do_not_count),
		cmocka_unit_test(reserved_routes_can_be_put),
	};

	(void)argc;
	start_eal(argv[0], "64");
	rcu = rcu_new(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
