/* SPDX-License-Identifier: BSD-3-Clause */
#include "watch.h"

#include "dp.h"
#include "loop.h"
#include "story.h"
#include "trails.h"
#include "words.h"

#include <dataplane/stages.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROW_BYTES   200	 /* of a captured packet's row, beside its data */
#define STORY_BYTES 2000 /* of a story, about */

struct watch {
	struct dp *dp;
	struct probe *probes[PLAN_WORKERS];
	struct trails *trails; /* NULL: a capture */
	uint64_t left;	       /* rows of a capture that are still wanted */
	uint64_t ends_ms;
	size_t bytes; /* of this answer, about */
};

/* ---- begin ---- */

static uint8_t
points_of(const struct watch_params *p)
{
	static const uint8_t point[] = {PROBE_RX, PROBE_SENT, PROBE_DROP};
	uint8_t points = 0;

	for (size_t i = 0; i < p->at.n; i++)
		points |= (uint8_t)(1u << point[list_at(p->at, const struct capture_at, i)->point]);
	return points != 0 ? points : 1 << PROBE_RX | 1 << PROBE_SENT | 1 << PROBE_DROP;
}

static uint16_t
snap_of(const struct watch *w, const struct watch_params *p)
{
	if (w->trails != NULL)
		return WATCH_SNAP;
	return (uint16_t)(p->snap != 0 ? p->snap : w->dp->plan->room);
}

static struct probe *
make_probe(const struct watch *w, const struct watch_params *p, const struct probe_match *q)
{
	uint8_t points = w->trails != NULL ? PROBE_ALL : points_of(p);
	uint16_t snap = snap_of(w, p);
	uint32_t room = WATCH_MEMORY / (uint32_t)(sizeof(struct probe_record) + snap);
	struct probe *probe = probe_new(q, points, snap, RTE_MIN(rte_align32prevpow2(room), WATCH_ENTRIES));

	if (probe != NULL && w->trails != NULL)
		probe->left = (uint32_t)p->count;
	return probe;
}

static void
give(struct watch *w, uint16_t worker, struct probe *p)
{
	__atomic_store_n(&loop_worker(w->dp->loops[worker])->probe_wanted, p, __ATOMIC_RELEASE);
}

static int
make(struct watch *w, const struct watch_params *p, bool capture, struct err *e)
{
	struct probe_match q;
	int rc = word_match(w->dp, &p->match, &q, e);

	if (rc != 0)
		return rc;
	w->left = p->count;
	w->ends_ms = env_call(w->dp->env, now_ms) + p->wait_ms;
	if (!capture && (w->trails = trails_new(w->dp->topo, (uint32_t)p->count)) == NULL)
		return err_set(e, ENOMEM, "no memory for a trace");
	for (uint16_t i = 0; i < w->dp->plan->n_workers; i++)
		if ((w->probes[i] = make_probe(w, p, &q)) == NULL)
			return err_set(e, ENOMEM, "no memory for a ring of %u bytes", WATCH_MEMORY);
	return 0;
}

struct watch *
watch_new(struct dp *dp, const struct watch_params *p, bool capture, struct err *e)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	w->dp = dp;
	if (make(w, p, capture, e) != 0) {
		watch_free(w);
		return NULL;
	}
	for (uint16_t i = 0; i < dp->plan->n_workers; i++)
		give(w, i, w->probes[i]);
	return w;
}

static void
free_probe(void *arg)
{
	probe_free(arg);
}

void
watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	for (uint16_t i = 0; i < w->dp->plan->n_workers; i++) {
		if (w->probes[i] == NULL)
			continue;
		give(w, i, NULL);
		if (rcu_defer(w->dp->tables.rcu, free_probe, w->probes[i]) != 0) {
			rcu_wait(w->dp->tables.rcu);
			probe_free(w->probes[i]);
		}
	}
	dp_unlinked(w->dp);
	trails_free(w->trails);
	free(w);
}

/* ---- rows of a capture ---- */

#define TAG_AT	(2 * RTE_ETHER_ADDR_LEN) /* where a VLAN tag stands in a frame */
#define TAG_LEN 4

static void
put_hex(char *to, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		to[2 * i] = digits[p[i] >> 4];
		to[2 * i + 1] = digits[p[i] & 15];
	}
}

/* The VLAN of a tag that was taken off at receive and is to be shown again. */
static uint16_t
missing_tag(const struct topology *t, const struct probe_record *r)
{
	static const uint8_t tagged[] = {0x81, 0x00};
	const struct meta *md = &r->meta;

	if (r->point == PROBE_SENT || md->origin == FROM_TUNNEL || md->origin == FROM_SELF ||
		r->len < TAG_AT + 2 || memcmp(r->data + TAG_AT, tagged, sizeof(tagged)) == 0)
		return 0;
	if (md->in_att != TOPO_NONE) /* classify knew it */
		return t->attachments[md->in_att].vlan;
	return md->seg == TOPO_NONE && !md->l3_known ? md->vlan : 0;
}

static json_t *
hex_of(const struct probe_record *r, uint16_t vlan)
{
	size_t n = r->len + (vlan != 0 ? TAG_LEN : 0);
	const uint8_t tag[TAG_LEN] = {0x81, 0x00, (uint8_t)(vlan >> 8), (uint8_t)vlan};
	char *hex = malloc(2 * n + 1);
	json_t *v;

	if (hex == NULL)
		return json_null();
	if (vlan != 0) {
		put_hex(hex, r->data, TAG_AT);
		put_hex(hex + 2 * TAG_AT, tag, TAG_LEN);
		put_hex(hex + 2 * (TAG_AT + TAG_LEN), r->data + TAG_AT, r->len - TAG_AT);
	} else {
		put_hex(hex, r->data, r->len);
	}
	v = json_stringn(hex, 2 * n);
	free(hex);
	return v;
}

/* What was dropped came in by a port, or is the router's own and was to leave by one. */
static uint8_t
port_of(const struct probe_record *r)
{
	if (r->point != PROBE_DROP)
		return r->what;
	return r->meta.origin == FROM_SELF ? r->meta.out_port : r->meta.in_port;
}

static json_t *
capture_row(const struct watch *w, const struct probe_record *r)
{
	static const char *const words[] = {[PROBE_RX] = "rx", [PROBE_SENT] = "tx", [PROBE_DROP] = "drop"};
	uint16_t vlan = missing_tag(w->dp->topo, r);
	json_t *o = json_pack("{s:I, s:s, s:s, s:I, s:o}", "time-ns", (json_int_t)trails_wall_ns(r->tsc),
		"at", words[r->point], "port", w->dp->topo->ports[port_of(r)].name, "length",
		(json_int_t)(r->wire_len + (vlan != 0 ? TAG_LEN : 0)), "data", hex_of(r, vlan));

	if (r->point != PROBE_DROP)
		return o;
	json_object_set_new(o, "reason", json_string(drop_names[r->what].name));
	json_object_set_new(o, "help", json_string(drop_names[r->what].help));
	return o;
}

/* ---- reading ---- */

static void
take(struct watch *w, uint16_t worker, const struct probe_record *r, json_t *rows)
{
	json_t *row = NULL;

	if (w->trails != NULL) {
		row = trails_add(w->trails, worker, r);
		w->bytes += row != NULL ? STORY_BYTES : 0;
	} else if (w->left > 0) {
		row = capture_row(w, r);
		w->left--;
		w->bytes += ROW_BYTES + 2u * r->len;
	}
	if (row != NULL)
		json_array_append_new(rows, row);
}

/* False: there is more than one answer holds. */
static bool
drain(struct watch *w, json_t *rows)
{
	for (uint16_t i = 0; i < w->dp->plan->n_workers; i++) {
		const struct probe_record *r;

		while ((r = probe_next(w->probes[i])) != NULL) {
			if (w->bytes >= WATCH_PAGE)
				return false;
			take(w, i, r, rows);
			probe_done(w->probes[i]);
		}
	}
	return true;
}

/* What is not over when the time is: as far as it got. */
static bool
finish(struct watch *w, json_t *rows)
{
	json_t *row;

	while (w->trails != NULL && w->bytes < WATCH_PAGE && (row = trails_pop(w->trails)) != NULL) {
		json_array_append_new(rows, row);
		w->bytes += STORY_BYTES;
	}
	return w->bytes < WATCH_PAGE;
}

static uint64_t
lost(const struct watch *w)
{
	uint64_t n = w->trails != NULL ? trails_lost(w->trails) : 0;

	for (uint16_t i = 0; i < w->dp->plan->n_workers; i++)
		n += probe_lost(w->probes[i]);
	return n;
}

json_t *
watch_read(struct watch *w, bool *more)
{
	json_t *rows = json_array();
	bool drained;

	w->bytes = 0;
	drained = drain(w, rows);
	*more = w->trails != NULL ? !trails_complete(w->trails) : w->left > 0;
	if (*more && drained && env_call(w->dp->env, now_ms) >= w->ends_ms)
		*more = !finish(w, rows);
	return json_pack("{s:o, s:I}", "rows", rows, "lost", (json_int_t)lost(w));
}
