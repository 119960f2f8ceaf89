/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz.h - what the fuzz targets share.
 *
 * A target turns an input into frames and gives them to the network of tests/packet/harness.h, with VMs in all states.
 * Every input runs three times on a worker as new: again with other bytes behind each frame in its mbuf, and again through all
 * stages with nothing express. The same frames, drops, counts, events and sessions must come of it, and what was routed must have a right IPv4 header. The books must balance after each burst, and no mbuf
 * may be missing at the end.
 */
#pragma once

#include <harness.h>

struct input {
	const uint8_t *at;
	size_t left;
};

/* Of the target: frames from the input, until nothing is left. */
void fuzz_frames(struct input *in);

uint8_t fuzz_byte(struct input *in); /* 0 when nothing is left */
uint16_t fuzz_short(struct input *in);

/* How a frame arrives; one byte of the input.
 *
 *	bits 0-1  port
 *	bits 2-3  VLAN: none, or of ATT_1B, ATT_3, ATT_4
 *	bit 4     in segments of 64 bytes
 *	bit 5     lengths and checksums are made right
 *	bit 6     more frames belong to this burst
 *	bit 7     time passes before: its exponent is the next byte, of which bits 4-7, if not 0, say that a VM's record changes
 *		  then, too: which VM, and how is one more byte
 *
 * How a record changes; of a VM of SEG1:
 *
 *	bits 0-2  a move is on its way: VM_REC_NOTES, _OPEN, _HOLDS
 *	bit 3     owned by R_Y, else by us
 *	bit 4     not heard yet, else at ATT_1
 *	bit 5     it is deleted instead
 */
struct arrival {
	uint16_t port, vlan, piece;
	bool mended, more;
};

struct arrival fuzz_arrival(struct input *in);
void fuzz_receive(const struct arrival *a, struct frame *f);

/* The next bytes of the input, as many as the next two say, replace a frame's from `at` on. */
void fuzz_overwrite(struct input *in, struct frame *f, uint16_t at);
/* As many as the next one says are XORed into it: of a good frame, what the input leaves alone stays good. */
void fuzz_xor(struct input *in, struct frame *f, uint16_t at);
