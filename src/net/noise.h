/* SPDX-License-Identifier: BSD-3-Clause */
/* noise.h - Noise_IKpsk2_25519_ChaChaPoly_SHA256 (and the vectors' other SHA256 patterns), no I/O.
 *
 * The Noise Protocol Framework, revision 34: sections 5 (processing rules), 7.5 (IK), 9 (psk).
 * Primitives from libsodium only. Every call returns 0 or -EBADMSG / -EINVAL; after a failure the state is
 * wiped and dead.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOISE_KEY	  32
#define NOISE_TAG	  16
#define NOISE_HASH	  32
#define NOISE_MESSAGE_MAX 65535
#define NOISE_IK_MSG1	  96 /* e 32, s 32 + 16, empty payload 16 */
#define NOISE_IK_MSG2	  48 /* e 32, empty payload 16 */

struct noise; /* one handshake, then one session */

struct noise_config {
	const char *protocol; /* NULL: Noise_IKpsk2_25519_ChaChaPoly_SHA256 */
	bool initiator;
	const void *prologue;
	size_t prologue_len;
	const uint8_t *static_private; /* NULL where the pattern has none */
	const uint8_t *remote_static;  /* initiator of IK: pinned */
	const uint8_t *psk;	       /* 32 bytes for each psk of the pattern, in order; NULL: zero bytes */
	const uint8_t *ephemeral_private; /* tests only; NULL: fresh from the kernel */
};

struct noise *noise_new(const struct noise_config *c); /* NULL: unknown protocol or no memory */
void noise_free(struct noise *n);		       /* wipes */

bool noise_done(const struct noise *n);	   /* handshake finished: transport messages follow */
bool noise_my_turn(const struct noise *n); /* handshake only: we write the next message */
/* `out` has room for len + 128 bytes. */
int noise_write(struct noise *n, const void *payload, size_t len, uint8_t *out, size_t *out_len);
/* `out` has room for len bytes. */
int noise_read(struct noise *n, const uint8_t *msg, size_t len, uint8_t *out, size_t *out_len);
/* The responder learns the initiator's key from message 1; NULL before. */
const uint8_t *noise_remote_static(const struct noise *n);
/* The PSK may depend on who calls (psk2): set between reading message 1 and writing message 2. */
void noise_set_psk(struct noise *n, const uint8_t psk[NOISE_KEY]);
void noise_hash(const struct noise *n, uint8_t hash[32]); /* handshake hash, for channel binding and logs */
void noise_set_nonces(struct noise *n, uint64_t nonce);	  /* tests only: as if so many messages had passed */
