/* SPDX-License-Identifier: BSD-3-Clause */
#include "events.h"

#include "dp.h"
#include "fwd.h"
#include "loop.h"
#include "macs.h"
#include "neighs.h"
#include "punt.h"

#include <common/log.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define POLL_MS 2
#define BUDGET \
	256 /* of one kind and worker in one go: none starves another, nor the rest of the control thread */

struct events {
	struct dp *dp;
	struct env_timer *timer; /* busy workers, and what a budget left over */
	struct event *readable;
	int fd;
	atomic_bool kicked;
};

static void
handle(struct events *e, const struct dp_event *ev)
{
	switch ((enum dp_event_kind)ev->kind) {
	case EVENT_MAC_LEARN:
		macs_learn(e->dp->macs, ev);
		break;
	case EVENT_NEIGH_WANT:
		neighs_want(e->dp->neighs, ev->port, ev->ip);
		break;
	case EVENT_NEIGH_SEEN:
		neighs_seen(e->dp->neighs, ev->port, ev->ip, &ev->mac);
		break;
	case EVENT_LOOP:
		dp_hold_floods(e->dp, ev->seg);
		fwd_tell(e->dp->fwd, ev);
		break;
	case EVENT_VM_SEEN:
	case EVENT_CONFLICT:
	case EVENT_HOLD_OVER:
		fwd_tell(e->dp->fwd, ev);
		break;
	case EVENTS:
		break;
	}
}

static bool
drain_ring(struct events *e, struct rte_ring *r)
{
	struct dp_event ev;

	for (int i = 0; i < BUDGET; i++) {
		if (rte_ring_sc_dequeue_elem(r, &ev, sizeof(ev)) != 0)
			return false;
		handle(e, &ev);
	}
	return !rte_ring_empty(r);
}

/* True when a budget ran out before a ring did. */
static bool
drain(struct events *e)
{
	bool more = punt_drain(e->dp->punt);

	for (uint16_t i = 0; i < e->dp->plan->n_workers; i++)
		for (int k = 0; k < EVENTS; k++)
			more |= drain_ring(e, loop_worker(e->dp->loops[i])->events[k]);
	return more;
}

static void
tick(void *arg)
{
	struct events *e = arg;
	bool more = drain(e);

	if (more || e->dp->config->dataplane.poll == POLL_BUSY)
		e->dp->env->ops->timer_set(e->timer, more ? 0 : POLL_MS);
}

static void
on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct events *e = arg;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	atomic_store(&e->kicked, false); /* before looking: a worker that adds now kicks again */
	tick(e);
}

void
events_kick(struct events *e)
{
	uint64_t one = 1;

	if (!atomic_exchange(&e->kicked, true) && write(e->fd, &one, sizeof(one)) < 0)
		atomic_store(&e->kicked, false);
}

struct events *
events_new(struct dp *dp, struct event_base *base)
{
	struct events *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->dp = dp;
	e->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	e->timer = dp->env->ops->timer_new(dp->env->ctx, tick, e);
	e->readable = e->fd >= 0 ? event_new(base, e->fd, EV_READ | EV_PERSIST, on_kick, e) : NULL;
	if (e->timer == NULL || e->readable == NULL) {
		events_free(e);
		return NULL;
	}
	return e;
}

void
events_run(struct events *e)
{
	event_add(e->readable, NULL);
	e->dp->env->ops->timer_set(e->timer, 0);
}

void
events_free(struct events *e)
{
	if (e == NULL)
		return;
	if (e->readable != NULL)
		event_free(e->readable);
	if (e->timer != NULL)
		e->dp->env->ops->timer_free(e->timer);
	if (e->fd >= 0)
		close(e->fd);
	free(e);
}
