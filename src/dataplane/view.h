/* SPDX-License-Identifier: BSD-3-Clause */
/* view.h - a frame's headers as a filter and a reader ask for them: from any bytes, however short or wrong.
 *
 * Stages do not use it: they check, and know in meta what they checked. Here nothing is refused; what is cut or is not
 * there is not known.
 */
#pragma once

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <stdbool.h>

struct frame_view {
	bool ether, arp, ip, ports; /* which of the parts below are known */
	bool later_fragment;
	struct rte_ether_addr dst, src;
	uint16_t vlan; /* of a tag in the frame; 0 = none */
	uint16_t ethertype, arp_op;
	rte_be32_t sip, dip; /* of ARP: sender and target */
	uint8_t proto, ttl, tcp_flags;
	uint8_t icmp_type, icmp_code;
	uint16_t l3_len;
	uint16_t l4_off;       /* from the frame's start; 0 = there is none */
	uint16_t sport, dport; /* TCP, UDP; ICMP echo: identifier and sequence */
	uint32_t vni;
	uint16_t inner; /* where the tunnelled frame begins; 0 = no VXLAN */
};

void frame_look(const uint8_t *p, uint32_t len, struct frame_view *v);
