/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel_world.h"

static void
plain_accepted(void *arg, struct env_stream *s, const struct env_peer_id *id)
{
	struct world *w = arg;

	w->b.c = channel_plain_accept(&w->f.env, s, id, &ops, &w->b);
}

static void
plain_world(struct world *w, struct stranger *x)
{
	world_init(w);
	w->f.ops.listener_close(w->listener);
	w->listener = env_call(&w->f.env, listen, "unix:/x", plain_accepted, w, NULL);
	x->s = env_call(&w->f.env, dial, "unix:/x", &stranger_ops, x);
	fake_run(&w->f);
	assert_int_equal(w->b.up, 1);
}

static void
plain_write(struct world *w, struct stranger *x, const char *text)
{
	size_t len = strlen(text);
	uint8_t header[4] = {0, (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};

	stranger_write(w, x, header, 4);
	stranger_write(w, x, text, len);
}

static void
plain_channel_talks_both_ways_and_is_local(void **state)
{
	struct stranger x = {0};
	struct world w;

	(void)state;
	plain_world(&w, &x);
	assert_int_equal(channel_peer(w.b.c)->role, ROLE_LOCAL);
	plain_write(&w, &x, "{\"text\":\"hello\"}");
	assert_int_equal(w.b.last_len, 5);
	send_text(w.b.c, 3, 0);
	fake_run(&w.f);
	assert_int_equal(x.got, 4 + strlen("{\"text\":\"xxx\"}"));
	fake_advance(&w.f, 3600 * 1000);
	assert_int_equal(w.b.down, 0);
	world_fini(&w);
}

static void
plain_lengths_of_zero_and_above_one_mebibyte_are_refused(void **state)
{
	static const uint8_t bad[][4] = {{0, 0, 0, 0}, {0, 0x10, 0, 1}, {0xff, 0xff, 0xff, 0xff}};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct stranger x = {0};
		struct world w;

		plain_world(&w, &x);
		stranger_write(&w, &x, bad[i], 4);
		assert_true(x.closed);
		assert_int_equal(w.b.down, 1);
		world_fini(&w);
	}
}

static void
plain_channel_that_is_dialled_comes_up_when_connected(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	w.f.ops.listener_close(w.listener);
	w.listener = env_call(&w.f.env, listen, "unix:/x", plain_accepted, &w, NULL);
	w.a.c = channel_plain_accept(
		&w.f.env, env_call(&w.f.env, dial, "unix:/x", &stranger_ops, NULL), NULL, &ops, &w.a);
	fake_run(&w.f);
	assert_int_equal(w.a.up, 1);
	assert_int_equal(w.b.up, 1);
	send_text(w.a.c, 4, 0);
	fake_run(&w.f);
	assert_int_equal(w.b.last_len, 4);
	world_fini(&w);
}

/* C-31: and the channel lives on. */
static void
text_that_is_not_strict_json_arrives_as_null(void **state)
{
	static const char *const bad[] = {"{", "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}", "{\"a\":1} x",
		"{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":1e999}",
		"{\"a\":18446744073709551616}", "{\"a\":9223372036854775808}", "{\"a\":NaN}", "{\"a\":01}",
		"\xef\xbb\xbf{}", "{\"a\":1}{}", "'a'", "{\"a\":\"\\", "\\\"",
		"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]"};
	struct stranger x = {0};
	struct world w;
	char *deep = malloc(20001);

	(void)state;
	plain_world(&w, &x);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		plain_write(&w, &x, bad[i]);
		assert_int_equal(w.b.not_json, i + 1);
	}
	memset(deep, '[', 10000);
	memset(deep + 10000, ']', 10000);
	deep[20000] = '\0';
	w.b.not_json = 0;
	plain_write(&w, &x, deep);
	assert_int_equal(w.b.not_json, 1);
	plain_write(&w, &x,
		"[[[[[[[[[[[[[[[[\"[[\\\"[\"]]]]]]]]]]]]]]]]"); /* 16 levels and brackets in a string */
	plain_write(&w, &x, "{\"a\":-0}");
	assert_int_equal(w.b.not_json, 1);
	assert_int_equal(w.b.down, 0);
	free(deep);
	world_fini(&w);
}

/* ---- seeded mutation ---- */

static void
mutated_plain_frames_end_in_messages_or_a_close(void **state)
{
	static const char text[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.move\",\"params\":{\"a\":["
				   "1,\"\\u00e9\",-2.5e3]}}";
	unsigned int messages = 0, downs = 0;
	uint8_t bytes[1024];

	(void)state;
	srandom(20);
	for (int i = 0; i < 20000; i++) {
		struct stranger x = {0};
		struct world w;
		size_t n = 0;

		plain_world(&w, &x);
		w.f.chunk = random() % 4 == 0 ? 1 + (size_t)random() % 9 : 0;
		for (int k = 0; k < 3; k++) {
			memcpy(bytes + n, "\0\0\0", 3);
			bytes[n + 3] = sizeof(text) - 1;
			memcpy(bytes + n + 4, text, sizeof(text) - 1);
			n += sizeof(text) + 3;
		}
		mutate(bytes, &n, sizeof(bytes));
		stranger_write(&w, &x, bytes, n);
		fake_advance(&w.f, 10000);
		messages += w.b.messages;
		downs += w.b.down;
		world_fini(&w);
	}
	assert_true(messages > 20000 && messages < 60000);
	assert_true(downs > 1000 && downs < 20000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_channel_talks_both_ways_and_is_local),
		cmocka_unit_test(plain_lengths_of_zero_and_above_one_mebibyte_are_refused),
		cmocka_unit_test(plain_channel_that_is_dialled_comes_up_when_connected),
		cmocka_unit_test(text_that_is_not_strict_json_arrives_as_null),
		cmocka_unit_test(mutated_plain_frames_end_in_messages_or_a_close),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
