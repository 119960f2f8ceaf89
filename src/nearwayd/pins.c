/* SPDX-License-Identifier: BSD-3-Clause */
#include "pins.h"

#include "dp.h"
#include "frames.h"

#include <stdlib.h>

#define PIN_MS 50000 /* below 60 s: some time may pass in queues */

#define FIRST_MS 1000

struct pins {
	struct dp *dp;
	struct env_timer *timer;
};

/* To the VMs of a site we are the gateway of every other site, too, where no other router is heard. */
static void
pin(struct pins *p, uint16_t att)
{
	const struct topology *t = p->dp->topo;
	const struct topo_segment *s = &t->segments[t->attachments[att].seg];

	dp_send_attachment(p->dp, frame_pin(p->dp->pool, &s->gw_mac, &t->router_mac), att);
	for (uint16_t i = 1; s->per_site && !s->external && i <= t->n_peers; i++)
		if (!rte_is_zero_ether_addr(&s->peer_mac[i]))
			dp_send_attachment(
				p->dp, frame_pin(p->dp->pool, &s->peer_mac[i], &t->router_mac), att);
}

void
pins_send(struct pins *p, uint16_t port)
{
	const struct topology *t = p->dp->topo;

	for (uint16_t i = 0; i < t->n_attachments; i++)
		if (t->attachments[i].tunnel == 0 && t->attachments[i].port == port)
			pin(p, i);
}

static void
tick(void *arg)
{
	const struct topology *t = ((struct pins *)arg)->dp->topo;
	struct pins *p = arg;

	for (uint16_t i = 0; i < t->n_attachments; i++) /* a local VTEP learns as a switch does */
		if (t->attachments[i].tunnel != 0)
			pin(p, i);
	for (uint16_t i = 0; i < p->dp->topo->n_ports; i++)
		if (ports_at(p->dp->ports, i)->up)
			pins_send(p, i);
	p->dp->env->ops->timer_set(p->timer, PIN_MS);
}

struct pins *
pins_new(struct dp *dp)
{
	struct pins *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->dp = dp;
	p->timer = dp->env->ops->timer_new(dp->env->ctx, tick, p);
	if (p->timer == NULL) {
		free(p);
		return NULL;
	}
	return p;
}

void
pins_run(struct pins *p)
{
	p->dp->env->ops->timer_set(
		p->timer, FIRST_MS); /* links that are up were told already; local VTEPs not */
}

void
pins_free(struct pins *p)
{
	if (p == NULL)
		return;
	p->dp->env->ops->timer_free(p->timer);
	free(p);
}
