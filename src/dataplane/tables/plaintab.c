/* SPDX-License-Identifier: BSD-3-Clause */
#include "plaintab.h"

#include <dataplane/vmrec.h>

#include <rte_errno.h>
#include <rte_malloc.h>
#include <stdlib.h>
#include <sys/random.h>

#define PER_LINE_X10 12 /* VMs of one address, of a full vmtab: with 1.2 a line 1 in 30 stands farther on */

/* In `state`: the entry counts no more, but a reader may be at it. */
#define RESTS(way) (1u << (8 + (way)))
#define VALID(way) (1u << (way))
#define MORE	   (1u << PLAIN_MORE)

struct entry {
	uint64_t bits; /* all of the key, as plain_line() takes it */
	uint32_t key;  /* what the line has of it */
	struct plain_vm vm;
};

/* ---- life ---- */

static int
index_init(struct plain_index *x, uint32_t vms)
{
	x->n_lines = (uint64_t)vms * 10 / PER_LINE_X10 + PLAIN_REACH;
	x->lines = rte_zmalloc("plain VMs", x->n_lines * sizeof(*x->lines), RTE_CACHE_LINE_SIZE);
	x->passed = calloc(x->n_lines, sizeof(*x->passed));
	return x->lines != NULL && x->passed != NULL &&
			       getrandom(&x->seed, sizeof(x->seed), 0) == sizeof(x->seed)
		       ? 0
		       : -1;
}

static int
homes_init(struct plaintab *t, uint32_t slots)
{
	t->homes = rte_zmalloc("homes of VMs", slots * sizeof(*t->homes), RTE_CACHE_LINE_SIZE);
	return t->homes != NULL ? 0 : -1;
}

struct plaintab *
plaintab_new(uint32_t vms, uint32_t slots)
{
	struct plaintab *t = calloc(1, sizeof(*t));

	if (t != NULL && index_init(&t->by_global, vms) == 0 && index_init(&t->by_ip, vms) == 0 &&
		index_init(&t->by_mac, vms) == 0 && homes_init(t, slots) == 0)
		return t;
	plaintab_free(t);
	rte_errno = ENOMEM;
	return NULL;
}

static void
index_fini(struct plain_index *x)
{
	rte_free(x->lines);
	free(x->passed);
}

void
plaintab_free(struct plaintab *t)
{
	if (t == NULL)
		return;
	index_fini(&t->by_global);
	index_fini(&t->by_ip);
	index_fini(&t->by_mac);
	rte_free(t->homes);
	free(t);
}

/* ---- readers ---- */

static const struct plain_line *
after(const struct plain_index *x, const struct plain_line *l)
{
	return l + 1 < x->lines + x->n_lines ? l + 1 : x->lines;
}

const struct plain_vm *
plain_find_farther(
	const struct plain_index *x, const struct plain_line *l, uint32_t key, plain_is *is, const void *what)
{
	const struct plain_vm *vm = NULL;
	uint32_t state = MORE;

	for (uint32_t n = 1; vm == NULL && n < PLAIN_REACH && (state & MORE); n++) {
		l = after(x, l);
		state = __atomic_load_n(&l->state, __ATOMIC_ACQUIRE);
		vm = plain_in(l, state, key, is, what);
	}
	return vm;
}

/* The router of a session with this home, as a place. */
static uint16_t
session_place(const struct vm_rec *r, rte_be32_t ip, rte_be32_t home)
{
	int router = vm_session_router(r, ip, home);

	if (router == VM_NO_HOME)
		return PLAIN_NOWHERE;
	return router == ROUTER_SELF ? PLAIN_HERE : plain_peer((uint8_t)router, r->seg);
}

uint16_t
plain_session_by_record(const struct plain_homes *h, rte_be32_t ip, rte_be32_t home)
{
	return session_place(h->rec, ip, home);
}

/* ---- writer: one entry ---- */

static struct plain_line *
line_of(const struct plain_index *x, const struct entry *e)
{
	return (struct plain_line *)(uintptr_t)plain_line(x, e->bits);
}

static struct plain_line *
next(const struct plain_index *x, struct plain_line *l)
{
	return (struct plain_line *)(uintptr_t)after(x, l);
}

static void
set_state(struct plain_line *l, uint32_t state)
{
	__atomic_store_n(&l->state, state, __ATOMIC_RELEASE);
}

/* One entry more, or less, stands farther on than these lines. */
static void
pass(struct plain_index *x, struct plain_line *from, const struct plain_line *to, int more)
{
	for (struct plain_line *l = from; l != to; l = next(x, l)) {
		uint16_t *passed = &x->passed[l - x->lines];

		*passed = (uint16_t)(*passed + more);
		set_state(l, *passed != 0 ? l->state | MORE : l->state & ~MORE);
	}
}

static int
free_way(const struct plain_line *l)
{
	for (int i = 0; i < PLAIN_WAYS; i++)
		if ((l->state & (VALID(i) | RESTS(i))) == 0)
			return i;
	return -1;
}

static void
add(struct plain_index *x, const struct entry *e)
{
	struct plain_line *home = line_of(x, e), *l = home;
	int way = free_way(l);

	for (uint32_t n = 1; way < 0 && n < PLAIN_REACH; n++)
		way = free_way(l = next(x, l));
	if (way < 0)
		return;
	__atomic_store_n(&l->key[way], e->key, __ATOMIC_RELAXED);
	l->vm[way] = e->vm;
	set_state(l, l->state | VALID(way));
	pass(x, home, l, 1);
}

/* The way where the entry stands of which this bit is set; -1: it was left out. */
static int
where(const struct plain_index *x, const struct entry *e, uint32_t (*bit)(int way), struct plain_line **line)
{
	*line = line_of(x, e);
	for (uint32_t n = 0; n < PLAIN_REACH; n++, *line = next(x, *line))
		for (int i = 0; i < PLAIN_WAYS; i++)
			if (((*line)->state & bit(i)) && (*line)->key[i] == e->key &&
				memcmp(&(*line)->vm[i], &e->vm, sizeof(e->vm)) == 0)
				return i;
	return -1;
}

static uint32_t
valid(int way)
{
	return VALID(way);
}

static uint32_t
rests(int way)
{
	return RESTS(way);
}

static void
end(struct plain_index *x, const struct entry *e)
{
	struct plain_line *l;
	int way = where(x, e, valid, &l);

	if (way >= 0)
		set_state(l, (l->state & ~VALID(way)) | RESTS(way));
}

static void
forget(struct plain_index *x, const struct entry *e)
{
	struct plain_line *l;
	int way = where(x, e, rests, &l);

	if (way < 0)
		return;
	set_state(l, l->state & ~RESTS(way));
	pass(x, line_of(x, e), l, -1);
}

/* ---- writer: those of a record ---- */

/* What is for it goes to its owner, who knows where it is; the owner knows. */
static uint16_t
place_of(const struct vm_rec *r)
{
	if (r->flags & VM_REC_HOLDS)
		return PLAIN_NOWHERE;
	if (r->owner != ROUTER_SELF)
		return plain_peer(r->owner, r->seg);
	if (r->location != ROUTER_SELF)
		return plain_peer(r->location, r->seg);
	return r->att == ATT_ANY ? PLAIN_NOWHERE : r->att;
}

struct writing {
	struct plaintab *t;
	const struct vm_rec *r;
	uint16_t place;
	void (*fn)(struct plain_index *x, const struct entry *e);
};

/* By an address, to the other one. When but others of the VM's private addresses have homes the stages decide. */
static void
by_address(const struct writing *k, struct plain_index *x, uint64_t bits, rte_be32_t private,
	rte_be32_t other, uint16_t old)
{
	struct entry e = {.bits = bits, .key = (uint32_t)bits};
	bool homes = vm_has_homes(k->r);

	if (homes && !vm_has_homes_of(k->r, private))
		return;
	e.vm.other = other;
	e.vm.slot = k->r->slot;
	e.vm.mac = k->r->mac;
	e.vm.at = (uint16_t)(k->place | old | (homes ? PLAIN_HOMES : 0));
	k->fn(x, &e);
}

static void
by_mac(const struct writing *k)
{
	uint64_t bits = plain_bits_mac(&k->r->mac, k->r->seg);
	struct entry e = {.bits = plain_mix_mac(k->t, bits), .key = plain_mac_tail(bits)};

	e.vm.other = (uint32_t)bits;
	e.vm.slot = k->r->slot;
	e.vm.mac = k->r->mac;
	e.vm.at = k->place;
	k->fn(&k->t->by_mac, &e);
}

/* Translated here, whoever owns the VM. What the record has before decides for an address that it names twice. */
static void
by_globals(const struct writing *k)
{
	const struct vm_rec *r = k->r;

	for (uint8_t i = 0; r->owner == ROUTER_SELF && i < r->n_addresses; i++) {
		const struct vm_rec_address *a = &r->addresses[i];

		if (a->global != 0 && vm_private_here(r, a->global) == a->ip)
			by_address(k, &k->t->by_global, a->global, a->ip, a->ip, 0);
	}
	for (uint8_t i = 0; i < r->n_drains; i++) {
		const struct vm_rec_drain *d = &r->drains[i];

		if (d->home == ROUTER_SELF)
			by_address(k, &k->t->by_global, d->global, d->ip, d->ip, PLAIN_OLD);
	}
}

/* Sent from where we know it to stand, and its owner decides: we. */
static void
by_ips(const struct writing *k)
{
	const struct vm_rec *r = k->r;

	if (r->owner != ROUTER_SELF || (k->place & PLAIN_PEER))
		return;
	for (uint8_t i = 0; i < r->n_addresses; i++) {
		const struct vm_rec_address *a = &r->addresses[i];

		if ((a->global != 0 || vm_has_homes(r)) && vm_live_global(r, a->ip) == a->global)
			by_address(k, &k->t->by_ip, plain_bits_ip(a->ip, k->place), a->ip,
				a->global != 0 ? a->global : PLAIN_NO_GLOBAL, 0);
	}
}

static struct plain_homes
homes_of(const struct vm_rec *r)
{
	rte_be32_t ip = r->addresses[0].ip;
	const struct vm_rec_drain *d = vm_oldest_drain(r, ip);

	if (r->n_addresses != 1 || d == NULL)
		return (struct plain_homes){.old = PLAIN_NO_GLOBAL, .by = PLAIN_NOWHERE, .rec = r};
	return (struct plain_homes){.old = d->global, .by = session_place(r, ip, d->global), .rec = r};
}

static void
each(struct plaintab *t, const struct vm_rec *r, void (*fn)(struct plain_index *x, const struct entry *e))
{
	const struct writing k = {t, r, place_of(r), fn};

	if (k.place == PLAIN_NOWHERE)
		return;
	by_mac(&k);
	if ((r->flags & VM_REC_OPEN) && !vm_has_homes(r))
		return;
	by_globals(&k);
	by_ips(&k);
}

void
plaintab_add(struct plaintab *t, const struct vm_rec *r)
{
	if (vm_has_homes(r))
		t->homes[r->slot] = homes_of(r);
	each(t, r, add);
}

void
plaintab_remove(struct plaintab *t, const struct vm_rec *r)
{
	each(t, r, end);
}

void
plaintab_forget(struct plaintab *t, const struct vm_rec *r)
{
	each(t, r, forget);
}
