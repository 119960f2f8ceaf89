/* SPDX-License-Identifier: BSD-3-Clause */
#include "announce.h"

#include "dp.h"
#include "frames.h"

#include <stdlib.h>

#define RETRY_MS 1

struct announces {
	struct dp *dp;
	struct env_timer *timer;
	uint32_t first, n;
	struct announcement wait[ANNOUNCE_MAX]; /* n of them from `first` on, round and round */
};

static struct rte_mbuf *
frame(struct announces *a, const struct announcement *one, const struct topo_segment *s)
{
	switch ((enum fwd_announce)one->what) {
	case FWD_RARP:
		return frame_rarp(a->dp->pool, &one->mac);
	case FWD_GARP:
		return frame_arp_request(a->dp->pool, &one->mac, &s->gw_mac, s->gw_ip, s->gw_ip);
	default: /* no sender address, so no host learns anything from it; the answer goes to the gateway's MAC */
		return frame_arp_request(a->dp->pool, NULL, &s->gw_mac, 0, one->ip);
	}
}

static void
send_one(struct announces *a, const struct announcement *one)
{
	const struct topo_segment *s = &a->dp->topo->segments[one->segment];

	for (uint16_t i = 0; i < s->n_attachments; i++)
		dp_send_attachment(a->dp, frame(a, one, s), s->attachments[i]);
}

static void
send_waiting(void *arg)
{
	struct announces *a = arg;

	while (a->n > 0 && dp_orders_waiting(a->dp) < ORDER_RING / 2) {
		send_one(a, &a->wait[a->first]);
		a->first = (a->first + 1) % ANNOUNCE_MAX;
		a->n--;
	}
	if (a->n > 0)
		a->dp->env->ops->timer_set(a->timer, RETRY_MS);
}

void
announce(struct announces *a, const struct announcement *one)
{
	if (a->n == ANNOUNCE_MAX) {
		a->dp->frames_lost++;
		return;
	}
	a->wait[(a->first + a->n) % ANNOUNCE_MAX] = *one;
	if (a->n++ == 0) /* else the timer runs */
		send_waiting(a);
}

struct announces *
announces_new(struct dp *dp)
{
	struct announces *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->dp = dp;
	a->timer = dp->env->ops->timer_new(dp->env->ctx, send_waiting, a);
	if (a->timer == NULL) {
		free(a);
		return NULL;
	}
	return a;
}

void
announces_free(struct announces *a)
{
	if (a == NULL)
		return;
	a->dp->env->ops->timer_free(a->timer);
	free(a);
}
