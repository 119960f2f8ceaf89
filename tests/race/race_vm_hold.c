/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets wait for VMs and go on while the writer flips the flag of their records all the time: none is lost or overtaken.
 *
 * Each VM has two flows, one routed here and one that the peer routed; each is numbered and must come out in order, at the DC
 * port. The worker is given no more than the hold's limits take, so every drop is a fault. RACE_SECONDS: how long. */
#include "race.h"
#include "rig.h"

#include <rte_udp.h>
#include <rte_vxlan.h>

#define VMS	64
#define FLOWS	2
#define MBUFS	16383
#define WAITING 4096 /* at most: then what is given waits for what is held */
#define WAIT_S	20

static struct rig *rig;
static atomic_bool stop;

static struct {
	uint64_t next_in[VMS][FLOWS], next_out[VMS][FLOWS];
	uint64_t given, sent, most_waiting;
} flow;

/* ---- frames ---- */

struct outer {
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
	struct rte_vxlan_hdr vxlan;
} __rte_packed __rte_aligned(2);

/* The peer translated it, and sends it through the tunnel. */
static void
put_into_tunnel(struct rte_mbuf *m, uint32_t vm)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	const struct topology *t = rig->topo;
	struct outer *o;

	o = (struct outer *)rte_pktmbuf_prepend(m, sizeof(*o));
	o->eth = *eth;
	o->ip = *ip;
	eth->src_addr = t->peers[0].mac;
	eth->dst_addr = rig_mac(vm);
	ip->dst_addr = rig_private(vm);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	o->ip.src_addr = t->peers[0].vtep;
	o->ip.dst_addr = t->vtep;
	o->ip.total_length = rte_cpu_to_be_16((uint16_t)(m->pkt_len - sizeof(o->eth)));
	o->ip.hdr_checksum = 0;
	o->ip.hdr_checksum = rte_ipv4_cksum(&o->ip);
	o->udp = (struct rte_udp_hdr){
		.src_port = RTE_BE16(50000), .dst_port = RTE_BE16(RTE_VXLAN_DEFAULT_PORT)};
	o->udp.dgram_len = rte_cpu_to_be_16((uint16_t)(m->pkt_len - offsetof(struct outer, udp)));
	o->vxlan.vx_flags = RTE_BE32(VXLAN_FLAG_I);
	o->vxlan.vx_vni = rte_cpu_to_be_32(t->segments[0].vni << 8);
}

/* ---- the worker, who also gives and looks at what comes out ---- */

static uint16_t
check_out(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	must(port == RIG_DC, "a packet left by the wan port");
	for (uint16_t i = 0; i < n; i++) {
		const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m[i], const struct rte_ether_hdr *);
		uint64_t seq = rig_seq(m[i]);
		uint32_t vm = eth->dst_addr.addr_bytes[5], f = seq & 1;

		must(vm < VMS && seq >> 1 == flow.next_out[vm][f], "VM %u, flow %u: expected %lu, got %lu",
			vm, f, flow.next_out[vm][f], seq >> 1);
		flow.next_out[vm][f]++;
		flow.sent++;
		rte_pktmbuf_free(m[i]);
	}
	return n;
}

static void
give(struct rng *rng, struct vec *rx)
{
	uint32_t n = rng_below(rng, RX_MAX + 1);

	if (rig->w->vm_hold.packets >= WAITING)
		return;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t vm = rng_below(rng, rng_below(rng, 2) ? 4 : VMS); /* some are hot */
		uint32_t f = rng_below(rng, FLOWS);
		struct rte_mbuf *m = rte_pktmbuf_alloc(rig->pool);

		must(m != NULL, "mbufs are missing");
		rig_fill(rig, m, RIG_DOWNLINK, vm, flow.next_in[vm][f]++ << 1 | f);
		if (f == 1)
			put_into_tunnel(m, vm);
		vec_add(rx, m);
	}
	flow.given += n;
}

static void
turn(struct vec *rx)
{
	pipeline_run(rig->w, rx);
	worker_flush(rig->w, check_out, NULL);
	must(worker_imbalance(rig->w) == 0, "the worker's books do not balance");
	flow.most_waiting = RTE_MAX(flow.most_waiting, (uint64_t)rig->w->vm_hold.packets);
	rte_rcu_qsbr_quiescent(rcu_qsbr(rig->tables.rcu), 0);
}

static void *
work(void *arg)
{
	struct rte_rcu_qsbr *qsbr = rcu_qsbr(rig->tables.rcu);
	struct rng rng = {5};
	struct vec rx = {0};
	double stopped;

	(void)arg;
	cpus_place(0);
	must(rte_thread_register() == 0, "no lcore for the worker");
	rte_rcu_qsbr_thread_online(qsbr, 0);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		give(&rng, &rx);
		turn(&rx);
	}
	stopped = seconds();
	while (flow.sent < flow.given && seconds() - stopped < WAIT_S)
		turn(&rx);
	rte_rcu_qsbr_thread_offline(qsbr, 0);
	rte_thread_unregister();
	return NULL;
}

/* ---- the writer ---- */

static void
put(uint64_t holds)
{
	struct vmtab_txn *x = vmtab_begin(rig->tables.vms, VMS);

	for (uint32_t vm = 0; vm < VMS; vm++) {
		struct vm_rec r = rig_vm(vm, true);

		r.flags = holds >> vm & 1 ? VM_REC_HOLDS : 0;
		must(vmtab_prepare_put(x, &r) == 0, "VM %u", vm);
	}
	must(vmtab_prepare_end(x, NULL) == 0, "the batch does not fit");
	vmtab_publish(x);
	rcu_wait(rig->tables.rcu);
	vmtab_retire(x);
}

static uint64_t
write_for(double howlong)
{
	struct rng rng = {9};
	uint64_t holds = 0, flips = 0;

	for (double end = seconds() + howlong; seconds() < end;) {
		uint64_t next = (uint64_t)rng_below(&rng, UINT32_MAX) << 32 | rng_below(&rng, UINT32_MAX);

		put(next);
		flips += (uint64_t)__builtin_popcountll(holds ^ next);
		holds = next;
	}
	put(0);
	return flips;
}

int
main(int argc, char **argv)
{
	struct jitter jitter = {.n = 0};
	pthread_t worker;
	uint64_t flips;
	bool huge = true;

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0); /* it may end by abort() */
	cpus_keep();
	rig_eal(argv[0], 128, &huge);
	cpus_place(1);
	rig = rig_new(0, VMS, MBUFS);
	must(rig != NULL, "not enough memory");
	must(rcu_register(rig->tables.rcu, 0) == 0, "worker");
	must(pthread_create(&worker, NULL, work, NULL) == 0, "worker");
	jitter_victim(&jitter, worker);
	jitter_start(&jitter);
	flips = write_for(race_seconds(2));
	jitter_stop(&jitter);
	atomic_store(&stop, true);
	pthread_join(worker, NULL);
	printf("%lu packets, %lu times on hold, at most %lu at once; %lu flips: %lu lost\n", flow.given,
		rig->w->c.held, flow.most_waiting, flips, flow.given - flow.sent);
	must(flow.sent == flow.given && rig->w->vm_hold.packets == 0, "packets were lost");
	must(rig->w->c.held > 1000 && flips > 1000, "the worker hardly met the writer");
	cpus_check();
	rig_free(rig);
	return 0;
}
