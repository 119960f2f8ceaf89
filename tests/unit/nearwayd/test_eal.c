/* SPDX-License-Identifier: BSD-3-Clause */
#include <nearwayd/eal.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct plan
plan(void)
{
	struct plan p;

	memset(&p, 0, sizeof(p));
	p.n_workers = 2;
	p.cpu[0] = 2;
	p.cpu[1] = 5;
	p.control_cpu = 1;
	p.memory_mb = 77;
	p.n_ports = 1;
	strcpy(p.ports[0].args, "net_tap0,iface=t");
	return p;
}

static bool
has(const struct eal_args *a, const char *arg)
{
	for (int i = 0; i < a->argc; i++)
		if (strcmp(a->argv[i], arg) == 0)
			return true;
	return false;
}

static void
without_hugepages_memory_is_given_and_in_memory_is_not(void **state)
{
	struct plan p = plan();
	struct eal_args a;

	(void)state;
	assert_int_equal(eal_args_make(&p, "r-x", &a), 0);
	assert_true(has(&a, "--no-huge"));
	assert_true(has(&a, "--no-shconf"));
	assert_true(has(&a, "-m"));
	assert_true(has(&a, "77"));
	assert_false(has(&a, "--in-memory"));
	assert_null(a.argv[a.argc]);
	eal_args_free(&a);
}

static void
with_hugepages_nothing_is_shared_and_no_huge_is_not_given(void **state)
{
	struct plan p = plan();
	struct eal_args a;

	(void)state;
	p.hugepages = true;
	assert_int_equal(eal_args_make(&p, "r-x", &a), 0);
	assert_true(has(&a, "--in-memory"));
	assert_false(has(&a, "--no-huge"));
	assert_false(has(&a, "-m"));
	eal_args_free(&a);
}

static void
threads_are_pinned_and_the_prefix_is_the_routers(void **state)
{
	struct plan p = plan();
	struct eal_args a;

	(void)state;
	assert_int_equal(eal_args_make(&p, "r-x", &a), 0);
	assert_true(has(&a, "--lcores=0@1,1@2,2@5"));
	assert_true(has(&a, "--main-lcore=0"));
	assert_true(has(&a, "--file-prefix=nearway-r-x"));
	eal_args_free(&a);
}

static void
pci_is_scanned_only_for_a_pci_port(void **state)
{
	struct plan p = plan();
	struct eal_args a;

	(void)state;
	assert_int_equal(eal_args_make(&p, "r", &a), 0);
	assert_true(has(&a, "--no-pci"));
	assert_true(has(&a, "--vdev=net_tap0,iface=t"));
	eal_args_free(&a);
	p.n_ports = 2;
	p.ports[1].pci = true;
	strcpy(p.ports[1].args, "0000:01:00.0");
	assert_int_equal(eal_args_make(&p, "r", &a), 0);
	assert_false(has(&a, "--no-pci"));
	assert_true(has(&a, "--allow=0000:01:00.0"));
	eal_args_free(&a);
}

static void
the_largest_plan_fits(void **state)
{
	struct plan p = plan();
	struct eal_args a;

	(void)state;
	p.n_workers = PLAN_WORKERS;
	p.n_ports = PLAN_PORTS;
	for (int i = 0; i < PLAN_WORKERS; i++)
		p.cpu[i] = 1000 + i;
	for (int i = 0; i < PLAN_PORTS; i++)
		strcpy(p.ports[i].args, "net_null0");
	assert_int_equal(eal_args_make(&p, "r", &a), 0);
	eal_args_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_hugepages_memory_is_given_and_in_memory_is_not),
		cmocka_unit_test(with_hugepages_nothing_is_shared_and_no_huge_is_not_given),
		cmocka_unit_test(threads_are_pinned_and_the_prefix_is_the_routers),
		cmocka_unit_test(pci_is_scanned_only_for_a_pci_port),
		cmocka_unit_test(the_largest_plan_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
