/* SPDX-License-Identifier: BSD-3-Clause */
#include "vm_hold.h"

#include "worker.h"

#include <errno.h>
#include <rte_hash_crc.h>
#include <stdlib.h>

#define LOOKS_BUSY   8u	  /* records that a burst of packets looks at: some cycles for each of 32 */
#define LOOKS_IDLE   256u /* and an empty one: before a worker sleeps it has seen most of them */
#define BATCH	     32u
#define INJECT_SHARE 16 /* of a burst: what else waits to enter keeps so much of it */

struct vm_queue {
	TAILQ_ENTRY(vm_queue) use;
	struct vm_queue *next; /* of its bucket, or free */
	struct vm_key_mac vm;
	struct rte_mbuf *first, *last;
	struct rte_mbuf *back; /* the last of those that were released and came back: they stand in front */
	uint32_t packets;
	uint32_t held, released, dropped; /* since its first packet */
	uint64_t bytes;
};

/* ---- queues ---- */

int
vm_hold_init(struct vm_hold *h, uint32_t vms)
{
	h->size = rte_align32pow2(RTE_MAX(vms, 1u));
	h->bucket = calloc(h->size, sizeof(*h->bucket));
	h->all = calloc(h->size, sizeof(*h->all)); /* not touched before it is used */
	TAILQ_INIT(&h->queues);
	return h->bucket != NULL && h->all != NULL ? 0 : -ENOMEM;
}

void
vm_hold_fini(struct vm_hold *h)
{
	struct vm_queue *q;

	if (h->all != NULL)
		TAILQ_FOREACH (q, &h->queues, use)
			for (struct rte_mbuf *m = q->first, *next; m != NULL; m = next) {
				next = meta(m)->behind;
				rte_pktmbuf_free(m);
			}
	free(h->all);
	free(h->bucket);
}

static struct vm_queue **
bucket_of(const struct vm_hold *h, const struct vm_key_mac *vm)
{
	uint64_t key;

	_Static_assert(sizeof(key) == sizeof(*vm), "a VM's key is a word");
	memcpy(&key, vm, sizeof(key));
	return &h->bucket[rte_hash_crc_8byte(key, 0) & (h->size - 1)];
}

static struct vm_queue *
find(const struct vm_hold *h, const struct vm_rec *vm)
{
	struct vm_key_mac key = {.mac = vm->mac, .seg = vm->seg};
	struct vm_queue *q = *bucket_of(h, &key);

	while (q != NULL && memcmp(&q->vm, &key, sizeof(key)) != 0)
		q = q->next;
	return q;
}

static struct vm_queue *
add(struct vm_hold *h, const struct vm_rec *vm)
{
	struct vm_key_mac key = {.mac = vm->mac, .seg = vm->seg};
	struct vm_queue **bucket = bucket_of(h, &key), *q = h->free;

	if (q != NULL)
		h->free = q->next;
	else if (h->fresh < h->size)
		q = &h->all[h->fresh++];
	else
		return NULL;
	*q = (struct vm_queue){.vm = key, .next = *bucket};
	*bucket = q;
	TAILQ_INSERT_TAIL(&h->queues, q, use);
	h->n_queues++;
	return q;
}

static void
del(struct vm_hold *h, struct vm_queue *q)
{
	struct vm_queue **at = bucket_of(h, &q->vm);

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	TAILQ_REMOVE(&h->queues, q, use);
	q->next = h->free;
	h->free = q;
	h->n_queues--;
}

/* ---- packets ---- */

/* Behind `after`, or in front of all. */
static void
insert(struct vm_queue *q, struct rte_mbuf *m, struct rte_mbuf *after)
{
	struct rte_mbuf **at = after != NULL ? &meta(after)->behind : &q->first;

	meta(m)->behind = *at;
	*at = m;
	if (q->last == after)
		q->last = m;
}

static void
count(struct vm_hold *h, struct vm_queue *q, const struct rte_mbuf *m, int sign)
{
	int64_t bytes = sign * (int64_t)rte_pktmbuf_pkt_len(m);

	q->packets += (uint32_t)sign;
	q->bytes += (uint64_t)bytes;
	h->packets += (uint32_t)sign;
	h->bytes += (uint64_t)bytes;
}

/* Was it released from this queue in this burst? Its address may have become another VM's. */
static bool
came_back(const struct vm_queue *q, const struct meta *md)
{
	return (md->flags & META_RELEASED) && q->released > 0;
}

static void
put(struct worker *w, struct vm_queue *q, struct rte_mbuf *m, uint8_t enter)
{
	struct meta *md = meta(m);
	bool again = came_back(q, md);

	md->enter = enter;
	md->vm = NULL; /* for the probe; its place is for `behind` then */
	if (unlikely(w->probe != NULL))
		probe_note(w, m, PROBE_HELD, enter);
	w->c.held++;
	count(&w->vm_hold, q, m, 1);
	if (again) {
		insert(q, m, q->back);
		q->back = m;
		q->released--;
	} else {
		md->held_ms = w->now_ms;
		insert(q, m, q->last);
		q->held++;
	}
}

static struct rte_mbuf *
pop(struct worker *w, struct vm_queue *q)
{
	struct rte_mbuf *m = q->first;

	q->first = meta(m)->behind;
	if (q->first == NULL)
		q->last = NULL;
	if (q->back == m)
		q->back = NULL;
	meta(m)->vm = NULL;
	count(&w->vm_hold, q, m, -1);
	w->c.released++;
	return m;
}

/* Workers share the limits in equal parts: none asks another. */
static bool
has_room(const struct worker *w, const struct vm_queue *q, const struct rte_mbuf *m)
{
	const struct topo_hold *most = &w->topo->hold;
	uint32_t n = RTE_MAX(w->topo->n_workers, 1), len = rte_pktmbuf_pkt_len(m);

	return w->vm_hold.packets < most->packets / n && w->vm_hold.bytes + len <= most->bytes / n &&
	       q->packets < most->vm_packets / n && q->bytes + len <= most->vm_bytes / n;
}

/* Of a segment that somebody else stretches: it is their frame, and comes to the VM without us. */
static bool
is_of_fabric(const struct worker *w, const struct meta *md, uint8_t enter)
{
	return enter == ENTER_BRIDGE && md->origin == FROM_DC && w->topo->segments[md->seg].external;
}

/* What was released stands in front of its stage's vector, in order: so a packet passes unless one that is older waits. */
static bool
passes(const struct vm_queue *q, const struct meta *md, const struct vm_rec *vm)
{
	if (vm_hold_due(vm))
		return false;
	return q == NULL || (md->flags & META_RELEASED ? q->back == NULL : q->packets == 0);
}

bool
vm_hold_take(struct worker *w, struct rte_mbuf *m, const struct vm_rec *vm, uint8_t enter)
{
	struct vm_queue *q = find(&w->vm_hold, vm);
	const struct meta *md = meta(m);

	if (passes(q, md, vm) || is_of_fabric(w, md, enter))
		return false;
	if (q == NULL)
		q = add(&w->vm_hold, vm);
	if (q != NULL && (came_back(q, md) || has_room(w, q, m))) {
		put(w, q, m, enter);
		return true;
	}
	if (q != NULL)
		q->dropped++;
	worker_drop(w, m, DROP_VM_HOLD_FULL);
	return true;
}

/* ---- rounds ---- */

static void
drop_first(struct worker *w, struct vm_queue *q, enum drop why)
{
	q->dropped++;
	worker_drop(w, pop(w, q), why);
}

static void
drop_expired(struct worker *w, struct vm_queue *q)
{
	while (q->first != NULL && w->now_ms - meta(q->first)->held_ms >= w->topo->hold.most_ms)
		drop_first(w, q, DROP_VM_HOLD_EXPIRED);
}

static void
release(struct worker *w, struct vm_queue *q, struct vec *rx, uint16_t most)
{
	q->back = NULL; /* whoever comes back now is older than all that wait */
	while (q->first != NULL && rx->n < most) {
		struct rte_mbuf *m = pop(w, q);

		meta(m)->flags |= META_RELEASED;
		q->released++;
		vec_add(rx, m);
	}
}

static bool
tell(struct worker *w, const struct vm_queue *q)
{
	struct dp_event ev = {.kind = EVENT_HOLD_OVER,
		.seg = q->vm.seg,
		.mac = q->vm.mac,
		.held = q->held,
		.released = q->released,
		.dropped = q->dropped};

	return w->scratch || (!rte_ring_full(w->events[EVENT_HOLD_OVER]) && worker_event(w, &ev));
}

static void
look_later(struct vm_hold *h, struct vm_queue *q)
{
	TAILQ_REMOVE(&h->queues, q, use);
	TAILQ_INSERT_TAIL(&h->queues, q, use);
}

/* The VM waits no more. A queue that was empty before this burst is over: nothing of it can come back. */
static void
go_on(struct worker *w, struct vm_queue *q, bool gone, struct vec *rx, uint16_t most)
{
	struct vm_hold *h = &w->vm_hold;

	if (q->first == NULL && tell(w, q)) {
		del(h, q);
		return;
	}
	if (gone)
		while (q->first != NULL)
			drop_first(w, q, DROP_VM_HOLD_GONE);
	release(w, q, rx, most);
	h->behind = q->first != NULL;
	if (!h->behind)
		look_later(h, q);
}

static void
look(struct worker *w, struct vm_queue *q, const struct vm_rec *vm, struct vec *rx, uint16_t most)
{
	if (vm == NULL || !vm_hold_due(vm)) {
		go_on(w, q, vm == NULL, rx, most);
		return;
	}
	drop_expired(w, q);
	look_later(&w->vm_hold, q);
}

/* At the first so many, in the order in which their turn comes. */
static void
look_at(struct worker *w, uint32_t n, struct vec *rx, uint16_t most)
{
	struct vm_hold *h = &w->vm_hold;
	struct vm_key_mac key[BATCH] = {{{{0}}}};
	struct vm_queue *q[BATCH], *next = TAILQ_FIRST(&h->queues);
	const struct vm_rec *vm[BATCH];

	for (uint32_t i = 0; i < n; i++, next = TAILQ_NEXT(next, use)) {
		key[i] = next->vm;
		q[i] = next;
	}
	vmtab_by_mac(w->tables->vms, key, n, vm);
	for (uint32_t i = 0; i < n && !h->behind; i++)
		look(w, q[i], vm[i], rx, most);
}

void
vm_hold_round(struct worker *w, struct vec *rx)
{
	uint16_t most = BURST_MAX - RTE_MIN(w->inject.n, (uint16_t)INJECT_SHARE);
	uint32_t left = RTE_MIN(w->vm_hold.n_queues, rx->n != 0 ? LOOKS_BUSY : LOOKS_IDLE), n;

	w->vm_hold.behind = false;
	for (; left > 0 && !w->vm_hold.behind; left -= n) {
		n = RTE_MIN(left, BATCH);
		look_at(w, n, rx, most);
	}
}
