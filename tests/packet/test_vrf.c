/* SPDX-License-Identifier: BSD-3-Clause */
/* Tenants: SEG2 is another's (vrf 1), with the very prefix and gateway address of SEG1. */
#include "harness.h"
#include "ways.h"

#define BY_TENANT(n) .smac = MAC_VM(n), .dmac = MAC_GW, .vlan = VLAN_2, .src = PRIVATE(n)
#define TO_TENANT(n) .smac = MAC_GW, .dmac = MAC_VM(n), .vlan = VLAN_2, .dst = PRIVATE(n)
#define PUBLIC(n)    IP(203, 0, 113, n) /* of VM n in the routed SEG3 */

static void
tenant(void)
{
	struct topo_segment *s = &net.topo->segments[SEG2];

	s->vrf = 1;
	s->prefix = net.topo->segments[SEG1].prefix;
	s->gw_ip = GW;
}

/* VM n of the tenant: the address of SEG1's VM n. */
static void
vm2(uint8_t n)
{
	vm(.mac = MAC_VM(n), .seg = SEG2, .owner = R_X, .location = R_X, .att = ATT_2, .n_addresses = 1,
		.addresses = {{PRIVATE(n), GLOBAL(n + 20)}});
}

static void
two_tenants_with_one_address_each_have_their_own_global_one(void **state)
{
	(void)state;
	tenant();
	vm_here(5);
	vm2(5);
	burst(DC0, udp(BY_VM(5), .dst = USER, .sport = 9, .dport = 53),
		udp(BY_TENANT(5), .dst = USER, .sport = 9, .dport = 53));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(5), .dst = USER, .sport = 9, .dport = 53, ROUTED));
	expect_frame(WAN0, udp(TO_ISP, .src = GLOBAL(25), .dst = USER, .sport = 9, .dport = 53, ROUTED));
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(25)), udp(BY_ISP, .src = USER, .dst = GLOBAL(5)));
	expect_frame(DC0, udp(TO_TENANT(5), .src = USER, ROUTED));
	expect_frame(DC0, udp(TO_VM(5), .src = USER, ROUTED));
}

static void
a_tenant_s_packet_stays_with_the_tenant(void **state)
{
	struct frame f = udp(BY_TENANT(5), .dst = PRIVATE(6), .sport = 1, .dport = 2);

	(void)state;
	tenant();
	vm2(5);
	vm_here(6);
	burst(DC0, f);
	expect_drop(DROP_VM_UNKNOWN, 1);
	expect_frame(DC0, icmp(TO_TENANT(5), OWN_ICMP, .src = GW, .icmp_type = 3, .icmp_code = 1, QUOTE(&f)));
}

static void
another_tenant_s_private_prefix_is_no_place_to_go(void **state)
{
	struct frame f = udp(BY_VM(5), .dst = IP(10, 0, 2, 6), .sport = 1, .dport = 2);

	(void)state;
	net.topo->segments[SEG2].vrf = 1;
	vm_here(5);
	burst(DC0, f);
	expect_drop(DROP_NO_ROUTE, 1);
	expect_frame(DC0, icmp(TO_VM(5), OWN_ICMP, .src = GW, .icmp_type = 3, .icmp_code = 0, QUOTE(&f)));
}

static void
tenants_reach_each_other_by_their_global_addresses(void **state)
{
	(void)state;
	tenant();
	vm_here(5);
	vm2(6);
	burst(DC0, udp(BY_VM(5), .dst = GLOBAL(26), .sport = 1, .dport = 2));
	expect_frame(DC0, udp(TO_TENANT(6), .src = GLOBAL(5), .sport = 1, .dport = 2, ROUTED));
}

static void
an_error_about_a_hairpin_goes_back_to_the_tenant_that_sent_it(void **state)
{
	struct frame f = udp(BY_TENANT(6), .dst = GLOBAL(5), .sport = 1, .dport = 2, .ttl = 1);

	(void)state;
	tenant();
	vm_here(5);
	vm2(6);
	burst(DC0, f);
	expect_drop(DROP_TTL_EXPIRED, 1);
	expect_frame(DC0, icmp(TO_TENANT(6), OWN_ICMP, .src = GW, .icmp_type = 11, QUOTE(&f)));
}

static void
a_tenant_reaches_a_routed_segment_of_another_as_the_world_does(void **state)
{
	(void)state;
	tenant();
	vm2(5);
	vm(.mac = MAC_VM(7), .seg = SEG3, .att = ATT_3, .n_addresses = 1, .addresses = {{PUBLIC(135), 0}});
	burst(DC0, udp(BY_TENANT(5), .dst = PUBLIC(135), .sport = 1, .dport = 2));
	expect_frame(DC0, udp(.smac = MAC_GW, .dmac = MAC_VM(7), .vlan = VLAN_3, .src = GLOBAL(25),
				  .dst = PUBLIC(135), .sport = 1, .dport = 2, ROUTED));
}

static void
each_tenant_s_gateway_answers_its_own(void **state)
{
	(void)state;
	tenant();
	vm2(5);
	burst(DC0, echo_request(BY_TENANT(5), .dst = GW, .sport = 7, .dport = 1));
	expect_frame(DC0, echo_reply(TO_TENANT(5), .src = GW, .sport = 7, .dport = 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_rule(two_tenants_with_one_address_each_have_their_own_global_one, "RFC 3022 2"),
		net_test(a_tenant_s_packet_stays_with_the_tenant),
		net_test(another_tenant_s_private_prefix_is_no_place_to_go),
		net_rule(tenants_reach_each_other_by_their_global_addresses, "RFC 4787 6"),
		net_test(an_error_about_a_hairpin_goes_back_to_the_tenant_that_sent_it),
		net_test(a_tenant_reaches_a_routed_segment_of_another_as_the_world_does),
		net_test(each_tenant_s_gateway_answers_its_own),
	};

	return net_main(tests);
}
