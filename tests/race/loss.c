/* SPDX-License-Identifier: BSD-3-Clause */
/* A batch of moves loses no packet of anybody.
 *
 *   sender --> ring [wan] --> worker: real pipeline, one core --> ring [dc]  --> sender checks
 *                                                             \-> ring [wan] (in the tunnel)
 *   main: in the middle of the stream, 1,000 VMs move to the peer in one transaction, or back
 *
 * The worker has one CPU, sender and main share another.
 *
 * The ports are net_ring devices. 15 of 16 packets are to one VM that does not move: they must come out in order, none
 * missing, at 100,000 a second or more. The others are to VMs that move: each must come out too, at the DC port or in the
 * tunnel. LOSS_ROUNDS: how many batches, 20 unless set. */
#include "race.h"
#include "rig.h"

#include <rte_cycles.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>

#define VMS	  2000
#define MOVED	  1000
#define PACE	  200000 /* packets per second that the sender aims at */
#define RATE_MIN  100000 /* and must have reached on average */
#define RING	  32768
#define IN_FLIGHT 16000 /* at most: a ring that overflows would be the test's fault */
#define MBUFS	  65535
#define SETTLE_MS 100 /* of stream before and after each batch */
#define WAIT_S	  10

static struct rig *rig;
static struct rte_ring *to_wan, *from_wan, *to_dc, *from_dc;
static atomic_bool worker_stop, sender_stop;

/* ---- the worker ---- */

static uint16_t
send_burst(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	return rte_eth_tx_burst(rig->topo->ports[port].dpdk_port, 0, m, n);
}

static void
receive(struct vec *rx, uint16_t port)
{
	uint16_t n = rte_eth_rx_burst(rig->topo->ports[port].dpdk_port, 0, rx->m + rx->n, RX_MAX - rx->n);

	for (uint16_t i = 0; i < n; i++)
		rig_received(rx->m[rx->n + i], port);
	rx->n += n;
}

static void *
work(void *arg)
{
	struct rte_rcu_qsbr *qsbr = rcu_qsbr(rig->tables.rcu);
	struct vec rx = {0};

	(void)arg;
	cpus_place(0);
	must(rte_thread_register() == 0, "no lcore for the worker");
	rte_rcu_qsbr_thread_online(qsbr, 0);
	while (!atomic_load_explicit(&worker_stop, memory_order_relaxed)) {
		receive(&rx, RIG_WAN);
		receive(&rx, RIG_DC);
		pipeline_run(rig->w, &rx);
		worker_flush(rig->w, send_burst, NULL);
		rte_rcu_qsbr_quiescent(qsbr, 0);
	}
	rte_rcu_qsbr_thread_offline(qsbr, 0);
	rte_thread_unregister();
	return NULL;
}

/* ---- the sender, who also looks at what comes out ---- */

static struct {
	uint64_t sent, received, in_tunnel;
	uint64_t steady_sent, steady_next; /* of the VM that does not move */
	uint64_t last_tsc, longest_gap;	   /* between two packets out, this round */
	atomic_bool measure_gap;
	double seconds;
} stream;

static void
send_some(struct rng *rng, uint32_t n)
{
	struct rte_mbuf *m[32];

	if (rte_pktmbuf_alloc_bulk(rig->pool, m, n) != 0)
		return; /* later, then: nothing is lost that was not sent */
	for (uint32_t i = 0; i < n; i++) {
		if (rng_below(rng, 16) == 0)
			rig_fill(rig, m[i], RIG_DOWNLINK, 1 + rng_below(rng, MOVED), UINT64_MAX);
		else
			rig_fill(rig, m[i], RIG_DOWNLINK, 0, stream.steady_sent++);
	}
	must(rte_ring_enqueue_bulk(to_wan, (void **)m, n, NULL) == n, "the sender's ring is full");
	stream.sent += n;
}

static void
check_out(struct rte_mbuf *m, bool dc)
{
	uint64_t seq, now = rte_rdtsc();

	if (!dc) {
		must(rte_pktmbuf_pkt_len(m) == RIG_LEN + 50, "%u bytes at the WAN port",
			rte_pktmbuf_pkt_len(m));
		stream.in_tunnel++;
	} else if ((seq = rig_seq(m)) != UINT64_MAX) {
		must(seq == stream.steady_next, "expected packet %lu of the steady VM, got %lu",
			stream.steady_next, seq);
		stream.steady_next++;
	}
	if (atomic_load_explicit(&stream.measure_gap, memory_order_relaxed) && stream.last_tsc != 0)
		stream.longest_gap = RTE_MAX(stream.longest_gap, now - stream.last_tsc);
	stream.last_tsc = now;
	stream.received++;
	rte_pktmbuf_free(m);
}

static void
take_out(struct rte_ring *ring, bool dc)
{
	struct rte_mbuf *m[64];
	uint32_t n;

	while ((n = rte_ring_dequeue_burst(ring, (void **)m, 64, NULL)) != 0)
		for (uint32_t i = 0; i < n; i++)
			check_out(m[i], dc);
}

static void *
stream_packets(void *arg)
{
	uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc(), stopped;
	struct rng rng = {5};

	(void)arg;
	cpus_place(1);
	must(rte_thread_register() == 0, "no lcore for the sender");
	while (!atomic_load_explicit(&sender_stop, memory_order_relaxed)) {
		uint64_t due = (uint64_t)((double)(rte_rdtsc() - start) / (double)hz * PACE);

		if (stream.sent < due && stream.sent - stream.received < IN_FLIGHT)
			send_some(&rng, RTE_MIN(32u, (uint32_t)(due - stream.sent)));
		take_out(from_dc, true);
		take_out(from_wan, false);
	}
	stopped = rte_rdtsc();
	stream.seconds = (double)(stopped - start) / (double)hz;
	while (stream.received < stream.sent && rte_rdtsc() - stopped < WAIT_S * hz) {
		take_out(from_dc, true);
		take_out(from_wan, false);
	}
	rte_thread_unregister();
	return NULL;
}

/* ---- moves ---- */

static struct vmtab_txn *
prepare_batch(bool here)
{
	struct vmtab_txn *x = vmtab_begin(rig->tables.vms, MOVED);

	for (uint32_t vm = 1; vm <= MOVED; vm++) {
		struct vm_rec r = rig_vm(vm, here);
		int rc = vmtab_prepare_put(x, &r);

		must(rc == 0, "VM %u: %d", vm, rc);
	}
	must(vmtab_prepare_end(x, NULL) == 0, "the batch does not fit");
	return x;
}

static void
move_batch(uint32_t round)
{
	double start = seconds(), prepared, published;
	struct vmtab_txn *x;

	x = prepare_batch(round % 2 == 1);
	prepared = seconds();
	vmtab_publish(x);
	published = seconds();
	rcu_wait(rig->tables.rcu);
	vmtab_retire(x);
	printf("batch %2u: %u VMs %s; prepared in %5.2f ms, published in %4.0f us, retired %5.2f ms later\n",
		round + 1, MOVED, round % 2 == 1 ? "back here  " : "to the peer", (prepared - start) * 1e3,
		(published - prepared) * 1e6, (seconds() - published) * 1e3);
}

/* ---- ports ---- */

static struct rte_ring *
ring(const char *name)
{
	struct rte_ring *r = rte_ring_create(name, RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);

	must(r != NULL, "ring %s", name);
	return r;
}

static void
make_port(uint16_t i, const char *name, struct rte_ring *rx, struct rte_ring *tx)
{
	struct rte_eth_conf conf = {0};
	int port = rte_eth_from_rings(name, &rx, 1, &tx, 1, 0);

	must(port >= 0, "port %s", name);
	must(rte_eth_dev_configure((uint16_t)port, 1, 1, &conf) == 0, "port %s", name);
	must(rte_eth_rx_queue_setup((uint16_t)port, 0, RING, 0, NULL, rig->pool) == 0, "port %s", name);
	must(rte_eth_tx_queue_setup((uint16_t)port, 0, RING, 0, NULL) == 0, "port %s", name);
	must(rte_eth_dev_start((uint16_t)port) == 0, "port %s", name);
	rig->topo->ports[i].dpdk_port = (uint16_t)port;
}

static void
make_ports(void)
{
	to_wan = ring("to-wan");
	from_wan = ring("from-wan");
	to_dc = ring("to-dc");
	from_dc = ring("from-dc");
	make_port(RIG_WAN, "wan", to_wan, from_wan);
	make_port(RIG_DC, "dc", to_dc, from_dc);
}

static void
report(uint32_t rounds)
{
	double rate = (double)stream.sent / stream.seconds;

	printf("%lu packets at %.0f a second, %u batches: %lu lost; %lu through the tunnel; longest gap "
	       "between two packets "
	       "around a batch %.2f ms\n",
		stream.sent, rate, rounds, stream.sent - stream.received, stream.in_tunnel,
		(double)stream.longest_gap * 1e3 / (double)rte_get_tsc_hz());
	for (int d = 0; d < DROPS; d++)
		if (rig->w->c.drop[d] != 0)
			printf("dropped: %s %lu\n", drop_names[d].name, rig->w->c.drop[d]);
	must(stream.received == stream.sent && stream.steady_next == stream.steady_sent, "packets were lost");
	must(worker_imbalance(rig->w) == 0, "the worker's books do not balance");
	must(stream.in_tunnel > 0, "nothing moved");
	must(rate >= RATE_MIN, "the stream was too slow to tell: %.0f a second", rate);
}

int
main(int argc, char **argv)
{
	uint32_t rounds = getenv("LOSS_ROUNDS") != NULL ? (uint32_t)atoi(getenv("LOSS_ROUNDS")) : 20;
	pthread_t worker, sender;
	bool huge = true;

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0); /* it may end by abort() */
	cpus_keep();
	rig_eal(argv[0], 384, &huge);
	cpus_place(1);
	rig = rig_new(0, VMS, MBUFS);
	must(rig != NULL, "not enough memory");
	make_ports();
	must(rcu_register(rig->tables.rcu, 0) == 0, "worker");
	must(pthread_create(&worker, NULL, work, NULL) == 0, "worker");
	must(pthread_create(&sender, NULL, stream_packets, NULL) == 0, "sender");
	for (uint32_t r = 0; r < rounds; r++) {
		usleep(SETTLE_MS * 1000);
		atomic_store(&stream.measure_gap, true);
		move_batch(r);
		usleep(1000);
		atomic_store(&stream.measure_gap, false);
		usleep(SETTLE_MS * 1000);
	}
	atomic_store(&sender_stop, true);
	pthread_join(sender, NULL);
	atomic_store(&worker_stop, true);
	pthread_join(worker, NULL);
	report(rounds);
	cpus_check();
	rig_free(rig);
	return 0;
}
