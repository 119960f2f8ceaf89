/* SPDX-License-Identifier: BSD-3-Clause */
/* claims.c - what a peer says of its VMs: what it may say, and what is taken of it. */
#include "state.h"

#include <common/log.h>

#define PASSES 8 /* over claims that wait for each other's addresses */

struct claims {
	struct txn txn;
	uint8_t peer;
	uint64_t exchange; /* goes on when this is done; 0 = none */
	struct rpc_request *request;
	json_t *vms;
	size_t from, n;
	uint64_t accepted, refused;
	size_t counted; /* in peer.claims_wait, until this is done */
	bool retry;
	bool returned;	 /* not of its own VMs, but of ours */
	uint64_t serial; /* names what these replace */
};

struct claim { /* one of them */
	struct vm_state state;
	int code; /* RPC_CONFLICT: not tried yet, or refused for an address that another of them may free */
	bool changed;
	struct fail fail;
};

/* Of this VM, an address that another VM of the claimant's own has: its word on both is newer, once it knows what it said before
 * its start. */
static bool
may_strip(struct core *c, const struct claims *x, const struct vm_obj *o, ip4 which)
{
	uint8_t peer = x->peer;

	if (x->returned)
		return o->named == x->serial;
	if (!c->peers[peer - 1].is_sure)
		return false;
	if (o->now.fwd.owner == peer)
		return true;
	for (unsigned int i = 0; i < o->now.fwd.n_drains; i++)
		if (o->now.fwd.drains[i].global_ip == which)
			return o->now.fwd.drains[i].home == peer;
	return false;
}

static const struct drain_time *
own_drain_of(const struct vm_obj *mine, ip4 global)
{
	for (unsigned int i = 0; vm_live(mine) && i < mine->now.fwd.n_drains; i++)
		if (mine->now.fwd.drains[i].global_ip == global && mine->now.fwd.drains[i].home == FWD_SELF)
			return &mine->now.drain[i];
	return NULL;
}

static bool
live_here(const struct vm_obj *mine, const struct fwd_drain *d)
{
	const struct fwd_vm *f = vm_live(mine) ? &mine->now.fwd : NULL;

	for (unsigned int i = 0; f && f->owner == FWD_SELF && i < f->n_addresses; i++)
		if (f->addresses[i].private_ip == d->private_ip && f->addresses[i].global_ip == d->global_ip)
			return true;
	return false;
}

static bool
is_free_own(struct core *c, const struct vm_state *s, ip4 global)
{
	struct fail f = {0};
	bool free = check_own_global(c, s->fwd.segment, global, &f) == 0 && !vm_by_global(c, global);

	fail_clear(&f);
	return free;
}

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A drain that we are the home of goes on, or begins with an address that was live here, or our store is empty and
 * we believe it. Any other is over already, and the claimant has not heard of it yet; or it never was: nobody makes
 * us translate what we did not. */
static bool
take_own_drain(struct core *c, struct peer *p, const struct vm_obj *mine, struct vm_state *s, unsigned int i)
{
	const struct drain_time *known = own_drain_of(mine, s->fwd.drains[i].global_ip);
	struct drain_time *t = &s->drain[i];

	if (known) { /* our clock counts; a claimant that did not know of our move gives it its own number */
		t->min_at = sooner(t->min_at, known->min_at);
		t->max_at = sooner(t->max_at, known->max_at);
		t->quiet_at = known->quiet_at;
		return true;
	}
	if (live_here(mine, &s->fwd.drains[i]))
		return true;
	if (!mine && !p->sure && is_free_own(c, s, s->fwd.drains[i].global_ip))
		return true;
	sync_drain_done(c, s, s->fwd.drains[i].global_ip, t->epoch);
	return false;
}

/* A drain whose home has given the address to another VM is over, too. */
static bool
take_drain(struct core *c, struct peer *p, const struct vm_obj *mine, struct vm_state *s, unsigned int i)
{
	const struct fwd_drain *d = &s->fwd.drains[i];
	struct vm_obj *holder = vm_by_global(c, d->global_ip);

	if (d->home == FWD_SELF)
		return take_own_drain(c, p, mine, s, i);
	return !holder || holder == mine || holder->now.fwd.owner != d->home;
}

static int
check_claim_drains(struct core *c, const struct vm_state *s, struct fail *f)
{
	const struct fwd_vm *v = &s->fwd;
	char ip[IP4_TEXT];
	int rc = 0;

	for (unsigned int i = 0; i < v->n_drains && rc == 0; i++) {
		if ((v->drains[i].home != FWD_SELF && in_own_pool(c, v->drains[i].global_ip)) ||
			ip4_is_martian(v->drains[i].global_ip))
			rc = fail(f, RPC_INVALID_PARAMS, "draining address %s is not its home's",
				ip4_format(v->drains[i].global_ip, ip));
		else if (!vm_has_private(s, v->drains[i].private_ip))
			rc = fail(f, RPC_INVALID_PARAMS, "draining address %s leads to none of its addresses",
				ip4_format(v->drains[i].global_ip, ip));
		else if (s->drain[i].epoch > s->epoch)
			rc = fail(f, RPC_INVALID_PARAMS, "address %s drains by a move that is still to come",
				ip4_format(v->drains[i].global_ip, ip));
	}
	return rc;
}

static int
check_claim_addresses(struct core *c, const struct vm_state *s, struct fail *f)
{
	const struct fwd_vm *v = &s->fwd;
	char ip[IP4_TEXT];
	int rc = check_mac(c, &v->mac, f);

	for (unsigned int i = 0; i < v->n_addresses && rc == 0; i++) {
		rc = check_private(c, v->segment, v->addresses[i].private_ip, f);
		if (rc == 0 && v->addresses[i].global_ip &&
			(in_own_pool(c, v->addresses[i].global_ip) ||
				ip4_is_martian(v->addresses[i].global_ip)))
			rc = fail(f, RPC_INVALID_PARAMS, "global address %s is not one of its own",
				ip4_format(v->addresses[i].global_ip, ip));
	}
	return rc ? rc : check_claim_drains(c, s, f);
}

/* At an equal epoch the owner's own word on its VM is the newest; of two owners the lower router name keeps
 * it. */
static bool
wins(struct core *c, const struct vm_obj *mine, const struct vm_state *s, struct peer *p)
{
	char key[VM_KEY_TEXT];
	bool lower;

	if (!mine || s->epoch > mine->now.epoch)
		return true;
	if (s->epoch < mine->now.epoch)
		return false;
	if (mine->now.fwd.owner == s->fwd.owner)
		return true;
	lower = strcmp(router_name(c, s->fwd.owner), router_name(c, mine->now.fwd.owner)) < 0;
	vm_key_text(c, mine->key.segment, &mine->key.mac, key);
	if (!mine->now.deleted || !s->deleted)
		peer_alarm(p,
			"VM %s at epoch %" PRIu64 " is claimed by %s and by %s: the lower name keeps it", key,
			s->epoch, router_name(c, mine->now.fwd.owner), router_name(c, s->fwd.owner));
	return lower;
}

/* Makes room for the addresses of a claim, or refuses it for now. */
static int
clear_addresses(struct core *c, const struct claims *x, const struct vm_state *s, struct fail *f)
{
	struct vm_obj *o;
	ip4 which;

	while ((o = vm_clash(c, s, &which)) != NULL) {
		if (!may_strip(c, x, o, which))
			return check_clash(c, s, f);
		vm_strip(c, o, which);
	}
	return 0;
}

static int
check_step(const struct vm_obj *mine, const struct vm_state *s, struct fail *f)
{
	if (!mine || s->epoch <= mine->now.epoch || s->epoch - mine->now.epoch <= EPOCH_STEP)
		return 0;
	return fail(f, RPC_EPOCH_STEP, "epoch %" PRIu64 " is more than 2^32 above %" PRIu64, s->epoch,
		mine->now.epoch);
}

static int
check_room(struct core *c, const struct vm_obj *mine, const struct vm_state *s, struct fail *f)
{
	if (!s->deleted && !vm_live(mine) && c->n_live >= c->conf->limits.vms)
		return fail(f, RPC_LIMIT, "limits.vms is reached");
	if (s->deleted && !(mine && mine->now.deleted && mine->now.fwd.owner == s->fwd.owner))
		return tombstone_check(c, s->fwd.owner, f);
	return 0;
}

/* 0, or an RPC_ code: RPC_CONFLICT and RPC_LIMIT may pass. */
static int
claim_take(struct core *c, const struct claims *x, struct vm_state *s, struct fail *f)
{
	struct vm_obj *mine = vm_find(c, s->fwd.segment, &s->fwd.mac);
	struct peer *p = &c->peers[x->peer - 1];
	int rc;

	if (s->fwd.owner != p->index)
		return fail(f, RPC_DENIED, "it speaks for router %s", router_name(c, s->fwd.owner));
	if (!p->shared[s->fwd.segment])
		return fail(f, RPC_DENIED, "it does not have this segment, by its own hello");
	if (!wins(c, mine, s, p)) {
		p->outdated = true; /* what we know may be forgotten: then this counts */
		return 0;
	}
	rc = check_step(mine, s, f);
	if (rc == 0)
		rc = check_claim_addresses(c, s, f);
	if (rc != 0)
		return rc;
	for (unsigned int i = s->fwd.n_drains; i-- > 0;)
		if (!take_drain(c, p, mine, s, i))
			drain_remove(s, i);
	rc = check_room(c, mine, s, f);
	if (rc == 0)
		rc = clear_addresses(c, x, s, f);
	if (rc == 0 && !(mine && mine->present && vm_state_same(&mine->now, s)))
		vm_set(c, s);
	return rc;
}

/* A VM of ours that we do not know, or not so new: our store was lost or is an old one. Who says so could as well claim
 * the VM for itself. */
static int
take_returned(struct core *c, const struct claims *x, struct vm_state *s, struct fail *f)
{
	struct vm_obj *mine = vm_find(c, s->fwd.segment, &s->fwd.mac);
	struct peer *p = &c->peers[x->peer - 1];
	int rc;

	if (s->fwd.owner != FWD_SELF || !p->shared[s->fwd.segment])
		return fail(f, RPC_DENIED, "we have asked for VMs of our own");
	if (mine && mine->now.epoch == s->epoch && mine->now.fwd.owner == FWD_SELF)
		return 0; /* by our own word */
	if (!wins(c, mine, s, p))
		return 0;
	rc = check_step(mine, s, f);
	if (rc == 0)
		rc = check_claim_drains(c, s, f);
	if (rc == 0)
		rc = check_room(c, mine, s, f);
	if (rc == 0)
		rc = clear_addresses(c, x, s, f);
	if (rc == 0)
		rc = vm_check(c, s, f);
	if (rc == 0)
		vm_set(c, s);
	return rc;
}

static void
claim_read(struct core *c, const json_t *v, struct claim *k)
{
	struct faults faults;
	struct err e = {0};
	struct vm vm;

	faults_init(&faults);
	k->code = RPC_CONFLICT;
	if (kind_read(&kind_vm, v, NULL, &vm, &faults) != 0) {
		faults_err(&faults, &e);
		k->code = fail(&k->fail, RPC_INVALID_PARAMS, "%s", e.text);
	} else if (!vm_from_api(c, &vm, &k->state, &k->fail)) {
		k->code = k->fail.code;
	}
	faults_fini(&faults);
	kind_fini(&kind_vm, &vm);
}

/* What of our own VMs this page replaces: it takes their addresses, too. */
static void
mark_replaced(struct core *c, struct claims *x, const struct claim *claims)
{
	c->replaces += 2;
	x->serial = c->replaces;
	for (size_t i = 0; i < x->n; i++) {
		const struct vm_state *s = &claims[i].state;
		struct vm_obj *o =
			claims[i].code == RPC_CONFLICT ? vm_find(c, s->fwd.segment, &s->fwd.mac) : NULL;

		if (o && x->returned && o->now.epoch < s->epoch)
			o->named = x->serial;
	}
}

static void
claim_try(struct core *c, struct claims *x, struct claim *k)
{
	struct vm_state s = k->state;
	size_t mark = txn_mark(c);

	fail_clear(&k->fail);
	k->code = x->returned ? take_returned(c, x, &s, &k->fail) : claim_take(c, x, &s, &k->fail);
	if (k->code != 0)
		txn_rollback(c, mark);
	k->changed = txn_mark(c) != mark;
}

/* All those that have to be; in which order they come makes no difference, but for long chains: what is left comes again. */
static void
claims_try(struct core *c, struct claims *x, struct claim *claims)
{
	bool again = true;

	for (int pass = 0; again && pass < PASSES; pass++) {
		again = false;
		for (size_t i = 0; i < x->n; i++) {
			if (claims[i].code != RPC_CONFLICT)
				continue;
			claim_try(c, x, &claims[i]);
			again |= claims[i].changed;
		}
	}
}

static void
claim_count(struct claims *x, struct peer *p, struct claim *k, const json_t *v)
{
	if (k->code == 0) {
		x->accepted += !x->returned || k->changed;
		return;
	}
	x->refused++;
	x->retry |= k->code == RPC_CONFLICT || k->code == RPC_LIMIT;
	peer_alarm(p, "its claim of VM %s/%s is refused: %s",
		json_string_value(json_object_get(v, "segment")),
		json_string_value(json_object_get(v, "mac")), k->fail.text);
	fail_clear(&k->fail);
}

static int
claims_apply(struct core *c, struct txn *t)
{
	struct claims *x = (struct claims *)t;
	struct claim *claims = zalloc((x->n + 1) * sizeof(*claims));

	x->accepted = x->refused = 0;
	x->retry = false;
	for (size_t i = 0; i < x->n; i++)
		claim_read(c, json_array_get(x->vms, x->from + i), &claims[i]);
	mark_replaced(c, x, claims);
	claims_try(c, x, claims);
	for (size_t i = 0; i < x->n; i++)
		claim_count(x, &c->peers[x->peer - 1], &claims[i], json_array_get(x->vms, x->from + i));
	free(claims);
	return 0;
}

static void claims_done(struct core *c, struct txn *t, int code);

static void
claims_audit(struct core *c, struct txn *t)
{
	struct claims *x = (struct claims *)t;
	char who[WHO_TEXT];

	audit_who(ROLE_PEER, router_name(c, x->peer), who);
	audit_effects(c, t, who, x->returned ? "sync.mine" : "sync.update");
}

static void
claims_submit(struct core *c, const struct claims *from, size_t i, size_t n, bool last)
{
	struct claims *x = zalloc(sizeof(*x));

	*x = *from;
	memset(&x->txn, 0, sizeof(x->txn));
	x->txn.apply = claims_apply;
	x->txn.done = claims_done;
	x->txn.audit = claims_audit;
	x->from = i;
	x->n = n;
	json_incref(x->vms);
	if (!last) {
		x->exchange = 0;
		x->request = NULL;
		x->counted = 0;
	}
	txn_submit(c, &x->txn);
}

static void
claims_end(struct core *c, struct claims *x, int code)
{
	struct peer *p = &c->peers[x->peer - 1];

	p->accepted += x->accepted;
	p->refused += x->refused;
	p->retry |= x->retry || code != 0;
	if (x->returned && x->accepted > 0)
		event_alarm(c, p->conf->name,
			"our store was lost or is an old one: it gives back %" PRIu64 " VMs of ours",
			x->accepted);
	if (x->request)
		rpc_reply(x->request, json_object());
	p->claims_wait -= x->counted;
	if (sync_go_on(p, x->exchange, x->refused))
		return;
	if (p->overrun && p->claims_wait == 0 && p->session) {
		p->overrun = false;
		sync_start(p);
	}
	if (p->retry && p->session && !p->exchange)
		peer_exchanged(p, false);
}

static void
claims_done(struct core *c, struct txn *t, int code)
{
	struct claims *x = (struct claims *)t;

	if (code != 0 && code != RPC_STORE && x->n > 1 &&
		c->running) { /* forwarding refused: find out which */
		for (size_t i = 0; i < x->n; i++)
			claims_submit(c, x, x->from + i, 1, i == x->n - 1);
	} else {
		if (code != 0)
			peer_alarm(&c->peers[x->peer - 1], "its claims cannot be taken: %s", t->fail.text);
		claims_end(c, x, code);
	}
	json_decref(x->vms);
	fail_clear(&t->fail);
	free(x);
}

void
claims_new(struct peer *p, json_t *vms, uint64_t exchange, struct rpc_request *r)
{
	struct claims x = {.peer = p->index, .exchange = exchange, .request = r, .vms = vms};

	x.counted = r ? json_array_size(vms) : 0;
	p->claims_wait += x.counted;
	claims_submit(p->core, &x, 0, json_array_size(vms), true);
}

void
claims_returned(struct peer *p, json_t *vms, uint64_t exchange)
{
	struct claims x = {.peer = p->index, .exchange = exchange, .vms = vms, .returned = true};

	claims_submit(p->core, &x, 0, json_array_size(vms), true);
}
