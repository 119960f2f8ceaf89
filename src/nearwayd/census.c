/* SPDX-License-Identifier: BSD-3-Clause */
#include "census.h"

#include "dp.h"

#include <common/log.h>
#include <dataplane/vmrec.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <uthash.h>

#define STEP	  2048 /* buckets, about 1 MB, */
#define STEP_MS	  1    /* in so much time */
#define EVERY_MS  10000
#define FORGET_MS 100 /* for more homes to come */
#define FRESH_MS  1500

struct home {
	rte_be32_t addr;
	uint64_t n, counting;
	UT_hash_handle hh;
};

struct homes { /* that are gone */
	rte_be32_t *addr;
	uint32_t n, room;
};

struct census {
	struct dp *dp;
	struct env_timer *timer;
	uint64_t due_ms; /* of the next walk */
	bool walking, counted;
	struct sessions_walk walk;
	struct home *homes;
	uint64_t total, counting, ended_ms;
	struct homes gone, freeing; /* for the next walk; by this one */
};

static uint64_t
now_ms(const struct census *c)
{
	return env_call(c->dp->env, now_ms);
}

/* The next walk begins in so much time, or earlier. */
static void
soon(struct census *c, uint64_t after_ms)
{
	if (c->walking || c->due_ms <= now_ms(c) + after_ms)
		return;
	c->due_ms = now_ms(c) + after_ms;
	c->dp->env->ops->timer_set(c->timer, after_ms);
}

static void
count(void *arg, rte_be32_t addr)
{
	struct census *c = arg;
	struct home *h;

	c->counting++;
	HASH_FIND(hh, c->homes, &addr, sizeof(addr), h);
	if (h == NULL && (h = calloc(1, sizeof(*h))) != NULL) {
		h->addr = addr;
		HASH_ADD(hh, c->homes, addr, sizeof(h->addr), h);
	}
	if (h != NULL)
		h->counting++;
}

static int
compare(const void *a, const void *b)
{
	rte_be32_t x = *(const rte_be32_t *)a, y = *(const rte_be32_t *)b;

	return x < y ? -1 : x > y;
}

/* Not even the end of one would be seen; and of TCP what nobody knows is of before. */
static bool
tells_nothing(const struct session_key *k, const struct vm_rec *rec)
{
	return (k->vni_proto & 0xff) == IPPROTO_TCP && !vm_has_homes(rec);
}

/* Of an address that its VM had to give up. It may have it again by now, or another VM: those sessions stay. */
static bool
is_gone(void *arg, const struct session_key *k, rte_be32_t home)
{
	const struct census *c = arg;
	struct vm_key_ip key = {.ip = k->vm};
	const struct vm_rec *rec;

	if (bsearch(&home, c->freeing.addr, c->freeing.n, sizeof(home), compare) == NULL)
		return false;
	key.seg = topo_segment_by_vni(c->dp->topo, k->vni_proto >> 8);
	vmtab_by_ip(c->dp->tables.vms, &key, 1, &rec);
	return rec == NULL || vm_home_router(rec, k->vm, home) == VM_NO_HOME || tells_nothing(k, rec);
}

static void
begin(struct census *c)
{
	struct homes spare = c->freeing;

	c->freeing = c->gone;
	c->gone = spare;
	c->gone.n = 0;
	if (c->freeing.n != 0)
		qsort(c->freeing.addr, c->freeing.n, sizeof(*c->freeing.addr), compare);
	c->walk = (struct sessions_walk){.tick = (uint32_t)(now_ms(c) / 1000),
		.gone = c->freeing.n != 0 ? is_gone : NULL,
		.kept = count,
		.arg = c};
	c->counting = 0;
	c->walking = true;
}

static void
end(struct census *c)
{
	struct home *h, *tmp;

	HASH_ITER (hh, c->homes, h, tmp) {
		h->n = h->counting;
		h->counting = 0;
		if (h->n != 0)
			continue;
		HASH_DEL(c->homes, h);
		free(h);
	}
	c->total = c->counting;
	c->ended_ms = now_ms(c);
	c->counted = true;
	c->walking = false;
	c->due_ms = UINT64_MAX;
	soon(c, c->gone.n != 0 ? FORGET_MS : EVERY_MS);
}

static void
tick(void *arg)
{
	struct census *c = arg;

	if (!c->walking)
		begin(c);
	if (sessions_walk(c->dp->tables.sessions, &c->walk, STEP))
		c->dp->env->ops->timer_set(c->timer, STEP_MS);
	else
		end(c);
}

bool
census_sessions(struct census *c, rte_be32_t home, uint64_t *n)
{
	bool fresh = c->counted && now_ms(c) <= c->ended_ms + FRESH_MS;
	struct home *h;

	if (!fresh)
		soon(c, 0);
	HASH_FIND(hh, c->homes, &home, sizeof(home), h);
	*n = home == 0 ? c->total : h != NULL ? h->n : 0;
	return fresh;
}

void
census_forget(struct census *c, rte_be32_t home)
{
	struct homes *g = &c->gone;

	if (home == 0)
		return;
	if (g->n == g->room) {
		uint32_t room = g->room != 0 ? 2 * g->room : 64;
		rte_be32_t *more = realloc(g->addr, room * sizeof(*more));

		if (more == NULL) {
			log_error(
				"sessions: no memory: those of an address that is gone stay until they age");
			return;
		}
		g->addr = more;
		g->room = room;
	}
	g->addr[g->n++] = home;
	soon(c, FORGET_MS);
}

struct census *
census_new(struct dp *dp)
{
	struct census *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->dp = dp;
	c->due_ms = UINT64_MAX;
	c->timer = dp->env->ops->timer_new(dp->env->ctx, tick, c);
	if (c->timer == NULL) {
		free(c);
		return NULL;
	}
	return c;
}

void
census_run(struct census *c)
{
	soon(c, 0);
}

void
census_free(struct census *c)
{
	struct home *h, *tmp;

	if (c == NULL)
		return;
	HASH_ITER (hh, c->homes, h, tmp) {
		HASH_DEL(c->homes, h);
		free(h);
	}
	c->dp->env->ops->timer_free(c->timer);
	free(c->gone.addr);
	free(c->freeing.addr);
	free(c);
}
