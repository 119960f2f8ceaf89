/* SPDX-License-Identifier: BSD-3-Clause */
/* gate.h - how many strangers may begin a handshake: so many a second from one address, and from all together.
 *
 * A handshake costs the responder about 0.2 ms of X25519, and a stranger nothing. Established channels do not pass here.
 * Addresses share 1,024 buckets by a keyed hash, so that memory is bounded and nobody can choose whose bucket to empty.
 * An IPv6 address is its /64: who has one has them all. Addresses where somebody has proved who they are lately share a bucket of their
 * own, so that a flood of strangers keeps no controller or peer from coming back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GATE_BUCKETS   1024
#define GATE_RATE      10 /* a second, from one address */
#define GATE_BURST     20
#define GATE_ALL_RATE  200 /* a second, from all */
#define GATE_ALL_BURST 400
#define GATE_KEY       16

#define GATE_KNOWN_MS (UINT64_C(24) * 3600 * 1000)

struct gate_bucket {
	/* ms: when it will be full again; a bucket that is full has not been used for long */
	uint64_t full_at, known_until;
};

struct gate {
	uint8_t key[GATE_KEY];
	uint64_t refused;
	struct gate_bucket all[2], one[GATE_BUCKETS]; /* all: of strangers, of the known */
};

/* `key`: random bytes. */
void gate_init(struct gate *g, const uint8_t key[GATE_KEY]);
/* `from` is the caller's "address:port". True: go on; false: close it, nothing else. */
bool gate_admit(struct gate *g, uint64_t now_ms, const char *from);
/* Somebody there has proved who they are: their connection does not count for their address. */
void gate_know(struct gate *g, uint64_t now_ms, const char *from);
