/* SPDX-License-Identifier: BSD-3-Clause */
/* pipeline.h - the vectors between stages, and the stages. What a stage does stands above its prototype. */
#pragma once

#include "worker.h"

/* At most BURST_MAX packets in all of these together; encap, route, neighbour and port may also hold
 * fragments, of which a burst has VEC_MAX - BURST_MAX (w->more). */
struct paths {
	struct vec rest, tunnel, frame, arp, arp_wan, gateway, home_out, nat_out, wan, nat_in, home_in, local,
		to_vm, bridge, encap, route, neighbour, port;
};

/* Runs one burst (rx->n <= RX_MAX, what is released of w->vm_hold, and what fits of w->inject) to its end. rx is emptied. On
 * return every packet is in w->tx, w->inject, w->hold, w->vm_hold, or dropped. rx packets need meta.in_port, origin = FROM_WAN or FROM_DC, enter =
 * ENTER_RX, vlan. */
void pipeline_run(struct worker *w, struct vec *rx);

void express(struct worker *w, struct vec *in, struct vec *rest);
void classify(struct worker *w, struct vec *in, struct paths *p);
void vxlan_decap(struct worker *w, struct vec *in, struct vec *frame);
void segment(struct worker *w, struct vec *in, struct vec *arp, struct vec *gateway, struct vec *bridge,
	struct vec *home_in);
void arp(struct worker *w, struct vec *in, struct vec *bridge, struct vec *encap, struct vec *port);
void arp_wan(struct worker *w, struct vec *in, struct vec *port);
void gateway(struct worker *w, struct vec *in, struct paths *p);
void home_out(struct worker *w, struct vec *in, struct vec *nat_out, struct vec *encap);
void nat_out(struct worker *w, struct vec *in, struct vec *nat_in, struct vec *route);
void wan(struct worker *w, struct vec *in, struct paths *p);
void nat_in(struct worker *w, struct vec *in, struct vec *home_in, struct vec *to_vm);
void home_in(struct worker *w, struct vec *in, struct vec *to_vm, struct vec *bridge);
void local(struct worker *w, struct vec *in, struct vec *to_vm, struct vec *route);
void to_vm(struct worker *w, struct vec *in, struct vec *port, struct vec *encap);
void bridge(struct worker *w, struct vec *in, struct vec *encap, struct vec *port);
void vxlan_encap(struct worker *w, struct vec *in, struct vec *route);
void route(struct worker *w, struct vec *in, struct vec *neighbour);
void neighbour(struct worker *w, struct vec *in, struct vec *port);
void tx(struct worker *w, struct vec *in);
