/* SPDX-License-Identifier: BSD-3-Clause */
/* ways.h - parts of frames that IPv4 tests name again and again. */
#pragma once

#include "harness.h"

/* A VM sends to its gateway; the packet leaves by wan0; the answer comes; it reaches the VM on dc0. */
#define BY_VM(n) .smac = MAC_VM(n), .dmac = MAC_GW, .src = PRIVATE(n)
#define TO_ISP	 .smac = MAC_WAN0, .dmac = MAC_ISP
#define BY_ISP	 .smac = MAC_ISP, .dmac = MAC_WAN0
#define TO_VM(n) .smac = MAC_GW, .dmac = MAC_VM(n), .dst = PRIVATE(n)
#define ROUTED	 .ttl = 63
/* An ICMP message of ours. */
#define OWN_ICMP .tos = 0xc0, .frag = RTE_IPV4_HDR_DF_FLAG

#define QUOTE(f) .data = packet_of(f), .size = packet_len(f)

/* The bytes `at`..`at + len` of a whole packet's payload as a fragment of it. */
static inline struct frame
fragment_of(const struct frame *whole, uint16_t at, uint16_t len, bool last)
{
	struct frame f = *whole;
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)(f.b + 14);

	memcpy(f.b + 34, whole->b + 34 + at, len);
	f.len = (uint16_t)(34 + len);
	h->fragment_offset = rte_cpu_to_be_16((uint16_t)(at / 8 | (last ? 0 : RTE_IPV4_HDR_MF_FLAG)));
	h->total_length = rte_cpu_to_be_16((uint16_t)(20 + len));
	frame_checksums(&f); /* of the header alone: it is a fragment */
	return f;
}

/* The first `len` bytes of the IPv4 packet in a frame, as an ICMP error may quote it. */
static inline struct frame
cut_to(struct frame f, uint16_t len)
{
	f.len = (uint16_t)(14 + len);
	return f;
}
