/* SPDX-License-Identifier: BSD-3-Clause */
/* What a probe records of packets, as one line for each: "1: rx dc0, segment, ..., sent wan0". */
#include "ways.h"

#include <dataplane/view.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <stdlib.h>

#define SNAP	128
#define ENTRIES 512
#define PACKETS 32
#define FAR	IP(192, 0, 2, 99)

static struct probe *probe;
static struct probe_match any = {.port = TOPO_NONE, .seg = TOPO_NONE, .proto = -1};

/* ---- words ---- */

static void
watch(const struct probe_match *q, uint8_t points, uint32_t entries)
{
	probe = probe_new(q, points, SNAP, entries);
	assert_non_null(probe);
	net.w->probe_wanted = probe;
	worker_orders(net.w);
	assert_ptr_equal(net.w->probe, probe);
}

static void
watch_off(void)
{
	net.w->probe_wanted = NULL;
	worker_orders(net.w);
	probe_free(probe);
}

static const char *
word(const struct probe_record *r, char buf[64])
{
	switch (r->point) {
	case PROBE_RX:
		snprintf(buf, 64, "rx %s", net.topo->ports[r->what].name);
		break;
	case PROBE_MADE:
		if (r->parent != 0)
			snprintf(buf, 64, "%s of %u", made_names[r->what].name, r->parent);
		else
			snprintf(buf, 64, "%s", made_names[r->what].name);
		break;
	case PROBE_STAGE:
		snprintf(buf, 64, "%s", stage_names[r->what].name);
		break;
	case PROBE_HELD:
		snprintf(buf, 64, "held");
		break;
	case PROBE_DROP:
		snprintf(buf, 64, "dropped: %s", drop_names[r->what].name);
		break;
	case PROBE_PUNTED:
		snprintf(buf, 64, "punted %s", net.topo->ports[r->what].name);
		break;
	default:
		snprintf(buf, 64, "sent %s", net.topo->ports[r->what].name);
	}
	return buf;
}

/* All records so far, a line for each packet, in order of their numbers. */
static const char *
paths(void)
{
	static char line[PACKETS][512], all[PACKETS * 512];
	const struct probe_record *r;
	size_t n = 0;

	memset(line, 0, sizeof(line));
	while ((r = probe_next(probe)) != NULL) {
		char *to = line[r->packet], buf[64];

		assert_true(r->packet < PACKETS);
		snprintf(to + strlen(to), sizeof(line[0]) - strlen(to), "%s%s", to[0] != '\0' ? ", " : "",
			word(r, buf));
		probe_done(probe);
	}
	all[0] = '\0';
	for (int i = 0; i < PACKETS; i++)
		if (line[i][0] != '\0')
			n += (size_t)snprintf(
				all + n, sizeof(all) - n, "%s%d: %s", n > 0 ? "\n" : "", i, line[i]);
	return all;
}

#define expect_paths(text)                              \
	do {                                            \
		assert_string_equal(paths(), text);     \
		assert_int_equal(probe_lost(probe), 0); \
		net_forget();                           \
	} while (0)

/* ---- paths ---- */

static void
packet_of_a_vm_is_followed_through_nat(void **state)
{
	(void)state;
	vm_here(5);
	watch(&any, PROBE_ALL, ENTRIES);
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 9, .dport = 53));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .sport = 53, .dport = 9));
	expect_paths("1: rx dc0, segment, gateway, nat-out, route, neighbour, tx, sent wan0\n"
		     "2: rx wan0, wan, nat-in, to-vm, tx, sent dc0");
	watch_off();
}

static void
packet_keeps_its_number_into_the_tunnel_and_out_of_it(void **state)
{
	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	watch(&any, PROBE_ALL, ENTRIES);
	burst(DC0, udp(.smac = MAC_VM(5), .dmac = MAC_VM(6), .src = PRIVATE(5), .dst = PRIVATE(6)));
	burst(WAN0, from_tunnel(R_Y, SEG1,
			    udp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5))));
	expect_paths("1: rx dc0, segment, bridge, vxlan-encap, route, neighbour, tx, sent wan0\n"
		     "2: rx wan0, vxlan-decap, segment, bridge, tx, sent dc0");
	watch_off();
}

static void
packet_of_a_draining_vm_shows_the_stages_of_its_home(void **state)
{
	(void)state;
	vm_moved_here(5, R_Y);
	watch(&any, PROBE_ALL, ENTRIES);
	burst(DC0, tcp(BY_VM(5), .dst = USER, .sport = 9, .dport = 80));
	burst(WAN0, from_tunnel(R_Y, SEG1,
			    tcp(.smac = MAC_RY, .dmac = MAC_VM(5), .src = USER, .dst = PRIVATE(5),
				    .sport = 80, .dport = 9)));
	expect_paths("1: rx dc0, segment, gateway, home-out, vxlan-encap, route, neighbour, tx, sent wan0\n"
		     "2: rx wan0, vxlan-decap, segment, home-in, bridge, tx, sent dc0");
	watch_off();
}

static void
arp_is_followed_to_its_answer(void **state)
{
	(void)state;
	vm_here(5);
	watch(&any, PROBE_ALL, ENTRIES);
	burst(DC0, arp_frame(.sha = MAC_VM(5), .dmac = MAC_ALL, .spa = PRIVATE(5), .tpa = GW));
	burst(WAN0, arp_frame(.sha = MAC_ISP, .dmac = MAC_ALL, .spa = ISP, .tpa = WAN0_IP));
	expect_paths("1: rx dc0, segment, arp, tx, sent dc0\n2: rx wan0, arp-wan, tx, sent wan0");
	watch_off();
}

static void
drop_is_the_end_of_a_path(void **state)
{
	(void)state;
	vm_here(5);
	watch(&any, PROBE_ALL, ENTRIES);
	burst(DC0, udp(.smac = MAC_HOST(1), .dmac = MAC_GW, .src = PRIVATE(5), .dst = USER));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(50)),
		udp(.smac = MAC_ISP, .dmac = MAC_HOST(9), .src = USER, .dst = GLOBAL(5)));
	expect_paths("1: rx dc0, segment, gateway, dropped: spoofed\n"
		     "2: rx wan0, wan, nat-in, dropped: global_unregistered\n"
		     "3: rx wan0, dropped: not_for_us");
	watch_off();
}

static void
copies_have_numbers_of_their_own(void **state)
{
	(void)state;
	watch(&any, PROBE_ALL, ENTRIES);
	burst(DC0, ether(0x88b5, .smac = MAC_HOST(1), .dmac = MAC_ALL));
	expect_paths("1: rx dc0, segment, bridge, tx, sent dc1\n"
		     "2: replica of 1, classify, vxlan-encap, route, neighbour, tx, sent wan0\n"
		     "3: replica of 1, classify, vxlan-encap, route, neighbour, tx, sent wan0");
	watch_off();
}

static void
what_a_packet_earns_is_told_as_made_of_it(void **state)
{
	(void)state;
	vm_here(5);
	net.topo->ports[WAN0].mtu = 600;
	watch(&any, PROBE_ALL, ENTRIES);
	burst(DC0, udp(BY_VM(5), .dst = USER, .ttl = 1));
	burst(DC0, udp(BY_VM(5), .dst = USER, .size = 800));
	burst(DC0, arp_frame(.sha = MAC_HOST(3), .dmac = MAC_ALL, .spa = GW, .tpa = GW));
	expect_paths("1: rx dc0, segment, gateway, nat-out, route, dropped: ttl_expired\n"
		     "2: icmp_error of 1, classify, tx, sent dc0\n"
		     "3: rx dc0, segment, gateway, nat-out, route, neighbour, tx, sent wan0\n"
		     "4: fragment of 3, neighbour, tx, sent wan0\n"
		     "5: rx dc0, segment, arp, dropped: gw_conflict\n"
		     "6: defence of 5, classify, tx, sent dc0\n"
		     "7: defence of 5, classify, tx, sent dc1");
	watch_off();
}

static struct frame
to_unresolved(void)
{
	net.topo->transit = true;
	net_route(FAR, 32, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	return udp(BY_ISP, .src = USER, .dst = FAR);
}

static void
held_packet_goes_on_under_its_number(void **state)
{
	struct frame f = to_unresolved();

	(void)state;
	watch(&any, PROBE_ALL, ENTRIES);
	burst(WAN0, f);
	expect_paths("1: rx wan0, wan, route, neighbour, held");
	net_neighbour(WAN1, OTHER, NEIGH_REACHABLE, MAC_OTHER);
	net_release(WAN1, OTHER);
	expect_paths("1: classify, neighbour, tx, sent wan1");
	watch_off();
}

static void
held_packet_that_waits_too_long_ends_as_dropped(void **state)
{
	struct frame f = to_unresolved();

	(void)state;
	watch(&any, PROBE_ALL, ENTRIES);
	burst(WAN0, f);
	net_advance(HOLD_MS + 1);
	expect_paths("1: rx wan0, wan, route, neighbour, held, dropped: hold_expired");
	watch_off();
}

static void
packet_of_an_earlier_probe_is_not_followed_by_the_next(void **state)
{
	struct frame f = to_unresolved();

	(void)state;
	vm_here(5);
	watch(&any, PROBE_ALL, ENTRIES);
	burst(WAN0, f);
	watch_off();
	watch(&any, PROBE_ALL, ENTRIES);
	net_advance(HOLD_MS + 1);
	expect_paths("");
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5)));
	expect_paths("2: rx wan0, wan, nat-in, to-vm, tx, sent dc0");
	watch_off();
}

static void
frame_of_the_control_thread_is_followed(void **state)
{
	struct dp_order o = {.inject = rte_pktmbuf_alloc(net.pool), .made = MADE_CONTROL};
	struct frame f = arp_frame(.sha = MAC_WAN0, .dmac = MAC_ALL, .spa = WAN0_IP, .tpa = ISP);

	(void)state;
	watch(&any, PROBE_ALL, ENTRIES);
	memcpy(rte_pktmbuf_append(o.inject, f.len), f.b, f.len);
	*meta(o.inject) =
		(struct meta){.origin = FROM_SELF, .enter = ENTER_PORT, .seg = TOPO_NONE, .out_port = WAN0};
	assert_int_equal(rte_ring_sp_enqueue_elem(net.w->orders, &o, sizeof(o)), 0);
	worker_orders(net.w);
	net_idle();
	expect_paths("1: control, classify, tx, sent wan0");
	watch_off();
}

static void
packet_for_the_kernel_ends_as_punted(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 40000, .dport = 123);

	(void)state;
	net.topo->ports[WAN0].punt_pps = 100;
	watch(&any, PROBE_ALL, ENTRIES);
	burst(WAN0, f);
	expect_punt(WAN0, f);
	expect_paths("1: rx wan0, wan, local, punted wan0");
	watch_off();
}

/* ---- records ---- */

static void
record_holds_frame_metadata_and_vm_of_that_moment(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .size = 300);
	const struct probe_record *r;
	bool seen = false;

	(void)state;
	vm_here(5);
	watch(&any, 1 << PROBE_STAGE, ENTRIES);
	burst(DC0, f);
	for (; (r = probe_next(probe)) != NULL; probe_done(probe)) {
		struct frame_view v;

		frame_look(r->data, r->len, &v);
		assert_int_equal(r->len, SNAP);
		assert_int_equal(r->wire_len, f.len);
		assert_true(v.ip);
		if (r->what == STAGE_SEGMENT)
			assert_memory_equal(r->data, f.b, SNAP);
		assert_int_equal(r->vm.known, r->what != STAGE_SEGMENT);
		if (r->what != STAGE_NAT_OUT)
			continue;
		seen = true;
		assert_int_equal(v.sip, PRIVATE(5));
		assert_int_equal(r->meta.nat_ip, GLOBAL(5));
		assert_memory_equal(&r->vm.mac, &MAC_VM(5), 6);
		assert_int_equal(r->vm.owner, R_X);
	}
	assert_true(seen);
	net_forget();
	watch_off();
}

static void
full_ring_loses_records_and_counts_them(void **state)
{
	(void)state;
	vm_here(5);
	watch(&any, PROBE_ALL, 4);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5)));
	assert_string_equal(paths(), "1: rx wan0, wan, nat-in, to-vm");
	assert_int_equal(probe_lost(probe), 2);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(50)));
	assert_string_equal(paths(), "2: rx wan0, wan, nat-in, dropped: global_unregistered");
	net_forget();
	watch_off();
}

static uint16_t
take_one(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	(void)port;
	(void)n;
	rte_pktmbuf_free(m[0]);
	return 1;
}

static void
only_what_the_driver_took_is_recorded_as_sent(void **state)
{
	static struct vec rx;
	struct frame f = udp(BY_ISP, .src = USER, .dst = GLOBAL(5));

	(void)state;
	vm_here(5);
	watch(&any, 1 << PROBE_SENT | 1 << PROBE_DROP, ENTRIES);
	for (rx.n = 0; rx.n < 3;) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);

		memcpy(rte_pktmbuf_append(m, f.len), f.b, f.len);
		*meta(m) = (struct meta){.origin = FROM_WAN, .in_port = WAN0};
		vec_add(&rx, m);
	}
	pipeline_run(net.w, &rx);
	worker_flush(net.w, take_one, NULL);
	expect_drop(DROP_TX_FULL, 2);
	expect_paths("1: sent dc0\n2: dropped: tx_full\n3: dropped: tx_full");
	watch_off();
}

static void
no_more_packets_are_followed_than_asked_for(void **state)
{
	struct frame f = udp(BY_ISP, .src = USER, .dst = GLOBAL(50));

	(void)state;
	watch(&any, 1 << PROBE_RX, ENTRIES);
	probe->left = 2;
	burst(WAN0, f, f, f);
	expect_paths("1: rx wan0\n2: rx wan0");
	watch_off();
}

/* ---- the filter ---- */

static bool
fits(struct probe_match q, uint16_t port, struct frame f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);
	bool yes;

	memcpy(rte_pktmbuf_append(m, f.len), f.b, f.len);
	yes = probe_fits(&q, net.topo, m, port, f.vlan);
	rte_pktmbuf_free(m);
	return yes;
}

#define match(...)                          \
	({                                  \
		struct probe_match q = any; \
		__VA_ARGS__;                \
		q;                          \
	})

static void
filter_asks_for_port_segment_and_ethertype(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER),
		     a = arp_frame(.sha = MAC_VM(5), .dmac = MAC_ALL, .spa = PRIVATE(5), .tpa = GW);

	(void)state;
	assert_true(fits(match(q.port = DC0), DC0, f));
	assert_false(fits(match(q.port = DC1), DC0, f));
	assert_true(fits(match(q.seg = SEG1), DC0, f));
	assert_false(fits(match(q.seg = SEG2), DC0, f));
	assert_true(fits(match(q.seg = SEG2), DC0, with_vlan(f, VLAN_2)));
	assert_false(fits(match(q.seg = SEG1), DC0, with_vlan(f, 77)));
	assert_false(fits(match(q.seg = SEG1), WAN0, f));
	assert_true(fits(match(q.ethertype = 0x0806), DC0, a));
	assert_false(fits(match(q.ethertype = 0x0806), DC0, f));
}

static void
filter_asks_for_either_end(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = USER, .sport = 9, .dport = 53);

	(void)state;
	assert_true(fits(match(q.host = PRIVATE(5)), DC0, f));
	assert_true(fits(match(q.host = USER), DC0, f));
	assert_false(fits(match(q.host = ISP), DC0, f));
	assert_true(fits(match(q.host = GW), DC0,
		arp_frame(.sha = MAC_VM(5), .dmac = MAC_ALL, .spa = PRIVATE(5), .tpa = GW)));
	assert_true(fits(match(q.by_mac = true, q.mac = MAC_VM(5)), DC0, f));
	assert_true(fits(match(q.by_mac = true, q.mac = MAC_GW), DC0, f));
	assert_false(fits(match(q.by_mac = true, q.mac = MAC_VM(6)), DC0, f));
	assert_true(fits(match(q.proto = IPPROTO_UDP, q.l4_port = 9), DC0, f));
	assert_true(fits(match(q.l4_port = 53), DC0, f));
	assert_false(fits(match(q.l4_port = 54), DC0, f));
	assert_false(fits(match(q.proto = IPPROTO_TCP), DC0, f));
	assert_false(fits(match(q.l4_port = 9), DC0, echo_request(BY_VM(5), .dst = USER, .sport = 9)));
	assert_true(
		fits(match(q.by_mac = true, q.mac = MAC_GW, q.host = USER, q.proto = IPPROTO_UDP), DC0, f));
	assert_false(
		fits(match(q.by_mac = true, q.mac = MAC_GW, q.host = ISP, q.proto = IPPROTO_UDP), DC0, f));
}

static void
filter_looks_into_the_tunnel(void **state)
{
	struct frame f = from_tunnel(R_Y, SEG2,
		udp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5), .dport = 53));

	(void)state;
	assert_true(fits(match(q.host = PRIVATE(5)), WAN0, f));
	assert_true(fits(match(q.host = VTEP_Y), WAN0, f));
	assert_true(fits(match(q.l4_port = 53), WAN0, f));
	assert_true(fits(match(q.seg = SEG2), WAN0, f));
	assert_false(fits(match(q.seg = SEG1), WAN0, f));
	assert_false(fits(match(q.seg = SEG2, q.host = VTEP_Y), WAN0, f));
	assert_true(fits(match(q.by_mac = true, q.mac = MAC_VM(6)), WAN0, f));
}

static void
filter_by_vm_means_its_mac_or_any_of_its_addresses(void **state)
{
	struct probe_match q = match(q.by_vm = true, q.vm_mac = MAC_VM(5), q.n_vm_ips = 2,
		q.vm_ips[0] = PRIVATE(5), q.vm_ips[1] = GLOBAL(5));

	(void)state;
	assert_true(fits(q, DC0, ether(0x88b5, .smac = MAC_VM(5), .dmac = MAC_ALL)));
	assert_true(fits(q, WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5))));
	assert_true(fits(
		q, DC0, arp_frame(.sha = MAC_VM(6), .dmac = MAC_ALL, .spa = PRIVATE(6), .tpa = PRIVATE(5))));
	assert_false(fits(q, WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(6))));
}

static void
view_of_a_cut_frame_knows_what_is_there(void **state)
{
	struct frame f = from_tunnel(
		R_Y, SEG1, tcp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5)));
	struct frame_view v;

	(void)state;
	for (uint16_t len = 0; len <= f.len; len++) {
		uint8_t *copy = malloc(len + 1u); /* whoever reads beyond it is found */

		memcpy(copy, f.b, len);
		frame_look(copy, len, &v);
		assert_int_equal(v.ether, len >= 14);
		assert_int_equal(v.ip, len >= 34);
		assert_int_equal(v.ports, len >= 38);
		assert_int_equal(v.inner, len >= 50 ? 50 : 0);
		free(copy);
	}
	frame_look(f.b + v.inner, f.len - v.inner, &v);
	assert_true(v.ip && v.proto == IPPROTO_TCP && v.tcp_flags == RTE_TCP_ACK_FLAG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(packet_of_a_vm_is_followed_through_nat),
		net_test(packet_keeps_its_number_into_the_tunnel_and_out_of_it),
		net_test(packet_of_a_draining_vm_shows_the_stages_of_its_home),
		net_test(arp_is_followed_to_its_answer),
		net_test(drop_is_the_end_of_a_path),
		net_test(copies_have_numbers_of_their_own),
		net_test(what_a_packet_earns_is_told_as_made_of_it),
		net_test(held_packet_goes_on_under_its_number),
		net_test(held_packet_that_waits_too_long_ends_as_dropped),
		net_test(packet_of_an_earlier_probe_is_not_followed_by_the_next),
		net_test(frame_of_the_control_thread_is_followed),
		net_test(packet_for_the_kernel_ends_as_punted),
		net_test(record_holds_frame_metadata_and_vm_of_that_moment),
		net_test(full_ring_loses_records_and_counts_them),
		net_test(only_what_the_driver_took_is_recorded_as_sent),
		net_test(no_more_packets_are_followed_than_asked_for),
		net_test(filter_asks_for_port_segment_and_ethertype),
		net_test(filter_asks_for_either_end),
		net_test(filter_looks_into_the_tunnel),
		net_test(filter_by_vm_means_its_mac_or_any_of_its_addresses),
		net_test(view_of_a_cut_frame_knows_what_is_there),
	};

	return net_main(tests);
}
