/* SPDX-License-Identifier: BSD-3-Clause */
/* generator - sends the frames of a workload to a device under test, as fast as it takes them, and counts and checks what comes back.
 *
 *   usage: generator EAL-ARGS -- VMS routed|swapped QUEUES
 *
 *   generator, port 0 --- wan   device under test   dc --- generator, port 1
 *
 * The device may send by any of QUEUES queues. Once the links are up it prints the TSC's hertz. Standard input tells what to do, a line each; the answer is a line, too. While
 * nothing is asked it reads no port.
 *
 *   run WORKLOAD BYTES WARM-MS MS   Mpps that came back in MS, after WARM-MS; BYTES 60 to 1514, or 0: IMIX, 7 of 60, 4 of 594, 1 of 1514;
 *                                   and that the device did not give back of 100 that it had to
 *   teach WORKLOAD                  notes the sessions of VMs that drain, one frame for each: how many were sent, and came back
 *   serve MS                        sends nothing, and answers ARP
 *   pace WORKLOAD BYTES MPPS WARM-MS MS, ping WORKLOAD BYTES COUNT PAUSE-US: see generator.h
 *
 * Each 64th frame that comes back is compared with what it has to be, byte by byte; one that differs is printed, and ends all. The
 * generator is world, next hop, peer and VMs: it answers ARP. Frames are written once; one that is sent takes only its headers
 * with it, because behind its mark all data are 0. Lengths are those of the frame a VM or the world sends: a tunnel adds 50. */
#include "generator.h"

#include <ctype.h>
#include <dataplane/pin.h>
#include <rte_arp.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BURST	    GENERATOR_BURST
#define CHECK	    64
#define RING	    1024
#define MBUFS	    16383
#define ROOM	    2048
#define TUNNEL	    ((uint16_t)sizeof(struct tunnel_hdr))
#define HEAD	    (TUNNEL + RIG_HEADERS + RIG_MARK) /* of a frame; behind it are zeros */
#define PERIOD	    480				      /* of all that comes in turn: ways, lengths, bursts */
#define FRAMES_MIN  48000
#define LINK_MS	    20000
#define TEACH_MS    60000
#define TEACH_AHEAD 256 /* frames on their way at most */

#define TAUGHT (UINT64_C(1) << 63) /* in a mark: the number is one of load_teach() */

struct slot { /* a frame to be sent */
	uint16_t len;
	uint8_t port;
	uint8_t unanswered; /* of so many frames: 1, or 0 */
	uint8_t head[];
};

static const uint16_t imix[12] = {60, 594, 60, 60, 594, 60, 1514, 60, 594, 60, 60, 594};

void
generator_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("generator: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	exit(1);
}

/* ---- frames ---- */

/* Frame number `k` of those that stand in the slots. */
static void
frame_of(const struct generator *g, uint32_t k, struct rig_frame *f)
{
	uint16_t bytes = g->bytes != 0 ? g->bytes : imix[k % RTE_DIM(imix)];

	load_frame(&g->load, k, f);
	f->mark = (uint64_t)g->filled << 32 | k;
	f->data = bytes - RIG_HEADERS;
}

static struct slot *
slot_of(const struct generator *g, uint32_t k)
{
	return (struct slot *)(g->slots + (size_t)k * g->stride);
}

static void
write_slots(struct generator *g)
{
	uint8_t frame[ROOM];
	struct rig_frame f;

	for (uint32_t k = 0; k < g->n; k++) {
		struct slot *s = slot_of(g, k);

		frame_of(g, k, &f);
		s->len = rig_frame_write(frame, &f);
		s->port = (uint8_t)rig_frame_port(&f);
		s->unanswered = !g->swapped && f.way == RIG_JUNK;
		memcpy(s->head, frame, RTE_MIN(s->len, (uint16_t)(g->stride - sizeof(*s))));
	}
}

/* A slot is one cache line where headers and mark fit. */
static void
load_workload(struct generator *g, const struct workload *w, uint16_t bytes)
{
	bool tunnel = w->set == RIG_PAIRS;

	if (g->slots != NULL && g->load.kind == w && g->bytes == bytes)
		return;
	if (g->slots != NULL)
		load_fini(&g->load);
	rte_free(g->slots);
	if (load_init(&g->load, w, g->vms) != 0)
		generator_die("no memory");
	g->bytes = bytes;
	g->filled++;
	g->stride = RTE_ALIGN((uint32_t)sizeof(struct slot) + (tunnel ? HEAD : HEAD - TUNNEL), 64u);
	g->n = RTE_MAX(RTE_MAX(g->load.active, w->sessions), (uint32_t)FRAMES_MIN);
	g->n = (g->n + PERIOD - 1) / PERIOD * PERIOD;
	g->next = 0;
	g->slots = rte_malloc(NULL, (size_t)g->n * g->stride, 64);
	if (g->slots == NULL)
		generator_die("no memory for %u frames", g->n);
	write_slots(g);
}

/* ---- check ---- */

static void
print_bytes(const char *what, const uint8_t *p, uint16_t n)
{
	fprintf(stderr, "%s, %u bytes:", what, n);
	for (uint16_t i = 0; i < RTE_MIN(n, 128); i++)
		fprintf(stderr, "%s%02x", i % 16 == 0 ? "\n\t" : " ", p[i]);
	fputc('\n', stderr);
}

static struct tunnel_hdr *
tunnel_of(uint8_t *p, uint16_t len)
{
	struct tunnel_hdr *h = (struct tunnel_hdr *)p;

	return len >= sizeof(*h) && h->eth.ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) &&
			       h->ip.next_proto_id == IPPROTO_UDP &&
			       h->udp.dst_port == RTE_BE16(RTE_VXLAN_DEFAULT_PORT)
		       ? h
		       : NULL;
}

static uint32_t
vm_of(const struct rte_ether_addr *mac)
{
	rte_be32_t vm;

	memcpy(&vm, &mac->addr_bytes[2], sizeof(vm));
	return rte_be_to_cpu_32(vm);
}

static uint8_t *
inner_of(uint8_t *p, uint16_t len)
{
	return tunnel_of(p, len) != NULL ? p + TUNNEL : p;
}

/* UINT64_MAX: it has none. */
static uint64_t
mark_of(uint8_t *p, uint16_t len)
{
	const uint8_t *inner = inner_of(p, len);
	uint64_t mark = UINT64_MAX;

	if (p + len >= inner + RIG_HEADERS + RIG_MARK)
		memcpy(&mark, inner + RIG_HEADERS, sizeof(mark));
	return mark;
}

uint64_t
generator_number(const struct generator *g, struct rte_mbuf *m)
{
	uint64_t mark = mark_of(rte_pktmbuf_mtod(m, uint8_t *), rte_pktmbuf_data_len(m));

	return mark >> 32 == g->filled ? (uint32_t)mark : UINT64_MAX;
}

/* Of frames that stood in the slots before: net_af_packet keeps some back until it is asked to send again. */
static bool
is_late(const struct generator *g, uint8_t *p, uint16_t len)
{
	uint64_t mark = mark_of(p, len);

	return mark >> 32 != 0 && mark >> 32 < g->filled;
}

/* Which frame it answers, by its mark, or by the VM that gets it; false: none. */
static bool
answered(const struct generator *g, uint8_t *p, uint16_t len, struct rig_frame *f)
{
	const uint8_t *inner = inner_of(p, len);
	const struct rte_ether_hdr *eth = (const struct rte_ether_hdr *)inner;
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);
	uint64_t mark = mark_of(p, len);

	if (p + len < inner + RIG_HEADERS + RIG_MARK)
		return false;
	*f = (struct rig_frame){.vm = vm_of(&eth->dst_addr), .vms = g->vms, .data = len - RIG_HEADERS};
	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP))
		f->way = RIG_ARP;
	else if (ip->next_proto_id == IPPROTO_ICMP)
		f->way = RIG_ECHO;
	else if (mark >> 32 == g->filled && (uint32_t)mark < g->n)
		frame_of(g, (uint32_t)mark, f);
	else if ((mark & TAUGHT) == 0 || !load_teach(&g->load, mark & ~TAUGHT, f))
		return false;
	else
		*f = (struct rig_frame){f->way, f->vm, f->vms, f->seq, mark, RIG_MARK};
	return f->vm < g->vms;
}

/* What comes back of the frame. */
static uint16_t
expected(const struct generator *g, const struct rig_frame *f, uint8_t *at)
{
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)at;
	struct rte_ether_addr to;
	uint16_t len;

	if (!g->swapped)
		return rig_answer_write(at, f, g->load.kind->set);
	len = rig_frame_write(at, f);
	to = eth->src_addr;
	eth->src_addr = eth->dst_addr;
	eth->dst_addr = to;
	return len;
}

/* Of a tunnel's header two fields are free, and expected as 0: the source port (RFC 7348 demands nothing of it), and the number of a packet
 * that must not be cut in fragments (RFC 6864). The checksum has to be right before. */
static void
clear_free(struct tunnel_hdr *h)
{
	h->udp.src_port = 0;
	if (rte_ipv4_cksum(&h->ip) != 0 || h->ip.fragment_offset != RTE_BE16(RTE_IPV4_HDR_DF_FLAG))
		return;
	h->ip.packet_id = 0;
	h->ip.hdr_checksum = 0;
	h->ip.hdr_checksum = rte_ipv4_cksum(&h->ip);
}

/* Who receives it takes 0xffff for 0 in a header's checksum. The kernel sends either, because it changes the sum by differences (RFC 1624);
 * that the router does not is held by its own tests. */
static void
clear_negative_zero(struct rte_ether_hdr *eth)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);

	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) && ip->hdr_checksum == 0xffff)
		ip->hdr_checksum = 0;
}

/* ARP and echoes are not told from what was sent once macswap has had them, and junk has no mark. */
static void
check(const struct generator *g, struct rte_mbuf *m)
{
	uint8_t want[ROOM + 64], *p = rte_pktmbuf_mtod(m, uint8_t *);
	uint16_t len = rte_pktmbuf_data_len(m), n;
	struct tunnel_hdr *h = tunnel_of(p, len);
	struct rig_frame f;

	if (is_late(g, p, len))
		return;
	if (!answered(g, p, len, &f)) {
		if (g->swapped)
			return;
		print_bytes("frame that answers none", p, len);
		generator_die("%s: a frame that cannot be", g->load.kind->id);
	}
	if (h != NULL && !g->swapped)
		clear_free(h);
	if (!g->swapped)
		clear_negative_zero((struct rte_ether_hdr *)inner_of(p, len));
	n = expected(g, &f, want);
	if (n == len && memcmp(p, want, n) == 0)
		return;
	print_bytes("got", p, len);
	print_bytes("expected", want, n);
	generator_die("%s, VM %u: a frame that is not what it has to be", g->load.kind->id, f.vm);
}

/* ---- ports ---- */

/* A question for the next hop, the peer, or a VM. */
static bool
answer_arp(uint16_t port, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_arp_hdr *arp = (struct rte_arp_hdr *)(eth + 1);
	struct rte_arp_ipv4 q = arp->arp_data;

	if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_ARP) ||
		arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REQUEST))
		return false;
	arp->arp_opcode = RTE_BE16(RTE_ARP_OP_REPLY);
	arp->arp_data = (struct rte_arp_ipv4){
		.arp_sha = port == RIG_WAN
				   ? rig_hop_mac
				   : rig_mac(rte_be_to_cpu_32(q.arp_tip) - rte_be_to_cpu_32(rig_private(0))),
		.arp_sip = q.arp_tip,
		.arp_tha = q.arp_sha,
		.arp_tip = q.arp_sip};
	eth->dst_addr = q.arp_sha;
	eth->src_addr = arp->arp_data.arp_sha;
	while (rte_eth_tx_burst(port, 0, &m, 1) == 0) /* the ring is full of frames, which the device takes */
		rte_pause();
	return true;
}

/* What the router sends of its own accord, once in a while. */
static bool
is_pin(const struct rte_mbuf *m)
{
	const struct pin_frame *p = rte_pktmbuf_mtod(m, const struct pin_frame *);

	return p->eth.ether_type == RTE_BE16(PIN_ETHERTYPE) && p->magic == PIN_MAGIC;
}

static void
take_one(struct generator *g, uint16_t port, struct rte_mbuf *m, uint64_t tsc)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	if (unlikely(eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP)) && !g->swapped && answer_arp(port, m))
		return;
	if (unlikely(is_pin(m))) {
		rte_pktmbuf_free(m);
		return;
	}
	if (unlikely(--g->until_check == 0)) {
		check(g, m);
		g->until_check = CHECK;
	}
	if (g->stamps != NULL)
		stamps_take(g, m, tsc);
	g->received++;
	rte_pktmbuf_free(m);
}

static void
receive(struct generator *g, uint16_t port, uint16_t queue)
{
	struct rte_mbuf *m[BURST];
	uint16_t n = rte_eth_rx_burst(port, queue, m, BURST);
	uint64_t tsc = rte_rdtsc();

	for (uint16_t i = 0; i < n; i++)
		take_one(g, port, m[i], tsc);
}

void
generator_receive(struct generator *g)
{
	for (uint16_t port = 0; port < RIG_PORTS; port++)
		for (uint16_t queue = 0; queue < g->queues; queue++)
			receive(g, port, queue);
}

/* What one port does not take now waits, and the other port with it: so the mix stays what it is. */
bool
generator_send(struct generator *g)
{
	bool all = true;

	for (uint16_t port = 0; port < RIG_PORTS; port++) {
		struct out *o = &g->out[port];
		uint16_t n = o->n - o->done;

		if (n == 0)
			continue;
		n = rte_eth_tx_burst(port, 0, &o->m[o->done], n);
		o->done += n;
		g->sent += n;
		all &= o->done == o->n;
	}
	return all;
}

uint32_t
generator_next(struct generator *g, uint32_t n)
{
	struct rte_mbuf *m[BURST];

	n = RTE_MIN(n, g->n - g->next);
	for (uint16_t port = 0; port < RIG_PORTS; port++)
		g->out[port].n = g->out[port].done = 0;
	if (rte_pktmbuf_alloc_bulk(g->pool, m, n) != 0)
		return 0; /* all are on their way */
	for (uint32_t i = 0; i < n; i++) {
		const struct slot *s = slot_of(g, g->next + i);
		struct out *o = &g->out[s->port];

		rte_memcpy(rte_pktmbuf_mtod(m[i], void *), s->head, g->stride - sizeof(*s));
		m[i]->data_len = s->len;
		m[i]->pkt_len = s->len;
		o->m[o->n++] = m[i];
		g->unanswered += s->unanswered;
	}
	g->next += n;
	if (g->next == g->n)
		g->next = 0;
	return n;
}

static void
turn(struct generator *g)
{
	if (generator_send(g))
		generator_next(g, BURST);
	generator_receive(g);
}

/* ---- what is asked ---- */

static void
turn_for(struct generator *g, uint64_t ms)
{
	uint64_t end = rte_rdtsc() + ms * rte_get_tsc_hz() / 1000;

	while (rte_rdtsc() < end)
		turn(g);
}

void
generator_receive_for(struct generator *g, uint64_t ms)
{
	uint64_t end = rte_rdtsc() + ms * rte_get_tsc_hz() / 1000;

	while (rte_rdtsc() < end)
		generator_receive(g);
}

/* What was not sent is not of the next workload. */
void
generator_forget(struct generator *g)
{
	for (uint16_t port = 0; port < RIG_PORTS; port++) {
		struct out *o = &g->out[port];

		rte_pktmbuf_free_bulk(&o->m[o->done], o->n - o->done);
		o->n = o->done = 0;
	}
}

double
generator_lost(const struct generator *g, uint64_t sent)
{
	return sent > g->unanswered ? 100 - 100.0 * (double)g->received / (double)(sent - g->unanswered) : 0;
}

static void
measure(struct generator *g, uint64_t warm_ms, uint64_t ms)
{
	uint64_t t, sent;

	turn_for(g, warm_ms);
	t = rte_rdtsc();
	sent = g->sent;
	g->received = g->unanswered = 0;
	turn_for(g, ms);
	t = rte_rdtsc() - t;
	printf("%.4f %.2f\n", (double)g->received / ((double)t / (double)rte_get_tsc_hz()) / 1e6,
		generator_lost(g, g->sent - sent));
	generator_forget(g);
	generator_receive_for(g, GENERATOR_DRAIN_MS);
}

static void
send_teaching(struct generator *g, const struct rig_frame *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(g->pool);

	if (m == NULL)
		generator_die("no packet buffer");
	m->data_len = rig_frame_write(rte_pktmbuf_mtod(m, uint8_t *), f);
	m->pkt_len = m->data_len;
	while (rte_eth_tx_burst(RIG_WAN, 0, &m, 1) == 0)
		generator_receive(g);
}

/* Few at a time, so that none is lost. */
static void
teach(struct generator *g)
{
	uint64_t end = rte_rdtsc() + TEACH_MS * rte_get_tsc_hz() / 1000, k = 0;
	struct rig_frame f;

	g->received = 0;
	while (load_teach(&g->load, k, &f) && rte_rdtsc() < end) {
		generator_receive(g);
		if (k - g->received > TEACH_AHEAD)
			continue;
		f.data = RIG_MARK;
		f.mark = TAUGHT | k;
		send_teaching(g, &f);
		k++;
	}
	generator_receive_for(g, GENERATOR_DRAIN_MS);
	printf("%lu %lu\n", k, g->received);
}

static const struct workload *
workload_of(const char *id)
{
	for (size_t i = 0; i < RTE_DIM(workloads); i++)
		if (strcmp(workloads[i].id, id) == 0)
			return &workloads[i];
	generator_die("no workload %s", id);
}

static void
prepare(struct generator *g, const char *id, unsigned int bytes)
{
	if (bytes != 0 && (bytes < RIG_HEADERS + RIG_MARK || bytes > 1514))
		generator_die("frames of %u bytes", bytes);
	load_workload(g, workload_of(id), (uint16_t)bytes);
}

static void
obey(struct generator *g, const char *line)
{
	unsigned int bytes, warm_ms, ms, count, us;
	double mpps;
	char id[8];

	if (sscanf(line, "run %7s %u %u %u", id, &bytes, &warm_ms, &ms) == 4) {
		prepare(g, id, bytes);
		measure(g, warm_ms, ms);
	} else if (sscanf(line, "pace %7s %u %lf %u %u", id, &bytes, &mpps, &warm_ms, &ms) == 5) {
		prepare(g, id, bytes);
		paced_run(g, mpps, warm_ms, ms);
	} else if (sscanf(line, "ping %7s %u %u %u", id, &bytes, &count, &us) == 4) {
		prepare(g, id, bytes);
		paced_ping(g, count, us);
	} else if (sscanf(line, "teach %7s", id) == 1) {
		prepare(g, id, 60);
		teach(g);
	} else if (sscanf(line, "serve %u", &ms) == 1) {
		generator_receive_for(g, ms);
		puts("served");
	} else {
		generator_die("what is \"%s\"?", line);
	}
	fflush(stdout);
}

/* ---- start ---- */

static bool
set_up_port(uint16_t port, uint16_t queues, struct rte_mempool *pool)
{
	struct rte_eth_conf conf = {0};
	int rc = rte_eth_dev_configure(port, queues, 1, &conf);

	for (uint16_t q = 0; q < queues && rc == 0; q++)
		rc = rte_eth_rx_queue_setup(port, q, RING, SOCKET_ID_ANY, NULL, pool);
	return rc == 0 && rte_eth_tx_queue_setup(port, 0, RING, SOCKET_ID_ANY, NULL) == 0 &&
	       rte_eth_dev_start(port) == 0;
}

static void
start_port(uint16_t port, uint16_t queues, struct rte_mempool *pool)
{
	struct rte_eth_link link = {0};

	if (!set_up_port(port, queues, pool))
		generator_die("port %u does not start", port);
	for (int ms = 0; ms < LINK_MS && link.link_status == 0; ms += 50) {
		rte_eth_link_get_nowait(port, &link);
		nanosleep(&(struct timespec){0, 50000000}, NULL);
	}
	if (link.link_status == 0)
		generator_die("port %u has no link", port);
}

/* Data behind a frame's mark are 0 for ever: nobody writes there. */
static void
clear(struct rte_mempool *pool, void *arg, void *object, unsigned int i)
{
	(void)pool;
	(void)arg;
	(void)i;
	memset(rte_pktmbuf_mtod((struct rte_mbuf *)object, void *), 0, ROOM);
}

static struct rte_mempool *
make_pool(const char *name)
{
	struct rte_mempool *pool =
		rte_pktmbuf_pool_create(name, MBUFS, 256, 0, RTE_PKTMBUF_HEADROOM + ROOM, SOCKET_ID_ANY);

	if (pool == NULL)
		generator_die("no memory for packet buffers");
	rte_mempool_obj_iter(pool, clear, NULL);
	return pool;
}

int
main(int argc, char **argv)
{
	struct generator g = {.until_check = CHECK};
	struct rte_mempool *rx;
	int n = rte_eal_init(argc, argv);
	char line[256];

	if (n < 0 || argc - n != 4)
		generator_die("usage: generator EAL-ARGS -- VMS routed|swapped QUEUES");
	g.vms = (uint32_t)strtoul(argv[n + 1], NULL, 10);
	g.swapped = strcmp(argv[n + 2], "swapped") == 0;
	g.queues = (uint16_t)strtoul(argv[n + 3], NULL, 10);
	if (rte_eth_dev_count_avail() != RIG_PORTS || g.vms == 0 || g.queues == 0)
		generator_die("it needs VMs, queues, and two ports, the WAN's first");
	g.pool = make_pool("tx");
	rx = make_pool("rx");
	for (uint16_t port = 0; port < RIG_PORTS; port++)
		start_port(port, g.queues, rx);
	printf("%lu\n", rte_get_tsc_hz());
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL)
		obey(&g, line);
	_exit(0); /* the device under test may still write into memory that cleaning up would take away */
}
