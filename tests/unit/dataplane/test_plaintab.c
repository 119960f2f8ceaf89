/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/plaintab.h>
#include <dataplane/topology.h>
#include <dataplane/vmrec.h>

#define VMS   600
#define SLOTS 40000

/* Three have the same last four bytes of the MAC. */
static struct vm_rec
vm(uint32_t i, uint8_t version)
{
	struct vm_rec r = {.mac = {{2, (uint8_t)(i % 3), 0, 0, (uint8_t)(i / 3 >> 8), (uint8_t)(i / 3)}},
		.att = version,
		.slot = i,
		.seg = (uint16_t)(i / 3 % 2),
		.n_addresses = 1};

	r.addresses[0].ip =
		rte_cpu_to_be_32(0x0a000000 + i / 2); /* two have the same at different attachments */
	r.addresses[0].global = rte_cpu_to_be_32(0xcb007100 + i);
	r.att = (uint16_t)(i % 2 * 256 + version);
	return r;
}

static const struct plain_vm *
by_global(const struct plaintab *t, rte_be32_t global)
{
	return plain_by_global(t, plain_line_by_global(t, global), global);
}

static const struct plain_vm *
by_ip(const struct plaintab *t, rte_be32_t ip, uint16_t att)
{
	return plain_by_ip(t, plain_line_by_ip(t, ip, att), ip, att);
}

static const struct plain_vm *
by_mac(const struct plaintab *t, const struct vm_rec *r)
{
	uint64_t bits = plain_bits_mac(&r->mac, r->seg);

	return plain_by_mac(t, plain_line_by_mac(t, bits), bits);
}

/* What is found of the VM, by its first address and its MAC, is right. */
enum { BY_GLOBAL = 1, BY_IP = 2, BY_MAC = 4 };

static unsigned int
found(const struct plaintab *t, const struct vm_rec *r)
{
	const struct plain_vm *down = by_global(t, r->addresses[0].global),
			      *up = by_ip(t, r->addresses[0].ip, r->att), *across = by_mac(t, r);
	bool homes = vm_has_homes(r);
	uint16_t at = r->owner != ROUTER_SELF	   ? plain_peer(r->owner, r->seg)
		      : r->location != ROUTER_SELF ? plain_peer(r->location, r->seg)
						   : r->att;

	if (down != NULL && down->slot == r->slot) {
		assert_int_equal(down->other, r->addresses[0].ip);
		assert_int_equal(down->at, homes ? at | PLAIN_HOMES : at);
		assert_memory_equal(&down->mac, &r->mac, sizeof(r->mac));
	}
	if (up != NULL) {
		assert_int_equal(up->slot, r->slot);
		assert_int_equal(up->other, r->addresses[0].global ?: PLAIN_NO_GLOBAL);
		assert_int_equal(up->at, homes ? at | PLAIN_HOMES : at);
		assert_memory_equal(&up->mac, &r->mac, sizeof(r->mac));
	}
	assert_true((down == NULL && up == NULL) || !homes || t->homes[r->slot].rec == r);
	if (across != NULL) {
		assert_int_equal(across->slot, r->slot);
		assert_int_equal(across->at, at);
		assert_memory_equal(&across->mac, &r->mac, sizeof(r->mac));
	}
	return (down != NULL ? BY_GLOBAL : 0) | (up != NULL ? BY_IP : 0) | (across != NULL ? BY_MAC : 0);
}

static bool
is_found(const struct plaintab *t, const struct vm_rec *r)
{
	return found(t, r) == (BY_GLOBAL | BY_IP | BY_MAC);
}

/* ---- a model ---- */

enum stage { OUT, IN, RESTS, STAGES_OF_ENTRY };

struct model {
	struct vm_rec r;
	enum stage stage;
};

static void
step(struct plaintab *t, struct model *m, uint32_t i, struct rng *rng)
{
	if (m->stage == OUT) {
		m->r = vm(i, (uint8_t)rng_next(rng));
		plaintab_add(t, &m->r);
	} else if (m->stage == IN) {
		plaintab_remove(t, &m->r);
	} else {
		plaintab_forget(t, &m->r);
	}
	m->stage = (m->stage + 1) % STAGES_OF_ENTRY;
}

static bool
is_empty(const struct plain_index *x)
{
	bool empty = true;

	for (uint32_t i = 0; i < x->n_lines; i++)
		empty &= x->lines[i].state == 0 && x->passed[i] == 0;
	return empty;
}

/* With few lines many stand far from home, over the end of the table, too, and some are left out. */
static void
run_against_model(uint32_t size, uint64_t seed)
{
	struct plaintab *t = plaintab_new(size, SLOTS);
	struct model *m = calloc(VMS, sizeof(*m));
	struct rng rng = {seed};
	uint32_t missing = 0, in = 0;

	assert_non_null(t);
	for (int op = 0; op < 100000; op++) {
		uint32_t i = rng_below(&rng, VMS);

		step(t, &m[i], i, &rng);
		i = rng_below(&rng, VMS);
		if (m[i].stage == IN) {
			in++;
			missing += !is_found(t, &m[i].r);
		} else if (m[i].r.n_addresses != 0) { /* it was there once */
			assert_null(by_global(t, m[i].r.addresses[0].global));
			assert_null(by_ip(t, m[i].r.addresses[0].ip, m[i].r.att));
			assert_null(by_mac(t, &m[i].r));
		}
	}
	assert_true(size < VMS / 4 ? missing != 0 && missing != in : missing == 0);
	for (uint32_t i = 0; i < VMS; i++)
		while (m[i].stage != OUT)
			step(t, &m[i], i, &rng);
	assert_true(is_empty(&t->by_global) && is_empty(&t->by_ip) && is_empty(&t->by_mac));
	free(m);
	plaintab_free(t);
}

static void
random_operations_agree_with_a_plain_array(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 5; seed++)
		run_against_model(VMS, seed);
}

static void
a_table_that_is_too_small_leaves_some_out_and_tells_nothing_wrong(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 5; seed++)
		run_against_model(VMS / 8, seed);
}

/* ---- who is found, and how ---- */

static unsigned int
finds(const struct vm_rec *r)
{
	struct plaintab *t = plaintab_new(8, SLOTS);
	unsigned int how;

	plaintab_add(t, r);
	how = found(t, r);
	plaintab_remove(t, r);
	assert_int_equal(found(t, r), 0);
	plaintab_forget(t, r);
	assert_true(is_empty(&t->by_global) && is_empty(&t->by_ip) && is_empty(&t->by_mac));
	plaintab_free(t);
	return how;
}

#define all (BY_GLOBAL | BY_IP | BY_MAC)

static void
a_vm_is_found_by_what_it_has_here_and_where_it_stands(void **state)
{
	struct vm_rec r = vm(3, 1);

	(void)state;
	assert_int_equal(finds(&r), all);
	r.owner = r.location = 1; /* its global address is of another site */
	assert_int_equal(finds(&r), BY_MAC);
	r = vm(3, 1), r.location = 31; /* translated here all the same, but it sends there */
	assert_int_equal(finds(&r), BY_GLOBAL | BY_MAC);
	r = vm(3, 1), r.flags = VM_REC_OLDEST(0);
	assert_int_equal(finds(&r), all);
	r = vm(3, 1), r.addresses[0].global = 0;
	assert_int_equal(finds(&r), BY_MAC);
}

static void
a_vm_is_not_found_when_its_place_is_not_known_or_packets_wait_for_it(void **state)
{
	struct vm_rec r = vm(3, 1);

	(void)state;
	r.att = ATT_ANY;
	assert_int_equal(finds(&r), 0);
	r = vm(3, 1), r.flags = VM_REC_HOLDS;
	assert_int_equal(finds(&r), 0);
	r = vm(3, 1), r.flags = VM_REC_OPEN; /* it came, and what it left behind is not known yet */
	assert_int_equal(finds(&r), BY_MAC);
}

static void
a_vm_that_has_homes_is_found_also_by_a_private_address_that_has_no_global_one(void **state)
{
	struct vm_rec r = vm(3, 1);

	(void)state;
	r.n_drains = 1;
	r.drains[0] = (struct vm_rec_drain){r.addresses[0].ip, RTE_BE32(0xcb007209), 1};
	assert_int_equal(finds(&r), all);
	r = vm(3, 1), r.flags = VM_REC_NOTES;
	assert_int_equal(finds(&r), all);
	r.addresses[0].global = 0; /* by an old one it may send */
	assert_int_equal(finds(&r), BY_IP | BY_MAC);
}

static void
an_address_that_drains_here_is_found_whoever_owns_the_vm(void **state)
{
	struct plaintab *t = plaintab_new(8, SLOTS);
	struct vm_rec r = vm(3, 1);

	(void)state;
	r.owner = r.location = 2;
	r.n_drains = 2;
	r.drains[0] = (struct vm_rec_drain){r.addresses[0].ip, RTE_BE32(0xcb007208), 1};
	r.drains[1] = (struct vm_rec_drain){r.addresses[0].ip, RTE_BE32(0xcb007209), ROUTER_SELF};
	plaintab_add(t, &r);
	assert_null(by_global(t, RTE_BE32(0xcb007208)));
	assert_null(by_ip(t, r.addresses[0].ip, r.att));
	assert_int_equal(by_global(t, RTE_BE32(0xcb007209))->other, r.addresses[0].ip);
	assert_int_equal(
		by_global(t, RTE_BE32(0xcb007209))->at, PLAIN_HOMES | PLAIN_OLD | plain_peer(2, r.seg));
	plaintab_free(t);
}

static void
of_two_private_addresses_the_one_whose_sessions_have_no_homes_is_left_to_the_stages(void **state)
{
	struct plaintab *t = plaintab_new(8, SLOTS);
	struct vm_rec r = vm(3, 1);

	(void)state;
	r.n_addresses = 2;
	r.addresses[1] = (struct vm_rec_address){RTE_BE32(0x0a000101), RTE_BE32(0xcb007201)};
	r.n_drains = 1;
	r.drains[0] = (struct vm_rec_drain){RTE_BE32(0x0a000101), RTE_BE32(0xcb007209), 1};
	plaintab_add(t, &r);
	assert_null(by_global(t, r.addresses[0].global));
	assert_null(by_ip(t, r.addresses[0].ip, r.att));
	assert_int_equal(by_global(t, RTE_BE32(0xcb007201))->at, PLAIN_HOMES | r.att);
	assert_int_equal(by_ip(t, RTE_BE32(0x0a000101), r.att)->at, PLAIN_HOMES | r.att);
	plaintab_free(t);
}

/* ---- where its sessions go ---- */

#define IPS	3
#define GLOBALS 5
#define ROUTERS 3

/* Few addresses, so that they meet; often the most simple one that drains. */
static struct vm_rec
any_with_homes(struct rng *rng)
{
	struct vm_rec r = vm(3, 1);

	r.n_addresses = (uint8_t)(rng_below(rng, 2) ? 1 : 1 + rng_below(rng, VM_REC_ADDRESSES));
	r.n_drains = (uint8_t)(rng_below(rng, 2) ? 1 : rng_below(rng, VM_REC_DRAINS + 1));
	r.flags = r.n_drains == 0 || rng_below(rng, 4) == 0 ? VM_REC_NOTES : 0;
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

static void
a_session_goes_where_the_record_says(void **state)
{
	struct plaintab *t = plaintab_new(8, SLOTS);
	struct rng rng = {83};
	uint32_t to[ROUTERS + 1] = {0}, found = 0;

	(void)state;
	for (uint32_t n = 0; n < 100000; n++) {
		struct vm_rec r = any_with_homes(&rng);
		rte_be32_t ip = r.addresses[rng_below(&rng, r.n_addresses)].ip;
		rte_be32_t home = rng_below(&rng, GLOBALS + 1);
		int router = vm_session_router(&r, ip, home);
		const struct plain_vm *vm;

		plaintab_add(t, &r);
		vm = by_ip(t, ip, r.att);
		if (vm != NULL) {
			assert_int_equal(plain_session(&t->homes[vm->slot], vm->other, ip, home),
				router == VM_NO_HOME	? PLAIN_NOWHERE
				: router == ROUTER_SELF ? PLAIN_HERE
							: plain_peer((uint8_t)router, r.seg));
			to[1 + router]++;
			found++;
		}
		plaintab_remove(t, &r);
		plaintab_forget(t, &r);
	}
	for (uint32_t i = 0; i < ROUTERS + 1; i++)
		assert_true(to[i] > 1000);
	assert_true(found > 50000);
	plaintab_free(t);
}

static void
places_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(plain_peer(1, 0), PLAIN_PEER);
	assert_int_equal(plain_peer(TOPO_PEERS, TOPO_SEGMENTS - 1) & ~PLAIN_PEER, 0x1fff);
	assert_true(TOPO_ATTACHMENTS <= PLAIN_NOWHERE &&
		    (plain_peer(TOPO_PEERS, TOPO_SEGMENTS - 1) & ~PLAIN_PLACE) == 0);
}

static void
each_address_is_found_and_of_one_named_twice_the_first_counts(void **state)
{
	struct plaintab *t = plaintab_new(8, SLOTS);
	struct vm_rec r = vm(3, 1);

	(void)state;
	r.n_addresses = 4;
	r.addresses[1] = (struct vm_rec_address){RTE_BE32(0x0a000101), RTE_BE32(0xcb007201)};
	r.addresses[2] = (struct vm_rec_address){RTE_BE32(0x0a000102), RTE_BE32(0xcb007201)};
	r.addresses[3] = (struct vm_rec_address){RTE_BE32(0x0a000101), RTE_BE32(0xcb007202)};
	plaintab_add(t, &r);
	assert_int_equal(by_global(t, r.addresses[0].global)->other, r.addresses[0].ip);
	assert_int_equal(by_global(t, RTE_BE32(0xcb007201))->other, RTE_BE32(0x0a000101));
	assert_int_equal(by_ip(t, RTE_BE32(0x0a000101), r.att)->other, RTE_BE32(0xcb007201));
	assert_int_equal(by_ip(t, RTE_BE32(0x0a000102), r.att)->other, RTE_BE32(0xcb007201));
	plaintab_remove(t, &r);
	for (int i = 0; i < 4; i++) {
		assert_null(by_global(t, r.addresses[i].global));
		assert_null(by_ip(t, r.addresses[i].ip, r.att));
	}
	plaintab_forget(t, &r);
	assert_true(is_empty(&t->by_global) && is_empty(&t->by_ip) && is_empty(&t->by_mac));
	plaintab_free(t);
}

/* Share of VMs, each of one address, that are found, when there are `vms` in a table for `size`. */
static double
share(uint32_t size, uint32_t vms)
{
	struct plaintab *t = plaintab_new(size, SLOTS);
	uint32_t n = 0;

	for (uint32_t i = 0; i < vms; i++) {
		struct vm_rec r = vm(i, 1);

		plaintab_add(t, &r);
	}
	for (uint32_t i = 0; i < vms; i++) {
		struct vm_rec r = vm(i, 1);

		n += is_found(t, &r);
	}
	plaintab_free(t);
	return (double)n / vms;
}

static void
a_table_has_room_for_its_vms_and_nearly_for_twice_as_many_addresses(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) { /* each has a hash of its own */
		assert_true(share(20000, 20000) > 0.998);
		assert_true(share(20000, 40000) > 0.85);
	}
}

/* Share of lines that some VM did not fit, of VMs whose MACs, addresses and attachments are one after the other. */
static double
crowded(const struct plain_index *x)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < x->n_lines; i++)
		n += x->passed[i] != 0;
	return (double)n / x->n_lines;
}

static void
what_comes_in_sequence_is_spread_over_the_lines(void **state)
{
	(void)state;
	for (int k = 0; k < 50; k++) { /* each has a hash of its own */
		struct plaintab *t = plaintab_new(1000, SLOTS);

		for (uint32_t i = 0; i < 1000; i++) {
			struct vm_rec r = vm(i, 1);

			r.seg = 0;
			r.mac = (struct rte_ether_addr){{2, 1, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
			plaintab_add(t, &r);
		}
		assert_true(crowded(&t->by_global) < 0.12 && crowded(&t->by_ip) < 0.12);
		assert_true(crowded(&t->by_mac) < 0.12);
		plaintab_free(t);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_a_plain_array),
		cmocka_unit_test(a_table_that_is_too_small_leaves_some_out_and_tells_nothing_wrong),
		cmocka_unit_test(a_vm_is_found_by_what_it_has_here_and_where_it_stands),
		cmocka_unit_test(a_vm_is_not_found_when_its_place_is_not_known_or_packets_wait_for_it),
		cmocka_unit_test(
			a_vm_that_has_homes_is_found_also_by_a_private_address_that_has_no_global_one),
		cmocka_unit_test(an_address_that_drains_here_is_found_whoever_owns_the_vm),
		cmocka_unit_test(
			of_two_private_addresses_the_one_whose_sessions_have_no_homes_is_left_to_the_stages),
		cmocka_unit_test(a_session_goes_where_the_record_says),
		cmocka_unit_test(places_are_told_apart),
		cmocka_unit_test(each_address_is_found_and_of_one_named_twice_the_first_counts),
		cmocka_unit_test(what_comes_in_sequence_is_spread_over_the_lines),
		cmocka_unit_test(a_table_has_room_for_its_vms_and_nearly_for_twice_as_many_addresses),
	};

	(void)argc;
	start_eal(argv[0], "64");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
