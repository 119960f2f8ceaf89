/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <net/noise.h>
#include <sodium.h>

#define ROOM (NOISE_MESSAGE_MAX + 128)

static json_t *vectors;

static size_t
hex(const char *text, uint8_t *out, size_t room)
{
	size_t n;

	assert_int_equal(sodium_hex2bin(out, room, text, strlen(text), NULL, &n, NULL), 0);
	return n;
}

static const uint8_t *
key_of(const json_t *v, const char *name, uint8_t key[32])
{
	const json_t *text = json_object_get(v, name);

	if (text == NULL)
		return NULL;
	assert_int_equal(hex(json_string_value(text), key, 32), 32);
	return key;
}

static struct noise *
party(const json_t *v, bool initiator)
{
	const char *side = initiator ? "init" : "resp";
	uint8_t s[32], e[32], rs[32], psk[4][32], prologue[256];
	char name[32];
	struct noise_config c = {
		.protocol = json_string_value(json_object_get(v, "protocol_name")), .initiator = initiator};
	json_t *p;
	size_t i;

#define FIELD(what) (snprintf(name, sizeof(name), "%s_" what, side), name)
	c.static_private = key_of(v, FIELD("static"), s);
	c.ephemeral_private = key_of(v, FIELD("ephemeral"), e);
	c.remote_static = key_of(v, FIELD("remote_static"), rs);
	c.prologue = prologue;
	c.prologue_len =
		hex(json_string_value(json_object_get(v, FIELD("prologue"))), prologue, sizeof(prologue));
	json_array_foreach(json_object_get(v, FIELD("psks")), i, p)
	{
		hex(json_string_value(p), psk[i], 32);
		c.psk = psk[0];
	}
#undef FIELD
	return noise_new(&c);
}

/* Runs a vector; `flip` >= 0: that message arrives with its last bit flipped, and must be refused. */
static void
run_vector(const json_t *v, int flip)
{
	struct noise *side[2] = {party(v, true), party(v, false)};
	static uint8_t payload[1024], expected[1024], out[ROOM], back[ROOM];
	json_t *m, *hash = json_object_get(v, "handshake_hash");
	uint8_t h[2][32], expected_hash[32];
	size_t i, n, len, want;

	assert_non_null(side[0]);
	assert_non_null(side[1]);
	json_array_foreach(json_object_get(v, "messages"), i, m)
	{
		struct noise *from = side[i % 2], *to = side[(i + 1) % 2];

		len = hex(json_string_value(json_object_get(m, "payload")), payload, sizeof(payload));
		want = hex(json_string_value(json_object_get(m, "ciphertext")), expected, sizeof(expected));
		assert_int_equal(noise_my_turn(from), !noise_done(from));
		assert_false(noise_my_turn(to));
		assert_int_equal(noise_write(from, payload, len, out, &n), 0);
		assert_int_equal(n, want);
		assert_memory_equal(out, expected, n);
		if ((int)i == flip) {
			out[n - 1] ^= 1;
			assert_int_equal(noise_read(to, out, n, back, &n), -EBADMSG);
			/* A failed state is dead for ever. */
			assert_int_not_equal(noise_read(to, expected, want, back, &n), 0);
			goto out;
		}
		assert_int_equal(noise_read(to, out, n, back, &n), 0);
		assert_int_equal(n, len);
		assert_memory_equal(back, payload, n);
	}
	assert_true(noise_done(side[0]) && noise_done(side[1]));
	noise_hash(side[0], h[0]);
	noise_hash(side[1], h[1]);
	if (hash == NULL)
		hash = json_object_get(v, "derived_handshake_hash");
	hex(json_string_value(hash), expected_hash, 32);
	assert_memory_equal(h[0], expected_hash, 32);
	assert_memory_equal(h[1], expected_hash, 32);
out:
	noise_free(side[0]);
	noise_free(side[1]);
}

/* C-01: bytes and hashes of all vectors. */
static void
every_vector_reproduces_byte_for_byte(void **state)
{
	json_t *v;
	size_t i;

	(void)state;
	assert_int_equal(json_array_size(vectors), 32);
	json_array_foreach(vectors, i, v) run_vector(v, -1);
}

static void
one_flipped_bit_in_any_protected_message_is_refused(void **state)
{
	size_t i, j, refused = 0;
	json_t *v, *m;

	(void)state;
	json_array_foreach(vectors, i, v)
	{
		json_array_foreach(json_object_get(v, "messages"), j, m)
		{
			size_t clear = strlen(json_string_value(json_object_get(m, "payload"))) / 2;
			const char *p = json_string_value(json_object_get(m, "payload"));
			const char *c = json_string_value(json_object_get(m, "ciphertext"));

			/* The payload of a message before any DH is clear text. */
			if (strcmp(c + strlen(c) - 2 * clear, p) == 0)
				continue;
			run_vector(v, (int)j);
			refused++;
		}
	}
	assert_true(refused > 128);
}

/* ---- our own protocol ---- */

struct pair {
	struct noise *i, *r;
	uint8_t i_key[32], r_key[32], r_public[32], i_public[32];
};

static struct pair
ik(const uint8_t *i_psk, const uint8_t *r_psk, const char *i_prologue, const char *r_prologue)
{
	struct pair p = {0};

	randombytes_buf(p.i_key, 32);
	randombytes_buf(p.r_key, 32);
	crypto_scalarmult_base(p.i_public, p.i_key);
	crypto_scalarmult_base(p.r_public, p.r_key);
	p.i = noise_new(&(struct noise_config){.initiator = true,
		.prologue = i_prologue,
		.prologue_len = strlen(i_prologue),
		.static_private = p.i_key,
		.remote_static = p.r_public,
		.psk = i_psk});
	p.r = noise_new(&(struct noise_config){
		.prologue = r_prologue, .prologue_len = strlen(r_prologue), .static_private = p.r_key});
	if (r_psk != NULL)
		noise_set_psk(p.r, r_psk);
	return p;
}

static void
pair_free(struct pair *p)
{
	noise_free(p->i);
	noise_free(p->r);
}

static int
shake(struct pair *p)
{
	uint8_t m[256], out[256];
	size_t n;
	int rc;

	assert_int_equal(noise_write(p->i, NULL, 0, m, &n), 0);
	assert_int_equal(n, NOISE_IK_MSG1);
	rc = noise_read(p->r, m, n, out, &n);
	if (rc != 0)
		return rc;
	assert_memory_equal(noise_remote_static(p->r), p->i_public, 32);
	assert_int_equal(noise_write(p->r, NULL, 0, m, &n), 0);
	assert_int_equal(n, NOISE_IK_MSG2);
	return noise_read(p->i, m, n, out, &n);
}

static void
handshake_lengths_are_exact_and_both_hashes_agree(void **state)
{
	struct pair p = ik(NULL, NULL, "nearway/1 r-x", "nearway/1 r-x");
	uint8_t a[32], b[32];

	(void)state;
	assert_int_equal(shake(&p), 0);
	noise_hash(p.i, a);
	noise_hash(p.r, b);
	assert_memory_equal(a, b, 32);
	pair_free(&p);
}

/* C-05, C-06: prologue and psk, at the Noise state alone. */
static void
another_prologue_or_psk_is_refused(void **state)
{
	uint8_t psk[32] = {1}, other[32] = {2};
	struct pair p = ik(NULL, NULL, "nearway/1 r-x", "nearway/1 r-y");

	(void)state;
	assert_int_equal(shake(&p), -EBADMSG);
	pair_free(&p);
	p = ik(psk, other, "a", "a");
	assert_int_equal(shake(&p), -EBADMSG);
	pair_free(&p);
	p = ik(psk, NULL, "a", "a");
	assert_int_equal(shake(&p), -EBADMSG);
	pair_free(&p);
	p = ik(psk, psk, "a", "a");
	assert_int_equal(shake(&p), 0);
	pair_free(&p);
}

/* C-11: of messages 1 and 2. */
static void
every_flipped_byte_of_the_handshake_is_refused(void **state)
{
	uint8_t m[256], out[256];
	size_t n;

	(void)state;
	for (size_t at = 0; at < NOISE_IK_MSG1 + NOISE_IK_MSG2; at++) {
		struct pair p = ik(NULL, NULL, "a", "a");

		assert_int_equal(noise_write(p.i, NULL, 0, m, &n), 0);
		if (at < NOISE_IK_MSG1) {
			m[at] ^= 0x04;
			assert_int_equal(noise_read(p.r, m, n, out, &n), -EBADMSG);
		} else {
			assert_int_equal(noise_read(p.r, m, n, out, &n), 0);
			assert_int_equal(noise_write(p.r, NULL, 0, m, &n), 0);
			m[at - NOISE_IK_MSG1] ^= 0x04;
			assert_int_equal(noise_read(p.i, m, n, out, &n), -EBADMSG);
		}
		pair_free(&p);
	}
}

static void
every_truncated_handshake_message_is_refused(void **state)
{
	uint8_t m[256], out[256];
	size_t n, got;

	(void)state;
	for (size_t len = 0; len < NOISE_IK_MSG1; len++) {
		struct pair p = ik(NULL, NULL, "a", "a");

		assert_int_equal(noise_write(p.i, NULL, 0, m, &n), 0);
		assert_int_equal(noise_read(p.r, m, len, out, &got), -EBADMSG);
		pair_free(&p);
	}
}

/* C-12: the seven values below 2^255 that are of small order or name one (https://cr.yp.to/ecdh.html), and the same with the
 * bit that X25519 leaves out; libsodium refuses the zero that comes out of each. */
static void
small_order_points_are_refused(void **state)
{
	/* 0, 1, the two of order 8, p - 1, p, p + 1. */
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	};
	uint8_t m[256], out[256], point[32];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct pair p = ik(NULL, NULL, "a", "a");
		struct noise *to_point;

		hex(points[i], point, 32);
		/* As the initiator's ephemeral ... */
		assert_int_equal(noise_write(p.i, NULL, 0, m, &n), 0);
		memcpy(m, point, 32);
		assert_int_equal(noise_read(p.r, m, n, out, &n), -EBADMSG);
		pair_free(&p);
		/* ... the responder's ... */
		p = ik(NULL, NULL, "a", "a");
		assert_int_equal(noise_write(p.i, NULL, 0, m, &n), 0);
		memcpy(m, point, 32);
		assert_int_equal(noise_read(p.i, m, NOISE_IK_MSG2, out, &n), -EBADMSG);
		/* ... and as the pinned static key. */
		to_point = noise_new(&(struct noise_config){
			.initiator = true, .static_private = p.i_key, .remote_static = point});
		assert_non_null(to_point);
		assert_int_equal(noise_write(to_point, NULL, 0, m, &n), -EBADMSG);
		noise_free(to_point);
		pair_free(&p);
	}
}

/* C-13: at the Noise state alone. */
static void
own_keys_reflected_are_refused(void **state)
{
	struct pair p = ik(NULL, NULL, "a", "a");
	struct noise *self = noise_new(&(struct noise_config){.initiator = true,
		.prologue = "a",
		.prologue_len = 1,
		.static_private = p.r_key,
		.remote_static = p.r_public});
	uint8_t m[256], out[256];
	size_t n;

	(void)state;
	/* A responder that is called with its own static key. */
	assert_int_equal(noise_write(self, NULL, 0, m, &n), 0);
	assert_int_equal(noise_read(p.r, m, n, out, &n), -EBADMSG);
	/* An initiator that gets its own ephemeral back. */
	assert_int_equal(noise_write(p.i, NULL, 0, m, &n), 0);
	assert_int_equal(noise_read(p.i, m, NOISE_IK_MSG2, out, &n), -EBADMSG);
	noise_free(self);
	pair_free(&p);
}

/* C-10: at the Noise state alone. */
static void
transport_refuses_replay_swap_and_a_foreign_session(void **state)
{
	uint8_t a[64], b[64], out[64];
	size_t n, len;

	(void)state;
	for (int trick = 0; trick < 3; trick++) {
		struct pair p = ik(NULL, NULL, "a", "a"), q = ik(NULL, NULL, "a", "a");

		assert_int_equal(shake(&p), 0);
		assert_int_equal(shake(&q), 0);
		assert_int_equal(noise_write(p.i, "one", 3, a, &len), 0);
		assert_int_equal(noise_write(p.i, "two", 3, b, &len), 0);
		if (trick == 0) { /* replayed */
			assert_int_equal(noise_read(p.r, a, len, out, &n), 0);
			assert_int_equal(noise_read(p.r, a, len, out, &n), -EBADMSG);
		} else if (trick == 1) /* the first one lost */
			assert_int_equal(noise_read(p.r, b, len, out, &n), -EBADMSG);
		else
			assert_int_equal(noise_read(q.r, a, len, out, &n), -EBADMSG);
		pair_free(&p);
		pair_free(&q);
	}
}

/* C-22: at the Noise state alone. */
static void
session_ends_before_the_last_nonce(void **state)
{
	struct pair p = ik(NULL, NULL, "a", "a");
	uint8_t m[64], out[64];
	size_t n;

	(void)state;
	assert_int_equal(shake(&p), 0);
	noise_set_nonces(p.i, UINT64_MAX - 1);
	noise_set_nonces(p.r, UINT64_MAX - 1);
	assert_int_equal(noise_write(p.i, "x", 1, m, &n), 0);
	assert_int_equal(noise_read(p.r, m, n, out, &n), 0);
	assert_int_equal(noise_write(p.i, "x", 1, m, &n), -EINVAL);
	assert_int_equal(noise_read(p.r, m, 17, out, &n), -EINVAL);
	pair_free(&p);
}

static void
payloads_that_do_not_fit_a_message_are_refused(void **state)
{
	static uint8_t big[ROOM], out[ROOM];
	struct pair p = ik(NULL, NULL, "a", "a");
	size_t n;

	(void)state;
	assert_int_equal(shake(&p), 0);
	assert_int_equal(noise_write(p.i, big, NOISE_MESSAGE_MAX - NOISE_TAG, out, &n), 0);
	assert_int_equal(n, NOISE_MESSAGE_MAX);
	assert_int_equal(noise_write(p.i, big, NOISE_MESSAGE_MAX - NOISE_TAG + 1, out, &n), -EINVAL);
	pair_free(&p);
}

static void
unknown_protocols_and_missing_keys_make_no_state(void **state)
{
	static const char *const names[] = {"", "Noise_", "Noise_IK", "Noise_ZZ_25519_ChaChaPoly_SHA256",
		"Noise_IK_25519_ChaChaPoly_SHA512", "Noise_IK_448_ChaChaPoly_SHA256",
		"Noise_IK2_25519_ChaChaPoly_SHA256", "Noise_IKpsk_25519_ChaChaPoly_SHA256",
		"Noise_IKpsk4_25519_ChaChaPoly_SHA256", "Noise_IKpsk2+_25519_ChaChaPoly_SHA256x"};
	uint8_t key[32] = {9};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_null(noise_new(&(struct noise_config){.protocol = names[i],
			.static_private = key,
			.remote_static = key,
			.initiator = true}));
	assert_null(noise_new(&(struct noise_config){.initiator = true, .static_private = key}));
	assert_null(noise_new(&(struct noise_config){.initiator = false}));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_reproduces_byte_for_byte),
		cmocka_unit_test(one_flipped_bit_in_any_protected_message_is_refused),
		cmocka_unit_test(handshake_lengths_are_exact_and_both_hashes_agree),
		cmocka_unit_test(another_prologue_or_psk_is_refused),
		cmocka_unit_test(every_flipped_byte_of_the_handshake_is_refused),
		cmocka_unit_test(every_truncated_handshake_message_is_refused),
		cmocka_unit_test(small_order_points_are_refused),
		cmocka_unit_test(own_keys_reflected_are_refused),
		cmocka_unit_test(transport_refuses_replay_swap_and_a_foreign_session),
		cmocka_unit_test(session_ends_before_the_last_nonce),
		cmocka_unit_test(payloads_that_do_not_fit_a_message_are_refused),
		cmocka_unit_test(unknown_protocols_and_missing_keys_make_no_state),
	};
	json_t *root;

	if (argc != 2 || sodium_init() < 0 || (root = json_load_file(argv[1], 0, NULL)) == NULL)
		return 2;
	vectors = json_object_get(root, "vectors");
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	json_decref(root);
	return rc;
}
