/* SPDX-License-Identifier: BSD-3-Clause */
/* apply_vm.c - vm.register, vm.move, vm.unregister. */
#include "state.h"

/* What a call says of a VM, and what is known of it. */
struct ask {
	const char *segment;
	struct mac mac;
	uint64_t epoch; /* 0: one more than known */
	const struct list *addresses;
};

static int
find_segment(struct core *c, const char *name, uint16_t *segment, struct fail *f)
{
	int i = segment_index(c, name);

	if (i < 0)
		return fail(f, RPC_INVALID_PARAMS, "segment %s is not in this router's configuration", name);
	*segment = (uint16_t)i;
	return 0;
}

/* The epoch that a change gets; `same` where it has the known epoch, and then must change nothing. */
static int
take_epoch(struct core *c, const struct vm_obj *known, uint64_t asked, uint64_t *epoch, struct fail *f)
{
	uint64_t old = known ? known->now.epoch : 0;
	char key[VM_KEY_TEXT];

	*epoch = asked ? asked : old + 1;
	if (known)
		vm_key_text(c, known->key.segment, &known->key.mac, key);
	if (*epoch > EPOCH_MAX)
		return fail(f, RPC_EPOCH_STEP, "epoch %" PRIu64 " is above 2^63-1", *epoch);
	if (known && *epoch < old) {
		f->data = vm_shown(c, &known->now);
		return fail(f, RPC_STALE_EPOCH, "VM %s is at epoch %" PRIu64 " already, at router %s", key,
			old, router_name(c, known->now.fwd.owner));
	}
	if (known && *epoch - old > EPOCH_STEP)
		return fail(f, RPC_EPOCH_STEP,
			"epoch %" PRIu64 " is more than 2^32 above %" PRIu64 " of VM %s", *epoch, old, key);
	return 0;
}

static int
conflict(struct core *c, const struct vm_obj *known, struct fail *f)
{
	char key[VM_KEY_TEXT];

	vm_key_text(c, known->key.segment, &known->key.mac, key);
	f->data = vm_shown(c, &known->now);
	fail(f, RPC_CONFLICT, "VM %s has other content at epoch %" PRIu64 ": a change needs a higher epoch",
		key, known->now.epoch);
	if (!c->current->dry_run)
		event_alarm(c, "", "%s", f->text);
	return f->code;
}

static int
take_addresses(struct core *c, const struct list *l, struct vm_state *s, struct fail *f)
{
	char ip[IP4_TEXT];
	int rc;

	if (l->n == 0 || l->n > FWD_ADDRESSES_MAX)
		return fail(f, RPC_INVALID_PARAMS, "addresses: 1 to %d private addresses", FWD_ADDRESSES_MAX);
	for (size_t i = 0; i < l->n; i++) {
		const struct vm_address *a = list_at(*l, const struct vm_address, i);

		rc = check_private(c, s->fwd.segment, a->private_ip, f);
		if (rc == 0 && a->global_ip)
			rc = check_own_global(c, s->fwd.segment, a->global_ip, f);
		if (rc != 0)
			return rc;
		if (vm_has_private(s, a->private_ip) || (a->global_ip && vm_has_global(s, a->global_ip)))
			return fail(f, RPC_INVALID_PARAMS, "addresses: %s is given twice",
				ip4_format(
					vm_has_private(s, a->private_ip) ? a->private_ip : a->global_ip, ip));
		s->fwd.addresses[s->fwd.n_addresses++] =
			(struct fwd_address){a->private_ip, a->global_ip, s->epoch};
	}
	return 0;
}

static int
check_room(struct core *c, const struct vm_obj *known, struct fail *f)
{
	if (vm_live(known) || c->n_live < c->conf->limits.vms)
		return 0;
	return fail(f, RPC_LIMIT, "limits.vms is reached: %" PRIu64 " VMs are known", c->conf->limits.vms);
}

/* A state of ours at its own site with what the call asks for, and without drains. */
static int
begin(struct core *c, const struct ask *ask, struct vm_state *s, struct vm_obj **known, struct fail *f)
{
	uint16_t segment = 0;
	int rc = find_segment(c, ask->segment, &segment, f);

	memset(s, 0, sizeof(*s));
	if (rc == 0)
		rc = check_mac(c, &ask->mac, f);
	if (rc != 0)
		return rc;
	*known = vm_find(c, segment, &ask->mac);
	s->fwd.segment = segment;
	s->fwd.mac = ask->mac;
	s->fwd.owner = FWD_SELF;
	s->fwd.location = FWD_SELF;
	s->fwd.attachment = ATTACHMENT_ANY;
	rc = take_epoch(c, *known, ask->epoch, &s->epoch, f);
	if (rc == 0 && ask->addresses)
		rc = take_addresses(c, ask->addresses, s, f);
	return rc;
}

/* In its place: the oldest address first, which is not always the one that began to drain first. Not if the address is
 * live again, drains already, or the VM gave up what it leads to. */
static int
drain_add(struct vm_state *s, const struct fwd_drain *d, const struct drain_time *t, struct fail *f)
{
	unsigned int i;

	if (!d->global_ip || vm_has_global(s, d->global_ip) || !vm_has_private(s, d->private_ip))
		return 0;
	for (i = 0; i < s->fwd.n_drains; i++)
		if (s->fwd.drains[i].global_ip == d->global_ip)
			return 0;
	if (s->fwd.n_drains == FWD_DRAINS_MAX)
		return fail(
			f, RPC_LIMIT, "%d old addresses drain already: move.cut ends one", FWD_DRAINS_MAX);
	for (i = s->fwd.n_drains++; i > 0 && s->fwd.drains[i - 1].since > d->since; i--) {
		s->fwd.drains[i] = s->fwd.drains[i - 1];
		s->drain[i] = s->drain[i - 1];
	}
	s->fwd.drains[i] = *d;
	s->drain[i] = *t;
	return 0;
}

/* Drains that go on. */
static int
keep_drains(const struct vm_state *old, struct vm_state *s, struct fail *f)
{
	int rc = 0;

	for (unsigned int i = 0; i < old->fwd.n_drains && rc == 0; i++)
		rc = drain_add(s, &old->fwd.drains[i], &old->drain[i], f);
	return rc;
}

static bool
same_addresses(const struct vm_state *a, const struct vm_state *b)
{
	if (a->fwd.n_addresses != b->fwd.n_addresses)
		return false;
	for (unsigned int i = 0; i < a->fwd.n_addresses; i++)
		if (a->fwd.addresses[i].private_ip != b->fwd.addresses[i].private_ip ||
			a->fwd.addresses[i].global_ip != b->fwd.addresses[i].global_ip)
			return false;
	return true;
}

/* Ours already, and as asked: nothing to do, whatever was asked for as the epoch up to the known one. */
static bool
is_so(const struct vm_obj *known, const struct vm_state *s, uint64_t asked)
{
	return vm_live(known) && known->now.fwd.owner == FWD_SELF && same_addresses(&known->now, s) &&
	       (asked == 0 || asked == known->now.epoch);
}

static int
finish(struct core *c, const struct vm_state *s, json_t *out, struct fail *f)
{
	int rc = check_clash(c, s, f);

	if (rc != 0)
		return rc;
	vm_set(c, s);
	json_object_set_new(out, "epoch", json_integer((json_int_t)s->epoch));
	return 0;
}

static int
already(const struct vm_obj *known, json_t *out)
{
	json_object_set_new(out, "epoch", json_integer((json_int_t)known->now.epoch));
	return 0;
}

int
apply_vm_register(struct core *c, const struct vm_register_params *p, json_t *out, struct fail *f)
{
	struct ask ask = {p->segment, p->mac, p->epoch, &p->addresses};
	struct vm_obj *known;
	struct vm_state s;
	int rc = begin(c, &ask, &s, &known, f);

	if (rc != 0)
		return rc;
	if (is_so(known, &s, p->epoch))
		return already(known, out);
	if (known && s.epoch == known->now.epoch)
		return conflict(c, known, f);
	if (vm_live(known))
		vm_keep_ages(&known->now, &s);
	rc = check_room(c, known, f);
	if (rc == 0 && vm_live(known))
		rc = keep_drains(&known->now, &s, f);
	if (rc != 0)
		return rc;
	if (vm_live(known) && known->now.fwd.owner == FWD_SELF) { /* it has not moved */
		s.fwd.location = known->now.fwd.location;
		s.fwd.attachment = known->now.fwd.attachment;
	}
	return finish(c, &s, out, f);
}

/* The global address that this router has for a private one: live, else the newest that drains here. */
static ip4
own_global(const struct vm_state *old, ip4 private_ip)
{
	for (unsigned int i = 0; i < old->fwd.n_addresses && old->fwd.owner == FWD_SELF; i++)
		if (old->fwd.addresses[i].private_ip == private_ip && old->fwd.addresses[i].global_ip)
			return old->fwd.addresses[i].global_ip;
	for (unsigned int i = old->fwd.n_drains; i-- > 0;)
		if (old->fwd.drains[i].private_ip == private_ip && old->fwd.drains[i].home == FWD_SELF)
			return old->fwd.drains[i].global_ip;
	return 0;
}

/* A VM that returns gets the address back that drains here, unless it is given another. */
static void
take_back(const struct vm_state *old, struct vm_state *s)
{
	for (unsigned int i = 0; i < s->fwd.n_addresses; i++) {
		struct fwd_address *a = &s->fwd.addresses[i];
		ip4 own = a->global_ip ? 0 : own_global(old, a->private_ip);

		if (own && !vm_has_global(s, own))
			a->global_ip = own;
	}
}

static int
drain_times(struct core *c, const struct vm_move_params *p, struct drain_time *t, struct fail *f)
{
	t->min_ms = p->drain_min_ms == UINT64_MAX ? c->conf->drain.min_ms : p->drain_min_ms;
	t->max_ms = p->drain_max_ms == UINT64_MAX ? c->conf->drain.max_ms : p->drain_max_ms;
	if (t->min_ms > t->max_ms && p->drain_max_ms == UINT64_MAX)
		t->max_ms = t->min_ms;
	if (t->min_ms > t->max_ms && p->drain_min_ms == UINT64_MAX)
		t->min_ms = t->max_ms;
	if (t->min_ms > t->max_ms)
		return fail(f, RPC_INVALID_PARAMS, "drain-min is above drain-max");
	return 0;
}

/* The addresses that were live at the old owner begin to drain there. */
static int
start_drains(struct core *c, const struct vm_state *old, const struct drain_time *time, struct vm_state *s,
	struct fail *f)
{
	uint64_t now = now_ms(c);
	int rc = 0;

	for (unsigned int i = 0; i < old->fwd.n_addresses && rc == 0; i++) {
		const struct fwd_address *a = &old->fwd.addresses[i];
		struct fwd_drain d = {.private_ip = a->private_ip,
			.global_ip = a->global_ip,
			.home = old->fwd.owner,
			.since = a->since};
		struct drain_time t = *time;

		if (d.home == FWD_SELF) {
			t.min_at = now + t.min_ms;
			t.max_at = now + t.max_ms;
			t.quiet_at = now + SESSION_QUIET_MS;
		}
		rc = home_lost(c, d.home) ? 0 : drain_add(s, &d, &t, f);
	}
	return rc;
}

/* What an address is to its home only that one knows: it ends a drain that it never had (claims.c). */
static int
check_old(struct core *c, const struct vm_old *o, const struct vm_state *s, struct fail *f)
{
	char ip[IP4_TEXT];

	ip4_format(o->global_ip, ip);
	if (router_index(c, o->router) <= FWD_SELF)
		return fail(f, RPC_INVALID_PARAMS, "old: router %s is no peer of this router", o->router);
	if (segment_at(c, s->fwd.segment)->access != ACCESS_NAT)
		return fail(f, RPC_INVALID_PARAMS, "old: %s: the segment is routed and has no NAT", ip);
	if (in_own_pool(c, o->global_ip))
		return fail(f, RPC_INVALID_PARAMS, "old: %s is of this router's own pools, not of %s's", ip,
			o->router);
	if (!vm_has_private(s, o->private_ip))
		return fail(f, RPC_INVALID_PARAMS, "old: %s leads to none of the VM's addresses", ip);
	if (o->epoch > s->epoch)
		return fail(f, RPC_INVALID_PARAMS, "old: %s: epoch %" PRIu64 " is above that of the move", ip,
			o->epoch);
	return 0;
}

/* The epoch at which the VM got an address: one that we never heard of is younger than all that we know. */
static uint64_t
age_of(const struct vm_obj *known, ip4 global)
{
	const struct fwd_vm *f = known ? &known->now.fwd : NULL;

	if (!f)
		return 0;
	for (unsigned int i = 0; i < f->n_addresses; i++)
		if (f->addresses[i].global_ip == global)
			return f->addresses[i].since;
	return known->now.epoch + 1; /* a drain that we know is kept as we know it */
}

struct takeover { /* by vm.move */
	const struct vm_move_params *p;
	const struct vm_obj *known;
	struct drain_time time; /* of the drains that begin */
	bool current;		/* known at the epoch before */
};

/* What the controller knows to be live or to drain elsewhere. */
/* nat.set keeps the epoch: who has not heard of it knows the VM, and not the address that is old by this move. */
static bool
is_news(struct core *c, const struct takeover *t, const struct vm_old *o)
{
	return vm_live(t->known) && o->epoch == 0 &&
	       strcmp(o->router, router_name(c, t->known->now.fwd.owner)) == 0;
}

static int
take_old(struct core *c, const struct takeover *t, struct vm_state *s, struct fail *f)
{
	int rc = 0;

	for (size_t i = 0; i < t->p->old.n && rc == 0; i++) {
		const struct vm_old *o = list_at(t->p->old, const struct vm_old, i);
		struct fwd_drain d = {.private_ip = o->private_ip,
			.global_ip = o->global_ip,
			.since = age_of(t->known, o->global_ip)};
		struct drain_time time = t->time;

		if (t->current && !is_news(c, t, o))
			continue;
		rc = check_old(c, o, s, f);
		if (rc != 0)
			break;
		d.home = (uint8_t)router_index(c, o->router);
		time.epoch = o->epoch ? o->epoch : s->epoch;
		rc = home_lost(c, d.home) ? 0 : drain_add(s, &d, &time, f);
		if (rc == RPC_LIMIT && t->current) { /* what we know fills the room */
			fail_clear(f);
			return 0;
		}
	}
	return rc;
}

/* Who knows the VM at the epoch before knows what is old now, but for addresses that nat.set gave it unheard. Else the controller's
 * word is added to what we know. What of it is over, its home will tell. */
static int
make_old(struct core *c, struct takeover *t, struct vm_state *s, struct fail *f)
{
	const struct vm_obj *known = t->known;
	int rc = 0;

	t->current = known && known->now.epoch + 1 == s->epoch;
	t->time.epoch = s->epoch;
	if (vm_live(known))
		vm_keep_ages(&known->now, s);
	if (t->p->sessions == SESSIONS_CUT) /* nothing is old, so nothing drains */
		return 0;
	if (vm_live(known))
		rc = keep_drains(&known->now, s, f);
	if (rc == 0 && !t->current)
		rc = take_old(c, t, s, f);
	if (rc == 0 && vm_live(known))
		rc = start_drains(c, &known->now, &t->time, s, f);
	if (rc == 0 && t->current)
		rc = take_old(c, t, s, f);
	for (unsigned int i = 0; i < s->fwd.n_drains; i++)
		s->fwd.drains[i].direct =
			t->p->sessions == SESSIONS_DIRECT && s->fwd.drains[i].home != FWD_SELF;
	return rc;
}

int
vm_take_over(struct core *c, const struct vm_move_params *p, bool prepared, json_t *out, struct fail *f)
{
	struct ask ask = {p->segment, p->mac, p->epoch, &p->addresses};
	struct takeover t = {.p = p};
	struct vm_obj *known;
	struct vm_state s;
	int rc = begin(c, &ask, &s, &known, f);

	if (rc == 0)
		rc = drain_times(c, p, &t.time, f);
	if (rc != 0)
		return rc;
	if (vm_live(known))
		take_back(&known->now, &s);
	if (is_so(known, &s, p->epoch))
		return already(known, out);
	if (known && s.epoch == known->now.epoch)
		return conflict(c, known, f);
	rc = check_room(c, known, f);
	t.known = known;
	if (rc == 0)
		rc = make_old(c, &t, &s, f);
	if (rc == 0 && c->current->plans)
		plan_tell(c, known ? &known->now : NULL, &s, prepared, out);
	return rc ? rc : finish(c, &s, out, f);
}

int
apply_vm_move(struct core *c, const struct vm_move_params *p, json_t *out, struct fail *f)
{
	return vm_take_over(c, p, false, out, f);
}

int
apply_vm_unregister(struct core *c, const struct vm_key_params *p, json_t *out, struct fail *f)
{
	struct ask ask = {p->segment, p->mac, p->epoch, NULL};
	struct vm_obj *known;
	struct vm_state s;
	char mac[MAC_TEXT];
	int rc = begin(c, &ask, &s, &known, f);

	if (rc != 0)
		return rc;
	if (!known && p->epoch == 0)
		return fail(f, RPC_NOT_FOUND, "no VM %s in segment %s", mac_format(&p->mac, mac), p->segment);
	if (known && known->now.deleted && (p->epoch == 0 || p->epoch == known->now.epoch))
		return already(known, out);
	if (known && s.epoch == known->now.epoch)
		return conflict(c, known, f);
	if (!(known && known->now.deleted && known->now.fwd.owner == FWD_SELF) &&
		tombstone_check(c, FWD_SELF, f) != 0)
		return f->code;
	s.deleted = true;
	return finish(c, &s, out, f);
}
