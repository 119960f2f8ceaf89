/* SPDX-License-Identifier: BSD-3-Clause */
#include <nearwayd/plan.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <mutate.h>

/* ---- devices ---- */

static struct conf_port
port(const char *device, uint64_t mtu)
{
	struct conf_port p = {.name = "p", .mtu = mtu};

	snprintf(p.device, sizeof(p.device), "%s", device);
	return p;
}

static void
completes(const char *device, uint64_t mtu, uint16_t workers, const char *expected)
{
	struct conf_port c = port(device, mtu);
	struct plan_port p;
	struct err e;

	assert_int_equal(plan_device(&c, workers, 1024, &p, &e), 0);
	assert_string_equal(p.args, expected);
}

static void
refuses(const char *device, uint64_t mtu, uint16_t workers, const char *word)
{
	struct conf_port c = port(device, mtu);
	struct plan_port p;
	struct err e = {0};

	assert_int_equal(plan_device(&c, workers, 1024, &p, &e), -EINVAL);
	if (strstr(e.text, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, word);
}

static void
af_packet_gets_a_queue_per_worker_and_slots_for_whole_frames(void **state)
{
	(void)state;
	completes("net_af_packet0,iface=eth1", 1500, 1,
		"net_af_packet0,iface=eth1,qpairs=1,framesz=2048,blocksz=4096,framecnt=1024");
	completes("net_af_packet0,iface=eth1", 1500, 3,
		"net_af_packet0,iface=eth1,qpairs=3,framesz=2048,blocksz=4096,framecnt=1024");
}

static void
af_packet_slots_grow_with_the_mtu(void **state)
{
	(void)state;
	/* 1964 + 18 + 66 = 2048: the last MTU that fits the default */
	completes("net_af_packet0,iface=e", 1964, 1,
		"net_af_packet0,iface=e,qpairs=1,framesz=2048,blocksz=4096,framecnt=1024");
	completes("net_af_packet0,iface=e", 1965, 1,
		"net_af_packet0,iface=e,qpairs=1,framesz=4096,blocksz=4096,framecnt=1024");
	completes("net_af_packet0,iface=e", 9000, 1,
		"net_af_packet0,iface=e,qpairs=1,framesz=16384,blocksz=16384,framecnt=1024");
}

static void
af_packet_keeps_what_the_operator_gave(void **state)
{
	(void)state;
	completes("net_af_packet0,iface=e,framesz=8192,framecnt=256", 1500, 1,
		"net_af_packet0,iface=e,framesz=8192,framecnt=256,qpairs=1,blocksz=8192");
}

static void
af_packet_settings_that_lose_frames_are_refused(void **state)
{
	(void)state;
	refuses("net_af_packet0", 1500, 1, "iface");
	refuses("net_af_packet0,iface=e,framesz=1024", 1500, 1, "cuts");
	refuses("net_af_packet0,iface=e,framesz=2147483664", 1500, 1, "a number from 1 to");
	refuses("net_af_packet0,iface=e,framecnt=many", 1500, 1, "a number from 1 to");
	refuses("net_af_packet0,iface=e,framesz=2050", 1500, 1, "multiple of 16");
	refuses("net_af_packet0,iface=e,blocksz=1024", 1500, 1, "blocksz");
	refuses("net_af_packet0,iface=e,blocksz=8192,framecnt=1023", 1500, 1, "framecnt");
}

static void
memif_buffers_take_whole_frames(void **state)
{
	(void)state;
	completes("net_memif0,role=server,id=0,socket=/tmp/s", 1500, 1,
		"net_memif0,role=server,id=0,socket=/tmp/s,bsize=2048");
	completes("net_memif0", 9000, 1, "net_memif0,bsize=9024");
	refuses("net_memif0,bsize=2048", 9000, 1, "bsize");
}

static uint16_t
queues_of(const char *device, uint16_t workers)
{
	struct conf_port c = port(device, 1500);
	struct plan_port p;
	struct err e = {0};

	assert_int_equal(plan_device(&c, workers, 1024, &p, &e), 0);
	return p.queues;
}

static void
a_device_may_have_fewer_queues_than_there_are_workers(void **state)
{
	(void)state;
	assert_int_equal(queues_of("net_memif0", 4), 1);
	assert_int_equal(queues_of("net_af_packet0,iface=e,qpairs=2", 4), 2);
	assert_int_equal(queues_of("net_af_packet0,iface=e", 4), 4);
	assert_int_equal(queues_of("0000:01:00.0", 4), 0); /* it is asked when it is there */
}

static void
pci_addresses_are_told_from_virtual_devices(void **state)
{
	struct conf_port c = port("01:00.0,rxq_comp_en=0", 1500);
	struct plan_port p;
	struct err e;

	(void)state;
	assert_int_equal(plan_device(&c, 1, 1024, &p, &e), 0);
	assert_true(p.pci);
	assert_string_equal(p.name, "0000:01:00.0");
	c = port("0000:81:00.1", 1500);
	assert_int_equal(plan_device(&c, 1, 1024, &p, &e), 0);
	assert_true(p.pci);
	c = port("net_tap0,iface=t0", 1500);
	assert_int_equal(plan_device(&c, 1, 1024, &p, &e), 0);
	assert_false(p.pci);
	assert_string_equal(p.args, "net_tap0,iface=t0");
	refuses("eth1", 1500, 1, "neither");
	refuses(",iface=x", 1500, 1, "begin with");
}

/* ---- the whole ---- */

static struct conf_port ports[2];

static struct config
config(void)
{
	struct config c;

	memset(&c, 0, sizeof(c));
	strcpy(c.dataplane.cpus, "1");
	c.dataplane.memory = MEMORY_AUTO;
	c.limits.vms = c.limits.routes = 1000;
	c.limits.neighbours = c.limits.macs = 1000;
	c.limits.sessions = c.limits.rx_ring = 1024;
	ports[0] = port("net_af_packet0,iface=a", 1500);
	ports[1] = port("net_af_packet1,iface=b", 1500);
	c.ports.items = ports;
	c.ports.n = 2;
	return c;
}

static void
auto_memory_takes_hugepages_only_when_there_are_enough(void **state)
{
	struct config c = config();
	struct faults f;
	struct plan p;

	(void)state;
	faults_init(&f);
	assert_int_equal(plan_make(&c, 0, &p, &f), 0);
	assert_false(p.hugepages);
	assert_true(p.memory_mb > 32);
	assert_int_equal(plan_make(&c, p.memory_mb - 1, &p, &f), 0);
	assert_false(p.hugepages);
	assert_int_equal(plan_make(&c, p.memory_mb, &p, &f), 0);
	assert_true(p.hugepages);
	faults_fini(&f);
}

static void
memory_grows_with_the_limits(void **state)
{
	struct config c = config();
	struct plan small, large;
	struct faults f;

	(void)state;
	faults_init(&f);
	assert_int_equal(plan_make(&c, 0, &small, &f), 0);
	c.limits.vms = 100000;
	ports[1] = port("net_af_packet1,iface=b", 9000);
	assert_int_equal(plan_make(&c, 0, &large, &f), 0);
	assert_true(large.memory_mb > small.memory_mb + 60);
	assert_true(large.room >= 16384 - 32);
	faults_fini(&f);
}

static void
the_pool_grows_by_what_may_wait_for_vms(void **state)
{
	struct config c = config();
	struct plan none, some, given;
	struct faults f;

	(void)state;
	faults_init(&f);
	assert_int_equal(plan_make(&c, 0, &none, &f), 0);
	c.hold.packets = 65536;
	assert_int_equal(plan_make(&c, 0, &some, &f), 0);
	assert_true(some.mbufs >= none.mbufs / 2 + 65536); /* a power of two less one */
	assert_true(some.memory_mb > none.memory_mb + 65536 / 1024 * 2);
	c.limits.mbufs = 9999;
	assert_int_equal(plan_make(&c, 0, &given, &f), 0);
	assert_int_equal(given.mbufs, 9999);
	faults_fini(&f);
}

static void
every_fault_is_named_with_its_path(void **state)
{
	struct config c = config();
	struct faults f;
	struct plan p;

	(void)state;
	faults_init(&f);
	strcpy(c.dataplane.cpus, "1,x");
	ports[0] = port("eth0", 1500);
	ports[1] = port("eth0", 1500);
	assert_int_equal(plan_make(&c, 0, &p, &f), -EINVAL);
	assert_true(f.n >= 3);
	assert_string_equal(f.items[0].path, "dataplane.cpus");
	assert_string_equal(f.items[1].path, "ports[0].device");
	assert_string_equal(f.items[2].path, "ports[1].device");
	faults_fini(&f);
}

static void
one_device_cannot_be_two_ports(void **state)
{
	struct config c = config();
	struct faults f;
	struct plan p;

	(void)state;
	faults_init(&f);
	ports[1] = port("net_af_packet0,iface=b", 1500);
	assert_int_equal(plan_make(&c, 0, &p, &f), -EINVAL);
	assert_int_equal(f.n, 1);
	assert_string_equal(f.items[0].path, "ports[1].device");
	faults_fini(&f);
}

static void
a_pci_port_without_hugepages_is_a_fault(void **state)
{
	struct config c = config();
	struct faults f;
	struct plan p;

	(void)state;
	faults_init(&f);
	ports[1] = port("0000:01:00.0", 1500);
	c.dataplane.memory = MEMORY_NO_HUGE;
	assert_int_equal(plan_make(&c, 0, &p, &f), -EINVAL);
	assert_string_equal(f.items[0].path, "dataplane.memory");
	faults_fini(&f);
}

static void
auto_memory_means_hugepages_for_a_pci_port(void **state)
{
	struct config c = config();
	struct faults f;
	struct plan p;

	(void)state;
	faults_init(&f);
	ports[1] = port("0000:01:00.0", 1500);
	assert_int_equal(plan_make(&c, 0, &p, &f), 0);
	assert_true(p.hugepages);
	faults_fini(&f);
}

static uint32_t
mbufs_with(const char *wan, const char *dc, char *said, size_t size)
{
	struct config c = config();
	FILE *out = fmemopen(said, size, "w");
	struct faults f;
	struct plan p;

	assert_non_null(out);
	faults_init(&f);
	strcpy(c.dataplane.cpus, "1-5");
	ports[0] = port(wan, 1500);
	ports[1] = port(dc, 1500);
	assert_int_equal(plan_make(&c, 0, &p, &f), 0);
	plan_print(&c, &p, out);
	fclose(out);
	faults_fini(&f);
	return p.mbufs;
}

static void
what_workers_pass_to_each_other_has_buffers_and_is_told(void **state)
{
	char said[4096];
	uint32_t enough;

	(void)state;
	enough = mbufs_with("net_af_packet0,iface=a", "net_af_packet1,iface=b", said, sizeof(said));
	assert_null(strstr(said, "pass packets"));
	assert_true(mbufs_with("net_memif0", "net_memif1", said, sizeof(said)) > enough);
	assert_non_null(strstr(said, "1 queue for 5 workers, which pass packets to each other"));
	mbufs_with("net_af_packet0,iface=a,qpairs=3", "net_tap0", said, sizeof(said));
	assert_non_null(strstr(said, "3 queues for 5 workers"));
}

static void
damaged_device_strings_are_completed_or_refused_at_once(void **state)
{
	static const char *const devices[] = {
		"net_af_packet0,iface=eth1,qpairs=2,framesz=2048,blocksz=4096,framecnt=512",
		"net_memif0,role=server,id=0,socket=/run/s,bsize=2048", "0000:01:00.0",
		"net_tap0,iface=tap0"};
	unsigned int completed = 0, refused = 0;

	(void)state;
	alarm(60); /* a number too great once made it look for a power of two for ever */
	for (int i = 0; i < 20000; i++) {
		char text[256] = "";
		struct plan_port p;
		struct err e = {0};
		struct conf_port c;

		strcpy(text, devices[i % 4]);
		text[mutate_text(text, strlen(text), sizeof(text) - 1)] = '\0';
		c = port(text, 1500);
		if (plan_device(&c, 1, 1024, &p, &e) == 0) {
			assert_memory_equal(p.args, text, strlen(text));
			assert_true(p.room >= 1500);
			completed++;
		} else {
			assert_true(e.text[0] != '\0');
			refused++;
		}
	}
	alarm(0);
	assert_true(completed > 2000 && refused > 2000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(af_packet_gets_a_queue_per_worker_and_slots_for_whole_frames),
		cmocka_unit_test(af_packet_slots_grow_with_the_mtu),
		cmocka_unit_test(af_packet_keeps_what_the_operator_gave),
		cmocka_unit_test(af_packet_settings_that_lose_frames_are_refused),
		cmocka_unit_test(damaged_device_strings_are_completed_or_refused_at_once),
		cmocka_unit_test(memif_buffers_take_whole_frames),
		cmocka_unit_test(a_device_may_have_fewer_queues_than_there_are_workers),
		cmocka_unit_test(pci_addresses_are_told_from_virtual_devices),
		cmocka_unit_test(auto_memory_takes_hugepages_only_when_there_are_enough),
		cmocka_unit_test(memory_grows_with_the_limits),
		cmocka_unit_test(the_pool_grows_by_what_may_wait_for_vms),
		cmocka_unit_test(every_fault_is_named_with_its_path),
		cmocka_unit_test(one_device_cannot_be_two_ports),
		cmocka_unit_test(a_pci_port_without_hugepages_is_a_fault),
		cmocka_unit_test(auto_memory_means_hugepages_for_a_pci_port),
		cmocka_unit_test(what_workers_pass_to_each_other_has_buffers_and_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
