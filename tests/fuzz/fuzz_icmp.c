/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_icmp.c - ICMP errors through NAT, both ways, with any packet quoted. */
#include "way.h"

static struct frame
quoted_packet(const struct spec *s, uint8_t kind)
{
	struct spec back = way_back(s);

	back.sport = back.dport = 9;
	back.proto = kind;
	back.frag = kind & 128 ? 8 : 0;
	return kind & 64 ? frame_tcp(&back) : kind & 32 ? frame_udp(&back) : frame_ip(&back);
}

void
fuzz_frames(struct input *in)
{
	struct arrival a = fuzz_arrival(in);
	struct spec s = {0};
	struct way y = way_of(in, &s, &a);
	struct frame quoted = quoted_packet(&s, fuzz_byte(in)), f;
	uint8_t type = fuzz_byte(in), cut = fuzz_byte(in);

	fuzz_xor(in, &quoted, 14);
	s.icmp_type = type & 15;
	s.icmp_code = type >> 4;
	s.data = packet_of(&quoted);
	s.size = (uint16_t)(packet_len(&quoted) - RTE_MIN(cut, packet_len(&quoted)));
	s.empty = s.size == 0;
	f = frame_icmp(&s);
	fuzz_xor(in, &f, 14);
	way_receive(&y, &a, &f);
}
