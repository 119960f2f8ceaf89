/* SPDX-License-Identifier: BSD-3-Clause */
/* Round trips: of one session, of which segments go to the remote and acknowledgements come back; of which VMs, and medians. */
#include "tabtest.h"

#include <dataplane/tables/rtt.h>

#define SLOTS (2 * RTT_VMS)

static struct rtt *table;
static uint32_t now;

static const struct session_key session = {
	.vm = 1, .remote = 2, .vm_port = 3, .remote_port = 4, .vni_proto = 6};

static int
begin(void **state)
{
	(void)state;
	table = rtt_new(SLOTS);
	now = 5000000;
	return table == NULL;
}

static int
end(void **state)
{
	(void)state;
	rtt_free(table);
	return 0;
}

static void
sends_as(const struct session_key *k, uint32_t seq, uint32_t len, bool syn)
{
	const struct rtt_segment s = {.seq = seq, .len = len, .syn = syn};
	uint32_t took;

	assert_false(rtt_pass(table, k, RTT_REMOTE, &s, now, &took));
}

static void
sends(uint32_t seq, uint32_t len)
{
	sends_as(&session, seq, len, false);
}

#define NOTHING UINT32_MAX

/* The time that this acknowledgement tells. */
static uint32_t
acked_as(const struct session_key *k, uint32_t ack)
{
	const struct rtt_segment s = {.ack = ack, .acks = true};
	uint32_t took;

	return rtt_pass(table, k, RTT_VM, &s, now, &took) ? took : NOTHING;
}

static uint32_t
acked(uint32_t ack)
{
	return acked_as(&session, ack);
}

/* A session whose SYN, and no more, was sent. */
static void
opens(uint32_t seq)
{
	sends_as(&session, seq, 1, true);
}

static void
a_segment_takes_until_its_acknowledgement(void **state)
{
	(void)state;
	opens(99);
	now += 40000;
	assert_int_equal(acked(100), 40000);
	assert_int_equal(acked(100), NOTHING); /* once */
	sends(100, 500);
	now += 30000;
	assert_int_equal(acked(600), 30000);
}

static void
both_halves_of_a_session_are_timed_apart(void **state)
{
	struct rtt_segment syn_ack = {.seq = 700, .len = 1, .ack = 100, .acks = true, .syn = true};
	struct rtt_segment ack = {.seq = 100, .ack = 701, .acks = true};
	uint32_t took;

	(void)state;
	opens(99);
	now += 40000;
	assert_true(rtt_pass(table, &session, RTT_VM, &syn_ack, now, &took));
	assert_int_equal(took, 40000);
	now += 300;
	assert_true(rtt_pass(table, &session, RTT_REMOTE, &ack, now, &took));
	assert_int_equal(took, 300);
}

static void
a_segment_that_is_sent_again_tells_nothing(void **state)
{
	(void)state;
	opens(99);
	now += 1000000;
	opens(99);
	now += 10;
	assert_int_equal(acked(100), NOTHING);
	sends(100, 500);
	sends(600, 500);
	now += 1000;
	sends(100, 500); /* a hole: what is behind it waits for it */
	sends(100, 500); /* and once more, though nothing is timed any more */
	now += 10;
	assert_int_equal(acked(600), NOTHING);
	assert_int_equal(acked(1100), NOTHING);
	sends(1100, 10);
	now += 77;
	assert_int_equal(acked(1110), 77);
}

static void
a_later_segment_that_is_sent_again_tells_nothing(void **state)
{
	(void)state;
	opens(99);
	acked(100);
	sends(100, 500);
	sends(600, 500); /* is not timed */
	now += 20;
	assert_int_equal(acked(600), 20);
	sends(600, 500);
	now += 10;
	assert_int_equal(acked(1100), NOTHING);
}

static void
a_segment_cut_anew_that_holds_old_data_tells_nothing(void **state)
{
	(void)state;
	opens(99);
	acked(100);
	sends(100, 500);
	acked(600);
	sends(400, 500);
	now += 10;
	assert_int_equal(acked(900), NOTHING);
	sends(900, 500);
	now += 30;
	assert_int_equal(acked(1400), 30);
}

static void
what_carries_no_data_is_not_timed(void **state)
{
	(void)state;
	opens(99);
	acked(100);
	sends(100, 0);
	now += 10;
	assert_int_equal(acked(100), NOTHING);
}

static void
segments_out_of_order_tell_nothing(void **state)
{
	(void)state;
	opens(99);
	acked(100);
	sends(600, 500);
	sends(100, 500);
	now += 100;
	assert_int_equal(acked(1100), NOTHING);
}

static void
a_delayed_acknowledgement_of_more_tells_nothing(void **state)
{
	(void)state;
	opens(99);
	acked(100);
	sends(100, 500);
	now += 20000;
	sends(600, 500);
	now += 100;
	assert_int_equal(acked(1100), NOTHING);
	sends(1100, 500);
	now += 100;
	assert_int_equal(acked(1600), 100);
}

static void
an_acknowledgement_of_what_was_never_sent_tells_nothing(void **state)
{
	(void)state;
	assert_int_equal(acked(100), NOTHING);
	opens(99);
	acked(100);
	sends(100, 500);
	assert_int_equal(acked(601), NOTHING);
	assert_int_equal(acked(600 + 0x40000000), NOTHING);
	assert_int_equal(acked(99), NOTHING);
	now += 50;
	assert_int_equal(acked(600), 50); /* and takes nothing from the true one */
}

static void
numbers_and_clock_wrap(void **state)
{
	(void)state;
	now = 0x7ffffff0u;
	opens(UINT32_MAX - 10);
	now += 0x20;
	assert_int_equal(acked(UINT32_MAX - 9), 0x20);
	now = UINT32_MAX - 5;
	sends(UINT32_MAX - 9, 100);
	now += 50;
	assert_int_equal(acked(90), 50);
}

static void
the_first_segment_of_a_session_that_goes_on_is_not_timed(void **state)
{
	(void)state;
	sends(100, 500); /* perhaps again */
	now += 10;
	assert_int_equal(acked(600), NOTHING);
	sends(600, 500);
	now += 10;
	assert_int_equal(acked(1100), 10);
}

static void
a_new_session_with_the_same_ends_begins_anew(void **state)
{
	(void)state;
	opens(0x70000000);
	acked(0x70000001);
	opens(99); /* below all numbers of the old one */
	now += 5;
	assert_int_equal(acked(100), 5);
}

static void
what_takes_too_long_is_no_round_trip(void **state)
{
	(void)state;
	opens(99);
	now += RTT_MAX_US + 1;
	assert_int_equal(acked(100), NOTHING);
	sends(100, 500); /* nobody acknowledges it, and it holds up no later one */
	now += RTT_MAX_US + 1;
	sends(600, 500);
	now += 20;
	assert_int_equal(acked(1100), 20);
}

/* Another session whose place in the table is the same, which has just opened. */
static struct session_key
neighbour(void)
{
	struct session_key k = session;

	for (uint32_t i = 5;; i++) {
		assert_true(i < 20 * RTT_SESSIONS); /* one in RTT_SESSIONS is */
		k.remote = i;
		now += RTT_IDLE_US; /* of all that were tried */
		opens(1000 * i);
		sends_as(&k, 99, 1, true);
		if (acked_as(&k, 100) == NOTHING)
			return k;
	}
}

static void
a_place_in_the_table_is_kept_until_it_is_idle(void **state)
{
	struct session_key other = neighbour();

	(void)state;
	opens(99);
	now += 10;
	sends_as(&other, 99, 1, true);
	assert_int_equal(acked_as(&other, 100), NOTHING);
	assert_int_equal(acked(100), 10);
	now += RTT_IDLE_US;
	sends_as(&other, 99, 1, true);
	now += 20;
	assert_int_equal(acked(100), NOTHING);
	assert_int_equal(acked_as(&other, 100), 20);
}

/* Many sessions in few places, each segment acknowledged after its own session's time: nobody is told another's. */
static void
sessions_of_one_place_are_never_mixed_up(void **state)
{
	struct rng rng = {7};
	unsigned int n = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct session_key k = session, other = session;
		uint32_t took;

		k.remote = rng_below(&rng, 16 * RTT_SESSIONS);
		other.remote = rng_below(&rng, 16 * RTT_SESSIONS);
		if (k.remote == other.remote)
			continue;
		sends_as(&k, 99, 1, true);
		now += 3000;
		sends_as(&other, 99, 1, true);
		now += 2000;
		took = acked_as(&k, 100);
		assert_true(took == 5000 || took == NOTHING);
		n += took == 5000;
	}
	assert_true(n > 1000);
}

/* ---- of which VMs ---- */

static void
a_vm_is_timed_from_begin_to_end_and_then_anew(void **state)
{
	uint64_t n;

	(void)state;
	assert_null(rtt_of(table, 7));
	rtt_end(table, 7);
	rtt_begin(table, 7);
	rtt_count(rtt_of(table, 7), RTT_OLD, RTT_VM, 1000);
	rtt_median(rtt_of(table, 7), RTT_OLD, RTT_VM, &n);
	assert_int_equal(n, 1);
	assert_int_equal(rtt_vms(table), 1);
	rtt_begin(table, 7);
	rtt_median(rtt_of(table, 7), RTT_OLD, RTT_VM, &n);
	assert_int_equal(n, 0);
	assert_int_equal(rtt_vms(table), 1);
	rtt_end(table, 7);
	assert_null(rtt_of(table, 7));
	assert_int_equal(rtt_vms(table), 0);
}

static void
vms_for_which_there_is_no_place_get_one_in_their_turn(void **state)
{
	uint64_t n;

	(void)state;
	for (uint32_t slot = 0; slot < RTT_VMS; slot++)
		rtt_begin(table, slot);
	assert_int_equal(rtt_waiting(table), 0);
	for (uint32_t slot = RTT_VMS; slot < RTT_VMS + 3; slot++)
		rtt_begin(table, slot);
	rtt_begin(table, RTT_VMS); /* waits as it did */
	assert_null(rtt_of(table, RTT_VMS));
	assert_int_equal(rtt_waiting(table), 3);
	rtt_begin(table, 3); /* has one */
	assert_non_null(rtt_of(table, 3));
	rtt_count(rtt_of(table, 5), RTT_OLD, RTT_VM, 100);
	rtt_end(table, RTT_VMS + 1);
	rtt_end(table, 5);
	assert_non_null(rtt_of(table, RTT_VMS));
	rtt_median(rtt_of(table, RTT_VMS), RTT_OLD, RTT_VM, &n);
	assert_int_equal(n, 0);
	rtt_end(table, 6);
	assert_null(rtt_of(table, RTT_VMS + 1));
	assert_non_null(rtt_of(table, RTT_VMS + 2));
	assert_int_equal(rtt_vms(table), RTT_VMS);
	assert_int_equal(rtt_waiting(table), 0);
	rtt_end(table, 7);
	assert_int_equal(rtt_vms(table), RTT_VMS - 1);
}

static void
vms_never_share_a_place(void **state)
{
	static bool wanted[SLOTS];
	struct rng rng = {11};
	uint32_t vms = 0, n_wanted = 0;
	uint64_t n;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint32_t slot = rng_below(&rng, SLOTS);

		wanted[slot] = rng_below(&rng, 3) != 0;
		if (!wanted[slot])
			rtt_end(table, slot);
		else
			rtt_begin(table, slot);
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		n_wanted += wanted[slot];
		if (rtt_of(table, slot) != NULL) {
			assert_true(wanted[slot]);
			rtt_count(rtt_of(table, slot), RTT_OLD, RTT_VM, 1);
			vms++;
		}
	}
	assert_int_equal(vms, rtt_vms(table));
	assert_int_equal(
		vms, n_wanted < RTT_VMS ? n_wanted : RTT_VMS); /* no place is free while somebody waits */
	assert_int_equal(rtt_waiting(table), n_wanted - vms);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		if (rtt_of(table, slot) != NULL) {
			rtt_median(rtt_of(table, slot), RTT_OLD, RTT_VM, &n);
			assert_int_equal(n, 1);
		}
}

/* ---- medians ---- */

static struct rtt_times times;

static void
count(uint32_t us, unsigned int n)
{
	while (n-- > 0)
		rtt_count(&times, RTT_NEAR, RTT_REMOTE, us);
}

static uint32_t
median(uint64_t *n)
{
	return rtt_median(&times, RTT_NEAR, RTT_REMOTE, n);
}

static void
a_median_is_right_to_within_an_eighth(void **state)
{
	(void)state;
	for (uint32_t us = 64; us < 1900000; us += us / 7) {
		uint64_t n;

		memset(&times, 0, sizeof(times));
		count(us, 3);
		assert_in_range(median(&n), us - us / 8 - 1, us + us / 8 + 1);
		assert_int_equal(n, 3);
	}
}

static void
a_median_is_that_of_the_middle_of_its_way_and_half(void **state)
{
	uint64_t n;

	(void)state;
	memset(&times, 0, sizeof(times));
	rtt_count(&times, RTT_OLD, RTT_REMOTE, 9);
	rtt_count(&times, RTT_NEAR, RTT_VM, 9);
	assert_int_equal(median(&n), 0);
	assert_int_equal(n, 0);
	count(1000, 5);
	count(40000, 4);
	count(UINT32_MAX, 1); /* the last bucket */
	assert_in_range(median(&n), 875, 1125);
	assert_int_equal(n, 10);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_segment_takes_until_its_acknowledgement),
		T(both_halves_of_a_session_are_timed_apart),
		T(a_segment_that_is_sent_again_tells_nothing),
		T(a_later_segment_that_is_sent_again_tells_nothing),
		T(a_segment_cut_anew_that_holds_old_data_tells_nothing),
		T(what_carries_no_data_is_not_timed),
		T(segments_out_of_order_tell_nothing),
		T(a_delayed_acknowledgement_of_more_tells_nothing),
		T(an_acknowledgement_of_what_was_never_sent_tells_nothing),
		T(numbers_and_clock_wrap),
		T(the_first_segment_of_a_session_that_goes_on_is_not_timed),
		T(a_new_session_with_the_same_ends_begins_anew),
		T(what_takes_too_long_is_no_round_trip),
		T(a_place_in_the_table_is_kept_until_it_is_idle),
		T(sessions_of_one_place_are_never_mixed_up),
		T(a_vm_is_timed_from_begin_to_end_and_then_anew),
		T(vms_for_which_there_is_no_place_get_one_in_their_turn),
		T(vms_never_share_a_place),
		T(a_median_is_right_to_within_an_eighth),
		T(a_median_is_that_of_the_middle_of_its_way_and_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
