/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <errno.h>
#include <jansson.h>
#include <nearwayd/announce.h>
#include <nearwayd/census.h>
#include <nearwayd/frames.h>
#include <nearwayd/fwd.h>
#include <nearwayd/listing.h>
#include <nearwayd/loop.h>
#include <nearwayd/macs.h>
#include <nearwayd/neighs.h>
#include <nearwayd/pins.h>
#include <nearwayd/show.h>
#include <rte_arp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct mac vm_mac = {{2, 0, 0, 0, 0, 5}};
static const struct rte_ether_addr vm_ether = {{2, 0, 0, 0, 0, 5}};

static struct fwd_change
put_vm(void)
{
	struct fwd_change c = {.op = FWD_VM_PUT};

	c.vm.mac = vm_mac;
	c.vm.attachment = -1;
	c.vm.n_addresses = 1;
	c.vm.addresses[0] = (struct fwd_address){0x0a000005, 0xcb007105};
	return c;
}

static struct fwd_change
put_route(uint8_t len, ip4 addr, ip4 via)
{
	struct fwd_change c = {.op = FWD_ROUTE_PUT};

	c.route = (struct fwd_route){.prefix = {addr, len}, .via = via, .port = -1};
	return c;
}

static int retired;

static void
count_retired(void *arg)
{
	(void)arg;
	retired++;
}

static void
apply(const struct fwd_change *c, size_t n)
{
	struct fwd_txn *txn;
	struct err e = {0};

	if (fwd_prepare(bench->fwd, c, n, &txn, &e) != 0)
		fail_msg("%s", e.text);
	retired = 0;
	fwd_publish(bench->fwd, txn, count_retired, NULL);
	assert_int_equal(retired, 0); /* never from inside the call */
	bench_advance(10);
	assert_int_equal(retired, 1);
}

static void
refused(const struct fwd_change *c, int code, const char *word)
{
	struct fwd_txn *txn;
	struct err e = {0};

	assert_int_equal(fwd_prepare(bench->fwd, c, 1, &txn, &e), -code);
	if (strstr(e.text, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, word);
}

static const struct vm_rec *
record(void)
{
	struct vm_key_mac key = {.mac = vm_ether, .seg = 0};
	const struct vm_rec *r;

	vmtab_by_mac(bench->tables.vms, &key, 1, &r);
	return r;
}

static struct nexthop
route_to(ip4 addr)
{
	rte_be32_t dst = rte_cpu_to_be_32(addr);
	struct nexthop nh;

	routetab_find(bench->tables.routes, 0, &dst, 1, &nh);
	return nh;
}

static int
clean(void **state)
{
	struct fwd_change c[2] = {{.op = FWD_VM_DEL}, {.op = FWD_ROUTE_DEL}};

	(void)state;
	c[0].vm.mac = vm_mac;
	apply(c, 2); /* removing what is not there is no fault */
	bench_forget();
	return 0;
}

/* ---- VMs ---- */

static void
vm_is_seen_by_workers_after_publish_and_not_before(void **state)
{
	struct fwd_change c = put_vm();
	struct fwd_txn *txn;

	(void)state;
	assert_int_equal(fwd_prepare(bench->fwd, &c, 1, &txn, NULL), 0);
	assert_null(record());
	fwd_publish(bench->fwd, txn, NULL, NULL);
	assert_non_null(record());
	assert_int_equal(record()->addresses[0].ip, RTE_BE32(0x0a000005));
	assert_int_equal(record()->addresses[0].global, RTE_BE32(0xcb007105));
	assert_int_equal(record()->att, ATT_ANY);
	bench_advance(10);
}

static void
aborted_transaction_leaves_nothing(void **state)
{
	struct fwd_change c = put_vm();
	struct fwd_txn *txn;

	(void)state;
	assert_int_equal(fwd_prepare(bench->fwd, &c, 1, &txn, NULL), 0);
	fwd_abort(bench->fwd, txn);
	assert_null(record());
	apply(&c, 1); /* and its room is free again */
}

static void
vm_of_a_peer_with_a_drain_here_keeps_both(void **state)
{
	struct fwd_change c = put_vm();

	(void)state;
	c.vm.owner = c.vm.location = 1;
	c.vm.n_drains = 1;
	c.vm.drains[0] = (struct fwd_drain){0x0a000005, 0xcb007106, FWD_SELF};
	apply(&c, 1);
	assert_int_equal(record()->owner, 1);
	assert_int_equal(record()->location, 1);
	assert_int_equal(record()->n_drains, 1);
	assert_int_equal(record()->drains[0].global, RTE_BE32(0xcb007106));
	assert_int_equal(record()->drains[0].home, ROUTER_SELF);
}

static void
live_address_is_marked_when_it_is_older_than_all_that_drain_for_its_private_one(void **state)
{
	struct fwd_change c = put_vm();

	(void)state;
	c.vm.addresses[0].since = 2;
	c.vm.n_drains = 2;
	c.vm.drains[0] = (struct fwd_drain){0x0a000006, 0xcb007107, 1, true, 1};
	c.vm.drains[1] = (struct fwd_drain){0x0a000005, 0xcb007106, 1, false, 3};
	apply(&c, 1);
	assert_int_equal(record()->flags, VM_REC_OLDEST(0));
	c.vm.drains[1].since = 1;
	apply(&c, 1);
	assert_int_equal(record()->flags, 0);
	c.vm.drains[1].since = 3;
	c.vm.addresses[0].global_ip = 0;
	apply(&c, 1);
	assert_int_equal(record()->flags, 0);
}

static void
vm_that_refers_to_nothing_is_refused(void **state)
{
	struct fwd_change c = put_vm();

	(void)state;
	c.vm.segment = 2;
	refused(&c, EINVAL, "does not exist");
	c = put_vm();
	c.vm.owner = 2;
	refused(&c, EINVAL, "does not exist");
	c = put_vm();
	c.vm.attachment = 2;
	refused(&c, EINVAL, "does not exist");
}

static void
address_of_another_vm_is_refused(void **state)
{
	struct fwd_change c = put_vm();

	(void)state;
	apply(&c, 1);
	c.vm.mac.b[5] = 6;
	refused(&c, EEXIST, "another VM");
}

/* ---- routes ---- */

static void
connected_prefixes_are_routes_from_the_start(void **state)
{
	(void)state;
	assert_int_equal(route_to(0xc0000263).kind, NH_CONNECTED);
	assert_int_equal(route_to(0x0a000063).kind, NH_SEGMENT);
	assert_int_equal(route_to(0x0a000163).seg, 1);
	assert_int_equal(route_to(0x08080808).kind, NH_NONE);
}

static void
next_hop_of_a_new_route_is_resolved_before_the_first_packet(void **state)
{
	struct fwd_change c = put_route(0, 0, 0xc00002fe);
	struct neigh_key key = {.ip = RTE_BE32(0xc00002fe)};
	struct neigh n;

	(void)state;
	apply(&c, 1);
	assert_int_equal(route_to(0x08080808).kind, NH_VIA);
	assert_int_equal(route_to(0x08080808).port, 0);
	neightab_find(bench->tables.neighbours, &key, 1, &n);
	assert_int_equal(n.state, NEIGH_RESOLVING);
}

static void
route_without_a_port_towards_its_next_hop_is_refused(void **state)
{
	struct fwd_change c = put_route(0, 0, 0xc6336401);

	(void)state;
	refused(&c, EHOSTUNREACH, "198.51.100.1");
	c.route.port = 1; /* a dc port */
	refused(&c, EHOSTUNREACH, "wan port");
}

static void
prefix_of_a_port_or_segment_cannot_be_replaced(void **state)
{
	struct fwd_change c = put_route(24, 0xc0000200, 0xc00002fe);

	(void)state;
	refused(&c, EEXIST, "192.0.2.0/24");
	c = put_route(24, 0x0a000000, 0xc00002fe);
	refused(&c, EEXIST, "10.0.0.0/24");
}

static void
blackhole_and_host_routes_win_over_shorter_ones(void **state)
{
	struct fwd_change c[2] = {put_route(0, 0, 0xc00002fe), put_route(32, 0x08080808, 0)};

	(void)state;
	c[1].route.blackhole = true;
	apply(c, 2);
	assert_int_equal(route_to(0x08080808).kind, NH_BLACKHOLE);
	assert_int_equal(route_to(0x08080809).kind, NH_VIA);
	c[1].op = FWD_ROUTE_DEL;
	apply(&c[1], 1);
	assert_int_equal(route_to(0x08080808).kind, NH_VIA);
}

/* 0.0.0.0/0 via 192.0.2.<first>, whose ARP is answered, becomes ... via 192.0.2.<second>. */
static void
replace_hop(uint8_t first, uint8_t second)
{
	static const struct rte_ether_addr mac = {{2, 0xff, 0, 0, 0, 1}};
	struct fwd_change c[2] = {put_route(0, 0, 0xc0000200 | first), put_route(0, 0, 0xc0000200 | second)};
	struct fwd_txn *txn;

	neighs_run(bench->neighs);
	apply(&c[0], 1);
	neighs_seen(bench->neighs, 0, RTE_BE32(0xc0000200 | first), &mac);
	retired = 0;
	assert_int_equal(fwd_prepare(bench->fwd, &c[1], 1, &txn, NULL), 0);
	fwd_publish(bench->fwd, txn, count_retired, NULL);
}

static void
route_takes_anothers_place_once_its_next_hop_answers(void **state)
{
	static const struct rte_ether_addr mac = {{2, 0xff, 0, 0, 0, 2}};

	(void)state;
	replace_hop(11, 12);
	bench_advance(900);
	assert_int_equal(route_to(0x08080808).via, RTE_BE32(0xc000020b));
	assert_int_equal(retired, 0);
	neighs_seen(bench->neighs, 0, RTE_BE32(0xc000020c), &mac);
	bench_advance(10);
	assert_int_equal(route_to(0x08080808).via, RTE_BE32(0xc000020c));
	assert_int_equal(retired, 1);
	bench_advance(20000 + 3000); /* a hop that no route names is forgotten */
}

static void
route_waits_for_a_silent_next_hop_no_longer_than_a_second(void **state)
{
	(void)state;
	replace_hop(13, 14);
	bench_advance(1100);
	assert_int_equal(route_to(0x08080808).via, RTE_BE32(0xc000020e));
	assert_int_equal(retired, 1);
}

static void
next_hop_of_an_aborted_route_is_not_kept(void **state)
{
	struct fwd_change c = put_route(0, 0, 0xc000020f);
	struct neigh_key key = {.ip = RTE_BE32(0xc000020f)};
	struct fwd_txn *txn;
	struct neigh n;

	(void)state;
	assert_int_equal(fwd_prepare(bench->fwd, &c, 1, &txn, NULL), 0);
	neightab_find(bench->tables.neighbours, &key, 1, &n);
	assert_int_equal(n.state, NEIGH_RESOLVING);
	fwd_abort(bench->fwd, txn);
	bench_advance(10000);
	neightab_find(bench->tables.neighbours, &key, 1, &n);
	assert_int_equal(n.state, NEIGH_NONE);
}

static void
route_to_one_more_next_hop_than_there_is_room_for_is_refused(void **state)
{
	ip4 first = 0xc0000220;
	struct fwd_change c;
	struct neigh n;
	uint32_t kept;

	(void)state;
	for (kept = 0; kept < 7; kept++) { /* of limits.neighbours; one is a VTEP's */
		c = put_route(32, 0x08080800 + kept, first + kept);
		apply(&c, 1);
	}
	c = put_route(32, 0x08080808, first + kept);
	refused(&c, ENOSPC, "limits.neighbours is 8");
	for (uint32_t i = 0; i < kept; i++) {
		c = (struct fwd_change){.op = FWD_ROUTE_DEL, .route.prefix = {0x08080800 + i, 32}};
		apply(&c, 1);
	}
	bench_advance(30000); /* what nobody keeps is forgotten: the refused one took no keep of another's */
	for (uint32_t i = 0; i < kept; i++) {
		struct neigh_key key = {.ip = rte_cpu_to_be_32(first + i)};

		neightab_find(bench->tables.neighbours, &key, 1, &n);
		assert_int_equal(n.state, NEIGH_NONE);
	}
}

/* ---- announcing, pinning ---- */

static void
probe_asks_for_the_vm_in_nobodys_name(void **state)
{
	const struct rte_arp_hdr *a;
	struct rte_mbuf *m;

	(void)state;
	fwd_announce(bench->fwd, FWD_ARP_PROBE, 1, &vm_mac, 0x0a000105);
	m = bench_frame();
	a = rte_pktmbuf_mtod_offset(m, const struct rte_arp_hdr *, RTE_ETHER_HDR_LEN);
	assert_int_equal(meta(m)->out_port, 1);
	assert_int_equal(meta(m)->out_vlan, 7);
	assert_int_equal(a->arp_data.arp_sip, 0);
	assert_int_equal(a->arp_data.arp_tip, RTE_BE32(0x0a000105));
	assert_true(rte_is_same_ether_addr(&a->arp_data.arp_sha, &bench->topo->segments[1].gw_mac));
	rte_pktmbuf_free(m);
	bench_no_more();
}

static void
rarp_speaks_for_the_vm(void **state)
{
	const struct rte_ether_hdr *eth;
	struct rte_mbuf *m;

	(void)state;
	fwd_announce(bench->fwd, FWD_RARP, 0, &vm_mac, 0);
	m = bench_frame();
	eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	assert_int_equal(eth->ether_type, RTE_BE16(RTE_ETHER_TYPE_RARP));
	assert_true(rte_is_same_ether_addr(&eth->src_addr, &vm_ether));
	assert_true(rte_is_broadcast_ether_addr(&eth->dst_addr));
	rte_pktmbuf_free(m);
}

static void
pins_carry_each_gateway_mac_on_its_vlan(void **state)
{
	(void)state;
	pins_send(bench->pins, 1);
	for (uint16_t i = 0; i < 2; i++) {
		struct rte_mbuf *m = bench_frame();
		const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

		assert_int_equal(meta(m)->out_vlan, i == 0 ? 0 : 7);
		assert_true(rte_is_same_ether_addr(&eth->src_addr, &bench->topo->segments[i].gw_mac));
		assert_true(rte_is_multicast_ether_addr(&eth->dst_addr));
		assert_int_equal(eth->ether_type, rte_cpu_to_be_16(PIN_ETHERTYPE));
		rte_pktmbuf_free(m);
	}
	pins_send(bench->pins, 0); /* a WAN port has no gateway */
	bench_no_more();
}

/* Takes all orders as a worker does; how many there were. */
static uint32_t
take_orders(void)
{
	struct dp_order o;
	uint32_t n = 0;

	for (; bench_order(&o); n++)
		rte_pktmbuf_free(o.inject);
	return n;
}

static void
announcements_of_a_large_batch_wait_and_none_is_lost(void **state)
{
	uint32_t free_before = rte_mempool_avail_count(bench->pool), n;

	(void)state;
	for (int i = 0; i < 10000; i++)
		fwd_announce(bench->fwd, FWD_RARP, 0, &vm_mac, 0);
	n = take_orders();
	assert_in_range(n, 1, ORDER_RING - 1); /* others find room, too */
	for (int i = 0; i < 20; i++) {
		bench_advance(1);
		n += take_orders();
	}
	assert_int_equal(n, 10000);
	assert_int_equal(bench->frames_lost, 0);
	assert_int_equal(rte_mempool_avail_count(bench->pool), free_before);
}

static void
announcements_beyond_the_bound_are_counted(void **state)
{
	(void)state;
	for (int i = 0; i < ANNOUNCE_MAX + ORDER_RING; i++)
		fwd_announce(bench->fwd, FWD_RARP, 0, &vm_mac, 0);
	assert_int_equal(bench->frames_lost, ORDER_RING / 2);
	for (int i = 0; i < 100; i++) {
		bench_advance(1);
		take_orders();
	}
	bench_no_more();
	bench->frames_lost = 0;
}

/* ---- sessions ---- */

static void
note_session(uint16_t port, rte_be32_t home)
{
	struct session_key k = {.vm = 1, .remote = 2, .vm_port = port, .vni_proto = 100 << 8 | 6};

	sessions_note(bench->tables.sessions, &k, (uint32_t)(env_call(bench->env, now_ms) / 1000), 0, &home);
}

static void
sessions_are_counted_when_asked_for_and_shown_as_old_until_then(void **state)
{
	uint64_t n;

	(void)state;
	bench_advance(20000);
	for (uint16_t i = 0; i < 5; i++)
		note_session(i, RTE_BE32(i < 3 ? 7 : 8));
	assert_false(census_sessions(bench->census, RTE_BE32(7), &n)); /* which makes it count */
	bench_advance(1000);
	assert_true(census_sessions(bench->census, RTE_BE32(7), &n));
	assert_int_equal(n, 3);
	assert_true(census_sessions(bench->census, 0, &n));
	assert_int_equal(n, 5);
	note_session(9, RTE_BE32(9));
	bench_advance(1000);
	assert_false(census_sessions(bench->census, RTE_BE32(9), &n));
	assert_int_equal(n, 0);
	bench_advance(1000);
	assert_true(census_sessions(bench->census, RTE_BE32(9), &n));
	assert_int_equal(n, 1);
	census_forget(bench->census, RTE_BE32(8));
	census_forget(bench->census, RTE_BE32(7));
	bench_advance(200);
	assert_int_equal(sessions_count(bench->tables.sessions, 0), 1);
	assert_true(census_sessions(bench->census, RTE_BE32(7), &n));
	assert_int_equal(n, 0);
	bench_advance(3 * 3600 * 1000); /* aged by the walks, too */
	assert_int_equal(sessions_count(bench->tables.sessions, 0), 0);
}

/* What the new router gets of the old one's table, page by page. */
static struct listed {
	struct fwd_session rows[1000];
	size_t n;
	unsigned int pages;
	bool more;
} listed;

static void
take_page(void *arg, const struct fwd_session *rows, size_t n, bool more)
{
	struct listed *l = arg;

	assert_in_range(l->n + n, 0, 1000);
	memcpy(&l->rows[l->n], rows, n * sizeof(*rows));
	l->n += n;
	l->pages++;
	l->more = more;
}

static void
note_at(uint32_t vni, ip4 vm, uint16_t port, uint8_t flags)
{
	struct session_key k = {.vm = rte_cpu_to_be_32(vm),
		.remote = RTE_BE32(0x08080808),
		.vm_port = rte_cpu_to_be_16(port),
		.remote_port = RTE_BE16(443),
		.vni_proto = vni << 8 | 6};
	rte_be32_t home = RTE_BE32(0xcb007105);

	sessions_note(
		bench->tables.sessions, &k, (uint32_t)(env_call(bench->env, now_ms) / 1000), flags, &home);
}

static struct fwd_change
put_leaving_vm(void)
{
	struct fwd_change c = put_vm();

	c.vm.flags = FWD_VM_NOTES;
	return c;
}

static void
forget_sessions(void)
{
	census_forget(bench->census, RTE_BE32(0xcb007105));
	bench_advance(200);
	assert_int_equal(sessions_count(bench->tables.sessions, 0), 0);
}

static void
address_that_is_given_again_at_once_loses_sessions_of_who_had_it_and_no_others(void **state)
{
	const uint32_t vni = bench->topo->segments[0].vni;
	struct fwd_change c = put_leaving_vm();
	struct session_key old = {
		.vm = RTE_BE32(0x0a000006), .remote = RTE_BE32(0x08080808), .vni_proto = vni << 8 | 6};
	rte_be32_t home = RTE_BE32(0xcb007105), found;

	(void)state;
	bench_advance(20000);
	sessions_note(
		bench->tables.sessions, &old, (uint32_t)(env_call(bench->env, now_ms) / 1000), 0, &home);
	census_forget(bench->census, home);
	apply(&c, 1);
	note_at(vni, 0x0a000005, 1, 0);
	bench_advance(1000);
	assert_int_equal(sessions_count(bench->tables.sessions, 0), 1);
	assert_int_equal(sessions_peek(bench->tables.sessions, &old, &found), SESSION_ABSENT);
	c.op = FWD_VM_DEL;
	apply(&c, 1);
	forget_sessions();
}

/* They may have ended while nobody looked: as long as it stays so they tell nothing, and later something wrong. */
static void
vm_with_one_address_that_stays_keeps_no_tcp_sessions(void **state)
{
	const uint32_t vni = bench->topo->segments[0].vni;
	struct fwd_change c = put_leaving_vm();
	struct session_key udp = {
		.vm = RTE_BE32(0x0a000005), .remote = RTE_BE32(0x08080808), .vni_proto = vni << 8 | 17};
	rte_be32_t home = RTE_BE32(0xcb007105);

	(void)state;
	bench_advance(20000);
	apply(&c, 1);
	note_at(vni, 0x0a000005, 1, 0);
	sessions_note(
		bench->tables.sessions, &udp, (uint32_t)(env_call(bench->env, now_ms) / 1000), 0, &home);
	census_forget(bench->census, home);
	bench_advance(1000);
	assert_int_equal(sessions_count(bench->tables.sessions, 0), 2);
	c = put_vm();
	apply(&c, 1);
	census_forget(bench->census, home);
	bench_advance(1000);
	assert_int_equal(sessions_count(bench->tables.sessions, 0), 1);
	assert_int_equal(sessions_peek(bench->tables.sessions, &udp, &home), SESSION_FOUND);
	c.op = FWD_VM_DEL;
	apply(&c, 1);
	forget_sessions();
}

static void
list_all(struct fwd_list *l)
{
	listed = (struct listed){.more = true};
	for (unsigned int i = 0; i < 10000 && listed.more; i++) {
		unsigned int before = listed.pages;

		listing_next(l, take_page, &listed);
		assert_int_equal(listed.pages, before); /* never from inside the call */
		for (; listed.pages == before; i++)
			bench_advance(1);
	}
	assert_false(listed.more);
}

static void
sessions_of_the_vms_that_are_asked_for_are_listed_in_pages_and_no_others(void **state)
{
	const uint32_t web = bench->topo->segments[0].vni, db = bench->topo->segments[1].vni;
	const struct fwd_listed of[] = {{0, 0x0a000005, 40}, {1, 0x0a000005, 41}, {0, 0x0a000007, 42}};
	struct fwd_list *l = listing_new(bench, of, 3, 50);
	size_t count[3] = {0};

	(void)state;
	for (uint16_t i = 0; i < 300; i++) {
		note_at(web, 0x0a000005, i, 0);
		note_at(db, 0x0a000005, i, SESSION_FIN_TO_VM);
		note_at(web, 0x0a000006, i, 0);
	}
	bench_advance(3000);
	list_all(l);
	assert_in_range(listed.pages, 2, 12);
	for (size_t i = 0; i < listed.n; i++) {
		const struct fwd_session *r = &listed.rows[i];

		assert_in_range(r->which, 40, 41);
		assert_int_equal(r->segment, r->which - 40);
		assert_int_equal(r->flags, r->segment == 1 ? FWD_SESSION_FIN_TO_VM : 0);
		assert_int_equal(r->protocol, 6);
		assert_int_equal(r->private_ip, 0x0a000005);
		assert_int_equal(r->remote_ip, 0x08080808);
		assert_int_equal(r->remote_port, 443);
		assert_int_equal(r->global_ip, 0xcb007105);
		assert_int_equal(r->idle_s, 3);
		count[r->which - 40]++;
	}
	assert_int_equal(count[0], 300);
	assert_int_equal(count[1], 300);
	listing_free(l);
	forget_sessions();
}

static void
list_that_is_freed_in_the_middle_tells_nothing_more(void **state)
{
	const struct fwd_listed of[] = {{0, 0x0a000005, 0}};
	struct fwd_list *l = listing_new(bench, of, 1, 10);

	(void)state;
	listed = (struct listed){.more = true};
	listing_next(l, take_page, &listed);
	listing_free(l);
	bench_advance(1000);
	assert_int_equal(listed.pages, 0);
}

static void
sessions_of_another_router_are_noted_as_idle_as_they_were_and_what_is_here_stays(void **state)
{
	const struct fwd_listed of[] = {{0, 0x0a000005, 0}};
	struct fwd_session rows[2] = {
		{.segment = 0,
			.protocol = 6,
			.private_ip = 0x0a000005,
			.remote_ip = 0x08080808,
			.global_ip = 0xcb007106,
			.port = 1,
			.remote_port = 443,
			.idle_s = 100},
		{.segment = 0,
			.protocol = 6,
			.flags = FWD_SESSION_RST,
			.private_ip = 0x0a000005,
			.remote_ip = 0x08080808,
			.global_ip = 0xcb007105,
			.port = 2,
			.remote_port = 443,
			.idle_s = 200},
	};
	struct fwd_list *l = listing_new(bench, of, 1, 10);
	struct fwd_learnt n;

	(void)state;
	note_at(bench->topo->segments[0].vni, 0x0a000005, 1, 0);
	listing_learn(bench, rows, 2, &n);
	assert_int_equal(n.noted, 1);
	assert_int_equal(n.known, 1);
	assert_int_equal(n.no_room, 0);
	list_all(l);
	assert_int_equal(listed.n, 2);
	for (size_t i = 0; i < 2; i++) {
		bool learnt = listed.rows[i].port == 2;

		assert_int_equal(listed.rows[i].global_ip, 0xcb007105); /* first evidence won */
		assert_in_range(listed.rows[i].idle_s, learnt ? 200 : 0, learnt ? 201 : 1);
		assert_int_equal(listed.rows[i].flags, learnt ? FWD_SESSION_RST : 0);
	}
	listing_free(l);
	forget_sessions();
}

/* ---- events ---- */

static struct fwd_event told;

static void
listen_event(void *arg, const struct fwd_event *ev)
{
	(void)arg;
	told = *ev;
}

static void
vm_that_waits_to_be_heard_is_heard_not_seen(void **state)
{
	struct dp_event ev = {.kind = EVENT_VM_SEEN,
		.router = ROUTER_SELF,
		.seg = 0,
		.att = 0,
		.mac = vm_ether,
		.ip = RTE_BE32(0x0a000005)};
	struct fwd_change c = put_vm();

	(void)state;
	fwd_subscribe(bench->fwd, listen_event, NULL);
	apply(&c, 1);
	fwd_tell(bench->fwd, &ev);
	assert_int_equal(told.kind, FWD_VM_HEARD);
	assert_int_equal(told.attachment, 0);
	assert_int_equal(told.ip, 0x0a000005);
	c.vm.attachment = 0;
	apply(&c, 1);
	ev.router = 1;
	ev.att = TOPO_NONE;
	fwd_tell(bench->fwd, &ev);
	assert_int_equal(told.kind, FWD_VM_SEEN);
	assert_int_equal(told.location, 1);
	assert_int_equal(told.attachment, -1);
}

static void
a_hold_that_is_over_is_told_with_its_counts(void **state)
{
	struct dp_event ev = {
		.kind = EVENT_HOLD_OVER, .seg = 1, .mac = vm_ether, .held = 3, .released = 2, .dropped = 7};

	(void)state;
	fwd_subscribe(bench->fwd, listen_event, NULL);
	fwd_tell(bench->fwd, &ev);
	assert_int_equal(told.kind, FWD_HOLD_OVER);
	assert_int_equal(told.segment, 1);
	assert_memory_equal(told.mac.b, vm_ether.addr_bytes, 6);
	assert_int_equal(told.held, 3);
	assert_int_equal(told.released, 2);
	assert_int_equal(told.dropped, 7);
}

static void
news_about_what_does_not_exist_is_ignored(void **state)
{
	struct dp_event ev = {.kind = EVENT_VM_SEEN, .seg = 9};

	(void)state;
	memset(&told, 0xff, sizeof(told));
	fwd_tell(bench->fwd, &ev);
	ev.seg = 0;
	ev.router = 5;
	fwd_tell(bench->fwd, &ev);
	assert_int_equal(told.segment, 0xffff);
}

/* ---- MACs ---- */

static void
learnt_mac_ages_once_no_worker_hears_it(void **state)
{
	struct dp_event ev = {.kind = EVENT_MAC_LEARN, .seg = 1, .att = 1, .mac = {{2, 7, 7, 7, 7, 7}}};
	uint32_t *seen = loop_worker(bench->loops[0])->mac_seen;
	struct vm_key_mac key = {.mac = ev.mac, .seg = 1};
	struct mac_entry e;

	(void)state;
	macs_run(bench->macs);
	macs_learn(bench->macs, &ev);
	assert_int_equal(mactab_find(bench->tables.macs, &key, 1, &e), 1);
	assert_int_equal(e.att, 1);
	bench_advance(250000);
	seen[e.entry] = (uint32_t)(env_call(bench->env, now_ms) / 1000); /* a worker hears it */
	bench_advance(250000);
	assert_int_equal(mactab_find(bench->tables.macs, &key, 1, &e), 1);
	bench_advance(70000);
	assert_int_equal(mactab_find(bench->tables.macs, &key, 1, &e), 0);
}

static void
hosts_behind_a_port_that_went_down_are_forgotten_and_its_vms_told_of(void **state)
{
	struct dp_event here = {.kind = EVENT_MAC_LEARN, .seg = 1, .att = 1, .mac = {{2, 7, 7, 7, 7, 8}}};
	struct dp_event there = {.kind = EVENT_MAC_LEARN, .seg = 1, .router = 1, .mac = {{2, 7, 7, 7, 7, 9}}};
	struct vm_key_mac keys[2] = {{.mac = here.mac, .seg = 1}, {.mac = there.mac, .seg = 1}};
	struct mac_entry e[2];

	(void)state;
	fwd_subscribe(bench->fwd, listen_event, NULL);
	macs_learn(bench->macs, &here);
	macs_learn(bench->macs, &there);
	macs_forget_port(bench->macs, 0);
	assert_int_equal(mactab_find(bench->tables.macs, keys, 2, e), 3);
	macs_forget_port(bench->macs, 1);
	assert_int_equal(mactab_find(bench->tables.macs, keys, 2, e), 2);
	fwd_link_down(bench->fwd, 1);
	assert_int_equal(told.kind, FWD_LINK_DOWN);
	assert_int_equal(told.port, 1);
	mactab_del(bench->tables.macs, &keys[1]);
}

static void
macs_beyond_the_limit_are_counted(void **state)
{
	uint64_t before = macs_refused(bench->macs);

	(void)state;
	for (uint8_t i = 0; i < 20; i++) { /* the limit is 16 */
		struct dp_event ev = {.kind = EVENT_MAC_LEARN, .mac = {{2, 8, 8, 8, 8, i}}};

		macs_learn(bench->macs, &ev);
	}
	assert_int_equal(macs_refused(bench->macs), before + 4);
}

static void
a_segment_learns_no_more_than_its_share_and_counts_moves(void **state)
{
	struct conf_segment *s = list_at(bench->config->segments, struct conf_segment, 1);
	struct mac_counts before = *macs_of(bench->macs, 1);
	struct dp_event ev = {.kind = EVENT_MAC_LEARN, .seg = 1, .att = 1, .mac = {{2, 9, 9, 9, 9, 1}}};
	uint64_t share = s->macs;

	(void)state;
	s->macs = before.learnt + 1;
	macs_learn(bench->macs, &ev);
	ev.router = 1;
	macs_learn(bench->macs, &ev); /* it moved: that takes no room */
	ev.mac.addr_bytes[5] = 2;
	macs_learn(bench->macs, &ev);
	assert_int_equal(macs_of(bench->macs, 1)->learnt, before.learnt + 1);
	assert_int_equal(macs_of(bench->macs, 1)->moved, before.moved + 1);
	assert_int_equal(macs_of(bench->macs, 1)->refused, before.refused + 1);
	s->macs = share;
	bench_advance(400000); /* and forgets */
	assert_int_equal(macs_of(bench->macs, 1)->learnt, before.learnt);
}

/* ---- views ---- */

static void
views_are_lists_with_a_cursor(void **state)
{
	json_t *v = show_view(bench, "ports", "", 1);
	const char *next = json_string_value(json_object_get(v, "next"));

	(void)state;
	assert_int_equal(json_array_size(json_object_get(v, "rows")), 1);
	assert_string_equal(next, "1");
	json_decref(v);
	v = show_view(bench, "ports", "1", 10);
	assert_int_equal(json_array_size(json_object_get(v, "rows")), 1);
	assert_null(json_object_get(v, "next"));
	json_decref(v);
}

static void
every_view_answers_and_none_else(void **state)
{
	static const char *const views[] = {"status", "neighbours", "ports", "sessions", "macs", "drops",
		"stages", "routes", "doctor", "every-drop"};

	(void)state;
	for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++) {
		json_t *v = show_view(bench, views[i], "", 0);

		assert_non_null(v);
		json_decref(v);
	}
	assert_null(show_view(bench, "weather", "", 0));
}

static void
status_shows_that_no_packet_is_missing(void **state)
{
	struct worker *w = loop_worker(bench->loops[0]);
	json_t *v, *packets;

	(void)state;
	w->c.received = 7;
	w->c.sent = 4;
	w->c.drop[DROP_NO_ROUTE] = 2;
	v = show_view(bench, "status", "", 0);
	packets = json_object_get(v, "packets");
	assert_int_equal(json_integer_value(json_object_get(packets, "received")), 7);
	assert_int_equal(json_integer_value(json_object_get(packets, "imbalance")), 1); /* one is lost */
	json_decref(v);
	memset(&w->c, 0, sizeof(w->c));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(vm_is_seen_by_workers_after_publish_and_not_before, clean),
		cmocka_unit_test_setup(aborted_transaction_leaves_nothing, clean),
		cmocka_unit_test_setup(vm_of_a_peer_with_a_drain_here_keeps_both, clean),
		cmocka_unit_test_setup(
			live_address_is_marked_when_it_is_older_than_all_that_drain_for_its_private_one,
			clean),
		cmocka_unit_test_setup(vm_that_refers_to_nothing_is_refused, clean),
		cmocka_unit_test_setup(address_of_another_vm_is_refused, clean),
		cmocka_unit_test_setup(connected_prefixes_are_routes_from_the_start, clean),
		cmocka_unit_test_setup(next_hop_of_a_new_route_is_resolved_before_the_first_packet, clean),
		cmocka_unit_test_setup(route_without_a_port_towards_its_next_hop_is_refused, clean),
		cmocka_unit_test_setup(prefix_of_a_port_or_segment_cannot_be_replaced, clean),
		cmocka_unit_test_setup(blackhole_and_host_routes_win_over_shorter_ones, clean),
		cmocka_unit_test_setup(probe_asks_for_the_vm_in_nobodys_name, clean),
		cmocka_unit_test_setup(rarp_speaks_for_the_vm, clean),
		cmocka_unit_test_setup(pins_carry_each_gateway_mac_on_its_vlan, clean),
		cmocka_unit_test_setup(announcements_of_a_large_batch_wait_and_none_is_lost, clean),
		cmocka_unit_test_setup(announcements_beyond_the_bound_are_counted, clean),
		cmocka_unit_test_setup(
			sessions_are_counted_when_asked_for_and_shown_as_old_until_then, clean),
		cmocka_unit_test_setup(
			sessions_of_the_vms_that_are_asked_for_are_listed_in_pages_and_no_others, clean),
		cmocka_unit_test_setup(list_that_is_freed_in_the_middle_tells_nothing_more, clean),
		cmocka_unit_test_setup(
			address_that_is_given_again_at_once_loses_sessions_of_who_had_it_and_no_others,
			clean),
		cmocka_unit_test_setup(vm_with_one_address_that_stays_keeps_no_tcp_sessions, clean),
		cmocka_unit_test_setup(
			sessions_of_another_router_are_noted_as_idle_as_they_were_and_what_is_here_stays,
			clean),
		cmocka_unit_test_setup(vm_that_waits_to_be_heard_is_heard_not_seen, clean),
		cmocka_unit_test_setup(a_hold_that_is_over_is_told_with_its_counts, clean),
		cmocka_unit_test_setup(news_about_what_does_not_exist_is_ignored, clean),
		cmocka_unit_test_setup(learnt_mac_ages_once_no_worker_hears_it, clean),
		cmocka_unit_test_setup(a_segment_learns_no_more_than_its_share_and_counts_moves, clean),
		cmocka_unit_test_setup(
			hosts_behind_a_port_that_went_down_are_forgotten_and_its_vms_told_of, clean),
		cmocka_unit_test_setup(macs_beyond_the_limit_are_counted, clean),
		cmocka_unit_test_setup(views_are_lists_with_a_cursor, clean),
		cmocka_unit_test_setup(every_view_answers_and_none_else, clean),
		cmocka_unit_test_setup(status_shows_that_no_packet_is_missing, clean),
		/* neighbours are asked for from here on */
		cmocka_unit_test_setup(route_takes_anothers_place_once_its_next_hop_answers, clean),
		cmocka_unit_test_setup(route_waits_for_a_silent_next_hop_no_longer_than_a_second, clean),
		cmocka_unit_test_setup(next_hop_of_an_aborted_route_is_not_kept, clean),
		cmocka_unit_test_setup(route_to_one_more_next_hop_than_there_is_room_for_is_refused, clean),
	};

	return cmocka_run_group_tests(tests, bench_start, bench_stop);
}
