/* SPDX-License-Identifier: BSD-3-Clause */
#include "passing.h"

#include <common/err.h>
#include <dataplane/node.h>
#include <errno.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <stdio.h>

uint16_t
passing_owner(const struct port *p, uint16_t queue, uint16_t workers)
{
	return (p->index + queue) % workers;
}

static bool
owns_any(const struct passing *x, const struct port *p)
{
	for (uint16_t q = 0; q < p->rxqs; q++)
		if (passing_owner(p, q, x->workers) == x->id)
			return true;
	return false;
}

/* Of another node where this one has no memory left. */
static struct rte_ring *
make_ring(const char *what, uint16_t from, uint16_t to, int node)
{
	char name[RTE_RING_NAMESIZE];
	struct rte_ring *r;

	snprintf(name, sizeof(name), "nw_%s_%u_%u", what, from, to);
	r = rte_ring_create(name, OUTLET_RING, node, RING_F_SP_ENQ | RING_F_SC_DEQ);
	return r != NULL ? r
			 : rte_ring_create(name, OUTLET_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static int
open_outlets(struct passing *x, int node)
{
	x->distributes = true;
	for (uint16_t to = 0; to < x->workers; to++) {
		if (to == x->id || x->out[to].ring != NULL)
			continue;
		x->out[to].ring = make_ring("pass", x->id, to, node);
		if (x->out[to].ring == NULL)
			return -rte_errno;
	}
	return 0;
}

static int
open_exit(struct passing *x, const struct port *p, int node)
{
	struct exit *e = &x->exits[p->index];

	e->queue = (uint16_t)(x->workers + x->id - p->index % x->workers) % x->workers;
	e->to = x->id;
	if (e->queue < p->txqs)
		return 0;
	e->to = passing_owner(p, e->queue % p->txqs, x->workers);
	e->ring = make_ring("exit", x->id, p->index, node);
	return e->ring != NULL ? 0 : -rte_errno;
}

int
passing_open(struct passing *x, const struct ports *ps, const struct plan *plan, uint16_t id, int node,
	struct err *e)
{
	int rc = 0;

	x->id = id;
	x->workers = plan->n_workers;
	for (uint16_t i = 0; i < plan->n_ports && rc == 0; i++) {
		const struct port *p = ports_at(ps, i);

		if (p->rxqs < x->workers && owns_any(x, p))
			rc = open_outlets(x, node);
		if (rc == 0)
			rc = open_exit(x, p, node);
	}
	return rc == 0 ? 0 : err_set(e, -rc, "worker %u: no memory for rings to other workers", id);
}

void
passing_close(struct passing *x)
{
	for (uint16_t i = 0; i < PLAN_WORKERS; i++)
		rte_ring_free(x->out[i].ring);
	for (uint16_t i = 0; i < PLAN_PORTS; i++)
		rte_ring_free(x->exits[i].ring);
	while (x->relays != NULL) {
		struct relay *r = x->relays;

		x->relays = r->next;
		rte_free(r);
	}
}

int
passing_join(struct passing *x, const struct passing *from, int node)
{
	for (uint16_t i = 0; i < PLAN_PORTS; i++) {
		const struct exit *e = &from->exits[i];
		struct relay *r;

		if (e->ring == NULL || e->to != x->id)
			continue;
		r = node_zalloc("relay", sizeof(*r), node);
		if (r == NULL)
			return -ENOMEM;
		r->ring = e->ring;
		r->port = i;
		r->next = x->relays;
		x->relays = r;
	}
	return 0;
}
