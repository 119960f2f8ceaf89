/* SPDX-License-Identifier: BSD-3-Clause */
#include "world.h"

#include <errno.h>
#include <net/keys.h>
#include <stdarg.h>
#include <stdio.h>
#include <uthash.h>
#include <utlist.h>

#define EPOCH_WALL INT64_C(1790000000000) /* the wall clock at world time 0 */

/* ---- random, the heap of events ---- */

static uint64_t
next_random(uint64_t s[2]) /* xoroshiro128+ */
{
	uint64_t a = s[0], b = s[1], sum = a + b;

	b ^= a;
	s[0] = (a << 24 | a >> 40) ^ b ^ (b << 16);
	s[1] = b << 37 | b >> 27;
	return sum;
}

uint64_t
world_random(struct world *w, uint64_t below)
{
	return below ? next_random(w->random) % below : 0;
}

struct heap_event {
	uint64_t at, serial;
	void (*fn)(void *arg);
	void *arg;
};

static bool
before(const struct heap_event *a, const struct heap_event *b)
{
	return a->at != b->at ? a->at < b->at : a->serial < b->serial;
}

static void
at(struct world *w, uint64_t when, void (*fn)(void *arg), void *arg)
{
	struct heap_event e = {when, ++w->serial, fn, arg};
	size_t i = w->n_heap++;

	if (w->n_heap > w->heap_size) {
		w->heap_size = w->heap_size ? 2 * w->heap_size : 256;
		w->heap = realloc(w->heap, w->heap_size * sizeof(*w->heap));
	}
	for (; i > 0 && before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

static struct heap_event
pop(struct world *w)
{
	struct heap_event top = w->heap[0], last = w->heap[--w->n_heap];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < w->n_heap) {
		if (child + 1 < w->n_heap && before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!before(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return top;
}

bool
world_step(struct world *w, uint64_t until)
{
	struct heap_event e;

	if (w->n_heap == 0 || w->heap[0].at > until)
		return false;
	e = pop(w);
	if (e.at > w->now)
		w->now = e.at;
	e.fn(e.arg);
	return true;
}

void
world_run(struct world *w, uint64_t ms)
{
	uint64_t until = w->now + ms;

	while (world_step(w, until))
		;
	w->now = until;
}

/* ---- clocks and timers; memory of ended ones is kept until the end of the world ---- */

struct env_timer {
	struct node *node;
	void (*cb)(void *arg);
	void *arg;
	uint64_t version; /* of the setting that counts */
	bool dead;
	struct env_timer *next;
};

struct firing {
	struct env_timer *t;
	uint64_t version;
};

static uint64_t
op_now(void *ctx)
{
	struct node *n = ctx;

	return n->w->now - n->boot_base + 1000;
}

static int64_t
op_wall(void *ctx)
{
	struct node *n = ctx;

	return EPOCH_WALL + (int64_t)n->w->now + n->wall_offset;
}

static const char *
op_boot_id(void *ctx)
{
	return ((struct node *)ctx)->boot_id;
}

static struct env_timer *
op_timer_new(void *ctx, void (*cb)(void *arg), void *arg)
{
	struct env_timer *t = calloc(1, sizeof(*t));
	struct node *n = ctx;

	*t = (struct env_timer){.node = n, .cb = cb, .arg = arg};
	LL_PREPEND(n->w->timers, t);
	return t;
}

static void
fire(void *arg)
{
	struct firing f = *(struct firing *)arg;

	free(arg);
	if (!f.t->dead && f.t->version == f.version)
		f.t->cb(f.t->arg);
}

static void
op_timer_set(struct env_timer *t, uint64_t after_ms)
{
	struct firing *f = malloc(sizeof(*f));

	*f = (struct firing){t, ++t->version};
	at(t->node->w, t->node->w->now + after_ms, fire, f);
}

static void
op_timer_stop(struct env_timer *t)
{
	t->version++;
}

static void
op_timer_free(struct env_timer *t)
{
	t->dead = true;
}

static void
op_random(void *ctx, void *buf, size_t n)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(next_random(((struct node *)ctx)->w->random) >> 32);
}

/* ---- streams: chunks in order, late; a cut holds them up ---- */

struct chunk {
	uint64_t at;
	size_t n; /* 0: the other end has closed */
	struct chunk *next;
	uint8_t bytes[];
};

struct env_stream {
	struct node *node;
	unsigned int generation;
	struct node *remote;	  /* NULL until connected */
	struct env_stream *other; /* and NULL after either end */
	const struct env_stream_ops *ops;
	void *arg;
	bool open;
	struct chunk *chunks; /* to be delivered here */
	uint64_t last_at;
	uint64_t written_at; /* that much at this moment: the loop has sent nothing of it yet */
	size_t written;
	char address[112];
	struct env_stream *next;
};

struct env_listener {
	struct node *node;
	char address[112];
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id);
	void *arg;
	bool open;
	struct env_listener *next;
};

static bool
is_cut(const struct env_stream *s)
{
	return s->remote && s->remote != s->node && s->node->w->cut[s->node->index][s->remote->index];
}

static uint64_t
delay(struct world *w)
{
	return w->delay_min + world_random(w, w->delay_max - w->delay_min + 1);
}

static void deliver(void *arg);

static void
send_chunk(struct env_stream *to, const void *p, size_t n)
{
	struct chunk *c = malloc(sizeof(*c) + n);
	struct world *w = to->node->w;

	c->n = n;
	if (n)
		memcpy(c->bytes, p, n);
	c->at = w->now + delay(w);
	if (c->at < to->last_at)
		c->at = to->last_at;
	to->last_at = c->at;
	LL_APPEND(to->chunks, c);
	at(w, c->at, deliver, to);
}

static void
drop_chunks(struct env_stream *s)
{
	struct chunk *c, *next;

	LL_FOREACH_SAFE(s->chunks, c, next)
	free(c);
	s->chunks = NULL;
}

static void
end_stream(struct env_stream *s, const char *why)
{
	if (!s->open)
		return;
	s->open = false;
	s->other = NULL;
	drop_chunks(s);
	if (why && s->ops && s->ops->closed)
		s->ops->closed(s->arg, why);
}

static void
deliver(void *arg)
{
	struct env_stream *s = arg;
	struct chunk *c = s->chunks;

	if (!s->open || !c)
		return;
	if (!s->ops || is_cut(s)) {
		at(s->node->w, s->node->w->now + 50, deliver, s);
		return;
	}
	LL_DELETE(s->chunks, c);
	if (c->n == 0)
		end_stream(s, "closed by the other side");
	else
		s->ops->data(s->arg, c->bytes, c->n);
	free(c);
}

static struct env_stream *
stream_new(struct node *n)
{
	struct env_stream *s = calloc(1, sizeof(*s));

	s->node = n;
	s->generation = n->generation;
	s->open = true;
	LL_PREPEND(n->w->streams, s);
	return s;
}

static struct env_listener *
find_listener(struct world *w, const char *address)
{
	struct env_listener *l;

	LL_FOREACH(w->listeners, l)
	if (l->open && strcmp(l->address, address) == 0)
		return l;
	return NULL;
}

static void
connect_now(void *arg)
{
	struct env_stream *s = arg, *t;
	struct env_listener *l;
	struct env_peer_id id = {0};

	if (!s->open)
		return;
	l = find_listener(s->node->w, s->address);
	if (!l || s->node->w->cut[s->node->index][l->node->index]) {
		end_stream(s, "cannot be reached");
		return;
	}
	t = stream_new(l->node);
	s->other = t;
	s->remote = t->node;
	t->other = s;
	t->remote = s->node;
	id.local = strncmp(s->address, "unix:", 5) == 0;
	snprintf(id.text, sizeof(id.text), "%s", s->node->name);
	l->accepted(l->arg, t, &id);
	if (s->open && s->ops->connected)
		s->ops->connected(s->arg);
}

static struct env_stream *
op_dial(void *ctx, const char *address, const struct env_stream_ops *ops, void *arg)
{
	struct node *n = ctx;
	struct env_stream *s = stream_new(n);
	struct env_listener *l = find_listener(n->w, address);

	s->ops = ops;
	s->arg = arg;
	snprintf(s->address, sizeof(s->address), "%s", address);
	at(n->w, n->w->now + (l && n->w->cut[n->index][l->node->index] ? 3000 : 2 * delay(n->w)), connect_now,
		s);
	return s;
}

static struct env_listener *
op_listen(void *ctx, const char *address,
	void (*accepted)(void *, struct env_stream *, const struct env_peer_id *), void *arg, struct err *e)
{
	struct node *n = ctx;
	struct env_listener *l;

	if (find_listener(n->w, address)) {
		err_set(e, EADDRINUSE, "%s is in use", address);
		return NULL;
	}
	l = calloc(1, sizeof(*l));
	l->node = n;
	l->accepted = accepted;
	l->arg = arg;
	l->open = true;
	snprintf(l->address, sizeof(l->address), "%s", address);
	LL_PREPEND(n->w->listeners, l);
	return l;
}

static void
op_listener_close(struct env_listener *l)
{
	l->open = false;
}

static void
op_stream_attach(struct env_stream *s, const struct env_stream_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
}

static int
op_stream_write(struct env_stream *s, const void *p, size_t n)
{
	if (s->written_at != s->node->w->now)
		s->written = 0;
	s->written_at = s->node->w->now;
	if (s->written + n > ENV_STREAM_QUEUE_MAX)
		return -ENOSPC;
	s->written += n;
	if (s->open && s->other && n > 0)
		send_chunk(s->other, p, n);
	return 0;
}

static void
op_stream_close(struct env_stream *s)
{
	struct env_stream *other = s->other;

	if (!s->open)
		return;
	end_stream(s, NULL);
	if (!other)
		return;
	send_chunk(other, NULL, 0);
	other->other = NULL;
}

static void
op_stream_pause(struct env_stream *s, bool paused)
{
	(void)s;
	(void)paused;
}

/* ---- store: rows, and commits on their way ---- */

struct stored {
	char key[160]; /* "KIND KEY" */
	char *value;
	UT_hash_handle hh;
};

struct pending { /* a commit, or a read in its turn */
	struct node *node;
	struct env_row *rows;
	size_t n;
	void (*done)(void *arg, int rc);
	char kind[16], after[32]; /* of what is read, */
	size_t limit;
	void (*got)(void *arg, int rc, const struct env_row *rows, size_t n); /* NULL: a commit */
	void *arg;
	struct pending *prev, *next;
};

void
stored_set(struct node *n, const char *kind, const char *key, const char *value)
{
	struct stored *s;
	char name[160];

	snprintf(name, sizeof(name), "%s %s", kind, key);
	HASH_FIND_STR(n->rows, name, s);
	if (s) {
		HASH_DEL(n->rows, s);
		free(s->value);
		free(s);
	}
	if (!value)
		return;
	s = calloc(1, sizeof(*s));
	strcpy(s->key, name);
	s->value = strdup(value);
	HASH_ADD_STR(n->rows, key, s);
}

const char *
stored_row(struct node *n, const char *kind, const char *key)
{
	struct stored *s;
	char name[160];

	snprintf(name, sizeof(name), "%s %s", kind, key);
	HASH_FIND_STR(n->rows, name, s);
	return s ? s->value : NULL;
}

unsigned int
stored_count(struct node *n, const char *kind)
{
	size_t len = strlen(kind);
	unsigned int count = 0;
	struct stored *s;

	for (s = n->rows; s; s = s->hh.next)
		count += strncmp(s->key, kind, len) == 0 && s->key[len] == ' ';
	return count;
}

const char *
stored_at(struct node *n, unsigned int i, const char **value)
{
	struct stored *s = n->rows;

	while (s && i-- > 0)
		s = s->hh.next;
	*value = s ? s->value : NULL;
	return s ? s->key : NULL;
}

void
stored_clear(struct node *n)
{
	struct stored *s, *next;

	HASH_ITER (hh, n->rows, s, next) {
		HASH_DEL(n->rows, s);
		free(s->value);
		free(s);
	}
}

static int
compare_rows(const void *a, const void *b)
{
	return strcmp((*(struct stored *const *)a)->key, (*(struct stored *const *)b)->key);
}

/* All rows as from the store: ordered by kind and key. */
static struct stored **
rows_in_order(struct node *n)
{
	struct stored **all = calloc(HASH_COUNT(n->rows) + 1, sizeof(*all)), *s;
	size_t i = 0;

	for (s = n->rows; s; s = s->hh.next)
		all[i++] = s;
	qsort(all, i, sizeof(*all), compare_rows);
	return all;
}

static void
read_end(struct pending *p, int rc)
{
	struct stored **all = rows_in_order(p->node);
	size_t len = strlen(p->kind), n = 0;
	struct env_row *rows = calloc(HASH_COUNT(p->node->rows) + 1, sizeof(*rows));

	for (size_t i = 0; all[i] && n < p->limit; i++)
		if (strncmp(all[i]->key, p->kind, len) == 0 && all[i]->key[len] == ' ' &&
			strcmp(all[i]->key + len + 1, p->after) > 0)
			rows[n++] = (struct env_row){p->kind, all[i]->key + len + 1, all[i]->value};
	p->got(p->arg, rc, rows, rc ? 0 : n);
	free(rows);
	free(all);
}

static void
commit_end(struct pending *p, int rc)
{
	for (size_t i = 0; i < p->n; i++) {
		if (rc == 0)
			stored_set(p->node, p->rows[i].kind, p->rows[i].key, p->rows[i].value);
		free((char *)(uintptr_t)p->rows[i].kind);
		row_free(&p->rows[i]);
	}
	free(p->rows);
	p->done(p->arg, rc);
}

static void
pending_end(struct pending *p, int rc)
{
	DL_DELETE(p->node->pending, p);
	if (p->got)
		read_end(p, rc);
	else
		commit_end(p, rc);
	free(p);
}

static void
pending_now(void *arg)
{
	struct node *n = arg;
	bool refuse = false;

	if (!n->pending)
		return;
	if (!n->pending->got) {
		refuse = n->commits_to_fail > 0;
		n->commits_to_fail -= refuse;
		n->n_commits++;
		n->n_rows += n->pending->n;
	}
	pending_end(n->pending, refuse ? -ENOSPC : 0);
}

static void
pend(struct node *n, struct pending *p)
{
	p->node = n;
	DL_APPEND(n->pending, p);
	at(n->w, n->w->now + 1 + world_random(n->w, 5), pending_now, n);
}

static void
op_read(void *ctx, const struct env_range *range,
	void (*done)(void *arg, int rc, const struct env_row *rows, size_t n), void *arg)
{
	struct pending *p = calloc(1, sizeof(*p));

	*p = (struct pending){.limit = range->limit, .got = done, .arg = arg};
	snprintf(p->kind, sizeof(p->kind), "%s", range->kind);
	snprintf(p->after, sizeof(p->after), "%s", range->after);
	pend(ctx, p);
}

static void
op_commit(void *ctx, const struct env_row *rows, size_t count, void (*done)(void *arg, int rc), void *arg)
{
	struct pending *p = calloc(1, sizeof(*p));

	*p = (struct pending){.rows = calloc(count, sizeof(*rows)), .n = count, .done = done, .arg = arg};
	for (size_t i = 0; i < count; i++) {
		p->rows[i].kind = strdup(rows[i].kind);
		p->rows[i].key = strdup(rows[i].key);
		p->rows[i].value = rows[i].value ? strdup(rows[i].value) : NULL;
	}
	pend(ctx, p);
}

/* ---- the model of forwarding ---- */

struct model_vm {
	struct vm_key key;
	struct fwd_vm vm;
	UT_hash_handle hh;
};

struct model_route {
	char prefix[PREFIX4_TEXT];
	struct fwd_route route;
	UT_hash_handle hh;
};

struct fwd_txn {
	struct node *node;
	unsigned int generation;
	struct fwd_change *changes;
	size_t n;
	void (*retired)(void *arg);
	void *arg;
};

static struct model_vm *
find_model(struct node *n, uint16_t segment, const struct mac *mac)
{
	struct vm_key key = {segment, *mac};
	struct model_vm *m;

	HASH_FIND(hh, n->vms, &key, sizeof(key), m);
	return m;
}

const struct fwd_vm *
model_vm(struct node *n, uint16_t segment, const struct mac *mac)
{
	struct model_vm *m = find_model(n, segment, mac);

	return m ? &m->vm : NULL;
}

const struct fwd_route *
model_route(struct node *n, const char *prefix)
{
	struct model_route *m;

	HASH_FIND_STR(n->routes, prefix, m);
	return m ? &m->route : NULL;
}

unsigned int
model_count(struct node *n)
{
	return HASH_COUNT(n->vms);
}

static int
op_prepare(void *ctx, const struct fwd_change *c, size_t count, struct fwd_txn **txn, struct err *e)
{
	struct node *n = ctx;
	struct fwd_txn *x;

	n->n_prepares++;
	if (n->prepare_fails || (n->prepare_limit && count > n->prepare_limit))
		return err_set(e, ENOSPC, "the table of VMs is full");
	for (size_t i = 0; i < count; i++)
		if (c[i].op == FWD_VM_DEL && !find_model(n, c[i].vm.segment, &c[i].vm.mac))
			return err_set(e, ENOENT, "no such VM");
	x = calloc(1, sizeof(*x));
	x->node = n;
	x->generation = n->generation;
	x->n = count;
	x->changes = malloc(count * sizeof(*c));
	memcpy(x->changes, c, count * sizeof(*c));
	*txn = x;
	return 0;
}

static void
txn_free(struct fwd_txn *x)
{
	free(x->changes);
	free(x);
}

static void
op_abort(void *ctx, struct fwd_txn *x)
{
	(void)ctx;
	txn_free(x);
}

static void
retire(void *arg)
{
	struct fwd_txn x = *(struct fwd_txn *)arg;

	free(arg);
	x.retired(x.arg);
}

static void
put_route(struct node *n, const struct fwd_change *c)
{
	struct model_route *m;
	char prefix[PREFIX4_TEXT];

	prefix4_format(&c->route.prefix, prefix);
	HASH_FIND_STR(n->routes, prefix, m);
	if (c->op == FWD_ROUTE_DEL) {
		if (m)
			HASH_DEL(n->routes, m);
		free(m);
		return;
	}
	if (!m) {
		m = calloc(1, sizeof(*m));
		strcpy(m->prefix, prefix);
		HASH_ADD_STR(n->routes, prefix, m);
	}
	m->route = c->route;
}

static void
put_vm(struct node *n, const struct fwd_change *c)
{
	struct model_vm *m = find_model(n, c->vm.segment, &c->vm.mac);

	if (c->op == FWD_VM_DEL) {
		HASH_DEL(n->vms, m);
		free(m);
		return;
	}
	if (!m) {
		m = calloc(1, sizeof(*m));
		m->key = (struct vm_key){c->vm.segment, c->vm.mac};
		HASH_ADD(hh, n->vms, key, sizeof(m->key), m);
	}
	m->vm = c->vm;
}

/* No address may lead to two VMs once a transaction is visible. */
static void
check_unique(struct node *n)
{
	struct model_vm *a;
	uint64_t *keys = malloc((HASH_COUNT(n->vms) + 1) * 12 * sizeof(*keys));
	size_t k = 0;

	if (HASH_COUNT(n->vms) > 200) { /* the quadratic check is for small worlds */
		free(keys);
		return;
	}
	for (a = n->vms; a; a = a->hh.next) {
		for (unsigned int i = 0; i < a->vm.n_addresses; i++) {
			keys[k++] = (uint64_t)(a->vm.segment + 1) << 32 | a->vm.addresses[i].private_ip;
			if (a->vm.addresses[i].global_ip)
				keys[k++] = a->vm.addresses[i].global_ip;
		}
		for (unsigned int i = 0; i < a->vm.n_drains; i++)
			keys[k++] = a->vm.drains[i].global_ip;
	}
	for (size_t i = 0; i < k; i++)
		for (size_t j = i + 1; j < k; j++)
			if (keys[i] == keys[j] && !n->w->why[0])
				snprintf(n->w->why, sizeof(n->w->why),
					"%s: address %#llx stands twice in forwarding", n->name,
					(unsigned long long)keys[i]);
	free(keys);
}

static void
op_publish(void *ctx, struct fwd_txn *x, void (*retired)(void *arg), void *arg)
{
	struct node *n = ctx;

	n->n_publishes++;
	for (size_t i = 0; i < x->n; i++) {
		if (x->changes[i].op == FWD_VM_PUT || x->changes[i].op == FWD_VM_DEL)
			put_vm(n, &x->changes[i]);
		else
			put_route(n, &x->changes[i]);
	}
	check_unique(n);
	free(x->changes);
	x->changes = NULL;
	x->retired = retired;
	x->arg = arg;
	at(n->w, n->w->now + world_random(n->w, 3), retire, x);
}

static void
op_announce(void *ctx, enum fwd_announce what, uint16_t segment, const struct mac *mac, ip4 ip)
{
	struct node *n = ctx;

	if (n->n_announced < 512)
		n->announced[n->n_announced++] = (struct announced){n->w->now, what, segment, *mac, ip};
}

static bool
op_sessions(void *ctx, ip4 global_ip, uint64_t *n)
{
	const struct node *node = ctx;

	(void)global_ip;
	*n = node->sessions;
	return !node->sessions_old;
}

static void
op_sessions_free(void *ctx, ip4 global_ip)
{
	struct node *n = ctx;

	if (n->n_freed < 256)
		n->freed[n->n_freed++] = global_ip;
}

static void
op_vm_traffic(void *ctx, uint16_t segment, const struct mac *mac, struct fwd_traffic *out)
{
	(void)ctx;
	(void)segment;
	(void)mac;
	*out = (struct fwd_traffic){.from_packets = 1, .from_bytes = 2, .to_packets = 3, .to_bytes = 4};
}

static void
op_segment(void *ctx, uint16_t segment, struct fwd_segment *out)
{
	memset(out, 0, sizeof(*out));
	op_vm_traffic(ctx, segment, NULL, &out->traffic);
}

static int
op_watch(void *ctx, const struct watch_params *p, bool capture, struct err *e)
{
	struct node *n = ctx;

	(void)p;
	(void)capture;
	(void)e;
	assert(!n->watching);
	n->watching = true;
	return 0;
}

static json_t *
op_watched(void *ctx, bool *more)
{
	struct node *n = ctx;

	assert(n->watching);
	*more = true;
	return json_pack("{s:[], s:i}", "rows", "lost", 0);
}

static void
op_unwatch(void *ctx)
{
	struct node *n = ctx;

	assert(n->watching);
	n->watching = false;
}

static json_t *
op_explain(void *ctx, const struct explain_params *p, struct err *e)
{
	(void)ctx;
	if (p->dst != 0)
		return json_pack("{s:[]}", "rows");
	err_set(e, EINVAL, "an IPv4 packet needs src and dst");
	return NULL;
}

static json_t *
op_show(void *ctx, const char *what, const char *cursor, uint64_t limit)
{
	(void)ctx;
	(void)cursor;
	(void)limit;
	if (strcmp(what, "status") == 0)
		return json_pack("{s:i}", "workers", 1);
	return strcmp(what, "ports") == 0 ? json_pack("{s:[]}", "rows") : NULL;
}

static void
op_subscribe(void *ctx, void (*event)(void *arg, const struct fwd_event *ev), void *arg)
{
	struct node *n = ctx;

	n->event = event;
	n->event_arg = arg;
}

static const struct env_ops ops = {
	.now_ms = op_now,
	.wall_ms = op_wall,
	.boot_id = op_boot_id,
	.timer_new = op_timer_new,
	.timer_set = op_timer_set,
	.timer_stop = op_timer_stop,
	.timer_free = op_timer_free,
	.random = op_random,
	.dial = op_dial,
	.listen = op_listen,
	.listener_close = op_listener_close,
	.stream_attach = op_stream_attach,
	.stream_write = op_stream_write,
	.stream_close = op_stream_close,
	.stream_pause = op_stream_pause,
	.commit = op_commit,
	.read = op_read,
	.fwd_prepare = op_prepare,
	.fwd_publish = op_publish,
	.fwd_abort = op_abort,
	.fwd_announce = op_announce,
	.fwd_sessions = op_sessions,
	.fwd_sessions_free = op_sessions_free,
	.fwd_show = op_show,
	.fwd_watch = op_watch,
	.fwd_watched = op_watched,
	.fwd_unwatch = op_unwatch,
	.fwd_explain = op_explain,
	.fwd_vm_traffic = op_vm_traffic,
	.fwd_segment = op_segment,
	.fwd_subscribe = op_subscribe,
};

/* ---- nodes ---- */

static void
conf_common(struct node *n)
{
	struct config *c = &n->conf;
	unsigned int i = n->index;

	snprintf(c->router.name, sizeof(c->router.name), "%s", n->name);
	snprintf(c->router.site, sizeof(c->router.site), "site-%u", i);
	c->router.mac = (struct mac){{2, 0, 0, 1, 0, (uint8_t)i}};
	c->router.vtep = 0xc0000200 + i + 1; /* 192.0.2.0/24 */
	c->limits.vms = 200000;
	c->drain.min_ms = 3600000;
	c->drain.max_ms = 86400000;
	snprintf(c->control.listen, sizeof(c->control.listen), "203.0.113.%u:7411", i + 1);
	snprintf(c->control.socket, sizeof(c->control.socket), "/run/%s.sock", n->name);
}

static struct conf_segment *
conf_segment(struct config *c, const char *name, uint32_t vni, ip4 prefix, uint8_t len, int access)
{
	struct conf_segment *s = &((struct conf_segment *)c->segments.items)[c->segments.n++];
	struct conf_attachment *a = calloc(1, sizeof(*a));

	snprintf(s->name, sizeof(s->name), "%s", name);
	s->vni = vni;
	s->prefix = (struct prefix4){prefix, len};
	s->gateway.address = prefix + 1;
	s->gateway.mac = (struct mac){{2, 0, 0, 0, 0, 1}};
	s->mtu = 1500;
	s->access = access;
	strcpy(a->port, "dc0");
	s->attachments = (struct list){a, 1};
	return s;
}

static void
conf_node(struct node *n, unsigned int routers)
{
	struct config *c = &n->conf;
	struct conf_port *ports = calloc(2, sizeof(*ports));
	struct conf_pool *pool = calloc(1, sizeof(*pool));
	struct conf_peer *peers = calloc(WORLD_NODES, sizeof(*peers));
	struct conf_controller *controller = calloc(2, sizeof(*controller));
	struct route *route = calloc(1, sizeof(*route));

	conf_common(n);
	strcpy(ports[0].name, "wan0");
	ports[0].role = PORT_WAN;
	ports[0].address = (struct prefix4){c->router.vtep, 24};
	strcpy(ports[1].name, "dc0");
	ports[1].role = PORT_DC;
	c->ports = (struct list){ports, 2};
	strcpy(pool->name, "pool");
	pool->prefix = (struct prefix4){0xc6336400 + 0x10000u * n->index, 16}; /* 198.51.100.0 + n * /16 */
	pool->prefix.addr &= ip4_mask(16);
	c->pools = (struct list){pool, 1};
	c->segments.items = calloc(2, sizeof(struct conf_segment));
	conf_segment(c, "tenant-a", 100, 0x0a000000, 8, ACCESS_NAT);
	conf_segment(c, "lab", 200, 0xac100000, 16, ACCESS_ROUTED);
	for (unsigned int i = 0; i < routers; i++) {
		struct node *o = &n->w->nodes[i];
		struct conf_peer *p = &peers[c->peers.n];

		if (o == n)
			continue;
		strcpy(p->name, o->name);
		memcpy(p->key, o->public_key, 32);
		snprintf(p->address, sizeof(p->address), "203.0.113.%u:7411", i + 1);
		p->vtep = 0xc0000200 + i + 1;
		p->mac = (struct mac){{2, 0, 0, 1, 0, (uint8_t)i}};
		c->peers.n++;
	}
	c->peers.items = peers;
	strcpy(controller[0].name, "clc");
	memcpy(controller[0].key, n->w->nodes[routers].public_key, 32);
	strcpy(controller[1].name, "clc-2");
	memcpy(controller[1].key, n->w->nodes[routers + 1].public_key, 32);
	c->control.controllers = (struct list){controller, 2};
	route->prefix = (struct prefix4){0, 0};
	route->via = 0xc00002fe;
	c->routes = (struct list){route, 1};
}

static void
node_init(struct world *w, unsigned int i, const char *name)
{
	struct node *n = &w->nodes[i];

	n->w = w;
	n->index = (uint8_t)i;
	snprintf(n->name, sizeof(n->name), "%s", name);
	snprintf(n->boot_id, sizeof(n->boot_id), "boot-%u-0", i);
	n->env = (struct env){&ops, n};
	memset(n->private_key, (int)i + 17, 32);
	key_public(n->private_key, n->public_key);
}

struct world *
world_new(uint64_t seed, unsigned int routers)
{
	static const char *const names[] = {"r-a", "r-b", "r-c", "r-d"};
	struct world *w = calloc(1, sizeof(*w));

	w->seed = seed;
	w->random[0] = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	w->random[1] = seed ^ UINT64_C(0xbf58476d1ce4e5b9);
	for (int i = 0; i < 16; i++)
		next_random(w->random);
	w->delay_min = 1;
	w->delay_max = 3;
	w->n_nodes = routers + 2;
	for (unsigned int i = 0; i < routers; i++)
		node_init(w, i, names[i]);
	node_init(w, routers, "clc");
	node_init(w, routers + 1, "clc-2");
	for (unsigned int i = 0; i < routers; i++)
		conf_node(&w->nodes[i], routers);
	return w;
}

struct node *
world_router(struct world *w, unsigned int i)
{
	return &w->nodes[i];
}

struct node *
world_controller(struct world *w)
{
	return &w->nodes[w->n_nodes - 2];
}

static void
node_ready(void *arg)
{
	((struct node *)arg)->ready = true;
}

static void
load_rows(struct node *n)
{
	struct stored **all = rows_in_order(n);

	for (size_t i = 0; all[i]; i++) {
		char kind[32], *space = strchr(all[i]->key, ' ');
		struct env_row row = {kind, space + 1, all[i]->value};

		snprintf(kind, sizeof(kind), "%.*s", (int)(space - all[i]->key), all[i]->key);
		if (strcmp(kind, "log") != 0)
			core_load_row(n->core, &row);
	}
	free(all);
}

void
node_start(struct node *n)
{
	struct core_start s = {&n->env, &n->conf, {0}};
	struct err e = {0};

	memcpy(s.private_key, n->private_key, 32);
	n->ready = false;
	n->core = core_new(&s, &e);
	if (!n->core || (load_rows(n), core_run(n->core, node_ready, n, &e)) != 0) {
		fprintf(stderr, "%s: %s\n", n->name, e.text);
		abort();
	}
}

static void
model_clear(struct node *n)
{
	struct model_vm *m, *next;
	struct model_route *r, *after;

	HASH_ITER (hh, n->vms, m, next) {
		HASH_DEL(n->vms, m);
		free(m);
	}
	HASH_ITER (hh, n->routes, r, after) {
		HASH_DEL(n->routes, r);
		free(r);
	}
}

void
node_crash(struct node *n)
{
	uint64_t durable = world_random(n->w, 3);
	struct env_stream *s;

	LL_FOREACH(n->w->streams, s)
	{ /* the kernel resets them; the process does not hear of it */
		struct env_stream *other = s->other;

		if (s->node != n || !s->open)
			continue;
		s->open = false;
		s->other = NULL;
		drop_chunks(s);
		if (other) {
			send_chunk(other, NULL, 0);
			other->other = NULL;
		}
	}
	core_free(n->core);
	n->core = NULL;
	n->event = NULL;
	n->generation++;
	while (n->pending) /* the disk had taken some of them, in order */
		pending_end(n->pending, durable > 0 ? (durable--, 0) : -EIO);
	model_clear(n);
}

void
node_reboot(struct node *n, int64_t wall_jump_ms)
{
	n->boot_base = n->w->now;
	n->wall_offset += wall_jump_ms;
	snprintf(n->boot_id, sizeof(n->boot_id), "boot-%u-%u", n->index, n->generation);
}

void
world_cut(struct world *w, unsigned int a, unsigned int b, bool cut)
{
	w->cut[a][b] = w->cut[b][a] = cut;
}

static void
reset_one(void *arg)
{
	end_stream(arg, "connection reset");
}

void
world_reset(struct world *w, unsigned int a, unsigned int b)
{
	struct env_stream *s;

	LL_FOREACH(w->streams, s)
	{
		if (!s->open || !s->other)
			continue;
		if ((s->node->index == a && s->other->node->index == b) ||
			(s->node->index == b && s->other->node->index == a)) {
			struct env_stream *other = s->other;

			s->other = NULL;
			other->other = NULL;
			at(w, w->now, reset_one, s);
			at(w, w->now, reset_one, other);
		}
	}
}

void
node_event(struct node *n, const struct fwd_event *ev)
{
	if (n->event)
		n->event(n->event_arg, ev);
}

/* ---- calls over the local socket ---- */

struct asking {
	struct rpc *rpc;
	json_t *call;
	const char *method;
	json_t *result;
	int code;
	bool done;
};

static void
ask_done(void *arg, int code, json_t *result)
{
	struct asking *a = arg;

	a->code = code;
	a->result = json_incref(result);
	a->done = true;
}

static void
ask_up(void *arg, struct channel *c)
{
	struct asking *a = arg;

	(void)c;
	rpc_call(a->rpc, a->method, json_incref(a->call), ask_done, a);
}

static void
ask_message(void *arg, struct channel *c, json_t *msg)
{
	(void)c;
	rpc_message(((struct asking *)arg)->rpc, msg);
}

static void
ask_down(void *arg, struct channel *c, const char *why)
{
	struct asking *a = arg;

	(void)c;
	(void)why;
	a->code = -ECONNRESET;
	a->done = true;
}

static const struct channel_ops ask_ops = {ask_up, ask_message, ask_down};

static void
no_handler(void *arg, struct rpc_request *r, const char *method, json_t *params)
{
	(void)arg;
	(void)method;
	(void)params;
	rpc_fail(r, RPC_NO_METHOD, NULL, "none");
}

static void
stream_up(void *arg)
{
	(void)arg;
}

json_t *
ask(struct node *n, int *code, const char *method, const char *params_fmt, ...)
{
	static const struct env_stream_ops before_attach = {.connected = stream_up};
	struct node *client = world_controller(n->w);
	struct asking a = {.method = method};
	uint64_t until = n->w->now + 60000;
	struct env_stream *s;
	struct channel *c;
	char address[128];
	va_list ap;

	va_start(ap, params_fmt);
	a.call = json_vpack_ex(NULL, 0, params_fmt, ap);
	va_end(ap);
	if (!a.call) {
		fprintf(stderr, "ask %s: bad parameters\n", method);
		abort();
	}
	snprintf(address, sizeof(address), "unix:%s", n->conf.control.socket);
	s = op_dial(client, address, &before_attach, NULL);
	c = channel_plain_accept(&client->env, s, NULL, &ask_ops, &a);
	a.rpc = rpc_new(c, no_handler, NULL);
	while (!a.done && world_step(n->w, until))
		;
	rpc_free(a.rpc);
	channel_close(c);
	json_decref(a.call);
	*code = a.done ? a.code : -ETIMEDOUT;
	return a.result;
}

/* ---- the truth about a model ---- */

static bool
same_vm(const struct fwd_vm *a, const struct fwd_vm *b)
{
	if (a->owner != b->owner || a->location != b->location || a->attachment != b->attachment ||
		a->n_addresses != b->n_addresses || a->n_drains != b->n_drains)
		return false;
	for (unsigned int i = 0; i < a->n_addresses; i++)
		if (a->addresses[i].private_ip != b->addresses[i].private_ip ||
			a->addresses[i].global_ip != b->addresses[i].global_ip ||
			a->addresses[i].since != b->addresses[i].since)
			return false;
	for (unsigned int i = 0; i < a->n_drains; i++)
		if (a->drains[i].global_ip != b->drains[i].global_ip ||
			a->drains[i].home != b->drains[i].home || a->drains[i].since != b->drains[i].since)
			return false;
	return true;
}

bool
model_is_true(struct node *n)
{
	unsigned int live = 0;
	struct vm_obj *o;
	char mac[MAC_TEXT];

	for (o = n->core->vms; o; o = o->hh.next) {
		const struct fwd_vm *m = model_vm(n, o->key.segment, &o->key.mac);

		live += vm_live(o);
		if ((m != NULL) == vm_live(o) && (!m || same_vm(m, &o->now.fwd)))
			continue;
		snprintf(n->w->why, sizeof(n->w->why), "%s: forwarding of %s is not what the core wants",
			n->name, mac_format(&o->key.mac, mac));
		return false;
	}
	if (live == model_count(n))
		return true;
	snprintf(n->w->why, sizeof(n->w->why), "%s: forwarding has %u VMs, the core %u", n->name,
		model_count(n), live);
	return false;
}

/* ---- the end ---- */

static void
node_fini(struct node *n)
{
	size_t i;

	if (n->core)
		node_crash(n);
	stored_clear(n);
	for (i = 0; i < n->conf.segments.n; i++)
		free(list_at(n->conf.segments, struct conf_segment, i)->attachments.items);
	free(n->conf.segments.items);
	free(n->conf.ports.items);
	free(n->conf.pools.items);
	free(n->conf.peers.items);
	free(n->conf.routes.items);
	free(n->conf.control.controllers.items);
}

void
world_free(struct world *w)
{
	struct env_timer *t, *t2;
	struct env_stream *s, *s2;
	struct env_listener *l, *l2;

	for (unsigned int i = 0; i < w->n_nodes; i++)
		node_fini(&w->nodes[i]);
	while (w->n_heap > 0) { /* what is on its way holds memory */
		struct heap_event e = pop(w);

		if (e.fn == retire)
			retire(e.arg);
		else if (e.fn == fire)
			free(e.arg);
	}
	LL_FOREACH_SAFE(w->timers, t, t2)
	free(t);
	LL_FOREACH_SAFE(w->streams, s, s2)
	{
		drop_chunks(s);
		free(s);
	}
	LL_FOREACH_SAFE(w->listeners, l, l2)
	free(l);
	free(w->heap);
	free(w);
}
