/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmtab.h"

#include "plaintab.h"
#include "recpool.h"

#include <errno.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>
#include <stdlib.h>
#include <string.h>

/* What a key leads to, in the hash's 64 bits: a slot and, while the key moves, the slot it moves to.
 *
 *   63       32 31        0
 *   | heir + 1 |   slot   |
 *
 * A key of VM A that a transaction gives to VM B: prepare marks B as heir. Publish swaps both pointers, then points the
 * key to B. In between A's new record does not hold the key any more, but its `prev` does: readers take that one, the
 * old record, as if they had come a little earlier. After the grace period nobody can be in between. */
#define SLOT(value)	   ((uint32_t)(value))
#define HEIR(value)	   ((uint32_t)((value) >> 32) - 1)
#define MOVES(value)	   ((value) >> 32 != 0)
#define VALUE(slot)	   ((uint64_t)(slot))
#define MOVING(slot, heir) ((uint64_t)((heir) + 1) << 32 | (slot))

enum kind { BY_IP, BY_MAC, BY_GLOBAL, KINDS };

struct key {
	enum kind kind;
	uint64_t bits; /* as the hash takes it: struct vm_key_ip, struct vm_key_mac, or a global address */
};

struct writer_slot {	       /* what only the writer needs to know of a slot */
	struct vm_rec *next;   /* prepared; NULL with txn set: will be deleted */
	struct vmtab_txn *txn; /* prepared, not yet published */
	uint32_t refs;	       /* transactions, prepared or not retired, that changed it */
};

struct vmtab {
	const struct vm_rec **slots;
	struct lfhash *hash[KINDS];
	struct plaintab *plain;
	/* writer only */
	struct recpool *pool;
	struct writer_slot *writer;
	uint32_t *free_slots, n_free;
	uint32_t n_slots, vms;
	void (*freed)(void *arg, uint32_t slot);
	void *freed_arg;
	void (*changed)(void *arg, const struct vm_rec *was, const struct vm_rec *is);
	void *changed_arg;
	uint32_t count;	 /* published */
	uint32_t adding; /* by transactions that are prepared */
};

struct change {
	uint32_t slot;
	bool gave; /* keys away: new->prev is old */
	struct vm_rec *old, *new;
};

struct move { /* a key that changes hands */
	struct key key;
	uint32_t from, to;
};

struct vmtab_txn {
	struct vmtab *t;
	uint32_t adds, dels;
	struct change *changes;
	uint32_t n_changes, cap_changes;
	struct move *moves;
	uint32_t n_moves, cap_moves;
};

_Static_assert(sizeof(struct vm_key_ip) == 8 && sizeof(struct vm_key_mac) == 8, "fit the fast hash");

/* ---- what a record holds ---- */

static inline bool
holds_ip(const struct vm_rec *r, const struct vm_key_ip *k)
{
	bool held = false;

	for (uint32_t i = 0; i < r->n_addresses; i++)
		held |= r->addresses[i].ip == k->ip;
	return held && r->seg == k->seg;
}

static inline bool
holds_mac(const struct vm_rec *r, const struct vm_key_mac *k)
{
	return r->seg == k->seg && rte_is_same_ether_addr(&r->mac, &k->mac);
}

static inline bool
holds_global(const struct vm_rec *r, rte_be32_t k)
{
	for (uint32_t i = 0; i < r->n_addresses; i++)
		if (r->addresses[i].global == k)
			return true;
	for (uint32_t i = 0; i < r->n_drains; i++)
		if (r->drains[i].global == k)
			return true;
	return false;
}

static inline bool
holds(const struct vm_rec *r, enum kind kind, uint64_t key)
{
	union {
		uint64_t bits;
		struct vm_key_ip ip;
		struct vm_key_mac mac;
	} k = {.bits = key};

	if (kind == BY_IP)
		return holds_ip(r, &k.ip);
	return kind == BY_MAC ? holds_mac(r, &k.mac) : holds_global(r, (rte_be32_t)key);
}

/* ---- readers ---- */

static inline const struct vm_rec *
load(const struct vmtab *t, uint32_t slot)
{
	return __atomic_load_n(&t->slots[slot], __ATOMIC_ACQUIRE);
}

static const struct vm_rec *
before_move(const struct vm_rec *rec, uint64_t value, enum kind kind, uint64_t key)
{
	const struct vm_rec *prev;

	if (rec == NULL || !MOVES(value))
		return NULL;
	prev = __atomic_load_n(&rec->prev, __ATOMIC_ACQUIRE);
	return prev != NULL && holds(prev, kind, key) ? prev : NULL;
}

/* The key was there, but the record it led to does not hold it: either nobody does any more, or the writer is just
 * at work. A miss counts only when neither key nor slot changed while we looked; records are not reused under us. */
static __rte_noinline const struct vm_rec *
look_again(const struct vmtab *t, enum kind kind, uint64_t key)
{
	const struct vm_rec *rec = NULL, *seen, *prev;
	uint64_t value = UINT64_MAX, again;

	while (lfhash_find(t->hash[kind], key, &again)) {
		seen = load(t, SLOT(again));
		if (seen != NULL && holds(seen, kind, key))
			return seen;
		prev = before_move(seen, again, kind, key);
		if (prev != NULL)
			return prev;
		if (again == value && seen == rec)
			return NULL;
		value = again;
		rec = seen;
	}
	return NULL;
}

static __rte_always_inline void
find(const struct vmtab *t, enum kind kind, const void *keys, uint32_t n, const struct vm_rec **recs)
{
	const char(*key)[sizeof(uint64_t)] = keys;
	uint64_t values[LFHASH_BULK_MAX], hits = lfhash_find_bulk(t->hash[kind], keys, n, values);

	for (uint64_t h = hits; h != 0; h &= h - 1)
		rte_prefetch0(&t->slots[SLOT(values[__builtin_ctzll(h)])]);
	for (uint32_t i = 0; i < n; i++) {
		recs[i] = (hits >> i & 1) != 0 ? load(t, SLOT(values[i])) : NULL;
		if (recs[i] != NULL)
			rte_prefetch0(recs[i]);
	}
	for (uint64_t h = hits; h != 0; h &= h - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(h);

		if (unlikely(recs[i] == NULL || !holds(recs[i], kind, lfhash_key(key[i]))))
			recs[i] = look_again(t, kind, lfhash_key(key[i]));
	}
}

void
vmtab_by_ip(const struct vmtab *t, const struct vm_key_ip *keys, uint32_t n, const struct vm_rec **recs)
{
	find(t, BY_IP, keys, n, recs);
}

void
vmtab_by_mac(const struct vmtab *t, const struct vm_key_mac *keys, uint32_t n, const struct vm_rec **recs)
{
	find(t, BY_MAC, keys, n, recs);
}

void
vmtab_by_global(const struct vmtab *t, const rte_be32_t *keys, uint32_t n, const struct vm_rec **recs)
{
	uint64_t bits[LFHASH_BULK_MAX];

	if (n == 0)
		return;
	for (uint32_t i = 0; i < n; i++)
		bits[i] = keys[i];
	find(t, BY_GLOBAL, bits, n, recs);
}

const struct plaintab *
vmtab_plain(const struct vmtab *t)
{
	return t->plain;
}

/* ---- life ---- */

static void
fill_free_slots(struct vmtab *t)
{
	t->n_free = t->n_slots;
	for (uint32_t i = 0; i < t->n_slots; i++)
		t->free_slots[i] = t->n_slots - 1 - i;
}

struct vmtab *
vmtab_new(uint32_t vms, struct rcu *rcu)
{
	struct vmtab *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	t->vms = vms;
	t->n_slots = vms + vms / 4 + 64; /* deleted ones rest for a grace period */
	t->slots = rte_zmalloc("vm slots", t->n_slots * sizeof(*t->slots), RTE_CACHE_LINE_SIZE);
	t->writer = calloc(t->n_slots, sizeof(*t->writer));
	t->free_slots = calloc(t->n_slots, sizeof(*t->free_slots));
	t->pool = recpool_new(vms);
	t->hash[BY_IP] = lfhash_new(2 * t->n_slots + 512, rcu);
	t->hash[BY_MAC] = lfhash_new(t->n_slots, rcu);
	t->hash[BY_GLOBAL] = lfhash_new(2 * t->n_slots + 512, rcu);
	t->plain = plaintab_new(vms, t->n_slots);
	if (t->slots == NULL || t->writer == NULL || t->free_slots == NULL || t->pool == NULL ||
		t->hash[BY_IP] == NULL || t->hash[BY_MAC] == NULL || t->hash[BY_GLOBAL] == NULL ||
		t->plain == NULL) {
		vmtab_free(t);
		rte_errno = ENOMEM;
		return NULL;
	}
	fill_free_slots(t);
	return t;
}

void
vmtab_free(struct vmtab *t)
{
	if (t == NULL)
		return;
	for (int k = 0; k < KINDS; k++)
		lfhash_free(t->hash[k]);
	plaintab_free(t->plain);
	recpool_free(t->pool);
	rte_free(t->slots);
	free(t->writer);
	free(t->free_slots);
	free(t);
}

uint32_t
vmtab_count(const struct vmtab *t)
{
	return t->count;
}

void
vmtab_on_free(struct vmtab *t, void (*fn)(void *arg, uint32_t slot), void *arg)
{
	t->freed = fn;
	t->freed_arg = arg;
}

void
vmtab_on_change(
	struct vmtab *t, void (*fn)(void *arg, const struct vm_rec *was, const struct vm_rec *is), void *arg)
{
	t->changed = fn;
	t->changed_arg = arg;
}

uint32_t
vmtab_slots(const struct vmtab *t)
{
	return t->n_slots;
}

const struct vm_rec *
vmtab_at(const struct vmtab *t, uint32_t slot)
{
	return slot < t->n_slots ? load(t, slot) : NULL;
}

/* ---- writer: keys ---- */

static bool
key_find(const struct vmtab *t, const struct key *k, uint64_t *value)
{
	return lfhash_find(t->hash[k->kind], k->bits, value);
}

static int
key_put(struct vmtab *t, const struct key *k, uint64_t value)
{
	return lfhash_put(t->hash[k->kind], k->bits, value);
}

static bool
held_by(const struct vm_rec *r, const struct key *k)
{
	return r != NULL && holds(r, k->kind, k->bits);
}

/* Held now, or by a change that is prepared. */
static bool
held_at(const struct vmtab *t, uint32_t slot, const struct key *k)
{
	return held_by(t->slots[slot], k) || held_by(t->writer[slot].next, k);
}

static struct key
key_mac(uint16_t seg, const struct rte_ether_addr *mac)
{
	const struct vm_key_mac k = {*mac, seg};

	return (struct key){BY_MAC, lfhash_key(&k)};
}

static struct key
key_ip(uint16_t seg, rte_be32_t ip)
{
	const struct vm_key_ip k = {.ip = ip, .seg = seg};

	return (struct key){BY_IP, lfhash_key(&k)};
}

/* The i-th key of a record; false at the end. */
static bool
record_key(const struct vm_rec *r, uint32_t i, struct key *k)
{
	if (i == 0) {
		*k = key_mac(r->seg, &r->mac);
		return true;
	}
	i--;
	if (i < r->n_addresses) {
		*k = key_ip(r->seg, r->addresses[i].ip);
		return true;
	}
	i -= r->n_addresses;
	if (i < r->n_addresses) {
		*k = (struct key){BY_GLOBAL, r->addresses[i].global};
		return true;
	}
	i -= r->n_addresses;
	if (i < r->n_drains)
		*k = (struct key){BY_GLOBAL, r->drains[i].global};
	return i < r->n_drains;
}

static bool
key_is_none(const struct key *k)
{
	return k->kind == BY_GLOBAL && k->bits == 0;
}

#define for_each_key(rec, k, i) for ((i) = 0; record_key(rec, i, k); (i)++)

static void
drop_stale_keys(struct vmtab *t, const struct vm_rec *rec)
{
	struct key k;
	uint32_t i;
	uint64_t value;

	for_each_key(rec, &k, i)
	{
		if (key_find(t, &k, &value) && !MOVES(value) && !held_at(t, SLOT(value), &k))
			lfhash_del(t->hash[k.kind], k.bits);
	}
}

/* ---- writer: prepare ---- */

struct vmtab_txn *
vmtab_begin(struct vmtab *t, uint32_t changes)
{
	struct vmtab_txn *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->t = t;
	x->cap_changes = RTE_MAX(changes, 1u);
	x->changes = calloc(x->cap_changes, sizeof(*x->changes));
	if (x->changes == NULL) {
		free(x);
		return NULL;
	}
	return x;
}

static int
make_room(void **array, uint32_t n, uint32_t *cap, size_t size)
{
	uint32_t more = RTE_MAX(*cap * 2, 16u);
	void *p;

	if (n < *cap)
		return 0;
	p = realloc(*array, more * size);
	if (p == NULL)
		return -ENOMEM;
	*array = p;
	*cap = more;
	return 0;
}

static int
add_move(struct vmtab_txn *x, const struct key *k, uint32_t from, uint32_t to)
{
	int rc = make_room((void **)&x->moves, x->n_moves, &x->cap_moves, sizeof(*x->moves));

	if (rc != 0)
		return rc;
	rc = key_put(x->t, k, MOVING(from, to));
	if (rc == 0)
		x->moves[x->n_moves++] = (struct move){*k, from, to};
	return rc;
}

static int
claim_key(struct vmtab_txn *x, const struct key *k, uint32_t slot)
{
	struct vmtab *t = x->t;
	const struct writer_slot *holder;
	uint64_t value;

	if (!key_find(t, k, &value))
		return key_put(t, k, VALUE(slot));
	if (MOVES(value)) /* somebody's already: this record's, if it names a global address twice */
		return HEIR(value) == slot ? 0 : t->writer[HEIR(value)].txn == x ? -EEXIST : -EBUSY;
	if (SLOT(value) == slot)
		return 0;
	if (!held_at(t, SLOT(value), k))
		return key_put(t, k, VALUE(slot)); /* left by a transaction that is not retired yet */
	holder = &t->writer[SLOT(value)];
	if (holder->txn != NULL && holder->txn != x)
		return -EBUSY;
	if (held_by(holder->next, k))
		return -EEXIST;
	return add_move(x, k, SLOT(value), slot);
}

static int
claim_keys(struct vmtab_txn *x, const struct vm_rec *rec)
{
	struct key k;
	uint32_t i;
	int rc = 0;

	for_each_key(rec, &k, i)
	{
		if (rc == 0 && !key_is_none(&k))
			rc = claim_key(x, &k, rec->slot);
	}
	return rc;
}

/* The VM's slot, or a free one if `add`. */
static int
slot_of(struct vmtab_txn *x, uint16_t seg, const struct rte_ether_addr *mac, bool add, uint32_t *slot)
{
	struct vmtab *t = x->t;
	struct key k = key_mac(seg, mac);
	uint64_t value;

	if (key_find(t, &k, &value)) {
		*slot = SLOT(value);
		if (t->writer[*slot].txn != NULL)
			return t->writer[*slot].txn == x ? -EINVAL : -EBUSY;
		if (t->slots[*slot] != NULL)
			return 0;
	} else {
		if (t->n_free == 0)
			return add ? -ENOSPC : -ENOENT;
		*slot = t->free_slots[t->n_free - 1];
	}
	if (!add)
		return -ENOENT;
	return t->count + t->adding - x->dels >= t->vms ? -ENOSPC : 0;
}

/* Enters the change; from here on abort undoes it. */
static void
enter_change(struct vmtab_txn *x, uint32_t slot, struct vm_rec *new)
{
	struct vmtab *t = x->t;
	struct vm_rec *old = (struct vm_rec *)(uintptr_t)t->slots[slot];
	struct writer_slot *s = &t->writer[slot];

	if (t->n_free != 0 && t->free_slots[t->n_free - 1] == slot)
		t->n_free--;
	if (old == NULL) {
		x->adds++;
		t->adding++;
	}
	if (new == NULL)
		x->dels++;
	s->next = new;
	s->txn = x;
	s->refs++;
	x->changes[x->n_changes++] = (struct change){.slot = slot, .old = old, .new = new};
}

int
vmtab_prepare_put(struct vmtab_txn *x, const struct vm_rec *rec)
{
	struct vm_rec *new;
	uint32_t slot;
	int rc;

	if (rec->n_addresses > VM_REC_ADDRESSES || rec->n_drains > VM_REC_DRAINS)
		return -EINVAL;
	rc = slot_of(x, rec->seg, &rec->mac, true, &slot);
	if (rc != 0)
		return rc;
	rc = make_room((void **)&x->changes, x->n_changes, &x->cap_changes, sizeof(*x->changes));
	if (rc != 0)
		return rc;
	new = recpool_get(x->t->pool);
	if (new == NULL)
		return -ENOMEM;
	*new = *rec;
	new->slot = slot;
	new->prev = NULL;
	enter_change(x, slot, new);
	return claim_keys(x, new);
}

int
vmtab_prepare_del(struct vmtab_txn *x, uint16_t seg, const struct rte_ether_addr *mac)
{
	uint32_t slot;
	int rc = slot_of(x, seg, mac, false, &slot);

	if (rc != 0)
		return rc;
	rc = make_room((void **)&x->changes, x->n_changes, &x->cap_changes, sizeof(*x->changes));
	if (rc != 0)
		return rc;
	enter_change(x, slot, NULL);
	return 0;
}

int
vmtab_prepare_end(struct vmtab_txn *x, const struct vm_rec **who)
{
	struct vmtab *t = x->t;

	for (uint32_t i = 0; i < x->n_moves; i++) {
		const struct move *m = &x->moves[i];
		struct writer_slot *from = &t->writer[m->from];

		if (from->txn != x || held_by(from->next, &m->key)) {
			if (who != NULL)
				*who = t->writer[m->to].next;
			return -EEXIST;
		}
		if (from->next != NULL)
			from->next->prev = t->slots[m->from];
	}
	return 0;
}

/* ---- writer: publish and after ---- */

static void
swap(struct vmtab *t, const struct change *c)
{
	if (t->changed != NULL)
		t->changed(t->changed_arg, c->old, c->new);
	if (c->old != NULL)
		plaintab_remove(t->plain, c->old);
	__atomic_store_n(&t->slots[c->slot], c->new, __ATOMIC_RELEASE);
	t->writer[c->slot].next = NULL;
	t->writer[c->slot].txn = NULL;
}

/* New records first, then the keys that change hands, deletions last: every key that is held before and after leads to
 * a record at each moment. A put of an existing key is one store and cannot fail. Deleted VMs are no longer plain before their keys change hands. */
void
vmtab_publish(struct vmtab_txn *x)
{
	struct vmtab *t = x->t;

	for (uint32_t i = 0; i < x->n_changes; i++) {
		struct change *c = &x->changes[i];

		c->gave = c->new != NULL && c->new->prev != NULL;
		if (c->new != NULL)
			swap(t, c);
	}
	for (uint32_t i = 0; i < x->n_changes; i++)
		if (x->changes[i].new == NULL) /* its keys lead to others from now on */
			plaintab_remove(t->plain, x->changes[i].old);
	for (uint32_t i = 0; i < x->n_moves; i++)
		key_put(t, &x->moves[i].key, VALUE(x->moves[i].to));
	for (uint32_t i = 0; i < x->n_changes; i++)
		if (x->changes[i].new == NULL)
			swap(t, &x->changes[i]);
	t->count += x->adds - x->dels;
	t->adding -= x->adds;
}

/* No record any more and no transaction that knows the slot: it is free. */
static void
unref_slot(struct vmtab *t, uint32_t slot)
{
	if (--t->writer[slot].refs != 0 || t->slots[slot] != NULL)
		return;
	t->free_slots[t->n_free++] = slot;
	if (t->freed != NULL)
		t->freed(t->freed_arg, slot);
}

static void
txn_free(struct vmtab_txn *x)
{
	free(x->changes);
	free(x->moves);
	free(x);
}

/* Nobody reads the old record's entries any more. Of the new one, unless a later transaction has replaced it, all is true now. */
static void
settle(struct vmtab *t, const struct change *c)
{
	if (c->old != NULL)
		plaintab_forget(t->plain, c->old);
	if (c->new != NULL && t->slots[c->slot] == c->new)
		plaintab_add(t->plain, c->new);
}

void
vmtab_retire(struct vmtab_txn *x)
{
	struct vmtab *t = x->t;

	for (uint32_t i = 0; i < x->n_changes; i++) {
		const struct change *c = &x->changes[i];

		if (c->old != NULL)
			drop_stale_keys(t, c->old);
		if (c->gave && t->slots[c->slot] == c->new)
			__atomic_store_n(
				&c->new->prev, NULL, __ATOMIC_RELAXED); /* who read a moving key has gone */
		settle(t, c);
		if (c->old != NULL)
			recpool_put(t->pool, c->old);
		unref_slot(t, c->slot);
	}
	txn_free(x);
}

static void
abort_change(struct vmtab *t, const struct change *c)
{
	struct writer_slot *s = &t->writer[c->slot];

	s->next = NULL;
	s->txn = NULL;
	if (c->new != NULL) {
		drop_stale_keys(t, c->new);
		recpool_put(t->pool, c->new); /* no reader ever saw it */
	}
	unref_slot(t, c->slot);
}

void
vmtab_abort(struct vmtab_txn *x)
{
	struct vmtab *t = x->t;

	for (uint32_t i = 0; i < x->n_moves; i++)
		key_put(t, &x->moves[i].key, VALUE(x->moves[i].from));
	for (uint32_t i = x->n_changes; i-- > 0;)
		abort_change(t, &x->changes[i]);
	t->adding -= x->adds;
	txn_free(x);
}
