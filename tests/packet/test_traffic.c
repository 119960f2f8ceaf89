/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets and bytes by VM and by segment. */
#include "ways.h"

static struct traffic
of_vm(uint8_t n)
{
	return traffic_of_vm(net.w, vm_get(SEG1, MAC_VM(n))->slot);
}

#define expect_traffic(t, fp, fb, tp, tb)              \
	do {                                           \
		struct traffic t_ = (t);               \
		assert_int_equal(t_.from_packets, fp); \
		assert_int_equal(t_.from_bytes, fb);   \
		assert_int_equal(t_.to_packets, tp);   \
		assert_int_equal(t_.to_bytes, tb);     \
	} while (0)

static void
what_a_vm_sends_and_gets_by_nat_counts_for_it_and_its_segment(void **state)
{
	struct frame out = udp(BY_VM(5), .dst = USER, .size = 100),
		     in = udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .size = 200);

	(void)state;
	vm_here(5);
	vm_here(6);
	burst(DC0, out, out);
	burst(WAN0, in);
	net_forget();
	expect_traffic(of_vm(5), 2, 2 * out.len, 1, in.len);
	expect_traffic(of_vm(6), 0, 0, 0, 0);
	expect_traffic(net.w->seg_traffic[SEG1], 2, 2 * out.len, 1, in.len);
}

static void
bridged_frame_counts_for_both_of_its_vms(void **state)
{
	struct frame f = udp(.smac = MAC_VM(5), .dmac = MAC_VM(6), .src = PRIVATE(5), .dst = PRIVATE(6));

	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	burst(DC0, f);
	net_forget();
	expect_traffic(of_vm(5), 1, f.len, 0, 0);
	expect_traffic(of_vm(6), 0, 0, 1, f.len);
	expect_traffic(net.w->seg_traffic[SEG1], 1, f.len, 1,
		f.len); /* as it goes into the tunnel, not the tunnel's packet */
}

static void
flooded_frame_counts_for_the_segment_once_for_each_copy(void **state)
{
	struct frame f = ether(0x88b5, .smac = MAC_VM(5), .dmac = MAC_ALL);

	(void)state;
	vm_here(5);
	burst(DC0, f); /* to dc1, R_Y and R_Z */
	net_forget();
	expect_traffic(of_vm(5), 1, f.len, 0, 0);
	expect_traffic(net.w->seg_traffic[SEG1], 1, f.len, 3, 3 * f.len);
}

static void
what_is_dropped_on_the_way_to_a_vm_does_not_count_as_sent(void **state)
{
	(void)state;
	vm_here(5);
	burst(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(5), .ttl = 1));
	net_forget();
	expect_traffic(of_vm(5), 0, 0, 0, 0);
}

static void
through_the_tunnel_it_counts_as_the_inner_frame(void **state)
{
	struct frame f = udp(.smac = MAC_VM(6), .dmac = MAC_VM(5), .src = PRIVATE(6), .dst = PRIVATE(5));

	(void)state;
	vm_here(5);
	vm_at(6, R_Y);
	burst(WAN0, from_tunnel(R_Y, SEG1, f));
	net_forget();
	expect_traffic(of_vm(6), 1, f.len, 0, 0);
	expect_traffic(of_vm(5), 0, 0, 1, f.len);
	expect_traffic(net.w->seg_traffic[SEG1], 1, f.len, 1, f.len);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(what_a_vm_sends_and_gets_by_nat_counts_for_it_and_its_segment),
		net_test(bridged_frame_counts_for_both_of_its_vms),
		net_test(flooded_frame_counts_for_the_segment_once_for_each_copy),
		net_test(what_is_dropped_on_the_way_to_a_vm_does_not_count_as_sent),
		net_test(through_the_tunnel_it_counts_as_the_inner_frame),
	};

	return net_main(tests);
}
