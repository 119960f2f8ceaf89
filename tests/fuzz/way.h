/* SPDX-License-Identifier: BSD-3-Clause */
/* way.h - who sends to whom, and where that enters; two bytes of an input. */
#pragma once

#include "fuzz.h"

struct way {
	bool tunnel, from_vm;
	uint8_t router; /* the peer, when through the tunnel */
};

/* Sets MACs and addresses of `s`, and where the frame arrives. */
struct way way_of(struct input *in, struct spec *s, struct arrival *a);
/* Wraps the frame if its way leads through the tunnel, and receives it. */
void way_receive(const struct way *y, const struct arrival *a, struct frame *f);
/* Addresses of the packet that one of this way answers, or complains about. */
struct spec way_back(const struct spec *s);
