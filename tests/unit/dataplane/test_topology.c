/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/topology.h>

static struct topology t;

static rte_be32_t
mask_of(uint32_t len)
{
	return rte_cpu_to_be_32(len == 0 ? 0 : UINT32_MAX << (32 - len));
}

/* 8 different lengths, 3 tenants that overlap, and addresses close enough to collide and to be hit. */
static void
make(struct rng *rng)
{
	memset(&t, 0, sizeof(t));
	t.n_segments = 1 + rng_below(rng, TOPO_SEGMENTS);
	t.n_peers = rng_below(rng, TOPO_PEERS + 1);
	t.n_vteps = rng_below(rng, TOPO_VTEPS + 1);
	for (uint16_t i = 0; i < t.n_segments; i++) {
		struct topo_prefix *p = &t.segments[i].prefix;

		p->mask = mask_of(17 + rng_below(rng, 8));
		p->addr = rte_cpu_to_be_32(0x0a000000 | rng_below(rng, 1 << 16) << 4) & p->mask;
		t.segments[i].vrf = rng_below(rng, 3);
		t.segments[i].vni = 100 + 3u * i;
	}
	for (uint16_t i = 0; i < t.n_peers; i++)
		t.peers[i].vtep = rte_cpu_to_be_32(0xc0000200 + 2u * i);
	for (uint16_t i = 0; i < t.n_vteps; i++)
		t.vteps[i].ip = rte_cpu_to_be_32(0xc0000300 + 2u * i);
	topo_index(&t);
}

static uint16_t
plain_by_ip(int vrf, rte_be32_t ip)
{
	for (uint16_t i = 0; i < t.n_segments; i++)
		if ((vrf < 0 || t.segments[i].vrf == vrf) && topo_in(&t.segments[i].prefix, ip))
			return i;
	return TOPO_NONE;
}

static uint16_t
plain_by_vni(uint32_t vni)
{
	for (uint16_t i = 0; i < t.n_segments; i++)
		if (t.segments[i].vni == vni)
			return i;
	return TOPO_NONE;
}

static uint16_t
plain_by_vtep(rte_be32_t vtep)
{
	for (uint16_t i = 1; i < TOPO_TUNNELS; i++)
		if (topo_tunnel_end(&t, i) == vtep)
			return i;
	return 0;
}

static void
look_ups_agree_with_a_plain_walk(void **state)
{
	struct rng rng = {7};
	uint32_t hits = 0;

	(void)state;
	for (int round = 0; round < 200; round++) {
		make(&rng);
		for (int i = 0; i < 1000; i++) {
			rte_be32_t ip = rte_cpu_to_be_32(0x0a000000 + rng_below(&rng, 1 << 20));
			rte_be32_t vtep = rte_cpu_to_be_32(0xc0000200 + rng_below(&rng, 600));
			uint16_t vrf = rng_below(&rng, 4);
			uint32_t vni = rng_below(&rng, 1000);

			assert_int_equal(topo_segment_by_ip(&t, ip), plain_by_ip(-1, ip));
			assert_int_equal(topo_segment_in_vrf(&t, vrf, ip), plain_by_ip(vrf, ip));
			assert_int_equal(topo_segment_by_vni(&t, vni), plain_by_vni(vni));
			assert_int_equal(topo_tunnel_by_vtep(&t, vtep), plain_by_vtep(vtep));
			hits += plain_by_ip(vrf, ip) != TOPO_NONE;
		}
	}
	assert_in_range(hits, 20000, 180000);
}

static void
segment_without_a_prefix_holds_every_address(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	t.n_segments = 1;
	topo_index(&t);
	assert_int_equal(topo_segment_by_ip(&t, RTE_BE32(0x08080808)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(look_ups_agree_with_a_plain_walk),
		cmocka_unit_test(segment_without_a_prefix_holds_every_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
