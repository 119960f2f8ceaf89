/* SPDX-License-Identifier: BSD-3-Clause */
/* stream - numbered packets through a router's two ports, to tell whether a single one was lost.
 *
 *   usage: stream EAL-ARGS -- WAN-MAC GATEWAY-MAC VM-MAC VM-IP GLOBAL-IP DOWN-PPS UP-PPS
 *                             [VMS GATEWAY-IP BROADCAST-PPS ARP-PPS MACS]
 *
 *   world (port 0) --- router's WAN port   router's DC port --- VM (port 1)
 *
 * Down: world -> GLOBAL-IP, must arrive at the VM as VM-IP. Up: VM -> world, must arrive from GLOBAL-IP. Each
 * direction is numbered by itself, and the receiver takes nothing but the next number as right. At most IN_FLIGHT
 * of a direction are on their way, fewer than any ring has room for: while the router has no CPU the source waits, and
 * what is missing then the router has lost. The world answers ARP for whatever it is asked.
 *
 * Counting begins when packets have passed both ways without a gap (links up, next hop resolved); then it
 * prints `ready` and a JSON line every 100 ms. SIGUSR1 stops the sources, waits for what is on its way and
 * prints a line with "paused": true; the next one begins a new count. SIGTERM ends it.
 *
 * With VMS, so many VMs take turns, whose MACs and addresses follow each other. SIGUSR2 begins and ends a storm on the VMs'
 * port (storm.h), amid which the first VM asks for its gateway.
 */
#include "storm.h"
#include "wire.h"

#include <arpa/inet.h>
#include <rte_arp.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define MAGIC	  0x4e5753545245414dULL
#define BURST	  32
#define IN_FLIGHT 12000
#define STUCK_US  1000000 /* nothing came for so long: all that was on its way is lost */
#define WORLD_IP  RTE_IPV4(192, 0, 2, 10)
#define REPORT_MS 100
#define DRAIN_MS  500
#define WARM_PPS  1000
#define WARM_RUN  200 /* packets in a row that must have passed each way before counting begins */
#define WARM_MS	  20000

enum { WORLD, VM, SIDES };

struct numbered {
	rte_be64_t magic, seq;
} __rte_packed;

struct packet {
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
	struct numbered n;
};

_Static_assert(sizeof(struct packet) == 14 + 20 + 8 + 16, "a packet has no holes");

struct side { /* a port: the source of one direction and the sink of the other */
	struct packet template;
	rte_be32_t expect_ip; /* address that the router must have put in */
	uint64_t pps;
	uint32_t vms; /* the n-th packet is of VM n % vms */
	bool to_vm;
	uint64_t sent, refused, received, lost, late, wrong, next, heard_us;
};

static volatile int stopped;
static volatile sig_atomic_t paused, stormy;
static uint64_t gateway_answers;

static void
on_signal(int sig)
{
	if (sig == SIGUSR1)
		paused = !paused;
	else if (sig == SIGUSR2)
		stormy = !stormy;
	else
		stopped = 1;
}

static void
side_init(struct side *s, uint64_t pps, rte_be32_t src, rte_be32_t dst)
{
	struct packet *p = &s->template;

	s->pps = pps;
	s->vms = 1;
	p->eth.ether_type = htons(RTE_ETHER_TYPE_IPV4);
	p->ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = htons(sizeof(*p) - sizeof(p->eth)),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = src,
		.dst_addr = dst};
	p->udp = (struct rte_udp_hdr){htons(7003), htons(7003), htons(sizeof(p->udp) + sizeof(p->n)), 0};
	p->n.magic = rte_cpu_to_be_64(MAGIC);
}

static rte_be32_t
nth(rte_be32_t first, const struct side *s, uint64_t seq)
{
	return htonl(ntohl(first) + (uint32_t)(seq % s->vms));
}

static struct rte_mbuf *
side_packet(const struct side *s, struct rte_mempool *pool, uint64_t seq)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct packet *p;

	if (m == NULL)
		return NULL;
	p = (struct packet *)rte_pktmbuf_append(m, sizeof(*p));
	*p = s->template;
	if (s->to_vm) {
		p->ip.dst_addr = nth(p->ip.dst_addr, s, seq);
	} else {
		p->ip.src_addr = nth(p->ip.src_addr, s, seq);
		p->eth.src_addr.addr_bytes[5] += seq % s->vms;
	}
	p->ip.hdr_checksum = rte_ipv4_cksum(&p->ip);
	p->n.seq = rte_cpu_to_be_64(seq);
	return m;
}

/* Sends to `to` what is due; what the ring refuses is lost for ever, its number is used up. */
static void
side_send(struct side *s, const struct side *to, uint16_t port, struct rte_mempool *pool, uint64_t elapsed_us)
{
	uint64_t due = elapsed_us * s->pps / 1000000;
	bool stuck = wire_now_us() - to->heard_us > STUCK_US;
	struct rte_mbuf *m[BURST];

	while (s->sent < due && (stuck || s->sent - to->next < IN_FLIGHT)) {
		uint16_t n = 0, took;

		while (n < BURST && s->sent + n < due && (m[n] = side_packet(s, pool, s->sent + n)) != NULL)
			n++;
		if (n == 0)
			return;
		took = rte_eth_tx_burst(port, 0, m, n);
		s->refused += n - took;
		rte_pktmbuf_free_bulk(m + took, n - took);
		s->sent += n;
	}
}

/* The world has every address; a VM counts what its gateway answers. */
static void
take_arp(uint16_t port, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_arp_hdr *a = (struct rte_arp_hdr *)(eth + 1);

	if (port == VM) {
		gateway_answers += a->arp_opcode == htons(RTE_ARP_OP_REPLY);
		rte_pktmbuf_free(m);
	} else {
		wire_answer_arp(port, m);
	}
}

static void
side_check(struct side *s, const struct packet *p)
{
	uint64_t seq = rte_be_to_cpu_64(p->n.seq);
	rte_be32_t expect = nth(s->expect_ip, s, seq);

	if (p->ip.src_addr != expect && p->ip.dst_addr != expect) {
		s->wrong++;
		return;
	}
	s->received++;
	s->heard_us = wire_now_us();
	if (seq < s->next) {
		s->late++;
		return;
	}
	s->lost += seq - s->next;
	s->next = seq + 1;
}

static void
side_receive(struct side *s, uint16_t port)
{
	struct rte_mbuf *m[BURST];
	uint16_t n;

	while ((n = rte_eth_rx_burst(port, 0, m, BURST)) != 0) {
		for (uint16_t i = 0; i < n; i++) {
			const struct packet *p = rte_pktmbuf_mtod(m[i], const struct packet *);

			if (p->eth.ether_type == htons(RTE_ETHER_TYPE_ARP)) {
				take_arp(port, m[i]);
				continue;
			}
			if (rte_pktmbuf_data_len(m[i]) >= sizeof(*p) && p->n.magic == rte_cpu_to_be_64(MAGIC))
				side_check(s, p);
			rte_pktmbuf_free(m[i]);
		}
	}
}

/* `to` counts what arrived of what `from` sent. */
static void
report_direction(const char *name, const struct side *from, const struct side *to)
{
	printf("\"%s\": {\"sent\": %lu, \"received\": %lu, \"lost\": %lu, \"refused\": %lu, \"late\": %lu, "
	       "\"wrong\": %lu}",
		name, from->sent, to->received, to->lost, from->refused, to->late, to->wrong);
}

static void
report(const struct side s[SIDES], bool drained)
{
	printf("{\"us\": %lu, \"paused\": %s, ", wire_now_us(), drained ? "true" : "false");
	report_direction("down", &s[WORLD], &s[VM]);
	printf(", ");
	report_direction("up", &s[VM], &s[WORLD]);
	storm_report();
	printf(", \"answered\": %lu}\n", gateway_answers);
	fflush(stdout);
}

/* Sends slowly until WARM_RUN packets in a row have arrived on both sides, then lets the ways run empty. */
static void
warm_up(struct side s[SIDES], struct rte_mempool *pool)
{
	uint64_t start = wire_now_us(), lost[SIDES] = {0}, since[SIDES] = {0}, end = 0;

	while (end == 0 || wire_now_us() < end) {
		uint64_t now = wire_now_us();

		for (uint16_t i = 0; i < SIDES; i++) {
			if (end == 0)
				side_send(&s[i], &s[!i], i, pool, now - start);
			side_receive(&s[i], i);
			if (s[i].lost != lost[i]) {
				lost[i] = s[i].lost;
				since[i] = s[i].received;
			}
		}
		if (end == 0 && s[0].received - since[0] > WARM_RUN && s[1].received - since[1] > WARM_RUN)
			end = now + DRAIN_MS * 1000;
		if (stopped || now - start > WARM_MS * 1000)
			rte_exit(1, "stream: nothing passes\n");
		wire_idle();
	}
}

static void
counters_reset(struct side *s)
{
	s->sent = s->refused = s->received = s->lost = s->late = s->wrong = s->next = 0;
}

/* Sends and counts until it shall pause or end. */
static void
run(struct side s[SIDES], struct rte_mempool *pool)
{
	uint64_t start = wire_now_us(), reported = start;

	while (!paused && !stopped) {
		uint64_t now = wire_now_us();

		for (uint16_t i = 0; i < SIDES; i++) {
			side_send(&s[i], &s[!i], i, pool, now - start);
			side_receive(&s[i], i);
		}
		storm_blow(stormy, VM, pool, now);
		if (now - reported >= REPORT_MS * 1000) {
			reported = now;
			report(s, false);
		}
		wire_idle();
	}
}

/* Takes what is on its way, tells the count, and waits. */
static void
pause_here(struct side s[SIDES], struct rte_mempool *pool)
{
	uint64_t end = wire_now_us() + DRAIN_MS * 1000;
	bool told = false;

	while ((paused || !told) && !stopped) {
		for (uint16_t i = 0; i < SIDES; i++)
			side_receive(&s[i], i);
		storm_blow(stormy, VM, pool, wire_now_us());
		if (!told && wire_now_us() >= end) {
			report(s, true);
			told = true;
		}
		wire_idle();
	}
}

static void
prepare_storm(struct side s[SIDES], char **arg)
{
	s[WORLD].vms = s[VM].vms = strtoul(arg[0], NULL, 10);
	storm_asks(&s[VM].template.eth.src_addr, s[VM].template.ip.src_addr, inet_addr(arg[1]));
	storm_floods(strtoull(arg[2], NULL, 10), strtoull(arg[3], NULL, 10), strtoul(arg[4], NULL, 10));
}

int
main(int argc, char **argv)
{
	static struct side s[SIDES];
	int used = rte_eal_init(argc, argv);
	struct rte_mempool *pool;
	rte_be32_t world = htonl(WORLD_IP), vm, global;
	bool many;

	if (used < 0 || (argc - used != 8 && argc - used != 13) || rte_eth_dev_count_avail() != SIDES)
		rte_exit(1, "usage: stream EAL-ARGS (two ports) -- WAN-MAC GATEWAY-MAC VM-MAC VM-IP "
			    "GLOBAL-IP DOWN-PPS "
			    "UP-PPS [VMS GATEWAY-IP BROADCAST-PPS ARP-PPS MACS]\n");
	many = argc - used == 13;
	argv += used + 1;
	vm = inet_addr(argv[3]);
	global = inet_addr(argv[4]);
	side_init(&s[WORLD], WARM_PPS, world, global);
	side_init(&s[VM], WARM_PPS, vm, world);
	pool = wire_start(SIDES);
	rte_eth_macaddr_get(WORLD, &s[WORLD].template.eth.src_addr);
	s[WORLD].template.eth.dst_addr = wire_mac(argv[0]);
	s[VM].template.eth.src_addr = wire_mac(argv[2]);
	s[VM].template.eth.dst_addr = wire_mac(argv[1]);
	s[VM].expect_ip = vm;
	s[WORLD].expect_ip = global;
	s[WORLD].to_vm = true;
	if (many)
		prepare_storm(s, argv + 7);
	signal(SIGTERM, on_signal);
	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	signal(SIGINT, on_signal);
	wire_wait(SIDES, &stopped);
	warm_up(s, pool);
	s[WORLD].pps = strtoull(argv[5], NULL, 10);
	s[VM].pps = strtoull(argv[6], NULL, 10);
	puts("ready");
	fflush(stdout);
	while (!stopped) {
		counters_reset(&s[WORLD]);
		counters_reset(&s[VM]);
		run(s, pool);
		pause_here(s, pool);
	}
	return 0;
}
