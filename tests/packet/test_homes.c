/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions of VMs that drain: which global address each uses, seen from the new router, the old one and a third.
 *
 *   vm_moved_here(5, R_Y)   we own the VM: GLOBAL(5) lives here, GLOBAL_Y(5) drains at R_Y   = the new router
 *   vm_moved_away(5, R_Y)   R_Y owns it: GLOBAL_Y(5) lives there, GLOBAL(5) drains here      = the old router
 *   vm_chain(...)           several drains
 */
#include "ways.h"

#include <rte_tcp.h>

/* Variants of a frame override a part of it. */
#pragma GCC diagnostic ignored "-Woverride-init"

#define SYN	RTE_TCP_SYN_FLAG
#define ACK	RTE_TCP_ACK_FLAG
#define FIN_ACK (RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG)
#define RST	RTE_TCP_RST_FLAG
#define GRE	47

/* The same session in all tests, 10.0.0.5:1000 <-> 192.0.2.10:80, seen from both ends. */
#define OUT		    .dst = USER, .sport = 1000, .dport = 80
#define IN		    .src = USER, .sport = 80, .dport = 1000
#define KEY_IS(proto, home) assert_int_equal(net_home(proto, PRIVATE(5), 1000, USER, 80), home)

/* A frame of the VM as it is carried to a router; and what a home's router sends to the VM through the tunnel. */
#define CARRIED(kind, ...)	  kind(BY_VM(5), OUT, ##__VA_ARGS__)
#define BY_RY(...)		  .smac = MAC_RY, .dmac = MAC_VM(5), .dst = PRIVATE(5), IN, ##__VA_ARGS__
#define BY_RZ(...)		  .smac = MAC_RZ, .dmac = MAC_VM(5), .dst = PRIVATE(5), IN, ##__VA_ARGS__
#define LEAVES(kind, global, ...) expect_frame(WAN0, kind(TO_ISP, .src = global, OUT, ROUTED, ##__VA_ARGS__))
#define REACHES(kind, ...)	  expect_frame(DC0, kind(TO_VM(5), IN, ##__VA_ARGS__))

static void
vm_chain(uint8_t owner, uint8_t n_drains, const struct vm_rec_drain *drains)
{
	struct vm_rec r = {.mac = MAC_VM(5),
		.seg = SEG1,
		.owner = owner,
		.location = owner,
		.att = owner == R_X ? ATT_1 : ATT_ANY,
		.n_addresses = 1,
		.n_drains = n_drains,
		.addresses = {{PRIVATE(5), owner == R_X	  ? GLOBAL(5)
					   : owner == R_Y ? GLOBAL_Y(5)
							  : GLOBAL_Z(5)}}};

	memcpy(r.drains, drains, n_drains * sizeof(*drains));
	vm_put(&r);
}
#define chain(owner, ...)                                                                                 \
	vm_chain(owner, sizeof((const struct vm_rec_drain[]){__VA_ARGS__}) / sizeof(struct vm_rec_drain), \
		(const struct vm_rec_drain[]){__VA_ARGS__})
#define DRAIN_X                                                    \
	{                                                          \
		.ip = PRIVATE(5), .global = GLOBAL(5), .home = R_X \
	}
#define DRAIN_Y                                                      \
	{                                                            \
		.ip = PRIVATE(5), .global = GLOBAL_Y(5), .home = R_Y \
	}
#define DRAIN_Z                                                      \
	{                                                            \
		.ip = PRIVATE(5), .global = GLOBAL_Z(5), .home = R_Z \
	}

/* ---- the new router: what the VM sends ---- */

static void
new_router_sends_a_session_that_the_vm_opens_by_the_live_address(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
	LEAVES(tcp, GLOBAL(5), .flags = SYN);
	KEY_IS(IPPROTO_TCP, GLOBAL(5));
	burst(DC0, tcp(BY_VM(5), OUT));
	LEAVES(tcp, GLOBAL(5));
}

static void
new_router_carries_tcp_that_it_does_not_know_to_the_oldest_home(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp)); /* unchanged: the home takes the TTL */
	KEY_IS(IPPROTO_TCP, GLOBAL_Y(5));
}

#define DIRECT(drain)                                                                            \
	{                                                                                        \
		.ip = PRIVATE(5), .global = GLOBAL_##drain(5), .home = R_##drain, .direct = true \
	}

static void
new_router_sends_old_sessions_itself_by_their_old_address_where_that_is_direct(void **state)
{
	(void)state;
	chain(R_X, DIRECT(Y), DRAIN_Z);
	burst(DC0, tcp(BY_VM(5), OUT));
	LEAVES(tcp, GLOBAL_Y(5));
	KEY_IS(IPPROTO_TCP, GLOBAL_Y(5));
	burst(DC0, tcp(BY_VM(5), .dst = USER, .sport = 1001, .dport = 80, .flags = SYN));
	expect_frame(WAN0,
		tcp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1001, .dport = 80, .flags = SYN, ROUTED));
	burst(WAN0, from_tunnel(R_Z, SEG1, udp(BY_RZ(.ttl = 63)))); /* of the home that is not direct */
	REACHES(udp, .ttl = 63);
	burst(DC0, udp(BY_VM(5), OUT));
	expect_tunnel(R_Z, SEG1, CARRIED(udp));
}

static void
who_does_not_own_the_vm_sends_nothing_direct(void **state)
{
	(void)state;
	chain(R_Z, DIRECT(Y), DRAIN_X);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
}

static void
new_router_sends_others_that_it_does_not_know_by_the_live_address(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(DC0, udp(BY_VM(5), OUT), ip(BY_VM(5), .dst = USER, .proto = GRE));
	LEAVES(udp, GLOBAL(5));
	expect_frame(WAN0, ip(TO_ISP, .src = GLOBAL(5), .dst = USER, .proto = GRE, ROUTED));
	KEY_IS(IPPROTO_UDP, GLOBAL(5));
	assert_int_equal(net_home(GRE, PRIVATE(5), 0, USER, 0), GLOBAL(5));
}

static void
new_router_carries_a_session_noted_from_its_home_to_it(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_RY(.ttl = 63))));
	REACHES(udp, .ttl = 63);
	KEY_IS(IPPROTO_UDP, GLOBAL_Y(5));
	burst(DC0, udp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(udp));
}

static void
new_router_carries_an_echo_reply_to_the_home_of_its_request(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1,
			    echo_request(.smac = MAC_RY, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5),
				    .sport = 7, .dport = 1)));
	expect_frame(DC0, echo_request(TO_VM(5), .src = USER, .sport = 7, .dport = 1));
	burst(DC0, echo_reply(BY_VM(5), .dst = USER, .sport = 7, .dport = 1),
		echo_request(BY_VM(5), .dst = USER, .sport = 8, .dport = 1));
	expect_frame(
		WAN0, echo_request(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 8, .dport = 1, ROUTED));
	expect_tunnel(R_Y, SEG1, echo_reply(BY_VM(5), .dst = USER, .sport = 7, .dport = 1));
}

static void
new_router_answers_a_session_that_the_user_opens_by_the_live_address(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5), .flags = SYN));
	REACHES(tcp, .flags = SYN, ROUTED);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN | ACK));
	LEAVES(tcp, GLOBAL(5), .flags = SYN | ACK);
}

static void
new_router_answers_a_session_that_the_user_opens_by_the_old_address_there(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY(.flags = SYN))));
	REACHES(tcp, .flags = SYN);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN | ACK));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp, .flags = SYN | ACK));
}

static void
new_router_delivers_what_is_inside_whatever_drains(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(DC0, echo_request(BY_VM(5), .dst = GW, .sport = 1, .dport = 2));
	expect_frame(DC0, echo_reply(.smac = MAC_GW, .dmac = MAC_VM(5), .src = GW, .dst = PRIVATE(5),
				  .sport = 1, .dport = 2));
	vm(.mac = MAC_VM(6), .seg = SEG2, .att = ATT_2, .n_addresses = 1,
		.addresses = {{IP(10, 0, 2, 6), 0}});
	burst(DC0, tcp(BY_VM(5), .dst = IP(10, 0, 2, 6), .sport = 1, .dport = 2));
	expect_frame(DC0, tcp(.smac = MAC_GW, .dmac = MAC_VM(6), .vlan = VLAN_2, .src = PRIVATE(5),
				  .dst = IP(10, 0, 2, 6), .sport = 1, .dport = 2, ROUTED));
}

static void
address_of_a_draining_vm_that_does_not_drain_uses_its_live_global(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .att = ATT_1, .n_addresses = 2,
		.addresses = {{PRIVATE(5), GLOBAL(5)}, {PRIVATE(50), GLOBAL(50)}}, .n_drains = 1,
		.drains = {DRAIN_Y});
	burst(DC0, tcp(.smac = MAC_VM(5), .dmac = MAC_GW, .src = PRIVATE(50), OUT));
	LEAVES(tcp, GLOBAL(50));
	assert_int_equal(net_home(IPPROTO_TCP, PRIVATE(50), 1000, USER, 80), 0);
}

static void
draining_vm_without_live_address_opens_nothing(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .att = ATT_1, .n_addresses = 1, .addresses = {{PRIVATE(5), 0}}, .n_drains = 1,
		.drains = {DRAIN_Y});
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
	expect_drop(DROP_NAT_NO_GLOBAL, 1);
	KEY_IS(IPPROTO_TCP, 0);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
}

static void
full_table_makes_a_session_old_from_its_syn_on(void **state)
{
	uint32_t full = 0;

	(void)state;
	vm_moved_here(5, R_Y);
	net_note_sessions(5, 60000);
	for (uint16_t port = 1; port < 2000 && full == 0; port++) {
		burst(DC0, tcp(BY_VM(5), .dst = IP(192, 0, 2, 99), .sport = port, .dport = 80, .flags = SYN));
		full = net.w->c.sessions_full != 0 ? port : 0;
		if (full == 0)
			expect_frame(WAN0, tcp(TO_ISP, .src = GLOBAL(5), .dst = IP(192, 0, 2, 99),
						   .sport = port, .dport = 80, .flags = SYN, ROUTED));
	}
	assert_int_not_equal(full, 0);
	expect_tunnel(R_Y, SEG1,
		tcp(BY_VM(5), .dst = IP(192, 0, 2, 99), .sport = (uint16_t)full, .dport = 80, .flags = SYN));
	burst(DC0, tcp(BY_VM(5), .dst = IP(192, 0, 2, 99), .sport = (uint16_t)full, .dport = 80));
	expect_tunnel(
		R_Y, SEG1, tcp(BY_VM(5), .dst = IP(192, 0, 2, 99), .sport = (uint16_t)full, .dport = 80));
}

/* ---- the new router: evidence ---- */

static void
first_evidence_of_a_tcp_sessions_home_wins(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
	LEAVES(tcp, GLOBAL(5), .flags = SYN);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY())));
	expect_drop(DROP_HOME_CONFLICT, 1);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY(.flags = SYN))));
	expect_drop(DROP_HOME_CONFLICT, 1);
	KEY_IS(IPPROTO_TCP, GLOBAL(5));
}

static void
tcp_by_the_live_address_that_contradicts_its_home_is_dropped(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY())));
	REACHES(tcp);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5)));
	expect_drop(DROP_HOME_CONFLICT, 1);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5), .flags = RST)); /* nor does it end the session */
	expect_drop(DROP_HOME_CONFLICT, 1);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5), .flags = SYN));
	expect_drop(DROP_SESSION_CLASH, 1);
	KEY_IS(IPPROTO_TCP, GLOBAL_Y(5));
}

static void
unknown_tcp_by_the_live_address_passes_and_creates_nothing(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5)));
	REACHES(tcp, ROUTED);
	KEY_IS(IPPROTO_TCP, 0);
}

static void
latest_inbound_decides_the_home_of_udp(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, udp(BY_ISP, IN, .dst = GLOBAL(5)));
	REACHES(udp, ROUTED);
	KEY_IS(IPPROTO_UDP, GLOBAL(5));
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_RY())));
	REACHES(udp);
	KEY_IS(IPPROTO_UDP, GLOBAL_Y(5));
	burst(WAN0, udp(BY_ISP, IN, .dst = GLOBAL(5)));
	REACHES(udp, ROUTED);
	KEY_IS(IPPROTO_UDP, GLOBAL(5));
}

/* R_Y has not heard yet that VM 5 is ours, and relays what comes from where it was before. */
static void
relayed_packet_tells_the_home_of_the_router_that_routed_it(void **state)
{
	(void)state;
	chain(R_X, DRAIN_Z, DRAIN_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_RZ())), from_tunnel(R_Y, SEG1, tcp(BY_RZ())));
	REACHES(udp);
	REACHES(tcp);
	KEY_IS(IPPROTO_UDP, GLOBAL_Z(5));
	KEY_IS(IPPROTO_TCP, GLOBAL_Z(5));
	burst(WAN0, from_tunnel(R_Z, SEG1, tcp(BY_RZ())));
	REACHES(tcp);
}

static void
vm_may_not_open_a_session_twice_by_two_addresses(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY())));
	REACHES(tcp);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
	expect_drop(DROP_SESSION_CLASH, 1);
	KEY_IS(IPPROTO_TCP, GLOBAL_Y(5));
}

static void
repeated_syn_goes_where_the_first_one_went(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	for (int i = 0; i < 3; i++) {
		burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
		LEAVES(tcp, GLOBAL(5), .flags = SYN);
	}
}

static void
session_that_ended_leaves_its_ports_to_a_new_one(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY(.flags = FIN_ACK))));
	REACHES(tcp, .flags = FIN_ACK);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = FIN_ACK));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp, .flags = FIN_ACK));
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
	LEAVES(tcp, GLOBAL(5), .flags = SYN);
	burst(DC0, tcp(BY_VM(5), OUT));
	LEAVES(tcp, GLOBAL(5));
	KEY_IS(IPPROTO_TCP, GLOBAL(5));
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5),
			    .flags = RST)); /* ends this one: the user may come by the old address */
	REACHES(tcp, .flags = RST, ROUTED);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY(.flags = SYN))));
	REACHES(tcp, .flags = SYN);
	KEY_IS(IPPROTO_TCP, GLOBAL_Y(5));
}

static void
session_whose_home_is_gone_follows_the_rule_anew(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY())));
	REACHES(tcp);
	chain(R_X, DRAIN_Z); /* Y's address is done, before its sessions are swept */
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Z, SEG1, CARRIED(tcp));
	KEY_IS(IPPROTO_TCP, GLOBAL_Z(5));
	chain(R_X, DRAIN_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY())));
	REACHES(tcp);
	KEY_IS(IPPROTO_TCP, GLOBAL_Y(5));
}

static void
routed_frame_of_a_peer_where_nothing_drains_tells_nothing(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Z, SEG1, tcp(BY_RZ())));
	REACHES(tcp);
	KEY_IS(IPPROTO_TCP, 0);
}

/* ---- ICMP errors and fragments ---- */

static void
icmp_error_of_the_vm_follows_the_session_it_quotes(void **state)
{
	struct frame old = udp(.src = USER, .dst = PRIVATE(5), .sport = 80, .dport = 1000);
	struct frame tcp_old = cut_to(tcp(.src = USER, .dst = PRIVATE(5), .sport = 80, .dport = 1000), 28);
	struct frame unknown = udp(.src = USER, .dst = PRIVATE(5), .sport = 81, .dport = 1000);
	struct frame unknown_out = udp(.src = USER, .dst = GLOBAL(5), .sport = 81, .dport = 1000);

	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_RY())));
	REACHES(udp);
	burst(DC0, icmp(BY_VM(5), .dst = USER, .icmp_type = 3, .icmp_code = 3, QUOTE(&old)),
		icmp(BY_VM(5), .dst = USER, .icmp_type = 3, .icmp_code = 3, QUOTE(&tcp_old)),
		icmp(BY_VM(5), .dst = USER, .icmp_type = 3, .icmp_code = 3, QUOTE(&unknown)));
	/* wan0 sends what is translated here before what the tunnel wraps */
	expect_frame(WAN0, icmp(TO_ISP, .src = GLOBAL(5), .dst = USER, .icmp_type = 3, .icmp_code = 3,
				   QUOTE(&unknown_out), ROUTED));
	expect_tunnel(R_Y, SEG1, icmp(BY_VM(5), .dst = USER, .icmp_type = 3, .icmp_code = 3, QUOTE(&old)));
	expect_tunnel(
		R_Y, SEG1, icmp(BY_VM(5), .dst = USER, .icmp_type = 3, .icmp_code = 3, QUOTE(&tcp_old)));
	KEY_IS(IPPROTO_TCP, 0); /* an error notes nothing */
	assert_int_equal(net_home(IPPROTO_UDP, PRIVATE(5), 1000, USER, 81), 0);
}

static void
icmp_error_that_arrives_notes_nothing_and_passes(void **state)
{
	struct frame outside = udp(.src = GLOBAL(5), .dst = USER, .sport = 1000, .dport = 80);
	struct frame inside = udp(.src = PRIVATE(5), .dst = USER, .sport = 1000, .dport = 80);

	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(5), .icmp_type = 3, QUOTE(&outside)));
	expect_frame(DC0, icmp(TO_VM(5), .src = ISP, .icmp_type = 3, QUOTE(&inside), ROUTED));
	KEY_IS(IPPROTO_UDP, 0);
}

static void
fragments_follow_the_first_one(void **state)
{
	struct frame old = udp(BY_VM(5), OUT, .id = 7, .size = 200),
		     new = udp(BY_VM(5), OUT, .id = 8, .sport = 1001, .size = 200);
	struct frame out = udp(TO_ISP, .src = GLOBAL(5), OUT, .id = 8, .sport = 1001, .size = 200, ROUTED);

	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_RY())));
	REACHES(udp);
	burst(DC0, fragment_of(&old, 0, 104, false), fragment_of(&old, 104, 104, true),
		fragment_of(&new, 0, 104, false), fragment_of(&new, 104, 104, true));
	expect_frame(WAN0, fragment_of(&out, 0, 104, false));
	expect_frame(WAN0, fragment_of(&out, 104, 104, true));
	expect_tunnel(R_Y, SEG1, fragment_of(&old, 0, 104, false));
	expect_tunnel(R_Y, SEG1, fragment_of(&old, 104, 104, true));
}

static void
fragments_that_overtake_their_first_one_wait_for_it(void **state)
{
	struct frame old = udp(BY_VM(5), OUT, .id = 7, .size = 400), other = udp(BY_VM(5), OUT, .id = 9);

	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_RY())));
	REACHES(udp);
	burst(DC0, fragment_of(&old, 208, 200, true), fragment_of(&old, 104, 104, false));
	expect_nothing();
	burst(DC0, udp(BY_VM(5), OUT, .sport = 1001));
	LEAVES(udp, GLOBAL(5), .sport = 1001);
	burst(DC0, other, fragment_of(&old, 0, 104, false));
	expect_tunnel(R_Y, SEG1, other);
	expect_tunnel(R_Y, SEG1, fragment_of(&old, 0, 104, false));
	expect_tunnel(R_Y, SEG1, fragment_of(&old, 208, 200, true));
	expect_tunnel(R_Y, SEG1, fragment_of(&old, 104, 104, false));
	assert_int_equal(net.w->n_hold, 0);
}

/* At an owner the fragment may have come through the tunnel: it goes on as if it came just now. */
static void
carried_fragments_wait_for_their_first_one_too(void **state)
{
	struct frame new = udp(BY_VM(5), OUT, .id = 7, .size = 200);
	struct frame out = udp(TO_ISP, .src = GLOBAL(5), OUT, .id = 7, .size = 200, ROUTED);

	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Z, SEG1, fragment_of(&new, 104, 104, true)));
	expect_nothing();
	burst(WAN0, from_tunnel(R_Z, SEG1, fragment_of(&new, 0, 104, false)));
	expect_frame(WAN0, fragment_of(&out, 0, 104, false));
	expect_frame(WAN0, fragment_of(&out, 104, 104, true));
	expect_event(EVENT_VM_SEEN);
}

static void
fragments_whose_first_one_does_not_come_follow_the_rule(void **state)
{
	struct frame u = udp(BY_VM(5), OUT, .id = 7, .size = 200),
		     t = tcp(BY_VM(5), OUT, .id = 7, .size = 200);
	struct frame out = udp(TO_ISP, .src = GLOBAL(5), OUT, .id = 7, .size = 200, ROUTED);

	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_RY())));
	REACHES(udp);
	burst(DC0, fragment_of(&u, 0, 104, false));
	expect_tunnel(R_Y, SEG1, fragment_of(&u, 0, 104, false));
	net_advance(31000); /* too late: forgotten */
	burst(DC0, fragment_of(&u, 104, 104, true), fragment_of(&t, 104, 104, true));
	net_advance(HOLD_FRAGMENT_MS - 1);
	net_idle();
	expect_nothing();
	net_advance(1);
	net_idle();
	expect_frame(WAN0, fragment_of(&out, 104, 104, true));
	expect_tunnel(R_Y, SEG1, fragment_of(&t, 104, 104, true));
}

static void
only_so_many_fragments_wait(void **state)
{
	struct frame u = udp(BY_VM(5), OUT, .id = 7, .size = 200);
	struct frame out = udp(TO_ISP, .src = GLOBAL(5), OUT, .id = 7, .size = 200, ROUTED);

	(void)state;
	vm_moved_here(5, R_Y);
	for (int i = 0; i < HOLD_FRAGMENTS; i++)
		burst(DC0, fragment_of(&u, 104, 104, true));
	expect_nothing();
	burst(DC0, fragment_of(&u, 104, 104, true));
	expect_frame(WAN0, fragment_of(&out, 104, 104, true));
	assert_int_equal(net.w->n_hold, HOLD_FRAGMENTS);
	net_advance(HOLD_FRAGMENT_MS);
	net_idle();
	for (int i = 0; i < HOLD_FRAGMENTS; i++)
		expect_frame(WAN0, fragment_of(&out, 104, 104, true));
}

/* ---- the old router ---- */

static void
vm_is_told_that_the_home_of_a_session_is_away_and_the_packet_goes_on(void **state)
{
	struct frame f = tcp(BY_VM(5), OUT);

	(void)state;
	chain(R_X, DRAIN_Y, DRAIN_Z);
	net.topo->peers[R_Y - 1].away = true;
	burst(DC0, f);
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
	expect_frame(DC0, icmp(OWN_ICMP, .smac = MAC_GW, .dmac = MAC_VM(5), .src = GW, .dst = PRIVATE(5),
				  .icmp_type = 3, .icmp_code = 1, QUOTE(&f)));
	assert_int_equal(net.w->c.home_away, 1);
	burst(WAN0, from_tunnel(R_Z, SEG1, udp(BY_RZ()))); /* of the home that is there */
	REACHES(udp);
	burst(DC0, udp(BY_VM(5), OUT));
	expect_tunnel(R_Z, SEG1, CARRIED(udp));
	net.topo->peers[R_Y - 1].away = false;
	burst(DC0, f);
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
}

static void
old_router_translates_what_the_owner_carries_to_it(void **state)
{
	(void)state;
	vm_moved_away(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, CARRIED(tcp)), from_tunnel(R_Y, SEG1, CARRIED(udp)));
	LEAVES(tcp, GLOBAL(5));
	LEAVES(udp, GLOBAL(5));
	KEY_IS(IPPROTO_TCP, GLOBAL(5));
	KEY_IS(IPPROTO_UDP, GLOBAL(5));
}

static void
old_router_sends_what_comes_by_the_draining_address_to_the_owner(void **state)
{
	(void)state;
	vm_moved_away(5, R_Y);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5)));
	expect_tunnel(R_Y, SEG1, tcp(.smac = MAC_RX, .dmac = MAC_VM(5), .dst = PRIVATE(5), IN, ROUTED));
	KEY_IS(IPPROTO_TCP, GLOBAL(5));
	burst(WAN0, udp(BY_ISP, IN, .dst = GLOBAL(5)));
	expect_tunnel(R_Y, SEG1, udp(.smac = MAC_RX, .dmac = MAC_VM(5), .dst = PRIVATE(5), IN, ROUTED));
	KEY_IS(IPPROTO_UDP, GLOBAL(5));
}

/* The controller spoke before the VM stood at the other site: its frames still come from our DC. */
static void
old_router_decides_for_a_vm_that_still_stands_there(void **state)
{
	(void)state;
	vm_moved_away(5, R_Y);
	burst(DC0, tcp(BY_VM(5), OUT)); /* a session of before */
	LEAVES(tcp, GLOBAL(5));
	burst(DC0, tcp(BY_VM(5), OUT, .sport = 1001, .flags = SYN)); /* a new one is the owner's */
	expect_tunnel(R_Y, SEG1, CARRIED(tcp, .sport = 1001, .flags = SYN));
	assert_int_equal(net_home(IPPROTO_TCP, PRIVATE(5), 1001, USER, 80), 0);
	burst(DC0, udp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(udp));
	KEY_IS(IPPROTO_UDP, 0);
	burst(DC0, tcp(BY_VM(5), OUT,
			   .flags = SYN)); /* of the session noted here: repeated before its answer came */
	LEAVES(tcp, GLOBAL(5), .flags = SYN);
}

static void
old_router_gives_the_ports_of_an_ended_session_to_the_owner(void **state)
{
	(void)state;
	vm_moved_away(5, R_Y);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = RST));
	LEAVES(tcp, GLOBAL(5), .flags = RST);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp, .flags = SYN));
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
}

static void
old_router_refuses_from_the_tunnel_what_is_at_home_elsewhere(void **state)
{
	(void)state;
	vm_moved_away(5, R_Y);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = RST));
	LEAVES(tcp, GLOBAL(5), .flags = RST);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN)); /* opened at the owner: we know that it is not ours */
	expect_tunnel(R_Y, SEG1, CARRIED(tcp, .flags = SYN));
	burst(WAN0, from_tunnel(R_Y, SEG1, CARRIED(tcp)));
	expect_drop(DROP_NOT_OWNER, 1);
}

/* What the new owner carried to us just before the VM changed hands arrives after it. */
static void
old_router_routes_inside_what_the_owner_carried_before_the_move(void **state)
{
	(void)state;
	vm_moved_away(5, R_Y);
	vm(.mac = MAC_VM(9), .seg = SEG2, .att = ATT_2, .n_addresses = 1,
		.addresses = {{IP(10, 0, 2, 9), 0}});
	burst(WAN0, from_tunnel(R_Y, SEG1, echo_request(BY_VM(5), .dst = GW, .sport = 1, .dport = 2)));
	expect_tunnel(R_Y, SEG1,
		echo_reply(.smac = MAC_RX, .dmac = MAC_VM(5), .src = GW, .dst = PRIVATE(5), .sport = 1,
			.dport = 2));
	burst(WAN0, from_tunnel(R_Y, SEG1, udp(BY_VM(5), .dst = IP(10, 0, 2, 9))));
	expect_frame(DC0, udp(.vlan = VLAN_2, .smac = MAC_GW, .dmac = MAC_VM(9), .src = PRIVATE(5),
				  .dst = IP(10, 0, 2, 9), ROUTED));
}

static void
old_router_does_not_route_inside_for_a_vm_that_is_gone(void **state)
{
	(void)state;
	vm_moved_away(5, R_Y);
	burst(WAN0, from_tunnel(R_Z, SEG1, echo_request(BY_VM(5), .dst = GW, .sport = 1, .dport = 2)));
	expect_drop(DROP_NOT_OWNER, 1);
	burst(DC0, echo_request(BY_VM(5), .dst = GW, .sport = 1, .dport = 2));
	expect_tunnel(R_Y, SEG1, echo_request(BY_VM(5), .dst = GW, .sport = 1, .dport = 2));
}

static void
old_router_drops_what_contradicts_a_session_by_the_draining_address(void **state)
{
	(void)state;
	vm_moved_away(5, R_Y);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = RST));
	LEAVES(tcp, GLOBAL(5), .flags = RST);
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp, .flags = SYN));
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5)), tcp(BY_ISP, IN, .dst = GLOBAL(5), .flags = SYN));
	expect_drop(DROP_HOME_CONFLICT, 1);
	expect_drop(DROP_SESSION_CLASH, 1);
}

static void
draining_address_of_a_peer_is_not_translated_here(void **state)
{
	(void)state;
	net.topo->pools[0] = (struct topo_pool){
		.prefix = {IP(198, 18, 1, 0), RTE_BE32(0xffffff00)}}; /* it was ours once */
	vm_moved_here(5, R_Y);
	burst(WAN0, udp(BY_ISP, IN, .dst = GLOBAL_Y(5)));
	expect_drop(DROP_GLOBAL_UNREGISTERED, 1);
}

/* ---- a third router ---- */

static void
third_router_carries_all_of_a_draining_vm_to_the_owner(void **state)
{
	(void)state;
	chain(R_Z, DRAIN_Y);
	burst(DC0, tcp(BY_VM(5), OUT), tcp(BY_VM(5), OUT, .flags = SYN), udp(BY_VM(5), OUT));
	expect_tunnel(R_Z, SEG1, CARRIED(tcp));
	expect_tunnel(R_Z, SEG1, CARRIED(tcp, .flags = SYN));
	expect_tunnel(R_Z, SEG1, CARRIED(udp));
	KEY_IS(IPPROTO_TCP, 0);
}

static void
third_router_refuses_a_draining_vms_frames_from_the_tunnel(void **state)
{
	(void)state;
	chain(R_Z, DRAIN_Y);
	burst(WAN0, from_tunnel(R_Z, SEG1, CARRIED(tcp)), from_tunnel(R_Y, SEG1, CARRIED(udp)));
	expect_drop(DROP_NOT_OWNER, 2);
}

/* ---- the owner carries on ---- */

static void
owner_carries_on_from_the_tunnel_at_the_cost_of_one_ttl(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Z, SEG1, CARRIED(tcp)));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp, ROUTED));
}

static void
owner_translates_what_a_peer_carries_to_it(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Z, SEG1, CARRIED(tcp, .flags = SYN)));
	LEAVES(tcp, GLOBAL(5), .flags = SYN);
	KEY_IS(IPPROTO_TCP, GLOBAL(5));
}

static void
owner_never_carries_back_where_a_frame_came_from(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, CARRIED(tcp)));
	expect_drop(DROP_OWNER_BACKWARDS, 1);
}

static void
owner_tells_the_vm_where_it_spoke_when_the_ttl_ends(void **state)
{
	struct frame f = CARRIED(tcp, .ttl = 1);

	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, from_tunnel(R_Z, SEG1, f));
	expect_drop(DROP_TTL_EXPIRED, 1);
	expect_tunnel(R_Z, SEG1,
		icmp(OWN_ICMP, .smac = MAC_RX, .dmac = MAC_VM(5), .src = GW, .dst = PRIVATE(5),
			.icmp_type = 11, QUOTE(&f)));
}

/* ---- chains and returns ---- */

/* Y to Z to here: the oldest drains at Y. */
static void
chain_sends_each_session_to_its_own_home(void **state)
{
	(void)state;
	chain(R_X, DRAIN_Y, DRAIN_Z);
	burst(WAN0, from_tunnel(R_Z, SEG1, tcp(BY_RZ())));
	REACHES(tcp);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Z, SEG1, CARRIED(tcp));
	burst(DC0, tcp(BY_VM(5), OUT, .sport = 1001));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp, .sport = 1001));
	burst(DC0, tcp(BY_VM(5), OUT, .sport = 1002, .flags = SYN));
	LEAVES(tcp, GLOBAL(5), .sport = 1002, .flags = SYN);
	KEY_IS(IPPROTO_TCP, GLOBAL_Z(5));
}

/* Here to Y to Z: we are the oldest home. */
static void
oldest_router_of_a_chain_translates_what_the_new_owner_carries(void **state)
{
	(void)state;
	chain(R_Z, DRAIN_X, DRAIN_Y);
	burst(WAN0, from_tunnel(R_Z, SEG1, CARRIED(tcp)));
	LEAVES(tcp, GLOBAL(5));
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5)));
	expect_tunnel(R_Z, SEG1, tcp(.smac = MAC_RX, .dmac = MAC_VM(5), .dst = PRIVATE(5), IN, ROUTED));
}

/* Y to here to Z: we are the middle, and what our DC still sends may be of Y's time. */
static void
middle_router_of_a_chain_sends_old_sessions_to_the_oldest_home(void **state)
{
	(void)state;
	chain(R_Z, DRAIN_Y, DRAIN_X);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
	KEY_IS(IPPROTO_TCP, 0);
	burst(WAN0, from_tunnel(R_Z, SEG1, CARRIED(tcp))); /* but what the owner carries here is ours */
	LEAVES(tcp, GLOBAL(5));
	KEY_IS(IPPROTO_TCP, GLOBAL(5));
	burst(DC0, tcp(BY_VM(5), OUT));
	LEAVES(tcp, GLOBAL(5));
}

/* Here to Y and back here: our address is live again and the oldest, Y's drains. */
static void
vm_returned(uint8_t owner)
{
	vm(.mac = MAC_VM(5), .owner = owner, .location = owner, .att = owner == R_X ? ATT_1 : ATT_ANY,
		.n_addresses = 1, .addresses = {{PRIVATE(5), owner == R_X ? GLOBAL(5) : GLOBAL_Y(5)}},
		.flags = VM_REC_OLDEST(0), .n_drains = 1,
		.drains = {owner == R_X ? (struct vm_rec_drain)DRAIN_Y : (struct vm_rec_drain)DRAIN_X});
}

static void
vm_that_returns_keeps_its_sessions_of_both_sites(void **state)
{
	(void)state;
	vm_moved_away(5, R_Y);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5)));
	expect_tunnel(R_Y, SEG1, tcp(.smac = MAC_RX, .dmac = MAC_VM(5), .dst = PRIVATE(5), IN, ROUTED));
	vm_returned(R_X);
	burst(DC0, tcp(BY_VM(5), OUT));
	LEAVES(tcp, GLOBAL(5));
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5)));
	REACHES(tcp, ROUTED);
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY(.dport = 1001)))); /* opened while at Y */
	REACHES(tcp, .dport = 1001);
	burst(DC0, tcp(BY_VM(5), OUT, .sport = 1001));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp, .sport = 1001));
}

/* Opened before the VM left, silent all the while: nobody noted it. */
static void
vm_that_returns_finds_its_idle_sessions_at_the_address_they_have(void **state)
{
	(void)state;
	vm_returned(R_X);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5))); /* the user wakes it */
	REACHES(tcp, ROUTED);
	KEY_IS(IPPROTO_TCP, GLOBAL(5));
	burst(DC0, tcp(BY_VM(5), OUT));
	LEAVES(tcp, GLOBAL(5));
	burst(DC0, tcp(BY_VM(5), OUT, .sport = 1001)); /* the VM wakes it */
	LEAVES(tcp, GLOBAL(5), .sport = 1001);
}

/* Seen from the router that it left again: what our DC still sends may be older than its stay here. */
static void
router_that_a_vm_left_again_sends_what_it_does_not_know_to_the_older_site(void **state)
{
	(void)state;
	vm_returned(R_Y);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
	KEY_IS(IPPROTO_TCP, 0);
	burst(WAN0, from_tunnel(R_Y, SEG1, CARRIED(tcp))); /* but what the owner carries here is ours */
	LEAVES(tcp, GLOBAL(5));
}

/* The same site gave the VM another address: both are ours. */
static void
old_address_of_the_same_site_drains_beside_the_new_one(void **state)
{
	(void)state;
	vm(.mac = MAC_VM(5), .att = ATT_1, .n_addresses = 1, .addresses = {{PRIVATE(5), GLOBAL(55)}},
		.n_drains = 1, .drains = {DRAIN_X});
	burst(DC0, tcp(BY_VM(5), OUT), tcp(BY_VM(5), OUT, .sport = 1001, .flags = SYN));
	LEAVES(tcp, GLOBAL(5));
	LEAVES(tcp, GLOBAL(55), .sport = 1001, .flags = SYN);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5)));
	REACHES(tcp, ROUTED);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(55)));
	expect_drop(DROP_HOME_CONFLICT, 1);
}

/* ---- a scratch worker ---- */

/* ---- a VM that is about to leave, and one that came while the old router still lists its sessions ---- */

static void
vm_flagged(uint16_t flags)
{
	struct vm_rec r = *vm_get(SEG1, MAC_VM(5));

	r.flags = (r.flags & 0xff) | flags;
	vm_put(&r);
}

static void
vm_that_is_about_to_leave_has_its_sessions_noted_both_ways(void **state)
{
	(void)state;
	vm_here(5);
	vm_flagged(VM_REC_NOTES);
	burst(DC0, udp(BY_VM(5), OUT), tcp(BY_VM(5), OUT));
	LEAVES(udp, GLOBAL(5));
	LEAVES(tcp, GLOBAL(5));
	KEY_IS(IPPROTO_UDP, GLOBAL(5));
	KEY_IS(IPPROTO_TCP, GLOBAL(5));
	burst(WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 81, .dport = 1001));
	expect_frame(DC0, tcp(TO_VM(5), .src = USER, .sport = 81, .dport = 1001, ROUTED));
	assert_int_equal(net_home(IPPROTO_TCP, PRIVATE(5), 1001, USER, 81), GLOBAL(5));
}

static void
vm_that_stays_has_nothing_noted(void **state)
{
	(void)state;
	vm_here(5);
	burst(DC0, udp(BY_VM(5), OUT));
	LEAVES(udp, GLOBAL(5));
	KEY_IS(IPPROTO_UDP, 0);
}

/* There is one address that they may take. */
static void
fragments_of_a_vm_that_is_about_to_leave_do_not_wait(void **state)
{
	struct frame new = udp(BY_VM(5), OUT, .id = 7, .size = 200);
	struct frame out = udp(TO_ISP, .src = GLOBAL(5), OUT, .id = 7, .size = 200, ROUTED);

	(void)state;
	vm_here(5);
	vm_flagged(VM_REC_NOTES);
	burst(DC0, fragment_of(&new, 104, 104, true));
	expect_frame(WAN0, fragment_of(&out, 104, 104, true));
}

static void
vm_without_a_global_address_that_is_about_to_leave_has_none_still(void **state)
{
	struct vm_rec r;

	(void)state;
	vm_here(5);
	r = *vm_get(SEG1, MAC_VM(5));
	r.addresses[0].global = 0;
	r.flags = VM_REC_NOTES;
	vm_put(&r);
	burst(DC0, udp(BY_VM(5), OUT));
	expect_drop(DROP_NAT_NO_GLOBAL, 1);
	KEY_IS(IPPROTO_UDP, 0);
}

static void
while_the_list_is_open_all_but_a_syn_is_of_before(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	vm_flagged(VM_REC_OPEN);
	burst(DC0, udp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(udp));
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
	LEAVES(tcp, GLOBAL(5), .flags = SYN);
	vm_flagged(0);
	burst(DC0, udp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(udp)); /* it was noted so */
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 1001, .dport = 80));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 1001, .dport = 80, ROUTED));
}

/* By a wrong address the other end would answer with a reset. */
static void
while_the_lists_are_open_tcp_of_a_vm_with_several_old_addresses_waits(void **state)
{
	(void)state;
	chain(R_X, DRAIN_Y, DRAIN_Z);
	vm_flagged(VM_REC_OPEN);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_drop(DROP_HOME_AWAITED, 1);
	KEY_IS(IPPROTO_TCP, 0);
	burst(DC0, udp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(udp));
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN));
	LEAVES(tcp, GLOBAL(5), .flags = SYN);
	burst(DC0, tcp(BY_VM(5), OUT));
	LEAVES(tcp, GLOBAL(5));
}

static void
when_the_lists_have_ended_tcp_that_nobody_knows_goes_by_the_oldest(void **state)
{
	(void)state;
	chain(R_X, DRAIN_Y, DRAIN_Z);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
}

static void
while_the_list_is_open_tcp_of_a_vm_that_returned_waits(void **state)
{
	(void)state;
	vm_returned(R_X);
	vm_flagged(VM_REC_OLDEST(0) | VM_REC_OPEN);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_drop(DROP_HOME_AWAITED, 1);
}

static void
while_the_list_is_open_tcp_of_the_only_old_address_goes_by_it(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	vm_flagged(VM_REC_OPEN);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
}

/* ---- guesses ---- */

static void
what_was_guessed_gives_way_to_evidence_and_that_to_nothing(void **state)
{
	(void)state;
	chain(R_X, DRAIN_Y, DRAIN_Z);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
	KEY_IS(IPPROTO_TCP, GLOBAL_Y(5));
	burst(WAN0, from_tunnel(R_Z, SEG1, tcp(BY_RZ())));
	REACHES(tcp);
	KEY_IS(IPPROTO_TCP, GLOBAL_Z(5));
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Z, SEG1, CARRIED(tcp));
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY())));
	expect_drop(DROP_HOME_CONFLICT, 1);
}

static void
guess_that_has_evidence_is_none_any_more(void **state)
{
	(void)state;
	chain(R_X, DRAIN_Y, DRAIN_Z);
	burst(DC0, tcp(BY_VM(5), OUT));
	expect_tunnel(R_Y, SEG1, CARRIED(tcp));
	burst(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_RY())));
	REACHES(tcp);
	burst(WAN0, from_tunnel(R_Z, SEG1, tcp(BY_RZ())));
	expect_drop(DROP_HOME_CONFLICT, 1);
	KEY_IS(IPPROTO_TCP, GLOBAL_Y(5));
}

static void
while_the_list_is_open_what_comes_by_the_new_address_is_new(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	vm_flagged(VM_REC_OPEN);
	burst(WAN0, udp(BY_ISP, .dst = GLOBAL(5), IN));
	REACHES(udp, ROUTED);
	burst(DC0, udp(BY_VM(5), OUT));
	LEAVES(udp, GLOBAL(5));
}

static void
while_the_list_is_open_a_fragment_alone_is_of_before(void **state)
{
	struct frame lone = udp(BY_VM(5), OUT, .id = 7, .size = 200);

	(void)state;
	vm_moved_here(5, R_Y);
	vm_flagged(VM_REC_OPEN);
	burst(DC0, fragment_of(&lone, 104, 104, true));
	expect_nothing();
	net_advance(HOLD_FRAGMENT_MS);
	net_idle();
	expect_tunnel(R_Y, SEG1, fragment_of(&lone, 104, 104, true));
}

static void
scratch_worker_finds_but_notes_nothing(void **state)
{
	struct frame first = udp(BY_VM(5), OUT, .id = 7, .size = 200);

	(void)state;
	vm_moved_here(5, R_Y);
	net.w->scratch = true;
	burst(DC0, tcp(BY_VM(5), OUT, .flags = SYN), udp(BY_VM(5), OUT));
	LEAVES(tcp, GLOBAL(5), .flags = SYN);
	LEAVES(udp, GLOBAL(5));
	burst(WAN0, udp(BY_ISP, IN, .dst = GLOBAL(5)), from_tunnel(R_Y, SEG1, tcp(BY_RY())));
	REACHES(udp, ROUTED);
	REACHES(tcp);
	burst(DC0, fragment_of(&first, 0, 104, false));
	net_forget();
	assert_int_equal(sessions_count(net.tables.sessions, 0), 0);
	for (int i = 0; i < FRAG_HOMES; i++)
		assert_int_equal(net.w->frag_homes[i].home, 0);
	net.w->scratch = false;
}

/* What a session is seen with: idle time and flags. */
static struct sessions_info
seen_session(void)
{
	struct sessions_info info;
	uint32_t next = 0;

	assert_true(sessions_next(net.tables.sessions, net.w->tick, &next, &info));
	return info;
}

static void
session_does_not_notice_a_scratch_worker(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5), .flags = SYN));
	net_forget();
	net_advance(7000);
	net.w->scratch = true;
	burst(WAN0, tcp(BY_ISP, IN, .dst = GLOBAL(5), .flags = FIN_ACK));
	burst(DC0, tcp(BY_VM(5), OUT, .flags = FIN_ACK));
	net_forget();
	net.w->scratch = false;
	assert_int_equal(seen_session().idle_s, 7);
	assert_int_equal(seen_session().flags, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(new_router_sends_a_session_that_the_vm_opens_by_the_live_address),
		net_test(new_router_carries_tcp_that_it_does_not_know_to_the_oldest_home),
		net_test(new_router_sends_old_sessions_itself_by_their_old_address_where_that_is_direct),
		net_test(who_does_not_own_the_vm_sends_nothing_direct),
		net_test(new_router_sends_others_that_it_does_not_know_by_the_live_address),
		net_test(new_router_carries_a_session_noted_from_its_home_to_it),
		net_test(new_router_carries_an_echo_reply_to_the_home_of_its_request),
		net_test(new_router_answers_a_session_that_the_user_opens_by_the_live_address),
		net_test(new_router_answers_a_session_that_the_user_opens_by_the_old_address_there),
		net_test(new_router_delivers_what_is_inside_whatever_drains),
		net_test(address_of_a_draining_vm_that_does_not_drain_uses_its_live_global),
		net_test(draining_vm_without_live_address_opens_nothing),
		net_test(full_table_makes_a_session_old_from_its_syn_on),
		net_test(first_evidence_of_a_tcp_sessions_home_wins),
		net_test(tcp_by_the_live_address_that_contradicts_its_home_is_dropped),
		net_test(unknown_tcp_by_the_live_address_passes_and_creates_nothing),
		net_test(latest_inbound_decides_the_home_of_udp),
		net_test(relayed_packet_tells_the_home_of_the_router_that_routed_it),
		net_test(vm_may_not_open_a_session_twice_by_two_addresses),
		net_test(repeated_syn_goes_where_the_first_one_went),
		net_rule(session_that_ended_leaves_its_ports_to_a_new_one, "RFC 7857 2"),
		net_test(session_whose_home_is_gone_follows_the_rule_anew),
		net_test(routed_frame_of_a_peer_where_nothing_drains_tells_nothing),
		net_rule(icmp_error_of_the_vm_follows_the_session_it_quotes, "RFC 5508 REQ-5"),
		net_rule(icmp_error_that_arrives_notes_nothing_and_passes, "RFC 5508 REQ-6; RFC 4787 REQ-12"),
		net_rule(fragments_follow_the_first_one, "RFC 4787 REQ-14"),
		net_test(fragments_that_overtake_their_first_one_wait_for_it),
		net_test(carried_fragments_wait_for_their_first_one_too),
		net_test(fragments_whose_first_one_does_not_come_follow_the_rule),
		net_test(only_so_many_fragments_wait),
		net_rule(vm_is_told_that_the_home_of_a_session_is_away_and_the_packet_goes_on,
			"RFC 1122 4.2.3.9"),
		net_test(old_router_translates_what_the_owner_carries_to_it),
		net_test(old_router_sends_what_comes_by_the_draining_address_to_the_owner),
		net_test(old_router_decides_for_a_vm_that_still_stands_there),
		net_test(old_router_gives_the_ports_of_an_ended_session_to_the_owner),
		net_test(old_router_refuses_from_the_tunnel_what_is_at_home_elsewhere),
		net_test(old_router_routes_inside_what_the_owner_carried_before_the_move),
		net_test(old_router_does_not_route_inside_for_a_vm_that_is_gone),
		net_test(old_router_drops_what_contradicts_a_session_by_the_draining_address),
		net_test(draining_address_of_a_peer_is_not_translated_here),
		net_test(third_router_carries_all_of_a_draining_vm_to_the_owner),
		net_test(third_router_refuses_a_draining_vms_frames_from_the_tunnel),
		net_test(owner_carries_on_from_the_tunnel_at_the_cost_of_one_ttl),
		net_test(owner_translates_what_a_peer_carries_to_it),
		net_test(owner_never_carries_back_where_a_frame_came_from),
		net_test(owner_tells_the_vm_where_it_spoke_when_the_ttl_ends),
		net_test(chain_sends_each_session_to_its_own_home),
		net_test(oldest_router_of_a_chain_translates_what_the_new_owner_carries),
		net_test(middle_router_of_a_chain_sends_old_sessions_to_the_oldest_home),
		net_test(vm_that_returns_keeps_its_sessions_of_both_sites),
		net_test(vm_that_returns_finds_its_idle_sessions_at_the_address_they_have),
		net_test(router_that_a_vm_left_again_sends_what_it_does_not_know_to_the_older_site),
		net_test(old_address_of_the_same_site_drains_beside_the_new_one),
		net_test(vm_that_is_about_to_leave_has_its_sessions_noted_both_ways),
		net_test(vm_that_stays_has_nothing_noted),
		net_test(fragments_of_a_vm_that_is_about_to_leave_do_not_wait),
		net_test(vm_without_a_global_address_that_is_about_to_leave_has_none_still),
		net_test(while_the_list_is_open_all_but_a_syn_is_of_before),
		net_test(while_the_lists_are_open_tcp_of_a_vm_with_several_old_addresses_waits),
		net_test(when_the_lists_have_ended_tcp_that_nobody_knows_goes_by_the_oldest),
		net_test(while_the_list_is_open_tcp_of_a_vm_that_returned_waits),
		net_test(while_the_list_is_open_tcp_of_the_only_old_address_goes_by_it),
		net_test(what_was_guessed_gives_way_to_evidence_and_that_to_nothing),
		net_test(guess_that_has_evidence_is_none_any_more),
		net_test(while_the_list_is_open_what_comes_by_the_new_address_is_new),
		net_test(while_the_list_is_open_a_fragment_alone_is_of_before),
		net_test(scratch_worker_finds_but_notes_nothing),
		net_test(session_does_not_notice_a_scratch_worker),
	};

	return net_main(tests);
}
