/* SPDX-License-Identifier: BSD-3-Clause */
/* frames.h - the few frames that the control thread itself makes. Each returns an mbuf or NULL. */
#pragma once

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include <dataplane/pin.h>

/* An ARP request of (smac, sip) for tip; sip 0 makes it a probe (RFC 5227). dst NULL = broadcast. */
struct rte_mbuf *frame_arp_request(struct rte_mempool *pool, const struct rte_ether_addr *dst,
	const struct rte_ether_addr *smac, rte_be32_t sip, rte_be32_t tip);
/* A reverse ARP request (RFC 903) in the VM's name, as hypervisors send it: switches learn where the MAC is. */
struct rte_mbuf *frame_rarp(struct rte_mempool *pool, const struct rte_ether_addr *vm);
/* A frame that only tells switches where `src` is. Its destination is a group address of nobody: bridges pass it on, so that
 * all switches of the site learn, and hosts ignore it. It names its router, so that one which hears another's at its own
 * attachment knows that the segment is bridged twice. */
struct rte_mbuf *frame_pin(
	struct rte_mempool *pool, const struct rte_ether_addr *src, const struct rte_ether_addr *router);
