/* SPDX-License-Identifier: BSD-3-Clause */
#include "loop.h"

#include "dp.h"
#include "eal.h"
#include "events.h"
#include "passing.h"
#include "pools.h"
#include "wake.h"

#include <common/log.h>
#include <dataplane/node.h>
#include <dataplane/pipeline.h>
#include <errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define QUEUES_MAX   (TOPO_PORTS * 4 + PLAN_WORKERS)
#define CLOCK_US     250		    /* how stale the coarse clock may be */
#define SPIN_US	     50			    /* of idleness before it sleeps */
#define LADDER_MIN   (50 * 1000)	    /* ns: first step where a port has nothing to wake us */
#define LADDER_MAX   (1000 * 1000)	    /* ns: last step */
#define SLEEP_MAX    (500ull * 1000 * 1000) /* ns: shows that it lives */
#define SLEEP_HOLD   (50ull * 1000 * 1000)  /* ns: while packets wait that may expire */
#define SLEEP_VM     (1000ull * 1000) /* ns: while packets wait for a VM, whose record nobody wakes us for */
#define COUNTS_TRIES 1000	      /* of 50 us: how long the control thread waits for exact numbers */

struct queue {
	struct rte_ring *ring; /* of what another worker received, and passes on; NULL: a port's */
	uint16_t port, dpdk_port, queue;
	uint8_t origin;
	bool intr;
	bool shared; /* the port has fewer queues than there are workers: each of them forwards packets of it */
};

struct loop {
	struct worker *w;
	struct dp *dp;
	struct rte_rcu_qsbr *qsbr;
	struct vec rx;
	struct passing passing;
	struct queue queues[QUEUES_MAX];
	uint16_t n_queues, next; /* the queue to begin with: none starves another */
	bool adaptive, ladder, started;
	unsigned int lcore;
	int epfd, kickfd;
	uint64_t tsc_clock, tsc_idle, tsc_per_us;
	uint64_t step_ns; /* of the ladder */
	uint64_t events_seen, sleeps;
	/* What other threads look at, other workers too, in a line that no round writes. */
	__rte_cache_aligned atomic_bool stop;
	atomic_bool asleep;
	/* Numbers on demand: the control thread raises `want`, the worker copies between two rounds. */
	atomic_uint want, have;
	struct loop_counts snap;
} __rte_cache_aligned;

struct worker *
loop_worker(struct loop *l)
{
	return l->w;
}

/* ---- receive ---- */

/* The tag leaves the frame, wherever the driver left it, and lives in the metadata. */
static uint16_t
take_vlan(struct rte_mbuf *m)
{
	struct rte_vlan_hdr *tag;
	uint16_t vlan;
	char *d;

	if ((m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) {
		m->ol_flags &= ~(RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
		return m->vlan_tci & 0xfff;
	}
	if (rte_pktmbuf_data_len(m) < RTE_ETHER_HDR_LEN + sizeof(*tag) ||
		rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->ether_type != RTE_BE16(RTE_ETHER_TYPE_VLAN))
		return 0;
	tag = rte_pktmbuf_mtod_offset(m, struct rte_vlan_hdr *, RTE_ETHER_HDR_LEN);
	vlan = rte_be_to_cpu_16(tag->vlan_tci) & 0xfff;
	d = rte_pktmbuf_mtod(m, char *);
	memmove(d + sizeof(*tag), d, 2 * RTE_ETHER_ADDR_LEN);
	rte_pktmbuf_adj(m, sizeof(*tag));
	return vlan;
}

/* To this worker, or to the one that forwards what is of the packet's flow. */
static void
deliver(struct loop *l, const struct queue *q, struct rte_mbuf *m)
{
	uint16_t to = q->shared ? distributor_worker(m, l->passing.workers) : l->w->id;
	struct outlet *o = &l->passing.out[to];

	if (to == l->w->id)
		vec_add(&l->rx, m);
	else
		o->m[o->n++] = m;
}

static void
received(struct loop *l, const struct queue *q, struct rte_mbuf *m)
{
	struct port_count *c = &l->w->c.port[q->port];

	c->rx_packets++;
	c->rx_bytes += rte_pktmbuf_pkt_len(m);
	*meta(m) = (struct meta){
		.origin = q->origin,
		.enter = ENTER_RX,
		.in_port = q->port,
		.in_att = TOPO_NONE,
		.seg = TOPO_NONE,
		.vlan = take_vlan(m),
	};
	if (unlikely(m->nb_segs > 1) && rte_pktmbuf_linearize(m) != 0) {
		l->w->c.received++; /* beyond every MTU of ours */
		if (unlikely(l->w->probe != NULL))
			probe_received(l->w, m);
		worker_drop(l->w, m, DROP_TOO_BIG);
		return;
	}
	deliver(l, q, m);
}

/* Many packets are looked at for the first time: their first lines are fetched together. */
static void
take_burst(struct loop *l, const struct queue *q, struct rte_mbuf **m, uint16_t n)
{
	if (q->ring != NULL) {
		for (uint16_t k = 0; k < n; k++)
			vec_add(&l->rx, m[k]);
		return;
	}
	for (uint16_t k = 0; q->shared && k < n; k++)
		rte_prefetch0(rte_pktmbuf_mtod(m[k], const void *));
	for (uint16_t k = 0; k < n; k++)
		received(l, q, m[k]);
}

static uint16_t
poll_queue(const struct queue *q, struct rte_mbuf **m, uint16_t room)
{
	return q->ring != NULL ? (uint16_t)rte_ring_sc_dequeue_burst(q->ring, (void **)m, room, NULL)
			       : rte_eth_rx_burst(q->dpdk_port, q->queue, m, room);
}

static void
receive(struct loop *l)
{
	struct rte_mbuf *m[RX_MAX];
	uint16_t room = l->w->vm_hold.behind ? RX_MAX / 2 : RX_MAX;

	for (uint16_t i = 0; i < l->n_queues && room > 0; i++) {
		const struct queue *q = &l->queues[l->next];
		uint16_t n = poll_queue(q, m, room);

		l->next = l->next + 1 == l->n_queues ? 0 : l->next + 1;
		take_burst(l, q, m, n);
		room -= n;
	}
}

/* ---- one round ---- */

/* A worker that spins needs no waking. */
static void
wake_other(const struct loop *l, uint16_t worker)
{
	if (l->adaptive)
		loop_wake(l->dp->loops[worker]);
}

static bool
pass_on(struct loop *l)
{
	bool any = false;

	for (uint16_t i = 0; l->passing.distributes && i < l->passing.workers; i++) {
		if (!distributor_pass(l->w, &l->passing.out[i]))
			continue;
		wake_other(l, i);
		any = true;
	}
	return any;
}

static uint16_t
send_burst(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	struct loop *l = arg;
	const struct exit *e = &l->passing.exits[port];

	if (likely(e->ring == NULL))
		return rte_eth_tx_burst(l->w->topo->ports[port].dpdk_port, e->queue, m, n);
	n = (uint16_t)rte_ring_sp_enqueue_burst(e->ring, (void **)m, n, NULL);
	wake_other(l, e->to);
	return n;
}

static bool
is_up(const struct loop *l, uint16_t port)
{
	return __atomic_load_n(&ports_at(l->dp->ports, port)->up, __ATOMIC_RELAXED);
}

/* What other workers send by queues of this one. */
static bool
relay(struct loop *l, struct relay *r)
{
	uint16_t sent;

	if (r->n == 0)
		r->n = (uint16_t)rte_ring_sc_dequeue_burst(r->ring, (void **)r->m, RX_MAX, NULL);
	if (r->n == 0)
		return false;
	if (!is_up(l, r->port)) {
		rte_pktmbuf_free_bulk(r->m, r->n);
		l->w->c.port[r->port].tx_drops += r->n;
		r->n = 0;
		return true;
	}
	sent = rte_eth_tx_burst(
		l->w->topo->ports[r->port].dpdk_port, l->passing.exits[r->port].queue, r->m, r->n);
	r->n -= sent;
	memmove(r->m, r->m + sent, r->n * sizeof(r->m[0]));
	return true;
}

static bool
relay_all(struct loop *l)
{
	bool any = false;

	for (struct relay *r = l->passing.relays; r != NULL; r = r->next)
		any |= relay(l, r);
	return any;
}

static void
drop_for_ports_down(struct loop *l)
{
	struct worker *w = l->w;

	for (uint16_t i = 0; i < w->topo->n_ports; i++) {
		struct vec *v = &w->tx[i];

		if (v->n == 0 || is_up(l, i))
			continue;
		for (uint16_t k = 0; k < v->n; k++)
			worker_drop(w, v->m[k], DROP_PORT_DOWN);
		w->c.port[i].tx_drops += v->n;
		v->n = 0;
	}
}

static void
tick(struct loop *l)
{
	uint64_t tsc = rte_rdtsc();
	struct timespec ts;

	if (tsc - l->tsc_clock < CLOCK_US * l->tsc_per_us)
		return;
	l->tsc_clock = tsc;
	clock_gettime(CLOCK_BOOTTIME, &ts); /* from the vDSO */
	worker_tick(l->w, (uint64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
	if (l->w->n_hold != 0)
		worker_expire_hold(l->w);
}

/* Adaptive workers may make system calls, so news is told at once; else the control thread looks every 2 ms. */
static void
tell_events(struct loop *l)
{
	uint64_t n = l->w->c.punted;

	for (int k = 0; k < EVENTS; k++)
		n += l->w->c.events[k];
	if (n == l->events_seen)
		return;
	l->events_seen = n;
	events_kick(l->dp->events);
}

/* Packets on hold: for next hops, first fragments, VMs. */
static uint32_t
waiting(const struct worker *w)
{
	return w->n_hold + w->vm_hold.packets;
}

static void
answer_counts(struct loop *l)
{
	unsigned int want = atomic_load_explicit(&l->want, memory_order_acquire);

	if (likely(want == atomic_load_explicit(&l->have, memory_order_relaxed)))
		return;
	l->snap.c = l->w->c;
	l->snap.imbalance = worker_imbalance(l->w);
	l->snap.n_hold = waiting(l->w);
	l->snap.n_vm_hold = l->w->vm_hold.packets;
	l->snap.sleeps = l->sleeps;
	atomic_store_explicit(&l->have, want, memory_order_release);
}

/* True when there was anything to do. */
static bool
round_once(struct loop *l)
{
	uint64_t released = l->w->c.released;
	bool busy, passed;

	worker_orders(l->w);
	tick(l);
	receive(l);
	passed = pass_on(l);
	busy = l->rx.n != 0 || l->w->inject.n != 0;
	if (busy || l->w->vm_hold.n_queues != 0) {
		pipeline_run(l->w, &l->rx);
		drop_for_ports_down(l);
		worker_flush(l->w, send_burst, l);
		busy |= l->w->c.released != released;
	}
	busy |= relay_all(l) | passed;
	if (l->adaptive)
		tell_events(l);
	answer_counts(l);
	rte_rcu_qsbr_quiescent(l->qsbr, l->w->id);
	return busy;
}

/* ---- sleep ---- */

static void
arm(struct loop *l, bool on)
{
	for (uint16_t i = 0; i < l->n_queues; i++) {
		const struct queue *q = &l->queues[i];

		if (q->intr && on)
			rte_eth_dev_rx_intr_enable(q->dpdk_port, q->queue);
		else if (q->intr)
			rte_eth_dev_rx_intr_disable(q->dpdk_port, q->queue);
	}
}

static uint64_t
sleep_ns(struct loop *l)
{
	if (l->w->vm_hold.n_queues != 0)
		return SLEEP_VM;
	if (!l->ladder)
		return l->w->n_hold != 0 ? SLEEP_HOLD : SLEEP_MAX;
	l->step_ns = RTE_MIN(l->step_ns * 2, (uint64_t)LADDER_MAX);
	return l->step_ns;
}

static void
wait_for_work(struct loop *l)
{
	uint64_t ns = sleep_ns(l), count;
	struct timespec ts = {.tv_sec = 0, .tv_nsec = (long)ns};
	struct epoll_event ev[16];
	int n;

	rte_rcu_qsbr_thread_offline(l->qsbr, l->w->id);
	n = epoll_pwait2(l->epfd, ev, RTE_DIM(ev), &ts, NULL);
	rte_rcu_qsbr_thread_online(l->qsbr, l->w->id);
	l->sleeps++;
	for (int i = 0; i < n; i++) {
		if (ev[i].data.fd == l->kickfd && read(l->kickfd, &count, sizeof(count)) < 0)
			continue; /* nothing in it: it was a late kick */
		if ((ev[i].events & EPOLLERR) != 0)
			wake_clear_error(ev[i].data.fd);
	}
}

/* Called once a round found nothing. Announce, arm, look once more, sleep. */
static void
idle(struct loop *l)
{
	uint64_t tsc = rte_rdtsc();

	if (l->tsc_idle == 0)
		l->tsc_idle = tsc;
	if (tsc - l->tsc_idle < SPIN_US * l->tsc_per_us) {
		rte_pause();
		return;
	}
	arm(l, true);
	atomic_store(&l->asleep, true);
	/* Pairs with loop_wake()'s: the rings are read with less. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!round_once(l) && !atomic_load(&l->stop) && rte_ring_empty(l->w->orders) &&
		atomic_load(&l->want) == atomic_load(&l->have))
		wait_for_work(l);
	else
		l->tsc_idle = 0;
	atomic_store(&l->asleep, false);
	arm(l, false);
}

static int
run(void *arg)
{
	struct loop *l = arg;

	rte_rcu_qsbr_thread_online(l->qsbr, l->w->id);
	while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
		if (round_once(l)) {
			l->tsc_idle = 0;
			l->step_ns = LADDER_MIN;
		} else if (l->adaptive) {
			idle(l);
		}
	}
	rte_rcu_qsbr_thread_offline(l->qsbr, l->w->id);
	return 0;
}

/* ---- the control thread's side ---- */

void
loop_wake(struct loop *l)
{
	uint64_t one = 1;

	/* The order was queued before; the worker looks at its ring after it announced its sleep. One of us sees the other. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&l->asleep) && write(l->kickfd, &one, sizeof(one)) < 0)
		log_debug("loop: worker %u has kicks enough", l->w->id);
}

void
loop_counts(struct loop *l, struct loop_counts *out)
{
	unsigned int want = atomic_load(&l->want) + 1;
	struct timespec nap = {.tv_nsec = 50 * 1000};
	bool asleep = atomic_load(&l->asleep);

	atomic_store(&l->want, want);
	loop_wake(l);
	for (int i = 0; i < COUNTS_TRIES && l->started; i++) {
		if (atomic_load_explicit(&l->have, memory_order_acquire) == want)
			break;
		nanosleep(&nap, NULL); /* never a spin: the worker may live on this very CPU */
	}
	if (atomic_load_explicit(&l->have, memory_order_acquire) == want) {
		*out = l->snap;
		out->exact = true;
	} else {
		out->c = l->w->c;
		out->imbalance = worker_imbalance(l->w);
		out->n_hold = waiting(l->w);
		out->n_vm_hold = l->w->vm_hold.packets;
		out->sleeps = l->sleeps;
		out->exact = !l->started;
	}
	out->asleep = asleep;
}

static int
watch(struct loop *l, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};

	return epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev);
}

static int
add_queue(struct loop *l, const struct queue *q, struct err *e)
{
	if (l->n_queues == QUEUES_MAX)
		return err_set(e, ENOSPC, "worker %u: more than %d receive queues: name more CPUs", l->w->id,
			QUEUES_MAX);
	l->queues[l->n_queues++] = *q;
	return 0;
}

static int
take_queue(struct loop *l, const struct port *p, uint16_t queue, struct err *e)
{
	struct queue q = {.port = p->index, .dpdk_port = p->id, .queue = queue};

	q.origin = l->dp->topo->ports[p->index].role == TOPO_WAN ? FROM_WAN : FROM_DC;
	q.shared = p->rxqs < l->passing.workers;
	q.intr = l->adaptive && p->wake == WAKE_INTERRUPT;
	if (l->adaptive &&
		(p->wake_fd[queue] < 0 ||
			watch(l, p->wake_fd[queue], p->wake_by_data ? EPOLLIN : EPOLLIN | EPOLLET) != 0))
		l->ladder = true;
	return add_queue(l, &q, e);
}

/* What the other worker passes to this one, received and to be sent. */
static int
take_rings(struct loop *l, const struct loop *from, struct err *e)
{
	struct queue q = {.ring = from->passing.out[l->w->id].ring};

	if (passing_join(&l->passing, &from->passing, node_of(l)) != 0)
		return err_set(e, ENOMEM, "worker %u: no memory", l->w->id);
	return q.ring != NULL ? add_queue(l, &q, e) : 0;
}

/* Called once ports have started. */
static int
take_queues(struct loop *l, struct err *e)
{
	int rc = 0;

	for (uint16_t i = 0; i < l->dp->plan->n_ports; i++) {
		const struct port *p = ports_at(l->dp->ports, i);

		for (uint16_t q = 0; q < p->rxqs && rc == 0; q++)
			if (passing_owner(p, q, l->passing.workers) == l->w->id)
				rc = take_queue(l, p, q, e);
	}
	for (uint16_t i = 0; i < l->passing.workers && rc == 0; i++)
		if (i != l->w->id)
			rc = take_rings(l, l->dp->loops[i], e);
	return rc;
}

struct loop *
loop_new(struct dp *dp, uint16_t id, struct err *e)
{
	int node = (int)rte_lcore_to_socket_id(eal_lcore(id));
	struct loop *l = node_zalloc("loop", sizeof(*l), node);

	if (l == NULL)
		goto nomem;
	l->lcore = eal_lcore(id);
	l->dp = dp;
	l->qsbr = rcu_qsbr(dp->tables.rcu);
	l->adaptive = dp->config->dataplane.poll == POLL_ADAPTIVE;
	l->tsc_per_us = RTE_MAX(rte_get_tsc_hz() / 1000000, UINT64_C(1));
	l->step_ns = LADDER_MIN;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->kickfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	l->w = worker_new(id, dp->shown, &dp->tables, pools_at(dp->pools, node));
	if (l->w == NULL || l->epfd < 0 || l->kickfd < 0 || watch(l, l->kickfd, EPOLLIN) != 0)
		goto nomem;
	if (passing_open(&l->passing, dp->ports, dp->plan, id, node, e) != 0) {
		loop_free(l);
		return NULL;
	}
	if (dp->plan->hugepages && node_of(l->w) != node)
		log_warn("memory: worker %u: NUMA node %d of its CPU has no room, node %d is used, which "
			 "costs time; "
			 "reserve hugepages there",
			id, node, node_of(l->w));
	return l;
nomem:
	err_set(e, ENOMEM, "worker %u: no memory or descriptors", id);
	loop_free(l);
	return NULL;
}

int
loop_start(struct loop *l, struct err *e)
{
	int rc = take_queues(l, e);

	if (rc != 0)
		return rc;
	rc = rte_eal_remote_launch(run, l, l->lcore);
	if (rc != 0)
		return err_set(e, -rc, "worker %u: cannot be launched: %s", l->w->id, strerror(-rc));
	l->started = true;
	return 0;
}

void
loop_stop(struct loop *l)
{
	uint64_t one = 1;

	if (l == NULL || !l->started)
		return;
	atomic_store(&l->stop, true);
	if (write(l->kickfd, &one, sizeof(one)) < 0)
		log_debug("loop: worker %u has kicks enough", l->w->id);
	rte_eal_wait_lcore(l->lcore);
	l->started = false;
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	worker_free(l->w);
	passing_close(&l->passing);
	if (l->epfd >= 0)
		close(l->epfd);
	if (l->kickfd >= 0)
		close(l->kickfd);
	rte_free(l);
}
