/* SPDX-License-Identifier: BSD-3-Clause */
/* exodus - the world and all VMs of a site while their gateway moves to another router: is any packet of a session lost?
 *
 *   usage: exodus EAL-ARGS (four ports) -- WAN-X-MAC WAN-Y-MAC GATEWAY-MAC VMS NEW-PER-SECOND ROUNDS-PER-SECOND
 *
 *   world (port 0) --- WAN port of X     DC port of X --- nobody (port 1)
 *   world (port 2) --- WAN port of Y     DC port of Y --- the VMs (port 3)
 *
 * The VMs stand at Y, and belong to X until they are moved. The world answers ARP for whatever it is asked, and carries the
 * tunnel's packets between the WAN ports. Who gets a packet of a session sends the next one, so one that is lost leaves a
 * session that does not go on:
 *
 *   lasting   one for each VM, opened by it: it sends, the world answers, ROUNDS-PER-SECOND of all of them together
 *   new       NEW-PER-SECOND, by turns opened by a VM, and by the world at the VM's old address: SYN, SYN+ACK, two with
 *             data, two FIN, ACK
 *
 * The address at which the world knows a session must not change, and each packet's checksums must be right.
 *
 * Once each VM has been answered it prints `ready`. SIGUSR1 lets what is on its way arrive and begins the count, with a JSON
 * line every 100 ms; the next one ends it: nothing new is begun, and a line with "ended": true says what never arrived. The
 * next one begins another count.
 */
#include "wire.h"

#include <arpa/inet.h>
#include <rte_arp.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define MAGIC	  0x4e5745584f445553ULL
#define BURST	  32
#define NEW_MAX	  (1u << 20)
#define WORLD_IP  RTE_IPV4(192, 0, 2, 10)
#define VTEP_X	  RTE_IPV4(198, 51, 100, 1)
#define VTEP_Y	  RTE_IPV4(198, 51, 100, 2)
#define VMS_AT	  256 /* the first VM's number in all addresses below */
#define VM_IP	  RTE_IPV4(10, 0, 0, 0)
#define GLOBAL_X  RTE_IPV4(21, 0, 0, 0)
#define POOL_Y	  22 /* of the first byte */
#define VXLAN	  4789
#define STEPS	  7
#define AGAIN_US  1000000 /* so long an answer is waited for before the count */
#define REPORT_US 100000
#define END_US	  1000000

enum { WAN_X, DC_X, WAN_Y, DC_Y, PORTS };

struct packet {
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_tcp_hdr tcp;
	struct {
		rte_be64_t magic;
		rte_be32_t lasting, id, step;
	} __rte_packed told;
};

struct session {
	rte_be32_t global; /* as the world knows it; 0 = not yet */
	uint32_t vm;
	uint32_t step; /* the next to arrive; of a lasting one: round */
	bool by_world, lasting, waits;
	uint64_t due_us;
};

static struct {
	uint64_t opened, finished, by_y, rounds, answered, carried, doubled, wrong, refused;
} count;

static struct session *lasting, *fresh;
static struct rte_ether_addr wan[PORTS], gateway;
static struct rte_mempool *pool;
static uint32_t vms, n_fresh, n_answered;
static volatile sig_atomic_t signals;
static volatile int stopped;

static void
on_signal(int sig)
{
	if (sig == SIGUSR1)
		signals++;
	else
		stopped = 1;
}

/* ---- packets ---- */

static struct rte_ether_addr
mac_of_vm(uint32_t vm)
{
	uint32_t n = vm + VMS_AT;

	return (struct rte_ether_addr){{0x52, 0x54, 0x01, n >> 16 & 255, n >> 8 & 255, n & 255}};
}

static bool
from_vm(const struct session *s, uint32_t step)
{
	return s->lasting ? step % 2 == 0 : (step % 2 == 0) != s->by_world;
}

static uint8_t
flags_of(const struct session *s, uint32_t step)
{
	static const uint8_t flags[STEPS] = {RTE_TCP_SYN_FLAG, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG,
		RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG,
		RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG, RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG, RTE_TCP_ACK_FLAG};

	return s->lasting && step > 1 ? RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG : flags[step];
}

/* The opener's port is another for each session of a VM. */
static void
ports_of(const struct session *s, uint32_t id, bool up, struct rte_tcp_hdr *tcp)
{
	rte_be16_t opener = htons(s->lasting ? 1000 : 1024 + id / vms % 60000), other = htons(443);
	bool by_opener = up != s->by_world;

	tcp->src_port = by_opener ? opener : other;
	tcp->dst_port = by_opener ? other : opener;
}

static void
say(struct session *s, uint32_t id, uint32_t step)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	bool up = from_vm(s, step), at_y = (ntohl(s->global) >> 24) == POOL_Y;
	uint16_t port = up ? DC_Y : at_y ? WAN_Y : WAN_X;
	struct packet *p;

	if (m == NULL) {
		count.refused++;
		return;
	}
	p = (struct packet *)rte_pktmbuf_append(m, sizeof(*p));
	memset(p, 0, sizeof(*p));
	p->eth.ether_type = htons(RTE_ETHER_TYPE_IPV4);
	p->eth.dst_addr = up ? gateway : wan[port];
	if (up)
		p->eth.src_addr = mac_of_vm(s->vm);
	else
		rte_eth_macaddr_get(port, &p->eth.src_addr);
	p->ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = htons(sizeof(*p) - sizeof(p->eth)),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = htonl(up ? VM_IP + VMS_AT + s->vm : WORLD_IP),
		.dst_addr = up ? htonl(WORLD_IP) : s->global};
	p->ip.hdr_checksum = rte_ipv4_cksum(&p->ip);
	p->tcp = (struct rte_tcp_hdr){
		.data_off = 5 << 4, .tcp_flags = flags_of(s, step), .rx_win = htons(65535)};
	ports_of(s, id, up, &p->tcp);
	p->told.magic = rte_cpu_to_be_64(MAGIC);
	p->told.lasting = htonl(s->lasting);
	p->told.id = htonl(id);
	p->told.step = htonl(step);
	p->tcp.cksum = rte_ipv4_udptcp_cksum(&p->ip, &p->tcp);
	wire_send(port, m, &count.refused);
}

/* ---- what arrives ---- */

static bool
is_whole(const struct packet *p)
{
	struct packet again = *p;

	again.tcp.cksum = 0;
	return rte_ipv4_udptcp_cksum(&again.ip, &again.tcp) == p->tcp.cksum;
}

static bool
is_right(struct session *s, const struct packet *p, bool up)
{
	if (p->ip.dst_addr != htonl(up ? WORLD_IP : VM_IP + VMS_AT + s->vm) || !is_whole(p))
		return false;
	if (!up)
		return true;
	if (s->global == 0)
		s->global = p->ip.src_addr;
	return p->ip.src_addr == s->global;
}

static void
go_on(struct session *s, uint32_t id)
{
	uint32_t step = s->step++;

	if (s->lasting && step % 2 == 0) {
		say(s, id, s->step);
	} else if (s->lasting) {
		n_answered += step == 1;
		count.answered++;
		s->waits = false;
	} else if (s->step < STEPS) {
		say(s, id, s->step);
	} else {
		count.finished++;
		count.by_y += (ntohl(s->global) >> 24) == POOL_Y;
	}
}

static void
take_session(const struct packet *p, bool up)
{
	uint32_t id = ntohl(p->told.id), step = ntohl(p->told.step);
	bool lasts = p->told.lasting != 0;
	struct session *s = lasts ? &lasting[id] : &fresh[id];

	if (id >= (lasts ? vms : n_fresh) || from_vm(s, step) != up || !is_right(s, p, up))
		count.wrong++;
	else if (step < s->step)
		count.doubled++;
	else if (step > s->step)
		count.wrong++;
	else
		go_on(s, id);
}

/* To the other router, as the network between them does. */
static void
carry(uint16_t port, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	uint16_t to = port == WAN_X ? WAN_Y : WAN_X;

	eth->dst_addr = wan[to];
	rte_eth_macaddr_get(to, &eth->src_addr);
	count.carried++;
	wire_send(to, m, &count.refused);
}

/* A VM that is asked for where it stands. */
static void
answer_for_vm(uint16_t port, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_arp_hdr *a = (struct rte_arp_hdr *)(eth + 1);
	uint32_t vm = ntohl(a->arp_data.arp_tip) - VM_IP - VMS_AT;

	if (port != DC_Y || vm >= vms || a->arp_opcode != htons(RTE_ARP_OP_REQUEST)) {
		rte_pktmbuf_free(m);
		return;
	}
	a->arp_opcode = htons(RTE_ARP_OP_REPLY);
	a->arp_data.arp_tha = a->arp_data.arp_sha;
	RTE_SWAP(a->arp_data.arp_tip, a->arp_data.arp_sip);
	a->arp_data.arp_sha = mac_of_vm(vm);
	eth->dst_addr = a->arp_data.arp_tha;
	eth->src_addr = a->arp_data.arp_sha;
	wire_send(port, m, &count.refused);
}

static bool
is_tunnel(const struct packet *p)
{
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)&p->tcp;

	return p->ip.next_proto_id == IPPROTO_UDP && udp->dst_port == htons(VXLAN) &&
	       (p->ip.dst_addr == htonl(VTEP_X) || p->ip.dst_addr == htonl(VTEP_Y));
}

static void
take(uint16_t port, struct rte_mbuf *m)
{
	const struct packet *p = rte_pktmbuf_mtod(m, const struct packet *);
	bool is_wan = port == WAN_X || port == WAN_Y;

	if (p->eth.ether_type == htons(RTE_ETHER_TYPE_ARP) && is_wan) {
		wire_answer_arp(port, m);
	} else if (p->eth.ether_type == htons(RTE_ETHER_TYPE_ARP)) {
		answer_for_vm(port, m);
	} else if (p->eth.ether_type == htons(RTE_ETHER_TYPE_IPV4) && is_wan && is_tunnel(p)) {
		carry(port, m);
	} else {
		if (port != DC_X && rte_pktmbuf_data_len(m) >= sizeof(*p) &&
			p->told.magic == rte_cpu_to_be_64(MAGIC))
			take_session(p, is_wan);
		rte_pktmbuf_free(m);
	}
}

static void
receive(void)
{
	struct rte_mbuf *m[BURST];
	uint16_t n;

	for (uint16_t port = 0; port < PORTS; port++)
		while ((n = rte_eth_rx_burst(port, 0, m, BURST)) != 0)
			for (uint16_t i = 0; i < n; i++)
				take(port, m[i]);
}

/* ---- what begins ---- */

/* The next VM in turn, when its round is due. Before the count a round that is not answered is begun again. */
static void
begin_rounds(uint64_t due, bool counting)
{
	static uint64_t turn;

	for (; turn < due; turn++) {
		struct session *s = &lasting[turn % vms];

		if (s->waits && (counting || wire_now_us() < s->due_us))
			continue;
		if (s->waits)
			s->step &= ~1u;
		s->waits = true;
		s->due_us = wire_now_us() + AGAIN_US;
		count.rounds++;
		say(s, turn % vms, s->step);
	}
}

static void
open_new(uint64_t due)
{
	while (count.opened < due && n_fresh < NEW_MAX) {
		uint32_t id = n_fresh++;
		struct session *s = &fresh[id];

		*s = (struct session){.vm = id % vms, .by_world = id / vms % 2 != id % 2};
		if (s->by_world)
			s->global = htonl(GLOBAL_X + VMS_AT + s->vm);
		count.opened++;
		say(s, id, 0);
	}
}

/* ---- telling ---- */

static uint64_t
unanswered(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < vms; i++)
		n += lasting[i].waits;
	return n;
}

static void
report(bool ended)
{
	printf("{\"us\": %lu, \"ended\": %s, \"opened\": %lu, \"finished\": %lu, \"by_y\": %lu, \"rounds\": "
	       "%lu, "
	       "\"answered\": %lu, \"unanswered\": %lu, \"carried\": %lu, \"doubled\": %lu, \"wrong\": %lu, "
	       "\"refused\": %lu}\n",
		wire_now_us(), ended ? "true" : "false", count.opened, count.finished, count.by_y,
		count.rounds, count.answered, unanswered(), count.carried, count.doubled, count.wrong,
		count.refused);
	fflush(stdout);
}

static void
count_from_here(void)
{
	memset(&count, 0, sizeof(count));
	n_fresh = 0;
}

/* Rounds alone, until `signals` says that the count begins; then new sessions, too, until it says that it ends. */
static void
run(bool counting, uint64_t new_per_s, uint64_t rounds_per_s, uint64_t *rounds)
{
	uint64_t start = wire_now_us(), reported = start, first = *rounds;
	sig_atomic_t before = signals;
	bool ready = counting;

	while (!stopped && signals == before) {
		uint64_t now = wire_now_us();

		*rounds = first + (now - start) * rounds_per_s / 1000000;
		begin_rounds(*rounds, counting);
		if (counting)
			open_new((now - start) * new_per_s / 1000000);
		receive();
		if (!ready && n_answered >= vms) {
			ready = true;
			puts("ready");
			fflush(stdout);
		}
		if (now - reported >= REPORT_US) {
			reported = now;
			report(false);
		}
		wire_idle();
	}
}

/* What is on its way may arrive. */
static void
run_out(void)
{
	uint64_t end = wire_now_us() + END_US;

	while (!stopped && wire_now_us() < end) {
		receive();
		wire_idle();
	}
}

static void
pause_here(void)
{
	sig_atomic_t before = signals;

	report(true);
	while (!stopped && signals == before) {
		receive();
		wire_idle();
	}
}

int
main(int argc, char **argv)
{
	int used = rte_eal_init(argc, argv);
	uint64_t new_per_s, rounds_per_s, rounds = 0;

	if (used < 0 || argc - used != 7 || rte_eth_dev_count_avail() != PORTS)
		rte_exit(1, "usage: exodus EAL-ARGS (four ports) -- WAN-X-MAC WAN-Y-MAC GATEWAY-MAC VMS "
			    "NEW-PER-SECOND ROUNDS-PER-SECOND\n");
	argv += used + 1;
	wan[WAN_X] = wire_mac(argv[0]);
	wan[WAN_Y] = wire_mac(argv[1]);
	gateway = wire_mac(argv[2]);
	vms = strtoul(argv[3], NULL, 10);
	new_per_s = strtoull(argv[4], NULL, 10);
	rounds_per_s = strtoull(argv[5], NULL, 10);
	lasting = calloc(vms, sizeof(*lasting));
	fresh = calloc(NEW_MAX, sizeof(*fresh));
	if (lasting == NULL || fresh == NULL)
		rte_exit(1, "exodus: no memory\n");
	for (uint32_t i = 0; i < vms; i++)
		lasting[i] = (struct session){.vm = i, .lasting = true};
	pool = wire_start(PORTS);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	signal(SIGUSR1, on_signal);
	wire_wait(PORTS, &stopped);
	run(false, 0, rounds_per_s, &rounds);
	run_out();
	while (!stopped) {
		count_from_here();
		run(true, new_per_s, rounds_per_s, &rounds);
		run_out();
		pause_here();
	}
	return 0;
}
