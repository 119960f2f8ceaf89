/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/vmrec.h>

#define IPS	3
#define GLOBALS 5
#define ROUTERS 3

/* Few addresses, so that they meet; often the most simple one that drains. */
static struct vm_rec
any_rec(struct rng *rng)
{
	struct vm_rec r = {.owner = (uint8_t)rng_below(rng, ROUTERS),
		.n_addresses = (uint8_t)(rng_below(rng, 2) ? 1 : 1 + rng_below(rng, VM_REC_ADDRESSES)),
		.n_drains = (uint8_t)(rng_below(rng, 2) ? 1 : rng_below(rng, VM_REC_DRAINS + 1)),
		.flags = rng_below(rng, 4) == 0 ? VM_REC_NOTES : 0};

	for (uint32_t i = 0; i < VM_REC_ADDRESSES; i++)
		r.addresses[i] = (struct vm_rec_address){
			.ip = 1 + rng_below(rng, IPS), .global = rng_below(rng, GLOBALS)};
	for (uint32_t i = 0; i < VM_REC_DRAINS; i++)
		r.drains[i] = (struct vm_rec_drain){.ip = 1 + rng_below(rng, IPS),
			.global = 1 + rng_below(rng, GLOBALS),
			.home = (uint8_t)rng_below(rng, ROUTERS),
			.direct = rng_below(rng, 4) == 0};
	return r;
}

static int
router_of(const struct vm_rec *r, rte_be32_t ip, rte_be32_t home)
{
	if (vm_oldest_drain(r, ip) == NULL && !(r->flags & VM_REC_NOTES))
		return VM_NO_HOME;
	return vm_sends_direct(r, ip, home) ? ROUTER_SELF : vm_home_router(r, ip, home);
}

static void
the_router_of_a_session_is_the_same_by_masks_and_by_questions(void **state)
{
	struct rng rng = {83};
	uint32_t of[ROUTERS + 1] = {0};

	(void)state;
	for (uint32_t n = 0; n < 200000; n++) {
		struct vm_rec r = any_rec(&rng);
		rte_be32_t ip = r.addresses[rng_below(&rng, r.n_addresses)].ip;
		rte_be32_t home = 1 + rng_below(&rng, GLOBALS);
		int want = router_of(&r, ip, home);

		assert_int_equal(vm_session_router(&r, ip, home), want);
		of[1 + want]++;
	}
	for (uint32_t i = 0; i < ROUTERS + 1; i++)
		assert_true(of[i] > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_router_of_a_session_is_the_same_by_masks_and_by_questions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
