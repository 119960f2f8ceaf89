/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/plaintab.h>

#define VMS 600

static struct vm_rec
vm(uint32_t i, uint8_t version)
{
	struct vm_rec r = {.mac = {{2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}},
		.att = version,
		.slot = i,
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

static bool
is_found(const struct plaintab *t, const struct vm_rec *r)
{
	const struct plain_vm *down = by_global(t, r->addresses[0].global),
			      *up = by_ip(t, r->addresses[0].ip, r->att);

	if (down != NULL && down->slot == r->slot) {
		assert_int_equal(down->other, r->addresses[0].ip);
		assert_int_equal(down->att, r->att);
		assert_memory_equal(&down->mac, &r->mac, sizeof(r->mac));
	}
	if (up != NULL) {
		assert_int_equal(up->other, r->addresses[0].global);
		assert_int_equal(up->slot, r->slot);
		assert_memory_equal(&up->mac, &r->mac, sizeof(r->mac));
	}
	return down != NULL && up != NULL;
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
	struct plaintab *t = plaintab_new(size);
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
		}
	}
	assert_true(size < VMS / 4 ? missing != 0 && missing != in : missing == 0);
	for (uint32_t i = 0; i < VMS; i++)
		while (m[i].stage != OUT)
			step(t, &m[i], i, &rng);
	assert_true(is_empty(&t->by_global) && is_empty(&t->by_ip));
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

/* ---- who is plain ---- */

#define finds(r, expected)                                     \
	do {                                                   \
		struct vm_rec r_ = (r);                        \
		struct plaintab *t_ = plaintab_new(8);         \
		plaintab_add(t_, &r_);                         \
		assert_int_equal(is_found(t_, &r_), expected); \
		plaintab_free(t_);                             \
	} while (0)

static void
only_a_vm_that_is_here_and_neither_moves_nor_drains_is_plain(void **state)
{
	struct vm_rec r;

	(void)state;
	finds(vm(3, 1), true);
	r = vm(3, 1), r.owner = 1;
	finds(r, false);
	r = vm(3, 1), r.location = 1;
	finds(r, false);
	r = vm(3, 1), r.att = ATT_ANY;
	finds(r, false);
	r = vm(3, 1), r.n_drains = 1;
	finds(r, false);
	r = vm(3, 1), r.flags = VM_REC_NOTES;
	finds(r, false);
	r = vm(3, 1), r.flags = VM_REC_OPEN;
	finds(r, false);
	r = vm(3, 1), r.flags = VM_REC_HOLDS;
	finds(r, false);
	r = vm(3, 1), r.flags = VM_REC_OLDEST(0);
	finds(r, true);
	r = vm(3, 1), r.addresses[0].global = 0;
	finds(r, false);
}

static void
each_address_is_found_and_of_one_named_twice_the_first_counts(void **state)
{
	struct plaintab *t = plaintab_new(8);
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
	assert_true(is_empty(&t->by_global) && is_empty(&t->by_ip));
	plaintab_free(t);
}

/* Share of VMs, each of one address, that are found, when there are `vms` in a table for `size`. */
static double
share(uint32_t size, uint32_t vms)
{
	struct plaintab *t = plaintab_new(size);
	uint32_t found = 0;

	for (uint32_t i = 0; i < vms; i++) {
		struct vm_rec r = vm(i, 1);

		plaintab_add(t, &r);
	}
	for (uint32_t i = 0; i < vms; i++) {
		struct vm_rec r = vm(i, 1);

		found += is_found(t, &r);
	}
	plaintab_free(t);
	return (double)found / vms;
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

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_a_plain_array),
		cmocka_unit_test(a_table_that_is_too_small_leaves_some_out_and_tells_nothing_wrong),
		cmocka_unit_test(only_a_vm_that_is_here_and_neither_moves_nor_drains_is_plain),
		cmocka_unit_test(each_address_is_found_and_of_one_named_twice_the_first_counts),
		cmocka_unit_test(a_table_has_room_for_its_vms_and_nearly_for_twice_as_many_addresses),
	};

	(void)argc;
	start_eal(argv[0], "64");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
