/* SPDX-License-Identifier: BSD-3-Clause */
/* vms.c - VM objects: the hash by (segment, MAC), the index of their addresses, and their texts. */
#include "state.h"

#include <common/log.h>

void *
zalloc_secret(size_t n)
{
	void *p = secret_new(n);

	if (!p) {
		log_error("control: no memory for keys");
		abort();
	}
	return p;
}

void *
zalloc(size_t n)
{
	void *p = calloc(1, n);

	if (!p) {
		log_error("control: no memory");
		abort();
	}
	return p;
}

/* ---- names ---- */

const char *
router_name(struct core *c, uint8_t index)
{
	if (index == FWD_SELF)
		return c->conf->router.name;
	return list_at(c->conf->peers, const struct conf_peer, index - 1)->name;
}

int
router_index(struct core *c, const char *name)
{
	if (strcmp(name, c->conf->router.name) == 0)
		return FWD_SELF;
	for (size_t i = 0; i < c->conf->peers.n; i++)
		if (!list_at(c->conf->peers, const struct conf_peer, i)->removed &&
			strcmp(name, list_at(c->conf->peers, const struct conf_peer, i)->name) == 0)
			return (int)i + 1;
	return -1;
}

int
segment_index(struct core *c, const char *name)
{
	for (size_t i = 0; i < c->conf->segments.n; i++)
		if (strcmp(name, list_at(c->conf->segments, const struct conf_segment, i)->name) == 0)
			return (int)i;
	return -1;
}

const struct conf_segment *
segment_at(struct core *c, uint16_t index)
{
	return list_at(c->conf->segments, const struct conf_segment, index);
}

/* Attachments are counted across segments. */
const char *
attachment_text(struct core *c, int attachment, char text[IP4_TEXT])
{
	size_t n = (size_t)attachment;

	for (size_t i = 0; i < c->conf->segments.n && attachment >= 0; i++) {
		const struct conf_segment *s = segment_at(c, (uint16_t)i);

		if (n < s->attachments.n) {
			const struct conf_attachment *a =
				list_at(s->attachments, const struct conf_attachment, n);

			return a->vtep != 0 ? ip4_format(a->vtep, text) : a->port;
		}
		n -= s->attachments.n;
	}
	return "?";
}

void
vm_key_text(struct core *c, uint16_t segment, const struct mac *mac, char text[VM_KEY_TEXT])
{
	char m[MAC_TEXT];

	snprintf(text, VM_KEY_TEXT, "%s/%s", segment_at(c, segment)->name, mac_format(mac, m));
}

/* ---- the index of addresses ---- */

static uint64_t
key_private(uint16_t segment, ip4 a)
{
	return (uint64_t)(segment + 1) << 32 | a;
}

static struct vm_obj *
address_find(struct core *c, uint64_t key)
{
	struct address *a;

	HASH_FIND(hh, c->addresses, &key, sizeof(key), a);
	return a ? a->vm : NULL;
}

struct vm_obj *
vm_by_private(struct core *c, uint16_t segment, ip4 a)
{
	return address_find(c, key_private(segment, a));
}

struct vm_obj *
vm_by_global(struct core *c, ip4 a)
{
	return address_find(c, a);
}

static void
address_put(struct core *c, uint64_t key, struct vm_obj *o)
{
	struct address *a;

	HASH_FIND(hh, c->addresses, &key, sizeof(key), a);
	if (!a) {
		a = zalloc(sizeof(*a));
		a->key = key;
		HASH_ADD(hh, c->addresses, key, sizeof(a->key), a);
	}
	a->vm = o;
}

static void
address_drop(struct core *c, uint64_t key, const struct vm_obj *o)
{
	struct address *a;

	HASH_FIND(hh, c->addresses, &key, sizeof(key), a);
	if (!a || a->vm != o)
		return;
	HASH_DEL(c->addresses, a);
	free(a);
}

/* Calls each(key) for what a state holds: private addresses, live and draining global ones. */
static void
each_address(struct core *c, struct vm_obj *o, bool put)
{
	const struct fwd_vm *f = &o->now.fwd;
	uint64_t keys[2 * FWD_ADDRESSES_MAX + FWD_DRAINS_MAX];
	size_t n = 0;

	for (unsigned int i = 0; i < f->n_addresses; i++) {
		keys[n++] = key_private(f->segment, f->addresses[i].private_ip);
		if (f->addresses[i].global_ip)
			keys[n++] = f->addresses[i].global_ip;
	}
	for (unsigned int i = 0; i < f->n_drains; i++)
		keys[n++] = f->drains[i].global_ip;
	for (size_t i = 0; i < n; i++) {
		if (put)
			address_put(c, keys[i], o);
		else
			address_drop(c, keys[i], o);
	}
}

/* ---- objects ---- */

struct vm_obj *
vm_find(struct core *c, uint16_t segment, const struct mac *mac)
{
	struct vm_key key = {segment, *mac};
	struct vm_obj *o;

	HASH_FIND(hh, c->vms, &key, sizeof(key), o);
	return o;
}

bool
vm_live(const struct vm_obj *o)
{
	return o && o->present && !o->now.deleted;
}

const struct vm_state *
vm_settled(const struct core *c, const struct vm_obj *o)
{
	const struct undo *u = txn_before(c, &o->touched);

	if (u)
		return u->present ? &u->old.vm : NULL;
	return o->present ? &o->now : NULL;
}

bool
vm_has_private(const struct vm_state *s, ip4 private)
{
	for (unsigned int i = 0; i < s->fwd.n_addresses; i++)
		if (s->fwd.addresses[i].private_ip == private)
			return true;
	return false;
}

bool
vm_has_home(const struct vm_state *s, ip4 private, ip4 home)
{
	if (!home)
		return false;
	for (unsigned int i = 0; i < s->fwd.n_addresses; i++)
		if (s->fwd.addresses[i].private_ip == private && s->fwd.addresses[i].global_ip == home)
			return true;
	for (unsigned int i = 0; i < s->fwd.n_drains; i++)
		if (s->fwd.drains[i].private_ip == private && s->fwd.drains[i].global_ip == home)
			return true;
	return false;
}

bool
vm_has_global(const struct vm_state *s, ip4 global)
{
	for (unsigned int i = 0; i < s->fwd.n_addresses; i++)
		if (s->fwd.addresses[i].global_ip == global)
			return true;
	return false;
}

void
vm_keep_ages(const struct vm_state *old, struct vm_state *s)
{
	for (unsigned int i = 0; i < s->fwd.n_addresses; i++) {
		struct fwd_address *a = &s->fwd.addresses[i];

		for (unsigned int j = 0; a->global_ip && j < old->fwd.n_addresses; j++)
			if (old->fwd.addresses[j].global_ip == a->global_ip)
				a->since = old->fwd.addresses[j].since;
		for (unsigned int j = 0; j < old->fwd.n_drains; j++)
			if (old->fwd.drains[j].global_ip == a->global_ip)
				a->since = old->fwd.drains[j].since;
	}
}

static void
count(struct core *c, struct vm_obj *o, int by)
{
	if (!o->present)
		return;
	digest_count(c, o, by);
	if (o->now.departure.phase != DEPARTS_NOT) {
		if (by > 0)
			DL_APPEND2(c->departing, o, depart_prev, depart_next);
		else
			DL_DELETE2(c->departing, o, depart_prev, depart_next);
	}
	if (o->now.deleted)
		tombstone_count(c, o, by);
	else
		c->n_live += (size_t)by;
}

static struct vm_obj *
vm_new(struct core *c, const struct vm_key *key)
{
	struct vm_obj *o = zalloc(sizeof(*o));

	o->key = *key;
	o->now.fwd.segment = key->segment;
	o->now.fwd.mac = key->mac;
	HASH_ADD(hh, c->vms, key, sizeof(o->key), o);
	digest_enter(c, o);
	free(c->sorted);
	c->sorted = NULL;
	return o;
}

static void
vm_replace(struct core *c, struct vm_obj *o, const struct vm_state *s, bool present)
{
	each_address(c, o, false);
	count(c, o, -1);
	o->now = *s;
	o->present = present;
	count(c, o, 1);
	if (present)
		each_address(c, o, true);
}

static struct vm_obj *
vm_write(struct core *c, struct vm_obj *o, const struct vm_state *s, const struct departure *d)
{
	struct vm_state old = o->now, new = *s;
	bool was_present = o->present;
	struct undo *u = txn_log(c);

	u->kind = UNDO_VM;
	u->vm = o;
	u->present = o->present;
	u->old.vm = o->now;
	txn_touch(c, &o->touched);
	new.departure = *d;
	new.revision = o->now.revision;
	if (!o->present || !vm_state_same(&o->now, s)) {
		new.revision = u->revision;
		txn_count(c);
	}
	vm_replace(c, o, &new, true);
	moves_follow(c, o, was_present ? &old : NULL);
	o->now.fwd.flags = move_flags(c, &o->now);
	return o;
}

/* It goes on while the VM is ours, and the move still to come. */
static struct departure
departure_left(const struct vm_state *old, const struct vm_state *now)
{
	struct departure none = {0};

	if (now->deleted || now->fwd.owner != FWD_SELF || now->epoch >= old->departure.epoch)
		return none;
	return old->departure;
}

struct vm_obj *
vm_set(struct core *c, const struct vm_state *s)
{
	struct vm_key key = {s->fwd.segment, s->fwd.mac};
	struct vm_obj *o = vm_find(c, key.segment, &key.mac);
	struct departure d;

	if (!o)
		o = vm_new(c, &key);
	d = departure_left(&o->now, s);
	return vm_write(c, o, s, &d);
}

void
vm_touch(struct core *c, const struct vm_obj *o)
{
	struct vm_state s = o->now;

	vm_set(c, &s);
}

void
vm_depart(struct core *c, struct vm_obj *o, const struct departure *d)
{
	struct vm_state s = o->now;

	vm_write(c, o, &s, d);
}

void
vm_forwarding(const struct vm_state *s, struct fwd_vm *out)
{
	memcpy(out, &s->fwd, sizeof(*out)); /* compared as bytes */
	if (s->departure.phase != DEPARTS_PAUSED)
		return;
	out->location = s->departure.to;
	out->attachment = ATTACHMENT_ANY;
}

void
vm_strip(struct core *c, const struct vm_obj *o, ip4 which)
{
	struct vm_state s = o->now;

	for (unsigned int i = s.fwd.n_drains; i-- > 0;)
		if (s.fwd.drains[i].global_ip == which)
			drain_remove(&s, i);
	for (unsigned int i = s.fwd.n_addresses; i-- > 0;) {
		if (s.fwd.addresses[i].global_ip == which)
			s.fwd.addresses[i].global_ip = 0;
		if (s.fwd.addresses[i].private_ip != which)
			continue;
		s.fwd.n_addresses--;
		memmove(&s.fwd.addresses[i], &s.fwd.addresses[i + 1],
			(s.fwd.n_addresses - i) * sizeof(s.fwd.addresses[0]));
	}
	vm_set(c, &s);
}

void
vm_forget(struct core *c, struct vm_obj *o)
{
	struct undo *u = txn_log(c);

	u->kind = UNDO_VM;
	u->vm = o;
	u->present = true;
	u->old.vm = o->now;
	txn_touch(c, &o->touched);
	if (c->vms_from < o->now.revision)
		c->vms_from = o->now.revision;
	txn_count(c);
	vm_replace(c, o, &u->old.vm, false);
}

void
vm_free(struct core *c, struct vm_obj *o)
{
	handover_forget(c, o);
	evidence_forget(c, o);
	HASH_DEL(c->vms, o);
	digest_leave(c, o);
	free(c->sorted);
	c->sorted = NULL;
	free(o);
}

void
vm_undo(struct core *c, struct vm_obj *o, const struct vm_state *old, bool present)
{
	vm_replace(c, o, old, present);
	if (!present && o->touched.group == 0) /* made by this change; else by one before, which forgot it */
		vm_free(c, o);
}

/* ---- a router that leaves the group ---- */

void
vm_withdraw(struct core *c, const struct vm_obj *o, uint8_t router)
{
	bool owned = o->now.fwd.owner == router, located = o->now.fwd.location == router;
	struct vm_state s = o->now;

	if (owned) {
		s.deleted = true;
		s.fwd.n_addresses = 0;
	}
	if (located) {
		s.fwd.location = s.fwd.owner;
		s.fwd.attachment = ATTACHMENT_ANY;
	}
	for (unsigned int i = s.fwd.n_drains; i-- > 0;)
		if (owned || s.fwd.drains[i].home == router)
			drain_remove(&s, i);
	if (owned || located || s.fwd.n_drains != o->now.fwd.n_drains)
		vm_set(c, &s);
}

void
vms_withdraw(struct core *c, uint8_t router)
{
	for (struct vm_obj *o = c->vms; o; o = o->hh.next)
		if (vm_live(o))
			vm_withdraw(c, o, router);
}

void
vms_forget(struct core *c, uint8_t router)
{
	for (struct vm_obj *o = c->vms; o; o = o->hh.next)
		if (o->present && o->now.deleted && o->now.fwd.owner == router)
			tombstone_forget(c, o);
	tombstones_flush(c);
}

void
vms_free(struct core *c)
{
	struct vm_obj *o, *next;
	struct address *a, *after;

	HASH_ITER (hh, c->vms, o, next) {
		HASH_DEL(c->vms, o);
		free(o);
	}
	HASH_ITER (hh, c->addresses, a, after) {
		HASH_DEL(c->addresses, a);
		free(a);
	}
	free(c->sorted);
	free(c->leaves);
}
