/* SPDX-License-Identifier: BSD-3-Clause */
#include "listing.h"

#include "dp.h"

#include <stdlib.h>

#define STEP	2048 /* buckets, about 1 MB, */
#define STEP_MS 1    /* in so much time */
#define LOOK	16   /* of them at once: by so many a page may be longer */

_Static_assert((int)FWD_SESSION_FIN_FROM_VM == (int)SESSION_FIN_FROM_VM &&
		       (int)FWD_SESSION_FIN_TO_VM == (int)SESSION_FIN_TO_VM &&
		       (int)FWD_SESSION_RST == (int)SESSION_RST &&
		       (int)FWD_SESSION_GUESSED == (int)SESSION_GUESSED,
	"sessions tell the same in both");

struct whose {
	uint64_t key; /* VNI and private address */
	struct fwd_listed of;
};

struct fwd_list {
	struct dp *dp;
	struct env_timer *timer;
	struct whose *whose; /* by key */
	size_t n_whose;
	uint32_t bucket;	  /* the next one */
	struct fwd_session *rows; /* room for the limit, and for LOOK buckets more */
	size_t n, limit;
	void (*page)(void *arg, const struct fwd_session *rows, size_t n, bool more);
	void *arg;
};

static uint32_t
tick_now(const struct dp *dp)
{
	return (uint32_t)(env_call(dp->env, now_ms) / 1000);
}

static uint64_t
key_of(uint32_t vni, rte_be32_t ip)
{
	return (uint64_t)vni << 32 | ip;
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = ((const struct whose *)a)->key, y = ((const struct whose *)b)->key;

	return x < y ? -1 : x > y;
}

static void
seen(void *arg, const struct sessions_info *s)
{
	struct fwd_list *l = arg;
	struct whose probe = {.key = key_of(s->key.vni_proto >> 8, s->key.vm)};
	const struct whose *w = bsearch(&probe, l->whose, l->n_whose, sizeof(probe), compare);

	if (w == NULL)
		return;
	l->rows[l->n++] = (struct fwd_session){
		.which = w->of.which,
		.segment = w->of.segment,
		.protocol = (uint8_t)s->key.vni_proto,
		.flags = s->flags,
		.private_ip = w->of.private_ip,
		.remote_ip = rte_be_to_cpu_32(s->key.remote),
		.global_ip = rte_be_to_cpu_32(s->home),
		.port = rte_be_to_cpu_16(s->key.vm_port),
		.remote_port = rte_be_to_cpu_16(s->key.remote_port),
		.idle_s = s->idle_s,
	};
}

static void
step(void *arg)
{
	struct fwd_list *l = arg;
	bool more = true;

	for (int left = STEP; left > 0 && more && l->n < l->limit; left -= LOOK)
		more = sessions_look(l->dp->tables.sessions, tick_now(l->dp), &l->bucket, LOOK, seen, l);
	if (more && l->n < l->limit)
		l->dp->env->ops->timer_set(l->timer, STEP_MS);
	else
		l->page(l->arg, l->rows, l->n, more);
}

void
listing_next(struct fwd_list *l, void (*page)(void *arg, const struct fwd_session *rows, size_t n, bool more),
	void *arg)
{
	l->n = 0;
	l->page = page;
	l->arg = arg;
	l->dp->env->ops->timer_set(l->timer, 0);
}

static void
ask_for(struct fwd_list *l, const struct fwd_listed *of, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t vni = l->dp->topo->segments[of[i].segment].vni;

		l->whose[i] = (struct whose){key_of(vni, rte_cpu_to_be_32(of[i].private_ip)), of[i]};
	}
	l->n_whose = n;
	qsort(l->whose, n, sizeof(*l->whose), compare);
}

struct fwd_list *
listing_new(struct dp *dp, const struct fwd_listed *of, size_t n, size_t limit)
{
	struct fwd_list *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->dp = dp;
	l->limit = limit;
	l->timer = dp->env->ops->timer_new(dp->env->ctx, step, l);
	l->whose = calloc(n + 1, sizeof(*l->whose));
	l->rows = calloc(limit + LOOK * SESSIONS_A_BUCKET, sizeof(*l->rows));
	if (l->timer == NULL || l->whose == NULL || l->rows == NULL) {
		listing_free(l);
		return NULL;
	}
	ask_for(l, of, n);
	return l;
}

void
listing_free(struct fwd_list *l)
{
	if (l == NULL)
		return;
	if (l->timer != NULL)
		l->dp->env->ops->timer_free(l->timer);
	free(l->whose);
	free(l->rows);
	free(l);
}

void
listing_learn(struct dp *dp, const struct fwd_session *rows, size_t n, struct fwd_learnt *out)
{
	uint32_t now = tick_now(dp);

	*out = (struct fwd_learnt){0};
	for (size_t i = 0; i < n; i++) {
		const struct fwd_session *r = &rows[i];
		struct session_key k = {
			.vm = rte_cpu_to_be_32(r->private_ip),
			.remote = rte_cpu_to_be_32(r->remote_ip),
			.vm_port = rte_cpu_to_be_16(r->port),
			.remote_port = rte_cpu_to_be_16(r->remote_port),
			.vni_proto = dp->topo->segments[r->segment].vni << 8 | r->protocol,
		};
		enum session_result what = sessions_learn(
			dp->tables.sessions, &k, now - r->idle_s, r->flags, rte_cpu_to_be_32(r->global_ip));

		out->noted += what == SESSION_NOTED;
		out->known += what == SESSION_FOUND;
		out->no_room += what == SESSION_FULL;
	}
}
