/* SPDX-License-Identifier: BSD-3-Clause */
/* plain.c - what the simulator has in the place of guarded memory and of cryptography, which take half of a seed's time
 * and decide nothing in it: memory from the heap, and functions that keep the equations of libsodium's and no secret.
 *
 * Two ends get the same shared secret from their keys; another key, nonce or byte gives another tag; another text
 * another hash. A seed has the same fate as with the real ones, with which a test runs some, too.
 */
#include <api/secret.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

int
secret_start(void)
{
	return sodium_init() < 0 ? -1 : 0;
}

void *
secret_new(size_t n)
{
	return calloc(1, n);
}

void
secret_free(void *p)
{
	free(p);
}

void
secret_json_begin(void)
{
}

void
secret_json_end(void)
{
}

void
secret_wipe_free(void *p, size_t n)
{
	(void)n;
	free(p);
}

/* ---- a hash ---- */

struct mix {
	uint64_t a, b;
};

static void
mix_word(struct mix *m, uint64_t word)
{
	m->a = (m->a ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	m->b = (m->b ^ m->a ^ m->a >> 32) * UINT64_C(0xff51afd7ed558ccd);
}

static void
mix_bytes(struct mix *m, const void *bytes, uint64_t n)
{
	const uint8_t *p = bytes;
	uint64_t word;

	mix_word(m, n);
	for (; n >= sizeof(word); n -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		mix_word(m, word);
	}
	word = 0;
	if (n > 0)
		memcpy(&word, p, n);
	mix_word(m, word);
}

static void
mix_end(struct mix m, uint8_t *out, size_t n)
{
	for (; n > 0; n -= sizeof(m.b), out += sizeof(m.b)) {
		mix_word(&m, n);
		m.b ^= m.b >> 29;
		memcpy(out, &m.b, sizeof(m.b));
	}
}

int
crypto_hash_sha256_init(crypto_hash_sha256_state *st)
{
	memset(st, 0, sizeof(struct mix));
	return 0;
}

int
crypto_hash_sha256_update(crypto_hash_sha256_state *st, const unsigned char *p, unsigned long long n)
{
	mix_bytes((struct mix *)st, p, n);
	return 0;
}

int
crypto_hash_sha256_final(crypto_hash_sha256_state *st, unsigned char *out)
{
	mix_end(*(struct mix *)st, out, crypto_hash_sha256_BYTES);
	return 0;
}

int
crypto_hash_sha256(unsigned char *out, const unsigned char *p, unsigned long long n)
{
	struct mix m = {0};

	mix_bytes(&m, p, n);
	mix_end(m, out, crypto_hash_sha256_BYTES);
	return 0;
}

int
crypto_auth_hmacsha256_init(crypto_auth_hmacsha256_state *st, const unsigned char *key, size_t n)
{
	memset(st, 0, sizeof(struct mix));
	mix_bytes((struct mix *)st, key, n);
	return 0;
}

int
crypto_auth_hmacsha256_update(crypto_auth_hmacsha256_state *st, const unsigned char *p, unsigned long long n)
{
	mix_bytes((struct mix *)st, p, n);
	return 0;
}

int
crypto_auth_hmacsha256_final(crypto_auth_hmacsha256_state *st, unsigned char *out)
{
	mix_end(*(struct mix *)st, out, crypto_auth_hmacsha256_BYTES);
	return 0;
}

/* ---- keys: powers of 3 modulo 2^61 - 1 ---- */

#define PRIME ((UINT64_C(1) << 61) - 1)

static uint64_t
power(uint64_t base, const unsigned char *private_key)
{
	unsigned __int128 sum = 1, square = base;
	uint64_t exponent;

	memcpy(&exponent, private_key, sizeof(exponent));
	for (; exponent > 0; exponent >>= 1) {
		if (exponent & 1)
			sum = sum * square % PRIME;
		square = square * square % PRIME;
	}
	return (uint64_t)sum;
}

static int
give_power(unsigned char *out, uint64_t base, const unsigned char *private_key)
{
	uint64_t y = power(base, private_key);

	memset(out, 0, crypto_scalarmult_BYTES);
	memcpy(out, &y, sizeof(y));
	return 0;
}

int
crypto_scalarmult_base(unsigned char *out, const unsigned char *private_key)
{
	return give_power(out, 3, private_key);
}

int
crypto_scalarmult(unsigned char *out, const unsigned char *private_key, const unsigned char *public_key)
{
	uint64_t base;

	memcpy(&base, public_key, sizeof(base));
	return base % PRIME == 0 ? -1 : give_power(out, base % PRIME, private_key);
}

/* ---- a text and its tag ---- */

#define TAG crypto_aead_chacha20poly1305_ietf_ABYTES

struct sealed {
	const unsigned char *text, *ad, *nonce, *key;
	uint64_t n, ad_n;
};

static void
tag_of(const struct sealed *s, uint8_t tag[TAG])
{
	struct mix m = {0};

	mix_bytes(&m, s->key, crypto_aead_chacha20poly1305_ietf_KEYBYTES);
	mix_bytes(&m, s->nonce, crypto_aead_chacha20poly1305_ietf_NPUBBYTES);
	mix_bytes(&m, s->ad, s->ad_n);
	mix_bytes(&m, s->text, s->n);
	mix_end(m, tag, TAG);
}

int
crypto_aead_chacha20poly1305_ietf_encrypt(unsigned char *out, unsigned long long *out_n,
	const unsigned char *text, unsigned long long n, const unsigned char *ad, unsigned long long ad_n,
	const unsigned char *secret_nonce, const unsigned char *nonce, const unsigned char *key)
{
	struct sealed s = {.text = out, .ad = ad, .nonce = nonce, .key = key, .n = n, .ad_n = ad_n};

	(void)secret_nonce;
	if (n > 0)
		memmove(out, text, n);
	tag_of(&s, out + n);
	if (out_n)
		*out_n = n + TAG;
	return 0;
}

int
crypto_aead_chacha20poly1305_ietf_decrypt(unsigned char *out, unsigned long long *out_n,
	unsigned char *secret_nonce, const unsigned char *in, unsigned long long n, const unsigned char *ad,
	unsigned long long ad_n, const unsigned char *nonce, const unsigned char *key)
{
	struct sealed s = {.text = in, .ad = ad, .nonce = nonce, .key = key, .ad_n = ad_n};
	uint8_t tag[TAG];

	(void)secret_nonce;
	if (n < TAG)
		return -1;
	s.n = n - TAG;
	tag_of(&s, tag);
	if (memcmp(tag, in + s.n, TAG) != 0)
		return -1;
	if (s.n > 0)
		memmove(out, in, s.n);
	if (out_n)
		*out_n = s.n;
	return 0;
}
