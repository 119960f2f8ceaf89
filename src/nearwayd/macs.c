/* SPDX-License-Identifier: BSD-3-Clause */
#include "macs.h"

#include "dp.h"
#include "loop.h"

#include <common/log.h>
#include <stdlib.h>

#define AGE_S	300
#define SCAN_MS 10000

struct macs {
	struct dp *dp;
	struct env_timer *timer;
	uint32_t *learnt; /* by entry: tick at which it was written */
	uint64_t refused;
	uint64_t warned_ms;
	struct mac_counts of[TOPO_SEGMENTS];
};

static uint32_t
now_s(const struct macs *m)
{
	return (uint32_t)(env_call(m->dp->env, now_ms) / 1000);
}

uint32_t
macs_idle_s(const struct macs *m, const struct mac_entry *e)
{
	uint32_t newest = m->learnt[e->entry], now = now_s(m);

	for (uint16_t i = 0; i < m->dp->plan->n_workers; i++) {
		uint32_t seen =
			__atomic_load_n(&loop_worker(m->dp->loops[i])->mac_seen[e->entry], __ATOMIC_RELAXED);

		if (seen > newest)
			newest = seen;
	}
	return newest < now ? now - newest : 0;
}

/* Forgets the hosts that `gone` says. */
static void
forget(struct macs *m, bool (*gone)(const struct macs *m, const struct mac_entry *e, uint16_t port),
	uint16_t port)
{
	struct vm_key_mac key;
	struct mac_entry e;
	uint32_t next = 0;
	bool any = false;

	while (mactab_next(m->dp->tables.macs, &next, &key, &e))
		if (gone(m, &e, port) && mactab_del(m->dp->tables.macs, &key) == 0) {
			m->of[key.seg].learnt--;
			any = true;
		}
	if (any)
		dp_unlinked(m->dp);
}

static bool
is_old(const struct macs *m, const struct mac_entry *e, uint16_t port)
{
	(void)port;
	return macs_idle_s(m, e) > AGE_S;
}

static bool
is_behind(const struct macs *m, const struct mac_entry *e, uint16_t port)
{
	const struct topo_attachment *a;

	if (e->router != ROUTER_SELF)
		return false;
	a = &m->dp->topo->attachments[e->att];
	return a->tunnel == 0 && a->port == port;
}

static void
scan(void *arg)
{
	struct macs *m = arg;

	forget(m, is_old, 0);
	m->dp->env->ops->timer_set(m->timer, SCAN_MS);
}

void
macs_forget_port(struct macs *m, uint16_t port)
{
	forget(m, is_behind, port);
}

static bool
is_removed(const struct macs *m, const struct mac_entry *e, uint16_t port)
{
	(void)port;
	return e->router != ROUTER_SELF && m->dp->topo->peers[e->router - 1].vtep == 0;
}

void
macs_forget_removed(struct macs *m)
{
	forget(m, is_removed, 0);
}

static const struct conf_segment *
segment(const struct macs *m, uint16_t seg)
{
	return list_at(m->dp->config->segments, struct conf_segment, seg);
}

static void
refused(struct macs *m, uint16_t seg, bool full)
{
	uint64_t now = env_call(m->dp->env, now_ms);
	const struct conf_segment *s = segment(m, seg);

	m->refused++;
	m->of[seg].refused++;
	if (m->warned_ms != 0 && now - m->warned_ms < 60000)
		return;
	m->warned_ms = now;
	log_warn("macs: segment %s: %s (%llu): frames to further hosts are flooded", s->name,
		full ? "the table is full, limits.macs" : "its macs are used up",
		(unsigned long long)(full ? m->dp->config->limits.macs : s->macs));
}

void
macs_learn(struct macs *m, const struct dp_event *ev)
{
	struct vm_key_mac key = {.mac = ev->mac, .seg = ev->seg};
	struct mac_entry e = {.att = ev->att, .router = ev->router}, was;
	bool known = mactab_find(m->dp->tables.macs, &key, 1, &was) != 0;
	struct mac_counts *of = &m->of[ev->seg];

	if (is_removed(m, &e, 0))
		return; /* told before the worker knew */
	if (!known && of->learnt >= segment(m, ev->seg)->macs) {
		refused(m, ev->seg, false);
		return;
	}
	if (mactab_put(m->dp->tables.macs, &key, &e) != 0) {
		refused(m, ev->seg, true);
		return;
	}
	of->learnt += !known;
	of->moved += known && (was.router != ev->router || was.att != ev->att);
	if (mactab_find(m->dp->tables.macs, &key, 1, &e) != 0)
		m->learnt[e.entry] = now_s(m);
}

const struct mac_counts *
macs_of(const struct macs *m, uint16_t seg)
{
	return &m->of[seg];
}

uint64_t
macs_refused(const struct macs *m)
{
	return m->refused;
}

struct macs *
macs_new(struct dp *dp)
{
	struct macs *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->dp = dp;
	m->learnt = calloc(mactab_entries(dp->tables.macs), sizeof(*m->learnt));
	m->timer = dp->env->ops->timer_new(dp->env->ctx, scan, m);
	if (m->learnt == NULL || m->timer == NULL) {
		macs_free(m);
		return NULL;
	}
	return m;
}

void
macs_run(struct macs *m)
{
	m->dp->env->ops->timer_set(m->timer, SCAN_MS);
}

void
macs_free(struct macs *m)
{
	if (m == NULL)
		return;
	if (m->timer != NULL)
		m->dp->env->ops->timer_free(m->timer);
	free(m->learnt);
	free(m);
}
