/* SPDX-License-Identifier: BSD-3-Clause */
/* pool.c - which addresses are free, and what a move does to those of a VM. */
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- global addresses ---- */

static void
take(struct state *s, ip4 a)
{
	struct taken *t;

	HASH_FIND(hh, s->taken, &a, sizeof(a), t);
	if (a == 0 || t != NULL)
		return;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		abort();
	t->global_ip = a;
	HASH_ADD(hh, s->taken, global_ip, sizeof(t->global_ip), t);
}

static void
take_list(struct state *s, const struct list *addresses)
{
	for (size_t i = 0; i < addresses->n; i++)
		take(s, list_at(*addresses, struct vm_address, i)->global_ip);
}

void
pool_free(struct state *s)
{
	struct taken *t, *next;

	HASH_ITER (hh, s->taken, t, next) {
		HASH_DEL(s->taken, t);
		free(t);
	}
	memset(&s->searched, 0, sizeof(s->searched));
}

void
pool_take_stock(struct state *s)
{
	struct clc_vm *vm, *next;

	pool_free(s);
	HASH_ITER (by_name, s->vms, vm, next) {
		take_list(s, &vm->addresses);
		take_list(s, &vm->to_addresses);
		for (size_t i = 0; i < vm->held.n; i++)
			take(s, list_at(vm->held, struct held, i)->global_ip);
	}
}

/* Network and broadcast address of a pool stay unused: not every network between here and the user likes
 * them. */
static void
pool_range(const struct inv_pool *p, ip4 *first, ip4 *last)
{
	*first = p->prefix.addr;
	*last = p->prefix.addr | ~ip4_mask(p->prefix.len);
	if (p->prefix.len <= 30) {
		++*first;
		--*last;
	}
}

bool
pool_has(const struct inv_site *site, ip4 a)
{
	for (size_t i = 0; i < site->pools.n; i++)
		if (prefix4_has(&list_at(site->pools, struct inv_pool, i)->prefix, a))
			return true;
	return false;
}

static bool
is_taken(const struct state *s, ip4 a)
{
	struct taken *t;

	HASH_FIND(hh, s->taken, &a, sizeof(a), t);
	return t != NULL;
}

/* What is taken stays so until stock is taken again, so a search goes on where the last one ended. */
static ip4
pool_next(struct state *s, const struct inv_site *site)
{
	ip4 first, last;

	if (s->searched.site != site)
		memset(&s->searched, 0, sizeof(s->searched));
	s->searched.site = site;
	for (; s->searched.pool < site->pools.n; s->searched.pool++, s->searched.address = 0) {
		pool_range(list_at(site->pools, struct inv_pool, s->searched.pool), &first, &last);
		if (s->searched.address < first)
			s->searched.address = first;
		for (; s->searched.address <= last; s->searched.address++)
			if (!is_taken(s, (ip4)s->searched.address))
				return (ip4)s->searched.address;
	}
	return 0;
}

ip4
pool_global(struct state *s, const struct inv_site *site, struct err *e)
{
	ip4 free = pool_next(s, site), first, last;
	size_t size = 0;

	if (free != 0) {
		take(s, free);
		return free;
	}
	for (size_t i = 0; i < site->pools.n; i++) {
		pool_range(list_at(site->pools, struct inv_pool, i), &first, &last);
		size += (size_t)last - first + 1;
	}
	err_set(e, ENOSPC,
		"no global address is free at site %s: all %zu are in use or drain; add a pool, or wait",
		site->name, size);
	return 0;
}

/* ---- private addresses and MACs ---- */

static const struct clc_vm *
private_holder(const struct state *s, const char *segment, ip4 a)
{
	struct clc_vm *vm, *next;

	HASH_ITER (by_name, s->vms, vm, next)
		for (size_t i = 0; i < vm->addresses.n; i++)
			if (list_at(vm->addresses, struct vm_address, i)->private_ip == a &&
				strcmp(vm->segment, segment) == 0)
				return vm;
	return NULL;
}

int
pool_check_private(const struct state *s, const struct inv_segment *seg, ip4 a, struct err *e)
{
	const struct clc_vm *holder = private_holder(s, seg->name, a);
	char text[IP4_TEXT];

	ip4_format(a, text);
	if (!prefix4_has(&seg->prefix, a) || a == seg->prefix.addr ||
		a == (seg->prefix.addr | ~ip4_mask(seg->prefix.len)))
		return err_set(e, EINVAL, "%s is no host of segment %s", text, seg->name);
	if (a == seg->gateway)
		return err_set(e, EINVAL, "%s is the gateway of segment %s", text, seg->name);
	if (holder != NULL)
		return err_set(e, EEXIST, "%s is VM %s already", text, holder->name);
	return 0;
}

ip4
pool_private(const struct state *s, const struct inv_segment *seg, struct err *e)
{
	ip4 first, last;

	segment_range(seg, &first, &last);
	for (uint64_t a = first; a <= last; a++)
		if (pool_check_private(s, seg, (ip4)a, NULL) == 0)
			return (ip4)a;
	err_set(e, ENOSPC, "no private address is free in segment %s", seg->name);
	return 0;
}

int
pool_mac(const struct state *s, const char *segment, struct mac *mac, struct err *e)
{
	char text[MAC_TEXT];

	snprintf(text, sizeof(text), "%s:00:00:00", s->inv->clc.mac_prefix);
	if (mac_parse(text, mac) != 0)
		return err_set(e, EINVAL, "clc.mac-prefix %s is none", s->inv->clc.mac_prefix);
	for (uint32_t n = 1; n < 1u << 24; n++) {
		mac->b[3] = (uint8_t)(n >> 16);
		mac->b[4] = (uint8_t)(n >> 8);
		mac->b[5] = (uint8_t)n;
		if (state_find_id(s, segment, mac) == NULL)
			return 0;
	}
	return err_set(e, ENOSPC, "no MAC is free under %s", s->inv->clc.mac_prefix);
}

/* ---- transitions ---- */

static bool
list_has_global(const struct list *addresses, ip4 a)
{
	for (size_t i = 0; i < addresses->n; i++)
		if (list_at(*addresses, struct vm_address, i)->global_ip == a)
			return true;
	return false;
}

static void
drop_held(struct clc_vm *vm, size_t i)
{
	struct held *h = vm->held.items;

	memmove(&h[i], &h[i + 1], (vm->held.n - i - 1) * sizeof(*h));
	vm->held.n--;
	vm->dirty = true;
}

void
vm_hold(struct clc_vm *vm, ip4 private_ip, ip4 global_ip, const char *site, uint64_t epoch)
{
	struct held *h;

	if (global_ip == 0)
		return;
	for (size_t i = 0; i < vm->held.n; i++)
		if (list_at(vm->held, struct held, i)->global_ip == global_ip)
			return;
	if (vm->held.n == HELD_MAX) /* a router that tells wonders */
		drop_held(vm, 0);
	h = list_add(&vm->held, &kind_held);
	if (h == NULL)
		abort();
	h->private_ip = private_ip;
	h->global_ip = global_ip;
	h->epoch = epoch;
	snprintf(h->site, sizeof(h->site), "%s", site);
	vm->dirty = true;
}

/* The address of that site which still drains for the VM: one that returns gets it back. */
static ip4
held_at(const struct clc_vm *vm, ip4 private_ip, const char *site)
{
	for (size_t i = vm->held.n; i-- > 0;) {
		const struct held *h = list_at(vm->held, struct held, i);

		if (h->private_ip == private_ip && strcmp(h->site, site) == 0)
			return h->global_ip;
	}
	return 0;
}

static int
copy_addresses(struct list *to, const struct list *from)
{
	free(to->items);
	*to = (struct list){0};
	for (size_t i = 0; i < from->n; i++) {
		struct vm_address *a = list_add(to, &kind_vm_address);

		if (a == NULL)
			return -ENOMEM;
		*a = *list_at(*from, struct vm_address, i);
	}
	return 0;
}

/* What a move that was told to a router, and then given up, may have put into use there until this epoch. */
static void
hold_target(struct clc_vm *vm, uint64_t epoch)
{
	for (size_t i = 0; i < vm->to_addresses.n; i++) {
		const struct vm_address *a = list_at(vm->to_addresses, struct vm_address, i);

		vm_hold(vm, a->private_ip, a->global_ip, vm->to, epoch);
	}
}

/* Above all that a router may have heard of it. */
static uint64_t
epoch_known(const struct clc_vm *vm)
{
	uint64_t known = vm->ended_epoch > vm->epoch ? vm->ended_epoch : vm->epoch;

	return vm->step == VM_MOVING && vm->to_epoch > known ? vm->to_epoch : known;
}

int
vm_begin_move(struct state *s, struct clc_vm *vm, const struct inv_site *to, struct err *e)
{
	const struct inv_segment *seg = inventory_segment(s->inv, vm->segment);
	bool turned = vm->step == VM_MOVING;
	uint64_t epoch = epoch_after(epoch_known(vm), e);

	if (epoch == 0)
		return e->code;
	if (turned)
		hold_target(vm, epoch);
	if (copy_addresses(&vm->to_addresses, &vm->addresses) != 0)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < vm->to_addresses.n; i++) {
		struct vm_address *a = list_at(vm->to_addresses, struct vm_address, i);

		if (seg == NULL || segment_is_routed(seg)) {
			a->global_ip = 0;
			continue;
		}
		a->global_ip = held_at(vm, a->private_ip, to->name);
		if (a->global_ip == 0)
			a->global_ip = pool_global(s, to, e);
		if (a->global_ip == 0)
			return e->code;
	}
	vm->to_epoch = epoch;
	snprintf(vm->to, sizeof(vm->to), "%s", to->name);
	vm->step = VM_MOVING;
	vm->dirty = true;
	return 0;
}

static void
clear_move(struct clc_vm *vm)
{
	free(vm->to_addresses.items);
	vm->to_addresses = (struct list){0};
	vm->to[0] = '\0';
	vm->to_epoch = 0;
	vm->drain_min_ms = vm->drain_max_ms = UINT64_MAX;
	vm->sessions = -1;
	vm->step = VM_ACTIVE;
	vm->dirty = true;
}

void
vm_undo_move(struct clc_vm *vm)
{
	clear_move(vm);
}

bool
vm_is_leaving(const struct clc_vm *vm)
{
	return vm->step == VM_MOVING || vm->step == VM_PREPARED || vm->step == VM_COMMITTING ||
	       vm->step == VM_ABORTING;
}

static void
end_prepared(struct clc_vm *vm, enum vm_ended how)
{
	vm->ended = how;
	vm->ended_epoch = vm->to_epoch;
}

void
vm_end_abort(struct clc_vm *vm)
{
	end_prepared(vm, ENDED_ABORTED);
	clear_move(vm);
}

bool
vm_arrived(const struct inventory *inv, struct clc_vm *vm, const struct vm *seen)
{
	const struct inv_site *site = inventory_site_of(inv, seen->owner);

	if ((vm->step != VM_PREPARED && vm->step != VM_ABORTING) || seen->epoch != vm->to_epoch ||
		site == NULL || strcmp(site->name, vm->to) != 0)
		return false;
	vm->step = VM_COMMITTING;
	vm->dirty = true;
	return true;
}

static void
drop_live_holds(struct clc_vm *vm)
{
	for (size_t i = vm->held.n; i-- > 0;)
		if (list_has_global(&vm->addresses, list_at(vm->held, struct held, i)->global_ip))
			drop_held(vm, i);
}

void
vm_end_move(struct clc_vm *vm)
{
	struct list old = vm->addresses;

	if (vm->step == VM_COMMITTING)
		end_prepared(vm, ENDED_COMMITTED);
	vm->addresses = vm->to_addresses;
	vm->to_addresses = (struct list){0};
	for (size_t i = 0; i < old.n; i++) {
		const struct vm_address *a = list_at(old, struct vm_address, i);

		if (!list_has_global(&vm->addresses, a->global_ip))
			vm_hold(vm, a->private_ip, a->global_ip, vm->site, vm->to_epoch);
	}
	free(old.items);
	snprintf(vm->site, sizeof(vm->site), "%s", vm->to);
	vm->epoch = vm->to_epoch;
	drop_live_holds(vm);
	clear_move(vm);
}

bool
vm_adopt(const struct inventory *inv, struct clc_vm *vm, const struct vm *seen)
{
	const struct inv_site *site = inventory_site_of(inv, seen->owner);

	if (site == NULL || seen->epoch <= vm->epoch || vm->step == VM_DELETING ||
		(vm_is_leaving(vm) && seen->epoch <= vm->to_epoch))
		return false;
	if (vm_is_leaving(vm))
		hold_target(vm, seen->epoch);
	for (size_t i = 0; i < vm->addresses.n; i++) {
		const struct vm_address *a = list_at(vm->addresses, struct vm_address, i);

		vm_hold(vm, a->private_ip, a->global_ip, vm->site, seen->epoch);
	}
	if (copy_addresses(&vm->addresses, &seen->addresses) != 0)
		abort();
	for (size_t i = 0; i < seen->drains.n; i++) {
		const struct vm_drain *d = list_at(seen->drains, struct vm_drain, i);
		const struct inv_site *home = inventory_site_of(inv, d->router);

		if (home != NULL) /* else it is none of ours to give */
			vm_hold(vm, d->private_ip, d->global_ip, home->name, d->epoch);
	}
	snprintf(vm->site, sizeof(vm->site), "%s", site->name);
	vm->epoch = seen->epoch;
	drop_live_holds(vm);
	clear_move(vm);
	return true;
}

static bool
shows(const struct vm *seen, ip4 global)
{
	if (list_has_global(&seen->addresses, global))
		return true;
	for (size_t i = 0; i < seen->drains.n; i++)
		if (list_at(seen->drains, struct vm_drain, i)->global_ip == global)
			return true;
	return false;
}

size_t
vm_release(struct clc_vm *vm, const char *site, const struct vm *seen)
{
	size_t n = 0;

	for (size_t i = vm->held.n; i-- > 0;) {
		const struct held *h = list_at(vm->held, struct held, i);

		/* A router that has not heard of the move yet still translates the address, whatever it
		 * shows. */
		if (strcmp(h->site, site) != 0 ||
			(seen != NULL && (seen->epoch < h->epoch || shows(seen, h->global_ip))))
			continue;
		drop_held(vm, i);
		n++;
	}
	return n;
}
