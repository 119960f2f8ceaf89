/* SPDX-License-Identifier: BSD-3-Clause */
#include "probe.h"

#include "view.h"
#include "worker.h"

#include <rte_cycles.h>
#include <stdlib.h>
#include <string.h>

#define LOOK 192 /* bytes that a filter looks at: outer and inner headers with options */

/* ---- the filter ---- */

static bool
is_vm_ip(const struct probe_match *q, rte_be32_t ip)
{
	for (uint8_t i = 0; i < q->n_vm_ips; i++)
		if (q->vm_ips[i] == ip)
			return true;
	return false;
}

static bool
has_mac(const struct frame_view *v, const struct rte_ether_addr *mac)
{
	return rte_is_same_ether_addr(&v->src, mac) || rte_is_same_ether_addr(&v->dst, mac);
}

static bool
is_of_vm(const struct probe_match *q, const struct frame_view *v)
{
	return has_mac(v, &q->vm_mac) || ((v->ip || v->arp) && (is_vm_ip(q, v->sip) || is_vm_ip(q, v->dip)));
}

static bool
view_fits(const struct probe_match *q, const struct frame_view *v)
{
	if (!v->ether || (q->ethertype != 0 && v->ethertype != q->ethertype))
		return false;
	if (q->by_mac && !has_mac(v, &q->mac))
		return false;
	if (q->by_vm && !is_of_vm(q, v))
		return false;
	if (q->host != 0 && (!(v->ip || v->arp) || (v->sip != q->host && v->dip != q->host)))
		return false;
	if (q->proto >= 0 && (!v->ip || v->proto != q->proto))
		return false;
	return q->l4_port == 0 ||
	       (v->ports && v->proto != IPPROTO_ICMP && (v->sport == q->l4_port || v->dport == q->l4_port));
}

static uint16_t
segment_at(const struct topology *t, uint16_t port, uint16_t vlan)
{
	uint16_t att = t->ports[port].role == TOPO_DC ? t->ports[port].attachment[vlan & 0xfff] : TOPO_NONE;

	return att != TOPO_NONE ? t->attachments[att].seg : TOPO_NONE;
}

bool
probe_fits(const struct probe_match *q, const struct topology *t, const struct rte_mbuf *m, uint16_t port,
	uint16_t vlan)
{
	uint8_t buf[LOOK];
	uint32_t len = RTE_MIN(rte_pktmbuf_pkt_len(m), (uint32_t)LOOK);
	const uint8_t *p = rte_pktmbuf_read(m, 0, len, buf);
	struct frame_view v, inner;

	if (q->port != TOPO_NONE && q->port != port)
		return false;
	frame_look(p, len, &v);
	if ((q->seg == TOPO_NONE || q->seg == segment_at(t, port, vlan)) && view_fits(q, &v))
		return true;
	if (v.inner == 0 || (q->seg != TOPO_NONE && q->seg != topo_segment_by_vni(t, v.vni)))
		return false;
	frame_look(p + v.inner, len - v.inner, &inner);
	return view_fits(q, &inner);
}

/* ---- the ring ---- */

static struct probe_record *
slot(const struct probe *p, uint32_t at)
{
	return (struct probe_record *)(void *)(p->ring + (size_t)(at & (p->entries - 1)) * p->stride);
}

struct probe *
probe_new(const struct probe_match *match, uint8_t points, uint16_t snap, uint32_t entries)
{
	struct probe *p = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*p));

	if (p == NULL)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->match = *match;
	p->points = points;
	p->snap = snap;
	p->left = UINT32_MAX;
	p->entries = rte_align32pow2(entries);
	p->stride = RTE_ALIGN((uint32_t)sizeof(struct probe_record) + snap, (uint32_t)RTE_CACHE_LINE_SIZE);
	p->ring = aligned_alloc(RTE_CACHE_LINE_SIZE, (size_t)p->entries * p->stride);
	if (p->ring == NULL) {
		probe_free(p);
		return NULL;
	}
	return p;
}

void
probe_free(struct probe *p)
{
	if (p == NULL)
		return;
	free(p->ring);
	free(p);
}

const struct probe_record *
probe_next(struct probe *p)
{
	return __atomic_load_n(&p->head, __ATOMIC_ACQUIRE) != p->tail ? slot(p, p->tail) : NULL;
}

void
probe_done(struct probe *p)
{
	__atomic_store_n(&p->tail, p->tail + 1, __ATOMIC_RELEASE);
}

uint64_t
probe_lost(const struct probe *p)
{
	return __atomic_load_n(&p->lost, __ATOMIC_RELAXED);
}

/* The slot `ahead` of the head, or NULL, counted. */
static struct probe_record *
reserve(struct probe *p, uint32_t ahead)
{
	if (p->head + ahead - __atomic_load_n(&p->tail, __ATOMIC_ACQUIRE) < p->entries)
		return slot(p, p->head + ahead);
	__atomic_store_n(&p->lost, p->lost + 1, __ATOMIC_RELAXED);
	return NULL;
}

static void
commit(struct probe *p, uint32_t n)
{
	__atomic_store_n(&p->head, p->head + n, __ATOMIC_RELEASE);
}

static void
copy_vm(struct probe_vm *to, const struct vm_rec *vm)
{
	*to = (struct probe_vm){.known = vm != NULL};
	if (vm == NULL)
		return;
	to->owner = vm->owner;
	to->location = vm->location;
	to->n_drains = vm->n_drains;
	to->seg = vm->seg;
	to->att = vm->att;
	to->mac = vm->mac;
}

static void
fill(const struct probe *p, struct probe_record *r, const struct rte_mbuf *m)
{
	const struct meta *md = rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m);
	const void *d;

	r->tsc = rte_rdtsc();
	r->packet = md->probe;
	r->parent = 0;
	r->wire_len = rte_pktmbuf_pkt_len(m);
	r->len = (uint16_t)RTE_MIN(r->wire_len, (uint32_t)p->snap);
	r->meta = *md;
	copy_vm(&r->vm, md->vm);
	d = rte_pktmbuf_read(m, 0, r->len, r->data);
	if (d != NULL && d != r->data)
		memcpy(r->data, d, r->len);
}

static bool
wants(const struct probe *p, enum probe_point point)
{
	return p->points >> point & 1;
}

static bool
is_marked(const struct probe *p, const struct meta *md)
{
	return md->probe != 0 && (int32_t)(md->probe - p->first) >= 0;
}

static struct probe_record *
record(struct probe *p, const struct rte_mbuf *m, enum probe_point point, uint8_t what)
{
	struct probe_record *r = reserve(p, 0);

	if (r == NULL)
		return NULL;
	fill(p, r, m);
	r->point = (uint8_t)point;
	r->what = what;
	return r;
}

/* ---- the worker's side ---- */

static uint32_t
next_number(struct worker *w)
{
	if (++w->probe_numbers == 0)
		w->probe_numbers = 1;
	return w->probe_numbers;
}

void
probe_take(struct worker *w, struct probe *p)
{
	w->probe = p;
	if (p != NULL)
		p->first = w->probe_numbers + 1;
}

static void
enters(struct worker *w, struct rte_mbuf *m, enum probe_point point, uint8_t what)
{
	struct probe *p = w->probe;
	struct meta *md = meta(m);
	uint16_t port = point == PROBE_RX ? md->in_port : md->out_port;

	md->probe = 0;
	if (p->left == 0 ||
		!probe_fits(&p->match, w->topo, m, port, point == PROBE_RX ? md->vlan : md->out_vlan))
		return;
	p->left -= p->left != UINT32_MAX;
	md->probe = next_number(w);
	if (wants(p, point) && record(p, m, point, what) != NULL)
		commit(p, 1);
}

void
probe_received(struct worker *w, struct rte_mbuf *m)
{
	struct meta *md = meta(m);

	/* An mbuf's last user leaves traces; classify says more. */
	*md = (struct meta){.origin = md->origin,
		.enter = ENTER_RX,
		.in_port = md->in_port,
		.vlan = md->vlan,
		.seg = TOPO_NONE,
		.in_att = TOPO_NONE};
	enters(w, m, PROBE_RX, md->in_port);
}

void
probe_ordered(struct worker *w, struct rte_mbuf *m, uint8_t made)
{
	enters(w, m, PROBE_MADE, made);
}

void
probe_child(struct worker *w, const struct rte_mbuf *parent, struct rte_mbuf *child, uint8_t made)
{
	const struct meta *from = rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)parent);
	struct probe *p = w->probe;
	struct probe_record *r;

	meta(child)->probe = 0;
	if (!is_marked(p, from))
		return;
	meta(child)->probe = next_number(w);
	if (!wants(p, PROBE_MADE) || (r = record(p, child, PROBE_MADE, made)) == NULL)
		return;
	r->parent = from->probe;
	commit(p, 1);
}

void
probe_note(struct worker *w, struct rte_mbuf *m, enum probe_point point, uint8_t what)
{
	struct probe *p = w->probe;

	if (is_marked(p, meta(m)) && wants(p, point) && record(p, m, point, what) != NULL)
		commit(p, 1);
}

void
probe_stage(struct worker *w, uint8_t stage, const struct vec *v)
{
	struct rte_mbuf *m;
	uint16_t i;

	vec_foreach (v, m, i)
		if (stage != STAGE_CLASSIFY ||
			meta(m)->enter != ENTER_RX) /* the record of its receipt says the same */
			probe_note(w, m, PROBE_STAGE, stage);
}

uint32_t
probe_sending(struct worker *w, uint8_t port, const struct vec *v)
{
	struct probe *p = w->probe;
	struct rte_mbuf *m;
	uint32_t n = 0;
	uint16_t i;

	if (!wants(p, PROBE_SENT))
		return 0;
	vec_foreach (v, m, i) {
		struct probe_record *r = is_marked(p, meta(m)) ? reserve(p, n) : NULL;

		if (r == NULL)
			continue;
		fill(p, r, m);
		r->point = PROBE_SENT;
		r->what = port;
		r->place = i;
		n++;
	}
	return n;
}

void
probe_sent(struct worker *w, uint32_t prepared, uint16_t sent)
{
	struct probe *p = w->probe;
	uint32_t n = 0;

	while (n < prepared && slot(p, p->head + n)->place < sent)
		n++;
	commit(p, n);
}
