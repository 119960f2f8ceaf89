/* SPDX-License-Identifier: BSD-3-Clause */
#include "explain.h"

#include "describe.h"
#include "dp.h"
#include "trails.h"
#include "words.h"

#include <dataplane/pipeline.h>
#include <errno.h>

#define ENTRIES	   4096
#define SNAP	   192
#define ROUNDS_MAX 64 /* bursts until all that waits to be injected is through */

static uint16_t
throw_away(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	(void)port;
	rte_pktmbuf_free_bulk(m, n);
	return n;
}

static void
drop_for_ports_down(const struct dp *dp, struct worker *w)
{
	for (uint16_t i = 0; i < dp->topo->n_ports; i++) {
		struct vec *v = &w->tx[i];

		if (v->n == 0 || __atomic_load_n(&ports_at(dp->ports, i)->up, __ATOMIC_RELAXED))
			continue;
		for (uint16_t k = 0; k < v->n; k++)
			worker_drop(w, v->m[k], DROP_PORT_DOWN);
		v->n = 0;
	}
}

static void
run(const struct dp *dp, struct worker *w, struct rte_mbuf *m)
{
	struct vec rx = {.n = 1, .m = {m}};

	for (int i = 0; i < ROUNDS_MAX && (rx.n != 0 || w->inject.n != 0); i++) {
		pipeline_run(w, &rx);
		drop_for_ports_down(dp, w);
		worker_flush(w, throw_away, NULL);
	}
}

static json_t *
tell(const struct dp *dp, struct probe *probe)
{
	struct trails *t = trails_new(dp->topo, 1);
	json_t *rows = json_array(), *row;
	const struct probe_record *r;

	for (; t != NULL && (r = probe_next(probe)) != NULL; probe_done(probe))
		if ((row = trails_add(t, 0, r)) != NULL)
			json_array_append_new(rows, row);
	while (t != NULL && (row = trails_pop(t)) != NULL)
		json_array_append_new(rows, row);
	trails_free(t);
	return json_pack("{s:o}", "rows", rows);
}

json_t *
explain(struct dp *dp, const struct explain_params *p, struct err *e)
{
	const struct probe_match any = {.port = TOPO_NONE, .seg = TOPO_NONE, .proto = -1};
	struct rte_mbuf *m = describe_packet(dp, p, e);
	struct worker *w = m != NULL ? worker_new_scratch(dp->topo, &dp->tables, dp->pool) : NULL;
	struct probe *probe = w != NULL ? probe_new(&any, PROBE_ALL, SNAP, ENTRIES) : NULL;
	json_t *told = NULL;

	if (probe != NULL) {
		probe_take(w, probe);
		worker_tick(w, env_call(dp->env, now_ms) * 1000);
		run(dp, w, m);
		told = tell(dp, probe);
	} else if (m != NULL) {
		err_set(e, ENOMEM, "no memory for a worker to try it");
		rte_pktmbuf_free(m);
	}
	if (w != NULL)
		w->probe = NULL; /* what it held ends untold */
	worker_free(w);
	probe_free(probe);
	return told;
}
