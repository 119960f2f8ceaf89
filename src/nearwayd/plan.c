/* SPDX-License-Identifier: BSD-3-Clause */
#include "plan.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- devices ---- */

#define ETH_OVERHEAD 18 /* Ethernet header and one VLAN tag */
#define TPACKET_OFFSET \
	66 /* where the kernel puts the frame in a TPACKET_V2 slot (rounded down from 80 by its header) */
#define TPACKET_TX_OFFSET \
	32 /* where the driver puts it, and what it subtracts when it checks the mbuf's room */
#define PAGE	  4096
#define VALUE_MAX (1u << 24) /* of a number in a device string */
#define ROOM_MAX \
	((UINT16_MAX - 128) / 64 * 64) /* mbufs count in 16 bits, with 128 of headroom; in steps of 64 */

static bool
is_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strchr("0123456789abcdefABCDEF", s[i]) == NULL || s[i] == '\0')
			return false;
	return true;
}

/* [0000:]01:00.0 */
static bool
is_pci(const char *name)
{
	size_t n = strlen(name);

	if (n == 12 && is_hex(name, 4) && name[4] == ':')
		name += 5;
	else if (n != 7)
		return false;
	return is_hex(name, 2) && name[2] == ':' && is_hex(name + 3, 2) && name[5] == '.' &&
	       is_hex(name + 6, 1);
}

/* The value of `key=` in a device string, or NULL; *len is its length. */
static const char *
device_arg(const char *device, const char *key, size_t *len)
{
	size_t k = strlen(key);

	for (const char *s = strchr(device, ','); s != NULL; s = strchr(s, ',')) {
		s++;
		if (strncmp(s, key, k) == 0 && s[k] == '=') {
			*len = strcspn(s + k + 1, ",");
			return s + k + 1;
		}
	}
	return NULL;
}

/* A number that the operator gave, else `def`; added to the string in the latter case. */
static int
complete(struct plan_port *p, const char *key, uint32_t *value, struct err *e)
{
	size_t len, used = strlen(p->args);
	const char *given = device_arg(p->args, key, &len);

	if (given != NULL) {
		*value = strtoul(given, NULL, 10);
		if (len == 0 || len > 8 || strspn(given, "0123456789") != len || *value == 0 ||
			*value > VALUE_MAX)
			return err_set(e, EINVAL, "%s must be a number from 1 to %u", key, VALUE_MAX);
		return 0;
	}
	if (snprintf(p->args + used, sizeof(p->args) - used, ",%s=%u", key, *value) >=
		(int)(sizeof(p->args) - used))
		return err_set(e, EINVAL, "device string is too long");
	return 0;
}

static uint32_t
power_of_two(uint32_t n)
{
	uint32_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

static int
complete_af_packet(
	struct plan_port *p, const struct conf_port *port, uint16_t workers, uint32_t ring, struct err *e)
{
	uint32_t need = port->mtu + ETH_OVERHEAD + TPACKET_OFFSET, queues = workers, per_block;
	uint32_t framesz = need <= 2048 ? 2048 : power_of_two(need), blocksz, framecnt;
	size_t len;

	if (device_arg(p->args, "iface", &len) == NULL || len == 0)
		return err_set(e, EINVAL, "net_af_packet needs the kernel interface: add ,iface=NAME");
	if (complete(p, "qpairs", &queues, e) != 0 || complete(p, "framesz", &framesz, e) != 0)
		return -EINVAL;
	p->queues = (uint16_t)(queues < UINT16_MAX ? queues : UINT16_MAX);
	if (framesz < need || framesz % 16 != 0)
		return err_set(e, EINVAL,
			"framesz=%u cuts frames of MTU %u: leave framesz out, or give a multiple of 16 from "
			"%u",
			framesz, (unsigned int)port->mtu, need);
	blocksz = framesz < PAGE ? PAGE : power_of_two(framesz);
	if (complete(p, "blocksz", &blocksz, e) != 0)
		return -EINVAL;
	if (blocksz < framesz || blocksz % PAGE != 0)
		return err_set(e, EINVAL, "blocksz=%u must be a multiple of %u and at least framesz (%u)",
			blocksz, PAGE, framesz);
	per_block = blocksz / framesz; /* the kernel refuses a count that leaves a block part empty */
	framecnt = (ring + per_block - 1) / per_block * per_block;
	if (complete(p, "framecnt", &framecnt, e) != 0)
		return -EINVAL;
	if (framecnt % per_block != 0)
		return err_set(e, EINVAL, "framecnt=%u must be a multiple of %u (frames in a block)",
			framecnt, per_block);
	p->room = framesz - TPACKET_TX_OFFSET;
	return 0;
}

/* memif cuts larger frames into chains of buffers: one buffer must take a whole frame. How many rings there are is agreed
 * with the peer when it connects, and a queue without one writes into the first ring beside its owner (DPDK 22.11): so it has one. */
static int
complete_memif(struct plan_port *p, const struct conf_port *port, struct err *e)
{
	uint32_t need = port->mtu + ETH_OVERHEAD, bsize = need <= 2048 ? 2048 : (need + 63) / 64 * 64;

	p->queues = 1;
	if (complete(p, "bsize", &bsize, e) != 0)
		return -EINVAL;
	if (bsize < need)
		return err_set(e, EINVAL, "bsize=%u is less than a frame of MTU %u needs (%u)", bsize,
			(unsigned int)port->mtu, need);
	return 0;
}

int
plan_device(const struct conf_port *port, uint16_t workers, uint32_t rx_ring, struct plan_port *out,
	struct err *e)
{
	size_t n = strcspn(port->device, ",");

	memset(out, 0, sizeof(*out));
	if (n == 0 || n >= sizeof(out->name))
		return err_set(
			e, EINVAL, "must begin with a device name such as net_af_packet0 or 0000:01:00.0");
	memcpy(out->name, port->device, n);
	snprintf(out->args, sizeof(out->args), "%s", port->device);
	out->room = port->mtu + ETH_OVERHEAD;
	if (is_pci(out->name)) {
		out->pci = true;
		if (n == 7) { /* EAL's own name has the domain */
			memmove(out->name + 5, out->name, 8);
			memcpy(out->name, "0000:", 5);
		}
		return 0;
	}
	if (strncmp(out->name, "net_", 4) != 0 && strncmp(out->name, "eth_", 4) != 0)
		return err_set(e, EINVAL,
			"\"%s\" is neither a PCI address nor a DPDK network device (net_...)", out->name);
	if (strncmp(out->name + 4, "af_packet", 9) == 0)
		return complete_af_packet(out, port, workers, rx_ring, e);
	if (strncmp(out->name + 4, "memif", 5) == 0)
		return complete_memif(out, port, e);
	return 0;
}

/* ---- memory ---- */

#define MB (UINT64_C(1) << 20)

/* Bytes of EAL memory for one entry of a table, all its hashes, slots and records counted; measured with
 * DPDK 22.11 (tests/unit/nearwayd/test_memory.c holds them to it). */
enum {
	BYTES_VM = 584,
	BYTES_VM_WORKER = 40, /* what each worker counts of a VM */
	BYTES_ROUTE = 48,
	BYTES_NEIGHBOUR = 48,
	BYTES_MAC = 48,
	BYTES_MBUF_OVER = 128 + 64 + 128 + 128, /* mbuf, metadata, headroom, mempool's header and padding */
	BYTES_WORKER = 1 << 20,
	BYTES_PORT = 2 << 20, /* a driver's own rings */
	BYTES_BASE = 8 << 20,
};

static bool
any_punts(const struct config *c)
{
	for (size_t i = 0; i < c->ports.n; i++)
		if (list_at(c->ports, struct conf_port, i)->punt)
			return true;
	return false;
}

/* Has the port fewer queues than there are workers? */
static bool
is_short(const struct plan *p, uint16_t port)
{
	return p->ports[port].queues != 0 && p->ports[port].queues < p->n_workers;
}

/* What the rings of all ports, each worker's vectors and hold queue, the mempool caches and the control thread can
 * hold at once, and what waits for VMs: receiving never stops for want of a buffer. */
static uint32_t
mbufs_needed(const struct config *c, const struct plan *p)
{
	uint64_t rings = (uint64_t)p->n_ports * p->n_workers * (c->limits.rx_ring + PLAN_TXD);
	uint64_t punts = any_punts(c) ? 256 : 0; /* PUNT_RING */
	uint64_t workers = (uint64_t)p->n_workers * (256 + 2 * 512 + 2 * 256 + punts);
	uint64_t passed = 0;

	for (uint16_t i = 0; i < p->n_ports; i++)
		if (is_short(p, i)) /* both ways, in rings of OUTLET_RING */
			passed += 2 * 512 * (p->n_workers - 1);
	return power_of_two(rings + workers + passed + c->hold.packets + 2048) - 1; /* 2048: ORDER_RING */
}

static uint64_t
memory_needed_mb(const struct config *c, const struct plan *p)
{
	uint64_t bytes = BYTES_BASE;

	bytes += (uint64_t)p->mbufs * (p->room + BYTES_MBUF_OVER);
	bytes += c->limits.vms * BYTES_VM + c->limits.routes * BYTES_ROUTE;
	bytes += c->limits.neighbours * BYTES_NEIGHBOUR + c->limits.macs * BYTES_MAC;
	bytes += (uint64_t)p->n_workers * BYTES_WORKER + (uint64_t)p->n_ports * p->n_workers * BYTES_PORT;
	bytes += (c->limits.macs * 4 + c->limits.vms * BYTES_VM_WORKER) * p->n_workers;
	return (bytes + bytes / 8 + MB - 1) / MB;
}

uint64_t
plan_free_hugepages_mb(void)
{
	const char *dir = "/sys/kernel/mm/hugepages";
	DIR *d = opendir(dir);
	uint64_t kb_all = 0;
	struct dirent *de;

	if (d == NULL)
		return 0;
	while ((de = readdir(d)) != NULL) {
		unsigned long kb, pages;
		char file[320];
		FILE *f;

		if (sscanf(de->d_name, "hugepages-%lukB", &kb) != 1)
			continue;
		snprintf(file, sizeof(file), "%s/%s/free_hugepages", dir, de->d_name);
		f = fopen(file, "re");
		if (f == NULL)
			continue;
		if (fscanf(f, "%lu", &pages) == 1)
			kb_all += (uint64_t)kb * pages;
		fclose(f);
	}
	closedir(d);
	return kb_all / 1024;
}

/* ---- the whole ---- */

static void
plan_workers(const struct config *c, struct plan *p, struct faults *f)
{
	int n = cpus_parse(c->dataplane.cpus, p->cpu, PLAN_WORKERS);

	if (n == -ENOSPC)
		faults_add(f, 0, 0, "dataplane.cpus", "more than %u CPUs", PLAN_WORKERS);
	else if (n < 0)
		faults_add(f, 0, 0, "dataplane.cpus", "\"%s\" is no list of CPUs", c->dataplane.cpus);
	p->n_workers = n > 0 ? n : 1;
	p->control_cpu = c->dataplane.control_cpu;
}

static void
plan_ports(const struct config *c, struct plan *p, struct faults *f)
{
	p->n_ports = c->ports.n < PLAN_PORTS ? c->ports.n : PLAN_PORTS;
	if (c->ports.n > PLAN_PORTS)
		faults_add(f, 0, 0, "ports", "%zu ports; at most %u", c->ports.n, PLAN_PORTS);
	for (uint16_t i = 0; i < p->n_ports; i++) {
		const struct conf_port *port = list_at(c->ports, struct conf_port, i);
		struct plan_port *out = &p->ports[i];
		char path[64];
		struct err e;

		snprintf(path, sizeof(path), "ports[%u].device", i);
		if (plan_device(port, p->n_workers, c->limits.rx_ring, out, &e) != 0)
			faults_add(f, 0, 0, path, "%s", e.text);
		for (uint16_t k = 0; k < i; k++)
			if (strcmp(p->ports[k].name, out->name) == 0)
				faults_add(f, 0, 0, path, "device %s is port %s's already: number them (%s1)",
					out->name, list_at(c->ports, struct conf_port, k)->name, out->name);
		if (out->room > p->room)
			p->room = out->room;
	}
	if (p->room > ROOM_MAX)
		faults_add(f, 0, 0, "ports", "the largest frame needs buffers of %u bytes; at most %u",
			p->room, ROOM_MAX);
}

static void
plan_memory(const struct config *c, uint64_t huge_mb, struct plan *p, struct faults *f)
{
	int mode = c->dataplane.memory;

	p->room = p->room < 2048 ? 2048 : (p->room + 63) / 64 * 64;
	p->mbufs = c->limits.mbufs != 0 ? c->limits.mbufs : mbufs_needed(c, p);
	p->memory_mb = memory_needed_mb(c, p);
	p->hugepages = mode == MEMORY_HUGEPAGES || (mode == MEMORY_AUTO && huge_mb >= p->memory_mb);
	for (uint16_t i = 0; i < p->n_ports; i++) {
		if (!p->ports[i].pci)
			continue;
		if (mode == MEMORY_NO_HUGE)
			faults_add(f, 0, 0, "dataplane.memory",
				"port %s is a PCI device, which needs hugepages: auto or hugepages",
				list_at(c->ports, struct conf_port, i)->name);
		p->hugepages = true; /* a NIC writes to memory by address: there is no choice */
	}
}

int
plan_make(const struct config *c, uint64_t huge_mb, struct plan *p, struct faults *f)
{
	size_t before = f->n;

	memset(p, 0, sizeof(*p));
	plan_workers(c, p, f);
	plan_ports(c, p, f);
	plan_memory(c, huge_mb, p, f);
	return f->n == before ? 0 : -EINVAL;
}

static void
print_punt(const struct conf_port *port, FILE *out)
{
	char name[PUNT_NAME_LEN + 1];

	if (port->punt && conf_punt_name(port, name))
		fprintf(out,
			"           punt to the kernel's %s, %llu packets a second of each class and "
			"worker\n",
			name, (unsigned long long)port->punt_rate);
}

void
plan_print(const struct config *c, const struct plan *p, FILE *out)
{
	fprintf(out, "router     %s, site %s\n", c->router.name, c->router.site);
	fprintf(out, "memory     %s, %llu MB: %s\n", p->hugepages ? "hugepages" : "no hugepages",
		(unsigned long long)p->memory_mb, p->hugepages ? "--in-memory" : "--no-huge --no-shconf");
	if (!p->hugepages)
		fprintf(out, "           -m %llu\n", (unsigned long long)p->memory_mb);
	fprintf(out, "mbufs      %u of %u bytes\n", p->mbufs, p->room);
	fprintf(out, "tables     %llu VMs, %llu routes, %llu neighbours, %llu MACs, %llu sessions\n",
		(unsigned long long)c->limits.vms, (unsigned long long)c->limits.routes,
		(unsigned long long)c->limits.neighbours, (unsigned long long)c->limits.macs,
		(unsigned long long)c->limits.sessions);
	fprintf(out, "cpus       control %u, %u worker%s: %s, poll %s\n", p->control_cpu, p->n_workers,
		p->n_workers == 1 ? "" : "s", c->dataplane.cpus,
		c->dataplane.poll == POLL_BUSY ? "busy" : "adaptive");
	for (uint16_t i = 0; i < p->n_ports; i++) {
		const struct conf_port *port = list_at(c->ports, struct conf_port, i);

		fprintf(out, "port       %s (%s, MTU %llu): %s\n", port->name,
			port->role == PORT_WAN ? "wan" : "dc", (unsigned long long)port->mtu,
			p->ports[i].args);
		if (is_short(p, i))
			fprintf(out,
				"           %u queue%s for %u workers, which pass packets to each other\n",
				p->ports[i].queues, p->ports[i].queues == 1 ? "" : "s", p->n_workers);
		print_punt(port, out);
	}
}
