/* SPDX-License-Identifier: BSD-3-Clause */
/* Who dials whom, when, and which session stays. */
#include "control.h"

/* ---- strangers ---- */

/* C-03: one counter, and a line a second at most. */
static void
strangers_are_counted_and_told_of_once_a_second(void **state)
{
	struct world *w = routers(1);
	struct node *a = world_router(w, 0), stranger = *world_controller(w);

	(void)state;
	memset(stranger.private_key, 99, 32);
	for (int i = 0; i < 10; i++) {
		struct caller *k = caller_new(&stranger, "clc", ROLE_CONTROLLER, a, NULL);

		assert_false(k->up);
		caller_free(k);
	}
	world_run(w, 2000);
	assert_int_equal(a->core->strangers, 10);
	assert_in_range(logged_times("unknown key"), 1, 3); /* in a little more than a second */
	world_free(w);
}

/* ---- one session of two ---- */

static unsigned int
up_with(struct node *n)
{
	unsigned int up = 0;
	struct session *s;

	DL_FOREACH(n->core->sessions, s)
	up += s->rpc != NULL && s->role == ROLE_PEER;
	return up;
}

/* C-25: the old session goes when the new one is up, and not a step before. */
static void
a_new_session_replaces_the_old_one_after_its_first_message(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct session *first;
	uint64_t until;

	(void)state;
	node_start(a);
	node_start(b);
	world_run(w, 6000);
	first = a->core->peers[0].session;
	assert_non_null(first);
	node_lose_power(b); /* to a it looks alive */
	node_start(b);	    /* which dials, as it has not asked a yet */
	until = w->now + 5000;
	while (a->core->peers[0].session == first && world_step(w, until))
		;
	assert_true(w->now < until);
	assert_non_null(a->core->peers[0].session); /* from the old one to the new one in one step */
	assert_non_null(a->core->peers[0].session->rpc);
	assert_int_equal(up_with(a), 1);
	world_free(w);
}

/* ---- back-off ---- */

static const struct env_ops *real_ops;
static uint64_t dialled[1000];
static unsigned int n_dialled;

static struct env_stream *
count_dial(void *ctx, const char *address, const struct env_stream_ops *ops, void *arg)
{
	struct node *n = ctx;

	if (n_dialled < 1000)
		dialled[n_dialled++] = n->w->now;
	return real_ops->dial(ctx, address, ops, arg);
}

/* C-50, C-04: how long a router waits before it dials again, whether its peer is down or has not the key that it knows. */
static void
a_dialler_backs_off_with_full_jitter_up_to_a_minute(void **state)
{
	uint64_t earliest = UINT64_MAX, latest = 0; /* the fourth dial */

	(void)state;
	for (unsigned int seed = 0; seed < 20; seed++) {
		struct world *w = world_new(seed + 1, 2);
		struct node *a = world_router(w, 0);
		struct env_ops ops = *a->env.ops;
		uint64_t bound = 1000;

		real_ops = a->env.ops;
		ops.dial = count_dial;
		a->env.ops = &ops;
		n_dialled = 0;
		if (seed % 2) {
			list_at(a->conf.peers, struct conf_peer, 0)->key[0] ^= 1;
			node_start(world_router(w, 1));
		}
		node_start(a);
		world_run(w, 20 * 60 * 1000);
		assert_in_range(n_dialled, 20, 60); /* 40 times half a minute, by chance */
		for (unsigned int i = 1; i < n_dialled; i++) {
			assert_true(
				dialled[i] - dialled[i - 1] <= bound + 100 + 100); /* and the refusal's way */
			bound = 2 * bound < 60000 ? 2 * bound : 60000;
		}
		earliest = dialled[3] < earliest ? dialled[3] : earliest;
		latest = dialled[3] > latest ? dialled[3] : latest;
		world_free(w);
	}
	assert_true(latest - earliest > 2000); /* 20 of them are not in step */
}

/* C-50: a router that restarts, and a thousand peers that have all noticed. */
static void
a_router_takes_no_more_than_its_rate_of_all_who_come_back_at_once(void **state)
{
	static struct {
		uint64_t next, backoff;
		bool in;
	} dialler[1000];
	unsigned int in = 0, second[200] = {0};
	static const uint8_t key[GATE_KEY] = {1};
	static struct gate g;
	uint64_t now;

	(void)state;
	srandom(50);
	gate_init(&g, key);
	for (unsigned int i = 0; i < 1000; i++) {
		dialler[i].backoff = 1000;
		dialler[i].next = 100 + (uint64_t)random() % 1000;
	}
	for (now = 0; in < 1000 && now < 200000; now++) {
		for (unsigned int i = 0; i < 1000; i++) {
			char from[32];

			if (dialler[i].in || dialler[i].next != now)
				continue;
			snprintf(from, sizeof(from), "10.0.%u.%u:40000", i / 250, i % 250);
			dialler[i].in = gate_admit(&g, now, from);
			second[now / 1000] += dialler[i].in;
			in += dialler[i].in;
			dialler[i].backoff = 2 * dialler[i].backoff < 60000 ? 2 * dialler[i].backoff : 60000;
			dialler[i].next = now + 100 + (uint64_t)random() % dialler[i].backoff;
		}
	}
	assert_int_equal(in, 1000);
	assert_true(now < 30000);
	for (unsigned int i = 0; i < 200; i++)
		assert_true(second[i] <= GATE_ALL_RATE + (i < 3 ? GATE_ALL_BURST : 1));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup(name, control_setup)
	const struct CMUnitTest tests[] = {
		T(strangers_are_counted_and_told_of_once_a_second),
		T(a_new_session_replaces_the_old_one_after_its_first_message),
		T(a_dialler_backs_off_with_full_jitter_up_to_a_minute),
		T(a_router_takes_no_more_than_its_rate_of_all_who_come_back_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
