/* SPDX-License-Identifier: BSD-3-Clause */
#include "worker.h"

#include "node.h"
#include "pipeline.h"

#include "express/ready.h"

#include <rte_errno.h>
#include <rte_malloc.h>
#include <stdlib.h>

#define ORDERS_BURST 32
#define EVENT_BURST  1000	  /* what one kind may put into its ring at once; below EVENT_RING */
#define PUNT_BURST   UINT32_C(64) /* of one class at once, at least: a few windows of TCP */

_Static_assert(EVENT_BURST < EVENT_RING, "a burst of events fits its ring");
_Static_assert(sizeof(struct dp_event) % 4 == 0 && sizeof(struct dp_order) % 4 == 0, "ring elements");

/* Outer headers for each tunnel; only lengths, source port and VNI differ from packet to packet. The packet is
 * atomic (DF, RFC 6864), so its identification may stay 0 and the checksum changes with the length alone. */
static void
tunnel_headers(struct worker *w)
{
	const struct topology *t = w->topo;

	for (uint16_t i = 1; i < TOPO_TUNNELS; i++) {
		struct tunnel_hdr *h = &w->tunnel[i];

		if (topo_tunnel_end(t, i) == 0)
			continue; /* what was on its way to a peer that was removed still goes there */
		memset(h, 0, sizeof(*h));
		h->eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
		h->ip.version_ihl = RTE_IPV4_VHL_DEF;
		h->ip.time_to_live = 64;
		h->ip.next_proto_id = IPPROTO_UDP;
		h->ip.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
		h->ip.src_addr = t->vtep;
		h->ip.dst_addr = topo_tunnel_end(t, i);
		h->ip.hdr_checksum = rte_ipv4_cksum(&h->ip);
		h->udp.dst_port = RTE_BE16(RTE_VXLAN_DEFAULT_PORT);
		h->vxlan.vx_flags = RTE_BE32(VXLAN_FLAG_I);
	}
}

/* One producer, one consumer; of another node where the worker's has no memory left. `size` of an element. */
static struct rte_ring *
make_ring(const struct worker *w, const char *what, uint32_t size, uint32_t count, uint32_t flags)
{
	char name[RTE_RING_NAMESIZE];
	struct rte_ring *r;

	flags |= RING_F_SP_ENQ | RING_F_SC_DEQ;
	snprintf(name, sizeof(name), "nw_%s_%u", what, w->id);
	r = rte_ring_create_elem(name, size, count, w->pool->socket_id, flags);
	return r != NULL ? r : rte_ring_create_elem(name, size, count, SOCKET_ID_ANY, flags);
}

static int
make_rings(struct worker *w)
{
	for (int k = 0; k < EVENTS; k++) {
		char what[16];

		snprintf(what, sizeof(what), "ev%d", k);
		w->events[k] = make_ring(w, what, sizeof(struct dp_event), EVENT_RING, 0);
		if (w->events[k] == NULL)
			return -rte_errno;
	}
	w->orders = make_ring(w, "orders", sizeof(struct dp_order), ORDER_RING, 0);
	w->punts = make_ring(w, "punts", sizeof(void *), PUNT_RING, RING_F_EXACT_SZ);
	return w->orders != NULL && w->punts != NULL ? 0 : -rte_errno;
}

/* On EAL's pages, which are large ones where there are any: a VM's slot that is not known yet is a miss of the cache, and with 4 KiB pages
 * one of the TLB. Of a scratch worker that does not count, and what it does not touch costs nothing. */
static void *
allocate(const char *what, size_t size, bool scratch, int node)
{
	return scratch ? calloc(1, size) : node_zalloc(what, size, node);
}

static struct worker *
allocate_worker(bool scratch, int node)
{
	struct worker *w;

	if (!scratch)
		return node_zalloc("worker", sizeof(*w), node);
	w = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*w));
	return w != NULL ? memset(w, 0, sizeof(*w)) : NULL;
}

static void
release(void *p)
{
	if (node_of(p) != SOCKET_ID_ANY)
		rte_free(p);
	else
		free(p);
}

static struct worker *
make(uint16_t id, const struct topology *topo, const struct tables *tables, struct rte_mempool *pool,
	bool scratch)
{
	size_t tallies =
		(vmtab_slots(tables->vms) + 1) * sizeof(struct tally); /* and one that nobody reads */
	int node = pool->socket_id;
	struct worker *w = allocate_worker(scratch, node);

	if (w == NULL)
		return NULL;
	w->id = id;
	w->scratch = scratch;
	w->express = !scratch;
	w->untimed = UNTIMED_CALLS;
	w->topo = w->topo_wanted = topo;
	w->tables = tables;
	w->pool = pool;
	w->paths = allocate("paths", sizeof(*w->paths), scratch, node);
	w->ready = allocate("ready", sizeof(*w->ready), scratch, node);
	w->mac_seen = allocate("MACs", mactab_entries(tables->macs) * sizeof(*w->mac_seen), scratch, node);
	w->from_vm = allocate("tallies", tallies, scratch, node);
	w->to_vm = allocate("tallies", tallies, scratch, node);
	if (w->paths == NULL || w->ready == NULL || w->mac_seen == NULL || w->from_vm == NULL ||
		w->to_vm == NULL ||
		vm_hold_init(&w->vm_hold, topo->hold.packets / RTE_MAX(topo->n_workers, 1)) != 0) {
		worker_free(w);
		return NULL;
	}
	tunnel_headers(w);
	ready_forget(w->ready);
	return w;
}

struct worker *
worker_new(uint16_t id, const struct topology *topo, const struct tables *tables, struct rte_mempool *pool)
{
	struct worker *w = make(id, topo, tables, pool, false);

	if (w == NULL || make_rings(w) == 0)
		return w;
	worker_free(w);
	return NULL;
}

struct worker *
worker_new_scratch(const struct topology *topo, const struct tables *tables, struct rte_mempool *pool)
{
	return make(0, topo, tables, pool, true);
}

static void
free_vec(struct vec *v)
{
	rte_pktmbuf_free_bulk(v->m, v->n);
	v->n = 0;
}

static void
free_orders(struct rte_ring *orders)
{
	struct dp_order o;

	while (rte_ring_sc_dequeue_elem(orders, &o, sizeof(o)) == 0)
		rte_pktmbuf_free(o.inject);
}

static void
free_punts(struct rte_ring *punts)
{
	void *m;

	while (rte_ring_sc_dequeue(punts, &m) == 0)
		rte_pktmbuf_free(m);
}

void
worker_free(struct worker *w)
{
	if (w == NULL)
		return;
	rte_pktmbuf_free_bulk(w->hold, w->n_hold);
	vm_hold_fini(&w->vm_hold);
	free_vec(&w->inject);
	for (int i = 0; i < TOPO_PORTS; i++)
		free_vec(&w->tx[i]);
	for (int k = 0; k < EVENTS; k++)
		rte_ring_free(w->events[k]);
	if (w->orders != NULL)
		free_orders(w->orders);
	rte_ring_free(w->orders);
	if (w->punts != NULL)
		free_punts(w->punts);
	rte_ring_free(w->punts);
	release(w->from_vm);
	release(w->to_vm);
	release(w->mac_seen);
	release(w->paths);
	release(w->ready);
	release(w);
}

void
worker_tick(struct worker *w, uint64_t now_us)
{
	w->now_us = (uint32_t)now_us;
	w->now_ms = now_us / 1000;
	w->tick = (uint32_t)(w->now_ms / 1000);
}

void
worker_inject(struct worker *w, struct rte_mbuf *m)
{
	if (w->inject.n == VEC_MAX) {
		worker_drop(w, m, DROP_INJECT_FULL);
		return;
	}
	meta(m)->vm = NULL; /* the record may be gone by the next burst */
	vec_add(&w->inject, m);
}

/* A burst is at most BURST_MAX packets and `more` fragments that were added: no vector gets more than VEC_MAX. */
static bool
may_add(struct worker *w)
{
	if (w->more == 0)
		return false;
	w->more--;
	return true;
}

struct rte_mbuf *
worker_copy(struct worker *w, const struct rte_mbuf *m)
{
	bool room = w->inject.n < INJECT_COPIES;
	struct rte_mbuf *c = room ? rte_pktmbuf_copy(m, w->pool, 0, UINT32_MAX) : NULL;

	w->c.made[MADE_REPLICA]++;
	if (c == NULL) {
		w->c.drop[room ? DROP_NO_MBUF : DROP_INJECT_FULL]++;
		return NULL;
	}
	*meta(c) = *(const struct meta *)rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m);
	worker_follow(w, m, c, MADE_REPLICA);
	return c;
}

struct rte_mbuf *
worker_make(struct worker *w, enum made why)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->pool);

	w->c.made[why]++;
	if (m == NULL) {
		w->c.drop[DROP_NO_MBUF]++;
		return NULL;
	}
	*meta(m) = (struct meta){.origin = FROM_SELF, .seg = TOPO_NONE, .in_att = TOPO_NONE};
	return m;
}

struct rte_mbuf *
worker_make_more(struct worker *w, enum made why)
{
	if (may_add(w))
		return worker_make(w, why);
	w->c.made[why]++;
	w->c.drop[DROP_NO_MBUF]++;
	return NULL;
}

bool
bucket_take(struct bucket *b, uint64_t now_ms, uint32_t rate, uint32_t burst)
{
	uint64_t most = (uint64_t)burst * 1000;

	if (now_ms > b->last_ms) {
		b->tokens_x1000 = RTE_MIN(most, b->tokens_x1000 + (now_ms - b->last_ms) * rate);
		b->last_ms = now_ms;
	}
	if (b->tokens_x1000 < 1000)
		return false;
	b->tokens_x1000 -= 1000;
	return true;
}

/* Spreads a host over a power of two of slots. */
static uint32_t
host_hash(uint64_t key)
{
	return (uint32_t)(key ^ key >> 17 ^ key >> 31 ^ key >> 43);
}

static uint64_t
host_key(const struct rte_ether_addr *mac, uint16_t where)
{
	uint64_t key = 0;

	memcpy(&key, mac, sizeof(*mac));
	return key | (uint64_t)where << 48;
}

bool
worker_arp_allowed(struct worker *w, const struct rte_ether_addr *from, uint16_t where, bool is_vm)
{
	struct bucket *b = is_vm ? w->arp_vm : w->arp_host;
	uint32_t pps = w->topo->arp_pps;

	return pps == 0 ||
	       bucket_take(&b[host_hash(host_key(from, where)) % ARP_SOURCES], w->now_ms, pps, 2 * pps);
}

void
worker_hear_loop(struct worker *w, uint16_t seg)
{
	if (!w->scratch)
		w->loop_until_ms[seg] = w->now_ms + LOOP_HOLD_MS;
}

void
worker_punt(struct worker *w, struct rte_mbuf *m, enum punt_class class)
{
	uint8_t port = meta(m)->in_port;
	uint32_t pps = w->topo->ports[port].punt_pps;

	if (!bucket_take(&w->punt_bucket[port][class], w->now_ms, pps, RTE_MAX(pps / 8, PUNT_BURST))) {
		worker_drop(w, m, DROP_PUNT_RATE);
	} else if (!w->scratch && rte_ring_full(w->punts)) {
		worker_drop(w, m, DROP_PUNT_FULL);
	} else {
		w->c.punted++;
		if (unlikely(w->probe != NULL))
			probe_note(w, m, PROBE_PUNTED, port);
		if (w->scratch)
			rte_pktmbuf_free(m);
		else
			rte_ring_sp_enqueue(w->punts, m);
	}
}

bool
worker_event(struct worker *w, const struct dp_event *ev)
{
	uint32_t rate = event_rates[ev->kind];

	if (w->scratch)
		return false;
	if (!bucket_take(&w->event_bucket[ev->kind], w->now_ms, rate, RTE_MIN(rate, (uint32_t)EVENT_BURST)) ||
		rte_ring_sp_enqueue_elem(w->events[ev->kind], (void *)(uintptr_t)ev, sizeof(*ev)) != 0) {
		w->c.events_lost[ev->kind]++;
		return false;
	}
	w->c.events[ev->kind]++;
	return true;
}

void
worker_heard(struct worker *w, const struct dp_event *ev, const struct vm_rec *rec)
{
	uint64_t key = host_key(&ev->mac, ev->seg);
	struct heard *h = &w->heard[host_hash(key) % HEARD];

	if (h->key == key && h->kind == ev->kind && h->router == ev->router && h->att == ev->att &&
		h->rec == rec && w->now_ms < h->until_ms)
		return;
	if (worker_event(w, ev))
		*h = (struct heard){.key = key,
			.rec = rec,
			.until_ms = w->now_ms + HEARD_MS,
			.att = ev->att,
			.router = ev->router,
			.kind = ev->kind};
}

static void
flush_port(struct worker *w, uint16_t port, uint16_t (*send)(void *, uint16_t, struct rte_mbuf **, uint16_t),
	void *arg)
{
	struct vec *v = &w->tx[port];
	struct port_count *c = &w->c.port[port];
	uint32_t prepared = 0;
	uint64_t bytes = 0;
	uint16_t sent;

	for (uint16_t i = 0; i < v->n; i++) /* now: a sent mbuf is not ours to look at */
		bytes += rte_pktmbuf_pkt_len(v->m[i]);
	if (unlikely(w->probe != NULL))
		prepared = probe_sending(w, (uint8_t)port, v);
	sent = send(arg, port, v->m, v->n);
	if (unlikely(prepared != 0))
		probe_sent(w, prepared, sent);
	for (uint16_t i = sent; i < v->n; i++) {
		bytes -= rte_pktmbuf_pkt_len(v->m[i]);
		worker_drop(w, v->m[i], DROP_TX_FULL);
	}
	w->c.sent += sent;
	c->tx_packets += sent;
	c->tx_bytes += bytes;
	c->tx_drops += v->n - sent;
	v->n = 0;
}

void
worker_flush(struct worker *w, uint16_t (*send)(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n),
	void *arg)
{
	for (uint16_t i = 0; i < w->topo->n_ports; i++)
		if (w->tx[i].n != 0)
			flush_port(w, i, send, arg);
}

void
worker_hold(struct worker *w, struct rte_mbuf *m, enum enter enter)
{
	meta(m)->enter = (uint8_t)enter;
	meta(m)->held_ms = w->now_ms;
	meta(m)->vm = NULL; /* the record may be gone by then */
	if (unlikely(w->probe != NULL))
		probe_note(w, m, PROBE_HELD, (uint8_t)enter);
	w->hold[w->n_hold++] = m;
	w->c.held++;
}

void
worker_release(struct worker *w, bool (*goes)(struct rte_mbuf *m, const void *arg), const void *arg)
{
	uint16_t keep = 0;

	for (uint16_t i = 0; i < w->n_hold; i++) {
		struct rte_mbuf *m = w->hold[i];

		if (!goes(m, arg)) {
			w->hold[keep++] = m;
			continue;
		}
		w->c.released++;
		worker_inject(w, m);
	}
	w->n_hold = keep;
}

static bool
waits_for(struct rte_mbuf *m, const void *arg)
{
	const struct dp_order *next_hop = arg;
	const struct meta *md = meta(m);

	return md->enter == ENTER_NEIGH && md->out_port == next_hop->port && md->via == next_hop->ip;
}

/* Peers came or went. Indices in packets that wait keep their meaning. */
static void
topo_take(struct worker *w, const struct topology *wanted)
{
	w->topo = wanted;
	tunnel_headers(w);
	ready_forget(w->ready);
}

void
worker_orders(struct worker *w)
{
	const struct topology *topo = __atomic_load_n(&w->topo_wanted, __ATOMIC_ACQUIRE);
	struct dp_order o[ORDERS_BURST];
	struct probe *wanted = __atomic_load_n(&w->probe_wanted, __ATOMIC_ACQUIRE);
	uint32_t room = RTE_MIN(VEC_MAX - w->inject.n, ORDERS_BURST);
	uint32_t n = rte_ring_sc_dequeue_burst_elem(w->orders, o, sizeof(o[0]), room, NULL);

	if (unlikely(topo != w->topo))
		topo_take(w, topo);
	if (unlikely(wanted != w->probe))
		probe_take(w, wanted);
	for (uint32_t i = 0; i < n; i++) {
		switch ((enum dp_order_kind)o[i].kind) {
		case ORDER_INJECT:
			w->c.made[o[i].made]++;
			if (unlikely(w->probe != NULL))
				probe_ordered(w, o[i].inject, o[i].made);
			worker_inject(w, o[i].inject);
			break;
		case ORDER_RELEASE:
			worker_release(w, waits_for, &o[i]);
			break;
		case ORDER_LOOP:
			worker_hear_loop(w, o[i].seg);
			break;
		}
	}
}

static void
expire(struct worker *w, struct rte_mbuf *m)
{
	w->c.released++;
	if (meta(m)->enter == ENTER_GATEWAY) {
		meta(m)->flags |= META_FRAG_ALONE;
		worker_inject(w, m);
	} else {
		worker_drop(w, m, DROP_HOLD_EXPIRED);
	}
}

void
worker_expire_hold(struct worker *w)
{
	uint16_t keep = 0;

	for (uint16_t i = 0; i < w->n_hold; i++) {
		struct rte_mbuf *m = w->hold[i];
		uint64_t most = meta(m)->enter == ENTER_GATEWAY ? HOLD_FRAGMENT_MS : HOLD_MS;

		if (w->now_ms - meta(m)->held_ms < most)
			w->hold[keep++] = m;
		else
			expire(w, m);
	}
	w->n_hold = keep;
}

int64_t
worker_imbalance(const struct worker *w)
{
	const struct counts *c = &w->c;
	uint64_t in = c->received + c->released, out = c->sent + c->held + c->punted + w->inject.n;

	for (int i = 0; i < MADES; i++)
		in += c->made[i];
	for (int i = 0; i < DROPS; i++)
		out += c->drop[i];
	for (int i = 0; i < TOPO_PORTS; i++)
		out += w->tx[i].n;
	return (int64_t)(in - out);
}
