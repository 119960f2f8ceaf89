/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys that are renewed inside a channel that is up. */
#include "channel_world.h"

#include <net/channel_priv.h>

static unsigned int renewals;

static void
count_renewals(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	renewals += strstr(line, "has new keys") != NULL;
}

static void
start_world(struct world *w)
{
	world_init(w);
	connect_world(w);
	fake_advance(&w->f, RENEW_PAUSE_MS);
	renewals = 0;
}

/* Both ends have the same keys, and others than before. */
static void
assert_renewed(struct world *w, const uint8_t before[32])
{
	uint8_t a[32], b[32];

	noise_hash(w->a.c->noise, a);
	noise_hash(w->b.c->noise, b);
	assert_memory_equal(a, b, 32);
	assert_memory_not_equal(a, before, 32);
	assert_null(w->a.c->next);
	assert_null(w->b.c->next);
}

/* C-23: by age. */
static void
keys_are_renewed_every_hour_and_the_idle_session_lives_on(void **state)
{
	uint8_t before[32];
	struct world w;

	(void)state;
	start_world(&w);
	noise_hash(w.a.c->noise, before);
	fake_advance(&w.f, RENEW_MS - RENEW_PAUSE_MS - 1);
	assert_int_equal(renewals, 0);
	fake_advance(&w.f, 1);
	assert_int_equal(renewals, 2); /* at both ends */
	assert_renewed(&w, before);
	fake_advance(&w.f, 5 * RENEW_MS);
	assert_int_equal(renewals, 12);
	send_text(w.a.c, 7, 0);
	send_text(w.b.c, 8, 0);
	fake_run(&w.f);
	assert_int_equal(w.b.last_len, 7);
	assert_int_equal(w.a.last_len, 8);
	assert_int_equal(w.a.down + w.b.down, 0);
	world_fini(&w);
}

/* C-23: by volume, of what goes either way. */
static void
a_gibibyte_in_one_direction_renews_the_keys(void **state)
{
	(void)state;
	for (int by_dialler = 0; by_dialler < 2; by_dialler++) {
		struct world w;
		struct channel *from;

		start_world(&w);
		from = by_dialler ? w.a.c : w.b.c;
		from->tx_bytes = RENEW_BYTES - 200;
		(by_dialler ? w.b.c : w.a.c)->rx_bytes = RENEW_BYTES - 200;
		send_text(from, 100, 0);
		fake_run(&w.f);
		assert_int_equal(renewals, 0);
		send_text(from, 100, 0);
		fake_run(&w.f);
		assert_int_equal(renewals, 2);
		assert_true(w.a.c->tx_bytes < 300 && w.b.c->tx_bytes < 300);
		world_fini(&w);
	}
}

static unsigned int sent[2]; /* by the dialler, by the responder */

/* Each message says its number. */
static void
send_number(struct channel *c, size_t padding)
{
	char *pad = calloc(1, padding + 1);
	json_t *msg;

	memset(pad, 'x', padding);
	msg = json_pack("{s:i, s:s}", "n", (int)sent[c->initiator ? 0 : 1]++, "pad", pad);
	assert_int_equal(channel_send(c, msg), 0);
	json_decref(msg);
	free(pad);
}

/* The responder answers at once, so that it writes in the middle of renewals, too. */
static void
check_number(void *arg, struct channel *c, json_t *msg)
{
	struct end *e = arg;

	assert_int_equal(json_integer_value(json_object_get(msg, "n")), e->messages++);
	if (!c->initiator)
		send_number(c, 0);
}

static void
nothing(void *arg, struct channel *c)
{
	(void)arg;
	(void)c;
}

static void
note_down(void *arg, struct channel *c, const char *why)
{
	struct end *e = arg;

	(void)c;
	e->c = NULL;
	e->down++;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static const struct channel_ops numbered = {nothing, check_number, note_down};

/* C-23: both sides write all the time, in parts, too, and what is under way when keys change arrives once and in order. */
static void
no_message_is_lost_or_repeated_while_keys_change(void **state)
{
	struct world w;

	(void)state;
	srandom(23);
	start_world(&w);
	channel_set_arg(w.a.c, &numbered, &w.a);
	channel_set_arg(w.b.c, &numbered, &w.b);
	for (int i = 0; i < 3000; i++) {
		size_t padding = random() % 50 == 0 ? (size_t)random() % 200000 : (size_t)random() % 50;

		w.f.chunk = random() % 3 == 0 ? 1 + (size_t)random() % 90 : 0;
		send_number(random() % 2 == 0 ? w.a.c : w.b.c, padding);
		w.sent[0].tail = w.sent[0].head = w.sent[1].tail = w.sent[1].head = 0;
		if (random() % 10 == 0) { /* due in the middle of things: sometimes behind what waits */
			if (w.a.c->next == NULL)
				w.a.c->tx_bytes = RENEW_BYTES;
			w.f.now_ms += RENEW_PAUSE_MS;
		}
		if (random() % 4 == 0)
			fake_run(&w.f);
		assert_string_equal(w.a.why, "");
		assert_string_equal(w.b.why, "");
	}
	fake_run(&w.f);
	assert_int_equal(w.b.messages, sent[0]);
	assert_int_equal(w.a.messages, sent[1]);
	assert_true(renewals > 300);
	world_fini(&w);
}

static void
what_is_written_before_the_answer_comes_travels_by_the_old_keys(void **state)
{
	struct world w;

	(void)state;
	start_world(&w);
	send_text(w.b.c, 1, 0);
	renewal_start(w.a.c);
	send_text(w.a.c, 2, 0);
	send_text(w.b.c, 3, 0);
	assert_int_equal(renewals, 0);
	fake_run(&w.f);
	assert_int_equal(w.a.messages, 2);
	assert_int_equal(w.b.messages, 1);
	assert_int_equal(renewals, 2);
	world_fini(&w);
}

/* C-23: a client cannot leave it out. */
static void
a_session_that_is_not_renewed_in_time_is_closed(void **state)
{
	struct world w;

	(void)state;
	start_world(&w); /* by age: the dialler forgets */
	w.a.c->renew_at = w.a.c->renewed_by = 0;
	fake_advance(&w.f, RENEW_OVERDUE * RENEW_MS - RENEW_PAUSE_MS - 1);
	assert_int_equal(w.b.down, 0);
	fake_advance(&w.f, 1);
	assert_int_equal(w.b.down, 1);
	assert_non_null(strstr(w.b.why, "not renewed"));
	world_fini(&w);
	start_world(&w); /* by volume */
	w.b.c->rx_bytes = RENEW_OVERDUE * RENEW_BYTES - 100;
	send_text(w.a.c, 100, 0);
	fake_run(&w.f);
	assert_int_equal(w.b.messages, 0);
	assert_int_equal(w.b.down, 1);
	assert_non_null(strstr(w.b.why, "not renewed"));
	world_fini(&w);
}

static void
a_renewal_uses_the_keys_that_are_configured_now(void **state)
{
	struct world w;

	(void)state;
	start_world(&w); /* the dialler has a new key, which the router knows by now */
	key_generate(w.clc_key);
	key_public(w.clc_key, w.known_clc.key);
	renewal_start(w.a.c);
	fake_run(&w.f);
	assert_int_equal(renewals, 2);
	assert_memory_equal(channel_peer(w.b.c)->key, w.known_clc.key, 32);
	world_fini(&w);
	for (int i = 0; i < 4; i++) {
		start_world(&w);
		if (i == 0)
			w.known_clc.key[3] ^= 1; /* it is known no more */
		else if (i == 1)
			key_generate(w.router_key); /* the router has another one than pinned */
		else if (i == 2)
			w.known_clc.psk[0] ^= 1;
		else
			strcpy(w.known_clc.name, "other"); /* the key is somebody else's by now */
		renewal_start(w.a.c);
		fake_run(&w.f);
		assert_int_equal(renewals, 0);
		assert_int_equal(w.a.down, 1);
		assert_int_equal(w.b.down, 1);
		world_fini(&w);
	}
}

/* By the raw keys of one end: what the other does with frames that do not belong there. */
static void
renewal_frames_out_of_turn_end_the_session(void **state)
{
	uint8_t plain[1 + NOISE_IK_MSG1 + 1] = {PLAIN_RENEWAL};
	static const size_t lengths[] = {
		0, 1, NOISE_IK_MSG2, NOISE_IK_MSG1 - 1, NOISE_IK_MSG1, NOISE_IK_MSG1 + 1};

	(void)state;
	for (int by_dialler = 0; by_dialler < 2; by_dialler++) {
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			struct world w;
			struct channel *from;

			start_world(&w);
			from = by_dialler ? w.a.c : w.b.c;
			write_sealed(from, from->noise, plain, 1 + lengths[i]);
			fake_run(&w.f);
			assert_int_equal(renewals, 0);
			assert_int_equal(w.a.down, 1);
			assert_int_equal(w.b.down, 1);
			world_fini(&w);
		}
	}
}

static void
renewals_without_a_pause_are_refused(void **state)
{
	struct world w;

	(void)state;
	start_world(&w);
	renewal_start(w.a.c);
	fake_run(&w.f);
	assert_int_equal(renewals, 2);
	fake_advance(&w.f, RENEW_PAUSE_MS - 1);
	renewal_start(w.a.c);
	fake_run(&w.f);
	assert_int_equal(renewals, 2);
	assert_int_equal(w.b.down, 1);
	world_fini(&w);
}

/* The renewal that one session made does not fit another one of the same two. */
static void
a_renewal_is_bound_to_its_session(void **state)
{
	struct noise *foreign;
	uint8_t message[1 + NOISE_IK_MSG1] = {PLAIN_RENEWAL};
	struct world w;
	size_t n;

	(void)state;
	start_world(&w);
	foreign = noise_new(&(struct noise_config){.initiator = true,
		.prologue = CHANNEL_PROLOGUE "r-x",
		.prologue_len = strlen(CHANNEL_PROLOGUE "r-x"),
		.static_private = w.clc_key,
		.remote_static = w.known_router.key});
	assert_int_equal(noise_write(foreign, NULL, 0, message + 1, &n), 0);
	write_sealed(w.a.c, w.a.c->noise, message, sizeof(message));
	fake_run(&w.f);
	assert_int_equal(w.b.down, 1);
	assert_non_null(strstr(w.b.why, "handshake refused"));
	noise_free(foreign);
	world_fini(&w);
}

/* C-22: the last nonces of a session: it ends, and nothing is written twice under one. */
static void
a_session_that_runs_out_of_nonces_ends(void **state)
{
	struct world w;

	(void)state;
	start_world(&w);
	noise_set_nonces(w.a.c->noise, UINT64_MAX - 2);
	noise_set_nonces(w.b.c->noise, UINT64_MAX - 2);
	send_text(w.a.c, 1, 0);
	send_text(w.a.c, 2, 0);
	send_text(w.a.c, 3, -ENOTCONN);
	fake_run(&w.f);
	assert_int_equal(w.b.messages, 2);
	assert_int_equal(w.a.down, 1);
	assert_non_null(strstr(w.a.why, "nonces"));
	assert_int_equal(w.b.down, 1);
	world_fini(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_renewed_every_hour_and_the_idle_session_lives_on),
		cmocka_unit_test(a_gibibyte_in_one_direction_renews_the_keys),
		cmocka_unit_test(no_message_is_lost_or_repeated_while_keys_change),
		cmocka_unit_test(what_is_written_before_the_answer_comes_travels_by_the_old_keys),
		cmocka_unit_test(a_session_that_is_not_renewed_in_time_is_closed),
		cmocka_unit_test(a_renewal_uses_the_keys_that_are_configured_now),
		cmocka_unit_test(renewal_frames_out_of_turn_end_the_session),
		cmocka_unit_test(renewals_without_a_pause_are_refused),
		cmocka_unit_test(a_renewal_is_bound_to_its_session),
		cmocka_unit_test(a_session_that_runs_out_of_nonces_ends),
	};

	log_set_sink(count_renewals, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
