/* SPDX-License-Identifier: BSD-3-Clause */
/* The example of docs/controller-protocol.md, byte for byte: the real channel with keys and random numbers that are
 * given. The argument is the document; the test prints what it must hold when it does not. */
#include "channel_world.h"

#include <net/channel_priv.h>

static char example[16384];
static uint8_t next_ephemeral = 0x31;

/* ---- random numbers that are none: the ephemeral keys are 31 31 .. 31, then 32 32 .. 32, and so on ---- */

static const char *
given_name(void)
{
	return "given";
}

static uint32_t
given_random(void)
{
	return 4;
}

static void
given_buf(void *const buf, const size_t size)
{
	memset(buf, size == NOISE_KEY ? next_ephemeral++ : 0, size);
}

static struct randombytes_implementation given = {
	.implementation_name = given_name, .random = given_random, .buf = given_buf};

/* ---- the example's text ---- */

static void
print(const char *format, ...)
{
	size_t n = strlen(example);
	va_list ap;

	va_start(ap, format);
	vsnprintf(example + n, sizeof(example) - n, format, ap);
	va_end(ap);
}

/* 48 bytes a line. */
static void
print_bytes(const char *label, const uint8_t *p, size_t n)
{
	char text[2 * 48 + 1];

	print("%s\n", label);
	for (size_t at = 0; at < n; at += 48)
		print("    %s\n", sodium_bin2hex(text, sizeof(text), p + at, n - at < 48 ? n - at : 48));
}

static void
print_hash(const char *label, const struct channel *c)
{
	uint8_t hash[NOISE_HASH];

	noise_hash(c->noise, hash);
	print_bytes(label, hash, sizeof(hash));
}

/* The next frame of one direction. */
static void
print_frame(const char *label, struct buf *sent)
{
	const uint8_t *p = buf_head(sent);
	size_t n = 2 + ((size_t)p[0] << 8 | p[1]);

	assert_true(buf_len(sent) >= n);
	print_bytes(label, p, n);
	buf_consume(sent, n);
}

static void
fixed_keys(struct world *w)
{
	memset(w->clc_key, 0x11, 32);
	memset(w->router_key, 0x22, 32);
	key_public(w->clc_key, w->known_clc.key);
	key_public(w->router_key, w->known_router.key);
	memset(w->known_clc.psk, 0x33, 32);
	memset(w->known_router.psk, 0x33, 32);
	w->clc.hello = json_pack("{s:i}", "term", 1);
	next_ephemeral = 0x31;
	print_bytes("client's private key", w->clc_key, 32);
	print_bytes("client's public key", w->known_clc.key, 32);
	print_bytes("router's private key", w->router_key, 32);
	print_bytes("router's public key", w->known_router.key, 32);
	print_bytes("psk", w->known_clc.psk, 32);
	print("ephemeral private keys: 31 31 .. 31 (client), 32 .. (router); of the renewal 33 .. and 34 ..\n"
	      "prologue: nearway/1 r-x\n\n");
}

static void
send_status(struct world *w)
{
	json_t *msg = json_pack("{s:s, s:i, s:s}", "jsonrpc", "2.0", "id", 1, "method", "show.status");

	assert_int_equal(channel_send(w->a.c, msg), 0);
	json_decref(msg);
	fake_run(&w->f);
}

static void
the_channel_makes_the_example(void **state)
{
	struct buf *up, *down;
	struct world w;

	(void)state;
	world_init(&w);
	up = &w.sent[0];
	down = &w.sent[1];
	fixed_keys(&w);
	connect_world(&w);
	assert_int_equal(w.a.up + w.b.up, 2);
	print_frame("-> message 1", up);
	print_frame("<- message 2", down);
	print_hash("handshake hash", w.a.c);
	print_frame("<- 00 {\"name\":\"r-x\",\"role\":\"peer\",\"version\":1}", down);
	print_frame("-> 00 {\"name\":\"clc\",\"role\":\"controller\",\"version\":1,\"term\":1}", up);
	secure_beat(w.a.c);
	print_frame("-> heartbeat", up);
	fake_run(&w.f);
	w.f.now_ms += RENEW_PAUSE_MS;
	renewal_start(w.a.c);
	fake_run(&w.f);
	print("\nrenewal; prologue: nearway/1 r-x and the 32 bytes of the handshake hash above\n\n");
	print_frame("-> 02 and message 1", up);
	print_frame("<- 02 and message 2, the router's last frame by the old keys", down);
	print_frame("-> 02, the client's last frame by the old keys", up);
	print_hash("handshake hash", w.a.c);
	send_status(&w);
	print_frame("-> 00 {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"show.status\"}", up);
	secure_beat(w.b.c);
	print_frame("<- heartbeat", down);
	assert_int_equal(w.b.messages, 1);
	json_decref(w.clc.hello);
	world_fini(&w);
}

static void
the_document_shows_the_example(void **state)
{
	char *text = calloc(1, 1u << 20);
	FILE *f = fopen(*state, "r");

	assert_non_null(f);
	assert_true(fread(text, 1, (1u << 20) - 1, f) > 0);
	fclose(f);
	if (strstr(text, example) == NULL) {
		fputs(example, stderr);
		fail_msg("%s must hold what stands above", (char *)*state);
	}
	free(text);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_channel_makes_the_example),
		cmocka_unit_test_prestate(the_document_shows_the_example, argc == 2 ? argv[1] : NULL),
	};

	log_set_level(LOG_ERROR);
	randombytes_set_implementation(&given);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
