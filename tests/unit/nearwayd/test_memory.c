/* SPDX-License-Identifier: BSD-3-Clause */
/* test_memory.c - the planned memory suffices for everything that is made at start, with no hugepages, where EAL cannot
 * grow. One EAL start per process: the limits are arguments (VMs, routes, neighbours, MACs, MTU, receive ring). */
#include <env/host.h>
#include <nearwayd/dp.h>
#include <nearwayd/eal.h>
#include <nearwayd/fwd.h>

#include <errno.h>
#include <rte_malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t limits[6] = {16384, 16384, 1024, 8192, 1500, 1024};
static struct conf_port ports[2];
static struct conf_segment segment;
static struct conf_attachment attachment;
static struct config config;
static struct plan plan;
static char runtime[] = "/tmp/nearway-test-XXXXXX";

static void
make_config(void)
{
	config.limits = (struct conf_limits){.vms = limits[0],
		.routes = limits[1],
		.neighbours = limits[2],
		.macs = limits[3],
		.sessions = 1024,
		.rx_ring = limits[5]};
	config.hold.packets = 8192;
	strcpy(config.dataplane.cpus, "0");
	config.dataplane.poll = POLL_ADAPTIVE;
	config.dataplane.memory = MEMORY_NO_HUGE;
	strcpy(config.control.runtime, runtime);
	ports[0] = (struct conf_port){.name = "wan0",
		.role = PORT_WAN,
		.device = "net_null0",
		.mtu = limits[4],
		.address = {0xc0000201, 24}};
	ports[1] =
		(struct conf_port){.name = "dc0", .role = PORT_DC, .device = "net_null1", .mtu = limits[4]};
	attachment = (struct conf_attachment){.port = "dc0"};
	segment = (struct conf_segment){.name = "s",
		.vni = 1,
		.prefix = {0x0a000000, 8},
		.mtu = 1500,
		.gateway = {0x0a000001, {{2, 0, 0, 0, 0, 1}}},
		.attachments = {&attachment, 1}};
	config.ports.items = ports;
	config.ports.n = 2;
	config.segments.items = &segment;
	config.segments.n = 1;
}

/* As many VMs as the limit says, each with two addresses. */
static void
fill_vms(struct dp *dp)
{
	for (uint64_t done = 0; done < limits[0];) {
		struct fwd_change c[512];
		struct fwd_txn *txn;
		struct err e = {0};
		size_t n = 0;

		for (; n < 512 && done < limits[0]; n++, done++) {
			c[n] = (struct fwd_change){.op = FWD_VM_PUT};
			c[n].vm.mac = (struct mac){{2, 1, done >> 24, done >> 16, done >> 8, done}};
			c[n].vm.attachment = -1;
			c[n].vm.n_addresses = 2;
			c[n].vm.addresses[0] =
				(struct fwd_address){0x0a100000 + 2 * done, 0xc6000000 + 2 * done};
			c[n].vm.addresses[1] =
				(struct fwd_address){0x0a100001 + 2 * done, 0xc6000001 + 2 * done};
		}
		if (fwd_prepare(dp->fwd, c, n, &txn, &e) != 0)
			fail_msg("after %llu VMs: %s", (unsigned long long)done, e.text);
		fwd_publish(dp->fwd, txn, NULL, NULL);
		fwd_retire(dp->fwd);
		rcu_poll(dp->tables.rcu);
	}
}

static void
planned_memory_holds_the_limits(void **state)
{
	struct rte_malloc_socket_stats heap;
	struct faults f;
	struct host *h;
	struct dp *dp;
	struct err e = {0};

	(void)state;
	make_config();
	faults_init(&f);
	assert_int_equal(plan_make(&config, 0, &plan, &f), 0);
	faults_fini(&f);
	if (eal_start(&plan, "test", false, &e) != 0)
		fail_msg("%s", e.text);
	h = host_new(&e);
	assert_non_null(h);
	dp = dp_new(&config, &plan, host_env(h), host_base(h), &e);
	if (dp == NULL)
		fail_msg("%s", e.text);
	fill_vms(dp);
	rte_malloc_get_socket_stats(0, &heap);
	print_message("planned %llu MB, used %zu MB\n", (unsigned long long)plan.memory_mb,
		heap.heap_allocsz_bytes >> 20);
	/* Not much more than needed either: memory is taken from the machine. */
	assert_true(heap.heap_allocsz_bytes > plan.memory_mb * (1 << 20) / 2);
	dp_free(dp);
	host_free(h);
	eal_stop();
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(planned_memory_holds_the_limits),
	};
	char file[64];
	int rc;

	for (int i = 1; i < argc && i <= 6; i++)
		limits[i - 1] = strtoull(argv[i], NULL, 10);
	if (mkdtemp(runtime) == NULL)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(file, sizeof(file), "%s/sessions", runtime);
	unlink(file);
	rmdir(runtime);
	return rc;
}
