/* SPDX-License-Identifier: BSD-3-Clause */
#include "pins.h"

#include "dp.h"
#include "frames.h"

#include <stdlib.h>

#define PIN_MS 50000 /* below 60 s: some time may pass in queues */

struct pins {
	struct dp *dp;
	struct env_timer *timer;
};

void
pins_send(struct pins *p, uint16_t port)
{
	const struct topology *t = p->dp->topo;

	for (uint16_t i = 0; i < t->n_attachments; i++) {
		const struct topo_attachment *a = &t->attachments[i];
		struct rte_mbuf *m;

		if (a->port != port)
			continue;
		m = frame_pin(p->dp->pool, &t->segments[a->seg].gw_mac);
		dp_send(p->dp, m, a->port, a->vlan);
	}
}

static void
tick(void *arg)
{
	struct pins *p = arg;

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
	p->dp->env->ops->timer_set(p->timer, PIN_MS); /* links that are up were told already */
}

void
pins_free(struct pins *p)
{
	if (p == NULL)
		return;
	p->dp->env->ops->timer_free(p->timer);
	free(p);
}
