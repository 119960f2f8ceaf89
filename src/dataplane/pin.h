/* SPDX-License-Identifier: BSD-3-Clause */
/* pin.h - the frame that keeps a gateway's MAC pinned to our ports in learning switches; who sends it stands in it. */
#pragma once

#include <rte_byteorder.h>
#include <rte_ether.h>

#define PIN_ETHERTYPE 0x88b5 /* local experimental (IEEE 802): no host does anything with it */
#define PIN_MAGIC     RTE_BE32(0x4e570001)

struct pin_frame {
	struct rte_ether_hdr eth;
	rte_be32_t magic;
	struct rte_ether_addr router;
} __rte_packed __rte_aligned(2);
