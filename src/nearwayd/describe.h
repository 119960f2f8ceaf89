/* SPDX-License-Identifier: BSD-3-Clause */
/* describe.h - a packet from its description: hexadecimal digits, or addresses and protocol. */
#pragma once

#include <api/kinds.h>
#include <rte_mbuf.h>

struct dp;

/* As received: metadata set for the pipeline. What is left out is what such a packet would have: the MAC of the VM with its
 * source address, the gateway's or the port's own MAC. NULL with the reason. */
struct rte_mbuf *describe_packet(const struct dp *dp, const struct explain_params *p, struct err *e);
