/* SPDX-License-Identifier: BSD-3-Clause */
/* find.h - the VMs of a lane's i-th packet, whose lines have come; asks for what is read next: counters, or the record.
 *
 * Memory answers a dozen questions at a time. So they are spread: while a packet is looked at, which asks for its line, the VM of one
 * that was looked at some packets before is found. With all lines asked for first, and then all counters, each of two times waited for the
 * other's end.
 */
#pragma once

#include "express.h"

#define EXPRESS_BEHIND 16 /* packets of a lane */

/* By one address; `tallies` are those of its way. Which VMs have homes nobody can foretell: no branch. */
static __rte_always_inline void
found(struct lane *v, uint16_t i, const struct plain_vm *vm, const struct tally *tallies)
{
	uint64_t homes;

	v->vm[i] = vm;
	if (unlikely(vm == NULL))
		return;
	homes = vm->at / PLAIN_HOMES;
	v->homes |= homes << i;
	rte_prefetch0(homes != 0 ? (const void *)vm->rec : &tallies[vm->slot]);
}

static __rte_always_inline void
find_to_vm(struct worker *w, struct burst *b, uint16_t i)
{
	struct lane *v = &b->to_vm;
	rte_be32_t global = ip_of(v->eth[i])->dst_addr;

	found(v, i, plain_by_global(b->vms, v->line[i], global), w->to_vm);
}

/* The session of a VM that has homes is named by the packet alone. */
static inline void
locate_from_vm(struct worker *w, struct burst *b, uint16_t i)
{
	struct lane *v = &b->from_vm;
	const struct rte_ipv4_hdr *ip = ip_of(v->eth[i]);
	uint32_t vni = w->topo->segments[segment_of(w->topo, v->place[i])].vni;
	const uint64_t key[] = {
		home_ends(ip->src_addr, ip->dst_addr), home_ports(ports_of(ip), vni, ip->next_proto_id)};

	home_locate(w, b, v, i, key);
}

static __rte_always_inline void
find_from_vm(struct worker *w, struct burst *b, uint16_t i)
{
	struct lane *v = &b->from_vm;
	rte_be32_t ip = ip_of(v->eth[i])->src_addr;

	found(v, i, plain_by_ip(b->vms, v->line[i], ip, v->place[i]), w->from_vm);
}

static __rte_always_inline void
find_bridged(struct worker *w, struct burst *b, uint16_t i)
{
	struct lane *v = &b->bridged;
	const struct rte_ether_hdr *eth = v->eth[i];
	uint64_t seg = (uint64_t)segment_of(w->topo, v->place[i]) << 48;

	v->vm[i] = plain_by_mac(b->vms, v->line[i], mac_word(&eth->src_addr) | seg);
	v->to[i] = plain_by_mac(b->vms, v->to_line[i], mac_word(&eth->dst_addr) | seg);
	if (likely(v->vm[i] != NULL))
		traffic_expect_from(w, v->vm[i]->slot);
	if (likely(v->to[i] != NULL))
		traffic_expect_to(w, v->to[i]->slot);
}
