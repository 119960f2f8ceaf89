/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_homes.c - sessions of draining VMs: packets, fragments and errors of few flows in any order, from all sides, while
 * time passes. */
#include "way.h"

#define FRAGMENT 8 /* the field of a later one */

static struct frame
packet(struct spec *s, uint8_t kind)
{
	struct spec back = way_back(s);
	struct frame quoted;

	s->frag = kind & 8    ? RTE_IPV4_HDR_MF_FLAG
		  : kind & 16 ? FRAGMENT
		  : kind & 32 ? RTE_IPV4_HDR_DF_FLAG
			      : 0;
	s->size = kind & 64 ? 1400 : 0;
	switch (kind & 7) {
	case 0:
	case 1:
		return frame_tcp(s);
	case 2:
		return frame_udp(s);
	case 3:
		return frame_echo(s, false);
	case 4:
		return frame_echo(s, true);
	case 5:
		s->proto = 50;
		return frame_ip(s);
	case 6:
		quoted = frame_tcp(&back);
		break;
	default:
		quoted = frame_udp(&back);
	}
	s->icmp_type = 3;
	s->data = packet_of(&quoted);
	s->size = packet_len(&quoted);
	return frame_icmp(s);
}

void
fuzz_frames(struct input *in)
{
	struct arrival a = fuzz_arrival(in);
	struct spec s = {0};
	struct way y = way_of(in, &s, &a);
	uint8_t kind = fuzz_byte(in), ports = fuzz_byte(in);
	struct frame f;

	s.sport = 80 + (ports & 3);
	s.dport = 80 + (ports >> 2 & 3);
	s.id = ports >> 4 & 3;
	s.mss = kind & 128 ? 1460 : 0;
	s.ttl = ports & 128 ? 1 : 64;
	s.flags = fuzz_byte(in);
	f = packet(&s, kind);
	if (ports & 64)
		fuzz_xor(in, &f, 14);
	way_receive(&y, &a, &f);
}
