/* SPDX-License-Identifier: BSD-3-Clause */
#include "trails.h"

#include "story.h"

#include <rte_cycles.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

struct trail {	      /* one packet on its way */
	uint64_t key; /* worker << 32 | packet */
	uint32_t number, of;
	struct probe_record *records[TRAILS_RECORDS];
	size_t n;
	UT_hash_handle hh;
};

struct trails {
	const struct topology *topo;
	struct trail *open;
	uint32_t limit;	  /* packets that come in */
	uint32_t begun;	  /* of these */
	uint32_t numbers; /* given, to all */
	uint64_t lost;
};

struct trails *
trails_new(const struct topology *t, uint32_t limit)
{
	struct trails *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->topo = t;
	x->limit = limit;
	return x;
}

static void
trail_free(struct trails *t, struct trail *r)
{
	HASH_DEL(t->open, r);
	for (size_t i = 0; i < r->n; i++)
		free(r->records[i]);
	free(r);
}

void
trails_free(struct trails *t)
{
	struct trail *r, *tmp;

	if (t == NULL)
		return;
	HASH_ITER (hh, t->open, r, tmp)
		trail_free(t, r);
	free(t);
}

uint64_t
trails_lost(const struct trails *t)
{
	return t->lost;
}

bool
trails_complete(const struct trails *t)
{
	return t->begun == t->limit && t->open == NULL;
}

static uint64_t
key_of(uint16_t worker, uint32_t packet)
{
	return (uint64_t)worker << 32 | packet;
}

static struct trail *
find(struct trails *t, uint64_t key)
{
	struct trail *r;

	HASH_FIND(hh, t->open, &key, sizeof(key), r);
	return r;
}

/* A packet that comes in, or is made of one that is known. NULL: not one to follow. */
static struct trail *
begin(struct trails *t, uint16_t worker, const struct probe_record *first)
{
	struct trail *of = first->parent != 0 ? find(t, key_of(worker, first->parent)) : NULL;
	struct trail *r;

	if ((first->point != PROBE_RX && first->point != PROBE_MADE) || (first->parent != 0 && of == NULL) ||
		(of == NULL && t->begun == t->limit))
		return NULL;
	r = HASH_COUNT(t->open) < TRAILS_MAX ? calloc(1, sizeof(*r)) : NULL;
	if (r == NULL) {
		t->lost++;
		return NULL;
	}
	t->begun += of == NULL;
	r->key = key_of(worker, first->packet);
	r->number = ++t->numbers;
	r->of = of != NULL ? of->number : 0;
	HASH_ADD(hh, t->open, key, sizeof(r->key), r);
	return r;
}

static void
keep(struct trails *t, struct trail *r, const struct probe_record *record)
{
	size_t size = sizeof(*record) + record->len;
	struct probe_record *copy = malloc(size);

	if (copy == NULL) {
		t->lost++;
		return;
	}
	memcpy(copy, record, size);
	if (r->n == TRAILS_RECORDS)
		free(r->records[--r->n]);
	r->records[r->n++] = copy;
}

int64_t
trails_wall_ns(uint64_t tsc)
{
	struct timespec ts;
	double ago = (double)(rte_rdtsc() - tsc) * 1e9 / (double)rte_get_tsc_hz();

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec - (int64_t)ago;
}

static json_t *
tell(struct trails *t, struct trail *r)
{
	struct story s = {.topo = t->topo,
		.number = r->number,
		.of = r->of,
		.tsc_hz = rte_get_tsc_hz(),
		.records = (const struct probe_record *const *)r->records,
		.n = r->n};
	json_t *story = NULL;

	if (r->n != 0) {
		s.time_ns = trails_wall_ns(r->records[0]->tsc);
		story = story_tell(&s);
	}
	trail_free(t, r);
	return story;
}

json_t *
trails_add(struct trails *t, uint16_t worker, const struct probe_record *record)
{
	struct trail *r = find(t, key_of(worker, record->packet));

	if (r == NULL)
		r = begin(t, worker, record);
	if (r == NULL)
		return NULL;
	keep(t, r, record);
	return story_has_ended(record) ? tell(t, r) : NULL;
}

json_t *
trails_pop(struct trails *t)
{
	return t->open != NULL ? tell(t, t->open) : NULL;
}
