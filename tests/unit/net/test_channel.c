/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel_world.h"

#include <net/channel_priv.h>

/* ---- handshake ---- */

/* C-02: one round trip. */
static void
right_keys_are_up_after_one_round_trip(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	w.clc.hello = json_pack("{s:i, s:s}", "term", 7, "name", "not me");
	connect_world(&w);
	assert_int_equal(w.a.up, 1);
	assert_int_equal(w.b.up, 1);
	assert_string_equal(channel_peer(w.a.c)->name, "r-x");
	assert_string_equal(channel_peer(w.b.c)->name, "clc");
	assert_int_equal(channel_peer(w.b.c)->role, ROLE_CONTROLLER);
	assert_int_equal(json_integer_value(json_object_get(channel_hello(w.b.c), "term")), 7);
	assert_string_equal(json_string_value(json_object_get(channel_hello(w.b.c), "name")), "clc");
	assert_string_equal(json_string_value(json_object_get(channel_hello(w.a.c), "role")), "peer");
	/* Message 1, message 2 with the responder's hello, the initiator's hello: nothing else. */
	assert_int_equal(buf_head(&w.sent[0])[1], NOISE_IK_MSG1);
	assert_int_equal(buf_head(&w.sent[1])[1], NOISE_IK_MSG2);
	send_text(w.a.c, 5, 0);
	send_text(w.b.c, 6, 0);
	fake_run(&w.f);
	assert_int_equal(w.b.last_len, 5);
	assert_int_equal(w.a.last_len, 6);
	json_decref(w.clc.hello);
	world_fini(&w);
}

/* As many segments as a router may have, of the longest names. */
static void
hello_has_room_for_all_segments(void **state)
{
	json_t *segments = json_object();
	struct world w;

	(void)state;
	for (int i = 0; i < 256; i++) {
		char name[32];

		snprintf(name, sizeof(name), "segment-with-a-name-of-31-ch%03d", i);
		json_object_set_new(segments, name, json_integer(16777215 - i));
	}
	world_init(&w);
	w.clc.hello = w.router.hello = json_pack("{s:o}", "segments", segments);
	connect_world(&w);
	assert_int_equal(w.a.up, 1);
	assert_int_equal(w.b.up, 1);
	assert_true(json_equal(json_object_get(channel_hello(w.a.c), "segments"), segments));
	assert_true(json_equal(json_object_get(channel_hello(w.b.c), "segments"), segments));
	json_decref(w.clc.hello);
	world_fini(&w);
}

static void
one_byte_at_a_time_is_the_same(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	w.f.chunk = 1;
	connect_world(&w);
	send_text(w.a.c, 70000, 0);
	fake_run(&w.f);
	assert_int_equal(w.b.last_len, 70000);
	world_fini(&w);
}

/* C-05: and the text does not tell which. */
static void
right_psk_is_accepted_and_wrong_or_missing_ones_fail_at_message_two(void **state)
{
	static const uint8_t psk[3][2] = {{1, 1}, {1, 2}, {1, 0}};

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct world w;

		world_init(&w);
		w.known_router.psk[0] = psk[i][0];
		w.known_clc.psk[0] = psk[i][1];
		connect_world(&w);
		assert_int_equal(w.a.up, i == 0);
		assert_int_equal(w.b.up, i == 0);
		if (i > 0) {
			assert_non_null(strstr(w.a.why, "another key or psk"));
			assert_int_equal(
				buf_len(&w.sent[0]), 2 + NOISE_IK_MSG1); /* no application data, no hello */
		}
		world_fini(&w);
	}
}

/* C-03: closed after message 1, no reply. */
static void
unknown_key_is_closed_without_a_reply(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	w.known_clc.key[5] ^= 1;
	connect_world(&w);
	assert_int_equal(w.finds, 1);
	assert_int_equal(buf_len(&w.sent[1]), 0);
	assert_int_equal(w.b.down, 1);
	assert_non_null(strstr(w.b.why, "unknown key"));
	assert_int_equal(w.a.down, 1);
	assert_int_equal(w.a.up + w.b.up, 0);
	assert_int_equal(fake_streams(&w.f), 0);
	world_fini(&w);
}

static void
responder_with_another_key_or_name_is_refused(void **state)
{
	struct world w;

	(void)state;
	for (int i = 0; i < 2; i++) {
		world_init(&w);
		if (i == 0)
			key_generate(w.router_key);
		else
			strcpy(w.router.name, "r-y"); /* the prologue */
		connect_world(&w);
		assert_int_equal(w.finds, 0);
		assert_int_equal(buf_len(&w.sent[1]), 0);
		assert_int_equal(w.b.down, 1);
		assert_int_equal(w.a.down, 1);
		world_fini(&w);
	}
}

/* C-06, C-07: the role is the key's, whatever the caller says. */
static void
wrong_role_or_name_of_the_caller_is_refused_at_its_hello(void **state)
{
	struct world w;

	(void)state;
	for (int i = 0; i < 2; i++) {
		world_init(&w);
		if (i == 0)
			w.clc.role = ROLE_PEER;
		else
			strcpy(w.clc.name, "clc2");
		connect_world(&w);
		assert_int_equal(w.b.up, 0);
		assert_int_equal(w.b.down, 1);
		assert_non_null(strstr(w.b.why, i == 0 ? "role" : "name"));
		assert_int_equal(w.a.down, 1);
		world_fini(&w);
	}
}

static void
refused_dial_says_why(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	w.a.c = channel_dial(&w.clc, &w.known_router, "192.0.2.9:1", &ops, &w.a);
	assert_int_equal(channel_send(w.a.c, json_null()), -ENOTCONN);
	fake_run(&w.f);
	assert_int_equal(w.a.down, 1);
	assert_non_null(strstr(w.a.why, "refused"));
	world_fini(&w);
}

/* ---- a stranger with raw bytes ---- */

/* C-14, C-15: as soon as the length is read, and with no memory for what it announces. */
static void
bad_first_lengths_are_refused_before_their_body_comes(void **state)
{
	static const unsigned int lengths[] = {0, 1, 15, 16, 48, 95, 97, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint8_t header[2] = {(uint8_t)(lengths[i] >> 8), (uint8_t)lengths[i]};
		struct stranger x = {0};
		struct world w;

		world_init(&w);
		x.s = env_call(&w.f.env, dial, ADDRESS, &stranger_ops, &x);
		stranger_write(&w, &x, header, 2);
		assert_true(x.closed);
		assert_int_equal(x.got, 0);
		assert_int_equal(w.b.down, 1);
		assert_true(w.b.room < 4096);
		world_fini(&w);
	}
}

/* C-17: one byte a second. */
static void
slow_handshake_is_closed_five_seconds_after_accept_whatever_arrives(void **state)
{
	struct stranger x = {0};
	struct world w;

	(void)state;
	world_init(&w);
	x.s = env_call(&w.f.env, dial, ADDRESS, &stranger_ops, &x);
	stranger_write(&w, &x, "\0\x60", 2);
	for (int i = 0; i < 4; i++) {
		fake_advance(&w.f, 1000);
		stranger_write(&w, &x, "x", 1);
		assert_false(x.closed);
	}
	fake_advance(&w.f, 999);
	assert_false(x.closed);
	fake_advance(&w.f, 1);
	assert_true(x.closed);
	assert_non_null(strstr(w.b.why, "5 s"));
	world_fini(&w);
}

static void
message_one_replayed_gets_nobody_in(void **state)
{
	struct stranger x = {0};
	struct world w;
	uint8_t one[98];

	(void)state;
	world_init(&w);
	connect_world(&w);
	memcpy(one, buf_head(&w.sent[0]), sizeof(one));
	struct end first = w.b;

	memset(&w.b, 0, sizeof(w.b));
	x.s = env_call(&w.f.env, dial, ADDRESS, &stranger_ops, &x);
	stranger_write(&w, &x, one, sizeof(one));
	assert_true(x.got > 0);
	assert_int_equal(w.b.up, 0);
	/* The first session, recorded as a whole, does not fit the second handshake either. */
	stranger_write(&w, &x, buf_head(&w.sent[0]) + sizeof(one), 60);
	fake_advance(&w.f, 5000);
	assert_true(x.closed);
	assert_int_equal(w.b.up, 0);
	assert_null(w.b.c);
	w.b = first;
	world_fini(&w);
}

/* C-11: of the whole session: both messages, hellos, first data, lengths. */
static void
every_flipped_byte_of_a_session_ends_it(void **state)
{
	struct world w;
	size_t total[2];

	(void)state;
	world_init(&w);
	connect_world(&w);
	send_text(w.a.c, 10, 0);
	send_text(w.b.c, 10, 0);
	fake_run(&w.f);
	total[0] = buf_len(&w.sent[0]);
	total[1] = buf_len(&w.sent[1]);
	world_fini(&w);
	for (int d = 0; d < 2; d++) {
		for (size_t at = 0; at < total[d]; at++) {
			world_init(&w);
			w.flip_at[d] = (long)at;
			connect_world(&w);
			if (w.a.up && w.b.up) {
				send_text(w.a.c, 10, 0);
				send_text(w.b.c, 10, 0);
			}
			fake_advance(&w.f, 14000); /* a flipped length waits for bytes that never come */
			assert_int_equal(d == 0 ? w.b.messages : w.a.messages, 0);
			assert_true(w.a.down == 1 && w.b.down == 1);
			world_fini(&w);
		}
	}
}

/* C-16: the sanitizer build of this test counts the memory. */
static void
every_truncation_and_close_gives_all_memory_back(void **state)
{
	struct world w;
	size_t total[2];

	(void)state;
	world_init(&w);
	connect_world(&w);
	send_text(w.a.c, 10, 0);
	total[0] = buf_len(&w.sent[0]);
	total[1] = buf_len(&w.sent[1]);
	world_fini(&w);
	for (int d = 0; d < 2; d++) {
		for (size_t at = 0; at < total[d]; at++) {
			world_init(&w);
			w.cut_at[d] = (long)at;
			connect_world(&w);
			if (w.a.up)
				send_text(w.a.c, 10, 0);
			fake_run(&w.f);
			if (d == 0)
				assert_int_equal(w.b.messages, 0);
			channel_close(w.a.c);
			w.a.c = NULL;
			fake_run(&w.f);
			assert_int_equal(w.b.down, 1);
			assert_int_equal(fake_streams(&w.f), 0);
			world_fini(&w);
		}
	}
}

/* C-10: and the frame has no effect. */
static void
replayed_swapped_or_lost_frames_end_the_session(void **state)
{
	static const enum trick tricks[] = {REPLAY, SWAP, LOSE};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct world w;

		world_init(&w);
		connect_world(&w);
		w.trick = tricks[i];
		send_text(w.a.c, 3, 0);
		send_text(w.a.c, 4, 0);
		fake_run(&w.f);
		assert_int_equal(w.b.messages, tricks[i] == REPLAY);
		assert_int_equal(w.b.down, 1);
		assert_non_null(strstr(w.b.why, "replayed"));
		world_fini(&w);
	}
}

/* ---- messages ---- */

/* C-31: strings of up to 1 MiB. */
static void
large_messages_go_in_parts_and_two_mebibytes_are_refused(void **state)
{
	static const size_t lengths[] = {65500, 65506, 65507, 65508, 65509, 131000, 500000, (1u << 20) - 11};
	struct world w;

	(void)state;
	world_init(&w);
	connect_world(&w);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		send_text(w.a.c, lengths[i], 0);
		fake_run(&w.f);
		assert_int_equal(w.b.last_len, lengths[i]);
	}
	send_text(w.a.c, (1u << 20) - 10, -EMSGSIZE);
	send_text(w.a.c, 2u << 20, -EMSGSIZE);
	send_text(w.a.c, 1, 0);
	fake_run(&w.f);
	assert_int_equal(w.b.last_len, 1);
	assert_int_equal(w.b.down, 0);
	world_fini(&w);
}

static void
queue_of_a_peer_that_does_not_read_is_bounded(void **state)
{
	struct world w;
	json_t *msg;
	char *big = malloc(500001);
	int rc = 0, n = 0;

	(void)state;
	memset(big, 'y', 500000);
	big[500000] = '\0';
	msg = json_pack("{s:s}", "text", big);
	world_init(&w);
	connect_world(&w);
	while (rc == 0 && n++ < 100) /* nobody runs the loop: nothing leaves */
		rc = channel_send(w.a.c, msg);
	assert_int_equal(rc, -ENOSPC);
	assert_in_range(n, ENV_STREAM_QUEUE_MAX / 500000, ENV_STREAM_QUEUE_MAX / 500000 + 1);
	assert_int_equal(channel_send(w.a.c, msg), -ENOTCONN);
	assert_int_equal(w.a.down, 0); /* never from inside the call */
	fake_run(&w.f);
	assert_int_equal(w.a.down, 1);
	json_decref(msg);
	free(big);
	world_fini(&w);
}

/* C-19: the window is 0: heartbeats come from there, and nothing leaves. */
static void
a_peer_that_reads_nothing_is_closed_and_one_that_reads_slowly_is_not(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	connect_world(&w);
	w.f.ops.stream_pause(w.b.c->stream, true);
	w.b.c->heard_by = 0;
	for (int i = 0; i < 10; i++) {
		send_text(w.a.c, 100000, 0);
		fake_advance(&w.f, 4000);
		fake_read(w.b.c->stream, 1000);	       /* a little leaves */
		w.b.c->heard_by = w.b.c->frame_by = 0; /* the reader itself has patience */
	}
	assert_int_equal(w.a.down, 0);
	fake_advance(&w.f, 9999);
	assert_int_equal(w.a.down, 0);
	fake_advance(&w.f, 5001);
	assert_int_equal(w.a.down, 1);
	assert_non_null(strstr(w.a.why, "does not read"));
	world_fini(&w);
}

/* ---- turns ---- */

struct turns {
	struct world *w;
	struct env_timer *other; /* somebody who has something to do each time */
	unsigned int seen, most; /* messages; of one turn */
};

/* Each takes a millisecond. */
static void
slow_message(void *arg, struct channel *c, json_t *msg)
{
	ops.message(arg, c, msg);
	world_of_find->f.now_ms++;
}

static void
turn_of_another(void *arg)
{
	struct turns *t = arg;
	unsigned int n = t->w->b.messages - t->seen;

	t->most = n > t->most ? n : t->most;
	t->seen = t->w->b.messages;
	if (t->seen < 50)
		t->w->f.ops.timer_set(t->other, 0);
}

/* C-19, C-49: what came in one read takes many turns, in order, and goes on by itself. */
static void
others_have_their_turn_between_messages_that_take_long(void **state)
{
	static struct channel_ops slow;
	struct turns t = {0};
	struct world w;

	(void)state;
	world_init(&w);
	connect_world(&w);
	slow = ops;
	slow.message = slow_message;
	channel_set_arg(w.b.c, &slow, &w.b);
	t.w = &w;
	t.other = env_call(&w.f.env, timer_new, turn_of_another, &t);
	w.f.ops.timer_set(t.other, 0);
	for (size_t i = 1; i <= 50; i++)
		send_text(w.a.c, i, 0);
	fake_advance(&w.f, 100);
	assert_int_equal(t.most, 2); /* ms */
	assert_int_equal(w.b.messages, 50);
	assert_int_equal(w.b.last_len, 50);
	assert_int_equal(w.b.down, 0);
	w.f.ops.timer_free(t.other);
	world_fini(&w);
}

static void
closing_inside_a_callback_is_safe(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	connect_world(&w);
	w.b.close_in_message = true;
	send_text(w.a.c, 1, 0);
	send_text(w.a.c, 2, 0);
	fake_run(&w.f);
	assert_int_equal(w.b.messages, 1);
	assert_int_equal(w.b.down, 0);
	assert_int_equal(w.a.down, 1);
	world_fini(&w);
}

/* ---- time ---- */

/* C-52: an idle hour, and then a peer that has vanished. */
static void
idle_session_lives_by_heartbeats_and_dies_after_fifteen_silent_seconds(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	connect_world(&w);
	fake_advance(&w.f, 3600 * 1000);
	assert_int_equal(w.a.down + w.b.down, 0);
	assert_int_equal(w.a.messages + w.b.messages, 0);
	w.cut_at[0] = (long)buf_len(&w.sent[0]); /* the dialler goes deaf and dumb to the other side */
	fake_advance(&w.f, 14999);
	assert_int_equal(w.b.down, 0);
	fake_advance(&w.f, 5000);
	assert_int_equal(w.b.down, 1);
	assert_non_null(strstr(w.b.why, "silent"));
	world_fini(&w);
}

/* C-18: a length, a bit of the body, and nothing more. */
static void
frame_that_is_not_whole_after_ten_seconds_ends_the_session(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	connect_world(&w);
	w.cut_at[0] = (long)buf_len(&w.sent[0]) + 7;
	send_text(w.a.c, 100, 0);
	fake_advance(&w.f, 9999);
	assert_int_equal(w.b.down, 0);
	fake_advance(&w.f, 1);
	assert_int_equal(w.b.down, 1);
	assert_non_null(strstr(w.b.why, "10 s"));
	world_fini(&w);
}

/* C-18: bytes that trickle do not prolong it. */
static void
a_frame_that_trickles_in_is_closed_ten_seconds_after_it_began(void **state)
{
	struct buf rest;
	struct world w;
	long whole;

	(void)state;
	world_init(&w);
	connect_world(&w);
	whole = (long)buf_len(&w.sent[0]);
	w.cut_at[0] = whole; /* what follows is held up, and let through by a byte a second */
	send_text(w.a.c, 100, 0);
	buf_init(&rest, 0);
	buf_append(&rest, buf_head(&w.sent[0]) + whole, buf_len(&w.sent[0]) - (size_t)whole);
	w.cut_at[0] = -1;
	w.a.c->beat_at = 0; /* nothing else comes in between */
	for (int i = 0; i < 10; i++) {
		assert_int_equal(w.b.down, 0);
		w.f.ops.stream_write(w.a.c->stream, buf_head(&rest) + i, 1);
		fake_advance(&w.f, 1000);
	}
	assert_int_equal(w.b.down, 1);
	assert_int_equal(w.b.messages, 0);
	assert_non_null(strstr(w.b.why, "10 s"));
	buf_fini(&rest);
	world_fini(&w);
}

static void
clock_that_jumps_an_hour_fires_each_deadline_once(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	connect_world(&w);
	w.f.now_ms += 3600 * 1000; /* suspended: both sides find the other silent, once */
	fake_run(&w.f);
	assert_int_equal(w.a.down, 1);
	assert_int_equal(w.b.down, 1);
	world_fini(&w);
}

/* ---- seeded mutation ---- */

static void
mutated_encrypted_sessions_never_pass_a_wrong_message(void **state)
{
	struct world w;
	struct buf session;

	(void)state;
	srandom(21);
	for (int i = 0; i < 1000; i++) {
		world_init(&w);
		w.flip_at[random() % 2] = random() % 300;
		if (random() % 4 == 0)
			w.cut_at[random() % 2] = random() % 300;
		if (random() % 4 == 0)
			w.f.chunk = 1 + (size_t)random() % 50;
		connect_world(&w);
		for (int k = 0; k < 3; k++) {
			if (w.a.up && w.a.c != NULL)
				send_text(w.a.c, 7, w.a.down ? -ENOTCONN : 0);
			fake_run(&w.f);
			assert_int_equal(w.b.not_json, 0);
			assert_true(w.b.messages == 0 || w.b.last_len == 7);
		}
		fake_advance(&w.f, 20000);
		world_fini(&w);
	}
	/* Strangers that send pieces of a recorded session. */
	world_init(&w);
	connect_world(&w);
	send_text(w.a.c, 30, 0);
	buf_init(&session, 0);
	buf_append(&session, buf_head(&w.sent[0]), buf_len(&w.sent[0]));
	world_fini(&w);
	for (int i = 0; i < 4000; i++) {
		struct stranger x = {0};
		uint8_t bytes[1024];
		size_t n = buf_len(&session);

		world_init(&w);
		memcpy(bytes, buf_head(&session), n);
		mutate(bytes, &n, sizeof(bytes));
		x.s = env_call(&w.f.env, dial, ADDRESS, &stranger_ops, &x);
		stranger_write(&w, &x, bytes, n);
		fake_advance(&w.f, 5000);
		assert_true(x.closed);
		assert_int_equal(w.b.up, 0);
		world_fini(&w);
	}
	buf_fini(&session);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_keys_are_up_after_one_round_trip),
		cmocka_unit_test(hello_has_room_for_all_segments),
		cmocka_unit_test(one_byte_at_a_time_is_the_same),
		cmocka_unit_test(right_psk_is_accepted_and_wrong_or_missing_ones_fail_at_message_two),
		cmocka_unit_test(unknown_key_is_closed_without_a_reply),
		cmocka_unit_test(responder_with_another_key_or_name_is_refused),
		cmocka_unit_test(wrong_role_or_name_of_the_caller_is_refused_at_its_hello),
		cmocka_unit_test(refused_dial_says_why),
		cmocka_unit_test(bad_first_lengths_are_refused_before_their_body_comes),
		cmocka_unit_test(slow_handshake_is_closed_five_seconds_after_accept_whatever_arrives),
		cmocka_unit_test(message_one_replayed_gets_nobody_in),
		cmocka_unit_test(every_flipped_byte_of_a_session_ends_it),
		cmocka_unit_test(every_truncation_and_close_gives_all_memory_back),
		cmocka_unit_test(replayed_swapped_or_lost_frames_end_the_session),
		cmocka_unit_test(large_messages_go_in_parts_and_two_mebibytes_are_refused),
		cmocka_unit_test(queue_of_a_peer_that_does_not_read_is_bounded),
		cmocka_unit_test(a_peer_that_reads_nothing_is_closed_and_one_that_reads_slowly_is_not),
		cmocka_unit_test(others_have_their_turn_between_messages_that_take_long),
		cmocka_unit_test(closing_inside_a_callback_is_safe),
		cmocka_unit_test(idle_session_lives_by_heartbeats_and_dies_after_fifteen_silent_seconds),
		cmocka_unit_test(frame_that_is_not_whole_after_ten_seconds_ends_the_session),
		cmocka_unit_test(a_frame_that_trickles_in_is_closed_ten_seconds_after_it_began),
		cmocka_unit_test(clock_that_jumps_an_hour_fires_each_deadline_once),
		cmocka_unit_test(mutated_encrypted_sessions_never_pass_a_wrong_message),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
