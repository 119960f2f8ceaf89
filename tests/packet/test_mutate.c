/* SPDX-License-Identifier: BSD-3-Clause */
/* Mutated frames through the whole pipeline, from all sides, VMs in all states. Each burst must end with balanced books, and
 * no stage may care for what stands behind a frame in its mbuf; at the end no mbuf is missing. */
#include "ways.h"

#include <rte_tcp.h>
#include <stdlib.h>

#define ROUNDS 60000
#define BURSTS 3000
#define SEEDS  64
#define OFF_L3 14
#define OFF_L4 34
#define OUTER  50 /* bytes in front of a tunnelled frame */

struct seed {
	uint16_t port;
	struct frame f;
};

static struct seed seeds[SEEDS];
static int n_seeds;

static void
seed(uint16_t port, struct frame f)
{
	assert_true(n_seeds < SEEDS);
	seeds[n_seeds++] = (struct seed){port, f};
}

static void
seed_uplink(uint8_t n)
{
	struct frame quoted = udp(.src = USER, .dst = PRIVATE(n), .sport = 53, .dport = 9, .ttl = 9);
	struct frame big = udp(BY_VM(n), .dst = USER, .sport = 9, .dport = 53, .size = 1472);

	seed(DC0, udp(BY_VM(n), .dst = USER, .sport = 9, .dport = 53));
	seed(DC0,
		tcp(BY_VM(n), .dst = USER, .sport = 9, .dport = 80, .flags = RTE_TCP_SYN_FLAG, .mss = 1460));
	seed(DC0, icmp(BY_VM(n), .dst = USER, .icmp_type = 3, .icmp_code = 3, QUOTE(&quoted)));
	seed(DC0, echo_request(BY_VM(n), .dst = GW, .sport = 1, .dport = 1));
	seed(DC0, big);
	seed(DC0, fragment_of(&big, 0, 800, false));
	seed(WAN0, from_tunnel(R_Y, SEG1, tcp(BY_VM(n), .dst = USER, .sport = 9, .dport = 80)));
}

static void
seed_downlink(uint8_t n)
{
	struct frame quoted = tcp(.src = GLOBAL(n), .dst = USER, .sport = 9, .dport = 80);

	seed(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(n), .sport = 53, .dport = 9));
	seed(WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(n), .sport = 80, .dport = 9,
			   .flags = RTE_TCP_SYN_FLAG, .mss = 1460, .options = 4));
	seed(WAN0, icmp(BY_ISP, .src = ISP, .dst = GLOBAL(n), .icmp_type = 11, QUOTE(&quoted)));
	seed(WAN0, from_tunnel(R_Y, SEG1,
			   udp(.smac = MAC_RY, .dmac = MAC_VM(n), .src = USER, .dst = PRIVATE(n), .sport = 53,
				   .dport = 9)));
	seed(WAN0, echo_request(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 1, .dport = 1));
	seed(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(n), .ttl = 1));
	seed(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(n), .size = 1100));
}

static void
sow(void)
{
	n_seeds = 0;
	vm_here(5);
	vm_moved_here(6, R_Y);
	vm_moved_away(7, R_Y);
	vm_at(8, R_Z);
	for (uint8_t n = 5; n <= 8; n++) {
		seed_uplink(n);
		seed_downlink(n);
	}
	seed(DC0, arp_frame(.dmac = MAC_ALL, .sha = MAC_VM(5), .spa = PRIVATE(5), .tpa = GW));
	seed(WAN0, arp_frame(.dmac = MAC_ALL, .sha = MAC_ISP, .spa = ISP, .tpa = WAN0_IP));
	seed(DC0, udp(BY_VM(5), .dst = GLOBAL(6), .sport = 9, .dport = 53));
	seed(DC0, tcp(BY_VM(6), .dst = GLOBAL(5), .sport = 9, .dport = 80));
	net.topo->transit = true;
	net.topo->ports[WAN0].mtu = 1200;
	net.topo->segments[SEG1].att_mtu = 1000;
	net.topo->ports[WAN0].punt_pps = 1000;
	seed(WAN0, arp_frame(.smac = MAC_ISP, .dmac = MAC_WAN0, .op = 2, .sha = MAC_ISP, .spa = ISP,
			   .tha = MAC_WAN0, .tpa = WAN0_IP));
	seed(WAN0, tcp(BY_ISP, .src = USER, .dst = WAN0_IP, .sport = 1, .dport = 22));
}

/* Half of them with lengths and checksums mended, so that the fault gets past classify. */
static void
mend(struct frame *f)
{
	uint16_t total = (uint16_t)(f->len - OFF_L3);

	if (f->len < OFF_L4 || (f->b[OFF_L3] & 15) < 5 || f->len < OFF_L3 + (f->b[OFF_L3] & 15) * 4)
		return;
	f->b[OFF_L3] = (uint8_t)(0x40 | (f->b[OFF_L3] & 15));
	f->b[16] = (uint8_t)(total >> 8);
	f->b[17] = (uint8_t)total;
	frame_checksums(f);
}

static struct frame
mutate(const struct frame *from)
{
	struct frame f = *from;
	/* Mostly in the headers: payload decides nothing. */
	uint16_t reach = RTE_MIN(f.len, (uint16_t)(random() % 4 == 0 ? f.len : OUTER + 48));

	for (long k = random() % 4; k > 0; k--)
		f.b[(random() % 3 == 0 ? OFF_L3 : 0) + random() % (reach - OFF_L3)] =
			(uint8_t)(random() % 4 == 0 ? 255 * (random() % 2) : random());
	for (long k = random() % 3; k > 0; k--)
		f.b[RTE_MIN(OFF_L4 + random() % 40, f.len - 1)] ^= (uint8_t)(1 << random() % 8);
	if (random() % 5 == 0)
		f.len = (uint16_t)(random() % f.len);
	if (random() % 16 == 0)
		f.vlan = (uint16_t)(random() % 3 * VLAN_1B);
	if (random() % 2 == 0)
		mend(&f);
	if (random() % 8 == 0) /* padding */
		f.len = (uint16_t)RTE_MIN(f.len + random() % 20, FRAME_MAX);
	return f;
}

/* Mutations that die at the door would show nothing. */
static void
every_stage_was_reached(void)
{
	for (int i = net.express ? 0 : STAGE_EXPRESS + 1; i < STAGES; i++)
		if (net.w->c.stage[i].packets < 100)
			fail_msg("%s saw %u packets", stage_names[i].name,
				(unsigned int)net.w->c.stage[i].packets);
}

static void
mutated_frames_end_in_frames_or_named_drops(void **state)
{
	(void)state;
	net.broken = true;
	sow();
	srandom(3022);
	for (int i = 0; i < ROUNDS; i++) {
		const struct seed *s = &seeds[random() % n_seeds];
		struct frame f = mutate(&s->f);

		net_same_either_way(s->port, &f);
	}
	every_stage_was_reached();
}

static void
bursts_of_mutated_frames_keep_the_books(void **state)
{
	static struct frame f[RX_MAX];
	static const uint16_t ports[] = {WAN0, DC0, WAN1, DC1};

	(void)state;
	net.broken = true;
	sow();
	srandom(1812);
	for (int i = 0; i < BURSTS; i++) {
		uint16_t n = (uint16_t)(1 + random() % RX_MAX);
		uint16_t port = random() % 8 == 0 ? ports[random() % 4] : seeds[i % n_seeds].port;

		for (uint16_t k = 0; k < n; k++)
			f[k] = mutate(&seeds[random() % n_seeds].f);
		net_burst(port, f, n);
		net_forget();
		net_advance((uint64_t)(random() % 50));
		net_forget();
	}
	every_stage_was_reached();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(mutated_frames_end_in_frames_or_named_drops),
		net_test(bursts_of_mutated_frames_keep_the_books),
	};

	return net_main(tests);
}
