/* SPDX-License-Identifier: BSD-3-Clause */
/* What it costs two routers to agree, how they find where they do not, and a peer that does not answer. */
#include "control.h"

#include <time.h>

static json_t *
peer_row(struct node *r, unsigned int peer)
{
	json_t *v = get(r, "show.peers", "{}"), *row = json_array_get(json_object_get(v, "rows"), peer);

	json_incref(row);
	json_decref(v);
	return row;
}

static bool
agrees(struct node *r, unsigned int peer)
{
	json_t *row = peer_row(r, peer);
	bool yes = json_is_true(json_object_get(row, "agrees"));

	json_decref(row);
	return yes;
}

/* ---- lists of sums ---- */

static size_t
differences(const uint64_t sums[DIGEST_FAN], json_t *list)
{
	uint8_t differ[DIGEST_FAN];
	size_t n;

	assert_true(digest_well_formed(list));
	n = digest_compare(sums, list, differ);
	json_decref(list);
	return n;
}

static void
a_list_of_sums_says_how_many_are_zero(void **state)
{
	struct world *w = world_new(3, 1);
	uint64_t sums[DIGEST_FAN] = {0};
	json_t *v = digest_json(sums);

	(void)state;
	assert_int_equal(json_array_size(v), 1);
	assert_int_equal(json_integer_value(json_array_get(v, 0)), -256);
	assert_int_equal(differences(sums, v), 0);
	for (int round = 0; round < 1000; round++) {
		size_t i = world_random(w, DIGEST_FAN);

		sums[i] = sums[i] ? 0 : (world_random(w, INT64_MAX) + 1) | UINT64_C(1) << 63;
		assert_int_equal(differences(sums, digest_json(sums)), 0);
		v = digest_json(sums);
		sums[i] ^= 5;
		assert_int_equal(differences(sums, v), 1);
		sums[i] ^= 5;
	}
	world_free(w);
}

static void
a_list_that_is_not_of_256_sums_is_refused(void **state)
{
	static const char *const bad[] = {"[]", "{}", "[-255]", "[-257]", "[-256, 0]", "[0, -256]",
		"[-1, -256]", "[-256, -1]", "[-9223372036854775808]", "[-256.0]", "[\"-256\"]"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *v = json_loads(bad[i], 0, NULL);

		assert_non_null(v);
		assert_false(digest_well_formed(v));
		json_decref(v);
	}
	assert_false(digest_well_formed(NULL));
}

/* ---- what it costs ---- */

static unsigned int asked_sums, asked_other;

static json_t *
count_sums(const char *method, const json_t *params)
{
	bool sums = strcmp(method, "sync.sums") == 0 && !json_object_get(params, "branches");

	asked_sums += sums;
	asked_other += !sums && strcmp(method, "sync.mine") != 0;
	return sums ? sums_answer(0) : json_object();
}

static void
routers_that_agree_exchange_one_question_a_minute(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *k;

	(void)state;
	asked_sums = asked_other = 0;
	node_start(a);
	world_run(w, 100);
	k = caller_with(
		b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100), count_sums);
	world_run(w, 1000);
	assert_int_equal(asked_sums, 1); /* at once */
	world_run(w, 20 * 60000);
	assert_true(asked_sums >= 1 + 16 && asked_sums <= 1 + 27);
	assert_int_equal(asked_other, 0);
	assert_true(agrees(a, 0));
	caller_free(k);
	world_free(w);
}

/* Who was away a minute asks for what changed, not for all. */
static void
few_changes_among_many_vms_cost_little(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	uint64_t all, few;

	(void)state;
	world_cut(w, 0, 1, true);
	world_run(w, 20000);
	vm_many(a, "vm.register", 0, 8000, 1);
	world_cut(w, 0, 1, false);
	all = w->sent;
	world_run(w, 70000);
	all = w->sent - all;
	assert_agreed(w, 2);
	world_cut(w, 0, 1, true);
	world_run(w, 20000);
	vm_many(a, "vm.unregister", 100, 110, 2);
	world_cut(w, 0, 1, false);
	few = w->sent;
	world_run(w, 70000);
	few = w->sent - few;
	assert_int_equal(model_count(b), 7990);
	assert_agreed(w, 2);
	assert_true(agrees(a, 0) && agrees(b, 0));
	if (few > all / 10)
		fail_msg("10 changes of 8,000 VMs cost %" PRIu64 " bytes, all of them %" PRIu64, few, all);
	world_free(w);
}

/* ---- sums that follow every change ---- */

static void
same_sums(const struct digest *a, const struct digest *b)
{
	assert_memory_equal(a->branch, b->branch, sizeof(a->branch));
	for (unsigned int i = 0; i < DIGEST_FAN; i++)
		assert_memory_equal(digest_leaves(a, (uint8_t)i), digest_leaves(b, (uint8_t)i),
			DIGEST_FAN * sizeof(uint64_t));
}

static void
sums_are_right(struct node *r)
{
	struct digest mine, theirs;

	for (size_t i = 0; i < r->core->n_peers; i++) {
		struct peer *p = &r->core->peers[i];

		mine = *p->mine; /* with its leaves */
		theirs = *p->theirs;
		memset(p->mine, 0, sizeof(mine));
		memset(p->theirs, 0, sizeof(theirs));
		digest_shared(p); /* made anew */
		same_sums(&mine, p->mine);
		same_sums(&theirs, p->theirs);
		digest_clear(&mine);
		digest_clear(&theirs);
	}
}

static void
sums_follow_changes_refusals_and_restarts(void **state)
{
	struct world *w = routers(3);

	(void)state;
	for (int i = 0; i < 1500; i++) {
		struct node *r = world_router(w, (unsigned int)world_random(w, 3));
		unsigned int n = (unsigned int)world_random(w, 30), by = r->index;

		r->commits_to_fail = world_random(w, 10) == 0;
		switch (world_random(w, 4)) {
		case 0:
			vm_register(r, n, 0, vm_global(by, n));
			break;
		case 1:
			vm_unregister(r, n, 0);
			break;
		default:
			vm_move(r, n, 0, vm_global(by, n), 1000, 2000);
		}
		if (i % 100 == 99) {
			node_crash(r);
			node_start(r);
			world_run(w, 3000);
		}
		if (i % 10 == 0)
			sums_are_right(r);
	}
	world_run(w, 200000);
	assert_agreed(w, 3);
	for (unsigned int i = 0; i < 3; i++) {
		sums_are_right(world_router(w, i));
		assert_true(agrees(world_router(w, i), 0) && agrees(world_router(w, i), 1));
	}
	world_free(w);
}

/* The same VM has the same leaf and hash at routers whose files list segments and peers in another order. */
static void
routers_whose_files_differ_in_order_agree(void **state)
{
	struct world *w = world_new(1, 3);
	struct conf_segment *s = world_router(w, 1)->conf.segments.items, first = s[0];
	struct conf_peer *p = world_router(w, 2)->conf.peers.items, lower = p[0];

	(void)state;
	s[0] = s[1];
	s[1] = first;
	p[0] = p[1];
	p[1] = lower;
	for (unsigned int i = 0; i < 3; i++)
		node_start(world_router(w, i));
	world_run(w, 6000);
	for (unsigned int n = 0; n < 10; n++)
		assert_int_equal(vm_register(world_router(w, n % 3), n, 0, vm_global(n % 3, n)), 0);
	world_run(w, 100000);
	for (unsigned int i = 0; i < 3; i++)
		for (unsigned int peer = 0; peer < 2; peer++)
			assert_true(agrees(world_router(w, i), peer));
	world_free(w);
}

/* ---- a difference that stays ---- */

static void
a_difference_that_stays_is_shown_and_an_alarm(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *row;

	(void)state;
	b->conf.limits.vms = 3;
	vm_many(a, "vm.register", 0, 5, 1);
	world_run(w, 70000);
	assert_false(agrees(b, 0));
	assert_false(agrees(a, 0)); /* either side sees it */
	row = peer_row(b, 0);
	assert_int_equal(json_integer_value(json_object_get(row, "differing")), 2);
	json_decref(row);
	assert_false(logged("are not the same here and there")); /* not yet */
	world_run(w, 200000);
	assert_true(logged("ALARM: peer r-a: 2 of its VMs are not the same here and there"));
	b->conf.limits.vms = 10;
	world_run(w, 130000);
	assert_true(agrees(a, 0) && agrees(b, 0));
	row = peer_row(b, 0);
	assert_int_equal(json_integer_value(json_object_get(row, "differing")), 0);
	json_decref(row);
	world_free(w);
}

/* ---- a peer that does not answer ---- */

static void
a_peer_that_does_not_answer_is_cut_off_and_asked_again(void **state)
{
	struct world *w = world_new(1, 3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1), *c = world_router(w, 2);
	struct caller *k;

	(void)state;
	node_start(a);
	node_start(c);
	world_run(w, 6000);
	k = caller_new(b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	assert_true(k->up);
	k->silent = true;
	rpc_notify(k->rpc, "sync.again", json_object());
	world_run(w, 29000);
	assert_false(k->down);
	assert_int_equal(vm_register(c, 1, 0, vm_global(2, 1)), 0);
	world_run(w, 2000);
	assert_true(k->down);
	assert_true(logged("ALARM: peer r-b: it does not answer"));
	assert_non_null(fwd_at(a, 1)); /* the others are heard all the time */
	caller_free(k);
	node_start(b);
	world_run(w, 130000);
	assert_agreed(w, 3);
	world_free(w);
}

/* ---- questions without end ---- */

static json_t *
flood(unsigned int from)
{
	json_t *vms = json_array();

	for (unsigned int n = from; n < from + 1000; n++) {
		struct mac mac = vm_mac(n);
		char m[MAC_TEXT], p[IP4_TEXT];

		json_array_append_new(vms, json_pack("{s:s, s:s, s:s, s:i, s:[{s:s}]}", "segment", "tenant-a",
						   "mac", mac_format(&mac, m), "owner", "r-b", "epoch", 1,
						   "addresses", "private", ip4_format(vm_private(n), p)));
	}
	return json_pack("{s:o}", "vms", vms);
}

static void
count_answer(void *arg, int code, json_t *v)
{
	unsigned int *n = arg; /* answered, refused */

	(void)v;
	assert_true(code == 0 || code == RPC_LIMIT);
	n[code != 0]++;
}

/* C-19: what waits for one commit is answered in one turn, for which everybody else waits: a few, and of the rest it is told. */
static void
questions_of_a_peer_that_wait_are_few(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	unsigned int n[2] = {0};
	struct caller *k;

	(void)state;
	node_start(a);
	world_run(w, 3000);
	k = caller_new(b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	for (int round = 1; round <= 2; round++) {
		rpc_notify(k->rpc, "sync.update", flood(0));
		for (int i = 0; i < 100; i++)
			rpc_call(k->rpc, "sync.sums", json_object(), count_answer, n);
		world_run(w, 1000);
		assert_int_equal(n[0], 4 * round);
		assert_int_equal(n[1], 96 * round);
	}
	assert_int_equal(caller_call(k, "sync.sums", json_object()), 0);
	caller_free(k);
	world_free(w);
}

/* ---- claims without end ---- */

/* C-81: 1,000 changes a second of one VM by a peer: its newest word counts, and the store is written by groups. */
static void
a_vm_that_flaps_ends_with_its_newest_epoch(void **state)
{
	struct world *w = world_new(1, 2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	struct caller *k;
	uint64_t rows;

	(void)state;
	node_start(a);
	world_run(w, 3000);
	k = caller_new(b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	rows = a->n_rows;
	for (int epoch = 1; epoch <= 5000; epoch++) {
		rpc_notify(k->rpc, "sync.update",
			json_pack("{s:[{s:s, s:s, s:s, s:i, s:[{s:s}]}]}", "vms", "segment", "tenant-a",
				"mac", "52:54:00:00:00:01", "owner", "r-b", "epoch", epoch, "addresses",
				"private", "10.0.0.6"));
		world_run(w, 1);
	}
	world_run(w, 100);
	assert_int_equal(vm_at(a, 1)->now.epoch, 5000);
	assert_true(a->n_rows - rows < 5000);
	assert_false(logged("ALARM"));
	caller_free(k);
	world_free(w);
}

/* C-81: 1,000 messages of 1,000 claims, as fast as a peer can: what waits is bounded, and so is what is taken. */
static void
a_flood_of_claims_is_bounded(void **state)
{
	struct world *w = world_new(1, 3);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	size_t most = 0;
	struct caller *k;

	(void)state;
	a->conf.limits.vms = 20000;
	node_start(a);
	world_run(w, 100);
	k = caller_new(b, "r-b", ROLE_PEER, a, json_pack("{s:{s:i}}", "segments", "tenant-a", 100));
	for (unsigned int n = 0; n < 200000; n += 1000) {
		rpc_notify(k->rpc, "sync.update", flood(n));
		if (n % 20000 == 0) /* 20 messages at once */
			world_run(w, 2);
		if (a->core->peers[0].claims_wait > most)
			most = a->core->peers[0].claims_wait;
	}
	world_run(w, 5000);
	assert_true(most > 1000 && most <= 8000);
	assert_true(a->core->n_live <= 20000);
	assert_int_equal(a->core->peers[0].claims_wait, 0);
	assert_true(logged("it sends more than is taken"));
	assert_true(k->calls > 1); /* and it is asked for its newest word */
	assert_true(model_is_true(a));
	caller_free(k);
	world_free(w);
}

/* What an honest peer has on its way when it is in the greatest hurry is below that bound. */
static void
an_honest_burst_is_not_refused(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);

	(void)state;
	for (unsigned int n = 0; n < 12000; n += 3000)
		vm_many(a, "vm.register", n, n + 3000, 1);
	world_run(w, 5000);
	assert_int_equal(model_count(b), 12000);
	assert_false(logged("it sends more than is taken"));
	world_free(w);
}

/* ---- figures ---- */

static double
cpu_ms(struct world *w, uint64_t ms)
{
	clock_t began = clock();

	world_run(w, ms);
	return (double)(clock() - began) * 1000 / CLOCKS_PER_SEC;
}

static void
figures_of_an_exchange(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	const char *asked = getenv("NEARWAY_VMS"); /* docs/performance.md has the figures of 100000 */
	unsigned int n = asked ? (unsigned int)atoi(asked) : 8000;
	double all, same, some;
	uint64_t sent;

	(void)state;
	a->conf.limits.vms = b->conf.limits.vms = n;
	node_crash(b);
	vm_many(a, "vm.register", 0, n, 1);
	node_start(b);
	all = cpu_ms(w, 30000);
	assert_agreed(w, 2);
	world_reset(w, 0, 1);
	sent = w->sent;
	same = cpu_ms(w, 5000);
	sent = w->sent - sent;
	assert_true(agrees(a, 0) && agrees(b, 0));
	printf("%u VMs: all %.0f ms of CPU; equal %.1f ms, %" PRIu64 " bytes", n, all, same, sent);
	world_cut(w, 0, 1, true);
	world_run(w, 20000);
	vm_many(a, "vm.unregister", 5000, 6000, 2);
	world_cut(w, 0, 1, false);
	sent = w->sent;
	some = cpu_ms(w, 70000);
	sent = w->sent - sent;
	assert_agreed(w, 2);
	printf("; 1,000 that differ %.0f ms, %" PRIu64 " bytes, both sides\n", some, sent);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(a_list_of_sums_says_how_many_are_zero),
		T(a_list_that_is_not_of_256_sums_is_refused),
		T(routers_that_agree_exchange_one_question_a_minute),
		T(few_changes_among_many_vms_cost_little),
		T(sums_follow_changes_refusals_and_restarts),
		T(routers_whose_files_differ_in_order_agree),
		T(a_difference_that_stays_is_shown_and_an_alarm),
		T(a_peer_that_does_not_answer_is_cut_off_and_asked_again),
		T(questions_of_a_peer_that_wait_are_few),
		T(a_vm_that_flaps_ends_with_its_newest_epoch),
		T(a_flood_of_claims_is_bounded),
		T(an_honest_burst_is_not_refused),
		T(figures_of_an_exchange),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
