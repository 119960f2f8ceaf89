/* SPDX-License-Identifier: BSD-3-Clause */
/* Mutated frames through the whole pipeline, from all sides, VMs in all states. Each burst must end with balanced books, and
 * no stage may care for what stands behind a frame in its mbuf; at the end no mbuf is missing. */
#include "ways.h"

#include <rte_tcp.h>
#include <stdlib.h>

#define ROUNDS 60000
#define BURSTS 3000
#define WORLDS 400 /* networks */
#define EACH   40  /* frames in each */
#define SEEDS  256
#define OFF_L3 14
#define OFF_L4 34
#define OUTER  50 /* bytes in front of a tunnelled frame */

struct seed {
	uint16_t port;
	uint8_t tunnel; /* it comes through; 0: it does not */
	uint16_t seg;
	struct frame f;
};

static struct seed seeds[SEEDS];
static int n_seeds;

static void
seed(uint16_t port, struct frame f)
{
	assert_true(n_seeds < SEEDS);
	seeds[n_seeds++] = (struct seed){.port = port, .f = f};
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

		net_same_either_way(s->port, &f, 1);
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

/* ---- networks of all kinds ---- */

enum { AT_PEER = ATTS, OWNED_BY_PEER = AT_PEER + 2, PLACES = OWNED_BY_PEER + 2 };

static struct vm_places { /* VMs, and where they are: an attachment, or at a peer, owned by us or by it */
	uint16_t seg, place;
} places[] = {
	{SEG1, ATT_1},
	{SEG1, ATT_1B},
	{SEG1, AT_PEER},
	{SEG1, OWNED_BY_PEER},
	{SEG1, OWNED_BY_PEER + 1},
	{SEG1, ATT_1},
	{SEG2, ATT_2},
	{SEG2, AT_PEER + 1},
	{SEG3, ATT_3},
	{SEG4, ATT_4},
	{SEG4, ATT_4A},
	{SEG4, ATT_4B},
	{SEG4, AT_PEER},
	{SEG4, OWNED_BY_PEER},
	{SEG4, ATT_4A},
};

#define FIRST 20 /* VM */

static rte_be32_t
private_of(uint16_t i)
{
	const rte_be32_t gw[] = {GW, GW2, GW3, GW4};
	/* Not one bit beside a global address: flows to both would be one behind NAT, and may overtake each other. */
	uint32_t beside = places[i].seg == SEG3 ? 10 : 0;

	return gw[places[i].seg] + rte_cpu_to_be_32(FIRST + i - 1u + beside);
}

/* One of them, in some state. */
static void
place_vm(uint16_t i)
{
	uint16_t at = places[i].place;
	bool theirs = at >= OWNED_BY_PEER, there = at >= AT_PEER;
	uint8_t peer = (uint8_t)(R_Y + (theirs ? at - OWNED_BY_PEER : at - AT_PEER));
	struct vm_rec r = {.mac = MAC_VM(FIRST + i),
		.seg = places[i].seg,
		.owner = theirs ? peer : R_X,
		.location = there ? peer : R_X,
		.att = there || random() % 16 == 0 ? ATT_ANY : at,
		.n_addresses = (uint8_t)(1 + random() % 2),
		.addresses = {{private_of(i), theirs ? GLOBAL_Y(FIRST + i) : GLOBAL(FIRST + i)},
			{private_of(i) + RTE_BE32(20), 0}}};

	for (; random() % 3 == 0 && r.n_drains < 3; r.n_drains++)
		r.drains[r.n_drains] = (struct vm_rec_drain){.ip = private_of(i),
			.global = r.n_drains == 0   ? GLOBAL_Z(FIRST + i)
				  : r.n_drains == 1 ? (theirs ? GLOBAL(FIRST + i) : GLOBAL_Y(FIRST + i))
						    : IP(198, 18, 3, FIRST + i),
			.home = r.n_drains == 0	  ? R_Z
				: r.n_drains == 1 ? (theirs ? R_X : R_Y)
						  : R_X,
			.direct = random() % 4 == 0};
	if (random() % 4 == 0)
		r.flags |= VM_REC_NOTES;
	if (random() % 8 == 0)
		r.flags |= VM_REC_OPEN;
	if (random() % 8 == 0)
		r.flags |= VM_REC_OLDEST(0);
	if (random() % 200 == 0)
		r.flags |= VM_REC_HOLDS;
	vm_put(&r);
}

/* Sent where it stands: in a VLAN, or by a tunnel. */
static void
seed_from(uint16_t place, uint16_t seg, struct frame f)
{
	static const uint8_t tunnel[PLACES] = {[ATT_4A] = T_A,
		[ATT_4B] = T_B,
		[AT_PEER] = R_Y,
		[AT_PEER + 1] = R_Z,
		[OWNED_BY_PEER] = R_Y,
		[OWNED_BY_PEER + 1] = R_Z};
	static const uint16_t vlan[PLACES] = {
		[ATT_1B] = VLAN_1B, [ATT_2] = VLAN_2, [ATT_3] = VLAN_3, [ATT_4] = VLAN_4};

	f.vlan = vlan[place];
	seed(tunnel[place] != 0 ? WAN0 : place == ATT_1B ? DC1 : DC0, f);
	seeds[n_seeds - 1].tunnel = tunnel[place];
	seeds[n_seeds - 1].seg = seg;
}

static void
seed_vm(uint16_t i)
{
	uint8_t n = (uint8_t)(FIRST + i), home = (uint8_t)(R_Y + i % 2);
	uint16_t seg = places[i].seg;
	struct rte_ether_addr router = home == R_Y ? MAC_RY : MAC_RZ;
	const rte_be32_t globals[] = {GLOBAL(n), IP(198, 18, 3, n)};

#define FROM_IT .smac = MAC_VM(n), .dmac = MAC_GW, .src = private_of(i), .dst = USER, .sport = 9, .dport = 53
	seed_from(places[i].place, seg, udp(FROM_IT));
	seed_from(places[i].place, seg, tcp(FROM_IT));
	for (int k = 0; k < 2; k++) {
		seed(WAN0,
			udp(BY_ISP, .src = USER, .dst = globals[k], .sport = 53, .dport = (uint16_t)(9 + k)));
		seed(WAN0,
			tcp(BY_ISP, .src = USER, .dst = globals[k], .sport = 53, .dport = (uint16_t)(9 + k)));
	}
	seed(WAN0, udp(.smac = router, .dmac = MAC_VM(n), .src = USER, .dst = private_of(i), .sport = 53,
			   .dport = 11, .ttl = 63));
	seeds[n_seeds - 1].tunnel = home;
	seeds[n_seeds - 1].seg = seg;
	for (uint16_t k = 0; k < RTE_DIM(places); k++)
		if (k != i && places[k].seg == seg && random() % 2 == 0)
			seed_from(places[i].place, seg,
				udp(.smac = MAC_VM(n), .dmac = MAC_VM(FIRST + k), .src = private_of(i),
					.dst = private_of(k), .sport = 9, .dport = 53,
					.size = (uint16_t)(random() % 3 * 700)));
}

static const uint16_t mtus[] = {1500, 1500, 1550, 1000, 300, 120};
#define ANY(a) (a)[random() % RTE_DIM(a)]

/* How much fits where, who is there, and what is strange about it. */
static void
another_world(void)
{
	struct topology *t = net.topo;

	n_seeds = 0;
	for (uint16_t i = 0; i < PORTS; i++)
		t->ports[i].mtu = ANY(mtus);
	for (uint16_t i = 0; i < SEGS; i++) {
		struct topo_segment *s = &t->segments[i];

		s->att_mtu = ANY(mtus);
		s->tunnel_mtu = random() % 2 == 0 ? 1450 : ANY(mtus);
		s->external = random() % 16 == 0;
		s->per_site = random() % 16 == 0;
		s->peer_mac[R_Y] = MAC_GWY;
	}
	for (uint16_t i = 0; i < 2; i++) {
		t->peers[i].away = random() % 8 == 0;
		t->peers[i].vtep = random() % 16 == 0 ? 0 : vtep_of((uint8_t)(R_Y + i));
	}
	net_neighbour(WAN0, ISP, random() % 16 == 0 ? NEIGH_FAILED : NEIGH_REACHABLE, MAC_ISP);
	net.front = (uint16_t)(random() % 8 != 0 ? RTE_PKTMBUF_HEADROOM : random() % 30 * 2);
	for (uint16_t i = 0; i < RTE_DIM(places); i++)
		place_vm(i);
	for (uint16_t i = 0; i < RTE_DIM(places); i++)
		seed_vm(i);
}

/* A good frame that just fits, or just does not; padded, or with one bit changed. */
static struct frame
resize(const struct frame *from)
{
	struct frame f = *from;

	if (random() % 2 == 0)
		f.len = (uint16_t)(OFF_L3 + ANY(mtus) - (random() % 2 == 0 ? OUTER : 0) + random() % 5 - 2);
	if (random() % 4 == 0)
		f.b[random() % (OFF_L4 + 20)] ^= (uint8_t)(1 << random() % 8);
	mend(&f);
	if (random() % 4 == 0)
		f.len = (uint16_t)(f.len + random() % 20);
	return f;
}

/* Of what comes through the tunnel mostly the inner frame is mutated. */
static struct frame
mutate_seed(const struct seed *s)
{
	struct frame f;

	if (s->tunnel != 0 && random() % 4 == 0) {
		f = from_tunnel(s->tunnel, s->seg, s->f);
		return mutate(&f);
	}
	f = random() % 4 == 0 ? mutate(&s->f) : resize(&s->f);
	if (s->tunnel == 0)
		return f;
	f.vlan = 0;
	return from_tunnel(s->tunnel, s->seg, f);
}

static void
bursts_end_the_same(void (*world)(int i), uint16_t (*fill)(struct frame *f, uint16_t *port), int each)
{
	static struct frame f[RX_MAX];

	net.broken = true;
	for (int i = 0; i < WORLDS; i++) {
		world(i);
		net_idle();
		net_forget();
		for (int k = 0; k < each; k++) {
			uint16_t port, n = fill(f, &port);

			net_same_either_way(port, f, n);
		}
	}
}

static void
any_world(int i)
{
	(void)i;
	another_world();
}

static uint16_t
one_of_a_port(struct frame *f, uint16_t *port)
{
	const struct seed *s = &seeds[random() % n_seeds];

	*port = s->port;
	f[0] = mutate_seed(s);
	return 1;
}

static void
mutated_frames_end_the_same_in_whatever_network(void **state)
{
	(void)state;
	srandom(7348);
	bursts_end_the_same(any_world, one_of_a_port, EACH);
}

/* Of a few flows, so that one packet is behind another. */
static uint16_t
some_of_a_port(struct frame *f, uint16_t *port)
{
	const struct seed *few[4];
	uint16_t n = (uint16_t)(2 + random() % (RX_MAX - 2));

	few[0] = &seeds[random() % n_seeds];
	*port = few[0]->port;
	for (uint16_t k = 1; k < RTE_DIM(few);) {
		few[k] = &seeds[random() % n_seeds];
		k += few[k]->port == *port;
	}
	for (uint16_t i = 0; i < n; i++) {
		f[i] = mutate_seed(ANY(few));
		f[i].b[f[i].len - 1] = (uint8_t)i;
	}
	return n;
}

static void
bursts_end_the_same_in_whatever_network(void **state)
{
	(void)state;
	srandom(2544);
	bursts_end_the_same(any_world, some_of_a_port, EACH / 8);
}

#define OLD(n) IP(198, 18, 3, n) /* another address of the VM, at home here */

/* VMs that are known, where they are; with two next hops, and little that is strange. */
static void
a_quiet_world(void)
{
	const struct vm_rec some[] = {/* at a peer */
		{.mac = MAC_VM(9),
			.seg = SEG1,
			.owner = R_X,
			.location = R_Y,
			.att = ATT_ANY,
			.n_addresses = 1,
			.addresses = {{PRIVATE(9), GLOBAL(9)}}},
		/* with two homes here */
		{.mac = MAC_VM(10),
			.seg = SEG1,
			.owner = R_X,
			.location = R_X,
			.att = ATT_1,
			.n_addresses = 1,
			.addresses = {{PRIVATE(10), GLOBAL(10)}},
			.n_drains = 1,
			.drains = {{.ip = PRIVATE(10), .global = OLD(10), .home = R_X}}},
		/* with an address of a segment */
		{.mac = MAC_VM(11),
			.seg = SEG1,
			.owner = R_X,
			.location = R_X,
			.att = ATT_1,
			.n_addresses = 1,
			.addresses = {{PRIVATE(11), IP(10, 0, 2, 77)}}}};

	n_seeds = 0;
	net.front = (uint16_t)(random() % 4 != 0 ? RTE_PKTMBUF_HEADROOM : random() % 30 * 2);
	net.piece = random() % 8 != 0 ? 0 : 60;
	for (uint16_t i = 0; i < PORTS; i++)
		net.topo->ports[i].mtu = 1600;
	for (uint16_t i = 0; i < SEGS; i++)
		net.topo->segments[i].external = net.topo->segments[i].per_site = false;
	net_neighbour(WAN0, ISP, NEIGH_REACHABLE, MAC_ISP);
	net_neighbour(WAN1, OTHER, NEIGH_REACHABLE, MAC_ISP);
	net_route(IP(192, 0, 2, 64), 26, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	for (uint8_t n = 5; n <= 7; n++)
		vm_here(n);
	vm_moved_here(8, R_Y);
	for (uint16_t i = 0; i < RTE_DIM(some); i++)
		vm_put(&some[i]);
	for (uint8_t n = 5; n <= 11; n++) {
		seed(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(n), .sport = 53, .dport = 9));
		seed(WAN0, tcp(BY_ISP, .src = USER, .dst = GLOBAL(n), .sport = 80, .dport = 9));
		if (n == 9)
			continue;
		seed(DC0, udp(BY_VM(n), .dst = USER, .sport = 9, .dport = 53));
		seed(DC0, tcp(BY_VM(n), .dst = USER, .sport = 9, .dport = 80));
	}
	for (int k = 0; k < 4; k++) {
		seed(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(9), .sport = 53, .dport = (uint16_t)k));
		seed(WAN0, udp(BY_ISP, .src = USER, .dst = OLD(10), .sport = 53, .dport = 9));
		seed(WAN0, udp(BY_ISP, .src = USER, .dst = GLOBAL(10), .sport = 53, .dport = 9));
	}
	seed(DC0, udp(BY_VM(6), .dst = IP(192, 0, 2, 70), .sport = 9, .dport = 53));
}

/* Of which something may have to be said. */
static rte_be32_t
odd_address(void)
{
	const rte_be32_t odd[] = {IP(0, 0, 0, 1), IP(127, 0, 0, 1), IP(224, 0, 0, 1), WAN0_IP, WAN1_IP,
		PRIVATE(5), PRIVATE4(1), GLOBAL(6), IP(203, 1, 2, 3), IP(198, 18, 1, 1), IP(10, 200, 0, 1),
		VTEP_Y};

	return ANY(odd);
}

/* A good frame as the seed, but as long as what is looked at by fours. */
static struct frame
good_one(const struct seed *s)
{
	struct frame f = s->f;

	f.len = (uint16_t)(OFF_L4 + sizeof(struct rte_tcp_hdr) + random() % 20);
	if (random() % 16 == 0) {
		rte_be32_t odd = odd_address();

		memcpy(f.b + OFF_L4 - (random() % 2 == 0 ? 4 : 8), &odd, sizeof(odd));
	}
	mend(&f);
	return s->tunnel == 0 ? f : from_tunnel(s->tunnel, s->seg, f);
}

/* Packets of a few flows from one place, good but for a few: these stand among fours. */
static uint16_t
mostly_good_ones(struct frame *f, uint16_t *port)
{
	const struct seed *first = &seeds[random() % n_seeds], *few[3] = {first};
	uint16_t n = (uint16_t)(4 + random() % (RX_MAX - 3));

	*port = first->port;
	for (uint16_t k = 1; k < RTE_DIM(few);) {
		few[k] = &seeds[random() % n_seeds];
		k += few[k]->port == *port && few[k]->f.vlan == first->f.vlan &&
		     few[k]->tunnel == first->tunnel;
	}
	for (uint16_t i = 0; i < n; i++) {
		const struct seed *s = random() % 8 == 0 ? &seeds[random() % n_seeds] : ANY(few);

		if (s->port != *port)
			s = first;
		f[i] = random() % 16 == 0 ? mutate_seed(s) : good_one(s);
		f[i].b[f[i].len - 1] = (uint8_t)i;
	}
	return n;
}

static void
a_quiet_world_by_turns(int i)
{
	if (i % 2 == 0)
		another_world();
	else
		a_quiet_world();
}

static void
mutated_frames_among_good_ones_end_the_same(void **state)
{
	(void)state;
	srandom(1071);
	bursts_end_the_same(a_quiet_world_by_turns, mostly_good_ones, EACH / 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(mutated_frames_end_in_frames_or_named_drops),
		net_test(bursts_of_mutated_frames_keep_the_books),
		net_test(mutated_frames_end_the_same_in_whatever_network),
		net_test(bursts_end_the_same_in_whatever_network),
		net_test(mutated_frames_among_good_ones_end_the_same),
	};

	return net_main(tests);
}
