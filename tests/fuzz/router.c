/* SPDX-License-Identifier: BSD-3-Clause */
#include "router.h"

#include <net/keys.h>
#include <stdio.h>

const uint8_t observer_key[32] = {0x77, 0x61, 0x74, 0x63, 0x68};

static struct row {
	char kind[32], key[128];
	char *value;
} prepared[64];
static size_t n_prepared;

struct node *
router_node(struct world *w)
{
	return world_router(w, 0);
}

/* ---- the rows ---- */

static void
must(struct node *n, const char *method, const char *params)
{
	json_t *p = json_loads(params, 0, NULL);
	int code;

	json_decref(ask(n, &code, method, "o", p));
	if (code != 0)
		finding("the world cannot be made: %s %s: error %d", method, params, code);
}

#define VM(n, own)                                                \
	"{\"segment\":\"tenant-a\",\"mac\":\"52:54:00:00:00:0" #n \
	"\",\"addresses\":[{\"private\":\"10.0.0.1" #n "\",\"global\":\"198." own ".0.1" #n "\"}]}"
#define VM_GONE(n) "{\"segment\":\"tenant-a\",\"mac\":\"52:54:00:00:00:0" #n "\"}"

/* VMs of r-a and r-b; 2 moved away from r-a, 3 to it; 5 is gone; 6 is routed. */
static void
populate(struct world *w)
{
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	must(a, "vm.register", VM(1, "51"));
	must(a, "vm.register", VM(2, "51"));
	must(b, "vm.register", VM(3, "52"));
	must(b, "vm.register", VM(4, "52"));
	must(a, "vm.register", VM(5, "51"));
	must(a, "vm.unregister", VM_GONE(5));
	must(a, "vm.register",
		"{\"segment\":\"lab\",\"mac\":\"52:54:00:00:00:06\",\"addresses\":[{\"private\":\"172.16.0."
		"16\"}]}");
	world_run(w, 500);
	must(b, "vm.move", VM(2, "52"));
	must(a, "vm.move", VM(3, "51"));
	must(a, "route.replace", "{\"prefix\":\"10.9.0.0/16\",\"blackhole\":true}");
	world_run(w, 500);
}

static void
keep_rows(struct node *n)
{
	const char *name, *value;

	while ((name = stored_at(n, (unsigned int)n_prepared, &value)) != NULL) {
		struct row *r = &prepared[n_prepared++];

		if (n_prepared > sizeof(prepared) / sizeof(prepared[0]) ||
			sscanf(name, "%31s %127[^\n]", r->kind, r->key) != 2)
			finding("the world cannot be made: row %s", name);
		r->value = strdup(value);
	}
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct world *w = world_new(1, 2);

	(void)argc;
	(void)argv;
	fuzz_quiet();
	node_start(world_router(w, 0));
	node_start(world_router(w, 1));
	world_run(w, 6000);
	populate(w);
	keep_rows(world_router(w, 0));
	world_free(w);
	return 0;
}

void
router_rows(void (*row)(void *arg, const char *kind, const char *key, const char *value), void *arg)
{
	for (size_t i = 0; i < n_prepared; i++)
		row(arg, prepared[i].kind, prepared[i].key, prepared[i].value);
}

static void
store_row(void *arg, const char *kind, const char *key, const char *value)
{
	stored_set(arg, kind, key, value);
}

static void
add_observer(struct config *c)
{
	struct conf_controller *o = list_add(&c->control.observers, &kind_conf_controller);

	strcpy(o->name, "watch");
	key_public(observer_key, o->key);
}

struct world *
router_world(bool empty)
{
	struct world *w;

	fuzz_random_reset();
	w = world_new(1, 3);
	add_observer(&router_node(w)->conf);
	if (!empty)
		router_rows(store_row, router_node(w));
	node_start(router_node(w));
	while (!router_node(w)->ready && world_step(w, 10000))
		;
	router_settle(w);
	return w;
}

void
router_settle(struct world *w)
{
	uint64_t until = w->now + 10000;
	struct core *c = router_node(w)->core;

	world_run(w, 10);
	while ((c->group != NULL || c->queue != NULL || router_node(w)->pending != NULL) && w->now < until)
		world_run(w, 5);
	if (w->now >= until)
		finding("a change has been on its way for 10 s");
}

/* ---- what is known ---- */

static uint64_t
mix(uint64_t a, uint64_t b)
{
	a = (a ^ b) * UINT64_C(0x9e3779b97f4a7c15);
	return a ^ a >> 29;
}

static uint64_t
key_number(const struct vm_key *k)
{
	uint64_t n = k->segment;

	for (int i = 0; i < 6; i++)
		n = n << 8 | k->mac.b[i];
	return n;
}

static int
compare_known(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct vm_key));
}

static uint64_t
route_sum(const struct route_obj *o)
{
	const struct route *r = route_live(o);
	uint64_t h = mix(o->key, o->has_run);

	if (r == NULL)
		return 0;
	h = mix(mix(h, r->via), r->blackhole);
	for (const char *p = r->port; *p; p++)
		h = mix(h, (uint8_t)*p);
	return h;
}

struct state
state_of(struct world *w)
{
	struct core *c = router_node(w)->core;
	struct state s = {.sum = mix(c->term.number, strlen(c->term.name))};
	struct route_obj *r;
	struct vm_obj *o;

	s.vms = calloc(HASH_COUNT(c->vms) + 1, sizeof(*s.vms));
	for (o = c->vms; o; o = o->hh.next) {
		struct known *k = &s.vms[s.n];

		if (!o->present)
			continue;
		*k = (struct known){o->key, o->now.epoch, vm_hash(c, &o->now), o->now.fwd.owner, vm_live(o)};
		s.n++;
		s.sum += mix(mix(mix(key_number(&k->key), k->epoch), k->hash), k->owner);
	}
	for (r = c->routes; r; r = r->hh.next)
		s.sum += route_sum(r);
	qsort(s.vms, s.n, sizeof(*s.vms), compare_known);
	return s;
}

void
state_free(struct state *s)
{
	free(s->vms);
}

const struct known *
state_find(const struct state *s, const struct vm_key *key)
{
	return bsearch(key, s->vms, s->n, sizeof(*s->vms), compare_known);
}

bool
state_ripens(struct world *w, uint64_t ms)
{
	struct core *c = router_node(w)->core;
	uint64_t by = env_call(c->env, now_ms) + ms;
	struct vm_obj *o;

	DL_FOREACH2(c->draining, o, drain_next)
	for (unsigned int i = 0; i < o->now.fwd.n_drains; i++)
		if (o->now.fwd.drains[i].home == FWD_SELF &&
			(o->now.drain[i].min_at <= by || o->now.drain[i].max_at <= by))
			return true;
	return false;
}

/* ---- what must be true ---- */

void
router_check(struct world *w, const struct state *before)
{
	struct state now = state_of(w);

	if (!model_is_true(router_node(w)) || w->why[0] != '\0')
		finding("%s", w->why);
	for (size_t i = 0; i < before->n; i++) {
		const struct known *was = &before->vms[i], *is = state_find(&now, &was->key);

		if (is == NULL)
			finding("a VM of epoch %" PRIu64 " was forgotten without a tombstone", was->epoch);
		if (is->epoch < was->epoch)
			finding("an epoch went back from %" PRIu64 " to %" PRIu64, was->epoch, is->epoch);
	}
	state_free(&now);
}

void
router_check_restart(struct world *w)
{
	struct state before, after;

	router_settle(w);
	before = state_of(w);
	node_crash(router_node(w));
	node_start(router_node(w));
	after = state_of(w);
	if (before.sum != after.sum && before.n == after.n)
		for (size_t i = 0; i < before.n; i++)
			if (before.vms[i].hash != after.vms[i].hash)
				fprintf(stderr, "VM %zu of epoch %" PRIu64 " differs\n", i,
					before.vms[i].epoch);
	if (before.sum != after.sum)
		finding("after a restart another state is there: %zu VMs were known, %zu are", before.n,
			after.n);
	state_free(&before);
	state_free(&after);
	while (!router_node(w)->ready && world_step(w, w->now + 10000))
		;
	router_settle(w);
	before = state_of(w);
	router_check(w, &before);
	state_free(&before);
}
