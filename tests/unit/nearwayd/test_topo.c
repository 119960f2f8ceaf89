/* SPDX-License-Identifier: BSD-3-Clause */
#include <nearwayd/topo.h>

#include <errno.h>
#include <rte_byteorder.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/*   wan0 203.0.113.2/24 --- [router] --- dc0: VLAN 10 web, VLAN 0 db
 *   wan1 198.51.100.2/30, MTU 1400 */
static struct conf_port ports[3];
static struct conf_segment segments[2];
static struct conf_attachment web_at[1], db_at[1];
static struct conf_exit web_exit[1];
static struct conf_peer peers[1];
static struct conf_pool pools[1];

static ip4
ip(const char *text)
{
	ip4 a = 0;

	assert_int_equal(ip4_parse(text, &a), 0);
	return a;
}

static struct config
config(void)
{
	struct config c;

	memset(&c, 0, sizeof(c));
	memset(ports, 0, sizeof(ports));
	memset(segments, 0, sizeof(segments));
	ports[0] = (struct conf_port){
		.name = "wan0", .role = PORT_WAN, .address = {ip("203.0.113.2"), 24}, .mtu = 1500};
	ports[1] = (struct conf_port){
		.name = "wan1", .role = PORT_WAN, .address = {ip("198.51.100.2"), 30}, .mtu = 1400};
	ports[2] = (struct conf_port){.name = "dc0", .role = PORT_DC, .mtu = 1500};
	web_at[0] = (struct conf_attachment){.port = "dc0", .vlan = 10};
	db_at[0] = (struct conf_attachment){.port = "dc0"};
	web_exit[0] = (struct conf_exit){.port = "wan1"};
	segments[0] = (struct conf_segment){.name = "web",
		.vni = 100,
		.prefix = {ip("10.0.0.0"), 24},
		.mtu = 1500,
		.access = ACCESS_ROUTED,
		.gateway = {ip("10.0.0.1"), {{2, 0, 0, 0, 0, 1}}},
		.attachments = {web_at, 1},
		.exits = {web_exit, 1}};
	segments[1] = (struct conf_segment){.name = "db",
		.vni = 200,
		.prefix = {ip("10.0.1.0"), 24},
		.mtu = 1300,
		.gateway = {ip("10.0.1.1"), {{2, 0, 0, 0, 0, 2}}},
		.attachments = {db_at, 1}};
	peers[0] = (struct conf_peer){.name = "r-y", .vtep = ip("192.0.2.9"), .mac = {{2, 0, 0, 0, 9, 9}}};
	pools[0] =
		(struct conf_pool){.name = "pub", .prefix = {ip("203.0.113.64"), 26}, .mode = POOL_ON_LINK};
	c.router.vtep = ip("203.0.113.2");
	c.router.mac = (struct mac){{2, 0, 0, 0, 9, 1}};
	c.ports.items = ports;
	c.ports.n = 3;
	c.segments.items = segments;
	c.segments.n = 2;
	c.peers.items = peers;
	c.peers.n = 1;
	c.pools.items = pools;
	c.pools.n = 1;
	return c;
}

static struct topology t;

static void
ports_carry_addresses_in_network_order(void **state)
{
	struct config c = config();
	struct err e;

	(void)state;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.n_ports, 3);
	assert_int_equal(t.ports[0].ip, rte_cpu_to_be_32(0xcb007102));
	assert_int_equal(t.ports[0].connected.addr, rte_cpu_to_be_32(0xcb007100));
	assert_int_equal(t.ports[0].connected.mask, rte_cpu_to_be_32(0xffffff00));
	assert_int_equal(t.ports[2].role, TOPO_DC);
	assert_int_equal(t.ports[2].ip, 0);
	assert_int_equal(t.vtep, t.ports[0].ip);
}

static void
attachments_are_counted_across_segments_and_found_by_vlan(void **state)
{
	struct config c = config();
	struct err e;

	(void)state;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.n_attachments, 2);
	assert_int_equal(t.ports[2].attachment[10], 0);
	assert_int_equal(t.ports[2].attachment[0], 1);
	assert_int_equal(t.ports[2].attachment[11], TOPO_NONE);
	assert_int_equal(t.attachments[1].seg, 1);
	assert_int_equal(t.segments[0].attachments[0], 0);
}

static void
tunnel_and_mss_follow_the_smallest_wan_mtu(void **state)
{
	struct config c = config();
	struct err e;

	(void)state;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.segments[0].tunnel_mtu, 1350);
	assert_int_equal(t.segments[0].mss, 1310);
	assert_int_equal(t.segments[1].tunnel_mtu, 1300); /* the segment's own is smaller */
	assert_int_equal(t.segments[1].mss, 1260);
	peers[0].mtu = 1380; /* the way to a peer is narrower still */
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.segments[0].tunnel_mtu, 1330);
	assert_int_equal(t.segments[0].mss, 1290);
	peers[0].mtu = UINT64_MAX; /* nothing said */
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.segments[0].tunnel_mtu, 1350);
}

static void
without_peers_nothing_is_clamped(void **state)
{
	struct config c = config();
	struct err e;

	(void)state;
	c.peers.n = 0;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.segments[0].mss, 0);
	assert_int_equal(t.segments[0].tunnel_mtu, 1500);
}

static void
exits_access_peers_and_pools_are_taken_over(void **state)
{
	struct config c = config();
	struct err e;

	(void)state;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.segments[0].exits, 1 << 1);
	assert_false(t.segments[0].nat);
	assert_true(t.segments[1].nat);
	assert_int_equal(topo_tunnel_by_vtep(&t, rte_cpu_to_be_32(0xc0000209)), 1);
	assert_true(t.pools[0].on_link);
	assert_true(topo_is_pool(&t, rte_cpu_to_be_32(0xcb007141)));
}

static void
a_vlan_of_a_port_belongs_to_one_segment(void **state)
{
	struct config c = config();
	struct err e;

	(void)state;
	db_at[0].vlan = 10;
	assert_int_equal(topo_build(&c, &t, &e), -EINVAL);
	assert_non_null(strstr(e.text, "attached already"));
	db_at[0] = (struct conf_attachment){.port = "wan0"};
	assert_int_equal(topo_build(&c, &t, &e), -EINVAL);
	assert_non_null(strstr(e.text, "no such dc port"));
}

static void
a_local_vtep_is_an_attachment_of_each_segment_that_lists_it(void **state)
{
	static struct conf_attachment web_too[2], db_too[2];
	struct config c = config();
	struct err e;

	(void)state;
	web_too[0] = web_at[0];
	db_too[0] = db_at[0];
	web_too[1].vtep = db_too[1].vtep = ip("203.0.113.77");
	segments[0].attachments = (struct list){web_too, 2};
	segments[1].attachments = (struct list){db_too, 2};
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.n_attachments, 4);
	assert_int_equal(t.n_vteps, 1);
	assert_int_equal(topo_tunnel_by_vtep(&t, rte_cpu_to_be_32(0xcb00714d)),
		TOPO_VTEP_TUNNEL); /* behind the last possible peer */
	assert_int_equal(topo_tunnel_end(&t, TOPO_VTEP_TUNNEL), rte_cpu_to_be_32(0xcb00714d));
	assert_int_equal(t.attachments[1].tunnel, TOPO_VTEP_TUNNEL);
	assert_int_equal(t.attachments[3].tunnel, TOPO_VTEP_TUNNEL);
	assert_int_equal(t.vteps[0].attachment[0], 1);
	assert_int_equal(t.vteps[0].attachment[1], 3);
	assert_int_equal(t.segments[0].att_mtu, 1350); /* what fits the tunnel is what fits them all */
}

static void
without_peers_local_vteps_alone_clamp(void **state)
{
	struct config c = config();
	struct err e;

	(void)state;
	c.peers.n = 0;
	web_at[0] = (struct conf_attachment){.vtep = ip("203.0.113.77")};
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.segments[0].mss, 1310);
	assert_int_equal(t.segments[1].mss, 0);
}

static void
per_site_macs_belong_to_their_peers(void **state)
{
	static struct conf_gateway_peer mac[1] = {{"r-y", {{2, 0, 0, 0, 7, 7}}}};
	struct config c = config();
	struct rte_ether_addr none = {{0}};
	struct err e;

	(void)state;
	segments[0].gateway.mode = GATEWAY_PER_SITE;
	segments[0].gateway.peers = (struct list){mac, 1};
	segments[0].extension = EXTENSION_EXTERNAL;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_memory_equal(topo_gateway_mac(&t.segments[0], 1), mac[0].mac.b, 6);
	assert_memory_equal(topo_gateway_mac(&t.segments[0], ROUTER_SELF), segments[0].gateway.mac.b, 6);
	assert_memory_equal(topo_gateway_mac(&t.segments[1], 1), segments[1].gateway.mac.b, 6);
	assert_true(topo_is_peer_gateway(&t, &t.segments[0], topo_gateway_mac(&t.segments[0], 1)));
	assert_false(topo_is_peer_gateway(&t, &t.segments[0], &none));
	assert_true(t.segments[0].external);
	assert_false(t.segments[1].external);
}

static void
segments_of_one_vrf_share_its_number(void **state)
{
	struct config c = config();
	struct err e;

	(void)state;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.segments[0].vrf, t.segments[1].vrf);
	strcpy(segments[1].vrf, "tenant-b");
	segments[1].prefix = segments[0].prefix;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_not_equal(t.segments[0].vrf, t.segments[1].vrf);
	assert_int_equal(topo_segment_in_vrf(&t, t.segments[1].vrf, rte_cpu_to_be_32(0x0a000005)), 1);
	assert_int_equal(topo_segment_in_vrf(&t, t.segments[0].vrf, rte_cpu_to_be_32(0x0a000005)), 0);
	assert_int_equal(topo_segment_in_vrf(&t, t.segments[1].vrf, rte_cpu_to_be_32(0x0a000105)), TOPO_NONE);
}

static void
a_port_that_punts_has_its_rate_and_the_others_none(void **state)
{
	struct config c = config();
	struct err e = {0};

	(void)state;
	ports[0].punt_rate = ports[1].punt_rate = 700; /* the default stands there with punt: off, too */
	ports[1].punt = true;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.ports[0].punt_pps, 0);
	assert_int_equal(t.ports[1].punt_pps, 700);
}

static void
what_may_wait_for_vms_is_taken_over(void **state)
{
	struct config c = config();
	struct err e;

	(void)state;
	c.hold = (struct conf_hold){
		.packets = 10, .bytes = 5000000000, .vm_packets = 3, .vm_bytes = 700, .max_ms = 4000};
	c.moves.paused_max_ms = 30000;
	assert_int_equal(topo_build(&c, &t, &e), 0);
	assert_int_equal(t.hold.packets, 10);
	assert_int_equal(t.hold.bytes, 5000000000);
	assert_int_equal(t.hold.vm_packets, 3);
	assert_int_equal(t.hold.vm_bytes, 700);
	assert_int_equal(t.hold.most_ms, 34000); /* with the longest pause */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_carry_addresses_in_network_order),
		cmocka_unit_test(attachments_are_counted_across_segments_and_found_by_vlan),
		cmocka_unit_test(tunnel_and_mss_follow_the_smallest_wan_mtu),
		cmocka_unit_test(without_peers_nothing_is_clamped),
		cmocka_unit_test(exits_access_peers_and_pools_are_taken_over),
		cmocka_unit_test(a_port_that_punts_has_its_rate_and_the_others_none),
		cmocka_unit_test(a_vlan_of_a_port_belongs_to_one_segment),
		cmocka_unit_test(a_local_vtep_is_an_attachment_of_each_segment_that_lists_it),
		cmocka_unit_test(without_peers_local_vteps_alone_clamp),
		cmocka_unit_test(per_site_macs_belong_to_their_peers),
		cmocka_unit_test(what_may_wait_for_vms_is_taken_over),
		cmocka_unit_test(segments_of_one_vrf_share_its_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
