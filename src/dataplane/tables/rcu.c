/* SPDX-License-Identifier: BSD-3-Clause */
#include "rcu.h"

#include <errno.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <stdlib.h>

struct deferred {
	uint64_t token;
	void (*fn)(void *arg);
	void *arg;
};

struct rcu {
	struct rte_rcu_qsbr *qsbr;
	struct deferred *queue; /* a ring: tokens rise, so the first that waits holds up the rest */
	uint32_t head, n, cap;
};

struct rcu *
rcu_new(uint32_t max_workers)
{
	struct rcu *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	r->qsbr = rte_zmalloc("rcu", rte_rcu_qsbr_get_memsize(max_workers), RTE_CACHE_LINE_SIZE);
	if (r->qsbr == NULL || rte_rcu_qsbr_init(r->qsbr, max_workers) != 0) {
		rcu_free(r);
		rte_errno = ENOMEM;
		return NULL;
	}
	return r;
}

void
rcu_free(struct rcu *r)
{
	if (r == NULL)
		return;
	rte_free(r->qsbr);
	free(r->queue);
	free(r);
}

struct rte_rcu_qsbr *
rcu_qsbr(struct rcu *r)
{
	return r->qsbr;
}

int
rcu_register(struct rcu *r, uint32_t worker)
{
	return rte_rcu_qsbr_thread_register(r->qsbr, worker) == 0 ? 0 : -EINVAL;
}

uint64_t
rcu_start(struct rcu *r)
{
	return rte_rcu_qsbr_start(r->qsbr);
}

bool
rcu_passed(struct rcu *r, uint64_t token)
{
	return rte_rcu_qsbr_check(r->qsbr, token, false) == 1;
}

void
rcu_wait(struct rcu *r)
{
	uint64_t token = rcu_start(r);

	while (!rcu_passed(r, token))
		rte_delay_us_sleep(10); /* a worker may need this very core to get there */
}

static int
grow(struct rcu *r)
{
	uint32_t cap = r->cap == 0 ? 64 : r->cap * 2;
	struct deferred *q = calloc(cap, sizeof(*q));

	if (q == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->n; i++)
		q[i] = r->queue[(r->head + i) % r->cap];
	free(r->queue);
	r->queue = q;
	r->cap = cap;
	r->head = 0;
	return 0;
}

int
rcu_defer(struct rcu *r, void (*fn)(void *arg), void *arg)
{
	if (r->n == r->cap && grow(r) != 0)
		return -ENOMEM;
	r->queue[(r->head + r->n++) % r->cap] = (struct deferred){rcu_start(r), fn, arg};
	return 0;
}

/* An entry leaves the queue before it runs, so that it may defer something itself. */
uint32_t
rcu_poll(struct rcu *r)
{
	while (r->n != 0) {
		struct deferred d = r->queue[r->head];

		if (!rcu_passed(r, d.token))
			break;
		r->head = (r->head + 1) % r->cap;
		r->n--;
		d.fn(d.arg);
	}
	return r->n;
}
