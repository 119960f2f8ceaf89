/* SPDX-License-Identifier: BSD-3-Clause */
#include "noise.h"

#include <api/secret.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#define HASH	 32
#define PSKS_MAX 4

enum token { END, E, S, EE, ES, SE, SS };

struct pattern { /* section 7.4, 7.5: who knows whose static key before, and the tokens of each message */
	const char *name;
	bool known_initiator, known_responder;
	uint8_t message[3][5];
};

static const struct pattern patterns[] = {
	{"NN", false, false, {{E}, {E, EE}}},
	{"NK", false, true, {{E, ES}, {E, EE}}},
	{"XX", false, false, {{E}, {E, EE, S, ES}, {S, SE}}},
	{"XK", false, true, {{E, ES}, {E, EE}, {S, SE}}},
	{"IX", false, false, {{E, S}, {E, EE, SE, S, ES}}},
	{"IK", false, true, {{E, ES, S, SS}, {E, EE, SE}}},
	{"KK", true, true, {{E, ES, SS}, {E, EE, SE}}},
	{"IK1", false, true, {{E, S}, {E, EE, SE, ES}}},
	{"KK1", true, true, {{E}, {E, EE, SE, ES}}},
};

struct cipher { /* section 5.1 */
	uint8_t key[NOISE_KEY];
	uint64_t nonce;
};

struct noise {
	const struct pattern *pattern;
	bool initiator, dead, done, keyed;
	bool have_static, have_remote_static;
	int message;		  /* the next handshake message, from 0 */
	uint8_t psk_at[PSKS_MAX]; /* pskN: 0 before message 0, N at the end of message N - 1 */
	int psks, psks_used;
	uint8_t psk[PSKS_MAX][NOISE_KEY];
	uint8_t chaining[HASH], hash[HASH];
	struct cipher cipher; /* of the handshake */
	struct cipher tx, rx; /* of the session */
	uint8_t s[NOISE_KEY], s_public[NOISE_KEY], e[NOISE_KEY], e_public[NOISE_KEY];
	uint8_t rs[NOISE_KEY], re[NOISE_KEY];
	bool e_given;
};

/* ---- primitives ---- */

static void
hmac(const uint8_t key[HASH], const void *a, size_t a_len, const void *b, size_t b_len, uint8_t out[HASH])
{
	crypto_auth_hmacsha256_state st;

	crypto_auth_hmacsha256_init(&st, key, HASH);
	crypto_auth_hmacsha256_update(&st, a, a_len);
	crypto_auth_hmacsha256_update(&st, b, b_len);
	crypto_auth_hmacsha256_final(&st, out);
	sodium_memzero(&st, sizeof(st));
}

/* Section 4.3: `chaining` becomes the first output; `second` and `third` may be NULL. */
static void
hkdf(uint8_t chaining[HASH], const void *in, size_t len, uint8_t *second, uint8_t *third)
{
	static const uint8_t one = 1, two = 2, three = 3;
	uint8_t temp[HASH], last[HASH];

	hmac(chaining, in, len, NULL, 0, temp);
	hmac(temp, &one, 1, NULL, 0, chaining);
	hmac(temp, chaining, HASH, &two, 1, last);
	if (second != NULL)
		memcpy(second, last, HASH);
	if (third != NULL)
		hmac(temp, last, HASH, &three, 1, third);
	sodium_memzero(temp, sizeof(temp));
	sodium_memzero(last, sizeof(last));
}

static void
nonce_bytes(uint64_t nonce, uint8_t out[12])
{
	memset(out, 0, 4);
	for (int i = 0; i < 8; i++)
		out[4 + i] = (uint8_t)(nonce >> (8 * i));
}

/* The specification keeps the nonce 2^64 - 1 for itself; a session ends before it. */
static int
seal(struct cipher *c, const void *ad, size_t ad_len, const void *in, size_t len, uint8_t *out)
{
	uint8_t nonce[12];

	if (c->nonce == UINT64_MAX)
		return -EINVAL;
	nonce_bytes(c->nonce++, nonce);
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, len, ad, ad_len, NULL, nonce, c->key);
	return 0;
}

static int
unseal(struct cipher *c, const void *ad, size_t ad_len, const void *in, size_t len, uint8_t *out)
{
	uint8_t nonce[12];

	if (c->nonce == UINT64_MAX)
		return -EINVAL;
	nonce_bytes(c->nonce, nonce);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, ad, ad_len, nonce, c->key) !=
		0)
		return -EBADMSG;
	c->nonce++;
	return 0;
}

/* ---- symmetric state, section 5.2 ---- */

static void
mix_hash(struct noise *n, const void *p, size_t len)
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, n->hash, HASH);
	crypto_hash_sha256_update(&st, p, len);
	crypto_hash_sha256_final(&st, n->hash);
}

static void
mix_key(struct noise *n, const void *p, size_t len)
{
	hkdf(n->chaining, p, len, n->cipher.key, NULL);
	n->cipher.nonce = 0;
	n->keyed = true;
}

static void
mix_psk(struct noise *n)
{
	uint8_t temp[HASH];

	hkdf(n->chaining, n->psk[n->psks_used++], NOISE_KEY, temp, n->cipher.key);
	mix_hash(n, temp, HASH);
	n->cipher.nonce = 0;
	n->keyed = true;
	sodium_memzero(temp, sizeof(temp));
}

static size_t
sealed_len(const struct noise *n, size_t len)
{
	return n->keyed ? len + NOISE_TAG : len;
}

static int
encrypt_and_hash(struct noise *n, const void *in, size_t len, uint8_t *out)
{
	int rc = 0;

	if (n->keyed)
		rc = seal(&n->cipher, n->hash, HASH, in, len, out);
	else if (len > 0)
		memcpy(out, in, len);
	mix_hash(n, out, sealed_len(n, len));
	return rc;
}

/* `len` is that of what came, with its tag. */
static int
decrypt_and_hash(struct noise *n, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t before[HASH];

	memcpy(before, n->hash, HASH);
	mix_hash(n, in, len);
	if (n->keyed)
		return unseal(&n->cipher, before, HASH, in, len, out);
	if (len > 0)
		memcpy(out, in, len);
	return 0;
}

/* ---- handshake state, section 5.3 ---- */

static int
mix_dh(struct noise *n, enum token t)
{
	bool own_e = t == EE || (t == ES ? n->initiator : t == SE && !n->initiator);
	bool their_e = t == EE || (t == ES ? !n->initiator : t == SE && n->initiator);
	uint8_t shared[32];
	int rc;

	/* All zero for a point of small order: libsodium refuses it. */
	rc = crypto_scalarmult(shared, own_e ? n->e : n->s, their_e ? n->re : n->rs);
	if (rc == 0)
		mix_key(n, shared, sizeof(shared));
	sodium_memzero(shared, sizeof(shared));
	return rc == 0 ? 0 : -EBADMSG;
}

static void
mix_psks(struct noise *n, int at)
{
	while (n->psks_used < n->psks && n->psk_at[n->psks_used] == at)
		mix_psk(n);
}

static void
mix_ephemeral(struct noise *n, const uint8_t key[NOISE_KEY])
{
	mix_hash(n, key, NOISE_KEY);
	if (n->psks > 0) /* section 9.2 */
		mix_key(n, key, NOISE_KEY);
}

static void
split(struct noise *n)
{
	struct cipher *first = n->initiator ? &n->tx : &n->rx;
	struct cipher *second = n->initiator ? &n->rx : &n->tx;

	memcpy(first->key, n->chaining, HASH);
	hkdf(first->key, NULL, 0, second->key, NULL);
	first->nonce = second->nonce = 0;
	n->done = true;
	sodium_memzero(n->chaining, sizeof(n->chaining));
	sodium_memzero(&n->cipher, sizeof(n->cipher));
	sodium_memzero(n->e, sizeof(n->e));
	sodium_memzero(n->s, sizeof(n->s));
	sodium_memzero(n->psk, sizeof(n->psk));
}

static void
next_message(struct noise *n)
{
	n->message++;
	if (n->message == 3 || n->pattern->message[n->message][0] == END)
		split(n);
}

static int
write_token(struct noise *n, enum token t, uint8_t **out)
{
	int rc = 0;

	switch (t) {
	case E:
		if (!n->e_given)
			randombytes_buf(n->e, sizeof(n->e));
		crypto_scalarmult_base(n->e_public, n->e);
		memcpy(*out, n->e_public, NOISE_KEY);
		*out += NOISE_KEY;
		mix_ephemeral(n, n->e_public);
		break;
	case S:
		if (!n->have_static)
			return -EINVAL;
		rc = encrypt_and_hash(n, n->s_public, NOISE_KEY, *out);
		*out += sealed_len(n, NOISE_KEY);
		break;
	default:
		rc = mix_dh(n, t);
	}
	return rc;
}

static int
read_key(struct noise *n, enum token t, const uint8_t *in, size_t len)
{
	if (t == S) {
		if (decrypt_and_hash(n, in, len, n->rs) != 0)
			return -EBADMSG;
		n->have_remote_static = true;
		/* Our own key, reflected. */
		return n->have_static && sodium_memcmp(n->rs, n->s_public, NOISE_KEY) == 0 ? -EBADMSG : 0;
	}
	memcpy(n->re, in, NOISE_KEY);
	if (sodium_memcmp(n->re, n->e_public, NOISE_KEY) == 0)
		return -EBADMSG;
	mix_ephemeral(n, n->re);
	return 0;
}

static int
read_token(struct noise *n, enum token t, const uint8_t **in, size_t *left)
{
	size_t len = t == E ? NOISE_KEY : t == S ? sealed_len(n, NOISE_KEY) : 0;
	int rc;

	if (*left < len)
		return -EBADMSG;
	rc = len > 0 ? read_key(n, t, *in, len) : mix_dh(n, t);
	*in += len;
	*left -= len;
	return rc;
}

static int
write_handshake(struct noise *n, const void *payload, size_t len, uint8_t *out, size_t *out_len)
{
	const uint8_t *t = n->pattern->message[n->message];
	uint8_t *p = out;
	int rc = 0;

	if (n->message == 0)
		mix_psks(n, 0);
	for (int i = 0; i < 5 && t[i] != END && rc == 0; i++)
		rc = write_token(n, t[i], &p);
	mix_psks(n, n->message + 1);
	if (rc == 0)
		rc = encrypt_and_hash(n, payload, len, p);
	*out_len = (size_t)(p - out) + sealed_len(n, len);
	return rc;
}

static int
read_handshake(struct noise *n, const uint8_t *msg, size_t len, uint8_t *out, size_t *out_len)
{
	const uint8_t *t = n->pattern->message[n->message];
	int rc = 0;

	if (n->message == 0)
		mix_psks(n, 0);
	for (int i = 0; i < 5 && t[i] != END && rc == 0; i++)
		rc = read_token(n, t[i], &msg, &len);
	mix_psks(n, n->message + 1);
	if (rc != 0 || len < sealed_len(n, 0))
		return -EBADMSG;
	*out_len = len - sealed_len(n, 0);
	return decrypt_and_hash(n, msg, len, out);
}

static int
die(struct noise *n, int rc)
{
	sodium_memzero(n, sizeof(*n));
	n->dead = true;
	return rc;
}

/* ---- the protocol's name ---- */

static bool
parse_psks(struct noise *n, const char *s, const char *end)
{
	while (s < end) {
		if (end - s < 4 || strncmp(s, "psk", 3) != 0 || s[3] < '0' || s[3] > '3' ||
			n->psks == PSKS_MAX)
			return false;
		n->psk_at[n->psks++] = (uint8_t)(s[3] - '0');
		s += 4;
		if (s < end && *s++ != '+')
			return false;
	}
	return true;
}

/* "Noise_" PATTERN [ "pskN" { "+pskN" } ] "_25519_ChaChaPoly_SHA256" */
static bool
parse_protocol(struct noise *n, const char *name)
{
	const char *p = name + 6, *end;

	if (strncmp(name, "Noise_", 6) != 0 || (end = strchr(p, '_')) == NULL ||
		strcmp(end, "_25519_ChaChaPoly_SHA256") != 0)
		return false;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		size_t len = strlen(patterns[i].name);

		/* "IK" is not the pattern of "IK1": what follows must be modifiers. */
		if (strncmp(p, patterns[i].name, len) != 0 || (p + len != end && p[len] != 'p'))
			continue;
		n->pattern = &patterns[i];
		return parse_psks(n, p + len, end);
	}
	return false;
}

static void
start(struct noise *n, const char *protocol, const struct noise_config *c)
{
	size_t len = strlen(protocol);

	if (len <= HASH)
		memcpy(n->hash, protocol, len);
	else
		crypto_hash_sha256(n->hash, (const uint8_t *)protocol, len);
	memcpy(n->chaining, n->hash, HASH);
	mix_hash(n, c->prologue, c->prologue_len);
	if (n->pattern->known_initiator)
		mix_hash(n, n->initiator ? n->s_public : n->rs, NOISE_KEY);
	if (n->pattern->known_responder)
		mix_hash(n, n->initiator ? n->rs : n->s_public, NOISE_KEY);
}

static bool
take_keys(struct noise *n, const struct noise_config *c)
{
	if (c->static_private != NULL) {
		memcpy(n->s, c->static_private, NOISE_KEY);
		n->have_static = crypto_scalarmult_base(n->s_public, n->s) == 0;
	}
	if (c->remote_static != NULL) {
		memcpy(n->rs, c->remote_static, NOISE_KEY);
		n->have_remote_static = true;
	}
	if (c->psk != NULL)
		memcpy(n->psk, c->psk, (size_t)n->psks * NOISE_KEY);
	if (c->ephemeral_private != NULL) {
		memcpy(n->e, c->ephemeral_private, NOISE_KEY);
		n->e_given = true;
	}
	if (n->initiator)
		return (!n->pattern->known_initiator || n->have_static) &&
		       (!n->pattern->known_responder || n->have_remote_static);
	return (!n->pattern->known_initiator || n->have_remote_static) &&
	       (!n->pattern->known_responder || n->have_static);
}

/* ---- public ---- */

struct noise *
noise_new(const struct noise_config *c)
{
	const char *protocol = c->protocol != NULL ? c->protocol : "Noise_IKpsk2_25519_ChaChaPoly_SHA256";
	struct noise *n;

	n = secret_new(sizeof(*n));
	if (n == NULL)
		return NULL;
	n->initiator = c->initiator;
	if (!parse_protocol(n, protocol) || !take_keys(n, c)) {
		noise_free(n);
		return NULL;
	}
	start(n, protocol, c);
	return n;
}

void
noise_free(struct noise *n)
{
	secret_free(n);
}

bool
noise_done(const struct noise *n)
{
	return n->done;
}

bool
noise_my_turn(const struct noise *n)
{
	return !n->dead && !n->done && (n->message % 2 == 0) == n->initiator;
}

int
noise_write(struct noise *n, const void *payload, size_t len, uint8_t *out, size_t *out_len)
{
	/* The longest handshake message beside its payload is e, s + tag and the payload's tag: 96. */
	size_t room = n->done ? NOISE_TAG : 96;
	int rc;

	if (n->dead || len > NOISE_MESSAGE_MAX - room || (!n->done && !noise_my_turn(n)))
		return die(n, -EINVAL);
	if (n->done) {
		*out_len = len + NOISE_TAG;
		rc = seal(&n->tx, NULL, 0, payload, len, out);
		return rc == 0 ? 0 : die(n, rc);
	}
	rc = write_handshake(n, payload, len, out, out_len);
	if (rc != 0)
		return die(n, rc);
	next_message(n);
	return 0;
}

int
noise_read(struct noise *n, const uint8_t *msg, size_t len, uint8_t *out, size_t *out_len)
{
	int rc;

	if (n->dead || noise_my_turn(n))
		return die(n, -EINVAL);
	if (len > NOISE_MESSAGE_MAX || (n->done && len < NOISE_TAG))
		return die(n, -EBADMSG);
	if (n->done) {
		*out_len = len - NOISE_TAG;
		rc = unseal(&n->rx, NULL, 0, msg, len, out);
		return rc == 0 ? 0 : die(n, rc);
	}
	rc = read_handshake(n, msg, len, out, out_len);
	if (rc != 0)
		return die(n, rc);
	next_message(n);
	return 0;
}

const uint8_t *
noise_remote_static(const struct noise *n)
{
	return n->have_remote_static ? n->rs : NULL;
}

void
noise_set_psk(struct noise *n, const uint8_t psk[NOISE_KEY])
{
	if (!n->dead && !n->done)
		memcpy(n->psk[0], psk, NOISE_KEY);
}

void
noise_hash(const struct noise *n, uint8_t hash[32])
{
	memcpy(hash, n->hash, HASH);
}

void
noise_set_nonces(struct noise *n, uint64_t nonce)
{
	n->tx.nonce = n->rx.nonce = nonce;
}
