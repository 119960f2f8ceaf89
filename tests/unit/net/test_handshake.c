/* SPDX-License-Identifier: BSD-3-Clause */
/* The handshake by hand: one end is a real channel, the other a test with a Noise state that says what it likes. */
#include "channel_world.h"

struct hand {
	struct env_stream *s;
	struct noise *n;
	struct buf got;
	const uint8_t *reply; /* what a responder says to message 1, whatever it is */
	size_t reply_len;
	bool closed;
};

static void
hand_nothing(void *arg)
{
	(void)arg;
}

static void
hand_data(void *arg, const uint8_t *p, size_t n)
{
	struct hand *h = arg;

	buf_append(&h->got, p, n);
}

static void
hand_closed(void *arg, const char *why)
{
	(void)why;
	((struct hand *)arg)->closed = true;
}

static const struct env_stream_ops hand_ops = {hand_nothing, hand_data, hand_nothing, hand_closed};

static void
hand_write(struct world *w, struct hand *h, const uint8_t *body, size_t n)
{
	uint8_t framed[2 + 1024] = {(uint8_t)(n >> 8), (uint8_t)n};

	memcpy(framed + 2, body, n);
	if (!h->closed)
		w->f.ops.stream_write(h->s, framed, 2 + n);
	fake_run(&w->f);
}

/* Dials with this prologue and the controller's key, and goes as far as the router lets it: true behind message 2. */
static bool
hand_shake(struct world *w, struct hand *h, const char *prologue)
{
	uint8_t m[NOISE_IK_MSG1 + 16];
	size_t n;

	*h = (struct hand){.n = noise_new(&(struct noise_config){.initiator = true,
				   .prologue = prologue,
				   .prologue_len = strlen(prologue),
				   .static_private = w->clc_key,
				   .remote_static = w->known_router.key})};
	h->s = env_call(&w->f.env, dial, ADDRESS, &hand_ops, h);
	assert_int_equal(noise_write(h->n, NULL, 0, m, &n), 0);
	hand_write(w, h, m, n);
	return buf_len(&h->got) >= 2 + NOISE_IK_MSG2 &&
	       noise_read(h->n, buf_head(&h->got) + 2, NOISE_IK_MSG2, m, &n) == 0;
}

static void
hand_say(struct world *w, struct hand *h, const char *text)
{
	uint8_t plain[512] = {0}, m[1024];
	size_t n;

	memcpy(plain + 1, text, strlen(text));
	assert_int_equal(noise_write(h->n, plain, 1 + strlen(text), m, &n), 0);
	hand_write(w, h, m, n);
}

static void
hand_fini(struct world *w, struct hand *h)
{
	if (!h->closed)
		w->f.ops.stream_close(h->s);
	fake_run(&w->f);
	noise_free(h->n);
	buf_fini(&h->got);
}

/* C-06: the prologue binds version and responder's name, and there is no other one to fall back to. */
static void
another_version_or_responder_in_the_prologue_is_refused(void **state)
{
	static const char *const prologues[] = {"nearway/1 r-x", "nearway/2 r-x", "nearway/0 r-x",
		"nearway/1 r-y", "nearway/1 ", "nearway/1 r-x ", ""};

	(void)state;
	for (size_t i = 0; i < sizeof(prologues) / sizeof(prologues[0]); i++) {
		struct world w;
		struct hand h;

		world_init(&w);
		assert_int_equal(hand_shake(&w, &h, prologues[i]), i == 0);
		assert_int_equal(w.b.down, i != 0);
		assert_int_equal(w.finds, i == 0);
		hand_fini(&w, &h);
		world_fini(&w);
	}
}

/* C-06: name, role and version of the first transport message. */
static void
a_hello_that_is_not_that_of_the_key_is_refused(void **state)
{
	static const char *const hellos[] = {
		"{\"name\":\"clc\",\"role\":\"controller\",\"version\":1}",
		"{\"name\":\"clc\",\"role\":\"controller\",\"version\":1,\"more\":[1,2]}",
		"{\"name\":\"clc\",\"role\":\"controller\",\"version\":2}",
		"{\"name\":\"clc\",\"role\":\"controller\",\"version\":0}",
		"{\"name\":\"clc\",\"role\":\"controller\",\"version\":1.0}",
		"{\"name\":\"clc\",\"role\":\"controller\",\"version\":\"1\"}",
		"{\"name\":\"clc\",\"role\":\"controller\"}",
		"{\"name\":\"clc2\",\"role\":\"controller\",\"version\":1}",
		"{\"name\":\"CLC\",\"role\":\"controller\",\"version\":1}",
		"{\"role\":\"controller\",\"version\":1}",
		"{\"name\":\"clc\",\"role\":\"peer\",\"version\":1}",
		"{\"name\":\"clc\",\"role\":\"observer\",\"version\":1}",
		"{\"name\":\"clc\",\"role\":\"local\",\"version\":1}",
		"{\"name\":\"clc\",\"role\":null,\"version\":1}",
		"{\"name\":\"clc\",\"name\":\"clc\",\"role\":\"controller\",\"version\":1}",
		"[]",
		"{",
		"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(hellos) / sizeof(hellos[0]); i++) {
		struct world w;
		struct hand h;

		world_init(&w);
		assert_true(hand_shake(&w, &h, "nearway/1 r-x"));
		assert_int_equal(w.b.up, 0); /* nothing happens before it has said who it is */
		hand_say(&w, &h, hellos[i]);
		assert_int_equal(w.b.up, i < 2);
		assert_int_equal(w.b.down, i >= 2);
		hand_fini(&w, &h);
		world_fini(&w);
	}
}

static void
hand_accepted(void *arg, struct env_stream *s, const struct env_peer_id *id)
{
	struct hand *h = *(struct hand **)arg;
	struct world *w = world_of_find;

	(void)id;
	h->s = s;
	w->f.ops.stream_attach(s, &hand_ops, h);
	w->f.ops.stream_write(s, h->reply, h->reply_len);
}

/* What the dialler does when the other side answers like this. */
static void
dial_to_hand(struct world *w, struct hand *h)
{
	struct env_listener *l = env_call(&w->f.env, listen, "192.0.2.2:1", hand_accepted, &h, NULL);

	w->a.c = channel_dial(&w->clc, &w->known_router, "192.0.2.2:1", &ops, &w->a);
	fake_run(&w->f);
	assert_int_equal(w->a.up, 0);
	assert_int_equal(w->a.down, 1);
	/* Message 1 and nothing else: no hello, no data. */
	assert_int_equal(buf_len(&h->got), 2 + NOISE_IK_MSG1);
	hand_fini(w, h);
	w->f.ops.listener_close(l);
}

/* C-04: who answers without the pinned key. */
static void
an_answer_by_another_key_ends_it_before_any_data(void **state)
{
	uint8_t garbage[2 + NOISE_IK_MSG2 + 100] = {0, NOISE_IK_MSG2, 9};
	struct hand h = {.reply = garbage, .reply_len = sizeof(garbage)};
	struct world w;

	(void)state;
	world_init(&w);
	dial_to_hand(&w, &h);
	assert_non_null(strstr(w.a.why, "another key or psk"));
	world_fini(&w);
}

/* C-09: with the same keys, recorded a moment before. */
static void
message_two_of_another_session_is_refused(void **state)
{
	uint8_t two[512];
	struct hand h = {.reply = two};
	struct world w;

	(void)state;
	world_init(&w);
	connect_world(&w);
	assert_int_equal(w.a.up, 1);
	h.reply_len = buf_len(&w.sent[1]); /* the hello behind it, too */
	memcpy(two, buf_head(&w.sent[1]), h.reply_len);
	channel_close(w.a.c);
	fake_run(&w.f);
	memset(&w.a, 0, sizeof(w.a));
	dial_to_hand(&w, &h);
	assert_non_null(strstr(w.a.why, "another key or psk"));
	world_fini(&w);
}

/* C-13: an initiator whose message 1 comes back as the answer, and whose hello would. */
static void
own_bytes_reflected_are_refused(void **state)
{
	uint8_t reflected[2 + NOISE_IK_MSG2] = {0, NOISE_IK_MSG2};
	struct hand h = {.reply = reflected, .reply_len = sizeof(reflected)};
	struct world w;

	(void)state;
	world_init(&w);
	connect_world(&w);
	memcpy(reflected + 2, buf_head(&w.sent[0]) + 2, NOISE_IK_MSG2);
	channel_close(w.a.c);
	fake_run(&w.f);
	memset(&w.a, 0, sizeof(w.a));
	dial_to_hand(&w, &h);
	world_fini(&w);
}

static char lines[4096];

static void
keep_line(void *arg, enum log_level level, const char *line)
{
	size_t n = strlen(lines);

	(void)arg;
	(void)level;
	snprintf(lines + n, sizeof(lines) - n, "%s\n", line);
}

/* C-02: what the operator of either side reads. */
static void
both_sides_log_the_others_name_and_the_same_handshake_hash(void **state)
{
	const char *dialler, *responder;
	struct world w;

	(void)state;
	lines[0] = '\0';
	world_init(&w);
	connect_world(&w);
	dialler = strstr(lines, "channel: peer r-x up, " ADDRESS ", handshake ");
	responder = strstr(lines, "channel: controller clc up, fake:");
	assert_non_null(dialler);
	assert_non_null(responder);
	dialler = strstr(dialler, "handshake ");
	responder = strstr(responder, "handshake ");
	assert_memory_equal(dialler, responder, strlen("handshake ") + 16);
	world_fini(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_version_or_responder_in_the_prologue_is_refused),
		cmocka_unit_test(a_hello_that_is_not_that_of_the_key_is_refused),
		cmocka_unit_test(an_answer_by_another_key_ends_it_before_any_data),
		cmocka_unit_test(message_two_of_another_session_is_refused),
		cmocka_unit_test(own_bytes_reflected_are_refused),
		cmocka_unit_test(both_sides_log_the_others_name_and_the_same_handshake_hash),
	};

	log_set_sink(keep_line, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
