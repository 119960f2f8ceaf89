/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace, capture, explain and counters over the daemon's data plane, whose worker the test turns by hand. */
#include "bench.h"

#include <dataplane/pipeline.h>
#include <jansson.h>
#include <nearwayd/counters.h>
#include <nearwayd/explain.h>
#include <nearwayd/frames.h>
#include <nearwayd/fwd.h>
#include <nearwayd/loop.h>
#include <nearwayd/story.h>
#include <nearwayd/watch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct mac vm_mac = {{2, 0, 0, 0, 0, 5}};
static const struct rte_ether_addr vm_ether = {{2, 0, 0, 0, 0, 5}}, host = {{2, 0, 0, 0, 0, 9}};

/* ---- the worker, by hand ---- */

static uint16_t
throw_away(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	(void)port;
	rte_pktmbuf_free_bulk(m, n);
	return n;
}

static void
turn(struct vec *rx)
{
	struct worker *w = loop_worker(bench->loops[0]);

	worker_tick(w, env_call(bench->env, now_ms) * 1000);
	worker_orders(w);
	pipeline_run(w, rx);
	worker_flush(w, throw_away, NULL);
}

static void
comes_in(struct rte_mbuf *m, uint16_t vlan)
{
	static struct vec rx;

	*meta(m) = (struct meta){.origin = FROM_DC, .in_port = 1, .vlan = vlan};
	rx.n = 0;
	vec_add(&rx, m);
	turn(&rx);
	turn(&rx); /* copies */
}

/* A RARP of the VM or of a host comes in by dc0. */
static void
rarp_comes_in(const struct rte_ether_addr *from, uint16_t vlan)
{
	comes_in(frame_rarp(bench->pool, from), vlan);
}

/* A frame of a host to the VM. */
static void
frame_comes_in(void)
{
	struct rte_mbuf *m = frame_rarp(bench->pool, &host);
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);

	eth->dst_addr = vm_ether;
	eth->ether_type = RTE_BE16(0x88b5);
	comes_in(m, 0);
}

static void
publish(const struct fwd_change *c)
{
	struct fwd_txn *txn;
	struct err e = {0};

	if (fwd_prepare(bench->fwd, c, 1, &txn, &e) != 0)
		fail_msg("%s", e.text);
	fwd_publish(bench->fwd, txn, NULL, NULL);
	bench_advance(10);
}

static void
put_vm(uint8_t last, uint8_t flags)
{
	struct fwd_change c = {.op = FWD_VM_PUT};

	c.vm.mac = vm_mac;
	c.vm.mac.b[5] = last;
	c.vm.attachment = 0;
	c.vm.n_addresses = 1;
	c.vm.addresses[0] = (struct fwd_address){0x0a000000 + last, 0xcb007100 + last};
	c.vm.flags = flags;
	publish(&c);
}

static void
vm_comes(uint8_t last)
{
	put_vm(last, 0);
}

static void
vm_goes(uint8_t last)
{
	struct fwd_change c = {.op = FWD_VM_DEL};

	c.vm.mac = vm_mac;
	c.vm.mac.b[5] = last;
	publish(&c);
}

static struct watch *
begin(struct watch_params p, bool capture)
{
	struct err e = {0};
	struct watch *w;

	p.count = p.count != 0 ? p.count : 10;
	p.wait_ms = 1000;
	w = watch_new(bench, &p, capture, &e);
	if (w == NULL)
		fail_msg("%s", e.text);
	return w;
}

#define watch_for(capture, ...) begin((struct watch_params){__VA_ARGS__}, capture)

static void
end(struct watch *w)
{
	static struct vec none;

	watch_free(w);
	turn(&none); /* takes the word up */
	bench_advance(10);
	assert_null(loop_worker(bench->loops[0])->probe);
}

static json_t *
row_of(json_t *v, size_t i)
{
	json_t *row = json_array_get(json_object_get(v, "rows"), i);

	assert_non_null(row);
	return row;
}

static const char *
text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

static size_t
rows(const json_t *v)
{
	return json_array_size(json_object_get(v, "rows"));
}

/* The peer is behind 192.0.2.9, which does not answer ARP. */
static int
start(void **state)
{
	struct fwd_change c = {.op = FWD_ROUTE_PUT};
	int rc = bench_start(state);

	if (rc != 0)
		return rc;
	c.route = (struct fwd_route){.prefix = {0xc6336409, 32}, .via = 0xc0000209, .port = -1};
	publish(&c);
	bench_forget();
	return 0;
}

/* ---- trace ---- */

static void
trace_tells_a_packet_once_it_has_ended(void **state)
{
	struct watch *w = watch_for(false, .count = 1);
	bool more;
	json_t *v;

	(void)state;
	v = watch_read(w, &more);
	assert_true(more);
	assert_int_equal(rows(v), 0);
	json_decref(v);
	rarp_comes_in(&vm_ether, 9); /* no segment has this VLAN */
	v = watch_read(w, &more);
	assert_false(more);
	assert_int_equal(rows(v), 1);
	assert_string_equal(text(row_of(v, 0), "port"), "dc0");
	assert_int_equal(json_integer_value(json_object_get(row_of(v, 0), "vlan")), 9);
	assert_string_equal(text(row_of(v, 0), "end"), "dropped");
	assert_string_equal(text(row_of(v, 0), "reason"), "vlan_unknown");
	assert_non_null(strstr(text(row_of(v, 0), "frame"), "02:00:00:00:00:05 > ff:ff:ff:ff:ff:ff, rarp"));
	json_decref(v);
	end(w);
}

static void
trace_is_over_in_time_and_tells_what_has_not_ended(void **state)
{
	struct watch *w = watch_for(false, .count = 5);
	bool more;
	json_t *v;

	(void)state;
	rarp_comes_in(&host, 0); /* to the peer, whose next hop has not answered ARP */
	v = watch_read(w, &more);
	assert_true(more);
	assert_int_equal(rows(v), 0);
	json_decref(v);
	bench_advance(2000);
	v = watch_read(w, &more);
	assert_false(more);
	assert_string_equal(text(row_of(v, 0), "end"), "held");
	json_decref(v);
	end(w);
}

static void
trace_tells_of_a_packet_that_waits_for_its_vm_when_it_goes_on(void **state)
{
	static struct vec none;
	struct watch *w = watch_for(false, .count = 1);
	const char *last;
	json_t *v, *path;
	bool more;

	(void)state;
	put_vm(5, FWD_VM_HOLDS);
	frame_comes_in();
	v = watch_read(w, &more);
	assert_int_equal(rows(v), 0);
	json_decref(v);
	put_vm(5, 0);
	turn(&none);
	v = watch_read(w, &more);
	assert_string_equal(text(row_of(v, 0), "end"), "sent");
	assert_string_equal(text(row_of(v, 0), "by"), "dc0");
	path = json_object_get(row_of(v, 0), "path");
	last = text(json_array_get(path, json_array_size(path) - 1), "stage");
	assert_string_equal(last, "tx");
	json_decref(v);
	end(w);
	turn(&none); /* it tells that this is over */
	vm_goes(5);
}

static void
trace_says_what_a_packet_waits_for(void **state)
{
	static struct vec none;
	struct watch *w = watch_for(false, .count = 1);
	bool more;
	json_t *v;

	(void)state;
	put_vm(5, FWD_VM_HOLDS);
	frame_comes_in();
	bench_advance(2000);
	v = watch_read(w, &more);
	assert_false(more);
	assert_string_equal(text(row_of(v, 0), "end"), "held");
	assert_non_null(strstr(text(row_of(v, 0), "help"), "its VM"));
	json_decref(v);
	end(w);
	vm_goes(5);
	turn(&none);
	turn(&none);
	assert_int_equal(loop_worker(bench->loops[0])->vm_hold.n_queues, 0);
}

static void
filter_by_words_is_refused_with_what_there_is(void **state)
{
	struct watch_params p = {.count = 1, .wait_ms = 1};
	struct err e = {0};

	(void)state;
	strcpy(p.match.port, "nope");
	assert_null(watch_new(bench, &p, false, &e));
	assert_string_equal(e.text, "port: there is no nope; one of: wan0, dc0");
	p = (struct watch_params){.match.vm = {{2, 0, 0, 0, 0, 0x66}}};
	assert_null(watch_new(bench, &p, false, &e));
	assert_non_null(strstr(e.text, "no VM 02:00:00:00:00:66 is registered"));
	p = (struct watch_params){.match.proto = "tpc"};
	assert_null(watch_new(bench, &p, false, &e));
	assert_non_null(strstr(e.text, "\"tpc\" is neither one of its names nor a number up to 255"));
}

/* ---- capture ---- */

static void
capture_shows_the_tag_that_receive_took_off_and_why_a_packet_was_dropped(void **state)
{
	struct watch *w = watch_for(true, .count = 3);
	bool more;
	json_t *v;

	(void)state;
	rarp_comes_in(&host, 7);
	rarp_comes_in(&host, 9); /* no segment has it */
	v = watch_read(w, &more);
	assert_string_equal(text(row_of(v, 0), "at"), "rx");
	assert_int_equal(
		strncmp(text(row_of(v, 0), "data"), "ffffffffffff0200000000098100000780350001", 40), 0);
	for (size_t i = 0; i < rows(v); i++) {
		if (strcmp(text(row_of(v, i), "at"), "drop") != 0)
			continue;
		assert_string_equal(text(row_of(v, i), "reason"), "vlan_unknown");
		assert_int_equal(strncmp(text(row_of(v, i), "data") + 24, "81000009", 8), 0);
	}
	json_decref(v);
	end(w);
}

static void
capture_ends_after_so_many_rows(void **state)
{
	struct watch *w = watch_for(true, .count = 2);
	bool more;
	json_t *v;

	(void)state;
	for (int i = 0; i < 5; i++)
		rarp_comes_in(&host, 0);
	v = watch_read(w, &more);
	assert_false(more);
	assert_int_equal(rows(v), 2);
	json_decref(v);
	end(w);
}

/* ---- explain ---- */

static json_t *
told(struct explain_params p)
{
	struct err e = {0};
	json_t *v;

	p.ttl = p.ttl != 0 ? p.ttl : 64;
	v = explain(bench, &p, &e);
	if (v == NULL)
		fail_msg("%s", e.text);
	return v;
}

#define explained(...) told((struct explain_params){__VA_ARGS__})

static void
explain_fills_in_what_such_a_packet_has_and_counts_nothing(void **state)
{
	struct worker *w = loop_worker(bench->loops[0]);
	struct counts before = w->c;
	uint32_t buffers = rte_mempool_avail_count(bench->pool);
	json_t *v;

	(void)state;
	vm_comes(5);
	v = explained(.port = "dc0", .src = 0x0a000005, .dst = 0x0a000001);
	assert_non_null(strstr(text(row_of(v, 0), "frame"),
		"02:00:00:00:00:05 > 02:00:00:00:00:01, 10.0.0.5 > 10.0.0.1, icmp echo request"));
	json_decref(v);
	v = explained(.port = "dc0", .ethertype = "arp", .src = 0x0a000005, .dst = 0x0a000001);
	assert_non_null(strstr(
		text(row_of(v, 0), "frame"), "ff:ff:ff:ff:ff:ff, arp who has 10.0.0.1, tell 10.0.0.5"));
	json_decref(v);
	v = explained(.port = "wan0", .src = 0xc6336401, .dst = 0xcb007107, .proto = "tcp", .dport = 80,
		.flags = "SA");
	assert_non_null(strstr(text(row_of(v, 0), "frame"), "tcp 0 > 80 [SA], ttl 64"));
	json_decref(v);
	assert_memory_equal(&before, &w->c, sizeof(before));
	assert_int_equal(rte_mempool_avail_count(bench->pool), buffers);
	vm_goes(5);
}

/* ---- counters ---- */

static struct traffic
counted(uint8_t last)
{
	struct vm_key_mac key = {.mac = vm_ether};
	const struct vm_rec *vm;

	key.mac.addr_bytes[5] = last;
	vmtab_by_mac(bench->tables.vms, &key, 1, &vm);
	assert_non_null(vm);
	return counters_vm(bench->counters, vm);
}

static void
vm_that_gets_the_slot_of_another_begins_at_zero(void **state)
{
	uint32_t slot;
	struct vm_key_mac key = {.mac = vm_ether};
	const struct vm_rec *vm;

	(void)state;
	vm_comes(5);
	rarp_comes_in(&vm_ether, 0);
	rarp_comes_in(&vm_ether, 0);
	assert_int_equal(counted(5).from_packets, 2);
	vmtab_by_mac(bench->tables.vms, &key, 1, &vm);
	slot = vm->slot;
	vm_goes(5);
	vm_comes(6);
	key.mac.addr_bytes[5] = 6;
	vmtab_by_mac(bench->tables.vms, &key, 1, &vm);
	assert_int_equal(vm->slot, slot); /* else this test tests nothing */
	assert_int_equal(counted(6).from_packets, 0);
	rarp_comes_in(&key.mac, 0);
	assert_int_equal(counted(6).from_packets, 1);
	assert_int_equal(counted(6).from_bytes, 60);
	vm_goes(6);
}

static const struct vm_rec *
record(uint8_t last)
{
	struct vm_key_mac key = {.mac = vm_ether};
	const struct vm_rec *vm;

	key.mac.addr_bytes[5] = last;
	vmtab_by_mac(bench->tables.vms, &key, 1, &vm);
	return vm;
}

static void
round_trips_are_told_while_the_vm_is_about_to_leave(void **state)
{
	struct rtt *t = bench->tables.rtt;
	struct fwd_round_trips told;

	(void)state;
	vm_comes(5);
	told = counters_round_trips(bench->counters, record(5));
	assert_int_equal(told.near.samples, 0);
	put_vm(5, FWD_VM_NOTES);
	for (int i = 0; i < 7; i++)
		rtt_count(rtt_of(t, record(5)->slot), RTT_NEAR, RTT_REMOTE, 80000);
	rtt_count(rtt_of(t, record(5)->slot), RTT_NEAR, RTT_VM, 1000);
	put_vm(5, FWD_VM_NOTES); /* again: it goes on */
	told = counters_round_trips(bench->counters, record(5));
	assert_in_range(told.near.to_remote_us, 70000, 90000);
	assert_in_range(told.near.to_vm_us, 875, 1125);
	assert_int_equal(told.near.samples, 1);
	assert_int_equal(told.old.samples, 0);
	vm_goes(5);
	assert_int_equal(rtt_vms(t), 0);
}

/* ---- stories ---- */

static void
frame_of_any_bytes_has_a_description_that_fits(void **state)
{
	uint8_t bytes[256];
	char buf[STORY_FRAME];
	uint64_t seed = 99;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			bytes[i] = (uint8_t)(seed >> 40);
		}
		if (round % 2 == 0) /* as deep as it goes: IPv4, UDP, VXLAN */
			memcpy(bytes + 12, "\x08\x00\x45", 3), bytes[20] = bytes[21] = 0, bytes[23] = 17,
							       bytes[36] = 0x12, bytes[37] = 0xb5;
		story_frame(bytes, (uint32_t)(seed >> 32) % sizeof(bytes), buf);
		assert_true(strlen(buf) < sizeof(buf));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trace_tells_a_packet_once_it_has_ended),
		cmocka_unit_test(trace_is_over_in_time_and_tells_what_has_not_ended),
		cmocka_unit_test(trace_tells_of_a_packet_that_waits_for_its_vm_when_it_goes_on),
		cmocka_unit_test(trace_says_what_a_packet_waits_for),
		cmocka_unit_test(filter_by_words_is_refused_with_what_there_is),
		cmocka_unit_test(capture_shows_the_tag_that_receive_took_off_and_why_a_packet_was_dropped),
		cmocka_unit_test(capture_ends_after_so_many_rows),
		cmocka_unit_test(explain_fills_in_what_such_a_packet_has_and_counts_nothing),
		cmocka_unit_test(vm_that_gets_the_slot_of_another_begins_at_zero),
		cmocka_unit_test(round_trips_are_told_while_the_vm_is_about_to_leave),
		cmocka_unit_test(frame_of_any_bytes_has_a_description_that_fits),
	};

	return cmocka_run_group_tests(tests, start, bench_stop);
}
