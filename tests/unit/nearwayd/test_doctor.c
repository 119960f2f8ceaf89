/* SPDX-License-Identifier: BSD-3-Clause */
/* What the doctor says of a machine that is told by files of ours in the place of /proc and /sys. */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <nearwayd/doctor.h>
#include <nearwayd/machine.h>
#include <nearwayd/neighs.h>
#include <nearwayd/pools.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[] = "/tmp/nw-doctor-XXXXXX";

static void
tell(const char *file, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", root, file);
	for (char *s = strchr(path + strlen(root) + 1, '/'); s != NULL; s = strchr(s + 1, '/')) {
		*s = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*s = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

#define CPU   "/sys/devices/system/cpu/"
#define CLOCK "/sys/devices/system/clocksource/clocksource0/current_clocksource"

/* Of sessions that are mapped from this directory so many kB lie in large pages. */
static void
tell_pages(const char *dir, int kb)
{
	char text[600];

	snprintf(text, sizeof(text),
		"7f21137a7000-7f21157a8000 rw-s 00000000 00:1b 1323519   /anon-huge\nSize: 4 "
		"kB\nShmemPmdMapped:  512 kB\n"
		"7f63f9800000-7f63fb801000 rw-s 00000000 00:27 2         %s/sessions\nSize:    32772 "
		"kB\nShmemPmdMapped:    %d kB\n"
		"7fff00000000-7fff00001000 r-xp 00000000 00:00 0         [vdso]\nShmemPmdMapped:        8 "
		"kB\n",
		dir, kb);
	tell("/proc/self/smaps", text);
}

/* A machine that is as it should be. */
static int
well(void **state)
{
	(void)state;
	tell(CPU "isolated", "0,2-5\n");
	tell(CPU "cpu0/topology/thread_siblings_list", "0,8\n");
	tell(CPU "cpu0/cpufreq/scaling_governor", "performance\n");
	tell(CLOCK, "tsc\n");
	tell_pages(bench_config.control.runtime, 2048);
	tell("/proc/cpuinfo", "processor : 0\nflags\t\t: fpu tsc constant_tsc nonstop_tsc sse2\n");
	bench_config.dataplane.poll = POLL_BUSY;
	return 0;
}

static int
start(void **state)
{
	return mkdtemp(root) == NULL ? -1 : bench_start(state);
}

static int
stop(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", root);
	return bench_stop(state) != 0 || system(command) != 0 ? -1 : 0;
}

/* ---- rows ---- */

static const char *
word(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

static bool
is(const json_t *row, const char *verdict, const char *check, const char *of, const char *found)
{
	return strcmp(word(row, "verdict"), verdict) == 0 && strcmp(word(row, "check"), check) == 0 &&
	       strcmp(word(row, "of"), of) == 0 && strstr(word(row, "found"), found) != NULL;
}

/* Is there such a row? What is not well says what to do. */
static bool
says(const char *verdict, const char *check, const char *of, const char *found)
{
	json_t *rows = doctor_rows(bench, root), *row;
	bool any = false;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		any |= is(row, verdict, check, of, found);
		assert_int_equal(strcmp(word(row, "verdict"), "ok") == 0, word(row, "advice")[0] == '\0');
	}
	json_decref(rows);
	return any;
}

/* ---- memory ---- */

static void
memory_without_hugepages_is_warned_of_with_how_many_to_reserve(void **state)
{
	json_t *rows = doctor_rows(bench, root), *row = json_array_get(rows, 0);
	char pages[48];

	(void)state;
	snprintf(pages, sizeof(pages), "nr_hugepages=%llu",
		(unsigned long long)(bench->plan->memory_mb + 1) / 2);
	assert_true(is(row, "warning", "memory", "tables", "pages of 4 KiB"));
	assert_non_null(strstr(word(row, "advice"), pages));
	json_decref(rows);
}

static void
sessions_in_small_pages_or_on_a_disk_are_warned_of(void **state)
{
	char was[sizeof(bench_config.control.runtime)];

	(void)state;
	memcpy(was, bench_config.control.runtime, sizeof(was));
	snprintf(bench_config.control.runtime, sizeof(was), "/dev/shm");
	tell_pages("/dev/shm", 2048);
	assert_true(says("ok", "memory", "sessions", "large pages"));
	tell_pages("/dev/shm", 0);
	assert_true(says("warning", "memory", "sessions", "4 KiB"));
	tell_pages("/dev/shm/other", 2048);
	assert_true(says("warning", "memory", "sessions", "4 KiB"));
	snprintf(bench_config.control.runtime, sizeof(was), "/proc");
	assert_true(says("warning", "memory", "sessions", "/proc, on a disk"));
	memcpy(bench_config.control.runtime, was, sizeof(was));
}

static void
packet_buffers_that_run_out_are_warned_of(void **state)
{
	uint32_t n = pools_size(bench->pools) / 16 * 15;
	struct rte_mbuf **m = calloc(n, sizeof(struct rte_mbuf *));

	(void)state;
	assert_true(says("ok", "memory", "buffers", "are free"));
	assert_non_null(m);
	assert_int_equal(rte_pktmbuf_alloc_bulk(bench->pool, m, n), 0);
	assert_true(says("warning", "memory", "buffers", "are free"));
	rte_pktmbuf_free_bulk(m, n);
	free(m);
}

/* ---- CPUs ---- */

static void
cpu_of_a_worker_that_polls_is_isolated_or_warned_of(void **state)
{
	(void)state;
	assert_false(says("warning", "cpu", "worker 0", "lets others run"));
	tell(CPU "isolated", "1,2-5\n");
	assert_true(says("warning", "cpu", "worker 0", "lets others run"));
	bench_config.dataplane.poll = POLL_ADAPTIVE;
	assert_false(says("warning", "cpu", "worker 0", "lets others run"));
}

static void
lists_of_cpus_have_ranges(void **state)
{
	(void)state;
	for (unsigned int cpu = 0; cpu < 12; cpu++)
		assert_int_equal(machine_isolated(root, cpu), cpu == 0 || (cpu >= 2 && cpu <= 5));
	tell(CPU "isolated", "\n");
	assert_false(machine_isolated(root, 0));
	tell(CPU "isolated", "7-9,11\n");
	for (unsigned int cpu = 0; cpu < 12; cpu++)
		assert_int_equal(machine_isolated(root, cpu), (cpu >= 7 && cpu <= 9) || cpu == 11);
}

static void
threads_of_one_core_are_told_apart_from_cores(void **state)
{
	(void)state;
	assert_true(machine_one_core(root, 0, 8));
	assert_false(machine_one_core(root, 0, 1));
	assert_true(machine_one_core(root, 1, 1));
	assert_false(machine_one_core(root, 1, 2)); /* nobody tells */
}

/* The bench's worker and its control thread have CPU 0, both. */
static void
cpu_that_two_threads_have_is_warned_of(void **state)
{
	(void)state;
	assert_true(says("warning", "cpu", "worker 0", "CPU 0 is the control thread's, too"));
}

static void
frequency_that_changes_is_warned_of(void **state)
{
	(void)state;
	assert_false(says("warning", "cpu", "worker 0", "governor"));
	tell(CPU "cpu0/cpufreq/scaling_governor", "powersave\n");
	assert_true(says("warning", "cpu", "worker 0", "governor powersave"));
}

/* ---- ports ---- */

static void
link_that_is_down_is_a_fault_and_up_is_well(void **state)
{
	struct port *p = (struct port *)(uintptr_t)ports_at(bench->ports, 1);
	bool up = p->up;

	(void)state;
	p->up = true;
	assert_true(says("ok", "port", "dc0", "net_null, link up, 1 receive"));
	p->up = false;
	assert_true(says("fault", "port", "dc0", "link is down"));
	p->up = up;
}

static void
port_that_cannot_wake_an_idle_worker_is_warned_of(void **state)
{
	(void)state;
	assert_false(says("warning", "port", "dc0", "1 ms"));
	bench_config.dataplane.poll = POLL_ADAPTIVE;
	assert_true(says("warning", "port", "dc0", "1 ms"));
}

static void
next_hop_that_does_not_answer_is_a_fault(void **state)
{
	rte_be32_t hop = RTE_BE32(0xc0000263);
	const struct rte_ether_addr mac = {{2, 0, 0, 0, 0, 0x63}};

	(void)state;
	neighs_run(bench->neighs);
	assert_int_equal(neighs_keep(bench->neighs, 0, hop), 0);
	assert_false(says("fault", "next-hop", "192.0.2.99", ""));
	bench_advance(5000);
	assert_true(says("fault", "next-hop", "192.0.2.99", "does not answer ARP on port wan0"));
	neighs_seen(bench->neighs, 0, hop, &mac);
	assert_false(says("fault", "next-hop", "192.0.2.99", ""));
	assert_true(says("ok", "next-hop", "others", "1 answer"));
	neighs_leave(bench->neighs, 0, hop);
	bench_forget();
}

/* ---- clocks ---- */

static void
clocks_that_are_slow_or_not_steady_are_warned_of(void **state)
{
	(void)state;
	assert_true(says("ok", "clock", "kernel", "tsc"));
	assert_true(says("ok", "clock", "cpu", "steady"));
	tell(CLOCK, "acpi_pm\n");
	assert_true(says("warning", "clock", "kernel", "acpi_pm"));
	tell("/proc/cpuinfo", "processor : 0\nflags\t\t: fpu tsc constant_tsc xnonstop_tsc sse2\n");
	assert_true(says("warning", "clock", "cpu", "nonstop_tsc"));
	tell("/proc/cpuinfo", "processor : 0\nFeatures\t: fp asimd\n");
	assert_true(says("ok", "clock", "cpu", "steady"));
}

/* ---- MTU ---- */

static void
segment_that_does_not_fit_the_tunnel_is_warned_of(void **state)
{
	struct topo_segment *s = &bench->topo->segments[0], was = *s;

	(void)state;
	s->mss = 1410;
	s->tunnel_mtu = 1450;
	assert_true(says("warning", "mtu", "web",
		"1500 bytes, of which the tunnel takes 1450: TCP is held to segments of 1410"));
	s->external = true;
	assert_true(says("ok", "mtu", "web", "1500 bytes"));
	s->external = false;
	s->tunnel_mtu = 1500;
	s->mss = 1460;
	assert_true(says("ok", "mtu", "web", "1500 bytes"));
	*s = was;
}

/* ---- the order ---- */

static void
the_worst_comes_first_and_the_rest_in_order(void **state)
{
	static const char order[] = "dbeac";
	json_t *rows = json_array(), *row;
	size_t i;

	(void)state;
	finding_add(rows, VERDICT_OK, "a", "x", NULL, "%d", 1);
	finding_add(rows, VERDICT_WARNING, "b", "x", "do", "%d", 2);
	finding_add(rows, VERDICT_OK, "c", "x", NULL, "%d", 3);
	finding_add(rows, VERDICT_FAULT, "d", "x", "do", "%d", 4);
	finding_add(rows, VERDICT_WARNING, "e", "x", "do", "%d", 5);
	rows = findings_sorted(rows);
	assert_int_equal(json_array_size(rows), 5);
	json_array_foreach(rows, i, row) assert_int_equal(word(row, "check")[0], order[i]);
	json_decref(rows);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(memory_without_hugepages_is_warned_of_with_how_many_to_reserve, well),
		cmocka_unit_test_setup(sessions_in_small_pages_or_on_a_disk_are_warned_of, well),
		cmocka_unit_test_setup(packet_buffers_that_run_out_are_warned_of, well),
		cmocka_unit_test_setup(cpu_of_a_worker_that_polls_is_isolated_or_warned_of, well),
		cmocka_unit_test_setup(lists_of_cpus_have_ranges, well),
		cmocka_unit_test_setup(threads_of_one_core_are_told_apart_from_cores, well),
		cmocka_unit_test_setup(cpu_that_two_threads_have_is_warned_of, well),
		cmocka_unit_test_setup(frequency_that_changes_is_warned_of, well),
		cmocka_unit_test_setup(link_that_is_down_is_a_fault_and_up_is_well, well),
		cmocka_unit_test_setup(port_that_cannot_wake_an_idle_worker_is_warned_of, well),
		cmocka_unit_test_setup(next_hop_that_does_not_answer_is_a_fault, well),
		cmocka_unit_test_setup(clocks_that_are_slow_or_not_steady_are_warned_of, well),
		cmocka_unit_test_setup(segment_that_does_not_fit_the_tunnel_is_warned_of, well),
		cmocka_unit_test(the_worst_comes_first_and_the_rest_in_order),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
