/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor.h"

#include "dp.h"
#include "eal.h"
#include "machine.h"
#include "neighs.h"
#include "pools.h"
#include "topo.h"

#include <common/addr.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <string.h>

struct look {
	struct dp *dp;
	const char *root;
	json_t *rows;
};

#define OK(l, check, of, ...) finding_add((l)->rows, VERDICT_OK, check, of, NULL, __VA_ARGS__)
#define WARNING(l, check, of, advice, ...) \
	finding_add((l)->rows, VERDICT_WARNING, check, of, advice, __VA_ARGS__)
#define FAULT(l, check, of, advice, ...) finding_add((l)->rows, VERDICT_FAULT, check, of, advice, __VA_ARGS__)

/* A thing of which no row has come is well. */
static size_t
count(const struct look *l)
{
	return json_array_size(l->rows);
}

/* ---- memory ---- */

static void
look_at_pages(struct look *l)
{
	const struct plan *p = l->dp->plan;
	unsigned long long mb = p->memory_mb;
	char advice[160];

	if (p->hugepages) {
		OK(l, "memory", "tables", "%llu MB in hugepages", mb);
		return;
	}
	snprintf(advice, sizeof(advice), "sysctl vm.nr_hugepages=%llu, %srestart the router", (mb + 1) / 2,
		l->dp->config->dataplane.memory == MEMORY_NO_HUGE ? "dataplane.memory auto, " : "");
	WARNING(l, "memory", "tables", advice,
		"%llu MB in pages of 4 KiB: with many VMs each look-up waits longer", mb);
}

static void
look_at_sessions(struct look *l)
{
	const char *dir = l->dp->config->control.runtime;
	char file[300], advice[320];

	snprintf(file, sizeof(file), "%s/sessions", dir);
	snprintf(advice, sizeof(advice), "mount -o remount,huge=advise the tmpfs of %s, restart the router",
		dir);
	if (!machine_is_tmpfs(dir))
		WARNING(l, "memory", "sessions", "put control.runtime on a tmpfs, as /run is",
			"their file is in %s, on a disk", dir);
	else if (!machine_in_large_pages(l->root, file))
		WARNING(l, "memory", "sessions", advice,
			"in pages of 4 KiB: with many sessions each look-up waits longer");
	else
		OK(l, "memory", "sessions", "%s, in large pages", file);
}

static void
look_at_buffers(struct look *l)
{
	uint32_t all = pools_size(l->dp->pools), unused = pools_available(l->dp->pools);

	if (unused < all / 8)
		WARNING(l, "memory", "buffers", "raise limits.mbufs, or lower hold.packets",
			"%u of %u are free: packets are dropped when none is", unused, all);
	else
		OK(l, "memory", "buffers", "%u of %u are free", unused, all);
}

static void
look_at_memory(struct look *l)
{
	look_at_pages(l);
	look_at_sessions(l);
	look_at_buffers(l);
}

/* ---- CPUs ---- */

static void
look_at_neighbour_cpu(struct look *l, const char *of, unsigned int cpu, unsigned int other, const char *whose)
{
	if (cpu == other)
		WARNING(l, "cpu", of, "name another CPU in dataplane.cpus or dataplane.control-cpu",
			"CPU %u is %s, too", cpu, whose);
	else if (machine_one_core(l->root, cpu, other))
		WARNING(l, "cpu", of,
			"name CPUs of different cores in dataplane.cpus and dataplane.control-cpu",
			"CPU %u is a thread of the same core as CPU %u, %s", cpu, other, whose);
}

static void
look_at_worker(struct look *l, uint16_t worker)
{
	const struct plan *p = l->dp->plan;
	unsigned int cpu = p->cpu[worker];
	char of[32], whose[48], advice[192], governor[MACHINE_TEXT];
	size_t before = count(l);

	snprintf(of, sizeof(of), "worker %u", worker);
	look_at_neighbour_cpu(l, of, cpu, p->control_cpu, "the control thread's");
	for (uint16_t i = 0; i < worker; i++) {
		snprintf(whose, sizeof(whose), "worker %u's", i);
		look_at_neighbour_cpu(l, of, cpu, p->cpu[i], whose);
	}
	if (l->dp->config->dataplane.poll == POLL_BUSY && !machine_isolated(l->root, cpu)) {
		const char *cpus = l->dp->config->dataplane.cpus;

		snprintf(advice, sizeof(advice), "isolcpus=%s nohz_full=%s on the kernel's command line",
			cpus, cpus);
		WARNING(l, "cpu", of, advice, "CPU %u polls, and the kernel lets others run there", cpu);
	}
	machine_governor(l->root, cpu, governor);
	if (governor[0] != '\0' && strcmp(governor, "performance") != 0) {
		snprintf(advice, sizeof(advice), "cpupower -c %u frequency-set -g performance", cpu);
		WARNING(l, "cpu", of, advice, "CPU %u changes its frequency: governor %s", cpu, governor);
	}
	if (count(l) == before)
		OK(l, "cpu", of, "CPU %u", cpu);
}

/* ---- ports and what is behind them ---- */

/* Frames go through the kernel, and are copied. */
static bool
is_by_kernel(const char *driver)
{
	return strcmp(driver, "net_af_packet") == 0 || strcmp(driver, "net_tap") == 0 ||
	       strcmp(driver, "net_pcap") == 0;
}

static void
look_at_node(struct look *l, const struct port *p, const char *name)
{
	int node = rte_eth_dev_socket_id(p->id);

	for (uint16_t i = 0; node >= 0 && i < l->dp->plan->n_workers; i++) {
		int other = (int)rte_lcore_to_socket_id(eal_lcore(i));

		if (other != node)
			WARNING(l, "port", name, "name CPUs of the NIC's node in dataplane.cpus",
				"it is at NUMA node %d, worker %u at node %d", node, i, other);
	}
}

static void
look_at_port(struct look *l, uint16_t i)
{
	const struct port *p = ports_at(l->dp->ports, i);
	const char *name = l->dp->topo->ports[i].name;
	uint64_t missed = ports_missed(l->dp->ports, i);
	uint16_t workers = l->dp->plan->n_workers;
	size_t before = count(l);

	if (!p->up)
		FAULT(l, "port", name, "look at the cable, and at the other end", "the link is down");
	if (is_by_kernel(p->driver))
		WARNING(l, "port", name, "bind a NIC to vfio-pci, and name it by its PCI address",
			"%s: frames go through the kernel, which takes most of the time", p->driver);
	if (l->dp->config->dataplane.poll == POLL_ADAPTIVE && p->wake == WAKE_NONE)
		WARNING(l, "port", name, "dataplane.poll busy, or a driver with receive interrupts",
			"%s has nothing to wait for: idle workers sleep up to 1 ms", p->driver);
	if (p->rxqs < workers || p->txqs < workers)
		WARNING(l, "port", name, "a NIC with more queues, or fewer dataplane.cpus",
			"%u receive and %u transmit queues for %u workers, which pass packets to each other",
			p->rxqs, p->txqs, workers);
	look_at_node(l, p, name);
	if (missed != 0)
		WARNING(l, "port", name, "raise limits.rx-ring, or name more dataplane.cpus",
			"%llu packets came when there was no room, since the start",
			(unsigned long long)missed);
	if (count(l) == before)
		OK(l, "port", name, "%s, link up, %u receive and %u transmit queues", p->driver, p->rxqs,
			p->txqs);
}

/* Of routes, and VTEPs of peers, whether packets have asked for them or not. */
static void
look_at_next_hops(struct look *l)
{
	uint32_t next = 0, reachable = 0;
	struct neigh_info n;
	char ip[IP4_TEXT];

	while (neighs_next(l->dp->neighs, &next, &n)) {
		if (!n.kept)
			continue;
		reachable += n.state == NEIGH_REACHABLE;
		if (n.state == NEIGH_FAILED)
			FAULT(l, "next-hop", ip4_format(rte_be_to_cpu_32(n.ip), ip),
				"is it up, and in this network and VLAN?",
				"it does not answer ARP on port %s", l->dp->topo->ports[n.port].name);
	}
	if (reachable != 0)
		OK(l, "next-hop", "others", "%u answer", reachable);
}

/* ---- clocks ---- */

static bool
is_slow(const char *clocksource)
{
	return strcmp(clocksource, "hpet") == 0 || strcmp(clocksource, "acpi_pm") == 0 ||
	       strcmp(clocksource, "jiffies") == 0 || strcmp(clocksource, "refined-jiffies") == 0;
}

static void
look_at_clocks(struct look *l)
{
	char source[MACHINE_TEXT];

	machine_clocksource(l->root, source);
	if (is_slow(source))
		WARNING(l, "clock", "kernel", "clocksource=tsc on the kernel's command line",
			"it reads the time from %s, which takes microseconds", source);
	else
		OK(l, "clock", "kernel", "%s", source[0] != '\0' ? source : "not told");
	if (!machine_counter_is_steady(l->root))
		WARNING(l, "clock", "cpu", "in a virtual machine: QEMU -cpu host,+invtsc",
			"its counter is not told to be steady (constant_tsc, nonstop_tsc): cycles of show "
			"stages are inexact");
	else
		OK(l, "clock", "cpu", "its counter is steady");
	if (!machine_clock_is_set())
		WARNING(l, "clock", "wall", "run chrony or systemd-timesyncd",
			"nobody sets it: times in logs, and of moves over a reboot, are as wrong as it is");
	else
		OK(l, "clock", "wall", "it is set");
}

/* ---- MTU ---- */

static void
look_at_mtu(struct look *l, const struct topo_segment *s)
{
	char advice[160];

	if (s->external || s->mss == 0 || s->tunnel_mtu >= s->mtu) {
		OK(l, "mtu", s->name, "%u bytes", s->mtu);
		return;
	}
	snprintf(advice, sizeof(advice),
		"mtu %zu of the WAN ports and of peers, and of what is between; or %u of the segment and in "
		"its VMs",
		(size_t)s->mtu + TOPO_TUNNEL_OVERHEAD, s->tunnel_mtu);
	WARNING(l, "mtu", s->name, advice,
		"%u bytes, of which the tunnel takes %u: TCP is held to segments of %u, what else is larger "
		"is "
		"fragmented or refused",
		s->mtu, s->tunnel_mtu, s->mss);
}

json_t *
doctor_rows(struct dp *dp, const char *root)
{
	struct look l = {.dp = dp, .root = root, .rows = json_array()};

	look_at_memory(&l);
	for (uint16_t i = 0; i < dp->plan->n_workers; i++)
		look_at_worker(&l, i);
	for (uint16_t i = 0; i < dp->topo->n_ports; i++)
		look_at_port(&l, i);
	look_at_next_hops(&l);
	look_at_clocks(&l);
	for (uint16_t i = 0; i < dp->topo->n_segments; i++)
		look_at_mtu(&l, &dp->topo->segments[i]);
	return l.rows;
}
