/* SPDX-License-Identifier: BSD-3-Clause */
/* Next hop to Ethernet header; packets wait, bounded, while the control thread resolves it. */
#include <dataplane/icmp_error.h>
#include <dataplane/ip4.h>
#include <dataplane/pipeline.h>

static void
write_ether(struct worker *w, struct rte_mbuf *m, const struct neigh *n)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);

	eth->dst_addr = n->mac;
	eth->src_addr = w->topo->ports[meta(m)->out_port].mac;
	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	meta(m)->out_vlan = 0;
}

static bool
may_hold(const struct worker *w, const struct meta *md)
{
	uint16_t same = 0;

	for (uint16_t i = 0; i < w->n_hold; i++) {
		const struct meta *h = meta(w->hold[i]);

		same += h->enter == ENTER_NEIGH && h->via == md->via && h->out_port == md->out_port;
	}
	return w->n_hold < HOLD_MAX && same < HOLD_PER_NEIGHBOUR;
}

static void
hold(struct worker *w, struct rte_mbuf *m, bool ask)
{
	struct meta *md = meta(m);

	if (ask) /* even if the packet cannot wait: else who fills the queue keeps others from being resolved */
		worker_event(w, &(const struct dp_event){
					.kind = EVENT_NEIGH_WANT, .port = md->out_port, .ip = md->via});
	if (!may_hold(w, md)) {
		worker_drop(w, m, DROP_HOLD_FULL);
		return;
	}
	worker_hold(w, m, ENTER_NEIGH);
}

static void
resolve_some(struct worker *w, struct rte_mbuf **m, uint16_t n, struct vec *port)
{
	struct neigh_key key[BURST_MAX] = {{0}};
	struct neigh neigh[BURST_MAX];

	for (uint16_t i = 0; i < n; i++)
		key[i] = (struct neigh_key){.ip = meta(m[i])->via, .port = meta(m[i])->out_port};
	neightab_find(w->tables->neighbours, key, n, neigh);
	for (uint16_t i = 0; i < n; i++) {
		switch (neigh[i].state) {
		case NEIGH_REACHABLE:
			write_ether(w, m[i], &neigh[i]);
			vec_add(port, m[i]);
			break;
		case NEIGH_FAILED:
			icmp_error_drop(w, m[i], DROP_NEIGHBOUR_FAILED, 0);
			break;
		default:
			hold(w, m[i], neigh[i].state == NEIGH_NONE);
		}
	}
}

void
neighbour(struct worker *w, struct vec *in, struct vec *port)
{
	for (uint16_t i = 0; i < in->n; i += BURST_MAX)
		resolve_some(w, in->m + i, RTE_MIN(BURST_MAX, in->n - i), port);
}
