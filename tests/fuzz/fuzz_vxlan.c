/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_vxlan.c - any frame in a good VXLAN packet of a peer or local VTEP, or in one that is a little wrong. */
#include "fuzz.h"

#define OUTER 50

void
fuzz_frames(struct input *in)
{
	struct arrival a = fuzz_arrival(in);
	uint8_t from = fuzz_byte(in);
	const uint8_t tunnels[] = {R_Z, R_Y, T_A, T_B};
	struct frame inner = {.len = 0}, f;

	fuzz_overwrite(in, &inner, 0);
	inner.len = RTE_MIN(inner.len, FRAME_MAX - OUTER);
	f = from_tunnel(tunnels[from & 3], from >> 2 & 3, inner);
	if (from & 128)
		fuzz_xor(in, &f, 14);
	a.port = from & 64 ? WAN1 : WAN0;
	a.vlan = 0;
	if (a.port == WAN1)
		memcpy(f.b, &net.topo->ports[WAN1].mac, 6);
	fuzz_receive(&a, &f);
}
