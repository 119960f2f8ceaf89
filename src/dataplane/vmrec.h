/* SPDX-License-Identifier: BSD-3-Clause */
/* vmrec.h - questions to a VM's record. */
#pragma once

#include "tables/vmtab.h"

#include <string.h>

static inline bool
vm_has_ip(const struct vm_rec *r, rte_be32_t ip)
{
	for (uint8_t i = 0; i < r->n_addresses; i++)
		if (r->addresses[i].ip == ip)
			return true;
	return false;
}

/* The live global address of a private one, of its owner's site; 0 = none. */
static inline rte_be32_t
vm_live_global(const struct vm_rec *r, rte_be32_t ip)
{
	for (uint8_t i = 0; i < r->n_addresses; i++)
		if (r->addresses[i].ip == ip)
			return r->addresses[i].global;
	return 0;
}

/* The oldest global address that drains for this private one, wherever its home is; NULL = none. */
static inline const struct vm_rec_drain *
vm_oldest_drain(const struct vm_rec *r, rte_be32_t ip)
{
	for (uint8_t i = 0; i < r->n_drains; i++)
		if (r->drains[i].ip == ip)
			return &r->drains[i];
	return NULL;
}

/* Is the live address of a private one older than all that drain for it? */
static inline bool
vm_live_is_oldest(const struct vm_rec *r, rte_be32_t ip)
{
	for (uint8_t i = 0; i < r->n_addresses; i++)
		if (r->addresses[i].ip == ip)
			return r->flags & VM_REC_OLDEST(i);
	return false;
}

/* How many of its global addresses sessions of before may have: those that drain, and the live one that it returned to. */
static inline unsigned int
vm_old_addresses(const struct vm_rec *r, rte_be32_t ip)
{
	unsigned int n = vm_live_is_oldest(r, ip);

	for (uint8_t i = 0; i < r->n_drains; i++)
		n += r->drains[i].ip == ip;
	return n;
}

/* The oldest that drains at this router; NULL = none. */
static inline const struct vm_rec_drain *
vm_drain_at(const struct vm_rec *r, rte_be32_t ip, uint8_t router)
{
	for (uint8_t i = 0; i < r->n_drains; i++)
		if (r->drains[i].ip == ip && r->drains[i].home == router)
			return &r->drains[i];
	return NULL;
}

/* Do its sessions have homes that are looked up: because an address of it drains, or will soon? */
static inline bool
vm_has_homes(const struct vm_rec *r)
{
	return r->n_drains != 0 || (r->flags & VM_REC_NOTES);
}

/* Do those of this private address? */
static inline bool
vm_has_homes_of(const struct vm_rec *r, rte_be32_t ip)
{
	return (r->flags & VM_REC_NOTES) || vm_oldest_drain(r, ip) != NULL;
}

#define VM_NO_HOME (-1)

/* The router that translates this global address of the VM, or VM_NO_HOME. */
static inline int
vm_home_router(const struct vm_rec *r, rte_be32_t ip, rte_be32_t global)
{
	if (global == 0)
		return VM_NO_HOME;
	if (vm_live_global(r, ip) == global)
		return r->owner;
	for (uint8_t i = 0; i < r->n_drains; i++)
		if (r->drains[i].ip == ip && r->drains[i].global == global)
			return r->drains[i].home;
	return VM_NO_HOME;
}

/* We own the VM, and translate what it sends by this old address, though its home is another router. */
static inline bool
vm_sends_direct(const struct vm_rec *r, rte_be32_t ip, rte_be32_t global)
{
	for (uint8_t i = 0; r->owner == ROUTER_SELF && i < r->n_drains; i++)
		if (r->drains[i].ip == ip && r->drains[i].global == global)
			return r->drains[i].direct;
	return false;
}

/* The router to which the VM's packets of a session with this home go, this one where it sends directly; VM_NO_HOME, too, when sessions
 * of this private address have no homes. */
static inline int
vm_session_router(const struct vm_rec *r, rte_be32_t ip, rte_be32_t home)
{
	if (!vm_has_homes_of(r, ip))
		return VM_NO_HOME;
	return vm_sends_direct(r, ip, home) ? ROUTER_SELF : vm_home_router(r, ip, home);
}

/* The private address that this router translates a global one to, or 0. */
static inline rte_be32_t
vm_private_here(const struct vm_rec *r, rte_be32_t global)
{
	for (uint8_t i = 0; r->owner == ROUTER_SELF && i < r->n_addresses; i++)
		if (r->addresses[i].global == global)
			return r->addresses[i].ip;
	for (uint8_t i = 0; i < r->n_drains; i++)
		if (r->drains[i].global == global && r->drains[i].home == ROUTER_SELF)
			return r->drains[i].ip;
	return 0;
}
