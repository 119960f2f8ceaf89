/* SPDX-License-Identifier: BSD-3-Clause */
/* Round trips of a VM's TCP sessions, as its owner sees them: 10.0.0.5:1000 <-> 192.0.2.10:80. */
#include "ways.h"

#include <rte_tcp.h>

/* Variants of a frame override a part of it. */
#pragma GCC diagnostic ignored "-Woverride-init"

#define SYN	RTE_TCP_SYN_FLAG
#define SYN_ACK (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)
#define OUT	.dst = USER, .sport = 1000, .dport = 80
#define IN	.src = USER, .sport = 80, .dport = 1000

static const struct rtt_times *
times(void)
{
	return rtt_of(net.tables.rtt, vm_get(SEG1, MAC_VM(5))->slot);
}

/* What is counted in this half and way, and within which times. */
static void
expect_trips(enum rtt_way way, enum rtt_half half, uint64_t n, uint32_t ms)
{
	uint64_t is;
	uint32_t median;

	assert_non_null(times());
	median = rtt_median(times(), way, half, &is);
	assert_int_equal(is, n);
	assert_in_range(median, ms * 875, ms * 1125);
}

static void
about_to_leave(uint8_t n)
{
	struct vm_rec r = *vm_get(SEG1, MAC_VM(n));

	r.flags = (r.flags & 0xff) | VM_REC_NOTES;
	vm_put(&r);
}

/* A session that the VM opens by the live address: 40 ms to the remote, 2 ms to the VM. */
static void
opens_near(void)
{
#define NEAR_SYN     .flags = SYN, .seq = 9, .empty = true
#define NEAR_SYN_ACK .flags = SYN_ACK, .seq = 99, .ack = 10, .empty = true
#define NEAR_ACK     .seq = 10, .ack = 100, .empty = true
	burst(DC0, tcp(BY_VM(5), OUT, NEAR_SYN));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), OUT, ROUTED, NEAR_SYN));
	net_advance(40);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5), NEAR_SYN_ACK));
	expect_frame(DC0, tcp(TO_VM(5), IN, ROUTED, NEAR_SYN_ACK));
	net_advance(2);
	burst(DC0, tcp(BY_VM(5), OUT, NEAR_ACK));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), OUT, ROUTED, NEAR_ACK));
}

/* A session of before goes on, by its home at R_Y: 80 ms to the remote. */
static void
goes_on(void)
{
#define OLD_FIRST  .seq = 100, .ack = 500
#define OLD_SECOND .seq = 108, .ack = 500
#define OLD_ACK	   .seq = 500, .ack = 116, .empty = true
	burst(DC0, tcp(BY_VM(5), OUT, OLD_FIRST), tcp(BY_VM(5), OUT, OLD_SECOND));
	expect_tunnel(R_Y, SEG1, tcp(BY_VM(5), OUT, OLD_FIRST));
	expect_tunnel(R_Y, SEG1, tcp(BY_VM(5), OUT, OLD_SECOND));
	net_advance(80);
	burst(WAN0,
		from_tunnel(R_Y, SEG1,
			tcp(.smac = MAC_RY, .dmac = MAC_VM(5), IN, .dst = PRIVATE(5), .ttl = 63, OLD_ACK)));
	expect_frame(DC0, tcp(TO_VM(5), IN, .ttl = 63, OLD_ACK));
}

static void
new_router_times_sessions_by_the_live_address_as_near(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	opens_near();
	expect_trips(RTT_NEAR, RTT_REMOTE, 1, 40);
	expect_trips(RTT_NEAR, RTT_VM, 1, 2);
	expect_trips(RTT_OLD, RTT_REMOTE, 0, 0);
	expect_trips(RTT_OLD, RTT_VM, 0, 0);
}

static void
new_router_times_sessions_by_an_old_address_apart(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	goes_on();
	expect_trips(RTT_OLD, RTT_REMOTE, 1, 80);
	expect_trips(RTT_NEAR, RTT_REMOTE, 0, 0);
}

static void
old_router_times_sessions_of_a_vm_that_is_about_to_leave(void **state)
{
	(void)state;
	vm_here(5);
	about_to_leave(5);
	opens_near();
	expect_trips(RTT_NEAR, RTT_REMOTE, 1, 40);
	expect_trips(RTT_NEAR, RTT_VM, 1, 2);
}

/* Packets that leave by fours: the first segment of each way is timed, until it is acknowledged alone. */
static void
segments_of_one_burst_are_timed_together(void **state)
{
#define DATA(n) .seq = 10 + 8 * (n), .ack = 100
#define ACK(n)	.seq = 100 + 8 * (n), .ack = 18 + 8 * (n)
	(void)state;
	vm_moved_here(5, R_Y);
	opens_near();
	burst(DC0, tcp(BY_VM(5), OUT, DATA(0)), tcp(BY_VM(5), OUT, DATA(1)), tcp(BY_VM(5), OUT, DATA(2)),
		tcp(BY_VM(5), OUT, DATA(3)));
	for (uint32_t n = 0; n < 4; n++)
		expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), OUT, ROUTED, DATA(n)));
	net_advance(40);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5), ACK(0)), tcp(BY_ISP, IN, .dst = GLOBAL(5), ACK(1)),
		tcp(BY_ISP, IN, .dst = GLOBAL(5), ACK(2)), tcp(BY_ISP, IN, .dst = GLOBAL(5), ACK(3)));
	for (uint32_t n = 0; n < 4; n++)
		expect_frame(DC0, tcp(TO_VM(5), IN, ROUTED, ACK(n)));
	expect_trips(RTT_NEAR, RTT_REMOTE, 2, 40);
	net_advance(2);
	burst(DC0, tcp(BY_VM(5), OUT, .seq = 42, .ack = 108, .empty = true));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), OUT, ROUTED, .seq = 42, .ack = 108, .empty = true));
	expect_trips(RTT_NEAR, RTT_VM, 2, 2);
}

/* Data of the remote comes through the tunnel, and the VM acknowledges it back into it. The first segment of a session may have been sent
 * before: it is not timed. */
static void
sessions_by_a_peer_s_address_are_timed_apart_both_ways(void **state)
{
#define OLD_DATA(n)  .seq = 500 + 8 * (n), .ack = 116
#define OLD_ACKED(n) .seq = 116, .ack = 508 + 8 * (n), .empty = true
	(void)state;
	vm_moved_here(5, R_Y);
	goes_on();
	for (uint32_t n = 0; n < 2; n++) {
		burst(WAN0, from_tunnel(R_Y, SEG1,
				    tcp(.smac = MAC_RY, .dmac = MAC_VM(5), IN, .dst = PRIVATE(5), .ttl = 63,
					    OLD_DATA(n))));
		expect_frame(DC0, tcp(TO_VM(5), IN, .ttl = 63, OLD_DATA(n)));
		net_advance(2);
		burst(DC0, tcp(BY_VM(5), OUT, OLD_ACKED(n)));
		expect_tunnel(R_Y, SEG1, tcp(BY_VM(5), OUT, OLD_ACKED(n)));
	}
	expect_trips(RTT_OLD, RTT_VM, 1, 2);
	expect_trips(RTT_NEAR, RTT_VM, 0, 0);
}

/* Of two addresses of ours one drains. */
static void
sessions_by_an_old_address_of_our_own_are_timed_apart(void **state)
{
#define HERE_IN(n)  .seq = 500 + 8 * (n), .ack = 100 + 8 * (n)
#define HERE_OUT(n) .seq = 100 + 8 * (n), .ack = 508 + 8 * (n)
	(void)state;
	vm_with_old(5, GLOBAL(6));
	for (uint32_t n = 0; n < 3; n++) {
		burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(6), HERE_IN(n)));
		expect_frame(DC0, tcp(TO_VM(5), IN, ROUTED, HERE_IN(n)));
		net_advance(2);
		burst(DC0, tcp(BY_VM(5), OUT, HERE_OUT(n)));
		expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(6), OUT, ROUTED, HERE_OUT(n)));
		net_advance(40);
	}
	expect_trips(RTT_OLD, RTT_VM, 2, 2);
	expect_trips(RTT_OLD, RTT_REMOTE, 1, 40);
	expect_trips(RTT_NEAR, RTT_VM, 0, 0);
	expect_trips(RTT_NEAR, RTT_REMOTE, 0, 0);
}

static void
nothing_is_timed_of_a_vm_that_stays(void **state)
{
	(void)state;
	vm_here(5);
	opens_near();
	assert_null(times());
}

static void
nothing_is_timed_where_the_vm_was(void **state)
{
	(void)state;
	vm_here(5);
	about_to_leave(5);
	assert_non_null(times());
	vm_moved_away(5, R_Y);
	assert_null(times());
}

static void
what_is_timed_begins_anew_when_the_vm_comes_back(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	opens_near();
	vm_here(5);
	assert_null(times());
	vm_moved_here(5, R_Y);
	expect_trips(RTT_NEAR, RTT_REMOTE, 0, 0);
}

static void
nothing_is_timed_of_resets_fragments_and_headers_that_are_not_whole(void **state)
{
#define ANSWER(...) .dst = GLOBAL(5), .seq = 99, .ack = 10, ##__VA_ARGS__
	struct frame cut = tcp(BY_ISP, IN, ANSWER(.flags = SYN_ACK, .empty = true));

	(void)state;
	vm_moved_here(5, R_Y);
	burst(DC0, tcp(BY_VM(5), OUT, NEAR_SYN));
	expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), OUT, ROUTED, NEAR_SYN));
	cut.b[14 + 20 + 12] = 15 << 4; /* options that are not there */
	frame_checksums(&cut);
	burst(WAN0, cut, tcp(BY_ISP, IN, ANSWER(.flags = RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG)),
		tcp(BY_ISP, IN, ANSWER(.frag = RTE_IPV4_HDR_MF_FLAG)));
	net_forget();
	expect_trips(RTT_NEAR, RTT_REMOTE, 0, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(new_router_times_sessions_by_the_live_address_as_near),
		net_test(new_router_times_sessions_by_an_old_address_apart),
		net_test(old_router_times_sessions_of_a_vm_that_is_about_to_leave),
		net_test(segments_of_one_burst_are_timed_together),
		net_test(sessions_by_a_peer_s_address_are_timed_apart_both_ways),
		net_test(sessions_by_an_old_address_of_our_own_are_timed_apart),
		net_test(nothing_is_timed_of_a_vm_that_stays),
		net_test(nothing_is_timed_where_the_vm_was),
		net_test(what_is_timed_begins_anew_when_the_vm_comes_back),
		net_test(nothing_is_timed_of_resets_fragments_and_headers_that_are_not_whole),
	};

	return net_main(tests);
}
