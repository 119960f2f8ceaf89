/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuzz.h"

#include "target.h"

#include <stdio.h>
#include <stdlib.h>

#define OFF_L3	 14
#define PIECE	 64
#define SESSIONS 256
#define DRAINS	 3 /* waits that follow one another, and one more */
#define FIRST_VM 5
#define CHANGING 4 /* VMs */

static struct worker fresh; /* the worker before any frame */
static struct frame waiting[RX_MAX];
static uint16_t n_waiting, port_waiting;
static bool changed; /* a VM's record */

/* ---- input ---- */

uint8_t
fuzz_byte(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

uint16_t
fuzz_short(struct input *in)
{
	uint16_t high = fuzz_byte(in);

	return (uint16_t)(high << 8 | fuzz_byte(in));
}

void
fuzz_overwrite(struct input *in, struct frame *f, uint16_t at)
{
	uint16_t n = fuzz_short(in);

	n = (uint16_t)RTE_MIN(RTE_MIN((size_t)n, in->left), (size_t)FRAME_MAX - at);
	memcpy(f->b + at, in->at, n);
	in->at += n;
	in->left -= n;
	f->len = (uint16_t)(at + n);
}

void
fuzz_xor(struct input *in, struct frame *f, uint16_t at)
{
	uint8_t n = fuzz_byte(in);

	for (; n > 0 && in->left > 0 && at < f->len; n--)
		f->b[at++] ^= fuzz_byte(in);
}

/* ---- frames ---- */

static void
flush(void)
{
	if (n_waiting != 0)
		net_burst(port_waiting, waiting, n_waiting);
	n_waiting = 0;
}

/* Frames that wait for a VM find another record. */
static void
change_vm(uint8_t n, uint8_t how)
{
	static const uint16_t flags[] = {VM_REC_NOTES, VM_REC_OPEN, VM_REC_HOLDS};
	struct vm_rec r = {
		.mac = MAC_VM(n), .seg = SEG1, .att = how & 16 ? ATT_ANY : ATT_1, .n_addresses = 1};

	if ((how & 32) && vm_get(SEG1, r.mac) != NULL) {
		vm_del(SEG1, r.mac);
		changed = true;
		return;
	}
	r.owner = r.location = how & 8 ? R_Y : R_X;
	r.addresses[0] = (struct vm_rec_address){PRIVATE(n), how & 8 ? GLOBAL_Y(n) : GLOBAL(n)};
	for (int i = 0; i < 3; i++)
		r.flags |= how >> i & 1 ? flags[i] : 0;
	vm_put(&r);
	changed = true;
}

static void
pass(struct input *in)
{
	uint8_t how = fuzz_byte(in), vm = how >> 4;

	flush();
	net_advance(UINT64_C(1) << (how & 15));
	if (vm != 0)
		change_vm(FIRST_VM + vm % CHANGING, fuzz_byte(in));
}

struct arrival
fuzz_arrival(struct input *in)
{
	static const uint16_t vlans[] = {0, VLAN_1B, VLAN_3, VLAN_4};
	uint8_t how = fuzz_byte(in);
	struct arrival a = {
		.port = how & 3,
		.vlan = vlans[how >> 2 & 3],
		.piece = how & 16 ? PIECE : 0,
		.mended = how & 32,
		.more = how & 64,
	};

	if (how & 128)
		pass(in);
	return a;
}

static void
mend(struct frame *f)
{
	uint16_t total = (uint16_t)(f->len - OFF_L3);

	if (f->len < OFF_L3 + 20 || (f->b[OFF_L3] & 15) < 5 || f->len < OFF_L3 + (f->b[OFF_L3] & 15) * 4)
		return;
	f->b[OFF_L3] = (uint8_t)(0x40 | (f->b[OFF_L3] & 15));
	f->b[16] = (uint8_t)(total >> 8);
	f->b[17] = (uint8_t)total;
	frame_checksums(f);
}

void
fuzz_receive(const struct arrival *a, struct frame *f)
{
	f->vlan = a->vlan;
	if (a->mended)
		mend(f);
	if (n_waiting == RX_MAX || (n_waiting != 0 && (a->port != port_waiting || a->piece != net.piece)))
		flush();
	port_waiting = a->port;
	net.piece = a->piece;
	waiting[n_waiting++] = *f;
	if (!a->more)
		flush();
}

/* ---- the network ---- */

/* Those that change. */
static void
populate_changing(void)
{
	vm_here(5);
	vm_moved_here(6, R_Y);
	vm_moved_away(7, R_Y);
	vm_at(8, R_Z);
}

static void
populate(void)
{
	populate_changing();
	vm(.mac = MAC_VM(9), .seg = SEG1, .owner = R_X, .location = R_X, .att = ATT_ANY, .n_addresses = 2,
		.addresses = {{PRIVATE(9), GLOBAL(9)}, {PRIVATE(10), 0}});
	vm(.mac = MAC_VM(11), .seg = SEG3, .owner = R_X, .location = R_X, .att = ATT_3, .n_addresses = 1,
		.addresses = {{IP(203, 0, 113, 139), 0}});
	vm(.mac = MAC_VM(12), .seg = SEG2, .owner = R_X, .location = R_X, .att = ATT_2, .n_addresses = 1,
		.addresses = {{IP(10, 0, 2, 12), GLOBAL(70)}});
	vm(.mac = MAC_VM(13), .seg = SEG4, .owner = R_X, .location = R_X, .att = ATT_4, .n_addresses = 1,
		.addresses = {{IP(10, 0, 4, 13), GLOBAL(13)}});
	vm(.mac = MAC_VM(14), .seg = SEG4, .owner = R_X, .location = R_X, .att = ATT_4A, .n_addresses = 1,
		.addresses = {{IP(10, 0, 4, 14), GLOBAL(14)}});
	net_learnt(SEG1, MAC_HOST(1), R_X, ATT_1);
	net_learnt(SEG1, MAC_HOST(2), R_Y, TOPO_NONE);
	net_route(
		IP(192, 0, 2, 128), 25, &(const struct nexthop){.kind = NH_VIA, .port = WAN1, .via = OTHER});
	net_route(IP(192, 0, 3, 0), 24, &(const struct nexthop){.kind = NH_BLACKHOLE});
	net.topo->transit = true;
	net.topo->ports[WAN0].mtu = 1200;
	net.topo->ports[WAN1].punt_pps = 100;
	net.topo->segments[SEG2].external = true;
	for (int i = 0; i < STORMS; i++)
		net.topo->segments[SEG1].storm_pps[i] = 4;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion of the harness is a finding */
	net_start();
	net_begin();
	populate();
	fresh = *net.w;
	return 0;
}

static void
make_new(uint8_t behind)
{
	struct worker *w = net.w;
	size_t tallies = vmtab_slots(net.tables.vms) * sizeof(struct tally);

	*w = fresh;
	memset(w->from_vm, 0, tallies);
	memset(w->to_vm, 0, tallies);
	for (int k = 0; k < EVENTS; k++)
		rte_ring_reset(w->events[k]);
	sessions_free(net.tables.sessions);
	net.tables.sessions = sessions_new(NULL, SESSIONS, "boot", NULL);
	net.now_ms = w->now_ms;
	net.behind = behind;
	net_forget();
}

/* What leaves by a WAN port was routed: its IPv4 header is right, and nothing stands behind the packet. */
static void
check_routed(const struct frame *f)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(f->b + OFF_L3);

	if (f->b[12] != 8 || f->b[13] != 0) /* ARP */
		return;
	if (f->len == OFF_L3 + rte_be_to_cpu_16(ip->total_length) &&
		rte_raw_cksum(ip, rte_ipv4_hdr_len(ip)) == 0xffff)
		return;
	fprintf(stderr, "a packet was sent with a wrong length or header checksum\n");
	abort();
}

static void
check_sent(void)
{
	static const uint16_t ports[] = {WAN0, WAN1};
	const struct frame *f;

	for (size_t p = 0; p < RTE_DIM(ports); p++)
		for (uint32_t i = 0; (f = net_sent(ports[p], i)) != NULL; i++)
			check_routed(f);
}

/* What waited for its first fragment may wait for a next hop then. */
static void
drain(void)
{
	net_forget(); /* the worker tells of each VM that nothing waits for any more */
	if (changed)
		populate_changing();
	changed = false;
	for (int i = 0; i < DRAINS; i++) {
		net_advance(2 * HOLD_MS);
		net_idle();
	}
	net_forget();
	if (net.w->vm_hold.n_queues != 0) {
		fprintf(stderr, "packets wait for a VM that is not on its way\n");
		abort();
	}
}

/* What came of the input, as a digest. */
static uint64_t
run(const uint8_t *data, size_t size, uint8_t behind, bool express)
{
	struct input in = {data, size};
	uint64_t h;

	make_new(behind);
	net.w->express = express;
	while (in.left > 0)
		fuzz_frames(&in);
	flush();
	check_sent();
	h = net_effect() + net_sessions();
	drain();
	if (net_missing() != 0) {
		fprintf(stderr, "%u mbufs leaked\n", net_missing());
		abort();
	}
	return h;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t h = run(data, size, 0, true);

	if (h != run(data, size, 0xff, true)) {
		fprintf(stderr, "a stage reads behind the end of a frame\n");
		abort();
	}
	if (h != run(data, size, 0, false)) {
		fprintf(stderr, "the stages end otherwise than express\n");
		abort();
	}
	return 0;
}
