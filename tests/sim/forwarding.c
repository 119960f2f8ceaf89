/* SPDX-License-Identifier: BSD-3-Clause */
/* forwarding.c - the model of what a router's data plane was told, and the table of a node's environment. */
#include "world_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

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
	node_stepped(n, STEP_PREPARE);
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

/* Of a process that is gone the core takes it as a sign to free what waits. */
static void
retire(void *arg, uint64_t tag)
{
	struct fwd_txn x = *(struct fwd_txn *)arg;

	(void)tag;
	free(arg);
	x.node->w->running = x.node;
	x.retired(x.arg);
	if (x.generation == x.node->generation)
		node_stepped(x.node, STEP_RETIRED);
}

void
model_free_late(event_fn *fn, void *arg)
{
	if (fn == retire)
		retire(arg, 0);
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

static int
compare_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Private addresses with their segment, global ones. */
static size_t
keys_of(const struct fwd_vm *v, uint64_t *keys)
{
	size_t k = 0;

	for (unsigned int i = 0; i < v->n_addresses; i++) {
		keys[k++] = (uint64_t)(v->segment + 1) << 32 | v->addresses[i].private_ip;
		if (v->addresses[i].global_ip)
			keys[k++] = v->addresses[i].global_ip;
	}
	for (unsigned int i = 0; i < v->n_drains; i++)
		keys[k++] = v->drains[i].global_ip;
	return k;
}

/* No address may lead to two VMs once a transaction is visible. */
static void
check_unique(struct node *n)
{
	uint64_t keys[200 * (2 * FWD_ADDRESSES_MAX + FWD_DRAINS_MAX)];
	struct model_vm *m;
	size_t k = 0;

	if (HASH_COUNT(n->vms) > 200) /* for small worlds */
		return;
	for (m = n->vms; m; m = m->hh.next)
		k += keys_of(&m->vm, &keys[k]);
	qsort(keys, k, sizeof(keys[0]), compare_keys);
	for (size_t i = 1; i < k; i++)
		if (keys[i] == keys[i - 1])
			world_broken(n->w, "%s: address %#llx stands twice in forwarding", n->name,
				(unsigned long long)keys[i]);
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
	world_at(n->w, n->w->now + n->grace_ms + world_random(n->w, 3), retire, x, 0);
	node_stepped(n, STEP_PUBLISH);
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

static const struct fwd_vm *
live_at(const struct node *n, ip4 global)
{
	const struct model_vm *m;

	for (m = HASH_COUNT(n->vms) > 200 ? NULL : n->vms; m; m = m->hh.next) /* for small worlds */
		for (unsigned int i = 0; i < m->vm.n_addresses; i++)
			if (m->vm.addresses[i].global_ip == global)
				return &m->vm;
	return NULL;
}

static void
op_sessions_free(void *ctx, ip4 global_ip)
{
	struct node *n = ctx;
	const struct fwd_vm *v = live_at(n, global_ip);

	if (v) {
		if (v->n_drains == 0 && !(v->flags & FWD_VM_NOTES))
			model_sessions_free(n, global_ip, IPPROTO_TCP);
		return;
	}
	model_sessions_free(n, global_ip, 0);
	if (n->n_freed < 256)
		n->freed[n->n_freed++] = global_ip;
}

static void
op_vm_traffic(void *ctx, uint16_t segment, const struct mac *mac, struct fwd_traffic *out)
{
	const struct node *n = ctx;

	(void)segment;
	(void)mac;
	*out = (struct fwd_traffic){
		.from_packets = 1, .from_bytes = 2, .to_packets = 3 + n->sent_to_vms, .to_bytes = 4};
}

static void
op_round_trips(void *ctx, uint16_t segment, const struct mac *mac, struct fwd_round_trips *out)
{
	const struct node *n = ctx;

	(void)segment;
	(void)mac;
	*out = n->trips;
}

static void
op_segment(void *ctx, uint16_t segment, struct fwd_segment *out)
{
	memset(out, 0, sizeof(*out));
	op_vm_traffic(ctx, segment, NULL, &out->traffic);
}

static void
op_router_away(void *ctx, uint8_t router, bool away)
{
	struct node *n = ctx;

	assert(n->away[router] != away);
	n->away[router] = away;
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

/* All of them in one page. */
static json_t *
show_routes(const struct node *n)
{
	json_t *rows = json_array();
	struct model_route *m;

	for (m = n->routes; m; m = m->hh.next)
		json_array_append_new(rows, json_pack("{s:s}", "prefix", m->prefix));
	return json_pack("{s:o}", "rows", rows);
}

static json_t *
op_show(void *ctx, const char *what, const char *cursor, uint64_t limit)
{
	(void)cursor;
	(void)limit;
	if (strcmp(what, "status") == 0)
		return json_pack("{s:i}", "workers", 1);
	if (strcmp(what, "routes") == 0)
		return show_routes(ctx);
	return strcmp(what, "ports") == 0 ? json_pack("{s:[]}", "rows") : NULL;
}

static void
op_subscribe(void *ctx, void (*event)(void *arg, const struct fwd_event *ev), void *arg)
{
	struct node *n = ctx;

	n->event = event;
	n->event_arg = arg;
}

/* ---- the configuration ---- */

struct config *
node_next(struct node *n)
{
	if (n->has_next)
		kind_fini(&kind_config, &n->next);
	n->has_next = kind_copy(&kind_config, &n->next, &n->conf) == 0;
	for (size_t i = 0; i < n->conf.peers.n; i++)
		list_at(n->next.peers, struct conf_peer, i)->removed =
			list_at(n->conf.peers, struct conf_peer, i)->removed;
	return &n->next;
}

static int
op_config_read(void *ctx, struct env_config *out, struct err *e)
{
	struct node *n = ctx;
	struct faults f;
	int rc;

	if (!n->has_next)
		return err_set(e, ENOENT, "no such file");
	faults_init(&f);
	out->next = &n->next;
	out->changed = json_array();
	rc = config_follow(&n->conf, &n->next, out->changed, &f);
	if (rc != 0)
		faults_err(&f, e);
	faults_fini(&f);
	memcpy(out->private_key, n->private_key, 32);
	return rc;
}

static void
op_config_abort(void *ctx)
{
	struct node *n = ctx;

	kind_fini(&kind_config, &n->next);
	n->has_next = false;
}

static void
op_config_publish(void *ctx)
{
	struct node *n = ctx;
	struct config old = n->conf;

	n->conf = n->next;
	n->next = old;
	op_config_abort(ctx);
}

const struct env_ops world_ops = {
	.now_ms = op_now,
	.now_us = op_now_us,
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
	.stream_waiting = op_stream_waiting,
	.stream_close = op_stream_close,
	.stream_pause = op_stream_pause,
	.config_read = op_config_read,
	.config_publish = op_config_publish,
	.config_abort = op_config_abort,
	.commit = op_commit,
	.read = op_read,
	.fwd_prepare = op_prepare,
	.fwd_publish = op_publish,
	.fwd_abort = op_abort,
	.fwd_announce = op_announce,
	.fwd_sessions = op_sessions,
	.fwd_sessions_free = op_sessions_free,
	.fwd_list_new = op_list_new,
	.fwd_list_next = op_list_next,
	.fwd_list_free = op_list_free,
	.fwd_sessions_learn = op_sessions_learn,
	.fwd_show = op_show,
	.fwd_watch = op_watch,
	.fwd_watched = op_watched,
	.fwd_unwatch = op_unwatch,
	.fwd_explain = op_explain,
	.fwd_vm_traffic = op_vm_traffic,
	.fwd_round_trips = op_round_trips,
	.fwd_segment = op_segment,
	.fwd_router_away = op_router_away,
	.fwd_subscribe = op_subscribe,
};

void
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
	memset(n->away, 0, sizeof(n->away));
}

/* ---- the truth about a model ---- */

static bool
same_vm(const struct fwd_vm *a, const struct fwd_vm *b)
{
	if (a->owner != b->owner || a->flags != b->flags || a->location != b->location ||
		a->attachment != b->attachment || a->n_addresses != b->n_addresses ||
		a->n_drains != b->n_drains)
		return false;
	for (unsigned int i = 0; i < a->n_addresses; i++)
		if (a->addresses[i].private_ip != b->addresses[i].private_ip ||
			a->addresses[i].global_ip != b->addresses[i].global_ip ||
			a->addresses[i].since != b->addresses[i].since)
			return false;
	for (unsigned int i = 0; i < a->n_drains; i++)
		if (a->drains[i].global_ip != b->drains[i].global_ip ||
			a->drains[i].home != b->drains[i].home ||
			a->drains[i].direct != b->drains[i].direct ||
			a->drains[i].since != b->drains[i].since)
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
		struct fwd_vm want;

		live += vm_live(o);
		vm_forwarding(&o->now, &want);
		if ((m != NULL) == vm_live(o) && (!m || same_vm(m, &want)))
			continue;
		world_broken(n->w,
			"%s: forwarding of %s is not what the core wants: owner %d, location %d, %d drains, "
			"flags %d; it is %d, %d, %d, %d",
			n->name, mac_format(&o->key.mac, mac), vm_live(o) ? want.owner : -1, want.location,
			want.n_drains, want.flags, m ? m->owner : -1, m ? m->location : -1,
			m ? m->n_drains : -1, m ? m->flags : -1);
		return false;
	}
	if (live == model_count(n))
		return true;
	world_broken(n->w, "%s: forwarding has %u VMs, the core %u", n->name, model_count(n), live);
	return false;
}
